//! The narrow face of `sql` for sessions: parse, prepare, execute, describe.
//!
//! Parsing is cached by text; planning by text, parameter types and schema
//! version, so that a repeated statement costs neither, across clones of an
//! engine too. Transaction control is not run here: the session does that.
//!
//! What is cached is in `cache`, one for each thread.

use std::sync::Arc;

pub(crate) use super::context::BUDGET;
pub use super::context::{Context, Fetch};
pub use super::execute::fire_deferred;

use super::ast::{Command, Expr, LockStrength, Statement, TypeName};
use super::copy::Copying;
use super::plan::{Binder, Locked, Plan, Scalar};
use super::{Incoming, cache, execute as executor, parse};
use crate::engine::{
    Catalog, Engine, Exec, Halt, Pid, Relation, SearchPath, Table, TableId, Transaction,
};
use crate::error::{PgError, SqlState};
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
    /// `FETCH n`.
    Fetch(u64),
    /// `MOVE n`.
    Move(u64),
    /// `COPY n`.
    Copy(u64),
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

/// Parses a script; cached.
pub fn parse_script(text: &str) -> Result<Arc<[Arc<Statement>]>, PgError> {
    if let Some(statements) = cache::script(text) {
        return Ok(statements);
    }
    let statements = parse::parse_script(text)?;
    let statements: Arc<[Arc<Statement>]> = statements.iter().cloned().map(Arc::new).collect();
    cache::keep_script(text, &statements);
    Ok(statements)
}

/// Binds a statement to the schema as the transaction sees it; cached. `hints` are the types of
/// Parse, `None` or missing where the client leaves them open.
pub fn prepare(
    engine: &Engine,
    tx: &Transaction,
    statement: &Arc<Statement>,
    hints: &[Option<Type>],
) -> Result<Arc<Prepared>, PgError> {
    prepare_for(&tx.fresh_catalog(engine), tx.path(), statement, hints)
}

/// Binds a statement again: its parameters keep the types that were promised
/// (`RevalidateCachedQuery`).
pub fn prepare_again(
    engine: &Engine,
    tx: &Transaction,
    promised: &Prepared,
) -> Result<Arc<Prepared>, PgError> {
    let catalog = tx.fresh_catalog(engine);
    if promised.version == catalog.version() {
        return prepare_for(&catalog, tx.path(), &promised.statement, &promised.hints);
    }
    let hints = promised.promised_params();
    prepare_for(&catalog, tx.path(), &promised.statement, &hints)
}

/// The arguments of EXECUTE as a statement whose one row they are.
pub fn prepare_arguments(
    engine: &Engine,
    tx: &Transaction,
    execute: &Arc<Statement>,
    args: &[Expr],
    types: &[Type],
) -> Result<Prepared, PgError> {
    let catalog = tx.fresh_catalog(engine);
    let mut binder = Binder::new(&catalog, tx.path(), vec![None; execute.params]);
    let plan = binder.arguments(args, types)?;
    Ok(Prepared {
        statement: execute.clone(),
        hints: Vec::new(),
        version: catalog.version(),
        path: tx.path().clone(),
        params: binder.params()?,
        slots: binder.slots(),
        locks: binder.locks(),
        columns: None,
        copying: None,
        constants: Vec::new(),
        plan: Plan::Query(plan),
    })
}

/// The types that PREPARE names.
pub fn resolve_types(
    engine: &Engine,
    tx: &Transaction,
    names: &[TypeName],
) -> Result<Vec<Option<Type>>, PgError> {
    let catalog = tx.fresh_catalog(engine);
    let binder = Binder::new(&catalog, tx.path(), Vec::new());
    names
        .iter()
        .map(|name| binder.type_name(name).map(|typed| Some(typed.ty)))
        .collect()
}

fn prepare_for(
    catalog: &Catalog,
    path: &SearchPath,
    statement: &Arc<Statement>,
    hints: &[Option<Type>],
) -> Result<Arc<Prepared>, PgError> {
    let version = catalog.version();
    if let Some(prepared) = cache::plan(version, path, statement, hints) {
        return Ok(prepared);
    }
    let mut params = hints.to_vec();
    params.resize(hints.len().max(statement.params), None);
    let mut binder = Binder::new(catalog, path, params);
    let (plan, copying) = bind(&mut binder, &statement.command)?;
    let columns = match &statement.command {
        Command::Show(name) => Some(executor::show_columns(name)),
        Command::Copy(_) => None,
        _ => plan.columns().map(<[Column]>::to_vec),
    };
    let prepared = Arc::new(Prepared {
        statement: statement.clone(),
        hints: hints.to_vec(),
        version,
        path: path.clone(),
        params: binder.params()?,
        slots: binder.slots(),
        locks: binder.locks(),
        columns,
        copying,
        constants: std::mem::take(&mut binder.constants),
        plan,
    });
    cache::keep_plan(&prepared);
    Ok(prepared)
}

