//! Remote procedure calls (RFC 5531) over TCP, as a certain user of a certain machine.

use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::RangeInclusive;
use core::time::Duration;

use super::NfsError;
use super::xdr::{Reader, Writer};
use crate::{Stack, TcpStream};

/// Servers may want to be asked from a port that on Unix only root has.
const PRIVILEGED_PORTS: RangeInclusive<u16> = 512..=1023;
/// How long a connection may take to be made,
const CONNECT: Duration = Duration::from_secs(5);
/// and how long an answer.
const SILENCE: Duration = Duration::from_secs(15);
/// The longest message that is taken: a piece of a file with its head.
const MESSAGE_MAX: usize = super::PIECE as usize + 1024;
/// About what an answer without a piece of a file has.
const SHORT_ANSWER: usize = 300;
/// A machine's name, at most (RFC 5531 appendix A).
const MACHINE_MAX: usize = 255;
/// The bit of the last fragment (RFC 5531 section 11).
const LAST: u32 = 1 << 31;

/// Who asks (RFC 5531 appendix A, `AUTH_SYS`): nobody verifies it.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// The machine's name.
    pub machine: &'a str,
    /// The user's number,
    pub uid: u32,
    /// and the group's.
    pub gid: u32,
}

/// A program of a server, for messages too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) number: u32,
    pub(super) version: u32,
}

/// A connection to a program.
#[derive(Debug)]
pub(super) struct Connection {
    program: Program,
    stream: TcpStream,
    credentials: Vec<u8>,
    records: Records,
    /// The number of the call made last; answers come in any order.
    transaction: u32,
}

impl Connection {
    pub(super) async fn open(
        program: Program,
        stack: &Stack,
        server: SocketAddr,
        credentials: Credentials<'_>,
    ) -> Result<Self, NfsError> {
        let connecting = TcpStream::connect_from(stack, PRIVILEGED_PORTS, server, CONNECT);
        let stream = connecting.await.map_err(NfsError::Connect)?;
        Ok(Self::new(program, stream, credentials))
    }

    pub(super) fn new(program: Program, stream: TcpStream, credentials: Credentials<'_>) -> Self {
        let machine = credentials.machine.as_bytes();
        let machine = machine.get(..MACHINE_MAX).unwrap_or(machine);
        let groups = 0;
        let body = Writer::default()
            .number(0)
            .opaque(machine)
            .number(credentials.uid)
            .number(credentials.gid)
            .number(groups);
        Self {
            program,
            transaction: stream.stack().with(|inner| inner.random()) as u32,
            stream,
            credentials: body.0,
            records: Records::default(),
        }
    }

    pub(super) fn server(&self) -> SocketAddr {
        self.stream.remote_addr()
    }

    /// Calls a procedure and waits for its results.
    pub(super) async fn call(
        &mut self,
        procedure: u32,
        arguments: &Writer,
    ) -> Result<Vec<u8>, NfsError> {
        let transaction = self.send(procedure, arguments, SHORT_ANSWER).await?;
        loop {
            let (answered, results) = self.receive().await?;
            if answered == transaction {
                // Until the next call the receive budget is for other connections.
                self.stream.expect(Some(0));
                return Ok(results);
            }
        }
    }

    /// Calls a procedure (RFC 5531 section 9); the number that its answer will have. With that
    /// answer, `due` bytes are still to come of all answers.
    pub(super) async fn send(
        &mut self,
        procedure: u32,
        arguments: &Writer,
        due: usize,
    ) -> Result<u32, NfsError> {
        self.transaction = self.transaction.wrapping_add(1);
        let (call, rpc_version) = (0, 2);
        let (unix, none) = (1, 0);
        let message = Writer::default()
            .number(self.transaction)
            .number(call)
            .number(rpc_version)
            .number(self.program.number)
            .number(self.program.version)
            .number(procedure)
            .number(unix)
            .opaque(&self.credentials)
            .number(none)
            .opaque(b"");
        let length = message.0.len() + arguments.0.len();
        let mut record = Writer::default().number(LAST | length as u32).0;
        record.extend_from_slice(&message.0);
        record.extend_from_slice(&arguments.0);
        self.stream.expect(Some(due));
        self.stream.write_all(&record).await?;
        Ok(self.transaction)
    }

    /// The next answer: the number of its call, and the results.
    pub(super) async fn receive(&mut self) -> Result<(u32, Vec<u8>), NfsError> {
        let (server, program) = (self.server(), self.program.name);
        let stack = self.stream.stack().clone();
        let record = stack.timeout(SILENCE, self.receive_record()).await;
        let record = record.map_err(|_| NfsError::Silent {
            server,
            program,
            after: SILENCE,
        })??;
        let reply = Reply::parse(&record).ok_or(NfsError::Malformed { server, program })?;
        match reply.results {
            Ok(results) => Ok((reply.transaction, results.to_vec())),
            Err(why) => Err(NfsError::Rpc {
                server,
                program,
                why,
            }),
        }
    }

