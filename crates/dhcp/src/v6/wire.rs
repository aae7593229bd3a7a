//! Messages and options (RFC 8415 sections 8 and 21).

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

/// Option codes.
pub mod code {
    /// Client identifier (RFC 8415 section 21.2).
    pub const CLIENT_ID: u16 = 1;
    /// Server identifier (21.3).
    pub const SERVER_ID: u16 = 2;
    /// Identity association for addresses (21.4).
    pub const IA_NA: u16 = 3;
    /// An address of one (21.6).
    pub const IA_ADDRESS: u16 = 5;
    /// The options that are asked for (21.7).
    pub const OPTION_REQUEST: u16 = 6;
    /// Hundredths of a second since the exchange began (21.9).
    pub const ELAPSED_TIME: u16 = 8;
    /// How it went (21.13).
    pub const STATUS_CODE: u16 = 13;
    /// User class (21.15).
    pub const USER_CLASS: u16 = 15;
    /// Recursive name servers (RFC 3646 section 3).
    pub const DNS_SERVERS: u16 = 23;
    /// Domain search list (RFC 3646 section 4).
    pub const DOMAIN_LIST: u16 = 24;
    /// The URL of what is to be booted (RFC 5970 section 3.1).
    pub const BOOT_FILE_URL: u16 = 59;
    /// Arguments for it (RFC 5970 section 3.2).
    pub const BOOT_FILE_PARAMETERS: u16 = 60;
    /// The client's architecture (RFC 5970 section 3.3).
    pub const CLIENT_ARCHITECTURE: u16 = 61;
}

/// Message types (RFC 8415 section 7.3) that a client sends or takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageType {
    /// Who has an address?
    Solicit,
    /// I have.
    Advertise,
    /// Give it to me.
    Request,
    /// May I keep it?
    Renew,
    /// May I keep it, whoever you are?
    Rebind,
    /// There.
    Reply,
    /// I need it no longer.
    Release,
    /// Somebody else has it.
    Decline,
    /// Tell me the rest.
    InformationRequest,
}

impl MessageType {
    const ALL: [(Self, u8); 9] = [
        (Self::Solicit, 1),
        (Self::Advertise, 2),
        (Self::Request, 3),
        (Self::Renew, 5),
        (Self::Rebind, 6),
        (Self::Reply, 7),
        (Self::Release, 8),
        (Self::Decline, 9),
        (Self::InformationRequest, 11),
    ];

    fn number(self) -> u8 {
        let mut all = Self::ALL.into_iter();
        all.find(|(kind, _)| *kind == self)
            .map_or(0, |(_, number)| number)
    }
}

/// A message between client and server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: MessageType,
    /// The transaction, 24 bits.
    pub transaction: u32,
    /// Options in their order.
    pub options: Vec<(u16, Vec<u8>)>,
}

impl Message {
    /// Reads a message; `None` if it is none, is of another type or ends within an option.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [kind, a, b, c, options @ ..] = bytes else {
            return None;
        };
        let mut kinds = MessageType::ALL.into_iter();
        let (kind, _) = kinds.find(|(_, number)| number == kind)?;
        Some(Self {
            kind,
            transaction: u32::from_be_bytes([0, *a, *b, *c]),
            options: parse_options(options)?,
        })
    }

    /// The message as it is sent. An option of more than 65,535 bytes is left out.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let [_, a, b, c] = self.transaction.to_be_bytes();
        let mut bytes = [self.kind.number(), a, b, c].to_vec();
        for (code, value) in &self.options {
            if let Ok(length) = u16::try_from(value.len()) {
                bytes.extend(code.to_be_bytes());
                bytes.extend(length.to_be_bytes());
                bytes.extend(value);
            }
        }
        bytes
    }

    /// The value of the first option of this code.
    #[must_use]
    pub fn option(&self, code: u16) -> Option<&[u8]> {
        find(&self.options, code)
    }

    /// The first address that the server gives us.
    pub(super) fn address(&self) -> Option<Ipv6Addr> {
        self.lifetimes().map(|(address, ..)| address)
    }

    /// That address with its preferred and its valid lifetime in seconds.
    pub(super) fn lifetimes(&self) -> Option<(Ipv6Addr, u32, u32)> {
        let association = self.option(code::IA_NA)?;
        // Identifier, T1 and T2 (section 21.4).
        let inner = parse_options(association.get(12..)?)?;
        let value = find(&inner, code::IA_ADDRESS)?;
        let address: &[u8; 16] = value.first_chunk()?;
        let (preferred, valid) = (number(value, 16)?, number(value, 20)?);
        let address = Ipv6Addr::from(*address);
        let is_host = !address.is_unspecified() && !address.is_multicast();
        (valid > 0 && is_host).then_some((address, preferred, valid))
    }

    /// T1 and T2 of the association, in seconds.
    pub(super) fn times(&self) -> Option<(u32, u32)> {
        let association = self.option(code::IA_NA)?;
        Some((number(association, 4)?, number(association, 8)?))
    }

    /// The status code that is not success, of the message or of the address that was asked for.
    pub(super) fn refusal(&self) -> Option<u16> {
        let association = self.option(code::IA_NA).and_then(|it| it.get(12..));
        let inner = association.and_then(parse_options).unwrap_or_default();
        [
            self.option(code::STATUS_CODE),
            find(&inner, code::STATUS_CODE),
        ]
        .into_iter()
        .flatten()
        .filter_map(|value| value.first_chunk())
        .map(|status| u16::from_be_bytes(*status))
        .find(|status| *status != 0)
    }

    /// The texts of an option that is a list of them, each behind its length (RFC 5970 section 3.2).
    pub(super) fn texts(&self, code: u16) -> Vec<String> {
        let mut rest = self.option(code).unwrap_or_default();
        let mut texts = Vec::new();
        while let [a, b, after @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*a, *b]));
            let Some((text, after)) = after.split_at_checked(length) else {
                break;
            };
            texts.push(String::from_utf8_lossy(text).into_owned());
            rest = after;
        }
        texts
    }

    /// The addresses of an option that is a list of them.
    pub(super) fn addresses(&self, code: u16) -> Vec<Ipv6Addr> {
        let (addresses, _) = self.option(code).unwrap_or_default().as_chunks::<16>();
        addresses
            .iter()
            .map(|octets| Ipv6Addr::from(*octets))
            .collect()
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|number| u32::from_be_bytes(*number))
}

fn find(options: &[(u16, Vec<u8>)], code: u16) -> Option<&[u8]> {
    let mut options = options.iter();
    let (_, value) = options.find(|(found, _)| *found == code)?;
    Some(value)
}

fn parse_options(mut bytes: &[u8]) -> Option<Vec<(u16, Vec<u8>)>> {
    let mut options = Vec::new();
    while let [a, b, c, d, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*c, *d]));
        let value = rest.get(..length)?;
        options.push((u16::from_be_bytes([*a, *b]), value.to_vec()));
        bytes = rest.get(length..)?;
    }
    bytes.is_empty().then_some(options)
}
