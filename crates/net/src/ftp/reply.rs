//! Replies (RFC 959 section 4.2), without I/O.

use alloc::string::String;
use alloc::vec::Vec;

use super::readable;

/// The longest reply that is read, with all its lines: a greeting may be long.
const REPLY_MAX: usize = 16 * 1024;

/// A reply: the text is that of its last line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) text: String,
}

/// Not FTP, or longer than anybody would read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What came of the control connection.
#[derive(Debug, Default)]
pub(super) struct Replies {
    bytes: Vec<u8>,
    /// The lines of the bytes that have been looked at, up to here.
    at: usize,
    /// The code of the reply that goes on over several lines.
    open: Option<u16>,
}

impl Replies {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next reply, once it is there as a whole.
    pub(super) fn take(&mut self) -> Result<Option<Reply>, Malformed> {
        while let Some(length) = self.rest().iter().position(|byte| *byte == b'\n') {
            let line = self.rest().get(..length).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
            self.at += length + 1;
            let code = code(&line);
            match (self.open, line.get(3)) {
                // It begins, and goes on.
                (None, Some(b'-')) => self.open = Some(code.ok_or(Malformed)?),
                (None, None | Some(b' ')) => return self.end(code.ok_or(Malformed)?, &line),
                (None, _) => return Err(Malformed),
                // It ends with a line like the first one, but with a space.
                (Some(open), None | Some(b' ')) if code == Some(open) => {
                    return self.end(open, &line);
                }
                (Some(_), _) => {}
            }
        }
        match self.bytes.len() > REPLY_MAX {
            true => Err(Malformed),
            false => Ok(None),
        }
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn end(&mut self, code: u16, line: &[u8]) -> Result<Option<Reply>, Malformed> {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.open = None;
        let text = readable(line.get(4..).unwrap_or_default());
        Ok(Some(Reply { code, text }))
    }
}

/// The three digits that a line begins with; the first one is from 1 to 5.
fn code(line: &[u8]) -> Option<u16> {
    let digits = line.first_chunk::<3>()?;
    let code = digits.iter().try_fold(0, |code, digit| {
        digit
            .is_ascii_digit()
            .then(|| code * 10 + u16::from(digit - b'0'))
    })?;
    (100..600).contains(&code).then_some(code)
}

/// The port in `Entering Extended Passive Mode (|||6446|)` (RFC 2428 section 3).
pub(crate) fn extended_passive(text: &str) -> Option<u16> {
    let inside = text.split_once('(')?.1.split_once(')')?.0;
    let delimiter = inside.chars().next()?;
    let mut fields = inside.split(delimiter);
    // Nothing, the protocol and the address, both left out; then the port.
    let port = fields.nth(3)?;
    port.parse().ok().filter(|port| *port != 0)
}

/// The port in `Entering Passive Mode (192,168,1,1,25,46)`: the last two of six numbers. How they
/// are enclosed differs (RFC 1123 section 4.1.2.6).
pub(crate) fn passive(text: &str) -> Option<u16> {
    let start = text.find(|character: char| character.is_ascii_digit())?;
    let numbers = text.get(start..)?;
    let end = numbers.find(|character: char| !(character.is_ascii_digit() || character == ','));
    let numbers = numbers.get(..end.unwrap_or(numbers.len()))?;
    let mut numbers = numbers.split(',').map(str::parse::<u8>);
    let [high, low] = [numbers.nth(4)?.ok()?, numbers.next()?.ok()?];
    let port = u16::from_be_bytes([high, low]);
    (numbers.next().is_none() && port != 0).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<(u16, String)>, Malformed> {
        let mut replies = Replies::default();
        let mut all = Vec::new();
        // Byte by byte: it does not matter how they come.
        for byte in text.bytes() {
            replies.push(&[byte]);
            while let Some(reply) = replies.take()? {
                all.push((reply.code, reply.text));
            }
        }
        Ok(all)
    }

    #[test]
    fn replies_of_one_and_of_many_lines() {
        let one = |code, text: &str| (code, String::from(text));
        assert_eq!(all("220 hello\r\n"), Ok(vec![one(220, "hello")]));
        assert_eq!(all("220\n331 \n"), Ok(vec![one(220, ""), one(331, "")]));
        assert_eq!(
            all("220-hello\r\n331 not yet\r\n 220 nor now\r\n220-\r\n\r\n220 end\r\n230 in\r\n"),
            Ok(vec![one(220, "end"), one(230, "in")])
        );
        assert_eq!(all("220-hello\r\n220"), Ok(vec![]), "not at its end");
    }

    #[test]
    fn other_protocols_are_not_taken_for_it() {
        for text in [
            "HTTP/1.1 400 Bad Request\r\n",
            "SSH-2.0-x\n",
            "\n",
            "99 x\n",
            "600 x\n",
            "+20 x\n",
            "2200 x\n",
        ] {
            assert_eq!(all(text), Err(Malformed), "{text}");
        }
        for long in ["x", "220-x\r\n"] {
            let mut replies = Replies::default();
            replies.push(&long.as_bytes().repeat(REPLY_MAX + 1));
            assert_eq!(replies.take(), Err(Malformed));
        }
    }

    #[test]
    fn ports_are_found() {
        for (text, port) in [
            ("Entering Extended Passive Mode (|||6446|)", Some(6446)),
            ("ok (!!!6446!)", Some(6446)),
            ("ok (|||0|)", None),
            ("ok (|||70000|)", None),
            ("ok (||6446|)", None),
            ("ok |||6446|", None),
            ("ok ()", None),
        ] {
            assert_eq!(extended_passive(text), port, "{text}");
        }
        for (text, port) in [
            ("Entering Passive Mode (192,168,1,1,25,46).", Some(6446)),
            ("=192,168,1,1,25,46", Some(6446)),
            ("ok (192,168,1,1,25,46,1)", None),
            ("ok (192,168,1,1,25)", None),
            ("ok (192,168,1,1,0,0)", None),
            ("ok (192,168,1,1,256,1)", None),
            ("ok", None),
        ] {
            assert_eq!(passive(text), port, "{text}");
        }
    }
}
