//! What casts do to values.
//!
//! Which casts exist, and where they may be applied, is `coerce`'s.

use std::sync::Arc;

use crate::error::{PgError, SqlState};
use crate::types::json::Json;
use crate::types::numeric::Numeric;
use crate::types::{Datum, Env, Type, datetime, json, text};

/// A cast to a type, perhaps with a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cast {
    pub(crate) to: Type,
    pub(crate) typmod: i32,
    /// An explicit cast cuts what is too long; an assignment refuses it.
    pub(crate) explicit: bool,
}

impl Cast {
    /// A cast without a length.
    pub(crate) fn plain(to: Type) -> Self {
        Cast {
            to,
            typmod: -1,
            explicit: true,
        }
    }

    /// Whether what it makes of a value depends on the session's time zone or on the time.
    pub(crate) fn is_stable(self, datum: &Datum) -> bool {
        let to = self.to.base();
        let to = to.element().map_or(to, Type::base);
        let timed = matches!(
            to,
            Type::Timestamptz | Type::Timestamp | Type::Date | Type::Time
        );
        match datum {
            Datum::Text(text) if timed => datetime::depends_on_session(text),
            Datum::Timestamptz(_) => to != Type::Timestamptz,
            Datum::Timestamp(_) | Datum::Date(_) => to == Type::Timestamptz,
            Datum::Array(items) => items.iter().any(|item| self.is_stable(item)),
            Datum::Matrix(matrix) => matrix.items.iter().any(|item| self.is_stable(item)),
            _ => false,
        }
    }

    /// Casts a value.
    pub(crate) fn apply(self, datum: Datum, env: Env) -> Result<Datum, PgError> {
        if datum.is_null() {
            return Ok(datum);
        }
        let element = self.to.element();
        if let (Some(_), Datum::Array(_) | Datum::Matrix(_)) = (element, &datum) {
            let cast = Cast {
                to: element.unwrap_or(self.to),
                ..self
            };
            return datum.map_items(|item| cast.apply(item.clone(), env));
        }
        let converted = self.convert(datum, env)?;
        self.fit(converted)
    }

    fn convert(self, datum: Datum, env: Env) -> Result<Datum, PgError> {
        let out_of_range = || PgError::out_of_range(self.to.sql_name());
        Ok(match (self.to.base(), datum) {
            (Type::Text | Type::Varchar | Type::Name | Type::Unknown, datum) => {
                return self.to_text(datum, env);
            }
            (Type::Bpchar, Datum::Bpchar(value)) => Datum::Bpchar(value),
            (Type::Bpchar, datum) => match self.to_text(datum, env)? {
                Datum::Text(text) => Datum::Bpchar(text),
                other => other,
            },
            (Type::Char, Datum::Int4(value)) => match i8::try_from(value) {
                Ok(0) => Datum::text(""),
                Ok(byte @ 1..) => Datum::text((byte as u8 as char).to_string()),
                Ok(_) => return Err(PgError::feature_not_supported("a \"char\" beyond ASCII")),
                Err(_) => return Err(PgError::out_of_range("\"char\"")),
            },
            (Type::Char, datum) => text::read(Type::Char, &datum.to_string(), env)?,
            (ty, Datum::Text(value)) => text::read(ty, &value, env)?,
            (ty, Datum::Bpchar(value)) => text::read(ty, value.trim_end_matches(' '), env)?,
            (Type::Jsonb, Datum::Json(value)) => Datum::Jsonb(Arc::new(json::parse(&value)?)),
            (Type::Json, Datum::Jsonb(value)) => Datum::Json(value.to_string().into()),
            (Type::Json, datum @ Datum::Json(_)) | (Type::Jsonb, datum @ Datum::Jsonb(_)) => datum,
            (_, Datum::Jsonb(value)) => return self.read_json(&value, env),
            (
                Type::Int2 | Type::Int4 | Type::Int8 | Type::Oid,
                datum @ (Datum::Float8(_) | Datum::Float4(_)),
            ) => {
                // rint() rounds half to even.
                let rounded = datum.as_f64().unwrap_or(f64::NAN).round_ties_even();
                // -2^63 is exact, and so is its negation; i64::MAX would be rounded up.
                let end = -(i64::MIN as f64);
                if !(-end..end).contains(&rounded) {
                    return Err(out_of_range());
                }
                self.to_integer(rounded as i64).ok_or_else(out_of_range)?
            }
            (Type::Int2 | Type::Int4 | Type::Int8, Datum::Numeric(value)) => {
                if !value.is_finite() {
                    let shown = if matches!(*value, Numeric::NaN) {
                        "NaN"
                    } else {
                        "infinity"
                    };
                    return Err(PgError::new(
                        SqlState::FEATURE_NOT_SUPPORTED,
                        format!("cannot convert {shown} to {}", self.to),
                    ));
                }
                let integer = value.to_i64().and_then(|value| self.to_integer(value));
                integer.ok_or_else(out_of_range)?
            }
            (Type::Int4, Datum::Bool(value)) => Datum::Int4(value.into()),
            (Type::Bool, datum) if datum.as_i64().is_some() => {
                Datum::Bool(datum.as_i64() != Some(0))
            }
            (Type::Numeric, Datum::Numeric(value)) => Datum::Numeric(value),
            (Type::Numeric, Datum::Float8(value)) => Numeric::from_float(value, 15).into(),
            (Type::Numeric, Datum::Float4(value)) => Numeric::from_float(value.into(), 6).into(),
            (Type::Numeric, datum) => match datum.as_i64() {
                Some(value) => Numeric::from(value).into(),
                None => return Err(self.lacking()),
            },
            (Type::Float8, Datum::Numeric(value)) => {
                text::read(Type::Float8, &value.to_string(), env)?
            }
            (Type::Float8, datum) => match datum.as_f64() {
                Some(value) => Datum::Float8(value),
                None => return Err(self.lacking()),
            },
            (Type::Float4, Datum::Numeric(value)) => {
                text::read(Type::Float4, &value.to_string(), env)?
            }
            (Type::Float4, datum) => match datum.as_f64() {
                Some(value) => Datum::Float4(narrow(value)?),
                None => return Err(self.lacking()),
            },
            (
                Type::Int2
                | Type::Int4
                | Type::Int8
                | Type::Oid
                | Type::Regclass
                | Type::Regtype
                | Type::Regproc
                | Type::Xid
                | Type::Xid8,
                datum,
            ) => match datum.as_i64() {
                Some(value) => self.to_integer(value).ok_or_else(out_of_range)?,
                None => return Err(self.lacking()),
            },
            (
                Type::Date | Type::Timestamp | Type::Timestamptz | Type::Time | Type::Interval,
                datum,
            ) => datetime::convert(datum, self.to.base(), env)?.ok_or_else(|| self.lacking())?,
            (_, datum) => datum,
        })
    }

