//! SELECT: rows filtered, locked, projected, grouped and sorted.
//!
//! When the targets are computed can be seen, by functions that act and by expressions that fail:
//! before the row is locked, also for rows that OFFSET passes over, and on the side of the sort that
//! the plan says (`plan::timing`).

use std::cmp::Ordering;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::query::{Sink, Window, distinct};
use super::scan::Joined;
use super::{Frame, Run, Values};
use crate::engine::Halt;
use crate::sql::plan::{DistinctPlan, SelectPlan, SortKey, When};
use crate::types::Datum;

impl<'p, 'r, 'c> Run<'p, 'r, 'c> {
    pub(super) fn select(
        &mut self,
        plan: &'p SelectPlan,
        outer: Option<&Frame<'_>>,
        sink: Sink<'_, 'p, 'r, 'c>,
    ) -> Result<(), Halt> {
        if plan.grouping.is_some() {
            return self.select_groups(plan, outer, sink);
        }
        if plan.sorts_result() && (plan.distinct.is_some() || !plan.tail.order.is_empty()) {
            let mut rows = Vec::new();
            let mut all = Window::ALL;
            self.from(&plan.from, outer, &mut |run, joined| {
                let row = &joined.row;
                run.project(plan, &Frame { row, outer }, &mut all, &mut |_, row| {
                    rows.push(row);
                    Ok(ControlFlow::Continue(()))
                })
            })?;
            if plan.distinct.is_some() {
                rows = distinct(rows);
            }
            return self.tail(rows, &plan.tail, outer, sink);
        }
        let sorts = !plan.tail.order.is_empty() && !self.reads_in_order(plan);
        let mut window = self.window(&plan.tail, outer)?;
        if window.limit == 0 {
            return Ok(());
        }
        if sorts || plan.distinct.is_some() {
            return self.select_sorted(plan, outer, window, sink);
        }
        // Rows are handed on as they are found, so that LIMIT ends the search.
        self.from(&plan.from, outer, &mut |run, joined| {
            if plan.timing.targets.is_empty() {
                if !plan.locking.is_empty()
                    && !run.lock_rows(&plan.locking, &plan.from, joined, outer)?
                {
                    return Ok(ControlFlow::Continue(()));
                }
                if window.offset > 0 {
                    window.offset -= 1;
                    return Ok(ControlFlow::Continue(()));
                }
            } else if !plan.locking.is_empty() {
                let made = run.lock_projected(plan, joined, outer, &mut |run, joined| {
                    let row = &joined.row;
                    run.eval_all(&plan.targets, &Frame { row, outer })
                })?;
                return run.locked(made, joined, &mut window, sink);
            }
            if window.offset == 0 {
                run.note_place(joined);
            }
            let row = &joined.row;
            run.project(plan, &Frame { row, outer }, &mut window, sink)
        })
    }

    /// `LockRows` stands above the projection: what the targets do is done before the row is locked,
    /// also for one that is skipped, and again if it was changed meanwhile.
    fn lock_projected(
        &mut self,
        plan: &'p SelectPlan,
        joined: &mut Joined,
        outer: Option<&Frame<'_>>,
        project: &mut dyn FnMut(&mut Self, &Joined) -> Result<Values, Halt>,
    ) -> Result<Option<Values>, Halt> {
        let tids = joined.tids.clone();
        let made = project(self, joined)?;
        if !self.lock_rows(&plan.locking, &plan.from, joined, outer)? {
            return Ok(None);
        }
        if joined.tids == tids {
            return Ok(Some(made));
        }
        let row = &joined.row;
        self.eval_all(&plan.targets, &Frame { row, outer })
            .map(Some)
    }

    /// Hands on a row that was projected before it was locked.
    fn locked(
        &mut self,
        made: Option<Values>,
        joined: &Joined,
        window: &mut Window,
        sink: Sink<'_, 'p, 'r, 'c>,
    ) -> Result<ControlFlow<()>, Halt> {
        let Some(row) = made else {
            return Ok(ControlFlow::Continue(()));
        };
        self.spend_on_row(&row)?;
        if window.offset == 0 {
            self.note_place(joined);
        }
        window.hand(self, row, sink)
    }

