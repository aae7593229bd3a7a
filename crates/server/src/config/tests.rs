//! Bad configurations and what is said about them: each case is a document and the lines that must
//! come back for it, all of them and in this order.

use std::fs::File;

use super::*;

/// A directory with `disk.img` (8 blocks), `other.img`, `odd.img` (700 bytes), `empty.img`, `www/`
/// and `secret`.
fn site() -> tempfile::TempDir {
    let site = tempfile::tempdir().unwrap();
    for (name, len) in [
        ("disk.img", 4096),
        ("other.img", 4096),
        ("odd.img", 700),
        ("empty.img", 0),
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
    assert_eq!(config.state.unwrap(), site.path().join("state"));
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
            "bowline.toml: nothing to serve: add a table [dhcp], [http] or [iscsi] \
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
            "bowline.toml:7: iscsi.target.lun.file: odd.img is 700 bytes long, 188 more than a \
           whole number of 512 byte blocks; grow it with: truncate -s %512 odd.img",
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
