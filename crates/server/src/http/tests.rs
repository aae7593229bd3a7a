//! The HTTP service over loopback, by a client that writes its requests out.

mod tls;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::*;
use crate::{Shutdown, Trigger};

/// A running service over a directory with `hello`, `sub/file` and, outside, `secret`.
struct Site {
    address: SocketAddr,
    directory: tempfile::TempDir,
    trigger: Trigger,
    run: tokio::task::JoinHandle<()>,
}

fn site() -> Site {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("www");
    fs::create_dir_all(root.join("sub")).unwrap();
    fs::write(root.join("hello"), "Hello, world").unwrap();
    fs::write(root.join("sub/file"), "below").unwrap();
    fs::write(directory.path().join("secret"), "not yours").unwrap();
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    let service = Service::bind(Config {
        listen,
        root,
        tls: None,
    })
    .unwrap();
    let address = service.addresses()[0];
    let (trigger, shutdown) = Shutdown::new();
    let run = tokio::spawn(service.run(shutdown));
    Site {
        address,
        directory,
        trigger,
        run,
    }
}

struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

impl Site {
    /// Sends one request on a connection of its own and reads until the server closes it.
    async fn ask(&self, line: &str, headers: &str) -> Answer {
        let request = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        let address = self.address;
        let whole = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut whole = Vec::new();
            stream.read_to_end(&mut whole).unwrap();
            whole
        });
        let whole = whole.await.unwrap();
        let end = whole
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap();
        let head = String::from_utf8(whole[..end].to_vec()).unwrap();
        Answer {
            head,
            body: whole[end + 4..].to_vec(),
        }
    }
}

#[tokio::test]
async fn files_are_served_with_length_and_validators() {
    let site = site();
    let answer = site.ask("GET /hello", "").await;
    assert!(
        answer.head.starts_with("HTTP/1.1 200 OK"),
        "{}",
        answer.head
    );
    assert_eq!(answer.body, b"Hello, world");
    assert_eq!(answer.header("content-length"), Some("12"));
    assert!(answer.header("last-modified").is_some(), "{}", answer.head);
    let etag = answer.header("etag").expect("an entity tag").to_owned();

    let again = site
        .ask("GET /hello", &format!("If-None-Match: {etag}\r\n"))
        .await;
    assert!(again.head.starts_with("HTTP/1.1 304"), "{}", again.head);
    assert_eq!(again.body, b"");

    let head = site.ask("HEAD /hello", "").await;
    assert_eq!(head.header("content-length"), Some("12"));
    assert_eq!(head.body, b"");
    assert_eq!(site.ask("GET /sub/file", "").await.body, b"below");
}

#[tokio::test]
async fn ranges_are_served() {
    let site = site();
    let part = site.ask("GET /hello", "Range: bytes=7-\r\n").await;
    assert!(part.head.starts_with("HTTP/1.1 206"), "{}", part.head);
    assert_eq!(part.header("content-range"), Some("bytes 7-11/12"));
    assert_eq!(part.body, b"world");
    let beyond = site.ask("GET /hello", "Range: bytes=100-\r\n").await;
    assert!(beyond.head.starts_with("HTTP/1.1 416"), "{}", beyond.head);
}

#[tokio::test]
async fn nothing_else_is_reachable() {
    let site = site();
    for (line, status) in [
        ("GET /gone", "404"),
        ("GET /../secret", "404"),
        ("GET /sub/../../secret", "404"),
        ("GET /%2e%2e/secret", "404"),
        ("GET /..%2fsecret", "404"),
        ("GET //secret", "404"),
        ("GET /sub/", "404"),
        ("GET /", "404"),
        ("GET /hello%00", "404"),
        ("POST /hello", "405"),
        ("DELETE /hello", "405"),
        ("PUT /new", "405"),
    ] {
        let answer = site.ask(line, "").await;
        assert!(
            answer.head.starts_with(&format!("HTTP/1.1 {status}")),
            "{line}: {}",
            answer.head
        );
        assert_eq!(answer.body, b"", "{line}");
    }
    assert!(site.directory.path().join("www/hello").exists());
}

/// A download under way when the server is asked to end arrives whole, and then `run` returns.
#[tokio::test]
async fn shutdown_lets_an_answer_finish() {
    let site = site();
    let big: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();
    fs::write(site.directory.path().join("www/big"), &big).unwrap();
    let address = site.address;
    let (begun, wait) = tokio::sync::oneshot::channel();
    let client = tokio::task::spawn_blocking(move || {
        let mut stream = BufReader::new(TcpStream::connect(address).unwrap());
        stream
            .get_mut()
            .write_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).unwrap();
        }
        begun.send(()).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        let mut body = Vec::new();
        stream.read_to_end(&mut body).unwrap();
        body
    });
    wait.await.unwrap();
    site.trigger.request();
    assert!(client.await.unwrap() == big, "the download was cut short");
    site.run.await.unwrap();
}
