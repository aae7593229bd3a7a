//! `bowline cert check`: what a loader would say about a certificate chain or a server, told on the
//! host by the loader's own verifier.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use bowline_net::http::{Scheme, Url};
use bowline_tls::certificate::Certificate;
use bowline_tls::identity::Identity;
use bowline_tls::provider::Portable;
use bowline_tls::time::{Clock, Timestamp};
use bowline_tls::trust::{Anchors, certificates};
use bowline_tls::verify::{self, Accepted, Purpose, Refusal, Request};
use bowline_tls::{Client, Config, Error, Event, Session, entropy};
use clap::Args;
use serde_json::{Value, json};

/// Arguments of `bowline cert check`.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// Trusted certificates in PEM or DER, as for `bowline loader pack`; may be repeated
    #[arg(long, value_name = "FILE", required = true)]
    trust: Vec<PathBuf>,
    /// The name that the server must have: a DNS name or an IP address
    #[arg(long, value_name = "NAME", conflicts_with = "client")]
    name: Option<String>,
    /// Check a client's certificate instead of a server's
    #[arg(long)]
    client: bool,
    /// Judge as if it were this time, as in 2027-01-01T00:00:00Z; otherwise it is now
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<Timestamp>,
    /// A client certificate to show to the server, own certificate first
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    /// A chain in PEM, own certificate first, or the server's address: https://boot.example/
    #[arg(value_name = "CHAIN.pem|URL")]
    what: String,
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::from_rfc3339(text).ok_or_else(|| "write it like 2027-01-01T00:00:00Z".into())
}

/// What came out.
struct Verdict {
    result: Result<Value, (&'static str, Value)>,
    words: String,
}

impl Check {
    /// Prints the verdict; success if the loader would accept it.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let anchors = read_trust(&self.trust)?;
        let clock = match self.at {
            Some(time) => Clock::at(time),
            None => Clock::at(now()?),
        };
        let is_server = self.what.starts_with("https://");
        let verdict = if is_server {
            if self.client || self.name.is_some() {
                bail!(
                    "--client and --name are for a file: a server is asked by the name in its address"
                );
            }
            self.check_server(anchors, clock)?
        } else {
            if self.cert.is_some() {
                bail!("--cert and --key are for the address of a server");
            }
            self.check_file(&anchors, clock)?
        };
        self.print(&verdict, clock);
        Ok(match verdict.result {
            Ok(_) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        })
    }

    fn print(&self, verdict: &Verdict, clock: Clock) {
        if !self.json {
            let word = if verdict.result.is_ok() {
                "accepted"
            } else {
                "refused"
            };
            match &verdict.result {
                Ok(_) => println!("{}: {word}: {}", self.what, verdict.words),
                Err((code, _)) => println!("{}: {word}: {} [tls-{code}]", self.what, verdict.words),
            }
            return;
        }
        let (accepted, code, details) = match &verdict.result {
            Ok(details) => (true, Value::Null, details),
            Err((code, details)) => (false, json!(format!("tls-{code}")), details),
        };
        let answer = json!({
            "checked": self.what,
            "verdict": if accepted { "accepted" } else { "refused" },
            "code": code,
            "reason": verdict.words,
            "time": rfc3339(clock.time),
            "details": details,
        });
        println!("{answer:#}");
    }

    fn check_file(&self, anchors: &Anchors, clock: Clock) -> anyhow::Result<Verdict> {
        let chain =
            certificates(&read(Path::new(&self.what))?).with_context(|| self.what.clone())?;
        let purpose = match (&self.name, self.client) {
            (Some(name), _) => Purpose::Server { name },
            (None, true) => Purpose::Client,
            (None, false) => {
                bail!("give --name NAME for a server's chain, --client for a client's")
            }
        };
        let request = Request {
            chain: &chain,
            anchors,
            clock,
            purpose,
        };
        Ok(match verify::check(&request) {
            Ok(accepted) => Verdict {
                words: accepted_words(&accepted),
                result: Ok(json!({
                    "path": accepted.path,
                    "expires": rfc3339(accepted.expires),
                })),
            },
            Err(refusal) => refused(&refusal),
        })
    }

    fn check_server(&self, anchors: Anchors, clock: Clock) -> anyhow::Result<Verdict> {
        let url = Url::parse(&self.what).with_context(|| self.what.clone())?;
        debug_assert_eq!(
            url.scheme(),
            Scheme::Https,
            "that is how it was told from a file"
        );
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some(
                Identity::from_bytes(&read(cert)?, &read(key)?)
                    .with_context(|| format!("{}, {}", cert.display(), key.display()))?,
            ),
            _ => None,
        };
        seed()?;
        let config = Config::builder(anchors, clock)
            .identity(identity)
            .build::<Portable>();
        let stream = connect(&url)?;
        Ok(match talk(&config, &url, stream)? {
            Ok(session) => Verdict {
                words: format!(
                    "{session}, issued by {}, valid until {}",
                    session.peer.issuer, session.peer.not_after
                ),
                result: Ok(session_json(&session)),
            },
            Err(Error::Certificate(refusal)) => refused(&refusal),
            Err(error) => Verdict {
                words: error.to_string(),
                result: Err((error.code(), Value::Null)),
            },
        })
    }
}

