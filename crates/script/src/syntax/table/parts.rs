//! What several commands have in common: options, and short ways to write a command down.

use crate::syntax::{ArgumentSpec, CommandSpec, OptionSpec, ValueKind};

/// A command without options and arguments.
pub(super) const fn command(name: &'static str, summary: &'static str) -> CommandSpec {
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

pub(super) const fn exactly(usage: &'static str, count: usize) -> ArgumentSpec {
    between(usage, count, count)
}

pub(super) const fn between(usage: &'static str, min: usize, max: usize) -> ArgumentSpec {
    ArgumentSpec {
        usage,
        min,
        max: Some(max),
    }
}

pub(super) const fn at_least(usage: &'static str, min: usize) -> ArgumentSpec {
    ArgumentSpec {
        usage,
        min,
        max: None,
    }
}

pub(super) const INTERFACES: ArgumentSpec = at_least("[<interface>...]", 0);
pub(super) const IMAGES: ArgumentSpec = at_least("[<image>...]", 0);

pub(super) const TIMEOUT: OptionSpec = OptionSpec {
    long: "timeout",
    short: 't',
    value: ValueKind::Milliseconds,
    help: "give up after so long",
};
pub(super) const QUIET: OptionSpec = OptionSpec {
    long: "quiet",
    short: 'q',
    value: ValueKind::Flag,
    help: "show no progress",
};
pub(super) const NAME: OptionSpec = OptionSpec {
    long: "name",
    short: 'n',
    value: ValueKind::Text("name"),
    help: "what to call the image, else by its URI",
};
pub(super) const AUTOFREE: OptionSpec = OptionSpec {
    long: "autofree",
    short: 'a',
    value: ValueKind::Flag,
    help: "forget the image once it has run",
};
pub(super) const REPLACE: OptionSpec = OptionSpec {
    long: "replace",
    short: 'r',
    value: ValueKind::Flag,
    help: "do not come back to this script",
};
pub(super) const DRIVE: OptionSpec = OptionSpec {
    long: "drive",
    short: 'd',
    value: ValueKind::Number("drive"),
    help: "drive number, else ${san-drive} or 0x80",
};
pub(super) const NO_DESCRIBE: OptionSpec = OptionSpec {
    long: "no-describe",
    short: 'n',
    value: ValueKind::Flag,
    help: "write no iBFT for the operating system",
};
pub(super) const KEEP_SAN: OptionSpec = OptionSpec {
    long: "keep",
    short: 'k',
    value: ValueKind::Flag,
    help: "leave the disk attached if booting fails",
};
pub(super) const SAN_FILE: OptionSpec = OptionSpec {
    long: "filename",
    short: 'f',
    value: ValueKind::Text("path"),
    help: "the file to start, else \\EFI\\BOOT\\BOOT<arch>.EFI",
};
pub(super) const SAN_EXTRA: OptionSpec = OptionSpec {
    long: "extra",
    short: 'e',
    value: ValueKind::Text("path"),
    help: "boot only from a file system that has this file, too",
};
pub(super) const SAN_LABEL: OptionSpec = OptionSpec {
    long: "label",
    short: 'l',
    value: ValueKind::Text("label"),
    help: "boot only from the file system of this label",
};
pub(super) const SAN_UUID: OptionSpec = OptionSpec {
    long: "uuid",
    short: 'u',
    value: ValueKind::Text("uuid"),
    help: "boot only from the GPT partition of this GUID",
};

pub(super) const SAN_URI: &str = "The URI is iscsi:<server>:<protocol>:<port>:<LUN>:<target>, as in \
                       iscsi:192.168.1.1:::1:iqn.2000-01.com.example:disk1. Name and secret come \
                       from the settings username and password, and for mutual CHAP also \
                       reverse-username and reverse-password.";
