//! Why something could not be done to a library of images.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::{DiskError, OpenError, OverlayError};

/// Why something could not be done to a library of images.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LibraryError {
    /// A name that could be taken for something else.
    #[error(
        "{name:?} cannot be a name: letters, digits, '.', '_' and '-', at most 64, \
         a letter or digit first"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The name is taken.
    #[error("there is already {what} {name}: take another name, or remove that one first")]
    Exists {
        /// What it would have been.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// No golden image has that name.
    #[error("there is no image {name}; {known}")]
    NoImage {
        /// The name.
        name: String,
        /// What there is.
        known: String,
    },
    /// No overlay has that name.
    #[error("there is no overlay {name}: bowline overlay list shows those there are")]
    NoOverlay {
        /// The name.
        name: String,
    },
    /// The overlay has no snapshot of that label.
    #[error("the overlay {overlay} has no snapshot {label}")]
    NoSnapshot {
        /// The overlay.
        overlay: String,
        /// The label.
        label: String,
    },
    /// The image is needed.
    #[error("image {image} is needed by the overlay {overlay}: remove that first")]
    HasOverlays {
        /// The image.
        image: String,
        /// One of the overlays on it.
        overlay: String,
    },
    /// An overlay cannot hide the end of its golden image.
    #[error("the disk would have {len} bytes, but image {image} has {image_len}: it can only grow")]
    Smaller {
        /// The image.
        image: String,
        /// Length of the image.
        image_len: u64,
        /// What was asked for.
        len: u64,
    },
    /// An image to import that may not be what it seems.
    #[error(
        "{} is based on {backing}, which is not a file beside it: if you trust that, \
         make one image of the two first (qemu-img convert -O raw)",
        path.display()
    )]
    ForeignBacking {
        /// The image.
        path: PathBuf,
        /// What it names.
        backing: String,
    },
    /// The file that tells about an image cannot be understood.
    #[error("cannot use {}: {message}", path.display())]
    About {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// An image could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An overlay could not be read or written.
    #[error("{}: {source}", path.display())]
    Overlay {
        /// The overlay.
        path: PathBuf,
        /// What happened.
        source: OverlayError,
    },
    /// An image could not be read.
    #[error("{}: {source}", path.display())]
    Disk {
        /// The image.
        path: PathBuf,
        /// What happened.
        source: DiskError,
    },
    /// The system did not do what it was asked.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl LibraryError {
    pub(super) fn no_image(name: &str, known: &[String]) -> Self {
        let known = if known.is_empty() {
            "there are none yet (bowline image import)".into()
        } else {
            format!("there are {}", known.join(", "))
        };
        let name = name.into();
        Self::NoImage { name, known }
    }

    pub(super) fn no_overlay(name: &str) -> Self {
        let name = name.into();
        Self::NoOverlay { name }
    }
}

pub(super) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LibraryError {
    move |source| LibraryError::Io {
        action,
        path: path.into(),
        source,
    }
}

pub(super) fn of_overlay(path: &Path) -> impl FnOnce(OverlayError) -> LibraryError {
    move |source| LibraryError::Overlay {
        path: path.into(),
        source,
    }
}

pub(super) fn of_disk(path: &Path) -> impl FnOnce(DiskError) -> LibraryError {
    move |source| LibraryError::Disk {
        path: path.into(),
        source,
    }
}
