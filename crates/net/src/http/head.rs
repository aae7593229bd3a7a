//! The head of a response: what of it matters (RFC 9112 sections 4 to 6).

use alloc::string::String;
use alloc::vec::Vec;

use super::response::printable;

/// Header fields of a response.
const FIELDS_MAX: usize = 64;
/// Bytes of the value of one.
const FIELD_MAX: usize = 8 * 1024;

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
    pub(super) framing: Framing,
    /// The Content-Length, also where no body follows.
    pub(super) length: Option<u64>,
    /// Another request may follow on the same connection.
    pub(super) persists: bool,
    /// The server says that it gives no parts.
    pub(super) has_no_ranges: bool,
    pub(super) location: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) content_range: Option<String>,
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
    pub(super) date: Option<String>,
    pub(super) retry_after: Option<String>,
    /// The WWW-Authenticate fields.
    pub(super) challenges: Vec<String>,
}

/// The head and its length; `None` if more of it must come.
pub(super) fn parse(bytes: &[u8], is_bare: bool) -> Result<Option<(usize, Head)>, &'static str> {
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
    // RFC 9110 section 15: three digits, of which the first is 1 to 5.
    if !(100..600).contains(&status) {
        return Err("the status of the answer is not between 100 and 599");
    }
    let version = response.version;
    let fields = Fields(response.headers);
    if fields.0.iter().any(|field| field.value.len() > FIELD_MAX) {
        return Err("a header field is too long");
    }
    let length_field = fields.content_length()?;
    let framing = if is_bare || matches!(status, 100..200 | 204 | 304) {
        Framing::Empty
    } else {
        fields.framing(length_field)?
    };
    // RFC 9112 section 9.3; HTTP/1.0 would have to be asked for it.
    let persists =
        version == Some(1) && framing != Framing::Close && !fields.lists("connection", "close");
    let head = Head {
        status,
        reason: printable(response.reason.unwrap_or_default()),
        framing,
        length: length_field,
        persists,
        has_no_ranges: fields.lists("accept-ranges", "none"),
        location: fields.text("location"),
        content_type: fields.text("content-type"),
        content_range: fields.text("content-range"),
        etag: fields.text("etag"),
        last_modified: fields.text("last-modified"),
        date: fields.text("date"),
        retry_after: fields.text("retry-after"),
        challenges: fields.texts("www-authenticate").collect(),
    };
    Ok(Some((length, head)))
}

struct Fields<'a>(&'a [httparse::Header<'a>]);

impl<'a> Fields<'a> {
    fn values(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let named = self.0.iter();
        named
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }

    fn texts(&self, name: &'static str) -> impl Iterator<Item = String> + use<'a> {
        self.values(name)
            .filter_map(|value| core::str::from_utf8(value).ok().map(String::from))
    }

    fn text(&self, name: &'static str) -> Option<String> {
        self.texts(name).next()
    }

    /// The members of a field that is a list (RFC 9110 section 5.6.1).
    fn members(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.values(name)
            .flat_map(|value| value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii))
    }

    fn lists(&self, name: &'static str, member: &str) -> bool {
        self.members(name)
            .any(|other| other.eq_ignore_ascii_case(member.as_bytes()))
    }

    /// RFC 9112 section 6.3.
    fn framing(&self, length: Option<u64>) -> Result<Framing, &'static str> {
        let mut codings = self.members("transfer-encoding");
        match (codings.next(), codings.next()) {
            (None, _) => Ok(length.map_or(Framing::Close, Framing::Length)),
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
            _ => Err("it uses a transfer coding that was not asked for"),
        }
    }

    fn content_length(&self) -> Result<Option<u64>, &'static str> {
        let mut length = None;
        for value in self.members("content-length") {
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
        Ok(length)
    }
}
