//! What the server says when it refuses: [`PgError`], its [`SqlState`], its severity.
//!
//! The wording is PostgreSQL 15's (`src/backend/…/ereport`): drivers, ORMs and people match on it.
//! Constructors are named by meaning, so that a message stands in one place. How an error travels
//! to the client is `wire`'s business; what it does to the transaction is `session`'s.

mod build;
mod shutdown;
mod sqlstate;

use std::fmt;
use std::ops::{Deref, DerefMut};

pub use sqlstate::SqlState;

/// How much a message weighs. Errors abort the statement, fatal ones the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Severity {
    Debug,
    Log,
    Info,
    Notice,
    Warning,
    Error,
    Fatal,
    Panic,
}

impl Severity {
    /// As it stands in the S and V fields.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Debug => "DEBUG",
            Severity::Log => "LOG",
            Severity::Info => "INFO",
            Severity::Notice => "NOTICE",
            Severity::Warning => "WARNING",
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
            Severity::Panic => "PANIC",
        }
    }
}

/// An ErrorResponse or NoticeResponse before it has bytes. Boxed, because it is rare and results
/// that carry it are not; its [`Report`] is reached as if it were this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PgError(Box<Report>);

/// The fields of an ErrorResponse that this server fills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Field S and V.
    pub severity: Severity,
    /// Field C.
    pub code: SqlState,
    /// Field M.
    pub message: String,
    /// Field D.
    pub detail: Option<String>,
    /// Field H.
    pub hint: Option<String>,
    /// Field P: a position in the query's characters, from 1.
    pub position: Option<usize>,
    /// Field W: where it happened.
    pub context: Option<String>,
    /// Field s.
    pub schema: Option<String>,
    /// Field t.
    pub table: Option<String>,
    /// Field c.
    pub column: Option<String>,
    /// Field d.
    pub data_type: Option<String>,
    /// Field n.
    pub constraint: Option<String>,
}

impl Deref for PgError {
    type Target = Report;

    fn deref(&self) -> &Report {
        &self.0
    }
}

impl DerefMut for PgError {
    fn deref_mut(&mut self) -> &mut Report {
        &mut self.0
    }
}

impl fmt::Display for PgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}: {}",
            self.severity.as_str(),
            self.code,
            self.message
        )?;
        match &self.detail {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for PgError {}

/// What SQL text and values can get wrong.
impl PgError {
    /// 0A000: a construct of PostgreSQL that this server lacks. It names it: nothing is silently wrong.
    pub fn feature_not_supported(construct: impl fmt::Display) -> Self {
        Self::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            format!("fake-pg does not support {construct}"),
        )
    }

    /// 42601 for an option that was given before (`errorConflictingDefElem`).
    pub fn redundant_options(at: u32) -> Self {
        Self::new(SqlState::SYNTAX_ERROR, "conflicting or redundant options").near(at)
    }

    /// 42601, as the scanner words it.
    pub fn syntax_error_near(token: &str) -> Self {
        Self::new(
            SqlState::SYNTAX_ERROR,
            format!("syntax error at or near \"{token}\""),
        )
    }

    /// 42601 at the end of the text.
    pub fn syntax_error_at_end() -> Self {
        Self::new(SqlState::SYNTAX_ERROR, "syntax error at end of input")
    }

    /// 42P01.
    pub fn undefined_table(name: &str) -> Self {
        Self::new(
            SqlState::UNDEFINED_TABLE,
            format!("relation \"{name}\" does not exist"),
        )
    }

    /// 3F000.
    pub fn undefined_schema(name: &str) -> Self {
        Self::new(
            SqlState::INVALID_SCHEMA_NAME,
            format!("schema \"{name}\" does not exist"),
        )
    }

    /// 42703.
    pub fn undefined_column(name: &str) -> Self {
        Self::new(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{name}\" does not exist"),
        )
    }

    /// 42703 with the relation, as INSERT and UPDATE say it.
    pub fn undefined_column_of(name: &str, relation: &str) -> Self {
        Self::new(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{name}\" of relation \"{relation}\" does not exist"),
        )
    }

    /// 42883; the signature as in `lower(integer)`.
    pub fn undefined_function(signature: &str) -> Self {
        Self::new(SqlState::UNDEFINED_FUNCTION, format!("function {signature} does not exist")).with_hint(
            "No function matches the given name and argument types. You might need to add explicit type casts.",
        )
    }

    /// 42883; the signature as in `integer = text`.
    pub fn undefined_operator(signature: &str) -> Self {
        Self::new(SqlState::UNDEFINED_FUNCTION, format!("operator does not exist: {signature}")).with_hint(
            "No operator matches the given name and argument types. You might need to add explicit type casts.",
        )
    }

    /// 42P07.
    pub fn duplicate_relation(name: &str) -> Self {
        Self::new(
            SqlState::DUPLICATE_TABLE,
            format!("relation \"{name}\" already exists"),
        )
    }

    /// 22P02.
    pub fn invalid_text(type_name: &str, text: &str) -> Self {
        Self::new(
            SqlState::INVALID_TEXT_REPRESENTATION,
            format!("invalid input syntax for type {type_name}: \"{text}\""),
        )
    }

    /// 22003.
    pub fn out_of_range(type_name: &str) -> Self {
        Self::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("{type_name} out of range"),
        )
    }

    /// 22012.
    pub fn division_by_zero() -> Self {
        Self::new(SqlState::DIVISION_BY_ZERO, "division by zero")
    }
}

