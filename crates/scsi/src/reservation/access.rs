//! What a command does to the medium, as reservations look at it (SPC-4 table 66, SBC-3 table 12).

use crate::cdb::Cdb;

/// Which reservations of others stand in the way of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// None.
    Free,
    /// Those that exclude readers.
    Read,
    /// All.
    Write,
}

pub(super) const fn of(cdb: &Cdb) -> Access {
    match cdb {
        Cdb::TestUnitReady
        | Cdb::RequestSense { .. }
        | Cdb::Inquiry { .. }
        | Cdb::ReportLuns { .. }
        | Cdb::ReadCapacity10
        | Cdb::ReadCapacity16 { .. }
        | Cdb::ReportSupportedOperationCodes { .. }
        | Cdb::ReportSupportedTaskManagementFunctions { .. }
        | Cdb::ReportTargetPortGroups { .. }
        | Cdb::Reserve6
        | Cdb::Release6
        | Cdb::PersistentReserveIn { .. }
        | Cdb::PersistentReserveOut { .. }
        | Cdb::PreventAllowMediumRemoval { prevent: false }
        | Cdb::StartStopUnit {
            start: true,
            power_condition: 0,
            load_eject: false,
            ..
        } => Access::Free,
        Cdb::ModeSense { .. }
        | Cdb::Read(_)
        | Cdb::Verify(..)
        | Cdb::PreFetch(_)
        | Cdb::GetLbaStatus { .. }
        | Cdb::ReadDefectData { .. }
        | Cdb::ReceiveCopyResults { .. } => Access::Read,
        Cdb::ModeSelect { .. }
        | Cdb::StartStopUnit { .. }
        | Cdb::PreventAllowMediumRemoval { .. }
        | Cdb::Write(_)
        | Cdb::WriteAndVerify(..)
        | Cdb::CompareAndWrite(_)
        | Cdb::OrWrite(_)
        | Cdb::WriteSame { .. }
        | Cdb::Unmap { .. }
        | Cdb::SynchronizeCache { .. }
        | Cdb::ExtendedCopy { .. } => Access::Write,
    }
}

/// The few commands that RESERVE (6) of another does not stop (SPC-2 table 10).
pub(super) const fn is_free_of_reserve(cdb: &Cdb) -> bool {
    matches!(
        cdb,
        Cdb::Inquiry { .. }
            | Cdb::ReportLuns { .. }
            | Cdb::RequestSense { .. }
            | Cdb::Release6
            | Cdb::PreventAllowMediumRemoval { prevent: false }
    )
}
