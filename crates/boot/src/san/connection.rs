//! One TCP connection with the iSCSI machine on it: connects, logs in, carries bytes.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::net::SocketAddr;
use core::task::Poll;
use core::time::Duration;

use bowline_iscsi::TargetAddress;
use bowline_iscsi::initiator::{
    self, Closed, Config, ConfigError, DiscoveredTarget, Error, Event, Initiator, SessionType,
};
use bowline_net::TcpStream;
use bowline_script::RootPath;

use crate::executor::Executor;
use crate::failure::{Code, Failure};
use crate::network::Network;
use crate::platform::Platform;
use crate::san::login::Login;

/// A logged-in connection.
pub(crate) struct Connection {
    stream: TcpStream,
    initiator: Initiator,
    /// Bytes that TCP has not taken yet, and how many of them it has.
    outgoing: Vec<u8>,
    sent: usize,
    /// Bytes the target still owes us; the receive budget is shared by this.
    owed: usize,
    is_closed: bool,
}

/// Where commands go from now on, and how the login came to be.
pub(crate) struct LoggedIn {
    pub(crate) connection: Connection,
    pub(crate) login: initiator::Login,
}

/// Connects to a target and logs in; follows the target where it has moved.
pub(crate) async fn open(
    executor: &Executor,
    platform: &dyn Platform,
    login: &Login,
    network: &Network,
) -> Result<LoggedIn, Failure> {
    let mut address = TargetAddress {
        host: login.root_path.server.clone(),
        port: login.root_path.port,
        portal_group_tag: None,
    };
    for _ in 0..=REDIRECTS_MAX {
        let stream = network.connect(&address.host, address.port).await?;
        let remote = stream.remote_addr();
        let config = login.config(platform)?;
        let mut connection = Connection::new(stream, config, executor.now())?;
        match connection
            .log_in(executor)
            .await
            .map_err(|error| describe(&error, login, remote))?
        {
            Answer::LoggedIn(login) => return Ok(LoggedIn { connection, login }),
            Answer::Moved(there) => address = there,
        }
    }
    Err(Failure::new(
        Code::IscsiRefused,
        format!("the target moved more than {REDIRECTS_MAX} times, last to {address}"),
    ))
}

/// What a login came to.
enum Answer {
    LoggedIn(initiator::Login),
    Moved(TargetAddress),
}

/// Asks a server which targets it has (RFC 7143 section 4.3, a discovery session).
pub(crate) async fn discover(
    executor: &Executor,
    platform: &dyn Platform,
    login: &Login,
    network: &Network,
) -> Result<Vec<DiscoveredTarget>, Failure> {
    let RootPath { server, port, .. } = &login.root_path;
    let stream = network.connect(server, *port).await?;
    let remote = stream.remote_addr();
    let mut config = login.config(platform)?;
    config.session = SessionType::Discovery;
    let mut connection = Connection::new(stream, config, executor.now())?;
    let targets = match connection.log_in(executor).await {
        Ok(Answer::LoggedIn(_)) => connection.send_targets(executor).await,
        Ok(Answer::Moved(there)) => {
            let message = format!("{remote} has moved to {there}: ask there");
            return Err(Failure::new(Code::IscsiRefused, message));
        }
        Err(error) => Err(error),
    };
    let targets = targets.map_err(|error| describe(&error, login, remote))?;
    connection.close(executor).await;
    Ok(targets)
}

