//! A small public-key infrastructure for one run: a root, an intermediate authority, the server's
//! certificate and a client's, made anew each time.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use serde::Deserialize;

use crate::netns::{SERVER, SERVER6};
use crate::sh;

/// The name of the server, besides its address.
pub(crate) const HOST: &str = "boot.example";

/// What a scenario wants of HTTPS: `[https]` in its file.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Https {
    /// The server lets only clients in that show a certificate.
    pub(crate) wants_client: bool,
    /// The loader has one to show.
    pub(crate) has_client: bool,
    /// The root is not packed; the firmware has it, and the loader is to trust that.
    pub(crate) firmware_vouches: bool,
    /// What is wrong with the server.
    pub(crate) fault: Option<Fault>,
    /// All keys are RSA: Debian's iPXE knows no ECDSA.
    pub(crate) rsa: bool,
}

/// What is wrong with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// Its certificate ended yesterday.
    Expired,
    /// Its chain ends at a root that the loader does not know.
    UnknownRoot,
    /// Its certificate is for another name.
    WrongName,
}

/// The files, in PEM.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    /// The root that the loader trusts.
    pub(crate) root: PathBuf,
    /// The same in the firmware's format.
    pub(crate) root_list: PathBuf,
    /// The server's certificate and the intermediate's.
    pub(crate) server: PathBuf,
    pub(crate) server_key: PathBuf,
    /// Issuer of clients, as the server knows it.
    pub(crate) client_root: PathBuf,
    pub(crate) client: PathBuf,
    pub(crate) client_key: PathBuf,
}

type Authority = CertifiedIssuer<'static, KeyPair>;

impl Files {
    /// Makes everything in `folder`.
    pub(crate) fn make(folder: &Path, https: Https) -> Result<Self> {
        let folder = folder.join("pki");
        fs::create_dir_all(&folder)?;
        let files = Self {
            root: folder.join("root.pem"),
            root_list: folder.join("root.esl"),
            server: folder.join("server.pem"),
            server_key: folder.join("server.key"),
            client_root: folder.join("client-root.pem"),
            client: folder.join("client.pem"),
            client_key: folder.join("client.key"),
        };
        let new_key = || match https.rsa {
            true => rsa_key(),
            false => Ok(KeyPair::generate()?),
        };
        let root = authority("Test root", new_key()?, None)?;
        let trusted = match https.fault {
            Some(Fault::UnknownRoot) => authority("Another root", new_key()?, None)?.pem(),
            _ => root.pem(),
        };
        fs::write(&files.root, trusted)?;
        fs::write(&files.root_list, signature_list(root.der()))?;
        let intermediate = authority("Test intermediate", new_key()?, Some(&root))?;
        let names = match https.fault {
            Some(Fault::WrongName) => vec!["other.example".to_owned()],
            _ => [HOST, SERVER, SERVER6].map(str::to_owned).to_vec(),
        };
        let mut server = leaf(names, ExtendedKeyUsagePurpose::ServerAuth)?;
        if https.fault == Some(Fault::Expired) {
            server.not_after = (SystemTime::now() - DAY).into();
        }
        let key = new_key()?;
        let certificate = server.signed_by(&key, &intermediate)?;
        let chain = format!("{}{}", certificate.pem(), intermediate.pem());
        fs::write(&files.server, chain)?;
        fs::write(&files.server_key, key.serialize_pem())?;
        let clients = authority("Test clients", new_key()?, None)?;
        fs::write(&files.client_root, clients.pem())?;
        let mut client = leaf(Vec::new(), ExtendedKeyUsagePurpose::ClientAuth)?;
        client.distinguished_name.push(DnType::CommonName, "node1");
        let key = new_key()?;
        let certificate = client.signed_by(&key, &clients)?;
        fs::write(&files.client, certificate.pem())?;
        fs::write(&files.client_key, key.serialize_pem())?;
        Ok(files)
    }
}

/// An EFI_SIGNATURE_LIST of one X.509 certificate (UEFI 2.10 section 32.4.1): type, sizes of the
/// list, its header and a signature, the signature's owner, which does not matter, and the
/// certificate.
fn signature_list(der: &[u8]) -> Vec<u8> {
    const X509: [u8; 16] = [
        0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0,
        0x72,
    ];
    let one = 16 + der.len() as u32;
    let sizes = [28 + one, 0, one].map(u32::to_le_bytes);
    [&X509[..], sizes.as_flattened(), &[0; 16], der].concat()
}

const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// `rcgen` signs with RSA, but makes no such keys.
fn rsa_key() -> Result<KeyPair> {
    let mut command = sh::command("openssl");
    command.args(["genpkey", "-quiet", "-algorithm", "RSA"]);
    Ok(KeyPair::from_pem(&sh::output(&mut command)?)?)
}

fn authority(name: &str, key: KeyPair, issuer: Option<&Authority>) -> Result<Authority> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    limit(&mut params);
    Ok(match issuer {
        Some(issuer) => CertifiedIssuer::signed_by(params, key, issuer)?,
        None => CertifiedIssuer::self_signed(params, key)?,
    })
}

fn leaf(names: Vec<String>, purpose: ExtendedKeyUsagePurpose) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    limit(&mut params);
    Ok(params)
}

/// A month before to a month after now.
fn limit(params: &mut CertificateParams) {
    let now = SystemTime::now();
    params.not_before = (now - 30 * DAY).into();
    params.not_after = (now + 30 * DAY).into();
}
