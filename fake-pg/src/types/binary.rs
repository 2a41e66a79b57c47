//! The binary formats: what PostgreSQL's `…send` and `…recv` functions do.

use bytes::{BufMut, BytesMut};

use super::{Datum, Interval, Type, json};
use crate::engine::Timestamp;
use crate::error::{PgError, SqlState};

/// Microseconds from 1970, our epoch, to 2000, the wire's.
const EPOCH: i64 = 946_684_800_000_000;

/// Writes a value that is not NULL.
pub fn write(ty: Type, datum: &Datum, out: &mut BytesMut) -> Result<(), PgError> {
    match datum {
        Datum::Bool(value) => out.put_u8((*value).into()),
        Datum::Int2(value) => out.put_i16(*value),
        Datum::Int4(value) => out.put_i32(*value),
        // oid and regclass are kept as Int8, but are four bytes wide.
        Datum::Int8(value) if ty.len() == 4 => out.put_u32(*value as u32),
        Datum::Int8(value) => out.put_i64(*value),
        Datum::Float8(value) if ty == Type::Float4 => out.put_f32(*value as f32),
        Datum::Float8(value) => out.put_f64(*value),
        // A position in the WAL is kept as it is shown: two halves in hexadecimal.
        Datum::Text(text) if ty == Type::PgLsn => {
            let half =
                |part: Option<&str>| u32::from_str_radix(part.unwrap_or("0"), 16).unwrap_or(0);
            let mut parts = text.split('/');
            out.put_u32(half(parts.next()));
            out.put_u32(half(parts.next()));
        }
        Datum::Text(text) => out.put_slice(text.as_bytes()),
        Datum::Bytea(bytes) => out.put_slice(bytes),
        Datum::Timestamptz(at) => out.put_i64(at.0 - EPOCH),
        Datum::Interval(interval) => {
            out.put_i64(interval.micros);
            out.put_i32(interval.days);
            out.put_i32(interval.months);
        }
        Datum::Uuid(bytes) => out.put_slice(bytes),
        Datum::Json(text) => {
            if ty == Type::Jsonb {
                out.put_u8(1);
            }
            out.put_slice(text.as_bytes());
        }
        Datum::Array(items) => {
            let element = ty.element().unwrap_or(Type::Text);
            out.put_i32(i32::from(!items.is_empty()));
            out.put_i32(items.iter().any(Datum::is_null).into());
            out.put_u32(element.oid());
            if !items.is_empty() {
                out.put_i32(items.len() as i32);
                out.put_i32(1);
            }
            for item in items.iter() {
                write_sized(element, item, out)?;
            }
        }
        Datum::Void | Datum::Null => {}
    }
    Ok(())
}

/// Writes a value with its length before it, NULL as the length -1.
fn write_sized(ty: Type, datum: &Datum, out: &mut BytesMut) -> Result<(), PgError> {
    let at = out.len();
    out.put_i32(-1);
    if datum.is_null() {
        return Ok(());
    }
    write(ty, datum, out)?;
    let len = (out.len() - at - 4) as i32;
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
    Ok(())
}

