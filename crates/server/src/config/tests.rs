//! Bad configurations and what is said about them: each case is a document and the lines that must
//! come back for it, all of them and in this order.

use std::fs::File;

use super::*;
use crate::http::ClientAuth;
use crate::http::testing::{Authority, Leaf};

/// A directory with `disk.img` (8 blocks), `other.img`, `odd.img` (700 bytes), `empty.img` and
/// others that are empty, `www/` and `secret`.
fn site() -> tempfile::TempDir {
    let site = tempfile::tempdir().unwrap();
    for (name, len) in [
        ("disk.img", 4096),
        ("other.img", 4096),
        ("odd.img", 700),
        ("empty.img", 0),
        ("empty.qcow2", 0),
        ("empty.overlay", 0),
    ] {
        File::create(site.path().join(name))
            .unwrap()
            .set_len(len)
            .unwrap();
    }
    fs::create_dir(site.path().join("www")).unwrap();
    fs::write(site.path().join("secret"), "a secret of its own\n").unwrap();
    site
}

fn parse(site: &tempfile::TempDir, text: &str) -> Result<Loaded, ConfigError> {
    Config::parse(&site.path().join("bowline.toml"), text)
}

/// Checks that `text` is refused with exactly these problems.
fn refused(text: &str, expected: &[&str]) {
    let site = site();
    let Err(ConfigError::Invalid { problems, .. }) = parse(&site, text) else {
        panic!("accepted:\n{text}");
    };
    let directory = format!("{}/", site.path().display());
    let told: Vec<_> = problems
        .iter()
        .map(|problem| problem.to_string().replace(&directory, ""))
        .collect();
    assert_eq!(told, expected, "\n{text}");
}

const ISCSI: &str = "[iscsi]\nlisten = ['127.0.0.1:3260']\n";
const TARGET: &str = "[[iscsi.target]]\nname = 'iqn.2026-01.com.example:disk1'\n";
const LUN: &str = "[[iscsi.target.lun]]\nlun = 1\nfile = 'disk.img'\n";

#[test]
fn a_whole_configuration_is_understood() {
    let site = site();
    let text = format!(
        "state = 'state'\n[http]\nlisten = ['127.0.0.1:80', '[::1]:80']\nroot = 'www'\n{ISCSI}\
         {TARGET}chap = {{ username = 'user', password-file = 'secret', mutual-username = 'target', \
         mutual-password = 'another good secret' }}\n{LUN}read-only = true\nblock-size = 4096\n"
    );
    let loaded = parse(&site, &text).unwrap();
    assert_eq!(loaded.warnings, []);
    let config = loaded.config;
    let http = config.http.unwrap();
    assert_eq!(http.root, site.path().join("www"));
    assert_eq!(http.listen.len(), 2);
    let target = &config.iscsi.unwrap().targets[0];
    assert_eq!(target.name, "iqn.2026-01.com.example:disk1");
    let chap = target.chap.as_ref().unwrap();
    assert_eq!(chap.username, "user");
    assert_eq!(chap.password.expose(), "a secret of its own");
    assert_eq!(chap.mutual.as_ref().unwrap().username, "target");
    let lun = &target.luns[0];
    assert_eq!((lun.lun, lun.read_only, lun.block_size), (1, true, 4096));
    assert_eq!(lun.file, site.path().join("disk.img"));
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let site = site();
    let text = format!(
        "{ISCSI}{TARGET}chap = {{ username = 'user', password = 'visible-password', \
         mutual-username = 'target', mutual-password = 'visible-secret' }}\n{LUN}"
    );
    let shown = format!("{:?}", parse(&site, &text).unwrap());
    assert!(shown.contains("user") && shown.contains("***"), "{shown}");
    assert!(!shown.contains("visible"), "{shown}");
}

