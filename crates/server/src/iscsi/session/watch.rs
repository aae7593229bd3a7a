//! Waiting awake for the next command.
//!
//! An initiator that is near and sends one command at a time sends the next within microseconds of
//! the answer. To go to sleep and be woken takes longer than that, most of all on the idle
//! processor of a virtual machine. So a session that has answered all looks at its socket for a
//! moment before it sleeps, unless that was of no use lately.

use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use tokio::net::TcpStream;

/// Whether staying awake is worth it. Where it never is, it is tried after one answer in
/// [`PENALTY_MAX`].
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Successes since the session slept.
    awake: u32,
    /// Answers after which it sleeps at once, before it tries again.
    rest: u32,
    /// The next rest: longer with every failure, shorter with every success.
    penalty: u32,
}

impl Watch {
    /// After an answer: reads what comes within a moment and says how many bytes, 0 if the session
    /// shall sleep.
    pub(super) fn keep(&mut self, stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest > 0 || self.awake == AWAKE_MAX {
            self.rest = self.rest.saturating_sub(1);
            self.awake = 0;
            return Ok(0);
        }
        let start = Instant::now();
        // Not by way of tokio, which would look at all sockets and wake another thread for them;
        // and not by reading, which locks the socket while the peer's bytes are put into it.
        let socket = &mut [PollFd::new(stream, PollFlags::IN)];
        while retry_on_intr(|| poll(socket, Some(&NOW)))? == 0 {
            if start.elapsed() >= MOMENT {
                self.awake = 0;
                self.penalty = (self.penalty * 2).clamp(PENALTY_MIN, PENALTY_MAX);
                self.rest = self.penalty;
                return Ok(0);
            }
        }
        // Tokio notices for itself that nothing is left to read.
        match retry_on_intr(|| rustix::io::read(stream, &mut *buffer)) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => {
                self.awake += 1;
                self.penalty = self.penalty.saturating_sub(1);
                Ok(len)
            }
            Err(Errno::AGAIN) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

/// About as much as it takes until both ends have gone to sleep and have been woken.
const MOMENT: Duration = Duration::from_micros(25);
/// After so many, the other sessions of the thread have their turn.
const AWAKE_MAX: u32 = 16;
const NOW: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
const PENALTY_MIN: u32 = 16;
const PENALTY_MAX: u32 = 4096;

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tokio::net::TcpListener;

    use super::*;

    /// Both ends of a connection, ours first.
    async fn connection() -> (TcpStream, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        peer.set_nodelay(true).unwrap();
        (listener.accept().await.unwrap().0, peer)
    }

    /// Sends four bytes, and returns when they are there.
    async fn send(peer: &mut std::net::TcpStream, stream: &TcpStream) {
        peer.write_all(b"next").unwrap();
        assert_eq!(stream.peek(&mut [0; 4]).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn others_have_their_turn_after_some_commands() {
        let (stream, mut peer) = connection().await;
        let mut watch = Watch::default();
        let mut buffer = [0; 4];
        for _ in 0..AWAKE_MAX {
            send(&mut peer, &stream).await;
            assert_eq!(watch.keep(&stream, &mut buffer).unwrap(), 4);
        }
        send(&mut peer, &stream).await;
        assert_eq!(watch.keep(&stream, &mut buffer).unwrap(), 0);
        assert_eq!(watch.keep(&stream, &mut buffer).unwrap(), 4);
    }

    #[tokio::test]
    async fn who_waited_in_vain_sleeps_longer_every_time() {
        let (stream, mut peer) = connection().await;
        let mut watch = Watch::default();
        let mut buffer = [0; 4];
        // A success in between makes up for one answer only.
        for rest in [
            PENALTY_MIN,
            2 * (PENALTY_MIN - 1),
            4 * (PENALTY_MIN - 1) - 2,
        ] {
            let start = Instant::now();
            assert_eq!(watch.keep(&stream, &mut buffer).unwrap(), 0);
            assert!(start.elapsed() >= MOMENT);
            send(&mut peer, &stream).await;
            for _ in 0..rest {
                assert_eq!(watch.keep(&stream, &mut buffer).unwrap(), 0);
            }
            assert_eq!(watch.keep(&stream, &mut buffer).unwrap(), 4);
        }
        for _ in 0..10 {
            watch.rest = 0;
            assert_eq!(watch.keep(&stream, &mut buffer).unwrap(), 0);
        }
        assert_eq!(watch.rest, PENALTY_MAX);
    }

    #[tokio::test]
    async fn an_end_of_the_connection_is_no_silence() {
        let (stream, peer) = connection().await;
        drop(peer);
        let error = Watch::default().keep(&stream, &mut [0; 4]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
