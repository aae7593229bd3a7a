//! The commands that exist, with the options that iPXE gives them.
//!
//! Behaviour is bound to [`CommandSpec::name`] by the boot logic; a test there shows that each
//! has one. The tests here check that no name is used twice.

mod images;
mod network;
mod parts;
mod trust;
mod ui;

use alloc::borrow::ToOwned;

use self::parts::{
    AUTOFREE, DRIVE, IMAGES, INTERFACES, KEEP_SAN, NAME, NO_DESCRIBE, QUIET, REPLACE, SAN_EXTRA,
    SAN_FILE, SAN_LABEL, SAN_URI, SAN_UUID, TIMEOUT, at_least, between, command, exactly,
};
use super::{CommandSpec, OptionSpec, UnknownCommand, ValueKind};
use crate::similar;

/// The command of that name or synonym.
#[must_use]
pub fn find(name: &str) -> Option<&'static CommandSpec> {
    COMMANDS.iter().find(|command| command.answers_to(name))
}

/// The error for a name that [`find`] does not find.
#[must_use]
pub fn unknown(name: &str) -> UnknownCommand {
    let names = COMMANDS.iter().flat_map(|command| {
        [command.name]
            .into_iter()
            .chain(command.synonyms.iter().copied())
    });
    UnknownCommand {
        name: name.to_owned(),
        near: similar::closest(name, names),
        reason: REFUSED
            .iter()
            .find(|refused| refused.name == name)
            .map(|refused| refused.reason),
    }
}

