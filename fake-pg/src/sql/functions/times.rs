//! Times and intervals. The time zone is UTC, where a day has 24 hours.

use super::{Arg, Built, Function, Returns, strict};
use crate::engine::{Halt, Timestamp, civil_from_days, days_from_civil};
use crate::error::{PgError, SqlState};
use crate::sql::face::Context;
use crate::types::{Datum, Interval, Type};

use Arg::Is;

const DAY: i64 = 86_400_000_000;

pub(super) const FUNCTIONS: &[Function] = &[
    strict(
        "now",
        &[],
        Returns::Is(Type::Timestamptz),
        transaction_timestamp,
    ),
    strict(
        "transaction_timestamp",
        &[],
        Returns::Is(Type::Timestamptz),
        transaction_timestamp,
    ),
    strict(
        "statement_timestamp",
        &[],
        Returns::Is(Type::Timestamptz),
        clock_timestamp,
    ),
    strict(
        "clock_timestamp",
        &[],
        Returns::Is(Type::Timestamptz),
        clock_timestamp,
    ),
    strict(
        "date_trunc",
        &[Is(Type::Text), Is(Type::Timestamptz)],
        Returns::Is(Type::Timestamptz),
        date_trunc,
    ),
    strict(
        "to_timestamp",
        &[Is(Type::Float8)],
        Returns::Is(Type::Timestamptz),
        |_, args| {
            Ok(Datum::Timestamptz(Timestamp(
                (super::math::float(&args[0]) * 1e6).round() as i64,
            )))
        },
    ),
];

pub(super) const BUILT: Built = &[
    ("timestamptz_pl_interval(timestamptz,interval)", plus),
    (
        "interval_pl_timestamptz(interval,timestamptz)",
        plus_reversed,
    ),
    ("timestamptz_mi_interval(timestamptz,interval)", minus),
    ("timestamptz_mi(timestamptz,timestamptz)", difference),
    ("interval_pl(interval,interval)", interval_plus),
    ("interval_mi(interval,interval)", interval_minus),
    ("interval_mul(interval,float8)", interval_times),
    ("mul_d_interval(float8,interval)", times_interval),
    ("interval_div(interval,float8)", interval_over),
    ("interval_um(interval)", interval_negate),
];

fn transaction_timestamp(context: &mut Context<'_>, _: &[Datum]) -> Result<Datum, Halt> {
    Ok(Datum::Timestamptz(context.exec.tx.started))
}

fn clock_timestamp(context: &mut Context<'_>, _: &[Datum]) -> Result<Datum, Halt> {
    context.exec.datum(|exec| Ok(Datum::Timestamptz(exec.now)))
}

fn out_of_range() -> Halt {
    PgError::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range").into()
}

fn interval_out_of_range() -> Halt {
    PgError::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range").into()
}

fn time(datum: &Datum) -> Timestamp {
    match datum {
        Datum::Timestamptz(at) => *at,
        _ => Timestamp(0),
    }
}

fn interval(datum: &Datum) -> Interval {
    match datum {
        Datum::Interval(interval) => *interval,
        _ => Interval::default(),
    }
}

/// Months first, then days, then time (`timestamptz_pl_interval`).
fn shift(at: Timestamp, by: Interval) -> Option<Timestamp> {
    let mut micros = at.0;
    if by.months != 0 {
        let (days, of_day) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
        let (year, month, day) = civil_from_days(days);
        let months = year * 12 + i64::from(month) - 1 + i64::from(by.months);
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) as u32 + 1);
        let next = if month == 12 {
            days_from_civil(year + 1, 1, 1)
        } else {
            days_from_civil(year, month + 1, 1)
        };
        let last = (next - days_from_civil(year, month, 1)) as u32;
        micros = days_from_civil(year, month, day.min(last))
            .checked_mul(DAY)?
            .checked_add(of_day)?;
    }
    let days = i64::from(by.days).checked_mul(DAY)?;
    Some(Timestamp(micros.checked_add(days)?.checked_add(by.micros)?))
}

fn opposite(interval: Interval) -> Option<Interval> {
    Some(Interval {
        months: interval.months.checked_neg()?,
        days: interval.days.checked_neg()?,
        micros: interval.micros.checked_neg()?,
    })
}

pub(super) fn plus(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    let shifted = shift(time(&args[0]), interval(&args[1]));
    shifted.map(Datum::Timestamptz).ok_or_else(out_of_range)
}

