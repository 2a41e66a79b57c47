//! SELECT, VALUES, set operations, recursion.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::scan::Joined;
use super::{Frame, Run, Values};
use crate::engine::Halt;
use crate::error::{PgError, SqlState};
use crate::sql::ast::SetOp;
use crate::sql::plan::{
    Body, DistinctPlan, QueryPlan, Scalar, SelectPlan, SetPlan, SortKey, Tail, ValuesPlan,
};
use crate::types::{Datum, Env};

/// How many rows to pass over, and how many to give.
#[derive(Clone, Copy)]
struct Window {
    offset: usize,
    limit: usize,
}

impl Window {
    /// The part of the rows that it shows.
    fn cut<T>(self, rows: Vec<T>) -> Vec<T> {
        if self.offset == 0 && self.limit >= rows.len() {
            return rows;
        }
        rows.into_iter()
            .skip(self.offset)
            .take(self.limit)
            .collect()
    }
}

impl<'p> Run<'p, '_, '_> {
    /// The rows of a query, `most` at most.
    pub(super) fn query(
        &mut self,
        plan: &'p QueryPlan,
        outer: Option<&Frame<'_>>,
        most: Option<usize>,
    ) -> Result<Vec<Values>, Halt> {
        self.begin_ctes(&plan.ctes);
        let mut found = Vec::new();
        let result = match &plan.body {
            Body::Select(select) => {
                let done = self.select(select, outer, most, &mut found);
                done.map(|()| std::mem::take(&mut found))
            }
            Body::Values(values) => self.values(values, outer, most),
            Body::SetOperation(set) => self.set_operation(set, outer, most),
        };
        if result.is_err() {
            // The outermost query is the last to say what it had found.
            self.context.exec.journal.found = found;
        }
        result
    }

