//! A [`Message`] as bytes: fixed fields, then options, in as many fields as they need.
//!
//! Options go into the option field. Those for which the receiver's size limit leaves no room go
//! into the `file` field and then into `sname`, where these are free (option overload, RFC 2132
//! §9.3). A value above 255 bytes is split (RFC 3396 §5); a shorter one never is, because many
//! receivers do not join fragments.

use super::code;
use super::{FILE_LEN, FIXED_LEN, FLAG_BROADCAST, MAGIC_COOKIE, Message, Op, Options, SNAME_LEN};
use crate::limits;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;

impl Message {
    /// The message as a UDP payload of at most `len_max` bytes.
    ///
    /// # Errors
    /// [`EncodeError`] names what does not fit.
    pub fn encode(&self, len_max: usize) -> Result<Vec<u8>, EncodeError> {
        if self.file.len() >= FILE_LEN {
            return Err(EncodeError::FileTooLong(self.file.len()));
        }
        if self.sname.len() >= SNAME_LEN {
            return Err(EncodeError::ServerNameTooLong(self.sname.len()));
        }
        let areas = self.pack_options(len_max)?;
        let mut bytes = Vec::with_capacity(limits::MESSAGE_LEN_MIN);
        bytes.push(match self.op {
            Op::Request => 1,
            Op::Reply => 2,
        });
        bytes.extend_from_slice(&[self.chaddr.kind(), self.chaddr.len(), self.hops]);
        bytes.extend_from_slice(&self.xid.to_be_bytes());
        bytes.extend_from_slice(&self.secs.to_be_bytes());
        let flags = if self.broadcast { FLAG_BROADCAST } else { 0 };
        bytes.extend_from_slice(&flags.to_be_bytes());
        for address in [self.ciaddr, self.yiaddr, self.siaddr, self.giaddr] {
            bytes.extend_from_slice(&address.octets());
        }
        bytes.extend_from_slice(&self.chaddr.field());
        append_padded(
            &mut bytes,
            areas.sname.as_deref().unwrap_or(&self.sname),
            SNAME_LEN,
        );
        append_padded(
            &mut bytes,
            areas.file.as_deref().unwrap_or(&self.file),
            FILE_LEN,
        );
        bytes.extend_from_slice(&MAGIC_COOKIE);
        bytes.extend_from_slice(&areas.main);
        if bytes.len() < limits::MESSAGE_LEN_MIN.min(len_max) {
            bytes.resize(limits::MESSAGE_LEN_MIN.min(len_max), code::PAD);
        }
        Ok(bytes)
    }

    fn pack_options(&self, len_max: usize) -> Result<Areas, EncodeError> {
        let room = len_max
            .checked_sub(FIXED_LEN + MAGIC_COOKIE.len() + END_LEN)
            .ok_or(EncodeError::NoRoom {
                code: code::MESSAGE_TYPE,
                len_max,
            })?;
        let mut main = Vec::new();
        for (code, value) in in_order(&self.options) {
            append_option(&mut main, code, value);
        }
        if main.len() <= room {
            main.push(code::END);
            return Ok(Areas {
                main,
                file: None,
                sname: None,
            });
        }
        self.pack_overloaded(room, len_max)
    }

    fn pack_overloaded(&self, room: usize, len_max: usize) -> Result<Areas, EncodeError> {
        // The relay's option stays the last one of the option field, where relays look for it
        // (RFC 3046 §2.1), and option 52 needs its place there too.
        let mut tail = Vec::new();
        if let Some(value) = self.options.get(code::RELAY_AGENT_INFORMATION) {
            append_option(&mut tail, code::RELAY_AGENT_INFORMATION, value);
        }
        let no_room = |code| EncodeError::NoRoom { code, len_max };
        let main_room = room
            .checked_sub(tail.len() + OVERLOAD_OPTION_LEN)
            .ok_or_else(|| no_room(code::RELAY_AGENT_INFORMATION))?;
        let lend = |free: bool, len: usize| if free { len - END_LEN } else { 0 };
        let mut areas = [
            (Vec::new(), main_room),
            (Vec::new(), lend(self.file.is_empty(), FILE_LEN)),
            (Vec::new(), lend(self.sname.is_empty(), SNAME_LEN)),
        ];
        // The message type stays the first; of the others the longest are placed first, which
        // fills the fields best.
        let mut order: Vec<(u8, &[u8])> = in_order(&self.options)
            .filter(|(code, _)| *code != code::RELAY_AGENT_INFORMATION)
            .collect();
        order.sort_by_key(|(code, value)| (*code != code::MESSAGE_TYPE, Reverse(value.len())));
        for (code, value) in order {
            place(&mut areas, code, value).ok_or_else(|| no_room(code))?;
        }
        let [(mut main, _), (file, _), (sname, _)] = areas;
        let overload = u8::from(!file.is_empty()) | (u8::from(!sname.is_empty()) << 1);
        if overload != 0 {
            append_option(&mut main, code::OPTION_OVERLOAD, &[overload]);
        }
        main.extend_from_slice(&tail);
        main.push(code::END);
        let ended = |mut area: Vec<u8>| {
            (!area.is_empty()).then(|| {
                area.push(code::END);
                area
            })
        };
        Ok(Areas {
            main,
            file: ended(file),
            sname: ended(sname),
        })
    }
}

