//! The servers of a scenario: ours (`bowline serve`), or independent ones from Debian (dnsmasq for
//! DHCP and DNS, nginx for HTTP, tgt or Linux itself for iSCSI).

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tempfile::TempDir;

use crate::formats::Formats;
use crate::image::{Access, TargetSystem, system};
use crate::lio;
use crate::netns::{SERVER, SERVER6};
use crate::network::Places;
use crate::packages::Packages;
use crate::pki::{self, HOST, Https};
use crate::qemu::mac;
use crate::scenario::target;
use crate::services::Service;
use crate::sh;

/// The address that a machine is given.
pub(crate) fn machine(number: u8) -> String {
    format!("192.168.1.{}", 49 + number)
}

/// How long servers may take to start: one of them is a whole machine.
const START: Duration = Duration::from_secs(90);

/// Whose servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// `bowline serve`.
    Bowline,
    /// dnsmasq, nginx and tgt.
    Peers,
    /// dnsmasq, nginx, and a machine whose Linux is the target.
    Lio,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bowline => "bowline",
            Self::Peers => "peers",
            Self::Lio => "lio",
        }
    }
}

/// What dnsmasq does for PXE besides giving addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pxe {
    /// It has boot services of the types 0x8000 (`one.ipxe`) and 0x8001 (`two.ipxe`), a menu of
    /// them, and names itself in DHCP.
    Services,
    /// A second one, a proxyDHCP server, gives no addresses and names `two.ipxe` when it is asked on
    /// its own port.
    Proxy,
}

/// What they serve.
#[derive(Debug, Clone)]
pub(crate) struct Setup<'a> {
    pub(crate) kind: Kind,
    pub(crate) dhcp: bool,
    /// DHCPv6 and router advertisements, and no DHCP.
    pub(crate) ipv6: bool,
    /// PXE, by peers.
    pub(crate) pxe: Option<Pxe>,
    /// Where they listen.
    pub(crate) places: &'a Places,
    /// Folder served over HTTP.
    pub(crate) files: &'a Path,
    /// HTTPS, and what for.
    pub(crate) https: Option<(Https, &'a pki::Files)>,
    /// The iSCSI disk, LUN 1 of the target.
    pub(crate) disk: &'a Path,
    /// Bytes of its logical blocks.
    pub(crate) block_size: u32,
    /// The disk of the second machine, LUN 1 of a target of its own.
    pub(crate) neighbour: Option<PathBuf>,
    /// More disks, for conformance tests. A machine that boots has one: Linux may name several in
    /// any order.
    pub(crate) conformance: bool,
    /// or disks of every format, for a Linux that tries out disks.
    pub(crate) formats: Option<&'a Formats>,
    /// The target's name and what it accepts and proves.
    pub(crate) access: &'a Access,
    /// Logs, lease files, sockets, configuration.
    pub(crate) folder: &'a Path,
    /// Our own program, if `kind` asks for it.
    pub(crate) bowline: Option<PathBuf>,
    /// What else is served, and the packages of those servers.
    pub(crate) services: (&'a [Service], &'a Packages),
    /// The machine that is the target, and where it is plugged in, if `kind` asks for it.
    pub(crate) lio: Option<(&'a TargetSystem, &'a Path)>,
}

/// Running servers; dropping this ends them.
#[derive(Debug)]
pub(crate) struct Servers {
    children: Vec<(String, Child)>,
    scratch: Option<TempDir>,
}

impl Servers {
    /// Starts them and waits until they answer.
    pub(crate) fn start(setup: &Setup<'_>) -> Result<Self> {
        let mut servers = Self {
            children: Vec::new(),
            scratch: None,
        };
        match setup.kind {
            Kind::Bowline => servers.start_bowline(setup)?,
            Kind::Peers | Kind::Lio => {
                match setup.lio {
                    Some((system, wire)) => {
                        let mut machine = lio::machine(system, setup.disk, wire, setup.access);
                        servers.spawn("lio", setup.folder, &mut machine)?;
                    }
                    None => servers.start_tgt(setup)?,
                }
                servers.start_nginx(setup)?;
                if setup.dhcp {
                    servers.start_dnsmasq(setup)?;
                }
            }
        }
        servers.start_services(setup)?;
        let https = setup.https.map(|_| 443);
        for address in &setup.places.http {
            for port in [80].into_iter().chain(https) {
                servers.wait_for(address, port, setup.folder)?;
            }
        }
        for address in &setup.places.iscsi {
            servers.wait_for(address, 3260, setup.folder)?;
        }
        Ok(servers)
    }

