//! What all connections share: the targets, and the sessions that there are.

mod entrance;
pub(super) mod operation;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use bowline_iscsi::Isid;
use bowline_iscsi::target::Login;
use bowline_scsi::device::NexusId;
use bowline_scsi::{InitiatorPort, Lun, Sense};
use tokio::sync::mpsc;

use super::session::statistics::{Counts, Statistics};
use super::unit::Unit;
use super::{ChapConfig, Config, Limits, TargetConfig};
use crate::{ServeError, Shutdown, Trigger};

pub(super) use entrance::Entrance;

/// The targets and their sessions.
#[derive(Debug)]
pub(super) struct Portal {
    offer: RwLock<Offer>,
    sessions: Mutex<HashMap<u16, Option<Session>>>,
    pub(super) limits: Limits,
    state: PathBuf,
    start: Instant,
}

/// What initiators find here.
#[derive(Debug)]
struct Offer {
    /// By name; `None` while a target is being exchanged for another of its name.
    targets: BTreeMap<String, Option<Arc<Target>>>,
    discovery_chap: Option<ChapConfig>,
}

/// A target with its disks open.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) units: Vec<Unit>,
    pub(super) luns: Vec<Lun>,
    config: TargetConfig,
    /// Of sessions that have ended.
    past: Mutex<Past>,
}

/// What has been, since the target was taken into use.
#[derive(Clone, Copy, Debug, Default)]
struct Past {
    sessions: u64,
    counts: Counts,
}

/// What a session is asked to do by others.
#[derive(Debug)]
pub(super) enum Notice {
    /// Give up the commands on this unit, or on all, and answer TASK ABORTED.
    Abort {
        lun: Option<Lun>,
        /// To be dropped when they are over.
        over: mpsc::Sender<()>,
    },
    /// End, because the target is reset.
    End,
    /// Ask the initiator to log out, and end.
    Leave,
}

/// A session after its login, as others see it.
#[derive(Debug)]
struct Session {
    key: SessionKey,
    notices: mpsc::UnboundedSender<Notice>,
    /// Asks it to end.
    end: Trigger,
    /// Says that it has ended.
    ended: Shutdown,
    peer: SocketAddr,
    since: Instant,
    statistics: Arc<Statistics>,
}

/// What names a session for good, RFC 7143 §4.4.3 (there is one portal group).
#[derive(Debug, PartialEq, Eq)]
struct SessionKey {
    initiator: String,
    isid: Isid,
    target: String,
}

impl Portal {
    /// Opens and locks every disk of `targets`.
    pub(super) fn open(config: &Config) -> Result<Self, ServeError> {
        let open = |target: &TargetConfig| {
            let open = Target::open(target, &config.state, &[])?;
            Ok((target.name.clone(), Some(Arc::new(open))))
        };
        let targets = config
            .targets
            .iter()
            .map(open)
            .collect::<Result<_, ServeError>>()?;
        Ok(Self {
            offer: RwLock::new(Offer {
                targets,
                discovery_chap: config.discovery_chap.clone(),
            }),
            sessions: Mutex::default(),
            limits: config.limits.clone(),
            state: config.state.clone(),
            start: Instant::now(),
        })
    }

    /// The time that the machines know.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The moment that the machines mean by `at`.
    pub(super) fn instant(&self, at: Duration) -> Instant {
        self.start + at
    }

    /// Whether `target` is what its name stands for.
    fn offers(&self, target: &Arc<Target>) -> bool {
        let offer = self.offer();
        let current = offer.targets.get(&target.name).and_then(Option::as_ref);
        current.is_some_and(|current| Arc::ptr_eq(current, target))
    }

    fn offer(&self) -> RwLockReadGuard<'_, Offer> {
        self.offer.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session handle that no other connection has, until the result is dropped. `None` if too
    /// many connections have one.
    pub(super) fn reserve(self: &Arc<Self>) -> Option<Reservation> {
        let mut sessions = self.sessions();
        if sessions.len() >= self.limits.connections_max {
            return None;
        }
        // RFC 7143 §11.12.6: 0 is no handle.
        let tsih = (1..=u16::MAX).find(|tsih| !sessions.contains_key(tsih))?;
        sessions.insert(tsih, None);
        Some(Reservation {
            portal: Arc::clone(self),
            tsih,
        })
    }

    /// Resets units of `target`: one, or all of them. Ends when the commands of other sessions on
    /// them are over.
    pub(super) fn reset(&self, target: &Target, lun: Option<Lun>, from: u16) -> Settling {
        let settling = self.ask_to_abort(lun, |tsih, session| {
            tsih != from && session.key.target == target.name
        });
        for unit in &target.units {
            if lun.is_none_or(|lun| lun == unit.lun) {
                unit.device().reset();
            }
        }
        settling
    }

    /// CLEAR TASK SET: others hear that their commands are gone (SAM-5 section 7.3).
    pub(super) fn clear_task_set(&self, target: &Target, lun: Lun, from: u16) -> Settling {
        let settling = self.ask_to_abort(Some(lun), |tsih, session| {
            tsih != from && session.key.target == target.name
        });
        if let Some(unit) = target.unit(lun) {
            unit.device()
                .attention(Some(NexusId::from(from)), Sense::COMMANDS_CLEARED);
        }
        settling
    }

    /// Asks these sessions to give up their commands on a unit.
    pub(super) fn abort(&self, lun: Lun, of: &[NexusId]) -> Settling {
        self.ask_to_abort(Some(lun), |tsih, _| of.contains(&NexusId::from(tsih)))
    }

