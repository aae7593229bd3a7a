//! Whether a network card counts the frame check sequence in the lengths that it tells.
//!
//! U-Boot's e1000 driver does; its virtio-net driver tells what the host gave it, which has none. So
//! whoever counts it does not have that driver's defect (`firmware.rs`).

/// Ethernet II header (IEEE 802.3).
const HEADER: usize = 14;
/// The shortest frame without its check sequence: shorter packets are padded.
const SHORTEST: usize = 60;
/// The check sequence.
const CHECK_SEQUENCE: usize = 4;

/// So many frames have to show it, and none the contrary: bytes behind a packet may also come from
/// whoever sent it.
const WITNESSES: u8 = 3;

/// What the lengths of frames have shown so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckSequence {
    witnesses: u8,
    is_absent: bool,
}

impl CheckSequence {
    /// Whether the card is known to count it.
    #[must_use]
    pub fn is_counted(self) -> bool {
        self.witnesses >= WITNESSES
    }

    /// Takes note of a frame, with the length that the card told. The first three that are not padded
    /// decide, or one of them alone where it has no check sequence.
    #[must_use]
    pub fn seen_in(mut self, frame: &[u8]) -> Self {
        if self.is_absent || self.is_counted() {
            return self;
        }
        match packet_end(frame).filter(|end| *end >= SHORTEST) {
            None => {}
            Some(end) if end + CHECK_SEQUENCE == frame.len() => self.witnesses += 1,
            Some(_) => self.is_absent = true,
        }
        self
    }
}

/// Where the IP packet in a frame ends (RFC 791 section 3.1, RFC 8200 section 3).
fn packet_end(frame: &[u8]) -> Option<usize> {
    let field = |at: usize| {
        let bytes = frame.get(at..)?.first_chunk()?;
        Some(usize::from(u16::from_be_bytes(*bytes)))
    };
    match field(12)? {
        0x0800 => Some(HEADER + field(HEADER + 2)?),
        0x86dd => Some(HEADER + 40 + field(HEADER + 4)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    /// A frame with an IPv4 packet of this length, and so many bytes behind it.
    fn frame(packet: u16, behind: usize) -> Vec<u8> {
        let mut frame = vec![0; HEADER + usize::from(packet) + behind];
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[16..18].copy_from_slice(&packet.to_be_bytes());
        frame
    }

    fn after(frames: &[Vec<u8>]) -> bool {
        let seen = frames.iter();
        let seen = seen.fold(CheckSequence::default(), |seen, frame| seen.seen_in(frame));
        seen.is_counted()
    }

    #[test]
    fn several_frames_with_four_more_bytes_show_it() {
        let longer = [frame(328, 4), frame(46, 4), frame(1500, 4)];
        assert!(after(&longer));
        assert!(!after(&longer[..2]));
        let mut ipv6 = frame(1500, 4);
        ipv6[12..20].copy_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 5, 180]);
        assert!(after(&vec![ipv6; 3]));
    }

    #[test]
    fn one_frame_without_shows_the_contrary_for_good() {
        for exact in [frame(328, 0), frame(328, 3), frame(328, 5)] {
            let mut frames = vec![frame(328, 4), exact];
            frames.extend(vec![frame(1500, 4); 9]);
            assert!(!after(&frames));
        }
    }

    #[test]
    fn padded_frames_and_other_protocols_say_nothing() {
        let mut arp = frame(328, 4);
        arp[13] = 6;
        assert!(!after(&vec![frame(42, 4); 9]));
        assert!(!after(&vec![arp; 9]));
        assert!(!after(&[vec![], vec![8; 13]]));
    }
}
