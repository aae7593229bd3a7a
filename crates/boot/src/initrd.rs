//! The initial RAM disk of a kernel: the images that were fetched beside it, one after the other.
//!
//! An image with arguments is wrapped as a file: `initrd http://boot/net.conf /etc/net.conf
//! mode=600`. The kernel unpacks archives that follow each other, with zeros between them (Linux,
//! Documentation/driver-api/early-userspace/buffer-format.rst).

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use bowline_script::parse_integer;

use crate::failure::{Code, Failure};
use crate::images::{Format, Image, Images};

/// What `kernel` gets as its initial RAM disk, in parts that follow each other; none if nothing was
/// fetched for it. Scripts and programs are not, unless they are to be files.
pub(crate) fn for_kernel(images: &Images, kernel: &str) -> Result<Vec<Rc<Vec<u8>>>, Failure> {
    let mut parts = Vec::new();
    for image in images.iter().filter(|image| image.name != kernel) {
        if !image.arguments.is_empty() {
            parts.push(Rc::new(headers(image)?));
        } else if image.format().is_ok() {
            continue;
        }
        parts.push(Rc::clone(&image.data));
        let length = image.data.len();
        let zeros = length.next_multiple_of(ALIGNMENT).saturating_sub(length);
        parts.push(Rc::new(alloc::vec![0; zeros]));
    }
    Ok(parts)
}

/// Whether an image may have an initial RAM disk.
pub(crate) fn suits(image: &Image) -> bool {
    matches!(image.format(), Ok(Format::EfiProgram))
}

/// What stands in an archive before the data of a file: its folders, as far as they are wanted,
/// and itself.
fn headers(image: &Image) -> Result<Vec<u8>, Failure> {
    let mut words = image.arguments.split_whitespace();
    let path = words.next().unwrap_or_default().trim_start_matches('/');
    let (mut mode, mut folders) = (0o644, 0);
    for word in words {
        let number = |text: &str| i64::from_str_radix(text, 8).ok();
        let known = match word.split_once('=') {
            Some(("mode", text)) => number(text).map(|found| mode = found & 0o7777),
            Some(("mkdir", text)) => parse_integer(text).map(|found| folders = found),
            _ => None,
        };
        known.ok_or_else(|| {
            let message = format!("`{word}` is neither mode=<octal> nor mkdir=<number>");
            Failure::new(Code::CommandUsage, message).within(&image.name)
        })?;
    }
    let mut archive = Vec::new();
    let slashes: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
    let made = usize::try_from(folders).unwrap_or(slashes.len());
    for &end in slashes.iter().skip(slashes.len().saturating_sub(made)) {
        let folder = path.get(..end).unwrap_or_default();
        archive.extend_from_slice(entry(folder, DIRECTORY | 0o755, 0).as_bytes());
        pad(&mut archive);
    }
    archive.extend_from_slice(entry(path, REGULAR_FILE | mode, image.data.len()).as_bytes());
    pad(&mut archive);
    Ok(archive)
}

/// A header and a name of the "newc" format, which a NUL ends.
fn entry(path: &str, mode: i64, length: usize) -> String {
    let name_length = path.len() + 1;
    // Magic, inode, mode, owner, group, links, time, length, four device numbers, the length of
    // the name, checksum.
    format!(
        "070701{:08X}{mode:08X}{:08X}{:08X}{:08X}{:08X}{length:08X}{:08X}{:08X}{:08X}{:08X}{name_length:08X}{:08X}{path}\0",
        0, 0, 0, 1, 0, 0, 0, 0, 0, 0
    )
}

fn pad(archive: &mut Vec<u8>) {
    let padded = archive.len().next_multiple_of(ALIGNMENT);
    archive.resize(padded, 0);
}

/// Everything in an archive begins at a multiple of this.
const ALIGNMENT: usize = 4;

const DIRECTORY: i64 = 0o040_000;
const REGULAR_FILE: i64 = 0o100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn images(list: &[(&str, &[u8], &str)]) -> Images {
        let mut images = Images::default();
        for (name, data, arguments) in list {
            images.add(Image {
                name: String::from(*name),
                uri: None,
                data: data.to_vec().into(),
                arguments: String::from(*arguments),
                free_after_use: false,
            });
        }
        images
    }

    fn joined(images: &Images) -> Vec<u8> {
        let parts = for_kernel(images, "vmlinuz").unwrap();
        parts.iter().flat_map(|part| part.iter().copied()).collect()
    }

    #[test]
    fn images_follow_each_other() {
        let images = images(&[
            ("vmlinuz", b"MZkernel", ""),
            ("a.img", b"12345", ""),
            ("boot.ipxe", b"#!ipxe\n", ""),
            ("b.img", b"678", ""),
        ]);
        let initrd = joined(&images);
        assert_eq!(initrd, b"12345\x00\x00\x00678\x00");
        let none = for_kernel(&Images::default(), "vmlinuz").unwrap();
        assert!(none.is_empty());
    }

    #[test]
    fn an_image_with_a_path_is_a_file() {
        let images = images(&[("net.conf", b"hello", "/etc/net/net.conf mode=600 mkdir=1")]);
        let initrd = joined(&images);
        assert_eq!(initrd.len() % 4, 0);
        let text = String::from_utf8_lossy(&initrd).replace('\0', ".");
        // Mode, owner, group, links, time, length of the data.
        let folder = "000041ED000000000000000000000001000000000000000000000000";
        let file = "00008180000000000000000000000001000000000000000500000000";
        assert!(
            text.starts_with(&format!("07070100000000{folder}")),
            "{text}"
        );
        assert!(
            text.contains(&format!("00000008{:08}etc/net.", 0)),
            "{text}"
        );
        assert!(text.contains(file), "{text}");
        assert!(text.ends_with("etc/net/net.conf..hello..."), "{text}");
    }

    #[test]
    fn unknown_words_are_refused() {
        let images = images(&[("x", b"", "/x mode=9")]);
        let failure = for_kernel(&images, "vmlinuz").unwrap_err();
        assert_eq!(failure.code(), Code::CommandUsage);
    }
}
