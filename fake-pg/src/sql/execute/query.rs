//! Queries as sources of rows: VALUES, set operations, recursion, ORDER BY over finished rows.
//!
//! Rows are handed on one by one, as the nodes of a PostgreSQL plan give them: what is done with a row
//! is done before the next is computed, and LIMIT ends the computing. What must have all rows
//! first, takes them first: sorts, groups, DISTINCT, INTERSECT. SELECT is `select`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::select::compare_keys;
use super::{Frame, Run, Values};
use crate::engine::Halt;
use crate::error::{PgError, SqlState};
use crate::sql::ast::SetOp;
use crate::sql::plan::{
    Body, Cast, CteSource, QueryPlan, Scalar, SetPlan, SortKey, Tail, ValuesPlan,
};
use crate::types::{Datum, Env};

/// What is done with each row of a query; it says when it has enough.
pub(super) type Sink<'n, 'p, 'r, 'c> =
    &'n mut dyn FnMut(&mut Run<'p, 'r, 'c>, Values) -> Result<ControlFlow<()>, Halt>;

/// How many rows to pass over yet, and how many to give.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) offset: usize,
    pub(super) limit: usize,
}

impl Window {
    pub(super) const ALL: Window = Window {
        offset: 0,
        limit: usize::MAX,
    };

    /// Hands a row on, if it is not passed over.
    pub(super) fn hand<'p, 'r, 'c>(
        &mut self,
        run: &mut Run<'p, 'r, 'c>,
        row: Values,
        sink: Sink<'_, 'p, 'r, 'c>,
    ) -> Result<ControlFlow<()>, Halt> {
        if self.offset > 0 {
            self.offset -= 1;
            return Ok(ControlFlow::Continue(()));
        }
        self.limit -= 1;
        let flow = sink(run, row)?;
        Ok(match self.limit {
            0 => ControlFlow::Break(()),
            _ => flow,
        })
    }
}

impl<'p, 'r, 'c> Run<'p, 'r, 'c> {
    /// The rows of a query, `most` at most.
    pub(super) fn query(
        &mut self,
        plan: &'p QueryPlan,
        outer: Option<&Frame<'_>>,
        most: Option<usize>,
    ) -> Result<Vec<Values>, Halt> {
        let most = most.unwrap_or(usize::MAX);
        let mut found = Vec::new();
        if most == 0 {
            return Ok(found);
        }
        let result = self.each(plan, outer, &mut |_, row| {
            found.push(row);
            Ok(match found.len() >= most {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            })
        });
        match result {
            Ok(()) => Ok(found),
            Err(halt) => {
                // The outermost query is the last to say what it had found.
                self.context.exec.journal.found = found;
                Err(halt)
            }
        }
    }

    /// Hands on the rows of a query, one by one.
    pub(super) fn each(
        &mut self,
        plan: &'p QueryPlan,
        outer: Option<&Frame<'_>>,
        sink: Sink<'_, 'p, 'r, 'c>,
    ) -> Result<(), Halt> {
        self.context.spend(1)?;
        self.begin_ctes(&plan.ctes);
        match &plan.body {
            Body::Select(select) => self.select(select, outer, sink),
            Body::Values(values) => self.values(values, outer, sink),
            Body::SetOperation(set) => self.set_operation(set, outer, sink),
        }
    }

