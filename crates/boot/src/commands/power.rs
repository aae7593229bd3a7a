//! Commands that end the run: reboot, poweroff.

use bowline_script::syntax::Matches;

use super::{Action, action};
use crate::failure::{Code, Failure};
use crate::machine::Machine;
use crate::platform::ResetKind;

pub(super) const ACTIONS: &[Action] =
    &[action!("poweroff", power_off), action!("reboot", reboot)];

async fn reboot(machine: &Machine, _: Matches) -> Result<(), Failure> {
    end(machine, ResetKind::Reboot)
}

async fn power_off(machine: &Machine, _: Matches) -> Result<(), Failure> {
    end(machine, ResetKind::PowerOff)
}

/// Gives the disks back first: the target learns that the machine is gone.
fn end(machine: &Machine, kind: ResetKind) -> Result<(), Failure> {
    machine.drives.clear();
    machine.executor.quiesce();
    machine.platform.reset(kind);
    Err(Failure::new(Code::Firmware, "the firmware cannot do it (ResetSystem returned)"))
}
