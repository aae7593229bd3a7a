//! Two stacks on a wire: whole transfers, and what the person at the console is told.

use std::time::Duration;

use crate::testing::{CLIENT, Card, Faults, Net, SERVER, at, both, config, pattern, seconds};
use crate::{ConnectError, Stack, StreamError, TcpListener, TcpStream, yield_now};

/// Serves `data` to everybody who connects to port 80.
async fn serve(stack: Stack, data: Vec<u8>) {
    let mut listener = TcpListener::bind(&stack, 80).unwrap();
    loop {
        let mut stream = listener.accept().await.unwrap();
        if stream.write_all(&data).await.is_ok() {
            let _ = stream.close().await;
        }
    }
}

async fn download(client: &Stack) -> Vec<u8> {
    let mut stream = TcpStream::connect(client, at(SERVER, 80), seconds(10))
        .await
        .unwrap();
    let mut data = Vec::new();
    let mut buffer = vec![0; 16384];
    loop {
        match stream.read(&mut buffer).await.unwrap() {
            0 => return data,
            count => data.extend_from_slice(&buffer[..count]),
        }
    }
}

/// What [`serve`] sends, read back by [`download`], and the reverse way.
#[test]
fn a_megabyte_arrives_whole_each_way_over_a_bad_wire() {
    let faults = Faults {
        loss: 10,
        duplicate: 10,
        reorder: 20,
    };
    for seed in 0..8 {
        let net = Net::new(seed, faults);
        let (client, server) = net.pair(Card::u_boot());
        let data = pattern(1_000_000);
        net.spawn(serve(server.clone(), data.clone()));
        assert!(net.run(download(&client)) == data, "seed {seed}");

        let mut listener = TcpListener::bind(&server, 81).unwrap();
        let upload = async {
            let mut stream = TcpStream::connect(&client, at(SERVER, 81), seconds(30))
                .await
                .unwrap();
            stream.write_all(&data).await.unwrap();
            stream.close().await
        };
        let receive = async {
            let mut stream = listener.accept().await.unwrap();
            let mut received = vec![0; data.len()];
            stream.read_exact(&mut received).await.unwrap();
            let end = stream.read(&mut [0]).await;
            (received, end)
        };
        let (_, (received, end)) = net.run(both(upload, receive));
        assert!(received == data, "seed {seed}");
        assert_eq!(end, Ok(0), "seed {seed}");
    }
}

#[test]
fn a_frame_check_sequence_behind_the_frame_does_no_harm() {
    let net = Net::new(1, Faults::default());
    let card = Card {
        trailer: 4,
        ..Card::u_boot()
    };
    let (client, server) = net.pair(card);
    let data = pattern(100_000);
    net.spawn(serve(server, data.clone()));
    assert!(net.run(download(&client)) == data);
}

/// A host that is not there must not keep another from being found.
#[test]
fn connections_are_made_beside_one_to_nobody() {
    let net = Net::new(1, Faults::default());
    let (client, server) = net.pair(Card::u_boot());
    net.spawn(serve(server, pattern(10)));
    let nobody = std::net::Ipv4Addr::new(192, 168, 1, 77);
    let start = client.now();
    let (absent, took) = net.run(both(
        TcpStream::connect(&client, at(nobody, 80), seconds(5)),
        async {
            let found = TcpStream::connect(&client, at(SERVER, 80), seconds(5)).await;
            found.map(|_| client.now() - start)
        },
    ));
    assert!(absent.is_err());
    let took = took.expect("the server is there");
    assert!(took < Duration::from_millis(100), "{took:?}");
}

