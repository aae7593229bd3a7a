//! The program from its first line to its last: banner, cards, packed script, shell.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;

use bowline_net::Stack;

use crate::executor::{Executor, Handle};
use crate::failure::{Code, Failure};
use crate::machine::Machine;
use crate::packed::{Packed, PackedScript};
use crate::platform::Platform;
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

/// Runs the loader: the packed script if there is one, then the shell until `exit`.
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
    let packed = Packed::parse(packed).unwrap_or_else(|error| {
        let failure = Failure::new(Code::Packed, format!("{error}"));
        machine.say(failure.within("the packed configuration cannot be used"));
        Packed::default()
    });
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
    if let Some(script) = packed.script
        && let Some(status) = run_packed_script(machine, script).await
    {
        return status;
    }
    shell::run(machine).await
}

/// The status to leave with, or none where the shell is to open.
async fn run_packed_script(machine: &Machine, script: PackedScript) -> Option<i32> {
    let PackedScript { mut name, text } = script;
    let mut ending = script::run_script(machine, &name, text.as_bytes(), None).await;
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
    machine.say("Opening a shell: `help` lists the commands, `exit` leaves to the firmware");
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
