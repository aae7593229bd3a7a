//! A request through redirects, challenges, waits, and breaks, until its answer is all there.
//!
//! A `GET` that breaks within its body goes on where it stopped (RFC 9110 section 14.2), if the
//! server had said something that tells one state of the file from another; else it begins
//! again, and the sink is told.

use alloc::string::String;
use core::time::Duration;

use super::auth::Answer;
use super::head::{Framing, Head};
use super::range::{self, ContentRange};
use super::request::Message;
use super::response::Reader;
use super::{
    Client, Connect, FetchError, Method, Part, Progress, Refusal, Request, Response, Scheme, Sink,
    Stop, Url, date,
};

/// The pause before the first retry; it doubles.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// Of all retries of a download to those in a row.
const RETRIES_FACTOR: u32 = 10;
/// A wait whose length cannot be known: a date from a server that does not tell its own.
const WAIT_UNKNOWN: Duration = Duration::from_secs(5);
const WAIT_MIN: Duration = Duration::from_secs(1);
/// Times that a server may find a nonce too old, one after the other.
const NONCES_MAX: usize = 3;

/// A request on its way.
pub(super) struct Download<'a, C: Connect> {
    client: &'a Client<'a, C>,
    request: &'a Request,
    sink: &'a mut dyn Sink,
    /// How the server wants to be told who we are.
    answer: Option<Answer>,
    /// A body has begun.
    has_begun: bool,
    /// What tells whether the rest is of the same file.
    validator: Option<String>,
    /// The server seems to be able to go on in the middle.
    has_ranges: bool,
    received: u64,
    total: Option<u64>,
    /// The most bytes that there have been, before the sink was told to begin again.
    furthest: u64,
    /// Failures since there was a new byte, and all.
    failures: u32,
    failures_in_all: u32,
    waits: u32,
}

/// What follows from one answer.
enum Step {
    Done(Response),
    /// The server gave less than was asked for: ask for the rest.
    Rest,
    Redirect(Url, Method),
    /// Now with authorization.
    Again,
}

impl<'a, C: Connect> Download<'a, C> {
    pub(super) fn new(
        client: &'a Client<'a, C>,
        request: &'a Request,
        sink: &'a mut dyn Sink,
    ) -> Self {
        Self {
            client,
            request,
            sink,
            answer: None,
            has_begun: false,
            validator: None,
            has_ranges: true,
            received: 0,
            total: None,
            furthest: 0,
            failures: 0,
            failures_in_all: 0,
            waits: 0,
        }
    }

    pub(super) async fn run(mut self) -> Result<Response, FetchError> {
        loop {
            let mut error = match self.attempt().await {
                Ok(Some(response)) => return Ok(response),
                Ok(None) => continue,
                Err(error) => error,
            };
            if let FetchError::Truncated {
                received, total, ..
            } = &mut error
            {
                (*received, *total) = (self.received, self.total);
            }
            let Some(pause) = self.pause_after(&error) else {
                return Err(error);
            };
            self.sink.paused(&error, pause);
            self.client.connector.stack().sleep(pause).await;
        }
    }

