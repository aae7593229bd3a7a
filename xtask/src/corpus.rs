//! The scripts that iPXE and bowline.efi both run: those of `e2e/scripts`, and those that have
//! golden consoles in `crates/boot/golden`, with the keys that are pressed meanwhile.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::netns::SERVER;
use crate::scenario::Step;

/// What is before the name of a script on the console.
pub(crate) const MARK: &str = "=== ";

/// The name of what comes after the last one.
pub(crate) const END: &str = "end";

/// The group of steps that presses the keys, for scenarios.
pub(crate) const GROUP: &str = "corpus";

/// Where the golden consoles are, beside `e2e`.
const GOLDEN: &str = "../crates/boot/golden";

/// The server's address in scripts with golden consoles.
const GOLDEN_SERVER: &str = "http://192.168.1.1/";

/// Golden consoles whose keys mean something else to iPXE, and why.
pub(crate) const APART: [(&str, &str); 2] = [
    (
        "config",
        "iPXE's settings browser has other things in other places",
    ),
    (
        "shell",
        "completion, paging and the pages of `help` are Bowline's alone",
    ),
];

/// How long a key is waited with, for the screen before it.
const PAUSE: f64 = 0.4;

/// The firmware takes what comes within two seconds of its own after Esc for part of a longer key; a
/// busy host makes them longer.
const ESCAPE_PAUSE: f64 = 5.0;

/// The key that ends a script's keys: Ctrl-V, which means nothing to anybody. As it is sent, and as
/// scripts name it.
const NEXT: &str = "\x16";
const NEXT_KEY: &str = "0x16";

/// A script, and what a person does while it runs.
#[derive(Debug)]
struct Script {
    name: String,
    /// Where it is on the web server.
    path: String,
    /// Names and contents on the web server besides `e2e/scripts`.
    files: Vec<(String, String)>,
    /// What is typed, one after the other.
    keys: Vec<String>,
}

/// Puts the corpus into a folder of the web server, with `all.ipxe`, which runs one script after
/// the other, each behind its name.
pub(crate) fn write(e2e: &Path, root: &Path) -> Result<()> {
    let mut all = "#!ipxe\n".to_owned();
    for script in load(e2e)? {
        let Script {
            name,
            path,
            files,
            keys,
        } = script;
        let has_keys = !keys.is_empty();
        for (file, text) in files {
            let file = root.join(file);
            fs::create_dir_all(file.parent().unwrap_or(root))?;
            fs::write(file, text)?;
        }
        // Fetched before its name is shown: whoever is waited for by keys reads them at once.
        all += &format!(
            "imgfetch --name {name} http://{SERVER}/{path}\n\
             echo {MARK}{name}\n\
             imgexec --autofree {name} || echo {name} failed\n\
             clear net0/ip\nclear password\n"
        );
        // Keys that were left over mean nothing to the next script.
        if has_keys {
            all += &format!(":after-{name}\nprompt --key {NEXT_KEY} || goto after-{name}\n");
        }
    }
    fs::write(root.join("all.ipxe"), all + "echo " + MARK + END + "\n")?;
    Ok(())
}

/// Waits for each script's name and presses its keys.
pub(crate) fn steps(e2e: &Path) -> Result<Vec<Step>> {
    let expect = |name: &str| Step {
        expect: Some(format!("{MARK}{name}")),
        within: 60,
        ..step()
    };
    let mut steps = Vec::new();
    for Script { name, keys, .. } in load(e2e)? {
        steps.push(expect(&name));
        if keys.is_empty() {
            continue;
        }
        for key in keys.into_iter().chain([NEXT.to_owned()]) {
            steps.push(Step {
                wait: Some(PAUSE),
                ..step()
            });
            let is_escape = key == "\x1b";
            steps.push(Step {
                send: Some(key),
                ..step()
            });
            if is_escape {
                steps.push(Step {
                    wait: Some(ESCAPE_PAUSE),
                    ..step()
                });
            }
        }
    }
    steps.push(expect(END));
    Ok(steps)
}

/// A step of the only machine.
fn step() -> Step {
    Step {
        machine: 1,
        ..Step::default()
    }
}

