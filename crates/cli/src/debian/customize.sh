# Makes a fresh Debian tree one that boots from iSCSI. Run by mmdebstrap with the tree as argument;
# the variables come from `bowline image build debian`.
root=$1

# The root file system and the ESP by their UUIDs: the disk has another name on every machine.
cat >"$root/etc/fstab" <<END
UUID=$ROOT_UUID / ext4 errors=remount-ro 0 1
UUID=$ESP_UUID /boot/efi vfat umask=0077 0 1
END
mkdir -p "$root/boot/efi"

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
wait_for_the_target
start_iscsid_first
leave_the_network_alone
forget_the_identity
if [ -n "$HOOK" ]; then
    "$HOOK" "$root"
fi
chroot "$root" update-initramfs -c -k all
# The kernel's package has made its own links, and none to a file that was not there yet.
for link in vmlinuz vmlinuz.old; do
    version=$(readlink "$root/$link")
    ln -sf "boot/initrd.img-${version#boot/vmlinuz-}" "$root/initrd.img${link#vmlinuz}"
done
