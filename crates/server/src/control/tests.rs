//! The socket by itself.

use std::io::{Read as _, Write as _};

use super::*;

#[test]
fn requests_and_replies_are_lines_of_json() {
    let kick = Request::Kick { session: 3 };
    let text = r#"{"request":"kick","session":3}"#;
    assert_eq!(serde_json::to_string(&kick).unwrap(), text);
    assert_eq!(serde_json::from_str::<Request>(text).unwrap(), kick);
    let failed = Reply::Failed { reason: "x".into() };
    let text = serde_json::to_string(&failed).unwrap();
    assert_eq!(text, r#"{"reply":"failed","reason":"x"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_its_owners_and_only_one_server_has_it() {
    let state = tempfile::tempdir().unwrap();
    let control = Control::bind(state.path()).unwrap();
    let path = socket(state.path());
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(Control::bind(state.path()).is_err());
    let operator = Arc::new(Operator::new("missing.toml".into(), None));
    let served = tokio::spawn(async move { control.serve(&operator).await });

    let asked = path.clone();
    let ask = |request| {
        let path = asked.clone();
        tokio::task::spawn_blocking(move || ask(&path, request).unwrap())
    };
    let sessions = ask(Request::Sessions).await.unwrap();
    assert_eq!(sessions, Reply::Sessions { targets: vec![] });
    for (request, expected) in [
        (Request::Kick { session: 3 }, "there is no session 3"),
        (Request::Reload, "missing.toml"),
    ] {
        match ask(request).await.unwrap() {
            Reply::Failed { reason } => assert!(reason.contains(expected), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
    let nonsense = tokio::task::spawn_blocking(move || {
        let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
        stream.write_all(b"nonsense\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    });
    assert!(nonsense.await.unwrap().contains("not understood"));
    served.abort();
    let _ = served.await;
    // What a server leaves behind is no hindrance.
    std::os::unix::net::UnixListener::bind(socket(state.path()))
        .map(drop)
        .unwrap();
    Control::bind(state.path()).unwrap();
}

#[test]
fn nobody_there_is_told_with_advice() {
    let error = ask(Path::new("/nonexistent/control.sock"), Request::Sessions).unwrap_err();
    let told = error.to_string();
    assert!(told.contains("is `bowline serve` running"), "{told}");
}
