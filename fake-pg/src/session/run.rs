//! Running one statement: attempts, waits, interrupts, notices.
//!
//! A statement that has to wait is given up and attempted again with the same journal. Its lock
//! and deadlock time-outs are the engine's business; what else may end it — a cancel, a terminate,
//! `statement_timeout` — is decided here, as `ProcessInterrupts` in `tcop/postgres.c` does.

use std::sync::Arc;

use super::Session;
use crate::engine::{Engine, Exec, Halt, Journal, Timestamp, Wait};
use crate::error::{PgError, Severity};
use crate::sql::{self, Context, Outcome, Prepared};
use crate::types::Datum;

/// A statement between two attempts.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) prepared: Arc<Prepared>,
    pub(super) params: Vec<Datum>,
    journal: Journal,
    started: Timestamp,
    /// Whether it had to wait at least once.
    has_waited: bool,
}

impl Running {
    pub(super) fn new(prepared: Arc<Prepared>, params: Vec<Datum>, started: Timestamp) -> Running {
        Running {
            prepared,
            params,
            journal: Journal::default(),
            started,
            has_waited: false,
        }
    }

    /// Whether it had to wait at least once.
    pub(super) fn has_waited(&self) -> bool {
        self.has_waited
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
        let waiting = |mut error: PgError| {
            error.context = running.journal.waiting_context().map(str::to_string);
            error
        };
        self.interrupt().map_err(waiting)?;
        let (timeouts, patience) = (self.known().timeouts, self.known.statement_timeout);
        let over = patience.map(|patience| running.started.after(patience));
        if running.has_waited && over.is_some_and(|over| over <= now) {
            return Err(waiting(PgError::statement_timeout()).into());
        }
        let Some(tx) = self.block.live() else {
            return Err(PgError::in_failed_transaction().into());
        };
        tx.timeouts = timeouts;
        self.queried = true;
        let mut context = Context {
            exec: Exec::new(engine, tx, &mut running.journal, now),
            settings: &mut self.settings,
            database: &self.database,
            user: &self.user,
        };
        let result = sql::execute(&running.prepared, &running.params, &mut context);
        if let Err(Halt::Wait(Wait { on, deadline })) = result {
            running.has_waited = true;
            let deadline = [deadline, over].into_iter().flatten().min();
            return Err(Halt::Wait(Wait { on, deadline }));
        }
        if result.is_ok() {
            context.exec.finish();
        }
        for notice in running.journal.notices.drain(..) {
            self.notice(&notice);
        }
        result
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

    /// Sends a notice, if the client wants to hear of it.
    pub(super) fn notice(&mut self, notice: &PgError) {
        if notice.severity >= self.known().least || notice.severity == Severity::Info {
            self.report(notice);
        }
    }
}
