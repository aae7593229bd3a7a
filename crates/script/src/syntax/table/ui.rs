//! Menus, forms, the settings browser, and the look of the console.

use super::parts::{TIMEOUT, at_least, between, command, exactly};
use crate::syntax::{CommandSpec, OptionSpec, ValueKind};

pub(super) const MENU: CommandSpec = CommandSpec {
    options: &[UI_NAME, DELETE],
    arguments: at_least("[<title>...]", 0),
    ..command("menu", "Begin a menu")
};

pub(super) const FORM: CommandSpec = CommandSpec {
    options: &[UI_NAME, DELETE],
    arguments: at_least("[<title>...]", 0),
    ..command("form", "Begin a form")
};

pub(super) const ITEM: CommandSpec = CommandSpec {
    options: &[
        MENU_NAME,
        FORM_NAME,
        OptionSpec {
            long: "key",
            short: 'k',
            value: ValueKind::Key,
            help: "the key that chooses it at once",
        },
        OptionSpec {
            long: "default",
            short: 'd',
            value: ValueKind::Flag,
            help: "begin with this one",
        },
        OptionSpec {
            long: "secret",
            short: 's',
            value: ValueKind::Flag,
            help: "do not show what is typed",
        },
        OptionSpec {
            long: "gap",
            short: 'g',
            value: ValueKind::Flag,
            help: "a heading, or an empty line: there is no name then",
        },
    ],
    arguments: at_least("[<name> [<text>...]]", 0),
    details: "In a menu the name is what `choose` stores; in a form it is the setting that is \
              edited. Without name it is an empty line.",
    ..command("item", "Add an item to a menu or a form")
};

pub(super) const CHOOSE: CommandSpec = CommandSpec {
    options: &[
        MENU_NAME,
        OptionSpec {
            long: "default",
            short: 'd',
            value: ValueKind::Text("name"),
            help: "begin with this item",
        },
        OptionSpec {
            help: "choose by itself after so long without a key",
            ..TIMEOUT
        },
        OptionSpec {
            long: "retimeout",
            short: 'r',
            value: ValueKind::Milliseconds,
            help: "begin again with so long after each key",
        },
        KEEP,
    ],
    arguments: exactly("<setting>", 1),
    details: "Arrows, Page Up, Page Down, Home, End and Tab move, Enter chooses, Esc and Ctrl-C \
              give up.",
    ..command(
        "choose",
        "Show a menu and store the name of the chosen item",
    )
};

pub(super) const PRESENT: CommandSpec = CommandSpec {
    options: &[FORM_NAME, KEEP],
    details: "Arrows and Tab move, Enter goes on and after the last field is done, Ctrl-X is \
              done at once, Esc and Ctrl-C give up.",
    ..command(
        "present",
        "Show a form and store what is typed in the settings",
    )
};

pub(super) const LOGIN: CommandSpec = CommandSpec {
    details: "They are stored in the settings username and password.",
    ..command("login", "Ask for a user name and a password")
};

pub(super) const CONFIG: CommandSpec = CommandSpec {
    arguments: between("[<scope>]", 0, 1),
    details: "Enter edits a setting or enters a scope, Ctrl-D clears, Left goes back, Esc and \
              Ctrl-X leave.",
    ..command("config", "Look at settings and change them")
};

pub(super) const COLOUR: CommandSpec = CommandSpec {
    options: &[
        OptionSpec {
            long: "basic",
            short: 'b',
            value: ValueKind::Number("colour"),
            help: "the colour of a terminal, 0 to 7, or 9 for its own",
        },
        OptionSpec {
            long: "rgb",
            short: 'r',
            value: ValueKind::Number("rgb"),
            help: "0xRRGGBB; a text console shows the nearest of its eight",
        },
    ],
    arguments: exactly("<colour>", 1),
    details: "Colours are numbers; 0 to 7 begin as black, red, green, yellow, blue, magenta, \
              cyan and white, 9 as the terminal's own. Without option the colour becomes the \
              terminal's own.",
    ..command("colour", "Say what a colour looks like")
};

pub(super) const CPAIR: CommandSpec = CommandSpec {
    options: &[
        OptionSpec {
            long: "foreground",
            short: 'f',
            value: ValueKind::Number("colour"),
            help: "the colour of the letters",
        },
        OptionSpec {
            long: "background",
            short: 'b',
            value: ValueKind::Number("colour"),
            help: "the colour behind them",
        },
    ],
    arguments: exactly("<pair>", 1),
    details: "Pairs: 0 default, 1 normal text, 2 what is selected, 3 headings, 4 what is edited, \
              5 errors, 6 addresses, 7 PXE menus. Without options a pair becomes what it was at \
              the start.",
    ..command("cpair", "Say which colours a kind of text has")
};

pub(super) const CONSOLE: CommandSpec = CommandSpec {
    options: &[
        number("x", 'x', "width", "width of the picture"),
        number("y", 'y', "height", "height of the picture"),
        number("left", 'l', "pixels", "left margin"),
        number("right", 'r', "pixels", "right margin"),
        number("top", 't', "pixels", "upper margin"),
        number("bottom", 'b', "pixels", "lower margin"),
        number("depth", 'd', "bits", "colour depth"),
        OptionSpec {
            long: "picture",
            short: 'p',
            value: ValueKind::Text("uri"),
            help: "background picture",
        },
        KEEP_PICTURE,
    ],
    details: "The loader's console is the firmware's, which is text: everything is accepted and \
              nothing of it is done. A picture is not fetched.",
    ..command("console", "Set up a graphics console")
};

const KEEP_PICTURE: OptionSpec = OptionSpec {
    long: "keep",
    short: 'k',
    value: ValueKind::Flag,
    help: "keep the picture in memory",
};

const UI_NAME: OptionSpec = OptionSpec {
    long: "name",
    short: 'n',
    value: ValueKind::Text("name"),
    help: "what to call it, to have several at a time",
};

const DELETE: OptionSpec = OptionSpec {
    long: "delete",
    short: 'd',
    value: ValueKind::Flag,
    help: "forget it",
};

const MENU_NAME: OptionSpec = OptionSpec {
    long: "menu",
    short: 'm',
    value: ValueKind::Text("name"),
    help: "the menu, if it has a name",
};

const FORM_NAME: OptionSpec = OptionSpec {
    long: "form",
    short: 'f',
    value: ValueKind::Text("name"),
    help: "the form, if it has a name",
};

const KEEP: OptionSpec = OptionSpec {
    long: "keep",
    short: 'k',
    value: ValueKind::Flag,
    help: "do not forget it afterwards",
};

const fn number(
    long: &'static str,
    short: char,
    name: &'static str,
    help: &'static str,
) -> OptionSpec {
    OptionSpec {
        long,
        short,
        value: ValueKind::Number(name),
        help,
    }
}
