//! MODE SENSE data of a disk: the caching and control pages (SBC-3 section 6.5, SPC-4
//! section 7.5), and what an initiator wants to know of them.

use alloc::vec::Vec;

use crate::cdb::Form;
use crate::sense::Sense;

/// Caching mode page.
pub const PAGE_CACHING: u8 = 0x08;
/// Control mode page.
pub const PAGE_CONTROL: u8 = 0x0a;
/// All pages.
pub const PAGE_ALL: u8 = 0x3f;

/// What the mode parameters of a disk say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModeParameters {
    /// The medium is write protected.
    pub write_protected: bool,
    /// FUA and DPO are understood.
    pub dpo_fua: bool,
    /// Written data may wait in a cache until SYNCHRONIZE CACHE (WCE).
    pub write_cache: bool,
}

impl ModeParameters {
    /// Reads the data of MODE SENSE in the given form (all pages or the caching page).
    /// `None` where it is shorter than its header.
    #[must_use]
    pub fn parse(form: Form, data: &[u8]) -> Option<Self> {
        let (device_specific, descriptors, header) = if form == Form::Six {
            (*data.get(2)?, usize::from(*data.get(3)?), 4)
        } else {
            let descriptors = u16::from_be_bytes([*data.get(6)?, *data.get(7)?]);
            (*data.get(3)?, usize::from(descriptors), 8)
        };
        let mut pages = data.get(header + descriptors..).unwrap_or_default();
        let mut write_cache = false;
        while let Some((&code, rest)) = pages.split_first() {
            let (length, header) = match (code & 0x40, rest) {
                (0, [length, ..]) => (usize::from(*length), 2),
                (_, [_, high, low, ..]) => (usize::from(u16::from_be_bytes([*high, *low])), 4),
                _ => break,
            };
            if code & 0x7f == PAGE_CACHING {
                write_cache = pages.get(2).is_some_and(|flags| flags & 0x04 != 0);
            }
            pages = pages.get(header + length..).unwrap_or_default();
        }
        Some(Self {
            write_protected: device_specific & 0x80 != 0,
            dpo_fua: device_specific & 0x10 != 0,
            write_cache,
        })
    }
}

/// What a MODE SENSE asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) form: Form,
    pub(crate) long_lba: bool,
    pub(crate) disable_block_descriptors: bool,
    pub(crate) page_control: u8,
    pub(crate) page: u8,
    pub(crate) subpage: u8,
}

/// The mode parameters of a disk of `blocks` blocks.
pub(crate) fn respond(
    parameters: ModeParameters,
    blocks: u64,
    block_size: u32,
    request: Request,
) -> Result<Vec<u8>, Sense> {
    if request.page_control == 3 {
        return Err(Sense::SAVING_NOT_SUPPORTED); // SPC-4 section 6.13.5
    }
    if !matches!(request.subpage, 0 | 0xff) {
        return Err(Sense::INVALID_FIELD_IN_CDB);
    }
    // Nothing can be changed: MODE SELECT is not offered.
    let changeable = request.page_control == 1;
    let caching = caching_page(parameters.write_cache && !changeable);
    let control = control_page(changeable);
    let mut pages = Vec::new();
    match request.page {
        PAGE_CACHING => pages.extend(caching),
        PAGE_CONTROL => pages.extend(control),
        PAGE_ALL => {
            pages.extend(caching);
            pages.extend(control);
        }
        _ => return Err(Sense::INVALID_FIELD_IN_CDB),
    }
    let long = request.long_lba && request.form == Form::Ten;
    let descriptor = if request.disable_block_descriptors {
        Vec::new()
    } else {
        block_descriptor(blocks, block_size, long)
    };
    let specific = u8::from(parameters.write_protected) << 7 | u8::from(parameters.dpo_fua) << 4;
    // Both lengths are below 100, far from the limits of their fields.
    let descriptor_length = u8::try_from(descriptor.len()).unwrap_or(0);
    let body = u8::try_from(descriptor.len() + pages.len()).unwrap_or(0);
    let mut data = if request.form == Form::Six {
        alloc::vec![body + 3, 0, specific, descriptor_length]
    } else {
        alloc::vec![
            0,
            body + 6,
            0,
            specific,
            u8::from(long),
            0,
            0,
            descriptor_length
        ]
    };
    data.extend(descriptor);
    data.extend(pages);
    Ok(data)
}

/// SPC-4 section 7.5.1, SBC-3 section 6.5.2.
fn block_descriptor(blocks: u64, block_size: u32, long: bool) -> Vec<u8> {
    if long {
        [
            &blocks.to_be_bytes()[..],
            &[0; 4],
            &block_size.to_be_bytes(),
        ]
        .concat()
    } else {
        let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
        [
            blocks.to_be_bytes(),
            (block_size & 0x00ff_ffff).to_be_bytes(),
        ]
        .concat()
    }
}

fn caching_page(write_cache: bool) -> [u8; 20] {
    let mut page = [0; 20];
    page[0] = PAGE_CACHING;
    page[1] = 18;
    page[2] = u8::from(write_cache) << 2;
    page
}

/// SPC-4 section 7.5.8: unrestricted reordering; unit attention cleared when told.
fn control_page(changeable: bool) -> [u8; 12] {
    let mut page = [0; 12];
    page[0] = PAGE_CONTROL;
    page[1] = 10;
    if !changeable {
        page[3] = 0x10;
        page[8] = 0xff;
        page[9] = 0xff;
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_come_back() {
        let parameters = ModeParameters {
            write_protected: true,
            dpo_fua: true,
            write_cache: true,
        };
        for form in [Form::Six, Form::Ten] {
            for (long_lba, disable_block_descriptors) in
                [(false, false), (true, false), (true, true)]
            {
                let request = Request {
                    form,
                    long_lba,
                    disable_block_descriptors,
                    page_control: 0,
                    page: PAGE_ALL,
                    subpage: 0,
                };
                let data = respond(parameters, 100, 512, request).unwrap();
                let told = if form == Form::Six {
                    usize::from(data[0]) + 1
                } else {
                    usize::from(data[1]) + 2
                };
                assert_eq!(told, data.len());
                assert_eq!(ModeParameters::parse(form, &data), Some(parameters));
                for cut in 0..data.len() {
                    let _ = ModeParameters::parse(form, &data[..cut]);
                }
            }
        }
    }
}
