//! Firing what the statement's rows have queued: foreign keys, and deferrable unique keys.
//!
//! A foreign key is enforced by statements, as in PostgreSQL: each is planned and run like any other,
//! within the statement that has led to it. What they write queues events in turn.
//!
//! Source: `utils/adt/ri_triggers.c`; `AfterTriggerEndQuery` in `commands/trigger.c`.

use std::fmt::Write;

use super::{Context, Values};
use crate::engine::{Event, ForeignKey, Halt, Reaction, SearchPath, Table, Tid};
use crate::error::PgError;
use crate::sql::face;
use crate::types::{Datum, Type};

/// Fires what a statement has queued, and what that queues, but for what is deferred.
pub(crate) fn fire_immediate(context: &mut Context<'_>) -> Result<(), Halt> {
    loop {
        let events = context.exec.take_events();
        if events.is_empty() {
            return Ok(());
        }
        for event in events {
            if !context.exec.defer(&event) {
                fire(&event, context)?;
            }
        }
    }
}

/// Fires all that a transaction has deferred: it commits. The execution is to be finished then.
pub fn fire_deferred(context: &mut Context<'_>) -> Result<(), Halt> {
    context.exec.queue_pending(true);
    loop {
        let events = context.exec.take_events();
        if events.is_empty() {
            return Ok(());
        }
        for event in events {
            fire(&event, context)?;
        }
    }
}

fn fire(event: &Event, context: &mut Context<'_>) -> Result<(), Halt> {
    let catalog = context.exec.catalog().clone();
    let table = |id| catalog.table_by_id(id).cloned();
    match event {
        Event::Doubled(id, index, tid) => match table(*id) {
            Some(table) => context.exec.recheck_unique(&table, index, *tid),
            None => Ok(()),
        },
        Event::Refers(key, tid) => match (table(key.table), table(key.referenced)) {
            (Some(child), Some(parent)) => Enforcer::new(key, &child, &parent, context).check(*tid),
            _ => Ok(()),
        },
        Event::Deleted(key, old) => match (table(key.table), table(key.referenced)) {
            (Some(child), Some(parent)) => {
                Enforcer::new(key, &child, &parent, context).react(&key.on_delete, *old, None)
            }
            _ => Ok(()),
        },
        Event::Rekeyed(key, old, new) => match (table(key.table), table(key.referenced)) {
            (Some(child), Some(parent)) => {
                Enforcer::new(key, &child, &parent, context).react(&key.on_update, *old, Some(*new))
            }
            _ => Ok(()),
        },
    }
}

/// Checks the rows that are there against a foreign key that is being added
/// (`RI_Initial_Check`).
pub(super) fn check_all(
    key: &ForeignKey,
    child: &Table,
    parent: &Table,
    context: &mut Context<'_>,
) -> Result<(), Halt> {
    let rows: Vec<Tid> = {
        let rows = context.exec.scan_latest(child);
        rows.into_iter().map(|(tid, _)| tid).collect()
    };
    for tid in rows {
        let row = context.exec.row(child, tid);
        let nulls = key
            .columns
            .iter()
            .filter(|&&column| row[column].is_null())
            .count();
        if nulls > 0 && !(key.full && nulls < key.columns.len()) {
            continue;
        }
        Enforcer::new(key, child, parent, context).check(tid)?;
    }
    Ok(())
}

struct Enforcer<'e, 'c> {
    key: &'e ForeignKey,
    /// Whose rows refer,
    child: &'e Table,
    /// and to which.
    parent: &'e Table,
    context: &'e mut Context<'c>,
}

impl<'e, 'c> Enforcer<'e, 'c> {
    fn new(
        key: &'e ForeignKey,
        child: &'e Table,
        parent: &'e Table,
        context: &'e mut Context<'c>,
    ) -> Self {
        Enforcer {
            key,
            child,
            parent,
            context,
        }
    }

