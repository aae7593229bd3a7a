//! The table `dhcp`.

use super::*;

const DHCP: &str =
    "[dhcp]\ninterface = 'eth1'\nserver = '192.168.1.1'\nsubnet = '192.168.1.0/24'\n";

#[test]
fn a_whole_dhcp_table_is_understood() {
    use bowline_dhcp::wire::{Architecture, code};
    let site = site();
    let text = format!(
        "state = 'state'\n{DHCP}pool = ['192.168.1.100-192.168.1.199', '192.168.1.210']\n\
         lease = '90m'\nrouter = '192.168.1.1'\ndns = ['192.168.1.1', '9.9.9.9']\n\
         domain = 'example.com'\nmtu = 9000\nnext-server = '192.168.1.2'\n\
         filename = 'bowline.efi'\nroot-path = 'iscsi:192.168.1.1:::1:iqn.2000-01.com.example:a'\n\
         [[dhcp.match]]\nuser-class = 'iPXE'\nfilename = 'http://192.168.1.1/boot.ipxe'\n\
         [[dhcp.match]]\nvendor-class = 'HTTPClient'\narchitecture = 'x86_64'\n\
         [[dhcp.match]]\narchitecture = '39'\n\
         [[dhcp.host]]\nmac = '52:54:00:12:34:56'\naddress = '192.168.1.50'\nhostname = 'node1'\n\
         [[dhcp.host]]\nuuid = '00112233-4455-6677-8899-aabbccddeeff'\nclient-id = '01-ff'\n"
    );
    let dhcp = parse(&site, &text).unwrap().config.dhcp.unwrap();
    assert_eq!(dhcp.interface, "eth1");
    assert_eq!(dhcp.lease_file, site.path().join("state/dhcp.leases"));
    let server = dhcp.server;
    server.check().unwrap();
    assert_eq!(server.lease_time.as_secs(), 5400);
    let pools: Vec<_> = server.subnets[0]
        .pools
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        pools,
        ["192.168.1.100-192.168.1.199", "192.168.1.210-192.168.1.210"]
    );
    let options = &server.profile.options;
    assert_eq!(
        options.get(code::DOMAIN_NAME_SERVER),
        Some(&[192, 168, 1, 1, 9, 9, 9, 9][..])
    );
    assert_eq!(options.get(code::ROUTER), Some(&[192, 168, 1, 1][..]));
    assert_eq!(options.get(code::DOMAIN_NAME), Some(&b"example.com"[..]));
    assert_eq!(options.u16(code::INTERFACE_MTU), Some(9000));
    assert!(
        options
            .get(code::ROOT_PATH)
            .unwrap()
            .starts_with(b"iscsi:192")
    );
    assert_eq!(
        server.profile.filename.as_deref(),
        Some(&b"bowline.efi"[..])
    );
    assert_eq!(server.matches[0].user_class.as_deref(), Some(&b"iPXE"[..]));
    assert_eq!(
        server.matches[1].architectures,
        [Architecture::X86_64, Architecture::X86_64_OTHER]
    );
    assert_eq!(server.matches[2].architectures, [Architecture(39)]);
    assert_eq!(server.hosts[0].mac, Some([0x52, 0x54, 0, 0x12, 0x34, 0x56]));
    assert_eq!(
        server.hosts[0].profile.options.get(code::HOST_NAME),
        Some(&b"node1"[..])
    );
    // SMBIOS byte order: the first three groups turned round.
    let uuid = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].map(|n| n * 0x11);
    assert_eq!(server.hosts[1].uuid, Some(uuid));
    assert_eq!(
        server.hosts[1].client_identifier.as_deref(),
        Some(&[1, 0xff][..])
    );
}