    pub(super) fn spend_on_row(&mut self, row: &[Datum]) -> Result<(), Halt> {
        self.context.spend(3 + row.len())?;
        Ok(self.context.spend_on(row)?)
    }

    /// Remembers where the row that was just made is stored, if somebody will ask.
    fn note_place(&mut self, joined: &Joined) {
        if self.context.fetch.wants_places {
            self.context.fetch.places.push(joined.tids.clone());
        }
    }

    /// The targets over one row; a set among them makes several rows.
    fn project(
        &mut self,
        plan: &'p SelectPlan,
        frame: &Frame<'_>,
        window: &mut Window,
        sink: Sink<'_, 'p, 'r, 'c>,
    ) -> Result<ControlFlow<()>, Halt> {
        let mut row = self.eval_all(&plan.targets, frame)?;
        self.spend_on_row(&row)?;
        if plan.sets.is_empty() {
            return window.hand(self, row, sink);
        }
        let items = plan.sets.iter().map(|&set| match &row[set] {
            Datum::Array(items) => items.clone(),
            _ => Arc::new([]),
        });
        let items: Vec<Arc<[Datum]>> = items.collect();
        // The longest says how many rows there are; the others end with NULL.
        let length = items.iter().map(|items| items.len()).max().unwrap_or(0);
        self.context.spend((3 + row.len()) * length)?;
        for place in 0..length {
            let mut next = row.clone();
            for (&set, items) in plan.sets.iter().zip(&items) {
                next[set] = items.get(place).cloned().unwrap_or(Datum::Null);
            }
            if window.hand(self, next, sink)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if plan.timing.repeats {
                // All other targets are computed once more to find the set at its end
                // (`ExecProjectSRF`).
                for (place, target) in plan.targets.iter().enumerate() {
                    if !plan.sets.contains(&place) {
                        row[place] = self.eval(target, frame)?;
                    }
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn select_sorted(
        &mut self,
        plan: &'p SelectPlan,
        outer: Option<&Frame<'_>>,
        mut window: Window,
        sink: Sink<'_, 'p, 'r, 'c>,
    ) -> Result<(), Halt> {
        let order = &plan.tail.order;
        let timing = &plan.timing;
        let mut found: Vec<(Values, Values, Joined)> = Vec::new();
        self.from(&plan.from, outer, &mut |run, joined| {
            let row = &joined.row;
            let frame = Frame { row, outer };
            let mut early = Vec::new();
            for &place in &timing.early {
                early.push(run.eval(&plan.targets[place], &frame)?);
            }
            let keys = run.keys(order, &frame)?;
            run.context.spend(2 + joined.row.len() / 4)?;
            run.context.spend_on(&keys)?;
            run.context.spend_on(&early)?;
            let copy = Joined {
                row: joined.row.clone(),
                tids: joined.tids.clone(),
            };
            found.push((keys, early, copy));
            Ok(ControlFlow::Continue(()))
        })?;
        found.sort_by(|a, b| compare_keys(order, &a.0, &b.0));
        let mut last_on: Option<Values> = None;
        for (keys, early, mut joined) in found {
            self.context.check_for_interrupts()?;
            let mut project = |run: &mut Self, joined: &Joined| {
                let row = &joined.row;
                run.late(plan, &Frame { row, outer }, &keys, &early)
            };
            if !timing.targets.is_empty() && !plan.locking.is_empty() {
                let made = self.lock_projected(plan, &mut joined, outer, &mut project)?;
                if self.locked(made, &joined, &mut window, sink)?.is_break() {
                    break;
                }
                continue;
            }
            if !plan.locking.is_empty()
                && !self.lock_rows(&plan.locking, &plan.from, &mut joined, outer)?
            {
                continue;
            }
            let row = &joined.row;
            let frame = Frame { row, outer };
            if let Some(DistinctPlan::On(on)) = &plan.distinct {
                let on = self.eval_all(on, &frame)?;
                if last_on.as_ref() == Some(&on) {
                    continue;
                }
                last_on = Some(on);
            }
            if window.offset == 0 {
                self.note_place(&joined);
            }
            let row = match timing.targets.is_empty() {
                true if window.offset > 0 => Vec::new(),
                true => self.eval_all(&plan.targets, &frame)?,
                false => project(self, &joined)?,
            };
            self.spend_on_row(&row)?;
            if window.hand(self, row, sink)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The targets of a row that has been sorted.
    fn late(
        &mut self,
        plan: &'p SelectPlan,
        frame: &Frame<'_>,
        keys: &[Datum],
        early: &[Datum],
    ) -> Result<Values, Halt> {
        if plan.timing.targets.is_empty() {
            return self.eval_all(&plan.targets, frame);
        }
        let mut row = Vec::with_capacity(plan.targets.len());
        for (target, when) in plan.targets.iter().zip(&plan.timing.targets) {
            row.push(match *when {
                When::Key(place) => keys[place].clone(),
                When::Early(place) => early[place].clone(),
                When::Late => self.eval(target, frame)?,
            });
        }
        Ok(row)
    }

    /// Groups, then the targets over each.
    fn select_groups(
        &mut self,
        plan: &'p SelectPlan,
        outer: Option<&Frame<'_>>,
        sink: Sink<'_, 'p, 'r, 'c>,
    ) -> Result<(), Halt> {
        let groups = self.groups(plan, outer)?;
        let (order, sorts_result) = (&plan.tail.order, plan.sorts_result());
        let mut window = self.window(&plan.tail, outer)?;
        if window.limit == 0 {
            return Ok(());
        }
        if sorts_result || (order.is_empty() && plan.distinct.is_none()) {
            let (mut rows, mut all) = (Vec::new(), Window::ALL);
            for group in groups {
                let frame = Frame { row: &group, outer };
                if !self.having(plan, &frame)? {
                    continue;
                }
                let flow = match sorts_result {
                    true => self.project(plan, &frame, &mut all, &mut |_, row| {
                        rows.push(row);
                        Ok(ControlFlow::Continue(()))
                    })?,
                    false => self.project(plan, &frame, &mut window, sink)?,
                };
                if flow.is_break() {
                    break;
                }
            }
            if !sorts_result {
                return Ok(());
            }
            if plan.distinct.is_some() {
                rows = distinct(rows);
            }
            return self.tail(rows, &plan.tail, outer, sink);
        }
        let mut keyed: Vec<(Values, Values)> = Vec::with_capacity(groups.len());
        for group in groups {
            let frame = Frame { row: &group, outer };
            if self.having(plan, &frame)? {
                keyed.push((self.keys(order, &frame)?, group));
            }
        }
        keyed.sort_by(|a, b| compare_keys(order, &a.0, &b.0));
        let mut last_on: Option<Values> = None;
        for (keys, group) in keyed {
            let frame = Frame { row: &group, outer };
            if let Some(DistinctPlan::On(on)) = &plan.distinct {
                let on = self.eval_all(on, &frame)?;
                if last_on.as_ref() == Some(&on) {
                    continue;
                }
                last_on = Some(on);
            }
            let row = self.late(plan, &frame, &keys, &[])?;
            self.spend_on_row(&row)?;
            if window.hand(self, row, sink)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn having(&mut self, plan: &'p SelectPlan, frame: &Frame<'_>) -> Result<bool, Halt> {
        match &plan.having {
            Some(having) => self.is_true(having, frame),
            None => Ok(true),
        }
    }
}

impl SelectPlan {
    /// ORDER BY speaks of the result rather than of the rows it is made from.
    fn sorts_result(&self) -> bool {
        !self.sets.is_empty() || matches!(self.distinct, Some(DistinctPlan::Rows))
    }
}

pub(super) fn compare_values(
    a: &Datum,
    b: &Datum,
    descending: bool,
    nulls_first: bool,
) -> Ordering {
    match (a.is_null(), b.is_null()) {
        (true, true) => Ordering::Equal,
        (true, false) if nulls_first => Ordering::Less,
        (true, false) => Ordering::Greater,
        (false, true) if nulls_first => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) if descending => b.cmp(a),
        (false, false) => a.cmp(b),
    }
}

pub(super) fn compare_keys(order: &[SortKey], a: &[Datum], b: &[Datum]) -> Ordering {
    for (place, key) in order.iter().enumerate() {
        match compare_values(&a[place], &b[place], key.descending, key.nulls_first) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
    Ordering::Equal
}
