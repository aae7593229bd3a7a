//! Commands that talk to servers of the network's own: the time.

use super::super::CommandSpec;
use super::parts::{command, exactly};

pub(super) const NTP: CommandSpec = CommandSpec {
    arguments: exactly("<server>", 1),
    details: "As in `ntp ${ntp}`, the server that DHCP names. Nobody vouches for the answer: it is \
              what ${unixtime} tells from then on, but for certificates it can only move the clock \
              forward, and never make an expired one valid.",
    ..command("ntp", "Ask a server for the time of day")
};
