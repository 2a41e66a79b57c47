//! Casts: which exist, which are implicit, what they do.
//!
//! Source: `pg_cast.dat` and `find_coercion_pathway` in parse_coerce.c.

use super::bind::Binder;
use super::{Scalar, Typed};
use crate::error::{PgError, SqlState};
use crate::types::{Datum, Type, json, text};

/// A cast to a type, perhaps with a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cast {
    pub(crate) to: Type,
    pub(crate) typmod: i32,
    /// An explicit cast cuts what is too long; an assignment refuses it.
    pub(crate) explicit: bool,
}

/// When a cast may be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Context {
    Implicit,
    Assignment,
    Explicit,
}

/// Where numbers stand in the order of implicit casts.
pub(super) fn number_rank(ty: Type) -> Option<u8> {
    Some(match ty {
        Type::Int2 => 1,
        Type::Int4 => 2,
        Type::Int8 => 3,
        Type::Float8 => 5,
        _ => return None,
    })
}

pub(super) fn is_text(ty: Type) -> bool {
    matches!(ty, Type::Text | Type::Varchar | Type::Name | Type::Char)
}

/// The weakest context that allows this cast, if any does.
fn allowed(from: Type, to: Type) -> Option<Context> {
    use Context::*;
    if from == to || from == Type::Unknown {
        return Some(Implicit);
    }
    if let (Some(from), Some(to)) = (number_rank(from), number_rank(to)) {
        return Some(if from < to { Implicit } else { Assignment });
    }
    match (from, to) {
        (Type::Bool, Type::Int4) | (Type::Int4, Type::Bool) => Some(Explicit),
        (Type::Int2 | Type::Int4 | Type::Int8, Type::Oid | Type::Regclass) => Some(Implicit),
        (Type::Oid | Type::Regclass, Type::Int8 | Type::Oid | Type::Regclass) => Some(Assignment),
        (Type::Oid | Type::Regclass, Type::Int4) => Some(Assignment),
        (Type::Json, Type::Jsonb) | (Type::Jsonb, Type::Json) => Some(Assignment),
        (Type::Jsonb, Type::Int2 | Type::Int4 | Type::Int8 | Type::Float8 | Type::Bool) => {
            Some(Explicit)
        }
        (Type::Text | Type::Varchar, Type::Regclass) => Some(Implicit),
        (from, to) if is_text(from) && is_text(to) => Some(match (from, to) {
            (_, Type::Name) | (Type::Name, Type::Varchar) => Assignment,
            _ => Implicit,
        }),
        (Type::Void | Type::Record, _) => None,
        (_, to) if is_text(to) => Some(Assignment),
        (from, _) if is_text(from) => Some(Explicit),
        _ => match (from.element(), to.element()) {
            (Some(from), Some(to)) => allowed(from, to),
            _ => None,
        },
    }
}

