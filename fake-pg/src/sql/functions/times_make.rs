//! Dates, times and intervals made of their parts.

use super::Built;
use crate::engine::{Halt, Timestamp};
use crate::error::{PgError, SqlState};
use crate::sql::face::Context;
use crate::types::Datum;
use crate::types::datetime::{self, DAY, checked, days_from_civil, out_of_range};

type Answer = Result<Datum, Halt>;

pub(super) const BUILT: Built = &[
    ("make_date(int4,int4,int4)", make_date),
    (
        "make_interval(int4,int4,int4,int4,int4,int4,float8)",
        make_interval,
    ),
    (
        "make_timestamp(int4,int4,int4,int4,int4,float8)",
        make_timestamp,
    ),
    (
        "make_timestamptz(int4,int4,int4,int4,int4,float8)",
        make_timestamptz,
    ),
    ("make_time(int4,int4,float8)", make_time),
    ("to_timestamp(float8)", to_timestamp),
];

fn interval_overflow() -> Halt {
    out_of_range("interval").into()
}

fn int(datum: &Datum) -> i64 {
    datum.as_i64().unwrap_or(0)
}

pub(super) fn field_overflow(message: String) -> Halt {
    PgError::new(SqlState::DATETIME_FIELD_OVERFLOW, message).into()
}

/// A day of the calendar; years before 1 are negative.
fn day_of(year: i64, month: i64, day: i64) -> Option<i64> {
    let counted = match year {
        0 => return None,
        ..0 => year + 1,
        _ => year,
    };
    let valid = (1..=12).contains(&month)
        && (1..=i64::from(datetime::month_days(counted, month as u32))).contains(&day);
    valid.then(|| days_from_civil(counted, month as u32, day as u32))
}

fn make_date(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let (year, month, day) = (int(&args[0]), int(&args[1]), int(&args[2]));
    let shown = format!("{year}-{month:02}-{day:02}");
    let days = day_of(year, month, day)
        .ok_or_else(|| field_overflow(format!("date field value out of range: {shown}")))?;
    let date = datetime::checked_date(days)
        .map_err(|_| field_overflow(format!("date out of range: {shown}")))?;
    Ok(Datum::Date(date))
}

fn clock(hour: i64, minute: i64, seconds: f64) -> Option<i64> {
    let micros = (seconds * 1e6).round_ties_even();
    let valid =
        (0..=24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60e6).contains(&micros);
    if !valid {
        return None;
    }
    let time = (hour * 3600 + minute * 60) * 1_000_000 + micros as i64;
    (time <= DAY).then_some(time)
}

/// As `%02g` shows them.
fn shown_seconds(seconds: f64) -> String {
    format!("{:0>2}", Datum::Float8(seconds).to_string())
}

fn make_time(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let (hour, minute) = (int(&args[0]), int(&args[1]));
    let seconds = super::math::float(&args[2]);
    let time = clock(hour, minute, seconds).ok_or_else(|| {
        field_overflow(format!(
            "time field value out of range: {hour}:{minute:02}:{}",
            shown_seconds(seconds)
        ))
    })?;
    Ok(Datum::Time(time))
}

fn composed(args: &[Datum]) -> Result<Timestamp, Halt> {
    let (year, month, day) = (int(&args[0]), int(&args[1]), int(&args[2]));
    let (hour, minute, seconds) = (int(&args[3]), int(&args[4]), super::math::float(&args[5]));
    let days = day_of(year, month, day).ok_or_else(|| {
        field_overflow(format!(
            "date field value out of range: {year}-{month:02}-{day:02}"
        ))
    })?;
    let time = clock(hour, minute, seconds).ok_or_else(|| {
        field_overflow(format!(
            "time field value out of range: {hour}:{minute:02}:{}",
            shown_seconds(seconds)
        ))
    })?;
    Ok(checked(
        days.checked_mul(DAY).and_then(|at| at.checked_add(time)),
    )?)
}

fn make_timestamp(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::Timestamp(composed(args)?))
}

fn make_timestamptz(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::Timestamptz(
        context.env().zone.instant(composed(args)?),
    ))
}

fn make_interval(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let part = |place: usize| int(&args[place]);
    let seconds = super::math::float(&args[6]);
    if !seconds.is_finite() || seconds.abs() > 1e15 {
        return Err(interval_overflow());
    }
    let micros = i128::from(part(4)) * 3_600_000_000
        + i128::from(part(5)) * 60_000_000
        + (seconds * 1e6).round_ties_even() as i128;
    let made = datetime::whole_interval(part(0) * 12 + part(1), part(2) * 7 + part(3), micros);
    made.map(Datum::Interval).ok_or_else(interval_overflow)
}

fn to_timestamp(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let seconds = super::math::float(&args[0]);
    if seconds.is_nan() {
        return Err(field_overflow("timestamp cannot be NaN".into()));
    }
    if seconds.is_infinite() {
        let end = if seconds > 0.0 { i64::MAX } else { i64::MIN };
        return Ok(Datum::Timestamptz(Timestamp(end)));
    }
    // It counts from 2000 while it rounds.
    let since = (seconds - 946_684_800.0) * 1e6;
    let micros = since.round_ties_even();
    if micros.abs() >= 9.2e18 {
        return Err(field_overflow(format!(
            "timestamp out of range: \"{}\"",
            Datum::Float8(seconds)
        )));
    }
    let at = (micros as i64).checked_add(946_684_800_000_000);
    Ok(Datum::Timestamptz(checked(at)?))
}
