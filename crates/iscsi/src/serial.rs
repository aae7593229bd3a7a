//! Serial number arithmetic (RFC 1982) for CmdSN and StatSN (RFC 7143 section 4.2.2.1).

/// Whether `a` comes before `b`.
pub(crate) const fn before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}

/// Whether `number` lies in the window from `first` to `last`, both included; the window is
/// empty where `last` is the one before `first`.
pub(crate) const fn within(number: u32, first: u32, last: u32) -> bool {
    !before(number, first) && !before(last, number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_wrap() {
        assert!(before(u32::MAX, 0));
        assert!(!before(0, u32::MAX));
        assert!(within(0, u32::MAX, 3));
        assert!(within(u32::MAX, u32::MAX, 3));
        assert!(!within(4, u32::MAX, 3));
        assert!(!within(5, 5, 4));
    }
}
