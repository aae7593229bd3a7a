//! Files by FTP (RFC 959), always passive: `EPSV` (RFC 2428), over IPv4 also `PASV`.
//!
//! The data come from the address that the control connection goes to, whatever the server names
//! (RFC 2577 section 3).

mod error;
mod reply;
#[cfg(test)]
mod tests;

use alloc::format;
use alloc::string::String;
use alloc::vec;
#[cfg(feature = "fuzzing")]
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

pub use self::error::FtpError;
use self::reply::{Malformed, Replies, Reply};
use crate::TcpStream;
use crate::http::{Progress, Sink};

pub(crate) use self::reply::{extended_passive, passive};

/// Where servers listen (RFC 959 section 5.2).
pub const PORT: u16 = 21;
/// How long the data connection may take to be made,
const CONNECT: Duration = Duration::from_secs(5);
/// and how long either connection may be silent.
const SILENCE: Duration = Duration::from_secs(15);
/// Taken from the data connection at a time.
const PIECE: usize = 16 * 1024;

/// What to fetch, and as whom.
#[derive(Clone, Copy)]
pub struct File<'a> {
    /// The path of the URL, decoded, with its leading slash.
    pub path: &'a str,
    /// The user name; `None` is anonymous (RFC 1635).
    pub user: Option<&'a str>,
    /// The password, where the server asks for one.
    pub password: &'a str,
}

/// The codes of the replies to all but `RETR`, to be read off as they come.
#[cfg(feature = "fuzzing")]
pub(crate) fn codes(bytes: &[u8]) -> Vec<u16> {
    let mut replies = Replies::default();
    replies.push(bytes);
    let next = || replies.take().ok().flatten().map(|reply| reply.code);
    core::iter::from_fn(next).collect()
}

/// Fetches a file into `sink`. `control` has just been connected to the server.
///
/// # Errors
/// [`FtpError`]
pub async fn fetch(
    control: TcpStream,
    file: File<'_>,
    sink: &mut impl Sink,
) -> Result<(), FtpError> {
    let mut control = Control {
        server: control.remote_addr(),
        stream: control,
        replies: Replies::default(),
    };
    control.log_in(&file).await?;
    control.command("TYPE", "I").await?.expect(200..=299)?;
    let (data, total) = control.retrieve(file.path).await?;
    let received = copy(data, total, sink).await?;
    // It says whether that was all (RFC 959 section 5.4).
    control.reply("RETR").await?.expect(200..=299)?;
    if total.is_some_and(|total| total != received) {
        let server = control.server;
        return Err(FtpError::Incomplete { server, received });
    }
    control.stream.send_last(b"QUIT\r\n");
    Ok(())
}

/// Reads the data connection to its end; how much came.
async fn copy(
    mut data: TcpStream,
    total: Option<u64>,
    sink: &mut impl Sink,
) -> Result<u64, FtpError> {
    let server = data.remote_addr();
    let stack = data.stack().clone();
    sink.begin(total).map_err(|_| FtpError::Stopped)?;
    let mut piece = vec![0; PIECE];
    let mut received = 0;
    loop {
        let read = stack.timeout(SILENCE, data.read(&mut piece)).await;
        let count = read.map_err(|_| FtpError::Silent {
            server,
            after: SILENCE,
        })??;
        if count == 0 {
            return Ok(received);
        }
        received += count as u64;
        let progress = Progress { received, total };
        let piece = piece.get(..count).unwrap_or_default();
        sink.write(piece, progress).map_err(|_| FtpError::Stopped)?;
    }
}

/// The control connection.
struct Control {
    server: SocketAddr,
    stream: TcpStream,
    replies: Replies,
}

/// A reply, and what it answers.
struct Answer {
    server: SocketAddr,
    command: &'static str,
    reply: Reply,
}

impl Answer {
    /// The reply, if its code is one of these.
    fn expect(self, codes: core::ops::RangeInclusive<u16>) -> Result<Reply, FtpError> {
        if codes.contains(&self.reply.code) {
            return Ok(self.reply);
        }
        let (server, command, reply) = (self.server, self.command, self.reply);
        let (code, text) = (reply.code, reply.text);
        Err(match command {
            "USER" | "PASS" => FtpError::Login { server, code, text },
            _ => FtpError::Refused {
                server,
                command,
                code,
                text,
            },
        })
    }
}

