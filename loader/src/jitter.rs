//! How much an attacker cannot guess about how long the same work takes.
//!
//! A processor with caches, a memory controller and an emulator or interrupts around it never takes
//! exactly the same time twice. That is the last source of randomness where there is no other. The
//! estimate is made to be too low: the most common value estimate of NIST SP 800-90B section 6.3.1
//! over what remains when every pattern of the last sample is taken away, a limit per sample, and
//! an eighth of the result.

/// Samples that are taken at once.
pub const SAMPLES: usize = 2048;

/// Bits that a sample may count for, however much it varies: an attacker may know the machine well.
const PER_SAMPLE_MAX: u32 = 1;

/// Only this part of the estimate is credited.
const CAUTION: u32 = 8;

/// Values that are told apart: the low bits of a difference, which vary most.
const BINS: usize = 64;

/// Bits of the samples that cannot be guessed, carefully estimated.
///
/// `samples` are durations of the same work, one after the other, in ticks of a counter.
#[must_use]
pub fn credit(samples: &[u64]) -> u32 {
    let first = samples.windows(2).map(|pair| match pair {
        [a, b] => b.wrapping_sub(*a),
        _ => 0,
    });
    // A drift, or work that is slower every other time, is no randomness: the difference of the
    // differences to the same place of the pattern takes it away.
    let second = samples.windows(3).map(|three| match three {
        [a, _, c] => c.wrapping_sub(*a),
        _ => 0,
    });
    let values = samples.iter().copied();
    [halves(values), halves(first), halves(second)]
        .into_iter()
        .min()
        .unwrap_or(0)
        / CAUTION
}

/// The estimate for a row of values: the bits of one, times how many there are.
fn halves(values: impl Iterator<Item = u64>) -> u32 {
    let mut bins = [0_u32; BINS];
    let mut count = 0_u32;
    for value in values {
        if let Some(bin) = bins.get_mut((value % BINS as u64) as usize) {
            *bin += 1;
        }
        count += 1;
    }
    let most = bins.iter().max().copied().unwrap_or(0);
    // The upper end of the interval that the true share lies in: 2.576 standard deviations, of
    // which one is at most half the root of the count.
    let upper = most + count.isqrt() * 13 / 10;
    // Tenths of a bit: how often the share of the most common value fits into one, in powers of
    // 2^(1/10), of which 10 are a doubling.
    let mut tenths = 0;
    let mut share = u64::from(upper) << 20;
    let whole = u64::from(count) << 20;
    while tenths < 10 * PER_SAMPLE_MAX && share > 0 {
        // 2^(1/10) is 1.0718 to four places; rounded up, so that the estimate is low.
        share = share * 10_718 / 10_000 + 1;
        if share > whole {
            break;
        }
        tenths += 1;
    }
    count * tenths / 10
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn noise(bits: u32) -> Vec<u64> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            // xorshift64 (Marsaglia 2003)
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        (0..SAMPLES)
            .map(|_| 5000 + (next() >> 20) % (1 << bits))
            .collect()
    }

    #[test]
    fn regular_timing_is_worth_nothing() {
        let count = SAMPLES as u64;
        assert_eq!(credit(&[7000; SAMPLES]), 0);
        let drift: Vec<u64> = (0..count).map(|n| 5000 + 3 * n).collect();
        assert_eq!(credit(&drift), 0);
        let alternating: Vec<u64> = (0..count).map(|n| 5000 + 17 * (n % 2)).collect();
        assert_eq!(credit(&alternating), 0);
        assert_eq!(credit(&[]), 0);
    }

    #[test]
    fn rare_hiccups_are_worth_little() {
        let mostly: Vec<u64> = noise(6)
            .into_iter()
            .enumerate()
            .map(|(at, value)| if at % 16 == 0 { value } else { 5000 })
            .collect();
        assert!(credit(&mostly) < 64, "{}", credit(&mostly));
    }

    #[test]
    fn real_noise_is_worth_an_eighth_of_a_bit_a_sample_at_most() {
        let most = SAMPLES as u32 * PER_SAMPLE_MAX / CAUTION;
        for bits in [2, 4, 6] {
            let credit = credit(&noise(bits));
            assert!(credit > most * 8 / 10 && credit <= most, "{bits}: {credit}");
        }
    }
}
