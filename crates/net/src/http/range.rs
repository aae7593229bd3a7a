//! Parts of a thing, and whether two parts are of the same one (RFC 9110 sections 8.8 and 14).

use alloc::string::String;

use super::date;
use super::head::Head;

/// Which bytes a response has (RFC 9110 section 14.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ContentRange {
    pub(super) first: u64,
    /// The last byte, included.
    pub(super) last: u64,
    /// The length of the whole, where the server knows it.
    pub(super) total: Option<u64>,
}

impl ContentRange {
    /// `bytes 0-99/1000`; `None` if it is not that or contradicts itself.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (unit, range) = text.trim_ascii().split_once(' ')?;
        let (range, total) = range.trim_ascii().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let total = match total {
            "*" => None,
            total => Some(number(total)?),
        };
        let range = Self {
            first: number(first)?,
            last: number(last)?,
            total,
        };
        let holds = range.first <= range.last && range.total.is_none_or(|total| range.last < total);
        (unit.eq_ignore_ascii_case("bytes") && holds && range.last < u64::MAX).then_some(range)
    }

    /// How many bytes.
    pub(super) fn length(self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// What tells two states of a thing apart for sure: a value for If-Range (RFC 9110
/// section 13.1.5), a strong entity tag or a date that is old enough.
pub(super) fn validator(head: &Head) -> Option<String> {
    let quoted = |tag: &&String| tag.len() >= 2 && tag.starts_with('"') && tag.ends_with('"');
    if let Some(tag) = &head.etag {
        // A weak one, `W/"..."`, says nothing about bytes.
        return Some(tag).filter(quoted).cloned();
    }
    // RFC 9110 section 8.8.2.2: a thing may change twice in a second.
    let modified = head.last_modified.as_deref()?;
    let sent = date::parse(head.date.as_deref()?)?;
    (date::parse(modified)? < sent).then(|| modified.into())
}

/// Whether a response says that it is of another state than the one with this validator.
pub(super) fn contradicts(validator: &str, head: &Head) -> bool {
    let now = if validator.starts_with('"') {
        &head.etag
    } else {
        &head.last_modified
    };
    now.as_ref().is_some_and(|now| now != validator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        let range = |first, last, total| Some(ContentRange { first, last, total });
        let cases = [
            ("bytes 0-99/1000", range(0, 99, Some(1000))),
            ("Bytes 5-5/*", range(5, 5, None)),
            ("bytes 0-999/1000", range(0, 999, Some(1000))),
            ("bytes 0-1000/1000", None),
            ("bytes 9-8/1000", None),
            ("bytes */1000", None),
            ("bytes +0-9/10", None),
            ("bytes -9/10", None),
            ("bytes 0-18446744073709551615/*", None),
            ("items 0-9/10", None),
            ("0-9/10", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(ContentRange::parse(text), expected, "{text}");
        }
    }
}
