//! The machines of a run: the disk with the loader, QEMU, the console that is followed.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::bench;
use crate::build;
use crate::console::{Console, Seen};
use crate::firmware;
use crate::image;
use crate::netns;
use crate::packages::Packages;
use crate::pki;
use crate::qemu::{Machine, Running, Wire, take_picture};
use crate::scenario::{Instance, Loader, Step};
use crate::sh;
use crate::tpm::Tpm;
use crate::variables;
use crate::workspace::Workspace;

/// Texts after which nothing good can come.
const FORBIDDEN: [&str; 5] = [
    "BOWLINE-TEST failed",
    "Kernel panic",
    "\"Synchronous Abort\" handler",
    "!!!! X64 Exception",
    "Synchronous Exception at",
];

/// What machines are made with.
#[derive(Debug)]
pub(crate) struct Maker<'a> {
    pub(crate) workspace: &'a Workspace,
    pub(crate) packages: &'a Packages,
    pub(crate) pki: Option<&'a pki::Files>,
    /// Whether its console is shown.
    pub(crate) live: bool,
}

/// A machine that runs, or has ended.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) instance: Instance,
    folder: PathBuf,
    running: Running,
    console: Console,
    tpm: Option<Tpm>,
}

impl Maker<'_> {
    /// Starts a machine. The first one's files are in the folder of the run, another one's in a
    /// folder in there.
    pub(crate) fn start(&self, instance: &Instance, run: &Path, wire: Wire) -> Result<Guest> {
        let folder = match instance.number {
            1 => run.to_path_buf(),
            number => run.join(format!("machine{number}")),
        };
        fs::create_dir_all(&folder)?;
        let (firmware, nic) = instance.machine.context("this scenario has no machine")?;
        let disk = self.loader_disk(instance, &folder)?;
        let local = instance
            .boot_disk()
            .filter(|_| instance.scenario.local_disk);
        let local = local
            .map(|disk| disk.image(self.workspace, self.packages))
            .transpose()?;
        let mut files = firmware.files(self.packages)?;
        if let (Loader::Ipxe, firmware::Files::Flash { variables, .. }, Some(pki)) =
            (instance.scenario.loader, &mut files, self.pki)
        {
            let trusting = folder.join("trusting.fd");
            variables::trust(variables, &trusting, &fs::read(&pki.root_list)?)?;
            *variables = trusting;
        }
        let https = instance.scenario.https;
        let vouches = https.is_some_and(|https| https.firmware_vouches);
        let tpm = instance.scenario.tpm;
        let tpm = tpm.then(|| Tpm::start(&folder)).transpose()?;
        let has_screen = instance.steps.iter().any(|it| it.screen.is_some());
        let monitor = monitor(&folder);
        let machine = Machine {
            firmware,
            files,
            nic,
            number: instance.number,
            disk: &disk,
            second_disk: local.as_deref(),
            reboot: instance.scenario.reboot,
            wire,
            authorities: self
                .pki
                .filter(|_| vouches)
                .map(|pki| pki.root_list.as_path()),
            tpm: tpm.as_ref().map(|tpm| tpm.socket.as_path()),
            screen: has_screen.then_some(monitor.as_path()),
            folder: &folder,
        };
        let (running, output) = machine.start()?;
        let mut forbidden: Vec<String> = FORBIDDEN.map(str::to_owned).to_vec();
        forbidden.extend(instance.scenario.forbidden.iter().cloned());
        let log = folder.join("console.log");
        let console = Console::watch(output, &log, self.live, &forbidden)?;
        Ok(Guest {
            instance: instance.clone(),
            folder,
            running,
            console,
            tpm,
        })
    }

    /// The machine's own disk with the loader and its script.
    fn loader_disk(&self, instance: &Instance, folder: &Path) -> Result<PathBuf> {
        let pki = self.pki;
        let disk = folder.join("loader.img");
        let arch = instance.arch();
        let script = folder.join("embedded.ipxe");
        fs::write(&script, instance.fill(&instance.scenario.script))?;
        match instance.scenario.loader {
            Loader::Bowline => {
                let packed = folder.join("bowline.efi");
                let mut pack = build::pack(self.workspace, arch, &script, &packed)?;
                if let (Some(https), Some(pki)) = (instance.scenario.https, pki) {
                    if https.firmware_vouches {
                        pack.arg("--trust-firmware");
                    } else {
                        pack.arg("--trust").arg(&pki.root);
                    }
                    if https.has_client {
                        pack.arg("--cert").arg(&pki.client);
                        pack.arg("--key").arg(&pki.client_key);
                    }
                }
                sh::run(&mut pack)?;
                image::loader_disk(&disk, arch, &packed, &[])?;
            }
            Loader::BowlineBeside => {
                let loader = build::loader(self.workspace, arch)?;
                let script = fs::read(&script)?;
                image::loader_disk(&disk, arch, &loader, &[("autoexec.ipxe", &script)])?;
            }
            Loader::BowlineDamaged => {
                let damaged = folder.join("bowline.efi");
                let mut bytes = fs::read(build::loader(self.workspace, arch)?)?;
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(&damaged, bytes)?;
                image::loader_disk(&disk, arch, &damaged, &[])?;
            }
            Loader::Ipxe => {
                let ipxe = self.packages.ipxe(arch)?;
                let script = fs::read(&script)?;
                image::loader_disk(&disk, arch, &ipxe, &[("autoexec.ipxe", &script)])?;
            }
            Loader::Reader => {
                let reader = build::program(self.workspace, build::READER, arch)?;
                image::loader_disk(&disk, arch, &reader, &[])?;
                bench::frames::answer(netns::SERVER)?;
            }
        }
        Ok(disk)
    }
}

