//! Linux's own iSCSI target (LIO) as an independent peer. It lives in the kernel, so it runs in a
//! machine of its own: Debian's kernel and an initial RAM disk that sets the target up.

use std::path::Path;
use std::process::Command;

use bowline_sim::switch::realtime::Guest;

use crate::image::{Access, TargetSystem};
use crate::sh;

/// Where it listens.
pub(crate) const ADDRESS: &str = "192.168.1.3";
/// Its hardware address.
const MAC: &str = "52:54:00:12:34:03";

/// The machine: `disk` is LUN 1, `wire` the socket of the switch that it is plugged into.
pub(crate) fn machine(system: &TargetSystem, disk: &Path, wire: &Path, access: &Access) -> Command {
    let words = format!(
        "console=ttyS0 panic=-1 quiet lio_address={ADDRESS} lio_target={} lio_username={} \
         lio_password={} lio_mutual_username={} lio_mutual_password={}",
        access.target,
        access.username,
        access.password,
        access.mutual_username,
        access.mutual_password
    );
    let mut command = sh::command("qemu-system-x86_64");
    command
        .args(["-machine", "q35", "-cpu", "max", "-accel", "tcg"])
        .args(["-m", "384", "-smp", "1", "-no-reboot"])
        .args(["-nodefaults", "-display", "none", "-serial", "stdio"])
        .arg("-kernel")
        .arg(&system.kernel)
        .arg("-initrd")
        .arg(&system.initrd)
        .args(["-append", &words])
        .arg("-drive")
        .arg(format!("if=virtio,format=raw,file={}", disk.display()))
        .arg("-netdev")
        .arg(format!("{},id=wire", Guest::netdev(wire)))
        .args([
            "-device",
            &format!("virtio-net-pci,romfile=,netdev=wire,mac={MAC}"),
        ]);
    command
}
