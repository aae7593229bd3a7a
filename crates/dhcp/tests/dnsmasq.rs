//! The DHCPv6 client against dnsmasq: what happens to a lease in hours, in a second.
//!
//! The client has no clock, so the test tells it that the time has come to renew a lease; dnsmasq
//! answers by its own. Both are in a network namespace, at the two ends of a pair of interfaces.
//! They need the Debian package `dnsmasq-base`, so it runs only when asked for:
//! `cargo test -p bowline-dhcp --test dnsmasq -- --ignored`.

use std::env;
use std::fs::{self, File};
use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bowline_dhcp::v6::{self, Client, Config, Configuration, Event, Message, MessageType};
use bowline_dhcp::wire::Architecture;

/// The folder for the server's files, in the process inside the namespace.
const INSIDE: &str = "BOWLINE_DHCP_INSIDE";

#[test]
#[ignore = "needs dnsmasq-base"]
fn a_lease_is_renewed_rebound_declined_and_released() {
    if env::var_os(INSIDE).is_some() {
        return inside();
    }
    let mut command = Command::new("unshare");
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        command.args(["--user", "--map-root-user"]);
    }
    let name = "a_lease_is_renewed_rebound_declined_and_released";
    let folder = env::temp_dir().join(format!("bowline-dhcp-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let status = command
        .args(["--net", "--pid", "--fork", "--kill-child", "--"])
        .arg(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", name])
        .env(INSIDE, &folder)
        .status()
        .unwrap();
    fs::remove_dir_all(&folder).unwrap();
    assert!(status.success(), "{status}");
}

fn inside() {
    let folder = PathBuf::from(env::var_os(INSIDE).unwrap());
    let mut machine = Machine::start(&folder);

    let leased = machine.next();
    let address = leased.address.unwrap();
    assert!(address.to_string().starts_with("fd00:1::1"), "{address}");
    assert_eq!(leased.boot_file, b"http://[fd00:1::1]/boot.ipxe");

    // Half the lease has gone by: the server that gave it is asked.
    let renewed = machine.keep(MessageType::Renew);
    assert_eq!(renewed.address, Some(address));
    machine.server_says("DHCPRENEW");
    // That server is not heard, and anybody is asked.
    machine.is_deaf = true;
    let rebound = machine.keep(MessageType::Rebind);
    assert_eq!(rebound.address, Some(address));
    machine.server_says("DHCPREBIND");

    // Somebody else has it. The lease that is lost is the first that is told of.
    machine.client.decline(machine.now);
    assert_eq!(machine.event(), Event::Lost);
    let other = machine.next().address.unwrap();
    assert_ne!(other, address);
    machine.server_says("DHCPDECLINE");

    machine.client.release(machine.now);
    machine.exchange(|machine| machine.client.poll_timeout().is_none());
    machine.server_says("release received");
    assert_eq!(machine.client.poll_event(), None);
}

/// A machine that boots, and the server on the other end of its wire.
struct Machine {
    client: Client,
    socket: UdpSocket,
    interface: u32,
    /// The time that the client is told.
    now: Duration,
    /// What is sent to a server by name does not arrive.
    is_deaf: bool,
    sent: Vec<MessageType>,
    server: Child,
    log: PathBuf,
}

impl Machine {
    fn start(folder: &Path) -> Self {
        // Duplicate addresses are not looked for: it would take the kernel seconds.
        fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap();
        ip("link add v0 type veth peer name v1");
        ip("address add fd00:1::1/64 dev v0");
        ip("link set v0 up");
        ip("link set v1 up");
        let log = folder.join("dnsmasq.log");
        let server = dnsmasq(folder, &log);
        let interface = index("v1");
        let local = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, v6::CLIENT_PORT, 0, 0);
        let socket = UdpSocket::bind(local).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let config = Config {
            mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56],
            uuid: Some([7; 16]),
            wants_address: true,
            architecture: Architecture::ARM64,
            user_class: b"iPXE".to_vec(),
            seed: 1,
            give_up_after: Duration::from_secs(60),
        };
        Self {
            client: Client::new(config, Duration::ZERO),
            socket,
            interface,
            now: Duration::ZERO,
            is_deaf: false,
            sent: vec![],
            server,
            log,
        }
    }

    /// The next configuration.
    fn next(&mut self) -> Configuration {
        match self.event() {
            Event::Configured(configuration) => *configuration,
            other => panic!("{other:?}\n{}", self.said()),
        }
    }

    fn event(&mut self) -> Event {
        let mut event = None;
        self.exchange(|machine| {
            event = machine.client.poll_event();
            event.is_some()
        });
        event.unwrap()
    }

    /// What the server says after the time until something is due to keep the lease, which must be
    /// this message.
    fn keep(&mut self, kind: MessageType) -> Configuration {
        self.sent.clear();
        while self.sent.last() != Some(&kind) {
            let due = self.client.poll_timeout();
            self.now = due.expect("the lease never ends");
            self.turn();
        }
        self.next()
    }

    /// Hands messages to and fro until `is_done`; the client's time goes on as it does.
    fn exchange(&mut self, mut is_done: impl FnMut(&mut Self) -> bool) {
        let patience = Instant::now() + Duration::from_secs(30);
        while !is_done(self) {
            let began = Instant::now();
            assert!(began < patience, "{:?}\n{}", self.client, self.said());
            self.turn();
            self.now += began.elapsed();
        }
    }

    fn turn(&mut self) {
        self.client.handle_timeout(self.now);
        while let Some(payload) = self.client.poll_output() {
            let kind = Message::parse(&payload).unwrap().kind;
            self.sent.push(kind);
            if !(self.is_deaf && kind == MessageType::Renew) {
                let to = SocketAddrV6::new(v6::ALL_SERVERS, v6::SERVER_PORT, 0, self.interface);
                self.socket.send_to(&payload, to).unwrap();
            }
        }
        let mut datagram = [0; 1500];
        if let Ok((length, _)) = self.socket.recv_from(&mut datagram) {
            self.client.handle_input(self.now, &datagram[..length]);
        }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn server_says(&self, words: &str) {
        assert!(
            self.said().contains(words),
            "no {words} in\n{}",
            self.said()
        );
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It ends with the namespace at the latest.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// dnsmasq, with leases as short as it gives them. In debug mode it keeps its user: a user namespace
/// has no other one to change to.
fn dnsmasq(folder: &Path, log: &Path) -> Child {
    let file = File::create(log).unwrap();
    let mut server = Command::new("dnsmasq")
        .env("PATH", path())
        .args(["--no-daemon", "--log-facility=-", "--log-dhcp"])
        .args([
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--port=0",
        ])
        .args(["--interface=v0", "--bind-interfaces"])
        .args(["--enable-ra", "--dhcp-range=fd00:1::100,fd00:1::1ff,64,2m"])
        .arg("--dhcp-option=option6:bootfile-url,http://[fd00:1::1]/boot.ipxe")
        .arg(format!(
            "--dhcp-leasefile={}",
            folder.join("leases").display()
        ))
        .arg(format!("--pid-file={}", folder.join("pid").display()))
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .expect("dnsmasq is not installed: apt install dnsmasq-base");
    let patience = Instant::now() + Duration::from_secs(10);
    while !fs::read_to_string(log)
        .unwrap()
        .contains("DHCPv6, IP range")
    {
        let ended = server.try_wait().unwrap();
        assert!(ended.is_none() && Instant::now() < patience, "{ended:?}");
        sleep(Duration::from_millis(20));
    }
    server
}

/// The number of an interface, as `ip` shows it: `3: v1@v0: ...`.
fn index(name: &str) -> u32 {
    let output = ip(&format!("-oneline link show dev {name}"));
    output.split(':').next().unwrap().parse().unwrap()
}

fn ip(words: &str) -> String {
    let output = Command::new("ip")
        .env("PATH", path())
        .args(words.split(' '))
        .output()
        .unwrap();
    assert!(output.status.success(), "ip {words}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Where Debian has the programs of the administrator.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", env::var("PATH").unwrap_or_default())
}
