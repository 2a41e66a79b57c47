//! INSERT, UPDATE, DELETE: rows checked, written, returned.

use std::ops::ControlFlow;

use super::query::Sink;
use super::scan::Joined;
use super::{Frame, Run, Values};
use crate::engine::{Found, Halt, Inserted, LockStrength, Table, Tid};
use crate::error::{PgError, SqlState};
use crate::sql::plan::{Action, ConflictPlan, FromPlan, InsertSource, ModifyPlan, Scalar};
use crate::types::Datum;

impl<'p, 'r, 'c> Run<'p, 'r, 'c> {
    /// Runs it to its end, whatever the sink says to the rows of RETURNING; gives how many rows it
    /// touched.
    pub(super) fn modify(
        &mut self,
        plan: &'p ModifyPlan,
        returned: Sink<'_, 'p, 'r, 'c>,
    ) -> Result<u64, Halt> {
        self.begin_ctes(&plan.ctes);
        let mut enough = false;
        let rows: Sink<'_, 'p, 'r, 'c> = &mut |run, row| {
            if !enough {
                enough = returned(run, row)?.is_break();
            }
            Ok(ControlFlow::Continue(()))
        };
        let count = match &plan.action {
            Action::Insert { source, conflict } => {
                self.insert(plan, source, conflict.as_ref(), rows)?
            }
            Action::Update { from, row } => self.update(plan, from, row, rows)?,
            Action::Delete { from } => self.delete(plan, from, rows)?,
        };
        self.finish_ctes(&plan.ctes)?;
        Ok(count)
    }

    fn insert(
        &mut self,
        plan: &'p ModifyPlan,
        source: &'p InsertSource,
        conflict: Option<&'p ConflictPlan>,
        returned: Sink<'_, 'p, 'r, 'c>,
    ) -> Result<u64, Halt> {
        let mut count = 0;
        match source {
            InsertSource::Values(rows) => {
                for row in rows {
                    self.context.check_for_interrupts()?;
                    let row = self.eval_all(row, &Frame::NONE)?;
                    count += self.insert_row(plan, row, conflict, returned)?;
                }
            }
            // Its rows come from the client, in parts (`copy`).
            InsertSource::Copied(..) => {}
            InsertSource::Query(query, row) => {
                // Each row is written before the next is computed.
                self.each(query, None, &mut |run, values| {
                    let frame = Frame {
                        row: &values,
                        outer: None,
                    };
                    let row = run.eval_all(row, &frame)?;
                    count += run.insert_row(plan, row, conflict, returned)?;
                    Ok(ControlFlow::Continue(()))
                })?;
            }
        }
        Ok(count)
    }

    fn insert_row(
        &mut self,
        plan: &'p ModifyPlan,
        row: Values,
        conflict: Option<&'p ConflictPlan>,
        returned: Sink<'_, 'p, 'r, 'c>,
    ) -> Result<u64, Halt> {
        self.check(plan, &row)?;
        let Some(conflict) = conflict else {
            let row: crate::engine::Row = row.into();
            let exec = &mut self.context.exec;
            if plan.returning.is_none() {
                exec.insert(&plan.table, row)?;
                return Ok(1);
            }
            exec.insert(&plan.table, row.clone())?;
            self.return_row(plan, &row, returned)?;
            return Ok(1);
        };
        let arbiters = &conflict.arbiters[..];
        let shared: crate::engine::Row = row.as_slice().into();
        loop {
            let exec = &mut self.context.exec;
            let tid = match exec.insert_unless_conflict(&plan.table, shared.clone(), arbiters)? {
                Inserted::New(_) => {
                    self.return_row(plan, &row, returned)?;
                    return Ok(1);
                }
                Inserted::Conflict(tid) => tid,
            };
            let Some((update, filter)) = &conflict.update else {
                exec.refuse_invisible(&plan.table, tid)?;
                return Ok(0);
            };
            let update = (&update[..], filter.as_ref(), conflict.strength);
            match self.update_conflicting(plan, tid, &row, update, returned)? {
                Some(count) => return Ok(count),
                // It went away meanwhile: perhaps the row can be inserted now.
                None => continue,
            }
        }
    }

    /// ON CONFLICT DO UPDATE of one row; `None` if it is not there any more.
    fn update_conflicting(
        &mut self,
        plan: &'p ModifyPlan,
        tid: Tid,
        excluded: &[Datum],
        (update, filter, strength): (&'p [Scalar], Option<&'p Scalar>, LockStrength),
        returned: Sink<'_, 'p, 'r, 'c>,
    ) -> Result<Option<u64>, Halt> {
        let table = &plan.table;
        if self.context.exec.is_own_work(table, tid) {
            return Err(PgError::new(
                SqlState::CARDINALITY_VIOLATION,
                "ON CONFLICT DO UPDATE command cannot affect row a second time",
            )
            .with_hint("Ensure that no rows proposed for insertion within the same command have duplicate constrained values.")
            .into());
        }
        let found = self.context.exec.lock_conflicting(table, tid, strength)?;
        let Found::Here(tid) = found else {
            return Ok(None);
        };
        let old = self.context.exec.row(table, tid).to_vec();
        let both = [&old[..], excluded].concat();
        let frame = Frame {
            row: &both,
            outer: None,
        };
        if let Some(filter) = filter
            && !self.is_true(filter, &frame)?
        {
            return Ok(Some(0));
        }
        let new = self.eval_all(update, &frame)?;
        self.check(plan, &new)?;
        match self
            .context
            .exec
            .update(table, tid, new.as_slice().into())?
        {
            Found::Here(_) => {
                self.return_row(plan, &new, returned)?;
                Ok(Some(1))
            }
            _ => Ok(None),
        }
    }

