//! Downloads into memory, by the scheme of the URI.

mod local;
mod transfer;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use bowline_net::http::{self, Client, Credentials, FetchError, Request, Scheme, Sink, Stop, Url};
use bowline_script::Uri;

use crate::console::progress::Progress;
use crate::failure::{Code, Failure};
use crate::machine::Machine;
use crate::network;
use crate::parameters::Request as Parameters;
use crate::secure::{self, Connector};

/// Downloads what a URI names; also returns the URI after redirects.
pub(crate) async fn fetch(
    machine: &Machine,
    uri: &Uri,
    parameters: Option<Parameters>,
    progress: &Progress,
) -> Result<(Vec<u8>, Uri), Failure> {
    let mut memory = Memory {
        data: Vec::new(),
        too_big: None,
        progress,
    };
    let fetched = match uri.scheme() {
        Some("data") => Some(local::data(uri, &mut memory)),
        Some("file") => Some(local::file(machine, uri, &mut memory)),
        Some("ftp") => Some(transfer::ftp(machine, uri, &mut memory).await),
        Some("nfs") => Some(transfer::nfs(machine, uri, &mut memory).await),
        Some("tftp") => Some(transfer::tftp(machine, uri, &mut memory).await),
        _ => None,
    };
    if let Some(fetched) = fetched {
        memory.check()?;
        return fetched.map(|()| (memory.data, uri.clone()));
    }
    let (url, credentials) = address(uri)?;
    let request = match parameters {
        Some(parameters) => request(url, parameters)?,
        None => Request::get(url),
    };
    let request = request.with_credentials(credentials);
    let url = request.url();
    let stack = machine.network.any_configured()?;
    let options = http::Options::default();
    let connector = Connector {
        network: &machine.network,
        stack: &stack,
        security: &machine.security,
        platform: &*machine.platform,
    };
    let client = Client {
        connector: &connector,
        pool: &machine.connections,
        options: &options,
    };
    let fetched = client.fetch(&request, &mut memory).await;
    memory.check()?;
    let response = fetched.map_err(|error| describe(&error))?;
    if let (Scheme::Https, Some(seconds)) = (response.url.scheme(), response.date) {
        machine.security.note_date(&*machine.platform, seconds);
    }
    let final_uri = if response.url == *url {
        uri.clone()
    } else if response.url.has_same_origin(url) {
        // The user name and the password stay good for what the thing refers to.
        uri.resolve(response.url.target()).map_err(invalid)?
    } else {
        response.url.to_string().parse().map_err(invalid)?
    };
    Ok((memory.data, final_uri))
}

/// What a URI is for HTTP, and who asks for it.
pub(crate) fn address(uri: &Uri) -> Result<(Url, Option<Credentials>), Failure> {
    match uri.scheme() {
        Some("http" | "https") => {}
        Some(scheme) => {
            let message = format!("this loader does not speak `{scheme}`");
            return Err(Failure::new(Code::UriUnsupported, message));
        }
        None => {
            let message = "it names no protocol, and no script that came from somewhere is running";
            return Err(Failure::new(Code::UriInvalid, message));
        }
    }
    let url = Url::parse(&uri.to_string()).map_err(invalid)?;
    let credentials = uri
        .user()
        .map(|user| Credentials::new(&user, &uri.password().unwrap_or_default()))
        .transpose()
        .map_err(invalid)?;
    Ok((url, credentials))
}

/// The request that a list of parameters makes.
fn request(url: Url, parameters: Parameters) -> Result<Request, Failure> {
    const FORM: &str = "application/x-www-form-urlencoded";
    let Parameters {
        method,
        headers,
        form,
    } = parameters;
    let body = || form.as_ref().map(|form| form.as_bytes().to_vec());
    let request = match method.as_str() {
        "GET" if form.is_none() => Ok(Request::get(url)),
        "HEAD" if form.is_none() => Ok(Request::head(url)),
        "POST" => Request::post(url, FORM, body().unwrap_or_default()),
        "PUT" => Request::put(url, FORM, body().unwrap_or_default()),
        "GET" | "HEAD" => {
            let message = format!("a {method} takes no fields, only headers: use POST or PUT");
            return Err(Failure::new(Code::ParametersUnknown, message));
        }
        _ => {
            let message = format!("there are GET, HEAD, POST and PUT, and no `{method}`");
            return Err(Failure::new(Code::ParametersUnknown, message));
        }
    };
    let add = |request: Request, (name, value): &(String, String)| {
        let refused = |error| Failure::new(Code::ParametersUnknown, format!("{name}: {error}"));
        request.with_header(name, value).map_err(refused)
    };
    headers.iter().try_fold(request.map_err(invalid)?, add)
}

