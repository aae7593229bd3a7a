//! Commands that end the run: reboot, poweroff.

use bowline_script::syntax::Matches;

use super::{Action, action};
use crate::failure::{Code, Failure};
use crate::machine::Machine;
use crate::platform::{Platform, ResetKind};

pub(super) const ACTIONS: &[Action] = &[action!("poweroff", power_off), action!("reboot", reboot)];

async fn reboot(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    if arguments.flag("setup") {
        machine.platform.enter_setup_at_next_start()?;
    }
    if arguments.flag("warm") {
        end(machine, |platform| platform.reset_warm()).await
    } else {
        end(machine, |platform| platform.reset(ResetKind::Reboot)).await
    }
}

async fn power_off(machine: &Machine, _: Matches) -> Result<(), Failure> {
    end(machine, |platform| platform.reset(ResetKind::PowerOff)).await
}

/// Gives the disks back first: the target learns that the machine is gone.
async fn end(machine: &Machine, reset: fn(&dyn Platform)) -> Result<(), Failure> {
    machine.drives.clear(machine).await;
    machine.executor.quiesce();
    reset(&*machine.platform);
    Err(Failure::new(
        Code::Firmware,
        "the firmware cannot do it (ResetSystem returned)",
    ))
}
