# What is the same on every processor, the host's own programs do while a Debian for another one is
# made: unpacking, copying, the shell. Run by mmdebstrap: `native lend|return ROOT`.
#
# A program of the tree steps aside for the host's, whose libraries are put at their usual places.
# Those that tell the processor apart (dpkg, uname, ldd, perl) stay those of the tree.
root=$2
lent=$root/lent

case "$1" in
lend)
    for tool in basename cat chgrp chmod chown cp cpio cut dash dirname dpkg-deb dpkg-split expr find \
        grep gzip head install kmod ln ls mkdir mktemp mv readlink rm rmdir sed sort stat tail tar \
        tee touch tr wc xargs xz zstd; do
        place=$root/usr/bin/$tool
        [ -f "$place" ] && [ ! -e "$place.foreign" ] && path=$(command -v "$tool") || continue
        mv "$place" "$place.foreign"
        cp -L "$path" "$place"
        for library in $(ldd "$path" | grep -o '/[^ )]*'); do
            [ ! -e "$root$library" ] || continue
            mkdir -p "$root${library%/*}"
            cp -L "$library" "$root$library"
            echo "$library" >>"$lent"
        done
    done
    ;;
return)
    for place in "$root"/usr/bin/*.foreign; do
        mv "$place" "${place%.foreign}"
    done
    while read -r library; do
        rm "$root$library"
        rmdir --ignore-fail-on-non-empty --parents "$root${library%/*}" 2>/dev/null || :
    done <"$lent"
    rm "$lent"
    ;;
esac