    /// A row that refers must find what it refers to, and keeps it from going (`RI_FKey_check`).
    fn check(&mut self, tid: Tid) -> Result<(), Halt> {
        if !self.context.exec.is_live(self.child, tid) {
            return Ok(());
        }
        let values = self.values(self.child, &self.key.columns, tid);
        if values.iter().any(Datum::is_null) {
            let detail = "MATCH FULL does not allow mixing of null and nonnull key values.";
            return Err(self.missing(detail.into()).into());
        }
        if !self.parent_exists(&values, false)? {
            let key = describe(self.child, &self.key.columns, &values);
            let parent = &self.parent.name;
            let detail = format!("Key {key} is not present in table \"{parent}\".");
            return Err(self.missing(detail).into());
        }
        Ok(())
    }

    /// What the referring rows do when a row is deleted or changes its key.
    fn react(&mut self, reaction: &Reaction, old: Tid, new: Option<Tid>) -> Result<(), Halt> {
        let values = self.values(self.parent, &self.key.keys, old);
        let child = relation(self.child);
        match (reaction, new) {
            (Reaction::NoAction, _) => self.restrict(&values, true),
            (Reaction::Restrict, _) => self.restrict(&values, false),
            (Reaction::Cascade, None) => {
                let sql = format!("DELETE FROM ONLY {child} WHERE {}", self.referring(1));
                self.run(&sql, values, true).map(drop)
            }
            (Reaction::Cascade, Some(new)) => {
                let columns = self.key.columns.iter().zip(1..);
                let set = columns.map(|(&column, n)| format!("{} = ${n}", self.column(column)));
                let set: Vec<String> = set.collect();
                let referring = self.referring(set.len() + 1);
                let sql = format!(
                    "UPDATE ONLY {child} SET {} WHERE {referring}",
                    set.join(", ")
                );
                let mut params = self.values(self.parent, &self.key.keys, new);
                params.extend(values);
                self.run(&sql, params, true).map(drop)
            }
            (Reaction::SetNull(columns), _) => self.set(columns, "NULL", values),
            (Reaction::SetDefault(columns), _) => {
                self.set(columns, "DEFAULT", values.clone())?;
                // The default may be the very key that goes.
                self.restrict(&values, true)
            }
        }
    }

    fn set(&mut self, columns: &[usize], to: &str, values: Values) -> Result<(), Halt> {
        let set = columns.iter();
        let set = set.map(|&column| format!("{} = {to}", self.column(column)));
        let set: Vec<String> = set.collect();
        let sql = format!(
            "UPDATE ONLY {} SET {} WHERE {}",
            relation(self.child),
            set.join(", "),
            self.referring(1)
        );
        self.run(&sql, values, true).map(drop)
    }

    /// 23503 if a row still refers (`ri_restrict`). It may have been mended: another row has the key.
    fn restrict(&mut self, values: &[Datum], may_be_mended: bool) -> Result<(), Halt> {
        if may_be_mended && self.parent_exists(values, true)? {
            return Ok(());
        }
        let sql = format!(
            "SELECT 1 FROM ONLY {} x WHERE {} FOR KEY SHARE OF x",
            relation(self.child),
            self.referring(1)
        );
        if self.run(&sql, values.to_vec(), true)? == 0 {
            return Ok(());
        }
        let key = describe(self.parent, &self.key.keys, values);
        let (parent, child) = (&self.parent.name, &self.child.name);
        let error = PgError::still_referenced(parent, child, &self.key.name, &key);
        Err(error.in_schema(&self.child.schema).into())
    }

