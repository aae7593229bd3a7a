//! Downloads into memory, by the scheme of the URI.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use bowline_net::http::{self, FetchError, Stop, Url};
use bowline_script::Uri;

use crate::console::progress::Progress;
use crate::failure::{Code, Failure};
use crate::machine::Machine;
use crate::network;

/// Downloads what a URI names; also returns the URI after redirects.
pub(crate) async fn fetch(
    machine: &Machine,
    uri: &Uri,
    progress: &Progress,
) -> Result<(Vec<u8>, Uri), Failure> {
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
    let invalid = |error: &dyn ToString| Failure::new(Code::UriInvalid, error.to_string());
    let url = Url::parse(&uri.to_string_with_password()).map_err(|error| invalid(&error))?;
    let stack = machine.network.towards_host(url.host()).await?;
    let mut data = Vec::new();
    let mut too_big = None;
    let response = http::fetch(
        stack,
        &url,
        &http::Options::default(),
        &mut |piece, state| {
            let expected = state.total.unwrap_or(0).max(state.received);
            if expected > LENGTH_MAX || !reserve(&mut data, expected, piece.len()) {
                too_big = Some(expected);
                return Err(Stop);
            }
            data.extend_from_slice(piece);
            progress.advance(state.received, state.total);
            Ok(())
        },
    )
    .await;
    let response = match (response, too_big) {
        (Ok(response), _) => response,
        (Err(_), Some(length)) => {
            let message = format!("{length} bytes are more than this loader can keep in memory");
            return Err(Failure::new(Code::ImageTooBig, message));
        }
        (Err(error), None) => return Err(describe(&error)),
    };
    let final_uri = if response.url == url {
        uri.clone()
    } else {
        let redirected: Result<Uri, _> = response.url.to_string().parse();
        redirected.map_err(|error| invalid(&error))?
    };
    Ok((data, final_uri))
}

/// Makes room for a piece, at the start for everything; false where there is no memory for it.
fn reserve(data: &mut Vec<u8>, expected: u64, piece: usize) -> bool {
    if data.is_empty() {
        return usize::try_from(expected).is_ok_and(|all| data.try_reserve_exact(all).is_ok());
    }
    data.try_reserve(piece).is_ok()
}

fn describe(error: &FetchError) -> Failure {
    let code = match error {
        FetchError::Connect { error, .. } => return network::connect_failure(error),
        FetchError::Resolve { .. } => Code::DnsFailed,
        FetchError::HttpsNotBuiltIn { .. } => Code::UriUnsupported,
        FetchError::Status { .. } => Code::HttpStatus,
        FetchError::TimedOut { .. } => Code::ConnectTimeout,
        FetchError::Stream { .. } => Code::ConnectFailed,
        _ => Code::HttpBroken,
    };
    Failure::new(code, error.to_string())
}

/// The longest download that is kept in memory.
const LENGTH_MAX: u64 = 512 * 1024 * 1024;
