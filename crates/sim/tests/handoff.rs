//! What the loader leaves for the operating system, read by the scripts that an initial RAM disk
//! has for it.

use std::fs;
use std::path::Path;
use std::process::Command;

use bowline_sim::world::{Plan, World};

const SCRIPT: &str = r"#!ipxe
set username user
set password password
set reverse-username target
set reverse-password secret
set initiator-iqn iqn.2000-01.com.example:node1
dhcp
sanboot iscsi:192.168.1.1:::1:iqn.2000-01.com.example:disk1
";

/// The words that `ibft.sh` sets, as the specification's fields are called there.
const WORDS: &str = "initiator target address port lun username password in_username in_password \
                     mac vlan ip prefix gateway dns dns2 dhcp hostname";

/// Every word with its value, one a line; none where the scripts refuse the table.
fn read(table: &[u8]) -> Option<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("table");
    fs::write(&file, table).expect("a file");
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packages/bowline-initramfs");
    let script = r#". "$package/ibft.sh"; ibft_read "$table" || exit 1
        for word in $words; do eval "printf '%s\n' \"$word=\$ibft_$word\""; done"#;
    let output = Command::new("sh")
        .args(["-c", script])
        .env("package", package)
        .env("table", file)
        .env("words", WORDS)
        .output()
        .expect("a shell");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.is_empty(), "{errors}");
    let words = String::from_utf8(output.stdout).expect("text");
    output.status.success().then_some(words)
}

fn table() -> Vec<u8> {
    let world = World::new(&Plan::new(1));
    let console = world.boot(SCRIPT);
    assert!(
        console.contains("san 0x80: described by the iBFT in the device tree"),
        "{console}"
    );
    world.firmware.table().expect("a table")
}

#[test]
fn the_initial_ram_disk_reads_what_the_loader_left() {
    let words = read(&table()).expect("a table");
    let expected = "initiator=iqn.2000-01.com.example:node1
target=iqn.2000-01.com.example:disk1
address=192.168.1.1
port=3260
lun=1
username=user
password=password
in_username=target
in_password=secret
";
    assert!(words.starts_with(expected), "{words}");
    for word in [
        "vlan=0",
        "ip=192.168.1.100",
        "prefix=24",
        "gateway=192.168.1.1",
    ] {
        assert!(
            words.lines().any(|line| line == word),
            "no {word} in\n{words}"
        );
    }
    assert!(words.contains("dhcp=192.168.1.1\n"), "{words}");
}

/// Secrets are anything but words, and addresses may be those of IPv6.
#[test]
fn texts_and_addresses_are_taken_as_they_are() {
    let mut table = table();
    let password = table
        .windows(9)
        .position(|text| text == b"password\0")
        .expect("it is there");
    table[password..password + 8].copy_from_slice(br#"$'\n`" %"#);
    let target = usize::from(u16::from_le_bytes([table[60], table[61]]));
    let address = std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x1a);
    table[target + 6..target + 22].copy_from_slice(&address.octets());
    let words = read(&table).expect("a table");
    assert!(words.contains("password=$'\\n`\" %\n"), "{words}");
    assert!(
        words.contains("address=fd00:0000:0000:0000:0000:0000:0000:001a\n"),
        "{words}"
    );
}

#[test]
fn what_is_no_table_is_told_from_one() {
    let table = table();
    assert_eq!(read(b""), None);
    assert_eq!(read(&table[..60]), None);
    let mut other = table.clone();
    other[0] = b'X';
    assert_eq!(read(&other), None);
    let mut without_target = table;
    without_target[60..62].fill(0);
    assert_eq!(read(&without_target), None);
}
