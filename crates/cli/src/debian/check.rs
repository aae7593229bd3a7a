//! `bowline image check`: what an installed system lacks to have its root file system on iSCSI.
//! The image is only read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use bowline_store::{Access, open};
use clap::Args;
use ext4_view::Ext4;
use fatfs::{FileSystem, FsOptions};

use super::layout::{Layout, Window};

/// The settings of open-iscsi for a root disk, and why.
const ISCSID: [(&str, &str); 3] = [
    ("node.conn[0].timeo.noop_out_interval", "0"),
    ("node.conn[0].timeo.noop_out_timeout", "0"),
    ("node.session.timeo.replacement_timeout", "86400"),
];

/// Arguments of `bowline image check`.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// The image: raw, .qcow2 or .overlay
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Check {
    /// Says what is missing, and fails if something is.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let lacks = lacks(&self.file)?;
        for lack in &lacks {
            println!("{}: {lack}", self.file.display());
        }
        if lacks.is_empty() {
            println!(
                "{}: ready for a root file system on iSCSI",
                self.file.display()
            );
            return Ok(());
        }
        bail!(
            "{} of what a boot from iSCSI needs is missing: bowline image prepare {} sees to it",
            lacks.len(),
            self.file.display()
        )
    }
}

/// What the disk in `file` lacks.
pub(super) fn lacks(file: &Path) -> anyhow::Result<Vec<String>> {
    let image = Arc::new(open(file, Access::ReadOnly)?);
    let layout = Layout::read(image, file)?;
    let mut lacks = Vec::new();
    let mut has_loader = false;
    for esp in layout.esps() {
        has_loader |= has_removable_loader(layout.window(esp))?;
    }
    if !has_loader {
        lacks.push(
            "no boot loader at \\EFI\\BOOT\\BOOTAA64.EFI or BOOTX64.EFI of an EFI system partition: \
             grub-install --force-extra-removable puts it there"
                .to_owned(),
        );
    }
    let (_, root) = layout.root()?;
    lacks.extend(lacks_of(&root));
    Ok(lacks)
}

/// The removable path of UEFI 2.11 section 3.5.1.1.
fn has_removable_loader(esp: Window) -> anyhow::Result<bool> {
    let esp =
        FileSystem::new(esp, FsOptions::new()).context("the EFI system partition is no FAT")?;
    let root = esp.root_dir();
    Ok(["AA64", "X64"]
        .iter()
        .any(|arch| root.open_file(&format!("EFI/BOOT/BOOT{arch}.EFI")).is_ok()))
}

/// A file system that can be looked into.
trait Tree {
    /// A text file; None if it is not there.
    fn text(&self, path: &str) -> Option<String>;
    /// The names in a folder; none if it is not there.
    fn names(&self, folder: &str) -> Vec<String>;
}

impl Tree for Ext4 {
    fn text(&self, path: &str) -> Option<String> {
        let bytes = self.read(path).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = self.read_dir(folder).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name().display().to_string())
            .collect()
    }
}

