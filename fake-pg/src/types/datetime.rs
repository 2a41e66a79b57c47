//! Dates and times.

use std::fmt;

use super::{Datum, Env, Type};
use crate::engine::{Timestamp, civil_from_days};
use crate::error::PgError;

/// A time zone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Zone;

const DAY: i64 = 86_400_000_000;

/// Midnight of a day.
pub fn midnight(days: i32) -> Timestamp {
    match days {
        i32::MAX => Timestamp(i64::MAX),
        i32::MIN => Timestamp(i64::MIN),
        days => Timestamp(i64::from(days) * DAY),
    }
}

/// Whether the text says `now` or the like.
pub fn depends_on_session(_text: &str) -> bool {
    false
}

/// Converts between them.
pub fn convert(_datum: Datum, _to: Type, _env: Env) -> Result<Option<Datum>, PgError> {
    Ok(None)
}

/// Rounds to a precision.
pub fn fit(datum: Datum, _typmod: i32) -> Result<Datum, PgError> {
    Ok(datum)
}

/// `2024-02-29 13:37:00.5`.
pub fn write_timestamp(f: &mut fmt::Formatter<'_>, at: Timestamp) -> fmt::Result {
    f.write_str(at.to_string().trim_end_matches("+00"))
}

/// `2024-02-29`.
pub fn write_date(f: &mut fmt::Formatter<'_>, days: i32) -> fmt::Result {
    let (year, month, day) = civil_from_days(days.into());
    write!(f, "{year:04}-{month:02}-{day:02}")
}

/// `13:37:00.5`.
pub fn write_time(f: &mut fmt::Formatter<'_>, micros: i64) -> fmt::Result {
    let seconds = micros / 1_000_000;
    write!(
        f,
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}
