//! ALTER SEQUENCE.

use std::sync::Arc;

use super::ddl::{apply, find};
use crate::engine::{CatalogChange, Halt, LockMode, Relation, Sequence};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{self, AlterSequence};
use crate::sql::face::Context;

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
