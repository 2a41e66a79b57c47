//! Relations and their columns: `pg_class`, `pg_attribute` and what hangs on them.

use std::sync::Arc;

use super::cluster::SUPERUSER;
use super::types::row_type;
use super::{Facts, Rows, SystemRelation, name, oid};
use crate::engine::{Column, Identity, Index, Namespace, Sequence, Table, View};
use crate::types::{Datum, Type};

/// The OID of `pg_catalog`.
pub(super) const PG_CATALOG: u32 = 11;

/// That of `information_schema`, which `initdb` gives.
pub(super) const INFORMATION_SCHEMA: u32 = 13207;

/// The schemas of the session's database.
pub(super) fn namespaces<'a>(facts: &'a Facts<'_>) -> impl Iterator<Item = &'a Arc<Namespace>> {
    facts.catalog().namespaces(facts.path().database)
}

/// Its tables, with their schemas.
pub(super) fn tables_of<'a>(
    facts: &'a Facts<'_>,
) -> impl Iterator<Item = (&'a Arc<Namespace>, &'a Arc<Table>)> {
    namespaces(facts).flat_map(|space| space.tables().map(move |table| (space, table)))
}

/// Its sequences.
pub(super) fn sequences_of<'a>(
    facts: &'a Facts<'_>,
) -> impl Iterator<Item = (&'a Arc<Namespace>, &'a Arc<Sequence>)> {
    namespaces(facts).flat_map(|space| space.sequences().map(move |sequence| (space, sequence)))
}

/// Its views.
pub(super) fn views_of<'a>(
    facts: &'a Facts<'_>,
) -> impl Iterator<Item = (&'a Arc<Namespace>, &'a Arc<View>)> {
    namespaces(facts).flat_map(|space| space.views().map(move |view| (space, view)))
}

/// The OID of a system relation's schema.
fn system_namespace(relation: &SystemRelation) -> u32 {
    match &*relation.schema {
        "pg_catalog" => PG_CATALOG,
        _ => INFORMATION_SCHEMA,
    }
}

pub(super) fn pg_namespace(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&["oid", "nspname", "nspowner"]);
    let system = [
        (99, "pg_toast"),
        (PG_CATALOG, "pg_catalog"),
        (INFORMATION_SCHEMA, "information_schema"),
    ];
    for (id, schema) in system {
        rows.push([oid(id), Datum::text(schema), oid(SUPERUSER)]);
    }
    for space in namespaces(facts) {
        let owner = match &*space.owner {
            "pg_database_owner" => 6171,
            _ => SUPERUSER,
        };
        rows.push([oid(space.id), name(&space.name), oid(owner)]);
    }
}

/// A row of `pg_class`.
struct Class<'a> {
    id: u32,
    name: &'a Arc<str>,
    namespace: u32,
    access_method: i64,
    node: u32,
    has_index: bool,
    unlogged: bool,
    kind: &'static str,
    columns: usize,
    checks: usize,
    rows: Option<u32>,
}