/// Every command, grouped by what it is about.
pub const COMMANDS: &[CommandSpec] = &[
    // Network interfaces.
    CommandSpec {
        synonyms: &["dhcp"],
        options: &[
            OptionSpec {
                long: "configurator",
                short: 'c',
                value: ValueKind::Choice(&["dhcp", "ipv6"]),
                help: "how to get an address; dhcp also takes what IPv6 routers offer",
            },
            TIMEOUT,
        ],
        arguments: INTERFACES,
        details: "Without interface: each in turn until one has an address. Opens the interface \
                  and waits for its link first.",
        ..command("ifconf", "Get an address from a DHCP server")
    },
    CommandSpec {
        arguments: INTERFACES,
        ..command(
            "ifopen",
            "Open network interfaces, and use the addresses that are set",
        )
    },
    CommandSpec {
        arguments: INTERFACES,
        ..command(
            "ifclose",
            "Close network interfaces, and give their leases back",
        )
    },
    CommandSpec {
        arguments: INTERFACES,
        ..command(
            "ifstat",
            "Show network interfaces, their link and their counters",
        )
    },
    CommandSpec {
        options: &[TIMEOUT],
        arguments: INTERFACES,
        ..command("iflinkwait", "Wait until a link is up")
    },
    command("route", "Show the addresses and routes in use"),
    network::NSTAT,
    network::IPSTAT,
    CommandSpec {
        arguments: exactly("<setting> <name>", 2),
        ..command(
            "nslookup",
            "Look up the address of a name and store it in a setting",
        )
    },
    network::PING,
    network::PXEBS,
    network::NTP,
    CommandSpec {
        options: &[
            OptionSpec {
                long: "tag",
                short: 't',
                value: ValueKind::Number("number"),
                help: "the VLAN, 1 to 4094",
            },
            OptionSpec {
                long: "priority",
                short: 'p',
                value: ValueKind::Number("priority"),
                help: "of what is sent, 0 to 7, else 0",
            },
        ],
        arguments: exactly("<interface>", 1),
        details: "Makes net0-2 of `vcreate --tag 2 net0`: an interface with its own address, \
                  settings and routes, whose frames have the tag (IEEE 802.1Q). The card itself \
                  goes on with untagged frames.",
        ..command("vcreate", "Create a VLAN interface on a network card")
    },
    CommandSpec {
        arguments: exactly("<interface>", 1),
        details: "Its connections end, and its settings are forgotten.",
        ..command("vdestroy", "Destroy a VLAN interface")
    },
    CommandSpec {
        arguments: INTERFACES,
        details: "Each in turn gets an address; then the file that the DHCP server names \
                  (filename, from next-server) is run, else the disk that it names (root-path) \
                  is booted. Where it names neither, a proxyDHCP server is waited for, for up to \
                  2 s. A PXE boot menu (option 43.9) goes before: its first item is booted, or what \
                  is chosen from it when F8 is pressed at its prompt.",
        ..command("autoboot", "Boot as the DHCP server says")
    },
    // Settings.
    CommandSpec {
        options: &[OptionSpec {
            help: "only tell whether it is set",
            ..QUIET
        }],
        arguments: exactly("<setting>", 1),
        ..command("show", "Show a setting with its scope and type")
    },
    CommandSpec {
        arguments: at_least("<setting> [<value>...]", 1),
        details: "A setting is written [scope/]name[:type]. Several words are stored with one \
                  space between them; none clear the setting.",
        ..command("set", "Set a setting")
    },
    CommandSpec {
        arguments: exactly("<setting>", 1),
        ..command("clear", "Clear a setting")
    },
    CommandSpec {
        options: &[TIMEOUT],
        arguments: exactly("<setting>", 1),
        ..command("read", "Let the user type a setting")
    },
    ui::CONFIG,
    CommandSpec {
        arguments: between("<setting> [<number>]", 1, 2),
        ..command("inc", "Add a number, 1 if not given, to a setting")
    },
    CommandSpec {
        arguments: exactly("<value>", 1),
        details: "Used with an expansion, as in: isset ${net0/ip} || dhcp",
        ..command("isset", "Succeed if a value is not empty")
    },
    CommandSpec {
        arguments: exactly("<value> <value>", 2),
        ..command("iseq", "Succeed if two values are the same")
    },
    // Images.
    CommandSpec {
        synonyms: &["chain", "boot"],
        options: &[NAME, TIMEOUT, QUIET, AUTOFREE, REPLACE],
        arguments: at_least("[<uri|image> [<argument>...]]", 0),
        details: "Without argument: the image that is selected. A script is run; when it ends, \
                  the script that called it goes on, unless --replace was given. An EFI program \
                  has the network cards to itself meanwhile, as another loader needs them, unless \
                  a SAN disk is attached: then they stay with this loader, which reads the disk.",
        ..command("imgexec", "Fetch an image and run it")
    },
    CommandSpec {
        synonyms: &["module", "initrd"],
        options: &[NAME, TIMEOUT, QUIET, AUTOFREE],
        arguments: at_least("<uri> [<argument>...]", 1),
        details: "When `boot` starts a kernel, what was fetched beside it is its initial RAM disk, \
                  one image after the other, which Linux's EFI stub asks for (Linux 5.8 and \
                  later). With arguments an image becomes a file in it: `initrd <uri> \
                  /etc/net/eth0.conf mode=600 mkdir=1`. The mode is octal; `mkdir` says how many \
                  of its folders to make, from the last one, -1 all of them.",
        ..command("imgfetch", "Fetch an image")
    },
    CommandSpec {
        synonyms: &["kernel", "imgload"],
        options: &[NAME, TIMEOUT, QUIET, AUTOFREE],
        arguments: at_least("<uri|image> [<argument>...]", 1),
        ..command("imgselect", "Fetch an image and select it for `boot`")
    },
    CommandSpec {
        options: &[NAME, TIMEOUT, QUIET, AUTOFREE],
        arguments: at_least("<uri|image> [<argument>...]", 1),
        ..command("imgargs", "Set the arguments that an image is started with")
    },
    CommandSpec {
        arguments: IMAGES,
        ..command("imgstat", "Show images")
    },
    CommandSpec {
        arguments: IMAGES,
        ..command("imgfree", "Forget images, all if none is named")
    },
    images::EXTRACT,
    images::SET,
    images::FDT,
    images::MD5SUM,
    images::SHA1SUM,
    images::SHA224SUM,
    images::SHA256SUM,
    images::SHA384SUM,
    images::SHA512SUM,
    trust::IMGTRUST,
    trust::IMGVERIFY,
    trust::IMGDECRYPT,
    trust::CERTSTAT,
    trust::CERTSTORE,
    trust::CERTFREE,
    images::PARAMS,
    images::PARAM,
    // SAN disks.
    CommandSpec {
        options: &[DRIVE, NO_DESCRIBE],
        arguments: at_least("<uri>...", 1),
        details: SAN_URI,
        ..command("sanhook", "Attach a SAN disk")
    },
    CommandSpec {
        options: &[
            DRIVE,
            NO_DESCRIBE,
            KEEP_SAN,
            SAN_FILE,
            SAN_EXTRA,
            SAN_LABEL,
            SAN_UUID,
        ],
        arguments: at_least("[<uri>...]", 0),
        details: SAN_URI,
        ..command(
            "sanboot",
            "Boot from a SAN disk; without URI, from an attached one",
        )
    },
    CommandSpec {
        arguments: between("[<server>[:<port>]]", 0, 1),
        details: "Without a server, the disks that are attached.",
        ..command("sanlist", "List the iSCSI targets of a server")
    },
    CommandSpec {
        options: &[DRIVE],
        ..command("sanunhook", "Detach a SAN disk")
    },
    // Menus and forms.
    ui::MENU,
    ui::FORM,
    ui::ITEM,
    ui::CHOOSE,
    ui::PRESENT,
    ui::LOGIN,
    ui::COLOUR,
    ui::CPAIR,
    ui::CONSOLE,
    // Scripts and the console.
    CommandSpec {
        options: &[OptionSpec {
            long: "n",
            short: 'n',
            value: ValueKind::Flag,
            help: "do not end the line",
        }],
        arguments: at_least("[<word>...]", 0),
        takes_any_dash: true,
        ..command("echo", "Print words")
    },
    CommandSpec {
        arguments: exactly("<label>", 1),
        details: "The label is a line of the script that begins with a colon: `:label`.",
        ..command("goto", "Go on at a label of the script")
    },
    CommandSpec {
        arguments: between("[<status>]", 0, 1),
        ..command("exit", "End the script, or the shell")
    },
    CommandSpec {
        arguments: exactly("<seconds>", 1),
        ..command("sleep", "Wait")
    },
    CommandSpec {
        options: &[
            OptionSpec {
                long: "key",
                short: 'k',
                value: ValueKind::Key,
                help: "succeed at this key only",
            },
            OptionSpec {
                help: "fail if no key was pressed by then",
                ..TIMEOUT
            },
        ],
        arguments: at_least("[<word>...]", 0),
        ..command("prompt", "Wait for a key")
    },
    command("shell", "Open the prompt"),
    CommandSpec {
        arguments: between("[<command>]", 0, 1),
        ..command("help", "List the commands, or tell about one")
    },
    CommandSpec {
        options: &[
            OptionSpec {
                long: "warm",
                short: 'w',
                value: ValueKind::Flag,
                help: "keep the memory's contents, where the firmware can",
            },
            OptionSpec {
                long: "setup",
                short: 's',
                value: ValueKind::Flag,
                help: "enter the firmware's setup",
            },
        ],
        ..command("reboot", "Restart the machine")
    },
    command("poweroff", "Switch the machine off"),
    CommandSpec {
        options: &[TIMEOUT],
        details: "Nothing goes on in the background here, so this succeeds at once.",
        ..command("sync", "Wait for what goes on in the background")
    },
    CommandSpec {
        options: &[
            OptionSpec {
                long: "ext",
                short: 'e',
                value: ValueKind::Flag,
                help: "of the extended features (leaf 0x80000001)",
            },
            OptionSpec {
                long: "ecx",
                short: 'c',
                value: ValueKind::Flag,
                help: "of register ECX, else of EDX",
            },
        ],
        arguments: exactly("<bit>", 1),
        details: "Fails on processors that have no CPUID instruction. `cpuid --ext 29` asks for \
                  64-bit x86.",
        ..command("cpuid", "Succeed if the processor has a feature")
    },
];