/// What the root file system lacks: what, why it matters, what helps.
fn lacks_of(root: &impl Tree) -> Vec<String> {
    let mut lacks = Vec::new();
    let has = |folder: &str, name: &str| root.names(folder).iter().any(|found| found == name);
    if !has("/usr/sbin", "iscsistart") && !has("/sbin", "iscsistart") {
        lacks.push("no open-iscsi: apt install open-iscsi".to_owned());
    }
    let told = root.text("/etc/iscsi/iscsi.initramfs").is_some()
        || has("/usr/share/initramfs-tools/hooks", "bowline");
    if !told {
        lacks.push(
            "the initial RAM disk does not find the disk by itself: install bowline-initramfs, or \
             say it in /etc/iscsi/iscsi.initramfs, and update-initramfs -u"
                .to_owned(),
        );
    }
    let settings = root.text("/etc/iscsi/iscsid.conf").unwrap_or_default();
    for (name, value) in ISCSID {
        if setting(&settings, name) != Some(value) {
            lacks.push(format!(
                "/etc/iscsi/iscsid.conf wants `{name} = {value}`: else the system gives its root \
                 disk up when the target is away for long"
            ));
        }
    }
    let rules = root.names("/etc/udev/rules.d").into_iter();
    let mut rules = rules.filter_map(|name| root.text(&format!("/etc/udev/rules.d/{name}")));
    if !rules.any(|text| text.contains("recovery_tmo")) {
        lacks.push(
            "the session that the initial RAM disk opens waits 120 s for its target, whatever \
             iscsid.conf says: put `ACTION==\"add\", SUBSYSTEM==\"iscsi_session\", \
             ATTR{recovery_tmo}=\"86400\"` into /etc/udev/rules.d/60-bowline-root.rules"
                .to_owned(),
        );
    }
    let unit = root.text("/etc/systemd/system/iscsid.service");
    if !unit.is_some_and(|text| text.contains("sysinit.target")) {
        lacks.push(
            "nobody logs in again where the connection breaks before iscsid runs, which is late: put \
             a unit into /etc/systemd/system/iscsid.service that has DefaultDependencies=no and \
             Before=sysinit.target, and enable it"
                .to_owned(),
        );
    }
    for device in devices_by_name(&root.text("/etc/fstab").unwrap_or_default()) {
        lacks.push(format!(
            "/etc/fstab names {device}, which is another disk on another machine: write UUID=..."
        ));
    }
    let conf = "/etc/initramfs-tools";
    let policies = texts(
        root,
        &format!("{conf}/initramfs.conf"),
        &format!("{conf}/conf.d"),
    );
    for (file, text) in policies {
        if text.lines().any(|line| line.trim() == "MODULES=dep") {
            lacks.push(format!(
                "{file} has the initial RAM disk made for the machine of the installation: write \
                 MODULES=most, and update-initramfs -u"
            ));
        }
    }
    lacks.extend(network(root));
    lacks.extend(identity(root));
    lacks
}

/// Who would take away the network card under the root disk.
fn network(root: &impl Tree) -> Vec<String> {
    let mut lacks = Vec::new();
    for (file, text) in texts(root, "/etc/network/interfaces", "/etc/network/interfaces.d") {
        if text.lines().any(|line| manages_a_card(line.trim())) {
            lacks.push(format!(
                "{file} brings a network card up and down that may carry the root disk: take its \
                 `auto` or `allow-hotplug` away"
            ));
        }
    }
    let settings = texts(
        root,
        "/etc/NetworkManager/NetworkManager.conf",
        "/etc/NetworkManager/conf.d",
    );
    let has_manager = root
        .names("/usr/sbin")
        .iter()
        .any(|name| name == "NetworkManager");
    let leaves = |(_, text): &(String, String)| text.contains("\nunmanaged-devices=");
    if has_manager && !settings.iter().any(leaves) {
        lacks.push(
            "NetworkManager is installed: have it leave the card of the root disk alone \
             (unmanaged-devices in /etc/NetworkManager/conf.d)"
                .to_owned(),
        );
    }
    lacks
}

/// The texts of a file and of all files in a folder, with their paths.
fn texts(root: &impl Tree, file: &str, folder: &str) -> Vec<(String, String)> {
    let inside = root.names(folder).into_iter();
    let paths = inside.map(|name| format!("{folder}/{name}"));
    [file.to_owned()]
        .into_iter()
        .chain(paths)
        .filter_map(|path| root.text(&path).map(|text| (path, text)))
        .collect()
}

/// What makes a machine itself should not be in a golden image.
fn identity(root: &impl Tree) -> Vec<String> {
    let mut found = Vec::new();
    let machine = root.text("/etc/machine-id").unwrap_or_default();
    if !matches!(machine.trim(), "" | "uninitialized") {
        found.push("/etc/machine-id");
    }
    if !root.text("/etc/hostname").unwrap_or_default().is_empty() {
        found.push("/etc/hostname (remove it, and have the name set by DHCP)");
    }
    let initiator = root
        .text("/etc/iscsi/initiatorname.iscsi")
        .unwrap_or_default();
    if initiator
        .lines()
        .any(|line| line.starts_with("InitiatorName="))
    {
        found.push("/etc/iscsi/initiatorname.iscsi (write `GenerateName=yes` into it)");
    }
    let is_key = |name: &String| name.starts_with("ssh_host_") && name.ends_with("_key");
    if root.names("/etc/ssh").iter().any(is_key) {
        found.push("/etc/ssh/ssh_host_*_key (remove them, and have ssh-keygen -A run at boot)");
    }
    found
        .into_iter()
        .map(|what| format!("every machine would have the same {what}"))
        .collect()
}

/// The value of `name = value`; the last one counts.
fn setting<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let mut values = lines.filter(|(key, _)| key.trim() == name);
    values.next_back().map(|(_, value)| value.trim())
}