fn accepted_words(accepted: &Accepted) -> String {
    format!(
        "{}; holds until {}",
        accepted.path.join(", issued by "),
        accepted.expires
    )
}

fn refused(refusal: &Refusal) -> Verdict {
    let certificate = refusal.certificate.as_ref().map(|offender| {
        json!({
            "index": offender.index,
            "subject": offender.subject,
            "sha256": hex(&offender.fingerprint),
        })
    });
    Verdict {
        words: refusal.words.clone(),
        result: Err((refusal.reason.code(), json!({ "certificate": certificate }))),
    }
}

fn session_json(session: &Session) -> Value {
    json!({
        "version": session.version,
        "suite": session.suite,
        "group": session.group,
        "subject": session.peer.subject,
        "issuer": session.peer.issuer,
        "names": session.peer.names,
        "expires": rfc3339(session.peer.not_after),
        "sha256": hex(&session.peer.fingerprint),
    })
}

/// How long each step with a server may take.
const PATIENCE: Duration = Duration::from_secs(10);

fn connect(url: &Url) -> anyhow::Result<TcpStream> {
    let place = url.authority();
    let host = url.host().trim_start_matches('[').trim_end_matches(']');
    let addresses = (host, url.port())
        .to_socket_addrs()
        .with_context(|| format!("cannot look up {host}"))?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error).with_context(|| format!("cannot connect to {place}")),
        None => bail!("{host} has no address"),
    }
}

/// The handshake, and a request: in TLS 1.3 a server refuses our certificate only after it.
fn talk(
    config: &Config,
    url: &Url,
    mut stream: TcpStream,
) -> anyhow::Result<Result<Session, Error>> {
    let mut client = match Client::new(config, url.host()) {
        Ok(client) => client,
        Err(error) => return Ok(Err(error)),
    };
    let request = format!(
        "HEAD {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        url.target(),
        url.authority()
    );
    let mut session = None;
    let mut result = client.write(request.as_bytes());
    let mut buffer = [0; 16 * 1024];
    loop {
        while let Some(bytes) = client.poll_output() {
            stream
                .write_all(&bytes)
                .or_else(|error| {
                    if session.is_some() {
                        Ok(())
                    } else {
                        Err(error)
                    }
                })
                .with_context(|| format!("cannot send to {}", url.authority()))?;
        }
        if let Err(error) = result {
            return Ok(Err(error));
        }
        while let Some(event) = client.poll_event() {
            if let Event::Established(established) = event {
                session = Some(*established);
            }
        }
        if client.readable() > 0 || client.peer_has_closed() {
            break;
        }
        result = match stream.read(&mut buffer) {
            Ok(0) => client.handle_eof(),
            Ok(count) => client.handle_input(&buffer[..count]),
            // A server that is done with us may reset the connection; what it said counts.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => client.handle_eof(),
            Err(error) => {
                return Err(error).with_context(|| format!("no answer from {}", url.authority()));
            }
        };
    }
    session
        .map(Ok)
        .with_context(|| format!("{} closed the connection", url.authority()))
}

/// The trusted certificates of all files.
fn read_trust(files: &[PathBuf]) -> anyhow::Result<Anchors> {
    let mut anchors = Anchors::new();
    for path in files {
        let more = Anchors::from_bytes(&read(path)?).with_context(|| path.display().to_string())?;
        anchors.extend(&more);
    }
    Ok(anchors)
}

/// The operating system's randomness.
fn seed() -> anyhow::Result<()> {
    let mut bytes = [0; 64];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    entropy::add(&bytes, entropy::SECURITY_BITS).context("the random number generator")
}

/// The time of this host.
pub(crate) fn now() -> anyhow::Result<Timestamp> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(Timestamp(
        since.context("this host's clock is before 1970")?.as_secs(),
    ))
}

/// A line or two about a certificate, for people.
pub(crate) fn describe(der: &[u8]) -> String {
    let Some(certificate) = Certificate::parse(der) else {
        return "a certificate that cannot be read".into();
    };
    let names: Vec<String> = certificate
        .names()
        .iter()
        .map(ToString::to_string)
        .collect();
    let names = match names.as_slice() {
        [] => String::new(),
        names => format!(", for {}", names.join(", ")),
    };
    format!(
        "{} ({}){names}\n    issued by {}, valid from {} to {}\n    SHA-256 {}",
        certificate.subject(),
        certificate.key(),
        certificate.issuer(),
        certificate.not_before(),
        certificate.not_after(),
        hex(&certificate.fingerprint()),
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn rfc3339(time: Timestamp) -> String {
    let text = time.to_string();
    text.replacen(' ', "T", 1).replace(" UTC", "Z")
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
