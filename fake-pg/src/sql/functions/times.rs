//! Dates, times and intervals: arithmetic, and what makes them.
//!
//! A time stamp with time zone is moved to the session's zone, changed there, and moved back. What
//! takes them apart is `fields`'.

use super::{Built, Function, Returns, strict};
use crate::engine::{Halt, Timestamp};
use crate::error::{PgError, SqlState};
use crate::sql::face::Context;
use crate::types::datetime::{self, DAY, Zone, checked, is_infinite, midnight, out_of_range};
use crate::types::datetime::{civil_from_days, days_from_civil};
use crate::types::{Datum, Interval, Type};

type Answer = Result<Datum, Halt>;

pub(super) const FUNCTIONS: &[Function] = &[
    strict("now", &[], Returns::Is(Type::Timestamptz), now),
    strict(
        "transaction_timestamp",
        &[],
        Returns::Is(Type::Timestamptz),
        now,
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
];

pub(super) const BUILT: Built = &[
    ("timestamptz_pl_interval(timestamptz,interval)", plus),
    ("timestamp_pl_interval(timestamp,interval)", plus),
    ("date_pl_interval(date,interval)", plus),
    (
        "interval_pl_timestamptz(interval,timestamptz)",
        plus_reversed,
    ),
    ("interval_pl_timestamp(interval,timestamp)", plus_reversed),
    ("interval_pl_date(interval,date)", plus_reversed),
    ("timestamptz_mi_interval(timestamptz,interval)", minus),
    ("timestamp_mi_interval(timestamp,interval)", minus),
    ("date_mi_interval(date,interval)", minus),
    ("timestamptz_mi(timestamptz,timestamptz)", difference),
    ("timestamp_mi(timestamp,timestamp)", difference),
    ("date_mi(date,date)", days_between),
    ("date_pli(date,int4)", date_plus),
    ("integer_pl_date(int4,date)", plus_date),
    ("date_mii(date,int4)", date_minus),
    ("datetime_pl(date,time)", date_and_time),
    ("timedate_pl(time,date)", time_and_date),
    ("timestamp(date,time)", date_and_time),
    ("time_pl_interval(time,interval)", time_plus),
    ("interval_pl_time(interval,time)", plus_time),
    ("time_mi_interval(time,interval)", time_minus),
    ("time_mi_time(time,time)", time_difference),
    ("interval_pl(interval,interval)", interval_plus),
    ("interval_mi(interval,interval)", interval_minus),
    ("interval_mul(interval,float8)", interval_times),
    ("mul_d_interval(float8,interval)", times_interval),
    ("interval_div(interval,float8)", interval_over),
    ("interval_um(interval)", interval_negate),
    ("justify_hours(interval)", justify_hours),
    ("justify_days(interval)", justify_days),
    ("justify_interval(interval)", justify_interval),
    ("age(timestamp,timestamp)", age),
    ("age(timestamptz,timestamptz)", age),
    ("age(timestamp)", age_today),
    ("age(timestamptz)", age_today),
    ("isfinite(date)", is_finite),
    ("isfinite(timestamp)", is_finite),
    ("isfinite(timestamptz)", is_finite),
    ("isfinite(interval)", is_finite),
    ("timezone(text,timestamp)", at_zone),
    ("timezone(text,timestamptz)", at_zone),
    ("timezone(interval,timestamp)", at_zone),
    ("timezone(interval,timestamptz)", at_zone),
];

fn now(context: &mut Context<'_>, _: &[Datum]) -> Answer {
    Ok(Datum::Timestamptz(context.exec.tx.started))
}

fn clock_timestamp(context: &mut Context<'_>, _: &[Datum]) -> Answer {
    context.exec.datum(|exec| Ok(Datum::Timestamptz(exec.now)))
}

fn overflow() -> Halt {
    out_of_range("timestamp").into()
}

pub(super) fn interval_overflow() -> Halt {
    out_of_range("interval").into()
}

/// What a clock shows at that moment, in the zone if it has one.
pub(super) fn local(datum: &Datum, zone: Zone) -> Timestamp {
    match datum {
        Datum::Timestamptz(at) => zone.local(*at),
        Datum::Timestamp(at) => *at,
        Datum::Date(days) => midnight(*days),
        _ => Timestamp(0),
    }
}

/// The moment of the same type when the clock shows that.
pub(super) fn like(datum: &Datum, local: Timestamp, zone: Zone) -> Datum {
    match datum {
        Datum::Timestamptz(_) => Datum::Timestamptz(zone.instant(local)),
        _ => Datum::Timestamp(local),
    }
}

pub(super) fn interval(datum: &Datum) -> Interval {
    match datum {
        Datum::Interval(interval) => *interval,
        _ => Interval::default(),
    }
}

/// Months first, then days, then time (`timestamp_pl_interval`).
pub(super) fn shift(at: Timestamp, by: Interval) -> Result<Timestamp, Halt> {
    if is_infinite(at) {
        return Ok(at);
    }
    let mut micros = at.0;
    if by.months != 0 {
        let (days, of_day) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
        let (year, month, day) = civil_from_days(days);
        let months = year * 12 + i64::from(month) - 1 + i64::from(by.months);
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) as u32 + 1);
        let last = datetime::month_days(year, month);
        let days = days_from_civil(year, month, day.min(last)).checked_mul(DAY);
        let moved = days.and_then(|days| days.checked_add(of_day));
        micros = moved.ok_or_else(overflow)?;
    }
    let days = i64::from(by.days).checked_mul(DAY);
    let moved = days
        .and_then(|days| micros.checked_add(days))
        .and_then(|micros| micros.checked_add(by.micros));
    Ok(checked(moved)?)
}

