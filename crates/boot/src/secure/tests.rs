//! Whole boots over HTTPS in memory, against a server by other people (rustls with ring).

extern crate std;

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;
use std::io::{Read, Write};

use bowline_net::{Stack, TcpListener, TcpStream};
use bowline_tls::verify::Reason;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use crate::failure::Code;
use crate::packed::{Packed, PackedIdentity, PackedScript};
use crate::testing::servers::ntp_server;
use crate::testing::target::TestTarget;
use crate::testing::{Task, TestPlatform, run_packed, script};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate that has expired in 2028, and its key. The server of these tests goes by the real
/// clock, so the client's has a longer life.
fn issue(issuer: &Authority, name: &str, purpose: ExtendedKeyUsagePurpose) -> (Vec<u8>, Vec<u8>) {
    let mut params = CertificateParams::new(vec![name.to_string()]).unwrap();
    params.extended_key_usages = vec![purpose.clone()];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.not_before = date_time_ymd(2020, 1, 1);
    let until = match purpose {
        ExtendedKeyUsagePurpose::ServerAuth => 2028,
        _ => 2100,
    };
    params.not_after = date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    (certificate.der().to_vec(), key.serialize_der())
}

/// How a server is set up.
struct Site {
    root: Authority,
    wants_client: bool,
    answers: Answers,
    /// Connections that the machine ended in the proper way.
    told: Rc<Cell<usize>>,
}

/// What a server answers.
#[derive(Clone, Copy)]
struct Answers {
    end: End,
    /// Lines of the head, each with its end.
    fields: &'static str,
    page: &'static str,
}

const ANSWERS: Answers = Answers {
    end: End::Announced,
    fields: "",
    page: PAGE,
};

/// What becomes of a connection after the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It ends as it should.
    Announced,
    /// It ends without a word.
    CutShort,
    /// It is kept for the next request.
    Kept,
    /// There is no answer, and nothing else.
    Mute,
    /// It is kept until the machine says that it wants no more.
    UntilTold,
}

impl Site {
    fn new() -> Self {
        Self {
            root: authority("Root"),
            wants_client: false,
            answers: ANSWERS,
            told: Rc::default(),
        }
    }

    fn config(&self) -> Arc<ServerConfig> {
        let server = ExtendedKeyUsagePurpose::ServerAuth;
        let (certificate, key) = issue(&self.root, "192.168.1.1", server);
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if self.wants_client {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::try_from(key).unwrap();
        Arc::new(
            builder
                .with_single_cert(vec![certificate.into()], key)
                .unwrap(),
        )
    }

    /// A machine on whose network this site is; it runs `lines`.
    fn run(&self, platform: TestPlatform, packed: Packed, lines: &[&str]) -> String {
        let stack = platform.server.clone().unwrap();
        let task = serve(&stack, self.config(), self.answers, self.told.clone());
        platform.tasks.borrow_mut().push(task);
        let packed = Packed {
            script: Some(PackedScript {
                name: "test.ipxe".into(),
                text: script(lines),
            }),
            ..packed
        };
        platform.type_lines(&["exit"]);
        let (platform, _) = run_packed(platform, &packed.to_bytes().unwrap());
        platform.output.borrow().clone()
    }

    fn trusted(&self) -> Packed {
        Packed {
            trust: vec![self.root.der().to_vec()],
            ..Packed::default()
        }
    }
}

const PAGE: &str = "#!ipxe\necho page ${cwuri}\nexit\n";

/// An HTTPS server on port 443: one answer, then the end.
fn serve(
    stack: &Stack,
    config: Arc<ServerConfig>,
    answers: Answers,
    told: Rc<Cell<usize>>,
) -> Task {
    let mut kept = Vec::new();
    let mut listener = TcpListener::bind(stack, 443).unwrap();
    Box::pin(async move {
        loop {
            let mut stream = listener.accept().await.unwrap();
            if answers.end == End::Mute {
                kept.push(stream);
                continue;
            }
            let mut tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            answer(&mut stream, &mut tls, answers).await;
            match answers.end {
                End::Kept => kept.push(stream),
                End::UntilTold => told.set(told.get() + usize::from(is_told(stream, tls).await)),
                _ => drop(stream.close().await),
            }
        }
    })
}

/// Whether the machine ends the connection with a `close_notify` (RFC 8446 section 6.1).
async fn is_told(mut stream: TcpStream, mut tls: ServerConnection) -> bool {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
        tls.read_tls(&mut &bytes[..count]).unwrap();
        if tls.process_new_packets().unwrap().peer_has_closed() {
            return true;
        }
    }
    false
}

