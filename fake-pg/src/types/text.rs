//! Text input: what PostgreSQL's `…in` functions accept, and what they say of
//! the rest.
//!
//! Output is [`Datum`]'s `Display`; only what depends on the type as well as
//! the value stands here, in [`write()`].

use std::fmt::Write as _;
use std::sync::Arc;

use super::datetime;
use super::numeric::Numeric;
use super::snapshot::{PgSnapshot, lsn};
use super::{Datum, Env, Type};
use super::{array, json};
use crate::error::{PgError, SqlState};

/// Reads a value of `ty` from its text, as the type's input function.
pub fn read(ty: Type, text: &str, env: Env) -> Result<Datum, PgError> {
    let invalid = || PgError::invalid_text(ty.sql_name(), text);
    Ok(match ty {
        Type::Bool => Datum::Bool(boolean(text).ok_or_else(invalid)?),
        Type::Int2 => Datum::Int2(integer(ty, text)?),
        Type::Int4 => Datum::Int4(integer(ty, text)?),
        Type::Int8 => Datum::Int8(integer(ty, text)?),
        Type::Oid => Datum::Int8(i64::from(integer::<u32>(ty, text)?)),
        Type::Xid8 => Datum::Int8(integer(ty, text)?),
        Type::Float8 => Datum::Float8(float(ty, text)?),
        Type::Float4 => Datum::Float4(real(text)?),
        Type::Numeric => Numeric::parse(text).ok_or_else(invalid)??.into(),
        Type::Text | Type::Varchar | Type::Unknown => Datum::text(text),
        Type::Bpchar => Datum::Bpchar(text.into()),
        Type::Char => Datum::text(&text[..text.chars().next().map_or(0, char::len_utf8)]),
        Type::Xid => Datum::Int8(i64::from(integer::<u32>(ty, text)?)),
        // NAMEDATALEN is 64, its last byte is the terminator.
        Type::Name => Datum::text(truncate(text, 63)),
        Type::Bytea => Datum::Bytea(bytea(text)?),
        Type::Timestamptz | Type::Timestamp | Type::Date | Type::Time => {
            datetime::read(ty, text, env)?
        }
        Type::Interval => Datum::Interval(datetime::read_interval(text)?),
        Type::Uuid => Datum::Uuid(uuid(text).ok_or_else(invalid)?),
        Type::PgLsn => {
            let at = lsn(text).ok_or_else(invalid)?;
            Datum::text(format!("{:X}/{:X}", at >> 32, at & 0xffff_ffff))
        }
        Type::PgSnapshot | Type::TxidSnapshot => {
            Datum::text(PgSnapshot::parse(text).ok_or_else(invalid)?.to_string())
        }
        Type::Json => {
            json::validate(text)?;
            Datum::Json(text.into())
        }
        Type::Jsonb => Datum::Jsonb(Arc::new(json::parse(text)?)),
        Type::Void => Datum::Void,
        Type::User(user) if ty.labels().is_some() => {
            let labels = ty.labels().unwrap_or(&[]);
            let found = labels.iter().find(|label| label.text == text);
            let Some(label) = found else {
                return Err(PgError::new(
                    SqlState::INVALID_TEXT_REPRESENTATION,
                    format!("invalid input value for enum {}: \"{text}\"", user.shown),
                ));
            };
            label.value(user)?
        }
        _ => match ty.element() {
            Some(element) => array::read(element, text, env)?,
            None => {
                return Err(PgError::feature_not_supported(format_args!(
                    "type {}",
                    ty.sql_name()
                )));
            }
        },
    })
}

/// Writes a value that is not NULL as the type's output function does.
pub fn write(datum: &Datum, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{datum}");
}

/// The same as a session shows it, in its time zone.
pub fn write_in(datum: &Datum, out: &mut String, env: Env) {
    match datum {
        Datum::Timestamptz(at) => {
            let _ = datetime::write_timestamptz(out, *at, env.zone);
        }
        other => write(other, out),
    }
}

