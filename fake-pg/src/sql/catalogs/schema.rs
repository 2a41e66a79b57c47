//! `information_schema`: the standard's view of it.

use super::classes::{namespaces, sequences_of, tables_of, views_of};
use super::{Facts, Rows, name};
use crate::engine::{Column, Deferral, Identity};
use crate::types::{Datum, Type};

fn yes_or_no(yes: bool) -> Datum {
    Datum::text(if yes { "YES" } else { "NO" })
}

pub(super) fn tables(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&[
        "table_catalog",
        "table_schema",
        "table_name",
        "table_type",
        "is_insertable_into",
        "is_typed",
    ]);
    let mut push = |schema: &str, table: &str, kind: &str, insertable: bool| {
        rows.push([
            Datum::text(facts.database),
            Datum::text(schema),
            Datum::text(table),
            Datum::text(kind),
            yes_or_no(insertable),
            yes_or_no(false),
        ]);
    };
    for (space, table) in tables_of(facts) {
        push(&space.name, &table.name, "BASE TABLE", true);
    }
    for (space, view) in views_of(facts) {
        push(&space.name, &view.name, "VIEW", false);
    }
    for relation in super::all() {
        let kind = if relation.is_view {
            "VIEW"
        } else {
            "BASE TABLE"
        };
        push(&relation.schema, &relation.name, kind, !relation.is_view);
    }
}

/// Precision, radix and scale of a number.
fn numeric(ty: Type) -> [Datum; 3] {
    let (precision, radix) = match ty.name() {
        "int2" => (16, 2),
        "int4" => (32, 2),
        "int8" => (64, 2),
        "float4" => (24, 2),
        "float8" => (53, 2),
        "numeric" => return [Datum::Null, Datum::Int4(10), Datum::Null],
        _ => return [Datum::Null, Datum::Null, Datum::Null],
    };
    let scale = match ty.name() {
        "float4" | "float8" => Datum::Null,
        _ => Datum::Int4(0),
    };
    [Datum::Int4(precision), Datum::Int4(radix), scale]
}

/// The schema a type is in.
fn schema_of(facts: &Facts<'_>, ty: Type) -> Datum {
    let Type::User(user) = ty else {
        return Datum::text("pg_catalog");
    };
    let mut known = facts.catalog().user_types(facts.path().database);
    let found = known.find(|(_, known)| [known.oid, known.array_oid].contains(&user.oid));
    found.map_or(Datum::Null, |(schema, _)| name(schema))
}

pub(super) fn columns(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&[
        "table_catalog",
        "table_schema",
        "table_name",
        "column_name",
        "ordinal_position",
        "column_default",
        "is_nullable",
        "data_type",
        "character_maximum_length",
        "character_octet_length",
        "numeric_precision",
        "numeric_precision_radix",
        "numeric_scale",
        "datetime_precision",
        "udt_catalog",
        "udt_schema",
        "udt_name",
        "dtd_identifier",
        "is_self_referencing",
        "is_identity",
        "identity_generation",
        "is_generated",
        "is_updatable",
    ]);
    let mut push = |schema: &str, table: &str, place: usize, column: &Column, updatable: bool| {
        let length = match (column.typmod, column.ty.name()) {
            (5.., "varchar" | "bpchar") => Some(column.typmod - 4),
            _ => None,
        };
        let octets = match (length, column.ty.name()) {
            (Some(length), _) => Datum::Int4(length * 4),
            (None, "text" | "varchar" | "bpchar") => Datum::Int4(1_073_741_824),
            _ => Datum::Null,
        };
        let data_type = match (column.ty.element(), column.ty) {
            (Some(_), _) => "ARRAY",
            (None, Type::User(_)) => "USER-DEFINED",
            (None, ty) => ty.sql_name(),
        };
        let datetime = match column.ty.name() {
            "timestamp" | "timestamptz" | "time" | "timetz" | "interval" => Datum::Int4(6),
            "date" => Datum::Int4(0),
            _ => Datum::Null,
        };
        let default = column
            .default
            .as_ref()
            .filter(|_| column.identity.is_none());
        let [precision, radix, scale] = numeric(column.ty);
        rows.push([
            Datum::text(facts.database),
            Datum::text(schema),
            Datum::text(table),
            name(&column.name),
            Datum::Int4(place as i32 + 1),
            default.map_or(Datum::Null, |default| Datum::Text(default.clone())),
            yes_or_no(!column.not_null),
            Datum::text(data_type),
            length.map_or(Datum::Null, Datum::Int4),
            octets,
            precision,
            radix,
            scale,
            datetime,
            Datum::text(facts.database),
            schema_of(facts, column.ty),
            Datum::text(column.ty.name()),
            Datum::text((place + 1).to_string()),
            yes_or_no(false),
            yes_or_no(column.identity.is_some()),
            match column.identity {
                Some(Identity::Always) => Datum::text("ALWAYS"),
                Some(Identity::ByDefault) => Datum::text("BY DEFAULT"),
                None => Datum::Null,
            },
            Datum::text("NEVER"),
            yes_or_no(updatable),
        ]);
    };
    for (space, table) in tables_of(facts) {
        let columns = table.columns.iter().enumerate();
        for (place, column) in columns.filter(|(_, column)| !column.dropped) {
            push(&space.name, &table.name, place, column, true);
        }
    }
    for (space, view) in views_of(facts) {
        for (place, column) in view.columns.iter().enumerate() {
            push(&space.name, &view.name, place, column, false);
        }
    }
    for relation in super::all() {
        for (place, (column, ty, typmod)) in relation.columns.iter().enumerate() {
            let column = Column {
                name: column.clone(),
                ty: *ty,
                typmod: *typmod,
                not_null: false,
                default: None,
                identity: None,
                dropped: false,
            };
            push(
                &relation.schema,
                &relation.name,
                place,
                &column,
                !relation.is_view,
            );
        }
    }
}

