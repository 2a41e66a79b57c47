//! Rows as they are stored: every version of every row, and the unique indexes over them.
//!
//! A version never moves and never changes but for its `xmax`, `cmax`, `next` and lockers. All
//! versions of a row form a chain along `next`. Who has locked a row is written in it, as in
//! PostgreSQL's multixacts; what that means is `row_lock`'s business. Index entries name every
//! version: who looks a key up asks `mvcc` which of them it sees. The places of versions that
//! `vacuum` has removed are used again, the lowest first.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::catalog::Table;
use super::constraint::{Index, IndexState};
use super::lock::LockStrength;
use super::{CommandId, Tid, Xid};
use crate::error::PgError;
use crate::types::Datum;

/// The values of one version, shared by heap, WAL and whoever reads it.
pub type Row = Arc<[Datum]>;

/// One version of a row.
#[derive(Clone, Debug)]
pub struct Tuple {
    /// Who wrote it.
    pub xmin: Xid,
    /// In which of its commands.
    pub cmin: CommandId,
    /// Who last updated or deleted it; [`Xid::NONE`] if nobody. That one may have aborted.
    pub xmax: Xid,
    /// In which of its commands.
    pub cmax: CommandId,
    /// The version that `xmax` wrote; itself if `xmax` deleted it (`t_ctid`).
    pub next: Tid,
    /// How the updater locked it: [`LockStrength::Update`] if it deleted it or changed its key.
    pub taken: LockStrength,
    /// Who else has locked it, by xid, and how. Those who have ended do not count.
    pub lockers: Vec<(Xid, LockStrength)>,
    /// Its values.
    pub row: Row,
}

impl Tuple {
    /// What stands in a place where no version is.
    fn nothing() -> Tuple {
        Tuple {
            xmin: Xid::NEVER,
            cmin: CommandId(0),
            xmax: Xid::NONE,
            cmax: CommandId(0),
            next: Tid(0),
            taken: LockStrength::Update,
            lockers: Vec::new(),
            row: Row::default(),
        }
    }

    fn is_nothing(&self) -> bool {
        self.xmin == Xid::NEVER
    }
}

/// A key of an index. One column, the common case, costs no allocation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Of one column.
    One(Datum),
    /// Of several.
    Many(Arc<[Datum]>),
}

impl Key {
    /// The key of a row, if the index has one for it that conflicts with its like: NULLs mostly do
    /// not. That a key cannot be computed is an error only when it is first asked for.
    pub fn of(index: &Index, row: &[Datum]) -> Option<Key> {
        if index.computed.is_some() {
            return Key::computed(index, row).ok().flatten();
        }
        if !index.nulls_not_distinct && index.columns.iter().any(|&column| row[column].is_null()) {
            return None;
        }
        match index.columns[..] {
            [column] => Some(Key::One(row[column].clone())),
            _ => Some(Key::Many(
                index
                    .columns
                    .iter()
                    .map(|&column| row[column].clone())
                    .collect(),
            )),
        }
    }
}

impl Key {
    /// The key of a row in an index with expressions or a predicate.
    pub(super) fn computed(index: &Index, row: &[Datum]) -> Result<Option<Key>, PgError> {
        let Some(computed) = &index.computed else {
            return Ok(Key::of(index, row));
        };
        let Some(mut key) = computed.program.key(row)? else {
            return Ok(None);
        };
        if !index.nulls_not_distinct && key.iter().any(Datum::is_null) {
            return Ok(None);
        }
        Ok(Some(match key.len() {
            1 => Key::One(key.swap_remove(0)),
            _ => Key::Many(key.into()),
        }))
    }
}

#[derive(Clone, Debug)]
struct UniqueIndex {
    definition: Arc<Index>,
    entries: BTreeSet<(Key, Tid)>,
}

/// The versions of one table.
#[derive(Clone, Debug)]
pub struct Heap {
    tuples: Vec<Tuple>,
    /// The unique indexes by slot. One that is dropped leaves its slot empty.
    unique: Vec<Option<UniqueIndex>>,
    /// The places below the end where no version is, the lowest last.
    free: Vec<Tid>,
    /// How many versions have been superseded and not been removed, more or less.
    superseded: u32,
    /// When there are so many, it is time to look which of them can be removed.
    prune_at: u32,
    /// Whether a crash empties it.
    pub(super) unlogged: bool,
}

