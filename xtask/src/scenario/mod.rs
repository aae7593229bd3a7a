//! Scenarios: what is started, what is sent and what must be seen within which time. Each file in
//! `e2e/scenarios` describes one, for one or more firmware builds and network cards; docs: e2e/README.md.

mod load;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

pub(crate) use self::load::load;
use crate::arch::Arch;
use crate::firmware::Firmware;
use crate::image::{self, Access, BootDisk, Linux, system};
use crate::lio;
use crate::matrix::Matrix;
use crate::netns::{SERVER, SERVER6};
use crate::network::{Fault, Network, Places};
use crate::packages::{self, Package, Suite};
use crate::pki::Https;
use crate::qemu::Nic;
use crate::servers::Pxe;
use crate::servers::{Kind, machine};
use crate::services::Service;

/// The iSCSI target of a machine.
pub(crate) fn target(number: u8) -> String {
    format!("iqn.2000-01.com.example:disk{number}")
}

/// A scenario file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Scenario {
    /// One line for lists and tables.
    pub(crate) summary: String,
    /// Machines to run on: a firmware build, and its network card unless that is virtio-net
    /// (`u-boot-2025.01/e1000`). None: no machine is started, only host programs run.
    #[serde(default)]
    pub(crate) machines: Vec<String>,
    /// Whose servers, in turns.
    servers: Vec<Kind>,
    /// Which loader.
    #[serde(default)]
    pub(crate) loader: Loader,
    /// The loader's own script.
    #[serde(default)]
    pub(crate) script: String,
    /// Seconds for the whole run.
    pub(crate) limit: u64,
    /// What else is served, by peers.
    #[serde(default)]
    pub(crate) services: Vec<Service>,
    /// Files on the HTTP server.
    #[serde(default)]
    pub(crate) http: BTreeMap<String, HttpFile>,
    /// The machine has a TPM (x86_64 only), which must have been asked for random bytes.
    #[serde(default)]
    pub(crate) tpm: bool,
    /// HTTPS: the same files on port 443, and trust packed into the loader.
    pub(crate) https: Option<Https>,
    /// What is on the iSCSI disk.
    #[serde(default)]
    pub(crate) disk: Disk,
    /// Bytes of a logical block of it, where our target serves it.
    #[serde(default = "block_size")]
    pub(crate) block_size: u32,
    /// The machine has such a disk of its own, too, behind the one with the loader.
    #[serde(default)]
    pub(crate) local_disk: bool,
    /// The Debian that its boot loaders and its kernel are from.
    #[serde(default)]
    pub(crate) release: Suite,
    /// More machines and releases, for `cargo xtask matrix`.
    pub(crate) matrix: Option<Matrix>,
    /// A second machine like the first, with an overlay of its own on the same golden image, runs at
    /// the same time. Its steps say `machine = 2`.
    #[serde(default)]
    pub(crate) neighbour: bool,
    /// Lines that begin so must be on the consoles of both machines, and differ.
    #[serde(default)]
    pub(crate) differs: Vec<String>,
    /// VLANs and faulty cables; without it the machine and the servers share one good wire.
    pub(crate) network: Option<Network>,
    /// The machine may start again by itself; else that ends it.
    #[serde(default)]
    pub(crate) reboot: bool,
    /// Whether anybody answers DHCP.
    #[serde(default = "yes")]
    pub(crate) dhcp: bool,
    /// The machine gets IPv6 (router advertisements and DHCPv6) and no IPv4. Peers only.
    #[serde(default)]
    pub(crate) ipv6: bool,
    /// PXE besides DHCP, by dnsmasq. Peers only.
    pub(crate) pxe: Option<Pxe>,
    /// The target's secrets, where they differ from what the loader is told.
    #[serde(default)]
    target: Secrets,
    /// Console texts that end the run at once, besides the usual ones.
    #[serde(default)]
    pub(crate) forbidden: Vec<String>,
    /// What happens on the console.
    #[serde(default)]
    step: Vec<Step>,
    /// After the machine has ended: what Linux wrote must be on the disk image.
    #[serde(default)]
    pub(crate) verify_written: bool,
    /// This file on the web server must be in Linux's initial RAM disk as `/etc/added`.
    pub(crate) verify_added: Option<String>,
    /// So many ranges of the disk image have at the end the SHA-256 that the console tells of.
    #[serde(default)]
    pub(crate) verify_ranges: usize,
    /// Nothing that the servers have may have changed at the end: the golden image, the files on the
    /// web server, the configuration. The machine's overlay is its own.
    #[serde(default)]
    pub(crate) servers_untouched: bool,
    /// Texts that the log of our server must have at the end, in this order.
    #[serde(default)]
    pub(crate) server_log: Vec<String>,
    /// Host programs to run against the servers.
    #[serde(default)]
    pub(crate) run: Vec<HostRun>,
    /// Tests of libiscsi's suite to run, each in a process of its own.
    #[serde(default)]
    pub(crate) conformance: Vec<Conformance>,
}

