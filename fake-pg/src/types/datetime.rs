//! Dates and times: how they are read and written, and how they become each other.
//!
//! All count from 1970 here, dates in days, the rest in microseconds; the least and the greatest
//! number are the infinities. A time zone is an offset: zones with names need tables of what was
//! decreed where, and there are none here but UTC.

mod civil;
mod interval;
mod read;
mod units;

use std::fmt;

use super::{Datum, Env, Interval, Type};
use crate::engine::Timestamp;
use crate::error::{PgError, SqlState};

pub use civil::{civil_from_days, days_from_civil};
pub use interval::{read as read_interval, whole as whole_interval};
pub use read::{depends_on_session, read};
pub use units::{Unit, unit};

/// A time zone: seconds east of UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Zone(pub i32);

/// Microseconds of a day of 24 hours.
pub const DAY: i64 = 86_400_000_000;

/// `MIN_TIMESTAMP`: 4714 BC. The end, in the year 294276, is beyond what counts from 1970.
const TIMESTAMP_MIN: i64 = -210_866_803_200_000_000;

/// `DATETIME_MIN_JULIAN` and `DATE_END_JULIAN`, from 1970.
const DATES: std::ops::Range<i64> = -2_440_588..2_145_042_906;

/// Midnight of a day.
pub fn midnight(days: i32) -> Timestamp {
    match days {
        i32::MAX => Timestamp(i64::MAX),
        i32::MIN => Timestamp(i64::MIN),
        days => Timestamp(i64::from(days).saturating_mul(DAY)),
    }
}

/// Whether it is one of the infinities.
pub fn is_infinite(at: Timestamp) -> bool {
    matches!(at.0, i64::MAX | i64::MIN)
}

/// A finite time stamp, if PostgreSQL has it.
pub fn checked(micros: Option<i64>) -> Result<Timestamp, PgError> {
    match micros {
        Some(micros @ TIMESTAMP_MIN..) if micros != i64::MAX => Ok(Timestamp(micros)),
        _ => Err(out_of_range("timestamp")),
    }
}

/// A finite date, if PostgreSQL has it.
pub fn checked_date(days: i64) -> Result<i32, PgError> {
    match DATES.contains(&days) {
        true => Ok(days as i32),
        false => Err(out_of_range("date")),
    }
}

/// A time of a day that was written like this; 0A000 in the last thirty years that there are, since
/// PostgreSQL counts from 2000.
fn at(days: i64, micros: i64, text: &str) -> Result<Timestamp, PgError> {
    /// The day after 294276-12-31 (`END_TIMESTAMP`).
    const END: i64 = 106_762_940;
    let at = days.checked_mul(DAY).and_then(|at| at.checked_add(micros));
    checked(at).map_err(|_| match days {
        1..END => PgError::feature_not_supported("timestamps after the year 294246"),
        _ => too_far("timestamp", text),
    })
}

fn too_far(what: &str, text: &str) -> PgError {
    PgError::new(
        SqlState::DATETIME_FIELD_OVERFLOW,
        format!("{what} out of range: \"{text}\""),
    )
}

/// 22008.
pub fn out_of_range(what: &str) -> PgError {
    PgError::new(
        SqlState::DATETIME_FIELD_OVERFLOW,
        format!("{what} out of range"),
    )
}

/// The days in a month.
pub fn month_days(year: i64, month: u32) -> u32 {
    let (next_year, next) = if month == 12 {
        (year + 1, 1)
    } else {
        (year, month + 1)
    };
    (days_from_civil(next_year, next, 1) - days_from_civil(year, month, 1)) as u32
}

impl Zone {
    /// What a clock in this zone shows.
    pub fn local(self, at: Timestamp) -> Timestamp {
        match is_infinite(at) {
            true => at,
            false => Timestamp(at.0.saturating_add(i64::from(self.0) * 1_000_000)),
        }
    }

    /// When a clock in this zone shows that.
    pub fn instant(self, local: Timestamp) -> Timestamp {
        match is_infinite(local) {
            true => local,
            false => Timestamp(local.0.saturating_sub(i64::from(self.0) * 1_000_000)),
        }
    }

    /// UTC, or an offset as AT TIME ZONE and SET understand it; `None` for other names.
    pub fn named(name: &str) -> Option<Zone> {
        let upper = name.trim().to_ascii_uppercase();
        const UTC: [&str; 12] = [
            "UTC",
            "GMT",
            "Z",
            "ZULU",
            "UCT",
            "ETC/UTC",
            "ETC/GMT",
            "ETC/UCT",
            "UNIVERSAL",
            "ETC/UNIVERSAL",
            "ETC/ZULU",
            "GREENWICH",
        ];
        if UTC.contains(&&*upper) {
            return Some(Zone(0));
        }
        // In this notation of POSIX west is positive.
        let bare = upper
            .strip_prefix("UTC")
            .or_else(|| upper.strip_prefix("GMT"))
            .unwrap_or(&upper);
        read::offset(bare).map(|offset| Zone(-offset))
    }
}

