//! FROM, row by row: nested loops that hand each joined row on, and can be
//! told to stop.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::equijoin::Probe;
use super::{Frame, Run, Values};
use crate::engine::{Found, Halt, Key, LockStrength, Table, Tid, WaitPolicy};
use crate::sql::catalogs::{Facts, SystemRelation};
use crate::sql::plan::{Derived, FromNode, FromPlan, LockPlan, Scalar, ScanPlan};
use crate::sql::{self, ast};
use crate::types::Datum;

/// The joined row, and where its parts are stored.
pub(super) struct Joined {
    pub(super) row: Values,
    pub(super) tids: Vec<Option<Tid>>,
}

/// What is done with each joined row.
pub(super) type Next<'n, 'p, 'r, 'c> =
    &'n mut dyn FnMut(&mut Run<'p, 'r, 'c>, &mut Joined) -> Result<ControlFlow<()>, Halt>;

impl<'p, 'r, 'c> Run<'p, 'r, 'c> {
    /// Hands on every joined row that WHERE holds for.
    pub(super) fn from(
        &mut self,
        plan: &'p FromPlan,
        outer: Option<&Frame<'_>>,
        next: Next<'_, 'p, 'r, 'c>,
    ) -> Result<(), Halt> {
        let mut joined = Joined {
            row: vec![Datum::Null; plan.width],
            tids: vec![None; plan.tables],
        };
        let filter = &plan.filter;
        let flow = self.node(&plan.root, &mut joined, outer, &mut |run, joined| {
            let row = &joined.row[..];
            if !filter.is_empty() && !run.all_true(filter, &Frame { row, outer })? {
                return Ok(ControlFlow::Continue(()));
            }
            next(run, joined)
        })?;
        // Who asks for one more finds that there is none.
        if flow.is_continue() {
            self.context.check_for_interrupts()?;
        }
        Ok(())
    }

    fn node(
        &mut self,
        node: &'p FromNode,
        joined: &mut Joined,
        outer: Option<&Frame<'_>>,
        next: Next<'_, 'p, 'r, 'c>,
    ) -> Result<ControlFlow<()>, Halt> {
        match node {
            FromNode::Nothing => next(self, joined),
            FromNode::Scan(scan) => self.scan(scan, joined, outer, next),
            FromNode::Derived {
                source,
                offset,
                filter,
                ..
            } => self.derived(source, *offset, filter, joined, outer, next),
            FromNode::Join {
                left,
                right,
                outer: false,
                on,
                ..
            } => self.node(left, joined, outer, &mut |run, joined| {
                run.node(right, joined, outer, &mut |run, joined| {
                    let row = &joined.row[..];
                    if !on.is_empty() && !run.all_true(on, &Frame { row, outer })? {
                        return Ok(ControlFlow::Continue(()));
                    }
                    next(run, joined)
                })
            }),
            FromNode::Join {
                left,
                right,
                on,
                right_columns,
                right_tables,
                ..
            } => self.node(left, joined, outer, &mut |run, joined| {
                let mut matched = false;
                let flow = run.node(right, joined, outer, &mut |run, joined| {
                    let row = &joined.row[..];
                    if !run.all_true(on, &Frame { row, outer })? {
                        return Ok(ControlFlow::Continue(()));
                    }
                    matched = true;
                    next(run, joined)
                })?;
                if matched || flow.is_break() {
                    return Ok(flow);
                }
                joined.row[right_columns.clone()].fill(Datum::Null);
                joined.tids[right_tables.clone()].fill(None);
                next(run, joined)
            }),
        }
    }