/// All scripts, by name.
fn load(e2e: &Path) -> Result<Vec<Script>> {
    let mut scripts = Vec::new();
    for (name, _) in files(&e2e.join("scripts"), "ipxe")? {
        scripts.push(Script {
            path: format!("{name}.ipxe"),
            name,
            files: Vec::new(),
            keys: Vec::new(),
        });
    }
    for (name, text) in files(&e2e.join(GOLDEN), "txt")? {
        if !APART.iter().any(|(apart, _)| *apart == name) {
            let script = golden(&name, &text).with_context(|| format!("golden console {name}"))?;
            scripts.push(script);
        }
    }
    scripts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(scripts)
}

/// Names and contents of the files of a folder that end so.
fn files(folder: &Path, extension: &str) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == extension) {
            let name = path.file_stem().unwrap_or_default();
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            files.push((name.to_string_lossy().into_owned(), text));
        }
    }
    Ok(files)
}

/// A script with a golden console: sections `keys`, `page <path>`, `script` and `console`, as
/// `crates/boot/src/golden.rs` describes them.
fn golden(name: &str, text: &str) -> Result<Script> {
    let name = format!("golden-{name}");
    let server = format!("http://{SERVER}/{name}/");
    let mut script = Script {
        path: format!("{name}/script.ipxe"),
        files: Vec::new(),
        keys: Vec::new(),
        name: name.clone(),
    };
    for section in text.split("=== ").skip(1) {
        let (title, body) = section.split_once('\n').context("a title without an end")?;
        let file = match title.split_once(' ') {
            Some(("page", path)) => format!("{name}{path}"),
            _ if title == "script" => script.path.clone(),
            _ if title == "keys" => {
                script.keys = body.split_whitespace().filter_map(key).collect();
                continue;
            }
            _ => continue,
        };
        script
            .files
            .push((file, body.replace(GOLDEN_SERVER, &server)));
    }
    Ok(script)
}

/// What a terminal sends for a key; none for a time.
fn key(word: &str) -> Option<String> {
    if let Some(text) = word.strip_prefix('\'') {
        return Some(text.replace('_', " "));
    }
    if let Some(letter) = word
        .strip_prefix("Ctrl-")
        .and_then(|rest| rest.bytes().next())
    {
        return Some(char::from(letter & 0x1f).to_string());
    }
    let keys = [
        ("Up", "\x1b[A"),
        ("Down", "\x1b[B"),
        ("Right", "\x1b[C"),
        ("Left", "\x1b[D"),
        ("Home", "\x1b[H"),
        ("End", "\x1b[F"),
        ("Delete", "\x1b[3~"),
        ("PageUp", "\x1b[5~"),
        ("PageDown", "\x1b[6~"),
        ("Enter", "\r"),
        ("Tab", "\t"),
        ("Esc", "\x1b"),
        ("Space", " "),
        ("Backspace", "\x08"),
    ];
    let found = keys.iter().find(|(name, _)| *name == word);
    found.map(|(_, sent)| (*sent).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_consoles_become_scripts_with_pages_and_keys() {
        let text = "About it.\n=== keys\n@1500 Down 'a_b Ctrl-X\n=== page /x.ipxe\n#!ipxe\n\
                    === script\n#!ipxe\nchain http://192.168.1.1/x.ipxe\n=== console\nlines\n";
        let script = golden("one", text).unwrap();
        assert_eq!(script.keys, ["\x1b[B", "a b", "\x18"]);
        let chain = format!("#!ipxe\nchain http://{SERVER}/golden-one/x.ipxe\n");
        let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        assert_eq!(
            script.files,
            [
                file("golden-one/x.ipxe", "#!ipxe\n"),
                file("golden-one/script.ipxe", &chain),
            ]
        );
    }

    #[test]
    fn the_corpus_can_be_read() {
        let e2e = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e");
        let scripts = load(&e2e).unwrap();
        assert!(scripts.iter().any(|script| !script.keys.is_empty()));
        assert!(steps(&e2e).unwrap().len() > scripts.len());
    }
}
