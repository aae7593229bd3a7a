//! Which images may be run: all, or once `imgtrust` asks for it only those whose signature
//! `imgverify` has found good.

use alloc::format;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;

use crate::failure::{Code, Failure};

/// What is asked of images, and which have it. Trust belongs to the bytes: an image of the same
/// name that comes later has to be verified again.
#[derive(Default)]
pub(crate) struct ImageTrust {
    is_required: bool,
    is_permanent: bool,
    verified: Vec<Weak<Vec<u8>>>,
}

impl ImageTrust {
    /// Asks for trusted images from now on, or no more; `forever` is the last word.
    pub(crate) fn require(&mut self, required: bool, forever: bool) -> Result<(), Failure> {
        if self.is_permanent && self.is_required != required {
            let message = "what may be run was decided with --permanent, until the machine is \
                           restarted";
            return Err(Failure::new(Code::ImageUntrusted, message));
        }
        self.is_required = required;
        self.is_permanent |= forever;
        Ok(())
    }

    /// Takes note of what came of a verification.
    pub(crate) fn set(&mut self, data: &Rc<Vec<u8>>, is_trusted: bool) {
        let this = Rc::downgrade(data);
        self.verified
            .retain(|known| known.strong_count() > 0 && !known.ptr_eq(&this));
        if is_trusted {
            self.verified.push(this);
        }
    }

    /// Whether the signature of these bytes was found good.
    pub(crate) fn is_trusted(&self, data: &Rc<Vec<u8>>) -> bool {
        let this = Rc::downgrade(data);
        self.verified.iter().any(|known| known.ptr_eq(&this))
    }

    /// Refuses to run an image that is not trusted where that is asked for.
    pub(crate) fn check(&self, name: &str, data: &Rc<Vec<u8>>) -> Result<(), Failure> {
        if !self.is_required || self.is_trusted(data) {
            return Ok(());
        }
        let message = format!(
            "{name} is not run: only trusted images are (imgtrust), and its signature was not \
             verified (imgverify {name} <signature>)"
        );
        Err(Failure::new(Code::ImageUntrusted, message))
    }
}