/// 42P02 for a statement of the simple protocol, which brings no parameters but names some; or what
/// is wrong with it before that (`parse_analyze_fixedparams`).
pub fn refuse_params(
    engine: &Engine,
    tx: &Transaction,
    statement: &Statement,
) -> Result<(), PgError> {
    let catalog = tx.fresh_catalog(engine);
    let mut binder = Binder::new(&catalog, tx.path(), Vec::new());
    binder.no_params = true;
    match &statement.command {
        Command::Prepare(_) => Ok(()),
        Command::Declare(declare) => bind(&mut binder, &declare.query.command).map(drop),
        Command::Execute(execute) => {
            let types = vec![Type::Text; execute.args.len()];
            binder.arguments(&execute.args, &types).map(drop)
        }
        Command::CreateTableAs(create) => binder.query(&create.query).map(drop),
        Command::CreateView(create) => binder.query(&create.query).map(drop),
        command => bind(&mut binder, command).map(drop),
    }
}

/// Binds a command.
fn bind(
    binder: &mut Binder<'_>,
    command: &Command,
) -> Result<(Plan, Option<Arc<Copying>>), PgError> {
    let mut copying = None;
    let mut plan = match command {
        Command::Query(query) => Plan::Query(binder.query(query)?),
        Command::Insert(insert) => Plan::Modify(Box::new(binder.insert(insert)?)),
        Command::Update(update) => Plan::Modify(Box::new(binder.update(update)?)),
        Command::Delete(delete) => Plan::Modify(Box::new(binder.delete(delete)?)),
        Command::Copy(copy) if copy.incoming => {
            let (plan, incoming) = binder.copy_from(copy)?;
            copying = Some(incoming);
            Plan::Modify(Box::new(plan))
        }
        Command::Copy(copy) => {
            let plan = binder.copy_to(copy)?;
            copying = Some(Arc::new(Copying {
                incoming: false,
                columns: plan.columns.clone(),
                options: copy.options.clone(),
                table: "".into(),
            }));
            Plan::Query(plan)
        }
        Command::Unsupported(what) => return Err(PgError::feature_not_supported(what)),
        _ => Plan::Utility,
    };
    super::plan::stream(&mut plan, binder);
    Ok((plan, copying))
}

/// A statement bound to a schema.
#[derive(Debug)]
pub struct Prepared {
    pub(super) statement: Arc<Statement>,
    pub(super) hints: Vec<Option<Type>>,
    /// Of the schema.
    pub(super) version: u64,
    /// Where names were looked up.
    pub(super) path: SearchPath,
    params: Vec<Type>,
    /// The relations it uses, how it locks them, and where they are named.
    locks: Vec<Locked>,
    /// How many subqueries and common table expressions there are.
    slots: (usize, usize),
    columns: Option<Vec<Column>>,
    /// What the session must know, if it is COPY.
    copying: Option<Arc<Copying>>,
    /// What is computed before it runs.
    constants: Vec<Scalar>,
    plan: Plan,
}

impl Prepared {
    /// Locks what it uses.
    pub fn lock(&self, exec: &mut Exec<'_>) -> Result<(), Halt> {
        for (relation, mode, at) in &self.locks {
            let locked = exec.lock_relation(relation.id(), *mode);
            if let Err(Halt::Wait(_)) = locked {
                exec.journal.waits_at(*at);
            }
            locked.map_err(|halt| halt.at(*at as usize))?;
        }
        Ok(())
    }

    /// Whether it is neither a query nor one of those that change rows.
    pub fn is_utility(&self) -> bool {
        matches!(self.plan, Plan::Utility)
    }

