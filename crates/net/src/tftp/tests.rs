//! Transfers from a server made by hand, over good wires and bad ones.

use std::time::Duration;

use super::receiver::{Receiver, Step};
use super::{PORT, TftpError, fetch};
use crate::testing::{Card, Faults, Net, SERVER, at, pattern};
use crate::{Stack, UdpSocket};

/// What a server knows of options.
#[derive(Clone, Copy, Debug)]
enum Options {
    All,
    None,
}

/// Serves `data` under any name but `absent`, until the wire falls silent.
async fn serve(stack: Stack, data: Vec<u8>, options: Options) {
    let door = UdpSocket::bind(&stack, Some(PORT), 4, 2000).unwrap();
    loop {
        let (request, client) = door.receive().await;
        let fields: Vec<&str> = request[2..]
            .split(|byte| *byte == 0)
            .map(|field| std::str::from_utf8(field).unwrap())
            .collect();
        assert_eq!((&request[..2], fields[1]), (&[0, 1][..], "octet"));
        let socket = UdpSocket::bind(&stack, None, 8, 2000).unwrap();
        if fields[0] == "absent" {
            socket.send(client, b"\0\x05\0\x01File not found\0");
            stack.sleep(Duration::from_millis(100)).await;
            continue;
        }
        let (mut block, mut window) = (512, 1);
        let answer = match options {
            Options::All => {
                let value = |name| {
                    let at = fields.iter().position(|field| *field == name).unwrap();
                    fields[at + 1].parse::<usize>().unwrap()
                };
                (block, window) = (value("blksize"), value("windowsize"));
                let text = format!(
                    "\0\x06tsize\0{}\0blksize\0{block}\0windowsize\0{window}\0",
                    data.len()
                );
                Some(text.into_bytes())
            }
            Options::None => None,
        };
        send_file(&stack, &socket, client, &data, (block, window), answer).await;
    }
}

async fn send_file(
    stack: &Stack,
    socket: &UdpSocket,
    client: std::net::SocketAddr,
    data: &[u8],
    (block, window): (usize, usize),
    options: Option<Vec<u8>>,
) {
    let count = data.len() / block + 1;
    // Blocks that the client has; options count as the one before the first.
    let mut have = 0;
    let mut has_options = options.is_none();
    for _ in 0..100_000 {
        match &options {
            Some(options) if !has_options => socket.send(client, options),
            _ => {
                for index in have..(have + window).min(count) {
                    let piece = &data[index * block..((index + 1) * block).min(data.len())];
                    let number = (index + 1) as u16;
                    socket.send(
                        client,
                        &[&[0, 3], &number.to_be_bytes()[..], piece].concat(),
                    );
                    // The socket has room for little.
                    stack.sleep(Duration::from_micros(30)).await;
                }
            }
        }
        let answer = stack
            .timeout(Duration::from_millis(300), socket.receive())
            .await;
        if let Ok((packet, _)) = answer {
            assert_eq!(packet[..2], [0, 4]);
            has_options = true;
            let number = u16::from_be_bytes([packet[2], packet[3]]);
            let ahead = number.wrapping_sub(have as u16);
            if usize::from(ahead) <= window {
                have += usize::from(ahead);
            }
            if have == count {
                return;
            }
        }
    }
    panic!("{have} of {count} blocks");
}

fn download(
    faults: Faults,
    card: Card,
    options: Options,
    length: usize,
) -> (Net, Result<Vec<u8>, TftpError>) {
    let net = Net::new(length as u64, faults);
    let (client, server) = net.pair(card);
    net.spawn(serve(server, pattern(length), options));
    let mut data = Vec::new();
    let fetched = net.run(fetch(&client, at(SERVER, PORT), "file", &mut data));
    (net, fetched.map(|()| data))
}

