//! The messages a server sends (RFC 2131 §4.3.1 and table 3).

use super::{Destination, EventKind, Output, Profile, Refusal, Request, Server, Transmit};
use crate::limits;
use crate::wire::{EncodeError, Message, MessageType, Op, code, user_class_contains};
use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

impl Server {
    /// OFFER or ACK with an address.
    pub(super) fn send_lease(&mut self, request: &Request, kind: MessageType, address: Ipv4Addr) {
        let mut reply = self.compose(request, kind);
        reply.yiaddr = address;
        if kind == MessageType::ACK {
            reply.ciaddr = request.message.ciaddr;
        }
        let seconds = lease_seconds(self.config.lease_time);
        reply.options.set_u32(code::LEASE_TIME, seconds);
        if seconds != u32::MAX {
            reply.options.set_u32(code::RENEWAL_TIME, seconds / 2);
            reply
                .options
                .set_u32(code::REBINDING_TIME, seconds - seconds / 8);
        }
        self.send(request, reply);
    }

    /// ACK to an INFORM: no address and no times (RFC 2131 §4.3.5).
    pub(super) fn send_information(&mut self, request: &Request) {
        let mut reply = self.compose(request, MessageType::ACK);
        reply.ciaddr = request.message.ciaddr;
        self.send(request, reply);
    }

    pub(super) fn send_nak(&mut self, request: &Request, refusal: Refusal) {
        let mut reply = self.begin(request, MessageType::NAK);
        reply
            .options
            .set(code::MESSAGE, refusal.to_string().into_bytes());
        // The client may have a wrong address, so only a broadcast reaches it; the relay is told
        // by the flag (RFC 2131 §4.3.2).
        reply.broadcast |= !reply.giaddr.is_unspecified();
        self.send(request, reply);
    }

    /// The address by which the client knows this server: a relay may stand in for it (RFC 5107).
    pub(super) fn identifier(&self, message: &Message) -> Ipv4Addr {
        let over = message
            .options
            .relay_agent(code::RELAY_SERVER_IDENTIFIER_OVERRIDE);
        let over = over
            .and_then(|value| <[u8; 4]>::try_from(value).ok())
            .map(Ipv4Addr::from);
        over.filter(|address| !address.is_unspecified())
            .unwrap_or(self.config.server)
    }

    fn begin(&self, request: &Request, kind: MessageType) -> Message {
        let asked = &request.message;
        let mut reply = Message::new(Op::Reply, asked.chaddr, asked.xid);
        reply.broadcast = asked.broadcast;
        reply.giaddr = asked.giaddr;
        reply.options.set_u8(code::MESSAGE_TYPE, kind.0);
        reply
            .options
            .set_ipv4(code::SERVER_IDENTIFIER, self.identifier(asked));
        // RFC 6842 §3 and RFC 3046 §2.2: both go back as they came.
        for echoed in [code::CLIENT_IDENTIFIER, code::RELAY_AGENT_INFORMATION] {
            if let Some(value) = asked.options.get(echoed) {
                reply.options.set(echoed, value);
            }
        }
        reply
    }

