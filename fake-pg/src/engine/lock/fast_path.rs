//! Weak locks on relations that nobody locks strongly: held without the lock table.
//!
//! Every statement takes one, and they conflict with nothing but strong ones. Each session has a few
//! slots for them; who asks for a strong lock first moves what is in the slots to the table, and while
//! it holds or awaits its own, weak ones go to the table too.
//!
//! Source: `EligibleForRelationFastPath`, `FastPathTransferRelationLocks` in `lock.c`.

use super::{AdvisoryScope, LockEntry, LockMode, LockTable, LockTag, Request};
use crate::engine::{Pid, TableId};

/// `FP_LOCK_SLOTS_PER_BACKEND`.
const SLOTS: usize = 16;

const MODES: [LockMode; 3] = [
    LockMode::AccessShare,
    LockMode::RowShare,
    LockMode::RowExclusive,
];

/// What a session holds of a relation.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    relation: TableId,
    pid: Pid,
    /// How often, in each of [`MODES`].
    counts: [u32; 3],
}

impl Slot {
    fn modes(&self) -> impl Iterator<Item = LockMode> + use<'_> {
        let held = MODES.iter().filter(|mode| self.counts[**mode as usize] > 0);
        held.copied()
    }
}

/// Whether a mode keeps weak ones out of the slots (`ConflictsWithRelationFastPath`).
pub(super) fn is_strong(mode: LockMode) -> bool {
    mode > LockMode::ShareUpdateExclusive
}

impl LockTable {
    /// Takes a lock in a slot in one go, for a transaction that nobody is in the way of: whether it did
    /// not hold it before. None: it is to be asked for as any lock is.
    pub(in crate::engine) fn take_fast(
        &mut self,
        tag: LockTag,
        pid: Pid,
        mode: LockMode,
    ) -> Option<bool> {
        let LockTag::Relation(relation) = tag else {
            return None;
        };
        let place = mode as usize;
        if place >= MODES.len() || pid.0 <= 0 || !self.waiting.is_empty() {
            return None;
        }
        // What is in the table may have been moved there.
        if !self.locks.is_empty() && self.locks.contains_key(&tag) {
            return None;
        }
        let mut own = 0;
        for slot in self.slots.iter_mut().filter(|slot| slot.pid == pid) {
            if slot.relation == relation {
                let count = &mut slot.counts[place];
                let is_new = *count == 0;
                *count = 1.max(*count);
                return Some(is_new);
            }
            own += 1;
        }
        if own >= SLOTS {
            return None;
        }
        let mut counts = [0; 3];
        counts[place] = 1;
        self.slots.push(Slot {
            relation,
            pid,
            counts,
        });
        Some(true)
    }

    /// Takes a lock in a slot, if it is of that kind.
    pub(super) fn acquire_fast(&mut self, tag: LockTag, request: Request) -> bool {
        let LockTag::Relation(relation) = tag else {
            return false;
        };
        let Request { pid, mode, scope } = request;
        // What is prepared has no session.
        let eligible = (mode as usize) < MODES.len() && pid.0 > 0;
        if !eligible || scope != AdvisoryScope::Transaction {
            return false;
        }
        if !self.locks.is_empty()
            && let Some(lock) = self.locks.get(&tag)
            // Who has stood in the queue is given the lock where it stood.
            && (lock.is_strongly_wanted() || lock.queue.iter().any(|waiter| waiter.pid == pid))
        {
            return false;
        }
        let mut own = 0;
        for slot in &mut self.slots {
            if slot.pid == pid {
                if slot.relation == relation {
                    slot.counts[mode as usize] += 1;
                    return true;
                }
                own += 1;
            }
        }
        if own == SLOTS {
            return false;
        }
        let mut counts = [0; 3];
        counts[mode as usize] = 1;
        self.slots.push(Slot {
            relation,
            pid,
            counts,
        });
        true
    }

    /// Gives back one hold in a slot, and says whether there was one.
    pub(super) fn release_fast(&mut self, tag: LockTag, pid: Pid, mode: LockMode) -> bool {
        let Some(place) = self.slot(tag, pid) else {
            return false;
        };
        let counts = &mut self.slots[place].counts;
        match counts.get_mut(mode as usize) {
            None | Some(0) => return false,
            Some(count) => *count -= 1,
        }
        if *counts == [0; 3] {
            self.slots.remove(place);
        }
        true
    }

    pub(super) fn holds_fast(&self, tag: LockTag, pid: Pid, mode: LockMode) -> bool {
        self.slot(tag, pid).is_some_and(|place| {
            let count = self.slots[place].counts.get(mode as usize);
            count.is_some_and(|count| *count > 0)
        })
    }

    /// Whether somebody else's slot stands against a mode.
    pub(super) fn is_fast_against(&self, tag: LockTag, pid: Pid, mode: LockMode) -> bool {
        let mut others = self.slots.iter().filter(|slot| slot.pid != pid);
        is_strong(mode)
            && others.any(|slot| {
                LockTag::Relation(slot.relation) == tag
                    && slot.modes().any(|held| held.conflicts(mode))
            })
    }

    /// Moves what is in slots of a relation to the table, of one session or of all.
    pub(super) fn transfer(&mut self, tag: LockTag, from: Option<Pid>) {
        let LockTag::Relation(relation) = tag else {
            return;
        };
        let moves =
            |slot: &mut Slot| slot.relation == relation && from.is_none_or(|from| slot.pid == from);
        let mut moved: Vec<Slot> = Vec::new();
        self.slots.retain_mut(|slot| {
            let moves = moves(slot);
            if moves {
                moved.push(slot.clone());
            }
            !moves
        });
        // Process by process, in the order of their places, which here is that of their pids: a deadlock
        // is told by the first way that leads around it.
        moved.sort_by_key(|slot| slot.pid);
        for slot in moved {
            let lock = self.locks.entry(tag).or_default();
            for mode in MODES {
                for _ in 0..slot.counts[mode as usize] {
                    lock.hold(Request {
                        pid: slot.pid,
                        mode,
                        scope: AdvisoryScope::Transaction,
                    });
                }
            }
        }
    }

    /// The lines of `pg_locks`.
    pub(super) fn fast_entries(&self) -> impl Iterator<Item = LockEntry> + use<'_> {
        self.slots.iter().flat_map(|slot| {
            slot.modes().map(|mode| LockEntry {
                tag: LockTag::Relation(slot.relation),
                pid: slot.pid,
                mode,
                granted: true,
                fastpath: true,
            })
        })
    }

    fn slot(&self, tag: LockTag, pid: Pid) -> Option<usize> {
        let LockTag::Relation(relation) = tag else {
            return None;
        };
        let mut slots = self.slots.iter();
        slots.position(|slot| (slot.relation, slot.pid) == (relation, pid))
    }
}
