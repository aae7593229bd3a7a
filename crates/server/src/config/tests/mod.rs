//! Bad configurations and what is said about them: each case is a document and the lines that must
//! come back for it, all of them and in this order.

mod dhcp;
mod https;
mod iscsi;

use std::fs::File;

use super::*;

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

#[test]
fn services_do_not_share_an_address() {
    refused(
        &format!("[http]\nlisten = ['127.0.0.1:3260']\nroot = 'www'\n{ISCSI}{TARGET}{LUN}"),
        &["bowline.toml:5: iscsi.listen: 127.0.0.1:3260 is taken already, on line 2"],
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
    let example = include_str!("../../../../../docs/bowline.example.toml")
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
    let documentation = include_str!("../../../../../docs/configuration.md");
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
