//! `bowline script check` and `bowline script run`: scripts for the loader, off the machine.

mod screen;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context as _, bail};
use bowline_boot::packed::{Packed, PackedScript, PackedSetting};
use bowline_boot::platform::Key;
use bowline_boot::{Handle, Outcome};
use bowline_script::check::{Diagnostic, Severity, check};
use bowline_sim::world::{Plan, World};
use clap::Args;
use serde_json::json;

use self::screen::Screens;

/// Arguments of `bowline script check`.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// Tell as JSON: an array of objects with file, line, column, severity and message
    #[arg(long)]
    json: bool,
    /// The scripts; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// Arguments of `bowline script run`.
#[derive(Args, Debug)]
pub(crate) struct Run {
    /// A setting to make before the script starts; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// What the web server serves: http://192.168.1.1/
    #[arg(long, value_name = "DIRECTORY")]
    root: Option<PathBuf>,
    /// Keys to press, with spaces between: Up, Down, Enter, Tab, Esc, Ctrl-C and so on, or a word
    /// to type; `_` is a space
    #[arg(
        long,
        value_name = "KEYS",
        default_value = "",
        allow_hyphen_values = true
    )]
    keys: String,
    /// The script; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Check {
    /// Tells what is wrong with the scripts.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let mut findings = Vec::new();
        for path in &self.files {
            let script = read(path)?;
            findings.extend(check(&script).into_iter().map(|found| (path, found)));
        }
        if self.json {
            let list: Vec<_> = findings
                .iter()
                .map(|(path, found)| as_json(path, found))
                .collect();
            println!("{:#}", serde_json::Value::from(list));
        } else {
            for (path, found) in &findings {
                println!("{}:{found}", path.display());
            }
        }
        let count = |severity| {
            let matching = findings
                .iter()
                .filter(|(_, found)| found.severity == severity);
            matching.count()
        };
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        if errors > 0 {
            bail!("{}", counted(errors, "error"));
        }
        if !self.json {
            let what = match warnings {
                0 => String::from("ok"),
                warnings => counted(warnings, "warning"),
            };
            println!("{what}");
        }
        Ok(())
    }
}

impl Run {
    /// Runs the script and shows the console.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let script = read(&self.file)?;
        let text = String::from_utf8(script).context("the script is not UTF-8 text")?;
        let mut plan = Plan::new(1);
        if let Some(root) = &self.root {
            add_files(&mut plan.files, root, root)?;
        }
        let settings = self
            .settings
            .iter()
            .map(|text| setting(text))
            .collect::<Result<_, _>>()?;
        let keys = self
            .keys
            .split_whitespace()
            .map(keys_of)
            .collect::<Result<Vec<_>, _>>()?;
        let packed = Packed {
            script: Some(PackedScript {
                name: self.file.display().to_string(),
                text,
            }),
            settings,
            ..Packed::default()
        };
        let packed = packed
            .to_bytes()
            .context("the loader cannot take this script")?;
        let world = World::new(&plan);
        let screens = Rc::new(RefCell::new(Screens::new()));
        let shown = Rc::clone(&screens);
        world
            .firmware
            .echo_to(Box::new(move |text| shown.borrow_mut().write(text)));
        world.firmware.type_keys(keys.concat());
        world.firmware.start_images();
        let Outcome::Exit { status } =
            bowline_boot::run(Rc::clone(&world.firmware) as _, &packed, &Handle::new());
        screens.borrow_mut().end();
        for started in world.firmware.started() {
            let initrd = match started.initrd {
                0 => String::from("no initial RAM disk"),
                length => format!("an initial RAM disk of {length} bytes"),
            };
            println!(
                "Started a program of {} bytes with `{}` and {initrd}",
                started.length, started.load_options
            );
        }
        if let Some(kind) = world.firmware.reset_kind() {
            println!("The machine ended: {kind:?}");
        }
        let failed = world
            .firmware
            .console_text()
            .contains("\nOpening a shell: ");
        if failed && world.firmware.reset_kind().is_none() {
            bail!("the script did not come to an end of its own");
        }
        if status != 0 {
            bail!("the script ended with status {status}");
        }
        Ok(())
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut script = Vec::new();
        std::io::stdin()
            .read_to_end(&mut script)
            .context("cannot read standard input")?;
        return Ok(script);
    }
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn as_json(path: &Path, found: &Diagnostic) -> serde_json::Value {
    json!({
        "file": path.display().to_string(),
        "line": found.line,
        "column": found.column,
        "severity": found.severity.name(),
        "message": found.message,
    })
}

fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

fn setting(text: &str) -> anyhow::Result<PackedSetting> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(PackedSetting {
            name: name.into(),
            value: value.into(),
        }),
        _ => bail!("--set: write it like username=user"),
    }
}

/// The files of a folder and of those in it, by the paths of their URIs.
fn add_files(
    files: &mut HashMap<String, Vec<u8>>,
    root: &Path,
    folder: &Path,
) -> anyhow::Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
        let path = entry.path();
        // A link may lead anywhere, also back here.
        let kind = entry
            .file_type()
            .with_context(|| format!("cannot read {}", path.display()))?;
        if kind.is_dir() {
            add_files(files, root, &path)?;
        } else if kind.is_file() {
            let data = read(&path)?;
            let relative = path.strip_prefix(root).unwrap_or(&path);
            let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
            files.insert(format!("/{}", parts.join("/")), data);
            if files.len() > FILES_MAX {
                bail!("{} has more than {FILES_MAX} files", root.display());
            }
        }
    }
    Ok(())
}

fn keys_of(word: &str) -> anyhow::Result<Vec<Key>> {
    if let Some(key) = Key::named(word) {
        return Ok(vec![key]);
    }
    if word.starts_with("Ctrl-") {
        bail!("--keys: `{word}` is no key; Ctrl-A to Ctrl-Z are");
    }
    let characters = word.chars().map(|c| if c == '_' { ' ' } else { c });
    Ok(characters.map(Key::Char).collect())
}

/// More files than this are a mistake, such as `/`.
const FILES_MAX: usize = 10_000;
