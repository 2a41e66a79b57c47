//! The binary formats: what PostgreSQL's `…send` and `…recv` functions do.

use bytes::{BufMut, BytesMut};

use super::numeric::Numeric;
use super::snapshot::PgSnapshot;
use super::{Datum, Interval, Type, datetime, json};
use crate::engine::Timestamp;
use crate::error::{PgError, SqlState};

/// Microseconds from 1970, our epoch, to 2000, the wire's.
const EPOCH: i64 = 946_684_800_000_000;

/// The same in days.
const EPOCH_DAYS: i32 = 10_957;

/// `MIN_TIMESTAMP` and `END_TIMESTAMP`: from 4714 BC to the end of 294276.
const TIMESTAMPS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

/// `MaxArraySize`: as many elements as fit an allocation.
const ARRAY_LEN_MAX: i32 = 134_217_727;

/// Writes a value that is not NULL.
pub fn write(ty: Type, datum: &Datum, out: &mut BytesMut) -> Result<(), PgError> {
    match datum {
        Datum::Bool(value) => out.put_u8((*value).into()),
        Datum::Int2(value) => out.put_i16(*value),
        Datum::Int4(value) => out.put_i32(*value),
        // oid and regclass are kept as Int8, but are four bytes wide.
        Datum::Int8(value) if ty.len() == 4 => out.put_u32(*value as u32),
        Datum::Int8(value) => out.put_i64(*value),
        Datum::Float4(value) => out.put_f32(*value),
        Datum::Float8(value) => out.put_f64(*value),
        Datum::Text(text) if ty == Type::Char && text.is_empty() => out.put_u8(0),
        // A position in the WAL is kept as it is shown: two halves in hexadecimal.
        Datum::Text(text) if ty == Type::PgLsn => {
            let half =
                |part: Option<&str>| u32::from_str_radix(part.unwrap_or("0"), 16).unwrap_or(0);
            let mut parts = text.split('/');
            out.put_u32(half(parts.next()));
            out.put_u32(half(parts.next()));
        }
        Datum::Text(text) if matches!(ty, Type::PgSnapshot | Type::TxidSnapshot) => {
            let snapshot = PgSnapshot::parse(text).unwrap_or_default();
            out.put_i32(snapshot.xip.len() as i32);
            out.put_u64(snapshot.xmin);
            out.put_u64(snapshot.xmax);
            snapshot.xip.iter().for_each(|&xid| out.put_u64(xid));
        }
        Datum::Text(text) | Datum::Bpchar(text) | Datum::Enum(_, text) => {
            out.put_slice(text.as_bytes());
        }
        Datum::Named(oid, _) => out.put_u32(*oid),
        Datum::Numeric(value) => out.put_slice(&value.to_wire()),
        Datum::Bytea(bytes) => out.put_slice(bytes),
        Datum::Timestamptz(at) | Datum::Timestamp(at) => out.put_i64(match at.0 {
            i64::MAX | i64::MIN => at.0,
            micros => micros - EPOCH,
        }),
        Datum::Date(days) => out.put_i32(match *days {
            i32::MAX | i32::MIN => *days,
            days => days - EPOCH_DAYS,
        }),
        Datum::Time(micros) => out.put_i64(*micros),
        Datum::Interval(interval) => {
            out.put_i64(interval.micros);
            out.put_i32(interval.days);
            out.put_i32(interval.months);
        }
        Datum::Uuid(bytes) => out.put_slice(bytes),
        Datum::Json(text) => out.put_slice(text.as_bytes()),
        Datum::Jsonb(json) => {
            out.put_u8(1);
            out.put_slice(json.to_string().as_bytes());
        }
        Datum::Array(_) | Datum::Matrix(_) => {
            let element = ty.element().unwrap_or(Type::Text);
            let (dimensions, items) = (datum.dimensions(), datum.items());
            out.put_i32(dimensions.len() as i32);
            out.put_i32(items.iter().any(Datum::is_null).into());
            out.put_u32(element.oid());
            for (length, first) in dimensions {
                out.put_i32(length);
                out.put_i32(first);
            }
            for item in items.iter() {
                write_sized(element, item, out)?;
            }
        }
        Datum::Record(_) => return Err(PgError::feature_not_supported("rows in binary")),
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

/// Reads the parameter `$place`, which is not NULL.
pub fn read(ty: Type, bytes: &[u8], place: usize) -> Result<Datum, PgError> {
    let mut rest = bytes;
    let datum = receive(ty, &mut rest)?;
    if !rest.is_empty() {
        return Err(wrong(format!(
            "incorrect binary data format in bind parameter {place}"
        )));
    }
    Ok(datum)
}

/// Takes a value off a message; whether anything may be left is the caller's to say.
fn receive(ty: Type, rest: &mut &[u8]) -> Result<Datum, PgError> {
    Ok(match ty {
        Type::Bool => match take::<1>(rest) {
            Ok([value]) => Datum::Bool(value != 0),
            Err(_) => return Err(too_short("no data left in message")),
        },
        Type::Int2 => Datum::Int2(i16::from_be_bytes(take(rest)?)),
        Type::Int4 => Datum::Int4(i32::from_be_bytes(take(rest)?)),
        Type::Int8 | Type::Xid8 => Datum::Int8(i64::from_be_bytes(take(rest)?)),
        Type::Oid | Type::Regclass => Datum::Int8(u32::from_be_bytes(take(rest)?).into()),
        Type::Float8 => Datum::Float8(f64::from_be_bytes(take(rest)?)),
        Type::Float4 => Datum::Float4(f32::from_be_bytes(take(rest)?)),
        Type::Numeric => {
            let mut words = Vec::new();
            for _ in 0..4 {
                words.push(i16::from_be_bytes(take(rest)?));
            }
            for _ in 0..words[0].max(0) {
                words.push(i16::from_be_bytes(take(rest)?));
            }
            Numeric::from_wire(&words)?.into()
        }
        Type::Bpchar => Datum::Bpchar(utf8(all(rest))?.into()),
        Type::Char => Datum::text(utf8(all(rest))?),
        Type::Xid => Datum::Int8(u32::from_be_bytes(take(rest)?).into()),
        Type::Text | Type::Varchar | Type::Name | Type::Unknown => Datum::text(utf8(all(rest))?),
        Type::Bytea => Datum::Bytea(all(rest).into()),
        Type::Timestamptz => Datum::Timestamptz(timestamp(i64::from_be_bytes(take(rest)?))?),
        Type::Timestamp => Datum::Timestamp(timestamp(i64::from_be_bytes(take(rest)?))?),
        Type::Date => Datum::Date(match i32::from_be_bytes(take(rest)?) {
            infinite @ (i32::MAX | i32::MIN) => infinite,
            days => datetime::checked_date(i64::from(days) + i64::from(EPOCH_DAYS))?,
        }),
        Type::Time => match i64::from_be_bytes(take(rest)?) {
            micros @ 0..=datetime::DAY => Datum::Time(micros),
            _ => return Err(datetime::out_of_range("time")),
        },
        Type::Interval => Datum::Interval(Interval {
            micros: i64::from_be_bytes(take(rest)?),
            days: i32::from_be_bytes(take(rest)?),
            months: i32::from_be_bytes(take(rest)?),
        }),
        Type::Uuid => Datum::Uuid(take(rest)?),
        Type::Json => {
            let text = utf8(all(rest))?;
            json::validate(text)?;
            Datum::Json(text.into())
        }
        Type::Jsonb => match take(rest)? {
            [1] => Datum::Jsonb(std::sync::Arc::new(json::parse(utf8(all(rest))?)?)),
            [version] => {
                return Err(PgError::new(
                    SqlState::INTERNAL_ERROR,
                    format!("unsupported jsonb version number {version}"),
                ));
            }
        },
        Type::PgLsn => {
            let at = u64::from_be_bytes(take(rest)?);
            Datum::text(format!("{:X}/{:X}", at >> 32, at & 0xffff_ffff))
        }
        Type::User(_) if ty.labels().is_some() => {
            super::text::read(ty, utf8(all(rest))?, super::Env::default())?
        }
        Type::Void => Datum::Void,
        _ => match ty.element() {
            Some(element) => array(element, rest)?,
            None => {
                return Err(PgError::feature_not_supported(format_args!(
                    "type {}",
                    ty.sql_name()
                )));
            }
        },
    })
}

fn timestamp(micros: i64) -> Result<Timestamp, PgError> {
    if matches!(micros, i64::MAX | i64::MIN) {
        return Ok(Timestamp(micros));
    }
    let valid = TIMESTAMPS.contains(&micros).then_some(micros);
    let ours = valid.and_then(|micros| micros.checked_add(EPOCH));
    ours.map(Timestamp)
        .ok_or_else(|| PgError::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range"))
}

fn array(element: Type, rest: &mut &[u8]) -> Result<Datum, PgError> {
    let dimensions = i32::from_be_bytes(take(rest)?);
    if dimensions < 0 {
        return Err(wrong(format!("invalid number of dimensions: {dimensions}")));
    }
    if !matches!(i32::from_be_bytes(take(rest)?), 0 | 1) {
        return Err(wrong("invalid array flags".into()));
    }
    let oid = u32::from_be_bytes(take(rest)?);
    if oid != element.oid() {
        let sent = Type::from_oid(oid).map_or("???", Type::sql_name);
        return Err(PgError::new(
            SqlState::DATATYPE_MISMATCH,
            format!(
                "binary data has array element type {oid} ({sent}) instead of expected {} ({element})",
                element.oid()
            ),
        ));
    }
    if dimensions as usize > super::array::DIMENSIONS_MAX {
        return Err(PgError::new(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            format!("number of array dimensions ({dimensions}) exceeds the maximum allowed (6)"),
        ));
    }
    let mut shape = Vec::new();
    let mut len = i32::from(dimensions > 0);
    for _ in 0..dimensions {
        let length = i32::from_be_bytes(take(rest)?);
        shape.push((length, i32::from_be_bytes(take(rest)?)));
        len = len.checked_mul(length).unwrap_or(-1);
        if !(0..=ARRAY_LEN_MAX).contains(&len) {
            return Err(PgError::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!("array size exceeds the maximum allowed ({ARRAY_LEN_MAX})"),
            ));
        }
    }
    super::array::check_bounds(&shape)?;
    let mut items = Vec::new();
    for number in 1..=len {
        let size = i32::from_be_bytes(take(rest)?);
        let Ok(size) = usize::try_from(size) else {
            items.push(Datum::Null);
            continue;
        };
        let Some((mut item, tail)) = rest.split_at_checked(size) else {
            return Err(wrong("insufficient data left in message".into()));
        };
        *rest = tail;
        items.push(receive(element, &mut item)?);
        if !item.is_empty() {
            return Err(wrong(format!(
                "improper binary format in array element {number}"
            )));
        }
    }
    Ok(Datum::array(shape, items))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], PgError> {
    let short = || too_short("insufficient data left in message");
    let (head, tail) = rest.split_first_chunk().ok_or_else(short)?;
    *rest = tail;
    Ok(*head)
}

fn all<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    std::mem::take(rest)
}

fn wrong(message: String) -> PgError {
    PgError::new(SqlState::INVALID_BINARY_REPRESENTATION, message)
}

fn too_short(message: &str) -> PgError {
    PgError::new(SqlState::PROTOCOL_VIOLATION, message)
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
