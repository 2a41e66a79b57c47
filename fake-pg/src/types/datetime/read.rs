//! Reading dates, times and time stamps.
//!
//! Source: `ParseDateTime`, `DecodeDateTime` and `DecodeTimeOnly` in datetime.c, with `DateStyle = ISO, MDY`: dates
//! as numbers or with the month's name, times with or without AM and PM, offsets, UTC, BC, and
//! the words for special moments. Julian days and time zones with names are refused.

use super::{DAY, Zone, checked_date, days_from_civil};
use crate::engine::Timestamp;
use crate::error::{PgError, SqlState};
use crate::types::{Datum, Env, Type};

/// What is wrong with it.
enum Failure {
    Format,
    Overflow,
    /// A month or day that there never is: perhaps they are in another order.
    MonthOrDay,
    Displacement,
    UnknownZone(String),
    Lacking(String),
}

use Failure::{Displacement, Format, Lacking, MonthOrDay, Overflow, UnknownZone};

pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// Moments with names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Special {
    Now,
    Day(i64),
    Epoch,
    Infinity,
    NegativeInfinity,
}

#[derive(Default)]
struct Fields {
    special: Option<Special>,
    date: Option<(i64, i64, i64)>,
    /// A month by its name, numbers before a date is complete.
    month: Option<i64>,
    numbers: Vec<String>,
    time: Option<i64>,
    afternoon: Option<bool>,
    offset: Option<i32>,
    before_christ: bool,
}

/// Whether what the text means depends on the time, or on the session's time zone.
pub fn depends_on_session(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    ["now", "today", "tomorrow", "yesterday"]
        .iter()
        .any(|word| lower.contains(word))
}

/// Reads a date, a time or a time stamp.
pub fn read(ty: Type, text: &str, env: Env) -> Result<Datum, PgError> {
    let failed = |failure| match failure {
        Format => PgError::new(
            SqlState::INVALID_DATETIME_FORMAT,
            format!(
                "invalid input syntax for type {}: \"{text}\"",
                match ty {
                    Type::Time => "time",
                    Type::Timestamp => "timestamp",
                    other => other.sql_name(),
                }
            ),
        ),
        Overflow => PgError::new(
            SqlState::DATETIME_FIELD_OVERFLOW,
            format!("date/time field value out of range: \"{text}\""),
        ),
        MonthOrDay => PgError::new(
            SqlState::DATETIME_FIELD_OVERFLOW,
            format!("date/time field value out of range: \"{text}\""),
        )
        .with_hint("Perhaps you need a different \"datestyle\" setting."),
        Displacement => PgError::new(
            SqlState::INVALID_TIME_ZONE_DISPLACEMENT,
            format!("time zone displacement out of range: \"{text}\""),
        ),
        UnknownZone(name) => PgError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("time zone \"{name}\" not recognized"),
        ),
        Lacking(what) => PgError::feature_not_supported(what),
    };
    let mut fields = parse(text).map_err(failed)?;
    if ty == Type::Time {
        // Six digits alone are a time where one is wanted.
        let digits = text.trim_matches(is_space);
        if digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            fields.date = None;
            take_clock(digits, &mut fields).map_err(failed)?;
        }
        return match (fields.special, fields.time) {
            (Some(Special::Now), None) => {
                Ok(Datum::Time(env.zone.local(env.now).0.rem_euclid(DAY)))
            }
            (None, Some(micros)) => Ok(Datum::Time(micros)),
            _ => Err(failed(Format)),
        };
    }
    let local = moment(&fields, env).map_err(failed)?;
    if ty == Type::Date {
        return Ok(Datum::Date(match local {
            Moment::Infinite(true) => i32::MAX,
            Moment::Infinite(false) => i32::MIN,
            Moment::Local(days, _) => {
                checked_date(days).map_err(|_| super::too_far("date", text))?
            }
        }));
    }
    let local = match local {
        Moment::Infinite(true) => Timestamp(i64::MAX),
        Moment::Infinite(false) => Timestamp(i64::MIN),
        Moment::Local(days, micros) => super::at(days, micros, text)?,
    };
    if ty == Type::Timestamp {
        return Ok(Datum::Timestamp(local));
    }
    let zone = match (fields.special, fields.offset) {
        // The epoch is in UTC wherever one is.
        (Some(Special::Epoch), _) => Zone(0),
        (_, Some(offset)) => Zone(offset),
        _ => env.zone,
    };
    Ok(Datum::Timestamptz(zone.instant(local)))
}

