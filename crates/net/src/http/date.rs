//! Dates of HTTP (RFC 9110 section 5.6.7), all three forms.

/// Seconds since 1970 of a date as HTTP writes it; `None` if it is none.
pub(super) fn parse(text: &str) -> Option<u64> {
    let mut parts = text
        .trim_ascii()
        .split([' ', '-', ','])
        .filter(|part| !part.is_empty());
    let _weekday = parts.next()?;
    let second = parts.next()?;
    let (day, month, year, time) = if second.starts_with(|c: char| c.is_ascii_digit()) {
        // Sun, 06 Nov 1994 08:49:37 GMT; Sunday, 06-Nov-94 08:49:37 GMT
        let (month, year, time) = (parts.next()?, parts.next()?, parts.next()?);
        (parts.next()? == "GMT").then_some((second, month, year, time))?
    } else {
        // Sun Nov  6 08:49:37 1994
        let (day, time, year) = (parts.next()?, parts.next()?, parts.next()?);
        (day, second, year, time)
    };
    if parts.next().is_some() {
        return None;
    }
    let month = MONTHS.iter().position(|name| *name == month)?;
    let year = match (number(year)?, year.len()) {
        // Of two digits: the obsolete form is older than the servers of 2070.
        (year, 2) if year < 70 => 2000 + year,
        (year, 2) => 1900 + year,
        (year @ 1970..=9999, 4) => year,
        _ => return None,
    };
    let day = number(day).filter(|day| (1..=31).contains(day))?;
    let mut time = time.split(':').map(number);
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    // 60 is a leap second.
    if time.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_before(year, month) + day - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn number(text: &str) -> Option<u64> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// Days from 1970 to the beginning of a month, which counts from 0.
fn days_before(year: u64, month: usize) -> u64 {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let before = year.saturating_sub(1);
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let years = year.saturating_sub(1970) * 365 + leap_days(before).saturating_sub(leap_days(1969));
    let months: u64 = LENGTHS.iter().take(month).sum();
    years + months + u64::from(month > 1 && leap(year))
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const LENGTHS: [u64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_are_read() {
        let cases = [
            // RFC 9110 section 5.6.7's own examples.
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
            ("Sun Nov  6 08:49:37 1994", Some(784_111_777)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Tue, 29 Feb 2000 23:59:60 GMT", Some(951_868_800)),
            ("Sat, 01 Mar 2025 00:00:00 GMT", Some(1_740_787_200)),
            ("Wednesday, 31-Dec-69 23:59:59 GMT", Some(3_155_759_999)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799)),
            ("", None),
            ("120", None),
            ("Sun, 06 Nov 1994 08:49:37", None),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("Sun, 06 Nov 1994 08:49:37 GMT x", None),
            ("Sun, 00 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Now 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 24:00:00 GMT", None),
            ("Sun, 06 Nov 1994 08:49 GMT", None),
            ("Sun, 06 Nov 19940 08:49:37 GMT", None),
            ("Sun, 06 Nov 1969 08:49:37 GMT", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(parse(text), seconds, "{text}");
        }
    }
}
