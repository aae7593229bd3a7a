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

/// Edits that turn `from` into `to`: a character put in, left out, or replaced, or two neighbours
/// swapped (the optimal string alignment distance).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().take(WORD_CHARS_MAX + 1).collect();
    let mut before = None;
    // The rows of the table for the last two prefixes of `from`; column = length of a prefix of
    // `to`.
    let mut above_above: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, from) in from.chars().enumerate() {
        let at =
            |cells: &[usize], column: usize| cells.get(column).copied().unwrap_or(usize::MAX / 2);
        let mut cells = Vec::from([row + 1]);
        for (column, to_here) in to.iter().copied().enumerate() {
            let replaced = at(&above, column) + usize::from(from != to_here);
            let mut least = replaced
                .min(at(&above, column + 1) + 1)
                .min(at(&cells, column) + 1);
            let previous = column.checked_sub(1);
            if let Some(previous) = previous
                && to.get(previous) == Some(&from)
                && before == Some(to_here)
            {
                least = least.min(at(&above_above, previous) + 1);
            }
            cells.push(least);
        }
        before = Some(from);
        above_above = mem::replace(&mut above, cells);
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
            ("dirve", Some("drive")),
            ("drvie", Some("drive")),
            ("drvei", None),
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
        assert_eq!(distance("dchp", "dhcp"), 1);
        assert_eq!(distance("hdpc", "dhcp"), 2);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
