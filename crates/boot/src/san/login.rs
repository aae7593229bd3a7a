//! Who logs in where: the root path and the credentials of the settings.
//!
//! | setting | use |
//! |---|---|
//! | `username`, `password` | prove ourselves by CHAP |
//! | `reverse-username`, `reverse-password` | the target must prove itself as well |
//! | `chap-algorithms` | the CHAP algorithms allowed, as `sha3-256,sha256`; else all |
//! | `initiator-iqn` | our iSCSI name |
//!
//! Without `initiator-iqn` our name is `iqn.2026-11.org.bowline:` and the host name, else the
//! SMBIOS UUID, else the address of the first network card.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use bowline_iscsi::chap::Algorithm;
use bowline_iscsi::initiator::Config;
use bowline_iscsi::{Credentials, Isid, Lun, chap};
use bowline_script::RootPath;
use zeroize::Zeroizing;

use crate::failure::{Code, Failure};
use crate::machine::Machine;

/// Everything a login needs, kept for the next one.
pub(crate) struct Login {
    pub(crate) root_path: RootPath,
    pub(crate) lun: Lun,
    initiator_name: String,
    credentials: Option<Credentials>,
    reverse: Option<Credentials>,
    algorithms: Vec<Algorithm>,
    /// The same for every login: a target then ends what is left of the one before (RFC 7143
    /// section 6.3.5, session reinstatement).
    isid: Isid,
}

impl Login {
    /// Reads the settings. `qualifier` tells the sessions of this machine apart.
    pub(crate) fn new(
        machine: &Machine,
        root_path: RootPath,
        qualifier: u16,
    ) -> Result<Self, Failure> {
        let credentials = credentials(machine, "username", "password")?;
        let reverse = credentials_reverse(machine)?;
        let cards = machine.network.interfaces();
        let mac = cards.first().map_or([0; 6], |card| card.stack().mac());
        let [.., high, middle, low] = mac;
        Ok(Self {
            lun: Lun(root_path.lun),
            root_path,
            initiator_name: initiator_name(machine, mac),
            credentials,
            reverse,
            algorithms: algorithms(machine)?,
            isid: Isid::random([high, middle, low], qualifier),
        })
    }

    pub(crate) fn initiator_name(&self) -> &str {
        &self.initiator_name
    }

    /// What we prove ourselves with, and what the target must.
    pub(crate) fn credentials(&self) -> (Option<&Credentials>, Option<&Credentials>) {
        (self.credentials.as_ref(), self.reverse.as_ref())
    }

    /// The settings with secrets below the 96 bits that RFC 7143 section 9.2.1 asks for.
    pub(crate) fn short_secrets(&self) -> Vec<&'static str> {
        let settings = [
            ("password", &self.credentials),
            ("reverse-password", &self.reverse),
        ];
        let is_short = |credentials: &Option<Credentials>| {
            credentials
                .as_ref()
                .is_some_and(|credentials| credentials.secret.is_short())
        };
        let short = settings.into_iter().filter(|(_, secret)| is_short(secret));
        short.map(|(setting, _)| setting).collect()
    }

    /// What an initiator is told. Asks for fresh randomness, which mutual CHAP cannot do without.
    pub(crate) fn config(&self, platform: &dyn crate::Platform) -> Result<Config, Failure> {
        let mut entropy = [0; chap::ENTROPY_LENGTH];
        if let Err(error) = platform.entropy(&mut entropy)
            && self.reverse.is_some()
        {
            return Err(Failure::new(
                Code::IscsiNoEntropy,
                format!("mutual CHAP is not possible: {error}"),
            ));
        }
        let target = &self.root_path.target;
        let mut config = Config::new(&self.initiator_name, target, self.isid, entropy);
        config.credentials.clone_from(&self.credentials);
        config.reverse.clone_from(&self.reverse);
        config.chap_algorithms.clone_from(&self.algorithms);
        config.ping_interval = Some(PING_INTERVAL);
        Ok(config)
    }
}

fn credentials_reverse(machine: &Machine) -> Result<Option<Credentials>, Failure> {
    credentials(machine, "reverse-username", "reverse-password")
}

/// A user name with its password; either both or none.
fn credentials(
    machine: &Machine,
    name_setting: &str,
    secret_setting: &str,
) -> Result<Option<Credentials>, Failure> {
    let lacking = |there: &str, lacking: &str| {
        let message = format!("{there} is set, but {lacking} is not");
        Failure::new(Code::IscsiAuthentication, message)
    };
    match (
        machine.setting(name_setting),
        machine.setting(secret_setting).map(Zeroizing::new),
    ) {
        (None, None) => Ok(None),
        (Some(name), Some(secret)) => Ok(Some(Credentials::new(&name, &secret))),
        (Some(_), None) => Err(lacking(name_setting, secret_setting)),
        (None, Some(_)) => Err(lacking(secret_setting, name_setting)),
    }
}

/// The setting `chap-algorithms`; all, as best offered, where it says nothing.
fn algorithms(machine: &Machine) -> Result<Vec<Algorithm>, Failure> {
    let Some(wanted) = machine.setting("chap-algorithms") else {
        return Ok(Algorithm::OFFERED.to_vec());
    };
    let simple = |name: &str| name.replace('-', "").to_ascii_lowercase();
    let known = |name: &str| {
        let mut all = Algorithm::STRONGEST_FIRST.into_iter();
        all.find(|algorithm| simple(&algorithm.to_string()) == simple(name.trim()))
            .ok_or_else(|| {
                let message =
                    format!("chap-algorithms: {name} is none of sha3-256, sha256, sha1 and md5");
                Failure::new(Code::IscsiAuthentication, message)
            })
    };
    wanted.split(',').map(known).collect()
}

fn initiator_name(machine: &Machine, mac: [u8; 6]) -> String {
    if let Some(name) = machine.setting("initiator-iqn") {
        return name;
    }
    let host_name = machine.setting("hostname").map(|name| iscsi_text(&name));
    let host_name = host_name.filter(|name| !name.is_empty());
    let uuid = || {
        machine
            .setting("uuid")
            .map(|uuid| uuid.to_ascii_lowercase())
    };
    let address = || {
        let bytes: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        bytes.join("-")
    };
    format!(
        "{NAMING_AUTHORITY}:{}",
        host_name.or_else(uuid).unwrap_or_else(address)
    )
}

/// A host name in the characters an iSCSI name may have (RFC 7143 section 4.2.7.2).
fn iscsi_text(name: &str) -> String {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':');
    name.chars()
        .filter(allowed)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// A target that is silent for so long is asked whether it lives, and given up after as long again.
const PING_INTERVAL: Duration = Duration::from_secs(4);

/// Our own part of the name space of iSCSI names.
const NAMING_AUTHORITY: &str = "iqn.2026-11.org.bowline";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_become_iscsi_names() {
        assert_eq!(iscsi_text("Node_1.Example.com"), "node1.example.com");
        assert_eq!(iscsi_text("___"), "");
    }
}
