//! EFI programs: what the loader is put together from, and how it is inflated.

use bowline_pe::file::Image;
use bowline_pe::memory;
use bowline_pe::payload::Payload;

/// How large an image may say that it is, so that many are tried in a short time.
const IMAGE_BYTES_MAX: usize = 1 << 20;

/// An image takes a section, which is found again in the file and in memory; a program that is
/// made ready is entered inside itself.
pub(super) fn image(data: &[u8]) {
    const CONTENTS: &[u8] = b"contents";
    if let Ok(image) = Image::parse(data)
        && let Ok(with) = image.with_section(".fuzzed", CONTENTS)
    {
        let with = Image::parse(&with).expect("what was written can be read");
        let section = with.section(".fuzzed").expect("what was added is there");
        assert!(section.starts_with(CONTENTS));
    }
    let mut memory = data.to_vec();
    let _ = memory::section(&memory, ".loader");
    if let Ok(program) = memory::prepare(&mut memory, 0x7f00_2000) {
        assert!(program.entry < memory.len());
        assert!(
            program
                .parts
                .iter()
                .all(|part| part.range.end <= memory.len())
        );
    }
}

/// A payload gives as many bytes as it says, or none.
pub(super) fn payload(data: &[u8]) {
    if let Ok(payload) = Payload::parse(data)
        && payload.image_bytes() <= IMAGE_BYTES_MAX
    {
        let _ = payload.inflate(&mut vec![0; payload.image_bytes()]);
    }
}
