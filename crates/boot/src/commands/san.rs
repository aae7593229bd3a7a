//! Commands on SAN drives: sanhook, sanboot, sanlist, sanunhook.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use bowline_script::syntax::Matches;
use bowline_script::{RootPath, Uri, UriError};

use super::{Action, action};
use crate::failure::{Code, Failure};
use crate::machine::Machine;
use crate::platform::BootFile;
use crate::san::{Drive, discovery};

pub(super) const ACTIONS: &[Action] = &[
    action!("sanboot", boot),
    action!("sanhook", hook),
    action!("sanlist", list),
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
    let partition = arguments
        .text("uuid")
        .map(partition_identifier)
        .transpose()?;
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
    let text = |option: &str| arguments.text(option).map(String::from);
    let file = BootFile {
        filename: text("filename").or_else(|| machine.setting("san-filename")),
        extra: text("extra"),
        label: text("label"),
        partition,
    };
    let result = start(machine, &drive, &file);
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
    let file = BootFile {
        filename: machine.setting("san-filename"),
        ..BootFile::default()
    };
    start(machine, drive, &file)
}

/// The bytes of a partition entry for the text of an identifier (UEFI 2.10 appendix A): the first
/// three fields are little-endian.
fn partition_identifier(text: &str) -> Result<[u8; 16], Failure> {
    let wrong = || {
        let message = format!("`{text}` is no GUID: write it as blkid does for PARTUUID");
        Failure::new(Code::CommandUsage, message)
    };
    let lengths = text.split('-').map(str::len);
    if !lengths.eq([8, 4, 4, 4, 12]) {
        return Err(wrong());
    }
    let digits = text.replace('-', "");
    let number = u128::from_str_radix(&digits, 16).map_err(|_| wrong())?;
    let [a, b, c, d, e, f, g, h, rest @ ..] = number.to_be_bytes();
    let mut bytes = [0; 16];
    let (fields, tail) = bytes.split_at_mut(8);
    fields.copy_from_slice(&[d, c, b, a, f, e, h, g]);
    tail.copy_from_slice(&rest);
    Ok(bytes)
}

/// Lists the drives, or the targets of a server.
async fn list(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let Some(server) = arguments.arguments().first() else {
        for drive in machine.drives.all() {
            machine.say(drive.line());
        }
        return Ok(());
    };
    let wrong = |error: &dyn core::fmt::Display| {
        Failure::new(Code::UriInvalid, format!("{server}: {error}"))
    };
    let uri: Uri = format!("iscsi://{server}")
        .parse()
        .map_err(|error: UriError| wrong(&error))?;
    let host = uri.host().ok_or_else(|| wrong(&"no server is named"))?;
    for target in discovery::targets(machine, host, uri.port().unwrap_or(ISCSI_PORT)).await? {
        for address in &target.addresses {
            machine.say(format!("{} at {address}", target.name));
        }
        if target.addresses.is_empty() {
            machine.say(format!("{} at {server}", target.name));
        }
    }
    Ok(())
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

fn start(machine: &Machine, drive: &Drive, file: &BootFile) -> Result<(), Failure> {
    // Firmware wants backslashes (UEFI 2.10 section 3.5.1.1); nothing else can have been meant.
    let path = |path: &String| path.replace('/', "\\");
    let file = BootFile {
        filename: file.filename.as_ref().map(path),
        extra: file.extra.as_ref().map(path),
        ..file.clone()
    };
    let shown = file.filename.as_deref();
    let shown = shown.unwrap_or("the removable media loader");
    machine.say(format!("Starting {shown} from san {:#x}", drive.number()));
    machine
        .executor
        .outside(|| drive.start(&file))
        .map_err(|error| Failure::from(error).within(format!("san {:#x}", drive.number())))
}

/// Hooks a disk by one path or several.
async fn attach(machine: &Machine, number: u8, uris: &[String]) -> Result<Rc<Drive>, Failure> {
    if let Some(drive) = machine.drives.find(number) {
        let message = format!("drive {number:#x} is {} already", drive.uri());
        return Err(Failure::new(Code::SanDrive, message));
    }
    if let [uri] = uris
        && !RootPath::is_root_path(uri)
        && let Ok(uri) = machine.absolute_uri(uri)
        && matches!(uri.scheme(), Some("http" | "https"))
    {
        return Drive::attach_file(machine, number, &uri).await;
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

/// RFC 7143 section 4.2.7.1.
const ISCSI_PORT: u16 = 3260;

/// The number of the first disk, as PC firmware counts.
const FIRST_DRIVE: u8 = 0x80;