#[test]
fn short_secrets_are_warned_about() {
    let site = site();
    let text =
        format!("{ISCSI}{TARGET}chap = {{ username = 'user', password = 'password' }}\n{LUN}");
    let warnings = parse(&site, &text).unwrap().warnings;
    let [warning] = &warnings[..] else {
        panic!("{warnings:?}")
    };
    assert_eq!(
        (warning.line, warning.key.as_str()),
        (Some(5), "iscsi.target.chap.password")
    );
    assert!(
        warning
            .message
            .starts_with("is 8 bytes long; RFC 7143 asks for 12"),
        "{warning}"
    );
}

#[test]
fn an_unreadable_file_is_named() {
    let error = Config::load(Path::new("/no/such/bowline.toml"))
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "/no/such/bowline.toml: cannot read the configuration: No such file or directory \
         (os error 2)"
    );
}

#[test]
fn syntax_and_empty_documents() {
    refused(
        "[http\n",
        &["bowline.toml:1: not valid TOML: unclosed table, expected `]`"],
    );
    refused(
        "[http]\nroot = \"x\n",
        &["bowline.toml:2: not valid TOML: invalid basic string, expected `\"`"],
    );
    refused(
        "state = 'state'\n",
        &[
            "bowline.toml: nothing to serve: add a table [dhcp], [http], [https] or [iscsi] \
           (docs/configuration.md)",
        ],
    );
}

#[test]
fn all_problems_are_told_at_once() {
    refused(
        "[http]\nlisten = ['127.0.0.1', '127.0.0.1:80', 7, '127.0.0.1:80']\nroot = 'disk.img'\n\
         dir = 'www'\n[htp]\n",
        &[
            "bowline.toml:2: http.listen: \"127.0.0.1\" is not an address with a port; \
             write it like 192.168.1.1:80 or [fd00::1]:80",
            "bowline.toml:2: http.listen: should be a string in quotes, not a whole number",
            "bowline.toml:2: http.listen: 127.0.0.1:80 is taken already, on line 2",
            "bowline.toml:3: http.root: disk.img is not a directory",
            "bowline.toml:4: http.dir: unknown key; known here: listen, root",
            "bowline.toml:5: htp: unknown key; did you mean `http`?",
        ],
    );
}

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

#[test]
fn services_do_not_share_an_address() {
    refused(
        &format!("[http]\nlisten = ['127.0.0.1:3260']\nroot = 'www'\n{ISCSI}{TARGET}{LUN}"),
        &["bowline.toml:5: iscsi.listen: 127.0.0.1:3260 is taken already, on line 2"],
    );
}

#[test]
fn a_target_needs_a_good_name_and_a_disk() {
    for name in [
        "foo",
        "iqn.2026-13.com.example:x",
        "iqn.26-01.com.example:x",
        "iqn.2026-01.",
        "iqn.2026-01.com..example",
        "iqn.2026-01.com.example:Disk",
        "iqn.2026-01.com.example:a b",
        "eui.0123",
        "naa.0123456789abcdex",
    ] {
        refused(
            &format!("{ISCSI}[[iscsi.target]]\nname = '{name}'\n{LUN}"),
            &[&format!(
                "bowline.toml:4: iscsi.target.name: \"{name}\" is not an iSCSI name; \
                 write it like iqn.2026-01.com.example:disk1"
            )],
        );
    }
    refused(
        &format!("{ISCSI}{TARGET}"),
        &["bowline.toml:3: iscsi.target: has no disk; \
           add a table [[iscsi.target.lun]] with `lun` and `file`"],
    );
    refused(
        ISCSI,
        &["bowline.toml:1: iscsi: offers no target; add a table [[iscsi.target]]"],
    );
    refused(
        &format!(
            "{ISCSI}{TARGET}{LUN}{TARGET}{}",
            LUN.replace("disk", "other")
        ),
        &[
            "bowline.toml:9: iscsi.target.name: \"iqn.2026-01.com.example:disk1\" is the name of \
           another target, on line 4",
        ],
    );
}

