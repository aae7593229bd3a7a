//! The limit: what loopback TCP gives two threads that do nothing else. A request has the length of
//! an iSCSI header, an answer that of a header and the data.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

const HEADER: usize = 48;

/// Answers per second over one connection, with `depth` requests under way.
pub(super) fn rate(bytes: usize, depth: usize, time: Duration) -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    let answering = std::thread::spawn(move || answer(server, bytes));
    let rate = ask(client, bytes, depth, time).context("cannot measure loopback TCP")?;
    // Its connection is gone, which ends it.
    let _ = answering.join();
    Ok(rate)
}

fn ask(mut stream: TcpStream, bytes: usize, depth: usize, time: Duration) -> Result<f64> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 256 * 1024];
    let answer = HEADER + bytes;
    let requests = vec![0; HEADER * depth];
    let (mut received, mut answered) = (0_usize, 0_u64);
    stream.write_all(&requests)?;
    let start = Instant::now();
    while start.elapsed() < time {
        let len = stream.read(&mut buffer)?;
        anyhow::ensure!(len > 0, "the connection has ended");
        received += len;
        let complete = received / answer;
        received %= answer;
        answered += complete as u64;
        if let Some(more) = requests.get(..HEADER * complete) {
            stream.write_all(more)?;
        }
    }
    Ok(answered as f64 / start.elapsed().as_secs_f64())
}

fn answer(mut stream: TcpStream, bytes: usize) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let answer = vec![1; HEADER + bytes];
    let mut buffer = vec![0; 64 * 1024];
    let mut received = 0;
    loop {
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        received += len;
        while received >= HEADER {
            received -= HEADER;
            stream.write_all(&answer)?;
        }
    }
}
