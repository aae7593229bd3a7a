# shellcheck shell=sh
# Reads the iSCSI Boot Firmware Table (iBFT, version 1) that the loader left: where the root disk
# is. For sourcing by a POSIX shell; needs `od`.
#
#   ibft_find             prints the file with the table; fails where there is none
#   ibft_read FILE [0|1]  sets the variables below from the first target, which was booted from,
#                         or from the second; fails where there is none
#
#   ibft_initiator                                       our iSCSI name
#   ibft_target ibft_address ibft_port ibft_lun          the disk; the LUN as a decimal number
#   ibft_username ibft_password                          CHAP; empty without it
#   ibft_in_username ibft_in_password                    what the target proves itself with
#   ibft_mac ibft_vlan                                   the card; VLAN 0 without a tag
#   ibft_ip ibft_prefix ibft_gateway ibft_dns ibft_dns2  its configuration; empty where not told
#   ibft_dhcp ibft_hostname                              the DHCP server, if one gave it

ibft_find() {
    # ACPI tables are files named by their signatures, properties of the device tree are files
    # too. Only root may read either.
    for ibft_file in /sys/firmware/acpi/tables/iBFT /sys/firmware/acpi/tables/IBFT \
        /proc/device-tree/chosen/security-bowline,ibft; do
        if [ -r "$ibft_file" ]; then
            echo "$ibft_file"
            return 0
        fi
    done
    return 1
}

ibft_read() {
    # Every byte gets a variable: a file that is read once needs no seeking, and no copy.
    ibft_size=0
    for ibft_byte in $(od -An -v -tu1 "$1"); do
        eval "ibft_b$ibft_size=$ibft_byte"
        ibft_size=$((ibft_size + 1))
    done
    # The table's header ends at 48, the control structure at 66.
    [ "$ibft_size" -ge 66 ] || return 1
    [ "$ibft_b0 $ibft_b1 $ibft_b2 $ibft_b3" = "105 66 70 84" ] || return 1
    ibft_word 56
    ibft_text $((ibft_value + 70)) && ibft_initiator=$ibft_value

    ibft_word $((60 + 4 * ${2:-0}))
    [ "$ibft_value" -ne 0 ] || return 1
    ibft_at=$ibft_value
    ibft_ip_address $((ibft_at + 6)) && ibft_address=$ibft_value
    ibft_word $((ibft_at + 22)) && ibft_port=$ibft_value
    # Up to 16383, in the first two bytes (SAM-5 section 4.7.7).
    eval "ibft_lun=\$(((ibft_b$((ibft_at + 24)) & 63) * 256 + ibft_b$((ibft_at + 25))))"
    eval "ibft_card=\$ibft_b$((ibft_at + 33))"
    ibft_text $((ibft_at + 34)) && ibft_target=$ibft_value
    ibft_text $((ibft_at + 38)) && ibft_username=$ibft_value
    ibft_text $((ibft_at + 42)) && ibft_password=$ibft_value
    ibft_text $((ibft_at + 46)) && ibft_in_username=$ibft_value
    ibft_text $((ibft_at + 50)) && ibft_in_password=$ibft_value

    ibft_word $((58 + 4 * ibft_card))
    ibft_at=$ibft_value
    ibft_ip_address $((ibft_at + 6)) && ibft_ip=$ibft_value
    eval "ibft_prefix=\$ibft_b$((ibft_at + 22))"
    ibft_ip_address $((ibft_at + 24)) && ibft_gateway=$ibft_value
    ibft_ip_address $((ibft_at + 40)) && ibft_dns=$ibft_value
    ibft_ip_address $((ibft_at + 56)) && ibft_dns2=$ibft_value
    ibft_ip_address $((ibft_at + 72)) && ibft_dhcp=$ibft_value
    ibft_word $((ibft_at + 88)) && ibft_vlan=$ibft_value
    ibft_format '%02x:' $((ibft_at + 90)) 6 && ibft_mac=$ibft_value
    ibft_text $((ibft_at + 98)) && ibft_hostname=$ibft_value
}

# The functions below leave what they found in ibft_value.

# Little-endian, 16 bits.
ibft_word() {
    eval "ibft_value=\$((ibft_b$1 + 256 * ibft_b$(($1 + 1))))"
}

# COUNT bytes from OFFSET on, each in this FORMAT of printf, whose last character goes at the end.
ibft_format() {
    ibft_list=
    ibft_i=$2
    while [ "$ibft_i" -lt $(($2 + $3)) ]; do
        eval "ibft_list=\"\$ibft_list \$ibft_b$ibft_i\""
        ibft_i=$((ibft_i + 1))
    done
    # shellcheck disable=SC2059,SC2086
    ibft_value=$(printf "$1" $ibft_list)
    ibft_value=${ibft_value%?}
}

# A text, by its length and offset.
ibft_text() {
    ibft_word "$1"
    ibft_end=$ibft_value
    ibft_word $(($1 + 2))
    ibft_end=$((ibft_end + ibft_value))
    ibft_octal=
    while [ "$ibft_value" -lt "$ibft_end" ]; do
        eval "ibft_byte=\$ibft_b$ibft_value"
        ibft_octal="$ibft_octal\\0$((ibft_byte / 64))$((ibft_byte / 8 % 8))$((ibft_byte % 8))"
        ibft_value=$((ibft_value + 1))
    done
    ibft_value=$(printf '%b' "$ibft_octal")
}

# 16 bytes, in which an IPv4 address is mapped into IPv6.
ibft_ip_address() {
    ibft_format '%02x%02x:' "$1" 16
    case "$ibft_value" in
    0000:0000:0000:0000:0000:0000:0000:0000 | 0000:0000:0000:0000:0000:ffff:0000:0000)
        ibft_value=
        ;;
    0000:0000:0000:0000:0000:ffff:*) ibft_format '%d.' $(($1 + 12)) 4 ;;
    esac
}
