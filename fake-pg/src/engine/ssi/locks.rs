//! SIREAD locks: on tuples, pages, whole relations, and on the pages of indexes.
//!
//! Invariant: nobody holds a lock that a coarser one of his covers. Too many small ones become one
//! that is coarser.

use std::collections::BTreeSet;

use super::{Ssi, Sxact};
use crate::engine::{Pid, TableId};

/// What can be read (`PREDICATELOCKTARGETTAG`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The table.
    pub table: TableId,
    /// The index on it; none for the table itself.
    pub index: Option<TableId>,
    /// How much of it. The coarser comes first.
    pub granule: Granule,
}

/// How much of a relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Granule {
    /// All of it.
    Relation,
    /// A page.
    Page(u32),
    /// A version of a row: its page, and its place there from 1.
    Tuple(u32, u32),
}

impl Granule {
    /// Whether it includes the other, and is not the same.
    fn covers(self, other: Granule) -> bool {
        match (self, other) {
            (Granule::Relation, Granule::Page(_) | Granule::Tuple(..)) => true,
            (Granule::Page(page), Granule::Tuple(on, _)) => page == on,
            _ => false,
        }
    }

    /// How many locks on parts of it one transaction may hold: `max_pred_locks_per_page`, and
    /// `max_pred_locks_per_relation`, whose default of -2 stands for half of
    /// `max_pred_locks_per_transaction`, less one.
    fn parts_max(self) -> usize {
        match self {
            Granule::Relation => 31,
            Granule::Page(_) => 2,
            Granule::Tuple(..) => usize::MAX,
        }
    }
}

impl Target {
    pub(super) fn new(table: TableId, index: Option<TableId>, granule: Granule) -> Target {
        Target {
            table,
            index,
            granule,
        }
    }

    fn with(&self, granule: Granule) -> Target {
        Target { granule, ..*self }
    }

    /// What is coarser, the least first.
    fn parents(&self) -> impl Iterator<Item = Target> + use<'_> {
        let page = match self.granule {
            Granule::Tuple(page, _) => Some(Granule::Page(page)),
            _ => None,
        };
        let relation = (self.granule != Granule::Relation).then_some(Granule::Relation);
        page.into_iter()
            .chain(relation)
            .map(|granule| self.with(granule))
    }

    fn is_part_of(&self, other: &Target) -> bool {
        self.table == other.table && self.index == other.index && other.granule.covers(self.granule)
    }
}

impl Ssi {
    /// Takes a lock (`PredicateLockAcquire`).
    pub(super) fn acquire(&mut self, xact: Sxact, target: Target) {
        let held = &self.get(xact).locks;
        if held.contains(&target) || target.parents().any(|parent| held.contains(&parent)) {
            return;
        }
        self.get_mut(xact).locks.insert(target);
        self.locks.entry(target).or_default().insert(xact);
        // Of all that have grown too many parts, the coarsest takes their place.
        let parts = |of: &Target| {
            let held = self.get(xact).locks.iter();
            held.filter(|target| target.is_part_of(of)).count()
        };
        let promoted = target
            .parents()
            .filter(|parent| parts(parent) > parent.granule.parts_max())
            .last();
        match promoted {
            Some(parent) => self.acquire(xact, parent),
            None => {
                let held = self.get(xact).locks.iter();
                let parts: Vec<Target> = held
                    .filter(|held| held.is_part_of(&target))
                    .copied()
                    .collect();
                for part in parts {
                    self.release(xact, &part);
                }
            }
        }
    }

    /// Gives one lock up.
    pub(super) fn release(&mut self, xact: Sxact, target: &Target) {
        self.get_mut(xact).locks.remove(target);
        if let Some(holders) = self.locks.get_mut(target) {
            holders.remove(&xact);
            if holders.is_empty() {
                self.locks.remove(target);
            }
        }
    }

    /// Gives all of them up.
    pub(super) fn release_locks(&mut self, xact: Sxact) {
        for target in std::mem::take(&mut self.get_mut(xact).locks) {
            self.release(xact, &target);
        }
    }

    pub(super) fn holders(&self, target: &Target) -> BTreeSet<Sxact> {
        self.locks.get(target).cloned().unwrap_or_default()
    }

    /// A table is locked as a whole by whoever has locked a part of it or of its indexes, or of that
    /// one index (`TransferPredicateLocksToHeapRelation`): what the pages held is no longer where it
    /// was.
    pub(in crate::engine) fn coarsen(&mut self, table: TableId, index: Option<TableId>) {
        let moved: Vec<(Target, BTreeSet<Sxact>)> = self
            .locks
            .iter()
            .filter(|(target, _)| {
                target.table == table && (index.is_none() || target.index == index)
            })
            .map(|(target, holders)| (*target, holders.clone()))
            .collect();
        for (target, holders) in moved {
            for xact in holders {
                self.release(xact, &target);
                // What is held of its pages besides is kept.
                let whole = Target::new(table, None, Granule::Relation);
                self.get_mut(xact).locks.insert(whole);
                self.locks.entry(whole).or_default().insert(xact);
            }
        }
    }

    /// All locks, and the pids of their holders.
    pub(super) fn all_locks(&self) -> impl Iterator<Item = (&Target, Option<Pid>)> {
        self.locks.iter().flat_map(move |(target, holders)| {
            holders.iter().map(move |&xact| {
                let state = self.get(xact);
                (target, (state.pid != Pid(0)).then_some(state.pid))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::mvcc::Snapshot;

    /// What one transaction holds after it has read these, one after the other.
    #[track_caller]
    fn check(read: &[Granule], held: &[Granule]) {
        let mut ssi = Ssi::default();
        let me = ssi.begin(Pid(1), false, &Snapshot::default());
        let me = me.expect("a writer is always followed");
        for &granule in read {
            ssi.acquire(me, Target::new(TableId(1), None, granule));
        }
        let found: Vec<Granule> = ssi.all_locks().map(|(target, _)| target.granule).collect();
        assert_eq!(found, held);
    }

    #[test]
    fn what_is_covered_is_not_locked_again() {
        use Granule::*;
        check(&[Tuple(0, 1), Tuple(0, 1)], &[Tuple(0, 1)]);
        check(
            &[Page(0), Tuple(0, 1), Tuple(1, 1)],
            &[Page(0), Tuple(1, 1)],
        );
        check(&[Tuple(0, 1), Relation, Page(3)], &[Relation]);
    }

    #[test]
    fn the_third_row_of_a_page_locks_the_page_and_too_many_pages_the_table() {
        use Granule::*;
        check(
            &[Tuple(0, 1), Tuple(0, 2), Tuple(1, 1), Tuple(0, 3)],
            &[Page(0), Tuple(1, 1)],
        );
        let pages: Vec<Granule> = (0..31).map(Page).collect();
        check(&pages, &pages);
        let pages: Vec<Granule> = (0..32).map(Page).collect();
        check(&pages, &[Relation]);
    }
}