pub(super) fn pg_class(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&[
        "oid",
        "relname",
        "relnamespace",
        "reltype",
        "relowner",
        "relam",
        "relfilenode",
        "reltuples",
        "relhasindex",
        "relpersistence",
        "relkind",
        "relnatts",
        "relchecks",
        "relispopulated",
        "relreplident",
    ]);
    let mut push = |class: Class<'_>| {
        rows.push([
            oid(class.id),
            name(class.name),
            oid(class.namespace),
            oid(match class.kind {
                "r" | "v" if class.id >= super::FIRST_NORMAL => row_type(class.id).0,
                _ => 0,
            }),
            oid(SUPERUSER),
            oid(class.access_method),
            oid(class.node),
            Datum::Float8(match (class.kind, class.rows) {
                ("r", Some(rows)) => rows.into(),
                // Never analysed.
                ("r", None) => -1.0,
                _ => 0.0,
            }),
            Datum::Bool(class.has_index),
            Datum::text(if class.unlogged { "u" } else { "p" }),
            Datum::text(class.kind),
            Datum::Int2(class.columns as i16),
            Datum::Int2(class.checks as i16),
            Datum::Bool(true),
            Datum::text(if class.kind == "r" { "d" } else { "n" }),
        ]);
    };
    for relation in super::all() {
        push(Class {
            id: relation.id.0,
            name: &relation.name,
            namespace: system_namespace(relation),
            access_method: if relation.is_view { 0 } else { 2 },
            node: if relation.is_view { 0 } else { relation.id.0 },
            has_index: !relation.is_view,
            unlogged: false,
            kind: if relation.is_view { "v" } else { "r" },
            columns: relation.columns.len(),
            checks: 0,
            rows: None,
        });
    }
    for (space, table) in tables_of(facts) {
        push(Class {
            id: table.id.0,
            name: &table.name,
            namespace: space.id,
            access_method: 2,
            node: table.node.0,
            has_index: !table.indexes.is_empty(),
            unlogged: table.unlogged,
            kind: "r",
            columns: table.columns.len(),
            checks: table.checks.len(),
            rows: table.measured.map(|measured| measured.1),
        });
        for index in &table.indexes {
            push(Class {
                id: index.id.0,
                name: &index.name,
                namespace: space.id,
                access_method: 403,
                node: index.id.0,
                has_index: false,
                unlogged: table.unlogged,
                kind: "i",
                columns: index.columns.len(),
                checks: 0,
                rows: None,
            });
        }
    }
    for (space, sequence) in sequences_of(facts) {
        push(Class {
            id: sequence.id.0,
            name: &sequence.name,
            namespace: space.id,
            access_method: 0,
            node: sequence.node.0,
            has_index: false,
            unlogged: sequence.unlogged,
            kind: "S",
            columns: 3,
            checks: 0,
            rows: None,
        });
    }
    for (space, view) in views_of(facts) {
        push(Class {
            id: view.id.0,
            name: &view.name,
            namespace: space.id,
            access_method: 0,
            node: 0,
            has_index: false,
            unlogged: false,
            kind: "v",
            columns: view.columns.len(),
            checks: 0,
            rows: None,
        });
    }
}

/// The columns every table has, whether it wants them or not.
const SYSTEM_COLUMNS: [(&str, i16, u32, i16); 6] = [
    ("tableoid", -6, 26, 4),
    ("cmax", -5, 29, 4),
    ("xmax", -4, 28, 4),
    ("cmin", -3, 29, 4),
    ("xmin", -2, 28, 4),
    ("ctid", -1, 27, 6),
];

/// A row of `pg_attribute`.
struct Attribute<'a> {
    relation: u32,
    name: &'a str,
    ty: u32,
    length: i16,
    number: i16,
    typmod: i32,
    dimensions: i32,
    not_null: bool,
    default: bool,
    identity: &'static str,
    generated: &'static str,
    dropped: bool,
}

/// By value, alignment and storage of a type of that length, and its collation.
fn physics(ty: u32, length: i16) -> (bool, &'static str, &'static str, i64) {
    let collation = match ty {
        25 | 1042 | 1043 | 1009 | 1014 | 1015 => 100,
        19 | 1003 => 950,
        _ => 0,
    };
    match (ty, length) {
        (27, _) => (false, "s", "p", 0),
        (2950, _) => (false, "c", "p", 0),
        (1700, _) => (false, "i", "m", 0),
        (1186, _) => (false, "d", "p", 0),
        (_, 1) => (true, "c", "p", collation),
        (_, 2) => (true, "s", "p", collation),
        (_, 4) => (true, "i", "p", collation),
        (_, 8) => (true, "d", "p", collation),
        (_, 64) => (false, "c", "p", collation),
        // Arrays of what is aligned to eight bytes are so themselves.
        (1016 | 1022 | 1115 | 1183 | 1185 | 1187, _) => (false, "d", "x", collation),
        _ => (false, "i", "x", collation),
    }
}

