//! CREATE SEQUENCE and ALTER SEQUENCE, and what their options mean.

use std::sync::Arc;

use super::ddl::{creation, find, is_taken, lock_schema, skip_existing};
use crate::engine::{CatalogChange, Halt, LockMode, Relation, Sequence};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{self, AlterSequence, CreateSequence, SequenceOptions};
use crate::sql::face::Context;
use crate::sql::plan::Binder;
use crate::types::Type;

pub(super) fn create(create: &CreateSequence, context: &mut Context<'_>) -> Result<(), Halt> {
    let exec = &mut context.exec;
    let found = creation(exec.catalog(), exec.path(), &create.name);
    let (schema, name) = found.map_err(PgError::nowhere)?;
    lock_schema(&schema, exec)?;
    let database = exec.path().database;
    let namespace = exec.catalog().namespace(database, &schema).cloned();
    if create.if_not_exists && is_taken(&namespace, name) {
        skip_existing(exec, name);
        return Ok(());
    }
    let mut sequence = Sequence::serial(name.clone(), Type::Int8);
    (sequence.database, sequence.schema) = (database, schema);
    sequence.unlogged = create.unlogged;
    if let Some(ty) = &create.options.ty {
        let path = exec.path().clone();
        let typed = Binder::new(exec.catalog(), &path, Vec::new()).type_name(ty)?;
        if !matches!(typed.ty, Type::Int2 | Type::Int4 | Type::Int8) {
            return Err(PgError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                "sequence type must be smallint, integer, or bigint",
            )
            .into());
        }
        (sequence.max, sequence.ty) = (Sequence::serial("", typed.ty).max, typed.ty);
    }
    if let Some(Some(column)) = &create.options.owned_by {
        sequence.owner = Some(owner_of(column, exec)?);
    }
    apply(&create.options, &mut sequence)?;
    exec.create_sequence(sequence)?;
    Ok(())
}

pub(super) fn alter(alter: &AlterSequence, context: &mut Context<'_>) -> Result<(), Halt> {
    let exec = &mut context.exec;
    let old = match find(exec, &alter.sequence)? {
        Some(Relation::Sequence(sequence)) => sequence,
        Some(other) => {
            let message = format!("\"{}\" is not a sequence", other.name());
            return Err(PgError::new(SqlState::WRONG_OBJECT_TYPE, message).into());
        }
        None => {
            let name = alter.sequence.name.join(".");
            let missing = PgError::undefined_table(&name);
            if alter.if_exists {
                let message = format!("{}, skipping", missing.message);
                exec.notice(PgError::notice(SqlState::SUCCESSFUL_COMPLETION, message));
                return Ok(());
            }
            return Err(missing.into());
        }
    };
    exec.lock_relation(old.id, LockMode::ShareRowExclusive)?;
    let mut new = Sequence::clone(&old);
    let options = ast::SequenceOptions {
        start: alter.options.start.or(Some(old.start)),
        increment: alter.options.increment.or(Some(old.increment)),
        min: alter.options.min.or(Some(old.min)),
        max: alter.options.max.or(Some(old.max)),
        ..alter.options.clone()
    };
    apply(&options, &mut new)?;
    if let Some(owner) = &alter.owned_by {
        new.owner = match owner {
            None => None,
            Some(column) => Some(owner_of(column, &context.exec)?),
        };
    }
    let exec = &mut context.exec;
    let mut state = exec.sequence(&old);
    if let Some(state) = &mut state {
        if let Some(restart) = alter.restart {
            state.last_value = restart.unwrap_or(new.start);
            state.is_called = false;
        }
        if state.last_value < new.min || state.last_value > new.max {
            let (what, limit, bound) = match state.last_value < new.min {
                true => ("less", "MINVALUE", new.min),
                false => ("greater", "MAXVALUE", new.max),
            };
            return Err(PgError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!(
                    "RESTART value ({}) cannot be {what} than {limit} ({bound})",
                    state.last_value
                ),
            )
            .into());
        }
        state.log_count = 0;
    }
    let recounts = alter.restart.is_some() || alter.options != ast::SequenceOptions::default();
    match (recounts, state) {
        (true, Some(state)) => exec.restart_sequence(new, state),
        _ => exec.change_catalog(CatalogChange::ReplaceSequence(Arc::new(new))),
    }
}

/// The column of OWNED BY.
pub(super) fn owner_of(
    names: &[ast::Name],
    exec: &crate::engine::Exec<'_>,
) -> Result<(crate::engine::TableId, usize), PgError> {
    let invalid = || {
        PgError::new(SqlState::SYNTAX_ERROR, "invalid OWNED BY option")
            .with_hint("Specify OWNED BY table.column or OWNED BY NONE.")
    };
    let Some((column, relation)) = names.split_last().filter(|(_, rest)| !rest.is_empty()) else {
        return Err(invalid());
    };
    let relation = ast::Relation {
        name: relation.to_vec(),
        at: 0,
    };
    let Some(Relation::Table(table)) = find(exec, &relation)? else {
        return Err(PgError::undefined_table(&relation.name.join(".")));
    };
    let place = table.column(column);
    let place = place.ok_or_else(|| PgError::undefined_column_of(column, &table.name))?;
    Ok((table.id, place))
}

/// Sets what the options say.
pub(super) fn apply(options: &SequenceOptions, sequence: &mut Sequence) -> Result<(), PgError> {
    if let Some(at) = options.redundant {
        return Err(PgError::redundant_options(at));
    }
    let invalid = |message: String| PgError::new(SqlState::INVALID_PARAMETER_VALUE, message);
    sequence.cycle = options.cycle.unwrap_or(sequence.cycle);
    if let Some(increment) = options.increment {
        if increment == 0 {
            return Err(invalid("INCREMENT must not be zero".into()));
        }
        sequence.increment = increment;
        if increment < 0 {
            (sequence.min, sequence.max) = (-sequence.max - 1, -1);
        }
    }
    sequence.min = options.min.unwrap_or(sequence.min);
    sequence.max = options.max.unwrap_or(sequence.max);
    if sequence.min >= sequence.max {
        return Err(invalid(format!(
            "MINVALUE ({}) must be less than MAXVALUE ({})",
            sequence.min, sequence.max
        )));
    }
    let first = if sequence.increment > 0 {
        sequence.min
    } else {
        sequence.max
    };
    sequence.start = options.start.unwrap_or(first);
    if sequence.start < sequence.min {
        return Err(invalid(format!(
            "START value ({}) cannot be less than MINVALUE ({})",
            sequence.start, sequence.min
        )));
    }
    if sequence.start > sequence.max {
        return Err(invalid(format!(
            "START value ({}) cannot be greater than MAXVALUE ({})",
            sequence.start, sequence.max
        )));
    }
    Ok(())
}
