//! DHCP messages as bytes (RFC 2131 §2) and as a [`Message`].
//!
//! ```text
//!  0         1         2         3
//!  op        htype     hlen      hops
//!  xid
//!  secs                flags
//!  ciaddr, yiaddr, siaddr, giaddr              4 bytes each
//!  chaddr                                     16 bytes
//!  sname                                      64 bytes, text or options (option 52)
//!  file                                      128 bytes, text or options (option 52)
//!  99 130 83 99, options ...                   magic cookie (RFC 2132 §2)
//! ```
//!
//! Parsing checks every length; what it returns holds option values of any length, joined from
//! their fragments (RFC 3396) and from the fields that option overload lends (RFC 2132 §9.3).

pub mod code;
mod encode;
mod identity;
mod options;
mod text;

pub use encode::EncodeError;
pub use identity::{Architecture, HardwareAddress, user_class_contains, uuid_of};
pub use options::Options;
pub use text::Printable;

use crate::limits;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;

/// One DHCP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Request or reply.
    pub op: Op,
    /// Relay agents passed so far.
    pub hops: u8,
    /// Transaction id, chosen by the client.
    pub xid: u32,
    /// Seconds since the client began.
    pub secs: u16,
    /// The client asks for replies by broadcast (RFC 2131 §2, figure 2).
    pub broadcast: bool,
    /// The address that the client has already.
    pub ciaddr: Ipv4Addr,
    /// The address that the server gives.
    pub yiaddr: Ipv4Addr,
    /// The server to boot from.
    pub siaddr: Ipv4Addr,
    /// The relay agent.
    pub giaddr: Ipv4Addr,
    /// The client's hardware address.
    pub chaddr: HardwareAddress,
    /// Server name: the bytes before the first zero; empty where the field holds options.
    pub sname: Vec<u8>,
    /// Boot file name: the bytes before the first zero; empty where the field holds options.
    pub file: Vec<u8>,
    /// All options, except those that only describe the packing (pad, end, overload).
    pub options: Options,
}

/// Direction of a message (RFC 2131 §2: op).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Client to server, 1.
    Request,
    /// Server to client, 2.
    Reply,
}

/// DHCP message type, option 53 (RFC 2132 §9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageType(pub u8);

impl MessageType {
    /// Client looks for servers.
    pub const DISCOVER: Self = Self(1);
    /// Server offers an address.
    pub const OFFER: Self = Self(2);
    /// Client asks for an address or for more time.
    pub const REQUEST: Self = Self(3);
    /// Client found the address in use.
    pub const DECLINE: Self = Self(4);
    /// Server grants.
    pub const ACK: Self = Self(5);
    /// Server refuses.
    pub const NAK: Self = Self(6);
    /// Client gives the address back.
    pub const RELEASE: Self = Self(7);
    /// Client has an address and wants options only.
    pub const INFORM: Self = Self(8);
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::DISCOVER => f.write_str("DISCOVER"),
            Self::OFFER => f.write_str("OFFER"),
            Self::REQUEST => f.write_str("REQUEST"),
            Self::DECLINE => f.write_str("DECLINE"),
            Self::ACK => f.write_str("ACK"),
            Self::NAK => f.write_str("NAK"),
            Self::RELEASE => f.write_str("RELEASE"),
            Self::INFORM => f.write_str("INFORM"),
            Self(other) => write!(f, "message type {other}"),
        }
    }
}

impl Message {
    /// An empty message of the direction `op`.
    #[must_use]
    pub fn new(op: Op, chaddr: HardwareAddress, xid: u32) -> Self {
        Self {
            op,
            hops: 0,
            xid,
            secs: 0,
            broadcast: false,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            siaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: Ipv4Addr::UNSPECIFIED,
            chaddr,
            sname: Vec::new(),
            file: Vec::new(),
            options: Options::new(),
        }
    }

    /// Option 53, or `None` for BOOTP.
    #[must_use]
    pub fn message_type(&self) -> Option<MessageType> {
        self.options.u8(code::MESSAGE_TYPE).map(MessageType)
    }

    /// Option 54, where it is a usable address.
    #[must_use]
    pub fn server_identifier(&self) -> Option<Ipv4Addr> {
        self.options
            .ipv4(code::SERVER_IDENTIFIER)
            .filter(|a| !a.is_unspecified())
    }