fn opposite(interval: Interval) -> Result<Interval, Halt> {
    let negated = || {
        Some(Interval {
            months: interval.months.checked_neg()?,
            days: interval.days.checked_neg()?,
            micros: interval.micros.checked_neg()?,
        })
    };
    negated().ok_or_else(interval_overflow)
}

fn moved(context: &Context<'_>, at: &Datum, by: Interval) -> Answer {
    let zone = context.env().zone;
    Ok(like(at, shift(local(at, zone), by)?, zone))
}

fn plus(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    moved(context, &args[0], interval(&args[1]))
}

fn plus_reversed(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    moved(context, &args[1], interval(&args[0]))
}

fn minus(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    moved(context, &args[0], opposite(interval(&args[1]))?)
}

/// Days and a rest (`timestamp_mi` with `interval_justify_hours`).
fn difference(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let (a, b) = (local(&args[0], Zone(0)), local(&args[1], Zone(0)));
    if is_infinite(a) || is_infinite(b) {
        return Err(PgError::new(
            SqlState::DATETIME_FIELD_OVERFLOW,
            "cannot subtract infinite timestamps",
        )
        .into());
    }
    let micros = a.0.checked_sub(b.0).ok_or_else(interval_overflow)?;
    Ok(Datum::Interval(Interval {
        months: 0,
        days: (micros / DAY) as i32,
        micros: micros % DAY,
    }))
}

fn days(datum: &Datum) -> i32 {
    match datum {
        Datum::Date(days) => *days,
        _ => 0,
    }
}

fn is_infinite_date(days: i32) -> bool {
    matches!(days, i32::MAX | i32::MIN)
}

fn days_between(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let (a, b) = (days(&args[0]), days(&args[1]));
    if is_infinite_date(a) || is_infinite_date(b) {
        return Err(PgError::new(
            SqlState::DATETIME_FIELD_OVERFLOW,
            "cannot subtract infinite dates",
        )
        .into());
    }
    Ok(Datum::Int4(a - b))
}

fn shift_date(date: &Datum, by: i64) -> Answer {
    let days = days(date);
    if is_infinite_date(days) {
        return Ok(date.clone());
    }
    Ok(Datum::Date(datetime::checked_date(i64::from(days) + by)?))
}

fn date_plus(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    shift_date(&args[0], args[1].as_i64().unwrap_or(0))
}

fn plus_date(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    shift_date(&args[1], args[0].as_i64().unwrap_or(0))
}

fn date_minus(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    shift_date(&args[0], -args[1].as_i64().unwrap_or(0))
}

fn time(datum: &Datum) -> i64 {
    match datum {
        Datum::Time(micros) => *micros,
        _ => 0,
    }
}

fn date_and_time(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let at = midnight(days(&args[0]));
    Ok(Datum::Timestamp(match is_infinite(at) {
        true => at,
        false => checked(at.0.checked_add(time(&args[1])))?,
    }))
}

fn time_and_date(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    date_and_time(context, &[args[1].clone(), args[0].clone()])
}

fn time_plus(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let micros = time(&args[0]).wrapping_add(interval(&args[1]).micros % DAY);
    Ok(Datum::Time(micros.rem_euclid(DAY)))
}

