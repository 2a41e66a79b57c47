//! Execute: a portal runs, as far as its rows are wanted, and they are sent.
//!
//! It is left and gone on with while it waits: for other sessions, or, as COPY FROM does, for the
//! data of its client.
//! Source: `exec_execute_message` in `tcop/postgres.c`, `tcop/pquery.c`.

use std::sync::Arc;

use super::block::{Block, Company, Control, End};
use super::commit::Then;
use super::copy::{Copied, CopyIn};
use super::portal::{Portal, PortalState, Rows, cannot_be_run};
use super::prepared::PreparedStatement;
use super::reply::{write_row, write_tag};
use super::{Next, Session, Work};
use crate::engine::{Engine, Halt, Timestamp};
use crate::error::PgError;
use crate::sql::CommandTag;
use crate::sql::ast::{Command, Statement};
use crate::wire::backend;

/// An Execute that has to wait.
#[derive(Debug)]
pub(super) struct Execution {
    portal: String,
    rows_max: u32,
    /// A COPY FROM that is in the middle of its data.
    copy: Option<Box<CopyIn>>,
}

impl Execution {
    /// Whether it waits for another session, and not for its client.
    pub(super) fn is_waiting(&self) -> bool {
        self.copy.as_ref().is_none_or(|copy| copy.waits)
    }
}

impl Session {
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
            self.warn_local(
                matches!(command, Command::Set { local: true, .. }),
                self.company(),
            );
        }
        self.run_later(name, rows_max)
    }

    /// What surrounds the statement of an Execute.
    fn company(&self) -> Company {
        match self.executed {
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

    /// Executes a command of the session's own.
    fn execute_own(
        &mut self,
        name: &str,
        rows_max: u32,
        statement: &Arc<PreparedStatement>,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<(), Halt> {
        self.interrupt_own(&statement.statement.command)?;
        self.interrupt_timed(now)?;
        if let Command::Execute(execute) = &statement.statement.command {
            let running = self.expand(execute, &statement.statement, engine, now)?;
            let portal = self.known_portal(name)?;
            portal.prepared = Some(running.prepared.clone());
            portal.state = PortalState::Bound(Box::new(running));
            return Ok(self.run_later(name, rows_max)?);
        }
        let params = match self.portal(name).map(|portal| &mut portal.state) {
            Some(PortalState::Bound(running)) => running.params.clone(),
            _ => Vec::new(),
        };
        let (hints, company) = (&statement.hints, self.company());
        let own = self.own(&statement.statement, params, hints, company, engine, now)?;
        let command = &statement.statement.command;
        let Ok(portal) = self.known_portal(name) else {
            self.complete(command, own.outcome.tag, engine, now);
            return Ok(());
        };
        match own.shape {
            None => {
                portal.state = PortalState::Done;
                self.complete(command, own.outcome.tag, engine, now);
                Ok(())
            }
            Some((prepared, _)) => {
                portal.prepared = Some(prepared);
                portal.state = PortalState::Open(Rows::of(own.outcome));
                Ok(self.send_rows(name, rows_max, engine)?)
            }
        }
    }

    /// Says that a command has run, once it is committed if it must be.
    fn complete(
        &mut self,
        command: &Command,
        tag: CommandTag,
        engine: &mut Engine,
        now: Timestamp,
    ) {
        self.timer = None;
        match std::mem::take(&mut self.block) {
            Block::Implicit(transaction) if command.commits_at_once() => {
                let end = End::implicit(transaction, Some(tag));
                self.commit(end, Then::Message, engine, now);
            }
            block => {
                self.block = block;
                write_tag(&mut self.output, tag);
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
        if let Some(copy) = self.take_copy(&mut execution) {
            return self.run_portal_copy(execution, copy, engine, now);
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
                Ok(()) => {
                    self.executed = true;
                    None
                }
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
        // What has been bound has no text to point at.
        let reached = reached.map_err(Halt::nowhere);
        if let Err(Halt::Error(_)) = reached {
            self.send_found(&portal, execution.rows_max);
        }
        let ends = reached.is_ok() && statement.statement.command.commits_at_once();
        if ends && let Some(tag) = portal.open().map(|rows| rows.tag) {
            portal.state = PortalState::Done;
            self.put_portal(name, portal);
            self.complete(&statement.statement.command, tag, engine, now);
            return None;
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
        match done {
            Ok(()) => self.executed = true,
            Err(error) => self.fail_message(error, true, engine),
        }
        None
    }

    /// Goes on with an Execute of COPY FROM.
    fn run_portal_copy(
        &mut self,
        mut execution: Execution,
        mut copy: Box<CopyIn>,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Option<Next> {
        let copied = self.run_copy(&mut copy, engine, now);
        self.send_notices(&mut copy.running);
        let done = match copied {
            Ok(Copied::All(tag)) => {
                self.timer = None;
                write_tag(&mut self.output, tag);
                Ok(())
            }
            Ok(Copied::Lost(error)) => {
                self.lose_synchronization(error, engine);
                return None;
            }
            Ok(Copied::More) => {
                execution.copy = Some(copy);
                self.work = Work::Execute(execution);
                return self.read();
            }
            Err(Halt::Wait(wait)) => {
                execution.copy = Some(copy);
                self.work = Work::Execute(execution);
                return Some(self.wait(wait));
            }
            Err(Halt::Error(error)) => Err(error),
        };
        match done {
            Ok(()) => self.executed = true,
            Err(error) => self.fail_message(error, true, engine),
        }
        None
    }

    /// What an Execute is to copy into a table: its portal is used up with it.
    fn take_copy(&mut self, execution: &mut Execution) -> Option<Box<CopyIn>> {
        if let Some(copy) = execution.copy.take() {
            return Some(copy);
        }
        let portal = self.portal(&execution.portal)?;
        let copying = portal.prepared.as_ref()?.copying()?;
        if !copying.incoming || !matches!(portal.state, PortalState::Bound(_)) {
            return None;
        }
        match std::mem::replace(&mut portal.state, PortalState::Done) {
            PortalState::Bound(running) => Some(Box::new(CopyIn::new(*running))),
            _ => None,
        }
    }

    /// Sends what a portal had found when it failed.
    fn send_found(&mut self, portal: &Portal, rows_max: u32) {
        let found = std::mem::take(&mut self.found);
        let Some(prepared) = portal.prepared.as_ref().filter(|p| p.is_lazy()) else {
            return;
        };
        if let Some(copying) = prepared.copying() {
            // It failed already: a second error has no place in the protocol.
            let _ = self.send_copy(copying, &found, false);
            return;
        }
        let columns = prepared.columns().unwrap_or_default();
        let limit = match rows_max {
            0 => usize::MAX,
            rows_max => rows_max as usize,
        };
        for row in found.iter().take(limit) {
            let formats = &portal.formats;
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
                self.send_copy(&copying, &rows, true)?;
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
        // The real server stops at the limit without looking whether there is more.
        if limit != Some(sent) {
            self.interrupt_self(engine)?;
        }
        if limit == Some(sent) {
            // Its time-out goes on as well.
            backend::portal_suspended(&mut self.output);
        } else {
            self.timer = None;
            write_tag(&mut self.output, with_count(tag, sent as u64));
        }
        Ok(())
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
