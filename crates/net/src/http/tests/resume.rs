//! Parts, broken downloads, and servers that ask for patience.

use super::*;

const TAG: &str = "ETag: \"one\"\r\n";

/// A whole file whose transfer may break.
fn whole(head: &str, length: usize, body: &str) -> Vec<Step> {
    vec![say(&format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{head}\r\n{body}"
    ))]
}

fn part(range: &str, head: &str, body: &str) -> Vec<Step> {
    vec![say(&format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Range: {range}\r\nContent-Length: {}\r\n{head}\r\n{body}",
        body.len()
    ))]
}

fn file(scripts: &[Vec<Step>]) -> Outcome {
    World::new(scripts).get("http://boot.example/x")
}

#[test]
fn a_broken_download_goes_on_where_it_stopped() {
    let broken = [whole(TAG, 10, "0123"), part("bytes 4-9/10", TAG, "456789")];
    let outcome = file(&broken);
    let response = outcome.result.as_ref().unwrap();
    assert_eq!((response.received, response.length), (10, Some(10)));
    assert_eq!(outcome.body, b"0123456789");
    assert_eq!(outcome.sent("Range"), [None, Some("bytes=4-")]);
    assert_eq!(outcome.sent("If-Range"), [None, Some("\"one\"")]);
    assert_eq!(
        outcome.paused(),
        [(
            "boot.example closed the connection after 4 of 10 bytes",
            500
        )]
    );
    let begins = outcome
        .told
        .iter()
        .filter(|told| matches!(told, Told::Begin(_)));
    assert_eq!(begins.count(), 1, "it is not begun again");
    let last = Progress {
        received: 10,
        total: Some(10),
    };
    assert_eq!(outcome.told.last(), Some(&Told::Piece(last)));
}

/// Whatever breaks: a reset, silence, a server that is away for a while, a chunk cut off.
#[test]
fn every_kind_of_break_is_survived() {
    let mut reset = whole(TAG, 4, "01");
    reset.push(Step::Reset);
    let mut silent = whole(TAG, 4, "01");
    silent.push(Step::Silence);
    let chunked = say(&format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{TAG}\r\n4\r\n01"
    ));
    let busy = vec![say("HTTP/1.1 503 Busy\r\n\r\n")];
    let rest = part("bytes 2-3/4", "", "23");
    let chunked_rest = say(
        "HTTP/1.1 206 Part\r\nContent-Range: bytes 2-3/*\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\n23\r\n0\r\n\r\n",
    );
    for scripts in [
        vec![reset.clone(), rest.clone()],
        vec![silent, rest.clone()],
        vec![vec![chunked.clone()], rest.clone()],
        vec![vec![chunked], vec![chunked_rest]],
        vec![
            reset.clone(),
            busy,
            vec![say("HTTP/1.1 20")],
            vec![Step::Reset],
            rest.clone(),
        ],
        // A part of the part.
        vec![
            reset.clone(),
            part("bytes 2-2/4", TAG, "2"),
            part("bytes 3-3/4", TAG, "3"),
        ],
    ] {
        let outcome = file(&scripts);
        assert_eq!(
            outcome.result.as_ref().map(|r| r.received),
            Ok(4),
            "{:?}",
            outcome.told
        );
        assert_eq!(outcome.body, b"0123");
        assert_eq!(outcome.unused, 0);
    }
}

/// What cannot be resumed for sure begins again, and the sink is told.
#[test]
fn what_may_be_another_file_begins_again() {
    let tag = |tag: &str| format!("ETag: {tag}\r\n");
    let date = |modified: &str| {
        format!(
            "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nLast-Modified: Sun, 06 Nov 1994 {modified} GMT\r\n"
        )
    };
    // Head of the first answer, and whether the rest may be asked for.
    let cases = [
        (tag("\"one\""), Some("\"one\"")),
        (tag("W/\"one\""), None),
        (tag("one"), None),
        (date("08:49:36"), Some("Sun, 06 Nov 1994 08:49:36 GMT")),
        (date("08:49:37"), None),
        (
            String::from("Last-Modified: Sun, 06 Nov 1994 08:49:36 GMT\r\n"),
            None,
        ),
        (format!("{TAG}Accept-Ranges: none\r\n"), None),
        (String::new(), None),
    ];
    for (head, validator) in cases {
        // The answer is the whole of a new file in any case.
        let outcome = file(&[whole(&head, 4, "01"), whole(&head, 5, "abcde")]);
        assert_eq!(outcome.result.as_ref().map(|r| r.received), Ok(5));
        assert_eq!(outcome.body, b"abcde");
        assert_eq!(outcome.sent("If-Range")[1], validator, "{head}");
        assert_eq!(outcome.sent("Range")[1].is_some(), validator.is_some());
        let begins: Vec<_> = outcome
            .told
            .iter()
            .filter(|t| matches!(t, Told::Begin(_)))
            .collect();
        assert_eq!(begins, [&Told::Begin(Some(4)), &Told::Begin(Some(5))]);
    }
}