enum Moment {
    Infinite(bool),
    /// A day and the time of that day.
    Local(i64, i64),
}

fn moment(fields: &Fields, env: Env) -> Result<Moment, Failure> {
    let now = env.zone.local(env.now);
    let time = fields.time.unwrap_or(0);
    match fields.special {
        Some(Special::Infinity) => return Ok(Moment::Infinite(true)),
        Some(Special::NegativeInfinity) => return Ok(Moment::Infinite(false)),
        Some(Special::Epoch) => return Ok(Moment::Local(0, 0)),
        Some(Special::Now) => {
            return Ok(Moment::Local(now.0.div_euclid(DAY), now.0.rem_euclid(DAY)));
        }
        Some(Special::Day(offset)) => {
            return Ok(Moment::Local(now.0.div_euclid(DAY) + offset, time));
        }
        None => {}
    }
    let (year, month, day) = fields.date.ok_or(Format)?;
    let year = match fields.before_christ {
        true if year <= 0 => return Err(Overflow),
        true => 1 - year,
        // There is no year zero.
        false if year == 0 => return Err(Overflow),
        false => year,
    };
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(MonthOrDay);
    }
    if day > i64::from(super::month_days(year, month as u32)) {
        return Err(Overflow);
    }
    Ok(Moment::Local(
        days_from_civil(year, month as u32, day as u32),
        time,
    ))
}

fn parse(text: &str) -> Result<Fields, Failure> {
    let mut fields = Fields::default();
    let mut rest = text.trim_matches(is_space);
    if rest.is_empty() {
        return Err(Format);
    }
    while !rest.is_empty() {
        rest = field(rest, &mut fields)?.trim_start_matches(is_space);
    }
    if let Some(afternoon) = fields.afternoon {
        let time = fields.time.ok_or(Format)?;
        let hour = time / 3_600_000_000;
        if hour > 12 {
            return Err(Overflow);
        }
        fields.time = Some(match (hour, afternoon) {
            (12, false) => time - 12 * 3_600_000_000,
            (12, true) | (_, false) => time,
            (_, true) => time + 12 * 3_600_000_000,
        });
    }
    complete_date(&mut fields)?;
    Ok(fields)
}

/// A date of loose numbers around the name of a month, or of three of them.
fn complete_date(fields: &mut Fields) -> Result<(), Failure> {
    let numbers = std::mem::take(&mut fields.numbers);
    let value = |text: &str| text.parse::<i64>().map_err(|_| Overflow);
    let date = match (fields.month, &numbers[..]) {
        (None, []) => return Ok(()),
        _ if fields.date.is_some() => return Err(Format),
        (Some(month), [first, second]) => match first.len() > 2 {
            true => (value(first)?, month, value(second)?),
            false => (year(second)?, month, value(first)?),
        },
        (None, [first, second, third]) if first.len() > 2 => {
            (value(first)?, value(second)?, value(third)?)
        }
        (None, [month, day, last]) => (year(last)?, value(month)?, value(day)?),
        _ => return Err(Format),
    };
    fields.date = Some(date);
    Ok(())
}

/// Two digits mean the years from 1970 to 2069.
fn year(text: &str) -> Result<i64, Failure> {
    let value: i64 = text.parse().map_err(|_| Overflow)?;
    Ok(match text.len() {
        1 | 2 if value < 70 => value + 2000,
        1 | 2 => value + 1900,
        _ => value,
    })
}

