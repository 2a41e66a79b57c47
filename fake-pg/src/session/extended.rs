//! The extended protocol: prepared statements, portals, pipelines.
//!
//! Everything between two Syncs outside a block is one implicit transaction, which Sync commits;
//! portals go with their transaction. An error skips to Sync.
//! Source: `exec_parse_message` and its neighbours in `tcop/postgres.c`.

use std::sync::Arc;

use super::block::{Block, Company, Control, End, is_exit};
use super::commit::Then;
use super::reply::{Format, write_row, write_row_description, write_tag};
use super::run::Running;
use super::{Next, Session, Work};
use crate::engine::{Engine, Halt, Timestamp};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{Command, Statement};
use crate::sql::{self, CommandTag, Prepared};
use crate::types::{Datum, Env, Type, binary, text};
use crate::wire::backend;
use crate::wire::frontend::{Bind, Target};

/// What Parse leaves behind.
#[derive(Debug)]
pub(super) struct PreparedStatement {
    statement: Arc<Statement>,
    hints: Vec<Option<Type>>,
    /// `None` for transaction control, which is the session's own business.
    prepared: Option<Arc<Prepared>>,
}

impl PreparedStatement {
    fn params(&self) -> &[Type] {
        self.prepared
            .as_ref()
            .map_or(&[], |prepared| prepared.params())
    }

    /// Whether it may be used in a failed block.
    fn is_exit(&self) -> bool {
        matches!(&self.statement.command, Command::Transaction(command) if is_exit(command))
    }

    fn is_empty(&self) -> bool {
        matches!(self.statement.command, Command::Empty)
    }
}

/// What Bind leaves behind.
#[derive(Debug)]
pub(super) struct Portal {
    statement: Arc<PreparedStatement>,
    prepared: Option<Arc<Prepared>>,
    formats: Vec<Format>,
    state: PortalState,
}

#[derive(Debug)]
enum PortalState {
    Bound(Vec<Datum>),
    /// It has run; these rows are still to be sent.
    Rows {
        rows: std::vec::IntoIter<Vec<Datum>>,
        tag: CommandTag,
    },
    /// It can not be run again.
    Done,
}

/// An Execute that has to wait.
#[derive(Debug)]
pub(super) struct Execution {
    portal: String,
    rows_max: u32,
    running: Running,
}