pub(super) fn pg_attribute(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&[
        "attrelid",
        "attname",
        "atttypid",
        "attstattarget",
        "attlen",
        "attnum",
        "attndims",
        "attcacheoff",
        "atttypmod",
        "attbyval",
        "attalign",
        "attstorage",
        "attnotnull",
        "atthasdef",
        "attidentity",
        "attgenerated",
        "attislocal",
        "attcollation",
        "attisdropped",
    ]);
    let mut push = |attribute: Attribute<'_>| {
        let (by_value, align, storage, collation) = physics(attribute.ty, attribute.length);
        rows.push([
            oid(attribute.relation),
            Datum::text(attribute.name),
            oid(attribute.ty),
            Datum::Int4(if attribute.number < 0 { 0 } else { -1 }),
            Datum::Int2(attribute.length),
            Datum::Int2(attribute.number),
            Datum::Int4(attribute.dimensions),
            Datum::Int4(-1),
            Datum::Int4(attribute.typmod),
            Datum::Bool(by_value),
            Datum::text(align),
            Datum::text(storage),
            Datum::Bool(attribute.not_null),
            Datum::Bool(attribute.default),
            Datum::text(attribute.identity),
            Datum::text(attribute.generated),
            Datum::Bool(true),
            oid(collation),
            Datum::Bool(attribute.dropped),
        ]);
    };
    let plain = |relation: u32, name: &'static str, ty: Type, number: i16| Attribute {
        relation,
        name,
        ty: ty.oid(),
        length: ty.len(),
        number,
        typmod: -1,
        dimensions: 0,
        not_null: false,
        default: false,
        identity: "",
        generated: "",
        dropped: false,
    };
    for relation in super::all() {
        for ((column, ty, _), number) in relation.columns.iter().zip(1..) {
            push(plain(relation.id.0, column, *ty, number));
        }
    }
    for (_, table) in tables_of(facts) {
        for (column, ty, number, length) in SYSTEM_COLUMNS.map(|(c, n, t, l)| (c, t, n, l)) {
            push(Attribute {
                ty,
                length,
                not_null: true,
                ..plain(table.id.0, column, Type::Oid, number)
            });
        }
        for (place, column) in table.columns.iter().enumerate() {
            push(of_column(table.id.0, place, column));
        }
        for index in &table.indexes {
            for (&column, place) in index.columns.iter().zip(0..) {
                push(Attribute {
                    not_null: false,
                    default: false,
                    identity: "",
                    generated: "",
                    ..of_column(index.id.0, place, &table.columns[column])
                });
            }
        }
    }
    for (_, sequence) in sequences_of(facts) {
        let columns = [
            ("last_value", Type::Int8),
            ("log_cnt", Type::Int8),
            ("is_called", Type::Bool),
        ];
        for ((column, ty), number) in columns.into_iter().zip(1..) {
            push(Attribute {
                not_null: true,
                ..plain(sequence.id.0, column, ty, number)
            });
        }
    }
    for (_, view) in views_of(facts) {
        for (place, column) in view.columns.iter().enumerate() {
            push(of_column(view.id.0, place, column));
        }
    }
}

fn of_column(relation: u32, place: usize, column: &Column) -> Attribute<'_> {
    Attribute {
        relation,
        name: &column.name,
        ty: if column.dropped { 0 } else { column.ty.oid() },
        dropped: column.dropped,
        length: column.ty.len(),
        number: place as i16 + 1,
        typmod: column.typmod,
        dimensions: i32::from(column.ty.element().is_some()),
        not_null: column.not_null,
        // The sequence of an identity column is no default.
        default: column.default.is_some() && column.identity.is_none(),
        identity: match column.identity {
            Some(Identity::Always) => "a",
            Some(Identity::ByDefault) => "d",
            None => "",
        },
        generated: "",
    }
}

/// The OID of a column's default, which the catalog does not number.
fn default_oid(table: &Table, place: usize) -> i64 {
    0x4000_0000 | i64::from(table.id.0) << 8 | place as i64
}

pub(super) fn pg_attrdef(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&["oid", "adrelid", "adnum", "adbin"]);
    for (_, table) in tables_of(facts) {
        for (place, column) in table.columns.iter().enumerate() {
            if let (Some(default), None) = (&column.default, column.identity) {
                rows.push([
                    oid(default_oid(table, place)),
                    oid(table.id.0),
                    Datum::Int2(place as i16 + 1),
                    Datum::Text(default.clone()),
                ]);
            }
        }
    }
}