/// Takes the next field off the text.
fn field<'a>(text: &'a str, fields: &mut Fields) -> Result<&'a str, Failure> {
    let first = text.chars().next().unwrap_or(' ');
    if first.is_ascii_digit() {
        let end = text
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, ':' | '.' | '-' | '/')))
            .unwrap_or(text.len());
        let word = &text[..end];
        let digits = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(end);
        return match word[digits..].chars().next() {
            Some(':') => take_time(text, fields),
            Some('-' | '/' | '.') => take_date(text, digits, fields),
            Some('T' | 't') if fields.date.is_none() && digits == 8 => {
                compact_date(&text[..digits], fields)?;
                take_clock(&text[digits + 1..], fields)
            }
            _ => {
                take_number(&text[..digits], fields)?;
                Ok(&text[digits..])
            }
        };
    }
    if matches!(first, '+' | '-') {
        let word = text[1..].trim_start_matches(is_space);
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return take_offset(text, fields);
        }
        let end = word
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(word.len());
        let infinite = match &*word[..end].to_ascii_lowercase() {
            "infinity" | "inf" if first == '-' => Special::NegativeInfinity,
            "infinity" | "inf" => Special::Infinity,
            _ => return Err(Format),
        };
        set_special(fields, infinite)?;
        return Ok(&word[end..]);
    }
    if matches!(first, ',') {
        return Ok(&text[1..]);
    }
    if !first.is_alphabetic() {
        return Err(Format);
    }
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '/')))
        .unwrap_or(text.len());
    let letters = text
        .find(|c: char| !c.is_alphabetic())
        .unwrap_or(text.len());
    // `T10:00`, and `Jan5`.
    if letters == 1 && matches!(first, 'T' | 't') && fields.date.is_some() {
        return take_clock(&text[1..], fields);
    }
    let end = if text[letters..end].contains('/') {
        end
    } else {
        letters
    };
    take_word(&text[..end], fields)?;
    Ok(&text[end..])
}

fn set_special(fields: &mut Fields, special: Special) -> Result<(), Failure> {
    match fields.special.replace(special) {
        None if fields.date.is_none() => Ok(()),
        _ => Err(Format),
    }
}

fn take_word(word: &str, fields: &mut Fields) -> Result<(), Failure> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    const DAYS: [&str; 7] = [
        "sunday",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
    ];
    let lower = word.to_lowercase();
    let special = match &*lower {
        "now" => Some(Special::Now),
        "today" => Some(Special::Day(0)),
        "tomorrow" => Some(Special::Day(1)),
        "yesterday" => Some(Special::Day(-1)),
        "epoch" => Some(Special::Epoch),
        "infinity" | "inf" => Some(Special::Infinity),
        _ => None,
    };
    if let Some(special) = special {
        return set_special(fields, special);
    }
    let abbreviates = |name: &&str| *name == lower || lower.len() == 3 && name.starts_with(&lower);
    if let Some(place) = MONTHS.iter().position(&abbreviates) {
        // The dashes around it are no signs.
        return match fields.month.replace(place as i64 + 1) {
            None => Ok(()),
            Some(_) => Err(Format),
        };
    }
    if lower == "sept" {
        fields.month = Some(9);
        return Ok(());
    }
    const SHORT_DAYS: [&str; 6] = ["tue", "tues", "wed", "weds", "thur", "thurs"];
    if DAYS.iter().any(abbreviates) || SHORT_DAYS.contains(&&*lower) {
        return Err(Lacking("the name of a day in a date".into()));
    }
    match &*lower {
        "am" => fields.afternoon = Some(false),
        "pm" => fields.afternoon = Some(true),
        "bc" => fields.before_christ = true,
        "ad" | "at" | "on" => {}
        "allballs" => {
            fields.time = Some(0);
            fields.offset = Some(0);
        }
        "utc" | "gmt" | "z" | "zulu" | "uct" if fields.offset.is_none() => fields.offset = Some(0),
        "j" | "jd" | "julian" => return Err(Lacking("dates as Julian days".into())),
        zone if zone.contains('/') || fields.date.is_some() && fields.time.is_some() => {
            return match is_zone(word) {
                true => Err(Lacking(format!("the time zone {word}"))),
                false => Err(UnknownZone(lower)),
            };
        }
        _ => return Err(Format),
    }
    Ok(())
}