    fn compose(&self, request: &Request, kind: MessageType) -> Message {
        let mut reply = self.begin(request, kind);
        let profile = self.profile_of(request);
        let wanted = request.message.options.get(code::PARAMETER_REQUEST_LIST);
        let is_wanted = |code| wanted.is_none_or(|list| list.contains(&code));
        for (code, value) in profile.options.iter() {
            if is_wanted(code) && !is_computed(code) {
                reply.options.set(code, value);
            }
        }
        if let Some(subnet) = self.config.subnets.get(request.subnet) {
            reply.options.set_ipv4(code::SUBNET_MASK, subnet.mask());
            if is_wanted(code::BROADCAST_ADDRESS) && wanted.is_some() {
                reply
                    .options
                    .set_ipv4(code::BROADCAST_ADDRESS, subnet.broadcast());
            }
        }
        if let Some(next_server) = profile.next_server {
            reply.siaddr = next_server;
            if wanted.is_some() && is_wanted(code::TFTP_SERVER_NAME) {
                let name = next_server.to_string().into_bytes();
                if !reply.options.contains(code::TFTP_SERVER_NAME) {
                    reply.options.set(code::TFTP_SERVER_NAME, name);
                }
            }
        }
        if let Some(filename) = &profile.filename {
            let fits = filename.len() < FILE_LEN_MAX;
            if fits {
                reply.file.clone_from(filename);
            }
            if !fits || wanted.is_some() && is_wanted(code::BOOT_FILE_NAME) {
                reply.options.set(code::BOOT_FILE_NAME, filename.clone());
            }
            name_boot_class(request, filename, &profile, &mut reply);
        }
        reply
    }

    /// All that applies to the client, the more special over the more general.
    fn profile_of(&self, request: &Request) -> Profile {
        let mut profile = self.config.profile.clone();
        if let Some(subnet) = self.config.subnets.get(request.subnet) {
            profile.lay_over(&subnet.profile);
        }
        let options = &request.message.options;
        let user_class = options.get(code::USER_CLASS).unwrap_or_default();
        let vendor_class = options.get(code::VENDOR_CLASS).unwrap_or_default();
        let matched = self.config.matches.iter().find(|rule| {
            let user = rule.user_class.as_ref();
            let vendor = rule.vendor_class.as_ref();
            user.is_none_or(|class| user_class_contains(user_class, class))
                && vendor.is_none_or(|class| vendor_class.starts_with(class))
                && (rule.architectures.is_empty()
                    || rule.architectures.iter().any(|arch| arch.is_in(options)))
        });
        if let Some(rule) = matched {
            profile.lay_over(&rule.profile);
        }
        if let Some(host) = request.host.and_then(|host| self.config.hosts.get(host)) {
            profile.lay_over(&host.profile);
        }
        profile
    }

    fn send(&mut self, request: &Request, mut reply: Message) {
        let asked = &request.message;
        let datagram = asked
            .options
            .u16(code::MAX_MESSAGE_SIZE)
            .unwrap_or(limits::DATAGRAM_LEN_DEFAULT)
            .clamp(limits::DATAGRAM_LEN_DEFAULT, limits::DATAGRAM_LEN_MAX);
        let len_max = usize::from(datagram - limits::DATAGRAM_HEADER_LEN);
        let wanted = asked
            .options
            .get(code::PARAMETER_REQUEST_LIST)
            .unwrap_or_default();
        let payload = loop {
            match reply.encode(len_max) {
                Ok(payload) => break payload,
                Err(EncodeError::NoRoom { .. }) if make_room(&mut reply, wanted) => {}
                Err(error) => {
                    self.push_event(Some(asked.chaddr), EventKind::TooLong(error));
                    return;
                }
            }
        };
        if let Some(missing) = self.first_left_out(request, &reply) {
            let error = EncodeError::NoRoom {
                code: missing,
                len_max,
            };
            self.push_event(Some(asked.chaddr), EventKind::TooLong(error));
        }
        let to = destination(asked, &reply);
        self.outputs
            .push_back(Output::Send(Transmit { to, payload }));
    }

    /// A configured option that was asked for and did not find room.
    fn first_left_out(&self, request: &Request, reply: &Message) -> Option<u8> {
        if reply.message_type() == Some(MessageType::NAK) {
            return None;
        }
        let wanted = request.message.options.get(code::PARAMETER_REQUEST_LIST)?;
        let profile = self.profile_of(request);
        wanted.iter().copied().find(|&code| {
            profile.options.contains(code) && !is_computed(code) && !reply.options.contains(code)
        })
    }
}

/// Seconds on the wire; all ones is "for ever" (RFC 2131 §3.3).
pub(super) fn lease_seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