async fn answer(stream: &mut TcpStream, tls: &mut ServerConnection, answers: Answers) {
    let Answers { end, fields, page } = answers;
    let mut request = Vec::new();
    loop {
        let mut bytes = vec![0; 4096];
        let count = stream.read(&mut bytes).await.unwrap_or(0);
        let mut rest = &bytes[..count];
        let mut processed = Ok(());
        while !rest.is_empty() && processed.is_ok() {
            tls.read_tls(&mut rest).unwrap();
            processed = tls.process_new_packets().map(|_| ());
        }
        let mut plaintext = [0; 4096];
        while let Ok(length @ 1..) = tls.reader().read(&mut plaintext) {
            request.extend_from_slice(&plaintext[..length]);
        }
        let is_asked = request.ends_with(b"\r\n\r\n");
        if is_asked {
            let length = page.len();
            let head = match end {
                // The end of the connection is the end of the page (RFC 9112 section 6.3).
                End::CutShort => "HTTP/1.1 200 OK\r\n\r\n".to_string(),
                _ => format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n"),
            };
            tls.writer().write_all(head.as_bytes()).unwrap();
            tls.writer().write_all(page.as_bytes()).unwrap();
            if end == End::Announced {
                tls.send_close_notify();
            }
        }
        let mut out = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut out).unwrap();
        }
        let sent = stream.write_all(&out).await;
        if count == 0 || is_asked || processed.is_err() || sent.is_err() {
            return;
        }
    }
}

fn machine() -> TestPlatform {
    TestPlatform::with_network(&[])
}

const BOOT: &[&str] = &["dhcp", "chain https://192.168.1.1/boot.ipxe"];

#[track_caller]
fn assert_refused(output: &str, parts: &[&str]) {
    let line = output
        .lines()
        .find(|line| line.starts_with("https://192.168.1.1/boot.ipxe... "))
        .unwrap_or_else(|| panic!("{output}"));
    for part in parts {
        assert!(line.contains(part), "{part}: {output}");
    }
}

#[test]
fn script_comes_over_https_from_a_trusted_server() {
    let site = Site::new();
    let output = site.run(machine(), site.trusted(), BOOT);
    assert!(
        output.contains("https://192.168.1.1/boot.ipxe... ok\n"),
        "{output}"
    );
    assert!(
        output.contains("page https://192.168.1.1/boot.ipxe\n"),
        "{output}"
    );
}

#[test]
fn nothing_is_trusted_unless_it_is_packed() {
    let site = Site::new();
    let output = site.run(machine(), Packed::default(), BOOT);
    assert_refused(&output, &["no trust roots are packed", "[tls-no-anchors]"]);
}

#[test]
fn firmware_vouches_where_that_is_packed() {
    let site = Site::new();
    let asked = Packed {
        trusts_firmware: true,
        ..Packed::default()
    };
    let with = |packed: &Packed| {
        let mut platform = machine();
        platform.trusted_certificates = vec![b"no certificate".to_vec(), site.root.der().to_vec()];
        site.run(platform, packed.clone(), BOOT)
    };
    let output = with(&asked);
    assert!(output.contains("boot.ipxe... ok\n"), "{output}");
    // Only if it was asked for.
    let output = with(&Site::new().trusted());
    assert_refused(&output, &["[tls-"]);
    // A firmware that has none.
    let output = site.run(machine(), asked, BOOT);
    let parts = [
        "authorities of the firmware",
        "GetVariable",
        "[tls-no-anchors]",
    ];
    assert_refused(&output, &parts);
    let packed = Packed {
        trusts_firmware: true,
        ..site.trusted()
    };
    let output = site.run(machine(), packed, BOOT);
    assert!(output.contains("boot.ipxe... ok\n"), "{output}");
}

