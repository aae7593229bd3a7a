//! Transfers from a server made by hand.

use std::net::SocketAddr;
use std::time::Duration;

use super::rpc::{Records, Reply};
use super::xdr::{Reader, Writer};
use super::{Credentials, File, NfsError, PIECE, PORT, fetch, follow};
use crate::testing::{Card, Faults, Net, SERVER, SERVER6, at, pattern, seconds};
use crate::{Stack, TcpListener, TcpStream};

const LENGTH: usize = 300_000;

/// How a server behaves.
#[derive(Clone, Copy, Debug)]
struct Ways {
    /// The folders that it lets be mounted.
    mountable: &'static [&'static str],
    /// The most that one answer carries.
    piece: usize,
    /// Whether it tells attributes unasked.
    tells: bool,
    /// Answers wait until so many calls have come, and come the wrong way round.
    hold: usize,
    /// No port for this program.
    lacks: u32,
}

const WAYS: Ways = Ways {
    mountable: &["/srv/boot"],
    piece: 1 << 20,
    tells: true,
    hold: 1,
    lacks: 0,
};

/// What is at a path: attributes' kind, size, and a link's target.
fn node(path: &str) -> Option<(u32, u64, &'static str)> {
    Some(match path {
        "/srv" | "/srv/boot" | "/srv/boot/a" | "/srv/other" => (2, 0, ""),
        "/srv/boot/file" | "/srv/other/file" => (1, LENGTH as u64, ""),
        "/srv/boot/empty" => (1, 0, ""),
        "/srv/boot/a/near" => (5, 0, "../file"),
        "/srv/boot/a/far" => (5, 0, "/srv/other/file"),
        "/srv/boot/here" => (5, 0, "a"),
        "/srv/boot/round" => (5, 0, "round"),
        "/srv/boot/device" => (3, 0, ""),
        _ => return None,
    })
}

fn attributes((kind, size, _): (u32, u64, &str)) -> Writer {
    let mut writer = Writer::default().number(kind).number(0o644);
    writer.0.extend([0; 12]);
    writer = writer.hyper(size);
    writer.0.extend([0; 56]);
    writer
}

fn attributes_if(tells: bool, node: (u32, u64, &str)) -> Writer {
    match tells {
        true => join(Writer::default().number(1), attributes(node)),
        false => Writer::default().number(0),
    }
}

fn join(mut first: Writer, second: Writer) -> Writer {
    first.0.extend(second.0);
    first
}

/// The results of a call.
fn answer(ways: Ways, program: u32, procedure: u32, arguments: &[u8]) -> Writer {
    let mut reader = Reader(arguments);
    let status = |status| Writer::default().number(status);
    let mut text = || String::from_utf8(reader.opaque(1024).unwrap().to_vec()).unwrap();
    match (program, procedure) {
        (100_000, 3) if arguments.len() == 16 => {
            let of = reader.number().unwrap();
            assert_eq!((reader.number(), reader.number()), (Some(3), Some(6)));
            Writer::default().number(if of == ways.lacks {
                0
            } else {
                listens(of).into()
            })
        }
        (100_000, 3) => {
            let of = reader.number().unwrap();
            let [high, low] = listens(of).to_be_bytes();
            Writer::default().opaque(format!("::.{high}.{low}").as_bytes())
        }
        (100_005, 1) => {
            let folder = text();
            match ways.mountable.contains(&&*folder) {
                true => status(0).opaque(folder.as_bytes()).number(0),
                false => status(13),
            }
        }
        (100_005, 3) => Writer::default(),
        (100_003, 1) => join(status(0), attributes(node(&text()).unwrap())),
        (100_003, 3) => {
            let path = text() + "/" + &text();
            match node(&path) {
                Some(node) => join(
                    status(0).opaque(path.as_bytes()),
                    attributes_if(ways.tells, node),
                ),
                None => join(status(2), attributes_if(false, (0, 0, ""))),
            }
        }
        (100_003, 5) => {
            let node = node(&text()).unwrap();
            let target = Writer::default().opaque(node.2.as_bytes());
            join(join(status(0), attributes_if(ways.tells, node)), target)
        }
        (100_003, 6) => {
            let node = node(&text()).unwrap();
            let bytes = pattern(node.1 as usize);
            let offset = (reader.hyper().unwrap() as usize).min(bytes.len());
            let count = (reader.number().unwrap() as usize).min(ways.piece);
            let end = (offset + count).min(bytes.len());
            let head = join(status(0), attributes_if(ways.tells, node));
            let head = head.number((end - offset) as u32);
            head.number((end == bytes.len()).into())
                .opaque(&bytes[offset..end])
        }
        _ => panic!("{program} {procedure}"),
    }
}

