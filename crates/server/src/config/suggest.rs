//! "Did you mean": the nearest of a few known words.

/// The word of `known` nearest to `word`, if it is near enough to be a slip of the keyboard, or
/// its beginning.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| {
            let beginning = word.len() >= 3 && candidate.starts_with(word);
            beginning || *distance <= (candidate.len() / 3).max(1)
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance, with `-` and `_` taken as equal.
fn distance(a: &str, b: &str) -> usize {
    let letter = |byte: &u8| {
        if *byte == b'_' {
            b'-'
        } else {
            byte.to_ascii_lowercase()
        }
    };
    let (a, b): (Vec<_>, Vec<_>) = (
        a.as_bytes().iter().map(letter).collect(),
        b.as_bytes().iter().map(letter).collect(),
    );
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let known = ["listen", "root", "read-only", "file", "filename"];
        for (word, expected) in [
            ("lisen", Some("listen")),
            ("Root", Some("root")),
            ("read_only", Some("read-only")),
            ("readonly", Some("read-only")),
            ("fil", Some("file")),
            ("filen", Some("file")),
            ("certificate", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }
}
