//! Our own initiator machine over a blocking socket, and a server to talk to.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bowline_iscsi::initiator::{
    Closed, Command, Completion, Config, Error, Event, Initiator, Login, TaskError, TaskId,
    Transfer,
};
use bowline_iscsi::{Credentials, Isid};
use bowline_scsi::{Cdb, Lun};
use bowline_server::{Server, Shutdown, Trigger};

/// A server in this process, and the directory with its images. Ends when dropped.
pub(crate) struct Site {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    trigger: Option<Trigger>,
    run: Option<tokio::task::JoinHandle<()>>,
    pub(crate) runtime: tokio::runtime::Runtime,
    handle: Option<bowline_server::iscsi::Handle>,
    pub(crate) config: bowline_server::iscsi::Config,
}

/// Targets `open` (LUN 1 writable, LUN 2 read-only), `oneway` and `mutual`.
const CONFIG: &str = "
state = 'state'
[iscsi]
listen = ['127.0.0.1:0']
[[iscsi.target]]
name = 'iqn.2026-01.com.example:gone'
redirect = '192.0.2.1:3260'
[[iscsi.target]]
name = 'iqn.2026-01.com.example:named'
initiators = ['iqn.2026-01.com.example:Friend']
lun = [{ lun = 1, file = 'named.img' }]
[[iscsi.target]]
name = 'iqn.2026-01.com.example:distant'
networks = ['192.0.2.0/24', '2001:db8::/32']
lun = [{ lun = 1, file = 'distant.img' }]
[[iscsi.target]]
name = 'iqn.2026-01.com.example:open'
lun = [
    { lun = 1, file = 'open.img' },
    { lun = 2, file = 'fixed.img', read-only = true, block-size = 4096 },
]
[[iscsi.target]]
name = 'iqn.2026-01.com.example:oneway'
chap = { username = 'user', password = 'password of the user' }
lun = [{ lun = 1, file = 'oneway.img' }]
[[iscsi.target]]
name = 'iqn.2026-01.com.example:mutual'
chap = { username = 'user', password = 'password of the user', mutual-username = 'target', mutual-password = 'secret of the target' }
lun = [{ lun = 1, file = 'mutual.img' }]
";

/// Bytes in every image.
pub(crate) const IMAGE_LEN: u64 = 32 << 20;

impl Site {
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    /// A site whose limits `change` has changed.
    pub(crate) fn with(change: impl FnOnce(&mut bowline_server::iscsi::Limits)) -> Self {
        Self::serve(tempfile::tempdir().unwrap(), |config| {
            change(&mut config.limits)
        })
    }

    /// A site whose configuration `change` has changed.
    pub(crate) fn configured(change: impl FnOnce(&mut bowline_server::iscsi::Config)) -> Self {
        Self::serve(tempfile::tempdir().unwrap(), change)
    }

