//! Scripts with the console they give, in `crates/boot/golden/*.txt`: menus and forms as they
//! look on a terminal of 80 by 25, and what a person reads in between.
//!
//! After a change that is meant: `UPDATE_GOLDEN=1 cargo test -p bowline-boot golden`, then read
//! the difference. A file has sections, each begun by a line `=== name`:
//!
//! * `keys`: key names or `'text`, one every 100 ms, `@5000` for those from then on;
//! * `page /path`: a file of the web server, which is there if there is one of these;
//! * `script`: what is run; `console`: what is seen.
//!
//! A picture of the screen is taken before each key that changes it, with the number of bytes
//! that made it from the one before.

extern crate std;

use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;
use std::path::Path;
use std::{env, fs};

use crate::console::ansi::{Action, Ansi};
use crate::console::terminal::Terminal;
use crate::platform::Key;
use crate::testing::{BANNER, TestPlatform, run_on};

#[test]
fn golden_consoles() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "txt"))
        .collect();
    files.sort();
    assert!(files.len() > 3);
    let mut wrong = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let (input, expected) = text.split_once(CONSOLE).expect("a section `console`");
        let seen = console_of(input);
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, format!("{input}{CONSOLE}{seen}")).unwrap();
        } else if seen != expected {
            wrong.push(format!(
                "{}:\n{}",
                path.display(),
                difference(expected, &seen)
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "UPDATE_GOLDEN=1 if meant\n{}",
        wrong.join("\n")
    );
}

const CONSOLE: &str = "=== console\n";

/// Runs what a file describes and renders what is seen.
fn console_of(input: &str) -> String {
    let mut script = "";
    let mut keys = "";
    let mut pages: Vec<(&'static str, &'static [u8])> = Vec::new();
    for section in input.split("=== ").skip(1) {
        let (name, body) = section.split_once('\n').unwrap();
        match name.split_once(' ') {
            None if name == "keys" => keys = body,
            None if name == "script" => script = body,
            // A test lives no longer than the process.
            Some(("page", path)) => {
                pages.push((path.to_string().leak(), body.to_string().leak().as_bytes()))
            }
            _ => panic!("no section `{name}`"),
        }
    }
    let platform = if pages.is_empty() {
        TestPlatform::new()
    } else {
        TestPlatform::with_network(pages.leak())
    };
    let mut at = Duration::ZERO;
    for word in keys.split_whitespace() {
        if let Some(time) = word.strip_prefix('@') {
            at = Duration::from_millis(time.parse().unwrap());
            continue;
        }
        let keys: Vec<Key> = match word.strip_prefix('\'') {
            Some(text) => text
                .chars()
                .map(|c| Key::Char(if c == '_' { ' ' } else { c }))
                .collect(),
            None => Vec::from([key(word)]),
        };
        for key in keys {
            at += Duration::from_millis(100);
            platform.press_at(at, key);
        }
    }
    // Whatever is left open is left.
    at += Duration::from_secs(60);
    for character in "\x03\x03exit\r".chars() {
        platform.press_at(at, Key::Char(character));
    }
    let (platform, status) = run_on(platform, script);
    render(&platform) + &format!("--- status {status}\n")
}

fn key(name: &str) -> Key {
    match name {
        "Space" => Key::Char(' '),
        _ => Key::named(name).expect(name),
    }
}

/// Text as it is printed, full screens as pictures.
fn render(platform: &Rc<TestPlatform>) -> String {
    let output = platform.output.borrow();
    let marks = platform.key_marks.borrow();
    // `run_packed` took the banner off the output, but not off the marks.
    let removed = BANNER.len();
    let mut cuts: Vec<(usize, Option<(Duration, Key)>)> = marks
        .iter()
        .map(|(offset, at, key)| (offset.saturating_sub(removed), Some((*at, *key))))
        .chain(
            output
                .match_indices(ERASE)
                .map(|(at, erase)| (at + erase.len(), None)),
        )
        .chain([(output.len(), None)])
        .collect();
    cuts.sort_by_key(|(offset, _)| *offset);
    let mut seen = String::new();
    let mut screen: Option<(Terminal, String, usize)> = None;
    let mut is_typing = false;
    let mut from = 0;
    for (offset, key) in cuts {
        let piece = &output[from..offset];
        from = offset;
        let (plain, erases) = match piece.strip_suffix(ERASE) {
            Some(plain) => (plain, true),
            None => (piece, false),
        };
        match &mut screen {
            None => seen += &text_of(plain),
            Some((terminal, last, bytes)) => {
                terminal.write(plain);
                *bytes += plain.len();
                let picture = terminal.picture();
                // Of a word that is typed one picture is enough.
                let types = matches!(key, Some((_, Key::Char(c))) if !c.is_control());
                let is_worth = erases || key.is_some() && !(types && is_typing);
                is_typing = types;
                if is_worth && picture != *last {
                    let event = key.map_or_else(
                        || "end".into(),
                        |(at, key)| format!("{} ms: {key:?}", at.as_millis()),
                    );
                    seen += &format!("--- screen, {bytes} bytes; then {event}\n{picture}---\n");
                    *last = picture;
                    *bytes = 0;
                }
            }
        }
        if erases {
            screen = match screen {
                None => {
                    let mut terminal = Terminal::new(80, 25);
                    // Full screens hide it before they erase.
                    terminal.write("\x1b[?25l");
                    Some((terminal, String::new(), 0))
                }
                Some(_) => None,
            };
        }
    }
    seen
}

const ERASE: &str = "\x1b[2J";

fn text_of(text: &str) -> String {
    let mut plain = String::new();
    Ansi::default().feed(text, &mut |action| {
        if let Action::Text(text) = action {
            plain += &text.replace('\x08', "<").replace('\r', "\\r");
        }
    });
    plain
}

/// The first lines that differ.
fn difference(expected: &str, seen: &str) -> String {
    let mut lines = expected.lines().zip(seen.lines()).enumerate();
    match lines.find(|(_, (expected, seen))| expected != seen) {
        Some((number, (expected, seen))) => {
            format!(
                "line {} of the console:\n- {expected}\n+ {seen}",
                number + 1
            )
        }
        None => format!("one is longer; seen:\n{seen}"),
    }
}