impl Binder<'_> {
    /// Casts an expression if it has not the type already; `None` if there is no such cast.
    pub(super) fn coerce(
        &mut self,
        scalar: Scalar,
        from: Typed,
        to: Typed,
        context: Context,
    ) -> Result<Option<Scalar>, PgError> {
        if from.ty == Type::Unknown {
            match &scalar {
                Scalar::Param(number) if self.params[*number].is_none() => {
                    self.params[*number] = Some(to.ty);
                    return self.fit(scalar, to, context).map(Some);
                }
                Scalar::Const(Datum::Null) => return Ok(Some(scalar)),
                Scalar::Const(datum) if to.ty == Type::Regclass => {
                    let name = datum.as_str().unwrap_or("");
                    return self.regclass(name).map(Some);
                }
                Scalar::Const(datum) => {
                    let cast = Cast {
                        to: to.ty,
                        typmod: to.typmod,
                        explicit: context == Context::Explicit,
                    };
                    return Ok(Some(Scalar::Const(cast.apply(datum.clone())?)));
                }
                _ => {}
            }
        }
        if from.ty == Type::Numeric {
            return numeric_constant(&scalar, to.ty, context).map(Some);
        }
        if from.ty == to.ty {
            if to.typmod == -1 || to.typmod == from.typmod {
                return Ok(Some(scalar));
            }
            return self.fit(scalar, to, context).map(Some);
        }
        match allowed(from.ty, to.ty) {
            Some(needed) if needed <= context => {}
            _ => return Ok(None),
        }
        // Text, varchar and name are the same values.
        if is_text(from.ty) && is_text(to.ty) && to.typmod == -1 && to.ty != Type::Name {
            return Ok(Some(scalar));
        }
        if to.ty == Type::Regclass && is_text(from.ty) {
            return Err(PgError::feature_not_supported("casts of text to regclass"));
        }
        let cast = Cast {
            to: to.ty,
            typmod: to.typmod,
            explicit: context == Context::Explicit,
        };
        Ok(Some(match scalar {
            Scalar::Const(datum) => Scalar::Const(cast.apply(datum)?),
            scalar => Scalar::Cast(Box::new(scalar), cast),
        }))
    }

    /// Applies a length to an expression of the right type.
    fn fit(&mut self, scalar: Scalar, to: Typed, context: Context) -> Result<Scalar, PgError> {
        if to.typmod == -1 {
            return Ok(scalar);
        }
        let cast = Cast {
            to: to.ty,
            typmod: to.typmod,
            explicit: context == Context::Explicit,
        };
        Ok(match scalar {
            Scalar::Const(datum) => Scalar::Const(cast.apply(datum)?),
            scalar => Scalar::Cast(Box::new(scalar), cast),
        })
    }

    /// The type that several expressions share (`select_common_type`).
    pub(super) fn common_type(&self, types: &[Type], construct: &str) -> Result<Type, PgError> {
        let mut common = Type::Unknown;
        for &ty in types {
            if ty == Type::Unknown || ty == common {
                continue;
            }
            if common == Type::Unknown {
                common = ty;
                continue;
            }
            let implicit = |from, to| {
                allowed(from, to) == Some(Context::Implicit)
                    || (from, to) == (Type::Numeric, Type::Float8)
            };
            if implicit(common, ty) && !implicit(ty, common) {
                common = ty;
            } else if !implicit(ty, common) {
                return Err(PgError::new(
                    SqlState::DATATYPE_MISMATCH,
                    format!("{construct} types {common} and {ty} cannot be matched"),
                ));
            }
        }
        Ok(match common {
            Type::Unknown => Type::Text,
            common => common,
        })
    }

    /// Casts several expressions to the type they share.
    pub(super) fn unify(
        &mut self,
        exprs: Vec<(Scalar, Typed)>,
        construct: &str,
    ) -> Result<(Vec<Scalar>, Typed), PgError> {
        let types: Vec<Type> = exprs.iter().map(|(_, typed)| typed.ty).collect();
        let ty = self.common_type(&types, construct)?;
        let typmod = match exprs.first() {
            Some((_, first)) if exprs.iter().all(|(_, typed)| typed == first) => first.typmod,
            _ => -1,
        };
        let to = Typed::from(ty);
        let mut unified = Vec::with_capacity(exprs.len());
        for (scalar, from) in exprs {
            match self.coerce(scalar, from, to, Context::Implicit)? {
                Some(scalar) => unified.push(scalar),
                None => {
                    return Err(PgError::new(
                        SqlState::CANNOT_COERCE,
                        format!("{construct} could not convert type {} to {ty}", from.ty),
                    ));
                }
            }
        }
        Ok((unified, Typed { ty, typmod }))
    }

    /// Casts to what a clause demands, as `coerce_to_boolean` and `coerce_to_specific_type` do.
    pub(super) fn demand(
        &mut self,
        (scalar, from): (Scalar, Typed),
        to: Type,
        clause: &str,
    ) -> Result<Scalar, PgError> {
        let ty = from.ty;
        let context = match to {
            Type::Bool => Context::Implicit,
            _ => Context::Assignment,
        };
        self.coerce(scalar, from, to.into(), context)?
            .ok_or_else(|| {
                PgError::new(
                    SqlState::DATATYPE_MISMATCH,
                    format!("argument of {clause} must be type {to}, not type {ty}"),
                )
            })
    }
}

/// A constant such as `1.5` as the type it is to become.
fn numeric_constant(scalar: &Scalar, to: Type, context: Context) -> Result<Scalar, PgError> {
    let Scalar::Const(Datum::Text(digits)) = scalar else {
        return Err(super::type_name::numeric());
    };
    let integer = matches!(to, Type::Int2 | Type::Int4 | Type::Int8);
    match to {
        Type::Float8 => Ok(Scalar::Const(text::read(to, digits)?)),
        _ if integer && context >= Context::Assignment => {
            // numeric rounds halves away from zero.
            let Datum::Float8(value) = text::read(Type::Float8, digits)? else {
                return Err(super::type_name::numeric());
            };
            let cast = Cast {
                to,
                typmod: -1,
                explicit: true,
            };
            Ok(Scalar::Const(cast.apply(Datum::Float8(value.round()))?))
        }
        ty if is_text(ty) && context == Context::Explicit => {
            Ok(Scalar::Const(Datum::Text(digits.clone())))
        }
        _ => Err(super::type_name::numeric()),
    }
}

