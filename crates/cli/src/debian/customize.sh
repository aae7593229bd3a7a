#!/bin/sh
# Makes a fresh Debian tree one that boots from iSCSI. Run by mmdebstrap with the tree as argument;
# the variables come from `bowline image build debian`.
set -eu
root=$1

# The root file system and the ESP by their UUIDs: the disk has another name on every machine.
cat >"$root/etc/fstab" <<END
UUID=$ROOT_UUID / ext4 errors=remount-ro 0 1
UUID=$ESP_UUID /boot/efi vfat umask=0077 0 1
END
mkdir -p "$root/boot/efi"

# A root disk is waited for, however long the target is away (open-iscsi README, "iSCSI settings
# for iSCSI root").
conf=$root/etc/iscsi/iscsid.conf
set_value() {
    lines=$(grep -vF "$1 =" "$conf")
    printf '%s\n%s = %s\n' "$lines" "$1" "$2" >"$conf"
}
set_value 'node.conn[0].timeo.noop_out_interval' 0
set_value 'node.conn[0].timeo.noop_out_timeout' 0
set_value node.session.timeo.replacement_timeout 86400

# The session that the initial RAM disk has opened does not know of that file; the time that it waits
# for its target is set when the system finds it.
cat >"$root/etc/udev/rules.d/60-bowline-root.rules" <<END
ACTION=="add", SUBSYSTEM=="iscsi_session", ATTR{recovery_tmo}="86400"
END

# The initial RAM disk brings the network up and nothing takes it away: no ifupdown, no
# NetworkManager is here, and systemd-networkd is told to keep its hands off.
mkdir -p "$root/etc/systemd/network"
cat >"$root/etc/systemd/network/10-bowline-root.network" <<END
# The root file system comes over the network card: it stays as the initial RAM disk left it.
[Match]
Type=ether

[Link]
Unmanaged=yes
END

# What update-grub will do from the first kernel upgrade on, the first menu does by the links that
# Debian keeps to the newest kernel.
mkdir -p "$root/boot/grub" "$root/etc/default/grub.d"
cat >"$root/etc/default/grub.d/bowline.cfg" <<END
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_CMDLINE_LINUX="$KERNEL_OPTIONS"
GRUB_TIMEOUT=1
GRUB_TERMINAL=console
GRUB_DISABLE_OS_PROBER=true
END
cat >"$root/boot/grub/grub.cfg" <<END
linux /vmlinuz root=UUID=$ROOT_UUID ro $KERNEL_OPTIONS
initrd /initrd.img
boot
END

for package in $PACKAGE_FILES; do
    cp "$package" "$root/tmp/"
    chroot "$root" env DEBIAN_FRONTEND=noninteractive dpkg --install "/tmp/${package##*/}"
    rm "$root/tmp/${package##*/}"
done
if [ -n "$HOOK" ]; then
    "$HOOK" "$root"
fi
chroot "$root" update-initramfs -c -k all
# The kernel's package has made its own links, and none to a file that was not there yet.
for link in vmlinuz vmlinuz.old; do
    version=$(readlink "$root/$link")
    ln -sf "boot/initrd.img-${version#boot/vmlinuz-}" "$root/initrd.img${link#vmlinuz}"
done

# Who a machine is, it finds out when it starts for the first time from its own disk: machine-id(5)
# by systemd, the initiator's name by open-iscsi, the keys by the unit below.
echo uninitialized >"$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id" "$root/var/lib/systemd/random-seed"
rm -f "$root"/etc/ssh/ssh_host_*
echo 'GenerateName=yes' >"$root/etc/iscsi/initiatorname.iscsi"
cat >"$root/etc/systemd/system/bowline-identity.service" <<END
[Unit]
Description=SSH host keys of this machine
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
Before=ssh.service

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
END
chroot "$root" systemctl enable --quiet bowline-identity.service