#[test]
fn server_of_another_authority_is_refused() {
    let site = Site::new();
    let output = site.run(machine(), Site::new().trusted(), BOOT);
    assert_refused(&output, &["[tls-"]);
    assert!(!output.contains("page"), "{output}");
}

#[test]
fn expired_certificate_is_refused_by_clock_and_by_pack_date() {
    let site = Site::new();
    let late = 1_900_000_000;
    let mut platform = machine();
    platform.wall_clock = Some(late);
    let output = site.run(platform, site.trusted(), BOOT);
    assert_refused(&output, &["expired", "firmware clock", "[tls-expired]"]);

    let mut platform = machine();
    platform.wall_clock = None;
    let packed = Packed {
        packed_at: Some(late),
        ..site.trusted()
    };
    let output = site.run(platform, packed, BOOT);
    assert_refused(&output, &["at least 2030-03-17", "[tls-expired]"]);
}

#[test]
fn machine_without_a_clock_still_boots() {
    let site = Site::new();
    let mut platform = machine();
    platform.wall_clock = None;
    let output = site.run(platform, site.trusted(), BOOT);
    assert!(output.contains("boot.ipxe... ok\n"), "{output}");
}

#[test]
fn server_that_wants_a_certificate_gets_the_packed_one() {
    let site = Site {
        wants_client: true,
        ..Site::new()
    };
    let output = site.run(machine(), site.trusted(), BOOT);
    assert_refused(
        &output,
        &["client certificate", "carries none", "[tls-alert]"],
    );

    let (certificate, key) = issue(&site.root, "node1", ExtendedKeyUsagePurpose::ClientAuth);
    let packed = Packed {
        identity: Some(PackedIdentity {
            chain: vec![certificate],
            key: key.into(),
        }),
        ..site.trusted()
    };
    let output = site.run(machine(), packed, BOOT);
    assert!(output.contains("boot.ipxe... ok\n"), "{output}");
}

#[test]
fn without_randomness_there_is_no_tls() {
    let site = Site::new();
    let mut platform = machine();
    platform.has_entropy = false;
    let output = site.run(platform, site.trusted(), BOOT);
    assert_refused(&output, &["0 of 256 bits", "[tls-no-entropy]"]);
}

#[test]
fn page_that_was_cut_short_is_not_run() {
    let site = Site {
        answers: Answers {
            end: End::CutShort,
            ..ANSWERS
        },
        ..Site::new()
    };
    let output = site.run(machine(), site.trusted(), BOOT);
    assert!(!output.contains("page https"), "{output}");
    assert!(output.contains("[tls-truncated]"), "{output}");
}

/// A connection that is kept holds the receive window of a card with few buffers.
#[test]
fn kept_connection_leaves_the_window_to_the_disk() {
    let site = Site {
        answers: Answers {
            end: End::Kept,
            page: "#!ipxe\nsanhook --no-describe iscsi:192.168.1.1:::1:iqn.2000-01.com.example:disk1\n",
            ..ANSWERS
        },
        ..Site::new()
    };
    let target = TestTarget::new(1024);
    let platform = TestPlatform::with_target(&target);
    let output = site.run(platform, site.trusted(), BOOT);
    assert!(output.contains("iscsi: logged in to"), "{output}");
}

