//! A variable put into a copy of EDK2's variable store, as it lies in flash (EDK2:
//! MdeModulePkg/Include/Guid/VariableFormat.h). With it iPXE, which takes its trust from the
//! firmware, is told whom to trust.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// `EFI_TLS_CA_CERTIFICATE_GUID` of EDK2, the vendor of `TlsCaCertificate`.
const TLS_CA: [u8; 16] = [
    0xd0, 0x40, 0x23, 0xfd, 0xab, 0x3d, 0x49, 0x43, 0xa6, 0xc7, 0x3b, 0x4f, 0x12, 0xb4, 0x8e, 0xae,
];
/// `EFI_VARIABLE_NON_VOLATILE` and `EFI_VARIABLE_BOOTSERVICE_ACCESS`.
const ATTRIBUTES: u32 = 1 | 2;
/// `AUTHENTICATED_VARIABLE_HEADER` in bytes, and what it begins with.
const HEADER: usize = 60;
const START: [u8; 2] = [0xaa, 0x55];
/// `VAR_ADDED`: the variable counts.
const ADDED: u8 = 0x3f;
/// `gEfiAuthenticatedVariableGuid`, which the header of the variable store begins with.
const STORE: [u8; 16] = [
    0x78, 0x2c, 0xf3, 0xaa, 0x7b, 0x94, 0x9a, 0x43, 0xa1, 0x80, 0x2e, 0x14, 0x4e, 0xc3, 0x77, 0x92,
];
const STORE_HEADER: usize = 28;

/// Copies the store `from` to `to`, with `TlsCaCertificate` set to the signature list `roots`.
pub(crate) fn trust(from: &Path, to: &Path, roots: &[u8]) -> Result<()> {
    let mut flash =
        fs::read(from).with_context(|| format!("cannot read the variables {}", from.display()))?;
    add(&mut flash, "TlsCaCertificate", TLS_CA, roots)
        .with_context(|| format!("cannot add a variable to {}", from.display()))?;
    fs::write(to, flash).with_context(|| format!("cannot write {}", to.display()))
}

/// Adds a variable behind the last one.
fn add(flash: &mut [u8], name: &str, vendor: [u8; 16], data: &[u8]) -> Result<()> {
    let store = flash
        .windows(STORE.len())
        .position(|window| window == STORE)
        .context("it has no store of authenticated variables")?;
    let mut place = store + STORE_HEADER;
    while flash.get(place..place + 2) == Some(&START) {
        let length = |at: usize| -> Option<usize> {
            let bytes = flash.get(place + at..place + at + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
        };
        let (name, data) = (length(36), length(40));
        let (name, data) = name.zip(data).context("its last variable is cut off")?;
        place = (place + HEADER + name + data).next_multiple_of(4);
    }
    let name: Vec<u8> = name
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect();
    let mut variable = START.to_vec();
    variable.extend([ADDED, 0]);
    variable.extend(ATTRIBUTES.to_le_bytes());
    // No monotonic count, no time stamp, no public key: the variable is not authenticated.
    variable.extend([0; 8 + 16 + 4]);
    variable.extend((name.len() as u32).to_le_bytes());
    variable.extend((data.len() as u32).to_le_bytes());
    variable.extend(vendor);
    variable.extend(name);
    variable.extend(data);
    let free = flash
        .get_mut(place..place + variable.len())
        .context("it is full")?;
    ensure!(
        free.iter().all(|byte| *byte == 0xff),
        "behind its last variable it is not erased"
    );
    free.copy_from_slice(&variable);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: [u8; 16] = [1; 16];

    #[test]
    fn variables_are_added_one_behind_the_other() {
        let mut flash = vec![0; 72];
        flash.extend(STORE);
        flash.extend([0; STORE_HEADER - STORE.len()]);
        let first = flash.len();
        flash.resize(first + 200, 0xff);
        add(&mut flash, "A", TLS_CA, b"xyz").unwrap();
        assert_eq!(flash[first..first + 4], [0xaa, 0x55, 0x3f, 0]);
        assert_eq!(flash[first + 36..first + 44], [4, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(flash[first + 44..first + 60], TLS_CA);
        assert_eq!(&flash[first + 60..first + 67], b"A\0\0\0xyz");
        add(&mut flash, "B", OTHER, b"").unwrap();
        assert_eq!(flash[first + 68..first + 70], START);
        assert_eq!(&flash[first + 128..first + 132], b"B\0\0\0");
        assert!(add(&mut flash, "C", OTHER, &[0; 100]).is_err(), "full");
    }
}
