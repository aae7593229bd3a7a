//! The `[iscsi]` table: targets, who may log in, and the disks behind them.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bowline_iscsi::{Algorithm, TargetAddress};
use bowline_store::{Access, Format, OpenError};

use crate::config::decode::{Claim, Section, Value};
use crate::config::{Secret, listen_addresses};

use super::limits::Limits;

/// Where to listen and which targets to offer.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// The targets, with different names.
    pub targets: Vec<TargetConfig>,
    /// Who may ask which targets there are; `None` lets anybody.
    pub discovery_chap: Option<ChapConfig>,
    /// The folder for what must survive a restart.
    pub state: PathBuf,
    /// Bounds on what initiators can make the server do.
    pub limits: Limits,
}

/// One target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetConfig {
    /// The iSCSI name, RFC 7143 §4.2.7.
    pub name: String,
    /// Who may log in; `None` lets anybody in.
    pub chap: Option<ChapConfig>,
    /// Initiator names that may log in; empty lets all in.
    pub initiators: Vec<String>,
    /// Networks from which initiators may log in; empty lets all in.
    pub networks: Vec<Network>,
    /// Where the target is instead.
    pub redirect: Option<RedirectConfig>,
    /// The disks, with different numbers.
    pub luns: Vec<LunConfig>,
}

/// CHAP credentials, RFC 7143 §12.1.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChapConfig {
    /// The name that the initiator shows.
    pub username: String,
    /// The secret that the initiator proves.
    pub password: Secret,
    /// By which hashes it may be proven; empty lets all.
    pub algorithms: Vec<Algorithm>,
    /// What the target shows if the initiator asks for it.
    pub mutual: Option<MutualConfig>,
}

/// The target's own CHAP credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MutualConfig {
    /// The name that the target shows.
    pub username: String,
    /// The secret that the target proves.
    pub password: Secret,
}

/// One logical unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LunConfig {
    /// Its number.
    pub lun: u8,
    /// The image or block device; its name tells the format.
    pub file: PathBuf,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Bytes in a logical block.
    pub block_size: u32,
    /// Bytes that storage writes at once, as initiators are told; at least a logical block.
    pub physical_block_size: u32,
    /// Whether initiators may eject the disk.
    pub removable: bool,
    /// Whether writes may wait in a cache until they are flushed.
    pub write_cache: bool,
    /// Whether initiators may give blocks back, where the image can.
    pub thin: bool,
}

/// Where initiators of a target are sent, RFC 7143 §11.13.5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectConfig {
    /// Address or name, and port.
    pub address: TargetAddress,
    /// For good, so that initiators may forget this address.
    pub permanent: bool,
}

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether `address` lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        // An IPv4 peer of an IPv6 socket is still one.
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differs = network.to_bits() ^ address.to_bits();
                differs
                    .checked_shr(32 - u32::from(self.prefix))
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differs = network.to_bits() ^ address.to_bits();
                differs
                    .checked_shr(128 - u32::from(self.prefix))
                    .unwrap_or(0)
                    == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is not a network; write it like 192.168.1.0/24, fd00::/64 or 192.168.1.7"
            )
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| wrong())?,
            None => longest,
        };
        if prefix > longest {
            return Err(wrong());
        }
        Ok(Self { address, prefix })
    }
}

impl Config {
    pub(crate) fn decode(mut section: Section<'_>, state: &Path) -> Option<Self> {
        let listen = listen_addresses(&mut section);
        let mut targets = Vec::new();
        let tables = section.sections("target");
        if tables.is_empty() {
            section.problem("offers no target; add a table [[iscsi.target]]");
        }
        for table in tables {
            targets.extend(TargetConfig::decode(table));
        }
        let discovery_chap = section
            .optional("discovery-chap")
            .map(|value| ChapConfig::decode(value.section()?));
        section.finish();
        let discovery_chap = match discovery_chap {
            Some(decoded) => Some(decoded?),
            None => None,
        };
        Some(Self {
            listen: listen?,
            targets,
            discovery_chap,
            state: state.join("iscsi"),
            limits: Limits::default(),
        })
    }
}

