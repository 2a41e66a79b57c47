//! What a statement runs with, and what it may spend.

use super::settings::Settings;
use crate::engine::{Exec, Signal, Tid};
use crate::error::{PgError, SqlState};
use crate::types::datetime::Zone;
use crate::types::{Datum, Env};

/// What a statement runs with.
pub struct Context<'a> {
    /// The transaction and its journal. Notices go to `exec.journal.notices`.
    pub exec: Exec<'a>,
    /// The session's settings.
    pub settings: &'a mut Settings,
    /// `current_database()`.
    pub database: &'a str,
    /// `current_user`.
    pub user: &'a str,
    /// How much of it is wanted.
    pub fetch: Fetch,
}

/// How much of a query is wanted, and what is told besides its result.
#[derive(Debug, Default)]
pub struct Fetch {
    /// At most so many rows, counted from the first; none for all. Nothing happens that rows after
    /// them would need.
    pub most: Option<usize>,
    /// Whether to tell `places`.
    pub wants_places: bool,
    /// Whether the query is a declared cursor's.
    pub declared: bool,
    /// For each row of the result, where its parts are stored: what a cursor stands on.
    pub places: Vec<Vec<Option<Tid>>>,
    /// The row that WHERE CURRENT OF names.
    pub current: Option<Tid>,
    /// What the statement has spent of its budget.
    pub spent: usize,
    /// How many functions it has called.
    pub calls: u8,
}

/// How much a statement may do, unless the server is configured otherwise: it runs to its end before
/// anybody can cancel it, and what it makes is held in memory. Each row that is read or joined takes
/// one, each that is made three and one for each column, four calls of functions one; long values
/// take what it costs to go through them, strings one for 32 bytes. So a result has two million rows
/// at most.
pub(crate) const BUDGET: usize = 10_000_000;

impl Context<'_> {
    /// Takes so much from the statement's budget; `53200` when it is used up, where PostgreSQL
    /// would go on until memory or patience ends.
    pub(crate) fn spend(&mut self, steps: usize) -> Result<(), PgError> {
        self.fetch.spent = self.fetch.spent.saturating_add(steps);
        let most = self.exec.engine.config().statement_steps;
        if self.fetch.spent <= most {
            return Ok(());
        }
        Err(
            PgError::new(SqlState::OUT_OF_MEMORY, "out of memory").with_detail(format!(
                "A statement may take {most} steps, of rows and of memory."
            )),
        )
    }

    /// Takes what it costs to go through values once: nothing for short ones.
    pub(crate) fn spend_on(&mut self, values: &[Datum]) -> Result<(), PgError> {
        let weights = values.iter().map(Datum::weight);
        match weights.fold(0, usize::saturating_add) {
            0 => Ok(()),
            steps => self.spend(steps),
        }
    }

    /// A function is called: four calls are a step, and the values they see come on top.
    pub(crate) fn spend_call(&mut self, args: &[Datum]) -> Result<(), PgError> {
        self.fetch.calls = self.fetch.calls.wrapping_add(1);
        let weights = args.iter().map(Datum::weight);
        let steps = usize::from(self.fetch.calls.is_multiple_of(4));
        match weights.fold(steps, usize::saturating_add) {
            0 => Ok(()),
            steps => self.spend(steps),
        }
    }

    /// Between two rows: there a statement hears the signals it has sent to its own session, as it
    /// would at each `CHECK_FOR_INTERRUPTS`. Nobody else can send any while it runs.
    pub(crate) fn check_for_interrupts(&mut self) -> Result<(), PgError> {
        if !self.exec.engine.has_signals() {
            return Ok(());
        }
        let signals = self.exec.engine.take_own_signals(self.exec.tx.pid);
        match signals.contains(&Signal::Terminate) {
            true => Err(PgError::admin_shutdown()),
            false if signals.is_empty() => Ok(()),
            false => Err(PgError::query_canceled()),
        }
    }

    /// The same for a string of that length.
    pub(crate) fn spend_bytes(&mut self, length: usize) -> Result<(), PgError> {
        self.spend(length / 32)
    }

    /// What the text of values depends on.
    pub(crate) fn env(&self) -> Env {
        Env {
            now: self.exec.tx.started,
            zone: Zone::default(),
        }
    }
}
