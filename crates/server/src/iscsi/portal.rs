//! What all connections share: the targets, and the sessions that there are.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bowline_iscsi::target::{Admission, Applicant, Directory, Listing, Login};
use bowline_iscsi::{Credentials, Isid, LoginStatus, TargetAddress};
use bowline_scsi::device::Nexus;
use bowline_scsi::{Lun, Sense};

use super::unit::Unit;
use super::{ChapConfig, Limits, TargetConfig};
use crate::{ServeError, Shutdown, Trigger};

/// The targets and their sessions.
#[derive(Debug)]
pub(super) struct Portal {
    targets: BTreeMap<String, Arc<Target>>,
    sessions: Mutex<HashMap<u16, Option<Session>>>,
    pub(super) limits: Limits,
    start: Instant,
}

/// A target with its disks open.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) units: Vec<Unit>,
    pub(super) luns: Vec<Lun>,
    chap: Option<ChapConfig>,
}

/// What one initiator has not been told yet of the disks of its target.
pub(super) type Nexuses = Arc<Mutex<HashMap<Lun, Nexus>>>;

/// A session after its login, as others see it.
#[derive(Debug)]
struct Session {
    key: SessionKey,
    nexuses: Nexuses,
    /// Asks it to end.
    end: Trigger,
    /// Says that it has ended.
    ended: Shutdown,
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
    pub(super) fn open(targets: &[TargetConfig], limits: Limits) -> Result<Self, ServeError> {
        let open = |config: &TargetConfig| {
            let target = Arc::new(Target::open(config)?);
            Ok((config.name.clone(), target))
        };
        let targets = targets
            .iter()
            .map(open)
            .collect::<Result<_, ServeError>>()?;
        Ok(Self {
            targets,
            sessions: Mutex::default(),
            limits,
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

    pub(super) fn target(&self, name: &str) -> Option<Arc<Target>> {
        self.targets.get(name).cloned()
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

    /// Tells every initiator of `target` at its next command to the logical units in question
    /// that they were reset.
    pub(super) fn reset(&self, target: &str, lun: Option<Lun>) {
        for session in self
            .sessions()
            .values()
            .flatten()
            .filter(|it| it.key.target == target)
        {
            let mut nexuses = session
                .nexuses
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            for unit in self
                .targets
                .get(target)
                .iter()
                .flat_map(|target| &target.units)
            {
                if lun.is_none_or(|lun| lun == unit.lun) {
                    nexuses
                        .entry(unit.lun)
                        .or_default()
                        .attention(Sense::DEVICE_RESET);
                }
            }
        }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<u16, Option<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// To be dropped when the last command has been carried out.
    _ended: Trigger,
    /// Requested when the session that this one replaces has carried out its last command.
    pub(super) predecessor: Option<Shutdown>,
}

impl Reservation {
    /// Makes the session known. One with the same initiator, ISID and target is asked to end:
    /// session reinstatement, RFC 7143 §6.3.5.
    pub(super) fn establish(&self, login: &Login, nexuses: &Nexuses) -> Option<Membership> {
        let key = SessionKey {
            initiator: login.initiator_name.clone(),
            isid: login.isid,
            target: login.target_name.clone()?,
        };
        let (end, replaced) = Shutdown::new();
        let (mark_ended, ended) = Shutdown::new();
        let mut sessions = self.portal.sessions();
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
            nexuses: Arc::clone(nexuses),
            end,
            ended,
        };
        sessions.insert(self.tsih, Some(session));
        Some(Membership {
            replaced,
            _ended: mark_ended,
            predecessor,
        })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.portal.sessions().remove(&self.tsih);
    }
}

impl Target {
    fn open(config: &TargetConfig) -> Result<Self, ServeError> {
        let open = |lun| {
            Unit::open(&config.name, lun).map_err(|source| ServeError::Disk {
                target: config.name.clone(),
                lun: lun.lun,
                source,
            })
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
            chap: config.chap.clone(),
        })
    }

    /// The logical unit with this number, in whichever of its forms (SAM-5 §4.7.7).
    pub(super) fn unit(&self, lun: Lun) -> Option<&Unit> {
        self.units
            .iter()
            .find(|unit| unit.lun.number() == lun.number())
    }
}

/// The portal as one connection sees it: answers the machine, and remembers who asked.
#[derive(Debug)]
pub(super) struct Entrance {
    portal: Arc<Portal>,
    /// The address that the initiator has connected to.
    local: SocketAddr,
    applicant: Mutex<Option<String>>,
}

impl Entrance {
    pub(super) fn new(portal: Arc<Portal>, local: SocketAddr) -> Self {
        Self {
            portal,
            local,
            applicant: Mutex::default(),
        }
    }

    /// Who has tried to log in, and to what. Not proven.
    pub(super) fn applicant(&self) -> Option<String> {
        self.applicant
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Directory for Entrance {
    fn admit(&self, applicant: &Applicant<'_>) -> Result<Admission, LoginStatus> {
        let place = applicant.target_name.unwrap_or("discovery");
        *self
            .applicant
            .lock()
            .unwrap_or_else(PoisonError::into_inner) =
            Some(format!("{} at {place}", applicant.initiator_name));
        let mut admission = Admission {
            portal_group_tag: PORTAL_GROUP_TAG,
            ..Admission::default()
        };
        let Some(name) = applicant.target_name else {
            // Names and addresses are no secret; what they name asks for a proof of its own.
            return Ok(admission);
        };
        let target = self
            .portal
            .targets
            .get(name)
            .ok_or(LoginStatus::NOT_FOUND)?;
        if let Some(chap) = &target.chap {
            let credentials = Credentials::new(&chap.username, chap.password.expose());
            admission.credentials.push(credentials);
            admission.reverse = chap
                .mutual
                .as_ref()
                .map(|mutual| Credentials::new(&mutual.username, mutual.password.expose()));
        }
        Ok(admission)
    }

    /// All targets, at the address that was asked. RFC 7143 §C allows to leave the address out
    /// then, but iscsi-ls shows only targets that have one.
    fn targets(&self, _initiator_name: &str) -> Vec<Listing> {
        let address = TargetAddress {
            host: self.local.ip().to_string(),
            port: self.local.port(),
            portal_group_tag: Some(PORTAL_GROUP_TAG),
        };
        let listing = |name: &String| Listing {
            name: name.clone(),
            addresses: vec![address.clone()],
        };
        self.portal.targets.keys().map(listing).collect()
    }
}

const PORTAL_GROUP_TAG: u16 = 1;

#[cfg(test)]
mod tests;