/// Reads a value that is not NULL.
pub fn read(ty: Type, bytes: &[u8]) -> Result<Datum, PgError> {
    let wrong = || {
        PgError::new(
            SqlState::INVALID_BINARY_REPRESENTATION,
            "incorrect binary data format",
        )
    };
    Ok(match ty {
        Type::Bool => Datum::Bool(fixed::<1>(bytes)?[0] != 0),
        Type::Int2 => Datum::Int2(i16::from_be_bytes(fixed(bytes)?)),
        Type::Int4 => Datum::Int4(i32::from_be_bytes(fixed(bytes)?)),
        Type::Int8 | Type::Xid8 => Datum::Int8(i64::from_be_bytes(fixed(bytes)?)),
        Type::Oid | Type::Regclass => Datum::Int8(u32::from_be_bytes(fixed(bytes)?).into()),
        Type::Float8 => Datum::Float8(f64::from_be_bytes(fixed(bytes)?)),
        Type::Text | Type::Varchar | Type::Name | Type::Unknown => Datum::text(utf8(bytes)?),
        Type::Bytea => Datum::Bytea(bytes.into()),
        Type::Timestamptz => Datum::Timestamptz(Timestamp(
            i64::from_be_bytes(fixed(bytes)?)
                .checked_add(EPOCH)
                .ok_or_else(wrong)?,
        )),
        Type::Interval => {
            let all: [u8; 16] = fixed(bytes)?;
            let (micros, rest) = all.split_at(8);
            let (days, months) = rest.split_at(4);
            Datum::Interval(Interval {
                micros: i64::from_be_bytes(fixed(micros)?),
                days: i32::from_be_bytes(fixed(days)?),
                months: i32::from_be_bytes(fixed(months)?),
            })
        }
        Type::Uuid => Datum::Uuid(fixed(bytes)?),
        Type::Json => {
            let text = utf8(bytes)?;
            json::validate(text)?;
            Datum::Json(text.into())
        }
        Type::Jsonb => match bytes.split_first() {
            Some((1, text)) => Datum::Json(json::normalize(utf8(text)?)?.into()),
            Some((version, _)) => {
                return Err(PgError::new(
                    SqlState::INTERNAL_ERROR,
                    format!("unsupported jsonb version number {version}"),
                ));
            }
            None => return Err(too_short()),
        },
        Type::Void => Datum::Void,
        _ => match ty.element() {
            Some(element) => Datum::Array(array(element, bytes)?.into()),
            None => {
                return Err(PgError::feature_not_supported(format_args!(
                    "type {}",
                    ty.sql_name()
                )));
            }
        },
    })
}

fn array(element: Type, bytes: &[u8]) -> Result<Vec<Datum>, PgError> {
    let mut rest = bytes;
    let dimensions = take_i32(&mut rest)?;
    let _has_nulls = take_i32(&mut rest)?;
    let oid = take_i32(&mut rest)? as u32;
    if oid != element.oid() {
        return Err(PgError::new(
            SqlState::DATATYPE_MISMATCH,
            "wrong element type",
        ));
    }
    match dimensions {
        0 => return Ok(Vec::new()),
        1 => {}
        _ => {
            return Err(PgError::feature_not_supported(
                "arrays of several dimensions",
            ));
        }
    }
    let len = take_i32(&mut rest)?;
    let _lower_bound = take_i32(&mut rest)?;
    let mut items = Vec::new();
    for _ in 0..len {
        let size = take_i32(&mut rest)?;
        if size < 0 {
            items.push(Datum::Null);
            continue;
        }
        if rest.len() < size as usize {
            return Err(too_short());
        }
        let (item, tail) = rest.split_at(size as usize);
        items.push(read(element, item)?);
        rest = tail;
    }
    Ok(items)
}

fn take_i32(rest: &mut &[u8]) -> Result<i32, PgError> {
    let (head, tail) = rest.split_first_chunk::<4>().ok_or_else(too_short)?;
    *rest = tail;
    Ok(i32::from_be_bytes(*head))
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], PgError> {
    if bytes.len() < N {
        return Err(too_short());
    }
    bytes.try_into().map_err(|_| {
        PgError::new(
            SqlState::INVALID_BINARY_REPRESENTATION,
            "incorrect binary data format",
        )
    })
}

fn too_short() -> PgError {
    PgError::new(
        SqlState::PROTOCOL_VIOLATION,
        "insufficient data left in message",
    )
}

fn utf8(bytes: &[u8]) -> Result<&str, PgError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| invalid_encoding(&bytes[error.valid_up_to()..]))?;
    match text.find('\0') {
        Some(_) => Err(invalid_encoding(&[0])),
        None => Ok(text),
    }
}

/// Text in another encoding, as `report_invalid_encoding` words it.
pub fn invalid_encoding(bytes: &[u8]) -> PgError {
    let width = match bytes.first() {
        Some(0xC0..=0xDF) => 2,
        Some(0xE0..=0xEF) => 3,
        Some(0xF0..=0xF7) => 4,
        _ => 1,
    };
    let shown: Vec<String> = bytes
        .iter()
        .take(width)
        .map(|byte| format!("0x{byte:02x}"))
        .collect();
    PgError::new(
        SqlState::CHARACTER_NOT_IN_REPERTOIRE,
        format!(
            "invalid byte sequence for encoding \"UTF8\": {}",
            shown.join(" ")
        ),
    )
}