#[test]
fn dhcp_values_that_are_none() {
    refused(
        "[dhcp]\ninterface = 'much-too-long-a-name'\nserver = '192.168.1'\n\
         subnet = '192.168.1.7/24'\nlease = 'an hour'\nrouter = 5\nmtu = 20\n\
         next-server = 'boot'\nfilename = ''\nbootfile = 'x'\n",
        &[
            "bowline.toml:2: dhcp.interface: \"much-too-long-a-name\" is not the name of a network \
             interface (ip link shows them)",
            "bowline.toml:3: dhcp.server: \"192.168.1\" is not an IPv4 address; \
             write it like 192.168.1.1",
            "bowline.toml:4: dhcp.subnet: 192.168.1.7 is an address inside the network; \
             write it like 192.168.1.0/24",
            "bowline.toml:5: dhcp.lease: \"an hour\" is not a time; write it like 90s, 30m, 12h or 7d",
            "bowline.toml:6: dhcp.router: should be a string in quotes, not a whole number",
            "bowline.toml:7: dhcp.mtu: 20 is not between 68 and 65535",
            "bowline.toml:8: dhcp.next-server: \"boot\" is not an IPv4 address; \
             write it like 192.168.1.1",
            "bowline.toml:9: dhcp.filename: is empty; leave the key out instead",
            "bowline.toml:10: dhcp.bootfile: unknown key; known here: interface, server, subnet, \
             pool, lease, router, dns, ntp, domain, root-path, mtu, next-server, filename, match, \
             host",
        ],
    );
    refused(
        "[dhcp]\n",
        &[
            "bowline.toml:1: dhcp: `interface` is missing: give the network interface to serve, \
             like \"eth1\"",
            "bowline.toml:1: dhcp: `server` is missing: give this server's own address on the \
             interface",
            "bowline.toml:1: dhcp: `subnet` is missing: give the network, like \"192.168.1.0/24\"",
        ],
    );
}

#[test]
fn dhcp_addresses_lie_in_the_subnet() {
    refused(
        &DHCP.replace("192.168.1.0/24", "10.0.0.0/8"),
        &["bowline.toml:4: dhcp.subnet: 10.0.0.0/8 does not have the server's address 192.168.1.1"],
    );
    refused(
        &format!(
            "{DHCP}pool = ['192.168.1.200-192.168.1.100', '192.168.2.1-192.168.2.9', 'all', \
             '192.168.1.1-192.168.1.255']\n"
        ),
        &[
            "bowline.toml:5: dhcp.pool: \"192.168.1.200-192.168.1.100\" runs backwards; \
             write 192.168.1.100-192.168.1.200",
            "bowline.toml:5: dhcp.pool: 192.168.2.1-192.168.2.9 is not inside the subnet \
             192.168.1.0/24",
            "bowline.toml:5: dhcp.pool: \"all\" is not a range of addresses; \
             write it like 192.168.1.100-192.168.1.199",
            "bowline.toml:5: dhcp.pool: 192.168.1.1-192.168.1.255 is not inside the subnet \
             192.168.1.0/24",
        ],
    );
}

#[test]
fn dhcp_rules_and_hosts_say_whom_they_mean() {
    refused(
        &format!("{DHCP}[[dhcp.match]]\nfilename = 'x'\n[[dhcp.match]]\narchitecture = 'amd64'\n"),
        &[
            "bowline.toml:5: dhcp.match: matches every client: give `user-class`, `vendor-class` \
             or `architecture`, or move its settings to [dhcp]",
            "bowline.toml:8: dhcp.match.architecture: \"amd64\" is not an architecture; use bios, \
             ia32, x86_64, arm32, arm64, riscv64, x86_64-http, arm64-http or a number of option 93",
        ],
    );
    refused(
        &format!(
            "{DHCP}[[dhcp.host]]\naddress = '192.168.1.5'\n\
             [[dhcp.host]]\nmac = '52:54:00:12:34'\nuuid = '1-2-3'\nhostname = 'node_1'\n"
        ),
        &[
            "bowline.toml:5: dhcp.host: nothing tells which machine this is: give `mac`, `uuid` or \
             `client-id`",
            "bowline.toml:8: dhcp.host.mac: \"52:54:00:12:34\" is not a MAC address; \
             write it like 52:54:00:12:34:56",
            "bowline.toml:9: dhcp.host.uuid: \"1-2-3\" is not a UUID; \
             write it like 4c4c4544-0051-3510-8052-b4c04f4a3132",
            "bowline.toml:10: dhcp.host.hostname: \"node_1\" is not a host name; \
             use letters, digits and inner hyphens",
        ],
    );
    let host = |n: u8, address: &str| {
        format!("[[dhcp.host]]\nmac = '52:54:00:00:00:0{n}'\naddress = '{address}'\n")
    };
    refused(
        &format!(
            "{DHCP}{}{}{}",
            host(1, "192.168.1.5"),
            host(1, "192.168.1.6"),
            host(2, "192.168.1.7")
        ),
        &["bowline.toml:9: dhcp.host.mac: another host has this `mac`, on line 6"],
    );
    refused(
        &format!(
            "{DHCP}{}{}{}",
            host(1, "192.168.1.5"),
            host(2, "192.168.1.5"),
            host(3, "192.168.1.1")
        ),
        &[
            "bowline.toml:10: dhcp.host.address: 192.168.1.5 is reserved already, on line 7",
            "bowline.toml:13: dhcp.host.address: 192.168.1.1 is not an address for a client in \
             192.168.1.0/24",
        ],
    );
}