    /// The tables that it reads or changes.
    pub fn tables(&self) -> impl Iterator<Item = TableId> + use<'_> {
        let tables = self.locks.iter();
        tables.filter_map(|(relation, ..)| match relation {
            Relation::Table(table) => Some(table.id),
            _ => None,
        })
    }

    /// Locks what it names, if all of that is free. Indexes come when it is planned.
    pub fn try_lock(&self, engine: &mut Engine, tx: &mut Transaction) -> bool {
        let mut locks = self.locks.iter();
        locks.all(|(relation, mode, _)| match relation {
            Relation::Index(..) => true,
            named => engine.try_lock_relation(tx, named.id(), *mode),
        })
    }

    fn run(&self, params: &[Datum], context: &mut Context<'_>) -> Result<Outcome, Halt> {
        // Whoever asks for what is committed is no session, and waits for nobody.
        if context.exec.tx.pid != Pid(0) {
            self.lock(&mut context.exec)?;
        }
        context.exec.journal.began = true;
        let outcome = executor::run(&self.statement, &self.plan, self.slots, params, context)?;
        Ok(match (&self.copying, outcome.tag) {
            (Some(_), CommandTag::Select(rows) | CommandTag::Insert(rows)) => Outcome {
                tag: CommandTag::Copy(rows),
                ..outcome
            },
            _ => outcome,
        })
    }

    /// The types that its parameters keep.
    fn promised_params(&self) -> Vec<Option<Type>> {
        self.params.iter().copied().map(Some).collect()
    }

    /// 0A000 if its result is not what a client was promised (`RevalidateCachedQuery`).
    pub fn refuse_other_result(&self, promised: &Prepared) -> Result<(), PgError> {
        let same = match (&promised.columns, &self.columns) {
            (Some(promised), Some(columns)) => {
                // Source: `equalTupleDescs`.
                let known = |column: &Column| (column.ty, column.typmod);
                promised.len() == columns.len()
                    && promised
                        .iter()
                        .zip(columns.iter())
                        .all(|(a, b)| known(a) == known(b) && a.name == b.name)
            }
            (None, None) => true,
            _ => false,
        };
        if same {
            return Ok(());
        }
        Err(PgError::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "cached plan must not change result type",
        ))
    }

    /// Whether the schema has changed since it was bound.
    pub fn is_stale(&self, engine: &Engine, tx: &Transaction) -> bool {
        self.version != tx.fresh_catalog(engine).version()
    }

    /// What COPY copies, and how.
    pub fn copying(&self) -> Option<&Arc<Copying>> {
        self.copying.as_ref()
    }

    /// A part of COPY FROM, which goes on in parts: whether there was something to do.
    pub fn copy(
        &self,
        part: CopyPart,
        incoming: &mut Incoming,
        context: &mut Context<'_>,
    ) -> Result<bool, Halt> {
        let Plan::Modify(plan) = &self.plan else {
            return Ok(false);
        };
        match part {
            CopyPart::Begin => {
                self.lock(&mut context.exec)?;
                executor::refuse_writing(&self.statement, &self.plan, context)?;
            }
            CopyPart::Look => return incoming.look(plan, context),
            CopyPart::Write => incoming.write(plan, context)?,
            CopyPart::Fire => incoming.fire(context)?,
        }
        Ok(true)
    }

    /// Whether COPY has looked at so many rows that it writes them.
    pub fn copy_is_full(&self, incoming: &mut Incoming) -> bool {
        matches!(&self.plan, Plan::Modify(plan) if incoming.is_full(plan))
    }

    /// Whether `fold` has something to compute.
    pub fn has_constants(&self) -> bool {
        !self.constants.is_empty()
    }

    /// Computes what is constant, for the errors in it: they come before the statement runs.
    pub fn fold(&self, params: &[Datum], context: &mut Context<'_>) -> Result<(), PgError> {
        match executor::fold(&self.constants, params, context) {
            Err(Halt::Error(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// The statement.
    pub fn statement(&self) -> &Arc<Statement> {
        &self.statement
    }
    /// The types of its parameters.
    pub fn params(&self) -> &[Type] {
        &self.params
    }
    /// A command of the session's own, which has parameters and a result without being planned.
    pub fn of_session(
        statement: &Arc<Statement>,
        params: Vec<Type>,
        columns: Option<Vec<Column>>,
    ) -> Prepared {
        Prepared {
            statement: statement.clone(),
            hints: Vec::new(),
            version: 0,
            path: SearchPath::standard().clone(),
            params,
            locks: Vec::new(),
            slots: (0, 0),
            columns,
            copying: None,
            constants: Vec::new(),
            plan: Plan::Utility,
        }
    }

    /// Whether it is a query that changes nothing by itself: its rows are made when they are fetched.
    pub fn is_lazy(&self) -> bool {
        matches!(&self.plan, Plan::Query(query) if !query.modifies())
    }

    /// Whether a cursor over it can go backward without having been asked to (`ExecSupportsBackwardScan`).
    /// `seqscan` is `enable_seqscan`.
    pub fn scrolls(&self, seqscan: bool) -> bool {
        matches!(&self.plan, Plan::Query(query) if query.scrolls(seqscan))
    }

    /// Whether nobody can tell when its rows are computed.
    pub fn may_run_ahead(&self) -> bool {
        matches!(&self.plan, Plan::Query(query) if query.may_run_ahead())
    }

    /// Whether it locks rows.
    pub fn locks_rows(&self) -> bool {
        matches!(&self.plan, Plan::Query(query) if query.locks_rows())
    }

    /// How it locks rows, or a query within it does: what a read-only transaction refuses.
    pub fn row_lock(&self) -> Option<LockStrength> {
        match &self.plan {
            Plan::Query(query) => query.row_lock,
            _ => None,
        }
    }

    /// Which of a row's places is the one in this table, if the query is simple enough for UPDATE
    /// WHERE CURRENT OF. What is declared is planned for its first rows.
    pub fn place_of(&self, table: TableId, seqscan: bool, declared: bool) -> Option<usize> {
        match &self.plan {
            Plan::Query(query) => query.place_of(table, seqscan, declared),
            _ => None,
        }
    }

    /// The table that UPDATE or DELETE changes.
    pub fn target(&self) -> Option<&Arc<Table>> {
        match &self.plan {
            Plan::Modify(modify) => Some(&modify.table),
            _ => None,
        }
    }

    /// Whether the tables it was planned for are still what they were.
    pub fn still_holds(&self, catalog: &Catalog) -> bool {
        self.version == catalog.version()
            || self.locks.iter().all(|(relation, ..)| {
                let Relation::Table(table) = relation else {
                    return true;
                };
                let now = catalog.table_by_id(table.id);
                now.is_some_and(|now| {
                    now.node == table.node && now.columns.len() == table.columns.len()
                })
            })
    }

    /// The columns of its result, or `None` if it has none (NoData).
    pub fn columns(&self) -> Option<&[Column]> {
        self.columns.as_deref()
    }
}

/// The parts of COPY FROM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyPart {
    /// Its table is locked, before data are asked for.
    Begin,
    /// A row is looked at, if it has arrived.
    Look,
    /// Those that were are written.
    Write,
    /// What they have queued is fired: then it is over.
    Fire,
}

/// Runs it. After `Halt::Wait` it is called again with the same journal.
pub fn execute(
    prepared: &Prepared,
    params: &[Datum],
    context: &mut Context<'_>,
) -> Result<Outcome, Halt> {
    execute_unfired(prepared, params, context)?.fire(context)
}

/// Runs a statement of the server's own within another one; gives the number of its rows.
pub(super) fn execute_within(
    sql: &str,
    path: &SearchPath,
    types: &[Option<Type>],
    params: &[Datum],
    context: &mut Context<'_>,
) -> Result<u64, Halt> {
    let script = parse_script(sql)?;
    let catalog = context.exec.catalog().clone();
    let prepared = prepare_for(&catalog, path, &script[0], types)?;
    let outcome = prepared.run(params, context)?;
    Ok(match outcome.tag {
        CommandTag::Select(rows)
        | CommandTag::Insert(rows)
        | CommandTag::Update(rows)
        | CommandTag::Delete(rows)
        | CommandTag::Copy(rows) => rows,
        CommandTag::Fetch(_) | CommandTag::Move(_) | CommandTag::Plain(_) => 0,
    })
}

/// Whether `=` compares values of these types.
pub(super) fn is_comparable(left: Type, right: Type, exec: &Exec<'_>) -> Result<(), PgError> {
    let script = parse_script("select $1 = $2")?;
    let types = [Some(left), Some(right)];
    prepare_for(exec.catalog(), exec.path(), &script[0], &types).map(drop)
}

impl Outcome {
    /// The statement's rows are written: what they have queued is fired.
    fn fire(self, context: &mut Context<'_>) -> Result<Outcome, Halt> {
        executor::fire_immediate(context)?;
        Ok(self)
    }
}

fn execute_unfired(
    prepared: &Prepared,
    params: &[Datum],
    context: &mut Context<'_>,
) -> Result<Outcome, Halt> {
    let statement = &prepared.statement;
    // A cursor goes on with the plan it began with.
    if context.fetch.wants_places {
        if !prepared.still_holds(context.exec.catalog()) {
            let what = "cursors over tables that have been changed since";
            return Err(PgError::feature_not_supported(what).into());
        }
        return prepared.run(params, context);
    }
    // DDL that waited has changed the schema itself: its tree needs no plan.
    if context.exec.catalog().version() == prepared.version
        || matches!(prepared.plan, Plan::Utility)
    {
        return prepared.run(params, context);
    }
    // The schema has changed since: what was promised to the client must still hold.
    let catalog = context.exec.catalog().clone();
    let hints = prepared.promised_params();
    let again = prepare_for(&catalog, context.exec.path(), statement, &hints)?;
    again.refuse_other_result(prepared)?;
    again.run(params, context)
}

impl std::fmt::Display for CommandTag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CommandTag::Select(rows) => write!(f, "SELECT {rows}"),
            CommandTag::Insert(rows) => write!(f, "INSERT 0 {rows}"),
            CommandTag::Update(rows) => write!(f, "UPDATE {rows}"),
            CommandTag::Delete(rows) => write!(f, "DELETE {rows}"),
            CommandTag::Fetch(rows) => write!(f, "FETCH {rows}"),
            CommandTag::Move(rows) => write!(f, "MOVE {rows}"),
            CommandTag::Copy(rows) => write!(f, "COPY {rows}"),
            CommandTag::Plain(tag) => f.write_str(tag),
        }
    }
}
