//! `bowline loader pack` and `bowline loader show`: the configuration that a `bowline.efi` carries.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use bowline_boot::packed::{Packed, PackedIdentity, PackedScript, PackedSetting, SECTION};
use bowline_pe::file::Image;
use bowline_tls::identity::Identity;
use bowline_tls::time::Timestamp;
use bowline_tls::trust::{Anchors, certificates};
use clap::Args;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use crate::cert;
use crate::file::{self, Existing, Mode};

/// Arguments of `bowline loader pack`.
#[derive(Args, Debug)]
pub(crate) struct Pack {
    /// The script to run at start-up
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// A setting to make before the script starts, as the script's `set` would; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<Setting>,
    /// Certificates to trust for https, in PEM or DER; may be repeated. Nothing else is trusted
    #[arg(long, value_name = "FILE")]
    trust: Vec<PathBuf>,
    /// Trust the certificate authorities of the firmware, too (its variable TlsCaCertificate)
    #[arg(long)]
    trust_firmware: bool,
    /// The certificate to show to servers that ask for one, in PEM, followed by its issuers
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The private key of --cert, in PEM or DER, without a passphrase
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Where to write the result
    #[arg(long, short, value_name = "OUT")]
    output: PathBuf,
    /// Start from the finished loader for this architecture that came with this program
    #[arg(long, conflicts_with = "loader")]
    arch: Option<Arch>,
    /// Start from this loader; it is not changed
    #[arg(value_name = "LOADER.efi")]
    loader: Option<PathBuf>,
}

/// The architectures that there are loaders for.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Arch {
    Arm64,
    #[value(name = "x86_64")]
    X86_64,
}

impl Arch {
    /// The finished loader: beside this program, where packages keep such files, or where
    /// `cargo xtask build` puts it.
    fn loader(self) -> anyhow::Result<PathBuf> {
        const FOLDERS: [&str; 3] = [".", "../lib/bowline", "../efi"];
        let name = match self {
            Self::Arm64 => "bowline-arm64.efi",
            Self::X86_64 => "bowline-x86_64.efi",
        };
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let here = program.parent().unwrap_or(Path::new("."));
        let places = FOLDERS.map(|folder| here.join(folder).join(name));
        let found = places.iter().find(|place| place.is_file());
        found.cloned().with_context(|| {
            let places = places.each_ref().map(|place| place.display().to_string());
            format!(
                "no finished loader for this architecture: there is none of {}; name the file \
                 instead of --arch",
                places.join(", ")
            )
        })
    }
}

/// Arguments of `bowline loader show`.
#[derive(Args, Debug)]
pub(crate) struct Show {
    /// Show values of settings and passwords in the script, too
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
        let trusts = !self.trust.is_empty() || self.trust_firmware;
        if self.script.is_none() && self.settings.is_empty() && !trusts {
            bail!("nothing to pack: give --script FILE, --set NAME=VALUE or --trust FILE");
        }
        let mut packed = Packed {
            packed_at: Some(packing_time()?),
            trusts_firmware: self.trust_firmware,
            ..Packed::default()
        };
        self.pack_trust(&mut packed)?;
        if let Some(path) = &self.script {
            packed.script = Some(read_script(path)?);
        }
        for Setting { name, value } in &self.settings {
            packed.settings.push(PackedSetting {
                name: name.clone(),
                value: value.clone(),
            });
        }
        let section = Zeroizing::new(packed.to_bytes().context("cannot pack this")?);
        let path = match (&self.loader, self.arch) {
            (Some(loader), _) => loader.clone(),
            (None, Some(arch)) => arch.loader()?,
            (None, None) => bail!("name the loader to start from, or its --arch"),
        };
        let place = path.display();
        let loader = read(&path)?;
        let image = Image::parse(&loader).with_context(|| format!("{place}"))?;
        let image = image
            .with_section(SECTION, &section)
            .with_context(|| format!("{place}"))?;
        // A key or a password inside is for its owner only.
        let tells = |script: &PackedScript| script.text.lines().any(|line| hide(line) != line);
        let secret = self.key.is_some()
            || !packed.settings.is_empty()
            || packed.script.as_ref().is_some_and(tells);
        let mode = if secret { Mode::Secret } else { Mode::Public };
        file::write(&self.output, &image, mode, Existing::Replace)?;
        println!(
            "{}: {} bytes, {} of them packed",
            self.output.display(),
            image.len(),
            section.len()
        );
        Ok(())
    }

    fn pack_trust(&self, packed: &mut Packed) -> anyhow::Result<()> {
        for path in &self.trust {
            let anchors =
                Anchors::from_bytes(&read(path)?).with_context(|| path.display().to_string())?;
            let ders = anchors.certificates().map(|der| der.to_vec());
            packed.trust.extend(ders);
        }
        let (Some(cert), Some(key)) = (&self.cert, &self.key) else {
            return Ok(());
        };
        if packed.trust.is_empty() && !packed.trusts_firmware {
            bail!(
                "--cert without --trust: a loader shows its certificate to servers that it trusts"
            );
        }
        let chain = read(cert)?;
        let key_file = Zeroizing::new(read(key)?);
        let places = || format!("{}, {}", cert.display(), key.display());
        // The same check that the loader makes when it starts.
        Identity::from_bytes(&chain, &key_file).with_context(places)?;
        let chain = certificates(&chain).with_context(places)?;
        packed.identity = Some(PackedIdentity {
            chain: chain.iter().map(|der| der.to_vec()).collect(),
            key: key_der(key_file).with_context(places)?,
        });
        Ok(())
    }
}

