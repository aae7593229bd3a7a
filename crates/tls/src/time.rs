//! What time it is, how that is known, and what it may be used for.
//!
//! The policy:
//!
//! 1. The firmware's clock counts where it is sane: not before the floor and not more than twenty
//!    years after it.
//! 2. Where it is not, the floor counts: when the loader was built or packed, whichever is later.
//!    Then the true time is not known, only that it is *at least* the floor. A certificate that
//!    ended before the floor has certainly expired; one that begins after it is not refused for
//!    being new.
//! 3. A time obtained in an authenticated exchange (the `Date` of an HTTPS answer) takes their place
//!    if it is later. A server that has proved who it is has not proved that it may turn back time.
//! 4. A time nobody vouches for (NTP, DHCP), when there is no authenticated one, moves the clock of
//!    1 and 2 forward and nothing else: it can make a certificate expire, it can never bring an
//!    expired one back to life, and a lower bound stays a lower bound.
//!
//! No time before the floor is ever used.

use core::fmt;
use core::time::Duration;
use rustls_pki_types::UnixTime;

const DAY: u64 = 86_400;
/// How far after the floor a clock is still believed.
const CREDIBLE: u64 = 20 * 365 * DAY;

/// Seconds since 1970-01-01 00:00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// From a calendar date and time of day in UTC (proleptic Gregorian); `None` if there is no
    /// such moment since 1970. A leap second counts as the second before it.
    pub fn from_calendar(date: (u16, u8, u8), time: (u8, u8, u8)) -> Option<Self> {
        let (year, month, day) = (u64::from(date.0), u64::from(date.1), u64::from(date.2));
        let (hour, minute, second) = (u64::from(time.0), u64::from(time.1), u64::from(time.2));
        if year < 1970
            || !(1..=12).contains(&month)
            || day < 1
            || day > days_in_month(year, month)
            || hour > 23
            || minute > 59
            || second > 60
        {
            return None;
        }
        // Years that begin in March make the leap day the last of the year.
        let (year, month) = if month > 2 {
            (year, month - 3)
        } else {
            (year - 1, month + 9)
        };
        let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
        // Day 719 469 of that count is 1970-01-01.
        let days = days.checked_sub(719_469)?;
        Some(Self(
            days * DAY + hour * 3600 + minute * 60 + second.min(59),
        ))
    }

    /// Year, month, day, hour, minute, second in UTC.
    pub fn calendar(self) -> (u64, u64, u64, u64, u64, u64) {
        let days = self.0 / DAY + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 {
            march_month + 3
        } else {
            march_month - 9
        };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let seconds = self.0 % DAY;
        (
            year,
            month,
            day,
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
        )
    }

    /// Reads RFC 3339 in UTC, as in `2027-01-01T00:00:00Z`; the time of day may be left out.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let (date, time) = match text.split_once(['T', 't', ' ']) {
            Some((date, time)) => (date, time.strip_suffix(['Z', 'z'])?),
            None => (text, "00:00:00"),
        };
        let mut date = date.splitn(3, '-');
        let (year, month, day) = (date.next()?, date.next()?, date.next()?);
        if year.len() != 4 {
            return None;
        }
        Self::from_calendar(
            (digits(year)?, digits(month)?, digits(day)?),
            time_of_day(time)?,
        )
    }
}

fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn digits<T: core::str::FromStr>(text: &str) -> Option<T> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn time_of_day(text: &str) -> Option<(u8, u8, u8)> {
    let mut parts = text.splitn(3, ':');
    Some((
        digits(parts.next()?)?,
        digits(parts.next()?)?,
        digits(parts.next()?)?,
    ))
}

impl From<Timestamp> for UnixTime {
    fn from(time: Timestamp) -> Self {
        Self::since_unix_epoch(Duration::from_secs(time.0))
    }
}

impl From<UnixTime> for Timestamp {
    fn from(time: UnixTime) -> Self {
        Self(time.as_secs())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, hour, minute, second) = self.calendar();
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"
        )
    }
}

