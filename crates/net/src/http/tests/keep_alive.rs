//! Connections that are used again, and those that must not be.

use super::*;
use crate::TcpStream;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What was fetched and over which connection, when a server that says `first` is asked again
/// with `gap` between. A second server says `OK`.
fn twice(first: &[Step], gap: Duration) -> (String, Outcome) {
    let steps = [&[Step::Request], first, &[Step::Request, say(OK)]].concat();
    let world = World::new(&[steps, vec![Step::Request, say(OK)]]);
    let _ = world.get("http://boot.example/a");
    world.net.run(world.scripted.stack.sleep(gap));
    let outcome = world.get("http://boot.example/b");
    assert_eq!(outcome.body, b"ok");
    let last = outcome.requests.last().unwrap();
    (last.0[..1].into(), outcome)
}

#[test]
fn a_connection_is_used_again_where_that_is_safe() {
    let second = Duration::from_secs(1);
    let cases = [
        (OK, "1"),
        ("HTTP/1.1 204 No Content\r\n\r\n", "1"),
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone",
            "1",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "1",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\nC: d\r\n\r\n",
            "1",
        ),
        (
            "HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 2\r\n\r\nok",
            "2",
        ),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "2"),
        // More than it says: the rest would be taken for the next answer.
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n",
            "2",
        ),
        ("HTTP/1.1 204 No Content\r\n\r\nbody", "2"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
            "2",
        ),
        // A body that is too long to be passed over.
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 99999999\r\n\r\nnone",
            "2",
        ),
    ];
    for (first, connection) in cases {
        assert_eq!(twice(&[say(first)], second).0, connection, "{first}");
    }
    // The surplus comes later; the server closes, or resets, while nobody looks.
    for late in [say("HTTP/1.1 200 OK\r\n"), Step::Vanish, say("")] {
        assert_eq!(twice(&[say(OK), late], second).0, "2");
    }
    // An endless trailer costs the connection, not the body.
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n";
    let endless = format!("{chunked}{}", "A: b\r\n".repeat(100));
    assert_eq!(twice(&[say(&endless)], second).0, "2");
    let long = format!("{chunked}A: {}", "b".repeat(5000));
    assert_eq!(twice(&[say(&long)], second).0, "2");
    assert_eq!(twice(&[say(OK)], Duration::from_secs(9)).0, "1");
    assert_eq!(twice(&[say(OK)], Duration::from_secs(10)).0, "2");
}

/// It breaks when the request is sent: once more over a new one, but never a POST.
#[test]
fn a_stale_connection_is_replaced_once() {
    for end in [
        Step::Reset,
        say("HTTP/1.1 408 Too Slow\r\nConnection: close\r\n\r\n"),
    ] {
        let steps = vec![Step::Request, say(OK), Step::Request, end];
        let world = World::new(&[steps, vec![say(OK)]]);
        let _ = world.get("http://boot.example/a");
        let outcome = world.get("http://boot.example/b");
        assert_eq!(outcome.body, b"ok");
        let connections: Vec<&str> = outcome.requests.iter().map(|(url, _)| &url[..1]).collect();
        assert_eq!(connections, ["1", "2"]);
        assert!(outcome.paused().is_empty());
    }
    // Once: what the new one does counts.
    let steps = vec![Step::Request, say(OK), Step::Request, Step::Reset];
    let world = World::new(&[steps, vec![Step::Reset], vec![say(OK)]]);
    let _ = world.get("http://boot.example/a");
    assert_eq!(
        world.get("http://boot.example/b").error(),
        "connection reset by 192.168.1.1:80"
    );
    // Half an answer over the old one is an answer.
    let steps = vec![Step::Request, say(OK), Step::Request, say("HTTP/1.1 2")];
    let world = World::new(&[steps, vec![say(OK)]]);
    let _ = world.get("http://boot.example/a");
    assert_eq!(world.get("http://boot.example/b").unused, 1);
    let world = World::new(&[vec![Step::Request, say(OK), Step::Silence], vec![say(OK)]]);
    let _ = world.get("http://boot.example/a");
    let url = Url::parse("http://boot.example/b").unwrap();
    let post = Request::post(url, "text/plain", b"data".to_vec()).unwrap();
    assert_eq!(world.fetch(&post).requests[0].0, "2 http://boot.example/b");
}

#[test]
fn connections_are_kept_by_scheme_host_and_port() {
    let scripts = vec![vec![Step::Request, say(OK), Step::Request, say(OK)]; 6];
    let world = World::new(&scripts);
    let over = |url: &str| {
        let outcome = world.get(url);
        assert_eq!(outcome.body, b"ok");
        outcome.requests[0].0[..1].to_owned()
    };
    assert_eq!(over("http://a/x"), "1");
    assert_eq!(over("https://a:80/x"), "2");
    assert_eq!(over("http://a:80/y"), "1");
    assert_eq!(over("http://b/x"), "3");
    assert_eq!(
        over("http://b:81/x"),
        "4",
        "two are kept, the oldest gives way"
    );
    assert_eq!(over("http://b/x"), "3");
    world.pool.clear();
    assert_eq!(over("http://b:81/x"), "5");
    let mut world = World::new(&scripts);
    world.options.keep_alive = Duration::ZERO;
    assert_eq!(world.get("http://a/x").sent("Connection"), [Some("close")]);
    assert_eq!(world.get("http://a/x").requests[0].0, "2 http://a/x");
}

/// A redirect and its target over one connection.
#[test]
fn a_redirect_keeps_the_connection() {
    let moved = "HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 5\r\n\r\nmoved";
    let world = World::new(&[vec![Step::Request, say(moved), Step::Request, say(OK)]]);
    let outcome = world.get("http://boot.example/a");
    assert_eq!(outcome.body, b"ok");
    assert_eq!(outcome.requests.len(), 2);
}

/// What an idle connection was promised cannot be taken back, so it is not promised much.
#[test]
fn a_kept_connection_leaves_the_window_to_others() {
    for answer in [
        OK,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        let net = Net::new(1, Faults::default());
        let (client, server) = net.pair(Card::u_boot());
        let bulk = server.clone();
        net.spawn(async move {
            let mut listener = TcpListener::bind(&server, 80).unwrap();
            let mut stream = listener.accept().await.unwrap();
            while stream.read(&mut [0; 2048]).await.unwrap() > 0 {
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        net.spawn(async move {
            let mut listener = TcpListener::bind(&bulk, 81).unwrap();
            let mut stream = listener.accept().await.unwrap();
            stream.write_all(&pattern(1 << 20)).await.unwrap();
            let _ = stream.close().await;
        });
        let (pool, options) = (Pool::default(), Options::default());
        let http = Client {
            connector: &client,
            pool: &pool,
            options: &options,
        };
        net.run(async {
            for _ in 0..20 {
                let request = Request::get(Url::parse("http://192.168.1.1/x").unwrap());
                let mut body = Vec::new();
                http.fetch(&request, &mut body).await.unwrap();
                assert_eq!(body, b"ok");
            }
            let connect = TcpStream::connect(&client, at(SERVER, 81), options.connect_timeout);
            let mut data = vec![0; 1 << 20];
            connect.await.unwrap().read_exact(&mut data).await.unwrap();
        });
        let most = net.wire.borrow().seen.in_flight_max;
        assert!((18..=24).contains(&most), "{most}: {answer}");
    }
}