    /// How long to wait before another try; `None` if there is none.
    fn pause_after(&mut self, error: &FetchError) -> Option<Duration> {
        let options = self.client.options;
        if let FetchError::Unavailable { after, .. } = error {
            self.waits = self.waits.saturating_add(1);
            let may = self.waits <= options.waits_max && *after <= options.wait_max;
            return may.then_some(*after);
        }
        if !self.has_begun || !error.is_transient() {
            return None;
        }
        if self.received > self.furthest {
            self.furthest = self.received;
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.failures_in_all = self.failures_in_all.saturating_add(1);
        let in_all = options.retries_max.saturating_mul(RETRIES_FACTOR);
        if self.failures > options.retries_max || self.failures_in_all > in_all {
            return None;
        }
        let doubled = 1_u32.checked_shl(self.failures - 1).unwrap_or(u32::MAX);
        Some(PAUSE.saturating_mul(doubled).min(PAUSE_MAX))
    }

    /// From the first URL to a body, or a part of it (`None`).
    async fn attempt(&mut self) -> Result<Option<Response>, FetchError> {
        let mut url = self.request.url.clone();
        let mut method = self.request.method;
        let (mut redirects, mut nonces) = (0, 0);
        loop {
            match self.step(&url, method, nonces).await? {
                Step::Done(response) => return Ok(Some(response)),
                Step::Rest => return Ok(None),
                Step::Again => nonces += 1,
                Step::Redirect(..) if redirects >= self.client.options.redirects_max => {
                    return Err(FetchError::TooManyRedirects {
                        url: self.request.url.clone(),
                        limit: self.client.options.redirects_max,
                    });
                }
                Step::Redirect(to, with) => {
                    redirects += 1;
                    (url, method, nonces) = (to, with, 0);
                }
            }
        }
    }

    async fn step(&mut self, url: &Url, method: Method, nonces: usize) -> Result<Step, FetchError> {
        let client = self.client;
        let from = if self.can_resume() { self.received } else { 0 };
        let message = self.message(url, method, from);
        let (head, reader) = client.exchange(&message).await?;
        let step = match (head.status, &head.location) {
            (301 | 302 | 303 | 307 | 308, Some(location)) => {
                redirect(url, location, method, head.status)
            }
            (401, _) => self.authenticate(url, &head, nonces).map(|()| Step::Again),
            (429 | 503, _) if head.retry_after.is_some() => Err(FetchError::Unavailable {
                url: url.clone(),
                code: head.status,
                after: wait(&head),
            }),
            (200..=299, _) => return self.receive(url, &message, from, head, reader).await,
            // The file is shorter now than what we have of it.
            (416, _) if from > 0 => {
                self.has_ranges = false;
                Err(FetchError::WrongPart { url: url.clone() })
            }
            _ => Err(FetchError::Status {
                url: url.clone(),
                code: head.status,
                reason: head.reason.clone(),
            }),
        };
        client.discard(url, &head, reader).await;
        step
    }

    fn can_resume(&self) -> bool {
        self.received > 0 && self.has_ranges && self.validator.is_some()
    }

    fn message<'m>(&mut self, url: &'m Url, method: Method, from: u64) -> Message<'m>
    where
        'a: 'm,
    {
        let request = self.request;
        let is_home = url.has_same_origin(&request.url);
        let part = match request.part {
            _ if method != Method::Get => None,
            Some(part) => Some(Part {
                first: part.first.saturating_add(from),
                length: part.length.map(|length| length.saturating_sub(from)),
            }),
            None if from > 0 => Some(Part {
                first: from,
                length: None,
            }),
            None => None,
        };
        let authorization = match (&mut self.answer, &request.credentials) {
            (Some(answer), Some(credentials)) if is_home => {
                Some(answer.authorization(credentials, method.name(), url.target()))
            }
            _ => None,
        };
        // RFC 9110 section 15.4: what describes a body goes with it.
        let fits = |name: &str| {
            method == request.method
                || !name
                    .get(..8)
                    .is_some_and(|start| start.eq_ignore_ascii_case("content-"))
        };
        let headers = request.headers.iter();
        Message {
            method,
            url,
            headers: headers.filter(|(name, _)| is_home && fits(name)).collect(),
            body: if method.has_body() {
                &request.body
            } else {
                &[]
            },
            part,
            if_range: self.validator.clone().filter(|_| from > 0),
            authorization,
        }
    }

    fn authenticate(&mut self, url: &Url, head: &Head, nonces: usize) -> Result<(), FetchError> {
        let refused = |reason| FetchError::Unauthorized {
            url: url.clone(),
            reason,
        };
        let Some(credentials) = &self.request.credentials else {
            return Err(refused(Refusal::NoCredentials));
        };
        if !url.has_same_origin(&self.request.url) {
            return Err(refused(Refusal::NoCredentials));
        }
        let random = self.client.connector.stack().with(|inner| inner.random());
        let answer = Answer::choose(&head.challenges, random)
            .map_err(|offered| refused(Refusal::UnknownSchemes { offered }))?;
        if nonces > 0 && !(answer.is_stale() && nonces < NONCES_MAX) {
            let user = credentials.user().into();
            return Err(refused(Refusal::Wrong { user }));
        }
        if answer.is_basic() && credentials.user().contains(':') {
            return Err(refused(Refusal::Colon));
        }
        self.answer = Some(answer);
        Ok(())
    }

    /// Takes the body of a good answer.
    async fn receive(
        &mut self,
        url: &Url,
        message: &Message<'_>,
        from: u64,
        head: Head,
        mut reader: Reader<'_, C::Transport>,
    ) -> Result<Step, FetchError> {
        let range = match (head.status, message.part) {
            (206, Some(part)) => Some(self.check(url, part, from, &head)?),
            (206, None) => {
                return Err(FetchError::BadResponse {
                    url: url.clone(),
                    problem: "it sends a part that nobody asked for",
                });
            }
            (_, Some(_)) if self.request.part.is_some() => {
                return Err(FetchError::NoParts { url: url.clone() });
            }
            _ => None,
        };
        let total = match range {
            Some(range) => self.total_by(range),
            None => head.length.filter(|_| head.framing != Framing::Chunked),
        };
        if from == 0 || range.is_none() {
            self.begin(&head, total)?;
        } else {
            self.total = self.total.or(total);
        }
        let end = range.map(|range| self.received.saturating_add(range.length()));
        self.take_body(url, &head, &mut reader, end).await?;
        self.client.keep(url, &head, reader);
        if range.is_some() && self.total.is_some_and(|total| self.received < total) {
            // Without a validator the rest may be another file's.
            return if self.can_resume() {
                Ok(Step::Rest)
            } else {
                Err(FetchError::WrongPart { url: url.clone() })
            };
        }
        Ok(Step::Done(Response {
            url: url.clone(),
            status: head.status,
            date: head.date.as_deref().and_then(date::parse),
            content_type: head.content_type,
            received: self.received,
            length: head.length.filter(|_| range.is_none()).or(self.total),
        }))
    }