#[test]
fn names_of_every_kind_are_accepted() {
    let site = site();
    for name in [
        "iqn.2000-01.com.example:disk1",
        "iqn.1999-12.org.example",
        "eui.02004567a425678d",
        "naa.52004567ba64678d",
        "naa.62004567ba64678d0123456789abcdef",
    ] {
        let text = format!("{ISCSI}[[iscsi.target]]\nname = '{name}'\n{LUN}");
        assert_eq!(
            parse(&site, &text).unwrap().config.iscsi.unwrap().targets[0].name,
            name
        );
    }
}

#[test]
fn a_lun_needs_an_image_of_whole_blocks_for_itself() {
    let lun = |lines: &str| format!("{ISCSI}{TARGET}[[iscsi.target.lun]]\n{lines}");
    refused(
        &lun("lun = 256\nfile = 'gone.img'\nread-only = 'no'\n"),
        &[
            "bowline.toml:6: iscsi.target.lun.lun: 256 is not between 0 and 255",
            "bowline.toml:8: iscsi.target.lun.read-only: should be true or false, not a string",
        ],
    );
    refused(
        &lun("lun = 1\nfile = 'gone.img'\nreadonly = true"),
        &[
            "bowline.toml:7: iscsi.target.lun.file: cannot open gone.img: No such file or \
             directory (os error 2); make one with: truncate -s 8G gone.img",
            "bowline.toml:8: iscsi.target.lun.readonly: unknown key; did you mean `read-only`?",
        ],
    );
    refused(
        &lun("lun = 1\nfile = 'odd.img'\n"),
        &[
            "bowline.toml:7: iscsi.target.lun.file: odd.img is a disk of 700 bytes, 188 more than \
           a whole number of 512 byte blocks; grow it with: truncate -s %512 odd.img",
        ],
    );
    refused(
        &lun("lun = 1\nfile = 'empty.img'\n"),
        &[
            "bowline.toml:7: iscsi.target.lun.file: empty.img is empty: make it as large as the \
           disk should be (truncate -s 8G empty.img)",
        ],
    );
    refused(
        &lun("lun = 1\nfile = 'disk.img'\nblock-size = 1000\n"),
        &["bowline.toml:8: iscsi.target.lun.block-size: 1000 is not a block size; use 512 or 4096"],
    );
    refused(
        &lun(&format!(
            "lun = 1\nfile = 'disk.img'\n{}",
            LUN.replace("disk.img", "www/../disk.img")
        )),
        &[
            "bowline.toml:9: iscsi.target.lun.lun: this target has a LUN 1 already",
            "bowline.toml:10: iscsi.target.lun.file: this image is served already; \
             a writable image has one LUN, on line 7",
        ],
    );
    refused(
        &lun("file = 'disk.img'\n"),
        &["bowline.toml:5: iscsi.target.lun: `lun` is missing: give the number of the disk"],
    );
}

/// The name tells the format, and with it how to make such an image and how large its disk is.
#[test]
fn advice_about_an_image_is_for_its_format() {
    let lun =
        |file: &str| format!("{ISCSI}{TARGET}[[iscsi.target.lun]]\nlun = 1\nfile = '{file}'\n");
    for (file, expected) in [
        (
            "gone.qcow2",
            "cannot open gone.qcow2: No such file or directory (os error 2); \
             make one with: qemu-img create -f qcow2 gone.qcow2 8G",
        ),
        (
            "gone.overlay",
            "cannot open gone.overlay: No such file or directory (os error 2); \
             make one with: bowline image clone GOLDEN MACHINE",
        ),
        (
            "empty.qcow2",
            "empty.qcow2 is empty; make one with: qemu-img create -f qcow2 empty.qcow2 8G",
        ),
        (
            "empty.overlay",
            "empty.overlay is empty; make one with: bowline image clone GOLDEN MACHINE",
        ),
    ] {
        refused(
            &lun(file),
            &[&format!(
                "bowline.toml:7: iscsi.target.lun.file: {expected}"
            )],
        );
    }
    let site = site();
    for file in ["disk.overlay", "disk.qcow2"] {
        fs::rename(site.path().join("other.img"), site.path().join(file)).unwrap();
        let error = parse(&site, &lun(file)).unwrap_err().to_string();
        assert!(error.contains("cannot use the"), "{error}");
        fs::rename(site.path().join(file), site.path().join("other.img")).unwrap();
    }
}

