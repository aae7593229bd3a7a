//! Encrypted images, made by OpenSSL.

extern crate std;

#[path = "../../../tls/tests/detach/mod.rs"]
mod detach;

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use std::process::Command;
use std::{env, fs, process};

use bowline_tls::trust::certificates;

use self::detach::detach;
use crate::packed::{Packed, PackedIdentity, PackedScript};
use crate::testing::{TestPlatform, run_packed, script};

/// Runs `openssl` with these words in a folder.
fn openssl(folder: &std::path::Path, words: &str) -> Vec<u8> {
    let output = Command::new("openssl")
        .args(words.split(' '))
        .current_dir(folder)
        .output()
        .expect("the program openssl is needed");
    assert!(output.status.success(), "{words}: {output:?}");
    output.stdout
}

/// The console of a machine with a key, or without, to which a script was sent encrypted.
fn console(has_key: bool, lines: &[&str]) -> String {
    let folder = env::temp_dir().join(std::format!("bowline-decrypt-{}-{has_key}", process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("content"), b"#!ipxe\necho for us alone\n").unwrap();
    openssl(
        &folder,
        "req -x509 -nodes -days 1 -subj /CN=us -newkey rsa:2048 -out us.pem -keyout us.key",
    );
    let whole = openssl(
        &folder,
        "cms -encrypt -binary -aes-256-gcm -in content -recip us.pem -outform DER",
    );
    let key = openssl(&folder, "pkey -in us.key -outform DER");
    let chain = certificates(&fs::read(folder.join("us.pem")).unwrap()).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    let (envelope, encrypted) = detach(&whole);
    let page = |name: &'static str, bytes: Vec<u8>| (name, &*bytes.leak());
    let pages = vec![
        page("/boot.ipxe.dat", encrypted),
        page("/boot.ipxe.env", envelope),
        page("/other.env", b"no envelope".to_vec()),
    ];
    let platform = TestPlatform::with_network(pages.leak());
    platform.type_lines(&["exit"]);
    let chain: Vec<Vec<u8>> = chain.iter().map(|der| der.to_vec()).collect();
    let identity = PackedIdentity {
        chain: chain.clone(),
        key: key.into(),
    };
    let packed = Packed {
        script: Some(PackedScript {
            name: "test.ipxe".into(),
            text: script(lines),
        }),
        trust: chain,
        identity: has_key.then_some(identity),
        ..Packed::default()
    };
    let (platform, _) = run_packed(platform, &packed.to_bytes().unwrap());
    platform.output.borrow().clone()
}

#[test]
fn an_image_for_us_is_decrypted_and_runs() {
    let output = console(
        true,
        &[
            "dhcp",
            "imgfetch http://192.168.1.1/boot.ipxe.dat one two",
            "imgfetch --name wrong http://192.168.1.1/other.env",
            "imgdecrypt boot.ipxe.dat wrong || echo ${errno}",
            "imgdecrypt boot.ipxe.dat http://192.168.1.1/boot.ipxe.env",
            "imgstat",
            "chain boot.ipxe",
            "imgdecrypt --name again http://192.168.1.1/boot.ipxe.dat \
             http://192.168.1.1/boot.ipxe.env && chain again",
            "exit",
        ],
    );
    let refused =
        "imgdecrypt: boot.ipxe.dat, envelope wrong: it is no CMS AuthEnvelopedData in DER";
    assert!(output.contains(refused), "{output}");
    assert!(output.contains("\nimage-envelope\n"), "{output}");
    // The envelope is gone, and the encrypted image; what it is started with has stayed.
    let list = "boot.ipxe : 25 bytes [script] \"one two\"\nfor us alone\n";
    assert!(output.contains(list), "{output}");
    assert_eq!(output.matches("for us alone").count(), 2, "{output}");
}

#[test]
fn without_a_key_nothing_is_decrypted() {
    let line = "imgdecrypt http://192.168.1.1/boot.ipxe.dat http://192.168.1.1/boot.ipxe.env ||";
    let output = console(false, &["dhcp", line, "exit"]);
    let refused = "no client certificate with a key is packed into this loader";
    assert!(output.contains(refused), "{output}");
}
