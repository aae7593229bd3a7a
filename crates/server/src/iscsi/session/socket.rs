//! The socket of a session: waits for what comes and for room to send.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;

use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;

/// What a session wants of its socket.
#[derive(Clone, Copy)]
pub(super) struct Interest {
    pub(super) read: bool,
    pub(super) write: bool,
}

/// Returns when bytes have come, with their number, or with 0 when some can be sent; never, if
/// neither is wanted.
pub(super) async fn exchange(
    stream: &mut TcpStream,
    buffer: &mut [u8],
    interest: Interest,
) -> io::Result<usize> {
    poll_fn(|context| {
        if interest.read {
            // Not `try_read`: after a short read tokio knows that there is no more, which saves a
            // system call for each command.
            let mut buffer = ReadBuf::new(buffer);
            if let Poll::Ready(read) = Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                return Poll::Ready(read.and_then(|()| match buffer.filled().len() {
                    0 => Err(io::ErrorKind::UnexpectedEof.into()),
                    len => Ok(len),
                }));
            }
        }
        if interest.write && stream.poll_write_ready(context)?.is_ready() {
            return Poll::Ready(Ok(0));
        }
        Poll::Pending
    })
    .await
}
