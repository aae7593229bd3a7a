//! Session tickets kept for the life of a configuration (RFC 8446 section 2.2, RFC 5077).

use alloc::vec::Vec;
use core::fmt;
use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls_pki_types::ServerName;
use spin::Mutex;

/// Servers remembered; the one not heard of for longest makes room.
const SERVERS: usize = 8;
/// TLS 1.3 tickets per server; each is used once.
const TICKETS: usize = 4;

/// What is remembered about servers. A store that is in use when a nested call wants it behaves as
/// if it were empty.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<Vec<Server>>);

struct Server {
    name: ServerName<'static>,
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: Vec<Tls13ClientSessionValue>,
}

impl Sessions {
    pub(crate) fn forget(&self) {
        self.0.lock().clear();
    }

    fn known<T>(
        &self,
        name: &ServerName<'_>,
        work: impl FnOnce(&mut Server) -> Option<T>,
    ) -> Option<T> {
        let mut servers = self.0.try_lock()?;
        work(servers.iter_mut().find(|server| server.name == *name)?)
    }

    fn remember(&self, name: ServerName<'static>, work: impl FnOnce(&mut Server)) {
        let Some(mut servers) = self.0.try_lock() else {
            return;
        };
        let mut server = match servers.iter().position(|server| server.name == name) {
            Some(at) => servers.remove(at),
            None => Server {
                name,
                group: None,
                tls12: None,
                tls13: Vec::new(),
            },
        };
        work(&mut server);
        if servers.len() >= SERVERS {
            servers.remove(0);
        }
        servers.push(server);
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.remember(name, |server| server.group = Some(group));
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.known(name, |server| server.group)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.remember(name, |server| server.tls12 = Some(session));
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.known(name, |server| server.tls12.clone())
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.known(name, |server| server.tls12.take());
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.remember(name, |server| {
            if server.tls13.len() >= TICKETS {
                server.tls13.remove(0);
            }
            server.tls13.push(ticket);
        });
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.known(name, |server| server.tls13.pop())
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions(..)")
    }
}
