//! Commands that end the run: reboot, poweroff.

use alloc::format;

use bowline_script::syntax::Matches;

use super::{Action, action};
use crate::failure::{Code, Failure};
use crate::machine::Machine;
use crate::platform::ResetKind;

pub(super) const ACTIONS: &[Action] = &[action!("poweroff", power_off), action!("reboot", reboot)];

async fn reboot(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    for option in ["warm", "setup"] {
        if arguments.flag(option) {
            let message = format!("--{option} is not known here; `reboot` restarts the machine");
            return Err(Failure::new(Code::CommandUsage, message));
        }
    }
    end(machine, ResetKind::Reboot).await
}

async fn power_off(machine: &Machine, _: Matches) -> Result<(), Failure> {
    end(machine, ResetKind::PowerOff).await
}

/// Gives the disks back first: the target learns that the machine is gone.
async fn end(machine: &Machine, kind: ResetKind) -> Result<(), Failure> {
    machine.drives.clear(machine).await;
    machine.executor.quiesce();
    machine.platform.reset(kind);
    Err(Failure::new(
        Code::Firmware,
        "the firmware cannot do it (ResetSystem returned)",
    ))
}
