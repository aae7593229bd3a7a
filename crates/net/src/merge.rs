//! Segments that go on from one another become one (generic receive offload): what TCP costs for each
//! is then paid once for many.
//!
//! Each frame is received so that its payload goes on from the payload of the one before. Its headers
//! lie over the end of that meanwhile; what they cover is kept and put back.

use crate::FRAME_MAX;
use crate::frame::{self, ETHERNET, IPV6, Segment, Seq, TCP};

/// Room for the longest packet that IP can describe (RFC 791 section 3.1).
pub(crate) const MERGED_MAX: usize = ETHERNET + u16::MAX as usize;

/// The longest headers of segments that are merged.
const HEADERS_MAX: usize = ETHERNET + IPV6 + TCP;

/// What was merged so far; one segment, to begin with.
#[derive(Debug)]
pub(crate) struct Merged {
    first: Segment,
    /// Length of its headers, which those of all others have.
    headers: usize,
    /// Where the payload ends.
    end: usize,
    /// The sequence number of what goes on from it.
    next: Seq,
    last: Option<Segment>,
    /// What the headers of the next frame lie over.
    covered: [u8; HEADERS_MAX],
}

impl Merged {
    /// Begins with a segment at the start of a buffer; `None` where nothing may be merged with it.
    pub(crate) fn new(first: Segment) -> Option<Self> {
        first.is_plain_data().then(|| Self {
            first,
            headers: first.payload(),
            end: first.ip.end,
            next: first.sequence.plus(first.len()),
            last: None,
            covered: [0; HEADERS_MAX],
        })
    }

    /// Where in the buffer the next frame is to be received; [`Self::uncover`] has to follow. `None`
    /// where it might not fit any more.
    pub(crate) fn place(&mut self, buffer: &[u8]) -> Option<usize> {
        let place = self.end - self.headers;
        let covered = buffer.get(place..self.end)?;
        frame::put(&mut self.covered, 0, covered);
        (place + FRAME_MAX <= buffer.len()).then_some(place)
    }

    /// Puts back what the headers at `place` lie over.
    pub(crate) fn uncover(&self, buffer: &mut [u8], place: usize) {
        let covered = self.covered.get(..self.headers).unwrap_or_default();
        frame::put(buffer, place, covered);
    }

    /// Takes in a segment that was received at [`Self::place`], if it goes on from what there is.
    pub(crate) fn take(&mut self, segment: Segment) -> bool {
        let (ours, theirs) = (&self.first, &segment);
        let goes_on = theirs.sequence == self.next
            && theirs.is_plain_data()
            && theirs.payload() == self.headers
            && (theirs.from_port, theirs.to_port) == (ours.from_port, ours.to_port)
            && (theirs.ip.from, theirs.ip.to) == (ours.ip.from, ours.ip.to);
        if goes_on {
            self.end += segment.len();
            self.next = self.next.plus(segment.len());
            self.last = Some(segment);
        }
        goes_on
    }

