//! The `[dhcp]` table: a network, its addresses, and what its clients are told.
//!
//! What contradicts itself is found here, with its line; [`bowline_dhcp::server::Config::check`]
//! would find it later and know no lines.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use bowline_dhcp::server::{AddressRange, Config as ServerConfig, Host, Match, Profile, Subnet};
use bowline_dhcp::wire::{Architecture, code};

use super::Config;
use crate::config::decode::{Claim, Section, Value};

impl Config {
    /// `state` is the directory for the lease file.
    pub(crate) fn decode(mut section: Section<'_>, state: &Path) -> Option<Self> {
        let interface = section
            .required(
                "interface",
                "give the network interface to serve, like \"eth1\"",
            )
            .and_then(|value| value.parse(interface_name));
        let server = section
            .required("server", "give this server's own address on the interface")
            .and_then(|value| value.parse(address));
        let subnet = section
            .required("subnet", "give the network, like \"192.168.1.0/24\"")
            .and_then(|value| decode_subnet(&value, server));
        let pools = section.optional("pool");
        let lease = section.optional("lease").map(|value| value.parse(duration));
        let profile = decode_profile(&mut section);
        let rules: Vec<_> = section
            .sections("match")
            .into_iter()
            .map(decode_match)
            .collect();
        let hosts: Vec<_> = section
            .sections("host")
            .into_iter()
            .map(Reservation::decode)
            .collect();
        section.finish();

        let (server, mut subnet) = (server?, subnet?);
        subnet.pools = match pools {
            Some(value) => decode_pools(&value, &subnet)?,
            None => Vec::new(),
        };
        let mut config = ServerConfig::new(server);
        config.profile = profile?;
        config.matches = rules.into_iter().collect::<Option<_>>()?;
        let hosts: Vec<_> = hosts
            .into_iter()
            .map(|reservation| reservation?.check(&subnet, server))
            .collect();
        config.hosts = hosts.into_iter().collect::<Option<_>>()?;
        if let Some(lease) = lease {
            config.lease_time = lease?;
        }
        config.subnets = vec![subnet];
        let lease_file = state.join("dhcp.leases");
        Some(Self {
            interface: interface?,
            server: config,
            lease_file,
        })
    }
}

fn decode_subnet(value: &Value<'_>, server: Option<Ipv4Addr>) -> Option<Subnet> {
    let subnet = value.parse(network)?;
    if let Some(server) = server
        && !subnet.is_usable(server)
    {
        value.problem(&format!(
            "{}/{} does not have the server's address {server}",
            subnet.network, subnet.prefix_len
        ));
        return None;
    }
    Some(subnet)
}

fn decode_pools(value: &Value<'_>, subnet: &Subnet) -> Option<Vec<AddressRange>> {
    let pool = |item: Value<'_>| {
        let range = item.parse(address_range)?;
        if !subnet.is_usable(range.first) || !subnet.is_usable(range.last) {
            item.problem(&format!(
                "{range} is not inside the subnet {}/{}",
                subnet.network, subnet.prefix_len
            ));
            return None;
        }
        Some(range)
    };
    // All of them are looked at, even after a bad one.
    let pools: Vec<_> = value.list()?.into_iter().map(pool).collect();
    pools.into_iter().collect()
}

/// What `[dhcp]`, `[[dhcp.match]]` and `[[dhcp.host]]` may all say to clients.
fn decode_profile(section: &mut Section<'_>) -> Option<Profile> {
    let mut profile = Profile::default();
    let mut good = true;
    for (name, option) in [
        ("router", code::ROUTER),
        ("dns", code::DOMAIN_NAME_SERVER),
        ("ntp", code::NTP_SERVER),
    ] {
        if let Some(value) = section.optional(name) {
            match addresses(&value) {
                Some(list) => profile.options.set_ipv4_list(option, &list),
                None => good = false,
            }
        }
    }
    for (name, option) in [
        ("domain", code::DOMAIN_NAME),
        ("root-path", code::ROOT_PATH),
    ] {
        if let Some(value) = section.optional(name) {
            match value.parse(told_text) {
                Some(text) => profile.options.set(option, text),
                None => good = false,
            }
        }
    }
    if let Some(value) = section.optional("mtu") {
        match value
            .number(MTU_MIN..=u64::from(u16::MAX))
            .map(u16::try_from)
        {
            Some(Ok(mtu)) => profile.options.set_u16(code::INTERFACE_MTU, mtu),
            _ => good = false,
        }
    }
    if let Some(value) = section.optional("next-server") {
        profile.next_server = value.parse(address);
        good &= profile.next_server.is_some();
    }
    if let Some(value) = section.optional("filename") {
        profile.filename = value.parse(told_text).map(String::into_bytes);
        good &= profile.filename.is_some();
    }
    good.then_some(profile)
}

