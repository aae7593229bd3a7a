//! The shell: reads a line, runs it, until `exit`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bowline_script::settings;

use crate::console::complete::{Names, complete};
use crate::console::editor::{Edit, Editor};
use crate::machine::Machine;
use crate::platform::Key;
use crate::script::{self, Ending};

/// What stands before every line.
pub(crate) const PROMPT: &str = "bowline> ";

/// Reads and runs lines until `exit`; returns its status.
pub(crate) async fn run(machine: &Machine) -> i32 {
    loop {
        machine.keyboard.forget_interrupts();
        machine.platform.console().write(PROMPT);
        let history = machine.history.borrow().clone();
        let Some(line) = read_command(machine, Editor::new(&history)).await else {
            continue;
        };
        if line.trim().is_empty() {
            continue;
        }
        remember(machine, &line);
        let was_at_prompt = machine.at_prompt.replace(true);
        let ending = script::run_line(machine, &line).await;
        machine.at_prompt.set(was_at_prompt);
        match ending {
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

/// As [`read_line`], with Tab completing words.
async fn read_command(machine: &Machine, mut editor: Editor<'_>) -> Option<String> {
    let console = machine.platform.console();
    loop {
        let key = machine.keyboard.read().await;
        if key == Key::Char('\t') {
            let completion = complete(&editor.before_cursor(), &Known(machine));
            if !completion.choices.is_empty() {
                console.write("\n");
                let (columns, _) = console.size();
                machine.say(in_columns(&completion.choices, columns.into()));
                console.write(PROMPT);
                console.write(&editor.redraw());
            }
            console.write(&editor.insert(&completion.insert));
            continue;
        }
        if let Some(end) = edit(machine, &mut editor, key) {
            return end;
        }
    }
}

/// The names that can be completed.
struct Known<'m>(&'m Machine);

impl Names for Known<'_> {
    fn settings(&self) -> Vec<String> {
        let settings = self.0.settings.borrow();
        let mut names: Vec<String> = settings::PREDEFINED
            .iter()
            .map(|known| String::from(known.name))
            .collect();
        let mut scopes = Vec::from([String::new()]);
        while let Some(scope) = scopes.pop() {
            scopes.extend(settings.scopes(&scope));
            let inside = settings
                .list(&scope)
                .into_iter()
                .map(|setting| match &*scope {
                    "" => setting.name,
                    scope => format!("{scope}/{}", setting.name),
                });
            names.extend(inside);
        }
        names
    }

    fn images(&self) -> Vec<String> {
        let images = self.0.images.borrow();
        images.iter().map(|image| image.name.clone()).collect()
    }

    fn interfaces(&self) -> Vec<String> {
        let interfaces = self.0.network.interfaces();
        interfaces
            .iter()
            .map(|interface| String::from(interface.name()))
            .collect()
    }
}

/// Words in columns, as many as the console has room for.
fn in_columns(words: &[String], width: usize) -> String {
    let widest = words
        .iter()
        .map(|word| word.chars().count())
        .max()
        .unwrap_or(0)
        + 2;
    let columns = (width.saturating_sub(1) / widest).max(1);
    let lines = words.chunks(columns).map(|row| {
        let padded: String = row.iter().map(|word| format!("{word:widest$}")).collect();
        String::from(padded.trim_end())
    });
    lines.collect::<Vec<String>>().join("\n")
}

/// Lets a person edit a line; none when it was given up with Ctrl-C.
pub(crate) async fn read_line(machine: &Machine, mut editor: Editor<'_>) -> Option<String> {
    let console = machine.platform.console();
    console.write(&editor.text());
    loop {
        let key = machine.keyboard.read().await;
        if let Some(end) = edit(machine, &mut editor, key) {
            return end;
        }
    }
}

/// Gives a key to the editor; the line, or none for one that was given up, where that ends it.
fn edit(machine: &Machine, editor: &mut Editor<'_>, key: Key) -> Option<Option<String>> {
    let console = machine.platform.console();
    match editor.handle_key(key) {
        Edit::Continue(text) if text.is_empty() => None,
        Edit::Continue(text) => {
            console.write(&text);
            None
        }
        Edit::Done => {
            console.write("\n");
            Some(Some(editor.text()))
        }
        Edit::Cancelled => {
            console.write("^C\n");
            Some(None)
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