pub(super) fn pg_sequence(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&[
        "seqrelid",
        "seqtypid",
        "seqstart",
        "seqincrement",
        "seqmax",
        "seqmin",
        "seqcache",
        "seqcycle",
    ]);
    for (_, sequence) in sequences_of(facts) {
        rows.push([
            oid(sequence.id.0),
            oid(sequence.ty.oid()),
            Datum::Int8(sequence.start),
            Datum::Int8(sequence.increment),
            Datum::Int8(sequence.max),
            Datum::Int8(sequence.min),
            Datum::Int8(1),
            Datum::Bool(sequence.cycle),
        ]);
    }
}

pub(super) fn pg_sequences(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&[
        "schemaname",
        "sequencename",
        "sequenceowner",
        "data_type",
        "start_value",
        "min_value",
        "max_value",
        "increment_by",
        "cycle",
        "cache_size",
        "last_value",
    ]);
    for (space, sequence) in sequences_of(facts) {
        let state = facts.exec.sequence(sequence);
        let last = state.filter(|state| state.is_called);
        rows.push([
            name(&space.name),
            name(&sequence.name),
            Datum::text("postgres"),
            Datum::text(sequence.ty.sql_name()),
            Datum::Int8(sequence.start),
            Datum::Int8(sequence.min),
            Datum::Int8(sequence.max),
            Datum::Int8(sequence.increment),
            Datum::Bool(sequence.cycle),
            Datum::Int8(1),
            last.map_or(Datum::Null, |state| Datum::Int8(state.last_value)),
        ]);
    }
}

pub(super) fn pg_tables(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&[
        "schemaname",
        "tablename",
        "tableowner",
        "hasindexes",
        "hasrules",
        "hastriggers",
        "rowsecurity",
    ]);
    let no = || Datum::Bool(false);
    for (space, table) in tables_of(facts) {
        rows.push([
            name(&space.name),
            name(&table.name),
            Datum::text("postgres"),
            Datum::Bool(!table.indexes.is_empty()),
            no(),
            no(),
            no(),
        ]);
    }
    for relation in super::all().filter(|relation| !relation.is_view) {
        rows.push([
            name(&relation.schema),
            name(&relation.name),
            Datum::text("postgres"),
            Datum::Bool(true),
            no(),
            no(),
            no(),
        ]);
    }
}

pub(super) fn pg_views(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&["schemaname", "viewname", "viewowner", "definition"]);
    for (space, view) in views_of(facts) {
        rows.push([
            name(&space.name),
            name(&view.name),
            Datum::text("postgres"),
            Datum::text(format!(" {};", view.query)),
        ]);
    }
}

/// Sequences depend on their columns, indexes and constraints on theirs.
pub(super) fn pg_depend(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    const PG_CLASS: u32 = 1259;
    rows.fill(&[
        "classid",
        "objid",
        "objsubid",
        "refclassid",
        "refobjid",
        "refobjsubid",
        "deptype",
    ]);
    for (_, sequence) in sequences_of(facts) {
        let Some((table, column)) = sequence.owner else {
            continue;
        };
        let is_identity = facts.catalog().table_by_id(table).is_some_and(|table| {
            let column = table.columns.get(column);
            column.is_some_and(|column| column.identity.is_some())
        });
        rows.push([
            oid(PG_CLASS),
            oid(sequence.id.0),
            Datum::Int4(0),
            oid(PG_CLASS),
            oid(table.0),
            Datum::Int4(column as i32 + 1),
            Datum::text(if is_identity { "i" } else { "a" }),
        ]);
    }
    for (_, table) in tables_of(facts) {
        for index in table.indexes.iter().filter(|index| !index.constraint) {
            for &column in &index.columns {
                rows.push(on_column(index, table, column));
            }
        }
    }
}

fn on_column(index: &Index, table: &Table, column: usize) -> [Datum; 7] {
    [
        oid(1259),
        oid(index.id.0),
        Datum::Int4(0),
        oid(1259),
        oid(table.id.0),
        Datum::Int4(column as i32 + 1),
        Datum::text("a"),
    ]
}
