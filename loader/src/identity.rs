//! What the firmware tells about itself and the machine.

use alloc::string::ToString;
use alloc::vec::Vec;

use bowline_boot::platform::Identity;
use bowline_loader::firmware::Firmware;
use bowline_loader::smbios::{self, ENTRY_POINT_BYTES, SystemInformation};
use uefi::system;
use uefi::table::cfg::ConfigTableEntry;

/// The architecture's names: iPXE's `buildarch`, and RFC 4578 section 2.1 (as amended by the
/// IANA "Processor Architecture Types" registry).
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: (&str, u16) = ("arm64", 11);
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: (&str, u16) = ("x86_64", 7);

/// A structure table longer than this is not one.
const SMBIOS_TABLE_MAX: usize = 1 << 20;

/// Vendor and revision of the firmware.
pub(crate) fn firmware() -> Firmware {
    Firmware {
        vendor: system::firmware_vendor().to_string(),
        revision: system::firmware_revision(),
    }
}

/// Who the machine is.
pub(crate) fn identity(firmware: &Firmware) -> Identity {
    let system = system_information().unwrap_or_default();
    let (architecture, dhcp_architecture) = ARCHITECTURE;
    Identity {
        architecture,
        dhcp_architecture,
        firmware: firmware.name(),
        uuid: system.uuid,
        manufacturer: system.manufacturer,
        product: system.product,
        serial: system.serial,
    }
}

/// SMBIOS type 1, from the configuration table (UEFI 2.10 section 4.6).
fn system_information() -> Option<SystemInformation> {
    let entry_points: Vec<*const u8> = system::with_config_table(|entries| {
        [
            ConfigTableEntry::SMBIOS3_GUID,
            ConfigTableEntry::SMBIOS_GUID,
        ]
        .iter()
        .filter_map(|guid| entries.iter().find(|entry| entry.guid == *guid))
        .map(|entry| entry.address.cast::<u8>())
        .filter(|address| !address.is_null())
        .collect()
    });
    entry_points.into_iter().find_map(|address| {
        // SAFETY: the firmware says that an entry point is there; both kinds begin with a
        // paragraph-aligned structure of at most this length, in memory that is mapped.
        let entry_point = unsafe { core::slice::from_raw_parts(address, ENTRY_POINT_BYTES) };
        let table = smbios::entry_point(entry_point)?;
        let address = usize::try_from(table.address).ok()?;
        let length = usize::try_from(table.length).ok()?;
        if address == 0 || length > SMBIOS_TABLE_MAX {
            return None;
        }
        // SAFETY: the entry point says that the structure table is there, in memory that the
        // firmware keeps mapped one to one and does not change any more.
        let structures = unsafe {
            core::slice::from_raw_parts(core::ptr::with_exposed_provenance(address), length)
        };
        smbios::system_information(structures)
    })
}
