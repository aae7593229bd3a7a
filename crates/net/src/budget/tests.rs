//! The budget's promise, shown on the wire: a card of 32 buffers that dies at the 33rd frame.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::testing::{
    Card, Faults, Net, Overflow, SERVER, at, both, config, pattern, ring, seconds,
};
use crate::{Stack, TcpListener, TcpStream, yield_now};

/// Writes `count` times `piece` to everybody who connects, `written` bytes at a time.
async fn serve(stack: Stack, port: u16, total: usize, written: usize) {
    let piece = pattern(written);
    let mut listener = TcpListener::bind(&stack, port).unwrap();
    loop {
        let mut stream = listener.accept().await.unwrap();
        let mut left = total;
        while left > 0 {
            let count = left.min(written);
            if stream.write_all(&piece[..count]).await.is_err() {
                break;
            }
            left -= count;
        }
        let _ = stream.close().await;
    }
}

/// Accepts connections and says nothing.
async fn serve_nobody(stack: Stack, port: u16) {
    let mut listener = TcpListener::bind(&stack, port).unwrap();
    let mut streams = Vec::new();
    loop {
        streams.push(listener.accept().await.unwrap());
    }
}

/// Reads until the end, computing for `pause` after every `every` bytes; how many there were.
async fn count(net: &Net, client: &Stack, port: u16, every: usize, pause: Duration) -> usize {
    let mut stream = TcpStream::connect(client, at(SERVER, port), seconds(10))
        .await
        .unwrap();
    let mut buffer = vec![0; 65536];
    let (mut total, mut since) = (0, 0);
    loop {
        let Ok(read) = client.timeout(seconds(60), stream.read(&mut buffer)).await else {
            return total;
        };
        let read = read.unwrap();
        if read == 0 {
            return total;
        }
        total += read;
        since += read;
        if since >= every {
            since = 0;
            net.compute(pause);
            yield_now().await;
        }
    }
}

const MIB: usize = 1 << 20;

#[test]
fn the_card_survives_64_mib_with_pauses() {
    let net = Net::new(1, Faults::default());
    let (client, server) = net.pair(Card::u_boot());
    net.spawn(serve(server, 80, 64 * MIB, 65536));
    let start = client.now();
    let pause = Duration::from_millis(5);
    let received = net.run(count(&net, &client, 80, 4 * MIB, pause));
    let took = client.now() - start;

    assert_eq!(received, 64 * MIB);
    let wire = net.wire.borrow();
    assert!(!wire.is_dead(0));
    assert!(wire.seen.in_flight_max <= 24, "{:?}", wire.seen);
    // Whatever they did: they were never allowed more.
    assert!(wire.spy.promised_max <= 24 * 1460, "{:?}", wire.spy);
    let statistics = client.statistics();
    assert_eq!((statistics.budget, statistics.losses), (24, 0));
    // Two acknowledgements a window, or fewer than one for ten segments.
    assert!(wire.seen.from * 9 < wire.seen.data, "{:?}", wire.seen);
    assert!(took < seconds(2), "{took:?}");
}

/// The same card, which says of itself that it can hold anything: the test above can fail.
#[test]
fn the_card_dies_without_a_budget() {
    let net = Net::new(1, Faults::default());
    let card = Card {
        ring: ring(4096, 4096),
        ..Card::u_boot()
    };
    let (client, server) = net.pair(card);
    net.spawn(serve(server, 80, 64 * MIB, 65536));
    let received = net.run(count(&net, &client, 80, MIB, Duration::from_millis(5)));
    assert!(received < 64 * MIB);
    assert!(net.wire.borrow().is_dead(0));
}