/// Which loader is on the machine's own disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Loader {
    /// `bowline.efi` with the script packed into it.
    #[default]
    Bowline,
    /// `bowline.efi` as it is built, with the script beside it.
    BowlineBeside,
    /// The same with one bit of the deflated loader changed.
    BowlineDamaged,
    /// Debian's iPXE with the script beside it.
    Ipxe,
    /// None: `reader.efi`, which asks for raw frames.
    Reader,
}

/// What is on the iSCSI disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Disk {
    /// Debian: ESP with GRUB and kernel, root file system.
    #[default]
    Debian,
    /// The same with nothing about the disk on the kernel command line: Linux has to find what the
    /// loader left for it.
    Described,
    /// A partition, but no ESP.
    WithoutEsp,
    /// The machine's own overlay of a golden image: a full Debian with systemd.
    System,
    /// The same, of a system that was installed elsewhere and made ready by `bowline image prepare`.
    Prepared,
    /// The same as `debian`, but its Linux does not use it: it tries out other disks of the target,
    /// one of every format.
    Formats,
}

impl Disk {
    /// What its Linux is told about the disk on the kernel command line; `None` where it has none.
    fn kernel_words(self) -> Option<String> {
        match self {
            Self::Debian | Self::Formats => Some(access().kernel_words()),
            Self::Described => Some(String::new()),
            Self::WithoutEsp | Self::System | Self::Prepared => None,
        }
    }

    /// What its Linux does.
    fn linux(self) -> Linux {
        match self {
            Self::Formats => Linux::TestsDisks,
            Self::Debian | Self::Described | Self::WithoutEsp | Self::System | Self::Prepared => {
                Linux::Boots
            }
        }
    }

    /// How its golden image comes about, if it is a whole Debian.
    pub(crate) fn system(self) -> Option<system::Kind> {
        match self {
            Self::System => Some(system::Kind::Built),
            Self::Prepared => Some(system::Kind::Prepared),
            Self::Debian | Self::Described | Self::WithoutEsp | Self::Formats => None,
        }
    }
}

/// A file on the HTTP server: its text, or its size if only that matters.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum HttpFile {
    /// Literal content.
    Text(String),
    /// Bytes that do not repeat, this many MiB.
    Size { mib: u64 },
    /// A symbolic link.
    Link { link: String },
    /// An EFI program of ours for the machine's processor, or Debian's iPXE (`ipxe`).
    Program { program: String },
    /// The loader for the machine's processor with this script packed.
    Loader { loader: String },
    /// The files of this folder of `e2e`, and the corpus of scripts with `all.ipxe`, which runs it.
    Folder { folder: String },
    /// The device tree of QEMU's arm64 machine, with this name of the model.
    DeviceTree { model: String },
    /// The image of a CD whose GRUB shows this text and powers off.
    Cd { cd: String },
    /// A file of the ESP of the iSCSI disk: `vmlinuz`, `initrd.img`.
    Esp { esp: String },
}

/// The target's idea of the secrets.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Secrets {
    password: Option<String>,
    mutual_password: Option<String>,
}

/// One thing that happens on the console.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Step {
    /// Its name in the table of times. Without one it has no row.
    pub(crate) stage: Option<String>,
    /// Text that must come,
    pub(crate) expect: Option<String>,
    /// or: the machine must power off,
    pub(crate) end: bool,
    /// or: text that is typed,
    pub(crate) send: Option<String>,
    /// or: what happens to the network,
    pub(crate) network: Option<Fault>,
    /// or: the servers are killed or started again,
    pub(crate) servers: Option<Power>,
    /// or: the neighbour's overlay is reset to the golden image while the servers go on,
    pub(crate) reset: bool,
    /// or: a machine that has ended is started again,
    pub(crate) power_on: bool,
    /// or: a picture of the screen is taken and called so,
    pub(crate) screen: Option<String>,
    /// or: the log of a server must hold a text,
    pub(crate) logged: Option<Logged>,
    /// or: nothing for this many seconds,
    pub(crate) wait: Option<f64>,
    /// or: the steps of this name in `e2e/steps.toml`.
    pub(crate) group: Option<String>,
    /// Seconds since the step before.
    pub(crate) within: u64,
    /// Only for this architecture.
    pub(crate) arch: Option<String>,
    /// Which machine: 1, or 2 for the neighbour.
    #[serde(default = "first")]
    pub(crate) machine: u8,
}

/// What a server has noted.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Logged {
    /// The server's name in the folder of the run.
    pub(crate) by: String,
    pub(crate) text: String,
}

/// Off, with a cut or with time to finish, and on; hung and going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Power {
    Stop,
    Finish,
    Start,
    Freeze,
    Resume,
}

/// A host program to run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostRun {
    pub(crate) stage: String,
    pub(crate) command: Vec<String>,
    /// Texts that its output must contain.
    #[serde(default)]
    pub(crate) expect: Vec<String>,
    pub(crate) within: u64,
}

