//! Prepared statements: what Parse and PREPARE leave behind.
//!
//! A statement keeps the types of its parameters and the result that it promised, whatever becomes of
//! the schema (`RevalidateCachedQuery` in `plancache.c`). Running it is `extended`'s and `cursor`'s.

use std::sync::Arc;

use super::Session;
use super::block::is_exit;
use crate::engine::{Engine, Timestamp};
use crate::error::PgError;
use crate::sql::ast::{Command, Statement};
use crate::sql::{self, Prepared};
use crate::types::Type;

/// What Parse leaves behind.
#[derive(Debug)]
pub(super) struct PreparedStatement {
    pub(super) statement: Arc<Statement>,
    pub(super) hints: Vec<Option<Type>>,
    /// `None` for transaction control, which is the session's own business.
    pub(super) prepared: Option<Arc<Prepared>>,
}

impl PreparedStatement {
    pub(super) fn params(&self) -> &[Type] {
        self.prepared
            .as_ref()
            .map_or(&[], |prepared| prepared.params())
    }

    /// Whether it may be used in a failed block.
    pub(super) fn is_exit(&self) -> bool {
        matches!(&self.statement.command, Command::Transaction(command) if is_exit(command))
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self.statement.command, Command::Empty)
    }
}

impl Session {
    /// Binds a statement to the schema as it is now; cached below.
    pub(super) fn plan(
        &mut self,
        parsed: &PreparedStatement,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<Option<Arc<Prepared>>, PgError> {
        let command = &parsed.statement.command;
        if matches!(command, Command::Empty | Command::Transaction(_)) {
            return Ok(None);
        }
        if Self::is_own(command) {
            return self.plan_own(&parsed.statement, &parsed.hints, engine, now);
        }
        // What SHOW answers is described when it is parsed (`GetPGVariableResultDesc`).
        if let Command::Show(name) = command
            && **name != *"all"
        {
            self.settings.get(name)?;
        }
        let transaction = self.begin_implicit(engine, now)?;
        let prepared = match &parsed.prepared {
            Some(promised) => sql::prepare_again(engine, transaction, promised)?,
            None => sql::prepare(engine, transaction, &parsed.statement, &parsed.hints)?,
        };
        if command.is_analyzed() {
            engine.fix_snapshot(transaction);
            self.queried = true;
        }
        Ok(Some(prepared))
    }

    /// What Describe refuses: a statement, or the one that EXECUTE names, whose result has changed
    /// (`CachedPlanGetTargetList`).
    pub(super) fn refuse_other_result(
        &mut self,
        statement: &PreparedStatement,
        now_is: Option<&Prepared>,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<(), PgError> {
        if let (Some(promised), Some(now_is)) = (&statement.prepared, now_is) {
            now_is.refuse_other_result(promised)?;
        }
        let Command::Execute(execute) = &statement.statement.command else {
            return Ok(());
        };
        let Some(named) = self.statements.get(&*execute.name).cloned() else {
            return Ok(());
        };
        match (&named.prepared, &named.statement.command) {
            (Some(promised), command) if !Self::is_own(command) => {
                let again = self.plan(&named, engine, now)?;
                again.map_or(Ok(()), |again| again.refuse_other_result(promised))
            }
            _ => Ok(()),
        }
    }
}
