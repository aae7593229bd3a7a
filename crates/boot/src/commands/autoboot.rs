//! autoboot: what the DHCP server names is booted.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bowline_script::syntax::Matches;
use bowline_script::{RootPath, Uri};

use super::images::{Order, download};
use super::net::{DHCP_TIMEOUT, Wanted, configure_one, named};
use super::san::{hook_root_paths, is_on, start_named};
use super::{Action, action};
use super::{pxe_menu, pxebs};
use crate::failure::{Code, Failure};
use crate::interface::Interface;
use crate::machine::Machine;
use crate::script;

pub(super) const ACTIONS: &[Action] = &[action!("autoboot", run)];

async fn run(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let interfaces = named(machine, &arguments)?;
    boot(machine, interfaces).await
}

/// Each card in turn, until something that was booted comes back without complaint.
pub(crate) async fn boot(machine: &Machine, interfaces: Vec<Rc<Interface>>) -> Result<(), Failure> {
    let mut failures: Vec<Failure> = Vec::new();
    for interface in interfaces {
        match boot_from(machine, &interface).await {
            Ok(()) => return Ok(()),
            Err(failure) if failure.code() == Code::Cancelled => return Err(failure),
            Err(failure) => failures.push(failure),
        }
        interface.close(&mut machine.settings.borrow_mut());
        machine.apply_network_settings();
    }
    let is_shown = failures.iter().all(Failure::is_shown);
    let code = failures.first().map_or(Code::NetNoCard, Failure::code);
    let words: Vec<&str> = failures.iter().map(Failure::message).collect();
    let failure = Failure::new(code, words.join("; "));
    Err(if is_shown { failure.shown() } else { failure })
}

async fn boot_from(machine: &Machine, interface: &Interface) -> Result<(), Failure> {
    let wanted = Wanted {
        ipv4: true,
        proxy_wait: PROXY_WAIT,
    };
    configure_one(machine, interface, wanted, DHCP_TIMEOUT).await?;
    if let Some(menu) = pxe_menu::of(machine, interface) {
        match pxe_menu::choose(machine, &menu).await? {
            // Whatever the machine boots without a network (PXE 2.1 table 2-1).
            0 => return Ok(()),
            server_type => pxebs::find(machine, interface, server_type).await?,
        }
    }
    let root_paths: Vec<String> = machine
        .setting("root-path")
        .map(|text| text.split_whitespace().map(String::from).collect())
        .unwrap_or_default();
    // A root path may also be meant for the operating system: an NFS server, for example.
    let is_ours = root_paths.iter().any(|path| RootPath::is_root_path(path));
    let uri = boot_file(machine, interface)?;
    if uri.is_none() && !is_ours {
        let message = match root_paths.first() {
            Some(path) => format!("the DHCP server names no file, and `{path}` is no disk"),
            None => String::from("the DHCP server names neither a file nor a disk"),
        };
        let failure = Failure::new(Code::AutobootNothing, message);
        return Err(failure.within(interface.name()));
    }
    let drive = if is_ours {
        Some(hook_root_paths(machine, &root_paths).await?)
    } else {
        None
    };
    let result = match (uri, &drive) {
        (Some(uri), _) => boot_image(machine, &uri).await,
        (None, Some(drive)) if !is_on(machine, "skip-san-boot") => start_named(machine, drive),
        (None, _) => Ok(()),
    };
    if let Some(drive) = drive
        && !is_on(machine, "keep-san")
    {
        machine.drives.remove(machine, drive.number()).await;
    }
    result
}

async fn boot_image(machine: &Machine, uri: &Uri) -> Result<(), Failure> {
    let order = Order {
        free_after_use: true,
        // Of a DHCPv6 server (RFC 5970 section 3.2).
        arguments: machine.setting("boot-parameters").unwrap_or_default(),
        ..Order::default()
    };
    let text = uri.to_string_with_password();
    let name = download(machine, order, &text).await?;
    script::run_image(machine, &name).await
}

/// How long a proxyDHCP server is waited for, as by iPXE.
const PROXY_WAIT: Duration = Duration::from_secs(2);

/// The setting `filename`, a URI or the name of a file on the TFTP server `next-server`, else
/// on the DHCP server. What a PXE boot server has named for the card comes before.
fn boot_file(machine: &Machine, interface: &Interface) -> Result<Option<Uri>, Failure> {
    let pxebs = interface.scope("pxebs") + "/";
    let scope = match machine.setting(&format!("{pxebs}filename")) {
        Some(_) => pxebs.as_str(),
        None => "",
    };
    let named = |name: &str| format!("{scope}{name}");
    let Some(filename) = machine.setting(&named("filename")) else {
        return Ok(None);
    };
    let parsed: Result<Uri, _> = filename.parse();
    if let Ok(uri) = parsed
        && uri.is_absolute()
    {
        return Ok(Some(uri));
    }
    let settings = machine.settings.borrow();
    let server = settings
        .ipv4(&named("next-server"))
        .or_else(|| settings.ipv4(&named("dhcp-server")));
    let server = server.ok_or_else(|| {
        let message = format!("there is a filename, {filename}, but no next-server to get it from");
        Failure::new(Code::SettingUnset, message)
    })?;
    Ok(Some(Uri::tftp(server.into(), &filename)))
}
