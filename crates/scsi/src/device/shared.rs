//! What initiators share of a logical unit, and what each of them has to be told.

#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use super::{Action, LogicalUnit, Nexus, execute, respond};
use crate::cdb::Cdb;
use crate::copy::{self, Copy};
use crate::lun::Lun;
use crate::mode;
use crate::reservation::{InitiatorPort, Outcome, Refusal, Reservations, Snapshot};
use crate::sense::Sense;
use crate::status::Status;

/// Copies of which an initiator may ask the outcome.
const COPIES_MAX: usize = 8;

/// Names an initiator's session with the unit. Not used again before [`Device::detach`].
pub type NexusId = u32;

/// A logical unit and its initiators.
#[derive(Clone, Debug)]
pub struct Device {
    unit: LogicalUnit,
    reservations: Reservations,
    nexuses: BTreeMap<NexusId, Initiator>,
    changes: Changes,
}

/// A session.
#[derive(Clone, Debug, Default)]
struct Initiator {
    port: InitiatorPort,
    nexus: Nexus,
    /// PREVENT: the medium is to stay.
    prevents: bool,
    /// Copies that are over: list identifier, segments done, whether it was all.
    copies: VecDeque<(u8, u16, bool)>,
}

/// What a command has brought about besides its answer. To be seen to before it is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Sessions whose other commands on this unit are to be aborted.
    pub aborts: Vec<NexusId>,
    /// What is to be kept of the reservations from now on.
    pub reservations: Option<Snapshot>,
}

impl Device {
    /// A unit that nobody uses yet.
    #[must_use]
    pub fn new(unit: LogicalUnit, reservations: Reservations) -> Self {
        Self {
            unit,
            reservations,
            nexuses: BTreeMap::new(),
            changes: Changes::default(),
        }
    }

    /// The unit as it is now.
    #[must_use]
    pub const fn unit(&self) -> &LogicalUnit {
        &self.unit
    }

    /// A session begins.
    pub fn attach(&mut self, id: NexusId, port: InitiatorPort) {
        let initiator = Initiator {
            port,
            ..Initiator::default()
        };
        self.nexuses.insert(id, initiator);
    }

    /// A session ends; what does not outlive it goes with it (SAM-5 section 6.3.4).
    pub fn detach(&mut self, id: NexusId) {
        let Some(gone) = self.nexuses.remove(&id) else {
            return;
        };
        // A newer session of the same port may have taken its place.
        if !self.nexuses.values().any(|other| other.port == gone.port) {
            self.reservations.lose(Some(&gone.port));
        }
    }

    /// LOGICAL UNIT RESET, or that of the target (SAM-5 section 6.3.3).
    pub fn reset(&mut self) {
        self.reservations.lose(None);
        self.unit.write_cache = self.unit.write_cache_default;
        self.unit.software_write_protect = false;
        for initiator in self.nexuses.values_mut() {
            initiator.prevents = false;
            initiator.nexus.attention(Sense::DEVICE_RESET);
        }
    }

    /// Remembers a unit attention for every session but `from`.
    pub fn attention(&mut self, from: Option<NexusId>, sense: Sense) {
        for (id, initiator) in &mut self.nexuses {
            if Some(*id) != from {
                initiator.nexus.attention(sense);
            }
        }
    }

    /// Decides what becomes of a command of session `id`: [`execute`](super::execute), with what
    /// initiators share. No [`Action::Shared`] comes back.
    pub fn execute(&mut self, id: NexusId, luns: &[Lun], cdb: &[u8]) -> Action {
        let Some(initiator) = self.nexuses.get_mut(&id) else {
            return Action::Check(Sense::LOGICAL_UNIT_NOT_SUPPORTED);
        };
        // A conflict is told before a unit attention, which is kept (SAM-5 section 5.3.3).
        let conflicts = !self.reservations.is_idle()
            && Cdb::parse(cdb)
                .is_ok_and(|parsed| self.reservations.conflicts(&initiator.port, &parsed));
        if conflicts {
            return Action::Status(Status::RESERVATION_CONFLICT);
        }
        match execute(Some(&self.unit), luns, &mut initiator.nexus, cdb) {
            Action::Shared(cdb) => settle(self.share(id, cdb)),
            Action::Parameters { cdb, length: 0 } => self.parameters(id, &cdb, &[]),
            action => action,
        }
    }

    /// Decides what becomes of a command whose parameters have come: of
    /// [`Action::Parameters`]. No such action comes back.
    pub fn parameters(&mut self, id: NexusId, cdb: &Cdb, data: &[u8]) -> Action {
        let result = match cdb {
            Cdb::Unmap { .. } => self.unit.unmap(data).map_err(Refusal::Check),
            Cdb::ModeSelect { form, .. } => self.mode_select(id, *form, data),
            Cdb::PersistentReserveOut { .. } => self.persistent_reserve_out(id, cdb, data),
            Cdb::ExtendedCopy { .. } => match Copy::parse(data) {
                Ok(Some(copy)) => Ok(Action::Copy(copy)),
                Ok(None) => Ok(Action::Respond(Vec::new())),
                Err(sense) => Err(Refusal::Check(sense)),
            },
            _ => Err(Refusal::Check(Sense::INVALID_OPCODE)),
        };
        settle(result)
    }

    /// What the last command has brought about.
    pub fn take_changes(&mut self) -> Changes {
        core::mem::take(&mut self.changes)
    }

