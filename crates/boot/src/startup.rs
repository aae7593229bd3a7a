//! The program from its first line to its last: banner, cards, the first script, shell.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bowline_net::Stack;
use bowline_script::syntax::table;
use bowline_script::{Script, Uri};

use crate::commands;
use crate::console::keyboard::CTRL_C;
use crate::executor::{Executor, Handle};
use crate::failure::{Code, Failure};
use crate::machine::Machine;
use crate::packed::{Packed, PackedScript};
use crate::platform::{Key, Platform};
use crate::script::{self, Ending};
use crate::shell;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// `exit`: the firmware goes on with its next boot option.
    Exit {
        /// The status that `exit` was given; 0 is no complaint.
        status: i32,
    },
}

/// Runs the loader: the packed script, else the one beside the loader, else what the DHCP server
/// names; then the shell until `exit`.
///
/// `packed` is the content of the section [`crate::packed::SECTION`], empty where there is none.
/// Firmware events may use `handle` from before the call until after it. When this returns, the
/// disks are withdrawn and the cards are stopped.
pub fn run(platform: Rc<dyn Platform>, packed: &[u8], handle: &Handle) -> Outcome {
    let identity = platform.identity();
    platform.console().write(&format!(
        "Bowline {} ({}) on {}\n",
        env!("CARGO_PKG_VERSION"),
        identity.architecture,
        identity.firmware
    ));
    let stacks = open_stacks(&*platform);
    let executor = Rc::new(Executor::new(Rc::clone(&platform), stacks));
    handle.connect(&executor);
    let machine = Machine::new(platform, Rc::clone(&executor));
    // Boxed: firmware gives a program little stack, and what it starts needs most of that.
    let status = executor.block_on(Box::pin(async {
        let status = start(&machine, packed).await;
        machine.drives.clear(&machine).await;
        status
    }));
    executor.quiesce();
    Outcome::Exit { status }
}

async fn start(machine: &Machine, packed: &[u8]) -> i32 {
    let packed = match Packed::parse(packed) {
        Ok(packed) => packed,
        Err(error) => {
            let failure = Failure::new(Code::Packed, format!("{error}"));
            machine.say(failure.within("the packed configuration cannot be used"));
            return shell::run(machine).await;
        }
    };
    if let Err(failure) = machine.security.configure(&*machine.platform, &packed) {
        machine.say(failure.within("https cannot be used"));
    }
    for setting in &packed.settings {
        if let Err(error) = machine
            .settings
            .borrow_mut()
            .set(&setting.name, &setting.value)
        {
            let failure = Failure::new(Code::SettingName, format!("{error}"));
            machine.say(failure.within(format!("packed setting {}", setting.name)));
        }
    }
    let packed_script = packed.script.map(|script| (script, None));
    let status = match packed_script.or_else(|| script_beside(machine)) {
        Some((script, uri)) => run_first_script(machine, script, uri).await,
        None => boot_without_script(machine).await,
    };
    match status {
        Some(status) => status,
        None => shell::run(machine).await,
    }
}

/// The script that the loader was started with, else `autoexec.ipxe` from the loader's own folder
/// or the root of its volume. With it comes where it is, for what it names.
fn script_beside(machine: &Machine) -> Option<(PackedScript, Option<Uri>)> {
    let options = machine.platform.load_options();
    if let Some(text) = options.and_then(|options| options_as_script(&options)) {
        let name = "load options".into();
        return Some((PackedScript { name, text }, None));
    }
    for path in ["autoexec.ipxe", "\\autoexec.ipxe"] {
        // A loader that came from no volume has no files: nothing is wrong.
        let Ok(Some(data)) = machine.platform.read_file(path) else {
            continue;
        };
        let text = String::from_utf8(data);
        let Ok(text) = text else {
            let failure = Failure::new(Code::ScriptText, "it is not UTF-8 text");
            machine.say(failure.within(path));
            continue;
        };
        let name = path.trim_start_matches('\\').into();
        let uri = format!("file:{}", path.replace('\\', "/")).parse().ok();
        return Some((PackedScript { name, text }, uri));
    }
    None
}