/// An overlay and a qcow2 file are as long as their disks, not as their files.
#[test]
fn the_length_of_a_disk_is_not_that_of_its_file() {
    let site = site();
    let library = bowline_store::Library::open(site.path()).unwrap();
    let (golden, len) = (site.path().join("golden.img"), 4096 + 512);
    File::create(&golden).unwrap().set_len(len).unwrap();
    library
        .import("golden", &golden, None, &mut |_, _| {})
        .unwrap();
    library.create_overlay("node1", "golden", None).unwrap();
    let lun = "[[iscsi.target.lun]]\nlun = 1\nfile = 'overlays/node1.overlay'\n";
    parse(&site, &format!("{ISCSI}{TARGET}{lun}")).unwrap();
    let error = parse(&site, &format!("{ISCSI}{TARGET}{lun}block-size = 4096\n")).unwrap_err();
    let expected = "is a disk of 4608 bytes, 512 more than a whole number of 4096 byte blocks; \
         make it anew with: bowline image clone GOLDEN MACHINE --size";
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn readers_share_an_image() {
    let site = site();
    let one = format!("{LUN}read-only = true\n");
    let two = one.replace("lun = 1", "lun = 2");
    parse(&site, &format!("{ISCSI}{TARGET}{one}{two}")).unwrap();
    refused(
        &format!("{ISCSI}{TARGET}{one}{}", two.replace("true", "false")),
        &[
            "bowline.toml:11: iscsi.target.lun.file: this image is served already; \
           a writable image has one LUN, on line 7",
        ],
    );
}

#[test]
fn chap_credentials_come_in_pairs() {
    let chap = |inside: &str| format!("{ISCSI}{TARGET}chap = {{ {inside} }}\n{LUN}");
    let key = "bowline.toml:5: iscsi.target.chap";
    let good = "username = 'user', password = 'long enough secret'";
    refused(
        &chap(""),
        &[
            &format!("{key}: `username` is missing: give the name that the initiator logs in with"),
            &format!("{key}: `password` is missing: give it, or a `password-file`"),
        ],
    );
    refused(
        &chap(&format!("{good}, mutual-username = 'target'")),
        &[&format!(
            "{key}: `mutual-username` is given but no `mutual-password`"
        )],
    );
    refused(
        &chap(&format!("{good}, mutual-password = 'other long secret'")),
        &[&format!(
            "{key}: `mutual-password` is given but no `mutual-username`"
        )],
    );
    refused(
        &chap(&format!(
            "{good}, mutual-username = 'x', mutual-password = 'long enough secret'"
        )),
        &[&format!(
            "{key}.mutual-password: is the same as `password`; \
             the two directions need two secrets"
        )],
    );
    refused(
        &chap(&format!("{good}, algorithms = ['sha256', 'crc32']")),
        &[&format!(
            "{key}.algorithms: \"crc32\" is not an algorithm of CHAP; use sha3-256, sha256, sha1 or md5"
        )],
    );
    refused(
        &chap(&format!("{good}, password-file = 'secret'")),
        &[&format!(
            "{key}.password-file: `password` is given too; keep one of them"
        )],
    );
    refused(
        &chap("username = '', password-file = 'gone'"),
        &[
            &format!("{key}.username: is empty"),
            &format!(
                "{key}.password-file: cannot read gone: No such file or directory (os error 2)"
            ),
        ],
    );
    refused(
        &chap("user = 'user', password = ''"),
        &[
            &format!("{key}: `username` is missing: give the name that the initiator logs in with"),
            &format!("{key}.password: is empty"),
            &format!("{key}.user: unknown key; did you mean `username`?"),
        ],
    );
}

const DHCP: &str =
    "[dhcp]\ninterface = 'eth1'\nserver = '192.168.1.1'\nsubnet = '192.168.1.0/24'\n";

#[test]
fn a_whole_dhcp_table_is_understood() {
    use bowline_dhcp::wire::{Architecture, code};
    let site = site();
    let text = format!(
        "state = 'state'\n{DHCP}pool = ['192.168.1.100-192.168.1.199', '192.168.1.210']\n\
         lease = '90m'\nrouter = '192.168.1.1'\ndns = ['192.168.1.1', '9.9.9.9']\n\
         domain = 'example.com'\nmtu = 9000\nnext-server = '192.168.1.2'\n\
         filename = 'bowline.efi'\nroot-path = 'iscsi:192.168.1.1:::1:iqn.2000-01.com.example:a'\n\
         [[dhcp.match]]\nuser-class = 'iPXE'\nfilename = 'http://192.168.1.1/boot.ipxe'\n\
         [[dhcp.match]]\nvendor-class = 'HTTPClient'\narchitecture = 'x86_64'\n\
         [[dhcp.match]]\narchitecture = '39'\n\
         [[dhcp.host]]\nmac = '52:54:00:12:34:56'\naddress = '192.168.1.50'\nhostname = 'node1'\n\
         [[dhcp.host]]\nuuid = '00112233-4455-6677-8899-aabbccddeeff'\nclient-id = '01-ff'\n"
    );
    let dhcp = parse(&site, &text).unwrap().config.dhcp.unwrap();
    assert_eq!(dhcp.interface, "eth1");
    assert_eq!(dhcp.lease_file, site.path().join("state/dhcp.leases"));
    let server = dhcp.server;
    server.check().unwrap();
    assert_eq!(server.lease_time.as_secs(), 5400);
    let pools: Vec<_> = server.subnets[0]
        .pools
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        pools,
        ["192.168.1.100-192.168.1.199", "192.168.1.210-192.168.1.210"]
    );
    let options = &server.profile.options;
    assert_eq!(
        options.get(code::DOMAIN_NAME_SERVER),
        Some(&[192, 168, 1, 1, 9, 9, 9, 9][..])
    );
    assert_eq!(options.get(code::ROUTER), Some(&[192, 168, 1, 1][..]));
    assert_eq!(options.get(code::DOMAIN_NAME), Some(&b"example.com"[..]));
    assert_eq!(options.u16(code::INTERFACE_MTU), Some(9000));
    assert!(
        options
            .get(code::ROOT_PATH)
            .unwrap()
            .starts_with(b"iscsi:192")
    );
    assert_eq!(
        server.profile.filename.as_deref(),
        Some(&b"bowline.efi"[..])
    );
    assert_eq!(server.matches[0].user_class.as_deref(), Some(&b"iPXE"[..]));
    assert_eq!(
        server.matches[1].architectures,
        [Architecture::X86_64, Architecture::X86_64_OTHER]
    );
    assert_eq!(server.matches[2].architectures, [Architecture(39)]);
    assert_eq!(server.hosts[0].mac, Some([0x52, 0x54, 0, 0x12, 0x34, 0x56]));
    assert_eq!(
        server.hosts[0].profile.options.get(code::HOST_NAME),
        Some(&b"node1"[..])
    );
    // SMBIOS byte order: the first three groups turned round.
    let uuid = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].map(|n| n * 0x11);
    assert_eq!(server.hosts[1].uuid, Some(uuid));
    assert_eq!(
        server.hosts[1].client_identifier.as_deref(),
        Some(&[1, 0xff][..])
    );
}

