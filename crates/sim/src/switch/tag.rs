//! Ethernet frames with and without a tag of IEEE 802.1Q.

/// Tag protocol identifier of a customer VLAN tag (802.1Q-2022 table 9-1).
const TPID: [u8; 2] = [0x81, 0x00];
/// Where a tag stands: after the two addresses (802.1Q-2022 9.2).
const AT: usize = 12;

/// Takes the tag off a frame: the tag control information, if there was one, and the frame
/// without it. None if the frame is too short to have a type.
pub(super) fn pop(frame: &[u8]) -> Option<(Option<u16>, Vec<u8>)> {
    let (addresses, rest) = frame.split_at_checked(AT)?;
    match rest {
        [0x81, 0x00, high, low, _, _, ..] => {
            let control = u16::from_be_bytes([*high, *low]);
            Some((Some(control), [addresses, &rest[4..]].concat()))
        }
        [_, _, ..] => Some((None, frame.to_vec())),
        _ => None,
    }
}

/// Puts a tag into an untagged frame of at least the two addresses.
pub(super) fn push(frame: &[u8], control: u16) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(AT);
    [addresses, &TPID, &control.to_be_bytes(), rest].concat()
}

/// The VLAN identifier of tag control information: its low 12 bits (802.1Q-2022 9.6).
pub(super) const fn vlan(control: u16) -> u16 {
    control & 0x0fff
}

/// Tag control information with the priority of `control` and another VLAN.
pub(super) const fn with_vlan(control: u16, vlan: u16) -> u16 {
    (control & 0xf000) | vlan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_goes_in_and_comes_out() {
        let frame: Vec<u8> = (0..60).collect();
        let tagged = push(&frame, with_vlan(0xa000, 2));
        assert_eq!(tagged[12..16], [0x81, 0, 0xa0, 2]);
        assert_eq!(pop(&tagged), Some((Some(0xa002), frame.clone())));
        assert_eq!(pop(&frame), Some((None, frame)));
    }

    #[test]
    fn a_stump_is_no_frame() {
        assert_eq!(pop(&[0; 13]), None);
        // A tag whose frame ends with it has no type.
        let stump = [&[0; 12][..], &[0x81, 0, 0, 2, 8]].concat();
        assert_eq!(pop(&stump).unwrap().0, None);
    }
}