    fn values(
        &mut self,
        values: &'p ValuesPlan,
        outer: Option<&Frame<'_>>,
        sink: Sink<'_, 'p, 'r, 'c>,
    ) -> Result<(), Halt> {
        let frame = Frame { row: &[], outer };
        if !values.tail.order.is_empty() {
            let mut rows = Vec::with_capacity(values.rows.len());
            for row in &values.rows {
                rows.push(self.listed(row, &frame)?);
            }
            return self.tail(rows, &values.tail, outer, sink);
        }
        let mut window = self.window(&values.tail, outer)?;
        if window.limit == 0 {
            return Ok(());
        }
        for row in &values.rows {
            self.context.check_for_interrupts()?;
            let row = self.listed(row, &frame)?;
            if window.hand(self, row, sink)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn listed(&mut self, row: &'p [Scalar], frame: &Frame<'_>) -> Result<Values, Halt> {
        let row = self.eval_all(row, frame)?;
        self.spend_on_row(&row)?;
        Ok(row)
    }

    pub(super) fn window(
        &mut self,
        tail: &'p Tail,
        outer: Option<&Frame<'_>>,
    ) -> Result<Window, Halt> {
        let mut number = |scalar: &'p Option<Scalar>, none: usize, code: SqlState, clause: &str| {
            let Some(scalar) = scalar else {
                return Ok(none);
            };
            match self.eval(scalar, &Frame { row: &[], outer })?.as_i64() {
                None => Ok(none),
                Some(number) => usize::try_from(number).map_err(|_| {
                    Halt::Error(PgError::new(code, format!("{clause} must not be negative")))
                }),
            }
        };
        let invalid = SqlState::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE;
        let offset_code = "2201X".parse().unwrap_or(invalid);
        Ok(Window {
            limit: number(&tail.limit, usize::MAX, invalid, "LIMIT")?,
            offset: number(&tail.offset, 0, offset_code, "OFFSET")?,
        })
    }

    /// ORDER BY, OFFSET and LIMIT over finished rows.
    pub(super) fn tail(
        &mut self,
        mut rows: Vec<Values>,
        tail: &'p Tail,
        outer: Option<&Frame<'_>>,
        sink: Sink<'_, 'p, 'r, 'c>,
    ) -> Result<(), Halt> {
        let mut window = self.window(tail, outer)?;
        if window.limit == 0 {
            return Ok(());
        }
        if !tail.order.is_empty() {
            let mut keyed = Vec::with_capacity(rows.len());
            for row in rows {
                keyed.push((self.keys(&tail.order, &Frame { row: &row, outer })?, row));
            }
            keyed.sort_by(|a, b| compare_keys(&tail.order, &a.0, &b.0));
            rows = keyed.into_iter().map(|(_, row)| row).collect();
        }
        for row in rows {
            self.context.check_for_interrupts()?;
            if window.hand(self, row, sink)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn keys(&mut self, order: &'p [SortKey], frame: &Frame<'_>) -> Result<Values, Halt> {
        let mut keys = Vec::with_capacity(order.len());
        for key in order {
            keys.push(self.eval(&key.by, frame)?);
        }
        Ok(keys)
    }

    fn set_operation(
        &mut self,
        plan: &'p SetPlan,
        outer: Option<&Frame<'_>>,
        sink: Sink<'_, 'p, 'r, 'c>,
    ) -> Result<(), Halt> {
        let sides = [(&plan.left, &plan.casts.0), (&plan.right, &plan.casts.1)];
        if plan.op == SetOp::Union && plan.all && plan.tail.order.is_empty() {
            // One side after the other, and the second only if the first is not enough.
            let mut window = self.window(&plan.tail, outer)?;
            let mut enough = window.limit == 0;
            for (side, casts) in sides {
                if enough {
                    break;
                }
                self.each(side, outer, &mut |run, mut row| {
                    cast_row(&mut row, casts)?;
                    let flow = window.hand(run, row, sink)?;
                    enough = flow.is_break();
                    Ok(flow)
                })?;
            }
            return Ok(());
        }
        let mut left = self.query(&plan.left, outer, None)?;
        let mut right = self.query(&plan.right, outer, None)?;
        for (rows, (_, casts)) in [&mut left, &mut right].into_iter().zip(sides) {
            for row in rows {
                cast_row(row, casts)?;
            }
        }
        let rows = match (plan.op, plan.all) {
            (SetOp::Union, true) => {
                left.append(&mut right);
                left
            }
            (SetOp::Union, false) => {
                left.append(&mut right);
                // In the order of a sort, which is how PostgreSQL mostly does it.
                left.into_iter()
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect()
            }
            (op, all) => {
                // How often each row of the right side may still match.
                let mut counts: BTreeMap<Values, usize> = BTreeMap::new();
                for row in right {
                    *counts.entry(row).or_default() += 1;
                }
                if !all {
                    left = distinct(left);
                }
                left.retain(|row| {
                    let matched = match counts.get_mut(row) {
                        Some(0) | None => false,
                        Some(count) => {
                            *count -= usize::from(all);
                            true
                        }
                    };
                    matched == (op == SetOp::Intersect)
                });
                left
            }
        };
        self.tail(rows, &plan.tail, outer, sink)
    }

    /// The rows of a common table expression that are not known yet, one by one.
    pub(super) fn each_of_cte(
        &mut self,
        slot: usize,
        sink: Sink<'_, 'p, 'r, 'c>,
    ) -> Result<(), Halt> {
        match self.ctes[slot].0.map(|cte| &cte.source) {
            Some(CteSource::Query(query)) => self.each(query, None, sink),
            // It goes on to its end, whoever reads it.
            Some(CteSource::Modify(modify)) => self.modify(modify, sink).map(drop),
            Some(CteSource::Recursive(left, right, all)) => {
                self.recursive(slot, left, right, *all, sink)
            }
            None => Ok(()),
        }
    }

    /// WITH RECURSIVE: what the last round found is what the next one reads.
    fn recursive(
        &mut self,
        slot: usize,
        left: &'p QueryPlan,
        right: &'p QueryPlan,
        all: bool,
        sink: Sink<'_, 'p, 'r, 'c>,
    ) -> Result<(), Halt> {
        let plan = self.ctes[slot].0;
        let mut seen = BTreeSet::new();
        let mut enough = false;
        let mut term = left;
        while !enough {
            let mut working = Vec::new();
            self.each(term, None, &mut |run, row| {
                if !all && !seen.insert(row.clone()) {
                    return Ok(ControlFlow::Continue(()));
                }
                working.push(row.clone());
                let flow = sink(run, row)?;
                enough = flow.is_break();
                Ok(flow)
            })?;
            if working.is_empty() {
                break;
            }
            self.ctes[slot] = (plan, Some(Arc::new(working)));
            term = right;
        }
        Ok(())
    }
}

fn cast_row(row: &mut Values, casts: &[Option<Cast>]) -> Result<(), Halt> {
    for (value, cast) in row.iter_mut().zip(casts) {
        if let Some(cast) = cast {
            let before = std::mem::replace(value, Datum::Null);
            *value = cast.apply(before, Env::default())?;
        }
    }
    Ok(())
}

/// Each row once, in the order of their first occurrence.
pub(super) fn distinct(rows: Vec<Values>) -> Vec<Values> {
    let mut seen = BTreeSet::new();
    rows.into_iter()
        .filter(|row| seen.insert(row.clone()))
        .collect()
}