#[test]
fn files_of_every_length_come_whole() {
    for options in [Options::All, Options::None] {
        for length in [0, 1, 511, 512, 513, 1447, 1448, 1449, 14_480, 100_000] {
            let (_, data) = download(Faults::default(), Card::u_boot(), options, length);
            assert!(data.unwrap() == pattern(length), "{options:?} {length}");
        }
    }
}

/// Block numbers have 16 bits and go round.
#[test]
fn a_file_of_more_blocks_than_there_are_numbers() {
    let (_, data) = download(Faults::default(), Card::large(), Options::None, 40_000_000);
    assert!(data.unwrap() == pattern(40_000_000));
}

#[test]
fn a_bad_wire_only_costs_time() {
    let faults = Faults {
        loss: 20,
        duplicate: 20,
        reorder: 20,
    };
    for options in [Options::All, Options::None] {
        let (_, data) = download(faults, Card::u_boot(), options, 200_000);
        assert!(data.unwrap() == pattern(200_000), "{options:?}");
    }
}

/// A window is as large as the card can hold, and no larger; the smallest card has one of one.
#[test]
fn the_window_is_within_the_budget() {
    for (buffers, most) in [(32, 24), (2, 1)] {
        let card = Card {
            buffers,
            ring: crate::testing::ring(most, most),
            ..Card::u_boot()
        };
        let (net, data) = download(Faults::default(), card, Options::All, 500_000);
        assert!(data.unwrap() == pattern(500_000));
        assert!(!net.wire.borrow().is_dead(0));
    }
    let net = Net::new(1, Faults::default());
    let (client, _server) = net.pair(Card::u_boot());
    let first = client.reserve(32);
    let second = client.reserve(32);
    // One frame is always left for whoever asks.
    assert_eq!((first.frames(), second.frames()), (24, 1));
    drop(first);
    assert_eq!(client.reserve(8).frames(), 8);
}

#[test]
fn refusals_and_silence_are_told() {
    let net = Net::new(1, Faults::default());
    let (client, server) = net.pair(Card::u_boot());
    let nobody = net.run(fetch(&client, at(SERVER, PORT), "file", &mut Vec::new()));
    assert_eq!(
        nobody.unwrap_err().to_string(),
        "no answer from the TFTP server 192.168.1.1 for 8 s"
    );
    net.spawn(serve(server, pattern(1), Options::All));
    let absent = net.run(fetch(&client, at(SERVER, PORT), "absent", &mut Vec::new()));
    assert_eq!(
        absent.unwrap_err().to_string(),
        "TFTP server 192.168.1.1: no such file (error 1: File not found)"
    );
}

#[test]
fn garbage_is_ignored_or_refused() {
    let mut state = 1u64;
    for _ in 0..50_000 {
        let mut receiver = Receiver::new("x", 1448, 8);
        for good in [
            &b"\0\x06blksize\x008\0windowsize\x004\0tsize\x0020\0"[..],
            b"\0\x03\0\x0112345678",
        ] {
            let mut packet = good.to_vec();
            for _ in 0..2 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let at = (state >> 33) as usize % packet.len();
                packet[at] = (state >> 20) as u8;
            }
            packet.truncate((state >> 40) as usize % (packet.len() + 1));
            let _ = receiver.handle(&packet);
        }
    }
    // More than was asked for is not taken.
    let mut receiver = Receiver::new("x", 1448, 8);
    let step = receiver.handle(b"\0\x06blksize\x0065464\0windowsize\x0065535\0tsize\x00-1\0");
    assert_eq!(step, Step::Begin { total: None });
    assert_eq!(
        receiver.handle(&[&b"\0\x03\0\x01"[..], &[0; 1449]].concat()),
        Step::Ignore
    );
    assert_eq!(receiver.handle(b"\0\x03\0\x09"), Step::Ignore);
    assert_eq!(receiver.handle(b"\0\x03\0\x03"), Step::Repeat);
    assert_eq!(receiver.handle(b"\0\x03\0\x04"), Step::Ignore);
}