    fn parent_exists(&mut self, values: &[Datum], by_parent: bool) -> Result<bool, Halt> {
        let keys = self.key.keys.iter().zip(1..);
        let keys = keys.map(|(&column, n)| {
            let name = quoted(&self.parent.columns[column].name);
            format!("{name} OPERATOR(pg_catalog.=) ${n}")
        });
        let keys: Vec<String> = keys.collect();
        let sql = format!(
            "SELECT 1 FROM ONLY {} x WHERE {} FOR KEY SHARE OF x",
            relation(self.parent),
            keys.join(" AND ")
        );
        let types = match by_parent {
            true => self.types(self.parent, &self.key.keys),
            false => self.types(self.child, &self.key.columns),
        };
        Ok(self.run_typed(&sql, values.to_vec(), types, by_parent)? > 0)
    }

    /// The rows that refer to a key, whose values begin at the n-th parameter.
    fn referring(&self, first: usize) -> String {
        let columns = self.key.columns.iter().zip(first..);
        let columns = columns
            .map(|(&column, n)| format!("${n} OPERATOR(pg_catalog.=) {}", self.column(column)));
        columns.collect::<Vec<_>>().join(" AND ")
    }

    fn column(&self, column: usize) -> String {
        quoted(&self.child.columns[column].name)
    }

    fn types(&self, table: &Table, columns: &[usize]) -> Vec<Option<Type>> {
        let types = columns.iter();
        types
            .map(|&column| Some(table.columns[column].ty))
            .collect()
    }

    fn values(&self, table: &Table, columns: &[usize], tid: Tid) -> Values {
        let row = self.context.exec.row(table, tid);
        columns.iter().map(|&column| row[column].clone()).collect()
    }

    fn run(&mut self, sql: &str, params: Values, latest: bool) -> Result<u64, Halt> {
        let mut types = self.types(self.parent, &self.key.keys);
        types.extend(types.clone());
        types.truncate(params.len());
        self.run_typed(sql, params, types, latest)
    }

    /// Runs a statement within the one that has led to it; gives the number of its rows.
    fn run_typed(
        &mut self,
        sql: &str,
        params: Values,
        types: Vec<Option<Type>>,
        latest: bool,
    ) -> Result<u64, Halt> {
        let exec = &mut self.context.exec;
        exec.begin_query(latest)?;
        exec.journal.within = Some(format!("SQL statement \"{sql}\""));
        let path = SearchPath {
            database: self.child.database,
            schemas: Vec::new(),
            temporary: None,
        };
        // Of a question the first row is enough (`ri_PerformCheck`).
        let asks = sql.starts_with("SELECT").then_some(1);
        let most = std::mem::replace(&mut self.context.fetch.most, asks);
        let outcome = face::execute_within(&plain(sql), &path, &types, &params, self.context);
        self.context.fetch.most = most;
        self.context.exec.end_query();
        match outcome {
            Ok(count) => {
                self.context.exec.journal.within = None;
                Ok(count)
            }
            Err(Halt::Wait(wait)) => Err(Halt::Wait(wait)),
            Err(Halt::Error(mut error)) => {
                let mut context = error.context.take().unwrap_or_default();
                if !context.is_empty() {
                    context.push('\n');
                }
                let _ = write!(context, "SQL statement \"{sql}\"");
                error.position = None;
                Err(error.with_context(context).into())
            }
        }
    }

    fn missing(&self, detail: String) -> PgError {
        let error = PgError::foreign_key_violation(&self.child.name, &self.key.name, detail);
        error.in_schema(&self.child.schema)
    }
}

/// The statement as this server's parser reads it: there is no inheritance, and one equality.
fn plain(sql: &str) -> String {
    sql.replace(" OPERATOR(pg_catalog.=) ", " = ")
        .replace(" ONLY ", " ")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn relation(table: &Table) -> String {
    format!("{}.{}", quoted(&table.schema), quoted(&table.name))
}

/// `(a, b)=(1, x)`.
fn describe(table: &Table, columns: &[usize], values: &[Datum]) -> String {
    let names: Vec<&str> = columns
        .iter()
        .map(|&column| &*table.columns[column].name)
        .collect();
    let values: Vec<String> = values.iter().map(Datum::to_string).collect();
    format!("({})=({})", names.join(", "), values.join(", "))
}
