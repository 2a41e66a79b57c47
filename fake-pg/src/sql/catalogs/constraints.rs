//! Indexes and constraints: `pg_index`, `pg_constraint`.
//!
//! The catalog numbers indexes and no constraints: the OID of a constraint is made of that of its
//! index, or of its table and its place there.

use std::sync::Arc;

use super::classes::tables_of;
use super::definition::index_definition;
use super::{Facts, Rows, name, oid};
use crate::engine::{Index, Table};
use crate::types::{Datum, Type};

/// The OID of an index's constraint.
pub(super) fn oid_of_key(index: &Index) -> i64 {
    0x8000_0000 | i64::from(index.id.0)
}

/// The OID of a table's n-th CHECK.
pub(super) fn oid_of_check(table: &Table, place: usize) -> i64 {
    0xc000_0000 | i64::from(table.id.0) << 8 | place as i64
}

fn numbers(columns: &[usize]) -> Datum {
    let numbers = columns.iter().map(|&column| Datum::Int2(column as i16 + 1));
    Datum::Array(numbers.collect())
}

/// The default operator class of a type for btree (`pg_opclass.dat`).
fn operator_class(ty: Type) -> i64 {
    match ty.name() {
        "int2" => 1979,
        "int4" => 1978,
        "int8" => 3124,
        "oid" => 1981,
        "text" | "varchar" => 3126,
        "name" => 3125,
        "timestamptz" => 3127,
        "timestamp" => 3128,
        "date" => 3122,
        "float8" => 3123,
        "float4" => 1970,
        "numeric" => 1988,
        "uuid" => 2968,
        "bool" => 424,
        "bytea" => 428,
        "bpchar" => 426,
        "jsonb" => 4033,
        _ => 397,
    }
}

pub(super) fn pg_index(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&[
        "indexrelid",
        "indrelid",
        "indnatts",
        "indnkeyatts",
        "indisunique",
        "indisprimary",
        "indimmediate",
        "indisvalid",
        "indisready",
        "indislive",
        "indkey",
        "indcollation",
        "indclass",
        "indoption",
    ]);
    for (_, table) in tables_of(facts) {
        for index in &table.indexes {
            let columns = &index.columns;
            let types = columns.iter().map(|&column| table.columns[column].ty);
            let collations = types.clone().map(|ty| {
                let text = matches!(ty.name(), "text" | "varchar" | "bpchar");
                oid(if text { 100 } else { 0 })
            });
            let yes = || Datum::Bool(true);
            rows.push([
                oid(index.id.0),
                oid(table.id.0),
                Datum::Int2(columns.len() as i16),
                Datum::Int2(columns.len() as i16),
                Datum::Bool(index.unique),
                Datum::Bool(index.primary),
                yes(),
                yes(),
                yes(),
                yes(),
                numbers(columns),
                Datum::Array(collations.collect()),
                Datum::Array(types.map(|ty| oid(operator_class(ty))).collect()),
                Datum::Array(columns.iter().map(|_| Datum::Int2(0)).collect()),
            ]);
        }
    }
}

pub(super) fn pg_indexes(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&["schemaname", "tablename", "indexname", "indexdef"]);
    for (space, table) in tables_of(facts) {
        for index in &table.indexes {
            rows.push([
                name(&space.name),
                name(&table.name),
                name(&index.name),
                Datum::text(index_definition(table, index, true)),
            ]);
        }
    }
}

pub(super) fn pg_constraint(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&[
        "oid",
        "conname",
        "connamespace",
        "contype",
        "convalidated",
        "conrelid",
        "conindid",
        "confupdtype",
        "confdeltype",
        "confmatchtype",
        "conislocal",
        "connoinherit",
        "conkey",
        "conbin",
    ]);
    for (space, table) in tables_of(facts) {
        let mut push = |id: i64, called: &Arc<str>, kind: &str, index: i64, key, expression| {
            let no_action = || Datum::text(" ");
            rows.push([
                oid(id),
                name(called),
                oid(space.id),
                Datum::text(kind),
                Datum::Bool(true),
                oid(table.id.0),
                oid(index),
                no_action(),
                no_action(),
                no_action(),
                Datum::Bool(true),
                Datum::Bool(kind != "c"),
                key,
                expression,
            ]);
        };
        for index in table.indexes.iter().filter(|index| index.constraint) {
            let kind = if index.primary { "p" } else { "u" };
            let key = numbers(&index.columns);
            push(
                oid_of_key(index),
                &index.name,
                kind,
                index.id.0.into(),
                key,
                Datum::Null,
            );
        }
        for (place, check) in table.checks.iter().enumerate() {
            let key = numbers(&super::definition::columns_of(
                facts,
                table,
                &check.expression,
            ));
            let expression = Datum::Text(check.expression.clone());
            push(
                oid_of_check(table, place),
                &check.name,
                "c",
                0,
                key,
                expression,
            );
        }
    }
}