#[test]
fn connecting_fails_in_words() {
    let net = Net::new(1, Faults::default());
    let (client, _server) = net.pair(Card::u_boot());
    let connect = |to| net.run(TcpStream::connect(&client, to, seconds(5)));

    let refused = connect(at(SERVER, 80)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "connection refused by 192.168.1.1:80: nothing listens on that port"
    );
    let nobody = std::net::Ipv4Addr::new(192, 168, 1, 77);
    let absent = connect(at(nobody, 80)).unwrap_err();
    assert_eq!(
        absent.to_string(),
        "192.168.1.77 is not there: it did not answer ARP for 5 s"
    );
    // Nothing goes on trying.
    net.run(client.sleep(seconds(2)));
    assert_eq!(client.poll_at(), None);
    let elsewhere = std::net::Ipv4Addr::new(10, 0, 0, 1);
    assert_eq!(
        connect(at(elsewhere, 80)).unwrap_err().to_string(),
        "no route to 10.0.0.1: it is not on our network and there is no router"
    );
    let mut routed = config(CLIENT);
    routed.router = Some(SERVER);
    client.configure_ipv4(Some(routed)).unwrap();
    assert_eq!(
        connect(at(elsewhere, 80)).unwrap_err().to_string(),
        "connection to 10.0.0.1:80 timed out after 5 s: no answer"
    );
    client.configure_ipv4(None).unwrap();
    assert_eq!(
        connect(at(SERVER, 80)).unwrap_err(),
        ConnectError::NoAddress
    );
    client.shutdown();
    assert_eq!(connect(at(SERVER, 80)).unwrap_err(), ConnectError::CardDown);
    assert!(!client.poll());
}

/// The dead path of two does not keep the live one from being found: each neighbour is asked for.
#[test]
fn one_silent_neighbor_does_not_hide_another() {
    let net = Net::new(1, Faults::default());
    let (client, server) = net.pair(Card::u_boot());
    let _listener = TcpListener::bind(&server, 80).unwrap();
    let nobody = at(std::net::Ipv4Addr::new(192, 168, 1, 77), 80);
    let dead = TcpStream::connect(&client, nobody, seconds(20));
    let live = async {
        client.sleep(Duration::from_millis(100)).await;
        let start = client.now();
        let stream = TcpStream::connect(&client, at(SERVER, 80), seconds(5)).await;
        (stream.is_ok(), client.now() - start < seconds(1))
    };
    let (dead, live) = net.run(both(dead, live));
    assert!(dead.is_err());
    assert_eq!(live, (true, true));
}

#[test]
fn a_reset_is_told_from_an_end() {
    let net = Net::new(1, Faults::default());
    let (client, server) = net.pair(Card::u_boot());
    let mut listener = TcpListener::bind(&server, 80).unwrap();
    net.run(async {
        let connect = TcpStream::connect(&client, at(SERVER, 80), seconds(5));
        let (stream, accepted) = both(connect, listener.accept()).await;
        let (mut stream, mut accepted) = (stream.unwrap(), accepted.unwrap());
        assert_eq!(stream.remote_addr(), at(SERVER, 80));
        assert_eq!(accepted.remote_addr(), stream.local_addr());

        accepted.write_all(b"x").await.unwrap();
        let mut buffer = [0; 8];
        assert_eq!(stream.read(&mut buffer).await, Ok(1));
        accepted.abort();
        let error = stream.read(&mut buffer).await.unwrap_err();
        assert_eq!(error.to_string(), "connection reset by 192.168.1.1:80");
        assert!(stream.write_all(b"x").await.is_err());
    });
}

#[test]
fn connections_end_in_order() {
    let net = Net::new(1, Faults::default());
    let (client, server) = net.pair(Card::u_boot());
    let mut listener = TcpListener::bind(&server, 80).unwrap();
    net.run(async {
        let connect = TcpStream::connect(&client, at(SERVER, 80), seconds(5));
        let (stream, accepted) = both(connect, listener.accept()).await;
        let (mut stream, mut accepted) = (stream.unwrap(), accepted.unwrap());
        accepted.write_all(b"all").await.unwrap();
        let reader = async {
            let mut buffer = [0; 8];
            assert_eq!(stream.read(&mut buffer).await, Ok(3));
            assert_eq!(stream.read(&mut buffer).await, Ok(0));
            // Dropped with everything read: a FIN, which lets the server's close succeed.
            drop(stream);
        };
        let ((), closed) = both(reader, accepted.close()).await;
        assert_eq!(closed, Ok(()));

        let connect = TcpStream::connect(&client, at(SERVER, 80), seconds(5));
        let (stream, accepted) = both(connect, listener.accept()).await;
        let (stream, accepted) = (stream.unwrap(), accepted.unwrap());
        let reset = async { drop(accepted) };
        let remote = at(SERVER, 80);
        let (closed, ()) = both(stream.close(), reset).await;
        assert_eq!(closed, Err(StreamError::Reset { remote }));
        client.sleep(seconds(20)).await;
    });
    assert_eq!(client.poll_at(), None);
    client.with(|inner| assert_eq!(inner.sockets.iter().count(), 0));
}

