//! Commands that try out the network and show it, and those that talk to servers of its own.

use super::super::{CommandSpec, OptionSpec, ValueKind};
use super::parts::{QUIET, TIMEOUT, between, command, exactly};

pub(super) const PING: CommandSpec = CommandSpec {
    options: &[
        OptionSpec {
            long: "size",
            short: 's',
            value: ValueKind::Number("bytes"),
            help: "how much each question carries, else 64",
        },
        OptionSpec {
            long: "count",
            short: 'c',
            value: ValueKind::Number("number"),
            help: "how many questions, else until Ctrl-C",
        },
        OptionSpec {
            help: "how long an answer is waited for, and from question to question; else 1000",
            ..TIMEOUT
        },
        OptionSpec {
            help: "only tell whether there was an answer",
            ..QUIET
        },
    ],
    arguments: exactly("<host>", 1),
    details: "Succeeds if there was an answer to any of the questions. Always give --count in a \
              script.",
    ..command("ping", "Ask a host whether it is there")
};

pub(super) const NSTAT: CommandSpec = command("nstat", "Show who has been heard of on the links");

pub(super) const IPSTAT: CommandSpec = command("ipstat", "Show what has been counted of packets");

pub(super) const PXEBS: CommandSpec = CommandSpec {
    arguments: between("[<interface>] <server type>", 1, 2),
    details: "After `dhcp`, asks the PXE boot servers of a type (a number up to 65535) what to boot: \
              those that DHCP option 43.8 names for it, then the multicast group 43.7, then \
              everybody, as far as the discovery control 43.6 allows. Without an interface it is \
              the one that was opened last. What is answered is in the scope pxebs until the next \
              pxebs, as in `chain tftp://${pxebs/next-server}/${pxebs/filename}`, and `autoboot` \
              boots it before what DHCP names.",
    ..command("pxebs", "Ask a PXE boot server what to boot")
};

pub(super) const NTP: CommandSpec = CommandSpec {
    arguments: exactly("<server>", 1),
    details: "As in `ntp ${ntp}`, the server that DHCP names. Nobody vouches for the answer: it is \
              what ${unixtime} tells from then on, but for certificates it can only move the clock \
              forward, and never make an expired one valid.",
    ..command("ntp", "Ask a server for the time of day")
};