    fn update(
        &mut self,
        plan: &'p ModifyPlan,
        from: &'p FromPlan,
        row: &'p [Scalar],
        returned: Sink<'_, 'p, 'r, 'c>,
    ) -> Result<u64, Halt> {
        let mut count = 0;
        self.from(from, None, &mut |run, joined| {
            let updated = run.change(plan, from, joined, |run, tid, joined| {
                let frame = Frame {
                    row: &joined.row,
                    outer: None,
                };
                let new = run.eval_all(row, &frame)?;
                run.check(plan, &new)?;
                let found = run
                    .context
                    .exec
                    .update(&plan.table, tid, new.as_slice().into())?;
                if let Found::Here(_) = found {
                    joined.row[..new.len()].clone_from_slice(&new);
                }
                Ok(found)
            })?;
            if updated {
                count += 1;
                run.return_row(plan, &joined.row, returned)?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(count)
    }

    fn delete(
        &mut self,
        plan: &'p ModifyPlan,
        from: &'p FromPlan,
        returned: Sink<'_, 'p, 'r, 'c>,
    ) -> Result<u64, Halt> {
        let mut count = 0;
        self.from(from, None, &mut |run, joined| {
            let deleted = run.change(plan, from, joined, |run, tid, _| {
                run.context.exec.delete(&plan.table, tid)
            })?;
            if deleted {
                count += 1;
                run.return_row(plan, &joined.row, returned)?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(count)
    }

    /// Changes the target's row, following it if others have changed it
    /// meanwhile, as long as WHERE still holds.
    fn change(
        &mut self,
        plan: &'p ModifyPlan,
        from: &'p FromPlan,
        joined: &mut Joined,
        mut apply: impl FnMut(&mut Self, Tid, &mut Joined) -> Result<Found, Halt>,
    ) -> Result<bool, Halt> {
        let Some(mut tid) = joined.tids[0] else {
            return Ok(false);
        };
        loop {
            match apply(self, tid, joined)? {
                Found::Here(_) => return Ok(true),
                Found::Moved(newest) => {
                    if !self.still_holds(&plan.table, newest, 0, &from.recheck, joined, None)? {
                        return Ok(false);
                    }
                    tid = newest;
                }
                Found::Gone | Found::Mine | Found::Skipped => return Ok(false),
            }
        }
    }

    fn return_row(
        &mut self,
        plan: &'p ModifyPlan,
        row: &[Datum],
        returned: Sink<'_, 'p, 'r, 'c>,
    ) -> Result<(), Halt> {
        if let Some((targets, _)) = &plan.returning {
            let frame = Frame { row, outer: None };
            let row = self.eval_all(targets, &frame)?;
            self.spend_on_row(&row)?;
            let _ = returned(self, row)?;
        }
        Ok(())
    }

    /// NOT NULL, then CHECK (`ExecConstraints`).
    pub(super) fn check(&mut self, plan: &'p ModifyPlan, row: &[Datum]) -> Result<(), Halt> {
        for (column, value) in plan.table.columns.iter().zip(row) {
            if column.not_null && value.is_null() {
                let (table, row) = (&plan.table.name, describe(&plan.table, row));
                let error = PgError::not_null_violation(table, &column.name, &row);
                return Err(error.in_schema(&plan.table.schema).into());
            }
        }
        for (name, check) in &plan.checks {
            // NULL passes.
            if self.eval(check, &Frame { row, outer: None })? == Datum::Bool(false) {
                let (table, row) = (&plan.table.name, describe(&plan.table, row));
                let error = PgError::check_violation(table, name, &row);
                return Err(error.in_schema(&plan.table.schema).into());
            }
        }
        Ok(())
    }
}

/// A row as errors show it; long values are cut (`ExecBuildSlotValueDescription`).
fn describe(table: &Table, row: &[Datum]) -> String {
    const LENGTH_MAX: usize = 64;
    let columns = table.columns.iter().zip(row);
    let shown = columns
        .filter(|(column, _)| !column.dropped)
        .map(|(_, value)| {
            let mut text = value.to_string();
            if text.len() > LENGTH_MAX {
                let mut end = LENGTH_MAX;
                while !text.is_char_boundary(end) {
                    end -= 1;
                }
                text.truncate(end);
                text.push_str("...");
            }
            text
        });
    shown.collect::<Vec<_>>().join(", ")
}
