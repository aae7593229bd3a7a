# What a Debian needs to have its root file system on iSCSI: functions on the tree $root. Sourced
# by nobody: it is put in front of customize.sh and prepare.sh.

# A root disk is waited for, however long the target is away (open-iscsi README, "iSCSI settings
# for iSCSI root").
wait_for_the_target() {
    conf=$root/etc/iscsi/iscsid.conf
    for setting in 'node.conn[0].timeo.noop_out_interval = 0' \
        'node.conn[0].timeo.noop_out_timeout = 0' \
        'node.session.timeo.replacement_timeout = 86400'; do
        lines=$(grep -vF "${setting% = *} =" "$conf")
        printf '%s\n%s\n' "$lines" "$setting" >"$conf"
    done
    # The session that the initial RAM disk has opened does not know of that file; the time that it
    # waits for its target is set when the system finds it.
    cat >"$root/etc/udev/rules.d/60-bowline-root.rules" <<END
ACTION=="add", SUBSYSTEM=="iscsi_session", ATTR{recovery_tmo}="86400"
END
}

# A connection that is lost is made anew by iscsid, which is itself on that disk: until it runs, nobody
# does it. So it starts before all else, and not behind the network, which is up.
start_iscsid_first() {
    cat >"$root/etc/systemd/system/iscsid.service" <<END
[Unit]
Description=iSCSI initiator daemon (iscsid), for the root disk
Documentation=man:iscsid(8)
DefaultDependencies=no
Wants=remote-fs-pre.target
After=systemd-remount-fs.service
Before=sysinit.target remote-fs-pre.target shutdown.target
Conflicts=shutdown.target

[Service]
Type=forking
PIDFile=/run/iscsid.pid
ExecStartPre=/lib/open-iscsi/startup-checks.sh
ExecStart=/sbin/iscsid

[Install]
WantedBy=sysinit.target
END
    # Its socket may not wait for the rest of the system either.
    mkdir -p "$root/etc/systemd/system/iscsid.socket.d"
    cat >"$root/etc/systemd/system/iscsid.socket.d/bowline-root.conf" <<END
[Unit]
DefaultDependencies=no
Before=sockets.target shutdown.target
Conflicts=shutdown.target
END
    chroot "$root" systemctl enable --quiet iscsid.service
}

# The initial RAM disk brings the network up and nothing takes it away: whoever manages network
# cards is told to keep his hands off.
leave_the_network_alone() {
    mkdir -p "$root/etc/systemd/network"
    cat >"$root/etc/systemd/network/10-bowline-root.network" <<END
# The root file system comes over the network card: it stays as the initial RAM disk left it.
[Match]
Type=ether

[Link]
Unmanaged=yes
END
}

# Who a machine is, it finds out from its own disk and from the DHCP server: machine-id(5) by
# systemd, the initiator's name by open-iscsi, SSH host keys and host name by the unit below. What
# DHCP said to the initial RAM disk is in /run/net-*.conf.
forget_the_identity() {
    echo uninitialized >"$root/etc/machine-id"
    rm -f "$root/var/lib/dbus/machine-id" "$root/var/lib/systemd/random-seed"
    rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/hostname"
    echo 'GenerateName=yes' >"$root/etc/iscsi/initiatorname.iscsi"
    cat >"$root/etc/systemd/system/bowline-identity.service" <<'END'
[Unit]
Description=Host name and SSH host keys of this machine
Before=ssh.service

[Service]
Type=oneshot
ExecStart=/bin/sh -c '[ -e /etc/hostname ] || cat /run/net-*.conf | grep -m 1 ^HOSTNAME= | cut -d= -f2 | tr -cd A-Za-z0-9.- >/proc/sys/kernel/hostname'
ExecStart=-/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
END
    chroot "$root" systemctl enable --quiet bowline-identity.service
}
