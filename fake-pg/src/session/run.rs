//! Running one statement: attempts, waits, interrupts, notices.
//!
//! A statement that has to wait is given up and attempted again with the same journal. Its lock
//! and deadlock time-outs are the engine's business; what else may end it — a cancel, a terminate,
//! `statement_timeout` — is decided here, as `ProcessInterrupts` in `tcop/postgres.c` does.

use std::sync::Arc;

use super::{Session, Work};
use crate::engine::{Engine, Exec, Halt, Journal, Signal, Tid, Timestamp, Wait};
use crate::error::{PgError, Severity};
use crate::sql::ast::{Command, Name, Statement};
use crate::sql::{self, Context, Fetch, Outcome, Prepared};
use crate::types::Datum;

/// A statement between two attempts.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) prepared: Arc<Prepared>,
    pub(super) params: Vec<Datum>,
    pub(super) journal: Journal,
    /// At most so many rows are wanted; none for all.
    pub(super) most: Option<usize>,
    /// It may be asked for more rows, and where they are stored.
    pub(super) is_cursor: bool,
    /// It was declared, and so is planned for its first rows; a portal that is read in parts is not.
    pub(super) declared: bool,
    pub(super) places: Vec<Vec<Option<Tid>>>,
    /// The row that WHERE CURRENT OF names.
    pub(super) current: Option<Tid>,
    /// Whether it had to wait at least once.
    has_waited: bool,
}

impl Running {
    pub(super) fn new(prepared: Arc<Prepared>, params: Vec<Datum>) -> Running {
        let command = &prepared.statement().command;
        let mut journal = match command.needs_snapshot() {
            true => Journal::default(),
            false => Journal::passing(),
        };
        journal.keeps_snapshot = matches!(command, Command::Copy(copy) if !copy.incoming);
        Running {
            prepared,
            params,
            journal,
            most: None,
            is_cursor: false,
            declared: false,
            places: Vec::new(),
            current: None,
            has_waited: false,
        }
    }

    /// The cursor of WHERE CURRENT OF.
    pub(super) fn cursor(&self) -> Option<&Name> {
        match &self.prepared.statement().command {
            Command::Update(update) => update.current_of.as_ref(),
            Command::Delete(delete) => delete.current_of.as_ref(),
            _ => None,
        }
    }

    /// Whether it has got as far as to run.
    pub(super) fn began(&self) -> bool {
        self.journal.began
    }

    /// What it had found when it failed.
    pub(super) fn take_found(&mut self) -> Vec<Vec<Datum>> {
        std::mem::take(&mut self.journal.found)
    }
}