#[test]
fn connections_share_the_budget() {
    for seed in 0..4 {
        let net = Net::new(seed, Faults::default());
        let (client, server) = net.pair(Card::u_boot());
        for port in 80..84 {
            net.spawn(serve(server.clone(), port, 2 * MIB, 50_000));
        }
        let pause = Duration::from_millis(2);
        let download = |port| count(&net, &client, port, MIB / 3, pause);
        let ((a, b), (c, d)) = net.run(both(
            both(download(80), download(81)),
            both(download(82), download(83)),
        ));
        assert_eq!([a, b, c, d], [2 * MIB; 4]);
        let wire = net.wire.borrow();
        assert!(!wire.is_dead(0));
        assert!(wire.seen.in_flight_max <= 24, "{:?}", wire.seen);
        assert!(wire.spy.promised_max <= 24 * 1460, "{:?}", wire.spy);
    }
}

/// Connections that were opened and not used yet hold little.
#[test]
fn an_unused_connection_leaves_room() {
    let net = Net::new(1, Faults::default());
    let (client, server) = net.pair(Card::u_boot());
    for port in 3260..3263 {
        net.spawn(serve_nobody(server.clone(), port));
    }
    net.spawn(serve(server, 80, 4 * MIB, 65536));
    net.run(async {
        let mut unused = Vec::new();
        for port in 3260..3263 {
            let connect = TcpStream::connect(&client, at(SERVER, port), seconds(5));
            unused.push(connect.await.unwrap());
        }
        let received = count(&net, &client, 80, usize::MAX, Duration::ZERO).await;
        assert_eq!(received, 4 * MIB);
    });
    let seen = net.wire.borrow().seen;
    assert!((14..=24).contains(&seen.in_flight_max), "{seen:?}");
    assert!(seen.from * 5 < seen.data, "{seen:?}");
}

/// Drivers with very few descriptors.
#[test]
fn the_smallest_cards_work() {
    for frames in 1..=5 {
        let net = Net::new(frames as u64, Faults::default());
        let card = Card {
            buffers: frames + 1,
            ring: ring(frames, frames),
            ..Card::u_boot()
        };
        let (client, server) = net.pair(card);
        for port in 80..82 {
            net.spawn(serve(server.clone(), port, MIB, 65536));
        }
        let pause = Duration::from_micros(300);
        let download = |port| count(&net, &client, port, 100_000, pause);
        let received = net.run(both(download(80), download(81)));
        assert_eq!(received, (MIB, MIB), "{frames} frames");
        assert!(!net.wire.borrow().is_dead(0), "{frames} frames");
    }
}

/// More connections than the budget has frames for: some open with no window at all.
#[test]
fn many_connections_share_a_small_budget() {
    let net = Net::new(1, Faults::default());
    let (client, server) = net.pair(Card::u_boot());
    let done = Rc::new(Cell::new(0));
    for port in 80..100 {
        net.spawn(serve(server.clone(), port, 200_000, 50_000));
        let (client, done) = (client.clone(), done.clone());
        net.spawn(async move {
            let to = at(SERVER, port);
            let mut stream = TcpStream::connect(&client, to, seconds(60)).await.unwrap();
            let mut data = vec![0; 200_000];
            stream.read_exact(&mut data).await.unwrap();
            done.set(done.get() + 1);
        });
    }
    let start = client.now();
    net.run(async {
        while done.get() < 20 {
            net.compute(Duration::from_micros(300));
            yield_now().await;
        }
    });
    let took = client.now() - start;
    assert!(took < seconds(10), "{took:?}");
    let wire = net.wire.borrow();
    assert!(!wire.is_dead(0));
    // Small windows are cut into uneven segments, so here the bytes count.
    assert!(wire.spy.promised_max <= 24 * 1460, "{:?}", wire.spy);
}