fn decode_match(mut section: Section<'_>) -> Option<Match> {
    let bytes = |value: Value<'_>| value.parse(told_text).map(String::into_bytes);
    let user_class = section.optional("user-class").map(bytes);
    let vendor_class = section.optional("vendor-class").map(bytes);
    let architecture = section
        .optional("architecture")
        .map(|value| value.parse(architectures));
    if user_class.is_none() && vendor_class.is_none() && architecture.is_none() {
        section.problem(
            "matches every client: give `user-class`, `vendor-class` or `architecture`, \
             or move its settings to [dhcp]",
        );
    }
    let profile = decode_profile(&mut section);
    section.finish();
    let mut rule = Match {
        profile: profile?,
        ..Match::default()
    };
    if let Some(class) = user_class {
        rule.user_class = Some(class?);
    }
    if let Some(class) = vendor_class {
        rule.vendor_class = Some(class?);
    }
    if let Some(list) = architecture {
        rule.architectures = list?;
    }
    Some(rule)
}

/// A `[[dhcp.host]]` whose address has not been held against the subnet yet.
struct Reservation<'a> {
    host: Host,
    address: Option<Value<'a>>,
}

impl<'a> Reservation<'a> {
    fn decode(mut section: Section<'a>) -> Option<Self> {
        let mac = section.optional("mac").map(|value| {
            let mac = value.parse(mac)?;
            let taken = "another host has this `mac`";
            value
                .claim(&format!("mac {mac:x?}"), Claim::Exclusive, taken)
                .then_some(mac)
        });
        let uuid = section.optional("uuid").map(|value| value.parse(uuid));
        let client = section
            .optional("client-id")
            .map(|value| value.parse(hex_bytes));
        if mac.is_none() && uuid.is_none() && client.is_none() {
            section
                .problem("nothing tells which machine this is: give `mac`, `uuid` or `client-id`");
        }
        let place = section.optional("address");
        let name = section
            .optional("hostname")
            .map(|value| value.parse(host_name));
        let profile = decode_profile(&mut section);
        section.finish();
        let mut host = Host {
            profile: profile?,
            ..Host::default()
        };
        if let Some(mac) = mac {
            host.mac = Some(mac?);
        }
        if let Some(uuid) = uuid {
            host.uuid = Some(uuid?);
        }
        if let Some(client) = client {
            host.client_identifier = Some(client?);
        }
        if let Some(name) = name {
            host.profile.options.set(code::HOST_NAME, name?);
        }
        Some(Self {
            host,
            address: place,
        })
    }

    fn check(mut self, subnet: &Subnet, server: Ipv4Addr) -> Option<Host> {
        if let Some(value) = self.address {
            let address = value.parse(address)?;
            if !subnet.is_usable(address) || address == server {
                value.problem(&format!(
                    "{address} is not an address for a client in {}/{}",
                    subnet.network, subnet.prefix_len
                ));
                return None;
            }
            let taken = format!("{address} is reserved already");
            if !value.claim(&format!("dhcp {address}"), Claim::Exclusive, &taken) {
                return None;
            }
            self.host.address = Some(address);
        }
        Some(self.host)
    }
}

/// One address or a list of them.
fn addresses(value: &Value<'_>) -> Option<Vec<Ipv4Addr>> {
    if let Some(items) = value.as_list() {
        let list: Vec<_> = items.iter().map(|item| item.parse(address)).collect();
        return list.into_iter().collect();
    }
    value.parse(address).map(|address| vec![address])
}

fn address(text: &str) -> Result<Ipv4Addr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not an IPv4 address; write it like 192.168.1.1"))
}

fn network(text: &str) -> Result<Subnet, String> {
    let wrong = || format!("{text:?} is not an IPv4 network; write it like 192.168.1.0/24");
    let (network, prefix_len) = text.split_once('/').ok_or_else(wrong)?;
    let network: Ipv4Addr = network.parse().map_err(|_| wrong())?;
    let prefix_len: u8 = prefix_len.parse().map_err(|_| wrong())?;
    if !(1..=30).contains(&prefix_len) {
        return Err(format!(
            "prefix length {prefix_len} cannot be served; use 1 to 30"
        ));
    }
    let subnet = Subnet {
        network,
        prefix_len,
        pools: Vec::new(),
        profile: Profile::default(),
    };
    let start = Ipv4Addr::from(u32::from(network) & u32::from(subnet.mask()));
    if start != network {
        return Err(format!(
            "{network} is an address inside the network; write it like {start}/{prefix_len}"
        ));
    }
    Ok(subnet)
}

