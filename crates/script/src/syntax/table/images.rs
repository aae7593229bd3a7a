//! Commands on images besides fetching and running them: digests, unpacking, request parameters.

use super::parts::{NAME, QUIET, TIMEOUT, at_least, between, command, exactly};
use crate::syntax::{ArgumentSpec, CommandSpec, OptionSpec, ValueKind};

pub(super) const EXTRACT: CommandSpec = CommandSpec {
    options: &[
        OptionSpec {
            help: "what to call the result, else the image's name without .gz",
            ..NAME
        },
        KEEP,
        TIMEOUT,
        QUIET,
    ],
    arguments: exactly("<image>", 1),
    details: "Knows gzip and zlib.",
    ..command("imgextract", "Unpack an image")
};

pub(super) const SET: CommandSpec = CommandSpec {
    options: &[KEEP, TIMEOUT, QUIET],
    arguments: exactly("<setting> <image>", 2),
    ..command("imgset", "Store the bytes of an image in a setting")
};

pub(super) const FDT: CommandSpec = CommandSpec {
    options: &[TIMEOUT, QUIET],
    arguments: between("[<uri|image>]", 0, 1),
    details: "The flattened device tree takes the place of the firmware's while a program that is \
              started runs. Without argument, the firmware's counts again. Not on x86.",
    ..command("fdt", "Choose the device tree for the operating system")
};

pub(super) const MD5SUM: CommandSpec = digest("md5sum", "Show the MD5 digest of images");
pub(super) const SHA1SUM: CommandSpec = digest("sha1sum", "Show the SHA-1 digest of images");
pub(super) const SHA224SUM: CommandSpec = digest("sha224sum", "Show the SHA-224 digest of images");
pub(super) const SHA256SUM: CommandSpec = digest("sha256sum", "Show the SHA-256 digest of images");
pub(super) const SHA384SUM: CommandSpec = digest("sha384sum", "Show the SHA-384 digest of images");
pub(super) const SHA512SUM: CommandSpec = digest("sha512sum", "Show the SHA-512 digest of images");

pub(super) const PARAMS: CommandSpec = CommandSpec {
    options: &[
        OptionSpec {
            help: "a list of its own, for `##params=<name>`",
            ..NAME
        },
        OptionSpec {
            long: "method",
            short: 'm',
            value: ValueKind::Text("method"),
            help: "the request's method, else POST or GET",
        },
        OptionSpec {
            long: "delete",
            short: 'd',
            value: ValueKind::Flag,
            help: "forget the list",
        },
    ],
    details: "A URI that ends in ##params sends the list, and forgets it. With parameters that \
              are no headers it is a POST of a form.",
    ..command("params", "Begin a list of request parameters")
};

pub(super) const PARAM: CommandSpec = CommandSpec {
    options: &[
        OptionSpec {
            long: "params",
            short: 'p',
            value: ValueKind::Text("name"),
            help: "the list, if it has a name",
        },
        OptionSpec {
            long: "header",
            short: 'H',
            value: ValueKind::Flag,
            help: "a header of the request, not a field of its form",
        },
    ],
    arguments: at_least("<key> [<value>...]", 1),
    ..command("param", "Add a parameter to a list")
};

const KEEP: OptionSpec = OptionSpec {
    long: "keep",
    short: 'k',
    value: ValueKind::Flag,
    help: "do not forget the image afterwards",
};

const fn digest(name: &'static str, summary: &'static str) -> CommandSpec {
    CommandSpec {
        options: &[OptionSpec {
            long: "set",
            short: 's',
            value: ValueKind::Text("setting"),
            help: "store the digest instead of showing it",
        }],
        arguments: ArgumentSpec {
            usage: "<image>...",
            min: 1,
            max: None,
        },
        ..command(name, summary)
    }
}
