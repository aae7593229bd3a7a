//! The other end of `reader.efi` where it measures how fast firmware hands out frames
//! (loader/src/frames.rs): sends as many as it is asked for.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::thread;

use anyhow::{Context, Result};

/// The UDP port of requests.
const PORT: u16 = 9;

/// The one that answers go to, where nobody listens: the reader does not look, and our own would push
/// requests out of a socket's queue.
const ANSWERS: u16 = 10;

/// A frame of 1514 bytes without the headers of Ethernet, IPv4 and UDP.
const PAYLOAD: usize = 1514 - 14 - 20 - 8;

/// The payload of the answer to a request for none: too long to be padded.
const GREETING: usize = 100;

/// Answers in the background, as long as this process lives. Answers are broadcast in the network
/// of `server`, which has 256 addresses: whoever asks has none.
pub(crate) fn answer(server: &str) -> Result<()> {
    let [a, b, c, _] = server.parse::<Ipv4Addr>()?.octets();
    let everybody = SocketAddrV4::new(Ipv4Addr::new(a, b, c, 255), ANSWERS);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT));
    let socket = socket.context("cannot answer requests for frames")?;
    let answers = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    answers.set_broadcast(true)?;
    thread::spawn(move || {
        let mut request = [0; 2];
        while socket.recv(&mut request).is_ok() {
            match u16::from_be_bytes(request) {
                0 => send(&answers, &[0; GREETING], everybody),
                count => (0..count).for_each(|_| send(&answers, &[0; PAYLOAD], everybody)),
            }
        }
    });
    Ok(())
}

/// Sends one frame, as soon as the wire has room for it.
fn send(socket: &UdpSocket, payload: &[u8], to: SocketAddrV4) {
    while socket.send_to(payload, to).is_err() {
        thread::yield_now();
    }
}
