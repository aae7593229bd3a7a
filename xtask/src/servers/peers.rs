//! Independent servers from Debian: dnsmasq, nginx and tgt, and how each is configured.

use std::fs;
use std::process::Command;

use anyhow::Result;

use super::{Pxe, Servers, Setup, machine};
use crate::netns::{SERVER, SERVER6};
use crate::network::Places;
use crate::pki::{self, HOST, Https};
use crate::qemu::mac;
use crate::sh;

impl Servers {
    pub(super) fn start_dnsmasq(&mut self, setup: &Setup<'_>) -> Result<()> {
        let addresses = dnsmasq_addresses(setup.ipv6);
        let services = match setup.pxe {
            Some(Pxe::Services) => &DNSMASQ_PXE[..],
            _ => &[],
        };
        let mut command = dnsmasq(setup, "dnsmasq");
        command.args(addresses).args(services);
        command.args(["--dhcp-authoritative", "--enable-tftp"]);
        command.arg(format!("--tftp-root={}", setup.files.display()));
        self.spawn("dnsmasq", setup.folder, &mut command)?;
        if setup.pxe == Some(Pxe::Proxy) {
            let mut proxy = dnsmasq(setup, "proxy");
            proxy.arg("--port=0").args(DNSMASQ_PROXY);
            self.spawn("proxy", setup.folder, &mut proxy)?;
        }
        Ok(())
    }

    /// One process and no change of user: a user namespace has no other user to change to.
    pub(super) fn start_nginx(&mut self, setup: &Setup<'_>) -> Result<()> {
        let folder = setup.folder;
        let config = folder.join("nginx.conf");
        let scratch: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("{name}_temp_path {}/nginx-{name};\n", folder.display()))
            .collect();
        let https = setup
            .https
            .map(|https| nginx_https(setup.places, https))
            .unwrap_or_default();
        fs::write(
            &config,
            format!(
                "daemon off; master_process off; user root;\n\
                 pid {folder}/nginx.pid; error_log stderr info;\n\
                 events {{ }}\n\
                 http {{ access_log {folder}/nginx-access.log; {scratch}\
                 server {{ {listen} {https} root {files}; default_type text/plain; {TOLD} }} }}\n",
                folder = folder.display(),
                listen = nginx_listen(setup.places, "80"),
                files = setup.files.display(),
            ),
        )?;
        let mut command = sh::command("nginx");
        command
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(&config)
            .args(["-e", "stderr"]);
        self.spawn("nginx", folder, &mut command)
    }

    pub(super) fn start_tgt(&mut self, setup: &Setup<'_>) -> Result<()> {
        // A socket of our own, with a short path: a system's tgtd and we do not meet.
        let scratch = tempfile::Builder::new().prefix("bowline-").tempdir()?;
        let socket = scratch.path().join("tgt");
        self.scratch = Some(scratch);
        let mut command = sh::command("tgtd");
        let portals: Vec<_> = setup
            .places
            .iscsi
            .iter()
            .map(|address| format!("portal={address}:3260"))
            .collect();
        command.env("TGT_IPC_SOCKET", &socket).args([
            "-f",
            "-C",
            "0",
            "--iscsi",
            &portals.join(","),
        ]);
        self.spawn("tgtd", setup.folder, &mut command)?;
        self.wait_for(&setup.places.storage(), 3260, setup.folder)?;
        let access = setup.access;
        let disk = setup.disk.display().to_string();
        let (user, password) = (&access.username, &access.password);
        let (mutual, secret) = (&access.mutual_username, &access.mutual_password);
        let tid = "--tid=1";
        let digest = |name| {
            let name = format!("--name={name}");
            [
                "--op=update",
                "--mode=target",
                tid,
                &name,
                "--value=None,CRC32C",
            ]
            .map(str::to_owned)
        };
        let digests = [digest("HeaderDigest"), digest("DataDigest")];
        let digests = digests
            .each_ref()
            .map(|step| step.each_ref().map(String::as_str));
        let steps: [&[&str]; 9] = [
            &[
                "--op=new",
                "--mode=target",
                tid,
                &format!("--targetname={}", access.target),
            ],
            &digests[0],
            &digests[1],
            &[
                "--op=new",
                "--mode=logicalunit",
                tid,
                "--lun=1",
                "--bstype=rdwr",
                &format!("--backing-store={disk}"),
            ],
            &[
                "--op=new",
                "--mode=account",
                &format!("--user={user}"),
                &format!("--password={password}"),
            ],
            &[
                "--op=bind",
                "--mode=account",
                tid,
                &format!("--user={user}"),
            ],
            &[
                "--op=new",
                "--mode=account",
                &format!("--user={mutual}"),
                &format!("--password={secret}"),
            ],
            &[
                "--op=bind",
                "--mode=account",
                tid,
                &format!("--user={mutual}"),
                "--outgoing",
            ],
            &["--op=bind", "--mode=target", tid, "--initiator-address=ALL"],
        ];
        for step in steps {
            let mut command = sh::command("tgtadm");
            command
                .env("TGT_IPC_SOCKET", &socket)
                .arg("--lld=iscsi")
                .args(step);
            sh::run(&mut command)?;
        }
        Ok(())
    }
}

