//! The server's own configuration: what `postgresql.conf` says and no session can set.
//!
//! ALTER SYSTEM writes it down; `pg_reload_conf()` makes that count where the real server allows it
//! while it runs, a restart everywhere. Settings of sessions are `sql`'s business.

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use crate::error::{PgError, SqlState};

/// The settings of a server, with PostgreSQL's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// How many transactions may be prepared at once. At 0, the default, none can be.
    pub max_prepared_transactions: u32,
    /// Whose replica a COMMIT waits for. None ever connects: unless it is empty, as by default,
    /// every COMMIT waits until it is cancelled.
    pub synchronous_standby_names: Arc<str>,
    /// How late the WAL writer may flush an asynchronous commit.
    pub wal_writer_delay: Duration,
    /// How many steps a statement may take, of rows and of memory (`BUDGET` in `sql/context.rs`).
    pub statement_steps: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            max_prepared_transactions: 0,
            synchronous_standby_names: Arc::default(),
            wal_writer_delay: Duration::from_millis(200),
            statement_steps: crate::sql::BUDGET,
        }
    }
}

/// What counts now, and what is written down for later.
#[derive(Clone, Debug, Default)]
pub(super) struct Config {
    now: ServerConfig,
    written: ServerConfig,
}

/// The most transactions that a server can be configured to have prepared (`MAX_BACKENDS`).
const MAX_PREPARED: u32 = 262_143;

impl ServerConfig {
    /// The value of a setting, as SHOW shows it. None is not the server's.
    pub fn show(&self, name: &str) -> Option<String> {
        match &*name.to_ascii_lowercase() {
            "max_prepared_transactions" => Some(self.max_prepared_transactions.to_string()),
            "synchronous_standby_names" => Some(self.synchronous_standby_names.to_string()),
            "wal_writer_delay" => Some(format!("{}ms", self.wal_writer_delay.as_millis())),
            _ => None,
        }
    }

    /// Sets it; `None` is the default.
    fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), PgError> {
        let lower = name.to_ascii_lowercase();
        match &*lower {
            "max_prepared_transactions" => {
                let text = value.unwrap_or("0").trim();
                let number = text.parse::<i64>().map_err(|_| {
                    let message = format!("invalid value for parameter \"{lower}\": \"{text}\"");
                    PgError::new(SqlState::INVALID_PARAMETER_VALUE, message)
                })?;
                self.max_prepared_transactions = u32::try_from(number)
                    .ok()
                    .filter(|&number| number <= MAX_PREPARED)
                    .ok_or_else(|| {
                        let message = format!(
                            "{number} is outside the valid range for parameter \"{lower}\" (0 .. {MAX_PREPARED})"
                        );
                        PgError::new(SqlState::INVALID_PARAMETER_VALUE, message)
                    })?;
            }
            "synchronous_standby_names" => {
                self.synchronous_standby_names = value.unwrap_or_default().into();
            }
            "wal_writer_delay" => {
                let text = value.unwrap_or("200").trim();
                let millis = text.strip_suffix("ms").unwrap_or(text).trim().parse();
                self.wal_writer_delay = Duration::from_millis(millis.map_err(|_| {
                    PgError::feature_not_supported(format_args!("{lower} = {text}"))
                })?);
            }
            _ => {
                return Err(PgError::feature_not_supported(format_args!(
                    "ALTER SYSTEM SET {name}"
                )));
            }
        }
        Ok(())
    }
}

/// Why SET cannot set what is the server's.
pub(crate) fn refuse_set(name: &str) -> Option<PgError> {
    let lower = name.to_ascii_lowercase();
    let when = match &*lower {
        "max_prepared_transactions" => "without restarting the server",
        "synchronous_standby_names" | "wal_writer_delay" => "now",
        _ => return None,
    };
    let message = format!("parameter \"{lower}\" cannot be changed {when}");
    Some(PgError::new(SqlState::CANT_CHANGE_RUNTIME_PARAM, message))
}

impl Engine {
    /// The configuration that counts now.
    pub fn config(&self) -> &ServerConfig {
        &self.config.now
    }

    /// Has the server run with this, at once.
    pub fn configure(&mut self, config: ServerConfig) {
        self.config = Config {
            now: config.clone(),
            written: config,
        };
        self.release_replication_waiters();
    }

    /// ALTER SYSTEM SET, or RESET if there is no value; without a name, RESET ALL.
    pub fn alter_system(&mut self, name: Option<&str>, value: Option<&str>) -> Result<(), PgError> {
        match name {
            Some(name) => self.config.written.set(name, value),
            None => {
                self.config.written = ServerConfig::default();
                Ok(())
            }
        }
    }

    /// `pg_reload_conf`: what can change while the server runs.
    pub fn reload_config(&mut self) {
        let Config { now, written } = &mut self.config;
        now.synchronous_standby_names = written.synchronous_standby_names.clone();
        now.wal_writer_delay = written.wal_writer_delay;
        self.release_replication_waiters();
    }

    /// The server starts: all that is written down counts.
    pub(super) fn read_config(&mut self) {
        self.config.now = self.config.written.clone();
    }

    /// Whether a COMMIT that wants replicas has to wait for one.
    pub(super) fn wants_replicas(&self) -> bool {
        !self.config.now.synchronous_standby_names.trim().is_empty()
    }

    fn release_replication_waiters(&mut self) {
        if !self.wants_replicas() {
            self.wakeups.append(&mut self.replication_waiters);
        }
    }
}
