//! One run of one scenario, inside its own network namespace: start the servers, start the
//! machine, follow the console, look at what is left.

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::build;
use crate::conformance::Suite;
use crate::corpus;
use crate::formats::Formats;
use crate::guest::{Guest, Maker};
use crate::image::{self, system};
use crate::initiators;
use crate::netns;
use crate::network::{Second, Wiring};
use crate::packages::Packages;
use crate::pki;
use crate::qemu::{self, Wire};
use crate::scenario::{Disk, HttpFile, Instance, Logged, Power, Step};
use crate::servers::{Kind, Servers, Setup};
use crate::sh;
use crate::workspace::Workspace;

/// What a run showed. Written to `result.json` by the process inside the namespace.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Stage and seconds since the machine was started.
    pub(crate) stages: Vec<(String, f64)>,
    /// Seconds of the whole run.
    pub(crate) seconds: f64,
    /// Why it failed, if it did.
    pub(crate) failure: Option<String>,
}

impl Report {
    /// Of a run that could not even be started.
    pub(crate) fn not_run(error: &anyhow::Error) -> Self {
        Self {
            stages: Vec::new(),
            seconds: 0.0,
            failure: Some(format!("{error:#}")),
        }
    }

    /// The time of a stage.
    pub(crate) fn stage(&self, name: &str) -> Option<f64> {
        self.stages
            .iter()
            .find(|(stage, _)| stage == name)
            .map(|(_, time)| *time)
    }
}

/// Where a run keeps its logs. No run's folder is inside another's, whatever their names.
pub(crate) fn folder(workspace: &Workspace, name: &str) -> PathBuf {
    workspace.target.join("e2e").join(name.replace('/', "."))
}

/// Runs one scenario and leaves `result.json` in `folder`.
pub(crate) fn inside(
    workspace: &Workspace,
    instance: &Instance,
    folder: &Path,
    live: bool,
) -> Result<()> {
    let started = Instant::now();
    let mut run = Run {
        workspace,
        instance,
        folder,
        live,
        stages: Vec::new(),
    };
    let outcome = run.everything();
    let report = Report {
        stages: run.stages,
        seconds: started.elapsed().as_secs_f64(),
        failure: outcome.err().map(|error| format!("{error:#}")),
    };
    fs::write(
        folder.join("result.json"),
        serde_json::to_vec_pretty(&report)?,
    )?;
    Ok(())
}

struct Run<'a> {
    workspace: &'a Workspace,
    instance: &'a Instance,
    folder: &'a Path,
    live: bool,
    stages: Vec<(String, f64)>,
}

/// What the machine finds around it.
struct Surroundings<'a> {
    servers: Servers,
    setup: &'a Setup<'a>,
    wiring: Option<Wiring>,
}

impl Surroundings<'_> {
    fn wire(&self, instance: &Instance) -> Wire {
        match &self.wiring {
            Some(wiring) => Wire::Switch(wiring.socket(instance.number)),
            None => Wire::Tap,
        }
    }

    /// What a step does to them.
    fn change(&mut self, step: &Step) -> Result<()> {
        if let (Some(fault), Some(wiring)) = (&step.network, &self.wiring) {
            wiring.apply(fault)?;
        }
        match step.servers {
            Some(Power::Stop) => self.servers.stop(),
            Some(Power::Finish) => self.servers.finish()?,
            Some(Power::Freeze) => self.servers.freeze()?,
            Some(Power::Resume) => self.servers.resume()?,
            Some(Power::Start) => self.servers = Servers::start(self.setup)?,
            None => {}
        }
        if step.reset {
            self.servers.reset_neighbour(self.setup)?;
        }
        if let Some(logged) = &step.logged {
            self.find_logged(logged, Duration::from_secs(step.within))?;
        }
        if let Some(seconds) = step.wait {
            std::thread::sleep(Duration::from_secs_f64(seconds));
        }
        Ok(())
    }
}