    fn ask_to_abort(&self, lun: Option<Lun>, of: impl Fn(u16, &Session) -> bool) -> Settling {
        let (over, settling) = mpsc::channel(1);
        for (tsih, session) in self.sessions().iter() {
            if let Some(session) = session.as_ref().filter(|session| of(*tsih, session)) {
                let over = over.clone();
                let _ = session.notices.send(Notice::Abort { lun, over });
            }
        }
        Settling(settling)
    }

    /// Ends the sessions with `target`.
    pub(super) fn end_sessions(&self, target: &Target) {
        for session in self.sessions().values().flatten() {
            if session.key.target == target.name {
                let _ = session.notices.send(Notice::End);
            }
        }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<u16, Option<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Commands of other sessions on their way out.
#[derive(Debug)]
pub(super) struct Settling(mpsc::Receiver<()>);

impl Settling {
    /// Returns when they are over.
    pub(super) async fn settled(mut self) {
        while self.0.recv().await.is_some() {}
    }
}

/// A session handle, and after the login the session that it names.
#[derive(Debug)]
pub(super) struct Reservation {
    portal: Arc<Portal>,
    pub(super) tsih: u16,
}

/// What a session that has just begun holds and hears.
#[derive(Debug)]
pub(super) struct Membership {
    /// Requested when a newer session takes the place of this one.
    pub(super) replaced: Shutdown,
    /// What others ask of it.
    pub(super) notices: mpsc::UnboundedReceiver<Notice>,
    target: Arc<Target>,
    nexus: NexusId,
    statistics: Arc<Statistics>,
    /// Dropped when the last command has been carried out.
    _ended: Trigger,
    /// Requested when the session that this one replaces has carried out its last command.
    pub(super) predecessor: Option<Shutdown>,
}

impl Reservation {
    /// Makes the session known, unless `target` is no longer offered. One with the same initiator, ISID and target is asked to end:
    /// session reinstatement, RFC 7143 §6.3.5.
    pub(super) fn establish(
        &self,
        login: &Login,
        target: &Arc<Target>,
        peer: SocketAddr,
        statistics: Arc<Statistics>,
    ) -> Option<Membership> {
        let key = SessionKey {
            initiator: login.initiator_name.clone(),
            isid: login.isid,
            target: target.name.clone(),
        };
        let (sender, notices) = mpsc::unbounded_channel();
        let nexus = NexusId::from(self.tsih);
        let (end, replaced) = Shutdown::new();
        let (mark_ended, ended) = Shutdown::new();
        let mut sessions = self.portal.sessions();
        // Who exchanges targets looks for sessions afterwards, so none is overlooked.
        if !self.portal.offers(target) {
            return None;
        }
        for unit in &target.units {
            unit.device().attach(nexus, initiator_port(login));
        }
        let old = sessions
            .values()
            .flatten()
            .find(|session| session.key == key);
        let predecessor = old.map(|old| {
            old.end.request();
            old.ended.clone()
        });
        let session = Session {
            key,
            notices: sender,
            end,
            ended,
            peer,
            since: Instant::now(),
            statistics: Arc::clone(&statistics),
        };
        sessions.insert(self.tsih, Some(session));
        Some(Membership {
            replaced,
            notices,
            target: Arc::clone(target),
            nexus,
            statistics,
            _ended: mark_ended,
            predecessor,
        })
    }
}

impl Drop for Membership {
    /// What does not outlive a session goes before a newer one hears that this one is over.
    fn drop(&mut self) {
        for unit in &self.target.units {
            unit.device().detach(self.nexus);
        }
        let mut past = self.target.past();
        past.sessions += 1;
        past.counts += self.statistics.counts();
    }
}

/// RFC 7143 §4.2.7.1.
fn initiator_port(login: &Login) -> InitiatorPort {
    let isid = login.isid.0.iter();
    let isid: String = isid.map(|byte| format!("{byte:02x}")).collect();
    InitiatorPort(format!("{},i,0x{isid}", login.initiator_name))
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.portal.sessions().remove(&self.tsih);
    }
}

impl Target {
    /// Opens the disks, but those that `before` has open already.
    fn open(config: &TargetConfig, state: &Path, before: &[Arc<Self>]) -> Result<Self, ServeError> {
        let open = |lun| {
            let mut open_already = before.iter().flat_map(|target| &target.units);
            open_already
                .find_map(|unit| unit.reopened(&config.name, lun, state))
                .unwrap_or_else(|| Unit::open(&config.name, lun, state))
        };
        let units = config
            .luns
            .iter()
            .map(open)
            .collect::<Result<Vec<_>, _>>()?;
        let mut luns: Vec<_> = units.iter().map(|unit| unit.lun).collect();
        luns.sort_unstable();
        Ok(Self {
            name: config.name.clone(),
            units,
            luns,
            config: config.clone(),
            past: Mutex::default(),
        })
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this initiator may log in from there, as far as it need not prove who it is.
    fn admits(&self, initiator: &str, from: IpAddr) -> bool {
        let TargetConfig {
            initiators,
            networks,
            ..
        } = &self.config;
        // Names are compared as RFC 3722 wants: without regard to case.
        let is_listed = |name: &String| name.to_lowercase() == initiator.to_lowercase();
        (initiators.is_empty() || initiators.iter().any(is_listed))
            && (networks.is_empty() || networks.iter().any(|network| network.contains(from)))
    }

    /// The logical unit with this number, in whichever of its forms (SAM-5 §4.7.7).
    pub(super) fn unit(&self, lun: Lun) -> Option<&Unit> {
        self.units
            .iter()
            .find(|unit| unit.lun.number() == lun.number())
    }
}

/// A name from the network as it may stand in a log: on one line, without control characters.
pub(super) fn printable(name: &str) -> String {
    name.escape_debug().to_string()
}

#[cfg(test)]
mod tests;
