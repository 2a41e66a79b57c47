//! Reading intervals: `1 day 02:03:04.5`, `-5 minutes`, `1.5 hours`, `2 weeks ago`, `P1DT2H`.
//!
//! Source: `DecodeInterval` and `DecodeISO8601Interval` in datetime.c. Fields are taken from the right, since
//! a unit stands behind its number.

use super::units::{Unit, unit};
use crate::error::{PgError, SqlState};
use crate::types::Interval;

/// What is wrong with it.
enum Failure {
    Format,
    Overflow,
}

use Failure::{Format, Overflow};

/// Reads an interval.
pub fn read(text: &str) -> Result<Interval, PgError> {
    parse(text.trim_matches(super::read::is_space)).map_err(|failure| match failure {
        Format => PgError::new(
            SqlState::INVALID_DATETIME_FORMAT,
            format!("invalid input syntax for type interval: \"{text}\""),
        ),
        Overflow => PgError::new(
            SqlState::INTERVAL_FIELD_OVERFLOW,
            format!("interval field value out of range: \"{text}\""),
        ),
    })
}

/// An interval of parts that may be too great.
#[derive(Clone, Copy, Default)]
struct Parts {
    months: i64,
    days: i64,
    micros: i128,
}

/// An interval of parts, if they fit.
pub fn whole(months: i64, days: i64, micros: i128) -> Option<Interval> {
    Some(Interval {
        months: months.try_into().ok()?,
        days: days.try_into().ok()?,
        micros: micros.try_into().ok()?,
    })
}

fn parse(text: &str) -> Result<Interval, Failure> {
    let parts = match text.strip_prefix(['P', 'p']) {
        Some(rest) => iso(rest)?,
        None => traditional(text)?,
    };
    whole(parts.months, parts.days, parts.micros).ok_or(Overflow)
}

impl Parts {
    /// Adds so much of a unit; fractions spill into the smaller units.
    fn add(&mut self, whole: i64, fraction: f64, unit: Unit) -> Result<(), Failure> {
        // Its fields are C's ints.
        i32::try_from(whole).map_err(|_| Overflow)?;
        let micros = |whole: i64, fraction: f64, seconds: i64| {
            let micros = seconds * 1_000_000;
            i128::from(whole) * i128::from(micros)
                + (fraction * micros as f64).round_ties_even() as i128
        };
        match unit {
            Unit::Microsecond => {
                self.micros += i128::from(whole) + fraction.round_ties_even() as i128;
            }
            Unit::Millisecond => {
                let fine = (fraction * 1000.0).round_ties_even() as i128;
                self.micros += i128::from(whole) * 1000 + fine;
            }
            Unit::Second => self.micros += micros(whole, fraction, 1),
            Unit::Minute => self.micros += micros(whole, fraction, 60),
            Unit::Hour => self.micros += micros(whole, fraction, 3600),
            Unit::Day => {
                self.days += whole;
                self.micros += micros(0, fraction, 86_400);
            }
            Unit::Week => {
                self.days += whole * 7;
                self.add_days(fraction * 7.0);
            }
            Unit::Month => {
                self.months += whole;
                self.add_days(fraction * 30.0);
            }
            Unit::Year => self.add_years(whole, fraction, 1),
            Unit::Decade => self.add_years(whole, fraction, 10),
            Unit::Century => self.add_years(whole, fraction, 100),
            Unit::Millennium => self.add_years(whole, fraction, 1000),
            _ => return Err(Format),
        }
        Ok(())
    }

    fn add_days(&mut self, days: f64) {
        self.days += days.trunc() as i64;
        let rest = days - days.trunc();
        self.micros += (rest * 86_400e6).round_ties_even() as i128;
    }

    fn add_years(&mut self, whole: i64, fraction: f64, years: i64) {
        self.months += whole * years * 12;
        self.months += (fraction * years as f64 * 12.0).round_ties_even() as i64;
    }
}

/// A number: its sign, its integer part and its fraction, both signed.
fn number(text: &str) -> Result<(i64, f64), Failure> {
    let plain = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !digits(whole) || !digits(fraction) {
        return Err(Format);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let value: i64 = match whole {
        "" => 0,
        whole => whole.parse().map_err(|_| Overflow)?,
    };
    let fraction: f64 = format!("0.{fraction}0").parse().map_err(|_| Format)?;
    Ok((sign * value, sign as f64 * fraction))
}

/// `hours:minutes[:seconds]`, or `minutes:seconds.fraction` (`DecodeTime`).
fn clock(text: &str) -> Result<i128, Failure> {
    let plain = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let fields: Vec<&str> = plain.split(':').collect();
    let integer = |text: &str| -> Result<i64, Failure> {
        match text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => Err(Format),
            false => text.parse().map_err(|_| Overflow),
        }
    };
    let (hours, minutes, seconds) = match fields[..] {
        [minutes, seconds] if seconds.contains('.') => (0, integer(minutes)?, seconds),
        [hours, minutes] => (integer(hours)?, integer(minutes)?, "0"),
        [hours, minutes, seconds] => (integer(hours)?, integer(minutes)?, seconds),
        _ => return Err(Format),
    };
    let (seconds, fraction) = number(seconds)?;
    if !(0..=59).contains(&minutes) || !(0..=60).contains(&seconds) || hours > i32::MAX.into() {
        return Err(Overflow);
    }
    let whole = i128::from(hours * 3600 + minutes * 60 + seconds) * 1_000_000;
    Ok(sign * (whole + (fraction * 1e6).round_ties_even() as i128))
}

