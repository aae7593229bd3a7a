//! A cable and its faults: what one direction of it does to each frame.

use std::time::Duration;

use crate::rng::Rng;

/// Bytes that a slow line holds back before it drops, as a switch's buffer for one port does.
const QUEUE_BYTES: u64 = 256 << 10;

/// What a cable does to frames, in each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Impairment {
    /// Time added to each frame. A round trip grows by twice as much.
    pub delay: Duration,
    /// Frames lost in a thousand.
    pub loss: u32,
    /// Bits per second; no limit if None.
    pub rate: Option<u64>,
    /// Nothing gets through.
    pub down: bool,
}

/// One direction of a cable.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    /// When the last frame will have been sent.
    free_at: Duration,
}

impl Line {
    /// When a frame of `length` bytes that is sent now arrives; None if it is lost.
    pub(super) fn carry(
        &mut self,
        now: Duration,
        length: usize,
        impairment: &Impairment,
        rng: &mut Rng,
    ) -> Option<Duration> {
        if impairment.down || rng.chance(impairment.loss) {
            return None;
        }
        let sent = match impairment.rate {
            None => now,
            Some(rate) => {
                let begin = self.free_at.max(now);
                if begin - now > time(QUEUE_BYTES, rate) {
                    return None;
                }
                self.free_at = begin + time(length as u64, rate);
                self.free_at
            }
        };
        Some(sent + impairment.delay)
    }
}

/// How long `bytes` take at `rate` bits per second.
fn time(bytes: u64, rate: u64) -> Duration {
    Duration::from_nanos(bytes * 8 * 1_000_000_000 / rate.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_follow_one_another_at_the_rate_and_then_take_the_delay() {
        let slow = Impairment {
            delay: Duration::from_millis(5),
            rate: Some(8_000_000),
            ..Impairment::default()
        };
        let (mut line, mut rng) = (Line::default(), Rng::new(1));
        let mut send = || line.carry(Duration::ZERO, 1000, &slow, &mut rng);
        assert_eq!(send(), Some(Duration::from_millis(6)));
        assert_eq!(send(), Some(Duration::from_millis(7)));
        let kept = std::iter::from_fn(send).count();
        assert_eq!(kept, 262 - 1, "the queue holds 256 KiB");
    }

    #[test]
    fn a_cable_that_is_down_carries_nothing() {
        let down = Impairment {
            down: true,
            ..Impairment::default()
        };
        let (mut line, mut rng) = (Line::default(), Rng::new(1));
        assert_eq!(line.carry(Duration::ZERO, 60, &down, &mut rng), None);
    }
}
