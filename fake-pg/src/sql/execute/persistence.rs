//! ALTER TABLE and ALTER SEQUENCE … SET LOGGED and SET UNLOGGED: the same rows at another place, of
//! another persistence, and with a table the sequences it owns.

use std::sync::Arc;

use crate::engine::{Halt, LockMode, Relation, Row, Sequence, Table};
use crate::error::{PgError, SqlState};
use crate::sql::face::Context;

pub(super) fn set(
    relation: &Relation,
    unlogged: bool,
    context: &mut Context<'_>,
) -> Result<(), Halt> {
    match relation {
        Relation::Table(table) => set_table(table, unlogged, context),
        Relation::Sequence(sequence) => set_sequence(sequence, unlogged, context),
        other => {
            let what = format!("\"{}\" is not a table", other.name());
            Err(PgError::new(SqlState::WRONG_OBJECT_TYPE, what).into())
        }
    }
}

fn set_table(table: &Arc<Table>, unlogged: bool, context: &mut Context<'_>) -> Result<(), Halt> {
    let exec = &mut context.exec;
    exec.lock_table(table, LockMode::AccessExclusive, false)?;
    exec.refuse_pending(table, "ALTER TABLE")?;
    if table.unlogged == unlogged {
        return Ok(());
    }
    refuse_mixed_keys(table, unlogged, context)?;
    let exec = &mut context.exec;
    let rows = exec.scan_latest(table);
    let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
    let mut new = Table::clone(table);
    new.unlogged = unlogged;
    exec.rewrite_table(table, new, rows)?;
    let owned = |sequence: &&Arc<Sequence>| sequence.owner.is_some_and(|owner| owner.0 == table.id);
    let sequences: Vec<_> = exec.catalog().sequences().filter(owned).cloned().collect();
    for sequence in sequences {
        set_sequence(&sequence, unlogged, context)?;
    }
    Ok(())
}

fn set_sequence(
    sequence: &Arc<Sequence>,
    unlogged: bool,
    context: &mut Context<'_>,
) -> Result<(), Halt> {
    let exec = &mut context.exec;
    exec.lock_relation(sequence.id, LockMode::AccessExclusive)?;
    let Some(state) = exec
        .sequence(sequence)
        .filter(|_| sequence.unlogged != unlogged)
    else {
        return Ok(());
    };
    let mut new = Sequence::clone(sequence);
    new.unlogged = unlogged;
    exec.restart_sequence(new, state)
}

/// A permanent table refers to permanent ones only (`ATPrepChangePersistence`).
fn refuse_mixed_keys(table: &Table, unlogged: bool, context: &Context<'_>) -> Result<(), PgError> {
    let keys = match unlogged {
        true => &table.referenced_by,
        false => &table.foreign_keys,
    };
    for key in keys {
        let other = match unlogged {
            true => key.table,
            false => key.referenced,
        };
        let other = context.exec.catalog().table_by_id(other);
        let Some(other) = other.filter(|other| other.id != table.id && other.unlogged != unlogged)
        else {
            continue;
        };
        let (to, of) = match unlogged {
            true => ("unlogged", "logged"),
            false => ("logged", "unlogged"),
        };
        let message = format!(
            "could not change table \"{}\" to {to} because it references {of} table \"{}\"",
            table.name, other.name
        );
        let mut error = PgError::new(SqlState::INVALID_TABLE_DEFINITION, message);
        error.schema = Some(table.schema.to_string());
        error.table = Some(table.name.to_string());
        error.constraint = Some(key.name.to_string());
        return Err(error);
    }
    Ok(())
}
