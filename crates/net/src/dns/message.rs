//! Questions and answers on the wire (RFC 1035 section 4).

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use smoltcp::wire::{
    DnsFlags, DnsOpcode, DnsPacket, DnsQueryType, DnsQuestion, DnsRcode, DnsRecord, DnsRecordData,
    DnsRepr,
};

/// What a server's message says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// And how long they may be kept.
    Addresses(Vec<IpAddr>, Duration),
    /// An alias whose address is not in the message.
    Alias(String),
    Empty,
    NotFound,
    Failed(u8),
    /// Ask again over TCP.
    Truncated,
}

/// The name in wire format (RFC 1035 section 3.1); `None` if it is not one.
pub(super) fn wire_name(name: &str) -> Option<Vec<u8>> {
    let mut wire = Vec::with_capacity(name.len() + 2);
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        if label.is_empty() || label.len() > 63 || !label.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        wire.push(label.len() as u8);
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    (wire.len() <= 255).then_some(wire)
}

pub(super) fn encode(name: &str, kind: DnsQueryType, id: u16) -> Option<Vec<u8>> {
    let name = wire_name(name)?;
    let query = DnsRepr {
        transaction_id: id,
        opcode: DnsOpcode::Query,
        flags: DnsFlags::RECURSION_DESIRED,
        question: DnsQuestion {
            name: &name,
            type_: kind,
        },
    };
    let mut message = vec![0; query.buffer_len()];
    query.emit(&mut DnsPacket::new_unchecked(&mut message));
    Some(message)
}

/// The addresses in an answer for `name`, whatever its number.
#[cfg(feature = "fuzzing")]
pub(crate) fn addresses(message: &[u8], name: &str) -> Vec<IpAddr> {
    let id = message
        .first_chunk()
        .map_or(0, |id| u16::from_be_bytes(*id));
    let kinds = [DnsQueryType::A, DnsQueryType::Aaaa];
    let answers = kinds.map(|kind| match decode(message, (id, kind), name) {
        Some(Answer::Addresses(addresses, _)) => addresses,
        _ => Vec::new(),
    });
    answers.concat()
}

/// Reads an answer to the question of this number and type for `name`; `None` if it is not one.
pub(super) fn decode(message: &[u8], id: (u16, DnsQueryType), name: &str) -> Option<Answer> {
    let (id, kind) = id;
    let packet = DnsPacket::new_checked(message).ok()?;
    let flags = packet.flags();
    if packet.transaction_id() != id
        || !flags.contains(DnsFlags::RESPONSE)
        || packet.opcode() != DnsOpcode::Query
        || packet.question_count() != 1
    {
        return None;
    }
    let (mut rest, question) = DnsQuestion::parse(packet.payload()).ok()?;
    let mut current = readable(&packet, question.name)?;
    let asked = name.strip_suffix('.').unwrap_or(name);
    if question.type_ != kind || !current.eq_ignore_ascii_case(asked) {
        return None;
    }
    if flags.contains(DnsFlags::TRUNCATED) {
        return Some(Answer::Truncated);
    }
    match packet.rcode() {
        DnsRcode::NoError => {}
        DnsRcode::NXDomain => return Some(Answer::NotFound),
        other => return Some(Answer::Failed(other.into())),
    }
    let mut records = Vec::new();
    let mut ttl = Duration::MAX;
    for _ in 0..packet.answer_record_count() {
        let Ok((after, record)) = DnsRecord::parse(rest) else {
            break;
        };
        rest = after;
        ttl = ttl.min(Duration::from_secs(record.ttl.into()));
        records.push((readable(&packet, record.name)?, record.data));
    }
    // Aliases may stand in any order; each is followed once.
    for _ in 0..=records.len() {
        let of_current = || {
            let owned = records.iter();
            owned.filter(|(owner, _)| owner.eq_ignore_ascii_case(&current))
        };
        let addresses: Vec<IpAddr> = of_current()
            .filter_map(|(_, data)| match (data, kind) {
                (DnsRecordData::A(address), DnsQueryType::A) => Some(IpAddr::V4(*address)),
                (DnsRecordData::Aaaa(address), DnsQueryType::Aaaa) => Some(IpAddr::V6(*address)),
                _ => None,
            })
            .collect();
        if !addresses.is_empty() {
            return Some(Answer::Addresses(addresses, ttl));
        }
        let alias = of_current().find_map(|(_, data)| match data {
            DnsRecordData::Cname(alias) => readable(&packet, alias),
            _ => None,
        });
        match alias {
            Some(alias) => current = alias,
            None if current.eq_ignore_ascii_case(asked) => return Some(Answer::Empty),
            None => return Some(Answer::Alias(current)),
        }
    }
    Some(Answer::Empty)
}

/// A name of a message as text, pointers followed.
fn readable(packet: &DnsPacket<&[u8]>, name: &[u8]) -> Option<String> {
    let mut text = String::new();
    for label in packet.parse_name(name) {
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(core::str::from_utf8(label.ok()?).ok()?);
    }
    Some(text)
}
