//! Images made by hand, so that every header is known; and a loader's way of reading the result.

use super::*;

const SIGNATURE: usize = 0x80;
const OPTIONAL: usize = SIGNATURE + 4 + COFF_SIZE;
const OPTIONAL_LEN: usize = 240;
const TABLE: usize = OPTIONAL + OPTIONAL_LEN;
const HEADERS: usize = 0x400;

/// A PE32+ EFI application of `count` sections, 0x200 bytes each, aligned to 0x1000 in memory.
fn image(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; HEADERS];
    put(&mut bytes, 0, b"MZ");
    put(&mut bytes, OFFSET_OF_PE, &(SIGNATURE as u32).to_le_bytes());
    put(&mut bytes, SIGNATURE, b"PE\0\0\x64\x86");
    put(
        &mut bytes,
        SIGNATURE + 4 + SECTION_COUNT,
        &(count as u16).to_le_bytes(),
    );
    put(
        &mut bytes,
        SIGNATURE + 4 + OPTIONAL_SIZE,
        &(OPTIONAL_LEN as u16).to_le_bytes(),
    );
    put(&mut bytes, OPTIONAL, &PE32_PLUS.to_le_bytes());
    put(
        &mut bytes,
        OPTIONAL + SECTION_ALIGNMENT,
        &0x1000_u32.to_le_bytes(),
    );
    put(
        &mut bytes,
        OPTIONAL + FILE_ALIGNMENT,
        &0x200_u32.to_le_bytes(),
    );
    put(
        &mut bytes,
        OPTIONAL + IMAGE_SIZE,
        &((count as u32 + 1) * 0x1000).to_le_bytes(),
    );
    put(
        &mut bytes,
        OPTIONAL + HEADERS_SIZE,
        &(HEADERS as u32).to_le_bytes(),
    );
    put(
        &mut bytes,
        OPTIONAL + SUBSYSTEM,
        &EFI_APPLICATION.to_le_bytes(),
    );
    put(
        &mut bytes,
        OPTIONAL + DIRECTORY_COUNT,
        &16_u32.to_le_bytes(),
    );
    for index in 0..count {
        let section = Section {
            name: padded(&format!(".s{index}")),
            virtual_size: 0x180,
            virtual_address: (index as u32 + 1) * 0x1000,
            raw_size: 0x200,
            raw_offset: bytes.len() as u32,
        };
        put(&mut bytes, TABLE + index * HEADER_SIZE, &section.to_bytes());
        bytes.resize(bytes.len() + 0x200, 0xa0 + index as u8);
    }
    bytes
}

/// The image as firmware lays it out in memory: every section at its address, zeros between.
fn load(bytes: &[u8]) -> Vec<u8> {
    let image = Image::parse(bytes).unwrap();
    let size = u32_at(bytes, OPTIONAL + IMAGE_SIZE).unwrap() as usize;
    let mut memory = vec![0; size];
    memory[..HEADERS].copy_from_slice(&bytes[..HEADERS]);
    for section in &image.sections {
        let contents = section.contents(bytes).unwrap();
        let len = contents.len().min(section.virtual_size as usize);
        memory[section.virtual_address as usize..][..len].copy_from_slice(&contents[..len]);
    }
    memory
}

fn section_in(memory: &[u8], name: &str) -> Vec<u8> {
    let count = usize::from(u16_at(memory, SIGNATURE + 4 + SECTION_COUNT).unwrap());
    (0..count)
        .map(|index| Section::parse(&memory[TABLE + index * HEADER_SIZE..]).unwrap())
        .find(|section| section.name == padded(name))
        .map(|it| memory[it.virtual_address as usize..][..it.virtual_size as usize].to_vec())
        .unwrap()
}

#[test]
fn a_section_is_added_and_found_in_memory() {
    let before = image(3);
    let contents: Vec<u8> = (0..5000_u32).map(|n| n as u8).collect();
    let after = Image::parse(&before)
        .unwrap()
        .with_section(".bowline", &contents)
        .unwrap();
    assert_eq!(after.len() % 0x200, 0);
    let memory = load(&after);
    assert_eq!(memory.len(), 0x1000 * (1 + 3 + 2));
    assert_eq!(section_in(&memory, ".bowline"), contents);
    assert_eq!(section_in(&memory, ".s1"), [0xa1; 0x180]);
    assert_eq!(
        after[TABLE..TABLE + 3 * HEADER_SIZE],
        before[TABLE..TABLE + 3 * HEADER_SIZE]
    );
    let image = Image::parse(&after).unwrap();
    assert!(image.section(".bowline").unwrap().starts_with(&contents));
    assert_eq!(image.section(".other"), None);
}

