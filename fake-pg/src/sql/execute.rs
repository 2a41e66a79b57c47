//! Running plans on the engine.
//!
//! A run never blocks: what must wait gives it up with [`Halt::Wait`], and the
//! statement is run again from its start with the same journal. So a run keeps
//! nothing but what it can compute again, and every effect goes through
//! [`Exec`](crate::engine::Exec).

mod aggregate;
mod copy;
mod constraint;
mod alter;
mod ddl;
mod maintain;
mod drop;
mod equijoin;
mod eval;
mod followed;
mod foreign_key;
mod index_key;
mod modify;
mod persistence;
mod query;
mod role;
mod scan;
mod schema;
mod select;
mod sequence;
mod types;
mod utility;
mod view;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

pub use copy::Incoming;
pub use foreign_key::fire_deferred;
pub(crate) use foreign_key::fire_immediate;
pub(crate) use utility::{show_columns, transaction_setting};

use super::ast::{Command, Statement};
use super::face::{CommandTag, Context, Outcome};
use super::plan::{Action, CtePlan, CteSource, Plan, Scalar};
use crate::engine::Halt;
use crate::error::{PgError, SqlState};
use crate::types::Datum;

/// A row of a result or of a join.
pub(crate) type Values = Vec<Datum>;

/// Rows that several may read.
type Shared = Arc<Vec<Values>>;

/// One run of a plan.
pub(crate) struct Run<'p, 'r, 'c> {
    pub(crate) context: &'r mut Context<'c>,
    params: &'r [Datum],
    /// The rows of each common table expression, once they are needed.
    ctes: Vec<(Option<&'p CtePlan>, Option<Shared>)>,
    /// The rows of each subquery that depends on no row.
    subqueries: Vec<Option<Shared>>,
    /// The keys of relations that several rows ask for, by slot.
    keys: BTreeMap<usize, equijoin::Keys>,
}

/// The row at hand, and those of the enclosing queries.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'f> {
    row: &'f [Datum],
    outer: Option<&'f Frame<'f>>,
}

impl Frame<'_> {
    /// No row at all.
    pub(crate) const NONE: Frame<'static> = Frame {
        row: &[],
        outer: None,
    };
}

/// Runs a statement. `slots` are the numbers of its subqueries and common table expressions.
pub(crate) fn run(
    statement: &Statement,
    plan: &Plan,
    slots: (usize, usize),
    params: &[Datum],
    context: &mut Context<'_>,
) -> Result<Outcome, Halt> {
    refuse_writing(statement, plan, context)?;
    if let Plan::Utility = plan {
        return utility::run(&statement.command, context);
    }
    let mut run = Run {
        context,
        params,
        ctes: vec![(None, None); slots.1],
        subqueries: vec![None; slots.0],
        keys: BTreeMap::new(),
    };
    match plan {
        Plan::Query(query) => {
            let most = run.context.fetch.most;
            let rows = run.query(query, None, most)?;
            run.finish_ctes(&query.ctes)?;
            Ok(Outcome {
                tag: CommandTag::Select(rows.len() as u64),
                rows,
            })
        }
        Plan::Modify(modify) => {
            let mut rows = Vec::new();
            let done = run.modify(modify, &mut |_, row| {
                rows.push(row);
                Ok(ControlFlow::Continue(()))
            });
            let count = done.inspect_err(|_| {
                // Its rows are collected first, and sent if all goes well.
                run.context.exec.journal.found.clear();
            })?;
            let tag = match modify.action {
                Action::Insert { .. } => CommandTag::Insert(count),
                Action::Update { .. } => CommandTag::Update(count),
                Action::Delete { .. } => CommandTag::Delete(count),
            };
            Ok(Outcome { tag, rows })
        }
        Plan::Utility => unreachable!("handled above"),
    }
}

/// Computes constant expressions.
pub(crate) fn fold(
    constants: &[Scalar],
    params: &[Datum],
    context: &mut Context<'_>,
) -> Result<(), Halt> {
    let mut run = Run {
        context,
        params,
        ctes: Vec::new(),
        subqueries: Vec::new(),
        keys: BTreeMap::new(),
    };
    for constant in constants {
        run.eval(constant, &Frame::NONE)?;
    }
    Ok(())
}