impl Session {
    /// Parse.
    pub(super) fn parse(
        &mut self,
        name: &str,
        query: &str,
        types: &[u32],
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<(), PgError> {
        if name.is_empty() {
            self.unnamed_statement = None;
        }
        self.begin_message();
        let statements = sql::parse_script(query)?;
        self.now_active(&statements[0].source, engine);
        let [statement] = &statements[..] else {
            return Err(PgError::new(
                SqlState::SYNTAX_ERROR,
                "cannot insert multiple commands into a prepared statement",
            ));
        };
        let mut parsed = PreparedStatement {
            statement: Arc::clone(statement),
            hints: types
                .iter()
                .map(|&oid| hint(oid))
                .collect::<Result<_, _>>()?,
            prepared: None,
        };
        if !parsed.is_empty() && !parsed.is_exit() {
            self.refuse_if_failed()?;
        }
        parsed.prepared = self.plan(&parsed, engine, now)?;
        if !name.is_empty() && self.statements.contains_key(name) {
            return Err(PgError::duplicate_prepared_statement(name));
        }
        let parsed = Arc::new(parsed);
        match name {
            "" => self.unnamed_statement = Some(parsed),
            name => drop(self.statements.insert(name.into(), parsed)),
        }
        backend::parse_complete(&mut self.output);
        Ok(())
    }

    /// Binds a statement to the schema as it is now; cached below.
    fn plan(
        &mut self,
        parsed: &PreparedStatement,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<Option<Arc<Prepared>>, PgError> {
        let command = &parsed.statement.command;
        if matches!(command, Command::Empty | Command::Transaction(_)) || Self::is_own(command) {
            return Ok(None);
        }
        let transaction = self.begin_implicit(engine, now)?;
        sql::prepare(engine, transaction, &parsed.statement, &parsed.hints).map(Some)
    }

    fn statement(&self, name: &str) -> Result<Arc<PreparedStatement>, PgError> {
        let found = match name {
            "" => self.unnamed_statement.as_ref(),
            name => self.statements.get(name),
        };
        found
            .cloned()
            .ok_or_else(|| PgError::no_such_prepared_statement(name))
    }

    /// Bind.
    pub(super) fn bind(
        &mut self,
        bind: &Bind<'_>,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<(), PgError> {
        let statement = self.statement(bind.statement)?;
        self.begin_message();
        self.now_active(&statement.statement.source, engine);
        let given = bind.parameters.len();
        if bind.formats.len() > 1 && bind.formats.len() != given {
            let formats = bind.formats.len();
            return Err(violation(format!(
                "bind message has {formats} parameter formats but {given} parameters"
            )));
        }
        let wanted = statement.params().len();
        if given != wanted {
            return Err(violation(format!(
                "bind message supplies {given} parameters, but prepared statement \"{}\" requires {wanted}",
                bind.statement
            )));
        }
        if !(statement.is_exit() && given == 0) {
            self.refuse_if_failed()?;
        }
        if !bind.portal.is_empty() && self.portals.contains_key(bind.portal) {
            return Err(PgError::duplicate_portal(bind.portal));
        }
        let prepared = self.plan(&statement, engine, now)?;
        let params = parameters(bind, statement.params())?;
        if let (Command::Query(query), Some(tx)) = (&statement.statement.command, self.block.live())
            && let (true, Some(locking)) = (tx.options.read_only, query.locking.first())
        {
            // Source: `PortalStart`, where a query begins to run; other commands begin later.
            return Err(PgError::read_only_transaction(locking.strength.tag()));
        }
        if let Some(prepared) = &prepared {
            self.fold(prepared, &params, engine, now)?;
        }
        let columns = prepared.as_ref().and_then(|prepared| prepared.columns());
        let formats = result_formats(&bind.result_formats, columns.map_or(0, <[_]>::len))?;
        let portal = Portal {
            statement,
            prepared,
            formats,
            state: PortalState::Bound(params),
        };
        match bind.portal {
            "" => self.unnamed_portal = Some(portal),
            name => drop(self.portals.insert(name.into(), portal)),
        }
        backend::bind_complete(&mut self.output);
        Ok(())
    }

    /// Source: `start_xact_command`.
    fn begin_message(&mut self) {
        self.pipelining = true;
        self.begin_command();
    }

    fn portal(&mut self, name: &str) -> Result<&mut Portal, PgError> {
        let found = match name {
            "" => self.unnamed_portal.as_mut(),
            name => self.portals.get_mut(name),
        };
        found.ok_or_else(|| PgError::no_such_portal(name))
    }

    /// Describe.
    pub(super) fn describe(
        &mut self,
        target: Target,
        name: &str,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<(), PgError> {
        self.begin_message();
        let (prepared, formats) = match target {
            Target::Statement => {
                let statement = self.statement(name)?;
                let prepared = match self.block {
                    Block::Failed(_) => statement.prepared.clone(),
                    _ => self.plan(&statement, engine, now)?,
                };
                self.refuse_rows_if_failed(prepared.as_deref())?;
                let types = statement.params().iter().map(|ty| ty.oid());
                backend::parameter_description(&mut self.output, types);
                (prepared, Vec::new())
            }
            Target::Portal => {
                let portal = self.portal(name)?;
                let (prepared, formats) = (portal.prepared.clone(), portal.formats.clone());
                self.refuse_rows_if_failed(prepared.as_deref())?;
                (prepared, formats)
            }
        };
        match prepared.as_ref().and_then(|prepared| prepared.columns()) {
            Some(columns) => write_row_description(&mut self.output, columns, &formats),
            None => backend::no_data(&mut self.output),
        }
        Ok(())
    }

    /// Source: `exec_describe_statement_message`: what returns rows may need the catalog, which a
    /// failed transaction can not look at.
    fn refuse_rows_if_failed(&self, prepared: Option<&Prepared>) -> Result<(), PgError> {
        match prepared.is_some_and(|prepared| prepared.columns().is_some()) {
            true => self.refuse_if_failed(),
            false => Ok(()),
        }
    }

    pub(super) fn refuse_if_failed(&self) -> Result<(), PgError> {
        match self.block {
            Block::Failed(_) => Err(PgError::in_failed_transaction()),
            _ => Ok(()),
        }
    }

    /// Close.
    pub(super) fn close(&mut self, target: Target, name: &str) {
        match (target, name) {
            (Target::Statement, "") => self.unnamed_statement = None,
            (Target::Statement, name) => drop(self.statements.remove(name)),
            (Target::Portal, "") => self.unnamed_portal = None,
            (Target::Portal, name) => drop(self.portals.remove(name)),
        }
        backend::close_complete(&mut self.output);
    }

    /// Execute.
    pub(super) fn execute(
        &mut self,
        name: &str,
        rows_max: u32,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<(), PgError> {
        let portal = self.portal(name)?;
        let statement = Arc::clone(&portal.statement);
        self.now_active(&statement.statement.source, engine);
        if statement.is_empty() {
            backend::empty_query_response(&mut self.output);
            return Ok(());
        }
        if !statement.is_exit() {
            self.refuse_if_failed()?;
        }
        let portal = self.portal(name)?;
        let params = match std::mem::replace(&mut portal.state, PortalState::Done) {
            PortalState::Bound(params) => params,
            state @ PortalState::Rows { .. } => {
                portal.state = state;
                return self.send_rows(name, rows_max, engine);
            }
            PortalState::Done => {
                return Err(PgError::new(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("portal \"{name}\" cannot be run"),
                ));
            }
        };
        let prepared = portal.prepared.clone();
        self.begin_message();
        self.begin_for_control(engine, now)?;
        let company = match self.queried {
            true => Company::Pipeline,
            false => Company::Alone,
        };
        match (&statement.statement.command, prepared) {
            (Command::Transaction(command), _) => {
                match self.control(command, company, engine, now)? {
                    Control::Done(tag) => {
                        write_tag(&mut self.output, CommandTag::Plain(tag));
                        self.end_command();
                    }
                    Control::End(end) => {
                        self.commit(*end, Then::Message, engine, now);
                        self.end_command();
                    }
                }
                Ok(())
            }
            (command, None) => {
                if let Some(tag) = self.own(command, company, engine)? {
                    self.timer = None;
                    write_tag(&mut self.output, tag);
                }
                Ok(())
            }
            (command, Some(prepared)) => {
                self.refuse_in_block(command, company)?;
                self.demand_block(command, company)?;
                let running = Running::new(prepared, params);
                self.work = Work::Execute(Box::new(Execution {
                    portal: name.into(),
                    rows_max,
                    running,
                }));
                Ok(())
            }
        }
    }

    /// Goes on with an Execute. `None` goes on elsewhere.
    pub(super) fn run_portal(
        &mut self,
        mut execution: Box<Execution>,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Option<Next> {
        let attempt = self.attempt(&mut execution.running, engine, now);
        self.send_notices(&mut execution.running);
        match attempt {
            Ok(outcome) => {
                let Execution {
                    portal: name,
                    rows_max,
                    running,
                } = *execution;
                if running.prepared.columns().is_none() {
                    self.timer = None;
                    write_tag(&mut self.output, outcome.tag);
                    return None;
                }
                if let Ok(portal) = self.portal(&name) {
                    let (rows, tag) = (outcome.rows.into_iter(), outcome.tag);
                    portal.state = PortalState::Rows { rows, tag };
                }
                let sent = self.send_rows(&name, rows_max, engine);
                if let Err(error) = sent {
                    self.fail_message(error, true, engine);
                }
                None
            }
            Err(Halt::Wait(wait)) => {
                self.work = Work::Execute(execution);
                Some(self.wait(wait))
            }
            Err(Halt::Error(error)) => {
                self.send_found(*execution);
                self.fail_message(error, true, engine);
                None
            }
        }
    }

    /// Sends what a portal had found when it failed.
    fn send_found(&mut self, execution: Execution) {
        let Execution {
            portal: name,
            rows_max,
            mut running,
        } = execution;
        let prepared = Arc::clone(&running.prepared);
        let (found, columns) = (running.take_found(), prepared.columns().unwrap_or_default());
        let formats = self.portal(&name).map(|portal| portal.formats.clone());
        let limit = match rows_max {
            0 => usize::MAX,
            rows_max => rows_max as usize,
        };
        for row in found.iter().take(limit) {
            let formats = formats.as_deref().unwrap_or_default();
            // It failed already: a second error has no place in the protocol.
            if write_row(&mut self.output, &mut self.scratch, columns, row, formats).is_err() {
                return;
            }
        }
    }

    /// Sends the next rows of a portal that has run.
    fn send_rows(&mut self, name: &str, rows_max: u32, engine: &mut Engine) -> Result<(), PgError> {
        let Session {
            output,
            scratch,
            portals,
            unnamed_portal,
            ..
        } = self;
        let portal = match name {
            "" => unnamed_portal.as_mut(),
            name => portals.get_mut(name),
        };
        let Some(Portal {
            formats,
            prepared: Some(prepared),
            state,
            ..
        }) = portal
        else {
            return Ok(());
        };
        let (PortalState::Rows { rows, tag }, Some(columns)) = (state, prepared.columns()) else {
            return Ok(());
        };
        let limit = if rows_max == 0 {
            usize::MAX
        } else {
            rows_max as usize
        };
        let mut sent = 0;
        while sent < limit
            && let Some(row) = rows.next()
        {
            write_row(output, scratch, columns, &row, formats)?;
            sent += 1;
        }
        // The real server stops at the limit without looking whether there is more.
        let tag = with_count(*tag, sent as u64);
        self.interrupt_self(engine)?;
        if sent == limit {
            // Its time-out goes on as well.
            backend::portal_suspended(&mut self.output);
        } else {
            self.timer = None;
            write_tag(&mut self.output, tag);
        }
        Ok(())
    }

    /// Sync: the end of a pipeline.
    pub(super) fn sync(&mut self, engine: &mut Engine, now: Timestamp) {
        self.end_command();
        match std::mem::take(&mut self.block) {
            Block::Implicit(transaction) => {
                self.commit(End::implicit(transaction, None), Then::Sync, engine, now);
            }
            block => {
                self.block = block;
                self.ready(engine);
            }
        }
    }
}

fn hint(oid: u32) -> Result<Option<Type>, PgError> {
    // `unknown`, which some drivers send for what they do not know either.
    if oid == 0 || oid == 705 {
        return Ok(None);
    }
    Type::from_oid(oid)
        .map(Some)
        .ok_or_else(|| PgError::feature_not_supported(format!("parameters of type {oid}")))
}

/// The tag of an Execute counts the rows of that Execute.
fn with_count(tag: CommandTag, count: u64) -> CommandTag {
    match tag {
        CommandTag::Select(_) => CommandTag::Select(count),
        CommandTag::Insert(_) => CommandTag::Insert(count),
        CommandTag::Update(_) => CommandTag::Update(count),
        CommandTag::Delete(_) => CommandTag::Delete(count),
        plain => plain,
    }
}

fn violation(message: String) -> PgError {
    PgError::new(SqlState::PROTOCOL_VIOLATION, message)
}

/// Reads the parameters of Bind.
fn parameters(bind: &Bind<'_>, types: &[Type]) -> Result<Vec<Datum>, PgError> {
    let values = bind.parameters.iter().zip(types).enumerate();
    values
        .map(|(place, (value, &ty))| {
            let Some(bytes) = value else {
                return Ok(Datum::Null);
            };
            let format = match &bind.formats[..] {
                [] => 0,
                [all] => *all,
                each => each[place],
            };
            match Format::from_code(format)? {
                Format::Binary => binary::read(ty, bytes, place + 1),
                Format::Text => match std::str::from_utf8(bytes) {
                    Ok(value) => text::read(ty, value, Env::default()),
                    Err(error) => Err(binary::invalid_encoding(&bytes[error.valid_up_to()..])),
                },
            }
        })
        .collect()
}

/// One format for each column of a result.
fn result_formats(codes: &[i16], columns: usize) -> Result<Vec<Format>, PgError> {
    match codes {
        [] => Ok(Vec::new()),
        [all] => Ok(vec![Format::from_code(*all)?; columns]),
        each if each.len() == columns => each.iter().map(|&code| Format::from_code(code)).collect(),
        each => Err(violation(format!(
            "bind message has {} result formats but query has {columns} columns",
            each.len()
        ))),
    }
}