fn invalid(error: impl ToString) -> Failure {
    Failure::new(Code::UriInvalid, error.to_string())
}

/// Keeps a download in memory and shows how far it is.
struct Memory<'a> {
    data: Vec<u8>,
    /// The length that there is no room for.
    too_big: Option<u64>,
    progress: &'a Progress,
}

impl Memory<'_> {
    /// Fails where there was no room for the download.
    fn check(&self) -> Result<(), Failure> {
        let Some(length) = self.too_big else {
            return Ok(());
        };
        let message = format!("{length} bytes are more than this loader can keep in memory");
        Err(Failure::new(Code::ImageTooBig, message))
    }

    fn make_room(&mut self, length: u64) -> Result<(), Stop> {
        let more = length.saturating_sub(self.data.len() as u64);
        // At the start exactly what was announced: memory is scarce.
        let mut reserve = |more| match self.data.is_empty() {
            true => self.data.try_reserve_exact(more),
            false => self.data.try_reserve(more),
        };
        let has_room =
            length <= LENGTH_MAX && usize::try_from(more).is_ok_and(|more| reserve(more).is_ok());
        if !has_room {
            self.too_big = Some(length);
            return Err(Stop);
        }
        Ok(())
    }
}

impl Sink for Memory<'_> {
    fn begin(&mut self, total: Option<u64>) -> Result<(), Stop> {
        self.data = Vec::new();
        self.make_room(total.unwrap_or(0))
    }

    fn write(&mut self, piece: &[u8], progress: http::Progress) -> Result<(), Stop> {
        self.make_room(progress.received)?;
        self.data.extend_from_slice(piece);
        self.progress.advance(progress.received, progress.total);
        Ok(())
    }

    fn paused(&mut self, reason: &FetchError, pause: Duration) {
        self.progress.pause(reason, pause);
    }
}

/// A failure in the words of this program.
pub(crate) fn describe(error: &FetchError) -> Failure {
    let code = match error {
        FetchError::Connect { error, .. } => return network::connect_failure(error),
        FetchError::Resolve { .. } => Code::DnsFailed,
        FetchError::Layer { trouble, .. } => return secure::describe(trouble),
        FetchError::Status { .. } | FetchError::Unavailable { .. } => Code::HttpStatus,
        FetchError::Unauthorized { .. } => Code::HttpAuthentication,
        FetchError::TimedOut { .. } | FetchError::HeadTimedOut { .. } => Code::ConnectTimeout,
        FetchError::Stream { .. } => Code::ConnectFailed,
        _ => Code::HttpBroken,
    };
    Failure::new(code, error.to_string())
}

/// The longest download that is kept in memory.
const LENGTH_MAX: u64 = 512 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::servers::Pages;
    use crate::testing::{TestPlatform, run_on, script};

    const PAGES: Pages = &[
        ("/private", b"#!ipxe\necho in private\nchain open\n"),
        ("/open", b"#!ipxe\necho ${cwuri}\nexit\n"),
        ("/broken", b"#!ipxe\necho it came\necho as a whole\nexit\n"),
    ];

    fn chain(uri: &str) -> String {
        let platform = TestPlatform::with_network(PAGES);
        let chain = alloc::format!("chain --replace {uri}");
        let (platform, _) = run_on(platform, &script(&["dhcp", &chain]));
        platform.output.borrow().clone()
    }

    #[test]
    fn a_password_in_the_uri_opens_the_door_and_does_not_show() {
        let output = chain("http://user:secret@192.168.1.1/private");
        assert!(output.contains("in private"), "{output}");
        assert!(
            output.contains("http://user:***@192.168.1.1/open"),
            "{output}"
        );
        assert!(!output.contains("secret"), "{output}");
        let output = chain("http://192.168.1.1/private");
        assert!(
            output.contains("wants a user name and a password")
                && output.contains("[http-authentication]"),
            "{output}"
        );
        let output = chain("http://user:wrong@192.168.1.1/private");
        assert!(output.contains("403 Forbidden"), "{output}");
    }

    #[test]
    fn a_broken_download_is_taken_up_again() {
        let output = chain("http://192.168.1.1/broken");
        assert!(output.contains("closed the connection after"), "{output}");
        assert!(output.contains("; again in 1 s"), "{output}");
        assert!(output.ends_with("it came\nas a whole\n"), "{output}");
    }
}