    /// Whether session `id` of another unit of the same target may read or write this one, as
    /// the reservations are: for a copy.
    #[must_use]
    pub fn allows(&self, id: NexusId, cdb: &Cdb) -> bool {
        self.nexuses
            .get(&id)
            .is_some_and(|initiator| !self.reservations.conflicts(&initiator.port, cdb))
    }

    /// Remembers how a copy ended.
    pub fn copied(&mut self, id: NexusId, copy: &Copy, segments: usize) {
        let Some(initiator) = self.nexuses.get_mut(&id).filter(|_| copy.is_remembered) else {
            return;
        };
        let list = copy.list_identifier;
        initiator.copies.retain(|(other, ..)| *other != list);
        let done = u16::try_from(segments).unwrap_or(u16::MAX);
        initiator
            .copies
            .push_back((list, done, segments == copy.segments.len()));
        if initiator.copies.len() > COPIES_MAX {
            initiator.copies.pop_front();
        }
    }

    fn share(&mut self, id: NexusId, cdb: Cdb) -> Result<Action, Refusal> {
        let Some(initiator) = self.nexuses.get_mut(&id) else {
            return Err(Sense::LOGICAL_UNIT_NOT_SUPPORTED.into());
        };
        let nothing = Action::Respond(Vec::new());
        match cdb {
            Cdb::Reserve6 => self.reservations.reserve(&initiator.port).map(|()| nothing),
            Cdb::Release6 => self.reservations.release(&initiator.port).map(|()| nothing),
            Cdb::PreventAllowMediumRemoval { prevent } => {
                initiator.prevents = prevent;
                Ok(nothing)
            }
            Cdb::StartStopUnit {
                immediate, start, ..
            } => self.load_or_eject(id, start, immediate),
            Cdb::PersistentReserveIn {
                service_action,
                allocation_length,
            } => {
                let data = self.reservations.report(service_action)?;
                Ok(respond(data, u32::from(allocation_length)))
            }
            Cdb::ReceiveCopyResults {
                service_action,
                list_identifier,
                allocation_length,
            } => {
                let data = initiator.copy_results(service_action, list_identifier)?;
                Ok(respond(data, allocation_length))
            }
            _ => Err(Sense::INVALID_OPCODE.into()),
        }
    }

    /// SBC-3 section 5.25: LOEJ.
    fn load_or_eject(
        &mut self,
        id: NexusId,
        load: bool,
        immediate: bool,
    ) -> Result<Action, Refusal> {
        if load == self.unit.loaded {
            return Ok(Action::Respond(Vec::new()));
        }
        if self.nexuses.values().any(|initiator| initiator.prevents) {
            return Err(Sense::MEDIUM_REMOVAL_PREVENTED.into());
        }
        self.unit.loaded = load;
        if load {
            self.attention(Some(id), Sense::MEDIUM_CHANGED);
            return Ok(Action::Respond(Vec::new()));
        }
        Ok(Action::Flush { immediate })
    }

    fn mode_select(
        &mut self,
        id: NexusId,
        form: crate::Form,
        data: &[u8],
    ) -> Result<Action, Refusal> {
        let before = self.unit.values();
        let after = mode::select(self.unit.medium(), before, form, data)?;
        if after == before {
            return Ok(Action::Respond(Vec::new()));
        }
        self.unit.write_cache = after.write_cache;
        self.unit.software_write_protect = after.software_write_protect;
        self.attention(Some(id), Sense::MODE_PARAMETERS_CHANGED);
        // What waits in a cache that is switched off has to go (SBC-3 section 6.5.6).
        Ok(Action::Flush { immediate: false })
    }

    fn persistent_reserve_out(
        &mut self,
        id: NexusId,
        cdb: &Cdb,
        data: &[u8],
    ) -> Result<Action, Refusal> {
        let Some(initiator) = self.nexuses.get(&id) else {
            return Err(Sense::LOGICAL_UNIT_NOT_SUPPORTED.into());
        };
        let before = self.reservations.snapshot();
        let outcome = self.reservations.change(&initiator.port, cdb, data)?;
        self.announce(id, &outcome);
        let after = self.reservations.snapshot();
        if after != before {
            self.changes.reservations = Some(after);
        }
        Ok(Action::Respond(Vec::new()))
    }

    fn announce(&mut self, from: NexusId, outcome: &Outcome) {
        for (id, initiator) in &mut self.nexuses {
            for (port, sense) in &outcome.attentions {
                if *port == initiator.port {
                    initiator.nexus.attention(*sense);
                }
            }
            if *id != from && outcome.aborts.contains(&initiator.port) {
                self.changes.aborts.push(*id);
            }
        }
    }
}

impl Initiator {
    /// SPC-4 section 6.19.
    fn copy_results(&mut self, service_action: u8, list: u8) -> Result<Vec<u8>, Sense> {
        const COPY_STATUS: u8 = 0;
        const OPERATING_PARAMETERS: u8 = 3;
        match service_action {
            COPY_STATUS => {
                let copy = self.copies.iter().find(|(other, ..)| *other == list);
                let (_, segments, is_complete) = copy.ok_or(Sense::INVALID_FIELD_IN_CDB)?;
                Ok(copy::status(*segments, *is_complete))
            }
            OPERATING_PARAMETERS => Ok(copy::operating_parameters()),
            _ => Err(Sense::INVALID_FIELD_IN_CDB),
        }
    }
}

fn settle(result: Result<Action, Refusal>) -> Action {
    match result {
        Ok(action) => action,
        Err(Refusal::Conflict) => Action::Status(Status::RESERVATION_CONFLICT),
        Err(Refusal::Check(sense)) => Action::Check(sense),
    }
}
