//! Relations that are the same on every server, kept as COPY writes them.

use super::Rows;
use crate::types::{Datum, Env, Type, text};

/// The rows of a constant relation.
pub(super) fn of(name: &str) -> Option<&'static str> {
    Some(match name {
        "pg_am" => include_str!("pg_am.txt"),
        "pg_cast" => include_str!("pg_cast.txt"),
        "pg_collation" => include_str!("pg_collation.txt"),
        "pg_extension" => include_str!("pg_extension.txt"),
        "pg_language" => include_str!("pg_language.txt"),
        "pg_opclass" => include_str!("pg_opclass.txt"),
        "pg_opfamily" => include_str!("pg_opfamily.txt"),
        "pg_range" => include_str!("pg_range.txt"),
        "pg_tablespace" => include_str!("pg_tablespace.txt"),
        _ => return None,
    })
}

/// Reads rows as COPY writes them.
pub(super) fn read(lines: &str, rows: &mut Rows<'_>) {
    for line in lines.lines() {
        push(line.split('\t'), rows);
    }
}

/// A whole row, of text.
pub(super) fn push<'a>(fields: impl Iterator<Item = &'a str>, rows: &mut Rows<'_>) {
    let types: Vec<Type> = rows.types().collect();
    let values = fields.zip(types).map(|(field, ty)| match field {
        "\\N" => Datum::Null,
        field => text::read(ty, field, Env::default()).unwrap_or_else(|_| Datum::text(field)),
    });
    let values = values.collect();
    rows.push_all(values);
}

/// What a column is if nothing is said of it.
pub(super) fn default(ty: Type) -> Datum {
    match ty.name() {
        "bool" => Datum::Bool(false),
        "int2" => Datum::Int2(0),
        "int4" => Datum::Int4(0),
        "oid" | "xid" | "int8" | "xid8" => Datum::Int8(0),
        "char" => Datum::text(""),
        _ => Datum::Null,
    }
}
