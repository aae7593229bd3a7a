//! Integers as C's `strtol` with base 0 reads them, which is what iPXE scripts are written for.

/// Parses `10`, `-10`, `+10`, `0x0a` or `012` (octal); `None` for anything else or beyond 64 bits.
#[must_use]
pub fn parse_integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"))
    {
        Some(hex) => (hex, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    // `from_str_radix` would take a second sign.
    if !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let magnitude = i128::from(u64::from_str_radix(digits, radix).ok()?);
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

#[cfg(test)]
mod tests {
    use super::parse_integer;

    #[test]
    fn reads_what_strtol_reads() {
        for (text, expected) in [
            ("0", Some(0)),
            ("10", Some(10)),
            ("-10", Some(-10)),
            ("+10", Some(10)),
            ("0x80", Some(0x80)),
            ("0XfF", Some(0xff)),
            ("-0x1", Some(-1)),
            ("010", Some(8)),
            ("00", Some(0)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("08", None),
            ("", None),
            ("-", None),
            ("0x", None),
            ("--1", None),
            ("+-1", None),
            ("0x-1", None),
            ("1k", None),
            (" 1", None),
        ] {
            assert_eq!(parse_integer(text), expected, "{text:?}");
        }
    }
}
