//! The script language: parsing, expansion, stepping, settings.

use std::rc::Rc;

use bowline_script::syntax;
use bowline_script::{
    Execution, ExecutionError, Script, SettingType, Settings, Step, expand, limits,
};

pub(super) const WORDS: &[&str] = &[
    "#!ipxe\n",
    "set ",
    "goto ",
    "isset ",
    "inc ",
    "exit ",
    "echo ",
    "${",
    "}",
    "${a:uristring}",
    "&& ",
    "|| ",
    "; ",
    ":label\n",
    "\\\n",
    "'",
    "\"",
    "net0/",
    ":hexhyp",
    ":ipv4",
    "175.190",
    "--timeout ",
    "#",
];
/// Commands carried out before a script is taken for endless.
const STEPS: usize = 500;

/// A failure of a command.
#[derive(Debug)]
struct Failed;

impl From<ExecutionError> for Failed {
    fn from(error: ExecutionError) -> Self {
        let _ = error.to_string();
        Self
    }
}

/// A whole script, run with commands that change settings and jump.
pub(super) fn script(data: &[u8]) {
    let script = match Script::parse(data) {
        Ok(script) => script,
        Err(error) => return drop(error.to_string()),
    };
    let labels = script.labels().count();
    assert!(labels <= data.len());
    let mut execution: Execution<Failed> = Execution::new(Rc::new(script));
    let mut settings = Settings::new();
    for _ in 0..STEPS {
        match execution.next(&settings) {
            Step::Finished(_) => {
                let again = execution.next(&settings);
                assert!(matches!(again, Step::Finished(Ok(()))), "{again:?}");
                return;
            }
            Step::Command(command) => {
                let length: usize = command.words.iter().map(String::len).sum();
                assert!(!command.words.is_empty() && length <= limits::COMMAND_BYTES);
                step(&mut execution, &mut settings, &command.words);
            }
        }
    }
}

fn step(execution: &mut Execution<Failed>, settings: &mut Settings, words: &[String]) {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["set", name, value @ ..] => settings.set(name, &value.join(" ")).map_err(|_| Failed),
        ["clear", name] => settings.clear(name).map_err(|_| Failed),
        ["inc", name] => settings.increment(name, 1).map_err(|_| Failed),
        ["isset", value] => (!value.is_empty()).then_some(()).ok_or(Failed),
        ["exit", status @ ..] => {
            return execution.exit(status.is_empty().then_some(()).ok_or(Failed));
        }
        ["goto", label] => match execution.goto(label) {
            Ok(()) => return,
            Err(error) => Err(Failed::from(error)),
        },
        [name, arguments @ ..] => other(name, arguments),
        [] => Ok(()),
    };
    execution.complete(result);
}

/// Any other command: its options are read.
fn other(name: &str, arguments: &[&str]) -> Result<(), Failed> {
    let Some(spec) = syntax::table::find(name) else {
        drop(syntax::table::unknown(name).to_string());
        return Err(Failed);
    };
    let arguments: Vec<String> = arguments.iter().map(|it| String::from(*it)).collect();
    match spec.parse(&arguments) {
        Ok(_) => Ok(()),
        Err(error) => {
            drop(error.to_string());
            Err(Failed)
        }
    }
}

/// Lines `name=value` are settings; other lines are expanded. Every type reads what it writes.
pub(super) fn settings(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut settings = Settings::new();
    for line in text.lines().take(LINES) {
        let Some((name, value)) = line.split_once('=') else {
            drop(expand(line, &settings));
            continue;
        };
        if settings.set(name, value).is_ok() {
            drop(settings.text(name));
            let _ = settings.number(name);
            drop(settings.ipv4_list(name));
        }
        for kind in KINDS.iter().filter_map(|name| SettingType::from_name(name)) {
            if let Ok(bytes) = kind.parse(value)
                && let Ok(shown) = kind.format(&bytes)
            {
                // A text ends at a zero byte: what is shown is what comes back.
                let again = kind.parse(&shown).and_then(|bytes| kind.format(&bytes));
                assert_eq!(again.as_ref(), Ok(&shown), "{} {value:?}", kind.name());
            }
        }
    }
}

/// Lines that are looked at: each may take a thousand expansions.
const LINES: usize = 32;

const KINDS: [&str; 16] = [
    "string",
    "uristring",
    "ipv4",
    "ipv6",
    "int8",
    "int16",
    "int32",
    "uint8",
    "uint16",
    "uint32",
    "hex",
    "hexhyp",
    "hexraw",
    "base64",
    "uuid",
    "guid",
];