    /// Makes the headers at the start of the buffer those of all; returns the length of the frame.
    pub(crate) fn finish(&self, buffer: &mut [u8]) -> usize {
        if let Some(last) = &self.last {
            frame::put_packet_length(buffer, self.end - ETHERNET);
            // TCP (RFC 9293 section 3.1).
            let tcp = self.first.ip.start;
            frame::put(buffer, tcp + 8, &last.acknowledgement.0.to_be_bytes());
            frame::put(buffer, tcp + 14, &last.window.to_be_bytes());
        }
        self.end
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::frame::{ACK, FIN, IPV4, Ip, PSH};
    use crate::testing::pattern;

    /// A frame with a segment from port 3260, with correct checksums.
    fn frame(is_ipv6: bool, sequence: u32, flags: u8, data: &[u8]) -> Vec<u8> {
        let ip = if is_ipv6 { IPV6 } else { IPV4 };
        let mut frame = vec![0; ETHERNET + ip + TCP];
        frame.extend_from_slice(data);
        if is_ipv6 {
            frame[12..15].copy_from_slice(&[0x86, 0xdd, 0x60]);
            frame[20] = 6;
            frame[22..38].copy_from_slice(&Ipv6Addr::LOCALHOST.octets());
        } else {
            frame[12..15].copy_from_slice(&[8, 0, 0x45]);
            frame[23] = 6;
            frame[26..30].copy_from_slice(&Ipv4Addr::LOCALHOST.octets());
        }
        frame::put_packet_length(&mut frame, ip + TCP + data.len());
        let tcp = ETHERNET + ip;
        frame[tcp..tcp + 2].copy_from_slice(&3260_u16.to_be_bytes());
        frame[tcp + 4..tcp + 8].copy_from_slice(&sequence.to_be_bytes());
        frame[tcp + 8..tcp + 12].copy_from_slice(&(sequence / 2).to_be_bytes());
        frame[tcp + 12..tcp + 14].copy_from_slice(&[(TCP as u8 / 4) << 4, flags]);
        frame[tcp + 14..tcp + 16].copy_from_slice(&(data.len() as u16).to_be_bytes());
        Ip::parse(&frame).unwrap().fill_tcp_checksum(&mut frame);
        frame
    }

    fn parse(frame: &[u8]) -> Segment {
        Segment::parse(frame, Ip::parse(frame).unwrap()).unwrap()
    }

    /// What becomes of `frames`, each with a check sequence; how many were merged.
    fn merge(frames: &[Vec<u8>]) -> (Vec<u8>, usize) {
        let mut buffer = vec![0xee; MERGED_MAX];
        let (first, others) = frames.split_first().unwrap();
        frame::put(&mut buffer, 0, first);
        let mut merged = Merged::new(parse(first)).unwrap();
        let mut count = 1;
        for other in others {
            let Some(place) = merged.place(&buffer) else {
                break;
            };
            frame::put(&mut buffer, place, &[other, &[0xfc; 4][..]].concat());
            let goes_on = merged.take(parse(other));
            merged.uncover(&mut buffer, place);
            if !goes_on {
                break;
            }
            count += 1;
        }
        let length = merged.finish(&mut buffer);
        buffer.truncate(length);
        (buffer, count)
    }

    #[test]
    fn segments_in_order_are_one_segment() {
        let data = pattern(3000);
        for is_ipv6 in [false, true] {
            let frames = [
                frame(is_ipv6, u32::MAX - 9, ACK, &data[..1400]),
                frame(is_ipv6, 1390, ACK | PSH, &data[1400..1403]),
                frame(is_ipv6, 1393, ACK, &data[1403..2500]),
                frame(is_ipv6, 2490, ACK, &data[2500..]),
            ];
            let (merged, count) = merge(&frames);
            let segment = parse(&merged);
            assert_eq!((count, segment.len()), (4, 3000));
            assert_eq!(merged[segment.payload()..], data);
            assert_eq!(segment.sequence.0, u32::MAX - 9, "that of the first");
            assert_eq!(segment.acknowledgement.0, 2490 / 2, "that of the last");
            assert_eq!(segment.window, 500, "that of the last");
            assert_eq!(merged.len(), segment.ip.end);
            assert!(is_ipv6 || segment.ip.header_checksum_holds(&merged));
        }
    }

    #[test]
    fn nothing_else_is_merged() {
        let data = pattern(100);
        let first = frame(false, 0, ACK, &data);
        let mut other_port = frame(false, 100, ACK, &data);
        other_port[34] ^= 1;
        let mut other_host = frame(false, 100, ACK, &data);
        other_host[29] ^= 3;
        let others = [
            frame(false, 101, ACK, &data),
            frame(false, 99, ACK, &data),
            frame(false, 100, ACK, &[]),
            frame(false, 100, ACK | FIN, &data),
            frame(true, 100, ACK, &data),
            other_port,
            other_host,
        ];
        for other in others {
            let (merged, count) = merge(&[first.clone(), other.clone()]);
            assert_eq!((count, &merged), (1, &first), "{other:?}");
        }
        assert!(Merged::new(parse(&frame(false, 0, ACK | FIN, &data))).is_none());
        assert!(Merged::new(parse(&frame(false, 0, ACK, &[]))).is_none());
        let mut optional = first.clone();
        optional[46] = 6 << 4;
        assert!(Merged::new(parse(&optional)).is_none(), "options of TCP");
        let mut optional = first;
        optional[14] = 0x46;
        let segment = parse(&optional);
        assert_eq!(segment.ip.from, IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert!(Merged::new(segment).is_none(), "options of IP");
    }

    #[test]
    fn there_is_an_end_where_ip_can_describe_no_more() {
        let data = pattern(1460);
        let frames: Vec<_> = (0..60)
            .map(|index| frame(false, index * 1460, ACK, &data))
            .collect();
        let (merged, count) = merge(&frames);
        assert_eq!(merged.len(), 54 + count * 1460);
        assert!((43..=44).contains(&count), "{count}");
        assert!(parse(&merged).ip.header_checksum_holds(&merged));
    }
}
