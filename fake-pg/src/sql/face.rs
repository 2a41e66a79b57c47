//! The narrow face of `sql` for sessions: parse, prepare, execute, describe.
//!
//! Parsing is cached by text; planning by text, parameter types and schema
//! version, so that a repeated statement costs neither, across clones of an
//! engine too. Transaction control is not run here: the session does that.

use std::sync::Arc;

use super::ast::{Statement, StatementKind};
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
pub fn parse_script(text: &str) -> Result<Arc<[Arc<Statement>]>, PgError>;

/// Binds a statement to the schema as the transaction sees it; cached. `hints` are the types of
/// Parse, `None` or missing where the client leaves them open.
pub fn prepare(
    engine: &Engine,
    tx: &Transaction,
    statement: &Arc<Statement>,
    hints: &[Option<Type>],
) -> Result<Arc<Prepared>, PgError>;

impl Prepared {
    /// The statement.
    pub fn statement(&self) -> &Arc<Statement>;
    /// The types of its parameters.
    pub fn params(&self) -> &[Type];
    /// The columns of its result, or `None` if it has none (NoData).
    pub fn columns(&self) -> Option<&[Column]>;
}

/// Runs it. After `Halt::Wait` it is called again with the same journal.
pub fn execute(
    prepared: &Prepared,
    params: &[Datum],
    context: &mut Context<'_>,
) -> Result<Outcome, Halt>;
