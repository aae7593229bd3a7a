//! `bowline ca`: a small private certificate authority, for servers and machines that boot.

mod authority;
mod list;
mod name;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use crate::file::Existing;
use authority::{Authority, Issued, Order, Subject};
use name::{HostName, authority_name, client_name};

/// The commands below `bowline ca`.
#[derive(Debug, Subcommand)]
pub(crate) enum Ca {
    /// Make a new authority
    Init(Init),
    /// Make a key and a certificate for it
    #[command(subcommand)]
    Issue(Issue),
    /// Show what has been issued and when it expires
    List(List),
}

/// Arguments of `bowline ca init`.
#[derive(Args, Debug)]
pub(crate) struct Init {
    /// The directory to make it in
    #[arg(value_name = "DIR", default_value = DIRECTORY)]
    directory: PathBuf,
    /// Its name, for people; by default "Bowline CA" and a number
    #[arg(long, value_parser = authority_name)]
    name: Option<String>,
    /// For how many days it is valid
    #[arg(long, value_name = "N", default_value_t = 3650, value_parser = days())]
    days: u32,
    #[command(flatten)]
    common: Common,
}

/// The commands below `bowline ca issue`.
#[derive(Debug, Subcommand)]
pub(crate) enum Issue {
    /// For a server
    Host(Host),
    /// For a machine that boots
    Client(Client),
}

/// Arguments of `bowline ca issue host`.
#[derive(Args, Debug)]
pub(crate) struct Host {
    /// The names and addresses that it is reached by; the first names the files
    #[arg(value_name = "NAME", value_parser = HostName::parse, required_unless_present = "addresses")]
    names: Vec<HostName>,
    /// A further address; may be repeated
    #[arg(long = "ip", value_name = "ADDRESS")]
    addresses: Vec<std::net::IpAddr>,
    #[command(flatten)]
    leaf: Leaf,
}

/// Arguments of `bowline ca issue client`.
#[derive(Args, Debug)]
pub(crate) struct Client {
    /// The machine's name, as scripts and the log show it
    #[arg(value_name = "NAME", value_parser = client_name)]
    name: String,
    #[command(flatten)]
    leaf: Leaf,
}

#[derive(Args, Debug)]
struct Leaf {
    /// The authority's directory
    #[arg(long, value_name = "DIR", default_value = DIRECTORY)]
    ca: PathBuf,
    /// For how many days it is valid
    #[arg(long, value_name = "N", default_value_t = 397, value_parser = days())]
    days: u32,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
struct Common {
    /// The kind of key; every TLS client understands p256
    #[arg(long, value_name = "TYPE", default_value = "p256")]
    key_type: KeyType,
    /// Replace what is there already
    #[arg(long)]
    force: bool,
}

/// Arguments of `bowline ca list`.
#[derive(Args, Debug)]
pub(crate) struct List {
    /// The authority's directory
    #[arg(long, value_name = "DIR", default_value = DIRECTORY)]
    ca: PathBuf,
}

/// Kinds of keys.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum KeyType {
    /// ECDSA with NIST P-256 and SHA-256
    P256,
    /// ECDSA with NIST P-384 and SHA-384
    P384,
    /// Ed25519, which browsers do not understand
    Ed25519,
}

impl KeyType {
    fn algorithm(self) -> &'static rcgen::SignatureAlgorithm {
        match self {
            Self::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Self::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            Self::Ed25519 => &rcgen::PKCS_ED25519,
        }
    }
}

impl Ca {
    /// Does what was asked for.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Init(init) => init.run(),
            Self::Issue(Issue::Host(host)) => host.run(),
            Self::Issue(Issue::Client(client)) => client.run(),
            Self::List(list) => list::list(&list.ca),
        }
    }
}

impl Init {
    fn run(&self) -> anyhow::Result<()> {
        let Common { key_type, force } = self.common;
        let (name, existing) = (self.name.as_deref(), existing(force));
        let issued = Authority::create(&self.directory, name, self.days, key_type, existing)?;
        let loader = "what machines trust: bowline loader pack --trust";
        tell(&[
            (&issued.certificate, loader),
            (
                &issued.key,
                "its key: whoever has it can pose as any server; keep it here, and a copy offline",
            ),
        ]);
        println!("valid until {}", issued.not_after.date());
        let place = self.directory.display();
        println!("next: bowline ca issue host --ca {place} NAME");
        Ok(())
    }
}

impl Host {
    fn run(&self) -> anyhow::Result<()> {
        let authority = Authority::open(&self.leaf.ca)?;
        let mut names = self.names.clone();
        names.extend(self.addresses.iter().copied().map(HostName::Ip));
        let told: Vec<_> = names.iter().map(ToString::to_string).collect();
        let issued = authority.issue(&self.leaf.order(Subject::Host(names)))?;
        tell(&[
            (
                &issued.certificate,
                "the certificate: `certificate` in [https] of bowline.toml",
            ),
            (
                &issued.key,
                "its key: `key` in [https]; for the server only",
            ),
            (
                &authority.certificate(),
                "what machines trust: bowline loader pack --trust",
            ),
        ]);
        tell_validity(&issued, &format!(" for {}", told.join(", ")));
        Ok(())
    }
}

impl Client {
    fn run(&self) -> anyhow::Result<()> {
        let authority = Authority::open(&self.leaf.ca)?;
        let issued = authority.issue(&self.leaf.order(Subject::Client(self.name.clone())))?;
        tell(&[
            (
                &issued.certificate,
                "the certificate: bowline loader pack --cert",
            ),
            (
                &issued.key,
                "its key: bowline loader pack --key; for this machine's loader only",
            ),
            (
                &authority.certificate(),
                "who issued it: `client-ca` in [https] of bowline.toml",
            ),
        ]);
        tell_validity(&issued, &format!(" for {}", self.name));
        Ok(())
    }
}

impl Leaf {
    fn order(&self, subject: Subject) -> Order {
        Order {
            subject,
            days: self.days,
            key_type: self.common.key_type,
            existing: existing(self.common.force),
        }
    }
}

/// Prints files and where each of them goes, below each other.
fn tell(files: &[(&Path, &str)]) {
    let width = files
        .iter()
        .map(|(path, _)| path.display().to_string().len())
        .max();
    for (path, what) in files {
        println!(
            "{:width$}  {what}",
            path.display().to_string(),
            width = width.unwrap_or_default()
        );
    }
}

fn tell_validity(issued: &Issued, whom: &str) {
    let reason = if issued.shortened {
        ", when the authority itself expires"
    } else {
        ""
    };
    println!("valid{whom} until {}{reason}", issued.not_after.date());
}

fn existing(force: bool) -> Existing {
    if force {
        Existing::Replace
    } else {
        Existing::Keep
    }
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=DAYS_MAX)
}

/// Where the authority is unless told otherwise, beside the server's configuration.
const DIRECTORY: &str = "/etc/bowline/ca";
/// A hundred years.
const DAYS_MAX: i64 = 36_500;
