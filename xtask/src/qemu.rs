//! Virtual machines: one network card on the TAP device, one small disk with the loader, a serial
//! console. Always emulated (TCG): the firmware builds do not run under KVM everywhere, and a test
//! should be the same everywhere.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use bowline_sim::switch::realtime::Guest;

use crate::arch::Arch;
use crate::firmware::{Files, Firmware};
use crate::netns::TAP;
use crate::sh;

/// The hardware address of a machine's card.
pub(crate) fn mac(number: u8) -> String {
    format!("52:54:00:12:34:{:02x}", 0x55 + number)
}

/// The network card of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Nic {
    /// Over MMIO with U-Boot, over PCI with EDK2.
    Virtio,
    /// Over PCI with U-Boot too.
    VirtioPci,
    /// Intel 82540EM.
    E1000,
    /// Intel 82574L.
    E1000e,
    /// Realtek RTL8139C+.
    Rtl8139,
    /// The same cards with the driver in their option ROM: Debian's iPXE as QEMU ships it.
    E1000Rom,
    E1000eRom,
    Rtl8139Rom,
}

impl Nic {
    const ALL: [Self; 8] = [
        Self::Virtio,
        Self::VirtioPci,
        Self::E1000,
        Self::E1000e,
        Self::Rtl8139,
        Self::E1000Rom,
        Self::E1000eRom,
        Self::Rtl8139Rom,
    ];

    /// The card of that name.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|nic| nic.name() == name);
        found.with_context(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("there is no card `{name}`; there are {known}")
        })
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Virtio => "virtio",
            Self::VirtioPci => "virtio-pci",
            Self::E1000 => "e1000",
            Self::E1000e => "e1000e",
            Self::Rtl8139 => "rtl8139",
            Self::E1000Rom => "e1000-rom",
            Self::E1000eRom => "e1000e-rom",
            Self::Rtl8139Rom => "rtl8139-rom",
        }
    }

    /// For tables.
    pub(crate) const fn title(self, firmware: Firmware) -> &'static str {
        match self {
            Self::Virtio if firmware.is_u_boot() => "virtio-net (MMIO)",
            Self::Virtio | Self::VirtioPci => "virtio-net (PCI)",
            Self::E1000Rom => "e1000, option ROM",
            Self::E1000eRom => "e1000e, option ROM",
            Self::Rtl8139Rom => "rtl8139, option ROM",
            Self::E1000 | Self::E1000e | Self::Rtl8139 => self.name(),
        }
    }

    /// As QEMU calls it. What is between card and firmware is the firmware's driver, unless it is
    /// that of the card's own ROM.
    const fn device(self, firmware: Firmware) -> &'static str {
        match self {
            Self::Virtio if firmware.is_u_boot() => "virtio-net-device",
            Self::Virtio | Self::VirtioPci => "virtio-net-pci,romfile=",
            Self::E1000 => "e1000,romfile=",
            Self::E1000e => "e1000e,romfile=",
            Self::Rtl8139 => "rtl8139,romfile=",
            Self::E1000Rom => "e1000",
            Self::E1000eRom => "e1000e",
            Self::Rtl8139Rom => "rtl8139",
        }
    }
}

/// Where the cable of a machine's card leads.
#[derive(Debug, Clone)]
pub(crate) enum Wire {
    /// To the TAP device of the servers.
    Tap,
    /// To the switch that listens here.
    Switch(PathBuf),
}

/// A machine to be started.
#[derive(Debug)]
pub(crate) struct Machine<'a> {
    pub(crate) firmware: Firmware,
    pub(crate) files: Files,
    pub(crate) nic: Nic,
    /// 1, or 2 for the second one of a run.
    pub(crate) number: u8,
    /// The disk with the loader.
    pub(crate) disk: &'a Path,
    /// Another one, which is not changed.
    pub(crate) second_disk: Option<&'a Path>,
    /// Whether it may start again by itself.
    pub(crate) reboot: bool,
    /// Where the cable of the card leads.
    pub(crate) wire: Wire,
    /// Certificate authorities for the firmware, which EDK2 takes into its variable
    /// TlsCaCertificate.
    pub(crate) authorities: Option<&'a Path>,
    /// Where its TPM listens, if it has one.
    pub(crate) tpm: Option<&'a Path>,
    /// Where QEMU takes commands (QMP), if the machine has a screen to take pictures of.
    pub(crate) screen: Option<&'a Path>,
    /// Where the machine's own files go (variable store, QEMU's messages).
    pub(crate) folder: &'a Path,
}

/// A running machine. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// Keyboard of the serial console.
    pub(crate) input: ChildStdin,
}

