//! Both questions about a name at once: for addresses of IPv6 and of IPv4 (RFC 8305 section 3).

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::future::{Future, poll_fn};
use core::net::IpAddr;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use super::{CACHE_MAX, DnsError};
use crate::Stack;
use crate::time::{Alarm, again};

/// How long addresses of IPv6 are waited for once those of IPv4 are known (RFC 8305 section 8,
/// Resolution Delay).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// What is known of a name's addresses.
pub struct Found {
    /// Those to go on with, at least one: the protocols take turns, IPv6 first.
    pub addresses: Vec<IpAddr>,
    /// The others, where a question is not answered yet; none where there are no more.
    pub late: Option<Late>,
}

type Late = Pin<Box<dyn Future<Output = Vec<IpAddr>>>>;

impl From<Vec<IpAddr>> for Found {
    fn from(addresses: Vec<IpAddr>) -> Self {
        let late = None;
        Self { addresses, late }
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

/// Addresses of one protocol and how long they may be kept.
pub(super) type Answered = Result<(Vec<IpAddr>, Duration), DnsError>;

/// A question for the addresses of one protocol.
pub(super) enum Question {
    Asked(Pin<Box<dyn Future<Output = Answered>>>),
    Answered(Answered),
}

impl Question {
    fn addresses(&self) -> &[IpAddr] {
        match self {
            Self::Answered(Ok((addresses, _))) => addresses,
            _ => &[],
        }
    }

    fn is_answered(&self) -> bool {
        matches!(self, Self::Answered(_))
    }
}

/// All questions about a name, the preferred protocol's first.
pub(super) struct Questions {
    stack: Stack,
    name: String,
    questions: Vec<Question>,
}

impl Questions {
    pub(super) fn new(stack: Stack, name: String, questions: Vec<Question>) -> Self {
        Self {
            stack,
            name,
            questions,
        }
    }

    /// Waits until there are addresses to go on with: those of the preferred protocol at once,
    /// others after a delay that those may have.
    pub(super) async fn found(mut self) -> Result<Found, DnsError> {
        let mut delay: Option<Alarm> = None;
        poll_fn(|context| {
            self.poll(context);
            if self.is_done() || !self.preferred().is_empty() {
                return Poll::Ready(());
            }
            if !self.addresses().is_empty() {
                let stack = &self.stack;
                let delay = delay.get_or_insert_with(|| Alarm::new(stack, RESOLUTION_DELAY));
                if delay.rings() {
                    return Poll::Ready(());
                }
            }
            again(context)
        })
        .await;
        let addresses = self.addresses();
        if addresses.is_empty() {
            return Err(self.failure());
        }
        if self.is_done() {
            self.keep();
            return Ok(Found::from(addresses));
        }
        // A server that never answers for the preferred protocol is not waited for again soon.
        if self.preferred().is_empty() {
            self.keep();
        }
        let known = addresses.clone();
        let late: Late = Box::pin(self.rest(known));
        let late = Some(late);
        Ok(Found { addresses, late })
    }

    /// What comes besides `known`.
    async fn rest(mut self, known: Vec<IpAddr>) -> Vec<IpAddr> {
        poll_fn(|context| {
            self.poll(context);
            if self.is_done() {
                return Poll::Ready(());
            }
            again(context)
        })
        .await;
        self.keep();
        let mut late = self.addresses();
        late.retain(|address| !known.contains(address));
        late
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        for question in &mut self.questions {
            if let Question::Asked(asking) = question
                && let Poll::Ready(answer) = asking.as_mut().poll(context)
            {
                *question = Question::Answered(answer);
            }
        }
    }

    fn is_done(&self) -> bool {
        self.questions.iter().all(Question::is_answered)
    }

    fn preferred(&self) -> &[IpAddr] {
        self.questions
            .first()
            .map_or(&[], |question| question.addresses())
    }

    /// All that are known, in turns (RFC 8305 section 4).
    fn addresses(&self) -> Vec<IpAddr> {
        let of_each = || self.questions.iter().map(Question::addresses);
        let most = of_each().map(<[IpAddr]>::len).max().unwrap_or(0);
        (0..most)
            .flat_map(|index| of_each().filter_map(move |addresses| addresses.get(index).copied()))
            .collect()
    }

    /// Keeps what is known for as long as each answer may be.
    fn keep(&self) {
        let ttls = self.questions.iter().filter_map(|question| match question {
            Question::Answered(Ok((_, ttl))) => Some(*ttl),
            _ => None,
        });
        let ttl = ttls.min().unwrap_or_default().min(CACHE_MAX);
        let until = self.stack.now().saturating_add(ttl);
        let addresses = self.addresses();
        self.stack
            .with(|inner| inner.names.keep(&self.name, &addresses, until));
    }

    /// Why there are no addresses: the last question's reason.
    fn failure(self) -> DnsError {
        let reasons = self.questions.into_iter().rev();
        let mut reasons = reasons.filter_map(|question| match question {
            Question::Answered(Err(error)) => Some(error),
            _ => None,
        });
        reasons.next().unwrap_or(DnsError::NoAddress)
    }
}
