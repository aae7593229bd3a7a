//! What iPXE has (2.0.0), beside what is here: every command with its options, every setting with
//! its DHCP option and type, every type. What is not here must be refused with a reason.

use std::string::{String, ToString};
use std::vec::Vec;
use std::{assert, assert_eq, format};

use crate::settings::{PREDEFINED, SettingType};
use crate::syntax::table;

/// Commands and synonyms, and their options: the short one and the long one.
const COMMANDS: &[(&str, &str)] = &[
    (
        "imgfetch module initrd",
        "n:name t:timeout q:quiet a:autofree",
    ),
    (
        "imgselect imgload kernel",
        "n:name t:timeout q:quiet a:autofree",
    ),
    (
        "imgexec chain boot",
        "n:name t:timeout q:quiet a:autofree r:replace",
    ),
    ("imgargs", "n:name t:timeout q:quiet a:autofree"),
    ("imgstat", ""),
    ("imgfree", ""),
    ("imgextract", "n:name k:keep t:timeout q:quiet"),
    ("imgset", "k:keep t:timeout q:quiet"),
    ("imgmem", ""),
    ("imgtrust", "a:allow p:permanent"),
    ("imgverify", "s:signer k:keep t:timeout q:quiet"),
    ("imgdecrypt", "n:name k:keep t:timeout q:quiet"),
    ("md4sum", ""),
    ("md5sum", "s:set"),
    ("sha1sum", "s:set"),
    ("sha224sum", "s:set"),
    ("sha256sum", "s:set"),
    ("sha384sum", "s:set"),
    ("sha512sum", "s:set"),
    ("sanhook", "d:drive n:no-describe"),
    (
        "sanboot",
        "d:drive n:no-describe k:keep f:filename e:extra l:label u:uuid",
    ),
    ("sanunhook", "d:drive"),
    ("ifopen", ""),
    ("ifclose", ""),
    ("ifstat", ""),
    ("ifconf dhcp", "c:configurator t:timeout"),
    ("iflinkwait", "t:timeout"),
    ("autoboot", ""),
    ("pxebs", ""),
    ("route", ""),
    ("nstat", ""),
    ("ipstat", ""),
    ("vcreate", "t:tag p:priority"),
    ("vdestroy", ""),
    ("nslookup", ""),
    ("ping", "s:size t:timeout c:count q:quiet"),
    ("ntp", ""),
    ("show", "q:quiet"),
    ("set", ""),
    ("clear", ""),
    ("read", "t:timeout"),
    ("inc", ""),
    ("isset", ""),
    ("iseq", ""),
    ("echo", "n:n"),
    ("sleep", ""),
    ("exit", ""),
    ("goto", ""),
    ("prompt", "k:key t:timeout"),
    ("menu", "n:name d:delete"),
    ("form", "n:name d:delete"),
    ("item", "m:menu f:form k:key d:default s:secret g:gap"),
    ("choose", "m:menu d:default t:timeout r:retimeout k:keep"),
    ("present", "f:form k:keep"),
    ("params", "n:name m:method d:delete"),
    ("param", "p:params H:header"),
    (
        "console",
        "x:x y:y l:left r:right t:top b:bottom d:depth p:picture k:keep",
    ),
    ("colour", "b:basic r:rgb"),
    ("cpair", "f:foreground b:background"),
    ("login", ""),
    ("config", ""),
    ("certstat", "s:subject k:keep"),
    ("certstore", "s:subject k:keep"),
    ("certfree", "s:subject k:keep"),
    ("shim", ""),
    ("fdt", "t:timeout q:quiet"),
    ("sync", "t:timeout"),
    ("pciscan", ""),
    ("usbscan", ""),
    ("cpuid", "e:ext c:ecx"),
    ("reboot", "w:warm s:setup"),
    ("poweroff", ""),
    ("shell", ""),
    ("help", ""),
    ("fcstat", ""),
    ("fcels", ""),
    ("ibstat", ""),
    ("iwstat", ""),
    ("iwlist", ""),
    ("time", ""),
    ("lotest", ""),
    ("profstat", ""),
    ("gdbstub", ""),
    ("startpxe", ""),
    ("stoppxe", ""),
];