/// RFC 2131 §4.1, the last paragraphs.
fn destination(asked: &Message, reply: &Message) -> Destination {
    let is_nak = reply.message_type() == Some(MessageType::NAK);
    if !asked.giaddr.is_unspecified() {
        Destination::Relay(asked.giaddr)
    } else if is_nak {
        Destination::Broadcast
    } else if !asked.ciaddr.is_unspecified() {
        Destination::Client(asked.ciaddr)
    } else if asked.broadcast {
        Destination::Broadcast
    } else {
        Destination::Hardware {
            hardware: asked.chaddr,
            address: reply.yiaddr,
        }
    }
}

/// Firmware takes an offer for a boot offer only if it shows the class of the request: UEFI HTTP
/// boot needs "HTTPClient" and a URI (UEFI 2.10 §24.7.3.1), PXE needs "PXEClient" and, to go
/// straight to the file, discovery control with bit 3 set (PXE 2.1 table 2-1).
fn name_boot_class(request: &Request, filename: &[u8], profile: &Profile, reply: &mut Message) {
    let class = request
        .message
        .options
        .get(code::VENDOR_CLASS)
        .unwrap_or_default();
    if profile.options.contains(code::VENDOR_CLASS) {
        return;
    }
    if class.starts_with(HTTP_CLIENT) && is_http(filename) {
        reply.options.set(code::VENDOR_CLASS, HTTP_CLIENT);
        reply.options.set(code::BOOT_FILE_NAME, filename);
    } else if class.starts_with(PXE_CLIENT) {
        reply.options.set(code::VENDOR_CLASS, PXE_CLIENT);
        if !profile.options.contains(code::VENDOR_SPECIFIC) {
            reply.options.set(code::VENDOR_SPECIFIC, SKIP_DISCOVERY);
        }
    }
}

fn is_http(filename: &[u8]) -> bool {
    filename.starts_with(b"http://") || filename.starts_with(b"https://")
}

/// Options that the server computes itself, or that describe a single message.
fn is_computed(code: u8) -> bool {
    matches!(
        code,
        code::SUBNET_MASK
            | code::REQUESTED_ADDRESS
            | code::LEASE_TIME
            | code::OPTION_OVERLOAD
            | code::MESSAGE_TYPE
            | code::SERVER_IDENTIFIER
            | code::PARAMETER_REQUEST_LIST
            | code::MESSAGE
            | code::MAX_MESSAGE_SIZE
            | code::RENEWAL_TIME
            | code::REBINDING_TIME
            | code::CLIENT_IDENTIFIER
            | code::RELAY_AGENT_INFORMATION
    )
}

/// Takes something out of a reply that is too long; `false` where nothing is left to take. First
/// the second copy of the boot file name, which lends its field to options; then the option that
/// the client cares for least, which is the last of its list.
fn make_room(reply: &mut Message, wanted: &[u8]) -> bool {
    if !reply.file.is_empty() {
        let file: Vec<u8> = core::mem::take(&mut reply.file);
        reply.options.set(code::BOOT_FILE_NAME, file);
        return true;
    }
    let rank = |code: u8| {
        wanted
            .iter()
            .position(|&other| other == code)
            .unwrap_or(usize::MAX)
    };
    let least = reply
        .options
        .iter()
        .map(|(code, _)| code)
        .filter(|&code| !is_computed(code) && code != code::BOOT_FILE_NAME)
        .max_by_key(|&code| rank(code));
    match least {
        Some(code) => reply.options.remove(code).is_some(),
        None => false,
    }
}

/// Bytes of the file field, one of which ends the name.
const FILE_LEN_MAX: usize = 128;
const HTTP_CLIENT: &[u8] = b"HTTPClient";
const PXE_CLIENT: &[u8] = b"PXEClient";
const SKIP_DISCOVERY: &[u8] = &[code::PXE_DISCOVERY_CONTROL, 1, 8, code::END];