/// So many superseded versions are not worth a look.
const PRUNE_MIN: u32 = 250;

impl Heap {
    pub(super) const EMPTY: Heap = Heap {
        tuples: Vec::new(),
        unique: Vec::new(),
        free: Vec::new(),
        superseded: 0,
        prune_at: PRUNE_MIN,
        unlogged: false,
    };

    /// An empty heap with indexes.
    pub(super) fn new(indexes: &[Arc<Index>], unlogged: bool) -> Self {
        let mut heap = Heap {
            unlogged,
            ..Heap::EMPTY
        };
        for index in indexes {
            heap.add_index(index);
        }
        heap
    }

    /// How many places there are; tids are below this.
    pub fn len(&self) -> u32 {
        self.tuples.len() as u32
    }

    /// Whether nothing was ever written here.
    pub fn is_empty(&self) -> bool {
        self.tuples.is_empty()
    }

    /// A version.
    pub fn tuple(&self, tid: Tid) -> &Tuple {
        &self.tuples[tid.0 as usize]
    }

    /// All versions in the order of their places, in which most were written.
    pub fn tuples(&self) -> impl Iterator<Item = (Tid, &Tuple)> {
        let places = (0..).map(Tid).zip(&self.tuples);
        places.filter(|(_, tuple)| !tuple.is_nothing())
    }