impl Control {
    /// RFC 959 section 5.4, "login".
    async fn log_in(&mut self, file: &File<'_>) -> Result<(), FtpError> {
        // 120 announces that the greeting takes a while.
        while self.reply("connecting").await?.expect(100..=299)?.code < 200 {}
        let user = file.user.unwrap_or("anonymous");
        let reply = self.command("USER", user).await?.expect(200..=331)?;
        if reply.code >= 300 {
            let password = match file.user {
                Some(_) => file.password,
                None => "bowline@",
            };
            self.command("PASS", password).await?.expect(200..=299)?;
        }
        Ok(())
    }

    /// Has the file sent; the data connection, and the file's length where the server tells.
    ///
    /// The name is relative to the folder of the login (RFC 1738 section 3.2.2). Where there is
    /// none like that, the path is taken as it is, as iPXE does.
    async fn retrieve(&mut self, path: &str) -> Result<(TcpStream, Option<u64>), FtpError> {
        let relative = path.strip_prefix('/').unwrap_or(path);
        match self.retrieve_name(relative).await {
            Err(FtpError::Refused { code: 550, .. }) if relative != path => {
                self.retrieve_name(path).await
            }
            retrieved => retrieved,
        }
    }

    async fn retrieve_name(&mut self, name: &str) -> Result<(TcpStream, Option<u64>), FtpError> {
        // RFC 3659 section 4; not every server has it.
        let size = self.command("SIZE", name).await?.expect(213..=213);
        let total = size.ok().and_then(|reply| reply.text.trim().parse().ok());
        let data = self.connect_data().await?;
        self.command("RETR", name).await?.expect(100..=199)?;
        Ok((data, total))
    }

    async fn connect_data(&mut self) -> Result<TcpStream, FtpError> {
        let server = self.server;
        let extended = self.command("EPSV", "").await?.expect(229..=229);
        let port = match extended {
            Ok(reply) => extended_passive(&reply.text),
            // Older than RFC 2428.
            Err(_) if server.is_ipv4() => {
                let reply = self.command("PASV", "").await?.expect(227..=227)?;
                passive(&reply.text)
            }
            Err(refused) => return Err(refused),
        };
        let port = port.ok_or(FtpError::NotFtp { server })?;
        let end = SocketAddr::new(server.ip(), port);
        let connected = TcpStream::connect(self.stream.stack(), end, CONNECT).await;
        connected.map_err(FtpError::Data)
    }

    async fn command(&mut self, command: &'static str, word: &str) -> Result<Answer, FtpError> {
        // A line end would begin another command.
        if word.chars().any(char::is_control) {
            return Err(FtpError::BadName);
        }
        let space = if word.is_empty() { "" } else { " " };
        let line = zeroize::Zeroizing::new(format!("{command}{space}{word}\r\n"));
        self.stream.write_all(line.as_bytes()).await?;
        self.reply(command).await
    }

    /// The next reply; how long it takes has a limit.
    async fn reply(&mut self, command: &'static str) -> Result<Answer, FtpError> {
        let (server, stack) = (self.server, self.stream.stack().clone());
        let reply = stack.timeout(SILENCE, self.read_reply()).await;
        let reply = reply.map_err(|_| FtpError::Silent {
            server,
            after: SILENCE,
        })??;
        Ok(Answer {
            server,
            command,
            reply,
        })
    }

    async fn read_reply(&mut self) -> Result<Reply, FtpError> {
        let server = self.server;
        let mut bytes = [0; 512];
        loop {
            match self.replies.take() {
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) => {}
                Err(Malformed) => return Err(FtpError::NotFtp { server }),
            }
            let count = self.stream.read(&mut bytes).await?;
            if count == 0 {
                return Err(FtpError::HungUp { server });
            }
            self.replies.push(bytes.get(..count).unwrap_or_default());
        }
    }
}

impl core::fmt::Debug for File<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("File")
            .field("path", &self.path)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// What a server says, fit for a console.
fn readable(bytes: &[u8]) -> String {
    const CHARACTERS: usize = 200;
    let text = String::from_utf8_lossy(bytes);
    let text = text.chars().filter(|character| !character.is_control());
    text.take(CHARACTERS).collect()
}
