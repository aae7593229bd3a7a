//! A disk that is a file on a web server: read only, by range requests (RFC 9110 section 14).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use bowline_net::Stack;
use bowline_net::http::{self, Client, Credentials, Part, Pool, Url};
use bowline_script::Uri;

use crate::failure::{Code, Failure};
use crate::fetch;
use crate::machine::Machine;
use crate::network::Network;
use crate::platform::{DiskLocation, DiskUnit, Geometry, Platform};
use crate::san::cache::CommandId;
use crate::san::queue::{Closing, CommandQueue, DriveQueue, Finished, Request};
use crate::secure::{self, Connector, Security};

/// The file as a queue of reads.
pub(crate) struct WebDisk {
    file: Rc<File>,
    geometry: Geometry,
    next: Cell<CommandId>,
    waiting: RefCell<VecDeque<(CommandId, Part)>>,
    running: RefCell<Vec<(CommandId, Reading)>>,
    finished: RefCell<VecDeque<Finished>>,
}

type Reading = Pin<Box<dyn Future<Output = Result<Vec<u8>, Failure>>>>;

/// Where the bytes are.
struct File {
    network: Network,
    stack: Stack,
    server: SocketAddr,
    security: Rc<Security>,
    platform: Rc<dyn Platform>,
    pool: Pool<secure::Transport>,
    options: http::Options,
    url: Url,
    credentials: Option<Credentials>,
}

impl WebDisk {
    /// Asks how long the file is, and looks whether it is an image of a CD.
    pub(crate) async fn open(machine: &Machine, uri: &Uri) -> Result<Self, Failure> {
        let (url, credentials) = fetch::address(uri)?;
        let network = machine.network.clone();
        let mut ends = network.ends(url.host(), url.port()).await?;
        let no_way = || Failure::new(Code::NetRoute, format!("no way to {}", url.host()));
        let (stack, server) = ends.next().await.ok_or_else(no_way)?;
        let file = Rc::new(File {
            network,
            stack,
            server,
            security: Rc::clone(&machine.security),
            platform: Rc::clone(&machine.platform),
            pool: Pool::default(),
            options: http::Options::default(),
            url,
            credentials,
        });
        let length = file.length().await?;
        let block_size = if file.is_cd(length).await? {
            CD_BLOCK
        } else {
            DISK_BLOCK
        };
        let blocks = length / u64::from(block_size);
        if blocks == 0 {
            let message = format!("{uri} has {length} bytes: that is no disk");
            return Err(Failure::new(Code::DiskUnsupported, message));
        }
        Ok(Self {
            file,
            geometry: Geometry::new(block_size, blocks, true),
            next: Cell::default(),
            waiting: RefCell::default(),
            running: RefCell::default(),
            finished: RefCell::default(),
        })
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Where the file is, and the card that leads there.
    pub(crate) fn location(&self) -> Result<DiskLocation, Failure> {
        let File {
            stack, server, url, ..
        } = &*self.file;
        let local = stack.local_address(server.ip());
        let no_address = || Failure::new(Code::NetNoAddress, "the card has lost its address");
        Ok(DiskLocation {
            mac: stack.mac(),
            local: local.ok_or_else(no_address)?,
            server: server.ip(),
            port: server.port(),
            unit: DiskUnit::File {
                uri: url.to_string(),
            },
        })
    }

    fn finish(&self, command: CommandId, result: Result<Vec<u8>, Failure>) {
        self.finished.borrow_mut().push_back((command, result));
    }
}

impl CommandQueue for WebDisk {
    fn submit(&self, request: Request) -> CommandId {
        let command = self.next.get();
        self.next.set(command + 1);
        match request {
            Request::Read { lba, blocks } => {
                let block_size = u64::from(self.geometry.block_size);
                let part = Part {
                    first: lba.saturating_mul(block_size),
                    length: Some(u64::from(blocks).saturating_mul(block_size)),
                };
                self.waiting.borrow_mut().push_back((command, part));
            }
            // Nothing was ever written.
            Request::Flush => self.finish(command, Ok(Vec::new())),
            Request::Write { .. } | Request::Ask { .. } => {
                let message = "a file on a web server can only be read";
                self.finish(command, Err(Failure::new(Code::DiskUnsupported, message)));
            }
        }
        command
    }

