//! Seeded mutations: the same seed makes the same input, on every machine.

/// The longest input that is made.
const LENGTH_MAX: usize = 64 * 1024;
/// Changes made to one input at most.
const CHANGES_MAX: u64 = 6;
/// Bytes that are often a boundary.
const BOUNDARIES: [u8; 12] = [
    0, 1, 0x7f, 0x80, 0xff, 0xfe, b'\n', b'\r', b' ', b'0', b'9', b',',
];

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % (limit.max(1) as u64)) as usize
    }
}

/// A seed from names and numbers (FNV-1a).
pub(crate) fn seed(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().copied().flatten();
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Changes `data` here and there. `other` is another input of the same kind.
pub(crate) fn mutate(data: &mut Vec<u8>, other: &[u8], words: &[&str], random: &mut Random) {
    for _ in 0..=random.next() % CHANGES_MAX {
        change(data, other, words, random);
    }
    data.truncate(LENGTH_MAX);
}

fn change(data: &mut Vec<u8>, other: &[u8], words: &[&str], random: &mut Random) {
    let at = random.below(data.len());
    let end = (at + 1 + random.below(16)).min(data.len());
    match random.below(11) {
        0 => put(data, at, |byte| byte ^ 1 << random.below(8)),
        1 => put(data, at, |_| random.next() as u8),
        2 => put(data, at, |_| BOUNDARIES[random.below(BOUNDARIES.len())]),
        3 => put(data, at, |byte| byte.wrapping_add(1)),
        4 => put(data, at, |byte| byte.wrapping_sub(1)),
        5 => drop(data.drain(at..end)),
        6 => data.truncate(at),
        7 => {
            let copy = data[at..end].to_vec();
            let to = random.below(data.len() + 1);
            data.splice(to..to, copy);
        }
        8 => {
            let copies = 1 + random.below(64);
            let copy = data[at..end].repeat(copies);
            data.splice(at..at, copy);
        }
        9 if !words.is_empty() => {
            let word = words[random.below(words.len())];
            data.splice(at..at, word.bytes());
        }
        _ => {
            let from = random.below(other.len());
            let until = (from + random.below(other.len() - from + 1)).min(other.len());
            data.splice(at..end, other[from..until].iter().copied());
        }
    }
}

fn put(data: &mut [u8], at: usize, new: impl FnOnce(u8) -> u8) {
    if let Some(byte) = data.get_mut(at) {
        *byte = new(*byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same everywhere: a failure that one machine reports can be had on another.
    #[test]
    fn mutations_are_repeatable() {
        let make = |n: u64| {
            let mut data = b"GET / HTTP/1.1\r\n\r\n".to_vec();
            let mut random = Random::new(seed(&[b"name", &n.to_be_bytes()]));
            mutate(&mut data, b"other", &["word"], &mut random);
            data
        };
        assert_eq!(make(1), make(1));
        let different: std::collections::HashSet<_> = (0..100).map(make).collect();
        assert!(different.len() > 90);
        assert_eq!(
            seed(&[b"a"]),
            0xaf63_dc4c_8601_ec8c,
            "the published value of FNV-1a"
        );
        let (mut empty, mut random) = (Vec::new(), Random::new(1));
        for _ in 0..1000 {
            mutate(&mut empty, b"", &[], &mut random);
        }
    }
}
