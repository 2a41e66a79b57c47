//! The extended protocol: prepared statements, portals, pipelines.
//!
//! Everything between two Syncs outside a block is one implicit transaction, which Sync commits;
//! portals go with their transaction. An error skips to Sync.
//! Source: `exec_parse_message` and its neighbours in `tcop/postgres.c`.

use std::sync::Arc;

use super::block::{Block, Company, Control, End};
use super::commit::Then;
use super::copy::{CopyIn, Received};
use super::parameters::{parameters, result_formats, violation};
use super::portal::{Portal, PortalState, Rows, cannot_be_run};
use super::prepared::PreparedStatement;
use super::reply::{write_row, write_row_description, write_tag};
use super::{Next, Session, Work};
use crate::engine::{Engine, Halt, Journal, Timestamp};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{Command, Statement};
use crate::sql::{self, CommandTag, Prepared};
use crate::types::Type;
use crate::wire::backend;
use crate::wire::frontend::{Bind, Target};

/// An Execute that has to wait.
#[derive(Debug)]
pub(super) struct Execution {
    portal: String,
    rows_max: u32,
    /// What COPY has received so far.
    copy: Option<CopyIn>,
}

impl Session {
    /// Parse.
    pub(super) fn parse(
        &mut self,
        name: &str,
        query: &str,
        types: &[u32],
        waited: Option<Box<Journal>>,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<(), Halt> {
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
            )
            .into());
        };
        let mut parsed = PreparedStatement {
            statement: Arc::clone(statement),
            hints: types
                .iter()
                .map(|&oid| self.hint(oid, engine))
                .collect::<Result<_, _>>()?,
            prepared: None,
        };
        if !parsed.is_empty() && !parsed.is_exit() {
            self.refuse_if_failed()?;
        }
        parsed.prepared = self.plan(&parsed, engine, now)?;
        if let Some(prepared) = &parsed.prepared {
            self.lock_tables(prepared, waited, engine, now)?;
        }
        if !name.is_empty() && self.statements.contains_key(name) {
            return Err(PgError::duplicate_prepared_statement(name).into());
        }
        let parsed = Arc::new(parsed);
        match name {
            "" => self.unnamed_statement = Some(parsed),
            name => drop(self.statements.insert(name.into(), parsed)),
        }
        backend::parse_complete(&mut self.output);
        Ok(())
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
        waited: Option<Box<Journal>>,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<(), Halt> {
        let statement = self.statement(bind.statement)?;
        self.begin_message();
        self.now_active(&statement.statement.source, engine);
        let given = bind.parameters.len();
        if bind.formats.len() > 1 && bind.formats.len() != given {
            let formats = bind.formats.len();
            return Err(violation(format!(
                "bind message has {formats} parameter formats but {given} parameters"
            ))
            .into());
        }
        let wanted = statement.params().len();
        if given != wanted {
            return Err(violation(format!(
                "bind message supplies {given} parameters, but prepared statement \"{}\" requires {wanted}",
                bind.statement
            ))
            .into());
        }
        if !(statement.is_exit() && given == 0) {
            self.refuse_if_failed()?;
        }
        if !bind.portal.is_empty() && self.portals.contains_key(bind.portal) {
            return Err(PgError::duplicate_portal(bind.portal).into());
        }
        let prepared = self.plan(&statement, engine, now)?;
        if let (Some(old), Some(new)) = (&statement.prepared, &prepared) {
            new.refuse_other_result(old)?;
        }
        let params = parameters(bind, statement.params())?;
        if let Some(prepared) = &prepared {
            self.lock_tables(prepared, waited, engine, now)?;
        }
        if let (Command::Query(query), Some(tx)) = (&statement.statement.command, self.block.live())
            && let (true, Some(locking)) = (tx.options.read_only, query.locking.first())
        {
            // Source: `PortalStart`, where a query begins to run; other commands begin later.
            return Err(PgError::read_only_transaction(locking.strength.tag()).into());
        }
        if let Some(prepared) = &prepared {
            self.fold(prepared, &params, engine, now)?;
        }
        let columns = prepared.as_ref().and_then(|prepared| prepared.columns());
        let formats = result_formats(&bind.result_formats, columns.map_or(0, <[_]>::len))?;
        let level = self.level();
        let mut portal = Portal::new(statement, prepared, params, formats, level);
        self.start_portal(bind.portal, &mut portal, engine);
        self.put_portal(bind.portal, portal);
        backend::bind_complete(&mut self.output);
        Ok(())
    }

    /// Source: `start_xact_command`.
    fn begin_message(&mut self) {
        self.pipelining = true;
        self.begin_command();
    }

    fn known_portal(&mut self, name: &str) -> Result<&mut Portal, PgError> {
        self.portal(name)
            .ok_or_else(|| PgError::no_such_portal(name))
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
                self.refuse_other_result(&statement, prepared.as_deref(), engine, now)?;
                (prepared, Vec::new())
            }
            Target::Portal => {
                let portal = self.known_portal(name)?;
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
        let portal = self.known_portal(name)?;
        let statement = Arc::clone(&portal.statement);
        self.now_active(&statement.statement.source, engine);
        if statement.is_empty() {
            backend::empty_query_response(&mut self.output);
            return Ok(());
        }
        if !statement.is_exit() {
            self.refuse_if_failed()?;
        }
        self.begin_message();
        let command = &statement.statement.command;
        let portal = self.known_portal(name)?;
        match portal.state {
            PortalState::Done => return Err(cannot_be_run(name)),
            PortalState::Open(_) => return self.run_later(name, rows_max),
            PortalState::Bound(_) | PortalState::Bare => {}
        }
        if let Command::Transaction(command) = command {
            portal.state = PortalState::Done;
            self.begin_for_control(engine, now)?;
            match self.control(command, self.company(), engine, now)? {
                Control::Done(tag) => write_tag(&mut self.output, CommandTag::Plain(tag)),
                Control::End(end) => self.commit(*end, Then::Message, engine, now),
            }
            self.end_command();
            return Ok(());
        }
        self.begin_for_control(engine, now)?;
        if !Self::is_own(command) {
            self.refuse_in_block(command, self.company())?;
            self.demand_block(command, self.company())?;
            self.warn_local(command, self.company());
            self.find_current_of(name)?;
        }
        self.run_later(name, rows_max)
    }

    /// What surrounds the statement of an Execute.
    fn company(&self) -> Company {
        match self.queried {
            true => Company::Pipeline,
            false => Company::Alone,
        }
    }

    fn run_later(&mut self, name: &str, rows_max: u32) -> Result<(), PgError> {
        self.work = Work::Execute(Execution {
            portal: name.into(),
            rows_max,
            copy: None,
        });
        Ok(())
    }

    fn find_current_of(&mut self, name: &str) -> Result<(), PgError> {
        let Some(mut portal) = self.take_portal(name) else {
            return Ok(());
        };
        let found = match &mut portal.state {
            PortalState::Bound(running) => self.find_current(running),
            _ => Ok(()),
        };
        self.put_portal(name, portal);
        found
    }

    /// Executes a command of the session's own.
    fn execute_own(
        &mut self,
        name: &str,
        rows_max: u32,
        statement: &Arc<PreparedStatement>,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<(), Halt> {
        self.interrupt()?;
        self.interrupt_timed(now)?;
        if let Command::Execute(execute) = &statement.statement.command {
            let running = self.expand(execute, &statement.statement, engine, now)?;
            let portal = self.known_portal(name)?;
            portal.prepared = Some(running.prepared.clone());
            portal.state = PortalState::Bound(Box::new(running));
            self.find_current_of(name)?;
            return Ok(self.run_later(name, rows_max)?);
        }
        let params = match self.portal(name).map(|portal| &mut portal.state) {
            Some(PortalState::Bound(running)) => running.params.clone(),
            _ => Vec::new(),
        };
        let (hints, company) = (&statement.hints, self.company());
        let own = self.own(&statement.statement, params, hints, company, engine, now)?;
        let Ok(portal) = self.known_portal(name) else {
            self.timer = None;
            write_tag(&mut self.output, own.outcome.tag);
            return Ok(());
        };
        match own.shape {
            None => {
                portal.state = PortalState::Done;
                self.timer = None;
                write_tag(&mut self.output, own.outcome.tag);
                Ok(())
            }
            Some((prepared, _)) => {
                portal.prepared = Some(prepared);
                portal.state = PortalState::Open(Rows::of(own.outcome));
                Ok(self.send_rows(name, rows_max, engine)?)
            }
        }
    }

    /// Goes on with an Execute. `None` goes on elsewhere.
    pub(super) fn run_portal(
        &mut self,
        mut execution: Execution,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Option<Next> {
        if let Some(copying) = self.awaits_copy(&execution.portal) {
            let copy = execution.copy.take();
            let mut copy = copy.unwrap_or_else(|| self.begin_copy_in(&copying));
            match self.receive_copy(&mut copy) {
                Ok(Received::More) => {
                    execution.copy = Some(copy);
                    self.work = Work::Execute(execution);
                    return self.read();
                }
                Ok(Received::All(data)) => self.give_copy(&execution.portal, data),
                Err(error) => {
                    self.fail_message(error, true, engine);
                    return None;
                }
            }
        }
        let name = &*execution.portal;
        let portal = self.portal(name)?;
        let fresh = matches!(portal.state, PortalState::Bound(_) | PortalState::Bare);
        let statement = portal.statement.clone();
        // What EXECUTE runs has taken its place.
        let runs = |portal: &Portal, statement: &Arc<Statement>| {
            let prepared = portal.prepared.as_ref();
            prepared.is_none_or(|prepared| Arc::ptr_eq(prepared.statement(), statement))
        };
        if fresh && Self::is_own(&statement.statement.command) && runs(portal, &statement.statement)
        {
            return match self.execute_own(name, execution.rows_max, &statement, engine, now) {
                Ok(()) => None,
                Err(Halt::Wait(wait)) => {
                    self.work = Work::Execute(execution);
                    Some(self.wait(wait))
                }
                Err(Halt::Error(error)) => {
                    self.fail_message(error, true, engine);
                    None
                }
            };
        }
        let mut portal = self.take_portal(name)?;
        let at = portal.open().map_or(0, |rows| rows.at());
        let limit = usize::try_from(execution.rows_max).unwrap_or(usize::MAX);
        let need = (limit > 0).then(|| at.saturating_add(limit));
        let reached = self.reach(name, &mut portal, need, engine, now);
        if let Err(Halt::Error(_)) = reached {
            self.send_found(&portal, execution.rows_max);
        }
        self.put_portal(name, portal);
        let done = match reached {
            Ok(()) => self.send_rows(name, execution.rows_max, engine),
            Err(Halt::Wait(wait)) => {
                self.work = Work::Execute(execution);
                return Some(self.wait(wait));
            }
            Err(Halt::Error(error)) => Err(error),
        };
        if let Err(error) = done {
            self.fail_message(error, true, engine);
        }
        None
    }

    /// Sends what a portal had found when it failed.
    fn send_found(&mut self, portal: &Portal, rows_max: u32) {
        let found = std::mem::take(&mut self.found);
        let Some(prepared) = portal.prepared.as_ref().filter(|p| p.is_lazy()) else {
            return;
        };
        let columns = prepared.columns().unwrap_or_default();
        let limit = match rows_max {
            0 => usize::MAX,
            rows_max => rows_max as usize,
        };
        for row in found.iter().take(limit) {
            let formats = &portal.formats;
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
            prepared,
            state: state @ PortalState::Open(_),
            ..
        }) = portal
        else {
            return Ok(());
        };
        let PortalState::Open(open) = state else {
            return Ok(());
        };
        let columns = prepared.as_ref().and_then(|prepared| prepared.columns());
        let Some(columns) = columns else {
            let tag = open.tag;
            let copying = prepared.as_ref().and_then(|prepared| prepared.copying());
            let copied = copying.filter(|copying| !copying.incoming);
            if let Some(copying) = copied.cloned() {
                let rows = open.rows(0..open.len()).to_vec();
                *state = PortalState::Done;
                self.send_copy(&copying, &rows)?;
            } else {
                *state = PortalState::Done;
            }
            self.timer = None;
            self.interrupt_self(engine)?;
            write_tag(&mut self.output, tag);
            return Ok(());
        };
        let limit = (rows_max > 0).then_some(rows_max as usize);
        let range = open.forward(limit);
        let (sent, tag) = (range.len(), open.tag);
        for row in open.rows(range) {
            write_row(output, scratch, columns, row, formats)?;
        }
        self.interrupt_self(engine)?;
        // The real server stops at the limit without looking whether there is more.
        if limit == Some(sent) {
            // Its time-out goes on as well.
            backend::portal_suspended(&mut self.output);
        } else {
            self.timer = None;
            write_tag(&mut self.output, with_count(tag, sent as u64));
        }
        Ok(())
    }

    /// Sync: the end of a pipeline.
    pub(super) fn sync(&mut self, engine: &mut Engine, now: Timestamp) {
        self.end_command();
        if let Block::Implicit(_) = self.block
            && let Err(error) = self.hold_cursors(engine, now)
        {
            return self.fail_message(error, false, engine);
        }
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

impl Session {
    /// The type of a parameter as Parse names it.
    fn hint(&self, oid: u32, engine: &Engine) -> Result<Option<Type>, PgError> {
        // `unknown`, which some drivers send for what they do not know either.
        if oid == 0 || oid == 705 {
            return Ok(None);
        }
        if let Some(ty) = Type::from_oid(oid) {
            return Ok(Some(ty));
        }
        let catalog = engine.catalog();
        let database = catalog.database(&self.database);
        database
            .and_then(|database| catalog.user_type_by_oid(database.id, oid))
            .map(Some)
            .ok_or_else(|| PgError::feature_not_supported(format!("parameters of type {oid}")))
    }
}

/// The tag of an Execute counts the rows of that Execute.
fn with_count(tag: CommandTag, count: u64) -> CommandTag {
    match tag {
        CommandTag::Select(_) => CommandTag::Select(count),
        CommandTag::Insert(_) => CommandTag::Insert(count),
        CommandTag::Update(_) => CommandTag::Update(count),
        CommandTag::Delete(_) => CommandTag::Delete(count),
        CommandTag::Fetch(_) => CommandTag::Fetch(count),
        plain => plain,
    }
}
