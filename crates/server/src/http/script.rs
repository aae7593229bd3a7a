//! Scripts that know who asks: the file `boot.ipxe.in` is served as `boot.ipxe`, filled in.
//!
//! A file of the very name that is asked for goes first, and templates are never served as they
//! are: they may hold what only some machines should see. Every value is of a form in which
//! nothing means anything to the script language, whoever sent it: no blanks, no `$`, no quotes.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::ext::ReasonPhrase;
use hyper::{Method, Response, StatusCode, Uri, header};
use percent_encoding::percent_decode_str;

use super::identity::{Identity, Peer};
use super::template::{self, render};

/// The answer to a request for a script that is a template; `None` for anything else.
pub(super) async fn answer(
    root: &Path,
    method: &Method,
    uri: &Uri,
    peer: &Peer,
) -> Option<Response<Full<Bytes>>> {
    let path = relative(uri.path())?;
    let name = path.file_name()?.to_str()?.to_owned();
    if name.ends_with(TEMPLATE) {
        return Some(refuse(StatusCode::NOT_FOUND, HIDDEN));
    }
    if !name.ends_with(SCRIPT) || !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let path = root.join(path);
    let loaded = tokio::task::spawn_blocking(move || load(path)).await.ok()?;
    let filled = match loaded {
        Ok(None) => return None,
        Ok(Some(text)) => fill(&text, uri.query().unwrap_or_default(), peer),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    };
    Some(match filled {
        Ok(text) => respond(StatusCode::OK, text),
        Err((status, words)) => {
            let (scheme, path) = (peer.scheme, uri.path());
            tracing::warn!("{scheme}: {peer} {path}: {name}.in: {words}");
            refuse(status, &words)
        }
    })
}

/// The path below the root that `path` of a URI means, as the server of files understands it.
fn relative(path: &str) -> Option<PathBuf> {
    let decoded = percent_decode_str(path.trim_start_matches('/'))
        .decode_utf8()
        .ok()?;
    let mut relative = PathBuf::new();
    for component in Path::new(&*decoded).components() {
        match component {
            Component::Normal(name) => relative.push(name),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(relative)
}

/// The text of the template for `path`; `None` if there is none, or the file itself is there.
fn load(path: PathBuf) -> io::Result<Option<String>> {
    let mut template = path.clone().into_os_string();
    template.push(".in");
    let template = Path::new(&template);
    if path.exists() || !template.is_file() {
        return Ok(None);
    }
    let mut text = String::new();
    File::open(template)?
        .take(TEMPLATE_BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > TEMPLATE_BYTES_MAX {
        let words = format!("the template is longer than {TEMPLATE_BYTES_MAX} bytes");
        return Err(io::Error::other(words));
    }
    Ok(Some(text))
}

fn fill(text: &str, query: &str, peer: &Peer) -> Result<String, (StatusCode, String)> {
    render(text, |name| match name {
        "address" => Ok(peer.address.ip().to_canonical().to_string()),
        "client" => client(peer.identity.as_ref()),
        "mac" => parameter(query, "mac", "${net0/mac}", mac),
        "uuid" => parameter(query, "uuid", "${uuid}", uuid),
        _ => Err(Missing::Unknown(name.into())),
    })
    .map_err(|error| match error {
        template::Error::Value {
            error: Missing::Parameter(words),
            ..
        } => (StatusCode::BAD_REQUEST, words),
        template::Error::Value {
            error: Missing::Identity(words),
            ..
        } => (StatusCode::FORBIDDEN, words),
        fault => (StatusCode::INTERNAL_SERVER_ERROR, fault.to_string()),
    })
}

/// Why there is no value: whose fault it is, and words.
#[derive(Debug)]
enum Missing {
    /// The template asks for what does not exist.
    Unknown(String),
    /// The request lacks something.
    Parameter(String),
    /// The client has not proved who it is.
    Identity(String),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                let name = name.escape_debug();
                write!(
                    f,
                    "unknown name {{{{{name}}}}}; known are address, client, mac, uuid"
                )
            }
            Self::Parameter(words) | Self::Identity(words) => f.write_str(words),
        }
    }
}

fn client(identity: Option<&Identity>) -> Result<String, Missing> {
    let Some(identity) = identity else {
        let words = "this script is for machines that show a client certificate over https";
        return Err(Missing::Identity(words.into()));
    };
    let name = identity.name.as_deref().unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if name.len() <= NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(plain)
    {
        return Ok(name.into());
    }
    Err(Missing::Identity(format!(
        "the name in the client certificate, \"{}\", is not made of letters, \
         digits, dots and dashes",
        name.escape_debug()
    )))
}

/// The parameter `name` of `query`, in the form that `form` gives it.
fn parameter(
    query: &str,
    name: &str,
    setting: &str,
    form: fn(&str) -> Option<String>,
) -> Result<String, Missing> {
    let mut values = query.split('&').filter_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then_some(value)
    });
    let words = match (values.next(), values.next()) {
        (Some(value), None) => {
            let value = percent_decode_str(value).decode_utf8_lossy();
            match form(&value) {
                Some(value) => return Ok(value),
                None => {
                    let start: String = value.chars().take(SHOWN_MAX).collect();
                    format!("\"{}\" is no {name}", start.escape_debug())
                }
            }
        }
        (None, _) => format!("{name} is not told; add ?{name}={setting} to the URL"),
        (Some(_), Some(_)) => format!("{name} is told twice"),
    };
    Err(Missing::Parameter(words))
}

/// A hardware address, as iPXE writes it by default: `52:54:00:12:34:56`.
fn mac(text: &str) -> Option<String> {
    let groups: Vec<_> = text.split([':', '-']).collect();
    let good = groups.len() == 6 && groups.iter().all(|group| hex(group, 2));
    good.then(|| groups.join(":").to_ascii_lowercase())
}

/// A UUID in the form of RFC 9562 §4.
fn uuid(text: &str) -> Option<String> {
    let groups: Vec<_> = text.split('-').collect();
    let lengths = [8, 4, 4, 4, 12];
    let good = groups.len() == lengths.len()
        && groups
            .iter()
            .zip(lengths)
            .all(|(group, length)| hex(group, length));
    good.then(|| text.to_ascii_lowercase())
}

fn hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The words go into the reason phrase, too: that is what a loader shows on its console.
fn refuse(status: StatusCode, words: &str) -> Response<Full<Bytes>> {
    let mut response = respond(status, format!("{words}\n"));
    if let Ok(phrase) = ReasonPhrase::try_from(words.to_owned()) {
        response.extensions_mut().insert(phrase);
    }
    response
}

fn respond(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let length = header::HeaderValue::from(text.len());
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    // What is made for one machine is nothing for a cache.
    headers.insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-store"),
    );
    response
}

const SCRIPT: &str = ".ipxe";
const TEMPLATE: &str = ".ipxe.in";
const HIDDEN: &str = "templates are served filled in only; leave out the .in";
const TEMPLATE_BYTES_MAX: u64 = 1024 * 1024;
/// Characters of a bad value that are shown.
const SHOWN_MAX: usize = 64;
/// RFC 1035 §3.1: no name is longer.
const NAME_BYTES_MAX: usize = 253;

#[cfg(test)]
mod tests;
