//! The targets, one file for each crate or protocol.

pub(crate) mod dhcp;
pub(crate) mod frames;
mod http;
pub(crate) mod iscsi;
mod loader;
mod net;
mod packed;
mod pe;
mod script;
mod scsi;
pub(crate) mod tls;
mod uri;

use crate::Target;

/// All targets.
pub const TARGETS: &[Target] = &[
    Target {
        name: "cms_envelope",
        run: tls::envelope,
        words: &[],
    },
    Target {
        name: "cms_signature",
        run: tls::signature,
        words: &[],
    },
    Target {
        name: "dhcp_client",
        run: dhcp::client,
        words: &[],
    },
    Target {
        name: "dhcp_message",
        run: dhcp::message,
        words: &[],
    },
    Target {
        name: "dhcp_server",
        run: dhcp::server,
        words: &[],
    },
    Target {
        name: "dhcpv6_client",
        run: dhcp::client6,
        words: &[],
    },
    Target {
        name: "dns_response",
        run: net::dns_response,
        words: &["\u{4}boot\u{7}example\0", "\0\u{1}\0\u{1}"],
    },
    Target {
        name: "frames",
        run: frames::frames,
        words: &[],
    },
    Target {
        name: "ftp_replies",
        run: net::ftp_replies,
        words: &["\r\n", "220-", "220 ", "(|||6446|)", "(10,0,0,1,25,46)"],
    },
    Target {
        name: "http_client",
        run: http::client,
        words: http::WORDS,
    },
    Target {
        name: "iscsi_initiator",
        run: iscsi::initiator,
        words: iscsi::WORDS,
    },
    Target {
        name: "iscsi_pdu",
        run: iscsi::pdu,
        words: &[],
    },
    Target {
        name: "iscsi_target",
        run: iscsi::target,
        words: iscsi::WORDS,
    },
    Target {
        name: "iscsi_text",
        run: iscsi::text,
        words: iscsi::WORDS,
    },
    Target {
        name: "nfs_answers",
        run: net::nfs_answers,
        words: &["\0\0\0\u{1}", "\0\0\0\0"],
    },
    Target {
        name: "ntp_answer",
        run: net::ntp_answer,
        words: &["RATE", "DENY"],
    },
    Target {
        name: "packed",
        run: packed::packed,
        words: &["BOWLINE\0"],
    },
    Target {
        name: "pe_image",
        run: pe::image,
        words: &[".loader\0", ".s0\0\0\0\0\0"],
    },
    Target {
        name: "pe_payload",
        run: pe::payload,
        words: &[],
    },
    Target {
        name: "router_advertisement",
        run: net::router_advertisement,
        words: &[],
    },
    Target {
        name: "script",
        run: script::script,
        words: script::WORDS,
    },
    Target {
        name: "script_settings",
        run: script::settings,
        words: script::WORDS,
    },
    Target {
        name: "scsi_command",
        run: scsi::command,
        words: &[],
    },
    Target {
        name: "scsi_data",
        run: scsi::data,
        words: &[],
    },
    Target {
        name: "scsi_device",
        run: scsi::device,
        words: &[],
    },
    Target {
        name: "signature_list",
        run: loader::signature_list,
        words: &[],
    },
    Target {
        name: "tftp_transfer",
        run: net::tftp_transfer,
        words: &["blksize\0", "windowsize\0", "tsize\0"],
    },
    Target {
        name: "tls_certificate",
        run: tls::certificate,
        words: &[],
    },
    Target {
        name: "tls_chain",
        run: tls::chain,
        words: &[],
    },
    Target {
        name: "tls_client",
        run: tls::client,
        words: &[],
    },
    Target {
        name: "tls_files",
        run: tls::files,
        words: tls::PEM_WORDS,
    },
    Target {
        name: "tpm_response",
        run: loader::tpm_response,
        words: &[],
    },
    Target {
        name: "uri",
        run: uri::uri,
        words: uri::WORDS,
    },
    Target {
        name: "url",
        run: uri::url,
        words: uri::WORDS,
    },
];
