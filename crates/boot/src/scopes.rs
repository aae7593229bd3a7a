//! Scopes that the machine answers for, asked by numbers (`${pci/0x18.0.2}`) or, for variables of
//! the firmware, by name. The numbers make one number ([`tag_number`]), of which each scope says
//! which bits mean what, as iPXE has them; a number that the machine has nothing for is not set.
//!
//! Settings are big-endian and the machine mostly is not: what is read as a number is turned round.

use alloc::rc::Rc;
use alloc::vec::Vec;

use bowline_script::settings::{SettingError, Source, tag_number};
use bowline_script::{SettingType, Settings};

use crate::platform::Platform;

/// What a scope answers, and how that is shown where no type is wanted.
type Answer = Option<(SettingType, Vec<u8>)>;

/// What a scope asks the machine: `is_number` if a number is wanted.
type Ask = fn(machine: &dyn Platform, tag: u64, is_number: bool) -> Answer;

const SCOPES: &[(&str, Ask)] = &[
    ("acpi", acpi),
    ("cpuid", cpuid),
    ("memmap", memory_map),
    ("pci", pci),
    ("smbios", smbios),
];

/// Makes the scopes.
pub(crate) fn register(
    settings: &mut Settings,
    platform: &Rc<dyn Platform>,
) -> Result<(), SettingError> {
    for (scope, ask) in SCOPES {
        let platform = Rc::clone(platform);
        let source: Source = Rc::new(move |name, wanted| {
            let is_number = wanted.is_some_and(SettingType::is_number);
            let (kind, value) = ask(&*platform, tag_number(name)?, is_number)?;
            Some((wanted.unwrap_or(kind), value))
        });
        settings.set_source(scope, source)?;
    }
    let platform = Rc::clone(platform);
    settings.set_source(
        "efi",
        Rc::new(move |name, wanted| {
            let value = variable(&*platform, name)?;
            Some((wanted.unwrap_or(SettingType::Hex), value))
        }),
    )
}

/// `pci/<bus, device and function>.<offset>.<length>`: configuration space. `${net0/busloc}` is
/// such a first number.
fn pci(machine: &dyn Platform, tag: u64, _is_number: bool) -> Answer {
    let [.., offset, length] = tag.to_be_bytes();
    let device = u32::try_from(tag >> 16).ok()?;
    let mut value = machine.pci_configuration(device, offset, length)?;
    // Registers are little-endian (PCI Local Bus 3.0 section 6.1).
    value.reverse();
    Some((SettingType::HexRaw, value))
}

/// `acpi/<signature>.<index>.0.<offset>.<length>`: bytes of a table; length 0 is all the rest. The
/// offset has 16 bits: the third number is its upper half.
fn acpi(machine: &dyn Platform, tag: u64, is_number: bool) -> Answer {
    let [a, b, c, d, index, high, low, length] = tag.to_be_bytes();
    let table = machine.acpi_table([a, b, c, d], index)?;
    let rest = table.get(usize::from(u16::from_be_bytes([high, low]))..)?;
    let length = match length {
        0 => rest.len(),
        length => rest.len().min(usize::from(length)),
    };
    let mut value = rest.get(..length)?.to_vec();
    if is_number {
        value.reverse();
    }
    Some((SettingType::HexRaw, value))
}

