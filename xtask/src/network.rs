//! The network of a scenario that wants more than one wire: the machine and the servers on ports of
//! our own managed switch (`bowline_sim::switch`), with VLANs and faulty cables. Docs:
//! e2e/README.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bowline_sim::switch::realtime::{Cable, Guest, Running, Tap};
use bowline_sim::switch::{Captures, Impairment, PortConfig, Switch, TcpSegment, tcp_segments};
use serde::Deserialize;
use tempfile::TempDir;

use crate::netns;

/// The VLAN of whatever says nothing about VLANs (802.1Q-2022 table 9-2: the default PVID).
const DEFAULT_VLAN: u16 = 1;

/// `[network]` of a scenario.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Network {
    /// Decides which frames are lost.
    seed: u64,
    /// The machine's port.
    machine: Port,
    /// What the captures have to show.
    captured: Vec<Captured>,
    /// The servers' ports; one with everything on VLAN 1 if there are none.
    server: Vec<ServerPort>,
}

/// A port of the switch.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Port {
    /// The VLAN of frames without tag: 1 by default, 0 for none.
    vlan: Option<u16>,
    /// VLANs with tags.
    tagged: BTreeSet<u16>,
    delay: Option<String>,
    loss: f64,
    rate: Option<String>,
    /// Bytes.
    reset_every: Option<u64>,
}

/// All TCP of a service on one VLAN.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Captured {
    /// The TCP port of the service.
    port: u16,
    /// Where it is, and nowhere else.
    vlan: u16,
}

/// A port with servers: an interface of theirs with an address of its own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ServerPort {
    services: BTreeSet<Service>,
    #[serde(default = "default_vlan")]
    vlan: u16,
    delay: Option<String>,
    #[serde(default)]
    loss: f64,
    rate: Option<String>,
    reset_every: Option<u64>,
}

impl ServerPort {
    /// The firewall: what else listens in the servers' namespace is not reached by this port.
    fn tcp_ports(&self) -> BTreeSet<u16> {
        let services = self.services.iter();
        services
            .flat_map(|service| match service {
                Service::Dhcp => [53].as_slice(),
                Service::Http => &[80, 443],
                Service::Iscsi => &[3260],
            })
            .copied()
            .collect()
    }
}

/// A service that a port is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Service {
    /// On VLAN 1, whose addresses the machines are given.
    Dhcp,
    /// HTTP and HTTPS.
    Http,
    Iscsi,
}

/// Where the servers of a scenario are.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The interface of the DHCP server.
    pub(crate) dhcp: String,
    /// Addresses of the HTTP server.
    pub(crate) http: Vec<String>,
    /// Addresses of the iSCSI target.
    pub(crate) iscsi: Vec<String>,
}

impl Places {
    /// On such a network, or on the one wire that there is without.
    pub(crate) fn of(network: Option<&Network>) -> Self {
        match network {
            None => Self {
                dhcp: netns::TAP.to_owned(),
                http: vec![netns::SERVER.to_owned()],
                iscsi: vec![netns::SERVER.to_owned()],
            },
            Some(network) => Self {
                dhcp: tap(DEFAULT_VLAN),
                http: network.addresses(Service::Http),
                iscsi: network.addresses(Service::Iscsi),
            },
        }
    }

    /// The first address of the iSCSI target.
    pub(crate) fn storage(&self) -> String {
        self.iscsi.first().cloned().unwrap_or_default()
    }
}

/// The second machine on a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Second {
    /// One that boots, too.
    Neighbour,
    /// The one that is the iSCSI target.
    Target,
}

/// What a step of a scenario changes on a port.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Fault {
    /// `machine`, `vlan1` for the servers on VLAN 1, or `target` for a machine that is the target.
    port: String,
    /// `up` or `down`.
    link: Option<String>,
    delay: Option<String>,
    loss: Option<f64>,
    /// Bytes; 0 for no more resets.
    reset_every: Option<u64>,
}

fn default_vlan() -> u16 {
    DEFAULT_VLAN
}

impl Network {
    /// The servers' address on a VLAN.
    fn address(vlan: u16) -> String {
        format!("192.168.{vlan}.1")
    }

    fn servers(&self) -> Vec<ServerPort> {
        if !self.server.is_empty() {
            return self.server.clone();
        }
        vec![ServerPort {
            services: [Service::Dhcp, Service::Http, Service::Iscsi].into(),
            vlan: DEFAULT_VLAN,
            delay: None,
            loss: 0.0,
            rate: None,
            reset_every: None,
        }]
    }

