//! Requests against scripted servers, and one over TCP.

mod auth;
mod keep_alive;
mod resume;
mod secure;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::{
    Client, Connect, FetchError, Method, Options, Part, Pool, Progress, Request, Response, Sink,
    Stop, Transport, TransportError, Url,
};
use crate::testing::{Card, Faults, Net, SERVER, at, pattern};
use crate::{ConnectError, Stack, StreamError, TcpListener};

/// What a scripted server does next.
#[derive(Clone)]
enum Step {
    Send(Vec<u8>),
    Silence,
    Reset,
    /// Goes on when the next request has come.
    Request,
    /// The connection is lost while nobody reads from it.
    Vanish,
}

fn say(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

/// One script for each connection; keeps the URLs and the requests.
#[derive(Clone)]
struct Scripted {
    stack: Stack,
    scripts: Rc<RefCell<VecDeque<Vec<Step>>>>,
    requests: Rc<RefCell<Vec<(String, String)>>>,
    connections: Rc<RefCell<usize>>,
}

struct Script {
    steps: VecDeque<Step>,
    url: String,
    connection: usize,
    requests: Rc<RefCell<Vec<(String, String)>>>,
}

impl Connect for Scripted {
    type Transport = Script;

    async fn connect(&self, url: &Url, _: Duration) -> Result<Script, FetchError> {
        let Some(steps) = self.scripts.borrow_mut().pop_front() else {
            return Err(FetchError::Connect {
                url: url.clone(),
                error: Box::new(ConnectError::Refused {
                    remote: at(SERVER, 80),
                }),
            });
        };
        *self.connections.borrow_mut() += 1;
        Ok(Script {
            steps: steps.into(),
            url: url.to_string(),
            connection: *self.connections.borrow(),
            requests: self.requests.clone(),
        })
    }

    fn stack(&self) -> &Stack {
        &self.stack
    }
}

impl Transport for Script {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TransportError> {
        match self.try_read(buffer) {
            Some(result) => result,
            None => std::future::pending().await,
        }
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> Option<Result<usize, TransportError>> {
        match self.steps.pop_front() {
            None => Some(Ok(0)),
            Some(waiting @ (Step::Silence | Step::Request)) => {
                self.steps.push_front(waiting);
                None
            }
            Some(Step::Reset | Step::Vanish) => Some(Err(StreamError::Reset {
                remote: at(SERVER, 80),
            }
            .into())),
            Some(Step::Send(bytes)) => {
                let count = bytes.len().min(buffer.len());
                buffer[..count].copy_from_slice(&bytes[..count]);
                if count < bytes.len() {
                    self.steps.push_front(Step::Send(bytes[count..].to_vec()));
                }
                Some(Ok(count))
            }
        }
    }

    async fn write_all(&mut self, data: &[u8]) -> Result<(), TransportError> {
        if let Some(Step::Request) = self.steps.front() {
            self.steps.pop_front();
        }
        let request = String::from_utf8(data.to_vec()).unwrap();
        let url = format!("{} {}", self.connection, self.url);
        self.requests.borrow_mut().push((url, request));
        Ok(())
    }

    fn expect(&mut self, _: Option<usize>) {}

    fn send_last(&mut self, data: &[u8]) {
        let last = String::from_utf8(data.to_vec()).unwrap();
        let url = format!("{} {}", self.connection, self.url);
        self.requests.borrow_mut().push((url, last));
    }
}

/// What a sink was told.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Begin(Option<u64>),
    Piece(Progress),
    Paused(String, Duration),
}

#[derive(Default)]
struct Keeper {
    body: Vec<u8>,
    told: Vec<Told>,
}

impl Sink for Keeper {
    fn begin(&mut self, total: Option<u64>) -> Result<(), Stop> {
        self.body.clear();
        self.told.push(Told::Begin(total));
        Ok(())
    }

    fn write(&mut self, piece: &[u8], progress: Progress) -> Result<(), Stop> {
        self.body.extend_from_slice(piece);
        assert_eq!(self.body.len() as u64, progress.received);
        self.told.push(Told::Piece(progress));
        Ok(())
    }

    fn paused(&mut self, reason: &FetchError, pause: Duration) {
        self.told.push(Told::Paused(reason.to_string(), pause));
    }
}

struct Outcome {
    result: Result<Response, FetchError>,
    body: Vec<u8>,
    told: Vec<Told>,
    /// Number and URL of the connection, and what was sent over it.
    requests: Vec<(String, String)>,
    /// Scripts that nobody connected to.
    unused: usize,
}

impl Outcome {
    fn error(&self) -> String {
        self.result.as_ref().unwrap_err().to_string()
    }

    fn paused(&self) -> Vec<(&str, u64)> {
        let told = self.told.iter();
        told.filter_map(|told| match told {
            Told::Paused(why, pause) => Some((why.as_str(), pause.as_millis() as u64)),
            _ => None,
        })
        .collect()
    }

    /// The values of a header field in the requests.
    fn sent(&self, field: &str) -> Vec<Option<&str>> {
        let start = format!("{field}: ");
        let requests = self.requests.iter();
        requests
            .map(|(_, request)| {
                request
                    .split("\r\n")
                    .find_map(|line| line.strip_prefix(&start))
            })
            .collect()
    }
}

/// Servers that follow scripts.
struct World {
    net: Net,
    scripted: Scripted,
    pool: Pool<Script>,
    options: Options,
}

impl World {
    fn new(scripts: &[Vec<Step>]) -> Self {
        let net = Net::new(1, Faults::default());
        let scripted = Scripted {
            stack: net.stack(Card::large(), None),
            scripts: Rc::new(RefCell::new(scripts.to_vec().into())),
            requests: Rc::default(),
            connections: Rc::default(),
        };
        Self {
            net,
            scripted,
            pool: Pool::default(),
            options: Options::default(),
        }
    }

    fn fetch(&self, request: &Request) -> Outcome {
        let mut keeper = Keeper::default();
        let client = Client {
            connector: &self.scripted,
            pool: &self.pool,
            options: &self.options,
        };
        let result = self.net.run(client.fetch(request, &mut keeper));
        Outcome {
            result,
            body: keeper.body,
            told: keeper.told,
            requests: self.scripted.requests.take(),
            unused: self.scripted.scripts.borrow().len(),
        }
    }

    fn get(&self, url: &str) -> Outcome {
        self.fetch(&Request::get(Url::parse(url).unwrap()))
    }
}

/// Downloads `url` from servers that follow these scripts, without a second try.
fn get(url: &str, scripts: &[Vec<Step>]) -> Outcome {
    let mut world = World::new(scripts);
    world.options.retries_max = 0;
    world.get(url)
}

/// A server that sends `text` and closes.
fn get_text(text: &str) -> Outcome {
    get("http://boot.example/x", &[vec![say(text)]])
}

#[test]
fn the_request_is_as_rfc_9112_wants_it() {
    let ok = vec![say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")];
    let outcome = get("http://boot.example:8080/a b?c", &[ok]);
    let expected = format!(
        "GET /a%20b?c HTTP/1.1\r\nHost: boot.example:8080\r\nUser-Agent: Bowline/{}\r\n\
         Accept: */*\r\nAccept-Encoding: identity\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(outcome.requests[0].1, expected);
    assert_eq!(outcome.result.unwrap().received, 0);
}

#[test]
fn bodies_end_where_they_should() {
    let cases = [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhellomore",
            "hello",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\ncontent-length: 5\r\n\r\nhello",
            "hello",
        ),
        ("HTTP/1.1 200 OK\r\n\r\nto the end", "to the end"),
        ("HTTP/1.0 200 OK\r\n\r\nold", "old"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nContent-Length: 3\r\n\r\n\
             5\r\nhello\r\nA;x=y\r\n, dear you\r\n0\r\nTrailer: x\r\n\r\n",
            "hello, dear you",
        ),
        ("HTTP/1.1 204 No Content\r\n\r\nnothing", ""),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            "x",
        ),
    ];
    for (text, body) in cases {
        let whole = get_text(text);
        assert_eq!(whole.result.unwrap().received, body.len() as u64, "{text}");
        assert_eq!(whole.body, body.as_bytes());
        // Byte by byte it is the same.
        let bytes = text.bytes().map(|byte| Step::Send(vec![byte])).collect();
        let slow = get("http://boot.example/x", &[bytes]);
        assert!(slow.result.is_ok(), "{text}");
        assert_eq!(slow.body, body.as_bytes());
    }
}

#[test]
fn errors_say_who_and_what() {
    let cases = [
        (
            "HTTP/1.1 404 Not Found\r\n\r\nno",
            "boot.example answered 404 Not Found",
        ),
        ("HTTP/1.1 503\r\n\r\n", "boot.example answered 503"),
        (
            "HTTP/1.1 304 Not Modified\r\n\r\n",
            "boot.example answered 304 Not Modified",
        ),
        (
            "HTTP/1.1 302 Found\r\n\r\n",
            "boot.example answered 302 Found",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour",
            "boot.example closed the connection after 4 of 10 bytes",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n",
            "boot.example closed the connection after 4 bytes, before the end",
        ),
        (
            "HTTP/1.1 200 OK\r\nConte",
            "boot.example closed the connection after 0 bytes, before the end",
        ),
        ("", "boot.example closed the connection without an answer"),
        (
            "SSH-2.0-OpenSSH_9.2\r\n",
            "boot.example does not speak proper HTTP: the answer is not HTTP/1",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "boot.example does not speak proper HTTP: it names two different lengths",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
            "boot.example does not speak proper HTTP: the Content-Length is not a number",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "boot.example does not speak proper HTTP: \
             it uses a transfer coding that was not asked for",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "boot.example does not speak proper HTTP: the size of a chunk is not a number",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n",
            "boot.example does not speak proper HTTP: a chunk is longer than its size says",
        ),
    ];
    for (text, error) in cases {
        assert_eq!(get_text(text).error(), error);
    }
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(20_000));
    assert_eq!(
        get_text(&endless).error(),
        "the header of the answer of boot.example is longer than 16384 bytes"
    );
    let chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;";
    let endless = format!("{chunk}{}", "x".repeat(5_000));
    assert!(get_text(&endless).error().contains("the size of a chunk"));
    let silent = get(
        "http://boot.example/x",
        &[vec![say("HTTP/1.1 200"), Step::Silence]],
    );
    assert_eq!(
        silent.error(),
        "boot.example did not finish the header of its answer in 20 s"
    );
    let reset = get("http://boot.example/x", &[vec![Step::Reset]]);
    assert_eq!(reset.error(), "connection reset by 192.168.1.1:80");
}

