//! What an authority has issued, as its directory shows it.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

use super::authority::{CERTIFICATE, CLIENTS, HOSTS, now, read};
use crate::table;

/// Prints one line for the authority and each certificate below `directory`.
pub(crate) fn list(directory: &Path) -> anyhow::Result<()> {
    let authority = directory.join(CERTIFICATE);
    if !authority.exists() {
        bail!("there is no authority in {}", directory.display());
    }
    let mut rows = vec![HEAD.map(str::to_owned), row("ca", &authority)];
    for (kind, folder) in [("host", HOSTS), ("client", CLIENTS)] {
        for path in certificates(&directory.join(folder))? {
            rows.push(row(kind, &path));
        }
    }
    table::print(&rows);
    Ok(())
}

fn certificates(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("cannot read {}", folder.display()))?
            .path();
        if path.extension().is_some_and(|extension| extension == "pem") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// A damaged file is a row, too: the others are still of interest.
fn row(kind: &str, path: &Path) -> [String; COLUMNS] {
    let (names, expires, serial) =
        describe(path).unwrap_or_else(|error| (format!("{error:#}"), "?".into(), "?".into()));
    [
        kind.into(),
        names,
        expires,
        serial,
        path.display().to_string(),
    ]
}

fn describe(path: &Path) -> anyhow::Result<(String, String, String)> {
    let bytes = read(path)?;
    let (_, pem) = parse_x509_pem(&bytes).context("not in PEM")?;
    let certificate = pem.parse_x509().context("no certificate")?;
    let end = certificate.validity().not_after.to_datetime();
    let days = (end - now()).whole_days();
    let expires = if end < now() {
        format!("{} (expired)", end.date())
    } else {
        format!("{} ({days} days)", end.date())
    };
    let serial = certificate
        .raw_serial()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok((names(&certificate), expires, serial))
}

/// The names of subjectAltName, else the common name.
fn names(certificate: &X509Certificate<'_>) -> String {
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let mut names: Vec<String> = Vec::new();
    for name in alternatives
        .iter()
        .flat_map(|extension| &extension.value.general_names)
    {
        match name {
            GeneralName::DNSName(name) => names.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                let v6 = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
                names.extend(v4.or(v6).map(|address| address.to_string()));
            }
            _ => {}
        }
    }
    if names.is_empty() {
        let mut common = certificate.subject().iter_common_name();
        names.extend(
            common
                .next()
                .and_then(|name| name.as_str().ok())
                .map(str::to_owned),
        );
    }
    names.join(",").escape_debug().to_string()
}

const COLUMNS: usize = 5;
const HEAD: [&str; COLUMNS] = ["kind", "names", "expires", "serial", "file"];