/// 25006 for what a read-only transaction must not do (`PreventCommandIfReadOnly`).
pub(crate) fn refuse_writing(
    statement: &Statement,
    plan: &Plan,
    context: &Context<'_>,
) -> Result<(), PgError> {
    // What a cursor runs was refused, if at all, when it was opened.
    let opened = context.fetch.wants_places && matches!(plan, Plan::Query(_));
    if opened || !context.exec.tx.options.read_only {
        return Ok(());
    }
    let writes = |cte: &CtePlan| matches!(cte.source, CteSource::Modify(_));
    let name = match (plan, &statement.command) {
        (_, Command::Copy(copy)) => copy.incoming.then_some("COPY FROM"),
        (Plan::Modify(modify), _) => Some(verb(&modify.action)),
        (Plan::Query(query), Command::Query(_)) => {
            let writes = query.ctes.iter().any(writes);
            let locks = query.row_lock.map(|strength| strength.tag());
            locks.or_else(|| writes.then_some("SELECT"))
        }
        (_, Command::CreateTable(_)) => Some("CREATE TABLE"),
        (_, Command::CreateIndex(_)) => Some("CREATE INDEX"),
        (_, Command::CreateSequence(_)) => Some("CREATE SEQUENCE"),
        (_, Command::CreateView(_)) => Some("CREATE VIEW"),
        (_, Command::CreateTableAs(_)) => Some("CREATE TABLE AS"),
        (_, Command::Comment(_)) => Some("COMMENT"),
        (_, Command::Reindex(_) | Command::ReindexConcurrently(_)) => Some("REINDEX"),
        (_, Command::DropIndexConcurrently { .. }) => Some("DROP INDEX"),
        (_, Command::Role(command)) => command.writes(),
        (_, Command::CreateExtension { .. }) => Some("CREATE EXTENSION"),
        (_, Command::Alter(alter)) => Some(alter.object.alter_tag()),
        (_, Command::AlterSequence(_)) => Some("ALTER SEQUENCE"),
        (_, Command::CreateEnum { .. }) => Some("CREATE TYPE"),
        (_, Command::AlterEnum { .. }) => Some("ALTER TYPE"),
        (_, Command::DropType { .. }) => Some("DROP TYPE"),
        (_, Command::CreateSchema { .. }) => Some("CREATE SCHEMA"),
        (_, Command::RenameSchema { .. }) => Some("ALTER SCHEMA"),
        (_, Command::CreateDatabase(_)) => Some("CREATE DATABASE"),
        (_, Command::DropDatabase { .. }) => Some("DROP DATABASE"),
        (_, Command::Drop { object, .. }) => Some(object.tag()),
        (_, Command::Truncate { .. }) => Some("TRUNCATE TABLE"),
        _ => None,
    };
    match name {
        Some(name) => Err(PgError::new(
            SqlState::READ_ONLY_SQL_TRANSACTION,
            format!("cannot execute {name} in a read-only transaction"),
        )),
        None => Ok(()),
    }
}

fn verb(action: &Action) -> &'static str {
    match action {
        Action::Insert { .. } => "INSERT",
        Action::Update { .. } => "UPDATE",
        Action::Delete { .. } => "DELETE",
    }
}

impl<'p, 'r, 'c> Run<'p, 'r, 'c> {
    /// To run a query outside of any statement, with so many slots.
    fn planned(context: &'r mut Context<'c>, slots: (usize, usize)) -> Self {
        Run {
            ctes: vec![(None, None); slots.1],
            subqueries: vec![None; slots.0],
            ..Run::alone(context)
        }
    }

    /// All rows of a query.
    fn query_rows(&mut self, plan: &'p super::plan::QueryPlan) -> Result<Vec<Values>, Halt> {
        let rows = self.query(plan, None, None)?;
        self.finish_ctes(&plan.ctes)?;
        Ok(rows)
    }

    /// To compute an expression outside of any statement.
    fn alone(context: &'r mut Context<'c>) -> Self {
        Run {
            context,
            params: &[],
            ctes: Vec::new(),
            subqueries: Vec::new(),
            keys: BTreeMap::new(),
        }
    }
}

impl<'p> Run<'p, '_, '_> {
    /// Puts common table expressions in reach; they are run when they are first read.
    fn begin_ctes(&mut self, ctes: &'p [CtePlan]) {
        for cte in ctes {
            self.ctes[cte.slot] = (Some(cte), None);
        }
    }

    /// Runs the modifying ones that nobody has read, the last one first (`es_auxmodifytables`).
    fn finish_ctes(&mut self, ctes: &'p [CtePlan]) -> Result<(), Halt> {
        for cte in ctes.iter().rev() {
            if let CteSource::Modify(_) = cte.source {
                self.cte(cte.slot)?;
            }
        }
        Ok(())
    }

    /// The rows of a common table expression.
    fn cte(&mut self, slot: usize) -> Result<Shared, Halt> {
        if let Some(rows) = &self.ctes[slot].1 {
            return Ok(rows.clone());
        }
        let mut rows = Vec::new();
        self.each_of_cte(slot, &mut |_, row| {
            rows.push(row);
            Ok(ControlFlow::Continue(()))
        })?;
        let rows = Arc::new(rows);
        self.ctes[slot].1 = Some(rows.clone());
        Ok(rows)
    }
}