impl Guest {
    /// Types on its serial console.
    pub(crate) fn type_text(&mut self, text: &str) -> Result<()> {
        let text = self.instance.fill(text);
        self.running.input.write_all(text.as_bytes())?;
        self.running.input.flush()?;
        Ok(())
    }

    /// Has QEMU take a picture of its screen.
    pub(crate) fn take_picture(&self, name: &str) -> Result<()> {
        let picture = self.folder.join(format!("{name}.png"));
        take_picture(&monitor(&self.folder), &picture)
    }

    /// Waits for what a step expects; the time it came.
    pub(crate) fn follow(&mut self, step: &Step) -> Result<Duration> {
        let within = Duration::from_secs(step.within);
        let (wanted, seen) = match &step.expect {
            Some(text) => {
                let text = self.instance.fill(text);
                (format!("`{text}`"), self.console.expect(&text, within))
            }
            None => ("power off".to_owned(), self.console.expect_end(within)),
        };
        let last = self.console.last_lines(12);
        match seen {
            Seen::Text(time) => Ok(time),
            Seen::End(time) if step.end => Ok(time),
            Seen::End(_) => {
                let qemu = fs::read_to_string(self.folder.join("qemu.log")).unwrap_or_default();
                bail!("the machine ended before {wanted}; it last said:\n{last}\n{qemu}")
            }
            Seen::Forbidden(line) => bail!("instead of {wanted} came: {line}\n{last}"),
            Seen::TimedOut => bail!(
                "no {wanted} within {} s (at {:.1} s); the console last said:\n{last}",
                step.within,
                self.console.elapsed().as_secs_f64()
            ),
        }
    }

    /// The last line of its console that begins so.
    pub(crate) fn said(&self, start: &str) -> Result<String> {
        let log = fs::read(self.folder.join("console.log"))?;
        let log = String::from_utf8_lossy(&log);
        let line = log.lines().rfind(|line| line.starts_with(start));
        let line = line
            .with_context(|| format!("machine {} did not say `{start}`", self.instance.number))?;
        Ok(line.to_owned())
    }

    /// Looks at what it has left.
    pub(crate) fn verify(&self) -> Result<()> {
        self.tpm.as_ref().map_or(Ok(()), Tpm::verify_asked)
    }
}

/// Where its QEMU takes commands.
fn monitor(folder: &Path) -> PathBuf {
    folder.join("qmp")
}
