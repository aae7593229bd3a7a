//! Reading a response: head, framing, body (RFC 9112 sections 4 to 7).

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::{FetchError, Options, Progress, Sink, Stop, Transport, Url};
use crate::Stack;

/// Read at once.
const BUFFER: usize = 32 * 1024;
/// Header fields of a response.
const FIELDS_MAX: usize = 64;
/// A line with the size of a chunk, extensions included.
const CHUNK_LINE_MAX: usize = 1024;

/// How a body ends (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    Empty,
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// With the connection.
    Close,
}

/// What matters of a response's head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) reason: String,
    pub(super) location: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) framing: Framing,
}

/// Reads a response from a transport.
pub(super) struct Reader<'a, T> {
    transport: T,
    url: &'a Url,
    options: &'a Options,
    stack: &'a Stack,
    buffer: Vec<u8>,
    /// Where in `buffer` the bytes begin that are not taken yet, and where they end.
    start: usize,
    end: usize,
    received: u64,
    total: Option<u64>,
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
            received: 0,
            total: None,
        }
    }

    fn bad(&self, problem: &'static str) -> FetchError {
        FetchError::BadResponse {
            url: self.url.clone(),
            problem,
        }
    }

    fn truncated(&self) -> FetchError {
        FetchError::Truncated {
            url: self.url.clone(),
            received: self.received,
            total: self.total,
        }
    }

    fn pending(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    fn take(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// Reads more behind what is pending; false at the end of the connection.
    async fn fill(&mut self) -> Result<bool, FetchError> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let space = self.buffer.get_mut(self.end..).unwrap_or_default();
        let read = self
            .stack
            .timeout(self.options.idle_timeout, self.transport.read(space))
            .await
            .map_err(|elapsed| FetchError::TimedOut {
                url: self.url.clone(),
                after: elapsed.after,
            })?
            .map_err(|error| FetchError::Stream {
                url: self.url.clone(),
                error,
            })?;
        self.end += read;
        Ok(read > 0)
    }

    /// Reads the head; interim responses (RFC 9110 section 15.2) are passed over.
    pub(super) async fn head(&mut self) -> Result<Head, FetchError> {
        loop {
            match parse_head(self.pending()) {
                Ok(Some((length, head))) if length <= self.options.head_max => {
                    self.take(length);
                    if !(100..200).contains(&head.status) {
                        return Ok(head);
                    }
                }
                Ok(None) if self.pending().len() < self.options.head_max => {
                    if !self.fill().await? {
                        return Err(if self.pending().is_empty() {
                            self.bad("it closed the connection without an answer")
                        } else {
                            self.truncated()
                        });
                    }
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

    /// Reads the body into `sink`; how many bytes it had.
    pub(super) async fn body(
        &mut self,
        framing: Framing,
        sink: &mut Sink<'_>,
    ) -> Result<u64, FetchError> {
        match framing {
            Framing::Empty => {}
            Framing::Length(length) => {
                self.total = Some(length);
                self.pass(length, sink).await?;
            }
            Framing::Chunked => loop {
                let size = self.chunk_size().await?;
                if size == 0 {
                    // Trailers say nothing that matters here, and the connection ends.
                    break;
                }
                self.pass(size, sink).await?;
                self.end_of_chunk().await?;
            },
            Framing::Close => while self.pass_some(u64::MAX, sink).await? > 0 {},
        }
        Ok(self.received)
    }

    /// Passes `count` bytes on to the sink.
    async fn pass(&mut self, mut count: u64, sink: &mut Sink<'_>) -> Result<(), FetchError> {
        while count > 0 {
            match self.pass_some(count, sink).await? {
                0 => return Err(self.truncated()),
                passed => count -= passed,
            }
        }
        Ok(())
    }

    /// Passes on what is there, at most `most` bytes; 0 at the end of the connection.
    async fn pass_some(&mut self, most: u64, sink: &mut Sink<'_>) -> Result<u64, FetchError> {
        if self.pending().is_empty() && !self.fill().await? {
            return Ok(0);
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let count = self.pending().len().min(most);
        self.received += count as u64;
        let progress = Progress {
            received: self.received,
            total: self.total,
        };
        let piece = self.pending().get(..count).unwrap_or_default();
        sink(piece, progress).map_err(|Stop| FetchError::Stopped)?;
        self.take(count);
        Ok(count as u64)
    }

    /// RFC 9112 section 7.1.
    async fn chunk_size(&mut self) -> Result<u64, FetchError> {
        loop {
            match httparse::parse_chunk_size(self.pending()) {
                Ok(httparse::Status::Complete((length, size))) => {
                    self.take(length);
                    return Ok(size);
                }
                Ok(httparse::Status::Partial) if self.pending().len() < CHUNK_LINE_MAX => {
                    if !self.fill().await? {
                        return Err(self.truncated());
                    }
                }
                _ => return Err(self.bad("the size of a chunk is not a number")),
            }
        }
    }

    async fn end_of_chunk(&mut self) -> Result<(), FetchError> {
        while self.pending().len() < 2 {
            if !self.fill().await? {
                return Err(self.truncated());
            }
        }
        if !self.pending().starts_with(b"\r\n") {
            return Err(self.bad("a chunk is longer than its size says"));
        }
        self.take(2);
        Ok(())
    }
}

/// The head and its length; `None` if more of it must come.
fn parse_head(bytes: &[u8]) -> Result<Option<(usize, Head)>, &'static str> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err("too many header fields"),
        Err(httparse::Error::Version) => return Err("the answer is not HTTP/1"),
        Err(_) => return Err("the header of the answer is malformed"),
    };
    let status = response.code.ok_or("the answer has no status")?;
    let text = |name: &str| {
        let mut found = response.headers.iter();
        let field = found.find(|field| field.name.eq_ignore_ascii_case(name))?;
        core::str::from_utf8(field.value).ok().map(String::from)
    };
    let head = Head {
        status,
        reason: response.reason.unwrap_or_default().into(),
        location: text("location"),
        content_type: text("content-type"),
        framing: framing(status, response.headers)?,
    };
    Ok(Some((length, head)))
}

/// RFC 9112 section 6.3.
fn framing(status: u16, fields: &[httparse::Header<'_>]) -> Result<Framing, &'static str> {
    let values = |name: &'static str| {
        let named = fields
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name));
        named.flat_map(|field| {
            field
                .value
                .split(|byte| *byte == b',')
                .map(<[u8]>::trim_ascii)
        })
    };
    if matches!(status, 100..200 | 204 | 304) {
        return Ok(Framing::Empty);
    }
    let mut codings = values("transfer-encoding");
    match (codings.next(), codings.next()) {
        (None, _) => {}
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => {
            return Ok(Framing::Chunked);
        }
        _ => return Err("it uses a transfer coding that was not asked for"),
    }
    let mut length = None;
    for value in values("content-length") {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let number = core::str::from_utf8(value)
            .ok()
            .and_then(|v| v.parse().ok());
        let number: u64 = number
            .filter(|_| digits)
            .ok_or("the Content-Length is not a number")?;
        if length.is_some_and(|other| other != number) {
            return Err("it names two different lengths");
        }
        length = Some(number);
    }
    Ok(length.map_or(Framing::Close, Framing::Length))
}