/// Load options are a script if they look like one, or like a command line. Firmware and boot
/// managers put other things there as well: U-Boot what it has for Linux.
fn options_as_script(options: &str) -> Option<String> {
    let options = options.trim();
    if Script::is_script(options.as_bytes()) {
        return Some(options.into());
    }
    let command = options.split_whitespace().next()?;
    table::find(command).map(|_| format!("#!ipxe\n{options}\n"))
}

/// What happens without a script, as in iPXE: Ctrl-B opens the shell, else the setting
/// `scriptlet` is run, else what the DHCP server names is booted.
async fn boot_without_script(machine: &Machine) -> Option<i32> {
    let text = "Press Ctrl-B for the shell, any other key to boot at once...";
    machine.platform.console().write(text);
    let until = machine.now().saturating_add(BANNER_WAIT);
    let key = machine.executor.until(until, machine.keyboard.read()).await;
    machine.platform.console().write("\n");
    if let Some(CTRL_B | CTRL_C) = key {
        return None;
    }
    let result = match machine.setting("scriptlet") {
        Some(line) => match script::run_line(machine, &line).await {
            Ending::Exit(status) => return Some(status),
            Ending::Replaced(image) => script::run_image(machine, &image).await,
            Ending::Failed { failure, .. } => Err(failure.shown()),
            Ending::Done => Ok(()),
        },
        None => {
            // Boxed: it is large, and firmware gives a program little stack.
            let booting = Box::pin(commands::autoboot(machine));
            let booted = machine.keyboard.interruptible(booting).await;
            booted.unwrap_or_else(|_| Err(Failure::cancelled()))
        }
    };
    if let Err(failure) = result {
        commands::report(machine, "autoboot", failure);
    }
    machine.say(SHELL_OPENS);
    None
}

/// The status to leave with, or none where the shell is to open.
async fn run_first_script(
    machine: &Machine,
    script: PackedScript,
    uri: Option<Uri>,
) -> Option<i32> {
    let PackedScript { mut name, text } = script;
    let mut ending = script::run_script(machine, &name, text.as_bytes(), uri).await;
    if let Ok(Ending::Replaced(image)) = ending {
        name.clone_from(&image);
        ending = script::follow(machine, image).await.map(|(last, ending)| {
            name = last;
            ending
        });
    }
    match ending {
        Ok(Ending::Exit(status)) => return Some(status),
        Ok(Ending::Failed { line, failure }) => {
            machine.say(format!("Script {name} failed at line {line}: {failure}"));
        }
        Err(failure) => machine.say(format!("Script {name} failed: {failure}")),
        Ok(Ending::Done | Ending::Replaced(_)) => match machine.left_shell.get() {
            // The script's last word was `shell`, and the person there left it.
            Some(status) => return Some(status),
            None => {
                let failure = Failure::new(Code::ScriptEnd, "it ended without booting anything");
                machine.say(format!("Script {name}: {failure}"));
            }
        },
    }
    machine.say(SHELL_OPENS);
    None
}

fn open_stacks(platform: &dyn Platform) -> Vec<Stack> {
    let nics = platform.open_nics().unwrap_or_else(|error| {
        platform.console().write(&format!("network: {error}\n"));
        Vec::new()
    });
    nics.into_iter()
        .map(|nic| {
            let seed = seed(platform, nic.mac());
            Stack::new(nic, platform.clock(), seed)
        })
        .collect()
}

/// A seed for what should be hard to guess but is no secret: ports, sequence numbers, transaction
/// identifiers. The clock and the card's address stand in for missing randomness.
pub(crate) fn seed(platform: &dyn Platform, mac: [u8; 6]) -> u64 {
    let mut bytes = [0; 8];
    if platform.entropy(&mut bytes).is_ok() {
        return u64::from_le_bytes(bytes);
    }
    let [a, b, c, d, e, f] = mac;
    let nanoseconds = platform.clock().now().as_nanos() as u64;
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0]).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ nanoseconds
}

const SHELL_OPENS: &str =
    "Opening a shell: `help` lists the commands, `exit` leaves to the firmware";

const CTRL_B: Key = Key::Char('\x02');

/// How long Ctrl-B is waited for.
const BANNER_WAIT: Duration = Duration::from_secs(2);