impl TargetConfig {
    fn decode(mut section: Section<'_>) -> Option<Self> {
        let name = section.required("name", NAME_ADVICE).and_then(|value| {
            let name = value.parse(target_name)?;
            let message = format!("{name:?} is the name of another target");
            value
                .claim(&format!("target {name}"), Claim::Exclusive, &message)
                .then_some(name)
        });
        let chap = section
            .optional("chap")
            .map(|value| ChapConfig::decode(value.section()?));
        let initiators = list(&mut section, "initiators", initiator_name);
        let networks = list(&mut section, "networks", Network::from_str);
        let redirect = RedirectConfig::decode(&mut section);
        let mut luns: Vec<LunConfig> = Vec::new();
        let tables = section.sections("lun");
        if tables.is_empty() && !section.has("redirect") {
            section.problem("has no disk; add a table [[iscsi.target.lun]] with `lun` and `file`");
        }
        for table in tables {
            luns.extend(LunConfig::decode(table, &luns));
        }
        section.finish();
        let chap = match chap {
            Some(decoded) => Some(decoded?),
            None => None,
        };
        Some(Self {
            name: name?,
            chap,
            initiators: initiators?,
            networks: networks?,
            redirect: redirect?,
            luns,
        })
    }
}

/// A list of texts that `parse` understands, which may be left out but not be empty.
fn list<T>(
    section: &mut Section<'_>,
    key: &'static str,
    parse: fn(&str) -> Result<T, String>,
) -> Option<Vec<T>> {
    let Some(value) = section.optional(key) else {
        return Some(Vec::new());
    };
    let items = value.list()?;
    if items.is_empty() {
        value.problem("is empty, so nobody could log in; leave it out to let all in");
        return None;
    }
    items.iter().map(|item| item.parse(parse)).collect()
}

impl RedirectConfig {
    /// `redirect = "192.168.1.2:3260"`, and `redirect-permanent = true`.
    fn decode(section: &mut Section<'_>) -> Option<Option<Self>> {
        let permanent = section.optional("redirect-permanent");
        let Some(value) = section.optional("redirect") else {
            if let Some(value) = permanent {
                value.problem("is given but no `redirect`");
                return None;
            }
            return Some(None);
        };
        let permanent = permanent.map_or(Some(false), |value| value.flag());
        let address = value.parse(|text| {
            text.parse::<TargetAddress>()
                .map_err(|_| format!("{text:?} is not an address; write it like 192.168.1.2:3260"))
        });
        Some(Some(Self {
            address: address?,
            permanent: permanent?,
        }))
    }
}

impl ChapConfig {
    fn decode(mut section: Section<'_>) -> Option<Self> {
        let username = section
            .required("username", "give the name that the initiator logs in with")
            .and_then(|value| value.parse(chap_name));
        let (password, _) = secret(&mut section, "password", "password-file");
        if password.is_none() && !section.has("password") && !section.has("password-file") {
            section.problem("`password` is missing: give it, or a `password-file`");
        }
        let algorithms = list(&mut section, "algorithms", algorithm);
        let mutual_username = section
            .optional("mutual-username")
            .map(|v| v.parse(chap_name));
        let (mutual_password, place) =
            secret(&mut section, "mutual-password", "mutual-password-file");
        let mutual = match (mutual_username, mutual_password) {
            (None, None) => None,
            (Some(username), Some(password)) => {
                username.map(|username| MutualConfig { username, password })
            }
            (Some(_), None) => {
                if place.is_none() {
                    section.problem("`mutual-username` is given but no `mutual-password`");
                }
                None
            }
            (None, Some(_)) => {
                section.problem("`mutual-password` is given but no `mutual-username`");
                None
            }
        };
        // RFC 7143 §12.1.3: with one secret for both directions, an answer can be reflected.
        if let (Some(password), Some(mutual), Some(place)) = (&password, &mutual, &place)
            && *password == mutual.password
        {
            place.problem("is the same as `password`; the two directions need two secrets");
        }
        section.finish();
        Some(Self {
            username: username?,
            password: password?,
            algorithms: algorithms?,
            mutual,
        })
    }
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    match text {
        "sha3-256" => Ok(Algorithm::Sha3_256),
        "sha256" => Ok(Algorithm::Sha256),
        "sha1" => Ok(Algorithm::Sha1),
        "md5" => Ok(Algorithm::Md5),
        _ => Err(format!(
            "{text:?} is not an algorithm of CHAP; use sha3-256, sha256, sha1 or md5"
        )),
    }
}

