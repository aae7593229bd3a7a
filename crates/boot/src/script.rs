//! Runs scripts and single lines: steps through them and carries out their commands.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use core::future::Future;
use core::pin::Pin;

use bowline_script::{Execution, ExecutionError, ParseError, Script, Step, Uri};

use crate::commands::{self, Flow};
use crate::failure::{Code, Failure};
use crate::machine::Machine;

/// How a script came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// There were no more lines.
    Done,
    /// `exit`, with its status.
    Exit(i32),
    /// A line failed.
    Failed {
        /// The line's number.
        line: usize,
        /// What its last command failed with.
        failure: Failure,
    },
    /// `chain --replace`: this image runs in place of the script.
    Replaced(String),
}

impl From<ExecutionError> for Failure {
    fn from(error: ExecutionError) -> Self {
        let code = match &error {
            ExecutionError::NoLabel { .. } | ExecutionError::NoScript => Code::ScriptLabel,
            _ => Code::ScriptText,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ParseError> for Failure {
    fn from(error: ParseError) -> Self {
        Self::new(Code::ScriptText, error.to_string())
    }
}

/// Runs a script; `uri` is where it came from.
pub(crate) async fn run_script(
    machine: &Machine,
    name: &str,
    text: &[u8],
    uri: Option<Uri>,
) -> Result<Ending, Failure> {
    let depth = Depth::enter(machine)?;
    let script = Script::parse(text).map_err(|error| Failure::from(error).within(name))?;
    let working_uri = machine.work_from(uri);
    let was_at_prompt = machine.at_prompt.replace(false);
    let ending = execute(machine, script).await;
    machine.at_prompt.set(was_at_prompt);
    drop((working_uri, depth));
    Ok(ending)
}

/// Runs an image: a script by stepping through it, a program through the firmware.
pub(crate) async fn run_image(machine: &Machine, name: &str) -> Result<(), Failure> {
    match follow(machine, String::from(name)).await? {
        (_, Ending::Done | Ending::Exit(0) | Ending::Replaced(_)) => Ok(()),
        (name, Ending::Exit(status)) => {
            let message = format!("{name} ended with status {status}");
            Err(Failure::new(Code::ScriptExit, message))
        }
        (name, Ending::Failed { line, failure }) => {
            Err(failure.within(format!("{name}: line {line}")))
        }
    }
}

/// Runs an image and those that take its place, one after the other: the last one's name and
/// ending. A program that comes back without complaint is done.
pub(crate) fn follow(machine: &Machine, name: String) -> Following<'_> {
    // Boxed: a script may run images that are scripts.
    Box::pin(async move {
        let mut name = name;
        loop {
            match commands::images::start(machine, &name).await? {
                None => return Ok((name, Ending::Done)),
                Some(Ending::Replaced(next)) => name = next,
                Some(ending) => return Ok((name, ending)),
            }
        }
    })
}

type Following<'m> = Pin<Box<dyn Future<Output = Result<(String, Ending), Failure>> + 'm>>;

/// Runs a line typed at the prompt.
pub(crate) async fn run_line(machine: &Machine, text: &str) -> Ending {
    match Script::command_line(text) {
        Ok(script) => execute(machine, script).await,
        Err(error) => {
            machine.say(&error);
            Ending::Failed {
                line: 1,
                failure: error.into(),
            }
        }
    }
}

async fn execute(machine: &Machine, script: Script) -> Ending {
    let mut execution: Execution<Failure> = Execution::new(Rc::new(script));
    loop {
        if machine.keyboard.script_abandoned() {
            let failure = Failure::new(Code::Cancelled, "script ended by Ctrl-C");
            return Ending::Failed {
                line: execution.line(),
                failure,
            };
        }
        let step = execution.next(&machine.settings.borrow());
        let command = match step {
            Step::Command(command) => command,
            Step::Finished(Ok(())) => return Ending::Done,
            Step::Finished(Err(failed)) => {
                return Ending::Failed {
                    line: failed.line,
                    failure: failed.error,
                };
            }
        };
        let result = match commands::run(machine, &command).await {
            Ok(Flow::Next) => Ok(()),
            Ok(Flow::Exit(status)) => return Ending::Exit(status),
            Ok(Flow::Replace(name)) => return Ending::Replaced(name),
            Ok(Flow::Goto(label)) => match execution.goto(&label) {
                Ok(()) => continue,
                Err(error) => Err(commands::report(machine, command.name(), error.into())),
            },
            Err(failure) => Err(failure),
        };
        if let Err(failure) = &result {
            machine.note_failure(failure);
        }
        execution.complete(result);
    }
}

/// Counts scripts within scripts, however they end.
struct Depth<'m>(&'m Machine);

impl<'m> Depth<'m> {
    fn enter(machine: &'m Machine) -> Result<Self, Failure> {
        let depth = machine.script_depth.get() + 1;
        if depth > DEPTH_MAX {
            let message = format!("more than {DEPTH_MAX} scripts chain each other");
            return Err(Failure::new(Code::ScriptDepth, message));
        }
        machine.script_depth.set(depth);
        Ok(Self(machine))
    }
}

impl Drop for Depth<'_> {
    fn drop(&mut self) {
        self.0.script_depth.set(self.0.script_depth.get() - 1);
    }
}

/// Scripts within scripts.
const DEPTH_MAX: usize = 16;