/// Where a time came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An exchange with a peer whose certificate had been verified.
    Authenticated,
    /// The firmware's clock (`GetTime`).
    Firmware,
    /// Someone on the network who could be anyone (NTP, DHCP).
    Network,
    /// The operator said so (`--at`).
    Operator,
    /// The date the loader was built or packed.
    Floor,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authenticated => "from a verified server",
            Self::Firmware => "firmware clock",
            Self::Network => "network time, not authenticated",
            Self::Operator => "as given",
            Self::Floor => "when this loader was built or packed",
        })
    }
}

/// One opinion about the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The time.
    pub time: Timestamp,
    /// Who said so.
    pub source: Source,
}

/// Whether the clock is believed, or only a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// It is this time.
    Exact,
    /// It is this time or later.
    AtLeast,
}

/// The time certificates are judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The time, or the lower bound of it.
    pub time: Timestamp,
    /// Which of the two.
    pub certainty: Certainty,
    /// Where it came from.
    pub source: Source,
}

impl Clock {
    /// A clock that says `time` because the operator does.
    pub fn at(time: Timestamp) -> Self {
        Self {
            time,
            certainty: Certainty::Exact,
            source: Source::Operator,
        }
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.certainty {
            Certainty::Exact => write!(f, "the clock says {} ({})", self.time, self.source),
            Certainty::AtLeast => write!(
                f,
                "there is no clock to rely on, but it is at least {} ({})",
                self.time, self.source
            ),
        }
    }
}

/// Decides which reading to believe; the module's documentation has the rules.
#[derive(Clone, Copy, Debug)]
pub struct TimePolicy {
    floor: Timestamp,
}

impl TimePolicy {
    /// A policy whose floor is the date of build or packing.
    pub fn new(floor: Timestamp) -> Self {
        Self { floor }
    }

