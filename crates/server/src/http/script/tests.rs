//! Templates, who asks for them, and what clever clients send.

use std::fs;

use http_body_util::BodyExt as _;

use super::*;

fn site() -> tempfile::TempDir {
    let site = tempfile::tempdir().unwrap();
    fs::create_dir(site.path().join("sub")).unwrap();
    for (name, text) in [
        (
            "boot.ipxe.in",
            "#!ipxe\necho {{mac}} {{ uuid }} {{address}} ${net0/mac}\n",
        ),
        ("sub/own.ipxe.in", "chain {{client}}.ipxe\n"),
        ("plain.ipxe", "echo {{mac}}\n"),
        ("plain.ipxe.in", "not this\n"),
        ("bad.ipxe.in", "\n{{macc}}\n"),
        ("open.ipxe.in", "{{mac\n"),
        ("other.txt.in", "{{mac}}\n"),
    ] {
        fs::write(site.path().join(name), text).unwrap();
    }
    fs::write(site.path().join("binary.ipxe.in"), b"\xff\xfe").unwrap();
    site
}

fn peer(name: Option<&str>) -> Peer {
    Peer {
        scheme: "https",
        address: "[::ffff:192.0.2.7]:1234".parse().unwrap(),
        identity: name.map(|name| Identity {
            name: Some(name.into()),
        }),
    }
}

/// Status and text for a request; `None` if it is none of this module's.
async fn ask(site: &tempfile::TempDir, uri: &str, name: Option<&str>) -> Option<(u16, String)> {
    let uri = uri.parse().unwrap();
    let response = answer(site.path(), &Method::GET, &uri, &peer(name)).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Some((status, String::from_utf8(body.to_vec()).unwrap()))
}

#[tokio::test]
async fn values_are_put_in_in_one_form() {
    let site = site();
    for query in [
        "mac=52:54:00:AB:CD:EF&uuid=01234567-89AB-cdef-0123-456789abcdef",
        "x&uuid=01234567-89ab-cdef-0123-456789abcdef&mac=52-54-00-ab-cd-ef&y=",
        "mac=52%3a54%3A00%3aab%3acd%3aef&uuid=01234567%2D89ab-cdef-0123-456789abcdef",
    ] {
        let (status, text) = ask(&site, &format!("/boot.ipxe?{query}"), None)
            .await
            .unwrap();
        assert_eq!(
            (status, text.as_str()),
            (
                200,
                "#!ipxe\necho 52:54:00:ab:cd:ef 01234567-89ab-cdef-0123-456789abcdef 192.0.2.7 \
                 ${net0/mac}\n"
            ),
            "{query}"
        );
    }
}

#[tokio::test]
async fn what_a_client_sends_brings_no_line_into_a_script() {
    let site = site();
    let uuid = "uuid=01234567-89ab-cdef-0123-456789abcdef";
    for mac in [
        "",
        "52:54:00:12:34",
        "52:54:00:12:34:56:78",
        "52:54:00:12:34:5g",
        "52:54:00:12:34:56%0aecho%20mine",
        "52:54:00:12:34:5%0a",
        "%0a52:54:00:12:34:56",
        "52:54:00:12:34:56||shell",
        "${password}",
        "+2:54:00:12:34:56",
        "%ff%fe",
        "{{client}}",
        &"%0a".repeat(1000),
    ] {
        // What a URI must not hold comes percent-encoded.
        let mac = mac.replace('{', "%7b").replace('}', "%7d");
        let asked = ask(&site, &format!("/boot.ipxe?mac={mac}&{uuid}"), None).await;
        let (status, text) = asked.unwrap();
        assert_eq!(status, 400, "{mac}");
        assert!(
            text.ends_with(" is no mac\n") && text.lines().count() == 1 && text.len() < 500,
            "{text}"
        );
    }
}

#[tokio::test]
async fn what_is_missing_is_told() {
    let site = site();
    let mac = "mac=52:54:00:12:34:56";
    for (uri, status, expected) in [
        (
            "/boot.ipxe",
            400,
            "mac is not told; add ?mac=${net0/mac} to the URL\n",
        ),
        (
            &format!("/boot.ipxe?{mac}&{mac}"),
            400,
            "mac is told twice\n",
        ),
        (
            &format!("/boot.ipxe?{mac}"),
            400,
            "uuid is not told; add ?uuid=${uuid} to the URL\n",
        ),
        (
            &format!("/boot.ipxe?{mac}&uuid=0123"),
            400,
            "\"0123\" is no uuid\n",
        ),
        (
            "/sub/own.ipxe",
            403,
            "this script is for machines that show a client certificate over https\n",
        ),
        (
            &format!("/bad.ipxe?{mac}"),
            500,
            "line 2: unknown name {{macc}}; known are address, client, mac, uuid\n",
        ),
        ("/open.ipxe", 500, "line 1: {{ without }} on its line\n"),
        ("/binary.ipxe", 500, "stream did not contain valid UTF-8\n"),
    ] {
        let asked = ask(&site, uri, None).await;
        assert_eq!(asked, Some((status, expected.to_owned())), "{uri}");
    }
}

#[tokio::test]
async fn the_verified_name_is_put_in_if_it_is_plain() {
    let site = site();
    let asked = ask(&site, "/sub/own.ipxe", Some("node-1.lab")).await;
    assert_eq!(asked, Some((200, "chain node-1.lab.ipxe\n".to_owned())));
    let long = "x".repeat(254);
    for name in [
        "", ".", "..", "../x", "-f", "a b", "a\nshell", "a\r", "a||b", "a;b", "${x}", "a/b",
        "a\\b", "\"a\"", "http:", "bücher", "*.lab", "{{mac}}", &long,
    ] {
        let (status, text) = ask(&site, "/sub/own.ipxe", Some(name)).await.unwrap();
        assert_eq!(status, 403, "{name:?}");
        assert!(
            text.starts_with("the name in the client certificate, \""),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[tokio::test]
async fn templates_are_not_shown_as_they_are() {
    let site = site();
    for uri in [
        "/boot.ipxe.in",
        "//boot.ipxe.in",
        "/./boot.ipxe.in",
        "/boot.ipxe.in/.",
        "/boot.ipxe%2ein",
        "/sub/%6fwn.ipxe.in",
        "/gone.ipxe.in",
    ] {
        let (status, _) = ask(&site, uri, Some("node1")).await.unwrap();
        assert_eq!(status, 404, "{uri}");
    }
}

#[tokio::test]
async fn everything_else_is_left_to_the_server_of_files() {
    let site = site();
    for uri in [
        "/plain.ipxe",
        "/other.txt",
        "/other.txt.in",
        "/gone.ipxe",
        "/sub",
        "/",
        "/../boot.ipxe",
        "/sub/../boot.ipxe",
        "/%2e%2e/boot.ipxe",
        "/boot.ipxe%ff",
        "/boot%00.ipxe",
    ] {
        assert_eq!(ask(&site, uri, None).await, None, "{uri}");
    }
    let uri = "/boot.ipxe".parse().unwrap();
    assert!(
        answer(site.path(), &Method::POST, &uri, &peer(None))
            .await
            .is_none()
    );
}

#[tokio::test]
async fn the_reason_phrase_tells_a_console_why() {
    let site = site();
    let uri = "/boot.ipxe".parse().unwrap();
    let response = answer(site.path(), &Method::HEAD, &uri, &peer(None))
        .await
        .unwrap();
    let phrase = response.extensions().get::<ReasonPhrase>().unwrap();
    assert_eq!(
        phrase.as_bytes(),
        b"mac is not told; add ?mac=${net0/mac} to the URL"
    );
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
}