    async fn receive_record(&mut self) -> Result<Vec<u8>, NfsError> {
        let (server, program) = (self.server(), self.program.name);
        let mut bytes = vec![0; 16 * 1024];
        loop {
            match self.records.take() {
                Ok(Some(record)) => return Ok(record),
                Ok(None) => {}
                Err(TooLong) => return Err(NfsError::Malformed { server, program }),
            }
            let count = self.stream.read(&mut bytes).await?;
            if count == 0 {
                return Err(NfsError::HungUp { server, program });
            }
            self.records.push(bytes.get(..count).unwrap_or_default());
        }
    }
}

/// A record is longer than any answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Puts records together from their fragments (RFC 5531 section 11).
#[derive(Debug, Default)]
pub(super) struct Records {
    /// What has come and belongs to no record yet.
    bytes: Vec<u8>,
    /// The fragments of the record that is not whole yet.
    record: Vec<u8>,
}

impl Records {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next record, once it is there as a whole.
    pub(super) fn take(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        while let Some(mark) = Reader(&self.bytes).number() {
            let length = (mark & !LAST) as usize;
            if self.record.len().saturating_add(length) > MESSAGE_MAX {
                return Err(TooLong);
            }
            let Some(fragment) = self.bytes.get(4..4 + length) else {
                return Ok(None);
            };
            self.record.extend_from_slice(fragment);
            self.bytes.drain(..4 + length);
            if mark & LAST != 0 {
                return Ok(Some(core::mem::take(&mut self.record)));
            }
        }
        Ok(None)
    }
}

/// An answer (RFC 5531 section 9).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply<'a> {
    pub(super) transaction: u32,
    /// The results, or why there are none.
    pub(super) results: Result<&'a [u8], &'static str>,
}

impl<'a> Reply<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(message);
        let transaction = reader.number()?;
        let (is_reply, is_denied) = (reader.number()? == 1, reader.boolean()?);
        if !is_reply {
            return None;
        }
        let results = if is_denied {
            match reader.number()? {
                0 => Err("it speaks another version of RPC"),
                _ => Err("it does not accept who asks (AUTH_SYS)"),
            }
        } else {
            // The verifier: its kind, and up to 400 bytes (section 8.2).
            let (_, _) = (reader.number()?, reader.opaque(400)?);
            match reader.number()? {
                0 => Ok(reader.0),
                1 => Err("it does not have the program"),
                2 => Err("it has other versions of the program"),
                3 => Err("it does not have the procedure"),
                4 => Err("it does not understand the arguments"),
                _ => Err("it failed"),
            }
        };
        Some(Self {
            transaction,
            results,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_whole() {
        let mut records = Records::default();
        let bytes = b"\0\0\0\x02ab\x80\0\0\x01c\x80\0\0\0\x80\0\0\x02de";
        for (index, byte) in bytes.iter().enumerate() {
            records.push(&[*byte]);
            let expected: Option<&[u8]> = match index {
                10 => Some(b"abc"),
                14 => Some(b""),
                20 => Some(b"de"),
                _ => None,
            };
            let record = records.take().unwrap();
            assert_eq!(record.as_deref(), expected, "{index}");
        }
    }

    #[test]
    fn no_record_is_too_long() {
        let mut records = Records::default();
        records.push(&[0xff; 4]);
        assert_eq!(records.take(), Err(TooLong));
        let mut records = Records::default();
        let fragment = [&0x1000_u32.to_be_bytes()[..], &[0; 0x1000]].concat();
        let all = (0..100).find_map(|_| {
            records.push(&fragment);
            records.take().err()
        });
        assert_eq!(all, Some(TooLong), "in many fragments");
    }

    #[test]
    fn answers_are_told_apart() {
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect();
        for (message, results) in [
            (&[7, 1, 0, 0, 0, 0, 5][..], Some(Ok(&[0, 0, 0, 5][..]))),
            (
                &[7, 1, 0, 0, 0, 2, 2, 3],
                Some(Err("it has other versions of the program")),
            ),
            (
                &[7, 1, 1, 0, 2, 2],
                Some(Err("it speaks another version of RPC")),
            ),
            (
                &[7, 1, 1, 1, 1],
                Some(Err("it does not accept who asks (AUTH_SYS)")),
            ),
            // A call; neither accepted nor denied; no end.
            (&[7, 0, 0, 0, 0, 0], None),
            (&[7, 1, 2, 0, 0, 0], None),
            (&[7, 1, 0, 0, 500, 0], None),
            (&[7, 1, 0, 0], None),
        ] {
            let message: Vec<u8> = words(message);
            let reply = Reply::parse(&message);
            assert_eq!(reply.map(|reply| reply.results), results, "{message:?}");
        }
    }
}
