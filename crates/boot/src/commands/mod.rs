//! The commands: what each does, bound by name to its syntax in `bowline_script::syntax::table`.
//!
//! A test shows that the table and the actions are the same commands.

mod autoboot;
mod config;
#[cfg(test)]
mod decrypt_tests;
mod digests;
mod flow;
pub(crate) mod images;
mod net;
#[cfg(test)]
mod network_tests;
mod ntp;
mod parameters;
mod ping;
mod power;
mod pxe_menu;
mod pxebs;
mod san;
mod settings;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod tests;
mod trust;
#[cfg(test)]
mod trust_tests;
mod ui;
mod vlan;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use core::future::Future;
use core::pin::Pin;

use bowline_script::Command;
use bowline_script::syntax::{CommandSpec, Matches, Parsed, table};

use crate::failure::{Code, Failure};
use crate::machine::Machine;

/// What comes after a command that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The next command.
    Next,
    /// The end of the script or of the shell, with a status.
    Exit(i32),
    /// The line of this label.
    Goto(String),
    /// This image in place of the script.
    Replace(String),
}

/// What a command does.
struct Action {
    /// The name its syntax has.
    name: &'static str,
    run: for<'m> fn(&'m Machine, Matches) -> Running<'m>,
}

type Running<'m> = Pin<Box<dyn Future<Output = Result<Flow, Failure>> + 'm>>;

/// An action of an `async fn(&Machine, Matches) -> Result<(), Failure>`.
macro_rules! action {
    ($name:literal, $function:path) => {
        $crate::commands::Action {
            name: $name,
            run: |machine, arguments| {
                ::alloc::boxed::Box::pin(async move {
                    $function(machine, arguments).await?;
                    Ok($crate::commands::Flow::Next)
                })
            },
        }
    };
}
use action;

const FAMILIES: &[&[Action]] = &[
    flow::ACTIONS,
    autoboot::ACTIONS,
    config::ACTIONS,
    digests::ACTIONS,
    images::ACTIONS,
    net::ACTIONS,
    ntp::ACTIONS,
    parameters::ACTIONS,
    ping::ACTIONS,
    power::ACTIONS,
    pxebs::ACTIONS,
    san::ACTIONS,
    settings::ACTIONS,
    trust::ACTIONS,
    ui::ACTIONS,
    vlan::ACTIONS,
];

/// Carries a command out. A failure has been printed when this returns.
pub(crate) async fn run(machine: &Machine, command: &Command) -> Result<Flow, Failure> {
    let name = command.name();
    let Some((spec, action)) = find(name) else {
        let message = table::unknown(name).to_string();
        machine.say(format!("{message} [{}]", Code::CommandUnknown));
        return Err(Failure::new(Code::CommandUnknown, message).shown());
    };
    let matches = match spec.parse(command.arguments()) {
        Ok(Parsed::Run(matches)) => matches,
        Ok(Parsed::Help) => {
            machine.say(spec.help());
            return Ok(Flow::Next);
        }
        Err(error) => {
            let failure = Failure::new(Code::CommandUsage, error.to_string());
            return Err(report(machine, name, failure));
        }
    };
    machine.left_shell.set(None);
    machine.apply_network_settings();
    let result = machine
        .keyboard
        .interruptible((action.run)(machine, matches))
        .await;
    result
        .unwrap_or_else(|_| Err(Failure::cancelled()))
        .map_err(|failure| report(machine, name, failure))
}

/// Prints a failure under the name of its command, unless the console has it already.
pub(crate) fn report(machine: &Machine, name: &str, failure: Failure) -> Failure {
    if !failure.is_shown() {
        machine.say(format!("{name}: {failure}"));
    }
    failure
}

/// Boots what the DHCP server names, as the command of that name does.
pub(crate) async fn autoboot(machine: &Machine) -> Result<(), Failure> {
    autoboot::boot(machine, machine.network.all()?).await
}

/// A command by name or synonym.
fn find(name: &str) -> Option<(&'static CommandSpec, &'static Action)> {
    let spec = table::find(name)?;
    let action = FAMILIES
        .iter()
        .copied()
        .flatten()
        .find(|action| action.name == spec.name)?;
    Some((spec, action))
}
