//! Indexes and constraints: `pg_index`, `pg_constraint`.
//!
//! The catalog numbers indexes and no constraints: the OID of a constraint is made of that of its
//! index, or of its table and its place there.

use std::sync::Arc;

use super::classes::tables_of;
use super::definition::{columns_of, index_definition};
use super::{Facts, Rows, name, oid};
use crate::engine::{Deferral, Index, IndexState, Reaction, Table};
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
            rows.push([
                oid(index.id.0),
                oid(table.id.0),
                Datum::Int2(columns.len() as i16),
                Datum::Int2(columns.len() as i16),
                Datum::Bool(index.unique),
                Datum::Bool(index.primary),
                Datum::Bool(true),
                Datum::Bool(index.state == IndexState::Valid),
                Datum::Bool(index.state != IndexState::Building),
                Datum::Bool(true),
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
        "condeferrable",
        "condeferred",
        "convalidated",
        "conrelid",
        "conindid",
        "confrelid",
        "confupdtype",
        "confdeltype",
        "confmatchtype",
        "conislocal",
        "connoinherit",
        "conkey",
        "confkey",
        "conbin",
    ]);
    for (space, table) in tables_of(facts) {
        let row = |id: i64, called: &Arc<str>, kind: &str, deferral: Deferral| Constraint {
            id,
            name: called.clone(),
            namespace: space.id,
            kind: kind.into(),
            deferral,
            table: table.id.0,
            ..Constraint::default()
        };
        for index in table.indexes.iter().filter(|index| index.constraint) {
            let kind = if index.primary { "p" } else { "u" };
            rows.push(
                Constraint {
                    index: index.id.0,
                    key: Some(numbers(&index.columns)),
                    ..row(oid_of_key(index), &index.name, kind, index.deferral)
                }
                .row(),
            );
        }
        for (place, check) in table.checks.iter().enumerate() {
            let columns = columns_of(facts, table, &check.expression);
            rows.push(
                Constraint {
                    key: Some(numbers(&columns)),
                    expression: Some(check.expression.clone()),
                    not_validated: !check.validated,
                    ..row(
                        oid_of_check(table, place),
                        &check.name,
                        "c",
                        Deferral::Never,
                    )
                }
                .row(),
            );
        }
        for key in &table.foreign_keys {
            let parent = facts.catalog().table_by_id(key.referenced);
            let indexes = parent.into_iter().flat_map(|parent| &parent.indexes);
            let index = indexes.into_iter().find(|index| index.name == key.index);
            rows.push(
                Constraint {
                    index: index.map_or(0, |index| index.id.0),
                    key: Some(numbers(&key.columns)),
                    not_validated: !key.validated,
                    foreign: Some(Foreign {
                        table: key.referenced.0,
                        key: numbers(&key.keys),
                        actions: [&key.on_update, &key.on_delete].map(action),
                        full: key.full,
                    }),
                    ..row(key.id.0.into(), &key.name, "f", key.deferral)
                }
                .row(),
            );
        }
    }
}

/// A row of `pg_constraint`.
#[derive(Default)]
struct Constraint {
    id: i64,
    name: Arc<str>,
    namespace: u32,
    kind: Arc<str>,
    deferral: Deferral,
    not_validated: bool,
    table: u32,
    index: u32,
    key: Option<Datum>,
    expression: Option<Arc<str>>,
    foreign: Option<Foreign>,
}

/// What only foreign keys have.
struct Foreign {
    table: u32,
    key: Datum,
    actions: [&'static str; 2],
    full: bool,
}

/// `confupdtype`, `confdeltype`.
fn action(reaction: &Reaction) -> &'static str {
    match reaction {
        Reaction::NoAction => "a",
        Reaction::Restrict => "r",
        Reaction::Cascade => "c",
        Reaction::SetNull(_) => "n",
        Reaction::SetDefault(_) => "d",
    }
}

impl Constraint {
    fn row(self) -> [Datum; 18] {
        let none = Foreign {
            table: 0,
            key: Datum::Null,
            actions: [" ", " "],
            full: false,
        };
        let is_foreign = self.foreign.is_some();
        let foreign = self.foreign.unwrap_or(none);
        let matching = match (is_foreign, foreign.full) {
            (false, _) => " ",
            (true, true) => "f",
            (true, false) => "s",
        };
        [
            oid(self.id),
            name(&self.name),
            oid(self.namespace),
            Datum::Text(self.kind.clone()),
            Datum::Bool(self.deferral != Deferral::Never),
            Datum::Bool(self.deferral == Deferral::Deferred),
            Datum::Bool(!self.not_validated),
            oid(self.table),
            oid(self.index),
            oid(foreign.table),
            Datum::text(foreign.actions[0]),
            Datum::text(foreign.actions[1]),
            Datum::text(matching),
            Datum::Bool(true),
            Datum::Bool(&*self.kind != "c"),
            self.key.unwrap_or(Datum::Null),
            foreign.key,
            self.expression.map_or(Datum::Null, Datum::Text),
        ]
    }
}
