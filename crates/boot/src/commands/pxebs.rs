//! The command pxebs: PXE boot server discovery.

use alloc::format;
use alloc::string::String;

use bowline_script::parse_integer;
use bowline_script::syntax::Matches;

use super::net::{LAST_OPENED, one};
use super::{Action, action};
use crate::dhcp::discover_boot_server;
use crate::failure::{Code, Failure};
use crate::interface::Interface;
use crate::machine::Machine;

pub(super) const ACTIONS: &[Action] = &[action!("pxebs", discover)];

async fn discover(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let (name, number) = match arguments.arguments() {
        [name, number] => (name.as_str(), number.as_str()),
        other => (LAST_OPENED, other.first().map_or("", String::as_str)),
    };
    let server_type = parse_integer(number).and_then(|number| u16::try_from(number).ok());
    let server_type = server_type.ok_or_else(|| {
        let message = format!("`{number}` is no server type, which is a number up to 65535");
        Failure::new(Code::CommandUsage, message)
    })?;
    find(machine, &*one(machine, name)?, server_type).await
}

/// Puts what a boot server of this type names into the scope of the card.
pub(super) async fn find(
    machine: &Machine,
    interface: &Interface,
    server_type: u16,
) -> Result<(), Failure> {
    interface.store_boot_server(None, &mut machine.settings.borrow_mut())?;
    let ack = discover_boot_server(machine, interface, server_type).await?;
    interface.store_boot_server(Some(&ack), &mut machine.settings.borrow_mut())?;
    let setting = |name| machine.setting(&format!("{}/{name}", interface.scope("pxebs")));
    let server = setting("dhcp-server").unwrap_or_default();
    let file = setting("filename").map_or_else(|| "no file".into(), |file| format!("file {file}"));
    let name = interface.name();
    machine.say(format!("{name}: PXE boot server {server}, {file}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::string::String;

    use crate::testing::servers::boot_server;
    use crate::testing::{TestPlatform, run_script, script};

    const PAGES: crate::testing::servers::Pages = &[("/s", b"#!ipxe\necho from the boot server\n")];

    /// The console after `dhcp`, with a boot server of type 5.
    fn console(lines: &[&str]) -> String {
        let platform = TestPlatform::with_network(PAGES);
        let server = platform.server.clone().unwrap();
        let task = Box::pin(boot_server(server, 5));
        platform.tasks.borrow_mut().push(task);
        let lines: &[&str] = &[&["dhcp"], lines, &["exit"]].concat();
        run_script(platform, &script(lines)).0
    }

    const NAMED: &str = "set net0/43.8:hex 00:01:01:c0:a8:01:09:00:05:01:c0:a8:01:01";

    #[test]
    fn what_a_boot_server_says_is_in_a_scope() {
        let lines = [
            NAMED,
            "pxebs net0 5",
            "echo ${pxebs/next-server} ${net0.pxebs/43.71:hex} ${filename}",
            "chain ${pxebs/filename}",
            // A server that does not answer leaves nothing of the one before.
            "pxebs 1 ||",
            "isset ${pxebs/filename} || echo nothing",
        ];
        let output = console(&lines);
        let said = "net0: PXE boot server 192.168.1.1, file http://192.168.1.1/s\n\
                    192.168.1.1 00:05:00:00 boot.ipxe\n";
        assert!(output.contains(said), "{output}");
        assert!(output.contains("from the boot server\n"), "{output}");
        let failed = "pxebs: net0: no PXE boot server of type 1 answered in ";
        let asked = "(asked: 192.168.1.9, everybody; 8 messages sent; \
                     answers that are not such a server's: 4) [connect-timeout]\nnothing\n";
        assert!(output.contains(failed), "{output}");
        assert!(output.ends_with(asked), "{output}");
    }

    /// Its DHCP comes once more and names another file.
    #[test]
    fn autoboot_boots_what_the_boot_server_named() {
        let lines = [NAMED, "set root-path none", "pxebs 5", "autoboot"];
        let output = console(&lines);
        assert!(output.contains("from the boot server\n"), "{output}");
    }

    #[test]
    fn without_an_address_or_leave_nobody_is_asked() {
        let lines = [
            "set net0/43.6:hex 03",
            "pxebs 5 || echo ${errno}",
            "ifclose",
            "pxebs net0 5 || echo ${errno}",
        ];
        let output = console(&lines);
        let said = "pxebs: net0: option 43 names no PXE boot server of type 5, and does not allow \
                    to look for one [setting-unset]\nsetting-unset\n\
                    pxebs: net0 has no IPv4 address; run `dhcp net0` first [net-no-address]\n\
                    net-no-address\n";
        assert!(output.ends_with(said), "{output}");
    }
}
