//! Bad servers, each refused with its own message, in TLS 1.2 and 1.3 and by the check without a
//! connection.

mod common;

use bowline_tls::Error;
use bowline_tls::trust::{Anchors, certificates};
use bowline_tls::verify::{Reason, Refusal};
use common::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CidrSubnet, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyUsagePurpose, NameConstraints, SanType,
    date_time_ymd,
};
use rustls::{AlertDescription, Error as RustlsError};

/// One bad server.
struct Bad {
    credentials: Credentials,
    anchors: Anchors,
    reason: Reason,
    /// Which certificate is to blame, `None` for an anchor or none at all.
    index: Option<usize>,
    /// What the message must say.
    words: &'static [&'static str],
    alert: AlertDescription,
}

impl Bad {
    fn assert_refused(self) -> Refusal {
        let refusal = verdict(&self.credentials.chain, &self.anchors, HOST).unwrap_err();
        let (reason, words) = (refusal.reason, &refusal.words);
        println!("{}: {words}", reason.code());
        assert_eq!(reason, self.reason, "{words}");
        let index = refusal
            .certificate
            .as_ref()
            .and_then(|certificate| certificate.index);
        assert_eq!(index, self.index, "{words}");
        for expected in self.words {
            assert!(
                words.contains(expected),
                "'{words}' does not say '{expected}'"
            );
        }
        for version in VERSIONS {
            let server = server(&self.credentials, &ServerOptions::only(version));
            let mut wire = Wire::new(client(self.anchors.clone(), HOST), server);
            assert_eq!(
                wire.run().unwrap_err(),
                Error::Certificate(refusal.clone()),
                "{version:?}"
            );
            // The server learns what we think of it, the user gets nothing.
            wire.deliver_to_server();
            let alert = Some(RustlsError::AlertReceived(self.alert));
            assert_eq!(wire.server_error, alert, "{version:?}");
            assert!(wire.session.is_none() && wire.client.readable() == 0);
        }
        refusal
    }
}

/// A server whose own certificate was changed by `change`.
fn changed(
    change: impl FnOnce(&mut CertificateParams),
    bad: impl FnOnce(Credentials, Anchors) -> Bad,
) {
    let root = root("Test Root");
    let mut params = leaf_params(&[HOST]);
    change(&mut params);
    let credentials = Credentials::new(&params, Algorithm::P256, &root);
    bad(credentials, anchors(&[&root])).assert_refused();
}

#[test]
fn expired() {
    changed(
        |params| params.not_after = date_time_ymd(2027, 5, 1),
        |credentials, anchors| Bad {
            credentials,
            anchors,
            reason: Reason::Expired,
            index: Some(0),
            words: &[
                "boot.example",
                "valid until 2027-05-01 00:00:00 UTC",
                "clock says 2027-06-01",
            ],
            alert: AlertDescription::CertificateExpired,
        },
    );
}

#[test]
fn expired_intermediate() {
    let root = root("Test Root");
    let mut params = authority_params("Old Intermediate");
    params.not_after = date_time_ymd(2027, 5, 1);
    let middle = CertifiedIssuer::signed_by(params, key(Algorithm::P256), &root).unwrap();
    Bad {
        credentials: Credentials::for_host(Algorithm::P256, &middle).with(&[&middle]),
        anchors: anchors(&[&root]),
        reason: Reason::Expired,
        index: Some(1),
        words: &["certificate 1 of the server's chain (Old Intermediate) has expired"],
        alert: AlertDescription::CertificateExpired,
    }
    .assert_refused();
}

