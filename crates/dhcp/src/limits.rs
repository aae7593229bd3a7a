//! Every fixed limit of this crate, with its reason.

use core::time::Duration;

/// The longest message that is parsed: a jumbo frame. Anything longer is not DHCP.
pub const MESSAGE_LEN_MAX: usize = 9000;
/// The shortest message that is sent: the BOOTP size, below which some relays drop (RFC 951 §3).
pub const MESSAGE_LEN_MIN: usize = 300;
/// IP datagram that every client must take (RFC 2131 §2), unless option 57 tells of more.
pub const DATAGRAM_LEN_DEFAULT: u16 = 576;
/// IP datagram beyond which a server does not go, whatever option 57 says: one Ethernet frame.
pub const DATAGRAM_LEN_MAX: u16 = 1500;
/// IP and UDP headers, which option 57 counts (RFC 2132 §9.10 read as a datagram size).
pub const DATAGRAM_HEADER_LEN: u16 = 28;
/// Option 57 of the client: what fits an Ethernet frame with room for a VLAN tag or a tunnel.
pub const CLIENT_DATAGRAM_LEN: u16 = 1472;
/// DECLINEs after which the client gives up: a network where addresses clash needs a person.
pub const DECLINES_MAX: u32 = 3;
/// REQUESTs for one offer before the client looks for another (about 2 s at default timing).
pub const REQUESTS_PER_OFFER: u32 = 3;
/// REQUESTs for a remembered address (INIT-REBOOT) before the client starts from nothing.
pub const REQUESTS_PER_REBOOT: u32 = 2;
/// REQUESTs to one PXE boot server, or to all at once, before others are asked (about 4 s at
/// default timing).
pub const REQUESTS_PER_BOOT_SERVER: u32 = 4;
/// PXE boot servers of one type that are asked by their addresses.
pub const BOOT_SERVERS_MAX: usize = 8;
/// Items of a PXE boot menu.
pub const MENU_ITEMS_MAX: usize = 64;
/// Shortest pause between two renewals (RFC 2131 §4.4.5).
pub const RENEW_PAUSE_MIN: Duration = Duration::from_secs(60);
/// Bytes of a server's NAK text that are kept.
pub const TEXT_LEN_MAX: usize = 255;
/// Events, and messages of a client, that wait to be polled; the oldest are dropped. (What a
/// server puts out is never dropped: there are at most two items for each message it takes.)
pub const QUEUE_LEN_MAX: usize = 256;
/// Addresses in all pools of a server together: the search for a free one is linear.
pub const POOL_LEN_MAX: usize = 65_536;
/// Bytes of a client identifier that are kept as a key (option 61 is at most one option long).
pub const CLIENT_ID_LEN_MAX: usize = 255;