/// Broken constraints.
impl PgError {
    /// 23505; `key` as in `(id)=(1)`.
    pub fn unique_violation(table: &str, constraint: &str, key: &str) -> Self {
        let message = format!("duplicate key value violates unique constraint \"{constraint}\"");
        let mut error = Self::new(SqlState::UNIQUE_VIOLATION, message)
            .with_detail(format!("Key {key} already exists."))
            .on_table(table);
        error.constraint = Some(constraint.into());
        error
    }

    /// 23505 of CREATE UNIQUE INDEX over rows that are no longer distinct.
    pub fn could_not_create_unique_index(table: &str, index: &str, key: &str) -> Self {
        let mut error = Self::new(
            SqlState::UNIQUE_VIOLATION,
            format!("could not create unique index \"{index}\""),
        )
        .with_detail(format!("Key {key} is duplicated."))
        .on_table(table);
        error.constraint = Some(index.into());
        error
    }

    /// 23503 of a row that refers to nothing.
    pub fn foreign_key_violation(table: &str, constraint: &str, detail: String) -> Self {
        let message = format!(
            "insert or update on table \"{table}\" violates foreign key constraint \"{constraint}\""
        );
        let mut error = Self::new(SqlState::FOREIGN_KEY_VIOLATION, message)
            .with_detail(detail)
            .on_table(table);
        error.constraint = Some(constraint.into());
        error
    }

    /// 23503 of a row that others refer to; `key` as in `(id)=(1)`.
    pub fn still_referenced(referenced: &str, table: &str, constraint: &str, key: &str) -> Self {
        let message = format!(
            "update or delete on table \"{referenced}\" violates foreign key constraint \"{constraint}\" on table \"{table}\""
        );
        let mut error = Self::new(SqlState::FOREIGN_KEY_VIOLATION, message)
            .with_detail(format!(
                "Key {key} is still referenced from table \"{table}\"."
            ))
            .on_table(table);
        error.constraint = Some(constraint.into());
        error
    }

