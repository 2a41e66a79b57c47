//! Definitions as SQL: `pg_get_indexdef`, `pg_get_constraintdef`.

use std::sync::Arc;

use super::Facts;
use super::classes::tables_of;
use super::constraints::{oid_of_check, oid_of_key};
use crate::engine::{Index, Table};
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
    format!(
        "CREATE {unique}INDEX {} ON {on} USING btree ({})",
        quote_name(&index.name),
        names(table, &index.columns)
    )
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
                return Some(format!("{kind} ({})", names(table, &index.columns)));
            }
        }
        for (place, check) in table.checks.iter().enumerate() {
            if oid_of_check(table, place) == id {
                return Some(format!("CHECK (({}))", check.expression));
            }
        }
    }
    None
}

/// The columns an expression of the catalog names, in order.
pub(super) fn columns_of(facts: &Facts<'_>, table: &Arc<Table>, expression: &str) -> Vec<usize> {
    let mut binder = Binder::new(facts.catalog(), facts.path(), Vec::new());
    let bound = parse::expression(expression).and_then(|expr| binder.check(table, &expr));
    let mut found = bound.unwrap_or_default();
    found.sort_unstable();
    found
}