/// Parts that are not what was asked for are not put together; then it begins again.
#[test]
fn wrong_parts_are_not_taken() {
    let bad = [
        part("bytes 1-3/4", TAG, "123"),
        part("bytes 2-3/5", TAG, "23"),
        part("bytes 2-3/4", "ETag: \"two\"\r\n", "23"),
        part("bytes 2-3/4", TAG, "234"),
        part("bytes 3-2/4", TAG, "23"),
        part("bytes 2-9/4", TAG, "23"),
        part("2-3/4", TAG, "23"),
        vec![say("HTTP/1.1 206 Part\r\nContent-Length: 2\r\n\r\n23")],
        vec![say(
            "HTTP/1.1 206 Part\r\nContent-Type: multipart/byteranges; boundary=x\r\n\r\n--x",
        )],
        vec![say(
            "HTTP/1.1 206 Part\r\nContent-Range: bytes 2-3/4\r\nTransfer-Encoding: chunked\r\n\r\n\
             1\r\n2\r\n0\r\n\r\n",
        )],
        vec![say(
            "HTTP/1.1 206 Part\r\nContent-Range: bytes 2-3/4\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\n234\r\n0\r\n\r\n",
        )],
        vec![say("HTTP/1.1 416 No\r\nContent-Range: bytes */1\r\n\r\n")],
    ];
    for answer in bad {
        let scripts = [whole(TAG, 4, "01"), answer, whole(TAG, 4, "0123")];
        let outcome = file(&scripts);
        assert_eq!(
            outcome.result.as_ref().map(|r| r.received),
            Ok(4),
            "{:?}",
            outcome.told
        );
        assert_eq!(outcome.body, b"0123");
        assert_eq!(outcome.sent("Range"), [None, Some("bytes=2-"), None]);
        assert_eq!(
            outcome.paused()[1].0,
            "boot.example sent another part of the file than the one that was asked for"
        );
    }
    let unasked = file(&[part("bytes 0-1/4", "", "01")]);
    assert_eq!(
        unasked.error(),
        "boot.example does not speak proper HTTP: it sends a part that nobody asked for"
    );
}

#[test]
fn patience_ends() {
    // No new byte: the pauses double, and the last error is told.
    let mute = file(&[vec![whole(TAG, 4, "01")], vec![vec![]; 20]].concat());
    assert_eq!(
        mute.error(),
        "boot.example closed the connection without an answer"
    );
    assert_eq!(mute.requests.len(), 6);
    let away = file(&[whole(TAG, 4, "01")]);
    let pauses: Vec<u64> = away.paused().iter().map(|(_, pause)| *pause).collect();
    assert_eq!(pauses, [500, 1000, 2000, 4000, 8000]);
    assert_eq!(
        away.error(),
        "connection refused by 192.168.1.1:80: nothing listens on that port"
    );
    // A server that begins again and breaks at the same place does not keep us for ever.
    let stubborn = file(&vec![whole("", 4, "01"); 100]);
    assert_eq!(stubborn.requests.len(), 6);
    assert_eq!(
        stubborn.error(),
        "boot.example closed the connection after 2 of 4 bytes"
    );
    // A byte each time is not no byte, but not for ever either.
    let mut drops = vec![whole(TAG, 1000, "0")];
    drops.extend((1..1000).map(|n| {
        vec![say(&format!(
            "HTTP/1.1 206 Part\r\nContent-Range: bytes {n}-999/1000\r\nContent-Length: {}\r\n\r\nx",
            1000 - n
        ))]
    }));
    assert_eq!(file(&drops).requests.len(), 51);
    // What failed before it began fails at once, and so does what broke a rule.
    for script in [
        "",
        "HTTP/1.1 500 Broken\r\n\r\n",
        "HTTP/1.1 503 Busy\r\n\r\n",
    ] {
        let outcome = file(&[vec![say(script)], whole("", 1, "x")]);
        assert_eq!(outcome.unused, 1, "{}", outcome.error());
    }
    let broken = vec![say(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: \"x\"\r\n\r\n2\r\nabcd\r\n",
    )];
    assert_eq!(file(&[broken, whole("", 1, "x")]).unused, 1);
}

