//! A TPM 2.0 in software (swtpm) for a machine, and what it was asked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::sh;

/// It listens well before that, even on a busy host.
const PATIENCE: Duration = Duration::from_secs(20);

/// TPM2_GetRandom without sessions, up to the number of bytes (TPM 2.0 Library part 3, section
/// 16.1), as swtpm's log shows commands.
const GET_RANDOM: &str = "80 01 00 00 00 0C 00 00 01 7B";

/// A running one. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Tpm {
    process: Child,
    /// Where QEMU finds it.
    pub(crate) socket: PathBuf,
    log: PathBuf,
}

impl Tpm {
    /// Starts one that is new from the factory; its files go into `folder`.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let state = folder.join("tpm");
        fs::create_dir_all(&state)?;
        let (socket, log) = (state.join("socket"), folder.join("tpm.log"));
        let mut command = sh::command("swtpm");
        command
            .args(["socket", "--tpm2", "--flags", "startup-clear"])
            .arg(format!("--tpmstate=dir={}", state.display()))
            .arg(format!("--ctrl=type=unixio,path={}", socket.display()))
            .arg(format!("--log=file={},level=20", log.display()))
            .stdin(Stdio::null());
        let process = command.spawn().context("cannot start swtpm")?;
        let tpm = Self {
            process,
            socket,
            log,
        };
        let begun = Instant::now();
        while !tpm.socket.exists() {
            ensure!(begun.elapsed() < PATIENCE, "swtpm does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(tpm)
    }

    /// Fails unless it was asked for random bytes.
    pub(crate) fn verify_asked(&self) -> Result<()> {
        let log = fs::read_to_string(&self.log).context("swtpm wrote no log")?;
        ensure!(
            log.contains(GET_RANDOM),
            "the TPM was not asked for random bytes: see {}",
            self.log.display()
        );
        Ok(())
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