    fn lacking(self) -> PgError {
        PgError::feature_not_supported(format_args!("this cast to {}", self.to))
    }

    fn to_integer(self, value: i64) -> Option<Datum> {
        Some(match self.to.base() {
            Type::Int2 => Datum::Int2(value.try_into().ok()?),
            Type::Int4 => Datum::Int4(value.try_into().ok()?),
            Type::Oid | Type::Regclass | Type::Regtype | Type::Regproc | Type::Xid => {
                // An int4 keeps its bits.
                let wide = if value < 0 { value + (1 << 32) } else { value };
                Datum::Int8(u32::try_from(wide).ok()?.into())
            }
            _ => Datum::Int8(value),
        })
    }

    fn to_text(self, datum: Datum, env: Env) -> Result<Datum, PgError> {
        let datum = match datum {
            Datum::Text(_) => datum,
            // The cast of boolean differs from its output function.
            Datum::Bool(value) => Datum::text(if value { "true" } else { "false" }),
            Datum::Bpchar(value) if self.to != Type::Bpchar => {
                Datum::text(value.trim_end_matches(' '))
            }
            other => {
                let mut shown = String::new();
                text::write_in(&other, &mut shown, env);
                Datum::text(shown)
            }
        };
        match self.to {
            Type::Name => text::read(Type::Name, datum.as_str().unwrap_or(""), env),
            _ => Ok(datum),
        }
    }

    /// Makes a value fit its modifier.
    fn fit(self, datum: Datum) -> Result<Datum, PgError> {
        if self.typmod < 0 {
            return Ok(datum);
        }
        match datum {
            Datum::Numeric(value) => Ok(value.fit(self.typmod)?.into()),
            Datum::Text(ref value) if self.to.base() == Type::Varchar => {
                Ok(match self.cut(value, "character varying")? {
                    Some(cut) => Datum::text(cut),
                    None => datum,
                })
            }
            Datum::Bpchar(ref value) => Ok(match self.cut(value, "character")? {
                Some(cut) => Datum::Bpchar(cut.into()),
                None => {
                    let length = (self.typmod - 4) as usize;
                    match value.chars().count() {
                        count if count == length => datum,
                        count => {
                            Datum::Bpchar(format!("{value}{}", " ".repeat(length - count)).into())
                        }
                    }
                }
            }),
            Datum::Timestamptz(_) | Datum::Timestamp(_) | Datum::Time(_) | Datum::Interval(_) => {
                Ok(datetime::fit(datum, self.typmod))
            }
            other => Ok(other),
        }
    }

    /// The part of a string that fits, if not all of it does.
    fn cut(self, value: &str, ty: &str) -> Result<Option<String>, PgError> {
        let length = (self.typmod - 4) as usize;
        let Some((cut, _)) = value.char_indices().nth(length) else {
            return Ok(None);
        };
        // Spaces may be cut in any case.
        if self.explicit || value[cut..].bytes().all(|byte| byte == b' ') {
            return Ok(Some(value[..cut].to_string()));
        }
        Err(PgError::new(
            SqlState::STRING_DATA_RIGHT_TRUNCATION,
            format!("value too long for type {ty}({length})"),
        ))
    }

    /// A scalar of jsonb as an SQL value (`jsonb_int4` and its kin).
    fn read_json(self, value: &Json, env: Env) -> Result<Datum, PgError> {
        let to = self.to.base();
        let kind = match value {
            Json::Object(_) => "object",
            Json::Array(_) => "array",
            Json::String(_) => "string",
            Json::Bool(value) if to == Type::Bool => return Ok(Datum::Bool(*value)),
            Json::Bool(_) => "boolean",
            Json::Null => "null",
            Json::Number(_) if to == Type::Bool => "numeric",
            Json::Number(number) => return Cast::plain(to).apply(number.clone().into(), env),
        };
        Err(PgError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("cannot cast jsonb {kind} to type {}", self.to),
        ))
    }
}

/// A float4 of a float8 (`dtof`).
pub(crate) fn narrow(value: f64) -> Result<f32, PgError> {
    let narrow = value as f32;
    let refuse = |what: &str| {
        Err(PgError::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("value out of range: {what}"),
        ))
    };
    if narrow.is_infinite() && value.is_finite() {
        return refuse("overflow");
    }
    if narrow == 0.0 && value != 0.0 {
        return refuse("underflow");
    }
    Ok(narrow)
}
