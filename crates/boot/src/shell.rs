//! The shell: reads a line, runs it, until `exit`.

use alloc::string::String;

use crate::console::editor::{Edit, Editor};
use crate::machine::Machine;
use crate::script::{self, Ending};

/// What stands before every line.
pub(crate) const PROMPT: &str = "bowline> ";

/// Reads and runs lines until `exit`; returns its status.
pub(crate) async fn run(machine: &Machine) -> i32 {
    loop {
        machine.keyboard.forget_interrupts();
        machine.platform.console().write(PROMPT);
        let history = machine.history.borrow().clone();
        let Some(line) = read_line(machine, Editor::new(&history)).await else {
            continue;
        };
        if line.trim().is_empty() {
            continue;
        }
        remember(machine, &line);
        match script::run_line(machine, &line).await {
            Ending::Exit(status) => return status,
            Ending::Replaced(image) => {
                if let Err(failure) = script::run_image(machine, &image).await {
                    machine.say(&failure);
                }
            }
            Ending::Done | Ending::Failed { .. } => {}
        }
    }
}

/// Lets a person edit a line; none when it was given up with Ctrl-C.
pub(crate) async fn read_line(machine: &Machine, mut editor: Editor<'_>) -> Option<String> {
    let console = machine.platform.console();
    console.write(&editor.text());
    loop {
        match editor.handle_key(machine.keyboard.read().await) {
            Edit::Continue(text) if text.is_empty() => {}
            Edit::Continue(text) => console.write(&text),
            Edit::Done => {
                console.write("\n");
                return Some(editor.text());
            }
            Edit::Cancelled => {
                console.write("^C\n");
                return None;
            }
        }
    }
}

fn remember(machine: &Machine, line: &str) {
    let mut history = machine.history.borrow_mut();
    if history.last().is_some_and(|last| last == line) {
        return;
    }
    if history.len() >= HISTORY_MAX {
        history.remove(0);
    }
    history.push(String::from(line));
}

/// Lines that the shell remembers.
const HISTORY_MAX: usize = 100;
