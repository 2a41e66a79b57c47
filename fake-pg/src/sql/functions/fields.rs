//! Fields of dates and times: extract, date_part, date_trunc.
//!
//! Source: `timestamp_part_common`, `interval_part_common` and `timestamp_trunc` in timestamp.c.

use super::Built;
use super::times::{interval, like, local};
use crate::engine::{Halt, Timestamp};
use crate::error::{PgError, SqlState};
use crate::sql::face::Context;
use crate::types::datetime::{DAY, Unit, Zone, is_infinite, unit};
use crate::types::datetime::{civil_from_days, days_from_civil};
use crate::types::numeric::Numeric;
use crate::types::{Datum, Interval};

type Answer = Result<Datum, Halt>;

pub(super) const BUILT: Built = &[
    ("extract(text,date)", extract),
    ("extract(text,timestamp)", extract),
    ("extract(text,timestamptz)", extract),
    ("extract(text,time)", extract),
    ("extract(text,interval)", extract),
    ("date_part(text,date)", date_part),
    ("date_part(text,timestamp)", date_part),
    ("date_part(text,timestamptz)", date_part),
    ("date_part(text,time)", date_part),
    ("date_part(text,interval)", date_part),
    ("date_trunc(text,timestamp)", trunc),
    ("date_trunc(text,timestamptz)", trunc),
    ("date_trunc(text,interval)", trunc_interval),
];

/// The name of the value's type in messages.
fn type_name(datum: &Datum) -> &'static str {
    match datum {
        Datum::Date(_) => "date",
        Datum::Timestamp(_) => "timestamp without time zone",
        Datum::Timestamptz(_) => "timestamp with time zone",
        Datum::Time(_) => "time without time zone",
        _ => "interval",
    }
}

fn unsupported(word: &str, datum: &Datum) -> Halt {
    PgError::new(
        SqlState::FEATURE_NOT_SUPPORTED,
        format!(
            "unit \"{word}\" not supported for type {}",
            type_name(datum)
        ),
    )
    .into()
}

fn find_unit(word: &str, datum: &Datum) -> Result<Unit, Halt> {
    unit(word).ok_or_else(|| {
        PgError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!(
                "unit \"{word}\" not recognized for type {}",
                type_name(datum)
            ),
        )
        .into()
    })
}

/// A number of microseconds in units of 10^-`digits` seconds.
fn scaled(micros: i128, digits: u32) -> Numeric {
    Numeric::Finite(micros.into(), digits)
}

/// The years of the calendar: there is none before 1 that is zero.
fn shown_year(year: i64) -> i64 {
    if year > 0 { year } else { year - 1 }
}

fn century(year: i64) -> i64 {
    match year {
        1.. => (year + 99) / 100,
        _ => -((99 - (year - 1)) / 100),
    }
}

fn millennium(year: i64) -> i64 {
    match year {
        1.. => (year + 999) / 1000,
        _ => -((999 - (year - 1)) / 1000),
    }
}

