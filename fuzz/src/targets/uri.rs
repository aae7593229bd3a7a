//! URLs of requests and URIs of scripts.

use bowline_net::http::Url;
use bowline_script::{RootPath, Uri};

pub(super) const WORDS: &[&str] = &[
    "http://",
    "https://",
    "iscsi:",
    "user:password@",
    "[fd00::1]",
    "/../",
    "/./",
    "%2f",
    "?",
    "#",
    "//",
    ":80",
    "data:;base64,",
];

/// Two lines: a URL, and a reference in a document there.
pub(super) fn url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (first, reference) = text.split_once('\n').unwrap_or((&text, ""));
    let Ok(base) = Url::parse(first) else {
        return;
    };
    check(&base);
    if let Ok(joined) = base.join(reference) {
        check(&joined);
    }
}

/// It is written as it is read, and nothing in it ends a request line or a header field.
fn check(url: &Url) {
    let text = url.to_string();
    assert_eq!(Url::parse(&text).as_ref(), Ok(url), "{text}");
    let is_safe = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    assert!(is_safe(url.target()) && is_safe(&url.authority()), "{text}");
    assert!(url.target().starts_with('/'));
    assert!(url.has_same_origin(url));
}

/// Two lines: a URI, and a reference in a script from there.
pub(super) fn uri(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (first, reference) = text.split_once('\n').unwrap_or((&text, ""));
    if let Ok(path) = RootPath::parse(first) {
        let _ = format!("{path:?}");
    }
    let Ok(base) = first.parse::<Uri>() else {
        return;
    };
    check_uri(&base);
    let resolved = base.resolve(reference);
    // From a relative one may come nothing at all; scripts always have an absolute one.
    if let Ok(resolved) = resolved
        && base.is_absolute()
    {
        check_uri(&resolved);
    }
}

fn check_uri(uri: &Uri) {
    let text = uri.to_string_with_password();
    let again: Uri = text
        .parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(again.to_string_with_password(), text);
    let shown = uri.to_string();
    if let Some(password) = uri.password().filter(|password| password.len() > 8) {
        let elsewhere = text.replacen(&format!(":{password}@"), "", 1);
        assert!(
            elsewhere.contains(&password) || !shown.contains(&password),
            "{shown}"
        );
    }
    let _ = (
        uri.file_name(),
        uri.request_target(),
        uri.decoded_path(),
        uri.host(),
        uri.user(),
        uri.data(),
    );
}