fn plus_time(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let micros = time(&args[1]).wrapping_add(interval(&args[0]).micros % DAY);
    Ok(Datum::Time(micros.rem_euclid(DAY)))
}

fn time_minus(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let micros = time(&args[0]).wrapping_sub(interval(&args[1]).micros % DAY);
    Ok(Datum::Time(micros.rem_euclid(DAY)))
}

fn time_difference(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::Interval(Interval {
        micros: time(&args[0]) - time(&args[1]),
        ..Interval::default()
    }))
}

fn sum(a: Interval, b: Interval) -> Option<Interval> {
    Some(Interval {
        months: a.months.checked_add(b.months)?,
        days: a.days.checked_add(b.days)?,
        micros: a.micros.checked_add(b.micros)?,
    })
}

fn interval_plus(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let sum = sum(interval(&args[0]), interval(&args[1]));
    sum.map(Datum::Interval).ok_or_else(interval_overflow)
}

fn interval_minus(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let (a, b) = (interval(&args[0]), interval(&args[1]));
    let difference = || {
        Some(Interval {
            months: a.months.checked_sub(b.months)?,
            days: a.days.checked_sub(b.days)?,
            micros: a.micros.checked_sub(b.micros)?,
        })
    };
    difference()
        .map(Datum::Interval)
        .ok_or_else(interval_overflow)
}

fn interval_negate(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    opposite(interval(&args[0])).map(Datum::Interval)
}

/// Fractions of months spill into days, those of days into time (`interval_mul`, `interval_div`).
pub(crate) fn scale(interval: Interval, by: impl Fn(f64) -> f64) -> Result<Interval, PgError> {
    // TSROUND.
    let round = |value: f64| (value * 1e6).round_ties_even() / 1e6;
    let limit = f64::from(i32::MAX);
    let overflow = || out_of_range("interval");
    let (months, days) = (by(interval.months.into()), by(interval.days.into()));
    if !(months.abs() <= limit && days.abs() <= limit) {
        return Err(overflow());
    }
    let month_rest = round((months - months.trunc()) * 30.0);
    let mut whole_days = days.trunc() as i32;
    let mut seconds = round((days - days.trunc() + month_rest - month_rest.trunc()) * 86_400.0);
    if seconds.abs() >= 86_400.0 {
        let extra = (seconds / 86_400.0).trunc();
        whole_days = whole_days.checked_add(extra as i32).ok_or_else(overflow)?;
        seconds -= extra * 86_400.0;
    }
    whole_days = whole_days
        .checked_add(month_rest.trunc() as i32)
        .ok_or_else(overflow)?;
    let micros = (by(interval.micros as f64) + seconds * 1e6).round_ties_even();
    if micros.is_nan() || micros.abs() >= 9.223_372_036_854_775e18 {
        return Err(overflow());
    }
    Ok(Interval {
        months: months.trunc() as i32,
        days: whole_days,
        micros: micros as i64,
    })
}

fn interval_times(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let factor = super::math::float(&args[1]);
    let scaled = scale(interval(&args[0]), |part| part * factor)?;
    Ok(Datum::Interval(scaled))
}

fn times_interval(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    interval_times(context, &[args[1].clone(), args[0].clone()])
}

fn interval_over(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    match super::math::float(&args[1]) {
        0.0 => Err(PgError::division_by_zero().into()),
        divisor => {
            let scaled = scale(interval(&args[0]), |part| part / divisor)?;
            Ok(Datum::Interval(scaled))
        }
    }
}

/// Whole days of 24 hours go over into days.
fn carry_hours(interval: Interval) -> Option<Interval> {
    let mut days = interval.days.checked_add((interval.micros / DAY) as i32)?;
    let mut micros = interval.micros % DAY;
    if days > 0 && micros < 0 {
        (days, micros) = (days - 1, micros + DAY);
    } else if days < 0 && micros > 0 {
        (days, micros) = (days + 1, micros - DAY);
    }
    Some(Interval {
        days,
        micros,
        ..interval
    })
}

/// Whole months of 30 days go over into months.
fn carry_days(interval: Interval) -> Option<Interval> {
    let mut months = interval.months.checked_add(interval.days / 30)?;
    let mut days = interval.days % 30;
    if months > 0 && days < 0 {
        (months, days) = (months - 1, days + 30);
    } else if months < 0 && days > 0 {
        (months, days) = (months + 1, days - 30);
    }
    Some(Interval {
        months,
        days,
        ..interval
    })
}