pub(super) fn plus_reversed(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    let shifted = shift(time(&args[1]), interval(&args[0]));
    shifted.map(Datum::Timestamptz).ok_or_else(out_of_range)
}

pub(super) fn minus(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    let shifted = opposite(interval(&args[1])).and_then(|by| shift(time(&args[0]), by));
    shifted.map(Datum::Timestamptz).ok_or_else(out_of_range)
}

/// Days and a rest (`timestamp_mi` with `interval_justify_hours`).
pub(super) fn difference(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    let micros = time(&args[0])
        .0
        .checked_sub(time(&args[1]).0)
        .ok_or_else(interval_out_of_range)?;
    Ok(Datum::Interval(Interval {
        months: 0,
        days: (micros / DAY) as i32,
        micros: micros % DAY,
    }))
}

fn sum(a: Interval, b: Interval) -> Option<Interval> {
    Some(Interval {
        months: a.months.checked_add(b.months)?,
        days: a.days.checked_add(b.days)?,
        micros: a.micros.checked_add(b.micros)?,
    })
}

pub(super) fn interval_plus(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    let sum = sum(interval(&args[0]), interval(&args[1]));
    sum.map(Datum::Interval).ok_or_else(interval_out_of_range)
}

pub(super) fn interval_minus(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    let difference = opposite(interval(&args[1])).and_then(|b| sum(interval(&args[0]), b));
    difference
        .map(Datum::Interval)
        .ok_or_else(interval_out_of_range)
}

pub(super) fn interval_negate(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    opposite(interval(&args[0]))
        .map(Datum::Interval)
        .ok_or_else(interval_out_of_range)
}

/// Fractions of months spill into days, those of days into time (`interval_mul`).
fn scale(interval: Interval, factor: f64) -> Result<Datum, Halt> {
    let months = f64::from(interval.months) * factor;
    let days = f64::from(interval.days) * factor;
    let round = |value: f64| (value * 1e6).round() / 1e6;
    let month_days = round(months.fract() * 30.0);
    let seconds = round((days.fract() + month_days.fract()) * 86_400.0);
    let micros = interval.micros as f64 * factor + seconds * 1e6;
    let whole_days = days.trunc() + month_days.trunc();
    let limit = f64::from(i32::MAX);
    if !(months.abs() <= limit && whole_days.abs() <= limit && micros.abs() < 9.2e18) {
        return Err(interval_out_of_range());
    }
    Ok(Datum::Interval(Interval {
        months: months.trunc() as i32,
        days: whole_days as i32,
        micros: micros.round_ties_even() as i64,
    }))
}

pub(super) fn interval_times(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    scale(interval(&args[0]), super::math::float(&args[1]))
}

pub(super) fn times_interval(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    scale(interval(&args[1]), super::math::float(&args[0]))
}

pub(super) fn interval_over(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    match super::math::float(&args[1]) {
        0.0 => Err(PgError::division_by_zero().into()),
        divisor => scale(interval(&args[0]), 1.0 / divisor),
    }
}

fn date_trunc(_: &mut Context<'_>, args: &[Datum]) -> Result<Datum, Halt> {
    let at = time(&args[1]);
    let unit = args[0].as_str().unwrap_or("").to_lowercase();
    let days = at.0.div_euclid(DAY);
    let (year, month, _) = civil_from_days(days);
    let floor = |size: i64| at.0.div_euclid(size) * size;
    let truncated = match unit.trim_end_matches('s') {
        "microsecond" => at.0,
        "millisecond" => floor(1000),
        "second" => floor(1_000_000),
        "minute" => floor(60_000_000),
        "hour" => floor(3_600_000_000),
        "day" => floor(DAY),
        // 1970-01-01 was a Thursday; weeks begin on Mondays.
        "week" => (days - (days + 3).rem_euclid(7)) * DAY,
        "month" => days_from_civil(year, month, 1) * DAY,
        "quarter" => days_from_civil(year, (month - 1) / 3 * 3 + 1, 1) * DAY,
        "year" => days_from_civil(year, 1, 1) * DAY,
        _ => {
            return Err(PgError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("unit \"{unit}\" not recognized for type timestamp with time zone"),
            )
            .into());
        }
    };
    Ok(Datum::Timestamptz(Timestamp(truncated)))
}