#[test]
fn dhcp_values_that_are_none() {
    refused(
        "[dhcp]\ninterface = 'much-too-long-a-name'\nserver = '192.168.1'\n\
         subnet = '192.168.1.7/24'\nlease = 'an hour'\nrouter = 5\nmtu = 20\n\
         next-server = 'boot'\nfilename = ''\nbootfile = 'x'\n",
        &[
            "bowline.toml:2: dhcp.interface: \"much-too-long-a-name\" is not the name of a network \
             interface (ip link shows them)",
            "bowline.toml:3: dhcp.server: \"192.168.1\" is not an IPv4 address; \
             write it like 192.168.1.1",
            "bowline.toml:4: dhcp.subnet: 192.168.1.7 is an address inside the network; \
             write it like 192.168.1.0/24",
            "bowline.toml:5: dhcp.lease: \"an hour\" is not a time; write it like 90s, 30m, 12h or 7d",
            "bowline.toml:6: dhcp.router: should be a string in quotes, not a whole number",
            "bowline.toml:7: dhcp.mtu: 20 is not between 68 and 65535",
            "bowline.toml:8: dhcp.next-server: \"boot\" is not an IPv4 address; \
             write it like 192.168.1.1",
            "bowline.toml:9: dhcp.filename: is empty; leave the key out instead",
            "bowline.toml:10: dhcp.bootfile: unknown key; known here: interface, server, subnet, \
             pool, lease, router, dns, ntp, domain, root-path, mtu, next-server, filename, match, \
             host",
        ],
    );
    refused(
        "[dhcp]\n",
        &[
            "bowline.toml:1: dhcp: `interface` is missing: give the network interface to serve, \
             like \"eth1\"",
            "bowline.toml:1: dhcp: `server` is missing: give this server's own address on the \
             interface",
            "bowline.toml:1: dhcp: `subnet` is missing: give the network, like \"192.168.1.0/24\"",
        ],
    );
}

