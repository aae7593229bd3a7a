# Makes an installed Debian one that boots from iSCSI, in a mount namespace of its own. The
# variables come from `bowline image prepare`: $DISK is a raw image, offsets and lengths are bytes.
root=$SCRATCH/root
mkdir "$root"

# attach OFFSET LENGTH FOLDER: mounts an ext4 file system of the disk.
attach() {
    mount -t ext4 -o "loop,offset=$1,sizelimit=$2" "$DISK" "$3" || {
        echo "cannot mount the file system at byte $1 of the disk: a container needs \
--privileged for it" >&2
        exit 1
    }
}

# uuid_of NUMBER: that of the file system in a partition.
uuid_of() {
    for partition in $PARTITIONS; do
        [ "${partition%%:*}" = "$1" ] || continue
        place=${partition#*:}
        blkid --probe --offset "${place%:*}" --size "${place#*:}" --match-tag UUID --output value "$DISK"
    done
}

attach "$ROOT_OFFSET" "$ROOT_LENGTH" "$root"
if ! chroot "$root" /bin/true; then
    echo "this machine does not run the programs on the disk: for another processor, apt install \
qemu-user-static" >&2
    exit 1
fi

# /dev/sda2 is another disk on another machine; its file system has a UUID.
for device in $(grep -oE '^/dev/(sd[a-z]+|vd[a-z]+|nvme[0-9]+n[0-9]+p|mmcblk[0-9]+p)[0-9]+' \
    "$root/etc/fstab"); do
    uuid=$(uuid_of "$(expr "$device" : '.*[a-z]\([0-9]*\)$')")
    [ -z "$uuid" ] || sed -i "s|^$device\([[:space:]]\)|UUID=$uuid\1|" "$root/etc/fstab"
done
# A /boot of its own is filled by what is done below.
boot=$(sed -nE 's|^UUID=([^[:space:]]+)[[:space:]]+/boot[[:space:]].*|\1|p' "$root/etc/fstab")
for partition in $PARTITIONS; do
    place=${partition#*:}
    [ -n "$boot" ] && [ "$(uuid_of "${partition%%:*}")" = "$boot" ] || continue
    attach "${place%:*}" "${place#*:}" "$root/boot"
done
mount --bind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"

# The host's name servers. # The system's own is often a link into /run, which leads nowhere here.
mv "$root/etc/resolv.conf" "$root/etc/resolv.conf.kept" 2>/dev/null || :
cp /etc/resolv.conf "$root/etc/resolv.conf"
apt() {
    chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get "$@"
}
for package in $PACKAGE_FILES; do
    cp "$package" "$root/tmp/"
done
wanted=$(cd "$root" && ls tmp/*.deb 2>/dev/null | sed 's|^|/|')
chroot "$root" sh -c 'command -v iscsistart' >/dev/null || wanted="open-iscsi $wanted"
chroot "$root" sh -c 'command -v busybox' >/dev/null || wanted="busybox $wanted"
if [ -n "${wanted# }" ]; then
    apt --quiet update
    # shellcheck disable=SC2086
    apt --quiet --yes --no-install-recommends install $wanted
fi
rm -f "$root/etc/resolv.conf"
mv "$root/etc/resolv.conf.kept" "$root/etc/resolv.conf" 2>/dev/null || :

wait_for_the_target
start_iscsid_first
leave_the_network_alone
if [ -d "$root/etc/NetworkManager" ]; then
    mkdir -p "$root/etc/NetworkManager/conf.d"
    printf '[keyfile]\nunmanaged-devices=type:ethernet\n' \
        >"$root/etc/NetworkManager/conf.d/bowline-root.conf"
fi
for file in "$root/etc/network/interfaces" "$root"/etc/network/interfaces.d/*; do
    [ -f "$file" ] || continue
    sed -i -E '/^(auto|allow-auto|allow-hotplug)[[:space:]]+lo[[:space:]]*$/!s/^(auto|allow-auto|allow-hotplug)[[:space:]]/#&/' "$file"
done
forget_the_identity

# The disk's drivers of the machine it was installed on are not those of another.
for file in "$root"/etc/initramfs-tools/initramfs.conf "$root"/etc/initramfs-tools/conf.d/*; do
    [ -f "$file" ] && sed -i 's/^MODULES=dep/MODULES=most/' "$file"
done
chroot "$root" update-initramfs -u -k all

# GRUB's package is to keep up what is made below.
for package in grub-efi-amd64 grub-efi-arm64; do
    chroot "$root" dpkg-query --status "$package" >/dev/null 2>&1 || continue
    echo "$package grub2/force_efi_extra_removable boolean true" | chroot "$root" debconf-set-selections
done
umount --recursive "$root"

# What the firmware of any machine finds (UEFI 2.11 section 3.5.1.1): the boot loader that the
# installer has put in a folder of its own.
esp=$DISK@@$ESP_OFFSET
mcopy -s -i "$esp" ::/EFI "$SCRATCH/"
for arch in aa64 x64; do
    removable=::/EFI/BOOT/BOOT$(echo "$arch" | tr '[:lower:]' '[:upper:]').EFI
    if mdir -i "$esp" "$removable" >/dev/null 2>&1; then
        continue
    fi
    for grub in "$SCRATCH"/EFI/*/grub"$arch".efi; do
        [ -f "$grub" ] || continue
        mmd -D s -i "$esp" ::/EFI/BOOT </dev/null || :
        first=$grub
        if [ -f "${grub%/*}/shim$arch.efi" ]; then
            first=${grub%/*}/shim$arch.efi
            for beside in "$grub" "${grub%/*}/mm$arch.efi"; do
                [ ! -f "$beside" ] || mcopy -o -i "$esp" "$beside" ::/EFI/BOOT/
            done
        fi
        mcopy -i "$esp" "$first" "$removable"
        break
    done
done
