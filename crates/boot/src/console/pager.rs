//! Long texts, one screen after the other, where a person is at the prompt.

use crate::machine::Machine;
use crate::platform::Key;

/// Prints a text. At the prompt it stops when the screen is full: Space goes on with the next
/// screen, Enter with the next line, `q`, Esc and Ctrl-C end it.
pub(crate) async fn print(machine: &Machine, text: &str) {
    let console = machine.platform.console();
    let (columns, rows) = console.size();
    let columns = usize::from(columns).max(1);
    let page = usize::from(rows).saturating_sub(1).max(1);
    let mut room = page;
    for line in text.lines() {
        let needed = line.chars().count().div_ceil(columns).max(1);
        if machine.at_prompt.get() && needed > room {
            console.write(MORE);
            let key = machine.keyboard.read().await;
            console.write(MORE_GONE);
            match key {
                Key::Char('q' | 'Q' | '\x1b' | '\x03') => return,
                Key::Char('\r' | '\n') | Key::Down => room = needed,
                _ => room = page,
            }
        }
        room = room.saturating_sub(needed);
        machine.say(line);
    }
}

const MORE: &str = "--More--";

/// Takes [`MORE`] off the line.
const MORE_GONE: &str = "\r        \r";
