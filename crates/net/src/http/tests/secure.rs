//! A transport over a transport, with a session that flips every bit.

use super::*;
use crate::http::Trouble;
use crate::http::secure::{Either, Secured, Session};

/// After one byte each way, everything is inverted; 0xff announces the end.
#[derive(Default)]
struct Flip {
    output: Vec<u8>,
    plain: Vec<u8>,
    is_ready: bool,
    has_closed: bool,
}

impl Flip {
    fn new() -> Self {
        Self {
            output: b"?".to_vec(),
            ..Self::default()
        }
    }
}

fn trouble(words: &str) -> Trouble {
    Trouble {
        code: "flip",
        words: words.into(),
        is_transient: false,
    }
}

impl Session for Flip {
    fn handle_input(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        for byte in bytes {
            match (self.is_ready, byte) {
                (false, b'!') => self.is_ready = true,
                (false, b'.') => self.has_closed = true,
                (false, _) => {
                    self.output = b"ALERT".to_vec();
                    return Err(trouble("the server is somebody else"));
                }
                (true, 0xff) => self.has_closed = true,
                (true, byte) => self.plain.push(!byte),
            }
        }
        Ok(())
    }

    fn handle_eof(&mut self) -> Result<(), Trouble> {
        if self.has_closed {
            return Ok(());
        }
        Err(Trouble {
            is_transient: true,
            ..trouble("cut off")
        })
    }

    fn poll_output(&mut self) -> Option<Vec<u8>> {
        Some(std::mem::take(&mut self.output)).filter(|output| !output.is_empty())
    }

    fn read(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.plain.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.plain[..count]);
        self.plain.drain(..count);
        count
    }

    fn readable(&self) -> usize {
        self.plain.len()
    }

    fn close(&mut self) {
        self.output.extend_from_slice(b"BYE");
    }

    fn write(&mut self, plaintext: &[u8]) -> Result<(), Trouble> {
        // Kept readable, so that the scripts' log is text.
        self.output.extend_from_slice(plaintext);
        Ok(())
    }

    fn is_handshaking(&self) -> bool {
        !self.is_ready
    }

    fn peer_has_closed(&self) -> bool {
        self.has_closed
    }
}

/// `http` in clear, `https` through the session: all that the loader needs to do for TLS.
struct ByScheme {
    below: Scripted,
}

impl Connect for ByScheme {
    type Transport = Either<Script, Secured<Script, Flip>>;

    async fn connect(&self, url: &Url, timeout: Duration) -> Result<Self::Transport, FetchError> {
        let plain = self.below.connect(url, timeout).await?;
        if url.scheme() == crate::http::Scheme::Http {
            return Ok(Either::Plain(plain));
        }
        let handshake = Secured::handshake(plain, Flip::new());
        let secured = self.stack().timeout(timeout, handshake).await;
        match secured {
            Ok(Ok(secured)) => Ok(Either::Secured(secured)),
            Ok(Err(error)) => Err(FetchError::of_transport(url, error)),
            Err(elapsed) => Err(FetchError::TimedOut {
                url: url.clone(),
                after: elapsed.after,
            }),
        }
    }

    fn stack(&self) -> &Stack {
        self.below.stack()
    }
}

fn flipped(text: &str) -> Vec<u8> {
    text.bytes().map(|byte| !byte).collect()
}

fn fetch(urls: &[&str], scripts: &[Vec<Step>]) -> Vec<(Result<Vec<u8>, String>, usize)> {
    let world = World::new(scripts);
    let connector = ByScheme {
        below: world.scripted.clone(),
    };
    let pool = Pool::default();
    let client = Client {
        connector: &connector,
        pool: &pool,
        options: &world.options,
    };
    let fetched = urls.iter().map(|url| {
        let mut body = Vec::new();
        let request = Request::get(Url::parse(url).unwrap());
        let result = world.net.run(client.fetch(&request, &mut body));
        let result = result.map(|_| body).map_err(|error| error.to_string());
        (result, *world.scripted.connections.borrow())
    });
    fetched.collect()
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn http_runs_over_a_session() {
    let ok = Step::Send(flipped(OK));
    let script = vec![
        Step::Request,
        say("!"),
        Step::Request,
        ok.clone(),
        Step::Request,
        ok.clone(),
        // The session's own end, while nobody reads.
        Step::Send(vec![0xff]),
    ];
    let next = vec![Step::Request, say("!"), Step::Request, ok];
    let plain = vec![say(OK)];
    let got = fetch(
        &["https://h/", "https://h/", "https://h/", "http://h/"],
        &[script, next, plain],
    );
    let ok = || Ok(b"ok".to_vec());
    assert_eq!(got, [(ok(), 1), (ok(), 1), (ok(), 2), (ok(), 3)]);
}

#[test]
fn the_session_says_what_is_wrong() {
    let impostor = vec![Step::Request, say("x"), Step::Silence];
    let got = fetch(&["https://h/"], &[impostor]);
    assert_eq!(got[0].0, Err("the server is somebody else".into()));
    let ended = vec![Step::Request, say(".")];
    let got = fetch(&["https://h/"], &[ended]);
    let words = "the server closed the connection within the handshake";
    assert_eq!(got[0].0, Err(words.into()));
    let mute = vec![Step::Request, Step::Silence];
    let got = fetch(&["https://h/"], &[mute]);
    assert_eq!(got[0].0, Err("h fell silent: nothing came for 10 s".into()));

    // A body that ends with the connection: cut off, or announced.
    let open = "HTTP/1.1 200 OK\r\n\r\nall";
    let mut script = vec![
        Step::Request,
        say("!"),
        Step::Request,
        Step::Send(flipped(open)),
    ];
    let got = fetch(&["https://h/"], &[script.clone()]);
    assert_eq!(
        got[0].0,
        Err("connection refused by 192.168.1.1:80: nothing listens on that port".into())
    );
    script.push(Step::Send(vec![0xff]));
    assert_eq!(fetch(&["https://h/"], &[script])[0].0, Ok(b"all".to_vec()));
}

/// The alert is sent although the handshake failed.
#[test]
fn the_last_word_is_sent() {
    let world = World::new(&[vec![Step::Request, say("x"), Step::Silence]]);
    let url = Url::parse("https://h/").unwrap();
    let failed = world.net.run(async {
        let below = world.scripted.connect(&url, Duration::ZERO).await.unwrap();
        Secured::handshake(below, Flip::new()).await.err()
    });
    assert!(failed.is_some());
    let sent: Vec<String> = world
        .scripted
        .requests
        .take()
        .into_iter()
        .map(|(_, sent)| sent)
        .collect();
    assert_eq!(sent, ["?", "ALERT", "BYE"]);
}
