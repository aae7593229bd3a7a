//! Commands on SAN drives: sanhook, sanboot, sanunhook.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use bowline_script::RootPath;
use bowline_script::syntax::Matches;

use super::{Action, action};
use crate::failure::{Code, Failure};
use crate::machine::Machine;
use crate::san::Drive;

pub(super) const ACTIONS: &[Action] = &[
    action!("sanboot", boot),
    action!("sanhook", hook),
    action!("sanunhook", unhook),
];

async fn hook(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let number = match asked_number(machine, &arguments)? {
        Some(number) => number,
        None => machine.drives.free_number()?,
    };
    attach_as_asked(machine, number, &arguments).await.map(drop)
}

async fn attach_as_asked(
    machine: &Machine,
    number: u8,
    arguments: &Matches,
) -> Result<Rc<Drive>, Failure> {
    let drive = attach(machine, number, arguments.arguments()).await?;
    describe_as_asked(machine, &drive, arguments);
    Ok(drive)
}

fn describe_as_asked(machine: &Machine, drive: &Rc<Drive>, arguments: &Matches) {
    if !arguments.flag("no-describe") {
        machine.drives.describe(machine, drive);
    }
}

/// Hooks a drive if URIs are given, and boots from it. A drive that this hooked goes again when
/// the program comes back, unless it is to be kept.
async fn boot(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    for option in ["extra", "label", "uuid"] {
        if arguments.text(option).is_some() {
            let message = format!("--{option} is not known here; name the file with --filename");
            return Err(Failure::new(Code::CommandUsage, message));
        }
    }
    let asked = asked_number(machine, &arguments)?;
    let (drive, is_new) = if arguments.arguments().is_empty() {
        let number = asked.unwrap_or(FIRST_DRIVE);
        let drive = machine.drives.find(number);
        let drive = drive.ok_or_else(|| machine.drives.missing(number))?;
        describe_as_asked(machine, &drive, &arguments);
        (drive, false)
    } else {
        let number = asked.unwrap_or(FIRST_DRIVE);
        (attach_as_asked(machine, number, &arguments).await?, true)
    };
    if is_on(machine, "skip-san-boot") {
        machine.say("sanboot: the setting skip-san-boot is on: nothing is started");
        return Ok(());
    }
    let keep = !is_new || arguments.flag("keep") || is_on(machine, "keep-san");
    let filename = arguments.text("filename").map(String::from);
    let filename = filename.or_else(|| machine.setting("san-filename"));
    // Firmware wants backslashes (UEFI 2.10 section 3.5.1.1); nothing else can have been meant.
    let filename = filename.map(|filename| filename.replace('/', "\\"));
    let result = start(machine, &drive, filename.as_deref());
    if !keep {
        machine.drives.remove(machine, drive.number()).await;
    }
    result
}

/// Hooks the first of these root paths that works, as the drive of the setting `san-drive`.
pub(super) async fn hook_root_paths(
    machine: &Machine,
    root_paths: &[String],
) -> Result<Rc<Drive>, Failure> {
    let setting = machine.settings.borrow().number("san-drive");
    let number = setting.and_then(|number| u8::try_from(number).ok());
    let number = number.filter(|&number| number >= FIRST_DRIVE);
    let drive = attach(machine, number.unwrap_or(FIRST_DRIVE), root_paths).await?;
    machine.drives.describe(machine, &drive);
    Ok(drive)
}

/// Starts the file of the setting `san-filename`, else the removable media loader.
pub(super) fn start_named(machine: &Machine, drive: &Drive) -> Result<(), Failure> {
    let filename = machine.setting("san-filename");
    let filename = filename.map(|filename| filename.replace('/', "\\"));
    start(machine, drive, filename.as_deref())
}

async fn unhook(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let number = asked_number(machine, &arguments)?.unwrap_or(FIRST_DRIVE);
    machine
        .drives
        .find(number)
        .ok_or_else(|| machine.drives.missing(number))?;
    machine.drives.remove(machine, number).await;
    Ok(())
}

fn start(machine: &Machine, drive: &Drive, filename: Option<&str>) -> Result<(), Failure> {
    let shown = filename.unwrap_or("the removable media loader");
    machine.say(format!("Starting {shown} from san {:#x}", drive.number()));
    machine
        .executor
        .outside(|| drive.start(filename))
        .map_err(|error| Failure::from(error).within(format!("san {:#x}", drive.number())))
}

/// Hooks a disk by one path or several.
async fn attach(machine: &Machine, number: u8, uris: &[String]) -> Result<Rc<Drive>, Failure> {
    if let Some(drive) = machine.drives.find(number) {
        let message = format!("drive {number:#x} is {} already", drive.root_path());
        return Err(Failure::new(Code::SanDrive, message));
    }
    let root_paths = uris.iter().map(|uri| {
        RootPath::parse(uri)
            .map_err(|error| Failure::new(Code::UriInvalid, format!("{uri}: {error}")))
    });
    let root_paths = root_paths.collect::<Result<Vec<RootPath>, Failure>>()?;
    Drive::attach(machine, number, root_paths).await
}

/// Whether a setting is a number that is not zero.
pub(super) fn is_on(machine: &Machine, setting: &str) -> bool {
    let number = machine.settings.borrow().number(setting);
    number.is_some_and(|number| number != 0)
}

/// The drive number of `--drive`, else of the setting `san-drive`.
fn asked_number(machine: &Machine, arguments: &Matches) -> Result<Option<u8>, Failure> {
    let setting = || machine.settings.borrow().number("san-drive");
    let Some(number) = arguments.number("drive").or_else(setting) else {
        return Ok(None);
    };
    match u8::try_from(number) {
        Ok(number) if number >= FIRST_DRIVE => Ok(Some(number)),
        _ => {
            let message = format!("drive numbers are 0x80 to 0xff, not {number:#x}");
            Err(Failure::new(Code::SanDrive, message))
        }
    }
}

/// The number of the first disk, as PC firmware counts.
const FIRST_DRIVE: u8 = 0x80;