/// Converts a date, time or interval to another of them; `None` if there is no such cast.
pub fn convert(datum: Datum, to: Type, env: Env) -> Result<Option<Datum>, PgError> {
    let date_of = |at: Timestamp| match at.0 {
        i64::MAX => Ok(i32::MAX),
        i64::MIN => Ok(i32::MIN),
        micros => checked_date(micros.div_euclid(DAY)),
    };
    let time_of = |at: Timestamp| match is_infinite(at) {
        true => Datum::Null,
        false => Datum::Time(at.0.rem_euclid(DAY)),
    };
    let whole = |days: i32| match midnight(days) {
        at if matches!(days, i32::MAX | i32::MIN) => Ok(at),
        at => checked(Some(at.0)).map_err(|_| {
            PgError::new(
                SqlState::DATETIME_FIELD_OVERFLOW,
                "date out of range for timestamp",
            )
        }),
    };
    Ok(Some(match (datum, to) {
        (Datum::Date(days), Type::Timestamp) => Datum::Timestamp(whole(days)?),
        (Datum::Date(days), Type::Timestamptz) => {
            Datum::Timestamptz(env.zone.instant(whole(days)?))
        }
        (Datum::Timestamp(at), Type::Date) => Datum::Date(date_of(at)?),
        (Datum::Timestamp(at), Type::Time) => time_of(at),
        (Datum::Timestamp(at), Type::Timestamptz) => Datum::Timestamptz(env.zone.instant(at)),
        (Datum::Timestamptz(at), Type::Timestamp) => Datum::Timestamp(env.zone.local(at)),
        (Datum::Timestamptz(at), Type::Date) => Datum::Date(date_of(env.zone.local(at))?),
        (Datum::Timestamptz(at), Type::Time) => time_of(env.zone.local(at)),
        (Datum::Time(micros), Type::Interval) => Datum::Interval(Interval {
            micros,
            ..Interval::default()
        }),
        (Datum::Interval(interval), Type::Time) => Datum::Time(interval.micros.rem_euclid(DAY)),
        (datum @ Datum::Date(_), Type::Date)
        | (datum @ Datum::Time(_), Type::Time)
        | (datum @ Datum::Timestamp(_), Type::Timestamp)
        | (datum @ Datum::Timestamptz(_), Type::Timestamptz)
        | (datum @ Datum::Interval(_), Type::Interval) => datum,
        _ => return Ok(None),
    }))
}

/// Rounds to a precision, halves away from zero (`AdjustTimestampForTypmod`).
pub fn fit(datum: Datum, typmod: i32) -> Datum {
    let round = |micros: i64| {
        let Ok(precision @ 0..=5) = u32::try_from(typmod & 0xffff) else {
            return micros;
        };
        let unit = 10_i64.pow(6 - precision);
        let half = unit / 2;
        match micros {
            i64::MAX | i64::MIN => micros,
            0.. => micros.saturating_add(half) / unit * unit,
            _ => -(micros.saturating_neg().saturating_add(half) / unit * unit),
        }
    };
    // They round as counted from 2000.
    const EPOCH: i64 = 946_684_800_000_000;
    let stamp = |at: Timestamp| match is_infinite(at) {
        true => at,
        false => Timestamp(round(at.0.saturating_sub(EPOCH)).saturating_add(EPOCH)),
    };
    match datum {
        Datum::Timestamp(at) => Datum::Timestamp(stamp(at)),
        Datum::Timestamptz(at) => Datum::Timestamptz(stamp(at)),
        Datum::Time(micros) => Datum::Time(round(micros)),
        Datum::Interval(interval) => Datum::Interval(Interval {
            micros: round(interval.micros),
            ..interval
        }),
        other => other,
    }
}

/// `2024-02-29 13:37:00.5+00`, in a zone.
pub fn write_timestamptz(f: &mut impl fmt::Write, at: Timestamp, zone: Zone) -> fmt::Result {
    if is_infinite(at) {
        return write_timestamp(f, at);
    }
    let local = zone.local(at);
    let era = write_day(f, local.0.div_euclid(DAY))?;
    f.write_char(' ')?;
    write_time(f, local.0.rem_euclid(DAY) as u64)?;
    let sign = if zone.0 < 0 { '-' } else { '+' };
    let offset = zone.0.unsigned_abs();
    write!(f, "{sign}{:02}", offset / 3600)?;
    if !offset.is_multiple_of(3600) {
        write!(f, ":{:02}", offset / 60 % 60)?;
    }
    if !offset.is_multiple_of(60) {
        write!(f, ":{:02}", offset % 60)?;
    }
    f.write_str(era)
}

/// `2024-02-29 13:37:00.5`.
pub fn write_timestamp(f: &mut impl fmt::Write, at: Timestamp) -> fmt::Result {
    match at.0 {
        i64::MAX => return f.write_str("infinity"),
        i64::MIN => return f.write_str("-infinity"),
        _ => {}
    }
    let era = write_day(f, at.0.div_euclid(DAY))?;
    f.write_char(' ')?;
    write_time(f, at.0.rem_euclid(DAY) as u64)?;
    f.write_str(era)
}

/// `2024-02-29`.
pub fn write_date(f: &mut impl fmt::Write, days: i32) -> fmt::Result {
    match days {
        i32::MAX => return f.write_str("infinity"),
        i32::MIN => return f.write_str("-infinity"),
        _ => {}
    }
    let era = write_day(f, days.into())?;
    f.write_str(era)
}

fn write_day(f: &mut impl fmt::Write, days: i64) -> Result<&'static str, fmt::Error> {
    let (year, month, day) = civil_from_days(days);
    let (shown, era) = if year > 0 {
        (year, "")
    } else {
        (1 - year, " BC")
    };
    write!(f, "{shown:04}-{month:02}-{day:02}")?;
    Ok(era)
}

/// `13:37:00.5`.
pub fn write_time(f: &mut impl fmt::Write, micros: u64) -> fmt::Result {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
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
    Ok(())
}