/// A unit's place among those that have been said.
fn mask(unit: Unit) -> u32 {
    1 << unit as u32
}

fn traditional(text: &str) -> Result<Parts, Failure> {
    let mut fields = split(text)?;
    if fields.is_empty() {
        return Err(Format);
    }
    let mut parts = Parts::default();
    let mut ago = false;
    let mut unit_at_hand: Option<Unit> = None;
    let mut any = false;
    // What has been said already: nothing may be said twice.
    let mut seen = 0_u32;
    let mut once = |mask: u32| match seen & mask {
        0 => {
            seen |= mask;
            Ok(())
        }
        _ => Err(Format),
    };
    let last = fields.len();
    while let Some(field) = fields.pop() {
        let is_number = field
            .trim_start_matches(['+', '-'])
            .starts_with(|c: char| c.is_ascii_digit() || c == '.');
        if !is_number {
            match &*field.to_lowercase() {
                "ago" if fields.len() + 1 == last && last > 1 => ago = true,
                "@" => {}
                word => unit_at_hand = Some(unit(word).ok_or(Format)?),
            }
            continue;
        }
        any = true;
        if field.contains(':') {
            once(mask(Unit::Hour) | mask(Unit::Minute) | mask(Unit::Second))?;
            parts.micros += clock(&field)?;
            // A number before it counts days.
            unit_at_hand = Some(Unit::Day);
            continue;
        }
        let inner = &field[1..];
        if let Some(dash) = inner.find('-').map(|at| at + 1)
            && unit_at_hand.is_none()
        {
            // Years and months.
            let (years, _) = number(&field[..dash])?;
            let (months, fraction) = number(&field[dash + 1..])?;
            if fraction != 0.0 || !(0..12).contains(&months) {
                return Err(if fraction != 0.0 { Format } else { Overflow });
            }
            let sign = if field.starts_with('-') { -1 } else { 1 };
            once(mask(Unit::Month))?;
            let years = i32::try_from(years).map_err(|_| Overflow)?;
            parts.months += i64::from(years) * 12 + sign * months;
            continue;
        }
        let (whole, fraction) = number(&field)?;
        let unit = unit_at_hand.take().unwrap_or(Unit::Second);
        once(match unit {
            Unit::Second if fraction != 0.0 => {
                mask(Unit::Second) | mask(Unit::Millisecond) | mask(Unit::Microsecond)
            }
            unit => mask(unit),
        })?;
        parts.add(whole, fraction, unit)?;
    }
    if !any {
        return Err(Format);
    }
    if ago {
        parts.months = -parts.months;
        parts.days = -parts.days;
        parts.micros = -parts.micros;
    }
    Ok(parts)
}

/// Numbers, times and words (`ParseDateTime`).
fn split(text: &str) -> Result<Vec<String>, Failure> {
    let mut fields = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&c) = chars.peek() {
        let mut field = String::new();
        if super::read::is_space(c) {
            chars.next();
            continue;
        }
        if c.is_ascii_digit() || matches!(c, '+' | '-' | '.') {
            field.push(c);
            chars.next();
            if matches!(c, '+' | '-') {
                while chars.next_if(|c| super::read::is_space(*c)).is_some() {}
            }
            while let Some(c) =
                chars.next_if(|c| c.is_ascii_digit() || matches!(c, ':' | '.' | '-'))
            {
                field.push(c);
            }
        } else if c.is_alphabetic() {
            while let Some(c) = chars.next_if(|c| c.is_alphabetic()) {
                field.push(c);
            }
        } else if c == '@' {
            chars.next();
            field.push('@');
        } else if matches!(c, ',') {
            chars.next();
            continue;
        } else {
            return Err(Format);
        }
        fields.push(field);
    }
    Ok(fields)
}

/// What follows the P, with designators.
fn iso(text: &str) -> Result<Parts, Failure> {
    let mut parts = Parts::default();
    let mut rest = text;
    let mut date = true;
    let mut any = false;
    if rest.is_empty() {
        return Err(Format);
    }
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix('T').filter(|_| date) {
            (rest, date) = (time, false);
            continue;
        }
        let end = rest
            .find(|c: char| !(c.is_ascii_digit() || matches!(c, '+' | '-' | '.')))
            .ok_or(Format)?;
        let (whole, fraction) = number(&rest[..end])?;
        let unit = match (rest[end..].chars().next(), date) {
            (Some('Y'), true) => Unit::Year,
            (Some('M'), true) => Unit::Month,
            (Some('W'), true) => Unit::Week,
            (Some('D'), true) => Unit::Day,
            (Some('H'), false) => Unit::Hour,
            (Some('M'), false) => Unit::Minute,
            (Some('S'), false) => Unit::Second,
            _ => return Err(Format),
        };
        parts.add(whole, fraction, unit)?;
        any = true;
        rest = &rest[end + 1..];
    }
    match any {
        true => Ok(parts),
        false => Err(Format),
    }
}