/// A command of iPXE that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its name.
    pub name: &'static str,
    /// Why it is left out.
    pub reason: &'static str,
}

/// The commands of iPXE that are left out, and why.
pub const REFUSED: &[Refused] = &[
    refused("fcels", FIBRE_CHANNEL),
    refused("fcstat", FIBRE_CHANNEL),
    refused("gdbstub", DEVELOPMENT),
    refused(
        "ibstat",
        "InfiniBand needs drivers of its own, which the loader has not",
    ),
    refused(
        "imgmem",
        "it would make an image of any memory of the machine",
    ),
    refused("iwlist", WIRELESS),
    refused("iwstat", WIRELESS),
    refused("lotest", DEVELOPMENT),
    refused("md4sum", "MD4 is broken; use sha256sum"),
    refused(
        "pciscan",
        "the loader has no PCI drivers: the firmware has them",
    ),
    refused("profstat", DEVELOPMENT),
    refused(
        "shim",
        "shim fetches what it starts from a volume or by PXE, which the loader offers it neither",
    ),
    refused("startpxe", "the loader provides no PXE services"),
    refused("stoppxe", "the loader provides no PXE services"),
    refused("time", DEVELOPMENT),
    refused(
        "usbscan",
        "the loader has no USB drivers: the firmware has them",
    ),
];

const DEVELOPMENT: &str = "it serves the development of iPXE";
const FIBRE_CHANNEL: &str = "Fibre Channel needs drivers of its own, which the loader has not";
const WIRELESS: &str = "the firmware's network protocol has no notion of Wi-Fi";

const fn refused(name: &'static str, reason: &'static str) -> Refused {
    Refused { name, reason }
}
