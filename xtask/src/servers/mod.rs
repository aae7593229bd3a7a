//! The servers of a scenario: ours (`bowline serve`), or independent ones from Debian (dnsmasq for
//! DHCP and DNS, nginx for HTTP, tgt or Linux itself for iSCSI).

mod bowline;
mod peers;

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tempfile::TempDir;

use self::bowline::bowline_toml;
use crate::formats::Formats;
use crate::image::{Access, TargetSystem, system};
use crate::lio;
use crate::network::Places;
use crate::packages::Packages;
use crate::pki::{self, Https};
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
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop();
    }
}