/// Whether it looks like a zone of the tables we do not have.
fn is_zone(word: &str) -> bool {
    const AREAS: [&str; 10] = [
        "africa",
        "america",
        "antarctica",
        "asia",
        "atlantic",
        "australia",
        "europe",
        "indian",
        "pacific",
        "etc",
    ];
    const ABBREVIATIONS: [&str; 16] = [
        "est", "edt", "cst", "cdt", "mst", "mdt", "pst", "pdt", "cet", "cest", "eet", "eest",
        "wet", "bst", "msk", "jst",
    ];
    let lower = word.to_lowercase();
    let area = lower.split('/').next().unwrap_or("");
    lower.contains('/') && AREAS.contains(&area) || ABBREVIATIONS.contains(&&*lower)
}

fn take_number(digits: &str, fields: &mut Fields) -> Result<(), Failure> {
    if fields.date.is_none() && fields.month.is_none() && fields.numbers.is_empty() {
        if matches!(digits.len(), 6 | 8) {
            return compact_date(digits, fields);
        }
    } else if fields.date.is_some() && fields.time.is_none() && matches!(digits.len(), 4 | 6) {
        take_clock(digits, fields)?;
        return Ok(());
    }
    if fields.date.is_some() || fields.numbers.len() == 3 {
        return Err(Format);
    }
    fields.numbers.push(digits.into());
    Ok(())
}

fn compact_date(digits: &str, fields: &mut Fields) -> Result<(), Failure> {
    let (years, rest) = digits.split_at(digits.len() - 4);
    let value = |text: &str| text.parse::<i64>().map_err(|_| Overflow);
    fields.date = Some((year(years)?, value(&rest[..2])?, value(&rest[2..])?));
    Ok(())
}

/// `2020-01-31`, `1/31/2020`, `31-Jan-2020`.
fn take_date<'a>(text: &'a str, digits: usize, fields: &mut Fields) -> Result<&'a str, Failure> {
    if fields.date.is_some() {
        return Err(Format);
    }
    let separator = text[digits..].chars().next().unwrap_or('-');
    let first = &text[..digits];
    let rest = &text[digits + 1..];
    let alphanumeric = |text: &str| {
        text.find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(text.len())
    };
    let middle_end = alphanumeric(rest);
    let middle = &rest[..middle_end];
    if !rest[middle_end..].starts_with(separator) || middle.is_empty() {
        return Err(match separator {
            '.' if middle.len() == 3 => Lacking("dates as days of the year".into()),
            _ => Format,
        });
    }
    let rest = &rest[middle_end + 1..];
    let last_end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let last = &rest[..last_end];
    if last.is_empty() {
        return Err(Format);
    }
    if middle.starts_with(|c: char| c.is_ascii_alphabetic()) {
        take_word(middle, fields)?;
        fields.numbers.extend([first.to_string(), last.to_string()]);
        return Ok(&rest[last_end..]);
    }
    let value = |text: &str| text.parse::<i64>().map_err(|_| Overflow);
    if !middle.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Format);
    }
    fields.date = Some(match first.len() {
        3.. => (value(first)?, value(middle)?, value(last)?),
        _ => (year(last)?, value(first)?, value(middle)?),
    });
    Ok(&rest[last_end..])
}

/// A time behind a T, with or without colons.
fn take_clock<'a>(text: &'a str, fields: &mut Fields) -> Result<&'a str, Failure> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    if text[end..].starts_with(':') {
        return take_time(text, fields);
    }
    if fields.time.is_some() {
        return Err(Format);
    }
    let digits = &text[..end];
    let value = |text: &str| text.parse::<i64>().map_err(|_| Format);
    let (hours, minutes, seconds) = match digits.len() {
        2 => (value(digits)?, 0, 0),
        4 => (value(&digits[..2])?, value(&digits[2..])?, 0),
        6 => (
            value(&digits[..2])?,
            value(&digits[2..4])?,
            value(&digits[4..])?,
        ),
        _ => return Err(Format),
    };
    fields.time = Some(time_of_day(hours, minutes, seconds, 0)?);
    Ok(&text[end..])
}

