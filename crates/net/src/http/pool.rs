//! Connections kept for the next request to the same server (RFC 9112 section 9.3).

use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use core::time::Duration;

use super::{Scheme, Transport, Url};

/// Connections that are kept at most: each has buffers for a whole receive window.
const KEPT_MAX: usize = 2;

/// Idle connections, by scheme, host and port.
pub struct Pool<T>(RefCell<Vec<Idle<T>>>);

struct Idle<T> {
    scheme: Scheme,
    host: String,
    port: u16,
    /// From then on it is not used any more.
    until: Duration,
    transport: T,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} idle)", self.0.borrow().len())
    }
}

impl<T> Pool<T> {
    /// Closes all: before the network goes away.
    pub fn clear(&self) {
        // The connections are dropped when the borrow is over.
        drop(self.0.take());
    }
}

impl<T: Transport> Pool<T> {
    /// A connection to the server of `url` that seems to be usable still.
    pub(super) fn take(&self, url: &Url, now: Duration) -> Option<T> {
        let (mut fitting, kept): (Vec<_>, Vec<_>) = self
            .0
            .take()
            .into_iter()
            .filter(|idle| now < idle.until)
            .partition(|idle| {
                idle.scheme == url.scheme() && idle.host == url.host() && idle.port == url.port()
            });
        let mut found = None;
        while let Some(mut idle) = fitting.pop() {
            // Bytes that nobody asked for would be taken for the answer to the next request.
            if idle.transport.try_read(&mut [0]).is_none() {
                found = Some(idle.transport);
                break;
            }
        }
        fitting.extend(kept);
        self.0.replace(fitting);
        found
    }

    /// Keeps a connection until a moment; the longest kept gives way.
    pub(super) fn put(&self, url: &Url, transport: T, until: Duration) {
        let mut kept = self.0.take();
        while kept.len() >= KEPT_MAX {
            kept.remove(0);
        }
        kept.push(Idle {
            scheme: url.scheme(),
            host: url.host().into(),
            port: url.port(),
            until,
            transport,
        });
        self.0.replace(kept);
    }
}
