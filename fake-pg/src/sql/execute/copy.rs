//! COPY FROM: rows on their way from the client into a table.
//!
//! The statement goes on in parts, between which it waits for its client: it begins, each row is
//! looked at, many are written at a time, and what they have queued is fired. A part that is over is
//! not executed again, so the journal holds the effects of one at most; its snapshot and its
//! command stay the statement's.
//!
//! Source: `CopyFrom` in `commands/copyfrom.c`.

use std::sync::Arc;

use super::{Frame, Run};
use crate::engine::{Event, Halt, Row};
use crate::error::{PgError, SqlState};
use crate::sql::copy::{Copying, Line, Reader};
use crate::sql::face::{BUDGET, Context};
use crate::sql::plan::{Action, InsertSource, ModifyPlan, Scalar};

/// `MAX_BUFFERED_TUPLES`.
const ROWS_MAX: usize = 1000;
/// `MAX_BUFFERED_BYTES`.
const BYTES_MAX: usize = 65_535;
/// A row that is not there in full may take so much, as a statement may of memory.
const PENDING_MAX: usize = BUDGET * 32;

/// What has arrived and is not in the table yet.
#[derive(Debug, Default)]
pub struct Incoming {
    reader: Reader,
    /// The row at hand, until it has been looked at;
    line: Option<Line>,
    /// then it is this, until there is another.
    looked: Option<Line>,
    /// Rows that are good in themselves, with the place of each.
    rows: Vec<(Row, String)>,
    /// Which of them is being written.
    writing: Option<usize>,
    /// How many bytes those took.
    size: usize,
    /// How many rows are written.
    written: u64,
    /// What they have queued.
    events: Vec<Event>,
    /// Whether each row is written at once, as its defaults could see it.
    one_by_one: Option<bool>,
}

impl Incoming {
    /// Takes in a piece of data; `53200` if a single row gets too long.
    pub fn push(&mut self, piece: &[u8], copying: &Copying) -> Result<(), PgError> {
        self.reader.push(piece, copying);
        match self.reader.pending() {
            0..=PENDING_MAX => Ok(()),
            _ => Err(PgError::new(SqlState::OUT_OF_MEMORY, "out of memory")),
        }
    }

    /// There will be no more.
    pub fn complete(&mut self) {
        self.reader.complete();
    }

    /// An error that comes between rows, or while one is waited for, where this has got to
    /// (`CopyFromErrorCallback`).
    pub fn locate(&self, error: PgError, copying: &Copying) -> PgError {
        match (self.writing, &self.looked) {
            (Some(row), _) => self.locate_row(row, error),
            (None, Some(line)) => line.locate(error),
            (None, None) => error.within(self.reader.place(copying)),
        }
    }

    /// Of a row that was gathered with others the text is gone.
    fn locate_row(&self, row: usize, error: PgError) -> PgError {
        match (&self.looked, self.rows.get(row)) {
            (Some(line), _) if self.one_by_one == Some(true) => line.locate(error),
            (_, Some((_, place))) => error.within(place),
            (_, None) => error,
        }
    }

    /// Whether rows are left to be written.
    pub fn has_rows(&self) -> bool {
        !self.rows.is_empty()
    }

    /// How many rows are written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Looks at the next row, if it is there in full.
    pub(in crate::sql) fn look(
        &mut self,
        plan: &ModifyPlan,
        context: &mut Context<'_>,
    ) -> Result<bool, Halt> {
        let Some((row, copying)) = target(plan) else {
            return Ok(false);
        };
        if self.line.is_none() {
            self.looked = None;
            self.line = match self.reader.next(copying, context.env()) {
                Err(error) if error.context.is_none() && self.reader.is_in_rows(copying) => {
                    return Err(self.locate(error, copying).into());
                }
                next => next?,
            };
        }
        let Some(line) = &self.line else {
            return Ok(false);
        };
        let frame = Frame {
            row: &line.values,
            outer: None,
        };
        let locate = |halt| match halt {
            Halt::Error(error) => Halt::Error(line.locate(error)),
            wait => wait,
        };
        let mut run = Run::alone(context);
        let row = run.eval_all(row, &frame).map_err(locate)?;
        run.check(plan, &row).map_err(locate)?;
        self.size += line.length;
        let place = line.place.clone();
        self.looked = self.line.take();
        self.rows.push((row.into(), place));
        context.exec.end_part();
        Ok(true)
    }

    /// Whether rows are to be written before more are looked at: there are enough of them, or they
    /// have defaults that could see it (`contain_volatile_functions_not_nextval`).
    pub(in crate::sql) fn is_full(&mut self, plan: &ModifyPlan) -> bool {
        let one_by_one = *self.one_by_one.get_or_insert_with(|| {
            let (row, _) = target(plan).unzip();
            row.is_some_and(|row| row.iter().any(is_volatile))
        });
        one_by_one || self.rows.len() >= ROWS_MAX || self.size >= BYTES_MAX
    }

    /// Writes the rows that were looked at, all of them before the first is in an index
    /// (`CopyMultiInsertBufferFlush`).
    pub(in crate::sql) fn write(
        &mut self,
        plan: &ModifyPlan,
        context: &mut Context<'_>,
    ) -> Result<(), Halt> {
        let exec = &mut context.exec;
        let located = |halt, incoming: &Incoming, place| match halt {
            Halt::Error(error) => Halt::Error(incoming.locate_row(place, error)),
            wait => wait,
        };
        let mut tids = Vec::with_capacity(self.rows.len());
        // Until then it is where its reading is: behind the last of them, or at it.
        let last = self.rows.len().saturating_sub(1);
        for (row, _) in &self.rows {
            let tid = exec.insert_tuple(&plan.table, Arc::clone(row));
            tids.push(tid.map_err(|halt| match (halt, target(plan)) {
                (Halt::Error(error), Some((_, copying))) if self.looked.is_none() => {
                    Halt::Error(error.within(self.reader.place(copying)))
                }
                (halt, _) => located(halt, self, last),
            })?);
        }
        for (place, tid) in tids.into_iter().enumerate() {
            self.writing = Some(place);
            let entered = exec.insert_entries(&plan.table, tid);
            entered.map_err(|halt| located(halt, self, place))?;
        }
        self.writing = None;
        self.written += self.rows.len() as u64;
        (self.rows, self.size) = (Vec::new(), 0);
        let events = exec.end_part();
        self.events.extend(events);
        Ok(())
    }

    /// Fires what the rows have queued.
    pub(in crate::sql) fn fire(&self, context: &mut Context<'_>) -> Result<(), Halt> {
        context.exec.queue_parts(&self.events)?;
        super::fire_immediate(context)
    }
}

/// The table's row over the columns that are sent.
fn target(plan: &ModifyPlan) -> Option<(&Vec<Scalar>, &Arc<Copying>)> {
    match &plan.action {
        Action::Insert {
            source: InsertSource::Copied(row, copying),
            ..
        } => Some((row, copying)),
        _ => None,
    }
}

fn is_volatile(default: &Scalar) -> bool {
    let mut volatile = false;
    default.walk(&mut |part| {
        volatile |= match part {
            Scalar::Call(function, _) => function.is_volatile() && function.name != "nextval",
            Scalar::Embedded(..) => true,
            _ => false,
        };
    });
    volatile
}