    fn begin(&mut self, head: &Head, total: Option<u64>) -> Result<(), FetchError> {
        self.furthest = self.furthest.max(self.received);
        self.received = 0;
        self.total = total;
        self.validator = range::validator(head);
        self.has_ranges &= !head.has_no_ranges;
        self.has_begun = self.request.method == Method::Get;
        self.sink.begin(total).map_err(|Stop| FetchError::Stopped)
    }

    /// Passes the body to the sink. A part ends at `end`.
    async fn take_body(
        &mut self,
        url: &Url,
        head: &Head,
        reader: &mut Reader<'_, C::Transport>,
        end: Option<u64>,
    ) -> Result<(), FetchError> {
        let Self {
            sink,
            received,
            total,
            ..
        } = self;
        let wrong = || FetchError::WrongPart { url: url.clone() };
        let mut taker = |piece: &[u8]| {
            let after = received.saturating_add(piece.len() as u64);
            if end.is_some_and(|end| after > end) {
                return Err(wrong());
            }
            *received = after;
            let progress = Progress {
                received: after,
                total: *total,
            };
            sink.write(piece, progress)
                .map_err(|Stop| FetchError::Stopped)
        };
        let mut taken = reader.body(head.framing, &mut taker).await;
        // Only a chunked part can be shorter or longer than its Content-Range says.
        if taken.is_ok() && end.is_some_and(|end| self.received != end) {
            taken = Err(wrong());
        }
        self.has_ranges &= !matches!(taken, Err(FetchError::WrongPart { .. }));
        taken
    }

    /// The part that came must be the one that was asked for, and of the same file.
    fn check(
        &mut self,
        url: &Url,
        asked: Part,
        from: u64,
        head: &Head,
    ) -> Result<ContentRange, FetchError> {
        let range = head.content_range.as_deref().and_then(ContentRange::parse);
        let fits = |range: &ContentRange| {
            let is_other = |validator: &String| from > 0 && range::contradicts(validator, head);
            let total = self.total_by(*range);
            range.first == asked.first
                && asked.length.is_none_or(|most| range.length() <= most)
                && (head.framing == Framing::Chunked
                    || head.length.is_none_or(|n| n == range.length()))
                && (from == 0 || total.is_none() || self.total.is_none() || total == self.total)
                && !self.validator.as_ref().is_some_and(is_other)
        };
        let checked = range.filter(fits);
        checked.ok_or_else(|| {
            // Its parts are not to be trusted: from the beginning.
            self.has_ranges = false;
            FetchError::WrongPart { url: url.clone() }
        })
    }

    /// Bytes that the sink will get in all, by what a part says about the whole.
    fn total_by(&self, range: ContentRange) -> Option<u64> {
        let total = range.total?;
        Some(match self.request.part {
            None => total,
            Some(part) => {
                let rest = total.saturating_sub(part.first);
                part.length.map_or(rest, |length| rest.min(length))
            }
        })
    }
}

/// RFC 9110 section 15.4.
fn redirect(from: &Url, location: &str, method: Method, status: u16) -> Result<Step, FetchError> {
    let Ok(to) = from.join(location) else {
        return Err(FetchError::BadRedirect {
            url: from.clone(),
            location: location.into(),
        });
    };
    // What TLS protected must not go on in clear.
    if from.scheme() == Scheme::Https && to.scheme() == Scheme::Http {
        return Err(FetchError::InsecureRedirect {
            url: from.clone(),
            to,
        });
    }
    let method = match (status, method) {
        (301..=303, Method::Post) | (303, Method::Put) => Method::Get,
        (_, method) => method,
    };
    Ok(Step::Redirect(to, method))
}

/// When the server wants us back (RFC 9110 section 10.2.3). Its dates count by its own clock.
fn wait(head: &Head) -> Duration {
    let text = head.retry_after.as_deref().unwrap_or_default().trim_ascii();
    let until = || {
        let now = date::parse(head.date.as_deref()?)?;
        Some(date::parse(text)?.saturating_sub(now))
    };
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = if is_number {
        Some(text.parse().unwrap_or(u64::MAX))
    } else {
        until()
    };
    seconds
        .map_or(WAIT_UNKNOWN, Duration::from_secs)
        .max(WAIT_MIN)
}
