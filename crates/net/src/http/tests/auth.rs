//! Authentication, methods, header fields: what is sent to whom.

use super::*;
use crate::http::{BadHeader, Credentials};

const BASIC: &str =
    "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn digest(nonce: &str, more: &str) -> Step {
    say(&format!(
        "HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"{nonce}\", qop=\"auth\"{more}\r\n\
         Content-Length: 0\r\n\r\n"
    ))
}

fn with_user(url: &str, user: &str, scripts: &[Vec<Step>]) -> Outcome {
    let credentials = Credentials::new(user, "secret").unwrap();
    let request = Request::get(Url::parse(url).unwrap()).with_credentials(Some(credentials));
    World::new(scripts).fetch(&request)
}

fn ask(steps: &[Step]) -> Outcome {
    let steps = steps.iter().flat_map(|step| [Step::Request, step.clone()]);
    with_user("http://boot.example/x", "joe", &[steps.collect()])
}

#[test]
fn who_we_are_is_told_when_asked() {
    let outcome = ask(&[say(OK)]);
    assert_eq!(outcome.sent("Authorization"), [None], "nobody asked");
    let outcome = ask(&[say(BASIC), say(OK)]);
    assert_eq!(outcome.body, b"ok");
    assert_eq!(
        outcome.sent("Authorization"),
        [None, Some("Basic am9lOnNlY3JldA==")]
    );

    let outcome = ask(&[digest("n1", ""), digest("n2", ", stale=true"), say(OK)]);
    assert_eq!(outcome.body, b"ok");
    let sent = outcome.sent("Authorization");
    assert!(sent[1].unwrap().contains("nonce=\"n1\""));
    assert!(sent[2].unwrap().contains("nonce=\"n2\""));
    assert!(sent[2].unwrap().contains("nc=00000001"));
    let uri = "Digest username=\"joe\", realm=\"r\", uri=\"/x\", algorithm=MD5";
    assert!(sent[2].unwrap().starts_with(uri), "{sent:?}");
}

#[test]
fn refusals_say_why() {
    let none = World::new(&[vec![say(BASIC)]]).get("http://boot.example:81/x");
    assert_eq!(
        none.error(),
        "boot.example:81 answered 401 and wants a user name and a password: \
         write http://USER:PASSWORD@boot.example:81/..."
    );
    let wrong = "boot.example does not accept the user name \"joe\" with this password";
    assert_eq!(ask(&[say(BASIC), say(BASIC), say(OK)]).error(), wrong);
    assert_eq!(
        ask(&[digest("a", ""), digest("b", ""), say(OK)]).error(),
        wrong
    );
    let stale = vec![digest("a", ", stale=true"); 20];
    let outcome = ask(&stale);
    assert_eq!(
        (outcome.error().as_str(), outcome.requests.len()),
        (wrong, 4)
    );
    let ntlm =
        say("HTTP/1.1 401 No\r\nWWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM\r\n\r\n");
    assert_eq!(
        ask(&[ntlm]).error(),
        "boot.example wants authentication by Negotiate, NTLM; \
         this loader knows Basic and Digest (MD5, SHA-256)"
    );
    assert_eq!(
        ask(&[say("HTTP/1.1 401 No\r\n\r\n")]).error(),
        "boot.example answered 401 without saying what it wants to know"
    );
    assert_eq!(
        with_user("http://boot.example/x", "a:b", &[vec![say(BASIC)]]).error(),
        "boot.example wants Basic authentication, in which a user name cannot have a colon"
    );
}

/// Another server never hears who we are, whatever it asks; the first one does again.
#[test]
fn only_the_first_server_is_told() {
    let moved = |to: &str| {
        say(&format!(
            "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"
        ))
    };
    let elsewhere = [
        "http://other/x",
        "http://boot.example:81/x",
        "https://boot.example/x",
        "http://joe:secret@other/x",
    ];
    for to in elsewhere {
        let scripts = [
            vec![Step::Request, say(BASIC), Step::Request, moved(to)],
            vec![Step::Request, say(BASIC), Step::Request, say(OK)],
        ];
        let outcome = with_user("http://boot.example/x", "joe", &scripts);
        assert!(
            outcome.error().contains("wants a user name and a password"),
            "{to}"
        );
        assert_eq!(outcome.sent("Authorization")[2], None);
        let scripts = [
            vec![
                Step::Request,
                say(BASIC),
                Step::Request,
                moved(to),
                Step::Request,
                say(OK),
            ],
            vec![Step::Request, moved("http://boot.example/y")],
        ];
        if to.starts_with("https") {
            continue;
        }
        let outcome = with_user("http://boot.example/x", "joe", &scripts);
        assert_eq!(outcome.body, b"ok");
        let told: Vec<bool> = outcome
            .sent("Authorization")
            .iter()
            .map(Option::is_some)
            .collect();
        assert_eq!(told, [false, true, false, true]);
    }
}

