//! Our iSCSI initiator against a target over real TCP, in every way that two ends can agree on:
//! digests, direction and algorithm of CHAP, immediate data, R2T. Each session writes, flushes,
//! reads back and compares.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bowline_iscsi::chap::{Algorithm, ENTROPY_LENGTH};
use bowline_iscsi::initiator::{Closed, Command, Completion, Config, Event, Initiator, Transfer};
use bowline_iscsi::{Authentication, Credentials, Isid, Lun, Status};
use bowline_scsi::Cdb;
use clap::Args;

/// Written and read back at a time: more than the bursts that targets agree to.
const LENGTH: usize = 600 * 1024;
const BLOCK: usize = 512;

/// A session may take so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who, where and as whom.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// `address:port` of the target.
    portal: String,
    /// Its iSCSI name. LUN 1 is written to.
    target: String,
    /// The CHAP algorithms that it knows, by number. With none, a login needs no CHAP.
    #[arg(long, value_delimiter = ',')]
    algorithms: Vec<u32>,
    #[arg(long, default_value = "")]
    user: String,
    #[arg(long, default_value = "")]
    password: String,
    #[arg(long, default_value = "")]
    mutual_user: String,
    #[arg(long, default_value = "")]
    mutual_password: String,
}

/// One way of working.
#[derive(Debug, Clone, Copy)]
struct Way {
    header_digest: bool,
    data_digest: bool,
    initial_r2t: bool,
    immediate_data: bool,
    algorithm: Option<Algorithm>,
    mutual: bool,
}

/// Tries all of them; prints how many there were and what was agreed on.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let ways = ways(&arguments.algorithms)?;
    let mut agreed = BTreeSet::new();
    for (number, way) in ways.iter().enumerate() {
        let found = session(arguments, *way, number as u8).with_context(|| format!("{way:?}"))?;
        agreed.insert(found);
    }
    agreed.iter().for_each(|line| println!("agreed on: {line}"));
    println!("{} sessions wrote and read back", ways.len());
    Ok(())
}

fn ways(algorithms: &[u32]) -> Result<Vec<Way>> {
    let mut proofs = Vec::new();
    for &number in algorithms {
        let algorithm = Algorithm::from_number(number).context("no such CHAP algorithm")?;
        proofs.extend([(Some(algorithm), false), (Some(algorithm), true)]);
    }
    if proofs.is_empty() {
        proofs.push((None, false));
    }
    let mut ways = Vec::new();
    for (algorithm, mutual) in proofs {
        for bits in 0..16_u8 {
            let bit = |place: u8| bits >> place & 1 == 1;
            ways.push(Way {
                header_digest: bit(0),
                data_digest: bit(1),
                initial_r2t: bit(2),
                immediate_data: bit(3),
                algorithm,
                mutual,
            });
        }
    }
    Ok(ways)
}

/// One session; what it agreed on.
fn session(arguments: &Arguments, way: Way, number: u8) -> Result<String> {
    let mut config = Config::new(
        "iqn.2026-11.org.bowline:sessions",
        &arguments.target,
        Isid::random([1, 2, 3], 7),
        // Test secrets, and a challenge of its own for each session.
        [number ^ 0x5a; ENTROPY_LENGTH],
    );
    config.header_digest = way.header_digest;
    config.data_digest = way.data_digest;
    config.initial_r2t = way.initial_r2t;
    config.immediate_data = way.immediate_data;
    if let Some(algorithm) = way.algorithm {
        config.chap_algorithms = vec![algorithm];
        config.credentials = Some(Credentials::new(&arguments.user, &arguments.password));
    }
    if way.mutual {
        let reverse = Credentials::new(&arguments.mutual_user, &arguments.mutual_password);
        config.reverse = Some(reverse);
    }
    let mut peer = Peer::connect(&arguments.portal, config)?;
    let login = match peer.event()? {
        Event::LoggedIn(login) => login,
        other => bail!("instead of a login came {other:?}"),
    };
    let expected = match (way.algorithm, way.mutual) {
        (None, _) => Authentication::None,
        (Some(_), false) => Authentication::OneWay,
        (Some(_), true) => Authentication::Mutual,
    };
    ensure!(login.authentication == expected && login.algorithm == way.algorithm);
    let parameters = &login.parameters;
    ensure!(
        parameters.header_digest == way.header_digest
            && parameters.data_digest == way.data_digest
            && (parameters.initial_r2t || !way.initial_r2t)
            && (way.immediate_data || !parameters.immediate_data),
        "agreed on {parameters:?}"
    );
    let found = format!(
        "CHAP {expected}, digests {}/{}, InitialR2T {}, ImmediateData {}",
        parameters.header_digest,
        parameters.data_digest,
        parameters.initial_r2t,
        parameters.immediate_data
    );
    write_and_read_back(&mut peer, number)?;
    peer.initiator.logout(peer.now());
    match peer.event()? {
        Event::Closed(Closed::LoggedOut) => Ok(found),
        other => bail!("instead of a logout came {other:?}"),
    }
}

