//! Memory of our iSCSI target with many sessions, idle and active, and whether it stays within the
//! bound that docs/iscsi-target.md states.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bowline_iscsi::Isid;
use bowline_iscsi::initiator::{Command, Config, Event, Initiator, Transfer};
use bowline_scsi::{Cdb, Lun};

use crate::build;
use crate::sh;
use crate::workspace::Workspace;

/// MiB that the server may have with all of these sessions; docs/iscsi-target.md.
const BOUND_MIB: u64 = 256;
const TARGET: &str = "iqn.2000-01.com.example:disk1";
const DISK_BYTES: u64 = 64 << 20;
const READ_BLOCKS: u32 = 128;
const LIMIT: Duration = Duration::from_secs(20);

/// Logs `idle` and `active` sessions in, has the active ones read for `time`, and prints what the
/// server has meanwhile.
pub(crate) fn run(workspace: &Workspace, idle: u16, active: u16, time: Duration) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (_server, pid, address) = start(workspace, folder.path())?;
    println!("{:32} {:>10}", "sessions", "server MiB");
    let print = |what: &str| -> Result<()> {
        println!("{what:32} {:10}", memory_mib(pid, "VmRSS")?);
        Ok(())
    };
    print("none")?;
    let sessions = (0..idle)
        .map(|number| Session::login(address, number))
        .collect::<Result<Vec<_>>>()?;
    print(&format!("{idle} idle"))?;
    let mut readers = (idle..idle + active)
        .map(|number| Session::login(address, number))
        .collect::<Result<Vec<_>>>()?;
    let started = Instant::now();
    let reads = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for session in &mut readers {
            threads.push(scope.spawn(move || session.read_for(time)));
        }
        std::thread::sleep(time / 2);
        print(&format!("{idle} idle, {active} reading"))?;
        let mut reads = 0;
        for thread in threads {
            match thread.join() {
                Ok(count) => reads += count?,
                Err(_) => bail!("a session's thread panicked"),
            }
        }
        Ok(reads)
    })?;
    let rate = f64::from(reads) / started.elapsed().as_secs_f64();
    let most = memory_mib(pid, "VmHWM")?;
    println!("{:32} {most:10}", "most at any time");
    println!("{rate:.0} reads of 64 KiB a second by all of them");
    // Nobody was thrown out meanwhile.
    for mut session in sessions {
        session.read()?;
    }
    ensure!(
        most <= BOUND_MIB,
        "the server had {most} MiB, which is more than {BOUND_MIB}"
    );
    Ok(())
}

/// Ends with the measurement, however that goes.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(workspace: &Workspace, folder: &Path) -> Result<(Server, u32, SocketAddr)> {
    File::create(folder.join("disk.img"))?.set_len(DISK_BYTES)?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let config = format!(
        "state = \"state\"\n[iscsi]\nlisten = [\"{address}\"]\n[[iscsi.target]]\n\
         name = \"{TARGET}\"\nlun = [{{ lun = 1, file = \"disk.img\" }}]\n"
    );
    fs::write(folder.join("bowline.toml"), config)?;
    let mut command = sh::command(&build::bowline(workspace)?.display().to_string());
    command
        .args(["--log", "error", "serve", "--config", "bowline.toml"])
        .current_dir(folder)
        .stdin(Stdio::null());
    let child = command.spawn().context("cannot start the server")?;
    let (pid, server) = (child.id(), Server(child));
    let deadline = Instant::now() + LIMIT;
    while TcpStream::connect(address).is_err() {
        ensure!(Instant::now() < deadline, "the server does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok((server, pid, address))
}

/// A line of `/proc/PID/status`, in MiB.
fn memory_mib(pid: u32, key: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with(key));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    let kib: u64 = kib.context("the server has ended")?.parse()?;
    Ok(kib.div_ceil(1024))
}

struct Session {
    stream: TcpStream,
    machine: Initiator,
    start: Instant,
}

impl Session {
    fn login(address: SocketAddr, number: u16) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_millis(500)))?;
        let initiator = "iqn.2000-01.com.example:many";
        let isid = Isid::random([0, 0, 0], number);
        let machine = Initiator::new(
            Config::new(initiator, TARGET, isid, [7; 33]),
            Duration::ZERO,
        );
        let mut session = Self {
            stream,
            machine: machine
                .ok()
                .context("the initiator's configuration is wrong")?,
            start: Instant::now(),
        };
        match session.event()? {
            Event::LoggedIn(_) => Ok(session),
            other => bail!("session {number} was not logged in: {other:?}"),
        }
    }

    /// Reads 64 KiB again and again; how often.
    fn read_for(&mut self, time: Duration) -> Result<u32> {
        let start = Instant::now();
        let mut count = 0;
        while start.elapsed() < time {
            self.read()?;
            count += 1;
        }
        Ok(count)
    }

    fn read(&mut self) -> Result<()> {
        let command = Command {
            lun: Lun::new(1).context("no such LUN")?,
            cdb: Cdb::read(0, READ_BLOCKS).to_bytes().padded(),
            transfer: Transfer::Read(READ_BLOCKS * 512),
            timeout: None,
        };
        let submitted = self.machine.submit(self.start.elapsed(), command);
        ensure!(submitted.is_ok(), "the session takes no command");
        match self.event()? {
            Event::Completed { result: Ok(_), .. } => Ok(()),
            other => bail!("a read failed: {other:?}"),
        }
    }

    /// The next event of any weight.
    fn event(&mut self) -> Result<Event> {
        let deadline = Instant::now() + LIMIT;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            while let Some(bytes) = self.machine.poll_output() {
                self.stream.write_all(&bytes)?;
            }
            while let Some(event) = self.machine.poll_event() {
                if matches!(
                    event,
                    Event::LoggedIn(_) | Event::Completed { .. } | Event::Closed(_)
                ) {
                    return Ok(event);
                }
            }
            ensure!(Instant::now() < deadline, "the server does not answer");
            match self.stream.read(&mut buffer) {
                Ok(0) => bail!("the server has closed a connection"),
                Ok(len) => {
                    let bytes = buffer.get(..len).unwrap_or_default();
                    self.machine.handle_input(self.start.elapsed(), bytes);
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