fn moved(location: &str) -> Vec<Step> {
    vec![say(&format!(
        "HTTP/1.1 301 Moved\r\nLocation: {location}\r\n\r\n"
    ))]
}

#[test]
fn redirects_are_followed_so_far() {
    let ok = vec![say(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhere",
    )];
    let scripts = [
        moved("../b"),
        moved("//other/c"),
        moved("http://third:81/d"),
        ok,
    ];
    let outcome = get("http://boot.example/x/a", &scripts);
    let urls: Vec<&str> = outcome
        .requests
        .iter()
        .map(|(url, _)| url.as_str())
        .collect();
    assert_eq!(
        urls,
        [
            "1 http://boot.example/x/a",
            "2 http://boot.example/b",
            "3 http://other/c",
            "4 http://third:81/d"
        ]
    );
    let response = outcome.result.unwrap();
    assert_eq!(response.url.to_string(), "http://third:81/d");
    assert_eq!(response.content_type.as_deref(), Some("text/plain"));
    assert_eq!(outcome.body, b"here");

    let circle = get("http://boot.example/x", &vec![moved("/x"); 10]);
    assert_eq!(
        circle.error(),
        "more than 5 redirects, beginning at http://boot.example/x"
    );
    assert_eq!(circle.requests.len(), 6);
    assert_eq!(
        get("http://boot.example/x", &[moved("ftp://h/")]).error(),
        "boot.example redirects to \"ftp://h/\", which is no HTTP URL"
    );
    assert_eq!(
        get("https://boot.example/x", &[moved("http://boot.example/y")]).error(),
        "boot.example redirects from https to http://boot.example/y, which is not protected: \
         refused"
    );
}