    /// 55000 of ON CONFLICT on a constraint that is checked later.
    pub fn deferrable_arbiter(table: &str, constraint: &str) -> Self {
        let message = "ON CONFLICT does not support deferrable unique constraints/exclusion constraints as arbiters";
        let mut error =
            Self::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message).on_table(table);
        error.constraint = Some(constraint.into());
        error
    }

    /// 55006: deferred checks wait for the table.
    pub fn pending_trigger_events(statement: &str, table: &str) -> Self {
        let message =
            format!("cannot {statement} \"{table}\" because it has pending trigger events");
        Self::new(SqlState::OBJECT_IN_USE, message)
    }

    /// 55006, as a cursor reads the table.
    pub fn used_by_queries(statement: &str, table: &str) -> Self {
        let message = format!(
            "cannot {statement} \"{table}\" because it is being used by active queries in this session"
        );
        Self::new(SqlState::OBJECT_IN_USE, message)
    }

    /// 23502; `row` as in `1, null`.
    pub fn not_null_violation(table: &str, column: &str, row: &str) -> Self {
        let message = format!(
            "null value in column \"{column}\" of relation \"{table}\" violates not-null constraint"
        );
        let mut error = Self::new(SqlState::NOT_NULL_VIOLATION, message)
            .with_detail(format!("Failing row contains ({row})."))
            .on_table(table);
        error.column = Some(column.into());
        error
    }

    /// 23514; `row` as in `1, null`.
    pub fn check_violation(table: &str, constraint: &str, row: &str) -> Self {
        let message =
            format!("new row for relation \"{table}\" violates check constraint \"{constraint}\"");
        let mut error = Self::new(SqlState::CHECK_VIOLATION, message)
            .with_detail(format!("Failing row contains ({row})."))
            .on_table(table);
        error.constraint = Some(constraint.into());
        error
    }
}

/// Transactions, locks, and their ends.
impl PgError {
    /// 25P02.
    pub fn in_failed_transaction() -> Self {
        Self::new(
            SqlState::IN_FAILED_SQL_TRANSACTION,
            "current transaction is aborted, commands ignored until end of transaction block",
        )
    }

    /// Warning 25001: BEGIN inside a block.
    pub fn already_in_transaction() -> Self {
        Self::warning(
            SqlState::ACTIVE_SQL_TRANSACTION,
            "there is already a transaction in progress",
        )
    }

    /// Warning 25P01: COMMIT or ROLLBACK outside a block.
    pub fn no_transaction_in_progress() -> Self {
        Self::warning(
            SqlState::NO_ACTIVE_SQL_TRANSACTION,
            "there is no transaction in progress",
        )
    }

    /// 25P01: `what` as in `SAVEPOINT`.
    pub fn only_in_transaction_block(what: &str) -> Self {
        Self::new(
            SqlState::NO_ACTIVE_SQL_TRANSACTION,
            format!("{what} can only be used in transaction blocks"),
        )
    }

    /// 3B001.
    pub fn no_such_savepoint(name: &str) -> Self {
        Self::new(
            SqlState::INVALID_SAVEPOINT_SPECIFICATION,
            format!("savepoint \"{name}\" does not exist"),
        )
    }

    /// 25006: `what` as in `INSERT`.
    pub fn read_only_transaction(what: &str) -> Self {
        Self::new(
            SqlState::READ_ONLY_SQL_TRANSACTION,
            format!("cannot execute {what} in a read-only transaction"),
        )
    }

    /// 40001 of repeatable read; `deed` is `update` or `delete`.
    pub fn concurrent(deed: &str) -> Self {
        Self::new(
            SqlState::SERIALIZATION_FAILURE,
            format!("could not serialize access due to concurrent {deed}"),
        )
    }

    /// 40P01; the detail says who waits for what.
    pub fn deadlock_detected(detail: impl Into<String>) -> Self {
        Self::new(SqlState::DEADLOCK_DETECTED, "deadlock detected")
            .with_detail(detail)
            .with_hint("See server log for query details.")
    }

    /// 55P03 of NOWAIT.
    pub fn row_lock_not_available(table: &str) -> Self {
        Self::new(
            SqlState::LOCK_NOT_AVAILABLE,
            format!("could not obtain lock on row in relation \"{table}\""),
        )
    }

    /// 55P03 of `lock_timeout`.
    pub fn lock_timeout() -> Self {
        Self::new(
            SqlState::LOCK_NOT_AVAILABLE,
            "canceling statement due to lock timeout",
        )
    }