impl Machine<'_> {
    /// Starts it; its console comes back beside it.
    pub(crate) fn start(&self) -> Result<(Running, ChildStdout)> {
        let mut command = self.command()?;
        let errors = fs::File::create(self.folder.join("qemu.log"))?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start `{}`", sh::display(&command)))?;
        let output = child.stdout.take().context("QEMU has no output")?;
        let input = child.stdin.take().context("QEMU has no input")?;
        Ok((Running { child, input }, output))
    }

    fn command(&self) -> Result<Command> {
        let mut command = match self.firmware.arch() {
            Arch::Arm64 => arm64("virt"),
            Arch::X86_64 => {
                let mut command = sh::command("qemu-system-x86_64");
                command.args(["-machine", "q35", "-cpu", "max"]);
                command
            }
        };
        command.args(SIZE);
        if !self.reboot {
            command.arg("-no-reboot");
        }
        command.args(["-nodefaults", "-display", "none", "-serial", "stdio"]);
        match &self.files {
            Files::Bios(image) => {
                command.arg("-bios").arg(image);
            }
            Files::Flash { code, variables } => {
                let own = self.folder.join("variables.fd");
                fs::copy(variables, &own).context("cannot copy the firmware's variable store")?;
                command.arg("-drive").arg(format!(
                    "if=pflash,unit=0,format=raw,readonly=on,file={}",
                    code.display()
                ));
                command.arg("-drive").arg(format!(
                    "if=pflash,unit=1,format=raw,file={}",
                    own.display()
                ));
            }
        }
        // U-Boot's virtio is the MMIO one of the `virt` machine.
        let bus = if self.firmware.is_u_boot() {
            "device"
        } else {
            "pci"
        };
        let first = ("loader", self.disk, "");
        let second = self
            .second_disk
            .map(|disk| ("second", disk, ",snapshot=on"));
        let mut disks: Vec<_> = (0..).zip([first].into_iter().chain(second)).collect();
        if self.firmware.is_u_boot() {
            // Whose first disk is the one that QEMU was told of last.
            disks.reverse();
        }
        for (index, (name, disk, options)) in disks {
            command.arg("-drive").arg(format!(
                "if=none,id={name},format=raw{options},file={}",
                disk.display()
            ));
            command.args([
                "-device",
                &format!("virtio-blk-{bus},drive={name},bootindex={index}"),
            ]);
        }
        command.args(["-device", &format!("virtio-rng-{bus}")]);
        if let Some(socket) = self.screen {
            command.args(["-device", "ramfb"]);
            let socket = socket.display();
            command.args(["-qmp", &format!("unix:{socket},server=on,wait=off")]);
        }
        let wire = match &self.wire {
            Wire::Tap => format!("tap,id=wire,ifname={TAP},script=no,downscript=no"),
            Wire::Switch(socket) => format!("{},id=wire", Guest::netdev(socket)),
        };
        command.args(["-netdev", &wire]);
        if let Some(list) = self.authorities {
            command.arg("-fw_cfg").arg(format!(
                "name=etc/edk2/https/cacerts,file={}",
                list.display()
            ));
        }
        if let Some(socket) = self.tpm {
            let socket = socket.display();
            command.args(["-chardev", &format!("socket,id=tpm,path={socket}")]);
            command.args(["-tpmdev", "emulator,id=tpm,chardev=tpm"]);
            command.args(["-device", "tpm-tis,tpmdev=tpm"]);
        }
        let card = self.nic.device(self.firmware);
        let mac = mac(self.number);
        command.args(["-device", &format!("{card},netdev=wire,mac={mac}")]);
        Ok(command)
    }
}

/// Memory and processors, and how they are emulated.
const SIZE: [&str; 6] = ["-accel", "tcg,thread=multi", "-m", "768", "-smp", "1"];

/// An arm64 machine.
fn arm64(machine: &str) -> Command {
    let mut command = sh::command("qemu-system-aarch64");
    command.args(["-machine", machine, "-cpu", "cortex-a72"]);
    command
}

/// Writes the device tree of the arm64 machine with another name of the model, which has to be as
/// long as QEMU's own.
pub(crate) fn device_tree(path: &Path, model: &str) -> Result<()> {
    const OWN: &[u8] = b"linux,dummy-virt";
    ensure!(
        model.len() == OWN.len(),
        "{model} is not as long as QEMU's name"
    );
    let mut command = arm64(&format!("virt,dumpdtb={}", path.display()));
    sh::run(command.args(SIZE).args(["-nodefaults", "-display", "none"]))?;
    let mut tree = fs::read(path)?;
    let at = tree.windows(OWN.len()).rposition(|window| window == OWN);
    let at = at.context("QEMU's device tree has no model")?;
    for place in 0..=at {
        if tree[place..].starts_with(OWN) {
            tree[place..place + OWN.len()].copy_from_slice(model.as_bytes());
        }
    }
    fs::write(path, tree).with_context(|| path.display().to_string())
}

/// Has QEMU, which takes commands at `socket`, draw the machine's screen as a PNG file.
pub(crate) fn take_picture(socket: &Path, picture: &Path) -> Result<()> {
    let mut stream = UnixStream::connect(socket).context("cannot reach QEMU's monitor")?;
    let mut answers = BufReader::new(stream.try_clone()?);
    let picture = picture.display();
    let take = format!(
        r#"{{"execute":"screendump","arguments":{{"filename":"{picture}","format":"png"}}}}"#
    );
    for command in [r#"{"execute":"qmp_capabilities"}"#, &take] {
        writeln!(stream, "{command}")?;
        let mut answer = String::new();
        while !answer.contains("\"return\"") {
            answer.clear();
            ensure!(answers.read_line(&mut answer)? > 0, "QEMU has ended");
            ensure!(
                !answer.contains("\"error\""),
                "QEMU has no picture: {answer}"
            );
        }
    }
    Ok(())
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
