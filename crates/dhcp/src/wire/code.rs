//! Option codes by the names of their RFCs (RFC 2132 unless told otherwise).

/// Filler without length.
pub const PAD: u8 = 0;
/// Subnet mask (§3.3).
pub const SUBNET_MASK: u8 = 1;
/// Routers (§3.5).
pub const ROUTER: u8 = 3;
/// Domain name servers (§3.8).
pub const DOMAIN_NAME_SERVER: u8 = 6;
/// Log servers (§3.9).
pub const LOG_SERVER: u8 = 7;
/// Host name (§3.14).
pub const HOST_NAME: u8 = 12;
/// Domain name (§3.17).
pub const DOMAIN_NAME: u8 = 15;
/// Root path (§3.19); RFC 4173 §5 gives it the form `iscsi:server:protocol:port:lun:target`.
pub const ROOT_PATH: u8 = 17;
/// Interface MTU (§5.1).
pub const INTERFACE_MTU: u8 = 26;
/// Broadcast address (§5.3).
pub const BROADCAST_ADDRESS: u8 = 28;
/// NTP servers (§8.3).
pub const NTP_SERVER: u8 = 42;
/// Vendor specific information, encapsulated (§8.4).
pub const VENDOR_SPECIFIC: u8 = 43;
/// Requested IP address (§9.1).
pub const REQUESTED_ADDRESS: u8 = 50;
/// Lease time in seconds (§9.2).
pub const LEASE_TIME: u8 = 51;
/// Option overload (§9.3).
pub const OPTION_OVERLOAD: u8 = 52;
/// DHCP message type (§9.6).
pub const MESSAGE_TYPE: u8 = 53;
/// Server identifier (§9.7).
pub const SERVER_IDENTIFIER: u8 = 54;
/// Parameter request list (§9.8).
pub const PARAMETER_REQUEST_LIST: u8 = 55;
/// Error text (§9.9).
pub const MESSAGE: u8 = 56;
/// Maximum message size (§9.10).
pub const MAX_MESSAGE_SIZE: u8 = 57;
/// Renewal time T1 (§9.11).
pub const RENEWAL_TIME: u8 = 58;
/// Rebinding time T2 (§9.12).
pub const REBINDING_TIME: u8 = 59;
/// Vendor class identifier (§9.13).
pub const VENDOR_CLASS: u8 = 60;
/// Client identifier (§9.14).
pub const CLIENT_IDENTIFIER: u8 = 61;
/// TFTP server name (§9.4).
pub const TFTP_SERVER_NAME: u8 = 66;
/// Boot file name (§9.5).
pub const BOOT_FILE_NAME: u8 = 67;
/// User class (RFC 3004).
pub const USER_CLASS: u8 = 77;
/// Relay agent information, encapsulated (RFC 3046).
pub const RELAY_AGENT_INFORMATION: u8 = 82;
/// Client system architecture (RFC 4578 §2.1).
pub const CLIENT_ARCHITECTURE: u8 = 93;
/// Client network device interface (RFC 4578 §2.2).
pub const CLIENT_NDI: u8 = 94;
/// Client machine identifier: type 0 and a UUID (RFC 4578 §2.3).
pub const CLIENT_UUID: u8 = 97;
/// Domain search list (RFC 3397).
pub const DOMAIN_SEARCH: u8 = 119;
/// Classless static routes (RFC 3442).
pub const CLASSLESS_STATIC_ROUTE: u8 = 121;
/// Boot settings as iPXE encapsulates them (a site-specific use of an unassigned code).
pub const IPXE_ENCAPSULATED: u8 = 175;
/// iSCSI initiator name, as iPXE uses it.
pub const INITIATOR_NAME: u8 = 203;
/// End of options.
pub const END: u8 = 255;

/// Link selection, a sub-option of 82 (RFC 3527).
pub const RELAY_LINK_SELECTION: u8 = 5;
/// Server identifier override, a sub-option of 82 (RFC 5107).
pub const RELAY_SERVER_IDENTIFIER_OVERRIDE: u8 = 11;
/// PXE discovery control, a sub-option of 43 (PXE 2.1 table 2-1, like those below).
pub const PXE_DISCOVERY_CONTROL: u8 = 6;
/// The multicast group of the PXE boot servers.
pub const PXE_DISCOVERY_MCAST_ADDR: u8 = 7;
/// The PXE boot servers of each type.
pub const PXE_BOOT_SERVERS: u8 = 8;
/// The items of a boot menu: the type of a PXE boot server, and what it is called.
pub const PXE_BOOT_MENU: u8 = 9;
/// What is shown before the boot menu, and for how long.
pub const PXE_MENU_PROMPT: u8 = 10;
/// The type of PXE boot server that is asked for or answers, and the layer.
pub const PXE_BOOT_ITEM: u8 = 71;