#[test]
fn expired_root() {
    let mut params = authority_params("Old Root");
    params.not_after = date_time_ymd(2027, 5, 1);
    let root = CertifiedIssuer::self_signed(params, key(Algorithm::P256)).unwrap();
    let refusal = Bad {
        credentials: Credentials::for_host(Algorithm::P256, &root),
        anchors: anchors(&[&root]),
        reason: Reason::AnchorNotValid,
        index: None,
        words: &[
            "the trusted certificate 'Old Root' has itself expired",
            "until 2027-05-01",
        ],
        alert: AlertDescription::CertificateExpired,
    }
    .assert_refused();
    assert_eq!(refusal.certificate.unwrap().subject, "Old Root");
}

#[test]
fn not_yet_valid() {
    changed(
        |params| params.not_before = date_time_ymd(2027, 7, 1),
        |credentials, anchors| Bad {
            credentials,
            anchors,
            reason: Reason::NotYetValid,
            index: Some(0),
            words: &[
                "is not valid yet",
                "from 2027-07-01 00:00:00 UTC",
                "(as given)",
            ],
            // RFC 8446 knows only "expired or not currently valid".
            alert: AlertDescription::CertificateExpired,
        },
    );
}

#[test]
fn wrong_name() {
    changed(
        |params| {
            params.subject_alt_names = ["www.example", "*.boot.example"]
                .map(|name| SanType::DnsName(name.try_into().unwrap()))
                .to_vec();
            params
                .subject_alt_names
                .push(SanType::IpAddress([192, 0, 2, 1].into()));
        },
        |credentials, anchors| Bad {
            credentials,
            anchors,
            reason: Reason::NameMismatch,
            index: Some(0),
            words: &["not for 'boot.example' but for www.example, *.boot.example, 192.0.2.1"],
            alert: AlertDescription::BadCertificate,
        },
    );
}

#[test]
fn name_only_in_common_name() {
    changed(
        |params| {
            params.subject_alt_names.clear();
            params.distinguished_name.push(DnType::CommonName, HOST);
        },
        |credentials, anchors| Bad {
            credentials,
            anchors,
            reason: Reason::NameOnlyInCommonName,
            index: Some(0),
            words: &["only in its common name", "subject alternative name"],
            alert: AlertDescription::BadCertificate,
        },
    );
}

#[test]
fn unknown_root() {
    let (good, bad) = (root("Test Root"), root("Other Root"));
    // With the root presented it is certain.
    Bad {
        credentials: Credentials::for_host(Algorithm::P256, &bad).with(&[&bad]),
        anchors: anchors(&[&good]),
        reason: Reason::UnknownRoot,
        index: Some(1),
        words: &[
            "ends at root 'Other Root', which is not trusted",
            "trusted are 'Test Root'",
        ],
        alert: AlertDescription::UnknownCA,
    }
    .assert_refused();
    // With an intermediate presented it is as good as certain.
    let middle = intermediate("Other Intermediate", &bad);
    Bad {
        credentials: Credentials::for_host(Algorithm::P256, &middle).with(&[&middle]),
        anchors: anchors(&[&good]),
        reason: Reason::UnknownRoot,
        index: Some(1),
        words: &["(Other Intermediate) was issued by 'Other Root', which is not trusted"],
        alert: AlertDescription::UnknownCA,
    }
    .assert_refused();
    // With neither, the issuer may be a root or an intermediate: both are said.
    Bad {
        credentials: Credentials::for_host(Algorithm::P256, &bad),
        anchors: anchors(&[&good]),
        reason: Reason::UnknownIssuer,
        index: Some(0),
        words: &[
            "issued by 'Other Root', which is not trusted",
            "intermediate",
        ],
        alert: AlertDescription::UnknownCA,
    }
    .assert_refused();
}

#[test]
fn self_signed() {
    let good = root("Test Root");
    let key = key(Algorithm::P256);
    let mut params = leaf_params(&[HOST]);
    params.distinguished_name.push(DnType::CommonName, HOST);
    let certificate = params.self_signed(&key).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let credentials = Credentials {
        chain: vec![certificate.der().clone()],
        key,
    };
    Bad {
        credentials: credentials.clone(),
        anchors: anchors(&[&good]),
        reason: Reason::SelfSigned,
        index: Some(0),
        words: &["vouches for itself and is not trusted", "'Test Root'"],
        alert: AlertDescription::UnknownCA,
    }
    .assert_refused();
    // Packed as trusted, it is.
    let mut anchors = Anchors::new();
    anchors.add(certificate.der().clone()).unwrap();
    assert_works(&credentials, anchors, HOST);
}