#[test]
fn every_command_of_ipxe_is_here_or_refused_with_a_reason() {
    let mut wrong = Vec::new();
    for (names, options) in COMMANDS {
        for name in names.split(' ') {
            let Some(command) = table::find(name) else {
                if table::unknown(name).reason.is_none() {
                    wrong.push(format!("{name} is neither here nor refused"));
                }
                continue;
            };
            // A name that is refused is not here.
            assert_eq!(table::unknown(name).reason, None, "{name}");
            for option in options.split_whitespace() {
                let (short, long) = option.split_once(':').unwrap();
                let found = command.options.iter().find(|it| it.long == long);
                if found.is_none_or(|it| it.short.to_string() != short) {
                    wrong.push(format!("{name} has no -{short}, --{long}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Settings with their DHCP option, where they have one, and their type.
const SETTINGS: &str = "ip 175.2 ipv4; netmask 1 ipv4; gateway 3 ipv4; static-routes 121 hex; \
    dns 6 ipv4; domain 15 string; dnssl 119 dnssl; hostname 12 string; ntp 42 ipv4; \
    syslog 7 ipv4; syslog6 - ipv6; syslogs 175.85 string; mtu 26 int16; next-server 175.3 ipv4; \
    filename 67 string; root-path 17 string; dhcp-server 54 ipv4; user-class 77 string; \
    vendor-class 60 string; priority 175.1 int8; keep-san 175.8 int8; skip-san-boot 175.9 int8; \
    scriptlet 175.81 string; crosscert 175.93 string; trust 175.90 hex; cert 175.91 hex; \
    privkey 175.92 hex; san-retries 175.187 int8; san-filename 175.188 string; \
    san-drive 175.189 uint8; username 175.190 string; password 175.191 string; \
    reverse-username 175.192 string; reverse-password 175.193 string; uid 175.194 uint32; \
    gid 175.195 uint32; initiator-iqn 203 string; ip6 - ipv6; len6 - uint8; gateway6 - ipv6; \
    dns6 - ipv6; mac - hex; hwaddr - hex; bustype - string; busloc - uint32; busid - hex; \
    linktype - string; chip - string; ifname - string; uuid - uuid; manufacturer - string; \
    product - string; serial - string; asset - string; board-serial - string; errno - *; \
    buildarch - string; platform - string; version - string; unixtime - uint32; cwuri - string; \
    cwduri - string; dmesg - string; sysmac - hex; memsize - int32; vram - base64; \
    keymap - string; peerhost - string; peerdist - int8; ssid - string; key - string; \
    active-scan - int8; cpuvendor - string; cpumodel - string";

/// `errno` is a number to iPXE and a name here, as the list of differences says.
#[test]
fn every_setting_of_ipxe_is_here() {
    let mut wrong = Vec::new();
    for line in SETTINGS.split("; ") {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, tag, kind] = words[..] else {
            panic!("{line}");
        };
        let known = PREDEFINED.iter().find(|it| it.name == name);
        let found = known.map(|it| {
            let tag: Vec<String> = it.tag.iter().map(ToString::to_string).collect();
            (tag.join("."), it.kind.name())
        });
        let tag = if tag == "-" { "" } else { tag };
        if found
            .as_ref()
            .is_none_or(|(found, it)| found != tag || *it != kind && kind != "*")
        {
            wrong.push(format!("{line}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_type_of_ipxe_is_here() {
    const TYPES: &str = "string uristring ipv4 ipv6 int8 int16 int32 uint8 uint16 uint32 hex \
        hexhyp hexraw base64 uuid guid busdevfn dnssl";
    let names: Vec<&str> = SettingType::ALL.iter().map(|it| it.name()).collect();
    for name in TYPES.split_whitespace() {
        assert!(names.contains(&name), "{name}");
    }
}