#[test]
fn dhcp_addresses_lie_in_the_subnet() {
    refused(
        &DHCP.replace("192.168.1.0/24", "10.0.0.0/8"),
        &["bowline.toml:4: dhcp.subnet: 10.0.0.0/8 does not have the server's address 192.168.1.1"],
    );
    refused(
        &format!(
            "{DHCP}pool = ['192.168.1.200-192.168.1.100', '192.168.2.1-192.168.2.9', 'all', \
             '192.168.1.1-192.168.1.255']\n"
        ),
        &[
            "bowline.toml:5: dhcp.pool: \"192.168.1.200-192.168.1.100\" runs backwards; \
             write 192.168.1.100-192.168.1.200",
            "bowline.toml:5: dhcp.pool: 192.168.2.1-192.168.2.9 is not inside the subnet \
             192.168.1.0/24",
            "bowline.toml:5: dhcp.pool: \"all\" is not a range of addresses; \
             write it like 192.168.1.100-192.168.1.199",
            "bowline.toml:5: dhcp.pool: 192.168.1.1-192.168.1.255 is not inside the subnet \
             192.168.1.0/24",
        ],
    );
}

#[test]
fn dhcp_rules_and_hosts_say_whom_they_mean() {
    refused(
        &format!("{DHCP}[[dhcp.match]]\nfilename = 'x'\n[[dhcp.match]]\narchitecture = 'amd64'\n"),
        &[
            "bowline.toml:5: dhcp.match: matches every client: give `user-class`, `vendor-class` \
             or `architecture`, or move its settings to [dhcp]",
            "bowline.toml:8: dhcp.match.architecture: \"amd64\" is not an architecture; use bios, \
             ia32, x86_64, arm32, arm64, riscv64, x86_64-http, arm64-http or a number of option 93",
        ],
    );
    refused(
        &format!(
            "{DHCP}[[dhcp.host]]\naddress = '192.168.1.5'\n\
             [[dhcp.host]]\nmac = '52:54:00:12:34'\nuuid = '1-2-3'\nhostname = 'node_1'\n"
        ),
        &[
            "bowline.toml:5: dhcp.host: nothing tells which machine this is: give `mac`, `uuid` or \
             `client-id`",
            "bowline.toml:8: dhcp.host.mac: \"52:54:00:12:34\" is not a MAC address; \
             write it like 52:54:00:12:34:56",
            "bowline.toml:9: dhcp.host.uuid: \"1-2-3\" is not a UUID; \
             write it like 4c4c4544-0051-3510-8052-b4c04f4a3132",
            "bowline.toml:10: dhcp.host.hostname: \"node_1\" is not a host name; \
             use letters, digits and inner hyphens",
        ],
    );
    let host = |n: u8, address: &str| {
        format!("[[dhcp.host]]\nmac = '52:54:00:00:00:0{n}'\naddress = '{address}'\n")
    };
    refused(
        &format!(
            "{DHCP}{}{}{}",
            host(1, "192.168.1.5"),
            host(1, "192.168.1.6"),
            host(2, "192.168.1.7")
        ),
        &["bowline.toml:9: dhcp.host.mac: another host has this `mac`, on line 6"],
    );
    refused(
        &format!(
            "{DHCP}{}{}{}",
            host(1, "192.168.1.5"),
            host(2, "192.168.1.5"),
            host(3, "192.168.1.1")
        ),
        &[
            "bowline.toml:10: dhcp.host.address: 192.168.1.5 is reserved already, on line 7",
            "bowline.toml:13: dhcp.host.address: 192.168.1.1 is not an address for a client in \
             192.168.1.0/24",
        ],
    );
}