    /// The addresses at which a service is found.
    fn addresses(&self, service: Service) -> Vec<String> {
        let ports = self.servers();
        let with = ports.iter().filter(|port| port.services.contains(&service));
        with.map(|port| Self::address(port.vlan)).collect()
    }

    /// What is wrong with it, before anything is started.
    pub(crate) fn check(&self) -> Result<()> {
        let vlans: BTreeSet<u16> = self.servers().iter().map(|port| port.vlan).collect();
        ensure!(
            vlans.len() == self.servers().len() && vlans.iter().all(|vlan| (1..255).contains(vlan)),
            "each [[network.server]] has a VLAN of its own between 1 and 254: it is in its address"
        );
        ensure!(
            self.addresses(Service::Dhcp) == [netns::SERVER],
            "the service `dhcp` is on VLAN 1: the addresses that it gives are there"
        );
        for service in [Service::Http, Service::Iscsi] {
            ensure!(
                !self.addresses(service).is_empty(),
                "no [[network.server]] has the service {service:?}"
            );
        }
        self.ports(None).map(drop)
    }

    /// The ports of the switch: the machine first, then the second one.
    fn ports(&self, second: Option<Second>) -> Result<Vec<PortConfig>> {
        let machine = &self.machine;
        let mut ports = vec![PortConfig {
            name: "machine".to_owned(),
            untagged: Some(machine.vlan.unwrap_or(DEFAULT_VLAN)).filter(|vlan| *vlan != 0),
            tagged: machine.tagged.clone(),
            services: None,
            reset_every: machine.reset_every,
            impairment: impairment(&machine.delay, machine.loss, &machine.rate)?,
        }];
        match second {
            None => {}
            Some(Second::Neighbour) => ports.push(PortConfig {
                name: "machine2".to_owned(),
                ..ports[0].clone()
            }),
            Some(Second::Target) => ports.push(PortConfig::access("target", DEFAULT_VLAN)),
        }
        // Programs among the servers are clients of another target.
        let are_clients = second == Some(Second::Target);
        for server in self.servers() {
            ports.push(PortConfig {
                impairment: impairment(&server.delay, server.loss, &server.rate)?,
                services: (!are_clients).then(|| server.tcp_ports()),
                reset_every: server.reset_every,
                ..PortConfig::access(&tap(server.vlan), server.vlan)
            });
        }
        Ok(ports)
    }

    /// Looks into the captures of a switch that has stopped: each service that the scenario names
    /// was used, and on its VLAN only.
    pub(crate) fn verify(&self, folder: &Path) -> Result<()> {
        if self.captured.is_empty() {
            return Ok(());
        }
        let mut segments = Vec::new();
        for entry in fs::read_dir(folder)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("vlan-") && name.ends_with(".pcap") {
                segments.extend(tcp_segments(&entry.path()).context(name)?);
            }
        }
        for Captured { port, vlan } in &self.captured {
            let (right, wrong): (Vec<TcpSegment>, Vec<TcpSegment>) = segments
                .iter()
                .copied()
                .filter(|segment| segment.ports.contains(port))
                .partition(|segment| segment.vlan == Some(*vlan));
            ensure!(
                !right.is_empty() && wrong.is_empty(),
                "port {port} belongs on VLAN {vlan}: {} segments are there, {} elsewhere",
                right.len(),
                wrong.len()
            );
            println!(
                "port {port}: {} segments on VLAN {vlan}, none elsewhere",
                right.len()
            );
        }
        Ok(())
    }

    /// Inside the namespace: makes the servers' interfaces and starts the switch between them, the
    /// machine, and a second one if there is.
    pub(crate) fn start(&self, folder: &Path, second: Option<Second>) -> Result<Wiring> {
        let ports = self.ports(second)?;
        let names = ports.iter().map(|port| port.name.clone()).collect();
        // A short path: QEMU's and the kernel's limit is 107 bytes.
        let scratch = tempfile::Builder::new().prefix("bowline-").tempdir()?;
        let mut cables: Vec<Arc<dyn Cable>> = Vec::new();
        for number in 1..=1 + u8::from(second.is_some()) {
            let guest = Guest::listen(&socket(scratch.path(), number))?;
            cables.push(Arc::new(guest));
        }
        for server in self.servers() {
            let name = tap(server.vlan);
            let tap = Tap::open(&name).with_context(|| format!("cannot make {name}"))?;
            cables.push(Arc::new(tap));
            netns::give_address(&name, &Self::address(server.vlan))?;
        }
        let captures = Captures::new(folder, names);
        Ok(Wiring {
            switch: Running::start(Switch::new(ports, self.seed), cables, Some(captures)),
            report: folder.join("switch.log"),
            scratch,
        })
    }
}