/// A dnsmasq with files of this name. In debug mode it keeps its user: a user namespace has no other
/// one to change to.
fn dnsmasq(setup: &Setup<'_>, name: &str) -> Command {
    let mut command = sh::command("dnsmasq");
    let file = |ending| setup.folder.join(format!("{name}.{ending}"));
    command
        .args(["--no-daemon", "--log-facility=-", "--log-dhcp"])
        .args(["--conf-file=/dev/null", "--no-resolv", "--no-hosts"])
        .args(["--bind-interfaces", "--except-interface=lo"])
        .arg(format!("--interface={}", setup.places.dhcp))
        .arg(format!("--dhcp-leasefile={}", file("leases").display()))
        .arg(format!("--pid-file={}", file("pid").display()));
    command
}

/// Who is given which addresses.
fn dnsmasq_addresses(ipv6: bool) -> Vec<String> {
    if ipv6 {
        return vec![
            "--enable-ra".to_owned(),
            "--dhcp-range=fd00:1::100,fd00:1::1ff,64,1h".to_owned(),
            format!("--dhcp-option=option6:dns-server,[{SERVER6}]"),
            format!("--dhcp-option=option6:bootfile-url,http://[{SERVER6}]/boot.ipxe"),
            format!("--address=/{HOST}/{SERVER6}"),
        ];
    }
    vec![
        "--dhcp-range=192.168.1.100,192.168.1.199,1h".to_owned(),
        format!("--dhcp-host={},{}", mac(1), machine(1)),
        format!("--dhcp-option=option:router,{SERVER}"),
        format!("--dhcp-option=option:dns-server,{SERVER}"),
        format!("--address=/{HOST}/{SERVER}"),
    ]
}

/// A proxyDHCP server for every machine with UEFI that there is a scenario for.
const DNSMASQ_PROXY: [&str; 3] = [
    "--dhcp-range=192.168.1.0,proxy",
    "--pxe-service=X86-64_EFI,Two,two.ipxe",
    "--pxe-service=ARM64_EFI,Two,two.ipxe",
];

/// PXE boot services 0x8000 and 0x8001, as dnsmasq numbers them, and option 43, which names the
/// server of both, forbids to look for others, and has a menu that waits for a choice. They are for BIOS:
/// those for a UEFI dnsmasq would name at once, without discovery.
const DNSMASQ_PXE: [&str; 6] = [
    "--pxe-service=x86PC,One,one.ipxe",
    "--pxe-service=x86PC,Two,two.ipxe",
    "--dhcp-option=vendor:PXEClient,6,07",
    "--dhcp-option=vendor:PXEClient,8,80:00:01:c0:a8:01:01:80:01:01:c0:a8:01:01",
    "--dhcp-option=vendor:PXEClient,9,80:00:03:4f:6e:65:80:01:03:54:77:6f",
    "--dhcp-option=vendor:PXEClient,10,ff:43:68:6f:6f:73:65",
];

/// `/told` is a script that tells how nginx was asked for it.
const TOLD: &str = "location = /told { return 200 \
    \"#!ipxe\\necho told $request_method $content_type $content_length\\n\"; }";

/// Its `listen` lines for a port.
fn nginx_listen(places: &Places, port: &str) -> String {
    places
        .http
        .iter()
        .map(|address| format!("listen {address}:{port}; "))
        .collect()
}

/// The lines of nginx for HTTPS beside HTTP.
fn nginx_https(places: &Places, (https, files): (Https, &pki::Files)) -> String {
    let mut lines = nginx_listen(places, "443 ssl");
    lines += &format!(
        " ssl_certificate {}; ssl_certificate_key {};",
        files.server.display(),
        files.server_key.display()
    );
    if https.wants_client {
        lines += &format!(
            " ssl_client_certificate {}; ssl_verify_client on;",
            files.client_root.display()
        );
    }
    lines
}