/// An iSCSI session after its login: promised nearly everything when the segments were long, and
/// then answered in short ones. Others can connect and read all the same.
#[test]
fn short_answers_lock_nobody_out() {
    let net = Net::new(1, Faults::default());
    let (client, server) = net.pair(Card::u_boot());
    let mut listener = TcpListener::bind(&server, 3260).unwrap();
    net.spawn(serve(server, 80, MIB, 65536));
    net.run(async {
        let connect = TcpStream::connect(&client, at(SERVER, 3260), seconds(5));
        let (idle, accepted) = both(connect, listener.accept()).await;
        let (mut idle, mut accepted) = (idle.unwrap(), accepted.unwrap());
        for _ in 0..20 {
            let mut answer = [0; 48];
            accepted.write_all(&answer).await.unwrap();
            idle.read_exact(&mut answer).await.unwrap();
        }
        idle.expect(Some(0));
        client.sleep(seconds(1)).await;
        let received = count(&net, &client, 80, usize::MAX, Duration::ZERO).await;
        assert_eq!(received, MIB);
        assert!(net.wire.borrow().seen.in_flight_max <= 24);
    });
}

/// Who asks and waits for the answer sends one frame for each question.
#[test]
fn an_acknowledgement_rides_on_the_next_question() {
    const QUESTIONS: u64 = 50;
    let net = Net::new(1, Faults::default());
    let (client, server) = net.pair(Card::u_boot());
    net.spawn(async move {
        let mut listener = TcpListener::bind(&server, 3260).unwrap();
        let mut stream = listener.accept().await.unwrap();
        while stream.read_exact(&mut [0; 48]).await.is_ok() {
            stream.write_all(&pattern(48 + 4096)).await.unwrap();
        }
    });
    let sent = net.run(async {
        let connect = TcpStream::connect(&client, at(SERVER, 3260), seconds(5));
        let mut stream = connect.await.unwrap();
        let before = client.statistics().sent;
        for _ in 0..QUESTIONS {
            // A little more than comes: what is expected is an estimate.
            stream.expect(Some(4096 + 160));
            stream.write_all(&[0; 48]).await.unwrap();
            stream.read_exact(&mut [0; 48 + 4096]).await.unwrap();
            stream.expect(Some(0));
        }
        client.statistics().sent - before
    });
    // And one ends the handshake.
    assert!(sent <= QUESTIONS + 1, "{sent}");
}

/// An idle connection that was promised nearly everything; one that has said it expects nothing.
#[test]
fn an_idle_connection_leaves_room() {
    for (expected, least) in [(None, 2), (Some(0), 12)] {
        let net = Net::new(1, Faults::default());
        let (client, server) = net.pair(Card::u_boot());
        let mut listener = TcpListener::bind(&server, 3260).unwrap();
        net.spawn(serve(server, 80, 4 * MIB, 65536));
        net.run(async {
            let connect = TcpStream::connect(&client, at(SERVER, 3260), seconds(5));
            let (idle, accepted) = both(connect, listener.accept()).await;
            let (mut idle, mut accepted) = (idle.unwrap(), accepted.unwrap());
            idle.expect(expected);
            // Some traffic, so that windows have been told.
            let mut buffer = vec![0; 100_000];
            accepted.write_all(&buffer[..60_000]).await.unwrap();
            idle.read_exact(&mut buffer[..60_000]).await.unwrap();
            client.sleep(seconds(1)).await;

            net.wire.borrow_mut().seen.in_flight_max = 0;
            let received = count(&net, &client, 80, usize::MAX, Duration::ZERO).await;
            assert_eq!(received, 4 * MIB);
            let most = net.wire.borrow().seen.in_flight_max;
            assert!((least..=24).contains(&most), "{expected:?}: {most}");

            // And the idle one comes back.
            let length = buffer.len();
            idle.expect(Some(length));
            idle.write_all(b"read").await.unwrap();
            let (sent, read) = both(
                accepted.write_all(&vec![7; length]),
                idle.read_exact(&mut buffer),
            )
            .await;
            sent.unwrap();
            read.unwrap();
            assert!(net.wire.borrow().seen.in_flight_max <= 24);
        });
    }
}

