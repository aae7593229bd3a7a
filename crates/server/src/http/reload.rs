//! New certificates without a restart: the files are looked at now and then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::credentials::{Credentials, Fault, Stamp, TlsFiles};
use crate::Shutdown;

/// How often the files are looked at. A change counts when it has lasted for two looks, because a
/// certificate and its key are not replaced in one moment.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Keeps `current` as new as `files`, until `shutdown`. TlsFiles that cannot be used change nothing
/// and are told once. Says every day which certificates should be renewed.
pub(super) async fn keep(
    files: TlsFiles,
    current: watch::Sender<Arc<Credentials>>,
    look_every: Duration,
    mut shutdown: Shutdown,
) {
    // The version in use or refused, and the version at the last look.
    let mut judged = current.borrow().stamp.clone();
    let mut seen = judged.clone();
    let mut told = Instant::now();
    loop {
        tokio::select! {
            () = tokio::time::sleep(look_every) => {}
            () = shutdown.requested() => return,
        }
        let Some(stamp) = aside(&files, Stamp::of).await else {
            continue;
        };
        if stamp != judged && stamp == seen {
            judged.clone_from(&stamp);
            match aside(&files, Credentials::load).await {
                Some(Ok(credentials)) => {
                    judged.clone_from(&credentials.stamp);
                    replace(&current, credentials);
                }
                Some(Err(faults)) => refuse(&faults),
                None => {}
            }
        }
        seen = stamp;
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            for words in current.borrow().aging() {
                tracing::warn!("https: {words}");
            }
        }
    }
}

fn replace(current: &watch::Sender<Arc<Credentials>>, credentials: Credentials) {
    tracing::info!(
        "https: new certificate in use for new connections: {}, until {}",
        credentials.names().join(", "),
        credentials.last_day()
    );
    for warning in &credentials.warnings {
        tracing::warn!("https: {}", warning.message);
    }
    current.send_replace(Arc::new(credentials));
}

fn refuse(faults: &[Fault]) {
    for fault in faults {
        tracing::error!("https: {}", fault.message);
    }
    tracing::error!(
        "https: the changed files are not used; the certificate of before stays in use"
    );
}

/// Runs what reads files where it holds nobody up.
async fn aside<T: Send + 'static>(files: &TlsFiles, work: fn(&TlsFiles) -> T) -> Option<T> {
    let files = files.clone();
    tokio::task::spawn_blocking(move || work(&files)).await.ok()
}

const TELL_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
