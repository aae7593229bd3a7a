//! `bowline loader pack` and `bowline loader show`: the configuration that a `bowline.efi` carries.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use bowline_boot::packed::{Packed, PackedScript, PackedSetting, SECTION};
use clap::Args;

use crate::pe::Image;

/// Arguments of `bowline loader pack`.
#[derive(Args, Debug)]
pub(crate) struct Pack {
    /// The script to run at start-up
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// A setting to make before the script starts, as the script's `set` would; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<Setting>,
    /// Where to write the result
    #[arg(long, short, value_name = "OUT")]
    output: PathBuf,
    /// The loader to start from; it is not changed
    #[arg(value_name = "LOADER.efi")]
    loader: PathBuf,
}

/// Arguments of `bowline loader show`.
#[derive(Args, Debug)]
pub(crate) struct Show {
    /// Show values of settings, too, which may be passwords
    #[arg(long)]
    values: bool,
    /// The loader to look into
    #[arg(value_name = "FILE")]
    loader: PathBuf,
}

/// A `NAME=VALUE`. The value may be a password: clap may show the name in an error, not the value.
#[derive(Clone)]
struct Setting {
    name: String,
    value: String,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}=***", self.name)
    }
}

fn setting(text: &str) -> Result<Setting, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(Setting {
            name: name.into(),
            value: value.into(),
        }),
        _ => Err("write it like username=user".into()),
    }
}

impl Pack {
    /// Writes the packed loader.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        if self.script.is_none() && self.settings.is_empty() {
            bail!("nothing to pack: give --script FILE or --set NAME=VALUE");
        }
        let mut packed = Packed::default();
        if let Some(path) = &self.script {
            packed.script = Some(read_script(path)?);
        }
        for Setting { name, value } in &self.settings {
            packed.settings.push(PackedSetting {
                name: name.clone(),
                value: value.clone(),
            });
        }
        let section = packed.to_bytes().context("cannot pack this")?;
        let place = self.loader.display();
        let loader = read(&self.loader)?;
        let image = Image::parse(&loader).with_context(|| format!("{place}"))?;
        let image = image
            .with_section(SECTION, &section)
            .with_context(|| format!("{place}"))?;
        write(&self.output, &image)?;
        println!(
            "{}: {} bytes, {} of them packed",
            self.output.display(),
            image.len(),
            section.len()
        );
        Ok(())
    }
}

impl Show {
    /// Prints what the loader carries.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let place = self.loader.display();
        let loader = read(&self.loader)?;
        let image = Image::parse(&loader).with_context(|| format!("{place}"))?;
        let Some(section) = image.section(SECTION) else {
            println!("{place}: carries nothing (see bowline loader pack --help)");
            return Ok(());
        };
        let packed = Packed::parse(section)
            .with_context(|| format!("{place}: the packed configuration is damaged"))?;
        for setting in &packed.settings {
            let value = if self.values {
                setting.value.as_str()
            } else {
                "*** (--values shows it)"
            };
            println!("setting {} = {value}", setting.name);
        }
        if let Some(script) = &packed.script {
            println!("script {}:", script.name);
            for line in script.text.lines() {
                println!("    {line}");
            }
        }
        Ok(())
    }
}

/// A script is text that says that it is one; the loader would refuse it otherwise.
fn read_script(path: &Path) -> anyhow::Result<PackedScript> {
    let place = path.display();
    let Ok(text) = String::from_utf8(read(path)?) else {
        bail!("{place}: not a script: it is not UTF-8 text");
    };
    if !text.starts_with("#!ipxe") {
        bail!("{place}:1: not a script: the first line must be #!ipxe");
    }
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned();
    Ok(PackedScript { name, text })
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes beside the goal and renames, so that nobody boots half a loader.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut name = path
        .file_name()
        .context("the output is not a file name")?
        .to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    let written = fs::File::create_new(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // Best effort: the error to tell is the first one.
        let _ = fs::remove_file(&beside);
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}
