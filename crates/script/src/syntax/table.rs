//! The commands that exist, with the options that iPXE gives them.
//!
//! Behaviour is bound to [`CommandSpec::name`] by the boot logic; a test there shows that each
//! has one. The tests here check that no name is used twice.

use alloc::borrow::ToOwned;

use super::{ArgumentSpec, CommandSpec, OptionSpec, UnknownCommand, ValueKind};
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
                value: ValueKind::Choice(&["dhcp"]),
                help: "how to get an address",
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
        ..command("ifclose", "Close network interfaces")
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
    command("nstat", "Show the neighbours that are known"),
    command("ipstat", "Show what the network has counted"),
    CommandSpec {
        arguments: exactly("<setting> <name>", 2),
        ..command(
            "nslookup",
            "Look up the address of a name and store it in a setting",
        )
    },
    CommandSpec {
        options: &[
            OptionSpec {
                long: "size",
                short: 's',
                value: ValueKind::Number("bytes"),
                help: "data in each packet, 64 if not given",
            },
            OptionSpec {
                help: "wait for each answer, 1000 if not given",
                ..TIMEOUT
            },
            OptionSpec {
                long: "count",
                short: 'c',
                value: ValueKind::Number("count"),
                help: "stop after so many packets, else at a key",
            },
            OptionSpec {
                help: "only tell whether it answers",
                ..QUIET
            },
        ],
        arguments: exactly("<host>", 1),
        ..command("ping", "See whether a host answers")
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
        arguments: exactly("<setting>", 1),
        ..command("read", "Let the user type a setting")
    },
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
                  the script that called it goes on, unless --replace was given.",
        ..command("imgexec", "Fetch an image and run it")
    },
    CommandSpec {
        synonyms: &["module", "initrd"],
        options: &[NAME, TIMEOUT, QUIET, AUTOFREE],
        arguments: at_least("<uri> [<argument>...]", 1),
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
        options: &[DRIVE],
        ..command("sanunhook", "Detach a SAN disk")
    },
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
];

/// A command without options and arguments.
const fn command(name: &'static str, summary: &'static str) -> CommandSpec {
    CommandSpec {
        name,
        synonyms: &[],
        options: &[],
        arguments: ArgumentSpec {
            usage: "",
            min: 0,
            max: Some(0),
        },
        summary,
        details: "",
        takes_any_dash: false,
    }
}

const fn exactly(usage: &'static str, count: usize) -> ArgumentSpec {
    between(usage, count, count)
}

const fn between(usage: &'static str, min: usize, max: usize) -> ArgumentSpec {
    ArgumentSpec {
        usage,
        min,
        max: Some(max),
    }
}

const fn at_least(usage: &'static str, min: usize) -> ArgumentSpec {
    ArgumentSpec {
        usage,
        min,
        max: None,
    }
}

const INTERFACES: ArgumentSpec = at_least("[<interface>...]", 0);
const IMAGES: ArgumentSpec = at_least("[<image>...]", 0);

const TIMEOUT: OptionSpec = OptionSpec {
    long: "timeout",
    short: 't',
    value: ValueKind::Milliseconds,
    help: "give up after so long",
};
const QUIET: OptionSpec = OptionSpec {
    long: "quiet",
    short: 'q',
    value: ValueKind::Flag,
    help: "show no progress",
};
const NAME: OptionSpec = OptionSpec {
    long: "name",
    short: 'n',
    value: ValueKind::Text("name"),
    help: "what to call the image, else by its URI",
};
const AUTOFREE: OptionSpec = OptionSpec {
    long: "autofree",
    short: 'a',
    value: ValueKind::Flag,
    help: "forget the image once it has run",
};
const REPLACE: OptionSpec = OptionSpec {
    long: "replace",
    short: 'r',
    value: ValueKind::Flag,
    help: "do not come back to this script",
};
const DRIVE: OptionSpec = OptionSpec {
    long: "drive",
    short: 'd',
    value: ValueKind::Number("drive"),
    help: "drive number, else ${san-drive} or 0x80",
};
const NO_DESCRIBE: OptionSpec = OptionSpec {
    long: "no-describe",
    short: 'n',
    value: ValueKind::Flag,
    help: "write no iBFT for the operating system",
};
const KEEP_SAN: OptionSpec = OptionSpec {
    long: "keep",
    short: 'k',
    value: ValueKind::Flag,
    help: "leave the disk attached if booting fails",
};
const SAN_FILE: OptionSpec = OptionSpec {
    long: "filename",
    short: 'f',
    value: ValueKind::Text("path"),
    help: "the file to start, else \\EFI\\BOOT\\BOOT<arch>.EFI",
};
const SAN_EXTRA: OptionSpec = OptionSpec {
    long: "extra",
    short: 'e',
    value: ValueKind::Text("path"),
    help: "boot only from a file system that has this file, too",
};
const SAN_LABEL: OptionSpec = OptionSpec {
    long: "label",
    short: 'l',
    value: ValueKind::Text("label"),
    help: "boot only from the file system of this label",
};
const SAN_UUID: OptionSpec = OptionSpec {
    long: "uuid",
    short: 'u',
    value: ValueKind::Text("uuid"),
    help: "boot only from the GPT partition of this GUID",
};

const SAN_URI: &str = "The URI is iscsi:<server>:<protocol>:<port>:<LUN>:<target>, as in \
                       iscsi:192.168.1.1:::1:iqn.2000-01.com.example:disk1. Name and secret come \
                       from the settings username and password, and for mutual CHAP also \
                       reverse-username and reverse-password.";
