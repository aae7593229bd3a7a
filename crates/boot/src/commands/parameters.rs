//! Request parameters: params, param.

use bowline_script::syntax::Matches;

use super::{Action, action};
use crate::failure::Failure;
use crate::machine::Machine;

pub(super) const ACTIONS: &[Action] = &[action!("param", add), action!("params", begin)];

async fn begin(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let mut lists = machine.parameters.borrow_mut();
    let name = arguments.text("name");
    if arguments.flag("delete") {
        lists.remove(name);
        return Ok(());
    }
    lists.begin(name, arguments.text("method"))
}

async fn add(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let key = arguments.argument(0).unwrap_or_default();
    let is_header = arguments.flag("header");
    let mut lists = machine.parameters.borrow_mut();
    lists.add(
        arguments.text("params"),
        is_header,
        key,
        arguments.joined(1),
    )
}
