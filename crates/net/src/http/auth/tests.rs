//! Challenges, and the vectors of RFC 7616 and RFC 7617.

use super::*;

fn answer(field: &str) -> Result<Answer, String> {
    Answer::choose(&[String::from(field)], 7)
}

#[test]
fn basic_is_as_in_rfc_7617() {
    let cases = [
        (
            "Aladdin",
            "open sesame",
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        ),
        ("test", "123\u{a3}", "Basic dGVzdDoxMjPCow=="),
        ("", "", "Basic Og=="),
        ("a", "b", "Basic YTpi"),
    ];
    for (user, password, expected) in cases {
        let credentials = Credentials::new(user, password).unwrap();
        let mut basic = answer("Basic realm=\"x\"").unwrap();
        assert_eq!(*basic.authorization(&credentials, "GET", "/"), expected);
    }
    assert_eq!(Credentials::new("a\r\nX: y", ""), Err(BadCredentials));
    let shown = format!("{:?}", Credentials::new("a", "secret").unwrap());
    assert_eq!(shown, "Credentials(\"a\", ***)");
}

/// RFC 7616 section 3.9.1; the session variants by its section 3.4.2 from the same numbers,
/// computed by another implementation (Python's hashlib).
#[test]
fn digest_is_as_in_rfc_7616() {
    let cases = [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        (
            "SHA-256",
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        ),
        ("MD5-sess", "e783283f46242139c486a698fec7211d"),
        (
            "SHA-256-sess",
            "2fd51b3a77ad75bad6afad6003e818d767133c46d9e2749e7f5232ae1ea3efd7",
        ),
    ];
    let credentials = Credentials::new("Mufasa", "Circle of Life").unwrap();
    for (algorithm, response) in cases {
        let field = format!(
            "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", \
             algorithm={algorithm}, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
             opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
        );
        let Ok(Answer::Digest(digest)) = answer(&field) else {
            panic!("{field}");
        };
        let mut digest = digest.with_cnonce("f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ");
        assert_eq!(
            digest.authorization(&credentials, "GET", "/dir/index.html"),
            format!(
                "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", \
                 uri=\"/dir/index.html\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                 response=\"{response}\", qop=auth, nc=00000001, \
                 cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            )
        );
        let again = digest.authorization(&credentials, "GET", "/dir/index.html");
        assert!(again.contains("nc=00000002") && !again.contains(response));
    }
}

/// RFC 2617 section 3.5 without its qop is RFC 2069's form.
#[test]
fn digest_without_qop_and_with_a_hidden_user() {
    let credentials = Credentials::new("Mufasa", "Circle Of Life").unwrap();
    let mut old =
        answer("Digest realm=\"testrealm@host.com\",nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"")
            .unwrap();
    let field = old.authorization(&credentials, "GET", "/dir/index.html");
    assert!(
        field.contains("response=\"670fd8c2df070c60b045671b8b24ff02\""),
        "{}",
        *field
    );
    assert!(!field.contains("qop") && !field.contains("cnonce") && !field.contains("opaque"));

    let hidden =
        "Digest realm=\"api@example.org\", qop=auth, nonce=\"n\", algorithm=SHA-256, userhash=true";
    let mut hidden = answer(hidden).unwrap();
    let field = hidden.authorization(&credentials, "GET", "/");
    assert!(
        field.contains("userhash=true") && !field.contains("Mufasa"),
        "{}",
        *field
    );
}

#[test]
fn the_strongest_offer_is_taken() {
    let kind = |fields: &[&str]| {
        let fields: Vec<String> = fields.iter().map(|field| String::from(*field)).collect();
        match Answer::choose(&fields, 0) {
            Ok(Answer::Basic) => String::from("Basic"),
            Ok(Answer::Digest(digest)) => format!("{digest:?}").split(',').next().unwrap().into(),
            Err(names) => format!("none of {names}"),
        }
    };
    let md5 = "Digest realm=\"r\", nonce=\"n\", qop=\"auth\"";
    let sha = "digest realm=r, nonce=n, qop=auth, algorithm=sha-256";
    assert_eq!(
        kind(&["Basic realm=\"a, b=c\", Negotiate", md5, sha]),
        "Digest { algorithm: Sha256"
    );
    assert_eq!(
        kind(&[&format!("Basic realm=\"\\\"x\", {md5}")]),
        "Digest { algorithm: Md5"
    );
    assert_eq!(kind(&["NTLM, basic realm=x"]), "Basic");
    assert_eq!(
        kind(&["Negotiate YII+/==, NTLM"]),
        "none of Negotiate, NTLM"
    );
    assert_eq!(
        kind(&["Digest realm=r, nonce=n, qop=auth-int"]),
        "none of Digest"
    );
    assert_eq!(
        kind(&["Digest realm=r, nonce=n, algorithm=SHA-512-256"]),
        "none of Digest"
    );
    assert_eq!(kind(&["Digest realm=r"]), "none of Digest");
    assert_eq!(kind(&["", ",,\"=\"", "\""]), "none of ");
}

#[test]
fn quotes_go_out_as_they_came_in() {
    let mut digest = answer("Digest realm=\"a \\\"b\\\" c\\\\\", nonce=\"n\"").unwrap();
    let credentials = Credentials::new("u\"", "p").unwrap();
    let field = digest.authorization(&credentials, "GET", "/");
    assert!(
        field.starts_with("Digest username=\"u\\\"\", realm=\"a \\\"b\\\" c\\\\\", uri"),
        "{}",
        *field
    );
    assert!(
        answer("Digest realm=r, nonce=n, stale=TRUE")
            .unwrap()
            .is_stale()
    );
}
