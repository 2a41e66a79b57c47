//! Names that stand for types and for OIDs of relations.
//!
//! A type that fake-pg has no values of is refused here with `0A000`, so no
//! column and no cast ever has it. What a value must do to become of a type
//! is `coerce`'s.

use super::coerce::varchar_typmod;
use super::names::{find_class, named_class, parse_name};
use super::{Binder, Scalar, Typed};
use crate::error::{PgError, SqlState};
use crate::sql::ast::TypeName;
use crate::types::{Datum, Type, numeric};

impl Binder<'_> {
    /// The type a name stands for.
    pub(crate) fn type_name(&self, name: &TypeName) -> Result<Typed, PgError> {
        let found = match &name.name[..] {
            [single] => {
                find_type(single).or_else(|| self.catalog.user_type(self.path, None, single))
            }
            [schema, single] if &**schema == "pg_catalog" => find_type(single),
            [schema, single] => self.catalog.user_type(self.path, Some(schema), single),
            _ => None,
        };
        let shown = name.name.join(".");
        if let ([schema, _], None) = (&name.name[..], found)
            && !matches!(&**schema, "pg_catalog" | "information_schema")
            && let path = self.path
            && self
                .catalog
                .namespace(path.database, path.schema(schema))
                .is_none()
        {
            return Err(PgError::undefined_schema(schema).near(name.at));
        }
        let Some(ty) = found else {
            return Err(PgError::new(
                SqlState::UNDEFINED_OBJECT,
                format!("type \"{shown}\" does not exist"),
            )
            .at(name.at as usize));
        };
        if !ty.has_values() {
            return Err(PgError::feature_not_supported(format_args!("type {ty}")));
        }
        let typmod = match (&name.modifiers[..], ty) {
            ([], _) => -1,
            ([length], Type::Varchar | Type::Bpchar) if (1..=10_485_760).contains(length) => {
                varchar_typmod(*length)
            }
            ([length], Type::Varchar | Type::Bpchar) => {
                let shown = if ty == Type::Varchar {
                    "varchar"
                } else {
                    "char"
                };
                let message = match length {
                    ..=0 => format!("length for type {shown} must be at least 1"),
                    _ => format!("length for type {shown} cannot exceed 10485760"),
                };
                return Err(PgError::new(SqlState::INVALID_PARAMETER_VALUE, message));
            }
            (modifiers, Type::Numeric) => numeric::typmod(modifiers)?,
            ([precision], Type::Timestamp | Type::Timestamptz | Type::Time | Type::Interval) => {
                if *precision < 0 {
                    let message =
                        format!("{} precision must not be negative", shown.to_uppercase());
                    return Err(PgError::new(SqlState::INVALID_PARAMETER_VALUE, message));
                }
                // A greater precision is a warning, and then this one.
                let precision = (*precision).min(6);
                match ty {
                    // All fields of an interval.
                    Type::Interval => 0x7fff << 16 | precision,
                    _ => precision,
                }
            }
            _ => {
                return Err(PgError::feature_not_supported(format_args!(
                    "a modifier of type {ty}"
                )));
            }
        };
        if !name.array {
            return Ok(Typed { ty, typmod });
        }
        Ok(Typed {
            ty: array_of(ty)?,
            typmod,
        })
    }

    /// `'t'::regclass`: the OID of a relation, looked up now.
    pub(super) fn regclass(&self, name: &str) -> Result<Scalar, PgError> {
        if let Ok(oid) = name.parse::<u32>() {
            return Ok(Scalar::Const(Datum::Int8(oid.into())));
        }
        match find_class(self.catalog, self.path, name)? {
            Some(oid) => Ok(Scalar::Const(named_class(self.catalog, self.path, oid))),
            None => Err(PgError::undefined_table(&parse_name(name)?.join("."))),
        }
    }
}

/// A type by its name in the catalog.
pub(super) fn find_type(name: &str) -> Option<Type> {
    Type::from_name(name).filter(|ty| !ty.is_pseudo() || *ty == Type::Void)
}

/// The array type over an element.
pub(super) fn array_of(element: Type) -> Result<Type, PgError> {
    element
        .array()
        .ok_or_else(|| PgError::feature_not_supported(format_args!("arrays of {element}")))
}