impl Session {
    /// Runs a statement until it is done, fails, or has to wait.
    pub(super) fn attempt(
        &mut self,
        running: &mut Running,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<Outcome, Halt> {
        self.interrupt_running(running, now)?;
        if running.current.is_none() && running.cursor().is_some() {
            self.attempt_by(running, engine, now, |prepared, _, context| {
                prepared.lock(&mut context.exec)
            })?;
            self.find_current(running)?;
        }
        self.attempt_by(running, engine, now, sql::execute)
    }

    /// What may end a statement between two attempts.
    pub(super) fn interrupt_running(
        &mut self,
        running: &Running,
        now: Timestamp,
    ) -> Result<(), PgError> {
        let interrupted = self.interrupt();
        let interrupted = interrupted.and_then(|()| self.interrupt_timed(now));
        interrupted.map_err(|error| running.journal.interrupted(error))
    }

    /// Runs a statement, or a part of it.
    pub(super) fn attempt_by<T>(
        &mut self,
        running: &mut Running,
        engine: &mut Engine,
        now: Timestamp,
        execute: impl FnOnce(&Prepared, &[Datum], &mut Context<'_>) -> Result<T, Halt>,
    ) -> Result<T, Halt> {
        let timeouts = self.known().timeouts;
        let Some(tx) = self.block.live() else {
            return Err(PgError::in_failed_transaction().into());
        };
        tx.timeouts = timeouts;
        if running.prepared.is_utility() {
            tx.in_use.clear();
            for portal in self.portals.values() {
                tx.in_use.extend(portal.reads());
            }
        }
        if running.prepared.statement().command.needs_snapshot() {
            self.queried = true;
            if tx.options.needs_safe_snapshot()
                && let Err(wait) = engine.take_safe_snapshot(tx)
            {
                return Err(self.suspended(wait, running, engine));
            }
        }
        let mut context = Context {
            exec: Exec::new(engine, tx, &mut running.journal, now),
            settings: &mut self.settings,
            database: &self.database,
            user: &self.user,
            fetch: Fetch {
                most: running.most,
                wants_places: running.is_cursor,
                declared: running.declared,
                places: Vec::new(),
                current: running.current,
                ..Fetch::default()
            },
        };
        let result = execute(&running.prepared, &running.params, &mut context);
        if let Err(Halt::Wait(wait)) = result {
            context.exec.suspend();
            return Err(self.suspended(wait, running, engine));
        }
        if result.is_ok() {
            running.places = std::mem::take(&mut context.fetch.places);
            match running.is_cursor {
                true => context.exec.keep(),
                false => context.exec.finish(),
            }
        }
        if running.has_waited
            && let Some(activity) = engine.activity_mut(self.pid)
        {
            activity.waiting = None;
        }
        result
    }

    /// A statement has to wait, for its time-out at the latest.
    fn suspended(&self, wait: Wait, running: &mut Running, engine: &mut Engine) -> Halt {
        let Wait { on, deadline } = wait;
        running.has_waited = true;
        if let Some(activity) = engine.activity_mut(self.pid) {
            activity.waiting = Some(on);
        }
        let deadline = [deadline, self.timer].into_iter().flatten().min();
        Halt::Wait(Wait { on, deadline })
    }

    /// Locks the tables of a statement that is analysed, in Parse, or planned, in Bind: before it is
    /// executed (`parserOpenTable`, `AcquireExecutorLocks`).
    pub(super) fn lock_tables(
        &mut self,
        prepared: &Prepared,
        waited: Option<Box<Journal>>,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<(), Halt> {
        let timeouts = self.known().timeouts;
        if let Some(waited) = &waited {
            let interrupted = self.interrupt();
            let interrupted = interrupted.and_then(|()| self.interrupt_timed(now));
            interrupted.map_err(|error| waited.interrupted(error))?;
        }
        if !prepared.statement().command.is_analyzed() {
            return Ok(());
        }
        let Some(tx) = self.block.live() else {
            return Ok(());
        };
        if waited.is_none() && prepared.try_lock(engine, tx) {
            return Ok(());
        }
        tx.timeouts = timeouts;
        let mut journal = waited.unwrap_or_else(|| Box::new(Journal::passing()));
        let locked = prepared.lock(&mut Exec::new(engine, tx, &mut journal, now));
        if let Some(activity) = engine.activity_mut(self.pid) {
            activity.waiting = match &locked {
                Err(Halt::Wait(wait)) => Some(wait.on),
                _ => None,
            };
        }
        match locked {
            Err(Halt::Wait(Wait { on, deadline })) => {
                self.work = Work::Analysis(journal);
                let deadline = [deadline, self.timer].into_iter().flatten().min();
                Err(Halt::Wait(Wait { on, deadline }))
            }
            locked => locked,
        }
    }

    /// Computes what is constant in a statement that is about to run: its errors come first.
    pub(super) fn fold(
        &mut self,
        prepared: &Prepared,
        params: &[Datum],
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<(), PgError> {
        let Some(tx) = self.block.live().filter(|_| prepared.has_constants()) else {
            return Ok(());
        };
        let mut journal = Journal::passing();
        let mut context = Context {
            exec: Exec::new(engine, tx, &mut journal, now),
            settings: &mut self.settings,
            database: &self.database,
            user: &self.user,
            fetch: Fetch::default(),
        };
        prepared.fold(params, &mut context)
    }

    /// Sends the notices of a statement.
    pub(super) fn send_notices(&mut self, running: &mut Running) {
        for notice in running.journal.notices.drain(..) {
            self.notice(&notice);
        }
    }

    /// A pending terminate or cancel, once.
    pub(super) fn interrupt(&mut self) -> Result<(), PgError> {
        if self.terminated {
            return Err(PgError::admin_shutdown());
        }
        if std::mem::take(&mut self.cancelled) {
            return Err(PgError::query_canceled());
        }
        Ok(())
    }

    /// The same before a command of the session's own: what it fetches from may have been waiting.
    pub(super) fn interrupt_own(&mut self, command: &Command) -> Result<(), PgError> {
        let Err(error) = self.interrupt() else {
            return Ok(());
        };
        let portal = match command {
            Command::Fetch(fetch) => self.portal(&fetch.name),
            _ => None,
        };
        Err(match portal.and_then(|portal| portal.running()) {
            Some(running) => running.journal.interrupted(error),
            None => error,
        })
    }

    /// The end of `statement_timeout`.
    pub(super) fn interrupt_timed(&mut self, now: Timestamp) -> Result<(), PgError> {
        match self.timer.is_some_and(|timer| timer <= now) {
            true => Err(PgError::statement_timeout()),
            false => Ok(()),
        }
    }

    /// What a statement has done to its own session takes effect once its rows are out.
    pub(super) fn interrupt_self(&mut self, engine: &mut Engine) -> Result<(), PgError> {
        self.hear_self(engine);
        self.interrupt()
    }

    /// Takes in the signals it has sent to itself.
    pub(super) fn hear_self(&mut self, engine: &mut Engine) {
        if !engine.has_signals() {
            return;
        }
        for signal in engine.take_own_signals(self.pid) {
            match signal {
                Signal::Cancel => self.cancelled = true,
                Signal::Terminate => self.terminated = true,
            }
        }
    }

    /// Sends what the scanner has to say of a script, which comes before anything else.
    pub(super) fn hear_scanner(&mut self, statements: &[Arc<Statement>]) {
        for statement in statements {
            for notice in &statement.notices {
                self.notice(notice);
            }
        }
    }

    /// Sends a notice, if the client wants to hear of it.
    pub(super) fn notice(&mut self, notice: &PgError) {
        if notice.severity >= self.known().least || notice.severity == Severity::Info {
            self.report(notice);
            // Source: `send_message_to_frontend`, which flushes after each.
            self.flush();
        }
    }
}
