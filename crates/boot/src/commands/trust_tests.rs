//! Signed images, with signatures made by OpenSSL, and the certificates the loader knows.

extern crate std;

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::process::Command;
use std::{env, fs, process};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

use crate::packed::{Packed, PackedScript};
use crate::testing::servers::Pages;
use crate::testing::{TestPlatform, run_packed, script};

const SCRIPT: &[u8] = b"#!ipxe\necho it runs\n";

fn authority(name: &str, issuer: Option<&Authority>) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    let key = KeyPair::generate().unwrap();
    match issuer {
        Some(issuer) => CertifiedIssuer::signed_by(params, key, issuer).unwrap(),
        None => CertifiedIssuer::self_signed(params, key).unwrap(),
    }
}

/// Tests run beside each other.
static FOLDERS: AtomicUsize = AtomicUsize::new(0);

type Authority = CertifiedIssuer<'static, KeyPair>;

/// What `openssl cms -sign` makes of a file with a certificate for this name and purpose.
fn sign(
    content: &[u8],
    issuer: &Authority,
    name: &str,
    purpose: ExtendedKeyUsagePurpose,
) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![purpose];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
    let folder = env::temp_dir().join(std::format!("bowline-sign-{}-{number}", process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("certificate.pem"), certificate.pem()).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    fs::write(folder.join("content"), content).unwrap();
    let output = Command::new("openssl")
        .args(["cms", "-sign", "-binary", "-md", "sha256", "-in", "content"])
        .args(["-signer", "certificate.pem", "-inkey", "key.pem"])
        .args(["-outform", "DER"])
        .current_dir(&folder)
        .output()
        .expect("the program openssl is needed");
    fs::remove_dir_all(&folder).unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// A machine that trusts a root, on a network with signed files.
struct Site {
    root: Authority,
    pages: Pages,
}

impl Site {
    fn new() -> Self {
        let root = authority("Root", None);
        let middle = authority("Middle", Some(&root));
        let stranger = authority("Stranger", None);
        let code = ExtendedKeyUsagePurpose::CodeSigning;
        let page = |name: &'static str, bytes: Vec<u8>| (name, &*bytes.leak());
        let pages = vec![
            page("/s", SCRIPT.to_vec()),
            page("/s.sig", sign(SCRIPT, &root, "Release", code.clone())),
            page("/other.sig", sign(b"other", &root, "Release", code.clone())),
            page("/middle.sig", sign(SCRIPT, &middle, "Deputy", code.clone())),
            page("/stranger.sig", sign(SCRIPT, &stranger, "Release", code)),
            page(
                "/server.sig",
                sign(SCRIPT, &root, "Server", ExtendedKeyUsagePurpose::ServerAuth),
            ),
            page("/middle.pem", middle.pem().into_bytes()),
            page("/k", b"MZ".to_vec()),
            page("/k.sig", {
                let code = ExtendedKeyUsagePurpose::CodeSigning;
                sign(b"MZ", &root, "Release", code)
            }),
        ];
        Self {
            root,
            pages: pages.leak(),
        }
    }

    /// What is shown from the third line on, which is the network's.
    fn run(&self, lines: &[&str]) -> String {
        let lines: Vec<&str> = ["dhcp"]
            .iter()
            .chain(lines)
            .chain(&["exit"])
            .copied()
            .collect();
        let lines: Vec<String> = lines
            .iter()
            .map(|line| line.replace("@", "http://192.168.1.1/"))
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let platform = TestPlatform::with_network(self.pages);
        platform.type_lines(&["exit"]);
        let packed = Packed {
            script: Some(PackedScript {
                name: "test.ipxe".into(),
                text: script(&lines),
            }),
            trust: vec![self.root.der().to_vec()],
            ..Packed::default()
        };
        let (platform, _) = run_packed(platform, &packed.to_bytes().unwrap());
        let output = platform.output.borrow();
        let shown: Vec<&str> = output.split_inclusive('\n').skip(2).collect();
        shown.concat()
    }

    /// Every line on its own is followed by its outcome.
    fn check(&self, lines: &[&str], expected: &[&str]) {
        let shown = self.run(lines);
        let seen: Vec<&str> = shown
            .lines()
            .filter(|line| !line.contains("... "))
            .collect();
        assert_eq!(seen, expected, "{lines:?}");
    }
}

#[test]
fn only_verified_images_run_once_that_is_asked_for() {
    let site = Site::new();
    site.check(
        &[
            "imgfetch @s",
            "chain s && imgtrust",
            "chain s || echo ${errno}",
            "imgverify s @s.sig && imgstat && chain s",
            // The bytes are trusted, not the name.
            "imgfree s",
            "imgfetch @s",
            "chain s || echo again ${errno}",
            "imgtrust --allow && chain s",
        ],
        &[
            "it runs",
            "chain: s is not run: only trusted images are (imgtrust), and its signature was not \
             verified (imgverify s <signature>) [image-untrusted]",
            "image-untrusted",
            "s is signed by Release",
            "s : 20 bytes [script] [TRUSTED]",
            "it runs",
            "chain: s is not run: only trusted images are (imgtrust), and its signature was not \
             verified (imgverify s <signature>) [image-untrusted]",
            "again image-untrusted",
            "it runs",
        ],
    );
}

#[test]
fn programs_are_asked_too_and_permanent_is_the_last_word() {
    let site = Site::new();
    site.check(
        &[
            "imgtrust --permanent",
            "imgtrust --allow || echo no",
            "imgtrust",
            "kernel @k",
            "boot || echo ${errno}",
            "imgverify --keep --signer Release k @k.sig && imgstat k.sig && boot k",
        ],
        &[
            "imgtrust: what may be run was decided with --permanent, until the machine is \
             restarted [image-untrusted]",
            "no",
            "boot: k is not run: only trusted images are (imgtrust), and its signature was not \
             verified (imgverify k <signature>) [image-untrusted]",
            "image-untrusted",
            "k is signed by Release",
            &format_signature(site.pages),
            "Starting k",
        ],
    );
}

fn format_signature(pages: Pages) -> String {
    let (_, bytes) = pages.iter().find(|(name, _)| *name == "/k.sig").unwrap();
    std::format!("k.sig : {} bytes", bytes.len())
}

#[test]
fn signatures_that_prove_nothing_are_refused_and_take_trust_away() {
    let site = Site::new();
    for (line, words) in [
        (
            "imgverify s @other.sig",
            "Release has signed something else",
        ),
        ("imgverify s @stranger.sig", "Stranger"),
        ("imgverify s @server.sig", "not for code signing"),
        ("imgverify s @middle.sig", "Middle"),
        ("imgverify s s", "no CMS signature in DER"),
        (
            "imgverify --signer Other s @s.sig",
            "Other has not signed it, but Release",
        ),
    ] {
        let verdict = std::format!("{line} || echo ${{errno}}");
        let lines = ["imgfetch @s", "imgverify s @s.sig", &verdict, "imgstat s"];
        let shown = site.run(&lines);
        assert!(shown.contains(words), "{line}: {shown}");
        assert!(shown.contains("\nimage-signature\n"), "{line}: {shown}");
        assert!(!shown.contains("[TRUSTED]"), "{line}: {shown}");
    }
}

#[test]
fn without_packed_trust_nothing_is_verified() {
    let site = Site::new();
    let platform = TestPlatform::with_network(site.pages);
    let lines = [
        "dhcp",
        "imgverify http://192.168.1.1/s http://192.168.1.1/s.sig || echo ${errno}",
        "exit",
    ];
    let (output, _) = crate::testing::run_script(platform, &script(&lines));
    assert!(output.ends_with("\ntls-no-anchors\n"), "{output}");
}

#[test]
fn certificates_are_kept_shown_and_forgotten() {
    let site = Site::new();
    let digits = |der: &[u8]| {
        let certificate = bowline_tls::certificate::Certificate::parse(der).unwrap();
        let bytes = certificate.fingerprint();
        let digits: Vec<String> = bytes
            .iter()
            .map(|byte| std::format!("{byte:02x}"))
            .collect();
        digits.concat()
    };
    let root = std::format!("Root : {} [TRUSTED]", digits(site.root.der()));
    let shown = site.run(&[
        "certstat",
        "certstore --keep @middle.pem",
        "certstore middle.pem",
        "certstat --subject Middle",
        "imgverify @s @middle.sig",
        "certfree --subject Nobody && certstat --subject Middle",
        "certfree && certstat",
        "certstore @s || echo ${errno}",
    ]);
    let lines: Vec<&str> = shown
        .lines()
        .filter(|line| !line.contains("... "))
        .collect();
    let [first, middle, verified, again, last, refused, errno] = lines[..] else {
        panic!("{shown}");
    };
    assert_eq!([first, last], [&*root, &*root]);
    assert!(
        middle.starts_with("Middle : ") && middle.ends_with(" [STORED]"),
        "{middle}"
    );
    assert_eq!(again, middle);
    assert_eq!(verified, "s is signed by Deputy");
    let expected = "certstore: s: there is no certificate in it [certificate-image]";
    assert_eq!([refused, errno], [expected, "certificate-image"]);
}