fn listens(program: u32) -> u16 {
    match program {
        100_003 => 2049,
        _ => 20048,
    }
}

/// Serves one connection to one port.
async fn serve(stack: Stack, port: u16, ways: Ways) {
    let mut door = TcpListener::bind(&stack, port).unwrap();
    let mut stream = door.accept().await.unwrap();
    let is_privileged = stream.remote_addr().port() < 1024;
    assert_eq!(is_privileged, port != PORT);
    let (mut records, mut bytes) = (Records::default(), [0; 4096]);
    let mut held = Vec::new();
    loop {
        while let Some(call) = records.take().unwrap() {
            let mut reader = Reader(&call);
            let transaction = reader.number().unwrap();
            assert_eq!((reader.number(), reader.number()), (Some(0), Some(2)));
            let (program, _version) = (reader.number().unwrap(), reader.number());
            let procedure = reader.number().unwrap();
            assert_eq!(reader.number(), Some(1), "AUTH_SYS");
            let mut who = Reader(reader.opaque(400).unwrap());
            assert_eq!(
                (who.number(), who.opaque(9)),
                (Some(0), Some(&b"node1"[..]))
            );
            assert_eq!(
                (who.number(), who.number(), who.number()),
                (Some(7), Some(8), Some(0))
            );
            assert_eq!(
                (reader.number(), reader.opaque(0)),
                (Some(0), Some(&b""[..]))
            );
            let results = answer(ways, program, procedure, reader.0);
            let head = Writer::default().number(transaction).number(1).number(0);
            let reply = join(head.number(0).opaque(b"").number(0), results).0;
            assert_eq!(Reply::parse(&reply).unwrap().transaction, transaction);
            let mark = (1 << 31 | reply.len() as u32).to_be_bytes();
            held.push([&mark[..], &reply].concat());
        }
        let is_reading = held
            .first()
            .is_some_and(|reply: &Vec<u8>| reply.len() > 4096);
        let patience = match held.len() {
            0 => seconds(60),
            count if is_reading && count < ways.hold => Duration::from_millis(50),
            _ => Duration::ZERO,
        };
        match stack.timeout(patience, stream.read(&mut bytes)).await {
            Ok(Ok(count @ 1..)) => records.push(&bytes[..count]),
            Ok(_) => return,
            // No more calls come for now.
            Err(_) => {
                for reply in held.drain(..).rev() {
                    if stream.write_all(&reply).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

fn file(path: &str) -> File<'_> {
    let credentials = Credentials {
        machine: "node1",
        uid: 7,
        gid: 8,
    };
    File {
        path,
        port: None,
        credentials,
    }
}

fn download(ways: Ways, path: &str) -> Result<Vec<u8>, NfsError> {
    let net = Net::new(7, Faults::default());
    let (client, server) = net.pair(Card::u_boot());
    for port in [PORT, 20048, 2049] {
        net.spawn(serve(server.clone(), port, ways));
    }
    net.run(async {
        let mapper = TcpStream::connect(&client, at(SERVER, PORT), seconds(5)).await;
        let mut data = Vec::new();
        fetch(mapper.unwrap(), file(path), &mut data).await?;
        Ok(data)
    })
}

#[test]
fn files_come_whole() {
    for ways in [
        WAYS,
        Ways {
            mountable: &["/srv", "/srv/boot/a"],
            ..WAYS
        },
        Ways {
            tells: false,
            ..WAYS
        },
        Ways {
            piece: 5000,
            ..WAYS
        },
        Ways { hold: 3, ..WAYS },
    ] {
        let data = download(ways, "/srv/boot/file");
        let data = data.unwrap_or_else(|error| panic!("{ways:?}: {error}"));
        assert!(data == pattern(LENGTH), "{ways:?}");
    }
    assert_eq!(download(WAYS, "/srv/boot/empty"), Ok(vec![]));
    assert!(LENGTH > 4 * PIECE as usize, "it takes several reads");
}

#[test]
fn links_are_followed() {
    let ways = Ways {
        mountable: &["/srv/boot", "/srv/other"],
        ..WAYS
    };
    for path in [
        "/srv/boot/a/near",
        "/srv/boot/here/near",
        "/srv/boot/here/far",
        "/srv/boot/a/./far",
    ] {
        let data = download(ways, path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(data == pattern(LENGTH), "{path}");
    }
}

#[test]
fn files_come_over_ipv6() {
    let net = Net::new(7, Faults::default());
    let (client, server) = net.pair_ipv6(Card::u_boot());
    for port in [PORT, 20048, 2049] {
        net.spawn(serve(server.clone(), port, WAYS));
    }
    let end = SocketAddr::new(SERVER6.into(), PORT);
    let data = net.run(async {
        let mapper = TcpStream::connect(&client, end, seconds(5)).await.unwrap();
        let mut data = Vec::new();
        let fetched = fetch(mapper, file("/srv/boot/file"), &mut data).await;
        fetched.map(|()| data)
    });
    assert!(data.unwrap() == pattern(LENGTH));
}

#[test]
fn failures_are_told() {
    let long = format!("/srv/boot/{}", "x".repeat(256));
    for (ways, path, expected) in [
        (
            WAYS,
            "/srv/boot/absent",
            "NFS server 192.168.1.1: absent: no such file",
        ),
        (
            WAYS,
            "/srv/boot/a",
            "NFS server 192.168.1.1: a: it is a folder",
        ),
        (
            WAYS,
            "/srv/boot/device",
            "NFS server 192.168.1.1: device: it is no file",
        ),
        (
            WAYS,
            "/srv/boot/round",
            "NFS server 192.168.1.1: symbolic links lead on and on",
        ),
        (
            WAYS,
            "/elsewhere/x",
            "NFS server 192.168.1.1 does not let us mount /elsewhere: access is not allowed",
        ),
        (
            WAYS,
            "/",
            "NFS server 192.168.1.1 does not let us mount /: access is not allowed",
        ),
        (
            Ways {
                lacks: 100_005,
                ..WAYS
            },
            "/srv/boot/file",
            "192.168.1.1 has no mount service for TCP",
        ),
        (
            Ways {
                lacks: 100_003,
                ..WAYS
            },
            "/srv/boot/file",
            "192.168.1.1 has no NFS service for TCP",
        ),
        (WAYS, &long, "the path is longer than NFS allows"),
    ] {
        let failure = download(ways, path).unwrap_err().to_string();
        assert_eq!(failure, expected, "{path}");
    }
}

#[test]
fn paths_are_followed() {
    for (path, expected) in [
        ("b", "a/b"),
        ("../b", "b"),
        ("../../../b/.//c/", "b/c"),
        ("/b", "b"),
        ("", "a"),
    ] {
        let mut names = vec![String::from("a")];
        follow(&mut names, path);
        assert_eq!(names.join("/"), expected, "{path}");
    }
}
