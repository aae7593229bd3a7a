//! What web servers answer to the loader's HTTP client.
//!
//! The first byte chooses the request. Connections are separated by the byte 0x1e, reads within
//! one by 0x1f; a connection whose script is over is closed by the server.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bowline_net::http::{
    Client, Connect, Credentials, FetchError, Options, Part, Pool, Progress, Request, Scheme, Sink,
    Stop, Transport, TransportError, Trouble, Url,
};
use bowline_net::{Clock, Link, Nic, NicError, ReceiveRing, Stack};

pub(super) const WORDS: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 206 Partial\r\n",
    "HTTP/1.1 302 Found\r\n",
    "HTTP/1.1 401 No\r\n",
    "HTTP/1.1 503 Busy\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "Content-Length: ",
    "Content-Range: bytes 0-1/2\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Connection: close\r\n",
    "ETag: \"a\"\r\n",
    "Retry-After: ",
    "\r\n",
    "\r\n\r\n",
    "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
    "Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n",
    "WWW-Authenticate: Digest realm=\"a\", nonce=\"b\", qop=\"auth\", stale=true\r\n",
    "WWW-Authenticate: Basic\r\n",
    "Location: http://other/\r\n",
    "Location: https://other/\r\n",
    "ffffffffffffffff\r\n",
    "0\r\n\r\n",
    "\u{1e}",
    "\u{1f}",
];
/// The first byte: what is asked for, and from whom.
const POST: u8 = 1;
const HEAD: u8 = 2;
const PART: u8 = 4;
const HTTPS: u8 = 8;
const CREDENTIALS: u8 = 16;
/// Requests for one input: redirects and retries are limited, so there is an end.
const REQUESTS_MAX: usize = 2000;
const PASSWORD: &str = "open sesame";
/// Basic authentication's form of `user:open sesame`.
const TOKEN: &str = "dXNlcjpvcGVuIHNlc2FtZQ==";

/// A card without a network.
struct NoCard;

impl Nic for NoCard {
    fn mac(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, 1]
    }
    fn receive(&mut self, _: &mut [u8]) -> Result<Option<usize>, NicError> {
        Ok(None)
    }
    fn transmit(&mut self, _: &[u8]) -> Result<(), NicError> {
        Ok(())
    }
    fn link(&self) -> Link {
        Link::Up
    }
    fn receive_ring(&self) -> ReceiveRing {
        ReceiveRing {
            initial: 4,
            limit: 4,
        }
    }
    fn shutdown(&mut self) {}
}

/// A clock that stands still until it is moved.
#[derive(Default)]
pub(super) struct VirtualClock(Cell<Duration>);

impl VirtualClock {
    pub(super) fn advance(&self, by: Duration) {
        self.0.set(self.0.get() + by);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        self.0.get()
    }
}

struct Servers {
    stack: Stack,
    home: Url,
    scripts: RefCell<VecDeque<VecDeque<Vec<u8>>>>,
    requests: Rc<Cell<usize>>,
}

struct Server {
    script: VecDeque<Vec<u8>>,
    is_home: bool,
    requests: Rc<Cell<usize>>,
}

impl Connect for Servers {
    type Transport = Server;

    async fn connect(&self, url: &Url, _: Duration) -> Result<Server, FetchError> {
        assert!(
            self.home.scheme() == Scheme::Http || url.scheme() == Scheme::Https,
            "from https to {url}"
        );
        let script = self.scripts.borrow_mut().pop_front();
        let script = script.ok_or_else(|| FetchError::Layer {
            url: url.clone(),
            trouble: Trouble {
                code: "over",
                words: "no more servers".into(),
                is_transient: true,
            },
        })?;
        Ok(Server {
            script,
            is_home: url.has_same_origin(&self.home),
            requests: Rc::clone(&self.requests),
        })
    }

    fn stack(&self) -> &Stack {
        &self.stack
    }
}

impl Transport for Server {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TransportError> {
        self.try_read(buffer).unwrap_or(Ok(0))
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> Option<Result<usize, TransportError>> {
        // An empty read is a moment in which nothing is there; nothing at all is the end.
        let Some(mut bytes) = self.script.pop_front() else {
            return Some(Ok(0));
        };
        if bytes.is_empty() {
            return None;
        }
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        if count < bytes.len() {
            self.script.push_front(bytes.split_off(count));
        }
        Some(Ok(count))
    }