    /// The versions with this key in the n-th unique index, the newest first: that is where the
    /// visible one mostly is.
    pub fn lookup(&self, index: usize, key: &Key) -> impl Iterator<Item = Tid> + use<'_> {
        let range = (key.clone(), Tid(0))..=(key.clone(), Tid(u32::MAX));
        let unique = self.unique.get(index).and_then(Option::as_ref);
        let entries = unique.map(|unique| unique.entries.range(range).rev());
        entries.into_iter().flatten().map(|(_, tid)| *tid)
    }

    /// The same, the oldest first, as they stand in the index.
    pub(super) fn entries(&self, index: usize, key: &Key) -> impl Iterator<Item = Tid> + use<'_> {
        let range = (key.clone(), Tid(0))..=(key.clone(), Tid(u32::MAX));
        let unique = self.unique.get(index).and_then(Option::as_ref);
        let entries = unique.map(|unique| unique.entries.range(range));
        entries.into_iter().flatten().map(|(_, tid)| *tid)
    }

    /// Whether an index has an entry for a version, if it is a unique one and the version has a key.
    pub(super) fn has_entry(&self, index: usize, tid: Tid) -> bool {
        let Some(unique) = self.unique.get(index).and_then(Option::as_ref) else {
            return true;
        };
        let key = Key::of(&unique.definition, &self.tuple(tid).row);
        key.is_none_or(|key| unique.entries.contains(&(key, tid)))
    }

    /// The first version of a new row.
    pub(super) fn insert(&mut self, xmin: Xid, cmin: CommandId, row: Row) -> Tid {
        self.append(xmin, cmin, row)
    }

    /// How strong a change is by a transaction that has locked the version before: as strong as that
    /// lock (`compute_new_xmax_infomask`).
    pub(super) fn strongest(&self, tid: Tid, xid: Xid, change: LockStrength) -> LockStrength {
        let lockers = self.tuple(tid).lockers.iter();
        let own = lockers.filter(|(locker, _)| *locker == xid);
        own.map(|(_, strength)| *strength).fold(change, Ord::max)
    }

    /// The next version of a row. Who has locked the old one has locked it too.
    pub(super) fn update(
        &mut self,
        old: Tid,
        xid: Xid,
        command: CommandId,
        taken: LockStrength,
        row: Row,
    ) -> Tid {
        let tid = self.append(xid, command, row);
        if !self.tuple(old).lockers.is_empty() {
            *self.lockers_mut(tid) = self.tuple(old).lockers.clone();
        }
        self.supersede(old, xid, command, tid, taken);
        tid
    }

    /// The end of a row.
    pub(super) fn delete(&mut self, tid: Tid, xid: Xid, command: CommandId) {
        self.supersede(tid, xid, command, tid, LockStrength::Update);
    }

    /// Who has locked a version.
    pub(super) fn lockers_mut(&mut self, tid: Tid) -> &mut Vec<(Xid, LockStrength)> {
        &mut self.tuples[tid.0 as usize].lockers
    }

    /// Who updated or deleted that version was rolled back, and nothing is to tell of it.
    pub(super) fn forget_update(&mut self, tid: Tid) {
        let tuple = &mut self.tuples[tid.0 as usize];
        (tuple.xmax, tuple.next) = (Xid::NONE, tid);
    }

    fn append(&mut self, xmin: Xid, cmin: CommandId, row: Row) -> Tid {
        let reused = self.free.pop();
        let tid = reused.unwrap_or(Tid(self.len()));
        let tuple = Tuple {
            xmin,
            cmin,
            xmax: Xid::NONE,
            cmax: CommandId(0),
            next: tid,
            taken: LockStrength::Update,
            lockers: Vec::new(),
            row,
        };
        match reused {
            Some(tid) => self.tuples[tid.0 as usize] = tuple,
            None => self.tuples.push(tuple),
        }
        tid
    }

    fn supersede(&mut self, tid: Tid, xmax: Xid, cmax: CommandId, next: Tid, taken: LockStrength) {
        let tuple = &mut self.tuples[tid.0 as usize];
        (tuple.xmax, tuple.cmax, tuple.next, tuple.taken) = (xmax, cmax, next, taken);
        self.superseded = self.superseded.saturating_add(1);
    }

    /// Whether it has become worth a look which versions can be removed; asked for once, until
    /// that has been done.
    pub(super) fn asks_to_be_pruned(&mut self) -> bool {
        let due = self.superseded >= self.prune_at;
        if due {
            self.prune_at = u32::MAX;
        }
        due
    }

    /// Removes the versions that are dead, and says which those were; what transactions that have
    /// been rolled back wrote in the others is wiped out.
    pub(super) fn prune(
        &mut self,
        is_dead: impl Fn(&Tuple) -> bool,
        was_aborted: impl Fn(Xid) -> bool,
        is_running: impl Fn(Xid) -> bool,
    ) -> Vec<Tid> {
        let mut dead = Vec::new();
        self.superseded = 0;
        for (place, tuple) in self.tuples.iter_mut().enumerate() {
            if tuple.is_nothing() {
                continue;
            }
            if is_dead(tuple) {
                dead.push(Tid(place as u32));
                continue;
            }
            tuple.lockers.retain(|(xid, _)| is_running(*xid));
            if tuple.xmax != Xid::NONE && was_aborted(tuple.xmax) {
                (tuple.xmax, tuple.next) = (Xid::NONE, Tid(place as u32));
            }
            self.superseded += u32::from(tuple.xmax != Xid::NONE);
        }
        self.remove(&dead);
        let live = self.len() - self.free.len() as u32;
        self.prune_at = self.superseded + PRUNE_MIN.max(live / 5);
        dead
    }

    /// Removes these versions: nobody sees them any more.
    pub(super) fn remove(&mut self, dead: &[Tid]) {
        for &tid in dead {
            let tuple = std::mem::replace(&mut self.tuples[tid.0 as usize], Tuple::nothing());
            for unique in self.unique.iter_mut().flatten() {
                if let Some(key) = Key::of(&unique.definition, &tuple.row) {
                    unique.entries.remove(&(key, tid));
                }
            }
        }
        self.free.extend(dead);
        self.free.sort_unstable_by(|a, b| b.cmp(a));
        // What is free at the end is no place at all.
        let end = self.tuples.iter().rposition(|tuple| !tuple.is_nothing());
        let end = end.map_or(0, |last| last + 1);
        if end < self.tuples.len() {
            self.tuples.truncate(end);
            self.free.retain(|tid| (tid.0 as usize) < end);
        }
    }

    /// Names a version in the n-th unique index. That the key is free is the caller's business.
    pub(super) fn index_one(&mut self, index: usize, tid: Tid) {
        if let Some(unique) = &mut self.unique[index]
            && !self.tuples[tid.0 as usize].is_nothing()
            && let Some(key) = Key::of(&unique.definition, &self.tuples[tid.0 as usize].row)
        {
            unique.entries.insert((key, tid));
        }
    }

    /// Names a version in every index, as recovery does.
    pub(super) fn index_all(&mut self, tid: Tid) {
        for index in 0..self.unique.len() {
            self.index_one(index, tid);
        }
    }

    /// Adds an index over the versions there are, if it is a unique one.
    pub(super) fn add_index(&mut self, index: &Arc<Index>) {
        if !index.unique || index.state == IndexState::Building {
            return;
        }
        let slot = index.slot;
        if self.unique.len() <= slot {
            self.unique.resize(slot + 1, None);
        }
        self.unique[slot] = Some(UniqueIndex {
            definition: index.clone(),
            entries: BTreeSet::new(),
        });
        for tid in 0..self.len() {
            self.index_one(slot, Tid(tid));
        }
    }

    /// Leaves out of an index what it has of some versions.
    pub(super) fn forget_entries(&mut self, slot: usize, of: impl Fn(&Tuple) -> bool) {
        let tuples = &self.tuples;
        if let Some(Some(unique)) = self.unique.get_mut(slot) {
            let entries = &mut unique.entries;
            entries.retain(|(_, tid)| !of(&tuples[tid.0 as usize]));
        }
    }

    /// The slot for the next unique index.
    pub(super) fn next_slot(&self) -> usize {
        self.unique.len()
    }

    /// Takes an index away.
    pub(super) fn remove_index(&mut self, slot: usize) {
        if let Some(unique) = self.unique.get_mut(slot) {
            *unique = None;
        }
    }

    /// All versions, to be changed where they are. Indexes over them are stale then.
    pub(super) fn tuples_mut(&mut self) -> impl Iterator<Item = &mut Tuple> {
        self.tuples.iter_mut().filter(|tuple| !tuple.is_nothing())
    }

    /// Has these indexes and no others, made anew.
    pub(super) fn replace_indexes(&mut self, indexes: &[Arc<Index>]) {
        self.unique.clear();
        for index in indexes {
            self.add_index(index);
        }
    }

    /// Keeps only the indexes that are listed.
    pub(super) fn keep_indexes(&mut self, indexes: &[Arc<Index>]) {
        for (slot, unique) in self.unique.iter_mut().enumerate() {
            if !indexes
                .iter()
                .any(|index| index.unique && index.slot == slot)
            {
                *unique = None;
            }
        }
    }

    pub(super) fn has_more_indexes_than(&self, table: &Table) -> bool {
        self.unique.iter().flatten().count() > table.unique_indexes().count()
    }

    /// A copy that shares nothing with this one.
    pub(super) fn unshared(&self) -> Heap {
        let mut heap = self.clone();
        for tuple in &mut heap.tuples {
            tuple.row = tuple.row.iter().map(Datum::unshared).collect();
        }
        for unique in heap.unique.iter_mut().flatten() {
            unique.definition = Arc::new(Index::clone(&unique.definition));
            unique.entries.clear();
        }
        for tid in 0..heap.len() {
            heap.index_all(Tid(tid));
        }
        heap
    }

    /// The same heap with only those versions that `live` keeps, as if one old transaction had
    /// written them in one go.
    pub(super) fn vacuumed(&self, live: impl Fn(&Tuple) -> bool) -> Heap {
        let indexes: Vec<_> = self
            .unique
            .iter()
            .flatten()
            .map(|unique| unique.definition.clone())
            .collect();
        let mut heap = Heap::new(&indexes, self.unlogged);
        for tuple in self.tuples.iter().filter(|tuple| live(tuple)) {
            let tid = heap.insert(Xid::FROZEN, CommandId(0), tuple.row.clone());
            heap.index_all(tid);
        }
        heap
    }
}