/// Devices of fstab(5) that are named by the order in which they were found.
fn devices_by_name(fstab: &str) -> Vec<&str> {
    let devices = fstab
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    devices
        .filter(|device| {
            ["/dev/sd", "/dev/vd", "/dev/nvme"]
                .iter()
                .any(|name| device.starts_with(name))
        })
        .collect()
}

/// Whether a line of interfaces(5) has ifupdown bring a card up.
fn manages_a_card(line: &str) -> bool {
    let mut words = line.split_whitespace();
    matches!(words.next(), Some("auto" | "allow-auto" | "allow-hotplug"))
        && words.any(|interface| interface != "lo")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    impl Tree for BTreeMap<&str, &str> {
        fn text(&self, path: &str) -> Option<String> {
            self.get(path).map(|text| (*text).to_owned())
        }

        fn names(&self, folder: &str) -> Vec<String> {
            let inside = self
                .keys()
                .filter_map(|path| path.strip_prefix(folder)?.strip_prefix('/'));
            inside.map(str::to_owned).collect()
        }
    }

    const READY: [(&str, &str); 8] = [
        (
            "/etc/systemd/system/iscsid.service",
            "Before=sysinit.target\n",
        ),
        (
            "/etc/udev/rules.d/60-bowline-root.rules",
            "ATTR{recovery_tmo}=\"86400\"",
        ),
        ("/usr/sbin/iscsistart", ""),
        ("/usr/share/initramfs-tools/hooks/bowline", ""),
        (
            "/etc/iscsi/iscsid.conf",
            "#node.session.timeo.replacement_timeout = 1\n\
             node.conn[0].timeo.noop_out_interval = 5\n\
             node.conn[0].timeo.noop_out_interval = 0\n\
             node.conn[0].timeo.noop_out_timeout=0\n\
             node.session.timeo.replacement_timeout = 86400\n",
        ),
        (
            "/etc/fstab",
            "UUID=1 / ext4 defaults 0 1\n# /dev/sda1 was it\n",
        ),
        ("/etc/machine-id", "uninitialized\n"),
        ("/etc/iscsi/initiatorname.iscsi", "GenerateName=yes\n"),
    ];

    #[test]
    fn a_ready_system_lacks_nothing() {
        assert_eq!(lacks_of(&BTreeMap::from(READY)), Vec::<String>::new());
    }

    #[test]
    fn each_lack_is_named() {
        let cases = [
            ("/usr/sbin/iscsistart", None, "apt install open-iscsi"),
            (
                "/usr/share/initramfs-tools/hooks/bowline",
                None,
                "bowline-initramfs",
            ),
            ("/etc/iscsi/iscsid.conf", Some(""), "noop_out_timeout = 0"),
            (
                "/etc/udev/rules.d/60-bowline-root.rules",
                None,
                "recovery_tmo",
            ),
            (
                "/etc/systemd/system/iscsid.service",
                None,
                "before iscsid runs",
            ),
            (
                "/etc/fstab",
                Some("/dev/sda2 / ext4 defaults 0 1"),
                "/dev/sda2",
            ),
            (
                "/etc/network/interfaces",
                Some("auto lo eth0"),
                "interfaces brings",
            ),
            (
                "/etc/network/interfaces.d/cloud",
                Some("allow-hotplug ens3"),
                "interfaces.d/cloud brings",
            ),
            (
                "/etc/initramfs-tools/conf.d/driver-policy",
                Some("MODULES=dep\n"),
                "MODULES=most",
            ),
            ("/usr/sbin/NetworkManager", Some(""), "unmanaged-devices"),
            ("/etc/machine-id", Some("0123"), "same /etc/machine-id"),
            ("/etc/hostname", Some("node7\n"), "same /etc/hostname"),
            (
                "/etc/iscsi/initiatorname.iscsi",
                Some("InitiatorName=iqn.x"),
                "GenerateName",
            ),
            ("/etc/ssh/ssh_host_rsa_key", Some(""), "ssh-keygen"),
        ];
        for (path, content, expected) in cases {
            let mut tree = BTreeMap::from(READY);
            match content {
                Some(content) => tree.insert(path, content),
                None => tree.remove(path),
            };
            let lacks = lacks_of(&tree);
            assert!(
                lacks.iter().any(|lack| lack.contains(expected)),
                "{path}: {lacks:?}"
            );
        }
    }

    #[test]
    fn what_is_no_disk_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        let error = lacks(file.path()).unwrap_err().to_string();
        assert!(error.contains("no GUID partition table"), "{error}");
    }
}
