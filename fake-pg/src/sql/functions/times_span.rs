//! Spans of time: OVERLAPS, bins, series.

use super::Built;
use super::times::{interval, interval_overflow, like, local, shift};
use super::times_make::field_overflow;
use crate::engine::{Halt, Timestamp};
use crate::error::{PgError, SqlState};
use crate::sql::face::Context;
use crate::types::Datum;
use crate::types::datetime::{DAY, Zone, checked, is_infinite};

type Answer = Result<Datum, Halt>;

pub(super) const BUILT: Built = &[
    (
        "overlaps(timestamp,timestamp,timestamp,timestamp)",
        overlaps,
    ),
    ("overlaps(timestamp,timestamp,timestamp,interval)", overlaps),
    ("overlaps(timestamp,interval,timestamp,timestamp)", overlaps),
    ("overlaps(timestamp,interval,timestamp,interval)", overlaps),
    (
        "overlaps(timestamptz,timestamptz,timestamptz,timestamptz)",
        overlaps,
    ),
    (
        "overlaps(timestamptz,timestamptz,timestamptz,interval)",
        overlaps,
    ),
    (
        "overlaps(timestamptz,interval,timestamptz,timestamptz)",
        overlaps,
    ),
    (
        "overlaps(timestamptz,interval,timestamptz,interval)",
        overlaps,
    ),
    ("date_bin(interval,timestamp,timestamp)", date_bin),
    ("date_bin(interval,timestamptz,timestamptz)", date_bin),
    ("generate_series(timestamp,timestamp,interval)", series),
    ("generate_series(timestamptz,timestamptz,interval)", series),
];

/// `overlaps_timestamp`: NULL counts as the same moment as the other end.
fn overlaps(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let zone = context.env().zone;
    let span =
        |start: &Datum, end: &Datum| -> Result<(Option<Timestamp>, Option<Timestamp>), Halt> {
            let moment = |datum: &Datum| (!datum.is_null()).then(|| local(datum, zone));
            let from = moment(start);
            let to = match (end, from) {
                (Datum::Interval(by), Some(from)) => Some(shift(from, *by)?),
                (Datum::Interval(_), None) => None,
                (end, _) => moment(end),
            };
            Ok(match (from, to) {
                (Some(from), Some(to)) if from > to => (Some(to), Some(from)),
                (None, to) => (to, None),
                both => both,
            })
        };
    let (start_a, end_a) = span(&args[0], &args[1])?;
    let (start_b, end_b) = span(&args[2], &args[3])?;
    let (Some(start_a), Some(start_b)) = (start_a, start_b) else {
        return Ok(Datum::Null);
    };
    let known = |value: bool| Ok(Datum::Bool(value));
    match start_a.cmp(&start_b) {
        std::cmp::Ordering::Greater => match end_b {
            None => Ok(Datum::Null),
            Some(end_b) if start_a < end_b => known(true),
            Some(_) => match end_a {
                None => Ok(Datum::Null),
                Some(_) => known(false),
            },
        },
        std::cmp::Ordering::Less => match end_a {
            None => Ok(Datum::Null),
            Some(end_a) if start_b < end_a => known(true),
            Some(_) => match end_b {
                None => Ok(Datum::Null),
                Some(_) => known(false),
            },
        },
        std::cmp::Ordering::Equal => match end_a.and(end_b) {
            None => Ok(Datum::Null),
            Some(_) => known(true),
        },
    }
}

fn date_bin(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    let stride = interval(&args[0]);
    let (at, origin) = (local(&args[1], Zone(0)), local(&args[2], Zone(0)));
    if is_infinite(at) {
        return Ok(args[1].clone());
    }
    if is_infinite(origin) {
        return Err(field_overflow("origin out of range".into()));
    }
    if stride.months != 0 {
        return Err(PgError::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "timestamps cannot be binned into intervals containing months or years",
        )
        .into());
    }
    let width = i64::from(stride.days)
        .checked_mul(DAY)
        .and_then(|days| days.checked_add(stride.micros))
        .ok_or_else(interval_overflow)?;
    if width <= 0 {
        return Err(field_overflow("stride must be greater than zero".into()));
    }
    let since = at.0.checked_sub(origin.0).ok_or_else(interval_overflow)?;
    let start = since.div_euclid(width).checked_mul(width);
    let binned = checked(start.and_then(|start| origin.0.checked_add(start)))?;
    Ok(like(&args[1], binned, Zone(0)))
}

fn series(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let zone = context.env().zone;
    let (from, to, step) = (
        local(&args[0], zone),
        local(&args[1], zone),
        interval(&args[2]),
    );
    let direction = step.comparable();
    if direction == 0 {
        return Err(super::series::zero_step());
    }
    let mut items = Vec::new();
    let mut at = from;
    while if direction > 0 { at <= to } else { at >= to } {
        context.spend(4)?;
        if is_infinite(at) {
            return Err(PgError::feature_not_supported("a series of that length").into());
        }
        items.push(like(&args[0], at, zone));
        at = shift(at, step)?;
    }
    Ok(Datum::Array(items.into()))
}
