//! A network of our own: everything a scenario starts runs in a fresh network and process
//! namespace, so that it can use any address and port, disturbs nobody, and is gone when it ends.
//!
//! As root this needs nothing more; other users get it by a user namespace (`unshare -Urn`).

use std::fs::{self, OpenOptions};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::sh;

/// The server's side of the wire, inside the namespace.
pub(crate) const SERVER: &str = "192.168.1.1";
/// The same where a scenario is of IPv6.
pub(crate) const SERVER6: &str = "fd00:1::1";
/// The TAP device that QEMU's network card is plugged into.
pub(crate) const TAP: &str = "tap0";

/// A command that runs this program again, inside new namespaces, with the given arguments.
pub(crate) fn enter(arguments: &[&str]) -> Result<Command> {
    let options = namespace_options()?;
    let myself = std::env::current_exe().context("cannot find my own program file")?;
    let mut command = sh::command("unshare");
    // With a /proc of its own, since processes have other numbers in there.
    command.args(options).arg("--mount-proc");
    command.arg("--").arg(myself).args(arguments);
    Ok(command)
}

/// The options of `unshare` that work here, or why none do.
fn namespace_options() -> Result<Vec<&'static str>> {
    let mut options = vec!["--net", "--pid", "--fork", "--kill-child"];
    if is_root()? {
        if let Err(error) = try_unshare(&options) {
            bail!(
                "this machine does not let root make a network namespace ({error:#}).\n\
                 In a container: start it with `--privileged`, or with \
                 `--cap-add SYS_ADMIN --cap-add NET_ADMIN --device /dev/net/tun`."
            );
        }
    } else {
        options.splice(0..0, ["--user", "--map-root-user"]);
        if let Err(error) = try_unshare(&options) {
            bail!(
                "this machine does not let users make network namespaces ({error:#}).\n\
                 Either allow it (`sudo sysctl kernel.unprivileged_userns_clone=1`; on Ubuntu \
                 `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`),\n\
                 or run the same command as root."
            );
        }
    }
    OpenOptions::new().read(true).write(true).open("/dev/net/tun").context(
        "cannot open /dev/net/tun, through which the virtual machine's network card is reached.\n\
         Load the kernel's module (`modprobe tun` as root), or give the container the device \
         (`--device /dev/net/tun`)",
    )?;
    Ok(options)
}

fn try_unshare(options: &[&str]) -> Result<()> {
    sh::run(sh::command("unshare").args(options).args(["--", "true"]))
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> Result<bool> {
    Ok(sh::output(sh::command("id").arg("-u"))?.trim() == "0")
}

/// Inside the namespace: brings the loopback interface up. An interface answers for its own
/// address only: a server is not found through another VLAN's interface.
pub(crate) fn set_up() -> Result<()> {
    fs::write("/proc/sys/net/ipv4/conf/all/arp_ignore", "1")
        .context("cannot set up the network of the test")?;
    ip(&["link", "set", "lo", "up"])
}

/// Makes the TAP device that a machine's card is plugged into and gives it the server's address.
pub(crate) fn add_tap() -> Result<()> {
    ip(&["tuntap", "add", "dev", TAP, "mode", "tap"])?;
    give_address(TAP, SERVER)
}

/// Gives the TAP device the server's IPv6 address too.
pub(crate) fn give_tap_ipv6() -> Result<()> {
    let address = format!("{SERVER6}/64");
    ip(&["-6", "address", "add", &address, "dev", TAP, "nodad"])
}

/// Gives an interface an address in a network of 256 and brings it up.
pub(crate) fn give_address(interface: &str, address: &str) -> Result<()> {
    ip(&["address", "add", &format!("{address}/24"), "dev", interface])?;
    ip(&["link", "set", interface, "up"])
}

fn ip(arguments: &[&str]) -> Result<()> {
    sh::run(sh::command("ip").args(arguments)).context("cannot set up the network of the test")
}
