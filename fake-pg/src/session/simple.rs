//! The simple protocol: a script of statements in one message.
//!
//! All of it is parsed before any of it runs. Statements share an implicit transaction until one
//! of them says otherwise; the last one's CommandComplete comes after its commit.
//! Source: `exec_simple_query` in `tcop/postgres.c`.

use std::sync::Arc;

use super::block::{Block, Company, Control, End, is_exit};
use super::commit::Then;
use super::copy::{Copied, CopyIn};
use super::cursor::Own;
use super::reply::{write_row, write_row_description, write_tag};
use super::run::Running;
use super::{Next, Session, Work};
use crate::engine::{Engine, Halt, Timestamp};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{Command, Cte, Statement};
use crate::sql::{self, CommandTag, Prepared};
use crate::types::Datum;
use crate::wire::backend;

/// A script and how far it has got.
#[derive(Debug)]
pub(super) struct Script {
    statements: Arc<[Arc<Statement>]>,
    /// The statement to run next, or running.
    at: usize,
    /// That statement, while it waits.
    running: Option<Running>,
    /// The same of COPY FROM.
    copy: Option<Box<CopyIn>>,
}

impl Script {
    fn is_last(&self) -> bool {
        self.at + 1 == self.statements.len()
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.running.is_some() || self.copy.as_ref().is_some_and(|copy| copy.waits)
    }
}

/// What a statement of a script leads to.
enum Step {
    /// It is done and has this tag.
    Done(CommandTag),
    /// There was nothing to do.
    Empty,
    /// It needs data to go on.
    Read,
    /// Its client can not be followed any more.
    Lost(PgError),
    /// A transaction ends with it.
    End(Box<End>),
}

impl Session {
    /// Query.
    pub(super) fn query(&mut self, text: &str, engine: &mut Engine) {
        self.unnamed_statement = None;
        self.begin_command();
        match sql::parse_script(text) {
            Ok(statements) => {
                self.now_active(&statements[0].source, engine);
                self.hear_scanner(&statements);
                let script = Script {
                    statements,
                    at: 0,
                    running: None,
                    copy: None,
                };
                self.work = Work::Script(Box::new(script));
            }
            Err(error) => {
                self.now_active(&text.into(), engine);
                self.fail_message(error, false, engine);
            }
        }
    }

