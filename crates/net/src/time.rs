//! Waiting: sleep, timeouts, and letting the executor poll the card.
//!
//! Every future of this crate is driven by polling. It wakes its waker whenever it has to wait,
//! so it also works below combinators that poll only what was woken.

use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll};
use core::time::Duration;

use crate::Stack;

/// To be polled again.
pub(crate) fn again<T>(context: &Context<'_>) -> Poll<T> {
    context.waker().wake_by_ref();
    Poll::Pending
}

/// Lets the executor run once: it polls the card and the other futures.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        again(context)
    })
    .await;
}

/// The time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed {
    /// How long it was.
    pub after: Duration,
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timed out after {}", Seconds(self.after))
    }
}

impl core::error::Error for Elapsed {}

/// A time span for people: `5 s`, `0.25 s`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.as_secs(), self.0.subsec_millis());
        match millis {
            0 => write!(f, "{seconds} s"),
            _ if millis % 100 == 0 => write!(f, "{seconds}.{} s", millis / 100),
            _ if millis % 10 == 0 => write!(f, "{seconds}.{:02} s", millis / 10),
            _ => write!(f, "{seconds}.{millis:03} s"),
        }
    }
}

/// A moment that [`Stack::poll_at`] knows of, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Alarm {
    stack: Stack,
    id: u64,
    at: Duration,
}

impl Alarm {
    pub(crate) fn new(stack: &Stack, after: Duration) -> Self {
        let at = stack.now().saturating_add(after);
        Self {
            stack: stack.clone(),
            id: stack.set_alarm(at),
            at,
        }
    }

    pub(crate) fn rings(&self) -> bool {
        self.stack.now() >= self.at
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.stack.clear_alarm(self.id);
    }
}

impl Stack {
    /// Waits for `duration`.
    pub async fn sleep(&self, duration: Duration) {
        let alarm = Alarm::new(self, duration);
        poll_fn(|context| {
            if alarm.rings() {
                Poll::Ready(())
            } else {
                again(context)
            }
        })
        .await;
    }

    /// Runs `future`, but no longer than `duration`; it is dropped then.
    ///
    /// # Errors
    /// [`Elapsed`] when the time was up first.
    pub async fn timeout<F: Future>(
        &self,
        duration: Duration,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        let alarm = Alarm::new(self, duration);
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            if alarm.rings() {
                return Poll::Ready(Err(Elapsed { after: duration }));
            }
            again(context)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let cases = [
            (5_000, "5 s"),
            (250, "0.25 s"),
            (1_500, "1.5 s"),
            (10_001, "10.001 s"),
        ];
        for (millis, text) in cases {
            assert_eq!(Seconds(Duration::from_millis(millis)).to_string(), text);
        }
    }
}
