//! Reading a response: head, framing, body (RFC 9112 sections 4 to 7).

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::head::{self, Framing, Head};
use super::{FetchError, Options, Transport, Url};
use crate::Stack;

/// Read at once.
const BUFFER: usize = 32 * 1024;
/// A line with the size of a chunk, extensions included; a line of a trailer.
const CHUNK_LINE_MAX: usize = 1024;
/// Lines of a trailer.
const TRAILERS_MAX: usize = 64;
/// Interim responses before the real one.
const INTERIM_MAX: usize = 8;
/// Of a body that nobody wants: so many bytes are read, or for so long, to keep the connection.
const DRAIN_MAX: u64 = 64 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Takes the pieces of a body.
pub(super) type Taker<'a> = dyn FnMut(&[u8]) -> Result<(), FetchError> + 'a;

/// Reads one response from a transport.
pub(super) struct Reader<'a, T> {
    transport: T,
    url: &'a Url,
    options: &'a Options,
    stack: &'a Stack,
    buffer: Vec<u8>,
    /// Where in `buffer` the bytes begin that are not taken yet, and where they end.
    start: usize,
    end: usize,
    /// Something came at all.
    has_begun: bool,
}

impl<'a, T: Transport> Reader<'a, T> {
    pub(super) fn new(transport: T, url: &'a Url, options: &'a Options, stack: &'a Stack) -> Self {
        Self {
            transport,
            url,
            options,
            stack,
            buffer: vec![0; BUFFER.max(options.head_max)],
            start: 0,
            end: 0,
            has_begun: false,
        }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// The connection, ready for the next request; none if there is more on it than the response.
    pub(super) fn into_transport(self) -> Option<T> {
        self.pending().is_empty().then_some(self.transport)
    }

    /// Sends a request.
    pub(super) async fn send(&mut self, head: &str, body: &[u8]) -> Result<(), FetchError> {
        for bytes in core::iter::once(head.as_bytes()).chain(body.chunks(BUFFER)) {
            let written = self.transport.write_all(bytes);
            self.stack
                .timeout(self.options.idle_timeout, written)
                .await
                .map_err(|elapsed| self.silent(elapsed.after))?
                .map_err(|error| FetchError::of_transport(self.url, error))?;
        }
        Ok(())
    }

    fn silent(&self, after: Duration) -> FetchError {
        FetchError::TimedOut {
            url: self.url.clone(),
            after,
        }
    }

    fn bad(&self, problem: &'static str) -> FetchError {
        FetchError::BadResponse {
            url: self.url.clone(),
            problem,
        }
    }

    /// The connection ended too early. How much of how much is known further up.
    fn truncated(&self) -> FetchError {
        FetchError::Truncated {
            url: self.url.clone(),
            received: 0,
            total: None,
        }
    }

    fn pending(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    fn take(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
    }

    /// Reads more behind what is pending; false at the end of the connection.
    async fn fill(&mut self, patience: Duration) -> Result<bool, FetchError> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let space = self.buffer.get_mut(self.end..).unwrap_or_default();
        let read = self.stack.timeout(patience, self.transport.read(space));
        let read = read
            .await
            .map_err(|elapsed| FetchError::TimedOut {
                url: self.url.clone(),
                after: elapsed.after,
            })?
            .map_err(|error| FetchError::of_transport(self.url, error))?;
        self.end = self.end.saturating_add(read).min(self.buffer.len());
        self.has_begun |= read > 0;
        Ok(read > 0)
    }

    /// Reads the head; interim responses (RFC 9110 section 15.2) are passed over. `is_bare`: no
    /// body follows, because only the head was asked for.
    pub(super) async fn head(&mut self, is_bare: bool) -> Result<Head, FetchError> {
        let until = self.stack.now().saturating_add(self.options.head_timeout);
        let mut interim = 0;
        loop {
            match head::parse(self.pending(), is_bare) {
                Ok(Some((length, head))) if length <= self.options.head_max => {
                    self.take(length);
                    if !(100..200).contains(&head.status) {
                        return Ok(head);
                    }
                    interim += 1;
                    if interim > INTERIM_MAX {
                        return Err(self.bad("it promises an answer again and again"));
                    }
                }
                Ok(None) if self.pending().len() < self.options.head_max => {
                    self.fill_head(until).await?;
                }
                Ok(_) => {
                    return Err(FetchError::HeadTooLong {
                        url: self.url.clone(),
                        limit: self.options.head_max,
                    });
                }
                Err(problem) => return Err(self.bad(problem)),
            }
        }
    }

    async fn fill_head(&mut self, until: Duration) -> Result<(), FetchError> {
        let left = until.saturating_sub(self.stack.now());
        match self.fill(left).await {
            Ok(true) => Ok(()),
            Ok(false) if self.pending().is_empty() => {
                let url = self.url.clone();
                Err(FetchError::NoAnswer { url })
            }
            Ok(false) => Err(self.truncated()),
            Err(FetchError::TimedOut { .. }) if !self.pending().is_empty() => {
                Err(FetchError::HeadTimedOut {
                    url: self.url.clone(),
                    after: self.options.head_timeout,
                })
            }
            Err(FetchError::TimedOut { .. }) => Err(self.silent(self.options.head_timeout)),
            Err(error) => Err(error),
        }
    }

    /// Reads the body into `taker`. Afterwards the connection stands behind the response.
    pub(super) async fn body(
        &mut self,
        framing: Framing,
        taker: &mut Taker<'_>,
    ) -> Result<(), FetchError> {
        match framing {
            Framing::Empty => {}
            Framing::Length(length) => self.pass(length, taker).await?,
            Framing::Chunked => {
                loop {
                    let size = self.chunk_size().await?;
                    if size == 0 {
                        break;
                    }
                    self.pass(size, taker).await?;
                    self.end_of_chunk().await?;
                }
                self.trailers().await;
            }
            Framing::Close => {
                self.transport.expect(None);
                while self.pass_some(u64::MAX, taker).await? > 0 {}
            }
        }
        Ok(())
    }

    /// Reads a body that nobody wants, if it is short; whether it is all read.
    pub(super) async fn drain(&mut self, framing: Framing) -> bool {
        if framing == Framing::Close || matches!(framing, Framing::Length(DRAIN_MAX..)) {
            return false;
        }
        let (stack, url) = (self.stack, self.url);
        let mut left = DRAIN_MAX;
        let mut taker = |piece: &[u8]| {
            let rest = left.checked_sub(piece.len() as u64);
            left = rest.ok_or_else(|| FetchError::BadResponse {
                url: url.clone(),
                problem: "the body is too long to be passed over",
            })?;
            Ok(())
        };
        let drained = stack.timeout(DRAIN_TIME, self.body(framing, &mut taker));
        matches!(drained.await, Ok(Ok(())))
    }

    /// Passes `count` bytes on. The window opens for them and not further: an idle connection
    /// holds what was promised to it last.
    async fn pass(&mut self, mut count: u64, taker: &mut Taker<'_>) -> Result<(), FetchError> {
        let left = count.saturating_sub(self.pending().len() as u64);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        self.transport.expect(Some(left));
        while count > 0 {
            match self.pass_some(count, taker).await? {
                0 => return Err(self.truncated()),
                passed => count -= passed,
            }
        }
        Ok(())
    }

    /// Passes on what is there, at most `most` bytes; 0 at the end of the connection.
    async fn pass_some(&mut self, most: u64, taker: &mut Taker<'_>) -> Result<u64, FetchError> {
        if self.pending().is_empty() && !self.fill(self.options.idle_timeout).await? {
            return Ok(0);
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let count = self.pending().len().min(most);
        taker(self.pending().get(..count).unwrap_or_default())?;
        self.take(count);
        Ok(count as u64)
    }

    /// RFC 9112 section 7.1.
    async fn chunk_size(&mut self) -> Result<u64, FetchError> {
        loop {
            match httparse::parse_chunk_size(self.pending()) {
                Ok(httparse::Status::Complete((length, size))) if length <= CHUNK_LINE_MAX => {
                    self.take(length);
                    return Ok(size);
                }
                Ok(httparse::Status::Partial) if self.pending().len() < CHUNK_LINE_MAX => {
                    if !self.fill(self.options.idle_timeout).await? {
                        return Err(self.truncated());
                    }
                }
                _ => return Err(self.bad("the size of a chunk is not a number")),
            }
        }
    }

    async fn end_of_chunk(&mut self) -> Result<(), FetchError> {
        while self.pending().len() < 2 {
            if !self.fill(self.options.idle_timeout).await? {
                return Err(self.truncated());
            }
        }
        if !self.pending().starts_with(b"\r\n") {
            return Err(self.bad("a chunk is longer than its size says"));
        }
        self.take(2);
        Ok(())
    }

    /// Passes over the trailer (RFC 9112 section 7.1.2). It says nothing that matters here, the
    /// body is complete: what is wrong with it costs no more than the connection.
    async fn trailers(&mut self) {
        for _ in 0..TRAILERS_MAX {
            let end = loop {
                let pending = self.pending();
                if let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                    break end + 1;
                }
                if pending.len() > CHUNK_LINE_MAX
                    || !matches!(self.fill(DRAIN_TIME).await, Ok(true))
                {
                    return self.spoil();
                }
            };
            let is_last = matches!(self.pending().get(..end), Some(b"\r\n" | b"\n"));
            self.take(end);
            if is_last {
                return;
            }
        }
        self.spoil();
    }

    /// Makes the connection useless for another response.
    fn spoil(&mut self) {
        (self.start, self.end) = (0, 1);
    }
}

/// The text that is shown of what a server sent.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
