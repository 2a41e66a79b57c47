//! What a session knows by heart of its settings, and the commands that are about itself.
//!
//! Settings are kept as text. What every statement or COMMIT asks for is read from them once, and
//! again only after one of them has changed.

use std::sync::Arc;
use std::time::Duration;

use super::Session;
use super::block::Company;
use super::cursor::Own;
use crate::engine::{
    Durability, Engine, Halt, Isolation, SearchPath, Timeouts, Timestamp, TxOptions,
};
use crate::error::{PgError, Severity, SqlState};
use crate::sql::ast::{Command, Discard, Statement};
use crate::sql::settings::Settings;
use crate::types::{Datum, Type};

/// Settings in the form they are used in.
#[derive(Debug)]
pub(super) struct Known {
    seen: Settings,
    pub(super) application_name: Arc<str>,
    pub(super) timeouts: Timeouts,
    pub(super) statement_timeout: Option<Duration>,
    /// How long a block may stand idle.
    pub(super) idle_in_transaction_timeout: Option<Duration>,
    /// How long a session may outside of one.
    pub(super) idle_session_timeout: Option<Duration>,
    pub(super) durability: Durability,
    /// The modes a transaction begins with.
    pub(super) options: TxOptions,
    /// The least severe notice the client wants.
    pub(super) least: Severity,
}

impl Known {
    pub(super) fn of(settings: &Settings) -> Known {
        Known {
            application_name: settings.application_name().into(),
            timeouts: Timeouts {
                lock: settings.lock_timeout(),
                deadlock: settings.deadlock_timeout(),
            },
            statement_timeout: settings.statement_timeout(),
            idle_in_transaction_timeout: settings.idle_in_transaction_session_timeout(),
            idle_session_timeout: settings.idle_session_timeout(),
            durability: match settings.synchronous_commit() {
                "off" => Durability::Asynchronous,
                "local" => Durability::Local,
                _ => Durability::Synchronous,
            },
            options: TxOptions {
                isolation: match settings.default_transaction_isolation() {
                    "serializable" => Isolation::Serializable,
                    "repeatable read" => Isolation::RepeatableRead,
                    "read uncommitted" => Isolation::ReadUncommitted,
                    _ => Isolation::ReadCommitted,
                },
                read_only: settings.default_transaction_read_only(),
                deferrable: settings.default_transaction_deferrable(),
            },
            least: match settings.client_min_messages() {
                "error" => Severity::Error,
                "warning" => Severity::Warning,
                "notice" => Severity::Notice,
                "log" => Severity::Log,
                _ => Severity::Debug,
            },
            seen: settings.clone(),
        }
    }
}

impl Session {
    /// The settings as they are now.
    pub(super) fn known(&mut self) -> &Known {
        if !self.settings.is_same(&self.known.seen) {
            self.known = Known::of(&self.settings);
            if *self.user != *self.settings.current_user() {
                self.user = self.settings.current_user().into();
            }
            self.path = self.search_path();
        }
        &self.known
    }

    /// Where the session's names are looked up.
    pub(super) fn search_path(&self) -> Arc<SearchPath> {
        Arc::new(SearchPath {
            database: self.path.database,
            schemas: self.settings.search_path(&self.user),
            temporary: None,
        })
    }

    /// SET LOCAL outside of a block has no effect that anybody could see.
    pub(super) fn warn_local(&mut self, local: bool, company: Company) {
        if local && !self.has_block(company) {
            self.notice(&PgError::warning(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                "SET LOCAL can only be used in transaction blocks",
            ));
        }
    }

    /// Runs a command that is about the session itself: `is_own` says which are. After
    /// `Halt::Wait` it is run again.
    pub(super) fn own(
        &mut self,
        statement: &Arc<Statement>,
        params: Vec<Datum>,
        hints: &[Option<Type>],
        company: Company,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<Own, Halt> {
        self.look(&statement.command, engine, now)?;
        let tag = match &statement.command {
            Command::Declare(declare) => {
                return self.declare(declare, params, hints, company, engine, now);
            }
            Command::Fetch(fetch) => return self.fetch(fetch, engine, now),
            Command::CloseCursor(name) => return Ok(self.close_cursor(name.as_deref())?),
            Command::Prepare(prepare) => return Ok(self.prepare(prepare, engine, now)?),
            Command::Discard(Discard::All) => {
                self.refuse_company("DISCARD ALL", company)?;
                self.portals.clear();
                self.statements.clear();
                let login = engine.catalog().role(self.settings.login());
                let superuser = login.is_none_or(|role| role.superuser);
                self.settings.authorize(None, superuser, false);
                self.settings.reset_all();
                engine.unlisten_all(self.pid);
                engine.advisory_unlock_all(self.pid);
                engine.discard_sequences(self.pid);
                "DISCARD ALL"
            }
            Command::Discard(Discard::Plans) => "DISCARD PLANS",
            Command::Discard(Discard::Temp) => "DISCARD TEMP",
            Command::Discard(Discard::Sequences) => {
                engine.discard_sequences(self.pid);
                "DISCARD SEQUENCES"
            }
            Command::Deallocate(None) => {
                self.statements.clear();
                "DEALLOCATE ALL"
            }
            Command::Deallocate(Some(name)) => {
                let found = self.statements.remove(&**name);
                found.ok_or_else(|| PgError::no_such_prepared_statement(name))?;
                "DEALLOCATE"
            }
            Command::AlterSystem { name, value } => {
                self.refuse_company("ALTER SYSTEM", company)?;
                engine.alter_system(name.as_deref(), value.as_deref())?;
                "ALTER SYSTEM"
            }
            _ => "",
        };
        Ok(Own::done(tag))
    }

    /// A command that needs none still takes the snapshot of a transaction that keeps one.
    pub(super) fn look(
        &mut self,
        command: &Command,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<(), PgError> {
        if command.needs_snapshot() {
            let transaction = self.begin_implicit(engine, now)?;
            engine.fix_snapshot(transaction);
            self.queried = true;
        }
        Ok(())
    }

    /// Whether `own` runs it.
    pub(super) fn is_own(command: &Command) -> bool {
        matches!(
            command,
            Command::Discard(_)
                | Command::Deallocate(_)
                | Command::AlterSystem { .. }
                | Command::Declare(_)
                | Command::Fetch(_)
                | Command::CloseCursor(_)
                | Command::Prepare(_)
                | Command::Execute(_)
        )
    }
}
