//! config: the settings on the screen, to look at and to change.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use bowline_script::syntax::Matches;

use super::{Action, action};
use crate::console::browser::{Browser, Deed, Line};
use crate::console::form::{Field, Form};
use crate::console::full_screen;
use crate::failure::{Code, Failure};
use crate::machine::Machine;

pub(super) const ACTIONS: &[Action] = &[action!("config", browse)];

async fn browse(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let mut scope = String::from(arguments.argument(0).unwrap_or_default());
    if !scope.is_empty() && !exists(machine, &scope) {
        let message = format!("there is no scope `{scope}`");
        return Err(Failure::new(Code::SettingName, message));
    }
    let mut selected = 0;
    let mut message = None;
    loop {
        let lines = lines(machine, &scope);
        let mut browser = Browser::new(&scope, &lines, selected, message.take());
        // Leaving is how it ends: no failure.
        let Some((index, deed)) = full_screen::run(machine, &mut browser).await else {
            return Ok(());
        };
        selected = index;
        let line = lines.get(index);
        match (deed, line) {
            (Deed::Back, _) => {
                let above = scope.rsplit_once('.').map(|(above, _)| String::from(above));
                scope = above.unwrap_or_default();
                selected = 0;
            }
            (Deed::Enter, Some(Line::Scope(name))) => {
                scope.clone_from(name);
                selected = 0;
            }
            (Deed::Enter, Some(Line::Setting { name, value })) => {
                message = edit(machine, name, value).await;
            }
            (Deed::Clear, Some(Line::Setting { name, .. })) => {
                let cleared = machine.settings.borrow_mut().clear(name);
                message = cleared.err().map(|error| error.to_string());
            }
            _ => {}
        }
    }
}

/// Lets a person change a setting; what is wrong with the new value, if something is.
async fn edit(machine: &Machine, name: &str, value: &str) -> Option<String> {
    let mut form = Form::new(name, vec![Field::new("Value", value, false)]);
    let texts: Vec<String> = full_screen::run(machine, &mut form).await?;
    let text = texts.first().map(String::as_str).unwrap_or_default();
    let stored = machine.settings.borrow_mut().set(name, text);
    stored.err().map(|error| error.to_string())
}

/// The scopes inside a scope, then its settings.
fn lines(machine: &Machine, scope: &str) -> Vec<Line> {
    let settings = machine.settings.borrow();
    let scopes = settings.scopes(scope).into_iter().map(Line::Scope);
    let own = settings
        .list(scope)
        .into_iter()
        .map(|setting| Line::Setting {
            name: setting.full_name(),
            value: setting.text().unwrap_or_default(),
        });
    scopes.chain(own).collect()
}

fn exists(machine: &Machine, scope: &str) -> bool {
    let settings = machine.settings.borrow();
    let above = scope.rsplit_once('.').map_or("", |(above, _)| above);
    settings.scopes(above).iter().any(|found| found == scope)
}
