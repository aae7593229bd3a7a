//! Reservations: persistent ones (SPC-4 sections 5.13, 6.15 and 6.16) and the older kind of
//! RESERVE (6) (SPC-2 section 5.5).
//!
//! An initiator is known by its port, so that what it registered is still its own after it has
//! logged in anew. There is one target port, so ALL_TG_PT changes nothing.

mod access;
mod report;
#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::cdb::Cdb;
use crate::sense::Sense;

use access::Access;

/// Registrations that one logical unit keeps.
pub const REGISTRATIONS_MAX: usize = 128;

/// An iSCSI initiator port, by its name: `iqn.2000-01.com.example:node1,i,0x800000000001`
/// (RFC 7143 section 4.2.7.1; SPC-4 section 7.6.4.6).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InitiatorPort(pub String);

/// The types of persistent reservations (SPC-4 table 131).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Others may read.
    WriteExclusive = 1,
    /// Others may do nothing.
    ExclusiveAccess = 3,
    /// Those that are not registered may read.
    WriteExclusiveRegistrantsOnly = 5,
    /// Those that are not registered may do nothing.
    ExclusiveAccessRegistrantsOnly = 6,
    /// As [`Self::WriteExclusiveRegistrantsOnly`], and all registrants hold it.
    WriteExclusiveAllRegistrants = 7,
    /// As [`Self::ExclusiveAccessRegistrantsOnly`], and all registrants hold it.
    ExclusiveAccessAllRegistrants = 8,
}

impl Kind {
    /// By the number in a command.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::WriteExclusive,
            3 => Self::ExclusiveAccess,
            5 => Self::WriteExclusiveRegistrantsOnly,
            6 => Self::ExclusiveAccessRegistrantsOnly,
            7 => Self::WriteExclusiveAllRegistrants,
            8 => Self::ExclusiveAccessAllRegistrants,
            _ => return None,
        })
    }

    const fn is_for_readers(self) -> bool {
        matches!(
            self,
            Self::WriteExclusive
                | Self::WriteExclusiveRegistrantsOnly
                | Self::WriteExclusiveAllRegistrants
        )
    }

    const fn is_all_registrants(self) -> bool {
        matches!(
            self,
            Self::WriteExclusiveAllRegistrants | Self::ExclusiveAccessAllRegistrants
        )
    }

    const fn is_for_registrants(self) -> bool {
        !matches!(self, Self::WriteExclusive | Self::ExclusiveAccess)
    }
}

/// What outlives a restart of the target (APTPL, SPC-4 section 5.13.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Who is registered, with which key.
    pub registrations: Vec<(InitiatorPort, u64)>,
    /// The reservation and its holder.
    pub reservation: Option<(Kind, InitiatorPort)>,
}

/// The reservations of one logical unit.
#[derive(Clone, Debug, Default)]
pub struct Reservations {
    generation: u32,
    registrations: BTreeMap<InitiatorPort, u64>,
    /// Of an all registrants type any registrant is the holder; then the port is that of who asked.
    reservation: Option<(Kind, InitiatorPort)>,
    /// Kept over a loss of power.
    is_kept: bool,
    /// Who holds the reservation of RESERVE (6).
    legacy: Option<InitiatorPort>,
}

/// Why a command was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Conflict,
    Check(Sense),
}

impl From<Sense> for Refusal {
    fn from(sense: Sense) -> Self {
        Self::Check(sense)
    }
}

/// What others have to be told, and what is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) attentions: Vec<(InitiatorPort, Sense)>,
    /// Whose commands are to be aborted.
    pub(crate) aborts: Vec<InitiatorPort>,
}

/// The parameter list of PERSISTENT RESERVE OUT (SPC-4 table 224).
#[derive(Clone, Copy)]
struct Parameters {
    key: u64,
    new_key: u64,
    is_kept: bool,
}

/// The length of the parameter list.
const PARAMETERS_LENGTH: usize = 24;

