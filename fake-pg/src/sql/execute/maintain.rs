//! VACUUM and ANALYZE. There are no statistics: ANALYZE only takes its locks.

use std::sync::Arc;

use super::ddl::find;
use crate::engine::{Halt, LockMode, Relation, Table};
use crate::error::{PgError, SqlState};
use crate::sql::ast;
use crate::sql::face::Context;

/// VACUUM, or ANALYZE, of these tables, or of all.
pub(super) fn vacuum(
    vacuums: bool,
    full: bool,
    relations: &[ast::Relation],
    context: &mut Context<'_>,
) -> Result<(), Halt> {
    let exec = &mut context.exec;
    let mut tables: Vec<Arc<Table>> = Vec::new();
    if relations.is_empty() {
        tables.extend(exec.catalog().tables().cloned());
    }
    for relation in relations {
        match find(exec, relation)? {
            Some(Relation::Table(table)) => tables.push(table),
            Some(_) => {
                let name = relation.name.last().cloned().unwrap_or_default();
                let deed = if vacuums { "vacuum" } else { "analyze" };
                exec.notice(PgError::warning(
                    SqlState::WARNING,
                    format!(
                        "skipping \"{name}\" --- cannot {deed} non-tables or special system tables"
                    ),
                ));
            }
            None => return Err(PgError::undefined_table(&relation.name.join(".")).into()),
        }
    }
    for table in tables {
        match vacuums {
            true => exec.vacuum(&table, full)?,
            false => {
                exec.lock_table(&table, LockMode::ShareUpdateExclusive, false)?;
                // Of no rows there is nothing to tell.
                if exec.scan(&table).next().is_some() {
                    exec.change_unread()?;
                }
            }
        }
    }
    Ok(())
}
