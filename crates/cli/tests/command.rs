//! The command as a user runs it: output, exit codes, signals.

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use common::bowline;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const CONFIG: &str = "state = 'state'\n[http]\nlisten = ['127.0.0.1:0']\nroot = '.'\n\
    [iscsi]\nlisten = ['127.0.0.1:0']\n[[iscsi.target]]\nname = 'iqn.2026-01.com.example:disk1'\n\
    [[iscsi.target.lun]]\nlun = 1\nfile = 'disk.img'\n";

/// A directory with a good `bowline.toml` and what it needs.
fn site() -> tempfile::TempDir {
    let site = tempfile::tempdir().unwrap();
    fs::write(site.path().join("bowline.toml"), CONFIG).unwrap();
    fs::File::create(site.path().join("disk.img"))
        .unwrap()
        .set_len(1 << 20)
        .unwrap();
    site
}

#[test]
fn check_tells_what_would_be_served() {
    let site = site();
    let output = bowline(site.path(), ["check", "--config", "bowline.toml"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told = text(&output.stdout);
    assert!(told.starts_with("bowline.toml: ok\n"), "{told}");
    assert!(
        told.contains("iqn.2026-01.com.example:disk1 (anybody)"),
        "{told}"
    );
    assert!(told.contains("LUN 1: disk.img"), "{told}");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn a_bad_configuration_ends_both_commands_with_the_same_words() {
    let site = site();
    let bad = CONFIG.replace("file =", "fil =").replace("'.'", "'gone'");
    fs::write(site.path().join("bad.toml"), bad).unwrap();
    for command in ["check", "serve"] {
        let output = bowline(site.path(), [command, "--config", "bad.toml"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(
            text(&output.stderr),
            "bad.toml:4: http.root: cannot open gone: No such file or directory (os error 2)\n\
             bad.toml:9: iscsi.target.lun: `file` is missing: give the image or block device\n\
             bad.toml:11: iscsi.target.lun.fil: unknown key; did you mean `file`?\n"
        );
    }
}

#[test]
fn a_senseless_command_line_ends_with_2() {
    let site = site();
    for (arguments, expected) in [
        (&["sreve"][..], "unrecognized subcommand 'sreve'"),
        (&["serve", "--confg", "x"], "unexpected argument '--confg'"),
        (
            &["loader", "pack", "-o", "x", "--set", "novalue", "y"],
            "write it like username=user",
        ),
        (&["check", "--log", "a=b=c"], "--log a=b=c: "),
    ] {
        let output = bowline(site.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(
            text(&output.stderr).contains(expected),
            "{}",
            text(&output.stderr)
        );
    }
}

/// `bowline` finds the finished loaders that were installed with it.
#[test]
fn a_loader_is_found_by_its_architecture() {
    let site = site();
    let (bin, lib) = (site.path().join("bin"), site.path().join("lib/bowline"));
    fs::create_dir_all(&bin).unwrap();
    fs::create_dir_all(&lib).unwrap();
    // By a process of its own: a test that forks at this moment would keep our descriptor for
    // writing, and what is open for writing cannot be run.
    let copied = Command::new("cp")
        .args([env!("CARGO_BIN_EXE_bowline").as_ref(), bin.as_os_str()])
        .status();
    assert!(copied.unwrap().success());
    fs::write(lib.join("bowline-arm64.efi"), efi_application()).unwrap();
    let pack = |arch| {
        Command::new(bin.join("bowline"))
            .args([
                "loader", "pack", "--arch", arch, "--set", "a=b", "-o", "out.efi",
            ])
            .current_dir(site.path())
            .output()
            .unwrap()
    };
    let output = pack("arm64");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(site.path().join("out.efi").exists());
    let output = pack("x86_64");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = text(&output.stderr);
    for place in ["bin/./bowline-x86_64.efi", "lib/bowline/bowline-x86_64.efi"] {
        assert!(told.contains(place), "{told}");
    }
    assert_eq!(pack("vax").status.code(), Some(2));
}

/// A server, which does not outlive its test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that is ready, and what it has logged until then. Its log has to be kept open.
fn serve(site: &Path) -> (Serving, BufReader<ChildStderr>, String) {
    let mut server = Command::new(env!("CARGO_BIN_EXE_bowline"))
        .args(["serve", "--config", "bowline.toml"])
        .current_dir(site)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(server.stderr.take().unwrap());
    let mut told = String::new();
    let mut line = String::new();
    while !line.trim_end().ends_with("ready") {
        line.clear();
        assert_ne!(
            log.read_line(&mut line).unwrap(),
            0,
            "no `ready` in:\n{told}"
        );
        told += &line;
    }
    (Serving(server), log, told)
}

fn signal(server: &Serving, name: &str) {
    let mut kill = Command::new("kill");
    let sent = kill.args(["-s", name, &server.0.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn serve_is_ready_serves_and_ends_when_asked() {
    let site = site();
    let (mut server, _log, told) = serve(site.path());
    let address = told
        .split("http://")
        .nth(1)
        .unwrap()
        .split('/')
        .next()
        .unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(b"GET /bowline.toml HTTP/1.0\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with(CONFIG), "{answer}");

    // A second server finds the image locked, and says which.
    let second = bowline(site.path(), ["serve", "--config", "bowline.toml"]);
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(
        text(&second.stderr).contains("disk.img is in use"),
        "{second:?}"
    );

    signal(&server, "TERM");
    assert_eq!(server.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_running_server_is_looked_at_and_reloaded() {
    let site = site();
    let ask = |arguments: &[&str]| {
        let output = bowline(site.path(), [arguments, &["-c", "bowline.toml"]].concat());
        let said = text(&output.stdout) + &text(&output.stderr);
        (output.status.code(), said)
    };
    let (code, said) = ask(&["iscsi", "sessions"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("is `bowline serve` running"), "{said}");

    let (mut server, mut log, _) = serve(site.path());
    let disk1 = "iqn.2026-01.com.example:disk1: 0 sessions, 0 since the start; 0 commands";
    let (code, said) = ask(&["iscsi", "sessions"]);
    assert!(code == Some(0) && said.starts_with(disk1), "{said}");
    let (_, json) = ask(&["iscsi", "sessions", "--json"]);
    assert!(json.contains("\"sessions_total\": 0"), "{json}");
    let (code, said) = ask(&["iscsi", "kick", "7"]);
    assert_eq!((code, said.as_str()), (Some(1), "there is no session 7\n"));

    let config = site.path().join("bowline.toml");
    fs::write(&config, CONFIG.replace("disk.img", "gone.img")).unwrap();
    let (code, said) = ask(&["reload"]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("bowline.toml:11: iscsi.target.lun.file: "),
        "{said}"
    );
    assert!(ask(&["iscsi", "sessions"]).1.starts_with(disk1));

    fs::write(&config, CONFIG.replace("disk1", "disk2")).unwrap();
    let expected = "iqn.2026-01.com.example:disk2: new\n\
                    iqn.2026-01.com.example:disk1: gone\n0 targets unchanged\n";
    assert_eq!(ask(&["reload"]), (Some(0), expected.into()));
    fs::write(&config, CONFIG).unwrap();
    signal(&server, "HUP");
    let mut line = String::new();
    // Once by the command, once by the signal.
    for _ in 0..2 {
        while !line.contains("reloaded: targets: 0 unchanged, 0 changed, 1 new, 1 gone") {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0);
        }
        line.clear();
    }
    assert!(ask(&["iscsi", "sessions"]).1.starts_with(disk1));
    signal(&server, "TERM");
    assert_eq!(server.0.wait().unwrap().code(), Some(0));
    assert!(!site.path().join("state/control.sock").exists());
}

#[test]
fn a_file_that_is_no_loader_is_refused() {
    let site = site();
    fs::write(site.path().join("boot.ipxe"), "#!ipxe\nshell\n").unwrap();
    fs::write(site.path().join("not.ipxe"), "echo hello\n").unwrap();
    let pack = |script, loader| {
        let output = bowline(
            site.path(),
            [
                "loader", "pack", "--script", script, "-o", "out.efi", loader,
            ],
        );
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(!site.path().join("out.efi").exists());
        text(&output.stderr)
    };
    assert_eq!(
        pack("boot.ipxe", "disk.img"),
        "disk.img: not an EFI application: it does not begin with MZ\n"
    );
    assert_eq!(
        pack("not.ipxe", "disk.img"),
        "not.ipxe:1: not a script: the first line must be #!ipxe\n"
    );
    assert_eq!(
        pack("gone.ipxe", "disk.img"),
        "cannot read gone.ipxe: No such file or directory (os error 2)\n"
    );
}

/// The least that is an EFI application: headers and one section of code.
fn efi_application() -> Vec<u8> {
    let mut image = vec![0; 0x600];
    let mut put = |offset: usize, bytes: &[u8]| {
        image[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    put(0, b"MZ");
    put(0x3c, &[0x40]);
    put(0x40, b"PE\0\0\x64\xaa\x01\x00"); // AArch64, one section
    put(0x54, &[0xf0]); // length of the optional header
    put(0x58, &[0x0b, 0x02]); // PE32+
    put(0x58 + 32, &[0x00, 0x10]); // SectionAlignment
    put(0x58 + 36, &[0x00, 0x02]); // FileAlignment
    put(0x58 + 56, &[0x00, 0x20]); // SizeOfImage
    put(0x58 + 60, &[0x00, 0x04]); // SizeOfHeaders
    put(0x58 + 68, &[10]); // EFI application
    put(0x58 + 108, &[16]); // data directories
    put(
        0x148,
        b".text\0\0\0\x00\x02\0\0\x00\x10\0\0\x00\x02\0\0\x00\x04\0\0",
    );
    image
}

#[test]
fn a_packed_password_is_for_the_owner_of_the_file() {
    let site = site();
    fs::write(site.path().join("loader.efi"), efi_application()).unwrap();
    fs::write(site.path().join("boot.ipxe"), "#!ipxe\n").unwrap();
    let mode_of = |options: &[&str]| {
        let pack = ["loader", "pack", "--script", "boot.ipxe", "-o", "out.efi"];
        let arguments = [&pack[..], options, &["loader.efi"]].concat();
        let output = bowline(site.path(), &arguments);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let packed = fs::metadata(site.path().join("out.efi")).unwrap();
        packed.permissions().mode() & 0o777
    };
    assert_eq!(mode_of(&[]), 0o644);
    assert_eq!(mode_of(&["--set", "password=hush"]), 0o600);
}

#[test]
fn what_is_packed_is_shown_and_replaced() {
    let site = site();
    let at = |name: &str| site.path().join(name);
    fs::write(at("loader.efi"), efi_application()).unwrap();
    fs::write(at("boot.ipxe"), "#!ipxe\necho first\n").unwrap();
    let run = |arguments: &[&str]| {
        let output = bowline(site.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        text(&output.stdout)
    };
    let nothing = run(&["loader", "show", "loader.efi"]);
    assert_eq!(
        nothing,
        "loader.efi: carries nothing (see bowline loader pack --help)\n"
    );

    let pack = [
        "loader",
        "pack",
        "--script",
        "boot.ipxe",
        "--set",
        "username=user",
    ];
    run(&[
        &pack[..],
        &["--set", "password=hush", "-o", "one.efi", "loader.efi"],
    ]
    .concat());
    assert_eq!(
        fs::read(at("loader.efi")).unwrap(),
        efi_application(),
        "the original is changed"
    );
    let shown = run(&["loader", "show", "one.efi"]);
    assert!(
        shown.contains("script boot.ipxe:\n    #!ipxe\n    echo first\n"),
        "{shown}"
    );
    assert!(
        shown.contains("setting username") && !shown.contains("hush"),
        "{shown}"
    );
    assert!(run(&["loader", "show", "--values", "one.efi"]).contains("password = hush"));

    // A loader may be packed onto itself, and nothing of before is left.
    fs::write(at("boot.ipxe"), "#!ipxe\necho second\n").unwrap();
    run(&[
        "loader",
        "pack",
        "--script",
        "boot.ipxe",
        "-o",
        "one.efi",
        "one.efi",
    ]);
    let shown = run(&["loader", "show", "one.efi"]);
    let script = "script boot.ipxe:\n    #!ipxe\n    echo second\n";
    let when = shown
        .strip_suffix(script)
        .unwrap_or_else(|| panic!("{shown}"));
    assert!(
        when.starts_with("packed 20") && when.ends_with(" UTC\n"),
        "{shown}"
    );
    let packed = fs::read(at("one.efi")).unwrap();
    assert!(!packed.windows(4).any(|window| window == b"hush"));
    let names: Vec<_> = fs::read_dir(site.path())
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 5, "temporary files are left: {names:?}");
}

#[test]
fn scripts_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("good.ipxe"), "#!ipxe\ndhcp && shell\n").unwrap();
    fs::write(
        folder.path().join("bad.ipxe"),
        "#!ipxe\n\n  dchp\ngoto on\n",
    )
    .unwrap();
    let output = bowline(folder.path(), ["script", "check", "good.ipxe"]);
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(0), "ok\n".into())
    );
    let output = bowline(folder.path(), ["script", "check", "good.ipxe", "bad.ipxe"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stdout),
        "bad.ipxe:3:3: error: dchp: command not found, did you mean `dhcp`?\n\
         bad.ipxe:4:6: error: no label `:on`\n"
    );
    assert_eq!(text(&output.stderr), "2 errors\n");
    let output = bowline(folder.path(), ["script", "check", "--json", "bad.ipxe"]);
    let told = text(&output.stdout);
    assert!(
        told.starts_with("[\n") && told.contains("\"column\": 3,"),
        "{told}"
    );
}

#[test]
fn scripts_are_run_on_a_simulated_machine() {
    let folder = tempfile::tempdir().unwrap();
    let web = folder.path().join("web/a");
    fs::create_dir_all(&web).unwrap();
    fs::write(web.join("kernel"), "MZ").unwrap();
    let script = "#!ipxe\ndhcp\nmenu M\nitem one One\nitem two Two\nchoose x\n\
                  echo ${x} ${y}\nkernel http://192.168.1.1/a/kernel quiet\nboot\nexit\n";
    fs::write(folder.path().join("a.ipxe"), script).unwrap();
    let run = [
        "script",
        "run",
        "--root",
        "web",
        "--set",
        "y=z",
        "--keys",
        "Down Enter",
        "a.ipxe",
    ];
    let output = bowline(folder.path(), &run);
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(told.contains("[ Two "), "{told}");
    assert!(told.contains("\ntwo z\n"), "{told}");
    assert!(
        told.ends_with("of 2 bytes with `quiet` and no initial RAM disk\n"),
        "{told}"
    );
    // Nobody chooses: it does not hang.
    let output = bowline(folder.path(), ["script", "run", "a.ipxe"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
