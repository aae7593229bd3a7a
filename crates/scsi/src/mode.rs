//! Mode parameters of a disk: the caching and control pages (SBC-3 section 6.5, SPC-4
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

/// The parameters that initiators may change, all of them for all initiators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Values {
    /// WCE of the caching page.
    pub write_cache: bool,
    /// SWP of the control page.
    pub software_write_protect: bool,
}

/// What the parameters are about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Medium {
    pub(crate) blocks: u64,
    pub(crate) block_size: u32,
    pub(crate) write_protected: bool,
}

/// The data of MODE SENSE.
pub(crate) fn respond(
    medium: Medium,
    current: Values,
    default: Values,
    request: Request,
) -> Result<Vec<u8>, Sense> {
    if request.page_control == 3 {
        return Err(Sense::SAVING_NOT_SUPPORTED); // SPC-4 section 6.13.5
    }
    if !matches!(request.subpage, 0 | 0xff) {
        return Err(Sense::INVALID_FIELD_IN_CDB);
    }
    let (caching, control) = match request.page_control {
        1 => changeable_pages(),
        2 => pages_of(default),
        _ => pages_of(current),
    };
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
        block_descriptor(medium.blocks, medium.block_size, long)
    };
    let protected = medium.write_protected || current.software_write_protect;
    let specific = u8::from(protected) << 7 | DPO_FUA;
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

const DPO_FUA: u8 = 0x10;