    /// Ends the server and starts another on what it leaves.
    pub(crate) fn restart(mut self) -> Self {
        self.stop();
        let directory = std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap());
        Self::serve(directory, |_| ())
    }

    fn serve(
        directory: tempfile::TempDir,
        change: impl FnOnce(&mut bowline_server::iscsi::Config),
    ) -> Self {
        for name in ["open", "fixed", "oneway", "mutual", "named", "distant"] {
            let path = directory.path().join(format!("{name}.img"));
            let mut options = fs::OpenOptions::new();
            let file = options.write(true).create(true).truncate(false).open(path);
            file.unwrap().set_len(IMAGE_LEN).unwrap();
        }
        Self::of(directory, CONFIG, change)
    }

    /// A site of its own configuration, whose files begin at `directory`.
    pub(crate) fn of(
        directory: tempfile::TempDir,
        config: &str,
        change: impl FnOnce(&mut bowline_server::iscsi::Config),
    ) -> Self {
        let path = directory.path().join("bowline.toml");
        let mut config = bowline_server::Config::parse(&path, config).unwrap().config;
        change(config.iscsi.as_mut().unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let iscsi = config.iscsi.clone().unwrap();
        let server = {
            let _inside = runtime.enter();
            Server::bind(config).unwrap()
        };
        let address = server.iscsi_addresses()[0];
        let handle = server.iscsi_handle();
        let (trigger, shutdown) = Shutdown::new();
        let run = Some(runtime.spawn(server.run(shutdown)));
        Self {
            directory,
            address,
            trigger: Some(trigger),
            run,
            runtime,
            handle,
            config: iscsi,
        }
    }

    pub(crate) fn handle(&self) -> bowline_server::iscsi::Handle {
        self.handle.clone().unwrap()
    }

    pub(crate) fn image(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.img"))
    }

    /// Asks the server to end and waits for it; tells how long that took.
    pub(crate) fn stop(&mut self) -> Duration {
        let start = Instant::now();
        self.trigger = None;
        // It has the disks open.
        self.handle = None;
        if let Some(run) = self.run.take() {
            self.runtime.block_on(run).unwrap();
        }
        start.elapsed()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

/// What a login is tried with.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) target: &'static str,
    pub(crate) initiator: &'static str,
    pub(crate) isid: u16,
    pub(crate) ours: Option<(&'static str, &'static str)>,
    pub(crate) theirs: Option<(&'static str, &'static str)>,
}

pub(crate) const USER: (&str, &str) = ("user", "password of the user");
pub(crate) const TARGET: (&str, &str) = ("target", "secret of the target");

/// A login to `target` without credentials.
pub(crate) fn attempt(target: &'static str) -> Attempt {
    Attempt {
        target,
        initiator: "iqn.2026-01.com.example:host",
        isid: 0,
        ours: None,
        theirs: None,
    }
}

impl Attempt {
    pub(crate) fn config(&self) -> Config {
        let target = format!("iqn.2026-01.com.example:{}", self.target);
        let isid = Isid::random([1, 2, 3], self.isid);
        let mut config = Config::new(self.initiator, &target, isid, [7; 33]);
        let credentials = |(name, secret)| Credentials::new(name, secret);
        config.credentials = self.ours.map(credentials);
        config.reverse = self.theirs.map(credentials);
        config
    }

    /// By another initiator.
    pub(crate) fn by(self, initiator: &'static str) -> Self {
        Self { initiator, ..self }
    }

    /// Connects and logs in.
    pub(crate) fn login(&self, site: &Site) -> Result<(Client, Login), Error> {
        Client::login(site.address, self.config())
    }
}

/// A session.
pub(crate) struct Client {
    stream: TcpStream,
    machine: Initiator,
    start: Instant,
    events: Vec<Event>,
}

impl Client {
    /// Connects and begins to log in as `config` says.
    pub(crate) fn connect(address: SocketAddr, config: Config) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let machine = Initiator::new(config, Duration::ZERO).unwrap();
        let mut client = Self {
            stream,
            machine,
            start: Instant::now(),
            events: Vec::new(),
        };
        client.send();
        client
    }

    /// Connects and logs in as `config` says.
    pub(crate) fn login(address: SocketAddr, config: Config) -> Result<(Self, Login), Error> {
        let mut client = Self::connect(address, config);
        match client.wait(|event| matches!(event, Event::LoggedIn(_) | Event::Closed(_))) {
            Event::LoggedIn(login) => Ok((client, login)),
            Event::Closed(Closed::Failed(error)) => Err(error),
            event => panic!("{event:?}"),
        }
    }

    /// Sends what the machine has to say.
    pub(crate) fn send(&mut self) {
        while let Some(bytes) = self.machine.poll_output() {
            if self.stream.write_all(&bytes).is_err() {
                // The server has gone; reading tells the machine.
                return;
            }
        }
    }

    /// Runs the session until there is an event that `wanted` accepts. Others are dropped.
    pub(crate) fn wait(&mut self, mut wanted: impl FnMut(&Event) -> bool) -> Event {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut buffer = vec![0; 1 << 20];
        loop {
            while let Some(event) = self.machine.poll_event() {
                self.events.push(event);
            }
            if let Some(index) = self.events.iter().position(&mut wanted) {
                return self.events.remove(index);
            }
            assert!(
                Instant::now() < deadline,
                "nothing happened; seen: {:?}",
                self.events
            );
            self.send();
            let now = self.start.elapsed();
            match self.stream.read(&mut buffer) {
                Ok(0) => self.machine.handle_close(now),
                Ok(len) => self.machine.handle_input(now, &buffer[..len]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => self.machine.handle_close(now),
            }
            self.machine.handle_timeout(self.start.elapsed());
        }
    }

    /// Sends a command without waiting for its end.
    pub(crate) fn submit(&mut self, lun: u16, cdb: Cdb, transfer: Transfer) -> TaskId {
        let lun = Lun::new(lun).unwrap();
        let command = Command {
            lun,
            cdb: cdb.to_bytes().padded(),
            transfer,
            timeout: None,
        };
        let task = self.machine.submit(self.start.elapsed(), command).unwrap();
        self.send();
        task
    }

    /// The end of a command.
    pub(crate) fn finish(&mut self, wanted: TaskId) -> Result<Completion, TaskError> {
        let is_it =
            |event: &Event| matches!(event, Event::Completed { task, .. } if *task == wanted);
        match self.wait(is_it) {
            Event::Completed { result, .. } => result,
            event => panic!("{event:?}"),
        }
    }

    /// A command from begin to end.
    pub(crate) fn run(&mut self, lun: u16, cdb: Cdb, transfer: Transfer) -> Completion {
        let task = self.submit(lun, cdb, transfer);
        self.finish(task).unwrap()
    }

    /// Reads blocks of 512 bytes of LUN 1.
    pub(crate) fn read(&mut self, lba: u64, blocks: u32) -> Vec<u8> {
        let completion = self.run(1, Cdb::read(lba, blocks), Transfer::Read(blocks * 512));
        assert_eq!(completion.sense, None);
        completion.data
    }

    /// Writes blocks of 512 bytes of LUN 1.
    pub(crate) fn write(&mut self, lba: u64, data: &[u8]) {
        let blocks = u32::try_from(data.len() / 512).unwrap();
        let completion = self.run(1, Cdb::write(lba, blocks), Transfer::Write(data.to_vec()));
        assert_eq!(completion.sense, None);
    }

    /// The names of the targets, in a discovery session.
    pub(crate) fn targets(&mut self) -> Vec<String> {
        self.machine.send_targets(self.start.elapsed()).unwrap();
        match self.wait(|event| matches!(event, Event::Targets(_))) {
            Event::Targets(targets) => targets.into_iter().map(|target| target.name).collect(),
            event => panic!("{event:?}"),
        }
    }

    /// Runs the session to its end.
    pub(crate) fn closed(&mut self) -> Closed {
        match self.wait(|event| matches!(event, Event::Closed(_))) {
            Event::Closed(closed) => closed,
            event => panic!("{event:?}"),
        }
    }

    pub(crate) fn logout(mut self) -> Closed {
        self.machine.logout(self.start.elapsed());
        self.closed()
    }
}
