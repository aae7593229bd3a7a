//! Images in memory: scripts and EFI programs that were downloaded, by name.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use bowline_script::{Script, Uri};

use crate::failure::{Code, Failure};

/// An image.
pub(crate) struct Image {
    /// The name that commands use.
    pub(crate) name: String,
    /// Where it came from, if it did not come from another image.
    pub(crate) uri: Option<Uri>,
    /// Its bytes, shared with whoever runs it. As they were fetched: a copy of a large one takes
    /// time and as much memory again.
    pub(crate) data: Rc<Vec<u8>>,
    /// What it is started with.
    pub(crate) arguments: String,
    /// Freed once it has run.
    pub(crate) free_after_use: bool,
}

/// What an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A script.
    Script,
    /// A PE file (UEFI 2.10 section 2.1.1).
    EfiProgram,
}

impl Image {
    /// What the image is by its first bytes.
    pub(crate) fn format(&self) -> Result<Format, Failure> {
        if Script::is_script(&self.data) {
            return Ok(Format::Script);
        }
        if self.data.starts_with(b"MZ") {
            return Ok(Format::EfiProgram);
        }
        let start: String = self
            .data
            .iter()
            .take(SHOWN_BYTES)
            .map(|&byte| {
                if byte.is_ascii_graphic() {
                    char::from(byte)
                } else {
                    '.'
                }
            })
            .collect();
        Err(Failure::new(
            Code::ImageFormat,
            format!(
                "{} is neither a script (#!ipxe) nor an EFI program; it begins with `{start}`",
                self.name
            ),
        ))
    }
}

/// The images, in the order they came.
#[derive(Default)]
pub(crate) struct Images {
    list: Vec<Image>,
    selected: Option<String>,
}

impl Images {
    /// Adds an image; one of the same name goes.
    pub(crate) fn add(&mut self, image: Image) {
        self.remove(&image.name.clone());
        self.list.push(image);
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Image> {
        self.list.iter().find(|image| image.name == name)
    }

    pub(crate) fn find_mut(&mut self, name: &str) -> Option<&mut Image> {
        self.list.iter_mut().find(|image| image.name == name)
    }

    pub(crate) fn select(&mut self, name: &str) {
        self.selected = Some(String::from(name));
    }

    /// The image that `boot` without arguments starts.
    pub(crate) fn selected(&self) -> Result<&Image, Failure> {
        let image = self.selected.as_deref().and_then(|name| self.find(name));
        image.ok_or_else(|| Failure::new(Code::ImageUnknown, "no image is selected"))
    }

    pub(crate) fn is_selected(&self, image: &Image) -> bool {
        self.selected.as_deref() == Some(&image.name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Image> {
        self.list.iter()
    }

    /// Frees an image; false where there is none of this name.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let before = self.list.len();
        self.list.retain(|image| image.name != name);
        if self.selected.as_deref() == Some(name) {
            self.selected = None;
        }
        self.list.len() < before
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The failure of naming an image that is not there.
    pub(crate) fn unknown(&self, name: &str) -> Failure {
        Failure::new(
            Code::ImageUnknown,
            format!("there is no image {name}; `imgstat` lists them"),
        )
    }
}

/// How much of an unknown image a message shows.
const SHOWN_BYTES: usize = 24;