impl Surroundings<'_> {
    /// Waits until a server has noted a text.
    fn find_logged(&self, logged: &Logged, within: Duration) -> Result<()> {
        let file = self.setup.folder.join(format!("{}.log", logged.by));
        let deadline = Instant::now() + within;
        loop {
            let log = fs::read_to_string(&file).unwrap_or_default();
            if log.contains(&logged.text) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let (by, text) = (&logged.by, &logged.text);
                bail!("{by} has not noted `{text}`:\n{}", sh::tail(&log, 15));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Run<'_> {
    /// The second machine on the network, if there is one.
    fn second(&self) -> Option<Second> {
        match self.instance.servers {
            Kind::Lio => Some(Second::Target),
            Kind::Bowline | Kind::Peers => {
                let neighbour = self.instance.scenario.neighbour;
                neighbour.then_some(Second::Neighbour)
            }
        }
    }

    fn everything(&mut self) -> Result<()> {
        netns::set_up()?;
        let network = self.instance.scenario.network.as_ref();
        let wiring = network
            .map(|network| network.start(self.folder, self.second()))
            .transpose()?;
        if wiring.is_none() {
            netns::add_tap()?;
            if self.instance.scenario.ipv6 {
                netns::give_tap_ipv6()?;
            }
        }
        let packages = Packages::obtain(self.workspace, &self.instance.packages(), false)?;
        let (disk, golden) = self.iscsi_disk(self.instance, &packages)?;
        let files = self.http_files(&packages, &disk)?;
        let neighbour = self.instance.neighbour();
        let neighbour = neighbour
            .map(|neighbour| self.iscsi_disk(&neighbour, &packages))
            .transpose()?;
        let formats = (self.instance.scenario.disk == Disk::Formats)
            .then(|| Formats::make(self.workspace, self.folder))
            .transpose()?;
        let access = self.instance.target_access();
        let wanted = self.instance.scenario.https;
        let pki = wanted
            .map(|https| pki::Files::make(self.folder, https))
            .transpose()?;
        let system = (self.instance.servers == Kind::Lio)
            .then(|| image::target_system(self.workspace, &packages))
            .transpose()?;
        let plug = wiring.as_ref().map(|wiring| wiring.socket(2));
        let setup = Setup {
            kind: self.instance.servers,
            dhcp: self.instance.scenario.dhcp,
            ipv6: self.instance.scenario.ipv6,
            pxe: self.instance.scenario.pxe,
            places: &self.instance.places(),
            files: &files,
            https: wanted.zip(pki.as_ref()),
            disk: &disk,
            block_size: self.instance.scenario.block_size,
            neighbour: neighbour.map(|(disk, _)| disk),
            conformance: !self.instance.scenario.conformance.is_empty(),
            formats: formats.as_ref(),
            access: &access,
            folder: self.folder,
            bowline: match self.instance.servers {
                Kind::Bowline => Some(build::bowline(self.workspace)?),
                Kind::Peers | Kind::Lio => None,
            },
            services: (&self.instance.scenario.services, &packages),
            lio: system.as_ref().zip(plug.as_deref()),
        };
        let mut kept = vec![self.folder.join("bowline.toml"), files.clone()];
        kept.extend(golden);
        let mut surroundings = Surroundings {
            servers: Servers::start(&setup)?,
            setup: &setup,
            wiring,
        };
        let before = self.digests(&kept)?;
        let mut outcome = Ok(());
        if self.instance.machine.is_some() {
            outcome = self.machines(&packages, pki.as_ref(), &mut surroundings);
        }
        outcome = outcome.and_then(|()| self.host_programs(&packages));
        // A server that is gone explains whatever else went wrong.
        surroundings.servers.check(self.folder)?;
        outcome?;
        drop(surroundings);
        network.map_or(Ok(()), |network| network.verify(self.folder))?;
        ensure!(
            self.digests(&kept)? == before,
            "something that the servers have was changed: {kept:?}"
        );
        if self.instance.scenario.verify_written {
            match &formats {
                Some(formats) => self.verify_formats(formats)?,
                None => self.verify_written(&disk)?,
            }
        }
        if let Some(name) = &self.instance.scenario.verify_added {
            self.verify_digest(" of /etc/added", &fs::read(files.join(name))?)?;
        }
        self.verify_ranges(&disk)?;
        self.verify_server_log()
    }

    fn http_files(&self, packages: &Packages, disk: &Path) -> Result<PathBuf> {
        let root = self.folder.join("http");
        fs::create_dir_all(&root)?;
        for (name, content) in &self.instance.scenario.http {
            let path = root.join(name);
            match content {
                HttpFile::Text(text) => fs::write(path, self.instance.fill(text))?,
                HttpFile::Size { mib } => write_pattern(&path, *mib)?,
                HttpFile::Link { link } => std::os::unix::fs::symlink(link, path)?,
                HttpFile::Program { program } => {
                    let arch = self.instance.arch();
                    let program = match program.as_str() {
                        "ipxe" => packages.ipxe(arch)?,
                        ours => build::program(self.workspace, ours, arch)?,
                    };
                    fs::copy(program, path).map(drop)?;
                }
                HttpFile::Loader { loader } => {
                    let script = self.folder.join(name).with_extension("ipxe");
                    fs::write(&script, self.instance.fill(loader))?;
                    let arch = self.instance.arch();
                    sh::run(&mut build::pack(self.workspace, arch, &script, &path)?)?;
                }
                HttpFile::Folder { folder } => {
                    let from = self.workspace.e2e().join(folder);
                    sh::run(sh::command("cp").arg("-rT").arg(&from).arg(&root))?;
                    corpus::write(&self.workspace.e2e(), &root)?;
                }
                HttpFile::DeviceTree { model } => qemu::device_tree(&path, model)?,
                HttpFile::Cd { cd } => image::cd(&path, packages, self.instance.arch(), cd)?,
                HttpFile::Esp { esp } => image::copy_from_esp(disk, esp, &path)?,
            }
        }
        Ok(root)
    }

    /// The SHA-256 of every file in `paths`, if the scenario wants to know.
    fn digests(&self, paths: &[PathBuf]) -> Result<String> {
        if !self.instance.scenario.servers_untouched {
            return Ok(String::new());
        }
        let mut find = sh::command("find");
        find.args(paths)
            .args(["-type", "f", "-exec", "sha256sum", "{}", "+"]);
        sh::output(&mut find)
    }

    /// The disk of the target, and the golden image that it is an overlay of, if it is.
    fn iscsi_disk(
        &self,
        instance: &Instance,
        packages: &Packages,
    ) -> Result<(PathBuf, Option<PathBuf>)> {
        let arch = instance.arch();
        if let Some(kind) = instance.scenario.disk.system() {
            let machine = format!("{}-{}", instance.name.replace('/', "-"), instance.number);
            let system = system::clone(self.workspace, packages, arch, kind, &machine)?;
            return Ok((system.overlay, Some(system.golden)));
        }
        let disk = self.folder.join("iscsi.img");
        let Some(boot_disk) = self.instance.boot_disk() else {
            image::disk_without_esp(&disk)?;
            return Ok((disk, None));
        };
        let image = boot_disk.image(self.workspace, packages)?;
        sh::run(
            sh::command("cp")
                .arg("--sparse=always")
                .arg(image)
                .arg(&disk),
        )?;
        Ok((disk, None))
    }

    /// The machines' part: the steps of the scenario.
    fn machines(
        &mut self,
        packages: &Packages,
        pki: Option<&pki::Files>,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<()> {
        let maker = Maker {
            workspace: self.workspace,
            packages,
            pki,
            live: self.live,
        };
        let start = |instance: &Instance, surroundings: &Surroundings<'_>| {
            maker.start(instance, self.folder, surroundings.wire(instance))
        };
        let mut guests = vec![start(self.instance, surroundings)?];
        if let Some(neighbour) = self.instance.neighbour() {
            guests.push(start(&neighbour, surroundings)?);
        }
        for step in &self.instance.steps {
            let guest = guests
                .get_mut(usize::from(step.machine) - 1)
                .context("a step of a machine that is not there")?;
            if step.power_on {
                let instance = guest.instance.clone();
                *guest = start(&instance, surroundings)?;
            }
            if let Some(text) = &step.send {
                guest.type_text(text)?;
            }
            surroundings.change(step)?;
            if let Some(name) = &step.screen {
                guest.take_picture(name)?;
            }
            if step.expect.is_none() && !step.end {
                continue;
            }
            let time = guest.follow(step)?;
            if let Some(stage) = &step.stage {
                self.stages.push((stage.clone(), time.as_secs_f64()));
            }
        }
        guests.iter().try_for_each(Guest::verify)?;
        if let [first, second] = &guests[..] {
            for start in &self.instance.scenario.differs {
                let said = [first.said(start)?, second.said(start)?];
                ensure!(said[0] != said[1], "both machines say `{}`", said[0]);
            }
        }
        Ok(())
    }

    fn host_programs(&mut self, packages: &Packages) -> Result<()> {
        let started = Instant::now();
        for run in &self.instance.scenario.run {
            initiators::host_run(run, |text| self.instance.fill(text), self.folder)?;
            self.stages
                .push((run.stage.clone(), started.elapsed().as_secs_f64()));
        }
        let families = &self.instance.scenario.conformance;
        if families.is_empty() {
            return Ok(());
        }
        let suite = Suite::open(packages)?;
        suite.covers(families)?;
        for family in families {
            let url = self
                .instance
                .fill("iscsi://@username@%@password@@@server@:3260/@target@/");
            let url = format!("{url}{}", family.lun);
            let summary = suite.run(family, &url, self.folder)?;
            self.stages.push((summary, started.elapsed().as_secs_f64()));
        }
        Ok(())
    }

    /// The texts that the log of our server must have.
    fn verify_server_log(&self) -> Result<()> {
        let texts = &self.instance.scenario.server_log;
        if texts.is_empty() {
            return Ok(());
        }
        let log = fs::read_to_string(self.folder.join("bowline.log"))?;
        let mut rest = log.as_str();
        for text in texts {
            let text = self.instance.fill(text);
            let found = rest.split_once(text.as_str());
            (_, rest) = found.with_context(|| {
                format!("the server's log has no `{text}`, or not where it belongs:\n{log}")
            })?;
        }
        Ok(())
    }

    /// The file that Linux wrote, read from the image by a program of the host.
    fn verify_written(&self, disk: &Path) -> Result<()> {
        let content = image::read_root_file(disk, "/var/written")?;
        self.verify_digest("", &content)
    }

    /// The same for the disks of every format; their file systems must be in order besides.
    fn verify_formats(&self, formats: &Formats) -> Result<()> {
        for (lun, raw) in formats.as_raw()? {
            sh::run(sh::command("e2fsck").arg("-fn").arg(&raw))
                .with_context(|| format!("the file system on LUN {lun} is damaged"))?;
            let content = image::read_file(&raw, "/written")?;
            self.verify_digest(&format!(" of LUN {lun}"), &content)?;
        }
        Ok(())
    }

    /// Every range of bytes whose digest the console told of is so on the disk image.
    fn verify_ranges(&self, disk: &Path) -> Result<()> {
        let wanted = self.instance.scenario.verify_ranges;
        if wanted == 0 {
            return Ok(());
        }
        let console = self.console()?;
        let told: Vec<&str> = console
            .lines()
            .filter_map(|line| line.trim().strip_prefix("BOWLINE-TEST sha256 of bytes "))
            .collect();
        ensure!(
            told.len() == wanted,
            "the console told of {} ranges",
            told.len()
        );
        let image = fs::File::open(disk)?;
        for line in told {
            let (range, digest) = line.split_once(": ").context("no digest")?;
            let (start, end) = range.split_once(" to ").context("no range")?;
            let (start, end): (u64, u64) = (start.parse()?, end.parse()?);
            let mut content = vec![0; usize::try_from(end - start)?];
            image.read_exact_at(&mut content, start)?;
            ensure!(
                self.sha256(&content)? == digest,
                "bytes {range} of the disk image are not what the machine read or wrote"
            );
        }
        Ok(())
    }

    fn console(&self) -> Result<String> {
        let console = fs::read(self.folder.join("console.log"))?;
        Ok(String::from_utf8_lossy(&console).into_owned())
    }

    /// By the host's own program.
    fn sha256(&self, content: &[u8]) -> Result<String> {
        let written = self.folder.join("written");
        fs::write(&written, content)?;
        let digest = sh::output(sh::command("sha256sum").arg(&written))?;
        let digest = digest.split_whitespace().next().unwrap_or_default();
        Ok(digest.to_owned())
    }

    /// Sees that the console told of the digest of what is on the disk.
    fn verify_digest(&self, which: &str, content: &[u8]) -> Result<()> {
        let digest = self.sha256(content)?;
        ensure!(
            self.console()?
                .contains(&format!("BOWLINE-TEST sha256{which} {digest}")),
            "the file{which} has SHA-256 {digest} here, and Linux has seen another one"
        );
        Ok(())
    }
}

/// A file of pseudo-random bytes: every block differs, so that misplaced data is noticed.
fn write_pattern(path: &Path, mib: u64) -> Result<()> {
    let mut file = std::io::BufWriter::new(fs::File::create(path)?);
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..mib * (1 << 20) / 8 {
        // xorshift64 (Marsaglia 2003)
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_le_bytes())?;
    }
    file.flush()?;
    Ok(())
}
