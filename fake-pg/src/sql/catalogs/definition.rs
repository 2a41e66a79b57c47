//! Definitions as SQL: `pg_get_indexdef`, `pg_get_constraintdef`.

use std::sync::Arc;

use super::Facts;
use super::classes::tables_of;
use super::constraints::{oid_of_check, oid_of_key};
use crate::engine::{Deferral, ForeignKey, Index, Reaction, Table};
use crate::sql::parse;
use crate::sql::plan::Binder;
use crate::sql::quote::quote_name;

/// CREATE INDEX as `pg_get_indexdef` writes it.
pub(crate) fn index_definition(table: &Table, index: &Index, qualified: bool) -> String {
    let unique = if index.unique { "UNIQUE " } else { "" };
    let on = match qualified {
        true => format!("{}.{}", quote_name(&table.schema), quote_name(&table.name)),
        false => quote_name(&table.name).into_owned(),
    };
    let keys = match &index.computed {
        Some(computed) => computed.keys.join(", "),
        None => names(table, &index.columns),
    };
    let mut definition = format!(
        "CREATE {unique}INDEX {} ON {on} USING btree ({keys})",
        quote_name(&index.name),
    );
    if !index.included.is_empty() {
        definition += &format!(" INCLUDE ({})", names(table, &index.included));
    }
    if index.nulls_not_distinct {
        definition += " NULLS NOT DISTINCT";
    }
    let computed = index.computed.as_ref();
    if let Some(predicate) = computed.and_then(|computed| computed.predicate.as_ref()) {
        definition += &format!(" WHERE ({predicate})");
    }
    definition
}

fn names(table: &Table, columns: &[usize]) -> String {
    let names = columns
        .iter()
        .map(|&column| quote_name(&table.columns[column].name));
    names.collect::<Vec<_>>().join(", ")
}

/// A constraint as `pg_get_constraintdef` writes it.
pub(crate) fn constraint_definition(facts: &Facts<'_>, id: i64) -> Option<String> {
    for (_, table) in tables_of(facts) {
        for index in table.indexes.iter().filter(|index| index.constraint) {
            if oid_of_key(index) == id {
                let kind = if index.primary {
                    "PRIMARY KEY"
                } else {
                    "UNIQUE"
                };
                let mut definition = format!("{kind} ({})", names(table, &index.columns));
                if !index.included.is_empty() {
                    definition += &format!(" INCLUDE ({})", names(table, &index.included));
                }
                return Some(definition + deferral(index.deferral));
            }
        }
        for (place, check) in table.checks.iter().enumerate() {
            if oid_of_check(table, place) == id {
                let not_valid = if check.validated { "" } else { " NOT VALID" };
                return Some(format!("CHECK (({})){not_valid}", check.expression));
            }
        }
        let mut keys = table.foreign_keys.iter();
        if let Some(key) = keys.find(|key| i64::from(key.id.0) == id) {
            return foreign_key(facts, table, key);
        }
    }
    None
}

fn foreign_key(facts: &Facts<'_>, table: &Table, key: &ForeignKey) -> Option<String> {
    let (catalog, path) = (facts.catalog(), facts.path());
    let parent = catalog.table_by_id(key.referenced)?;
    let on = match catalog.is_visible(path, &parent.schema, &parent.name) {
        true => quote_name(&parent.name).into_owned(),
        false => format!(
            "{}.{}",
            quote_name(&parent.schema),
            quote_name(&parent.name)
        ),
    };
    let mut definition = format!(
        "FOREIGN KEY ({}) REFERENCES {on}({})",
        names(table, &key.columns),
        names(parent, &key.keys)
    );
    if key.full {
        definition += " MATCH FULL";
    }
    for (event, reaction) in [("UPDATE", &key.on_update), ("DELETE", &key.on_delete)] {
        let (what, columns) = match reaction {
            Reaction::NoAction => continue,
            Reaction::Restrict => ("RESTRICT", &[][..]),
            Reaction::Cascade => ("CASCADE", &[][..]),
            Reaction::SetNull(columns) => ("SET NULL", &columns[..]),
            Reaction::SetDefault(columns) => ("SET DEFAULT", &columns[..]),
        };
        definition += &format!(" ON {event} {what}");
        if !columns.is_empty() && *columns != key.columns {
            definition += &format!(" ({})", names(table, columns));
        }
    }
    definition += deferral(key.deferral);
    if !key.validated {
        definition += " NOT VALID";
    }
    Some(definition)
}

fn deferral(deferral: Deferral) -> &'static str {
    match deferral {
        Deferral::Never => "",
        Deferral::Immediate => " DEFERRABLE",
        Deferral::Deferred => " DEFERRABLE INITIALLY DEFERRED",
    }
}

/// The columns an expression of the catalog names, in order.
pub(super) fn columns_of(facts: &Facts<'_>, table: &Arc<Table>, expression: &str) -> Vec<usize> {
    let mut binder = Binder::new(facts.catalog(), facts.path(), Vec::new());
    let bound = parse::expression(expression).and_then(|expr| binder.check(table, &expr));
    let mut found = bound.unwrap_or_default();
    found.sort_unstable();
    found
}