    fn start_services(&mut self, setup: &Setup<'_>) -> Result<()> {
        let (services, packages) = setup.services;
        for service in services {
            for mut server in service.servers(packages, setup.files, setup.folder)? {
                self.spawn(server.name, setup.folder, &mut server.command)?;
                if let (Some(port), Some(address)) = (server.port, setup.places.http.first()) {
                    self.wait_for(address, port, setup.folder)?;
                }
            }
        }
        Ok(())
    }

    /// Ends them as a power cut does.
    pub(crate) fn stop(&mut self) {
        for (_, child) in &mut self.children {
            // Already gone is fine.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.children.clear();
    }

    /// Asks them to end, and waits until they have.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.signal("-TERM")?;
        for (_, mut child) in self.children.drain(..) {
            child.wait()?;
        }
        Ok(())
    }

    /// They hang, as they are, until [`Self::resume`].
    pub(crate) fn freeze(&self) -> Result<()> {
        self.signal("-STOP")
    }

    /// They go on.
    pub(crate) fn resume(&self) -> Result<()> {
        self.signal("-CONT")
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let ids = self
            .children
            .iter()
            .map(|(_, child)| child.id().to_string());
        sh::run(sh::command("kill").arg(signal).args(ids))
    }

    /// Resets the neighbour's disk to its golden image: it is taken out of the configuration for
    /// that moment, and everything else goes on.
    pub(crate) fn reset_neighbour(&self, setup: &Setup<'_>) -> Result<()> {
        let overlay = setup.neighbour.as_ref().context("there is no neighbour")?;
        let program = setup
            .bowline
            .as_ref()
            .context("bowline has not been built")?;
        let config = setup.folder.join("bowline.toml");
        let serve = |setup: &Setup<'_>| {
            fs::write(&config, bowline_toml(setup))?;
            sh::run(
                Command::new(program)
                    .args(["reload", "--config"])
                    .arg(&config),
            )
        };
        serve(&Setup {
            neighbour: None,
            ..setup.clone()
        })?;
        system::reset(program, overlay)?;
        serve(setup)
    }

    /// Fails if one of them has ended by itself.
    pub(crate) fn check(&mut self, folder: &Path) -> Result<()> {
        for (name, child) in &mut self.children {
            if let Some(status) = child.try_wait()? {
                let log =
                    fs::read_to_string(folder.join(format!("{name}.log"))).unwrap_or_default();
                bail!("{name} ended ({status}):\n{}", sh::tail(&log, 15));
            }
        }
        Ok(())
    }

    fn spawn(&mut self, name: &str, folder: &Path, command: &mut Command) -> Result<()> {
        // After a restart the log goes on.
        let log = File::options()
            .create(true)
            .append(true)
            .open(folder.join(format!("{name}.log")))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start `{}`", sh::display(command)))?;
        self.children.push((name.to_owned(), child));
        Ok(())
    }

    fn wait_for(&mut self, address: &str, port: u16, folder: &Path) -> Result<()> {
        let address: SocketAddr = format!("{address}:{port}").parse()?;
        let deadline = Instant::now() + START;
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            self.check(folder)?;
            if Instant::now() > deadline {
                bail!(
                    "nobody listens on {address} after {} seconds",
                    START.as_secs()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn start_bowline(&mut self, setup: &Setup<'_>) -> Result<()> {
        let config = setup.folder.join("bowline.toml");
        if setup.conformance {
            make_conformance_disks(setup.folder)?;
        }
        fs::write(&config, bowline_toml(setup))?;
        let program = setup
            .bowline
            .as_ref()
            .context("bowline has not been built")?;
        sh::run(
            Command::new(program)
                .args(["check", "--config"])
                .arg(&config),
        )
        .context("`bowline check` does not like the configuration of the test")?;
        let mut command = Command::new(program);
        command
            .args(["serve", "--config"])
            .arg(&config)
            .env("RUST_LOG", "info");
        self.spawn("bowline", setup.folder, &mut command)
    }

    fn start_dnsmasq(&mut self, setup: &Setup<'_>) -> Result<()> {
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
    fn start_nginx(&mut self, setup: &Setup<'_>) -> Result<()> {
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

    fn start_tgt(&mut self, setup: &Setup<'_>) -> Result<()> {
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

/// The addresses of a service as `bowline.toml` lists them.
fn listen(addresses: &[String], port: u16) -> String {
    let quoted: Vec<_> = addresses
        .iter()
        .map(|address| format!("\"{address}:{port}\""))
        .collect();
    format!("listen = [{}]", quoted.join(", "))
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

/// The table of our own server for HTTPS.
fn bowline_https(setup: &Setup<'_>, (https, files): (Https, &pki::Files)) -> String {
    let mut table = format!(
        "[https]\n{}\nroot = \"{}\"\ncertificate = \"{}\"\nkey = \"{}\"\n",
        listen(&setup.places.http, 443),
        setup.files.display(),
        files.server.display(),
        files.server_key.display()
    );
    if https.wants_client {
        table += &format!(
            "client-ca = \"{}\"\nclient-auth = \"required\"\n",
            files.client_root.display()
        );
    }
    table + "\n"
}

/// The configuration of our own server.
pub(crate) fn bowline_toml(setup: &Setup<'_>) -> String {
    let dhcp = if setup.dhcp {
        format!(
            "[dhcp]\ninterface = \"{interface}\"\nserver = \"{SERVER}\"\nsubnet = \"192.168.1.0/24\"\n\
             pool = [\"192.168.1.100-192.168.1.199\"]\nlease = \"1h\"\nrouter = \"{SERVER}\"\n\
             dns = [\"{SERVER}\"]\nnext-server = \"{SERVER}\"\nfilename = \"bowline.efi\"\n\n\
             {hosts}\n",
            interface = setup.places.dhcp,
            hosts = [1, 2].map(dhcp_host).concat(),
        )
    } else {
        String::new()
    };
    let https = setup.https.map(|https| bowline_https(setup, https));
    let mut text = format!(
        "state = \"{state}\"\n\n{dhcp}{https}\
         [http]\n{http}\nroot = \"{files}\"\n\n\
         [iscsi]\n{iscsi}\n\n\
         {target}",
        https = https.unwrap_or_default(),
        http = listen(&setup.places.http, 80),
        iscsi = listen(&setup.places.iscsi, 3260),
        state = setup.folder.join("state").display(),
        files = setup.files.display(),
        target = iscsi_target(&setup.access.target, setup, setup.disk),
    );
    let more: &[_] = if setup.conformance {
        &CONFORMANCE_DISKS
    } else {
        &[]
    };
    for (lun, key) in more {
        let file = setup.folder.join(format!("lun{lun}.img"));
        text.push_str(&format!(
            "\n[[iscsi.target.lun]]\nlun = {lun}\nfile = \"{}\"\n{key}\n",
            file.display()
        ));
    }
    for (lun, file) in setup.formats.iter().flat_map(|formats| formats.files()) {
        text.push_str(&format!(
            "\n[[iscsi.target.lun]]\nlun = {lun}\nfile = \"{}\"\n",
            file.display()
        ));
    }
    if let Some(disk) = &setup.neighbour {
        text.push('\n');
        text.push_str(&iscsi_target(&target(2), setup, disk));
    }
    text
}

/// A machine's reservation.
fn dhcp_host(number: u8) -> String {
    format!(
        "[[dhcp.host]]\nmac = \"{}\"\naddress = \"{}\"\nhostname = \"node{number}\"\n\n",
        mac(number),
        machine(number)
    )
}

/// A target with one disk, LUN 1.
fn iscsi_target(name: &str, setup: &Setup<'_>, disk: &Path) -> String {
    let access = setup.access;
    format!(
        "[[iscsi.target]]\nname = \"{name}\"\n\
         chap = {{ username = \"{user}\", password = \"{password}\", \
         mutual-username = \"{mutual}\", mutual-password = \"{secret}\" }}\n\n\
         [[iscsi.target.lun]]\nlun = 1\nfile = \"{disk}\"\nblock-size = {block_size}\n",
        block_size = setup.block_size,
        user = access.username,
        password = access.password,
        mutual = access.mutual_username,
        secret = access.mutual_password,
        disk = disk.display(),
    )
}

/// Disks besides the first, for families of conformance tests that need them.
const CONFORMANCE_DISKS: [(u8, &str); 4] = [
    (2, "removable = true"),
    (3, "read-only = true"),
    (4, "block-size = 4096"),
    (5, "physical-block-size = 512"),
];
/// EXTENDED COPY is tried with 256 MiB from one half to the other.
const CONFORMANCE_DISK_BYTES: u64 = 640 << 20;

/// Makes the images of those disks.
fn make_conformance_disks(folder: &Path) -> Result<()> {
    for (lun, _) in CONFORMANCE_DISKS {
        let file = File::create(folder.join(format!("lun{lun}.img")))?;
        file.set_len(CONFORMANCE_DISK_BYTES)?;
    }
    Ok(())
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop();
    }
}
