# What is the same on every processor, the host's own programs do while a Debian for another one is
# made: unpacking, copying, the shell. Run by mmdebstrap: `native lend|return ROOT`, when the essential packages are there and at the end.
#
# They are lent in /native, which is first in PATH, with their libraries at their usual places.
# Programs that tell the processor apart (dpkg, uname, ldd, perl) stay those of the tree.
root=$2
lent=$root/native/lent

# copy PROGRAM PLACE: a program and the libraries that are not there yet.
copy() {
    cp -L "$1" "$root$2"
    for library in $(ldd "$1" | grep -o '/[^ )]*'); do
        [ ! -e "$root$library" ] || continue
        mkdir -p "$root${library%/*}"
        cp -L "$library" "$root$library"
        echo "$library" >>"$lent"
    done
}

case "$1" in
lend)
    mkdir "$root/native"
    for tool in basename cat chgrp chmod chown cp cpio cut depmod dirname dpkg-deb dpkg-split expr \
        find grep gzip head install ln ls mkdir mktemp modprobe mv readlink rm rmdir sed sort stat \
        tail tar tee touch tr uniq wc xargs xz zstd; do
        path=$(command -v "$tool") || continue
        copy "$path" "/native/$tool"
    done
    mv "$root/usr/bin/dash" "$root/usr/bin/dash.foreign"
    copy /usr/bin/dash /usr/bin/dash
    ;;
return)
    mv "$root/usr/bin/dash.foreign" "$root/usr/bin/dash"
    while read -r library; do
        rm "$root$library"
        rmdir --ignore-fail-on-non-empty --parents "$root${library%/*}" 2>/dev/null || :
    done <"$lent"
    rm -r "$root/native"
    ;;
esac
