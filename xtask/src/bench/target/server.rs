//! The targets that are measured, as processes of their own.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::TARGET;
use crate::sh;

/// Processor time in /proc is in hundredths of a second on every architecture we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// A target that runs until the value is dropped.
pub(super) struct Server {
    pub(super) name: &'static str,
    port: u16,
    process: Child,
}

impl Server {
    fn start(name: &'static str, port: u16, command: &mut Command, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log)?;
        let process = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start `{}`", sh::display(command)))?;
        let server = Self {
            name,
            port,
            process,
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > deadline {
                let said = fs::read_to_string(&log).unwrap_or_default();
                bail!(
                    "{name} does not listen on port {port}:\n{}",
                    sh::tail(&said, 15)
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    pub(super) fn start_bowline(program: &Path, folder: &Path) -> Result<Self> {
        let config = folder.join("bowline.toml");
        let text = format!(
            "state = \"{folder}/state\"\n\n\
             [iscsi]\nlisten = [\"127.0.0.1:3261\"]\n\n\
             [[iscsi.target]]\nname = \"{TARGET}\"\n\n\
             [[iscsi.target.lun]]\nlun = 1\nfile = \"{folder}/disk.img\"\n",
            folder = folder.display()
        );
        fs::write(&config, text)?;
        let mut command = Command::new(program);
        command.args(["serve", "--config"]).arg(&config);
        Self::start("bowline", 3261, &mut command, folder)
    }

    pub(super) fn start_tgt(folder: &Path) -> Result<Self> {
        let socket = folder.join("tgt");
        let mut command = sh::command("tgtd");
        command.env("TGT_IPC_SOCKET", &socket).args([
            "-f",
            "-C",
            "0",
            "--iscsi",
            "portal=127.0.0.1:3260",
        ]);
        let server = Self::start("tgtd", 3260, &mut command, folder)?;
        let target = format!("--targetname={TARGET}");
        let store = format!("--backing-store={}", folder.join("disk.img").display());
        let steps: [&[&str]; 3] = [
            &["--op=new", "--mode=target", "--tid=1", &target],
            &[
                "--op=new",
                "--mode=logicalunit",
                "--tid=1",
                "--lun=1",
                "--bstype=rdwr",
                &store,
            ],
            &[
                "--op=bind",
                "--mode=target",
                "--tid=1",
                "--initiator-address=ALL",
            ],
        ];
        for step in steps {
            let mut command = sh::command("tgtadm");
            command.env("TGT_IPC_SOCKET", &socket);
            sh::run(command.arg("--lld=iscsi").args(step))?;
        }
        Ok(server)
    }

    /// The address of its disk for libiscsi.
    pub(super) fn url(&self) -> String {
        format!("iscsi://127.0.0.1:{}/{TARGET}/1", self.port)
    }

    /// Processor time of the process so far, all threads, user and system.
    pub(super) fn processor_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))
            .with_context(|| format!("{} has ended", self.name))?;
        ticks(&stat)
            .map(|ticks| ticks / TICKS_PER_SECOND)
            .with_context(|| format!("/proc/PID/stat is not as expected: {stat}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone is fine. tgtd does not heed anything gentler while it has targets.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `utime` and `stime`, the 14th and 15th field; the name, the 2nd, may hold anything.
fn ticks(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "17 (a ) b) S 1 17 17 0 -1 4194560 900 0 0 0 31 11 7 7 20 0 3 0 100";
        assert_eq!(ticks(stat), Some(42.0));
    }
}