/// The secret in `key`, or in the file that `file_key` names; and where that stands.
fn secret<'a>(
    section: &mut Section<'a>,
    key: &'static str,
    file_key: &'static str,
) -> (Option<Secret>, Option<Value<'a>>) {
    let (inline, file) = (section.optional(key), section.optional(file_key));
    if let (Some(_), Some(file)) = (&inline, &file) {
        file.problem(&format!("`{key}` is given too; keep one of them"));
    }
    let from_file = inline.is_none();
    let Some(value) = inline.or(file) else {
        return (None, None);
    };
    let text = if from_file {
        value
            .path()
            .and_then(|path| match fs::read_to_string(&path) {
                Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(error) => {
                    value.problem(&format!("cannot read {}: {error}", path.display()));
                    None
                }
            })
    } else {
        value.text().map(str::to_owned)
    };
    let secret = text.filter(|text| {
        if text.is_empty() {
            value.problem("is empty");
        } else if text.len() < CHAP_SECRET_BYTES_MIN {
            value.warning(&format!(
                "is {} bytes long; RFC 7143 asks for {CHAP_SECRET_BYTES_MIN} (96 bits) or more, \
                 and some initiators refuse less",
                text.len()
            ));
        }
        !text.is_empty()
    });
    (secret.map(Secret::new), Some(value))
}

impl LunConfig {
    fn decode(mut section: Section<'_>, others: &[Self]) -> Option<Self> {
        let lun = section
            .required("lun", "give the number of the disk")
            .and_then(|value| {
                let lun = u8::try_from(value.number(0..=u64::from(u8::MAX))?).ok()?;
                if others.iter().any(|other| other.lun == lun) {
                    value.problem(&format!("this target has a LUN {lun} already"));
                    return None;
                }
                Some(lun)
            });
        let read_only = section
            .optional("read-only")
            .map_or(Some(false), |value| value.flag());
        let logical = block_size(&mut section, "block-size", 512);
        let physical = block_size(&mut section, "physical-block-size", 4096);
        let mut flag = |key, default| {
            section
                .optional(key)
                .map_or(Some(default), |value| value.flag())
        };
        let removable = flag("removable", false);
        let write_cache = flag("write-cache", true);
        let thin = flag("thin", true);
        let file = section.required("file", "give the image or block device");
        section.finish();
        let file = check_image(&file?, read_only?, logical?)?;
        Some(Self {
            lun: lun?,
            file,
            read_only: read_only?,
            block_size: logical?,
            physical_block_size: physical?.max(logical?),
            removable: removable?,
            write_cache: write_cache?,
            thin: thin?,
        })
    }
}

/// The size of blocks in `key`.
fn block_size(section: &mut Section<'_>, key: &'static str, default: u32) -> Option<u32> {
    let Some(value) = section.optional(key) else {
        return Some(default);
    };
    let size = value.number(0..=u64::from(u32::MAX))?;
    if ![512, 4096].contains(&size) {
        value.problem(&format!("{size} is not a block size; use 512 or 4096"));
        return None;
    }
    u32::try_from(size).ok()
}

/// The path of an image that can be opened as asked and has a whole number of blocks. It is not
/// locked: a running server may have it.
fn check_image(value: &Value<'_>, read_only: bool, block_size: u32) -> Option<PathBuf> {
    let path = value.path()?;
    if let Err(message) = image_fault(&path, read_only, block_size) {
        value.problem(&message);
        return None;
    }
    let name = path.canonicalize().unwrap_or_else(|_| path.clone());
    let claim = if read_only {
        Claim::Shared
    } else {
        Claim::Exclusive
    };
    value
        .claim(&format!("image {}", name.display()), claim, IN_USE_TWICE)
        .then_some(path)
}