#[test]
fn a_changed_address_ends_connections() {
    let net = Net::new(1, Faults::default());
    let (client, server) = net.pair(Card::u_boot());
    let mut listener = TcpListener::bind(&server, 80).unwrap();
    net.run(async {
        let connect = TcpStream::connect(&client, at(SERVER, 80), seconds(5));
        let (stream, _accepted) = both(connect, listener.accept()).await;
        let mut stream = stream.unwrap();
        client
            .configure_ipv4(Some(config(std::net::Ipv4Addr::new(192, 168, 1, 51))))
            .unwrap();
        yield_now().await;
        let remote = at(SERVER, 80);
        let error = stream.read(&mut [0]).await.unwrap_err();
        assert_eq!(error, StreamError::Closed { remote });
    });
}

#[test]
fn sleep_and_timeout_keep_time() {
    let net = Net::new(1, Faults::default());
    let (client, _server) = net.pair(Card::u_boot());
    net.run(async {
        let start = client.now();
        client.sleep(seconds(3)).await;
        assert_eq!(client.now() - start, seconds(3));
        let never = std::future::pending::<()>();
        let elapsed = client.timeout(Duration::from_millis(1500), never).await;
        assert_eq!(elapsed.unwrap_err().to_string(), "timed out after 1.5 s");
        assert_eq!(client.timeout(seconds(1), async { 7 }).await, Ok(7));
        assert_eq!(client.poll_at(), None);
    });
}

/// Random bytes, and frames that were right until some bytes of them were changed.
#[test]
fn garbage_never_panics() {
    let net = Net::new(1, Faults::default());
    net.wire.borrow_mut().log = Some(Vec::new());
    let (client, server) = net.pair(Card::large());
    let _port = crate::BootpPort::open(&client);
    net.spawn(serve(server, pattern(20_000)));
    net.run(download(&client));
    let frames: Vec<Vec<u8>> = net
        .wire
        .borrow_mut()
        .log
        .take()
        .unwrap()
        .into_iter()
        .filter_map(|(from, frame)| (from == 1).then_some(frame))
        .collect();

    let mut state = 0x1234_5678_9abc_def0u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let keep_open = async {
        // A connection for the garbage to meet, and one that is opening.
        let stream = TcpStream::connect(&client, at(SERVER, 80), seconds(5)).await;
        for _ in 0..4000 {
            let mut frame = frames[random() as usize % frames.len()].clone();
            for _ in 0..=random() % 4 {
                let at = random() as usize % frame.len().min(80);
                frame[at] = random() as u8;
            }
            if random() % 8 == 0 {
                let noise = 60 + random() as usize % 1400;
                frame = (0..noise).map(|_| random() as u8).collect();
                frame[12..14].copy_from_slice(&[8, 0]);
            }
            // To us, so that it gets past the first door.
            frame[..6].copy_from_slice(&client.mac());
            if let Some(ip) = crate::frame::Ip::parse(&frame)
                && random() % 2 == 0
            {
                repair(&mut frame, ip);
            }
            net.wire.borrow_mut().send(1, &frame);
            yield_now().await;
        }
        drop(stream);
    };
    net.run(keep_open);
    assert!(client.statistics().bad > 100);
}

/// Makes the checksums right again, so that the damage gets further.
fn repair(frame: &mut [u8], ip: crate::frame::Ip) {
    frame[24..26].fill(0);
    let sum = !crate::checksum::sum(&frame[14..ip.start]);
    frame[24..26].copy_from_slice(&sum.to_ne_bytes());
    if ip.protocol == crate::frame::PROTOCOL_TCP && ip.end - ip.start >= 20 {
        ip.fill_tcp_checksum(frame);
    }
}
