//! Bad and doubtful files, and what is said about them.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use rcgen::ExtendedKeyUsagePurpose;

use super::*;
use crate::http::testing::{Authority, Leaf};

/// A directory with good files, and a change to them.
struct Site {
    directory: tempfile::TempDir,
    authority: Authority,
}

impl Site {
    fn new() -> Self {
        let site = Self {
            directory: tempfile::tempdir().unwrap(),
            authority: Authority::new("Test CA"),
        };
        site.issue(&Leaf::host());
        site.write("ca.pem", &site.authority.pem);
        site
    }

    fn issue(&self, leaf: &Leaf<'_>) {
        self.authority
            .issue(leaf)
            .write(self.directory.path(), "host");
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.directory.path().join(name), content).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap()
    }

    fn files(&self) -> TlsFiles {
        let path = |name: &str| self.directory.path().join(name);
        TlsFiles {
            certificate: path("host.pem"),
            key: path("host.key"),
            clients: ClientAuth::Required { ca: path("ca.pem") },
        }
    }

    fn told(&self, faults: &[Fault]) -> Vec<String> {
        let directory = format!("{}/", self.directory.path().display());
        faults
            .iter()
            .map(|fault| fault.message.replace(&directory, ""))
            .collect()
    }

    /// Checks that there is one fault and that it contains `expected`.
    fn refused(&self, expected: &str) {
        let faults = Credentials::load(&self.files()).expect_err(expected);
        let told = self.told(&faults);
        assert!(
            told.len() == 1 && told[0].contains(expected),
            "{told:?}\nwithout {expected:?}"
        );
    }

    fn warned(&self, expected: &str) {
        let told = self.told(&Credentials::load(&self.files()).unwrap().warnings);
        assert!(
            told.len() == 1 && told[0].contains(expected),
            "{told:?}\nwithout {expected:?}"
        );
    }
}

#[test]
fn good_files_are_taken_without_a_word() {
    let site = Site::new();
    let credentials = Credentials::load(&site.files()).unwrap();
    assert_eq!(credentials.warnings, []);
    assert_eq!(credentials.aging(), Vec::<String>::new());
    assert_eq!(credentials.names(), ["localhost", "127.0.0.1"]);
    // With the root behind it, too.
    let chain = site.read("host.pem") + &site.authority.pem;
    site.write("host.pem", chain);
    assert_eq!(Credentials::load(&site.files()).unwrap().warnings, []);
}

#[test]
fn all_faults_are_told_at_once() {
    let site = Site::new();
    for name in ["host.pem", "host.key", "ca.pem"] {
        fs::remove_file(site.directory.path().join(name)).unwrap();
    }
    let faults = Credentials::load(&site.files()).unwrap_err();
    let missing = "cannot read it: No such file or directory (os error 2)";
    assert_eq!(
        site.told(&faults),
        ["host.pem", "host.key", "ca.pem"].map(|name| format!("{name}: {missing}"))
    );
    let places: Vec<_> = faults.iter().map(|fault| fault.place).collect();
    assert_eq!(places, [Place::Certificate, Place::Key, Place::ClientCa]);
}

#[test]
fn certificates_that_cannot_be_read() {
    let site = Site::new();
    let whole = site.read("host.pem");
    for (content, expected) in [
        (b"".to_vec(), "host.pem: holds no certificate in PEM"),
        (b"\x30\x82\x01\x00".to_vec(), "it may be DER"),
        (
            site.read("host.key").into_bytes(),
            "host.pem: holds no certificate in PEM",
        ),
        (
            whole.replace("-----END CERT", "-----").into_bytes(),
            "host.pem: is not valid PEM",
        ),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec(),
            "host.pem: certificate 1 is damaged",
        ),
        (vec![b'#'; FILE_BYTES_MAX + 1], "longer than 262144 bytes"),
    ] {
        site.write("host.pem", content);
        site.refused(expected);
    }
}

#[test]
fn keys_that_cannot_be_used() {
    let site = Site::new();
    let other = site.authority.issue(&Leaf::host());
    for (content, expected) in [
        (
            other.key,
            "host.key: is not the key of the certificate in host.pem",
        ),
        (
            site.read("host.pem"),
            "host.key: holds no private key in PEM",
        ),
        (
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
                .to_owned(),
            "host.key: is encrypted",
        ),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n\
             -----END RSA PRIVATE KEY-----\n"
                .to_owned(),
            "host.key: is encrypted",
        ),
        (
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_owned(),
            "host.key: cannot be used",
        ),
    ] {
        site.write("host.key", content);
        site.refused(expected);
    }
}

#[test]
fn chains_that_lead_nowhere() {
    let site = Site::new();
    let stranger = Authority::new("Stranger");
    site.write("host.pem", site.read("host.pem") + &stranger.pem);
    site.refused(
        "host.pem: the chain is incomplete: certificate 1 is issued by CN=Test CA, but what \
         follows is CN=Stranger",
    );
    site.issue(&Leaf {
        issuer_url: Some("http://ca.example/ca.der"),
        ..Leaf::host()
    });
    site.warned("its issuer CN=Test CA is published at http://ca.example/ca.der");
}

#[test]
fn time_runs_out() {
    let site = Site::new();
    site.issue(&Leaf {
        days: -1,
        ..Leaf::host()
    });
    site.refused("host.pem: the certificate of CN=localhost expired on 20");
    site.issue(&Leaf {
        days: 29,
        ..Leaf::host()
    });
    site.warned("host.pem: the certificate of CN=localhost expires in 2");
    let aging = Credentials::load(&site.files()).unwrap().aging();
    assert_eq!(aging.len(), 1, "{aging:?}");
    site.issue(&Leaf {
        days: 31,
        ..Leaf::host()
    });
    assert_eq!(Credentials::load(&site.files()).unwrap().warnings, []);
    // An old issuer of clients is no reason to stop serving.
    let old = site.authority.issue(&Leaf {
        days: -1,
        ca: true,
        ..Leaf::host()
    });
    site.write("ca.pem", old.certificate + &site.authority.pem);
    site.warned("ca.pem: the certificate of CN=localhost expired on 20");
}

#[test]
fn certificates_that_loaders_refuse_are_warned_about() {
    let site = Site::new();
    site.issue(&Leaf {
        names: &[],
        ..Leaf::host()
    });
    site.warned("host.pem: names no server");
    site.issue(&Leaf {
        ca: true,
        ..Leaf::host()
    });
    site.warned("host.pem: is the certificate of an authority");
    site.issue(&Leaf {
        usage: ExtendedKeyUsagePurpose::ClientAuth,
        ..Leaf::host()
    });
    site.warned("host.pem: is not for servers");
}

#[test]
fn a_key_that_all_may_read_is_warned_about() {
    let site = Site::new();
    let key = site.directory.path().join("host.key");
    fs::set_permissions(key, Permissions::from_mode(0o644)).unwrap();
    site.warned("host.key: can be read by everybody; chmod 600 host.key");
}