/// The private key in a file, in DER.
fn key_der(file: Zeroizing<Vec<u8>>) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    if file.first() == Some(&0x30) {
        return Ok(file);
    }
    let key = PrivateKeyDer::from_pem_slice(&file).map_err(|error| anyhow!("{error}"))?;
    Ok(Zeroizing::new(key.secret_der().to_vec()))
}

/// Now, or what `SOURCE_DATE_EPOCH` says: then the same input packs to the same bytes.
fn packing_time() -> anyhow::Result<u64> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text
            .parse()
            .with_context(|| format!("SOURCE_DATE_EPOCH={text} is no number of seconds")),
        Err(_) => Ok(cert::now()?.0),
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
        if let Some(time) = packed.packed_at {
            println!("packed {}", Timestamp(time));
        }
        for der in &packed.trust {
            println!("trusts {}", cert::describe(der));
        }
        if packed.trusts_firmware {
            println!("trusts the certificate authorities of the firmware");
        }
        if let Some(identity) = &packed.identity {
            for (index, der) in identity.chain.iter().enumerate() {
                let what = if index == 0 { "shows" } else { "with" };
                println!("{what} {}", cert::describe(der));
            }
            println!("private key of {} bytes, not shown", identity.key.len());
        }
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
                let hidden = if self.values { line.into() } else { hide(line) };
                println!("    {hidden}");
            }
        }
        Ok(())
    }
}

/// A line of a script without the passwords that it sets, and those in its URIs.
fn hide(line: &str) -> String {
    let trimmed = line.trim_start();
    if let Some(("set", rest)) = trimmed.split_once(char::is_whitespace)
        && let Some((name, value)) = rest.trim_start().split_once(char::is_whitespace)
        && name
            .split(':')
            .next()
            .is_some_and(|name| name.ends_with("password"))
    {
        return format!("{}***", line.strip_suffix(value).unwrap_or_default());
    }
    let words = line.split_inclusive(char::is_whitespace);
    words
        .map(|word| {
            let password = || {
                let authority = word.split_once("://")?.1.split('/').next()?;
                Some(authority.rsplit_once('@')?.0.split_once(':')?.1)
            };
            password().map_or_else(
                || word.into(),
                |it| word.replace(&format!(":{it}@"), ":***@"),
            )
        })
        .collect()
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

#[cfg(test)]
mod tests {
    use super::hide;

    #[test]
    fn passwords_in_scripts_are_hidden() {
        for (line, shown) in [
            ("set password hush", "set password ***"),
            (
                "  set net0/reverse-password:string a b",
                "  set net0/reverse-password:string ***",
            ),
            ("set username user", "set username user"),
            ("set password a", "set password ***"),
            ("set password", "set password"),
            (
                "chain http://u:hush@h/x?a=b:c@d || exit",
                "chain http://u:***@h/x?a=b:c@d || exit",
            ),
            ("chain http://u@h:80/x", "chain http://u@h:80/x"),
            ("chain https://h/a:b@c", "chain https://h/a:b@c"),
        ] {
            assert_eq!(hide(line), shown);
        }
    }
}
