//! `smbios/<instance>.<type>.<offset>.<length>`: fields of the firmware's description of the
//! machine, for scripts that look for a board or a slot.

use alloc::vec::Vec;

use crate::platform::Platform;

/// The bytes that a tag names; the instance may be left out. A length of 0 is the string whose
/// number stands at the offset; at offset 0 as well, the whole structure. Offset 0 with a length
/// is the string of that number.
pub(crate) fn value(platform: &dyn Platform, tag: &[u8]) -> Option<Vec<u8>> {
    let (instance, kind, offset, length) = match *tag {
        [kind, offset, length] => (0, kind, offset, length),
        [instance, kind, offset, length] => (instance, kind, offset, length),
        _ => return None,
    };
    let structure = platform.smbios_structure(kind, instance)?;
    match (offset, length) {
        (0, 0) => Some(structure),
        (0, number) => string(&structure, number),
        (offset, 0) => string(&structure, *structure.get(usize::from(offset))?),
        (offset, length) => {
            let start = usize::from(offset);
            Some(structure.get(start..start + usize::from(length))?.to_vec())
        }
    }
}

/// A string by its number, counted from 1 (DMTF DSP0134 section 6.1.3).
fn string(structure: &[u8], number: u8) -> Option<Vec<u8>> {
    let formatted = usize::from(*structure.get(1)?);
    let strings = structure.get(formatted..)?;
    let index = usize::from(number.checked_sub(1)?);
    let found = strings.split(|&byte| byte == 0).nth(index)?;
    (!found.is_empty()).then(|| found.to_vec())
}
