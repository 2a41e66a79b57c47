//! The narrow face of `sql` for sessions: parse, prepare, execute, describe.
//!
//! Parsing is cached by text; planning by text, parameter types and schema
//! version, so that a repeated statement costs neither, across clones of an
//! engine too. Transaction control is not run here: the session does that.
//!
//! Until `plan` and `execute` are here, whatever is prepared is refused.

use std::sync::Arc;

use super::ast::Statement;
use super::parse;
use super::settings::Settings;
use crate::engine::{Engine, Exec, Halt, Transaction};
use crate::error::PgError;
use crate::types::{Datum, Type};

/// A column of a result, as RowDescription tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: Arc<str>,
    /// Its type.
    pub ty: Type,
    /// The type modifier, -1 if none.
    pub typmod: i32,
    /// The OID of the table it comes from, or 0.
    pub table: u32,
    /// Its number in that table, from 1, or 0.
    pub attnum: i16,
}

/// The tag of CommandComplete, written by `Display`: `INSERT 0 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandTag {
    /// `SELECT n`.
    Select(u64),
    /// `INSERT 0 n`.
    Insert(u64),
    /// `UPDATE n`.
    Update(u64),
    /// `DELETE n`.
    Delete(u64),
    /// Anything without a count: `CREATE TABLE`.
    Plain(&'static str),
}

/// What a statement did.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// For CommandComplete.
    pub tag: CommandTag,
    /// The rows, if [`Prepared::columns`] is some.
    pub rows: Vec<Vec<Datum>>,
}

/// What a statement runs with.
pub struct Context<'a> {
    /// The transaction and its journal. Notices go to `exec.journal.notices`.
    pub exec: Exec<'a>,
    /// The session's settings.
    pub settings: &'a mut Settings,
    /// `current_database()`.
    pub database: &'a str,
    /// `current_user`.
    pub user: &'a str,
}

/// Parses a script; cached.
pub fn parse_script(text: &str) -> Result<Arc<[Arc<Statement>]>, PgError> {
    let statements = parse::parse_script(text)?;
    Ok(statements.iter().cloned().map(Arc::new).collect())
}

/// Binds a statement to the schema as the transaction sees it; cached. `hints` are the types of
/// Parse, `None` or missing where the client leaves them open.
pub fn prepare(
    _engine: &Engine,
    _tx: &Transaction,
    statement: &Arc<Statement>,
    _hints: &[Option<Type>],
) -> Result<Arc<Prepared>, PgError> {
    Err(PgError::feature_not_supported(&statement.text))
}

/// A statement bound to a schema.
#[derive(Debug)]
pub struct Prepared {
    statement: Arc<Statement>,
    params: Vec<Type>,
    columns: Option<Vec<Column>>,
}

impl Prepared {
    /// The statement.
    pub fn statement(&self) -> &Arc<Statement> {
        &self.statement
    }
    /// The types of its parameters.
    pub fn params(&self) -> &[Type] {
        &self.params
    }
    /// The columns of its result, or `None` if it has none (NoData).
    pub fn columns(&self) -> Option<&[Column]> {
        self.columns.as_deref()
    }
}

/// Runs it. After `Halt::Wait` it is called again with the same journal.
pub fn execute(
    prepared: &Prepared,
    _params: &[Datum],
    _context: &mut Context<'_>,
) -> Result<Outcome, Halt> {
    Err(PgError::feature_not_supported(&prepared.statement.text).into())
}

impl std::fmt::Display for CommandTag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CommandTag::Select(rows) => write!(f, "SELECT {rows}"),
            CommandTag::Insert(rows) => write!(f, "INSERT 0 {rows}"),
            CommandTag::Update(rows) => write!(f, "UPDATE {rows}"),
            CommandTag::Delete(rows) => write!(f, "DELETE {rows}"),
            CommandTag::Plain(tag) => f.write_str(tag),
        }
    }
}
