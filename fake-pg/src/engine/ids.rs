//! The small numbers the engine is made of. Each is its own type, so that none is taken for another.

use std::fmt;

/// Microseconds since the Unix epoch. The engine never asks a clock: its caller says what time it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This much later; saturates, as a time-out of years must not wrap.
    pub fn after(self, duration: std::time::Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_add(micros))
    }
}

/// `2024-02-29 13:37:00.5+00`, as timestamptz prints in UTC.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY: i64 = 86_400_000_000;
        let (days, micros) = (self.0.div_euclid(DAY), self.0.rem_euclid(DAY));
        let (year, month, day) = civil_from_days(days);
        let (shown, era) = if year > 0 {
            (year, "")
        } else {
            (1 - year, " BC")
        };
        let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
        write!(f, "{shown:04}-{month:02}-{day:02} ")?;
        write!(
            f,
            "{:02}:{:02}:{:02}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        )?;
        if fraction > 0 {
            write!(f, ".{}", format!("{fraction:06}").trim_end_matches('0'))?;
        }
        write!(f, "+00{era}")
    }
}

/// The date that is `days` after 1970-01-01, by Hinnant's algorithm: years begin in March, so that
/// the leap day is the last one.
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted + 2) / 5 + 1) as u32;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil_from_days`].
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = i64::from(if month > 2 { month - 3 } else { month + 9 });
    let day_of_year = (153 * shifted + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A transaction, or a subtransaction, that has written. Zero is none. Reused after a crash
    /// that lost it, as in PostgreSQL.
    Xid(u64)
}
number! {
    /// A server process: one session.
    Pid(i32)
}
number! {
    /// A table's OID: what the catalog and RowDescription call it.
    TableId(u32)
}
number! {
    /// Where a table's or a sequence's data is. TRUNCATE gives a table a new one.
    FileNode(u32)
}
number! {
    /// A tuple's place in its heap.
    Tid(u32)
}
number! {
    /// The n-th writing command of a transaction.
    CommandId(u32)
}
number! {
    /// The n-th commit of the server's whole life, crashes included; the first is 1.
    CommitNumber(u64)
}

impl Xid {
    /// No transaction.
    pub const NONE: Xid = Xid(0);
    /// The writer of what everybody sees (`FrozenTransactionId`).
    pub const FROZEN: Xid = Xid(2);
    /// The writer of what is not there: nobody ever sees it.
    pub const NEVER: Xid = Xid(u64::MAX);
}

/// A position in the WAL: how many records precede it since the first. It is shown as if a server's
/// first segments lay before that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// `0/16B3748`, as pg_lsn prints.
impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FIRST: u64 = 0x1000_0000;
        let shown = self.0 + FIRST;
        write!(f, "{:X}/{:X}", shown >> 32, shown & 0xffff_ffff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_prints_as_timestamptz_in_utc() {
        // Expectations from `select to_timestamp(n)` on PostgreSQL 15 with TimeZone = UTC.
        for (micros, text) in [
            (0, "1970-01-01 00:00:00+00"),
            (-500_000, "1969-12-31 23:59:59.5+00"),
            (951_782_400_000_000, "2000-02-29 00:00:00+00"),
            (1_709_213_820_000_001, "2024-02-29 13:37:00.000001+00"),
            (-62_135_596_801_000_000, "0001-12-31 23:59:59+00 BC"),
        ] {
            assert_eq!(Timestamp(micros).to_string(), text);
        }
    }

    #[test]
    fn days_and_dates_are_inverse() {
        for days in (-1_000_000..1_000_000).step_by(997) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }
}