#[test]
fn methods_change_at_redirects_as_rfc_9110_says() {
    let moved = |code: u16| {
        vec![say(&format!(
            "HTTP/1.1 {code} Moved\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n"
        ))]
    };
    let lines = |request: &Request, code| {
        let outcome = World::new(&[moved(code), vec![say(OK)]]).fetch(request);
        let requests = outcome.requests.iter().map(|(_, text)| text.as_str());
        let lines: Vec<String> = requests
            .map(|text| text.lines().next().unwrap_or_default().into())
            .collect();
        (lines, outcome)
    };
    let url = || Url::parse("http://boot.example/x").unwrap();
    let post = Request::post(url(), "text/plain", b"data".to_vec()).unwrap();
    for code in [301, 302, 303] {
        let (sent, outcome) = lines(&post, code);
        assert_eq!(
            sent,
            ["POST /x HTTP/1.1", "data", "GET /y HTTP/1.1"],
            "{code}"
        );
        assert_eq!(
            outcome.sent("Content-Type"),
            [Some("text/plain"), None, None]
        );
        assert_eq!(outcome.sent("Content-Length"), [Some("4"), None, None]);
    }
    for code in [307, 308] {
        let (sent, outcome) = lines(&post, code);
        assert_eq!(
            sent,
            ["POST /x HTTP/1.1", "data", "POST /y HTTP/1.1", "data"],
            "{code}"
        );
        assert_eq!(outcome.body, b"ok");
    }
    for code in [301, 302, 303, 307, 308] {
        assert_eq!(lines(&Request::get(url()), code).0[1], "GET /y HTTP/1.1");
        let (sent, outcome) = lines(&Request::head(url()), code);
        assert_eq!(sent[1], "HEAD /y HTTP/1.1");
        let response = outcome.result.unwrap();
        assert_eq!((response.received, response.length), (0, Some(2)));
    }
    // Not a redirect without a place to go to, and none of the other codes.
    for code in [300, 304, 305, 306] {
        assert!(
            lines(&Request::get(url()), code)
                .1
                .error()
                .contains("answered 30")
        );
    }
    assert_eq!(Method::Post.name(), "POST");
}

/// A POST is not made twice.
#[test]
fn a_broken_post_is_not_repeated() {
    let url = Url::parse("http://boot.example/x").unwrap();
    let post = Request::post(url, "text/plain", b"data".to_vec()).unwrap();
    let half = vec![say(
        "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 9\r\n\r\nhalf",
    )];
    let outcome = World::new(&[half, vec![say(OK)]]).fetch(&post);
    assert_eq!(
        outcome.error(),
        "boot.example closed the connection after 4 of 9 bytes"
    );
    assert_eq!(outcome.unused, 1);
}

#[test]
fn header_fields_go_where_they_belong() {
    let url = Url::parse("http://boot.example/x").unwrap();
    let request = Request::get(url.clone())
        .with_header("X-Token", " t ")
        .and_then(|request| request.with_header("user-agent", "mine"))
        .unwrap();
    let scripts = [
        vec![say("HTTP/1.1 302 Found\r\nLocation: http://other/\r\n\r\n")],
        vec![say(OK)],
    ];
    let outcome = World::new(&scripts).fetch(&request);
    assert_eq!(outcome.sent("X-Token"), [Some("t"), None]);
    assert_eq!(outcome.sent("user-agent"), [Some("mine"), None]);
    assert_eq!(outcome.sent("User-Agent")[0], None);
    let refused = |name, value| {
        Request::get(url.clone())
            .with_header(name, value)
            .unwrap_err()
    };
    assert_eq!(refused("A", "b\r\nC: d"), BadHeader::Characters);
    assert_eq!(refused("A b", "c"), BadHeader::Characters);
    assert_eq!(refused("", "c"), BadHeader::Characters);
    assert_eq!(refused("hOST", "c"), BadHeader::Reserved);
    assert_eq!(refused("Content-Length", "1"), BadHeader::Reserved);
}

/// Limits of what a head may be.
#[test]
fn heads_have_limits() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(65));
    assert!(get_text(&many).error().ends_with("too many header fields"));
    let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "b".repeat(8193));
    assert!(
        get_text(&long)
            .error()
            .ends_with("a header field is too long")
    );
    let interim = "HTTP/1.1 103 Early\r\n\r\n".repeat(9);
    assert!(
        get_text(&interim)
            .error()
            .ends_with("it promises an answer again and again")
    );
    assert!(
        get_text("HTTP/1.1 999 What\r\n\r\n")
            .error()
            .contains("between 100 and 599")
    );
    let mute = get("http://boot.example/x", &[vec![Step::Silence]]);
    assert_eq!(
        mute.error(),
        "boot.example fell silent: nothing came for 20 s"
    );
    let body = get(
        "http://boot.example/x",
        &[vec![say("HTTP/1.1 200 OK\r\n\r\nx"), Step::Silence]],
    );
    assert_eq!(
        body.error(),
        "boot.example fell silent: nothing came for 15 s"
    );
}