fn image_fault(path: &Path, read_only: bool, block_size: u32) -> Result<(), String> {
    let place = path.display();
    let make = match Format::of(path) {
        Format::Raw => format!("make one with: truncate -s 8G {place}"),
        Format::Qcow2 => format!("make one with: qemu-img create -f qcow2 {place} 8G"),
        Format::Overlay => "make one with: bowline image clone GOLDEN MACHINE".to_owned(),
    };
    let advice = |error: &std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("; {make}"),
        std::io::ErrorKind::PermissionDenied if !read_only => {
            "; let the server write it, or set read-only = true".to_owned()
        }
        _ => String::new(),
    };
    let access = if read_only {
        Access::ReadOnly
    } else {
        Access::ReadWrite
    };
    let len = bowline_store::probe(path, access).map_err(|error| match error {
        OpenError::Open { source, .. } => {
            format!("cannot open {place}: {source}{}", advice(&source))
        }
        // The length of such a file is not that of its disk.
        OpenError::Empty { .. } if Format::of(path) != Format::Raw => {
            format!("{place} is empty; {make}")
        }
        other => other.to_string(),
    })?;
    let rest = len % u64::from(block_size);
    if rest != 0 {
        let grow = match Format::of(path) {
            Format::Raw => format!("grow it with: truncate -s %{block_size} {place}"),
            Format::Qcow2 => {
                let whole = len.next_multiple_of(u64::from(block_size));
                format!("grow it with: qemu-img resize -f qcow2 {place} {whole}")
            }
            Format::Overlay => {
                "make it anew with: bowline image clone GOLDEN MACHINE --size".to_owned()
            }
        };
        return Err(format!(
            "{place} is a disk of {len} bytes, {rest} more than a whole number of {block_size} \
             byte blocks; {grow}"
        ));
    }
    Ok(())
}

/// RFC 7143 §4.2.7.3 to §4.2.7.7, after the mapping of RFC 3722 (lower case only).
fn target_name(text: &str) -> Result<String, String> {
    if text.len() > NAME_BYTES_MAX {
        return Err(format!(
            "is {} bytes long; at most {NAME_BYTES_MAX} are allowed",
            text.len()
        ));
    }
    let hex = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let valid = if let Some(rest) = text.strip_prefix("iqn.") {
        iqn_rest(rest)
    } else if let Some(digits) = text.strip_prefix("eui.") {
        digits.len() == 16 && hex(digits)
    } else if let Some(digits) = text.strip_prefix("naa.") {
        [16, 32].contains(&digits.len()) && hex(digits)
    } else {
        false
    };
    if valid {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} is not an iSCSI name; write it like {EXAMPLE_NAME}"
    ))
}

/// `yyyy-mm.` of a month in which the domain was ours, its name reversed, and what we like.
fn iqn_rest(rest: &str) -> bool {
    let Some((date, name)) = rest.split_once('.') else {
        return false;
    };
    let Some((year, month)) = date.split_once('-') else {
        return false;
    };
    let digits =
        |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let domain = name.split(':').next().unwrap_or_default();
    let allowed = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:".contains(&byte) || byte >= 0x80
    };
    digits(year, 4)
        && digits(month, 2)
        && ("01"..="12").contains(&month)
        && domain.split('.').all(|label| !label.is_empty())
        && name.bytes().all(allowed)
}

/// As that of a target; initiators of some vendors have upper case in it.
fn initiator_name(text: &str) -> Result<String, String> {
    target_name(&text.to_lowercase())?;
    Ok(text.to_owned())
}

fn chap_name(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("is empty".into()),
        1..=CHAP_NAME_BYTES_MAX => Ok(text.to_owned()),
        len => Err(format!(
            "is {len} bytes long; at most {CHAP_NAME_BYTES_MAX} are allowed"
        )),
    }
}

const EXAMPLE_NAME: &str = "iqn.2026-01.com.example:disk1";
const NAME_ADVICE: &str = "give the target's name, like iqn.2026-01.com.example:disk1";
const IN_USE_TWICE: &str = "this image is served already; a writable image has one LUN";
/// RFC 7143 §4.2.7.1.
const NAME_BYTES_MAX: usize = 223;
/// RFC 7143 §12.1.3: 96 bits.
const CHAP_SECRET_BYTES_MIN: usize = 12;
/// RFC 7143 §6.1: a text value is at most 255 bytes where nothing else is said.
const CHAP_NAME_BYTES_MAX: usize = 255;
