//! The table `https`.

use super::*;
use crate::http::ClientAuth;
use crate::http::testing::{Authority, Leaf};

const HTTPS: &str = "[https]\nlisten = ['127.0.0.1:443']\nroot = 'www'\n\
    certificate = 'host.pem'\nkey = 'host.key'\n";

/// The site, with a certificate for HTTPS.
fn secure_site() -> tempfile::TempDir {
    let site = site();
    let authority = Authority::new("Test CA");
    authority.issue(&Leaf::host()).write(site.path(), "host");
    fs::write(site.path().join("ca.pem"), authority.pem).unwrap();
    site
}

#[test]
fn https_asks_clients_as_it_is_told() {
    let site = secure_site();
    let ca = site.path().join("ca.pem");
    for (text, expected) in [
        ("", ClientAuth::None),
        ("client-auth = 'none'\n", ClientAuth::None),
        (
            "client-ca = 'ca.pem'\n",
            ClientAuth::Required { ca: ca.clone() },
        ),
        (
            "client-auth = 'required'\nclient-ca = 'ca.pem'\n",
            ClientAuth::Required { ca: ca.clone() },
        ),
        (
            "client-auth = 'optional'\nclient-ca = 'ca.pem'\n",
            ClientAuth::Optional { ca: ca.clone() },
        ),
    ] {
        let loaded = parse(&site, &format!("{HTTPS}{text}")).unwrap();
        assert_eq!(loaded.warnings, []);
        let tls = loaded.config.https.unwrap().tls.unwrap();
        assert_eq!(tls.files.clients, expected, "{text}");
        assert_eq!(tls.credentials.names(), ["localhost", "127.0.0.1"]);
    }
}

#[test]
fn https_refuses_what_makes_no_sense() {
    let site = secure_site();
    for (text, expected) in [
        (
            "client-auth = 'none'\nclient-ca = 'ca.pem'\n",
            &["6: https.client-auth: is \"none\", but `client-ca` is given; leave one of them out"]
                [..],
        ),
        (
            "client-auth = 'required'\n",
            &[
                "6: https.client-auth: is \"required\", but `client-ca` is missing: give the \
               certificate of who issues those of clients",
            ],
        ),
        (
            "client-auth = 'maybe'\n",
            &["6: https.client-auth: \"maybe\" is none of \"none\", \"optional\" and \"required\""],
        ),
        (
            "client-ca = 'host.key'\n",
            &["6: https.client-ca: host.key: holds no certificate in PEM \
               (-----BEGIN CERTIFICATE-----)"],
        ),
        (
            "client-ca = 'gone.pem'\nclient = 1\n",
            &[
                "6: https.client-ca: gone.pem: cannot read it: No such file or directory \
                 (os error 2)",
                "7: https.client: unknown key; did you mean `client-ca`?",
            ],
        ),
    ] {
        refused_at(&site, &format!("{HTTPS}{text}"), expected);
    }
    refused_at(
        &site,
        "[https]\nlisten = ['127.0.0.1:443']\nroot = 'www'\n",
        &[
            "1: https: `certificate` is missing: give the file of the server's certificate; \
             `bowline ca issue host` makes one",
            "1: https: `key` is missing: give the file of the certificate's private key",
        ],
    );
}

/// Like `refused`, in this directory; each problem begins with its line.
fn refused_at(site: &tempfile::TempDir, text: &str, expected: &[&str]) {
    let Err(ConfigError::Invalid { problems, .. }) = parse(site, text) else {
        panic!("accepted:\n{text}");
    };
    let directory = format!("{}/", site.path().display());
    let told: Vec<_> = problems
        .iter()
        .map(|problem| {
            problem
                .to_string()
                .replace(&directory, "")
                .replace("bowline.toml:", "")
        })
        .collect();
    assert_eq!(told, expected, "\n{text}");
}
