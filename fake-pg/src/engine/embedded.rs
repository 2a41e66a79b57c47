//! A schema that the embedder answers for: functions and relations that are no part of PostgreSQL.
//!
//! The server knows their names and types, and asks for the rest. A call is an effect like any
//! other: it happens once, when its answer goes into the statement's journal, and no ROLLBACK takes
//! it back. What the answers mean is the embedder's business.

use std::fmt::Debug;
use std::sync::Arc;

use super::exec::{Exec, Halt, Wait, WaitOn};
use super::heap::Row;
use super::{Engine, Pid, Timestamp};
use crate::types::{Datum, Type};

/// What an embedder offers by SQL.
pub trait Embedded: Debug + Send + Sync {
    /// The schema's name.
    fn schema(&self) -> &str;

    /// Its functions.
    fn functions(&self) -> &[EmbeddedFunction];

    /// Its relations.
    fn relations(&self) -> &[EmbeddedRelation];

    /// Calls the n-th function, with an argument for each that is declared. A call that must wait
    /// returns [`Halt::embedded`], and is made again when its session is woken or at the deadline.
    fn call(
        &self,
        function: usize,
        args: &[Datum],
        caller: Caller,
        engine: &mut Engine,
    ) -> Result<Datum, Halt>;

    /// The rows of the n-th relation.
    fn rows(&self, relation: usize, engine: &Engine) -> Vec<Row>;
}

/// Who calls, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The session.
    pub pid: Pid,
    /// When it called first, if it has been waiting since.
    pub since: Timestamp,
    /// The time.
    pub now: Timestamp,
}

/// A function's name and types. It sees NULLs.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddedFunction {
    /// Its name in the schema.
    pub name: &'static str,
    /// Its arguments; they may be given by position or by name.
    pub args: &'static [EmbeddedArg],
    /// What it returns.
    pub result: Type,
}

/// An argument.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddedArg {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub ty: Type,
    /// Whether it may be left out; it is NULL then.
    pub optional: bool,
}

/// A relation's name, and the names and types of its columns.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddedRelation {
    /// Its name in the schema.
    pub name: &'static str,
    /// Its columns.
    pub columns: &'static [(&'static str, Type)],
}

impl Halt {
    /// A call to the embedder waits.
    pub fn embedded(deadline: Option<Timestamp>) -> Halt {
        Halt::Wait(Wait {
            on: WaitOn::Embedder,
            deadline,
        })
    }
}

impl Engine {
    /// Offers a schema, from now on and after each crash.
    pub fn embed(&mut self, embedded: Arc<dyn Embedded>) {
        self.catalog = Arc::new(self.catalog.embedding(embedded.clone()));
        let mut base = (*self.base).clone();
        base.catalog = Arc::new(base.catalog.embedding(embedded));
        self.base = Arc::new(base);
    }

    /// Has a session look again whether what it waits for has come.
    pub fn wake(&mut self, pid: Pid) {
        self.wakeups.push(pid);
    }
}

impl Exec<'_> {
    /// A call of an embedder's function.
    pub fn call_embedded(
        &mut self,
        embedded: &dyn Embedded,
        function: usize,
        args: &[Datum],
    ) -> Result<Datum, Halt> {
        let since = Timestamp(self.value(|exec| Ok(exec.now.0))?);
        let caller = Caller {
            pid: self.tx.pid,
            since,
            now: self.now,
        };
        self.datum(|exec| embedded.call(function, args, caller, exec.engine))
    }

    /// The rows of an embedder's relation.
    pub fn embedded_rows(
        &mut self,
        embedded: &dyn Embedded,
        relation: usize,
    ) -> Result<Arc<Vec<Row>>, Halt> {
        self.rows(|exec| embedded.rows(relation, exec.engine))
    }
}