#[test]
fn missing_intermediate() {
    let mut params = authority_params("Example Root");
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Example Org");
    let root = CertifiedIssuer::self_signed(params, key(Algorithm::P256)).unwrap();
    let mut params = authority_params("Example Intermediate");
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Example Org");
    let middle = CertifiedIssuer::signed_by(params, key(Algorithm::P256), &root).unwrap();
    Bad {
        credentials: Credentials::for_host(Algorithm::P256, &middle),
        anchors: anchors(&[&root]),
        reason: Reason::MissingIntermediate,
        index: Some(0),
        words: &[
            "issued by 'Example Intermediate'",
            "intermediate certificate is missing",
            "of Example Org, like the trusted 'Example Root'",
        ],
        alert: AlertDescription::UnknownCA,
    }
    .assert_refused();
}

#[test]
fn missing_intermediate_that_says_where_it_can_be_had() {
    let root = root("Test Root");
    let middle = intermediate("Some Intermediate", &root);
    let mut params = leaf_params(&[HOST]);
    // AuthorityInfoAccess with one caIssuers entry.
    let url = b"http://ca.example/i.der";
    let mut access = vec![
        0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02, 0x86,
    ];
    access.push(url.len() as u8);
    access.extend(url);
    let inner = [&[0x30, access.len() as u8], &access[..]].concat();
    let value = [&[0x30, inner.len() as u8], &inner[..]].concat();
    let oid = [1, 3, 6, 1, 5, 5, 7, 1, 1];
    params
        .custom_extensions
        .push(CustomExtension::from_oid_content(&oid, value));
    Bad {
        credentials: Credentials::new(&params, Algorithm::P256, &middle),
        anchors: anchors(&[&root]),
        reason: Reason::MissingIntermediate,
        index: Some(0),
        words: &["it can be had at http://ca.example/i.der"],
        alert: AlertDescription::UnknownCA,
    }
    .assert_refused();
}

#[test]
fn authority_as_leaf() {
    changed(
        |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
        |credentials, anchors| Bad {
            credentials,
            anchors,
            reason: Reason::CaAsLeaf,
            index: Some(0),
            words: &["certificate authority (CA:TRUE)"],
            alert: AlertDescription::BadCertificate,
        },
    );
}

#[test]
fn leaf_as_authority() {
    let root = root("Test Root");
    let mut params = leaf_params(&["other.example"]);
    params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    let middle = CertifiedIssuer::signed_by(params, key(Algorithm::P256), &root).unwrap();
    Bad {
        credentials: Credentials::for_host(Algorithm::P256, &middle).with(&[&middle]),
        anchors: anchors(&[&root]),
        reason: Reason::LeafAsCa,
        index: Some(1),
        words: &["certificate 1 of the server's chain (other.example) is not that of a certificate authority"],
        alert: AlertDescription::BadCertificate,
    }
    .assert_refused();
}

#[test]
fn wrong_purpose() {
    changed(
        |params| {
            params.extended_key_usages = vec![
                ExtendedKeyUsagePurpose::ClientAuth,
                ExtendedKeyUsagePurpose::CodeSigning,
            ];
        },
        |credentials, anchors| Bad {
            credentials,
            anchors,
            reason: Reason::WrongPurpose,
            index: Some(0),
            words: &["extended key usage is clientAuth, codeSigning, needed is serverAuth"],
            alert: AlertDescription::UnsupportedCertificate,
        },
    );
}