/// The ISO year and week of a day.
pub(super) fn iso_week(days: i64) -> (i64, i64) {
    // The week belongs to the year its Thursday is in.
    let thursday = days - (days + 3).rem_euclid(7) + 3;
    let (year, _, _) = civil_from_days(thursday);
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

fn part(context: &Context<'_>, word: &str, datum: &Datum) -> Result<Option<Numeric>, Halt> {
    let unit = find_unit(word, datum)?;
    match datum {
        Datum::Interval(interval) => return interval_part(unit, word, *interval, datum).map(Some),
        Datum::Time(micros) => {
            let seconds = match unit {
                Unit::Epoch => return Ok(Some(scaled((*micros).into(), 6))),
                unit => clock_part(unit, *micros),
            };
            return seconds.map(Some).ok_or_else(|| unsupported(word, datum));
        }
        _ => {}
    }
    let zone = context.env().zone;
    let at = local(datum, zone);
    if is_infinite(at) {
        return infinite_part(unit, word, at, datum);
    }
    let (days, time) = (at.0.div_euclid(DAY), at.0.rem_euclid(DAY));
    let (year, month, day) = civil_from_days(days);
    let has_time = !matches!(datum, Datum::Date(_));
    if has_time && let Some(value) = clock_part(unit, time) {
        return Ok(Some(value));
    }
    let zoned = matches!(datum, Datum::Timestamptz(_));
    Ok(Some(match unit {
        Unit::Day => i64::from(day).into(),
        Unit::Month => i64::from(month).into(),
        Unit::Quarter => ((i64::from(month) - 1) / 3 + 1).into(),
        Unit::Week => iso_week(days).1.into(),
        Unit::Year => shown_year(year).into(),
        Unit::Decade => year.div_euclid(10).into(),
        Unit::Century => century(year).into(),
        Unit::Millennium => millennium(year).into(),
        Unit::IsoYear => shown_year(iso_week(days).0).into(),
        Unit::DayOfWeek => (days + 4).rem_euclid(7).into(),
        Unit::IsoDayOfWeek => ((days + 3).rem_euclid(7) + 1).into(),
        Unit::DayOfYear => (days - days_from_civil(year, 1, 1) + 1).into(),
        Unit::Julian if has_time => {
            let fraction = Numeric::from(time).div(&Numeric::from(DAY))?;
            fraction.add(&(days + 2_440_588).into())?
        }
        Unit::Julian => (days + 2_440_588).into(),
        Unit::Epoch if has_time => scaled(zone_free(datum, zone).0.into(), 6),
        Unit::Epoch => (days * 86_400).into(),
        Unit::Zone if zoned => i64::from(zone.0).into(),
        Unit::ZoneHour if zoned => i64::from(zone.0 / 3600).into(),
        Unit::ZoneMinute if zoned => i64::from(zone.0 / 60 % 60).into(),
        _ => return Err(unsupported(word, datum)),
    }))
}

/// The moment itself, or what the clock shows where there is no zone.
fn zone_free(datum: &Datum, zone: Zone) -> Timestamp {
    match datum {
        Datum::Timestamptz(at) => *at,
        other => local(other, zone),
    }
}

fn clock_part(unit: Unit, micros: i64) -> Option<Numeric> {
    let of_minute = i128::from(micros % 60_000_000);
    Some(match unit {
        Unit::Microsecond => scaled(of_minute, 0),
        Unit::Millisecond => scaled(of_minute, 3),
        Unit::Second => scaled(of_minute, 6),
        Unit::Minute => (micros / 60_000_000 % 60).into(),
        Unit::Hour => (micros / 3_600_000_000).into(),
        _ => return None,
    })
}

/// Units that grow for ever are infinite with the moment, the others NULL (`NonFiniteTimestampTzPart`).
fn infinite_part(
    unit: Unit,
    word: &str,
    at: Timestamp,
    datum: &Datum,
) -> Result<Option<Numeric>, Halt> {
    match unit {
        Unit::Year
        | Unit::Decade
        | Unit::Century
        | Unit::Millennium
        | Unit::Julian
        | Unit::IsoYear
        | Unit::Epoch => Ok(Some(match at.0 {
            i64::MAX => Numeric::Infinity,
            _ => Numeric::NegativeInfinity,
        })),
        Unit::Zone | Unit::ZoneHour | Unit::ZoneMinute
            if !matches!(datum, Datum::Timestamptz(_)) =>
        {
            Err(unsupported(word, datum))
        }
        Unit::Microsecond | Unit::Millisecond | Unit::Second | Unit::Minute | Unit::Hour
            if matches!(datum, Datum::Date(_)) =>
        {
            Err(unsupported(word, datum))
        }
        _ => Ok(None),
    }
}

fn interval_part(
    unit: Unit,
    word: &str,
    interval: Interval,
    datum: &Datum,
) -> Result<Numeric, Halt> {
    let (years, months) = (
        i64::from(interval.months / 12),
        i64::from(interval.months % 12),
    );
    if let Some(value) = clock_part(unit, interval.micros) {
        return Ok(value);
    }
    Ok(match unit {
        Unit::Day => i64::from(interval.days).into(),
        Unit::Month => months.into(),
        Unit::Quarter => (months / 3 + 1).into(),
        Unit::Year => years.into(),
        Unit::Decade => (years / 10).into(),
        Unit::Century => (years / 100).into(),
        Unit::Millennium => (years / 1000).into(),
        Unit::Epoch => {
            // A year has 365.25 days here.
            let quarters =
                i128::from(years) * 1461 + i128::from(months) * 120 + i128::from(interval.days) * 4;
            let micros = quarters * i128::from(DAY / 4) + i128::from(interval.micros);
            scaled(micros, 6)
        }
        _ => return Err(unsupported(word, datum)),
    })
}

fn word(datum: &Datum) -> String {
    datum.as_str().unwrap_or("").to_ascii_lowercase()
}

fn extract(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let value = part(context, &word(&args[0]), &args[1])?;
    Ok(value.map_or(Datum::Null, Datum::from))
}

fn date_part(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    // What a date has not, midnight has.
    let datum = match &args[1] {
        Datum::Date(days) => Datum::Timestamp(crate::types::datetime::midnight(*days)),
        other => other.clone(),
    };
    let value = part(context, &word(&args[0]), &datum)?;
    Ok(value.map_or(Datum::Null, |value| Datum::Float8(value.to_f64())))
}

fn trunc(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let word = word(&args[0]);
    let zone = context.env().zone;
    let at = local(&args[1], zone);
    let unit = find_unit(&word, &args[1])?;
    if is_infinite(at) {
        return Ok(args[1].clone());
    }
    let days = at.0.div_euclid(DAY);
    let (year, month, _) = civil_from_days(days);
    let floor = |size: i64| at.0.div_euclid(size) * size;
    let january = |year: i64| days_from_civil(year, 1, 1) * DAY;
    let truncated = match unit {
        Unit::Microsecond => at.0,
        Unit::Millisecond => floor(1000),
        Unit::Second => floor(1_000_000),
        Unit::Minute => floor(60_000_000),
        Unit::Hour => floor(3_600_000_000),
        Unit::Day => floor(DAY),
        // 1970-01-01 was a Thursday; weeks begin on Mondays.
        Unit::Week => (days - (days + 3).rem_euclid(7)) * DAY,
        Unit::Month => days_from_civil(year, month, 1) * DAY,
        Unit::Quarter => days_from_civil(year, (month - 1) / 3 * 3 + 1, 1) * DAY,
        Unit::Year => january(year),
        Unit::Decade => january(year.div_euclid(10) * 10),
        Unit::Century => january((year - 1).div_euclid(100) * 100 + 1),
        Unit::Millennium => january((year - 1).div_euclid(1000) * 1000 + 1),
        _ => return Err(unsupported(&word, &args[1])),
    };
    Ok(like(&args[1], Timestamp(truncated), zone))
}

fn trunc_interval(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let word = word(&args[0]);
    let whole = interval(&args[1]);
    let months = |size: i32| Interval {
        months: whole.months / size * size,
        days: 0,
        micros: 0,
    };
    let time = |size: i64| Interval {
        micros: whole.micros / size * size,
        ..whole
    };
    Ok(Datum::Interval(match find_unit(&word, &args[1])? {
        Unit::Millennium => months(12_000),
        Unit::Century => months(1200),
        Unit::Decade => months(120),
        Unit::Year => months(12),
        Unit::Quarter => months(3),
        Unit::Month => months(1),
        Unit::Day => Interval { micros: 0, ..whole },
        Unit::Hour => time(3_600_000_000),
        Unit::Minute => time(60_000_000),
        Unit::Second => time(1_000_000),
        Unit::Millisecond => time(1000),
        Unit::Microsecond => whole,
        Unit::Week => {
            return Err(PgError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "unit \"week\" not supported for type interval",
            )
            .with_detail("Months usually have fractional weeks.")
            .into());
        }
        _ => return Err(unsupported(&word, &args[1])),
    }))
}