#[test]
fn progress_is_told_and_a_sink_can_stop() {
    let script = vec![
        say("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab"),
        say("cd"),
        say("ef"),
    ];
    let outcome = get("http://boot.example/x", &[script]);
    let piece = |received| {
        Told::Piece(Progress {
            received,
            total: Some(6),
        })
    };
    let told = [Told::Begin(Some(6)), piece(2), piece(4), piece(6)];
    assert_eq!(outcome.told, told);

    struct Full;
    impl Sink for Full {
        fn begin(&mut self, _: Option<u64>) -> Result<(), Stop> {
            Ok(())
        }
        fn write(&mut self, _: &[u8], _: Progress) -> Result<(), Stop> {
            Err(Stop)
        }
    }
    let world = World::new(&[vec![say("HTTP/1.1 200 OK\r\n\r\nx")]]);
    let client = Client {
        connector: &world.scripted,
        pool: &world.pool,
        options: &world.options,
    };
    let request = Request::get(Url::parse("http://boot.example/x").unwrap());
    let stopped = world.net.run(client.fetch(&request, &mut Full));
    assert_eq!(stopped, Err(FetchError::Stopped));
}

#[test]
fn a_file_comes_over_tcp() {
    let net = Net::new(1, Faults::default());
    let (client, server) = net.pair(Card::u_boot());
    let data = pattern(3_000_000);
    let served = data.clone();
    net.spawn(async move {
        let mut listener = TcpListener::bind(&server, 80).unwrap();
        let mut stream = listener.accept().await.unwrap();
        let mut request = [0; 2048];
        stream.read(&mut request).await.unwrap();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            served.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&served).await.unwrap();
        let _ = stream.close().await;
    });
    let (pool, options) = (Pool::default(), Options::default());
    let fetch = |url: &str| {
        let mut body = Vec::new();
        let connector = &client;
        let client = Client {
            connector,
            pool: &pool,
            options: &options,
        };
        let request = Request::get(Url::parse(url).unwrap());
        let result = net.run(client.fetch(&request, &mut body));
        (result, body)
    };
    let (result, body) = fetch("http://192.168.1.1/disk.img");
    assert_eq!(result.unwrap().received, 3_000_000);
    assert!(body == data);
    assert_eq!(
        fetch("https://192.168.1.1/x").0.unwrap_err().to_string(),
        "https://192.168.1.1/x: HTTPS is not built into this loader yet; \
         use http on a trusted network"
    );
    assert_eq!(
        fetch("http://192.168.1.1:81/x").0.unwrap_err().to_string(),
        "connection refused by 192.168.1.1:81: nothing listens on that port"
    );
}
