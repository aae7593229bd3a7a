//! Images made by hand, so that every header is known.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::file::Image;
use crate::headers::*;
use crate::memory::{Access, MACHINE, Part, Program, prepare, section};
use crate::payload::Payload;

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
    put(&mut bytes, SIGNATURE, b"PE\0\0");
    put(&mut bytes, SIGNATURE + 4, &MACHINE.to_le_bytes());
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
            characteristics: READABLE | INITIALIZED_DATA,
        };
        put(&mut bytes, TABLE + index * HEADER_SIZE, &section.to_bytes());
        bytes.resize(bytes.len() + 0x200, 0xa0 + index as u8);
    }
    bytes
}

fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    bytes[offset..offset + value.len()].copy_from_slice(value);
}

/// The image as firmware lays it out in memory.
fn load(bytes: &[u8]) -> Vec<u8> {
    Image::parse(bytes).unwrap().in_memory().unwrap()
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
    assert_eq!(section(&memory, ".bowline"), Some(contents.as_slice()));
    assert_eq!(section(&memory, ".s1"), Some([0xa1; 0x180].as_slice()));
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
    assert_eq!(section(&load(&after), ".bowline"), Some(b"x".as_slice()));
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
        OPTIONAL + DIRECTORIES + CERTIFICATES * DIRECTORY_SIZE + 4,
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

#[test]
fn the_sizes_in_the_headers_grow_with_a_section() {
    let before = image(2);
    let after = Image::parse(&before)
        .unwrap()
        .with_section(".bowline", &[1; 700])
        .unwrap();
    let field = |offset: usize| u32_at(&after, OPTIONAL + offset);
    assert_eq!(field(INITIALIZED_SIZE), Some(2 * 0x200 + 0x400));
    assert_eq!(field(IMAGE_SIZE), Some(0x4000));
}

#[test]
fn a_loaded_image_without_the_section_has_none() {
    assert_eq!(section(&load(&image(2)), ".bowline"), None);
    assert_eq!(section(b"MZ", ".bowline"), None);
    assert_eq!(section(&[0; 0x200], ".bowline"), None);
}

#[test]
fn a_section_beyond_the_mapped_image_is_not_read() {
    let mut memory = load(&image(2));
    put(&mut memory, TABLE + 8, &u32::MAX.to_le_bytes());
    assert_eq!(section(&memory, ".s0"), None);
    put(&mut memory, TABLE + 12, &u32::MAX.to_le_bytes());
    assert_eq!(section(&memory, ".s0"), None);
}

/// Where the relocations of [`program`] are.
const RELOCATIONS: usize = 0x3000;
/// The address that it is linked for, and another.
const LINKED: u64 = 0x1_4000_0000;
const ADDRESS: u64 = 0x7f00_2000;

/// A program in memory: code at 0x1000 with an address in it, data at 0x2000 with another, and a
/// relocation for each.
fn program() -> Vec<u8> {
    let mut file = image(3);
    for (index, access) in [EXECUTABLE, WRITABLE, 0].into_iter().enumerate() {
        let header = TABLE + index * HEADER_SIZE;
        let flags = (access | READABLE).to_le_bytes();
        put(&mut file, header + CHARACTERISTICS, &flags);
    }
    put(&mut file, OPTIONAL + IMAGE_BASE, &LINKED.to_le_bytes());
    put(&mut file, OPTIONAL + ENTRY, &0x1010_u32.to_le_bytes());
    let directory = OPTIONAL + DIRECTORIES + BASE_RELOCATIONS * DIRECTORY_SIZE;
    put(&mut file, directory, &(RELOCATIONS as u32).to_le_bytes());
    put(&mut file, directory + 4, &24_u32.to_le_bytes());
    let mut memory = load(&file);
    put(&mut memory, 0x1008, &(LINKED + 0x2040).to_le_bytes());
    put(&mut memory, 0x2040, &(LINKED + 0x1010).to_le_bytes());
    let blocks = [[0x1000, 12, 0x0000_a008_u32], [0x2000, 12, 0x0000_a040]];
    for (index, word) in blocks.iter().flatten().enumerate() {
        put(&mut memory, RELOCATIONS + index * 4, &word.to_le_bytes());
    }
    memory
}

#[test]
fn addresses_in_a_program_are_those_of_where_it_is() {
    let mut memory = program();
    let before = memory.clone();
    let part = |start: usize, access| Part {
        range: start..start + 0x1000,
        access,
    };
    let expected = Program {
        entry: 0x1010,
        parts: vec![
            part(0, Access::Read),
            part(0x1000, Access::Execute),
            part(0x2000, Access::Write),
            part(0x3000, Access::Read),
        ],
    };
    assert_eq!(prepare(&mut memory, ADDRESS), Ok(expected));
    let address_at = |place: usize| u64::from_le_bytes(memory[place..][..8].try_into().unwrap());
    assert_eq!(address_at(0x1008), ADDRESS + 0x2040);
    assert_eq!(address_at(0x2040), ADDRESS + 0x1010);
    put(&mut memory, 0x1008, &before[0x1008..][..8]);
    put(&mut memory, 0x2040, &before[0x2040..][..8]);
    assert!(memory == before, "something else has changed, too");
}

#[test]
fn a_program_that_cannot_be_started_is_refused_in_words() {
    let refuse = |offset: usize, value: &[u8]| {
        let mut memory = program();
        put(&mut memory, offset, value);
        prepare(&mut memory, ADDRESS).unwrap_err().to_string()
    };
    let other = u32::from(!MACHINE).to_le_bytes();
    assert_eq!(
        refuse(SIGNATURE + 4, &other[..2]),
        "cannot be started here: it is for another processor"
    );
    assert_eq!(
        refuse(OPTIONAL + IMAGE_SIZE, &[0xff]),
        "cannot be started here: it has another size than its headers say"
    );
    assert_eq!(
        refuse(OPTIONAL + SECTION_ALIGNMENT, &0x200_u32.to_le_bytes()),
        "cannot be started here: its sections do not begin with pages"
    );
    let outside = "cannot be started here: its sections overlap or lie outside it";
    assert_eq!(refuse(TABLE + 8, &0x1001_u32.to_le_bytes()), outside);
    assert_eq!(refuse(TABLE + 12, &0x2000_u32.to_le_bytes()), outside);
    assert_eq!(refuse(TABLE + 2 * HEADER_SIZE + 8, &[0xff; 4]), outside);
    assert_eq!(
        refuse(
            TABLE + CHARACTERISTICS,
            &(EXECUTABLE | WRITABLE).to_le_bytes()
        ),
        "cannot be started here: its code could be written to"
    );
    assert_eq!(
        refuse(OPTIONAL + ENTRY, &0x2000_u32.to_le_bytes()),
        "cannot be started here: its entry point is not in its code"
    );
    let relocations = "cannot be started here: its relocations make no sense";
    // A place beyond the image, a kind of another processor, blocks of impossible lengths.
    assert_eq!(refuse(RELOCATIONS, &[0, 0, 0x10, 0]), relocations);
    assert_eq!(refuse(RELOCATIONS + 9, &[0x30]), relocations);
    assert_eq!(refuse(RELOCATIONS + 4, &[0]), relocations);
    assert_eq!(refuse(RELOCATIONS + 4, &[25]), relocations);
    assert_eq!(refuse(RELOCATIONS + 4, &[0xff; 4]), relocations);
    let directory = OPTIONAL + DIRECTORIES + BASE_RELOCATIONS * DIRECTORY_SIZE;
    assert_eq!(refuse(directory, &[0xff; 8]), relocations);
}

#[test]
fn an_address_between_pages_is_refused() {
    let error = prepare(&mut program(), ADDRESS + 0x800).unwrap_err();
    let expected = PeError::NotHere("its sections do not begin with pages");
    assert_eq!(error, expected);
}

#[test]
fn the_loader_is_deflated_and_comes_back() {
    let image = program();
    let section = payload::deflate(&image).unwrap();
    assert!(section.len() < image.len() / 10, "{}", section.len());
    let payload = Payload::parse(&section).unwrap();
    let mut inflated = vec![0xee; payload.image_bytes()];
    payload.inflate(&mut inflated).unwrap();
    assert!(inflated == image);
}

/// Whatever is changed or cut off, no other image comes out.
#[test]
fn a_damaged_payload_is_refused() {
    let image = program();
    let good = payload::deflate(&image).unwrap();
    let inflate = |section: &[u8]| {
        let payload = Payload::parse(section)?;
        let mut inflated = vec![0; payload.image_bytes().min(2 * image.len())];
        payload.inflate(&mut inflated).map(|()| inflated)
    };
    for length in 0..good.len() {
        assert!(
            inflate(&good[..length]).is_err(),
            "{length} bytes were taken"
        );
    }
    // There is more than one way to say the same.
    let mut taken = 0;
    for offset in 0..good.len() {
        let mut bad = good.clone();
        bad[offset] ^= 0x10;
        if let Ok(inflated) = inflate(&bad) {
            assert!(inflated == image, "byte {offset} made another image");
            taken += 1;
        }
    }
    assert!(taken < good.len() / 10, "{taken} bytes do not matter");
    let words = |section: &[u8]| inflate(section).unwrap_err().to_string();
    let damaged = |why: &str| format!("the deflated loader is damaged: {why}");
    let last = good.len() - 1;
    assert_eq!(words(&good[..last]), damaged("it is cut off"));
    assert_eq!(words(b""), damaged("it is cut off"));
    assert_eq!(words(&[0xff; 8]), damaged("its size makes no sense"));
    let mut bad = good.clone();
    bad[last] ^= 1;
    assert_eq!(words(&bad), damaged("its checksum is wrong"));
    let mut length = |bytes: usize| {
        bad.clone_from(&good);
        put(&mut bad, 0, &(bytes as u32).to_le_bytes());
        words(&bad)
    };
    let size = image.len();
    assert_eq!(length(size - 1), damaged("it is longer than it says"));
    assert_eq!(length(size + 1), damaged("it is shorter than it says"));
}