pub(crate) fn truncate(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Unique prefixes of the words, in any case (`parse_bool_with_len`).
pub fn boolean(text: &str) -> Option<bool> {
    let text = text.trim_matches(is_space).to_ascii_lowercase();
    let prefix = |word: &str, least: usize| text.len() >= least && word.starts_with(&text);
    if prefix("true", 1) || prefix("yes", 1) || text == "on" || text == "1" {
        return Some(true);
    }
    if prefix("false", 1) || prefix("no", 1) || prefix("off", 2) || text == "0" {
        return Some(false);
    }
    None
}

pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

fn integer<T: TryFrom<i128>>(ty: Type, text: &str) -> Result<T, PgError> {
    let invalid = || PgError::invalid_text(ty.sql_name(), text);
    let trimmed = text.trim_matches(is_space);
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid());
    }
    let out_of_range = || {
        PgError::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            format!(
                "value \"{text}\" is out of range for type {}",
                ty.sql_name()
            ),
        )
    };
    let value: i128 = trimmed.parse().map_err(|_| out_of_range())?;
    T::try_from(value).map_err(|_| out_of_range())
}

fn float(ty: Type, text: &str) -> Result<f64, PgError> {
    let invalid = || PgError::invalid_text(ty.sql_name(), text);
    let trimmed = text.trim_matches(is_space);
    match trimmed.to_ascii_lowercase().as_str() {
        "nan" => return Ok(f64::NAN),
        "inf" | "+inf" | "infinity" | "+infinity" => return Ok(f64::INFINITY),
        "-inf" | "-infinity" => return Ok(f64::NEG_INFINITY),
        _ => {}
    }
    if !trimmed.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Err(invalid());
    }
    let value: f64 = trimmed.parse().map_err(|_| invalid())?;
    let vanished = value == 0.0 && has_digit(trimmed);
    if value.is_infinite() || vanished {
        return Err(float_out_of_range(ty, trimmed));
    }
    Ok(value)
}

/// Whether a digit other than zero stands before the exponent.
fn has_digit(number: &str) -> bool {
    let mantissa = number.split(['e', 'E']).next().unwrap_or("");
    mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'))
}

fn float_out_of_range(ty: Type, text: &str) -> PgError {
    PgError::new(
        SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
        format!("\"{text}\" is out of range for type {ty}"),
    )
}

fn real(text: &str) -> Result<f32, PgError> {
    let trimmed = text.trim_matches(is_space);
    let wide = float(Type::Float4, text)?;
    if !wide.is_finite() {
        return Ok(wide as f32);
    }
    let value: f32 = trimmed.parse().unwrap_or(wide as f32);
    if value.is_infinite() || value == 0.0 && wide != 0.0 {
        return Err(float_out_of_range(Type::Float4, trimmed));
    }
    Ok(value)
}

fn bytea(text: &str) -> Result<Arc<[u8]>, PgError> {
    if let Some(hex) = text.strip_prefix("\\x") {
        return hex_bytes(hex);
    }
    let invalid = || PgError::invalid_text("bytea", text);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'\\' {
            bytes.push(first);
            rest = tail;
            continue;
        }
        match tail {
            [b'\\', after @ ..] => {
                bytes.push(b'\\');
                rest = after;
            }
            [
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                after @ ..,
            ] => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                return Err(PgError::new(
                    invalid().code,
                    "invalid input syntax for type bytea",
                ));
            }
        }
    }
    Ok(bytes.into())
}

fn hex_bytes(hex: &str) -> Result<Arc<[u8]>, PgError> {
    let mut bytes = Vec::with_capacity(hex.len() / 2);
    let mut high = None;
    for c in hex.chars().filter(|c| !is_space(*c)) {
        let Some(digit) = c.to_digit(16) else {
            return Err(PgError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("invalid hexadecimal digit: \"{c}\""),
            ));
        };
        match high.take() {
            None => high = Some(digit),
            Some(high) => bytes.push((high << 4 | digit) as u8),
        }
    }
    match high {
        None => Ok(bytes.into()),
        Some(_) => Err(PgError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            "invalid hexadecimal data: odd number of digits",
        )),
    }
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => text,
    };
    let mut bytes = [0; 16];
    let mut digits = 0;
    for c in inner.chars() {
        if c == '-' {
            // Only after each group of four digits.
            if digits % 4 != 0 || digits == 0 || digits == 32 {
                return None;
            }
            continue;
        }
        let digit = c.to_digit(16)? as u8;
        let byte = bytes.get_mut(digits / 2)?;
        *byte = *byte << 4 | digit;
        digits += 1;
    }
    (digits == 32).then_some(bytes)
}
