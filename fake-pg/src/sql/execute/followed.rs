//! Reading a table as PostgreSQL's plan would: the order in which an index leads to rows, and for
//! serializable transactions all that is read, since that decides whom they conflict with.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::scan::{Joined, Next};
use super::{Frame, Run};
use crate::engine::{Chain, Halt, Index, Tid};
use crate::sql::plan::{Access, FromNode, Scalar, ScanPlan, SelectPlan};
use crate::types::Datum;

impl<'p, 'r, 'c> Run<'p, 'r, 'c> {
    pub(super) fn followed(
        &mut self,
        scan: &'p ScanPlan,
        joined: &mut Joined,
        outer: Option<&Frame<'_>>,
        next: Next<'_, 'p, 'r, 'c>,
    ) -> Result<ControlFlow<()>, Halt> {
        let access = self.access(scan);
        self.read(scan, access, joined, outer, next)
    }

    /// By which path a table is read.
    pub(super) fn access(&self, scan: &'p ScanPlan) -> &'p Access {
        let seqscan = self.context.settings.is_on("enable_seqscan");
        scan.access(seqscan, self.context.fetch.declared)
    }

    /// Whether rows come in the order that is wanted, so that LIMIT ends the reading of them.
    pub(super) fn reads_in_order(&self, plan: &'p SelectPlan) -> bool {
        let FromNode::Scan(scan) = &plan.from.root else {
            return false;
        };
        let follows = self.context.exec.is_serializable();
        let walks = plan.timing.walks && scan.walks_index();
        if !follows && !walks {
            return false;
        }
        match self.access(scan) {
            Access::Index { index, sorted, .. } => *sorted && (follows || index.computed.is_none()),
            _ => false,
        }
    }

    fn read(
        &mut self,
        scan: &'p ScanPlan,
        access: &'p Access,
        joined: &mut Joined,
        outer: Option<&Frame<'_>>,
        next: Next<'_, 'p, 'r, 'c>,
    ) -> Result<ControlFlow<()>, Halt> {
        match access {
            Access::Seq => self.read_pages(scan, joined, outer, next),
            Access::Index {
                index,
                conditions,
                backward,
                ..
            } => {
                let conditions: Vec<&Scalar> = conditions
                    .iter()
                    .map(|&place| &scan.filter[place])
                    .collect();
                let mut chains = self.entries(scan, index, &conditions, joined, outer)?;
                self.sort_entries(scan, index, &mut chains);
                if *backward {
                    chains.reverse();
                }
                let exec = &mut self.context.exec;
                let chains = exec.read_index(&scan.table, index, chains)?;
                for chain in chains.iter() {
                    let seen = self.context.exec.read_chains(&scan.table, &[*chain])?;
                    let flow = self.hand_on(scan, &seen, joined, outer, &mut *next)?;
                    if flow.is_break() {
                        return Ok(flow);
                    }
                }
                Ok(ControlFlow::Continue(()))
            }
            Access::Bitmap { arms, any } => {
                let mut found: Vec<Vec<Chain>> = Vec::new();
                for (index, conditions) in arms {
                    let conditions: Vec<&Scalar> = conditions.iter().collect();
                    let chains = self.entries(scan, index, &conditions, joined, outer)?;
                    let exec = &mut self.context.exec;
                    let chains = exec.read_index(&scan.table, index, chains)?;
                    found.push(chains.to_vec());
                }
                let chains = combined(found, *any);
                self.read_bitmap(scan, &chains, joined, outer, next)
            }
            Access::Keys { index, of } => {
                let keys = self.keys_of(&scan.filter[*of], joined, outer)?;
                for key in keys {
                    let chains = self.entries_at(scan, index, &key);
                    let exec = &mut self.context.exec;
                    let chains = exec.read_index(&scan.table, index, chains)?;
                    let seen = exec.read_chains(&scan.table, &chains)?;
                    let flow = self.hand_on(scan, &seen, joined, outer, &mut *next)?;
                    if flow.is_break() {
                        return Ok(flow);
                    }
                }
                Ok(ControlFlow::Continue(()))
            }
            Access::Extremes(ends) => {
                for (column, access) in ends {
                    let _ = self.read(scan, access, joined, outer, &mut |run, joined| {
                        if joined.row[*column].is_null() {
                            return Ok(ControlFlow::Continue(()));
                        }
                        next(run, joined).map(|_| ControlFlow::Break(()))
                    })?;
                }
                Ok(ControlFlow::Continue(()))
            }
        }
    }

    fn read_pages(
        &mut self,
        scan: &'p ScanPlan,
        joined: &mut Joined,
        outer: Option<&Frame<'_>>,
        next: Next<'_, 'p, 'r, 'c>,
    ) -> Result<ControlFlow<()>, Halt> {
        let table = &scan.table;
        let pages = self.context.exec.read_table(table)?;
        let (mut page, mut from) = (0, Tid(0));
        while let Some((tid, row)) = self.context.exec.next_row(table, from) {
            joined.place(scan.offset, row);
            from = Tid(tid.0 + 1);
            let on = self.context.exec.page_of(table, tid);
            while page < on {
                page += 1;
                self.context.exec.read_page(table, page)?;
            }
            if self
                .scanned(scan, tid, joined, outer, &mut *next)?
                .is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
        while page + 1 < pages {
            page += 1;
            self.context.exec.read_page(table, page)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Page by page: all that a bitmap names of a page is read at once.
    fn read_bitmap(
        &mut self,
        scan: &'p ScanPlan,
        mut chains: &[Chain],
        joined: &mut Joined,
        outer: Option<&Frame<'_>>,
        next: Next<'_, 'p, 'r, 'c>,
    ) -> Result<ControlFlow<()>, Halt> {
        let table = &scan.table;
        while let Some(first) = chains.first() {
            let page = self.context.exec.page_of(table, *first);
            let mut here = 0;
            while here < chains.len() && self.context.exec.page_of(table, chains[here]) == page {
                here += 1;
            }
            let (now, later) = chains.split_at(here);
            let seen = self.context.exec.read_chains(table, now)?;
            if self
                .hand_on(scan, &seen, joined, outer, &mut *next)?
                .is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
            chains = later;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn hand_on(
        &mut self,
        scan: &'p ScanPlan,
        seen: &[Tid],
        joined: &mut Joined,
        outer: Option<&Frame<'_>>,
        next: Next<'_, 'p, 'r, 'c>,
    ) -> Result<ControlFlow<()>, Halt> {
        for &tid in seen {
            joined.place(scan.offset, self.context.exec.row(&scan.table, tid));
            if self
                .scanned(scan, tid, joined, outer, &mut *next)?
                .is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The rows that indexes select, in their order: a row stands where its first version does of
    /// those that differ in no indexed column, since that is where its entries lead (HOT).
    pub(super) fn in_order_of(
        &mut self,
        access: &'p Access,
        scan: &'p ScanPlan,
        joined: &mut Joined,
        outer: Option<&Frame<'_>>,
        next: Next<'_, 'p, 'r, 'c>,
    ) -> Result<ControlFlow<()>, Halt> {
        let mut found = Vec::new();
        let mut from = Tid(0);
        while let Some((tid, row)) = self.context.exec.next_row(&scan.table, from) {
            joined.place(scan.offset, row);
            from = Tid(tid.0 + 1);
            let row = &joined.row[..];
            if self.selects(access, scan, &Frame { row, outer })? {
                found.push(tid);
            }
        }
        if found.len() > 1 {
            let mut placed = self.context.exec.with_heads(&scan.table, &found);
            placed.sort_unstable();
            if let Access::Index {
                index, backward, ..
            } = access
            {
                placed.sort_by_cached_key(|&(_, tid)| self.index_key(scan, index, tid));
                if *backward {
                    placed.reverse();
                }
            }
            let rows = placed.into_iter().map(|(_, tid)| tid).collect();
            // What is pruned meanwhile changes the order, but not for a statement that waits.
            let rows = self.context.exec.once_found(rows)?;
            return self.hand_on(scan, &rows, joined, outer, next);
        }
        self.hand_on(scan, &found, joined, outer, next)
    }

    /// Whether the conditions hold that indexes decide.
    fn selects(
        &mut self,
        access: &'p Access,
        scan: &'p ScanPlan,
        frame: &Frame<'_>,
    ) -> Result<bool, Halt> {
        match access {
            Access::Index { conditions, .. } => {
                for &place in conditions {
                    if !self.is_true(&scan.filter[place], frame)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Access::Bitmap { arms, any } => {
                for (_, conditions) in arms {
                    if self.all_true(conditions, frame)? == *any {
                        return Ok(*any);
                    }
                }
                Ok(!any)
            }
            Access::Seq | Access::Keys { .. } | Access::Extremes(_) => Ok(true),
        }
    }

    /// The entries of an index that conditions select, whether or not their rows are seen.
    fn entries(
        &mut self,
        scan: &'p ScanPlan,
        index: &Index,
        conditions: &[&'p Scalar],
        joined: &mut Joined,
        outer: Option<&Frame<'_>>,
    ) -> Result<Vec<Chain>, Halt> {
        let mut found = Vec::new();
        for tid in self.context.exec.versions(&scan.table) {
            joined.place(scan.offset, self.context.exec.row(&scan.table, tid));
            let mut holds = true;
            for condition in conditions {
                let row = &joined.row[..];
                holds = holds && self.is_true(condition, &Frame { row, outer })?;
            }
            if holds && self.context.exec.is_entered(&scan.table, index, tid) {
                found.push(tid);
            }
        }
        Ok(self.context.exec.heads(&scan.table, &found))
    }

    /// The distinct values of a subquery that a column is compared with.
    fn keys_of(
        &mut self,
        condition: &'p Scalar,
        joined: &Joined,
        outer: Option<&Frame<'_>>,
    ) -> Result<BTreeSet<Datum>, Halt> {
        let Scalar::Subquery(subquery) = condition else {
            return Ok(BTreeSet::new());
        };
        let row = &joined.row[..];
        let rows = self.subquery_rows(subquery, &Frame { row, outer }, None)?;
        let values = rows.iter().map(|row| row[0].clone());
        Ok(values.filter(|value| !value.is_null()).collect())
    }

    /// The entries of an index over one column for a value.
    fn entries_at(&self, scan: &ScanPlan, index: &Index, value: &Datum) -> Vec<Chain> {
        let (exec, table) = (&self.context.exec, &scan.table);
        let column = index.columns[0];
        let mut found = exec.versions(table);
        found.retain(|&tid| {
            let is_there = exec.row(table, tid)[column] == *value;
            is_there && exec.is_entered(table, index, tid)
        });
        exec.heads(table, &found)
    }

    /// In the order of the index: nulls last.
    fn sort_entries(&self, scan: &ScanPlan, index: &Index, chains: &mut [Chain]) {
        chains.sort_by_cached_key(|&tid| (self.index_key(scan, index, tid), tid));
    }

    fn index_key(&self, scan: &ScanPlan, index: &Index, tid: Tid) -> Vec<(bool, Datum)> {
        let row = self.context.exec.row(&scan.table, tid);
        let values = index.columns.iter().map(|&column| row[column].clone());
        values.map(|value| (value.is_null(), value)).collect()
    }
}

/// What some of the arms name, or all of them, in the order of the heap.
fn combined(arms: Vec<Vec<Chain>>, any: bool) -> Vec<Chain> {
    let mut chains: Vec<Chain> = arms.concat();
    chains.sort();
    chains.dedup();
    if !any {
        chains.retain(|chain| arms.iter().all(|arm| arm.contains(chain)));
    }
    chains
}