    fn turn(&self) -> bool {
        let mut running = self.running.take();
        let mut waiting = self.waiting.borrow_mut();
        while running.len() < REQUESTS_MAX
            && let Some((command, part)) = waiting.pop_front()
        {
            let file = Rc::clone(&self.file);
            running.push((command, Box::pin(async move { file.read(part).await })));
        }
        drop(waiting);
        let before = running.len();
        let mut context = Context::from_waker(Waker::noop());
        running.retain_mut(
            |(command, reading)| match reading.as_mut().poll(&mut context) {
                Poll::Ready(result) => {
                    self.finish(*command, result);
                    false
                }
                Poll::Pending => true,
            },
        );
        let has_ended = running.len() < before;
        self.running.borrow_mut().append(&mut running);
        has_ended
    }

    fn take_finished(&self) -> Option<Finished> {
        self.finished.borrow_mut().pop_front()
    }

    fn is_idle(&self) -> bool {
        self.waiting.borrow().is_empty() && self.running.borrow().is_empty()
    }
}

impl DriveQueue for WebDisk {
    fn close(&self) -> Closing<'_> {
        self.running.take();
        self.file.pool.clear();
        Box::pin(core::future::ready(()))
    }
}

impl File {
    /// Carries a request out and gives the answer with its body.
    async fn fetch(&self, request: http::Request) -> Result<(http::Response, Vec<u8>), Failure> {
        let request = request.with_credentials(self.credentials.clone());
        let connector = Connector {
            network: &self.network,
            stack: &self.stack,
            security: &self.security,
            platform: &*self.platform,
        };
        let client = Client {
            connector: &connector,
            pool: &self.pool,
            options: &self.options,
        };
        let mut body = Vec::new();
        let response = client.fetch(&request, &mut body).await;
        let response = response.map_err(|error| fetch::describe(&error))?;
        Ok((response, body))
    }

    async fn length(&self) -> Result<u64, Failure> {
        let (response, _) = self.fetch(http::Request::head(self.url.clone())).await?;
        response.length.ok_or_else(|| {
            let message = format!("the server does not tell how long {} is", self.url);
            Failure::new(Code::HttpBroken, message)
        })
    }

    async fn read(&self, part: Part) -> Result<Vec<u8>, Failure> {
        let request = http::Request::get(self.url.clone()).with_part(part);
        let (_, body) = self.fetch(request).await?;
        if part
            .length
            .is_some_and(|length| length != body.len() as u64)
        {
            let wanted = part.length.and_then(|length| usize::try_from(length).ok());
            return Err(Failure::short_read(
                body.len(),
                wanted.unwrap_or(usize::MAX),
            ));
        }
        Ok(body)
    }

    /// A volume descriptor in sector 16 (ECMA-119 section 6.3).
    async fn is_cd(&self, length: u64) -> Result<bool, Failure> {
        let descriptor = Part {
            first: 16 * u64::from(CD_BLOCK),
            length: Some(CD_IDENTIFIER_END),
        };
        if length < descriptor.first + CD_IDENTIFIER_END {
            return Ok(false);
        }
        let descriptor = self.read(descriptor).await?;
        Ok(descriptor.get(1..) == Some(b"CD001".as_slice()))
    }
}

const DISK_BLOCK: u32 = 512;
const CD_BLOCK: u32 = 2048;

/// The type of a volume descriptor, and its identifier.
const CD_IDENTIFIER_END: u64 = 6;

/// Requests at a time, each on a connection of its own.
const REQUESTS_MAX: usize = 4;
