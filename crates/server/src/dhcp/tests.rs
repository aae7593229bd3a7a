//! The service over real sockets on the loopback interface, without any privilege.
//!
//! Port 67 and 68 need rights, so others are used. A client on the loopback interface can have any
//! address of 127.0.0.0/8 without configuring it, so renewals, which are answered by unicast to
//! the client's address, work end to end.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bowline_dhcp::server::{self, AddressRange, Profile, Subnet};
use bowline_dhcp::wire::{HardwareAddress, Message, MessageType, Op, code};
use tokio::sync::oneshot;

use super::service::Ports;
use super::*;

fn config(lease_file: PathBuf) -> Config {
    let mut server = server::Config::new(Ipv4Addr::LOCALHOST);
    server.subnets.push(Subnet {
        network: Ipv4Addr::new(127, 0, 0, 0),
        prefix_len: 24,
        pools: vec![AddressRange {
            first: Ipv4Addr::new(127, 0, 0, 100),
            last: Ipv4Addr::new(127, 0, 0, 101),
        }],
        profile: Profile::default(),
    });
    Config {
        interface: "lo".into(),
        server,
        lease_file,
    }
}

/// A client at `address` that renews its lease there.
struct Client {
    socket: UdpSocket,
    address: Ipv4Addr,
    mac: [u8; 6],
}

impl Client {
    fn new(address: Ipv4Addr, last: u8) -> Self {
        let socket = UdpSocket::bind((address, 0)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        Self {
            socket,
            address,
            mac: [2, 0, 0, 0, 0, last],
        }
    }

    fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }

    fn ask(&self, server: u16) {
        let mut request = Message::new(Op::Request, HardwareAddress::ethernet(self.mac), 77);
        request.ciaddr = self.address;
        request
            .options
            .set_u8(code::MESSAGE_TYPE, MessageType::REQUEST.0);
        let bytes = request.encode(548).unwrap();
        self.socket
            .send_to(&bytes, SocketAddrV4::new(Ipv4Addr::LOCALHOST, server))
            .unwrap();
    }

    fn renew(&self, server: u16) -> Message {
        self.ask(server);
        let mut buffer = [0; 1500];
        let (len, from) = self.socket.recv_from(&mut buffer).expect("an answer");
        assert_eq!(from.port(), server);
        Message::parse(&buffer[..len]).unwrap()
    }
}

/// A port that is free now.
fn free_port() -> u16 {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Runs a service while `with` talks to its port on a thread of its own.
async fn serve_while(lease_file: &Path, client_port: u16, with: impl FnOnce(u16) + Send + 'static) {
    let ports = Ports {
        server: free_port(),
        client: client_port,
    };
    let service = Service::bind_ports(config(lease_file.into()), ports).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(service.run(async {
        let _ = stopped.await;
    }));
    tokio::task::spawn_blocking(move || with(ports.server))
        .await
        .unwrap();
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(10), running)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn leases_are_on_disk_before_the_answer_and_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dhcp.leases");
    let client = Client::new(Ipv4Addr::new(127, 0, 0, 100), 1);
    let (port, file) = (client.port(), path.clone());
    serve_while(&path, port, move |server| {
        let ack = client.renew(server);
        // The answer has just come: its record must be there, with the server still running.
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(ack.message_type(), Some(MessageType::ACK));
        assert_eq!(ack.options.u32(code::LEASE_TIME), Some(3600));
        assert!(text.contains("\nbound 127.0.0.100 "), "{text}");
        assert!(text.contains(" 1/020000000001 01020000000001 - "), "{text}");
    })
    .await;

    // After the restart the address still belongs to the first client. (The refusal that another
    // one gets is a broadcast, which the loopback interface does not carry.)
    let other = Client::new(Ipv4Addr::new(127, 0, 0, 100), 2);
    let port = other.port();
    serve_while(&path, port, move |server| {
        other
            .socket
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        other.ask(server);
        assert!(
            other.socket.recv(&mut [0; 1500]).is_err(),
            "the address of another client"
        );
    })
    .await;
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches(" 127.0.0.100 ").count(), 1, "{text}");
}

#[tokio::test]
async fn garbage_does_not_stop_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::new(Ipv4Addr::new(127, 0, 0, 100), 1);
    serve_while(
        &folder.path().join("leases"),
        client.port(),
        move |server| {
            for len in [0, 1, 240, 1400, 9000, 20_000] {
                let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, server);
                client.socket.send_to(&vec![0x63; len], to).unwrap();
            }
            assert_eq!(client.renew(server).message_type(), Some(MessageType::ACK));
        },
    )
    .await;
}

#[tokio::test]
async fn without_the_lease_file_nothing_is_promised() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/leases");
    let client = Client::new(Ipv4Addr::new(127, 0, 0, 100), 1);
    client
        .socket
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let ports = Ports {
        server: free_port(),
        client: client.port(),
    };
    let mut service = Service::bind_ports(config(path.clone()), ports).unwrap();
    // The disk fails: what was written last is in doubt, and the directory is gone.
    service.fail_next_write();
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(service.run(async {
        let _ = stopped.await;
    }));
    let folder_path = path.parent().unwrap().to_owned();
    tokio::task::spawn_blocking(move || {
        client.ask(ports.server);
        let silent = client.socket.recv(&mut [0; 1500]).is_err();
        assert!(silent, "an ACK without a record");
        // The disk is back: the client asks again and gets its answer.
        std::fs::create_dir_all(folder_path).unwrap();
        client
            .socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        assert_eq!(
            client.renew(ports.server).message_type(),
            Some(MessageType::ACK)
        );
    })
    .await
    .unwrap();
    assert!(
        std::fs::read_to_string(&path)
            .unwrap()
            .contains("bound 127.0.0.100")
    );
    stop.send(()).unwrap();
    running.await.unwrap();
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases");
    let ports = Ports {
        server: free_port(),
        client: free_port(),
    };
    let bind = |edit: fn(&mut Config), ports| {
        let mut config = config(path.clone());
        edit(&mut config);
        Service::bind_ports(config, ports).unwrap_err().to_string()
    };
    let error = bind(|c| c.interface = "nope0".into(), ports);
    assert!(
        error.starts_with("dhcp: there is no network interface nope0; there are: "),
        "{error}"
    );
    assert!(error.contains("lo"), "{error}");
    let error = bind(
        |c| {
            c.server.server = Ipv4Addr::new(127, 0, 0, 77);
        },
        ports,
    );
    let expected = "dhcp: lo does not have the address 127.0.0.77: it has 127.0.0.1";
    assert!(error.starts_with(expected), "{error}");
    let error = bind(|c| c.server.subnets.clear(), ports);
    assert_eq!(error, "dhcp: there is no subnet to serve");

    let taken = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let server = taken.local_addr().unwrap().port();
    let error = bind(|_| {}, Ports { server, client: 1 });
    assert!(
        error.contains("another DHCP server runs on this machine"),
        "{error}"
    );

    let _first = Service::bind_ports(config(path.clone()), ports).unwrap();
    let error = bind(
        |_| {},
        Ports {
            server: free_port(),
            client: 1,
        },
    );
    assert!(
        error.contains("another server uses the lease file"),
        "{error}"
    );
}
