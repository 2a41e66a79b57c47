//! The engine's own use of SQL: loading a schema, asking what is committed.

use super::ast::{Command, StatementKind, TransactionCommand, TransactionModes};
use super::face::{self, Context};
use super::settings::Settings;
use crate::engine::{Engine, Exec, Halt, Journal, Pid, Timestamp, TxOptions};
use crate::error::{PgError, SqlState};
use crate::types::{Datum, text};

/// The session that loads and asks: no client has this pid.
const OWN: Pid = Pid(0);

impl Engine {
    /// Runs a script as one transaction of the superuser, and makes what it leaves the state that
    /// the server was installed with. ALTER SYSTEM SET in it counts at once; BEGIN and COMMIT, with
    /// which such scripts like to say that they are one transaction, say nothing new.
    pub fn load(&mut self, sql: &str) -> Result<(), PgError> {
        self.run_committed(sql, true)?;
        self.checkpoint_as_installed();
        Ok(())
    }

    /// The rows of a query, as text, of what is committed. It leaves no trace.
    pub fn query_committed(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, PgError> {
        let rows = self.run_committed(sql, false)?;
        let shown = |datum: Datum| match datum {
            Datum::Null => None,
            datum => {
                let mut shown = String::new();
                text::write(&datum, &mut shown);
                Some(shown)
            }
        };
        Ok(rows
            .into_iter()
            .map(|row| row.into_iter().map(shown).collect())
            .collect())
    }

    /// Runs a script in a transaction of its own; gives the rows of its last statement.
    fn run_committed(&mut self, sql: &str, writes: bool) -> Result<Vec<Vec<Datum>>, PgError> {
        let script = face::parse_script(sql)?;
        let now = Timestamp(0);
        let options = TxOptions {
            read_only: !writes,
            ..TxOptions::default()
        };
        let mut tx = self.begin(OWN, options, now);
        let mut settings = Settings::default();
        let mut rows = Vec::new();
        for statement in script.iter() {
            match statement.kind() {
                StatementKind::Empty => continue,
                StatementKind::Transaction if writes && is_frame(&statement.command) => continue,
                StatementKind::Transaction => {
                    self.abort(tx);
                    return Err(PgError::feature_not_supported(
                        "transaction control in this script",
                    ));
                }
                StatementKind::Utility | StatementKind::Query => {}
            }
            if let (Command::AlterSystem { name, value }, true) = (&statement.command, writes) {
                self.alter_system(name.as_deref(), value.as_deref())?;
                continue;
            }
            let mut journal = Journal::default();
            let result = face::prepare(self, &tx, statement, &[]).map_err(Halt::Error);
            let result = result.and_then(|prepared| {
                let mut context = Context {
                    exec: Exec::new(self, &mut tx, &mut journal, now),
                    settings: &mut settings,
                    database: "postgres",
                    user: "postgres",
                    fetch: face::Fetch::default(),
                };
                let outcome = face::execute(&prepared, &[], &mut context)?;
                context.exec.finish();
                Ok(outcome)
            });
            match result {
                Ok(outcome) => rows = outcome.rows,
                Err(halt) => {
                    self.abort(tx);
                    return Err(match halt {
                        Halt::Error(error) => error,
                        Halt::Wait(_) => PgError::new(
                            SqlState::LOCK_NOT_AVAILABLE,
                            format!("`{}` would have to wait", statement.text),
                        ),
                    });
                }
            }
        }
        if writes && tx.has_pending_events() {
            let mut journal = Journal::default();
            let mut context = Context {
                exec: Exec::new(self, &mut tx, &mut journal, now),
                settings: &mut settings,
                database: "postgres",
                user: "postgres",
                fetch: face::Fetch::default(),
            };
            let fired = face::fire_deferred(&mut context);
            if let Err(halt) = fired.map(|()| context.exec.finish()) {
                self.abort(tx);
                return Err(match halt {
                    Halt::Error(error) => error,
                    Halt::Wait(_) => PgError::new(
                        SqlState::LOCK_NOT_AVAILABLE,
                        "a deferred constraint would have to wait",
                    ),
                });
            }
        }
        match writes {
            true => self.commit(tx, now).map(drop)?,
            // What a function may have locked goes too.
            false => self.abort(tx),
        }
        Ok(rows)
    }
}

/// Whether it is a BEGIN or a COMMIT that asks for nothing else.
fn is_frame(command: &Command) -> bool {
    match command {
        Command::Transaction(TransactionCommand::Begin { modes, .. }) => {
            *modes == TransactionModes::default()
        }
        Command::Transaction(TransactionCommand::Commit { chain }) => !chain,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_loaded_listens_to_nothing() {
        // Its session is over, and with it what it listened to.
        let mut engine = Engine::new();
        engine.load("listen c").unwrap();
        let channels = engine.query_committed("select pg_listening_channels()");
        assert!(channels.unwrap().is_empty());
    }
}