    /// Parses a UDP payload.
    ///
    /// # Errors
    /// [`ParseError`] tells which rule of the format is broken.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        if bytes.len() > limits::MESSAGE_LEN_MAX {
            return Err(ParseError::TooLong(bytes.len()));
        }
        let (fixed, rest) = bytes
            .split_first_chunk::<FIXED_LEN>()
            .ok_or(ParseError::TooShort(bytes.len()))?;
        let (cookie, main) = rest
            .split_first_chunk::<4>()
            .ok_or(ParseError::TooShort(bytes.len()))?;
        if *cookie != MAGIC_COOKIE {
            return Err(ParseError::NotDhcp(*cookie));
        }
        let mut fields = Fields(fixed);
        let [op, htype, hlen, hops] = fields.take();
        let op = match op {
            1 => Op::Request,
            2 => Op::Reply,
            other => return Err(ParseError::BadOp(other)),
        };
        let xid = u32::from_be_bytes(fields.take());
        let secs = u16::from_be_bytes(fields.take());
        let flags = u16::from_be_bytes(fields.take());
        let [ciaddr, yiaddr, siaddr, giaddr] = [(); 4].map(|()| Ipv4Addr::from(fields.take::<4>()));
        let chaddr = HardwareAddress::from_fields(htype, hlen, fields.take())
            .ok_or(ParseError::BadHardwareLength(hlen))?;
        let sname: [u8; SNAME_LEN] = fields.take();
        let file: [u8; FILE_LEN] = fields.take();

        let (options, file_lent, sname_lent) = parse_options(main, &file, &sname)?;
        Ok(Self {
            op,
            hops,
            xid,
            secs,
            broadcast: flags & FLAG_BROADCAST != 0,
            ciaddr,
            yiaddr,
            siaddr,
            giaddr,
            chaddr,
            sname: if sname_lent {
                Vec::new()
            } else {
                until_zero(&sname)
            },
            file: if file_lent {
                Vec::new()
            } else {
                until_zero(&file)
            },
            options,
        })
    }
}

/// Why bytes are not a DHCP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// Fewer bytes than the fixed part and the cookie have.
    TooShort(usize),
    /// More than [`limits::MESSAGE_LEN_MAX`].
    TooLong(usize),
    /// The op field is neither request nor reply.
    BadOp(u8),
    /// A hardware address longer than its field.
    BadHardwareLength(u8),
    /// The magic cookie is not there: plain BOOTP or something else.
    NotDhcp([u8; 4]),
    /// An option runs over the end of its field.
    OptionTruncated(u8),
    /// Option 52 has a value other than 1, 2 or 3.
    BadOverload,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort(len) => write!(f, "{len} bytes are too few for a DHCP message"),
            Self::TooLong(len) => write!(f, "{len} bytes are too many for a DHCP message"),
            Self::BadOp(op) => write!(f, "op {op} is neither a request (1) nor a reply (2)"),
            Self::BadHardwareLength(len) => {
                write!(
                    f,
                    "a hardware address of {len} bytes does not fit its field of 16"
                )
            }
            Self::NotDhcp(_) => f.write_str("no DHCP magic cookie (plain BOOTP?)"),
            Self::OptionTruncated(code) => write!(f, "option {code} runs over the end"),
            Self::BadOverload => f.write_str("option 52 (overload) is not 1, 2 or 3"),
        }
    }
}

impl core::error::Error for ParseError {}

/// The fixed fields, taken from the front; the sizes taken sum up to [`FIXED_LEN`].
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            None => [0; N],
        }
    }
}

/// The options of all fields, and whether `file` and `sname` are lent to them.
///
/// Option 52 tells: 1 the file field, 2 the sname field, 3 both (RFC 2132 §9.3). They continue the
/// option field in the order file, sname (RFC 3396 §5).
fn parse_options(
    main: &[u8],
    file: &[u8],
    sname: &[u8],
) -> Result<(Options, bool, bool), ParseError> {
    let mut options = Options::new();
    options.parse_area(main)?;
    let overload = match options.remove(code::OPTION_OVERLOAD).as_deref() {
        None => 0,
        Some(&[value @ 1..=3]) => value,
        Some(_) => return Err(ParseError::BadOverload),
    };
    let (file_lent, sname_lent) = (overload & 1 != 0, overload & 2 != 0);
    if file_lent {
        options.parse_area(file)?;
    }
    if sname_lent {
        options.parse_area(sname)?;
    }
    // A second overload option inside the lent fields has no meaning.
    options.remove(code::OPTION_OVERLOAD);
    Ok((options, file_lent, sname_lent))
}

fn until_zero(field: &[u8]) -> Vec<u8> {
    field
        .iter()
        .copied()
        .take_while(|&byte| byte != 0)
        .collect()
}

const FIXED_LEN: usize = 236;
const SNAME_LEN: usize = 64;
const FILE_LEN: usize = 128;
const MAGIC_COOKIE: [u8; 4] = [99, 130, 83, 99];
const FLAG_BROADCAST: u16 = 0x8000;

#[cfg(test)]
mod tests;
