//! A small HTTP/1.1 server for the simulated host: files from a map, one request a connection.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use crate::host::{Accept, Connection};

/// Files by path, with their leading `/`.
pub type Files = Rc<HashMap<String, Vec<u8>>>;

/// Serves `files`.
pub fn serve(files: Files) -> Accept {
    Box::new(move || {
        Box::new(Request {
            files: Rc::clone(&files),
            head: Vec::new(),
        })
    })
}

struct Request {
    files: Files,
    head: Vec<u8>,
}

impl Connection for Request {
    fn exchange(&mut self, _: Duration, input: &[u8], output: &mut Vec<u8>) -> bool {
        self.head.extend_from_slice(input);
        if !self.head.windows(4).any(|window| window == b"\r\n\r\n") {
            return true;
        }
        let head = String::from_utf8_lossy(&self.head);
        let path = head.split(' ').nth(1).unwrap_or_default();
        let (status, body) = match self.files.get(path) {
            Some(body) => ("200 OK", body.as_slice()),
            None => ("404 Not Found", b"".as_slice()),
        };
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        output.extend_from_slice(answer.as_bytes());
        output.extend_from_slice(body);
        false
    }
}