/// Why a message cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The boot file name has more than 127 bytes: it belongs into option 67.
    FileTooLong(usize),
    /// The server name has more than 63 bytes.
    ServerNameTooLong(usize),
    /// The receiver takes `len_max` bytes, and option `code` finds no place in them.
    NoRoom {
        /// The first option without a place.
        code: u8,
        /// The limit.
        len_max: usize,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileTooLong(len) => write!(f, "a boot file name of {len} bytes is above 127"),
            Self::ServerNameTooLong(len) => write!(f, "a server name of {len} bytes is above 63"),
            Self::NoRoom { code, len_max } => {
                write!(
                    f,
                    "option {code} does not fit into a message of {len_max} bytes"
                )
            }
        }
    }
}

impl core::error::Error for EncodeError {}

/// Appends one option, split where its value is above 255 bytes (RFC 3396 §5).
pub(super) fn append_option(area: &mut Vec<u8>, code: u8, value: &[u8]) {
    if value.is_empty() {
        area.extend_from_slice(&[code, 0]);
    }
    for fragment in value.chunks(VALUE_LEN_MAX) {
        area.push(code);
        // A fragment has at most 255 bytes.
        area.push(u8::try_from(fragment.len()).unwrap_or(u8::MAX));
        area.extend_from_slice(fragment);
    }
}

struct Areas {
    main: Vec<u8>,
    file: Option<Vec<u8>>,
    sname: Option<Vec<u8>>,
}

/// Puts one option into the first area that takes it; the fragments of a long one go into the
/// areas in order, which is the order in which they are joined again.
fn place(areas: &mut [(Vec<u8>, usize); 3], code: u8, value: &[u8]) -> Option<()> {
    if value.len() <= VALUE_LEN_MAX {
        let needed = OPTION_HEADER_LEN + value.len();
        let (area, _) = areas
            .iter_mut()
            .find(|(area, room)| area.len() + needed <= *room)?;
        append_option(area, code, value);
        return Some(());
    }
    let mut rest = value;
    for (area, room) in areas {
        while !rest.is_empty() {
            let free = room.saturating_sub(area.len() + OPTION_HEADER_LEN);
            let (fragment, next) =
                rest.split_at_checked(free.min(VALUE_LEN_MAX).min(rest.len()))?;
            if fragment.is_empty() {
                break;
            }
            append_option(area, code, fragment);
            rest = next;
        }
    }
    rest.is_empty().then_some(())
}

/// The message type first, because people and simple parsers look there; the relay's option last.
fn in_order(options: &Options) -> impl Iterator<Item = (u8, &[u8])> {
    let only = |code| options.get(code).map(|value| (code, value));
    let middle = options.iter().filter(|(code, _)| {
        !matches!(
            *code,
            code::MESSAGE_TYPE | code::RELAY_AGENT_INFORMATION | code::OPTION_OVERLOAD
        )
    });
    only(code::MESSAGE_TYPE)
        .into_iter()
        .chain(middle)
        .chain(only(code::RELAY_AGENT_INFORMATION))
}

fn append_padded(bytes: &mut Vec<u8>, field: &[u8], len: usize) {
    let end = bytes.len() + len;
    bytes.extend_from_slice(field.get(..len).unwrap_or(field));
    bytes.resize(end, 0);
}

const VALUE_LEN_MAX: usize = 255;
const OPTION_HEADER_LEN: usize = 2;
const OVERLOAD_OPTION_LEN: usize = 3;
const END_LEN: usize = 1;