#[test]
fn wrong_key_usage() {
    changed(
        |params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment],
        |credentials, anchors| Bad {
            credentials,
            anchors,
            reason: Reason::KeyUsage,
            index: Some(0),
            words: &["lacks digitalSignature"],
            alert: AlertDescription::UnsupportedCertificate,
        },
    );
    let root = root("Test Root");
    let mut params = authority_params("Idle Authority");
    params.key_usages = vec![KeyUsagePurpose::CrlSign];
    let middle = CertifiedIssuer::signed_by(params, key(Algorithm::P256), &root).unwrap();
    Bad {
        credentials: Credentials::for_host(Algorithm::P256, &middle).with(&[&middle]),
        anchors: anchors(&[&root]),
        reason: Reason::KeyUsage,
        index: Some(1),
        words: &["Idle Authority", "lacks keyCertSign"],
        alert: AlertDescription::UnsupportedCertificate,
    }
    .assert_refused();
}

fn constrained(
    permitted: &[GeneralSubtree],
    excluded: &[GeneralSubtree],
) -> (Authority, Authority) {
    let root = root("Test Root");
    let mut params = authority_params("Narrow Authority");
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: permitted.to_vec(),
        excluded_subtrees: excluded.to_vec(),
    });
    let middle = CertifiedIssuer::signed_by(params, key(Algorithm::P256), &root).unwrap();
    (root, middle)
}

#[test]
fn name_constraint() {
    let subnet = GeneralSubtree::IpAddress(CidrSubnet::V4([10, 0, 0, 0], [255, 0, 0, 0]));
    let permitted = [GeneralSubtree::DnsName("corp.example".into()), subnet];
    let (root, middle) = constrained(&permitted, &[]);
    Bad {
        credentials: Credentials::for_host(Algorithm::P256, &middle).with(&[&middle]),
        anchors: anchors(&[&root]),
        reason: Reason::NameConstraint,
        index: Some(0),
        words: &[
            "is for boot.example",
            "'Narrow Authority'",
            "only vouch for corp.example, 10.0.0.0/8",
        ],
        alert: AlertDescription::BadCertificate,
    }
    .assert_refused();
    let (root, middle) = constrained(&[], &[GeneralSubtree::DnsName("example".into())]);
    Bad {
        credentials: Credentials::for_host(Algorithm::P256, &middle).with(&[&middle]),
        anchors: anchors(&[&root]),
        reason: Reason::NameConstraint,
        index: Some(0),
        words: &["names other than example"],
        alert: AlertDescription::BadCertificate,
    }
    .assert_refused();
    // Within its limits it is good.
    let (root, middle) = constrained(&[GeneralSubtree::DnsName("example".into())], &[]);
    let credentials = Credentials::for_host(Algorithm::P256, &middle).with(&[&middle]);
    assert_works(&credentials, anchors(&[&root]), HOST);
}

#[test]
fn weak_key() {
    let roots = Anchors::from_bytes(&fixture("rsa-root.pem")).unwrap();
    Bad {
        credentials: Credentials::fixture(&["weak-issued.pem", "weak-ca.pem"], "weak-issued.key"),
        anchors: roots.clone(),
        reason: Reason::WeakKey,
        index: Some(1),
        words: &[
            "certificate 1 of the server's chain (Weak CA)",
            "RSA key of 1024 bits",
            "2048",
        ],
        alert: AlertDescription::UnsupportedCertificate,
    }
    .assert_refused();
    // On the server's own certificate; no server of our time signs with such a key.
    for (file, reason, words) in [
        ("weak-leaf.pem", Reason::WeakKey, "RSA key of 1024 bits"),
        ("p521-leaf.pem", Reason::UnsupportedKey, "ECDSA P-521"),
    ] {
        let refusal = verdict(&certificates(&fixture(file)).unwrap(), &roots, HOST).unwrap_err();
        assert_eq!(refusal.reason, reason);
        assert!(refusal.words.contains(words), "{refusal}");
    }
}