    fn values(
        &mut self,
        values: &'p ValuesPlan,
        outer: Option<&Frame<'_>>,
        most: Option<usize>,
    ) -> Result<Vec<Values>, Halt> {
        let Tail {
            order,
            limit,
            offset,
        } = &values.tail;
        let most = most.filter(|_| order.is_empty() && limit.is_none() && offset.is_none());
        let mut rows = Vec::with_capacity(values.rows.len());
        for row in values.rows.iter().take(most.unwrap_or(usize::MAX)) {
            rows.push(self.eval_all(row, &Frame { row: &[], outer })?);
        }
        self.tail(rows, &values.tail, outer)
    }
    fn window(&mut self, tail: &'p Tail, outer: Option<&Frame<'_>>) -> Result<Window, Halt> {
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
    fn tail(
        &mut self,
        rows: Vec<Values>,
        tail: &'p Tail,
        outer: Option<&Frame<'_>>,
    ) -> Result<Vec<Values>, Halt> {
        let window = self.window(tail, outer)?;
        if tail.order.is_empty() {
            return Ok(window.cut(rows));
        }
        let mut keyed = Vec::with_capacity(rows.len());
        for row in rows {
            keyed.push((self.keys(&tail.order, &Frame { row: &row, outer })?, row));
        }
        keyed.sort_by(|a, b| compare_keys(&tail.order, &a.0, &b.0));
        Ok(window.cut(keyed).into_iter().map(|(_, row)| row).collect())
    }

    fn keys(&mut self, order: &'p [SortKey], frame: &Frame<'_>) -> Result<Values, Halt> {
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
        most: Option<usize>,
    ) -> Result<Vec<Values>, Halt> {
        // One side after the other, and the second only if the first is not enough.
        let most = most.filter(|_| plan.appends());
        let mut left = self.query(&plan.left, outer, most)?;
        let mut right = match most {
            Some(most) if left.len() >= most => Vec::new(),
            most => self.query(&plan.right, outer, most.map(|most| most - left.len()))?,
        };
        for (rows, casts) in [(&mut left, &plan.casts.0), (&mut right, &plan.casts.1)] {
            for (column, cast) in casts.iter().enumerate() {
                let Some(cast) = cast else { continue };
                for row in rows.iter_mut() {
                    let value = std::mem::replace(&mut row[column], Datum::Null);
                    row[column] = cast.apply(value, Env::default())?;
                }
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
        self.tail(rows, &plan.tail, outer)
    }

    /// WITH RECURSIVE: what the last round found is what the next one reads.
    pub(super) fn recursive(
        &mut self,
        slot: usize,
        left: &'p QueryPlan,
        right: &'p QueryPlan,
        all: bool,
    ) -> Result<Vec<Values>, Halt> {
        let plan = self.ctes[slot].0;
        let mut seen = BTreeSet::new();
        let mut fresh = |rows: Vec<Values>| -> Vec<Values> {
            match all {
                true => rows,
                false => rows
                    .into_iter()
                    .filter(|row| seen.insert(row.clone()))
                    .collect(),
            }
        };
        let mut working = fresh(self.query(left, None, None)?);
        let mut result = Vec::new();
        while !working.is_empty() {
            result.extend(working.iter().cloned());
            self.ctes[slot] = (plan, Some(Arc::new(working)));
            working = fresh(self.query(right, None, None)?);
        }
        Ok(result)
    }

    fn select(
        &mut self,
        plan: &'p SelectPlan,
        outer: Option<&Frame<'_>>,
        most: Option<usize>,
        found: &mut Vec<Values>,
    ) -> Result<(), Halt> {
        if plan.grouping.is_some() {
            *found = self.select_groups(plan, outer)?;
            return Ok(());
        }
        let mut sorts_later = !plan.tail.order.is_empty();
        let mut sorts_input = sorts_later && !plan.sorts_result();
        if sorts_input && self.context.exec.is_serializable() && self.reads_in_order(plan) {
            (sorts_input, sorts_later) = (false, false);
        }
        if sorts_input || plan.distinct.is_some() {
            return self.select_sorted(plan, outer, most, found);
        }
        // Rows are handed on as they are found, so that LIMIT ends the search.
        let window = self.window(&plan.tail, outer)?;
        let wanted = match plan.set.is_some() || sorts_later {
            true => usize::MAX,
            false => window.limit.min(most.unwrap_or(usize::MAX)),
        };
        if wanted == 0 {
            return Ok(());
        }
        // Sorted later, they are no result yet.
        let mut unsorted = Vec::new();
        let rows = match wanted {
            usize::MAX if sorts_later => &mut unsorted,
            _ => &mut *found,
        };
        let mut passed = 0;
        let acts = plan.projects_before_locking();
        self.from(&plan.from, outer, &mut |run, joined| {
            let before = rows.len();
            if acts && !run.lock_projected(plan, joined, outer, rows)?
                || !acts
                    && !plan.locking.is_empty()
                    && !run.lock_rows(&plan.locking, &plan.from.recheck, joined, outer)?
            {
                return Ok(ControlFlow::Continue(()));
            }
            if wanted != usize::MAX && passed < window.offset {
                passed += 1;
                rows.truncate(before);
                return Ok(ControlFlow::Continue(()));
            }
            if !acts {
                let row = &joined.row;
                run.project(plan, &Frame { row, outer }, rows)?;
            }
            run.note_place(joined);
            Ok(match rows.len() >= wanted {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            })
        })?;
        if wanted == usize::MAX {
            let rows = std::mem::take(rows);
            if !sorts_later {
                *found = window.cut(rows);
                return Ok(());
            }
            *found = self.tail(rows, &plan.tail, outer)?;
        }
        Ok(())
    }

    /// `LockRows` stands above the projection: what the targets do is done before the row is locked,
    /// also for one that is skipped, and again if it was changed meanwhile.
    fn lock_projected(
        &mut self,
        plan: &'p SelectPlan,
        joined: &mut Joined,
        outer: Option<&Frame<'_>>,
        rows: &mut Vec<Values>,
    ) -> Result<bool, Halt> {
        let (mut made, tids) = (Vec::new(), joined.tids.clone());
        let row = &joined.row;
        self.project(plan, &Frame { row, outer }, &mut made)?;
        let locked = self.lock_rows(&plan.locking, &plan.from.recheck, joined, outer)?;
        if locked && joined.tids != tids {
            made.clear();
            let row = &joined.row;
            self.project(plan, &Frame { row, outer }, &mut made)?;
        }
        if locked {
            rows.append(&mut made);
        }
        Ok(locked)
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
        rows: &mut Vec<Values>,
    ) -> Result<(), Halt> {
        let row = self.eval_all(&plan.targets, frame)?;
        self.context.spend(3 + row.len())?;
        self.context.spend_on(&row)?;
        let Some(set) = plan.set else {
            rows.push(row);
            return Ok(());
        };
        if let Datum::Array(items) = &row[set] {
            self.context.spend((3 + row.len()) * items.len())?;
            for item in items.iter() {
                let mut row = row.clone();
                row[set] = item.clone();
                rows.push(row);
            }
        }
        Ok(())
    }

    fn select_sorted(
        &mut self,
        plan: &'p SelectPlan,
        outer: Option<&Frame<'_>>,
        most: Option<usize>,
        result: &mut Vec<Values>,
    ) -> Result<(), Halt> {
        let mut window = self.window(&plan.tail, outer)?;
        if plan.set.is_none() && !matches!(plan.distinct, Some(DistinctPlan::Rows)) {
            window.limit = window.limit.min(most.unwrap_or(usize::MAX));
        }
        let order = if plan.sorts_result() {
            &[][..]
        } else {
            &plan.tail.order
        };
        let mut found: Vec<(Values, Joined)> = Vec::new();
        self.from(&plan.from, outer, &mut |run, joined| {
            let keys = run.keys(
                order,
                &Frame {
                    row: &joined.row,
                    outer,
                },
            )?;
            run.context.spend(2 + joined.row.len() / 4)?;
            run.context.spend_on(&keys)?;
            let copy = Joined {
                row: joined.row.clone(),
                tids: joined.tids.clone(),
            };
            found.push((keys, copy));
            Ok(ControlFlow::Continue(()))
        })?;
        found.sort_by(|a, b| compare_keys(order, &a.0, &b.0));
        let each_counts = plan.set.is_none() && !matches!(plan.distinct, Some(DistinctPlan::Rows));
        let mut unfinished = Vec::new();
        let rows = match each_counts {
            true => &mut *result,
            false => &mut unfinished,
        };
        let mut passed = 0;
        let acts = plan.projects_before_locking();
        let mut last_on: Option<Values> = None;
        for (_, mut joined) in found {
            let full = rows.len() >= window.limit;
            if full && each_counts {
                break;
            }
            let before = rows.len();
            if acts && !self.lock_projected(plan, &mut joined, outer, rows)?
                || !acts
                    && !plan.locking.is_empty()
                    && !self.lock_rows(&plan.locking, &plan.from.recheck, &mut joined, outer)?
            {
                continue;
            }
            let frame = Frame {
                row: &joined.row,
                outer,
            };
            if let Some(DistinctPlan::On(on)) = &plan.distinct {
                let on = self.eval_all(on, &frame)?;
                if last_on.as_ref() == Some(&on) {
                    continue;
                }
                last_on = Some(on);
            }
            if each_counts && passed < window.offset {
                passed += 1;
                rows.truncate(before);
                continue;
            }
            if !acts {
                self.project(plan, &frame, rows)?;
            }
            self.note_place(&joined);
        }
        if !each_counts {
            *result = match &plan.distinct {
                Some(DistinctPlan::Rows) => self.tail(distinct(unfinished), &plan.tail, outer)?,
                _ => window.cut(unfinished),
            };
        }
        Ok(())
    }

    /// Groups, then the targets over each.
    fn select_groups(
        &mut self,
        plan: &'p SelectPlan,
        outer: Option<&Frame<'_>>,
    ) -> Result<Vec<Values>, Halt> {
        let groups = self.groups(plan, outer)?;
        let sorts_result = plan.sorts_result();
        let mut keyed: Vec<(Values, Values)> = Vec::with_capacity(groups.len());
        for group in groups {
            let frame = Frame { row: &group, outer };
            if let Some(having) = &plan.having
                && !self.is_true(having, &frame)?
            {
                continue;
            }
            let keys = match sorts_result {
                true => Vec::new(),
                false => self.keys(&plan.tail.order, &frame)?,
            };
            keyed.push((keys, group));
        }
        if !sorts_result {
            keyed.sort_by(|a, b| compare_keys(&plan.tail.order, &a.0, &b.0));
        }
        let mut rows = Vec::with_capacity(keyed.len());
        let mut last_on: Option<Values> = None;
        for (_, group) in keyed {
            let frame = Frame { row: &group, outer };
            if let Some(DistinctPlan::On(on)) = &plan.distinct {
                let on = self.eval_all(on, &frame)?;
                if last_on.as_ref() == Some(&on) {
                    continue;
                }
                last_on = Some(on);
            }
            self.project(plan, &frame, &mut rows)?;
        }
        if let Some(DistinctPlan::Rows) = plan.distinct {
            rows = distinct(rows);
        }
        match sorts_result {
            true => self.tail(rows, &plan.tail, outer),
            false => Ok(self.window(&plan.tail, outer)?.cut(rows)),
        }
    }
}

impl SelectPlan {
    /// ORDER BY speaks of the result rather than of the rows it is made from.
    fn sorts_result(&self) -> bool {
        self.set.is_some() || matches!(self.distinct, Some(DistinctPlan::Rows))
    }

    /// Whether rows are locked, and it can be seen that targets are computed before.
    fn projects_before_locking(&self) -> bool {
        let is_plain = |target: &Scalar| {
            matches!(
                target,
                Scalar::Column(_) | Scalar::Const(_) | Scalar::Param(_) | Scalar::Outer(..)
            )
        };
        !self.locking.is_empty() && !self.targets.iter().all(is_plain)
    }
}

/// Each row once, in the order of their first occurrence.
fn distinct(rows: Vec<Values>) -> Vec<Values> {
    let mut seen = BTreeSet::new();
    rows.into_iter()
        .filter(|row| seen.insert(row.clone()))
        .collect()
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

fn compare_keys(order: &[SortKey], a: &[Datum], b: &[Datum]) -> Ordering {
    for (place, key) in order.iter().enumerate() {
        match compare_values(&a[place], &b[place], key.descending, key.nulls_first) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
    Ordering::Equal
}