    async fn write_all(&mut self, data: &[u8]) -> Result<(), TransportError> {
        self.requests.set(self.requests.get() + 1);
        assert!(self.requests.get() < REQUESTS_MAX, "requests without end");
        let text = String::from_utf8_lossy(data);
        if text.starts_with("field=") {
            return Ok(());
        }
        // One head and nothing behind it: no server can make us say something else.
        assert_eq!(text.find("\r\n\r\n"), Some(text.len() - 4), "{text}");
        assert!(
            text.split("\r\n").all(|line| !line.contains(['\r', '\n'])),
            "{text}"
        );
        assert!(!text.contains(PASSWORD));
        assert!(
            self.is_home || !text.contains("Authorization"),
            "a secret to a stranger"
        );
        assert!(self.is_home || !text.contains(TOKEN));
        Ok(())
    }

    fn expect(&mut self, _: Option<usize>) {}

    fn send_last(&mut self, _: &[u8]) {}
}

/// Checks that what it is told makes sense.
#[derive(Default)]
struct Checker {
    received: u64,
    began: bool,
}

impl Sink for Checker {
    fn begin(&mut self, _: Option<u64>) -> Result<(), Stop> {
        self.received = 0;
        self.began = true;
        Ok(())
    }

    fn write(&mut self, piece: &[u8], progress: Progress) -> Result<(), Stop> {
        assert!(self.began && !piece.is_empty());
        self.received += piece.len() as u64;
        assert_eq!(progress.received, self.received);
        assert!(
            progress.total.is_none_or(|total| self.received <= total),
            "{progress:?}"
        );
        Ok(())
    }

    fn paused(&mut self, reason: &FetchError, pause: Duration) {
        let _ = reason.to_string();
        assert!(pause <= Options::default().wait_max);
    }
}

/// Two requests, one after the other, with the connections that were kept.
pub(super) fn client(data: &[u8]) {
    let Some((&how, script)) = data.split_first() else {
        return;
    };
    let only_head = how & (POST | HEAD) == HEAD;
    let clock = Rc::new(VirtualClock::default());
    let scheme = if how & HTTPS == 0 { "http" } else { "https" };
    let home = Url::parse(&format!("{scheme}://boot.example/x")).expect("it is a URL");
    let connections = script.split(|byte| *byte == 0x1e);
    let reads = |bytes: &[u8]| {
        bytes
            .split(|byte| *byte == 0x1f)
            .map(<[u8]>::to_vec)
            .collect()
    };
    let servers = Servers {
        stack: Stack::new(Box::new(NoCard), clock.clone(), 1),
        home: home.clone(),
        scripts: RefCell::new(connections.map(reads).collect()),
        requests: Rc::default(),
    };
    let pool = Pool::default();
    let options = Options::default();
    let client = Client {
        connector: &servers,
        pool: &pool,
        options: &options,
    };
    let request = request(how, home);
    for _ in 0..2 {
        let mut sink = Checker::default();
        let result = run(&clock, &servers.stack, client.fetch(&request, &mut sink));
        match result {
            Ok(response) => {
                assert_eq!(response.received, sink.received);
                assert!((200..300).contains(&response.status));
                assert!(!only_head || sink.received == 0);
                let is_whole = response.length.is_none_or(|length| length == sink.received);
                let is_bare = only_head || response.status == 204;
                assert!(is_whole || is_bare, "{response:?}");
            }
            Err(error) => {
                // Unless a server says it itself.
                let known = String::from_utf8_lossy(script).contains(PASSWORD);
                assert!(known || !error.to_string().contains(PASSWORD));
            }
        }
    }
}

fn request(how: u8, url: Url) -> Request {
    let credentials = Credentials::new("user", PASSWORD).ok();
    let request = if how & POST != 0 {
        let body = b"field=value".to_vec();
        Request::post(url, "application/x-www-form-urlencoded", body).expect("a proper type")
    } else if how & HEAD != 0 {
        Request::head(url)
    } else if how & PART != 0 {
        Request::get(url).with_part(Part {
            first: 2,
            length: Some(3),
        })
    } else {
        Request::get(url)
    };
    request.with_credentials(credentials.filter(|_| how & CREDENTIALS != 0))
}

/// Runs to the end; time jumps to where something happens.
fn run<F: Future>(clock: &VirtualClock, stack: &Stack, future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        let next = stack.poll_at().expect("what waits has set an alarm");
        clock
            .0
            .set(next.max(clock.now() + Duration::from_micros(1)));
    }
}