#[test]
fn a_section_is_replaced_and_leaves_nothing_behind() {
    let before = image(2);
    let pack = |bytes: &[u8], contents: &[u8]| {
        Image::parse(bytes)
            .unwrap()
            .with_section(".bowline", contents)
            .unwrap()
    };
    let once = pack(&before, &[b"old secret ".as_slice(); 200].concat());
    let twice = pack(&once, b"new");
    assert_eq!(twice, pack(&before, b"new"));
    assert!(!twice.windows(10).any(|window| window == b"old secret"));
}

#[test]
fn a_section_in_front_of_others_is_not_replaced() {
    let mut before = image(3);
    put(&mut before, TABLE + HEADER_SIZE, b".bowline");
    let error = Image::parse(&before)
        .unwrap()
        .with_section(".bowline", b"x")
        .unwrap_err();
    assert_eq!(error, PeError::NotLast(".bowline".into()));
}

#[test]
fn the_last_free_header_can_be_used_and_then_no_more() {
    let fits = (HEADERS - TABLE) / HEADER_SIZE;
    let before = image(fits - 1);
    let after = Image::parse(&before)
        .unwrap()
        .with_section(".bowline", b"x")
        .unwrap();
    assert_eq!(section_in(&load(&after), ".bowline"), b"x");
    // The last one can be replaced, but another does not fit.
    let full = Image::parse(&after).unwrap();
    full.with_section(".bowline", b"y").unwrap();
    let room = HEADERS - TABLE - fits * HEADER_SIZE;
    assert_eq!(
        full.with_section(".more", b"x").unwrap_err(),
        PeError::NoRoom {
            needed: HEADER_SIZE,
            room
        }
    );
}

/// The sum over a whole image, its checksum field included, is the sum without it plus the field,
/// so it can be checked by adding up in another way than the code does.
#[test]
fn the_checksum_is_the_one_of_the_specification() {
    let before = image(1);
    let after = Image::parse(&before)
        .unwrap()
        .with_section(".bowline", &[0xff; 700])
        .unwrap();
    let mut blank = after.clone();
    put(&mut blank, OPTIONAL + CHECKSUM, &[0; 4]);
    let words: u64 = blank
        .chunks(2)
        .map(|word| u64::from(u16::from_le_bytes([word[0], word[1]])))
        .sum();
    // Carries added back, as in the Internet checksum: the sum modulo 0xffff, never 0.
    let folded = match words % 0xffff {
        0 => 0xffff,
        rest => rest,
    };
    let stored = u32_at(&after, OPTIONAL + CHECKSUM).unwrap();
    assert_eq!(u64::from(stored), folded + after.len() as u64);
}

#[test]
fn other_files_are_refused_in_words() {
    let refuse = |bytes: &[u8]| Image::parse(bytes).unwrap_err().to_string();
    assert_eq!(
        refuse(b"\x7fELF"),
        "not an EFI application: it does not begin with MZ"
    );
    assert_eq!(
        refuse(b"MZ"),
        "not an EFI application: the headers are cut short"
    );
    let changed = |offset: usize, value: &[u8]| {
        let mut bytes = image(2);
        put(&mut bytes, offset, value);
        refuse(&bytes)
    };
    assert_eq!(
        changed(SIGNATURE, b"NE"),
        "not an EFI application: there is no PE header"
    );
    assert_eq!(
        changed(OPTIONAL, &0x10b_u16.to_le_bytes()),
        "not an EFI application: it is not PE32+ (64 bit)"
    );
    assert_eq!(
        changed(OPTIONAL + SUBSYSTEM, &3_u16.to_le_bytes()),
        "not an EFI application: its subsystem is not EFI application"
    );
    let short = image(2);
    for len in 0..short.len() {
        assert!(
            Image::parse(&short[..len]).is_err(),
            "{len} bytes were accepted"
        );
    }
}

#[test]
fn a_signed_image_is_refused() {
    let mut signed = image(2);
    put(
        &mut signed,
        OPTIONAL + CERTIFICATES_SIZE,
        &0x800_u32.to_le_bytes(),
    );
    let error = Image::parse(&signed)
        .unwrap()
        .with_section(".bowline", b"x")
        .unwrap_err();
    assert_eq!(error, PeError::Signed);
}

/// Whatever the headers say, reading them does not panic, and neither does adding a section.
#[test]
fn damaged_headers_do_no_harm() {
    let good = image(3);
    for offset in 0..HEADERS {
        for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[offset] = value;
            if let Ok(image) = Image::parse(&bytes) {
                let _ = image.with_section(".bowline", b"contents");
                let _ = image.with_section(".s2", b"contents");
            }
        }
    }
}