    /// Goes on with a script. `None` goes on elsewhere.
    pub(super) fn run_script(
        &mut self,
        mut script: Box<Script>,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Option<Next> {
        while script.at < script.statements.len() {
            let step = match self.step_script(&mut script, engine, now) {
                Ok(step) => step,
                Err(Halt::Wait(wait)) => {
                    self.work = Work::Script(script);
                    return Some(self.wait(wait));
                }
                Err(Halt::Error(error)) => {
                    self.fail_message(error, false, engine);
                    return None;
                }
            };
            let step = match step {
                Step::Read => {
                    self.work = Work::Script(script);
                    return self.read();
                }
                Step::Lost(error) => {
                    self.lose_synchronization(error, engine);
                    return None;
                }
                step => step,
            };
            let last = script.is_last();
            script.at += 1;
            self.end_command();
            match step {
                Step::End(end) => {
                    self.commit(*end, Then::Script(script), engine, now);
                    return None;
                }
                Step::Done(_) if last && self.hold_failed(engine, now) => return None,
                Step::Done(tag) => match std::mem::take(&mut self.block) {
                    Block::Implicit(transaction) if last => {
                        let end = End::implicit(transaction, Some(tag));
                        self.commit(end, Then::Script(script), engine, now);
                        return None;
                    }
                    block => {
                        self.block = block;
                        write_tag(&mut self.output, tag);
                    }
                },
                Step::Empty | Step::Read | Step::Lost(_) => {
                    backend::empty_query_response(&mut self.output)
                }
            }
        }
        self.ready(engine);
        None
    }

    fn step_script(
        &mut self,
        script: &mut Script,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<Step, Halt> {
        if let Some(copy) = script.copy.take() {
            return self.step_copy(script, copy, engine, now);
        }
        let statement = &script.statements[script.at];
        let mut running = match script.running.take() {
            Some(running) => self.bound_anew(running, statement, engine),
            None => {
                self.hear_self(engine);
                self.interrupt_own(&statement.command)?;
                self.begin_command();
                let company = match script.statements.len() {
                    1 => Company::Alone,
                    _ => Company::Script,
                };
                match &statement.command {
                    Command::Empty => return Ok(Step::Empty),
                    Command::Transaction(command) => {
                        if !is_exit(command) {
                            self.refuse_if_failed()?;
                        }
                        self.begin_for_control(engine, now)?;
                        return Ok(match self.control(command, company, engine, now)? {
                            Control::Done(tag) => Step::Done(CommandTag::Plain(tag)),
                            Control::End(end) => Step::End(end),
                        });
                    }
                    _ => self.refuse_if_failed()?,
                }
                let transaction = self.begin_implicit(engine, now)?;
                if statement.params > 0 {
                    sql::refuse_params(engine, transaction, statement)?;
                }
                if Session::is_own(&statement.command) {
                    if let Command::Execute(execute) = &statement.command {
                        self.expand(execute, statement, engine, now)?
                    } else {
                        let own = self.own(statement, Vec::new(), &[], company, engine, now)?;
                        self.send_own(&own)?;
                        return Ok(Step::Done(own.outcome.tag));
                    }
                } else {
                    let prepared = sql::prepare(engine, transaction, statement, &[])?;
                    self.refuse_in_block(&statement.command, company)?;
                    self.demand_block(&statement.command, company)?;
                    self.warn_local(
                        matches!(&statement.command, Command::Set { local: true, .. }),
                        company,
                    );
                    self.fold(&prepared, &[], engine, now)?;
                    if prepared.copying().is_some_and(|copying| copying.incoming) {
                        let copy = Box::new(CopyIn::new(Running::new(prepared, Vec::new())));
                        return self.step_copy(script, copy, engine, now);
                    }
                    Running::new(prepared, Vec::new())
                }
            }
        };
        // What EXECUTE runs is another statement: its rows are collected first.
        let direct = !matches!(statement.command, Command::Execute(_));
        let statement = running.prepared.statement().clone();
        match self.attempt(&mut running, engine, now) {
            Ok(outcome) => {
                let streams = direct && streams(&statement.command);
                if !streams {
                    self.interrupt_self(engine)?;
                }
                self.send_result(&mut running, &outcome.rows, streams)?;
                self.interrupt_self(engine)?;
                Ok(Step::Done(outcome.tag))
            }
            Err(Halt::Wait(wait)) => {
                script.running = Some(running);
                Err(Halt::Wait(wait))
            }
            Err(Halt::Error(error)) => {
                if running.began()
                    && let Some(copying) = running.prepared.copying().cloned()
                {
                    let found = running.take_found();
                    self.send_notices(&mut running);
                    self.send_copy(&copying, &found, false)?;
                } else if running.began()
                    && direct
                    && announces_rows(&statement, &running.prepared, &error)
                {
                    let found = running.take_found();
                    self.send_result(&mut running, &found, true)?;
                } else {
                    self.send_notices(&mut running);
                }
                Err(Halt::Error(error))
            }
        }
    }

    fn step_copy(
        &mut self,
        script: &mut Script,
        mut copy: Box<CopyIn>,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<Step, Halt> {
        let copied = self.run_copy(&mut copy, engine, now);
        self.send_notices(&mut copy.running);
        match copied {
            Ok(Copied::All(tag)) => Ok(Step::Done(tag)),
            Ok(Copied::Lost(error)) => Ok(Step::Lost(error)),
            Ok(Copied::More) => {
                script.copy = Some(copy);
                Ok(Step::Read)
            }
            Err(halt) => {
                script.copy = matches!(halt, Halt::Wait(_)).then_some(copy);
                Err(halt)
            }
        }
    }

    /// Whether a cursor WITH HOLD could not be held, so that the transaction that ends now is lost.
    fn hold_failed(&mut self, engine: &mut Engine, now: Timestamp) -> bool {
        let Block::Implicit(_) = self.block else {
            return false;
        };
        match self.hold_cursors(engine, now) {
            Ok(()) => false,
            Err(error) => {
                self.fail_message(error, false, engine);
                true
            }
        }
    }

    /// Writes the rows of a command of the session's own.
    fn send_own(&mut self, own: &Own) -> Result<(), PgError> {
        let Some((prepared, formats)) = &own.shape else {
            return Ok(());
        };
        let columns = prepared.columns().unwrap_or_default();
        write_row_description(&mut self.output, columns, formats);
        for row in &own.outcome.rows {
            write_row(&mut self.output, &mut self.scratch, columns, row, formats)?;
        }
        Ok(())
    }

    /// Who has waited for a table binds the statement to what has become of it, as nothing has been
    /// told to the client yet.
    fn bound_anew(
        &mut self,
        mut running: Running,
        statement: &Arc<Statement>,
        engine: &Engine,
    ) -> Running {
        if let Some(tx) = self.block.live()
            && Arc::ptr_eq(running.prepared.statement(), statement)
            && running.prepared.copying().is_none()
            && running.prepared.is_stale(engine, tx)
            && let Ok(again) = sql::prepare(engine, tx, statement, &[])
        {
            running.prepared = again;
        }
        running
    }

    /// Writes the rows of a result, if it has any, and notices. A query announces its rows before
    /// anything happens; others collect them first.
    fn send_result(
        &mut self,
        running: &mut Running,
        rows: &[Vec<Datum>],
        streams: bool,
    ) -> Result<(), PgError> {
        let prepared = Arc::clone(&running.prepared);
        if let Some(copying) = prepared.copying().filter(|copying| !copying.incoming) {
            self.send_notices(running);
            return self.send_copy(copying, rows, true);
        }
        let Some(columns) = prepared.columns() else {
            self.send_notices(running);
            return Ok(());
        };
        if !streams {
            self.send_notices(running);
        }
        write_row_description(&mut self.output, columns, &[]);
        self.send_notices(running);
        for row in rows {
            write_row(&mut self.output, &mut self.scratch, columns, row, &[])?;
        }
        Ok(())
    }
}

/// Whether a statement's rows are sent as they are found.
///
/// What changes tables first collects all its rows (`PortalStart` and `FillPortalStore` in
/// `tcop/pquery.c`).
fn streams(command: &Command) -> bool {
    let Command::Query(query) = command else {
        return false;
    };
    let reads = |table: &Cte| matches!(table.command, Command::Query(_));
    query.with.tables.iter().all(reads)
}

/// Whether a statement has announced its rows before it failed: a query does when it begins to
/// run, which it must be allowed to.
fn announces_rows(statement: &Statement, prepared: &Prepared, error: &PgError) -> bool {
    let locks = prepared.row_lock().is_some();
    let refused = locks && error.code == SqlState::READ_ONLY_SQL_TRANSACTION
        || error.code == SqlState::FEATURE_NOT_SUPPORTED;
    streams(&statement.command) && !refused
}