    /// 57014 of `statement_timeout`.
    pub fn statement_timeout() -> Self {
        Self::new(
            SqlState::QUERY_CANCELED,
            "canceling statement due to statement timeout",
        )
    }

    /// 57014 of a CancelRequest.
    pub fn query_canceled() -> Self {
        Self::new(
            SqlState::QUERY_CANCELED,
            "canceling statement due to user request",
        )
    }

    /// A failure that somebody has asked for, in the real server's words where it has some.
    pub fn injected(code: SqlState) -> Self {
        match code {
            SqlState::SERIALIZATION_FAILURE => Self::new(
                code,
                "could not serialize access due to read/write dependencies among transactions",
            ),
            SqlState::DEADLOCK_DETECTED => Self::new(code, "deadlock detected"),
            SqlState::QUERY_CANCELED => Self::query_canceled(),
            SqlState::ADMIN_SHUTDOWN => Self::admin_shutdown(),
            _ => Self::new(code, "COMMIT was made to fail"),
        }
    }

    /// 57P01, fatal: somebody terminated this backend.
    pub fn admin_shutdown() -> Self {
        Self::new(
            SqlState::ADMIN_SHUTDOWN,
            "terminating connection due to administrator command",
        )
        .fatal()
    }

    /// 53300, fatal: `max_connections` are in use.
    pub fn too_many_connections() -> Self {
        Self::new(
            SqlState::TOO_MANY_CONNECTIONS,
            "sorry, too many clients already",
        )
        .fatal()
    }

    /// 57P05, fatal.
    pub fn idle_session_timeout() -> Self {
        Self::new(
            SqlState::IDLE_SESSION_TIMEOUT,
            "terminating connection due to idle-session timeout",
        )
        .fatal()
    }

    /// 25P03, fatal.
    pub fn idle_in_transaction_timeout() -> Self {
        Self::new(
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            "terminating connection due to idle-in-transaction timeout",
        )
        .fatal()
    }
}

/// The protocol, and names that live in a session.
impl PgError {
    /// 08P01, fatal: the bytes make no sense, and nothing after them can.
    pub fn protocol_violation(message: impl Into<String>) -> Self {
        Self::new(SqlState::PROTOCOL_VIOLATION, message).fatal()
    }

    /// 26000.
    pub fn no_such_prepared_statement(name: &str) -> Self {
        let message = match name {
            "" => "unnamed prepared statement does not exist".to_string(),
            _ => format!("prepared statement \"{name}\" does not exist"),
        };
        Self::new(SqlState::INVALID_SQL_STATEMENT_NAME, message)
    }

    /// 42P05.
    pub fn duplicate_prepared_statement(name: &str) -> Self {
        Self::new(
            SqlState::DUPLICATE_PREPARED_STATEMENT,
            format!("prepared statement \"{name}\" already exists"),
        )
    }

    /// 34000.
    pub fn no_such_portal(name: &str) -> Self {
        Self::new(
            SqlState::INVALID_CURSOR_NAME,
            format!("portal \"{name}\" does not exist"),
        )
    }

    /// 34000, as SQL says it.
    pub fn no_such_cursor(name: &str) -> Self {
        Self::new(
            SqlState::INVALID_CURSOR_NAME,
            format!("cursor \"{name}\" does not exist"),
        )
    }

    /// 42P03.
    pub fn duplicate_portal(name: &str) -> Self {
        Self::new(
            SqlState::DUPLICATE_CURSOR,
            format!("cursor \"{name}\" already exists"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_prints_what_a_person_needs() {
        assert_eq!(
            PgError::unique_violation("t", "t_pkey", "(id)=(1)").to_string(),
            "ERROR 23505: duplicate key value violates unique constraint \"t_pkey\" (Key (id)=(1) already exists.)"
        );
        assert_eq!(
            PgError::admin_shutdown().to_string(),
            "FATAL 57P01: terminating connection due to administrator command"
        );
    }
}
