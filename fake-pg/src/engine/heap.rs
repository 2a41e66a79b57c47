//! Rows as they are stored: every version of every row, and the unique indexes over them.
//!
//! A version never moves and never changes but for its `xmax`, `cmax`, `next` and lockers. All
//! versions of a row form a chain along `next`. Who has locked a row is written in it, as in
//! PostgreSQL's multixacts; what that means is `row_lock`'s business. Index entries name every version: who looks a key up asks `mvcc` which of them it sees.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::catalog::Table;
use super::constraint::Index;
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
#[derive(Clone, Debug, Default)]
pub struct Heap {
    tuples: Vec<Tuple>,
    /// The unique indexes by slot. One that is dropped leaves its slot empty.
    unique: Vec<Option<UniqueIndex>>,
    /// Whether a crash empties it.
    pub(super) unlogged: bool,
}

impl Heap {
    pub(super) const EMPTY: Heap = Heap {
        tuples: Vec::new(),
        unique: Vec::new(),
        unlogged: false,
    };

    /// An empty heap with indexes.
    pub(super) fn new(indexes: &[Arc<Index>], unlogged: bool) -> Self {
        let mut heap = Heap {
            unlogged,
            ..Heap::default()
        };
        for index in indexes {
            heap.add_index(index);
        }
        heap
    }

    /// How many versions there are; tids are below this.
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

    /// All versions in the order they were written.
    pub fn tuples(&self) -> impl Iterator<Item = (Tid, &Tuple)> {
        (0..).map(Tid).zip(&self.tuples)
    }

    /// The versions with this key in the n-th unique index, the newest first: that is where the
    /// visible one mostly is.
    pub fn lookup(&self, index: usize, key: &Key) -> impl Iterator<Item = Tid> + use<'_> {
        let range = (key.clone(), Tid(0))..=(key.clone(), Tid(u32::MAX));
        let unique = self.unique.get(index).and_then(Option::as_ref);
        let entries = unique.map(|unique| unique.entries.range(range).rev());
        entries.into_iter().flatten().map(|(_, tid)| *tid)
    }

    /// The first version of a new row.
    pub(super) fn insert(&mut self, xmin: Xid, cmin: CommandId, row: Row) -> Tid {
        self.append(xmin, cmin, row)
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

    fn append(&mut self, xmin: Xid, cmin: CommandId, row: Row) -> Tid {
        let tid = Tid(self.len());
        self.tuples.push(Tuple {
            xmin,
            cmin,
            xmax: Xid::NONE,
            cmax: CommandId(0),
            next: tid,
            taken: LockStrength::Update,
            lockers: Vec::new(),
            row,
        });
        tid
    }

    fn supersede(&mut self, tid: Tid, xmax: Xid, cmax: CommandId, next: Tid, taken: LockStrength) {
        let tuple = &mut self.tuples[tid.0 as usize];
        (tuple.xmax, tuple.cmax, tuple.next, tuple.taken) = (xmax, cmax, next, taken);
    }

    /// Names a version in the n-th unique index. That the key is free is the caller's business.
    pub(super) fn index_one(&mut self, index: usize, tid: Tid) {
        if let Some(unique) = &mut self.unique[index]
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
        if !index.unique {
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
        self.tuples.iter_mut()
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
