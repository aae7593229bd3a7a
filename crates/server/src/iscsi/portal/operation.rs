//! What an administrator sees and does while the target runs: sessions and their counts, ending
//! one, and other targets without a restart.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::*;

/// A target and its sessions at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetReport {
    /// Its iSCSI name.
    pub name: String,
    /// Sessions that there have been since it was taken into use, those of now included.
    pub sessions_total: u64,
    /// What all of them have done.
    #[serde(flatten)]
    pub counts: Counts,
    /// Those of now.
    pub sessions: Vec<SessionReport>,
}

/// A session at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionReport {
    /// The target session identifying handle (TSIH, RFC 7143 section 11.12.6).
    pub session: u16,
    /// The initiator's iSCSI name.
    pub initiator: String,
    /// The address that it comes from.
    pub address: SocketAddr,
    /// For how long it has been logged in, in seconds.
    pub seconds: u64,
    /// What it has done.
    #[serde(flatten)]
    pub counts: Counts,
}

/// What another configuration has changed, by the names of targets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Those that are new,
    pub added: Vec<String>,
    /// that are different, whose initiators had to log in anew,
    pub changed: Vec<String>,
    /// that are gone,
    pub removed: Vec<String>,
    /// and that nothing has happened to.
    pub unchanged: Vec<String>,
}

impl Portal {
    /// All targets with their sessions, in the order of their names.
    pub(in crate::iscsi) fn report(&self) -> Vec<TargetReport> {
        let targets: Vec<Arc<Target>> = self.offer().targets.values().flatten().cloned().collect();
        let sessions = self.sessions();
        let report = |target: &Arc<Target>| {
            let mut past = *target.past();
            let of_target = |(tsih, session): (&u16, &Option<Session>)| {
                let session = session.as_ref()?;
                (session.key.target == target.name).then(|| session.report(*tsih))
            };
            let mut sessions: Vec<_> = sessions.iter().filter_map(of_target).collect();
            sessions.sort_by_key(|session| session.session);
            for session in &sessions {
                past.sessions += 1;
                past.counts += session.counts;
            }
            TargetReport {
                name: target.name.clone(),
                sessions_total: past.sessions,
                counts: past.counts,
                sessions,
            }
        };
        targets.iter().map(report).collect()
    }

    /// Asks the initiator of a session to log out and waits until it is over; who that was.
    pub(in crate::iscsi) async fn kick(&self, tsih: u16) -> Option<SessionReport> {
        let report = {
            let sessions = self.sessions();
            sessions.get(&tsih)?.as_ref()?.report(tsih)
        };
        self.drain(|other, _| other == tsih).await;
        Some(report)
    }

    /// Offers what `config` says from now on. Sessions of targets that stay as they are do not
    /// notice; those of others are asked to log out and waited for.
    ///
    /// # Errors
    /// A disk that cannot be opened. Then nothing has changed.
    pub(in crate::iscsi) async fn reload(&self, config: &Config) -> Result<Reloaded, ServeError> {
        let before: Vec<Arc<Target>> = self.offer().targets.values().flatten().cloned().collect();
        let old = |name: &str| before.iter().find(|target| target.name == name);
        let mut outcome = Reloaded::default();
        let mut opened = Vec::new();
        for target in &config.targets {
            let kind = match old(&target.name) {
                Some(old) if old.config == *target => {
                    outcome.unchanged.push(target.name.clone());
                    continue;
                }
                Some(_) => &mut outcome.changed,
                None => &mut outcome.added,
            };
            opened.push(Arc::new(Target::open(target, &self.state, &before)?));
            kind.push(target.name.clone());
        }
        let stays = |name: &str| config.targets.iter().any(|target| target.name == name);
        let gone = before.iter().filter(|target| !stays(&target.name));
        outcome.removed = gone.map(|target| target.name.clone()).collect();
        self.change_offer(|offer| {
            offer.targets.retain(|name, _| stays(name));
            for name in &outcome.changed {
                offer.targets.insert(name.clone(), None);
            }
            offer.discovery_chap.clone_from(&config.discovery_chap);
        });
        let leaving: HashSet<&String> = outcome.changed.iter().chain(&outcome.removed).collect();
        self.drain(|_, session| leaving.contains(&session.key.target))
            .await;
        self.change_offer(|offer| {
            for target in opened {
                offer.targets.insert(target.name.clone(), Some(target));
            }
        });
        Ok(outcome)
    }

    fn change_offer(&self, change: impl FnOnce(&mut Offer)) {
        change(&mut self.offer.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Asks the initiators of these sessions to log out, and returns when the last command of the
    /// last of them is over.
    async fn drain(&self, of: impl Fn(u16, &Session) -> bool) {
        let mut leaving = Vec::new();
        for (tsih, session) in self.sessions().iter() {
            if let Some(session) = session.as_ref().filter(|session| of(*tsih, session)) {
                let _ = session.notices.send(Notice::Leave);
                leaving.push(session.ended.clone());
            }
        }
        for mut ended in leaving {
            ended.requested().await;
        }
    }
}

impl Session {
    fn report(&self, tsih: u16) -> SessionReport {
        SessionReport {
            session: tsih,
            initiator: self.key.initiator.clone(),
            address: self.peer,
            seconds: self.since.elapsed().as_secs(),
            counts: self.statistics.counts(),
        }
    }
}