#[test]
fn sha1_signature() {
    Bad {
        credentials: Credentials::fixture(&["sha1-leaf.pem"], "sha1-leaf.key"),
        anchors: Anchors::from_bytes(&fixture("rsa-root.pem")).unwrap(),
        reason: Reason::WeakSignature,
        index: Some(0),
        words: &["signed by RSA with SHA-1, which can be forged"],
        alert: AlertDescription::UnsupportedCertificate,
    }
    .assert_refused();
}

#[test]
fn authority_made_anew_under_the_same_name() {
    let (old, new) = (root("Test Root"), root("Test Root"));
    Bad {
        credentials: Credentials::for_host(Algorithm::P256, &new),
        anchors: anchors(&[&old]),
        reason: Reason::BadSignature,
        index: Some(0),
        words: &[
            "not signed by the key of the trusted 'Test Root'",
            "made anew",
        ],
        alert: AlertDescription::DecryptError,
    }
    .assert_refused();
}

#[test]
fn path_longer_than_allowed() {
    let root = root("Test Root");
    let mut params = authority_params("Last Authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let last = CertifiedIssuer::signed_by(params, key(Algorithm::P256), &root).unwrap();
    let more = intermediate("One Too Many", &last);
    Bad {
        credentials: Credentials::for_host(Algorithm::P256, &more).with(&[&more, &last]),
        anchors: anchors(&[&root]),
        reason: Reason::PathTooLong,
        index: Some(2),
        words: &["Last Authority", "more authorities than it allows"],
        alert: AlertDescription::BadCertificate,
    }
    .assert_refused();
}

#[test]
fn unknown_critical_extension() {
    changed(
        |params| {
            let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![0x05, 0]);
            extension.set_criticality(true);
            params.custom_extensions.push(extension);
        },
        |credentials, anchors| Bad {
            credentials,
            anchors,
            reason: Reason::CriticalExtension,
            index: Some(0),
            words: &["critical extension that is not understood (1.2.3.4)"],
            alert: AlertDescription::BadCertificate,
        },
    );
}

#[test]
fn malformed() {
    let root = root("Test Root");
    let good = Credentials::for_host(Algorithm::P256, &root);
    let mut cut = good.clone();
    let short = cut.chain[0][..cut.chain[0].len() - 1].to_vec();
    cut.chain[0] = short.into();
    Bad {
        credentials: cut,
        anchors: anchors(&[&root]),
        reason: Reason::Malformed,
        index: Some(0),
        words: &["malformed"],
        alert: AlertDescription::BadCertificate,
    }
    .assert_refused();
}

#[test]
fn too_many_certificates() {
    let root = root("Test Root");
    let mut credentials = Credentials::for_host(Algorithm::P256, &root);
    for n in 0..10 {
        credentials
            .chain
            .push(intermediate(&format!("Filler {n}"), &root).der().clone());
    }
    Bad {
        credentials,
        anchors: anchors(&[&root]),
        reason: Reason::TooManyCertificates,
        index: None,
        words: &["11 certificates were presented; at most 10"],
        alert: AlertDescription::BadCertificate,
    }
    .assert_refused();
}

#[test]
fn nothing_trusted_and_nothing_presented() {
    let root = root("Test Root");
    Bad {
        credentials: Credentials::for_host(Algorithm::P256, &root),
        anchors: Anchors::new(),
        reason: Reason::NoAnchors,
        index: None,
        words: &["none was packed"],
        alert: AlertDescription::UnknownCA,
    }
    .assert_refused();
    let refusal = verdict(&[], &anchors(&[&root]), HOST).unwrap_err();
    assert_eq!(refusal.reason, Reason::NoCertificate);
    let refusal = verdict(&[], &anchors(&[&root]), "no such host").unwrap_err();
    assert_eq!(refusal.reason, Reason::BadName);
}
