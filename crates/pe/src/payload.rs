//! The loader as `bowline.efi` carries it: laid out as in memory, deflated.
//!
//! It is the content of a section named [`SECTION`]:
//!
//! ```text
//! 0  u32, little-endian: how many bytes it is in memory
//! 4  these bytes, in zlib's format (RFC 1950), which ends with a checksum
//! ```

use alloc::vec::Vec;
use core::iter;

use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::inflate::{TINFLStatus, decompress_slice_iter_to_slice};

use crate::PeError;
use crate::headers::u32_at;

/// The name of the section.
pub const SECTION: &str = ".loader";

/// A loader that says that it is larger is not believed.
pub const IMAGE_BYTES_MAX: usize = 64 << 20;

/// The best that `miniz_oxide` has.
const LEVEL: u8 = 10;

/// A deflated image.
#[derive(Debug)]
pub struct Payload<'a> {
    image_bytes: usize,
    stream: &'a [u8],
}

/// The content of the section for `image`, which is laid out as in memory.
///
/// # Errors
/// Where the image is larger than [`IMAGE_BYTES_MAX`].
pub fn deflate(image: &[u8]) -> Result<Vec<u8>, PeError> {
    let length = u32::try_from(image.len()).map_err(|_| PeError::TooLarge)?;
    if image.len() > IMAGE_BYTES_MAX {
        return Err(PeError::TooLarge);
    }
    let mut section = Vec::from(length.to_le_bytes());
    section.extend(compress_to_vec_zlib(image, LEVEL));
    Ok(section)
}

impl<'a> Payload<'a> {
    /// Looks at the beginning of the section.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(section: &'a [u8]) -> Result<Self, PeError> {
        let image_bytes = u32_at(section, 0).ok_or(CUT_OFF)? as usize;
        if !(1..=IMAGE_BYTES_MAX).contains(&image_bytes) {
            return Err(PeError::Damaged("its size makes no sense"));
        }
        let stream = section.get(4..).unwrap_or_default();
        Ok(Self {
            image_bytes,
            stream,
        })
    }

    /// How many bytes the image takes.
    #[must_use]
    pub fn image_bytes(&self) -> usize {
        self.image_bytes
    }

    /// Inflates the image into `image`, which has room for all of it and no more.
    ///
    /// # Errors
    /// Where the data are damaged; what `image` holds is then worth nothing.
    pub fn inflate(&self, image: &mut [u8]) -> Result<(), PeError> {
        let length = image.len();
        match decompress_slice_iter_to_slice(image, iter::once(self.stream), true, false) {
            Ok(made) if made == length => Ok(()),
            Ok(_) => Err(PeError::Damaged("it is shorter than it says")),
            Err(TINFLStatus::HasMoreOutput) => Err(PeError::Damaged("it is longer than it says")),
            Err(TINFLStatus::Adler32Mismatch) => Err(PeError::Damaged("its checksum is wrong")),
            Err(TINFLStatus::FailedCannotMakeProgress) => Err(CUT_OFF),
            Err(_) => Err(PeError::Damaged("its compressed data make no sense")),
        }
    }
}

const CUT_OFF: PeError = PeError::Damaged("it is cut off");