    /// The clock that follows from `readings`, given in any order.
    pub fn decide(&self, readings: &[Reading]) -> Clock {
        let latest = |source| {
            let credible = self.floor.0..=self.floor.0.saturating_add(CREDIBLE);
            let of_source = readings.iter().filter(|reading| reading.source == source);
            of_source
                .map(|reading| reading.time)
                .filter(|time| credible.contains(&time.0))
                .max()
        };
        let exact = |time, source| Clock {
            time,
            certainty: Certainty::Exact,
            source,
        };
        if let Some(time) = latest(Source::Operator) {
            return exact(time, Source::Operator);
        }
        let clock = match latest(Source::Firmware) {
            Some(time) => exact(time, Source::Firmware),
            None => {
                let certainty = Certainty::AtLeast;
                Clock {
                    time: self.floor,
                    certainty,
                    source: Source::Floor,
                }
            }
        };
        if let Some(time) = latest(Source::Authenticated) {
            let believed = clock.certainty == Certainty::AtLeast || time > clock.time;
            return if believed {
                exact(time, Source::Authenticated)
            } else {
                clock
            };
        }
        match latest(Source::Network) {
            Some(time) if time > clock.time => Clock {
                time,
                source: Source::Network,
                ..clock
            },
            _ => clock,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    const FLOOR: Timestamp = Timestamp(1_780_000_000);
    const LATER: Timestamp = Timestamp(1_790_000_000);

    fn decide(readings: &[(Source, Timestamp)]) -> Clock {
        let readings: Vec<_> = readings
            .iter()
            .map(|&(source, time)| Reading { time, source })
            .collect();
        TimePolicy::new(FLOOR).decide(&readings)
    }

    #[test]
    fn calendar_is_right_at_the_edges() {
        for (date, time, seconds) in [
            ((1970, 1, 1), (0, 0, 0), 0),
            ((1999, 12, 31), (23, 59, 59), 946_684_799),
            ((2000, 2, 29), (12, 0, 0), 951_825_600),
            ((2000, 3, 1), (0, 0, 0), 951_868_800),
            ((2016, 12, 31), (23, 59, 60), 1_483_228_799),
            ((2038, 1, 19), (3, 14, 8), 2_147_483_648),
            ((2100, 3, 1), (0, 0, 0), 4_107_542_400),
            ((9999, 12, 31), (23, 59, 59), 253_402_300_799),
        ] {
            assert_eq!(
                Timestamp::from_calendar(date, time),
                Some(Timestamp(seconds)),
                "{date:?}"
            );
        }
        assert_eq!(
            Timestamp(951_825_600).to_string(),
            "2000-02-29 12:00:00 UTC"
        );
        assert_eq!(
            Timestamp(253_402_300_799).to_string(),
            "9999-12-31 23:59:59 UTC"
        );
        for day in 0..80_000 {
            let (y, m, d, ..) = Timestamp(day * DAY).calendar();
            let back = Timestamp::from_calendar((y as u16, m as u8, d as u8), (0, 0, 0));
            assert_eq!(back, Some(Timestamp(day * DAY)));
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for date in [
            (1969, 12, 31),
            (2023, 2, 29),
            (2100, 2, 29),
            (2024, 13, 1),
            (2024, 0, 1),
        ] {
            assert_eq!(Timestamp::from_calendar(date, (0, 0, 0)), None, "{date:?}");
        }
        for text in [
            "2027-01-01T00:00:00",
            "2027-1-1T0:0Z",
            "27-01-01",
            "2027-01-+1",
            "x",
            "",
        ] {
            assert_eq!(Timestamp::from_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn written_dates_are_read() {
        let new_year = Timestamp::from_calendar((2027, 1, 1), (0, 0, 0));
        assert_eq!(Timestamp::from_rfc3339("2027-01-01T00:00:00Z"), new_year);
        assert_eq!(Timestamp::from_rfc3339("2027-01-01"), new_year);
    }

    #[test]
    fn without_any_reading_only_the_floor_is_known() {
        let clock = decide(&[]);
        assert_eq!((clock.time, clock.certainty), (FLOOR, Certainty::AtLeast));
        assert!(clock.to_string().contains("at least"));
    }

    #[test]
    fn firmware_clock_is_believed_where_it_is_sane() {
        let clock = decide(&[(Source::Firmware, LATER)]);
        assert_eq!(
            clock,
            Clock {
                time: LATER,
                certainty: Certainty::Exact,
                source: Source::Firmware
            }
        );
        for insane in [
            Timestamp(0),
            Timestamp(FLOOR.0 - 1),
            Timestamp(FLOOR.0 + CREDIBLE + 1),
        ] {
            assert_eq!(decide(&[(Source::Firmware, insane)]).source, Source::Floor);
        }
    }

    #[test]
    fn network_time_only_moves_the_clock_forward() {
        let clock = decide(&[(Source::Firmware, LATER), (Source::Network, FLOOR)]);
        assert_eq!((clock.time, clock.source), (LATER, Source::Firmware));
        let clock = decide(&[(Source::Network, LATER)]);
        assert_eq!((clock.time, clock.certainty), (LATER, Certainty::AtLeast));
    }

    #[test]
    fn authenticated_time_is_believed_unless_it_turns_the_clock_back() {
        let believed = Timestamp(LATER.0 - 100);
        let network = (Source::Network, Timestamp(LATER.0 + 100));
        let clock = decide(&[network, (Source::Authenticated, believed)]);
        assert_eq!(
            (clock.time, clock.source),
            (believed, Source::Authenticated)
        );
        assert_eq!(clock.certainty, Certainty::Exact);
        let slow = (Source::Firmware, Timestamp(LATER.0 - 200));
        let clock = decide(&[slow, network, (Source::Authenticated, believed)]);
        assert_eq!(
            (clock.time, clock.source),
            (believed, Source::Authenticated)
        );
        let clock = decide(&[(Source::Firmware, LATER), (Source::Authenticated, believed)]);
        assert_eq!((clock.time, clock.source), (LATER, Source::Firmware));
    }

    #[test]
    fn nothing_goes_below_the_floor() {
        let early = Timestamp(FLOOR.0 - DAY);
        for source in [Source::Authenticated, Source::Firmware, Source::Network] {
            assert!(decide(&[(source, early)]).time >= FLOOR, "{source:?}");
        }
    }
}