/// Idle connections whose peers send short segments (a login, pings) were promised more frames than
/// a budget after losses has: the one that is used must not wait for them.
#[test]
fn idle_connections_do_not_starve_a_budget_at_its_floor() {
    for idle in 1..4 {
        let net = Net::new(1, Faults::default());
        let card = Card {
            ring: ring(4, 24),
            ..Card::u_boot()
        };
        let (client, server) = net.pair(card);
        let mut listener = TcpListener::bind(&server, 3260).unwrap();
        net.spawn(serve(server, 80, MIB, 65536));
        net.run(async {
            let mut kept = Vec::new();
            for _ in 0..idle {
                let connect = TcpStream::connect(&client, at(SERVER, 3260), seconds(5));
                let (ours, theirs) = both(connect, listener.accept()).await;
                let (mut ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
                for _ in 0..10 {
                    theirs.write_all(&[7; 100]).await.unwrap();
                    ours.read_exact(&mut [0; 100]).await.unwrap();
                }
                ours.expect(Some(0));
                kept.push((ours, theirs));
            }
            // Losses elsewhere have brought it down.
            net.wire.borrow_mut().faults.loss = 10;
            let mut stream = TcpStream::connect(&client, at(SERVER, 80), seconds(60))
                .await
                .unwrap();
            stream.expect(Some(MIB));
            let mut data = vec![0; MIB];
            let read = client.timeout(seconds(300), stream.read_exact(&mut data));
            read.await.expect("it does not starve").unwrap();
        });
    }
}

#[test]
fn a_budget_grows_to_its_limit_where_nothing_is_lost() {
    let net = Net::new(1, Faults::default());
    let card = Card {
        buffers: 128,
        ring: ring(16, 128),
        receive_cost: Duration::from_micros(8),
        transmit_cost: Duration::from_micros(30),
        ..Card::u_boot()
    };
    let (client, server) = net.pair(card);
    // The send buffer of a server is smaller than the budget: it takes several.
    for port in 80..84 {
        net.spawn(serve(server.clone(), port, 4 * MIB, 65536));
    }
    let download = |port| count(&net, &client, port, usize::MAX, Duration::ZERO);
    let before = client.statistics().budget;
    net.run(both(
        both(download(80), download(81)),
        both(download(82), download(83)),
    ));
    assert_eq!((before, client.statistics().budget), (16, 128));
    assert!(!net.wire.borrow().is_dead(0));
}

/// Far away, every window ends in silence: that must not keep the budget small.
#[test]
fn a_budget_grows_over_a_long_round_trip() {
    let card = Card {
        buffers: 256,
        ring: ring(24, 256),
        ..Card::u_boot()
    };
    let learned = Card {
        ring: ring(24, 24),
        limit_later: Some(256),
        ..card
    };
    for card in [card, learned] {
        let net = Net::new(1, Faults::default());
        let (client, server) = net.pair(card);
        net.wire.borrow_mut().delay = Duration::from_micros(2500);
        net.spawn(serve(server, 80, 8 * MIB, 65536));
        let took = net.run(async {
            // The card is known from what came before.
            let connect = || TcpStream::connect(&client, at(SERVER, 80), seconds(5));
            connect().await.unwrap().abort();
            let mut stream = connect().await.unwrap();
            stream.expect(Some(8 * MIB));
            let start = client.now();
            stream.read_exact(&mut vec![0; 8 * MIB]).await.unwrap();
            client.now() - start
        });
        let statistics = client.statistics();
        assert!(statistics.budget > 100, "{statistics:?}");
        // The server keeps 64 KiB in flight; 24 frames would take 1.2 s.
        assert!(took < seconds(1), "{took:?}");
    }
}

/// A driver with 8 descriptors that claims 64: it drops, and the budget learns.
#[test]
fn a_budget_shrinks_to_what_a_card_holds() {
    let net = Net::new(1, Faults::default());
    let card = Card {
        buffers: 8,
        overflow: Overflow::Drop,
        ring: ring(64, 64),
        receive_cost: Duration::from_micros(30),
        ..Card::u_boot()
    };
    let (client, server) = net.pair(card);
    net.spawn(serve(server, 80, 4 * MIB, 65536));
    let received = net.run(count(&net, &client, 80, usize::MAX, Duration::ZERO));
    assert_eq!(received, 4 * MIB);
    let statistics = client.statistics();
    assert!(statistics.losses > 0);
    assert!(statistics.budget < 32, "{statistics:?}");
}

/// A peer whose segments are a third as long as ours could be: the window counts the frames that
/// it really sends, from the first one on.
#[test]
fn short_segments_count_as_frames() {
    let net = Net::new(1, Faults::default());
    let (client, server) = net.pair(Card::u_boot());
    let mut short = config(SERVER);
    short.mtu = Some(576);
    server.configure_ipv4(Some(short)).unwrap();
    net.spawn(serve(server, 80, MIB, 65536));
    let pause = Duration::from_millis(2);
    let received = net.run(count(&net, &client, 80, 50_000, pause));
    assert_eq!(received, MIB);
    let wire = net.wire.borrow();
    assert!(wire.seen.data > (MIB / 536) as u64);
    assert!(wire.seen.in_flight_max <= 26, "{:?}", wire.seen);
    assert!(!wire.is_dead(0));
}

/// Many short answers, as small TLS records are: what was promised in full frames before them is
/// not counted in short ones when nothing is expected any more.
#[test]
fn an_idle_connection_counts_in_full_segments() {
    for expected in [None, Some(0)] {
        let net = Net::new(1, Faults::default());
        let (client, server) = net.pair(Card::u_boot());
        let mut listener = TcpListener::bind(&server, 443).unwrap();
        net.spawn(serve(server, 80, MIB, 65536));
        net.run(async {
            let connect = TcpStream::connect(&client, at(SERVER, 443), seconds(5));
            let (idle, accepted) = both(connect, listener.accept()).await;
            let (mut idle, mut accepted) = (idle.unwrap(), accepted.unwrap());
            let mut buffer = vec![0; 60_000];
            accepted.write_all(&buffer).await.unwrap();
            idle.read_exact(&mut buffer).await.unwrap();
            for _ in 0..40 {
                idle.write_all(b"next").await.unwrap();
                accepted.write_all(&[7; 100]).await.unwrap();
                idle.read_exact(&mut buffer[..100]).await.unwrap();
            }
            idle.expect(expected);
            client.sleep(seconds(1)).await;
            let start = client.now();
            let received = count(&net, &client, 80, usize::MAX, Duration::ZERO).await;
            assert_eq!(received, MIB);
            assert!(client.now() - start < seconds(1));
        });
        assert!(net.wire.borrow().seen.in_flight_max <= 24);
    }
}

/// A reader who takes longer over the data than the network: TLS.
#[test]
fn a_slow_reader_does_not_announce_each_piece_that_it_reads() {
    let net = Net::new(1, Faults::default());
    let card = Card {
        buffers: 512,
        ring: ring(24, 256),
        ..Card::u_boot()
    };
    let (client, server) = net.pair(card);
    net.spawn(serve(server, 80, 16 * MIB, 65536));
    let start = client.now();
    let received = net.run(async {
        let mut stream = TcpStream::connect(&client, at(SERVER, 80), seconds(10))
            .await
            .unwrap();
        let mut piece = vec![0; 16 * 1024];
        let mut total = 0;
        loop {
            let read = stream.read(&mut piece).await.unwrap();
            total += read;
            if read == 0 {
                return total;
            }
            net.compute(Duration::from_nanos(25 * read as u64));
            yield_now().await;
        }
    });
    let took = client.now() - start;

    assert_eq!(received, 16 * MIB);
    assert_eq!(client.statistics().losses, 0);
    let seen = net.wire.borrow().seen;
    assert!(seen.from * 18 < seen.data, "{seen:?}");
    // Nobody waits: 40 MB/s is what the reader takes.
    assert!(took < Duration::from_millis(500), "{took:?}");
}