/// One family of libiscsi's conformance tests.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Conformance {
    /// As `iscsi-test-cu --list` calls it: `Read10`.
    pub(crate) family: String,
    /// The fewest tests that must have passed, not counting skipped ones.
    pub(crate) passes: usize,
    /// The most tests that may be skipped.
    #[serde(default)]
    pub(crate) skips: usize,
    /// Which disk of the target: 1 is the usual one, 2 is removable, 3 read-only, 4 has blocks of
    /// 4096 bytes, 5 says that storage has blocks of 512.
    #[serde(default = "first")]
    pub(crate) lun: u8,
    /// By two paths at once.
    #[serde(default)]
    pub(crate) multipath: bool,
}

/// One firmware build and one card of a scenario.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    /// Unique: `boot/u-boot-2023.01/e1000`.
    pub(crate) name: String,
    pub(crate) scenario: Scenario,
    /// Which machine of the run it is about: 1, or 2 for the neighbour of the first.
    pub(crate) number: u8,
    /// None if no machine is started.
    pub(crate) machine: Option<(Firmware, Nic)>,
    pub(crate) servers: Kind,
    pub(crate) steps: Vec<Step>,
}

fn first() -> u8 {
    1
}

fn yes() -> bool {
    true
}

fn block_size() -> u32 {
    image::BLOCK_SIZE
}

impl Instance {
    /// The architecture of the machine, or of the disk image if there is none.
    pub(crate) fn arch(&self) -> Arch {
        self.machine
            .map_or(Arch::Arm64, |(firmware, _)| firmware.arch())
    }

    /// The second machine of the run, if it has one.
    pub(crate) fn neighbour(&self) -> Option<Self> {
        self.scenario.neighbour.then(|| Self {
            number: 2,
            ..self.clone()
        })
    }

    /// Time for the whole run.
    pub(crate) fn limit(&self) -> Duration {
        Duration::from_secs(self.scenario.limit)
    }

    /// Fills in what depends on the machine: `@server@`, `@server6@`, `@machine@`, `@target@`, `@storage@`,
    /// `@grub@`, and the account of the iSCSI target.
    pub(crate) fn fill(&self, text: &str) -> String {
        let access = access();
        text.replace("@server@", SERVER)
            .replace("@server6@", SERVER6)
            .replace("@machine@", &machine(self.number))
            .replace("@target@", &target(self.number))
            .replace("@storage@", &self.places().storage())
            .replace("@grub@", &format!("grub{}.efi", self.arch().uefi_suffix()))
            .replace(
                "@systemd-boot@",
                &format!("systemd-boot{}.efi", self.arch().uefi_suffix()),
            )
            .replace(
                "@boot@",
                &format!("BOOT{}.EFI", self.arch().uefi_suffix().to_uppercase()),
            )
            .replace(
                "@command-line@",
                &self
                    .boot_disk()
                    .map(|disk| disk.command_line())
                    .unwrap_or_default(),
            )
            .replace("@username@", &access.username)
            .replace("@password@", &access.password)
            .replace("@mutual-username@", &access.mutual_username)
            .replace("@mutual-password@", &access.mutual_password)
    }

    /// The packages that a run needs.
    pub(crate) fn packages(&self) -> Vec<Package> {
        let mut packages = packages::all();
        packages.extend(packages::boot(self.arch(), self.scenario.release));
        if self.scenario.disk.system().is_some() {
            packages.push(packages::new_kernel(self.arch()));
        }
        packages
    }

    /// The disk to boot from, if it is not a whole Debian or an empty one.
    pub(crate) fn boot_disk(&self) -> Option<BootDisk> {
        Some(BootDisk {
            arch: self.arch(),
            release: self.scenario.release,
            linux: self.scenario.disk.linux(),
            kernel_words: self.scenario.disk.kernel_words()?,
            block_size: self.scenario.block_size,
        })
    }

    /// Where the servers are.
    pub(crate) fn places(&self) -> Places {
        let mut places = Places::of(self.scenario.network.as_ref());
        if self.servers == Kind::Lio {
            places.iscsi = vec![lio::ADDRESS.to_owned()];
        }
        if self.scenario.ipv6 {
            places.http.push(format!("[{SERVER6}]"));
            places.iscsi.push(format!("[{SERVER6}]"));
        }
        places
    }

    /// What the target is configured with.
    pub(crate) fn target_access(&self) -> Access {
        let Secrets {
            password,
            mutual_password,
        } = self.scenario.target.clone();
        let right = access();
        Access {
            password: password.unwrap_or(right.password),
            mutual_password: mutual_password.unwrap_or(right.mutual_password),
            ..right
        }
    }
}

/// How the Linux on the boot disk logs in; the loaders' scripts use the same.
pub(crate) fn access() -> Access {
    Access {
        initiator: "iqn.2000-01.com.example:node1".to_owned(),
        target: target(1),
        address: SERVER.to_owned(),
        port: 3260,
        username: "user".to_owned(),
        password: "password".to_owned(),
        mutual_username: "target".to_owned(),
        mutual_password: "secret".to_owned(),
    }
}
