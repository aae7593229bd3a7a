//! The packed configuration of a loader.

use bowline_boot::packed::Packed;

/// What can be read is written and read again.
pub(super) fn packed(data: &[u8]) {
    if let Ok(packed) = Packed::parse(data) {
        let _ = format!("{packed:?}");
        let bytes = packed.to_bytes().expect("what was read can be written");
        assert_eq!(Packed::parse(&bytes), Ok(packed));
    }
}