/// The interface of the servers on a VLAN, and their port's name.
fn tap(vlan: u16) -> String {
    format!("vlan{vlan}")
}

/// The socket of a machine's port.
fn socket(folder: &Path, number: u8) -> PathBuf {
    folder.join(format!("machine{number}"))
}

/// The running switch. Dropping it leaves its counters in `switch.log`.
#[derive(Debug)]
pub(crate) struct Wiring {
    switch: Running,
    report: PathBuf,
    scratch: TempDir,
}

impl Wiring {
    /// Where a machine's card is plugged in.
    pub(crate) fn socket(&self, number: u8) -> PathBuf {
        socket(self.scratch.path(), number)
    }

    /// Does what a step asks for.
    pub(crate) fn apply(&self, fault: &Fault) -> Result<()> {
        let link_is_down = match fault.link.as_deref() {
            None => None,
            Some("up") => Some(false),
            Some("down") => Some(true),
            Some(other) => bail!("a link is `up` or `down`, not `{other}`"),
        };
        let delay = fault.delay.as_deref().map(duration).transpose()?;
        let loss = fault.loss.map(per_mille).transpose()?;
        let reset_every = fault.reset_every;
        let port = fault.port.clone();
        let found = self.switch.with(move |switch| {
            let port = switch.port(&port)?;
            let config = switch.config_mut(port)?;
            if let Some(bytes) = reset_every {
                config.reset_every = Some(bytes).filter(|bytes| *bytes > 0);
            }
            let cable = &mut config.impairment;
            cable.down = link_is_down.unwrap_or(cable.down);
            cable.delay = delay.unwrap_or(cable.delay);
            cable.loss = loss.unwrap_or(cable.loss);
            Some(())
        });
        found
            .flatten()
            .with_context(|| format!("the switch has no port `{}`", fault.port))
    }
}

impl Drop for Wiring {
    fn drop(&mut self) {
        if let Some(report) = self.switch.with(|switch| switch.report()) {
            // The counters are a help only.
            let _ = fs::write(&self.report, report);
        }
    }
}

fn impairment(delay: &Option<String>, loss: f64, rate: &Option<String>) -> Result<Impairment> {
    Ok(Impairment {
        delay: delay
            .as_deref()
            .map(duration)
            .transpose()?
            .unwrap_or_default(),
        loss: per_mille(loss)?,
        rate: rate.as_deref().map(bits_per_second).transpose()?,
        down: false,
    })
}

fn per_mille(loss: f64) -> Result<u32> {
    ensure!(
        (0.0..=1.0).contains(&loss),
        "loss is a share between 0 and 1, not {loss}"
    );
    Ok((loss * 1000.0).round() as u32)
}

/// `5ms`, `2.5ms`, `500us`, `1s`.
fn duration(text: &str) -> Result<Duration> {
    let seconds = quantity(text, &[("ms", 1e-3), ("us", 1e-6), ("s", 1.0)])?;
    Ok(Duration::from_secs_f64(seconds))
}

/// `100Mbit/s`, `1Gbit/s`.
fn bits_per_second(text: &str) -> Result<u64> {
    Ok(quantity(text, &[("Mbit/s", 1e6), ("Gbit/s", 1e9)])? as u64)
}

fn quantity(text: &str, units: &[(&str, f64)]) -> Result<f64> {
    let known: Vec<_> = units.iter().map(|(unit, _)| *unit).collect();
    units
        .iter()
        .find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
        .filter(|value| value.is_finite() && *value > 0.0)
        .with_context(|| format!("`{text}` is no number with one of {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_units() {
        assert_eq!(duration("2.5ms").unwrap(), Duration::from_micros(2500));
        assert_eq!(duration("500us").unwrap(), Duration::from_micros(500));
        assert_eq!(bits_per_second("100Mbit/s").unwrap(), 100_000_000);
        for wrong in ["5", "5 m", "-1s", "infs", "ms"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_network_where_a_service_is_missing_is_refused() {
        let read = |text: &str| toml::from_str::<Network>(text).unwrap().check();
        read("").unwrap();
        read("[[server]]\nservices = [\"dhcp\", \"http\"]\n[[server]]\nservices = [\"iscsi\"]\nvlan = 2")
            .unwrap();
        assert!(read("[[server]]\nservices = [\"dhcp\", \"http\"]").is_err());
        assert!(read("machine = { loss = 2.0 }").is_err());
    }
}