fn address_range(text: &str) -> Result<AddressRange, String> {
    let wrong = || {
        format!("{text:?} is not a range of addresses; write it like 192.168.1.100-192.168.1.199")
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let first: Ipv4Addr = first.trim().parse().map_err(|_| wrong())?;
    let last: Ipv4Addr = last.trim().parse().map_err(|_| wrong())?;
    if first > last {
        return Err(format!("{text:?} runs backwards; write {last}-{first}"));
    }
    Ok(AddressRange { first, last })
}

/// A whole number and a unit: `90s`, `30m`, `12h`, `7d`.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text.len()
        - text
            .bytes()
            .rev()
            .take_while(u8::is_ascii_alphabetic)
            .count();
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(86400),
        _ => None,
    };
    let total = seconds.and_then(|unit| number.parse::<u32>().ok()?.checked_mul(unit));
    match total {
        None => Err(format!(
            "{text:?} is not a time; write it like 90s, 30m, 12h or 7d"
        )),
        Some(..LEASE_SECONDS_MIN) => Err(format!(
            "{text:?} is too short; {LEASE_SECONDS_MIN}s is the least"
        )),
        Some(total) => Ok(Duration::from_secs(u64::from(total))),
    }
}

fn architectures(text: &str) -> Result<Vec<Architecture>, String> {
    if let Some((_, list)) = ARCHITECTURES.iter().find(|(name, _)| *name == text) {
        return Ok(list.to_vec());
    }
    text.parse()
        .map(|number| vec![Architecture(number)])
        .map_err(|_| {
            let names: Vec<_> = ARCHITECTURES.iter().map(|(name, _)| *name).collect();
            format!(
                "{text:?} is not an architecture; use {} or a number of option 93",
                names.join(", ")
            )
        })
}

fn mac(text: &str) -> Result<[u8; 6], String> {
    hex_groups(text, 6)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| format!("{text:?} is not a MAC address; write it like 52:54:00:12:34:56"))
}

fn hex_bytes(text: &str) -> Result<Vec<u8>, String> {
    hex_groups(text, text.split([':', '-']).count())
        .ok_or_else(|| format!("{text:?} is not bytes in hexadecimal; write them like 01:52:54:00"))
}

fn hex_groups(text: &str, count: usize) -> Option<Vec<u8>> {
    let byte = |group: &str| {
        let hex = group.len() == 2 && group.bytes().all(|digit| digit.is_ascii_hexdigit());
        hex.then(|| u8::from_str_radix(group, 16).ok())?
    };
    let bytes: Vec<u8> = text.split([':', '-']).map(byte).collect::<Option<_>>()?;
    (bytes.len() == count).then_some(bytes)
}

fn uuid(text: &str) -> Result<[u8; 16], String> {
    let wrong =
        || format!("{text:?} is not a UUID; write it like 4c4c4544-0051-3510-8052-b4c04f4a3132");
    let groups: Vec<_> = text.split('-').collect();
    if !groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) {
        return Err(wrong());
    }
    let number = u128::from_str_radix(&groups.concat(), 16).map_err(|_| wrong())?;
    let mut bytes = number.to_be_bytes();
    // SMBIOS keeps the first three groups little-endian (SMBIOS 3.6 §7.2.1).
    for group in [0..4, 4..6, 6..8] {
        bytes[group].reverse();
    }
    Ok(bytes)
}

/// RFC 952 and RFC 1123 §2.1.
fn host_name(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 255 && text.split('.').all(label) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is not a host name; use letters, digits and inner hyphens"
        ))
    }
}

fn interface_name(text: &str) -> Result<String, String> {
    // Linux: IFNAMSIZ less its zero, and no characters that a path may not have.
    let bad = |c: char| c == '/' || c.is_whitespace();
    if text.is_empty() || text.len() > 15 || text.contains(bad) {
        return Err(format!(
            "{text:?} is not the name of a network interface (ip link shows them)"
        ));
    }
    Ok(text.to_owned())
}

fn told_text(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("is empty; leave the key out instead".into());
    }
    Ok(text.to_owned())
}

/// Names for the numbers of RFC 4578 §2.1 and their successors at IANA.
const ARCHITECTURES: &[(&str, &[Architecture])] = &[
    ("bios", &[Architecture::BIOS]),
    ("ia32", &[Architecture::IA32]),
    (
        "x86_64",
        &[Architecture::X86_64, Architecture::X86_64_OTHER],
    ),
    ("arm32", &[Architecture::ARM32]),
    ("arm64", &[Architecture::ARM64]),
    ("riscv64", &[Architecture::RISCV64]),
    ("x86_64-http", &[Architecture::X86_64_HTTP]),
    ("arm64-http", &[Architecture::ARM64_HTTP]),
];
const LEASE_SECONDS_MIN: u32 = 10;
/// RFC 2132 §5.1.
const MTU_MIN: u64 = 68;