    fn scan(
        &mut self,
        scan: &'p ScanPlan,
        joined: &mut Joined,
        outer: Option<&Frame<'_>>,
        next: Next<'_, 'p, 'r, 'c>,
    ) -> Result<ControlFlow<()>, Halt> {
        if scan.current {
            // Its cursor has read it already, and so followed it.
            let current = self.context.fetch.current;
            let exec = &self.context.exec;
            let found = current.and_then(|tid| exec.newest_row(&scan.table, tid));
            let Some((tid, row)) = found else {
                return Ok(ControlFlow::Continue(()));
            };
            joined.place(scan.offset, row);
            return self.scanned(scan, tid, joined, outer, next);
        }
        if self.context.exec.is_serializable() {
            return self.followed(scan, joined, outer, next);
        }
        if let Some(lookup) = &scan.lookup {
            let row = &joined.row[..];
            let mut key = self.eval_all(&lookup.key, &Frame { row, outer })?;
            if key.iter().any(Datum::is_null) {
                return Ok(ControlFlow::Continue(()));
            }
            let key = match key.len() {
                1 => Key::One(key.swap_remove(0)),
                _ => Key::Many(key.into()),
            };
            let found = self.context.exec.lookup(&scan.table, lookup.index, &key);
            let Some((tid, row)) = found else {
                return Ok(ControlFlow::Continue(()));
            };
            joined.place(scan.offset, row);
            return self.scanned(scan, tid, joined, outer, next);
        }
        if let Some(hashed) = &scan.hashed {
            let row = &joined.row[..];
            if let Probe::At(places) = self.probe_table(scan, hashed, &Frame { row, outer })? {
                for tid in places.into_iter().map(Tid) {
                    joined.place(scan.offset, self.context.exec.row(&scan.table, tid));
                    let flow = self.scanned(scan, tid, joined, outer, &mut *next)?;
                    if flow.is_break() {
                        return Ok(flow);
                    }
                }
                return Ok(ControlFlow::Continue(()));
            }
        }
        if scan.may_use_index() {
            let access = self.access(scan);
            if access.is_by_index(scan.wanted.walks) {
                return self.in_order_of(access, scan, joined, outer, next);
            }
        }
        let mut from = Tid(0);
        while let Some((tid, row)) = self.context.exec.next_row(&scan.table, from) {
            joined.place(scan.offset, row);
            from = Tid(tid.0 + 1);
            let flow = self.scanned(scan, tid, joined, outer, &mut *next)?;
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    pub(super) fn scanned(
        &mut self,
        scan: &'p ScanPlan,
        tid: Tid,
        joined: &mut Joined,
        outer: Option<&Frame<'_>>,
        next: Next<'_, 'p, 'r, 'c>,
    ) -> Result<ControlFlow<()>, Halt> {
        self.context.check_for_interrupts()?;
        self.context.spend(1)?;
        let row = &joined.row[..];
        if !self.all_true(&scan.filter, &Frame { row, outer })? {
            return Ok(ControlFlow::Continue(()));
        }
        joined.tids[scan.place] = Some(tid);
        next(self, joined)
    }

    fn derived(
        &mut self,
        source: &'p Derived,
        offset: usize,
        filter: &'p [Scalar],
        joined: &mut Joined,
        outer: Option<&Frame<'_>>,
        next: Next<'_, 'p, 'r, 'c>,
    ) -> Result<ControlFlow<()>, Halt> {
        let rows = match source {
            Derived::Cte(slot, true) if self.ctes[*slot].1.is_none() => {
                let mut flow = ControlFlow::Continue(());
                self.each_of_cte(*slot, &mut |run, values| {
                    flow = run.derive(&values, offset, filter, joined, outer, &mut *next)?;
                    Ok(flow)
                })?;
                // There is no other reader.
                self.ctes[*slot].1 = Some(Arc::default());
                return Ok(flow);
            }
            Derived::Cte(slot, _) => self.cte(*slot)?,
            Derived::Subquery {
                plan,
                kept: Some(slot),
                ..
            } => match self.ctes[*slot].1.clone() {
                Some(rows) => rows,
                None => {
                    let rows: super::Shared = self.query(plan, outer, None)?.into();
                    self.ctes[*slot].1 = Some(rows.clone());
                    rows
                }
            },
            Derived::Subquery {
                plan,
                lateral: false,
                ..
            } => {
                let mut flow = ControlFlow::Continue(());
                self.each(plan, outer, &mut |run, values| {
                    flow = run.derive(&values, offset, filter, joined, outer, &mut *next)?;
                    Ok(flow)
                })?;
                return Ok(flow);
            }
            Derived::Subquery { plan, .. } => {
                let row = &joined.row[..];
                let frame = Frame { row, outer };
                self.query(plan, Some(&frame), None)?.into()
            }
            Derived::Embedded(embedded, relation) => {
                let rows = self.context.exec.embedded_rows(&**embedded, *relation)?;
                rows.iter()
                    .map(|row| row.to_vec())
                    .collect::<Vec<Values>>()
                    .into()
            }
            Derived::System(relation, slot, hashed) => {
                let rows = self.system_rows(relation, *slot)?;
                let row = &joined.row[..];
                let probe = match hashed {
                    Some(hashed) => self.probe_rows(&rows, hashed, &Frame { row, outer })?,
                    None => Probe::All,
                };
                match probe {
                    Probe::All => rows,
                    Probe::At(places) => {
                        let places = places.into_iter();
                        Arc::new(places.map(|place| rows[place as usize].clone()).collect())
                    }
                }
            }
            Derived::Function { call, ordinality } => {
                let row = &joined.row[..];
                let is_set = matches!(call, Scalar::Call(function, _) if function.set);
                let value = self.eval(call, &Frame { row, outer })?;
                let values = match (is_set, &value) {
                    (true, Datum::Array(items)) => items.to_vec(),
                    (true, _) => Vec::new(),
                    (false, _) => vec![value],
                };
                let rows = values.into_iter().zip(1..).map(|(value, number)| {
                    let mut row = match value {
                        Datum::Record(record) => record.values.clone(),
                        single => vec![single],
                    };
                    if *ordinality {
                        row.push(Datum::Int8(number));
                    }
                    row
                });
                rows.collect::<Vec<Values>>().into()
            }
        };
        for values in rows.iter() {
            self.context.check_for_interrupts()?;
            let flow = self.derive(values, offset, filter, joined, outer, &mut *next)?;
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn derive(
        &mut self,
        values: &[Datum],
        offset: usize,
        filter: &'p [Scalar],
        joined: &mut Joined,
        outer: Option<&Frame<'_>>,
        next: Next<'_, 'p, 'r, 'c>,
    ) -> Result<ControlFlow<()>, Halt> {
        self.context.spend(1)?;
        joined.place(offset, values);
        let row = &joined.row[..];
        if !self.all_true(filter, &Frame { row, outer })? {
            return Ok(ControlFlow::Continue(()));
        }
        next(self, joined)
    }

    /// The rows of a system relation, computed once.
    fn system_rows(
        &mut self,
        relation: &SystemRelation,
        slot: usize,
    ) -> Result<super::Shared, Halt> {
        if let Some(rows) = &self.ctes[slot].1 {
            return Ok(rows.clone());
        }
        let sql::Context {
            exec,
            settings,
            database,
            ..
        } = &mut *self.context;
        let rows = exec.rows(|exec| {
            relation.rows(&Facts {
                exec,
                settings,
                database,
            })
        })?;
        let rows: super::Shared = Arc::new(rows.iter().map(|row| row.to_vec()).collect());
        self.ctes[slot].1 = Some(rows.clone());
        Ok(rows)
    }

    /// Takes the row locks of FOR UPDATE. False: the row is to be passed over.
    pub(super) fn lock_rows(
        &mut self,
        locks: &'p [LockPlan],
        from: &'p FromPlan,
        joined: &mut Joined,
        outer: Option<&Frame<'_>>,
    ) -> Result<bool, Halt> {
        let mut moved = false;
        for lock in locks {
            let Some(tid) = joined.tids[lock.place] else {
                continue;
            };
            let strength = match lock.strength {
                ast::LockStrength::KeyShare => LockStrength::KeyShare,
                ast::LockStrength::Share => LockStrength::Share,
                ast::LockStrength::NoKeyUpdate => LockStrength::NoKeyUpdate,
                ast::LockStrength::Update => LockStrength::Update,
            };
            let policy = match lock.wait {
                ast::LockWait::Block => WaitPolicy::Block,
                ast::LockWait::SkipLocked => WaitPolicy::Skip,
                ast::LockWait::NoWait => WaitPolicy::Error,
            };
            match self.context.exec.lock(&lock.table, tid, strength, policy)? {
                Found::Here(_) => {}
                Found::Moved(newest) => {
                    joined.place(lock.offset, self.context.exec.row(&lock.table, newest));
                    joined.tids[lock.place] = Some(newest);
                    moved = true;
                }
                Found::Gone | Found::Mine | Found::Skipped => return Ok(false),
            }
        }
        // All rows of the join are locked before it is looked at again (`ExecLockRows`).
        if moved {
            self.rejoin(&from.root, joined, outer)?;
            let row = &joined.row[..];
            return self.all_true(&from.recheck, &Frame { row, outer });
        }
        Ok(true)
    }

    /// Looks again whether what is LEFT JOINed still joins.
    fn rejoin(
        &mut self,
        node: &'p FromNode,
        joined: &mut Joined,
        outer: Option<&Frame<'_>>,
    ) -> Result<(), Halt> {
        let FromNode::Join {
            left,
            right,
            outer: is_outer,
            on,
            right_columns,
            right_tables,
        } = node
        else {
            return Ok(());
        };
        self.rejoin(left, joined, outer)?;
        self.rejoin(right, joined, outer)?;
        let found = joined.tids[right_tables.clone()]
            .iter()
            .any(Option::is_some);
        if !*is_outer || !found {
            return Ok(());
        }
        let filter = match &**right {
            FromNode::Scan(scan) => &scan.filter[..],
            _ => &[],
        };
        let row = &joined.row[..];
        let frame = Frame { row, outer };
        if !self.all_true(on, &frame)? || !self.all_true(filter, &frame)? {
            joined.row[right_columns.clone()].fill(Datum::Null);
            joined.tids[right_tables.clone()].fill(None);
        }
        Ok(())
    }

    /// Puts the newest version of a row in its place, and says whether WHERE
    /// still holds (`EvalPlanQual`).
    pub(super) fn still_holds(
        &mut self,
        table: &Table,
        newest: Tid,
        offset: usize,
        recheck: &'p [Scalar],
        joined: &mut Joined,
        outer: Option<&Frame<'_>>,
    ) -> Result<bool, Halt> {
        joined.place(offset, self.context.exec.row(table, newest));
        let row = &joined.row[..];
        self.all_true(recheck, &Frame { row, outer })
    }
}

impl Joined {
    pub(super) fn place(&mut self, offset: usize, values: &[Datum]) {
        self.row[offset..offset + values.len()].clone_from_slice(values);
    }
}