impl Reservations {
    /// What was kept when the target ended.
    #[must_use]
    pub fn restore(snapshot: Snapshot) -> Self {
        Self {
            is_kept: true,
            registrations: snapshot.registrations.into_iter().collect(),
            reservation: snapshot.reservation,
            ..Self::default()
        }
    }

    /// What is to be kept; empty where nobody asked for it.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        if !self.is_kept {
            return Snapshot::default();
        }
        let registrations = self.registrations.iter();
        Snapshot {
            registrations: registrations
                .map(|(port, key)| (port.clone(), *key))
                .collect(),
            reservation: self.reservation.clone(),
        }
    }

    /// Whether nothing is reserved, so that no command can be in conflict.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.legacy.is_none() && self.reservation.is_none()
    }

    /// Whether the reservation of another stands in the way of `cdb` (SPC-4 tables 66 and 67,
    /// SBC-3 table 12). PERSISTENT RESERVE OUT and RESERVE decide for themselves.
    #[must_use]
    pub fn conflicts(&self, port: &InitiatorPort, cdb: &Cdb) -> bool {
        if let Some(holder) = &self.legacy {
            return holder != port && !access::is_free_of_reserve(cdb);
        }
        let Some((kind, _)) = &self.reservation else {
            return false;
        };
        let is_free = self.is_holder(port)
            || (kind.is_for_registrants() && self.registrations.contains_key(port));
        match access::of(cdb) {
            Access::Free => false,
            Access::Read => !is_free && !kind.is_for_readers(),
            Access::Write => !is_free,
        }
    }

    /// RESERVE (6).
    pub(crate) fn reserve(&mut self, port: &InitiatorPort) -> Result<(), Refusal> {
        if self.is_reserve_moot(port)? {
            return Ok(());
        }
        self.legacy = Some(port.clone());
        Ok(())
    }

    /// RELEASE (6). That of another is left alone, which is no error.
    pub(crate) fn release(&mut self, port: &InitiatorPort) -> Result<(), Refusal> {
        if !self.is_reserve_moot(port)? && self.legacy.as_ref() == Some(port) {
            self.legacy = None;
        }
        Ok(())
    }

    /// The two worlds exclude each other, but who may use the unit by a persistent reservation
    /// need not fail to reserve it (CRH, SPC-4 section 5.13.3).
    fn is_reserve_moot(&self, port: &InitiatorPort) -> Result<bool, Refusal> {
        if self.registrations.is_empty() {
            return Ok(false);
        }
        let kind = self.reservation.as_ref().map(|(kind, _)| *kind);
        let is_free = self.is_holder(port)
            || (kind.is_some_and(Kind::is_for_registrants)
                && self.registrations.contains_key(port));
        if is_free {
            Ok(true)
        } else {
            Err(Refusal::Conflict)
        }
    }

    /// Ends what does not outlive a session or a reset: the reservation of RESERVE (6), of `port`
    /// or of whomever.
    pub(crate) fn lose(&mut self, port: Option<&InitiatorPort>) {
        if port.is_none() || self.legacy.as_ref() == port {
            self.legacy = None;
        }
    }

    /// PERSISTENT RESERVE OUT (SPC-4 section 6.16).
    pub(crate) fn change(
        &mut self,
        port: &InitiatorPort,
        cdb: &Cdb,
        data: &[u8],
    ) -> Result<Outcome, Refusal> {
        let &Cdb::PersistentReserveOut {
            service_action,
            scope,
            kind,
            ..
        } = cdb
        else {
            return Err(Sense::INVALID_OPCODE.into());
        };
        if self.legacy.is_some() {
            return Err(Refusal::Conflict);
        }
        let parameters = Parameters::parse(data)?;
        let kind = || match scope {
            0 => Kind::from_number(kind).ok_or(Sense::INVALID_FIELD_IN_CDB),
            _ => Err(Sense::INVALID_FIELD_IN_CDB),
        };
        match service_action {
            action::REGISTER | action::REGISTER_AND_IGNORE_EXISTING_KEY => {
                return self.register(port, parameters, service_action == action::REGISTER);
            }
            action::RESERVE..=action::PREEMPT_AND_ABORT => {}
            _ => return Err(Sense::INVALID_FIELD_IN_CDB.into()),
        }
        // All others are for registrants, who prove it by their key.
        if self.registrations.get(port) != Some(&parameters.key) {
            return Err(Refusal::Conflict);
        }
        match service_action {
            action::RESERVE => self.reserve_persistently(port, kind()?),
            action::RELEASE => self.release_persistently(port, kind()?),
            action::CLEAR => Ok(self.clear(port)),
            _ => {
                let mut outcome = self.preempt(port, kind()?, parameters.new_key)?;
                if service_action != action::PREEMPT_AND_ABORT {
                    outcome.aborts.clear();
                }
                Ok(outcome)
            }
        }
    }

    /// SPC-4 section 5.13.7.
    fn register(
        &mut self,
        port: &InitiatorPort,
        parameters: Parameters,
        checks_key: bool,
    ) -> Result<Outcome, Refusal> {
        let registered = self.registrations.get(port).copied();
        if checks_key && parameters.key != registered.unwrap_or(0) {
            return Err(Refusal::Conflict);
        }
        let mut outcome = Outcome::default();
        match (registered, parameters.new_key) {
            (None, 0) => return Ok(outcome),
            (Some(_), 0) => outcome = self.unregister(port),
            (None, _) if self.registrations.len() >= REGISTRATIONS_MAX => {
                return Err(Sense::INSUFFICIENT_REGISTRATION_RESOURCES.into());
            }
            (_, key) => {
                self.registrations.insert(port.clone(), key);
            }
        }
        self.is_kept = parameters.is_kept;
        self.count();
        Ok(outcome)
    }

    /// SPC-4 section 5.13.11.3: the reservation goes with its last holder.
    fn unregister(&mut self, port: &InitiatorPort) -> Outcome {
        let held = self.is_holder(port);
        self.registrations.remove(port);
        let mut outcome = Outcome::default();
        let Some((kind, _)) = self.reservation.clone().filter(|_| held) else {
            return outcome;
        };
        if kind.is_all_registrants() && !self.registrations.is_empty() {
            return outcome;
        }
        self.reservation = None;
        if kind.is_for_registrants() {
            outcome.attentions = self.others(port, Sense::RESERVATIONS_RELEASED);
        }
        outcome
    }

    /// SPC-4 section 5.13.9.
    fn reserve_persistently(
        &mut self,
        port: &InitiatorPort,
        kind: Kind,
    ) -> Result<Outcome, Refusal> {
        match &self.reservation {
            None => self.reservation = Some((kind, port.clone())),
            Some((held, _)) if *held == kind && self.is_holder(port) => {}
            Some(_) => return Err(Refusal::Conflict),
        }
        Ok(Outcome::default())
    }

    /// SPC-4 section 5.13.11.2.
    fn release_persistently(
        &mut self,
        port: &InitiatorPort,
        kind: Kind,
    ) -> Result<Outcome, Refusal> {
        let mut outcome = Outcome::default();
        match &self.reservation {
            Some((held, _)) if self.is_holder(port) => {
                if *held != kind {
                    return Err(Sense::INVALID_RELEASE.into());
                }
                self.reservation = None;
                if kind.is_for_registrants() {
                    outcome.attentions = self.others(port, Sense::RESERVATIONS_RELEASED);
                }
            }
            _ => {}
        }
        Ok(outcome)
    }

    /// SPC-4 section 5.13.11.6.
    fn clear(&mut self, port: &InitiatorPort) -> Outcome {
        let attentions = self.others(port, Sense::RESERVATIONS_PREEMPTED);
        self.registrations.clear();
        self.reservation = None;
        self.count();
        Outcome {
            attentions,
            ..Outcome::default()
        }
    }

    /// SPC-4 sections 5.13.11.4 and 5.13.11.5. Whose registration is taken is in `aborts`.
    fn preempt(&mut self, port: &InitiatorPort, kind: Kind, key: u64) -> Result<Outcome, Refusal> {
        let held = self.reservation.clone();
        let is_all = held
            .as_ref()
            .is_some_and(|(kind, _)| kind.is_all_registrants());
        let holder_key = held
            .as_ref()
            .and_then(|(_, holder)| self.registrations.get(holder));
        let takes_reservation = match &held {
            Some(_) if is_all => key == 0,
            Some(_) => holder_key == Some(&key),
            None => false,
        };
        if key == 0 && !is_all {
            return Err(Sense::INVALID_FIELD_IN_PARAMETER_LIST.into());
        }
        let hits = |(of, theirs): &(&InitiatorPort, &u64)| {
            (is_all && key == 0 && *of != port) || **theirs == key
        };
        let hit: Vec<InitiatorPort> = self
            .registrations
            .iter()
            .filter(hits)
            .map(|(of, _)| of.clone())
            .collect();
        if hit.is_empty() && !takes_reservation {
            return Err(Refusal::Conflict);
        }
        // Preempting one's own key takes the reservation anew, and keeps the registration where
        // it is the reservation that was meant.
        let removed: Vec<_> = hit
            .into_iter()
            .filter(|of| !(of == port && takes_reservation))
            .collect();
        let mut outcome = Outcome::default();
        for of in &removed {
            self.registrations.remove(of);
            if of != port {
                outcome
                    .attentions
                    .push((of.clone(), Sense::REGISTRATIONS_PREEMPTED));
            }
        }
        if takes_reservation {
            self.reservation = Some((kind, port.clone()));
            if let Some((before, _)) = held
                && before != kind
                && before.is_for_registrants()
            {
                outcome
                    .attentions
                    .extend(self.others(port, Sense::RESERVATIONS_RELEASED));
            }
        } else if is_all && self.registrations.is_empty() {
            self.reservation = None;
        }
        outcome.aborts = removed;
        self.count();
        Ok(outcome)
    }

    fn is_holder(&self, port: &InitiatorPort) -> bool {
        self.reservation.as_ref().is_some_and(|(kind, holder)| {
            holder == port || (kind.is_all_registrants() && self.registrations.contains_key(port))
        })
    }

    /// The same for all registrants but `port`.
    fn others(&self, port: &InitiatorPort, sense: Sense) -> Vec<(InitiatorPort, Sense)> {
        let others = self.registrations.keys().filter(|of| *of != port);
        others.map(|of| (of.clone(), sense)).collect()
    }

    fn count(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }
}

impl Parameters {
    fn parse(data: &[u8]) -> Result<Self, Sense> {
        use crate::bytes::u64_at;
        let short = Sense::PARAMETER_LIST_LENGTH_ERROR;
        if data.len() != PARAMETERS_LENGTH {
            return Err(short);
        }
        let flags = *data.get(20).ok_or(short)?;
        // SPEC_I_PT: registering others is not offered (SIP_C is zero).
        if flags & 0x08 != 0 {
            return Err(Sense::INVALID_FIELD_IN_PARAMETER_LIST);
        }
        Ok(Self {
            key: u64_at(data, 0).ok_or(short)?,
            new_key: u64_at(data, 8).ok_or(short)?,
            is_kept: flags & 0x01 != 0,
        })
    }
}

/// Service actions of PERSISTENT RESERVE OUT (SPC-4 table 223).
mod action {
    pub(super) const REGISTER: u8 = 0;
    pub(super) const RESERVE: u8 = 1;
    pub(super) const RELEASE: u8 = 2;
    pub(super) const CLEAR: u8 = 3;
    pub(super) const PREEMPT_AND_ABORT: u8 = 5;
    pub(super) const REGISTER_AND_IGNORE_EXISTING_KEY: u8 = 6;
}