/// The length of varchar(n), if a modifier gives one.
pub(super) fn varchar_typmod(length: i32) -> i32 {
    length + 4
}

impl Cast {
    /// Casts a value.
    pub(crate) fn apply(self, datum: Datum) -> Result<Datum, PgError> {
        if datum.is_null() {
            return Ok(datum);
        }
        if let (Datum::Array(items), Some(element)) = (&datum, self.to.element()) {
            let cast = Cast {
                to: element,
                ..self
            };
            let items: Result<Vec<Datum>, PgError> =
                items.iter().map(|item| cast.apply(item.clone())).collect();
            return Ok(Datum::Array(items?.into()));
        }
        let out_of_range = || PgError::out_of_range(self.to.sql_name());
        Ok(match (self.to, datum) {
            (Type::Text | Type::Varchar | Type::Name | Type::Unknown, datum) => {
                return self.to_text(datum);
            }
            (ty, Datum::Text(value)) => text::read(ty, &value)?,
            (Type::Jsonb, Datum::Json(value)) => Datum::Json(json::normalize(&value)?.into()),
            (Type::Json, datum @ Datum::Json(_)) => datum,
            (to, Datum::Json(value)) => return from_json(to, &value),
            (Type::Int2 | Type::Int4 | Type::Int8 | Type::Oid, Datum::Float8(value)) => {
                // rint() rounds half to even.
                let rounded = value.round_ties_even();
                // -2^63 is exact, and so is its negation; i64::MAX would be rounded up.
                let end = -(i64::MIN as f64);
                if !(-end..end).contains(&rounded) {
                    return Err(out_of_range());
                }
                self.to_integer(rounded as i64).ok_or_else(out_of_range)?
            }
            (Type::Int4, Datum::Bool(value)) => Datum::Int4(value.into()),
            (Type::Bool, datum) if datum.as_i64().is_some() => {
                Datum::Bool(datum.as_i64() != Some(0))
            }
            (Type::Float8, datum) => match datum.as_f64() {
                Some(value) => Datum::Float8(value),
                None => datum,
            },
            (_, datum) => match datum.as_i64() {
                Some(value) => self.to_integer(value).ok_or_else(out_of_range)?,
                None => datum,
            },
        })
    }

    fn to_integer(self, value: i64) -> Option<Datum> {
        Some(match self.to {
            Type::Int2 => Datum::Int2(value.try_into().ok()?),
            Type::Int4 => Datum::Int4(value.try_into().ok()?),
            Type::Oid | Type::Regclass => Datum::Int8(u32::try_from(value).ok()?.into()),
            _ => Datum::Int8(value),
        })
    }

    fn to_text(self, datum: Datum) -> Result<Datum, PgError> {
        let datum = match datum {
            Datum::Text(_) => datum,
            // The cast of boolean differs from its output function.
            Datum::Bool(value) => Datum::text(if value { "true" } else { "false" }),
            other => Datum::text(other.to_string()),
        };
        if self.to == Type::Name {
            return text::read(Type::Name, datum.as_str().unwrap_or(""));
        }
        let (4.., Datum::Text(value)) = (self.typmod, &datum) else {
            return Ok(datum);
        };
        let length = (self.typmod - 4) as usize;
        let Some((cut, _)) = value.char_indices().nth(length) else {
            return Ok(datum);
        };
        // Spaces may be cut in any case.
        if self.explicit || value[cut..].bytes().all(|byte| byte == b' ') {
            return Ok(Datum::text(&value[..cut]));
        }
        Err(PgError::new(
            SqlState::STRING_DATA_RIGHT_TRUNCATION,
            format!("value too long for type character varying({length})"),
        ))
    }
}

/// A scalar of jsonb as an SQL value (`jsonb_int4` and its kin).
fn from_json(to: Type, value: &str) -> Result<Datum, PgError> {
    let kind = match value.as_bytes().first() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') if to == Type::Bool => return text::read(to, value),
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ if to == Type::Bool => "numeric",
        _ => {
            let number = text::read(Type::Float8, value)?;
            let cast = Cast {
                to,
                typmod: -1,
                explicit: true,
            };
            return cast.apply(match value.parse() {
                Ok(integer) => Datum::Int8(integer),
                Err(_) => number,
            });
        }
    };
    Err(PgError::new(
        SqlState::INVALID_PARAMETER_VALUE,
        format!("cannot cast jsonb {kind} to type {to}"),
    ))
}