impl Connection {
    fn new(stream: TcpStream, config: Config, now: Duration) -> Result<Self, Failure> {
        // Answers to a login are short; other sessions need the receive window.
        stream.expect(Some(0));
        Ok(Self {
            stream,
            initiator: Initiator::new(config, now).map_err(|error| unusable(&error))?,
            outgoing: Vec::new(),
            sent: 0,
            owed: 0,
            is_closed: false,
        })
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(crate) fn initiator(&mut self) -> &mut Initiator {
        &mut self.initiator
    }

    /// Says that the target owes us so much more.
    pub(crate) fn expect(&mut self, bytes: usize) {
        self.owed = self.owed.saturating_add(bytes);
        self.stream.expect(Some(self.owed));
    }

    /// Says that the target owes us nothing: everything was answered.
    pub(crate) fn expect_nothing(&mut self) {
        if self.owed > 0 {
            self.owed = 0;
            self.stream.expect(Some(0));
        }
    }

    /// When [`Self::turn`] has something to do by itself.
    pub(crate) fn wake_up(&self) -> Option<Duration> {
        self.initiator.poll_timeout()
    }

    /// Moves bytes between TCP and the machine until neither has any; true if there were some.
    pub(crate) fn turn(&mut self, now: Duration) -> bool {
        if self.is_closed {
            return false;
        }
        let mut busy = false;
        let initiator = &mut self.initiator;
        while let Some(received) = self
            .stream
            .try_take(|bytes| initiator.handle_input(now, bytes))
        {
            busy = true;
            let count = received.unwrap_or(0);
            if count == 0 {
                self.is_closed = true;
                initiator.handle_close(now);
                return true;
            }
            self.owed = self.owed.saturating_sub(count);
        }
        self.initiator.handle_timeout(now);
        busy | self.send(now)
    }

    fn send(&mut self, now: Duration) -> bool {
        let mut busy = false;
        loop {
            let rest = self.outgoing.get(self.sent..).unwrap_or_default();
            if rest.is_empty() {
                let Some(output) = self.initiator.poll_output() else {
                    return busy;
                };
                (self.outgoing, self.sent) = (output, 0);
                continue;
            }
            match self.stream.try_write(rest) {
                Ok(0) => return busy,
                Ok(count) => {
                    self.sent += count;
                    busy = true;
                }
                Err(_) => {
                    self.is_closed = true;
                    self.initiator.handle_close(now);
                    return true;
                }
            }
        }
    }

    async fn log_in(&mut self, executor: &Executor) -> Result<Answer, Error> {
        poll_fn(|_| {
            self.turn(executor.now());
            while let Some(event) = self.initiator.poll_event() {
                match event {
                    Event::LoggedIn(login) => return Poll::Ready(Ok(Answer::LoggedIn(login))),
                    Event::TargetMoved { address, .. } => {
                        return Poll::Ready(Ok(Answer::Moved(address)));
                    }
                    Event::Closed(Closed::Failed(error)) => return Poll::Ready(Err(error)),
                    Event::Closed(_) => return Poll::Ready(Err(Error::ConnectionClosed)),
                    _ => {}
                }
            }
            if let Some(moment) = self.initiator.poll_timeout() {
                executor.wake_at(moment);
            }
            Poll::Pending
        })
        .await
    }

    async fn send_targets(&mut self, executor: &Executor) -> Result<Vec<DiscoveredTarget>, Error> {
        // Refused only where a session is used for something else at the same time.
        let asked = self.initiator.send_targets(executor.now());
        asked.map_err(|_| Error::ConnectionClosed)?;
        poll_fn(|_| {
            self.turn(executor.now());
            while let Some(event) = self.initiator.poll_event() {
                match event {
                    Event::Targets(targets) => return Poll::Ready(Ok(targets)),
                    Event::Closed(Closed::Failed(error)) => return Poll::Ready(Err(error)),
                    Event::Closed(_) => return Poll::Ready(Err(Error::ConnectionClosed)),
                    _ => {}
                }
            }
            if let Some(moment) = self.initiator.poll_timeout() {
                executor.wake_at(moment);
            }
            Poll::Pending
        })
        .await
    }

    /// Logs out in order, as far as the target plays along within a moment.
    pub(crate) async fn close(mut self, executor: &Executor) {
        self.initiator.logout(executor.now());
        let until = executor.now().saturating_add(LOGOUT_TIMEOUT);
        let logged_out = poll_fn(|_| {
            self.turn(executor.now());
            while let Some(event) = self.initiator.poll_event() {
                if matches!(event, Event::Closed(_)) {
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        });
        executor.until(until, logged_out).await;
        // Dropping the stream ends the connection, in order or not.
    }
}

/// Settings that no login can be made with.
fn unusable(error: &ConfigError) -> Failure {
    let code = match error {
        ConfigError::InitiatorName => Code::SettingName,
        ConfigError::TargetName => Code::UriInvalid,
        _ => Code::IscsiAuthentication,
    };
    Failure::new(code, error.to_string())
}

/// A login that failed, with who, where and what.
fn describe(error: &Error, login: &Login, remote: SocketAddr) -> Failure {
    let code = match error {
        Error::AuthenticationFailed
        | Error::AuthenticationRequired
        | Error::ChapRefused
        | Error::NoCommonAlgorithm => Code::IscsiAuthentication,
        Error::ReverseNameMismatch { .. }
        | Error::ReverseSecretMismatch
        | Error::ReverseMissing
        | Error::ReverseReflected => Code::IscsiTargetUnproven,
        Error::TargetNotFound => Code::IscsiTargetUnknown,
        Error::LoginRefused(_) => Code::IscsiRefused,
        Error::LoginTimeout(_) | Error::Unresponsive => Code::IscsiTimeout,
        Error::ConnectionClosed | Error::DroppedByTarget => Code::ConnectFailed,
        _ => Code::IscsiProtocol,
    };
    let target = match login.root_path.target.as_str() {
        "" => "the list of targets",
        target => target,
    };
    let us = login.initiator_name();
    Failure::new(
        code,
        format!("login to {target} at {remote} as {us}: {error}"),
    )
}

/// Times that a target may send us elsewhere.
const REDIRECTS_MAX: usize = 4;

/// How long a target may take to say goodbye.
const LOGOUT_TIMEOUT: Duration = Duration::from_millis(500);
