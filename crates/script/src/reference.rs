//! Keeps the tables of `docs/script.md` equal to what the code has.
//!
//! After a change: `BOWLINE_WRITE_REFERENCE=1 cargo test -p bowline-script reference`.

use std::fmt::Write;
use std::path::Path;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{env, format, fs};

use crate::limits;
use crate::settings::PREDEFINED;
use crate::syntax::table;

#[test]
fn the_reference_is_complete() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/script.md");
    let before = fs::read_to_string(&path).unwrap();
    let mut after = before.clone();
    for (name, text) in [
        ("settings", settings()),
        ("commands", commands()),
        ("refused", refused()),
        ("limits", limit_table()),
    ] {
        let mark = format!("<!-- {name}: written by the test `the_reference_is_complete` -->\n");
        let start = after.find(&mark).expect(name) + mark.len();
        let end = start + after[start..].find("<!-- end -->").expect("an end mark");
        after.replace_range(start..end, &text);
    }
    if env::var_os("BOWLINE_WRITE_REFERENCE").is_some() {
        fs::write(&path, &after).unwrap();
    } else {
        assert!(
            before == after,
            "docs/script.md is out of date: \
             run `BOWLINE_WRITE_REFERENCE=1 cargo test -p bowline-script reference`"
        );
    }
}

fn settings() -> String {
    let mut text = String::from("| name | DHCP option | type |\n|---|---|---|\n");
    for known in PREDEFINED {
        let tag: Vec<String> = known.tag.iter().map(ToString::to_string).collect();
        writeln!(
            text,
            "| `{}` | {} | {} |",
            known.name,
            tag.join("."),
            known.kind.name()
        )
        .unwrap();
    }
    text
}

fn commands() -> String {
    let mut text = String::new();
    for command in table::COMMANDS {
        writeln!(text, "### {}\n\n{}.\n", command.name, command.summary).unwrap();
        writeln!(text, "```\n{}\n```\n", command.usage()).unwrap();
        if !command.synonyms.is_empty() {
            writeln!(text, "Also: `{}`.\n", command.synonyms.join("`, `")).unwrap();
        }
        if !command.options.is_empty() {
            text.push_str("| option | |\n|---|---|\n");
            for option in command.options {
                let help = option.help.replace('<', "&lt;");
                writeln!(
                    text,
                    "| `-{}`, `--{}` | {help} |",
                    option.short, option.long
                )
                .unwrap();
            }
            text.push('\n');
        }
        if !command.details.is_empty() {
            writeln!(text, "{}\n", command.details.replace('<', "&lt;")).unwrap();
        }
    }
    text
}

fn refused() -> String {
    let mut text = String::from("| command | why |\n|---|---|\n");
    for refused in table::REFUSED {
        writeln!(text, "| `{}` | {} |", refused.name, refused.reason).unwrap();
    }
    text
}

fn limit_table() -> String {
    let mut text = String::from("| what | most |\n|---|---|\n");
    for (what, limit) in [
        ("bytes of a script", limits::SCRIPT_BYTES),
        (
            "bytes of a line, continuation lines joined",
            limits::LINE_BYTES,
        ),
        ("words of a line", limits::LINE_WORDS),
        ("bytes of a command after expansion", limits::COMMAND_BYTES),
        ("expansions in one word", limits::WORD_EXPANSIONS),
        (
            "bytes of a setting's name with its scope",
            limits::NAME_BYTES,
        ),
        ("bytes of a setting's value", limits::VALUE_BYTES),
        ("bytes of all values", limits::SETTINGS_BYTES),
        ("settings", limits::SETTINGS),
        ("scopes", limits::SCOPES),
        ("nested scopes", limits::SCOPE_DEPTH),
        ("numbers in a tag", limits::TAG_DEPTH),
        ("bytes of a URI", limits::URI_BYTES),
        ("bytes of an iSCSI target's name", limits::ISCSI_NAME_BYTES),
    ] {
        writeln!(text, "| {what} | {limit} |").unwrap();
    }
    text
}
