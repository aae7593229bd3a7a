//! The messages a client sends (RFC 2131 §4.4.1 and table 5).

use super::{Client, Config, Destination, Lease, Transmit};
use crate::limits;
use crate::wire::{HardwareAddress, Message, MessageType, Op, Options, code};
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

impl Client {
    pub(super) fn send_discover(&mut self, now: Duration) {
        let message = self.compose(now, MessageType::DISCOVER, true);
        self.send(Destination::Broadcast, &message);
    }

    /// SELECTING: which server and which address (RFC 2131 §4.3.2).
    pub(super) fn send_request(&mut self, now: Duration, address: Ipv4Addr, server: Ipv4Addr) {
        let mut message = self.compose(now, MessageType::REQUEST, true);
        message.options.set_ipv4(code::SERVER_IDENTIFIER, server);
        message.options.set_ipv4(code::REQUESTED_ADDRESS, address);
        self.send(Destination::Broadcast, &message);
    }

    /// INIT-REBOOT: the address, no server.
    pub(super) fn send_reboot(&mut self, now: Duration, address: Ipv4Addr) {
        let mut message = self.compose(now, MessageType::REQUEST, true);
        message.options.set_ipv4(code::REQUESTED_ADDRESS, address);
        self.send(Destination::Broadcast, &message);
    }

    /// RENEWING and REBINDING: the address in ciaddr, to the server or to everybody.
    pub(super) fn send_renewal(&mut self, now: Duration, lease: &Lease, rebinding: bool) {
        let mut message = self.compose(now, MessageType::REQUEST, true);
        message.ciaddr = lease.address;
        message.broadcast = false;
        let to = if rebinding {
            Destination::Broadcast
        } else {
            Destination::Unicast {
                client: lease.address,
                server: lease.server,
            }
        };
        self.send(to, &message);
    }

    pub(super) fn send_decline(&mut self, now: Duration, address: Ipv4Addr, server: Ipv4Addr) {
        self.xid = self.random.next_u32();
        let mut message = self.compose(now, MessageType::DECLINE, false);
        message.secs = 0;
        message.options.set_ipv4(code::REQUESTED_ADDRESS, address);
        message.options.set_ipv4(code::SERVER_IDENTIFIER, server);
        self.send(Destination::Broadcast, &message);
    }

    pub(super) fn send_release(&mut self, now: Duration, lease: &Lease) {
        self.xid = self.random.next_u32();
        let mut message = self.compose(now, MessageType::RELEASE, false);
        message.secs = 0;
        message.ciaddr = lease.address;
        message
            .options
            .set_ipv4(code::SERVER_IDENTIFIER, lease.server);
        let to = Destination::Unicast {
            client: lease.address,
            server: lease.server,
        };
        self.send(to, &message);
    }

    fn compose(&self, now: Duration, kind: MessageType, asking: bool) -> Message {
        let waited = now.saturating_sub(self.began);
        let mut message = self.config.message(self.xid, waited, kind, asking);
        message.broadcast = asking && self.broadcast;
        message
    }

    fn send(&mut self, to: Destination, message: &Message) {
        let Some(payload) = encode_shortened(message.clone()) else {
            return;
        };
        self.sent = self.sent.saturating_add(1);
        if self.outputs.len() >= limits::QUEUE_LEN_MAX {
            self.outputs.pop_front();
        }
        self.outputs.push_back(Transmit { to, payload });
    }
}

impl Config {
    /// A message with everything that tells who the client is. `asking`: also what it wants,
    /// which DECLINE and RELEASE must not carry (RFC 2131 table 5).
    pub(super) fn message(
        &self,
        xid: u32,
        waited: Duration,
        kind: MessageType,
        asking: bool,
    ) -> Message {
        let mut message = Message::new(Op::Request, HardwareAddress::ethernet(self.mac), xid);
        message.secs = u16::try_from(waited.as_secs()).unwrap_or(u16::MAX);
        let options = &mut message.options;
        match &self.client_identifier {
            Some(identifier) => options.set(code::CLIENT_IDENTIFIER, identifier.clone()),
            None => {
                let [a, b, c, d, e, f] = self.mac;
                options.set(code::CLIENT_IDENTIFIER, [1, a, b, c, d, e, f]);
            }
        }
        if asking {
            self.ask(options);
        }
        message.options.set_u8(code::MESSAGE_TYPE, kind.0);
        message
    }

    fn ask(&self, options: &mut Options) {
        let mut set_text = |code, value: &[u8]| {
            if !value.is_empty() {
                options.set(code, value);
            }
        };
        set_text(code::USER_CLASS, &self.user_class);
        set_text(code::VENDOR_CLASS, &self.vendor_class);
        set_text(code::HOST_NAME, &self.host_name);
        set_text(code::PARAMETER_REQUEST_LIST, &self.requested);
        options.set_u16(code::MAX_MESSAGE_SIZE, limits::CLIENT_DATAGRAM_LEN);
        options.set_u16(code::CLIENT_ARCHITECTURE, self.architecture.0);
        options.set(code::CLIENT_NDI, self.network_interface);
        if let Some(uuid) = self.uuid {
            let mut value = alloc::vec![0];
            value.extend_from_slice(&uuid);
            options.set(code::CLIENT_UUID, value);
        }
        if !self.encapsulated.is_empty() {
            options.set_encapsulated(code::IPXE_ENCAPSULATED, &self.encapsulated);
        }
        options.extend(&self.extra);
    }
}

/// The bytes of a message.
///
/// An Ethernet frame has room for all that a configuration holds in practice; what does not fit
/// (a user class of a thousand bytes) is left out, longest first, so that the machine still boots.
pub(super) fn encode_shortened(mut message: Message) -> Option<Vec<u8>> {
    let len_max = usize::from(limits::DATAGRAM_LEN_MAX - limits::DATAGRAM_HEADER_LEN);
    loop {
        match message.encode(len_max) {
            Ok(payload) => return Some(payload),
            Err(_) => {
                let longest = message.options.iter().max_by_key(|(_, value)| value.len());
                let (code, _) = longest?;
                message.options.remove(code);
            }
        }
    }
}