fn justify_hours(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let justified = carry_hours(interval(&args[0]));
    justified.map(Datum::Interval).ok_or_else(interval_overflow)
}

fn justify_days(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let justified = carry_days(interval(&args[0]));
    justified.map(Datum::Interval).ok_or_else(interval_overflow)
}

fn justify_interval(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let whole = interval(&args[0]);
    let justified = || {
        let days = whole.days.checked_add((whole.micros / DAY) as i32)?;
        let mut micros = whole.micros % DAY;
        let mut months = whole.months.checked_add(days / 30)?;
        let mut days = days % 30;
        if months > 0 && (days < 0 || days == 0 && micros < 0) {
            (months, days) = (months - 1, days + 30);
        } else if months < 0 && (days > 0 || days == 0 && micros > 0) {
            (months, days) = (months + 1, days - 30);
        }
        if days > 0 && micros < 0 {
            (days, micros) = (days - 1, micros + DAY);
        } else if days < 0 && micros > 0 {
            (days, micros) = (days + 1, micros - DAY);
        }
        Some(Interval {
            months,
            days,
            micros,
        })
    };
    justified()
        .map(Datum::Interval)
        .ok_or_else(interval_overflow)
}

/// Years, months, days and time between two moments as people count them (`timestamp_age`).
fn between(later: Timestamp, earlier: Timestamp) -> Interval {
    if later < earlier {
        let turned = between(earlier, later);
        return Interval {
            months: -turned.months,
            days: -turned.days,
            micros: -turned.micros,
        };
    }
    let parts = |at: Timestamp| {
        let (year, month, day) = civil_from_days(at.0.div_euclid(DAY));
        (
            year * 12 + i64::from(month) - 1,
            i64::from(day),
            at.0.rem_euclid(DAY),
        )
    };
    let ((m1, d1, t1), (m2, d2, t2)) = (parts(later), parts(earlier));
    let (mut months, mut days, mut micros) = (m1 - m2, d1 - d2, t1 - t2);
    if micros < 0 {
        micros += DAY;
        days -= 1;
    }
    while days < 0 {
        // The days of the earlier one's month.
        days += i64::from(datetime::month_days(
            m2.div_euclid(12),
            m2.rem_euclid(12) as u32 + 1,
        ));
        months -= 1;
    }
    Interval {
        months: months as i32,
        days: days as i32,
        micros,
    }
}

fn age(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let zone = context.env().zone;
    let (a, b) = (local(&args[0], zone), local(&args[1], zone));
    if is_infinite(a) || is_infinite(b) {
        return Err(overflow());
    }
    Ok(Datum::Interval(between(a, b)))
}

fn age_today(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let zone = context.env().zone;
    let today = zone.local(context.env().now).0.div_euclid(DAY) * DAY;
    let at = local(&args[0], zone);
    if is_infinite(at) {
        return Err(overflow());
    }
    Ok(Datum::Interval(between(Timestamp(today), at)))
}

fn is_finite(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(Datum::Bool(match &args[0] {
        Datum::Date(days) => !is_infinite_date(*days),
        Datum::Interval(_) => true,
        other => !is_infinite(local(other, Zone(0))),
    }))
}

fn zone_of(datum: &Datum) -> Result<Zone, Halt> {
    if let Datum::Interval(interval) = datum {
        if interval.months != 0 || interval.days != 0 {
            let shown = datum.to_string();
            let message = format!("interval time zone \"{shown}\" must not include months or days");
            return Err(PgError::new(SqlState::INVALID_PARAMETER_VALUE, message).into());
        }
        return Ok(Zone((interval.micros / 1_000_000) as i32));
    }
    let name = datum.as_str().unwrap_or("");
    Zone::named(name).ok_or_else(|| {
        let known = name.contains('/') || name.len() <= 5;
        match known {
            true => PgError::feature_not_supported(format_args!("the time zone {name}")).into(),
            false => PgError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("time zone \"{name}\" not recognized"),
            )
            .into(),
        }
    })
}

/// AT TIME ZONE.
fn at_zone(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let zone = zone_of(&args[0])?;
    Ok(match &args[1] {
        Datum::Timestamptz(at) => Datum::Timestamp(zone.local(*at)),
        other => Datum::Timestamptz(zone.instant(local(other, zone))),
    })
}