/// What MODE SELECT changes (SPC-4 section 6.11): the values after `data`, which may only differ
/// in what [`changeable_pages`] allows.
pub(crate) fn select(
    medium: Medium,
    current: Values,
    form: Form,
    data: &[u8],
) -> Result<Values, Sense> {
    let short = Sense::PARAMETER_LIST_LENGTH_ERROR;
    let wrong = Sense::INVALID_FIELD_IN_PARAMETER_LIST;
    let (long, descriptors, header) = if form == Form::Six {
        (false, usize::from(*data.get(3).ok_or(short)?), 4)
    } else {
        let length = u16::from_be_bytes([*data.get(6).ok_or(short)?, *data.get(7).ok_or(short)?]);
        (data.get(4).ok_or(short)? & 1 != 0, usize::from(length), 8)
    };
    let rest = data.get(header..).ok_or(short)?;
    let (descriptor, mut pages) = rest.split_at_checked(descriptors).ok_or(short)?;
    // Neither the number of blocks nor their size can be changed; zero leaves the number alone.
    let same = block_descriptor(medium.blocks, medium.block_size, long);
    let size = if long { 12..16 } else { 5..8 };
    let is_same = descriptor == same
        || (descriptor.len() == same.len()
            && descriptor.get(size.clone()) == same.get(size)
            && descriptor.iter().take(4).all(|byte| *byte == 0));
    if !descriptor.is_empty() && !is_same {
        return Err(wrong);
    }
    let mut values = current;
    while let [code, length, ..] = *pages {
        let length = usize::from(length);
        let page = pages.get(..2 + length).ok_or(short)?;
        pages = pages.get(2 + length..).unwrap_or_default();
        let (caching, control) = pages_of(values);
        let (changeable_caching, changeable_control) = changeable_pages();
        let keeps_the_rest = |now: &[u8], changeable: &[u8]| {
            let differs = |((now, wanted), mask): ((&u8, &u8), &u8)| (now ^ wanted) & !mask != 0;
            page.len() == now.len() && !now.iter().zip(page).zip(changeable).skip(2).any(differs)
        };
        match code & 0x7f {
            PAGE_CACHING if keeps_the_rest(&caching, &changeable_caching) => {
                values.write_cache = page.get(2).is_some_and(|byte| byte & WCE != 0);
            }
            PAGE_CONTROL if keeps_the_rest(&control, &changeable_control) => {
                values.software_write_protect = page.get(4).is_some_and(|byte| byte & SWP != 0);
            }
            _ => return Err(wrong),
        }
    }
    if pages.is_empty() {
        Ok(values)
    } else {
        Err(short)
    }
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

const WCE: u8 = 0x04;
const SWP: u8 = 0x08;
type Pages = ([u8; 20], [u8; 12]);

/// The caching page (SBC-3 section 6.5.6) and the control page (SPC-4 section 7.5.8: unrestricted
/// reordering; unit attentions are cleared when told; TAS: a command that another initiator
/// aborts is answered TASK ABORTED).
fn pages_of(values: Values) -> Pages {
    let mut caching = [0; 20];
    caching[0] = PAGE_CACHING;
    caching[1] = 18;
    caching[2] = if values.write_cache { WCE } else { 0 };
    let mut control = [0; 12];
    control[0] = PAGE_CONTROL;
    control[1] = 10;
    control[3] = 0x10;
    control[4] = if values.software_write_protect {
        SWP
    } else {
        0
    };
    control[5] = 0x40;
    control[8] = 0xff;
    control[9] = 0xff;
    (caching, control)
}

/// The same with a one for each bit that can be changed.
fn changeable_pages() -> Pages {
    let mut caching = [0; 20];
    caching[0] = PAGE_CACHING;
    caching[1] = 18;
    caching[2] = WCE;
    let mut control = [0; 12];
    control[0] = PAGE_CONTROL;
    control[1] = 10;
    control[4] = SWP;
    (caching, control)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEDIUM: Medium = Medium {
        blocks: 100,
        block_size: 512,
        write_protected: false,
    };
    const CACHED: Values = Values {
        write_cache: true,
        software_write_protect: false,
    };

    fn all(form: Form, long_lba: bool, disable_block_descriptors: bool) -> Request {
        Request {
            form,
            long_lba,
            disable_block_descriptors,
            page_control: 0,
            page: PAGE_ALL,
            subpage: 0,
        }
    }

    #[test]
    fn both_forms_come_back() {
        let medium = Medium {
            write_protected: true,
            ..MEDIUM
        };
        for form in [Form::Six, Form::Ten] {
            for (long_lba, bare) in [(false, false), (true, false), (true, true)] {
                let data = respond(medium, CACHED, CACHED, all(form, long_lba, bare)).unwrap();
                let told = if form == Form::Six {
                    usize::from(data[0]) + 1
                } else {
                    usize::from(data[1]) + 2
                };
                assert_eq!(told, data.len());
                let expected = ModeParameters {
                    write_protected: true,
                    dpo_fua: true,
                    write_cache: true,
                };
                assert_eq!(ModeParameters::parse(form, &data), Some(expected));
                for cut in 0..data.len() {
                    let _ = ModeParameters::parse(form, &data[..cut]);
                }
            }
        }
    }

    #[test]
    fn what_was_sensed_can_be_selected_and_nothing_else() {
        for form in [Form::Six, Form::Ten] {
            let data = respond(MEDIUM, CACHED, CACHED, all(form, false, false)).unwrap();
            let select = |data: &[u8]| select(MEDIUM, CACHED, form, data);
            assert_eq!(select(&data), Ok(CACHED));
            let pages = data.len() - 32;
            let mut changed = data.clone();
            changed[pages + 2] ^= WCE;
            changed[pages + 20 + 4] ^= SWP;
            let expected = Values {
                write_cache: false,
                software_write_protect: true,
            };
            assert_eq!(select(&changed), Ok(expected));
            for (at, bit) in [
                (pages + 2, 1),
                (pages + 25, 0x40),
                (pages + 1, 2),
                (pages - 1, 1),
            ] {
                let mut wrong = data.clone();
                wrong[at] ^= bit;
                assert!(select(&wrong).is_err(), "{at}");
            }
            for cut in 0..data.len() {
                let _ = select(&data[..cut]);
            }
            assert_eq!(
                select(&data[..data.len() - 1]),
                Err(Sense::PARAMETER_LIST_LENGTH_ERROR)
            );
        }
    }
}