/// `cpuid/<register>.<leaf>`, registers 0 to 3 being EAX, EBX, ECX and EDX; and
/// `cpuid/<subleaf>.0x40.<register>.<leaf>`. Bits of the number: 31, the leaf is an extended one;
/// 30 to 24, how many more leaves follow, or with bit 22 the subleaf; 23, registers stay as they
/// are in memory, for texts; 17 and 16, how many more registers; 15 to 8, which, two bits for each
/// from the lowest up; 7 to 0, the leaf.
fn cpuid(machine: &dyn Platform, tag: u64, _is_number: bool) -> Answer {
    const TEXT: u32 = 1 << 23;
    const SUBLEAF: u32 = 1 << 22;
    let tag = u32::try_from(tag).ok()?;
    let upper = tag >> 24 & 0x7f;
    let (subleaf, leaves) = match tag & SUBLEAF {
        0 => (0, upper + 1),
        _ => (upper, 1),
    };
    let first = tag & 0x8000_00ff;
    let mut value = Vec::new();
    for leaf in first..first + leaves {
        let answer = machine.cpuid(leaf, subleaf)?;
        for number in 0..=(tag >> 16 & 3) {
            let register = answer.get((tag >> 8 >> (2 * number) & 3) as usize)?;
            value.extend(match tag & TEXT {
                0 => register.to_be_bytes(),
                _ => register.to_le_bytes(),
            });
        }
    }
    Some((SettingType::HexRaw, value))
}

/// `memmap/<count - 1>.<first>.<what>.<shift>`: of the regions of memory from the first on, the
/// sum of their starts (1), of their lengths (2) or of both (3), divided by a power of two. With 4
/// added, regions that there are not do not matter.
fn memory_map(machine: &dyn Platform, tag: u64, _is_number: bool) -> Answer {
    let [.., more, first, what, shift] = tag.to_be_bytes();
    let regions = machine.memory_regions();
    let mut sum = 0_u64;
    for index in usize::from(first)..=usize::from(first) + usize::from(more) {
        let Some(region) = regions.get(index) else {
            if what & 4 == 0 {
                return None;
            }
            continue;
        };
        if what & 1 != 0 {
            sum = sum.wrapping_add(region.start);
        }
        if what & 2 != 0 {
            sum = sum.wrapping_add(region.end - region.start);
        }
    }
    let value = sum >> (shift & 0x3f);
    Some((SettingType::HexRaw, value.to_be_bytes().to_vec()))
}