fn write_and_read_back(peer: &mut Peer, number: u8) -> Result<()> {
    let data: Vec<u8> = (0..LENGTH).map(|at| (at / 3) as u8 ^ number).collect();
    let (lba, blocks) = (2048 + u64::from(number), (LENGTH / BLOCK) as u32);
    // The first command may be told that the session is new (a unit attention).
    peer.execute(Cdb::TestUnitReady, Transfer::None).ok();
    peer.execute(Cdb::write(lba, blocks), Transfer::Write(data.clone()))?;
    peer.execute(Cdb::flush(), Transfer::None)?;
    let read = peer.execute(Cdb::read(lba, blocks), Transfer::Read(LENGTH as u32))?;
    ensure!(read.data == data, "what was read is not what was written");
    Ok(())
}

/// An initiator on a TCP connection.
struct Peer {
    stream: TcpStream,
    initiator: Initiator,
    started: Instant,
}

impl Peer {
    fn connect(portal: &str, config: Config) -> Result<Self> {
        let stream = TcpStream::connect(portal).with_context(|| format!("no way to {portal}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let initiator = Initiator::new(config, Duration::ZERO)?;
        Ok(Self {
            stream,
            initiator,
            started: Instant::now(),
        })
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits for the next event.
    fn event(&mut self) -> Result<Event> {
        let mut buffer = vec![0; 65536];
        loop {
            while let Some(bytes) = self.initiator.poll_output() {
                self.stream.write_all(&bytes)?;
            }
            if let Some(event) = self.initiator.poll_event() {
                return Ok(event);
            }
            let now = self.now();
            match self.stream.read(&mut buffer).context("no answer")? {
                0 => self.initiator.handle_close(now),
                count => self.initiator.handle_input(now, &buffer[..count]),
            }
            self.initiator.handle_timeout(now);
        }
    }

    fn execute(&mut self, cdb: Cdb, transfer: Transfer) -> Result<Completion> {
        let command = Command {
            lun: Lun::new(1).context("a small number")?,
            cdb: cdb.to_bytes().padded(),
            transfer,
            timeout: None,
        };
        let now = self.now();
        let submitted = self.initiator.submit(now, command)?;
        match self.event()? {
            Event::Completed {
                task,
                result: Ok(done),
            } if task == submitted => {
                ensure!(
                    done.status == Status::GOOD,
                    "{}: {:?}",
                    done.status,
                    done.sense
                );
                Ok(done)
            }
            other => bail!("instead of an answer came {other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_tried_once() {
        assert_eq!(ways(&[]).unwrap().len(), 16);
        assert_eq!(ways(&[5, 6, 7, 8]).unwrap().len(), 128);
        assert!(ways(&[9]).is_err());
        let all: BTreeSet<String> = ways(&[5, 8])
            .unwrap()
            .iter()
            .map(|way| format!("{way:?}"))
            .collect();
        assert_eq!(all.len(), 64);
    }
}
