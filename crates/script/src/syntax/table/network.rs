//! Commands that try out the network and show it, and those that talk to servers of its own.

use super::super::{CommandSpec, OptionSpec, ValueKind};
use super::parts::{QUIET, TIMEOUT, command, exactly};

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

pub(super) const NTP: CommandSpec = CommandSpec {
    arguments: exactly("<server>", 1),
    details: "As in `ntp ${ntp}`, the server that DHCP names. Nobody vouches for the answer: it is \
              what ${unixtime} tells from then on, but for certificates it can only move the clock \
              forward, and never make an expired one valid.",
    ..command("ntp", "Ask a server for the time of day")
};