/// The time of a verified answer counts, unless it turns the clock back.
#[test]
fn verified_server_tells_the_time() {
    let again = "#!ipxe\nchain https://192.168.1.1/boot.ipxe\n";
    let run = |wall_clock, fields| {
        let site = Site {
            answers: Answers {
                fields,
                page: again,
                ..ANSWERS
            },
            ..Site::new()
        };
        let mut platform = machine();
        platform.wall_clock = wall_clock;
        let lines = ["dhcp", "chain https://192.168.1.1/first.ipxe"];
        site.run(platform, site.trusted(), &lines)
    };
    // The server's certificate ends in 2028.
    let late = "Date: Fri, 01 Mar 2030 00:00:00 GMT\r\n";
    for wall_clock in [None, Some(1_800_000_000)] {
        let output = run(wall_clock, late);
        assert!(output.contains("first.ipxe... ok"), "{output}");
        let clock = "the clock says 2030-03-01 00:00";
        let parts = ["expired", clock, "from a verified server", "[tls-expired]"];
        assert_refused(&output, &parts);
    }
    // A server cannot bring back what has expired, by the firmware's clock or by the floor.
    let early = "Date: Sat, 01 Mar 2025 00:00:00 GMT\r\n";
    for wall_clock in [None, Some(1_800_000_000)] {
        let output = run(wall_clock, early);
        assert!(output.contains("boot.ipxe... ok"), "{output}");
    }
}

/// What NTP says can end a certificate's time, and cannot begin it again.
#[test]
fn network_time_only_moves_the_clock_forward() {
    // The server's certificate ends in 2028.
    let (early, before, late) = (1_780_000_000, 1_800_000_000, 1_900_000_000);
    let run = |wall_clock, packed_at, network| {
        let site = Site::new();
        let mut platform = machine();
        platform.wall_clock = wall_clock;
        let server = platform.server.clone().unwrap();
        let task = Box::pin(ntp_server(server, network, 2));
        platform.tasks.borrow_mut().push(task);
        let packed = Packed {
            packed_at: Some(packed_at),
            ..site.trusted()
        };
        let lines = [
            "dhcp",
            "ntp 192.168.1.1",
            "chain https://192.168.1.1/boot.ipxe",
        ];
        site.run(platform, packed, &lines)
    };
    // It has expired by the firmware's clock, or before the loader was packed.
    let output = run(Some(late), early, before);
    assert_refused(&output, &["firmware clock", "[tls-expired]"]);
    let output = run(None, late, before);
    assert_refused(&output, &["at least 2030-03-17", "[tls-expired]"]);
    // The other way round the network is believed.
    for wall_clock in [None, Some(before)] {
        let output = run(wall_clock, early, late);
        assert_refused(
            &output,
            &["network time, not authenticated", "[tls-expired]"],
        );
        let output = run(wall_clock, early, before + 1000);
        assert!(output.contains("boot.ipxe... ok\n"), "{output}");
    }
}

#[test]
fn server_is_told_when_a_connection_is_given_up() {
    let site = Site {
        answers: Answers {
            end: End::UntilTold,
            page: "#!ipxe\nsleep 11\nimgfetch https://192.168.1.1/again\nexit\n",
            ..ANSWERS
        },
        ..Site::new()
    };
    let output = site.run(machine(), site.trusted(), BOOT);
    assert!(output.contains("again... ok\n"), "{output}");
    assert_eq!(site.told.get(), 1);
}

#[test]
fn server_that_says_nothing_is_not_waited_for_without_end() {
    let site = Site {
        answers: Answers {
            end: End::Mute,
            ..ANSWERS
        },
        ..Site::new()
    };
    let output = site.run(machine(), site.trusted(), BOOT);
    let words = "did not finish the TLS handshake within 20 seconds";
    assert!(output.contains(words), "{output}");
    assert!(output.contains("[tls-timeout]"), "{output}");
}

#[test]
fn every_reason_has_an_entry_in_the_error_page() {
    for reason in Reason::ALL {
        let slug = format!("tls-{}", reason.code());
        assert!(Code::find(&slug).is_some(), "{slug}");
    }
}
