//! The least EFI applications: one in its file, one in memory with a relocation, one deflated.

use bowline_pe::payload;

use super::Seed;

pub(super) fn all() -> Vec<Seed> {
    let program = program();
    let deflated = payload::deflate(&program).unwrap_or_default();
    vec![
        Seed::new("pe_image", "file", file()),
        Seed::new("pe_image", "program", program),
        Seed::new("pe_payload", "program", deflated),
    ]
}

/// Headers, and a section of code at 0x1000 that the file has at 0x200.
fn file() -> Vec<u8> {
    let mut file = vec![0; 0x400];
    let mut put = |offset: usize, value: &[u8]| {
        file[offset..offset + value.len()].copy_from_slice(value);
    };
    put(0, b"MZ");
    put(0x3c, &[0x40]);
    put(0x40, b"PE\0\0\x64\x86\x01\x00");
    // The length of the optional header, and what it says: its format, where the program begins,
    // SectionAlignment, FileAlignment, SizeOfImage, SizeOfHeaders, EFI application, directories.
    put(0x54, &[0xa0]);
    put(0x58, &[0x0b, 0x02]);
    put(0x58 + 16, &0x1000_u32.to_le_bytes());
    put(0x58 + 32, &0x1000_u32.to_le_bytes());
    put(0x58 + 36, &0x200_u32.to_le_bytes());
    put(0x58 + 56, &0x2000_u32.to_le_bytes());
    put(0x58 + 60, &0x200_u32.to_le_bytes());
    put(0x58 + 68, &[10]);
    put(0x58 + 108, &[6]);
    put(
        0xf8,
        b".text\0\0\0\x00\x02\0\0\x00\x10\0\0\x00\x02\0\0\x00\x02\0\0",
    );
    put(0xf8 + 36, &0x6000_0020_u32.to_le_bytes());
    file
}

/// The same in memory, with a block of relocations in the code: one place that holds an address.
fn program() -> Vec<u8> {
    let mut memory = file();
    let code = memory.split_off(0x200);
    memory.resize(0x1000, 0);
    memory.extend(code);
    memory.resize(0x2000, 0);
    let mut put = |offset: usize, words: &[u32]| {
        let bytes = words.iter().flat_map(|word| word.to_le_bytes());
        for (place, byte) in memory[offset..].iter_mut().zip(bytes) {
            *place = byte;
        }
    };
    put(0x58 + 112 + 5 * 8, &[0x1080, 12]);
    put(0x1080, &[0x1000, 12, 0xa010]);
    memory
}
