//! What the firmware tells about itself and the machine.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::ops::Range;

use bowline_boot::platform::Identity;
use bowline_loader::firmware::Firmware;
use bowline_loader::smbios::{self, ENTRY_POINT_BYTES, SystemInformation};
use uefi::boot::{self, MemoryType};
use uefi::mem::memory_map::MemoryMap;
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

/// The SMBIOS structure of a type, the `instance`-th of them, with its strings.
pub(crate) fn smbios_structure(kind: u8, instance: u8) -> Option<Vec<u8>> {
    smbios::structure(structure_table()?, kind, instance)
}

/// The regions of memory that programs may use, now or after the firmware's services have ended.
pub(crate) fn memory_regions() -> Vec<Range<u64>> {
    const PAGE: u64 = 4096;
    let Ok(map) = boot::memory_map(MemoryType::LOADER_DATA) else {
        return Vec::new();
    };
    let usable = map.entries().filter(|entry| is_usable(entry.ty));
    let mut regions: Vec<Range<u64>> = usable
        .map(|entry| entry.phys_start..entry.phys_start + entry.page_count * PAGE)
        .collect();
    regions.sort_by_key(|region| region.start);
    regions.dedup_by(|next, before| {
        let touches = next.start <= before.end;
        if touches {
            before.end = before.end.max(next.end);
        }
        touches
    });
    regions
}

/// UEFI 2.10 table 7.10: what an operating system may use once the firmware's services have ended.
fn is_usable(kind: MemoryType) -> bool {
    matches!(
        kind,
        MemoryType::LOADER_CODE
            | MemoryType::LOADER_DATA
            | MemoryType::BOOT_SERVICES_CODE
            | MemoryType::BOOT_SERVICES_DATA
            | MemoryType::CONVENTIONAL
    )
}

/// What CPUID answers, for a leaf that the processor has (Intel SDM volume 2A, CPUID).
#[cfg(target_arch = "x86_64")]
pub(crate) fn cpuid(leaf: u32, subleaf: u32) -> Option<[u32; 4]> {
    use core::arch::x86_64::{__cpuid, __cpuid_count};
    // The first leaf of each range tells the last one.
    const RANGE: u32 = 0xffff_0000;
    if leaf > __cpuid(leaf & RANGE).eax {
        return None;
    }
    let answer = __cpuid_count(leaf, subleaf);
    Some([answer.eax, answer.ebx, answer.ecx, answer.edx])
}

/// There is no CPUID.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn cpuid(_leaf: u32, _subleaf: u32) -> Option<[u32; 4]> {
    None
}

/// SMBIOS type 1.
fn system_information() -> Option<SystemInformation> {
    smbios::system_information(structure_table()?)
}

/// All SMBIOS structures, from the configuration table (UEFI 2.10 section 4.6).
fn structure_table() -> Option<&'static [u8]> {
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
        Some(unsafe {
            core::slice::from_raw_parts(core::ptr::with_exposed_provenance(address), length)
        })
    })
}
