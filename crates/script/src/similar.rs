//! "Did you mean": the known word nearest to one that is not known.

use alloc::vec::Vec;
use core::mem;

/// The candidate that `word` is most likely a slip or a beginning of, if any is near.
pub(crate) fn closest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let length = word.chars().count();
    if !(2..=WORD_CHARS_MAX).contains(&length) {
        return None;
    }
    let near = 1.max(length / 3);
    candidates
        .into_iter()
        .filter_map(|candidate| {
            if candidate.starts_with(word) {
                return Some((0, candidate));
            }
            let distance = distance(word, candidate);
            (distance <= near).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap of neighbours counts two) that turn `from` into `to`.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().take(WORD_CHARS_MAX + 1).collect();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    let mut row = Vec::with_capacity(above.len());
    for (number, from) in from.chars().enumerate() {
        row.clear();
        let mut left = number + 1;
        row.push(left);
        for (to, pair) in to.iter().zip(above.windows(2)) {
            let &[diagonal, up] = pair else { continue };
            left = (diagonal + usize::from(from != *to))
                .min(up + 1)
                .min(left + 1);
            row.push(left);
        }
        mem::swap(&mut above, &mut row);
    }
    above.last().copied().unwrap_or(0)
}

const WORD_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::{closest, distance};

    #[test]
    fn finds_slips_and_beginnings() {
        let words = ["filename", "no-describe", "drive", "keep"];
        for (word, expected) in [
            ("filenam", Some("filename")),
            ("file", Some("filename")),
            ("no_describe", Some("no-describe")),
            ("dirve", None),
            ("drvie", None),
            ("driv", Some("drive")),
            ("kep", Some("keep")),
            ("k", None),
            ("", None),
            ("whatever", None),
        ] {
            assert_eq!(closest(word, words), expected, "{word:?}");
        }
    }

    #[test]
    fn measures_edits() {
        assert_eq!(distance("dhcp", "dhcp"), 0);
        assert_eq!(distance("dchp", "dhcp"), 2);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