fn take_time<'a>(text: &'a str, fields: &mut Fields) -> Result<&'a str, Failure> {
    if fields.time.is_some() {
        return Err(Format);
    }
    let mut rest = text;
    let mut number = || -> Result<(i64, &'a str), Failure> {
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let value = rest[..end].parse().map_err(|_| Format)?;
        rest = &rest[end..];
        let after = rest;
        rest = rest.strip_prefix(':').unwrap_or(rest);
        Ok((value, after))
    };
    let (mut hours, after) = number()?;
    if !after.starts_with(':') {
        return Err(Format);
    }
    let (mut minutes, mut after) = number()?;
    let mut seconds = 0;
    if after.starts_with(':') {
        (seconds, after) = number()?;
    } else if after.starts_with('.') {
        // Minutes and seconds.
        (hours, minutes, seconds) = (0, hours, minutes);
    }
    let mut micros = 0;
    if let Some(fraction) = after.strip_prefix('.') {
        let end = fraction
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(fraction.len());
        let value: f64 = format!("0.{}0", &fraction[..end])
            .parse()
            .map_err(|_| Format)?;
        micros = (value * 1e6).round_ties_even() as i64;
        after = &fraction[end..];
    }
    fields.time = Some(time_of_day(hours, minutes, seconds, micros)?);
    Ok(after)
}

fn time_of_day(hours: i64, minutes: i64, seconds: i64, micros: i64) -> Result<i64, Failure> {
    if hours > 24 || minutes > 59 || seconds > 60 || micros > 1_000_000 {
        return Err(Overflow);
    }
    let time = (hours * 3600 + minutes * 60 + seconds) * 1_000_000 + micros;
    match time > DAY {
        true => Err(Overflow),
        false => Ok(time),
    }
}

fn take_offset<'a>(text: &'a str, fields: &mut Fields) -> Result<&'a str, Failure> {
    if fields.time.is_none() && fields.date.is_none() && fields.special.is_none() {
        return Err(Format);
    }
    let end = text[1..]
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, ':' | '.')))
        .map_or(text.len(), |at| at + 1);
    let offset = offset(&text[..end]).ok_or(Format)?;
    if offset.abs() >= 16 * 3600 {
        return Err(Displacement);
    }
    // `UTC+2` is east as SQL counts, but the word alone was taken before.
    if fields.offset.is_some() {
        return Err(Lacking("time zones in the notation of POSIX".into()));
    }
    fields.offset = Some(offset);
    Ok(&text[end..])
}

/// `+02`, `-0530`, `+05:30:00`: seconds east of UTC (`DecodeTimezone`).
pub(super) fn offset(text: &str) -> Option<i32> {
    let sign = match text.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let body = &text[1..];
    let fields: Vec<&str> = body.split(':').collect();
    if body.is_empty()
        || !fields
            .iter()
            .all(|field| field.bytes().all(|b| b.is_ascii_digit()))
    {
        return None;
    }
    let value = |field: &str| field.parse::<i32>().ok();
    let (hours, minutes, seconds) = match fields[..] {
        [single] if single.len() > 2 => {
            let (hours, minutes) = single.split_at(single.len() - 2);
            (value(hours)?, value(minutes)?, 0)
        }
        [hours] => (value(hours)?, 0, 0),
        [hours, minutes] => (value(hours)?, value(minutes)?, 0),
        [hours, minutes, seconds] => (value(hours)?, value(minutes)?, value(seconds)?),
        _ => return None,
    };
    if hours > 1000 || minutes > 59 || seconds > 59 {
        return None;
    }
    Some(sign * (hours * 3600 + minutes * 60 + seconds))
}
