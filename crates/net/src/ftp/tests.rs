//! Transfers from a server made by hand.

use std::net::SocketAddr;
use std::time::Duration;

use super::{File, FtpError, PORT, fetch};
use crate::testing::{Card, Faults, Net, SERVER, SERVER6, at, pattern, seconds};
use crate::{Stack, TcpListener, TcpStream};

/// How a server behaves.
#[derive(Clone, Copy, Debug)]
struct Ways {
    greeting: &'static str,
    /// Older than RFC 2428 and RFC 3659.
    is_old: bool,
    /// Its folder is not that of the login: names begin with a slash.
    from_root: bool,
    /// Bytes that it sends fewer than it says.
    missing: usize,
    /// It says this at the end.
    last: &'static str,
}

const WAYS: Ways = Ways {
    greeting: "220 ready\r\n",
    is_old: false,
    from_root: false,
    missing: 0,
    last: "226 done\r\n",
};

const LENGTH: usize = 100_000;

/// Serves one client: `file` to anybody, `secret` to user `u` with password `p`.
async fn serve(stack: Stack, ways: Ways) {
    let mut door = TcpListener::bind(&stack, PORT).unwrap();
    let mut data = TcpListener::bind(&stack, 6446).unwrap();
    let mut control = door.accept().await.unwrap();
    control.write_all(ways.greeting.as_bytes()).await.unwrap();
    let mut user = String::new();
    let mut is_in = false;
    while let Some(line) = line(&mut control).await {
        let (command, word) = line.split_once(' ').unwrap_or((&line, ""));
        let is_file = word.strip_prefix(if ways.from_root { "/d/" } else { "d/" }) == Some("file");
        let answer = match command {
            "USER" => {
                user = word.into();
                "331-which\r\n331 password?"
            }
            "PASS" => {
                is_in = (&*user, word) == ("u", "p") || (&*user, word) == ("anonymous", "bowline@");
                if is_in {
                    "230 in"
                } else {
                    "530 Login incorrect."
                }
            }
            _ if !is_in => "530 Please log in.",
            "TYPE" if word == "I" => "200 binary",
            "SIZE" if !ways.is_old && is_file => "213 100000",
            "EPSV" if !ways.is_old => "229 Entering Extended Passive Mode (|||6446|)",
            // Somebody else's address: the client must not go there.
            "PASV" if ways.is_old => "227 Entering Passive Mode (10,9,8,7,25,46).",
            "RETR" if is_file => {
                let mut to = data.accept().await.unwrap();
                control.write_all(b"150 here it comes\r\n").await.unwrap();
                let bytes = pattern(LENGTH);
                to.write_all(&bytes[..LENGTH - ways.missing]).await.unwrap();
                to.close().await.unwrap();
                control.write_all(ways.last.as_bytes()).await.unwrap();
                continue;
            }
            "RETR" => {
                // The data connection has been made for nothing.
                drop(data.accept().await.unwrap());
                "550 Failed to open file."
            }
            "SIZE" => "550 Could not get file size.",
            "QUIT" => "221 bye",
            _ => "500 what?",
        };
        let answer = format!("{answer}\r\n");
        if control.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn line(control: &mut TcpStream) -> Option<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        if control.read(&mut byte).await.ok()? == 0 {
            return None;
        }
        line.push(byte[0]);
    }
    Some(String::from_utf8(line).unwrap().trim().into())
}

fn file(path: &str) -> File<'_> {
    File {
        path,
        user: None,
        password: "",
    }
}

fn download(ways: Ways, what: File<'_>) -> Result<Vec<u8>, FtpError> {
    let net = Net::new(7, Faults::default());
    let (client, server) = net.pair(Card::u_boot());
    net.spawn(serve(server, ways));
    net.run(async {
        let control = TcpStream::connect(&client, at(SERVER, PORT), seconds(5)).await;
        let mut data = Vec::new();
        fetch(control.unwrap(), what, &mut data).await?;
        Ok(data)
    })
}

#[test]
fn files_come_whole() {
    let as_user = File {
        user: Some("u"),
        password: "p",
        ..file("/d/file")
    };
    for (ways, what) in [
        (WAYS, file("/d/file")),
        (WAYS, as_user),
        (
            Ways {
                is_old: true,
                ..WAYS
            },
            file("/d/file"),
        ),
        (
            Ways {
                from_root: true,
                ..WAYS
            },
            file("/d/file"),
        ),
        (
            Ways {
                from_root: true,
                ..WAYS
            },
            file("//d/file"),
        ),
        (
            Ways {
                greeting: "120 wait\r\n220-a\r\n b\r\n220 c\r\n",
                ..WAYS
            },
            as_user,
        ),
    ] {
        let data =
            download(ways, what).unwrap_or_else(|error| panic!("{ways:?} {what:?}: {error}"));
        assert!(data == pattern(LENGTH), "{ways:?} {what:?}");
    }
}

#[test]
fn files_come_over_ipv6() {
    let net = Net::new(7, Faults::default());
    let (client, server) = net.pair_ipv6(Card::u_boot());
    net.spawn(serve(server, WAYS));
    let end = SocketAddr::new(SERVER6.into(), PORT);
    let data = net.run(async {
        let control = TcpStream::connect(&client, end, seconds(5)).await.unwrap();
        let mut data = Vec::new();
        fetch(control, file("/d/file"), &mut data)
            .await
            .map(|()| data)
    });
    assert!(data.unwrap() == pattern(LENGTH));
}

#[test]
fn failures_are_told() {
    let stranger = File {
        user: Some("u"),
        password: "wrong",
        ..file("/d/file")
    };
    let missing = Ways { missing: 1, ..WAYS };
    let broken = Ways {
        last: "426 broke off\r\n",
        ..WAYS
    };
    let web = Ways {
        greeting: "HTTP/1.1 400 Bad Request\r\n\r\n",
        ..WAYS
    };
    let full = Ways {
        greeting: "421 too many\r\n",
        ..WAYS
    };
    for (ways, what, expected) in [
        (
            WAYS,
            file("/absent"),
            "FTP server 192.168.1.1: no such file, or access is not allowed (RETR: 550 Failed to open \
             file.)",
        ),
        (
            WAYS,
            stranger,
            "FTP server 192.168.1.1 does not let us in (530 Login incorrect.)",
        ),
        (
            WAYS,
            file("/d/file\r\nDELE d/file"),
            "no file, user or password has control characters",
        ),
        (
            missing,
            file("/d/file"),
            "FTP server 192.168.1.1 sent 99999 bytes and not the whole file",
        ),
        (
            broken,
            file("/d/file"),
            "FTP server 192.168.1.1: it broke off (RETR: 426 broke off)",
        ),
        (
            web,
            file("/d/file"),
            "what answers at 192.168.1.1:21 does not speak FTP",
        ),
        (
            full,
            file("/d/file"),
            "FTP server 192.168.1.1: it is closing down or full (connecting: 421 too many)",
        ),
        (
            Ways {
                greeting: "",
                ..WAYS
            },
            file("/d/file"),
            "no answer from 192.168.1.1:21 for 15 s",
        ),
    ] {
        assert_eq!(download(ways, what).unwrap_err().to_string(), expected);
    }
}

#[test]
fn passwords_are_not_shown() {
    let file = File {
        user: Some("u"),
        password: "hidden",
        ..file("/x")
    };
    assert!(!format!("{file:?}").contains("hidden"));
    assert!(Duration::from_secs(1) < super::SILENCE);
}
