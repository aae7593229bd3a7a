//! The smallest use of the client: one GET over a blocking socket.
//!
//! `cargo run -p bowline-tls --example get -- HOST PORT ROOTS.pem [CHAIN.pem KEY.pem]`

use bowline_tls::identity::Identity;
use bowline_tls::provider::Portable;
use bowline_tls::time::{Clock, Timestamp};
use bowline_tls::trust::Anchors;
use bowline_tls::{Client, Config, Event, entropy};
use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;

fn main() {
    if let Err(error) = run() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (host, port, roots, identity) = match &arguments[..] {
        [host, port, roots] => (host, port.parse()?, roots, None),
        [host, port, roots, chain, key] => {
            let identity = Identity::from_bytes(&std::fs::read(chain)?, &std::fs::read(key)?)?;
            (host, port.parse()?, roots, Some(identity))
        }
        _ => return Err("usage: get HOST PORT ROOTS.pem [CHAIN.pem KEY.pem]".into()),
    };
    let mut seed = [0; 48];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    entropy::add(&seed, 256)?;
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_secs();
    let anchors = Anchors::from_bytes(&std::fs::read(roots)?)?;
    println!("{} trusted certificates", anchors.len());
    let config = Config::builder(anchors, Clock::at(Timestamp(now)))
        .identity(identity)
        .build::<Portable>();
    // Twice: the second time the session should be resumed.
    for _ in 0..2 {
        get(&config, host, port)?;
    }
    Ok(())
}

fn get(config: &Config, host: &str, port: u16) -> Result<(), Box<dyn Error>> {
    let mut socket = TcpStream::connect((host, port))?;
    let mut tls = Client::new(config, host)?;
    tls.write(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut buffer = [0; 4096];
    let mut total = 0;
    loop {
        while let Some(bytes) = tls.poll_output() {
            socket.write_all(&bytes)?;
        }
        while let Some(event) = tls.poll_event() {
            match event {
                Event::Established(session) => println!("{session}"),
                Event::Closed => {
                    println!("{total} bytes, ended in the proper way");
                    return Ok(());
                }
            }
        }
        let result = match socket.read(&mut buffer)? {
            0 => tls.handle_eof(),
            count => tls.handle_input(buffer.get(..count).unwrap_or_default()),
        };
        total += tls.take_plaintext().len();
        if let Err(error) = result {
            // Tell the server why before leaving.
            while let Some(bytes) = tls.poll_output() {
                let _ = socket.write_all(&bytes);
            }
            return Err(error.into());
        }
    }
}
