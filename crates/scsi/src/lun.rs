//! Logical unit numbers (SAM-5 section 4.7) and the REPORT LUNS data (SPC-4 section 6.33).

use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::bytes::u32_at;

/// The eight bytes that name a logical unit, in wire order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lun(pub [u8; 8]);

impl Lun {
    /// LUN 0.
    pub const ZERO: Self = Self([0; 8]);

    /// A single-level number: peripheral addressing up to 255, flat space addressing above
    /// (SAM-5 sections 4.7.7.2 and 4.7.7.3). `None` above 16383.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        let [high, low] = number.to_be_bytes();
        match number {
            0..=0xff => Some(Self([0, low, 0, 0, 0, 0, 0, 0])),
            0x100..=0x3fff => Some(Self([high | 0x40, low, 0, 0, 0, 0, 0, 0])),
            _ => None,
        }
    }

    /// The number of a single-level LUN, whichever of the two addressing methods it came in.
    #[must_use]
    pub const fn number(self) -> Option<u16> {
        let [high, low, 0, 0, 0, 0, 0, 0] = self.0 else {
            return None;
        };
        match high >> 6 {
            0 if high == 0 => Some(low as u16),
            1 => Some(u16::from_be_bytes([high & 0x3f, low])),
            _ => None,
        }
    }
}

/// The text is no LUN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseLunError;

impl fmt::Display for ParseLunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a LUN is up to four groups of one to four hexadecimal digits, like 1 or 4752-3a4f-6b7e-2f99")
    }
}

impl core::error::Error for ParseLunError {}

/// RFC 4173 section 5: up to four groups of hexadecimal digits with dashes between; missing
/// groups are zero; the empty text is LUN 0.
impl FromStr for Lun {
    type Err = ParseLunError;

    fn from_str(text: &str) -> Result<Self, ParseLunError> {
        let mut lun = Self::ZERO;
        if text.is_empty() {
            return Ok(lun);
        }
        let (slots, _) = lun.0.as_chunks_mut::<2>();
        let mut slots = slots.iter_mut();
        for group in text.split('-') {
            let slot = slots.next().ok_or(ParseLunError)?;
            let digits = (1..=4).contains(&group.len())
                && group.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !digits {
                return Err(ParseLunError);
            }
            *slot = u16::from_str_radix(group, 16)
                .map_err(|_| ParseLunError)?
                .to_be_bytes();
        }
        Ok(lun)
    }
}

/// RFC 4173 section 5, without trailing zero groups.
impl fmt::Display for Lun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (groups, _) = self.0.as_chunks::<2>();
        let used = groups
            .iter()
            .rposition(|group| *group != [0, 0])
            .map_or(1, |last| last + 1);
        for (index, group) in groups.iter().take(used).enumerate() {
            let dash = if index == 0 { "" } else { "-" };
            write!(f, "{dash}{:x}", u16::from_be_bytes(*group))?;
        }
        Ok(())
    }
}

/// The data of REPORT LUNS for these units.
#[must_use]
pub fn report(luns: &[Lun]) -> Vec<u8> {
    let mut data = Vec::with_capacity(8 + 8 * luns.len());
    data.extend(
        u32::try_from(8 * luns.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
    data.extend([0; 4]);
    for lun in luns {
        data.extend(lun.0);
    }
    data
}

/// The units in the data of REPORT LUNS; a cut list gives those that are whole.
#[must_use]
pub fn parse_report(data: &[u8]) -> Option<Vec<Lun>> {
    let length = usize::try_from(u32_at(data, 0)?).ok()?;
    let list = data.get(8..)?;
    let (luns, _) = list.get(..length).unwrap_or(list).as_chunks::<8>();
    Some(luns.iter().copied().map(Lun).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_the_short_form_and_come_back() {
        for (number, bytes) in [
            (0, [0, 0, 0, 0, 0, 0, 0, 0]),
            (1, [0, 1, 0, 0, 0, 0, 0, 0]),
            (255, [0, 255, 0, 0, 0, 0, 0, 0]),
            (256, [0x41, 0, 0, 0, 0, 0, 0, 0]),
            (0x3fff, [0x7f, 0xff, 0, 0, 0, 0, 0, 0]),
        ] {
            let lun = Lun::new(number).unwrap();
            assert_eq!(lun.0, bytes);
            assert_eq!(lun.number(), Some(number));
        }
        assert_eq!(Lun::new(0x4000), None);
        assert_eq!(Lun([0x40, 5, 0, 0, 0, 0, 0, 0]).number(), Some(5));
        assert_eq!(Lun([0, 1, 0, 1, 0, 0, 0, 0]).number(), None);
    }

    #[test]
    fn text_is_that_of_rfc_4173() {
        for (text, bytes, shown) in [
            ("", [0, 0, 0, 0, 0, 0, 0, 0], "0"),
            ("1", [0, 1, 0, 0, 0, 0, 0, 0], "1"),
            (
                "4752-3A4F-6b7e-2F99",
                [0x47, 0x52, 0x3a, 0x4f, 0x6b, 0x7e, 0x2f, 0x99],
                "4752-3a4f-6b7e-2f99",
            ),
            ("0-5", [0, 0, 0, 5, 0, 0, 0, 0], "0-5"),
        ] {
            let lun: Lun = text.parse().unwrap();
            assert_eq!(lun.0, bytes);
            assert_eq!(lun.to_string(), shown);
        }
        for text in ["x", "12345", "1-2-3-4-5", "1-", "+1", " 1"] {
            assert_eq!(text.parse::<Lun>(), Err(ParseLunError), "{text:?}");
        }
    }

    #[test]
    fn reports_survive_cuts() {
        let luns = [Lun::ZERO, Lun([0, 1, 0, 0, 0, 0, 0, 0])];
        let data = report(&luns);
        assert_eq!(parse_report(&data).unwrap(), luns);
        assert_eq!(parse_report(&data[..20]).unwrap(), luns[..1]);
        assert_eq!(parse_report(&data[..7]), None);
    }
}
