//! Commands on settings: set, clear, show, inc, isset, iseq, read.

use alloc::format;
use alloc::string::String;
use core::fmt;

use bowline_script::syntax::Matches;

use super::{Action, action};
use crate::console::editor::Editor;
use crate::failure::{Code, Failure};
use crate::machine::Machine;
use crate::shell;

pub(super) const ACTIONS: &[Action] = &[
    action!("clear", clear),
    action!("inc", increment),
    action!("iseq", is_equal),
    action!("isset", is_set),
    action!("read", read),
    action!("set", set),
    action!("show", show),
];

async fn set(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let name = first(&arguments);
    let value = arguments.joined(1);
    machine
        .settings
        .borrow_mut()
        .set(name, &value)
        .map_err(|error| wrong(name, error))
}

async fn clear(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let name = first(&arguments);
    machine
        .settings
        .borrow_mut()
        .clear(name)
        .map_err(|error| wrong(name, error))
        .map(drop)
}

async fn show(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let name = first(&arguments);
    let found = machine
        .settings
        .borrow()
        .fetch(name)
        .map_err(|error| wrong(name, error))?;
    let setting = found.ok_or_else(|| {
        let failure = Failure::new(Code::SettingUnset, format!("{name} has no value"));
        if arguments.flag("quiet") {
            failure.shown()
        } else {
            failure
        }
    })?;
    if !arguments.flag("quiet") {
        machine.say(&setting);
    }
    Ok(())
}

async fn increment(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let name = first(&arguments);
    let by = arguments.argument(1).unwrap_or("1");
    let by = bowline_script::parse_integer(by);
    let by = by.ok_or_else(|| {
        Failure::new(
            Code::CommandUsage,
            "the increment is a number, for example `inc i 2`",
        )
    })?;
    machine
        .settings
        .borrow_mut()
        .increment(name, by)
        .map_err(|error| wrong(name, error))
        .map(drop)
}

async fn is_set(_: &Machine, arguments: Matches) -> Result<(), Failure> {
    answer(arguments.argument(0).is_some_and(|value| !value.is_empty()))
}

async fn is_equal(_: &Machine, arguments: Matches) -> Result<(), Failure> {
    answer(arguments.argument(0) == arguments.argument(1))
}

async fn read(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let name = first(&arguments);
    let before = machine.settings.borrow().text(name).unwrap_or_default();
    machine.platform.console().write(&format!("{name}: "));
    let line = shell::read_line(machine, Editor::with_text(&before));
    let limit = arguments
        .duration("timeout")
        .filter(|limit| !limit.is_zero());
    let text: Option<String> = match limit {
        None => line.await,
        Some(limit) => {
            let until = machine.now().saturating_add(limit);
            match machine.executor.until(until, line).await {
                Some(text) => text,
                None => {
                    machine.platform.console().write("\n");
                    let message = "nothing was entered in time";
                    return Err(Failure::new(Code::PromptTimeout, message).shown());
                }
            }
        }
    };
    let text = text.ok_or_else(|| Failure::cancelled().shown())?;
    machine
        .settings
        .borrow_mut()
        .set(name, &text)
        .map_err(|error| wrong(name, error))
}

fn first(arguments: &Matches) -> &str {
    arguments.argument(0).unwrap_or_default()
}

/// The answer of a test: no failure that has to be printed.
fn answer(is_true: bool) -> Result<(), Failure> {
    if is_true {
        Ok(())
    } else {
        Err(Failure::new(Code::SettingUnset, "it is not so").shown())
    }
}

fn wrong(name: &str, error: impl fmt::Display) -> Failure {
    Failure::new(Code::SettingName, format!("{name}: {error}"))
}