/// `smbios/<instance>.<type>.<offset>.<length>`; the instance may be left out. A length of 0 is the
/// string whose number stands at the offset; at offset 0 as well, the whole structure. Offset 0
/// with a length is the string of that number.
fn smbios(machine: &dyn Platform, tag: u64, is_number: bool) -> Answer {
    let [.., instance, kind, offset, length] = tag.to_be_bytes();
    let structure = machine.smbios_structure(kind, instance)?;
    let text = |number| Some((SettingType::String, string(&structure, number)?));
    match (offset, length) {
        (0, 0) => Some((SettingType::HexRaw, structure)),
        (0, number) => text(number),
        (offset, 0) => text(*structure.get(usize::from(offset))?),
        (offset, length) => {
            let start = usize::from(offset);
            let mut value = structure.get(start..start + usize::from(length))?.to_vec();
            if is_number {
                value.reverse();
            }
            Some((SettingType::HexRaw, value))
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

/// `efi/<name>`, the first variable of this name, or `efi/<name>-<GUID>`, as Linux names the files
/// of efivarfs.
fn variable(machine: &dyn Platform, name: &str) -> Option<Vec<u8>> {
    const GUID_CHARACTERS: usize = 36;
    let split = name.len().checked_sub(GUID_CHARACTERS + 1);
    let with_guid = split.and_then(|at| {
        let (name, rest) = name.split_at_checked(at)?;
        let guid = SettingType::Guid.parse(rest.strip_prefix('-')?).ok()?;
        Some((name, guid.try_into().ok()?))
    });
    match with_guid {
        Some((name, guid)) => machine.variable(name, Some(guid)),
        None => machine.variable(name, None),
    }
}

/// A text that the machine is asked for.
type Text = fn(machine: &dyn Platform) -> Option<Vec<u8>>;

/// Settings of other scopes that are asked for in the same way.
pub(crate) const TEXTS: [(&str, Text); 4] = [
    // DMTF DSP0134 sections 7.3 and 7.4: asset tag of the chassis, serial number of the board.
    ("smbios/asset", |machine| {
        Some(smbios(machine, 0x03_08_00, false)?.1)
    }),
    ("smbios/board-serial", |machine| {
        Some(smbios(machine, 0x02_07_00, false)?.1)
    }),
    // Intel SDM volume 2A, CPUID: leaf 0, EBX EDX ECX; leaves 0x80000002 to 4, all registers.
    ("cpuid/cpuvendor", |machine| processor(machine, 0x0082_2d00)),
    ("cpuid/cpumodel", |machine| processor(machine, 0x8283_e402)),
];

/// A text that the processor has in its registers, without what fills it up.
fn processor(machine: &dyn Platform, tag: u64) -> Option<Vec<u8>> {
    let (_, value) = cpuid(machine, tag, false)?;
    let text = core::str::from_utf8(&value).ok()?;
    let text = text.trim_end_matches('\0').trim();
    (!text.is_empty()).then(|| text.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use crate::testing::{TestPlatform, run_script, script};

    #[test]
    fn every_scope_answers_for_what_there_is_and_for_nothing_else() {
        for (name, value) in [
            // The test machine has one device, 01:01.0, with an identifier.
            ("pci/0x0108.0.2", "8086"),
            ("pci/0x0108.2.2:uint16", "0x100e"),
            ("pci/0x0108.3.2", ""),
            ("pci/0x0109.0.2", ""),
            ("pci/0x0108", ""),
            ("pci/vendor", ""),
            // `APIC`, twelve bytes.
            ("acpi/0x41504943.0.0.8.2", "0102"),
            ("acpi/0x41504943.0.0.4.4:uint32", "0xc"),
            ("acpi/0x41504943.0.0.8.0", "01020304"),
            ("acpi/0x41504943.0.0.8.200:hex", "01:02:03:04"),
            ("acpi/0x41504943.0.1.0.0", ""),
            ("acpi/0x41504943.1.0.8.2", ""),
            ("acpi/0x41504942.0.0.8.2", ""),
            ("efi/BootCurrent", "01:00"),
            (
                "efi/BootCurrent-8be4df61-93ca-11d2-aa0d-00e098032b8c:hexraw",
                "0100",
            ),
            ("efi/BootCurrent-00000000-93ca-11d2-aa0d-00e098032b8c", ""),
            ("efi/BootNext", ""),
            // EAX of leaf 0, EBX of leaf 7 with subleaf 1, EBX EDX ECX of leaf 0 as a text.
            ("cpuid/0.0", "00000007"),
            ("cpuid/0:uint32", "0x7"),
            ("cpuid/1.0x40.1.7", "00000002"),
            ("cpuid/0.0x82.0x2d.0:string", "GenuineIntel"),
            ("cpuid/0.9", ""),
            ("cpuvendor", "GenuineIntel"),
            ("cpumodel", "TestTestTestTest"),
            // Two regions: 1 GiB at 0, 1 GiB at 2 GiB.
            ("memmap/0.1.1.20:uint32", "0x800"),
            ("memmap/1.0.2.20:uint32", "0x800"),
            ("memmap/0.0.3.30:int32", "1"),
            ("memmap/9.0.6.20:uint32", "0x800"),
            ("memmap/9.0.2.20", ""),
            ("smbios/2.4.0", "Maker"),
            ("smbios/0.2.5.0", "Board"),
            ("smbios/2.0.1", "Maker"),
            ("smbios/2.6.2:hex", "00:07"),
            ("smbios/2.6.2:uint16", "0x700"),
            ("smbios/2.6.1", "00"),
            ("smbios/3.4.0", ""),
            ("usb/1", ""),
        ] {
            let line = format!("echo [${{{name}}}]");
            let (output, _) = run_script(TestPlatform::new(), &script(&[&line, "exit"]));
            assert_eq!(output, format!("[{value}]\n"), "{name}");
        }
    }
}