#[test]
fn parts_can_be_asked_for() {
    let ask = |first, length, scripts: &[Vec<Step>]| {
        let request = Request::get(Url::parse("http://boot.example/x").unwrap());
        World::new(scripts).fetch(&request.with_part(Part { first, length }))
    };
    let outcome = ask(2, Some(3), &[part("bytes 2-4/10", "", "234")]);
    let response = outcome.result.as_ref().unwrap();
    assert_eq!(
        (response.status, response.received, response.length),
        (206, 3, Some(3))
    );
    assert_eq!(outcome.body, b"234");
    assert_eq!(outcome.sent("Range"), [Some("bytes=2-4")]);
    assert_eq!(outcome.told[0], Told::Begin(Some(3)));
    // Past the end, to the end, and with a break.
    let outcome = ask(8, Some(5), &[part("bytes 8-9/10", "", "89")]);
    assert_eq!(outcome.body, b"89");
    let scripts = [
        vec![say(&format!(
            "HTTP/1.1 206 Part\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n{TAG}\r\n56"
        ))],
        part("bytes 7-9/10", TAG, "789"),
    ];
    let outcome = ask(5, None, &scripts);
    assert_eq!(outcome.sent("Range"), [Some("bytes=5-"), Some("bytes=7-")]);
    assert_eq!(outcome.body, b"56789");
    // Servers that cannot or will not.
    assert_eq!(
        ask(2, Some(3), &[whole("", 10, "0123456789")]).error(),
        "boot.example does not send parts of a file (no Range requests)"
    );
    for wrong in [
        "bytes 0-2/10",
        "bytes 2-5/10",
        "bytes 2-4/*x",
        "bytes 2-3/4/5",
    ] {
        assert_eq!(
            ask(2, Some(3), &[part(wrong, "", "234")]).error(),
            "boot.example sent another part of the file than the one that was asked for",
            "{wrong}"
        );
    }
    assert_eq!(
        ask(
            20,
            None,
            &[vec![say("HTTP/1.1 416 Range Not Satisfiable\r\n\r\n")]]
        )
        .error(),
        "boot.example answered 416 Range Not Satisfiable"
    );
    // Less than asked for, and nothing to tell whether the rest is of the same file.
    let less = vec![part("bytes 2-3/10", "", "23"); 20];
    assert_eq!(ask(2, Some(3), &less).requests.len(), 6);
}

#[test]
fn servers_can_ask_for_patience() {
    let later = |code: u16, after: &str| {
        vec![say(&format!(
            "HTTP/1.1 {code} Later\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: {after}\r\n\r\n"
        ))]
    };
    let ok = whole("", 2, "ok");
    // How long, in seconds.
    let cases = [
        ("7", 7),
        ("0", 1),
        ("120", 120),
        ("Sun, 06 Nov 1994 08:50:00 GMT", 23),
        ("Sunday, 06-Nov-94 08:50:00 GMT", 23),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 1),
        ("soon", 5),
        ("-3", 5),
    ];
    for (after, seconds) in cases {
        for code in [429, 503] {
            let world = World::new(&[later(code, after), ok.clone()]);
            let before = world.scripted.stack.now();
            let outcome = world.get("http://boot.example/x");
            assert_eq!(outcome.body, b"ok", "{after}");
            assert_eq!(outcome.paused()[0].1, seconds * 1000, "{after}");
            let waited = world.scripted.stack.now() - before;
            assert_eq!(waited.as_secs(), seconds, "{after}");
        }
    }
    let hour = file(&[later(503, "3600"), ok.clone()]);
    assert_eq!(
        hour.error(),
        "boot.example answered 503 and asks to come back in 3600 s"
    );
    assert!(
        file(&[later(503, "99999999999999999999"), ok.clone()])
            .error()
            .contains("503")
    );
    assert_eq!(file(&vec![later(503, "1"); 20]).requests.len(), 6);
    assert_eq!(
        file(&[later(500, "1"), ok]).error(),
        "boot.example answered 500 Later"
    );
}