/// The example in the documentation is a good configuration, without a warning.
#[test]
fn the_example_is_good() {
    let site = site();
    fs::write(site.path().join("node1.secret"), "a secret for node 1\n").unwrap();
    fs::write(
        site.path().join("storage.secret"),
        "a secret for the storage\n",
    )
    .unwrap();
    let directory = site.path().display().to_string();
    let example = include_str!("../../../../docs/bowline.example.toml")
        .replace("/srv/bowline/www", &format!("{directory}/www"))
        .replace(
            "/srv/bowline/images/node1.img",
            &format!("{directory}/disk.img"),
        );
    let loaded = parse(&site, &example).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.warnings, []);
    let Config {
        state,
        dhcp,
        http,
        https,
        iscsi,
    } = loaded.config;
    assert!(https.is_none());
    assert_eq!(state, Path::new("/var/lib/bowline"));
    assert!(dhcp.is_some() && http.is_some() && iscsi.is_some());
}

/// Every key that the code knows stands in docs/configuration.md. What the code knows, it tells
/// when it meets a key that it does not.
#[test]
fn every_key_is_documented() {
    let documentation = include_str!("../../../../docs/configuration.md");
    let site = site();
    let tables = [
        "dhcp.match",
        "dhcp.host",
        "iscsi.target",
        "iscsi.target.lun",
    ]
    .map(|table| format!("[[{table}]]\nzzzzzzzz = 1\n"))
    .concat();
    let text = format!(
        "zzzzzzzz = 1\n[dhcp]\nzzzzzzzz = 1\n[http]\nzzzzzzzz = 1\n[https]\nzzzzzzzz = 1\n[iscsi]\nzzzzzzzz = 1\n{tables}\
         [[iscsi.target]]\nchap = {{ zzzzzzzz = 1 }}\n"
    );
    let Err(ConfigError::Invalid { problems, .. }) = parse(&site, &text) else {
        panic!()
    };
    let known: Vec<_> = problems
        .iter()
        .filter_map(|it| it.message.strip_prefix("unknown key; known here: "))
        .collect();
    assert_eq!(known.len(), 10, "one list per table: {problems:#?}");
    for key in known.iter().flat_map(|list| list.split(", ")) {
        assert!(
            documentation.contains(&format!("| `{key}` |")),
            "{key} is not documented"
        );
    }
}
