//! Files that have been removed, and take long to be gone.

use std::fs::File;
use std::process::{Command, Stdio};

/// Closes a removed file without waiting for its space to be given back. The system does that when
/// the last process closes it, extent by extent; where the file system is mounted with `discard`,
/// an overlay of 80 MB in pieces of 4096 bytes keeps that process for half a minute. So the last
/// one is a process that nobody waits for.
pub(super) fn leave(file: File) {
    let mut last = Command::new("sleep");
    // Longer than this process needs to close its own.
    last.arg("1")
        .stdin(file)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Ok(mut last) = last.spawn() {
        // Who lives on collects it. Where it cannot be started, the file has been closed here.
        std::thread::spawn(move || last.wait());
    }
}
