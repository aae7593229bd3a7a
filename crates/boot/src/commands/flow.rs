//! Commands that steer a script: echo, goto, exit, sleep, prompt, shell, help.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::time::Duration;

use bowline_script::syntax::{Matches, table};

use super::{Action, Flow, action, find};
use crate::console::pager;
use crate::failure::{Code, Failure};
use crate::machine::Machine;
use crate::platform::Key;
use crate::shell;

pub(super) const ACTIONS: &[Action] = &[
    action!("cpuid", has_cpu_feature),
    action!("echo", echo),
    Action {
        name: "exit",
        run: |_, arguments| Box::pin(async move { exit(&arguments) }),
    },
    Action {
        name: "goto",
        run: |_, arguments| Box::pin(async move { Ok(goto(&arguments)) }),
    },
    action!("help", help),
    action!("prompt", prompt),
    action!("shell", run_shell),
    action!("sleep", sleep),
    action!("sync", synchronize),
];

/// Succeeds if a bit of CPUID leaf 1, or 0x80000001, is set.
async fn has_cpu_feature(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let text = arguments.argument(0).unwrap_or_default();
    let bit = bowline_script::parse_integer(text).filter(|bit| (0..32).contains(bit));
    let bit = bit.ok_or_else(|| {
        let message = format!("`{text}` is not the number of a bit, 0 to 31");
        Failure::new(Code::CommandUsage, message)
    })?;
    let leaf = if arguments.flag("ext") {
        0x8000_0001
    } else {
        1
    };
    let Some([_, _, ecx, edx]) = machine.platform.cpuid(leaf, 0) else {
        let message = "this processor has no CPUID instruction";
        return Err(Failure::new(Code::SettingUnset, message).shown());
    };
    let register = if arguments.flag("ecx") { ecx } else { edx };
    if register >> bit & 1 == 1 {
        Ok(())
    } else {
        Err(Failure::new(Code::SettingUnset, "the processor does not have it").shown())
    }
}

/// Nothing goes on in the background that a script could wait for.
async fn synchronize(_: &Machine, _: Matches) -> Result<(), Failure> {
    Ok(())
}

async fn echo(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let end = if arguments.flag("n") { "" } else { "\n" };
    machine
        .platform
        .console()
        .write(&format!("{}{end}", arguments.joined(0)));
    Ok(())
}

fn exit(arguments: &Matches) -> Result<Flow, Failure> {
    let Some(status) = arguments.argument(0) else {
        return Ok(Flow::Exit(0));
    };
    let status = bowline_script::parse_integer(status).and_then(|status| status.try_into().ok());
    status.map(Flow::Exit).ok_or_else(|| {
        Failure::new(
            Code::CommandUsage,
            "the status is a number, for example `exit 1`",
        )
    })
}

fn goto(arguments: &Matches) -> Flow {
    Flow::Goto(String::from(arguments.argument(0).unwrap_or_default()))
}

async fn sleep(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let text = arguments.argument(0).unwrap_or_default();
    let seconds = bowline_script::parse_integer(text).and_then(|seconds| seconds.try_into().ok());
    let seconds = seconds.ok_or_else(|| {
        Failure::new(
            Code::CommandUsage,
            format!("`{text}` is not a number of seconds"),
        )
    })?;
    machine.executor.sleep(Duration::from_secs(seconds)).await;
    Ok(())
}

async fn prompt(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let console = machine.platform.console();
    console.write(&arguments.joined(0));
    let key = match arguments
        .duration("timeout")
        .filter(|timeout| !timeout.is_zero())
    {
        Some(timeout) => {
            let until = machine.now().saturating_add(timeout);
            machine.executor.until(until, machine.keyboard.read()).await
        }
        None => Some(machine.keyboard.read().await),
    };
    console.write("\n");
    let wanted = arguments.key("key");
    match key {
        None => Err(Failure::new(Code::PromptTimeout, "no key was pressed in time").shown()),
        Some(Key::Char('\x03')) if wanted != Some(3) => Err(Failure::cancelled().shown()),
        Some(key) if wanted.is_none_or(|wanted| is_key(key, wanted)) => Ok(()),
        Some(_) => Err(Failure::new(Code::Cancelled, "another key was pressed").shown()),
    }
}

fn is_key(key: Key, wanted: u32) -> bool {
    match key {
        // A terminal sends either for Enter.
        Key::Char('\r' | '\n') => wanted == 13 || wanted == 10,
        Key::Char(character) => u32::from(character) == wanted,
        _ => false,
    }
}

async fn run_shell(machine: &Machine, _: Matches) -> Result<(), Failure> {
    let status = shell::run(machine).await;
    machine.left_shell.set(Some(status));
    Ok(())
}

async fn help(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let Some(topic) = arguments.argument(0) else {
        let lines = table::COMMANDS
            .iter()
            .map(|spec| format!("{:<12} {}\n", spec.name, spec.summary));
        let list: String = lines.collect();
        let end = "`help COMMAND` shows one command, `help CODE` explains an error code.";
        pager::print(machine, &(list + end)).await;
        return Ok(());
    };
    if let Some((spec, _)) = find(topic) {
        pager::print(machine, &spec.help()).await;
        return Ok(());
    }
    if let Some(reason) = table::unknown(topic).reason {
        machine.say(format!("{topic}: left out: {reason}"));
        return Ok(());
    }
    let code = Code::find(topic.trim_matches(['[', ']'])).ok_or_else(|| {
        Failure::new(
            Code::CommandUnknown,
            format!("{topic} is neither a command nor a code"),
        )
    })?;
    machine.say(format!("{code}: {}\n{}", code.meaning(), code.advice()));
    Ok(())
}