pub(super) fn table_constraints(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&[
        "constraint_catalog",
        "constraint_schema",
        "constraint_name",
        "table_catalog",
        "table_schema",
        "table_name",
        "constraint_type",
        "is_deferrable",
        "initially_deferred",
        "enforced",
        "nulls_distinct",
    ]);
    for (space, table) in tables_of(facts) {
        let mut push = |constraint: &str, kind: &str, deferral: Deferral| {
            rows.push([
                Datum::text(facts.database),
                name(&space.name),
                Datum::text(constraint),
                Datum::text(facts.database),
                name(&space.name),
                name(&table.name),
                Datum::text(kind),
                yes_or_no(deferral != Deferral::Never),
                yes_or_no(deferral == Deferral::Deferred),
                yes_or_no(true),
                match kind {
                    "UNIQUE" => yes_or_no(true),
                    _ => Datum::Null,
                },
            ]);
        };
        for index in table.indexes.iter().filter(|index| index.constraint) {
            let kind = if index.primary {
                "PRIMARY KEY"
            } else {
                "UNIQUE"
            };
            push(&index.name, kind, index.deferral);
        }
        for check in &table.checks {
            push(&check.name, "CHECK", Deferral::Never);
        }
        for key in &table.foreign_keys {
            push(&key.name, "FOREIGN KEY", key.deferral);
        }
        for (place, column) in table.columns.iter().enumerate() {
            if column.not_null {
                let number = place + 1;
                push(
                    &format!("{}_{}_{number}_not_null", space.id, table.id),
                    "CHECK",
                    Deferral::Never,
                );
            }
        }
    }
}

pub(super) fn key_column_usage(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&[
        "constraint_catalog",
        "constraint_schema",
        "constraint_name",
        "table_catalog",
        "table_schema",
        "table_name",
        "column_name",
        "ordinal_position",
    ]);
    for (space, table) in tables_of(facts) {
        for index in table.indexes.iter().filter(|index| index.constraint) {
            for (&column, place) in index.columns.iter().zip(1..) {
                rows.push([
                    Datum::text(facts.database),
                    name(&space.name),
                    name(&index.name),
                    Datum::text(facts.database),
                    name(&space.name),
                    name(&table.name),
                    name(&table.columns[column].name),
                    Datum::Int4(place),
                ]);
            }
        }
    }
}

pub(super) fn schemata(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&["catalog_name", "schema_name", "schema_owner"]);
    let own = namespaces(facts).map(|space| (&*space.name, &*space.owner));
    let system = [
        ("pg_toast", "postgres"),
        ("pg_catalog", "postgres"),
        ("information_schema", "postgres"),
    ];
    for (schema, owner) in own.chain(system) {
        let [schema, owner] = [schema, owner].map(Datum::text);
        rows.push([Datum::text(facts.database), schema, owner]);
    }
}

pub(super) fn sequences(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&[
        "sequence_catalog",
        "sequence_schema",
        "sequence_name",
        "data_type",
        "numeric_precision",
        "numeric_precision_radix",
        "numeric_scale",
        "start_value",
        "minimum_value",
        "maximum_value",
        "increment",
        "cycle_option",
    ]);
    for (space, sequence) in sequences_of(facts) {
        let number = |value: i64| Datum::text(value.to_string());
        let [precision, radix, scale] = numeric(sequence.ty);
        rows.push([
            Datum::text(facts.database),
            name(&space.name),
            name(&sequence.name),
            Datum::text(sequence.ty.sql_name()),
            precision,
            radix,
            scale,
            number(sequence.start),
            number(sequence.min),
            number(sequence.max),
            number(sequence.increment),
            yes_or_no(sequence.cycle),
        ]);
    }
}

pub(super) fn views(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&[
        "table_catalog",
        "table_schema",
        "table_name",
        "view_definition",
        "check_option",
        "is_updatable",
        "is_insertable_into",
        "is_trigger_updatable",
        "is_trigger_deletable",
        "is_trigger_insertable_into",
    ]);
    for (space, view) in views_of(facts) {
        let no = || yes_or_no(false);
        rows.push([
            Datum::text(facts.database),
            name(&space.name),
            name(&view.name),
            Datum::text(format!(" {};", view.query)),
            Datum::text("NONE"),
            no(),
            no(),
            no(),
            no(),
            no(),
        ]);
    }
}
