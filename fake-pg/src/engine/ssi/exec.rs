//! What executing a statement does about serializable isolation.
//!
//! Each read is an effect of its own in the journal: a statement that waits and is executed again
//! has read what it read the first time, at the time when it did. What is read at one time, and so
//! forms one effect, is what PostgreSQL reads without letting go: a page of a sequential scan or of a
//! bitmap, a version that an index leads to.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::finish::Ending;
use super::{Granule, Sxact, Target};
use crate::engine::catalog::Table;
use crate::engine::constraint::Index;
use crate::engine::exec::{Effect, Exec, Halt, diverged};
use crate::engine::heap::Tuple;
use crate::engine::mvcc::{Snapshot, XactStatus};
use crate::engine::{Engine, Isolation, Tid, Transaction, Wait, WaitOn, Xid};
use crate::error::PgError;

/// The versions of a row that one entry of an index leads to: from the first one on, those that
/// differ in no indexed column (a HOT chain). Found by its head.
pub type Chain = Tid;

impl Engine {
    /// Takes note of the snapshot that a transaction is about to keep.
    pub(in crate::engine) fn follow(&mut self, tx: &mut Transaction, snapshot: &Snapshot) {
        self.vacuum.hold_transaction(tx.pid, snapshot.xmin());
        if tx.options.isolation == Isolation::Serializable && tx.sxact.is_none() {
            tx.sxact = self.ssi.begin(tx.pid, tx.options.read_only, snapshot);
        }
    }

    /// Takes the snapshot of a transaction that keeps one, before it runs anything: it is analysing a
    /// statement. A safe one is waited for later.
    pub fn fix_snapshot(&mut self, tx: &mut Transaction) {
        let options = tx.options;
        if options.isolation.keeps_snapshot()
            && tx.snapshot.is_none()
            && !options.needs_safe_snapshot()
        {
            let snapshot = Snapshot::take(&self.running, self.next_xid);
            self.follow(tx, &snapshot);
            tx.snapshot = Some(snapshot);
        }
    }

    /// SERIALIZABLE READ ONLY DEFERRABLE: takes a snapshot that nothing can make inconsistent, or
    /// waits for one (`GetSafeSnapshot`). Before the first statement of such a transaction.
    pub fn take_safe_snapshot(&mut self, tx: &mut Transaction) -> Result<(), Wait> {
        loop {
            if let Some(xact) = tx.sxact {
                let state = self.ssi.get(xact);
                if !state.is_safe && !state.is_unsafe {
                    return Err(Wait {
                        on: WaitOn::SafeSnapshot,
                        deadline: None,
                    });
                }
                if state.is_unsafe {
                    tx.snapshot = None;
                }
                self.forget_serializable(tx);
            }
            if tx.snapshot.is_some() {
                return Ok(());
            }
            let snapshot = Snapshot::take(&self.running, self.next_xid);
            self.follow(tx, &snapshot);
            tx.snapshot = Some(snapshot);
            if let Some(xact) = tx.sxact {
                self.ssi.get_mut(xact).waits = true;
            }
        }
    }

    /// The last check of a COMMIT: from here on it cannot fail for what others have read.
    pub(in crate::engine) fn check_serializable(
        &mut self,
        tx: &mut Transaction,
    ) -> Result<(), PgError> {
        match tx.sxact {
            Some(xact) => self.ssi.pre_commit(xact),
            None => Ok(()),
        }
    }

    /// Its effects are visible, or it had none.
    pub(in crate::engine) fn commit_serializable(&mut self, tx: &mut Transaction) {
        self.end_serializable(tx, Ending::Commit);
    }

    /// It has been rolled back, or need not be followed.
    pub(in crate::engine) fn forget_serializable(&mut self, tx: &mut Transaction) {
        self.end_serializable(tx, Ending::Forget);
    }

    fn end_serializable(&mut self, tx: &mut Transaction, ending: Ending) {
        if let Some(xact) = tx.sxact.take() {
            self.ssi
                .finish(xact, ending, self.next_xid, &mut self.wakeups);
        }
    }
}

/// Reading.
impl Exec<'_> {
    /// Whether reads must be told: then by the functions below, and rows found as they find them.
    pub fn is_serializable(&self) -> bool {
        self.tx.options.isolation == Isolation::Serializable
    }

    /// A sequential scan begins, and reads its first page. Says how many pages it will read.
    pub fn read_table(&mut self, table: &Table) -> Result<u32, Halt> {
        let pages = self.value(|exec| {
            if let Some(me) = exec.reader() {
                let target = Target::new(table.id, None, Granule::Relation);
                exec.engine.ssi.acquire(me, target);
                exec.read_versions(table, me, 0)?;
            }
            Ok(exec.pages(table).into())
        })?;
        Ok(pages as u32)
    }

    /// A sequential scan reads a further page.
    pub fn read_page(&mut self, table: &Table, page: u32) -> Result<(), Halt> {
        self.read_once(|exec| match exec.reader() {
            Some(me) => exec.read_versions(table, me, page),
            None => Ok(()),
        })
    }

    /// An index is searched: its one leaf is read, or all of it if it has never had an entry. Gives
    /// the entries found, which may be more when the statement is executed again.
    pub fn read_index(
        &mut self,
        table: &Table,
        index: &Index,
        entries: Vec<Chain>,
    ) -> Result<Arc<[Chain]>, Halt> {
        let read = self.effect(|exec| {
            let entries = Effect::Entries(entries.into());
            let Some(me) = exec.reader() else {
                return Ok(entries);
            };
            let granule = match exec.engine.heap(table.node).is_empty() {
                true => Granule::Relation,
                false => LEAF,
            };
            let target = Target::new(table.id, Some(index.id), granule);
            exec.engine.ssi.acquire(me, target);
            Ok(entries)
        })?;
        match read {
            Effect::Entries(entries) => Ok(entries),
            other => diverged("entries", &other),
        }
    }

    /// Entries of an index are followed, at one time: which versions the statement sees.
    pub fn read_chains(&mut self, table: &Table, chains: &[Chain]) -> Result<Vec<Tid>, Halt> {
        let mut seen = Vec::with_capacity(chains.len());
        self.read_once(|exec| {
            for &chain in chains {
                exec.read_chain(table, chain)?;
            }
            Ok(())
        })?;
        for &chain in chains {
            seen.extend(self.chain(table, chain).find(|&tid| self.sees(table, tid)));
        }
        Ok(seen)
    }

    /// All versions there are, seen or not.
    pub fn versions(&self, table: &Table) -> Vec<Tid> {
        let tuples = self.engine.heap(table.node).tuples();
        tuples.map(|(tid, _)| tid).collect()
    }

    /// Whether an index leads to a version: one whose writer waits until its key is free is in no index
    /// yet, or in those only that come before. Indexes that are not unique are taken to come last.
    pub fn is_entered(&self, table: &Table, index: &Index, tid: Tid) -> bool {
        let heap = self.engine.heap(table.node);
        match index.unique {
            true => heap.has_entry(index.slot, tid),
            false => table
                .unique_indexes()
                .all(|(slot, _)| heap.has_entry(slot, tid)),
        }
    }

    /// The heads of chains among versions that an index has entries for, in the order of the heap.
    pub fn heads(&self, table: &Table, versions: &[Tid]) -> Vec<Chain> {
        let followers: Vec<Tid> = versions
            .iter()
            .filter_map(|&tid| self.hot_update(table, tid))
            .collect();
        let is_head = |tid: &&Tid| !followers.contains(tid);
        versions.iter().filter(is_head).copied().collect()
    }

    /// Versions, each after the head of its chain.
    pub fn with_heads(&self, table: &Table, versions: &[Tid]) -> Vec<(Chain, Tid)> {
        let tuples = self.engine.heap(table.node).tuples();
        let updates = tuples.filter_map(|(tid, _)| Some((self.hot_update(table, tid)?, tid)));
        let before: BTreeMap<Tid, Tid> = updates.collect();
        let head = |tid| std::iter::successors(Some(tid), |tid| before.get(tid).copied()).last();
        let versions = versions.iter();
        versions
            .map(|&tid| (head(tid).unwrap_or(tid), tid))
            .collect()
    }

    /// The page of the heap that a version is in.
    pub fn page_of(&mut self, table: &Table, tid: Tid) -> u32 {
        let Engine { ssi, heaps, .. } = &mut *self.engine;
        match heaps.get(&table.node) {
            Some(heap) => ssi.pages.place(table.node, heap, tid).0,
            None => 0,
        }
    }

    /// The pages and rows of a table, if it has rows.
    pub(in crate::engine) fn measure(&mut self, table: &Table) -> Option<(u32, u32)> {
        let rows = self.scan_latest(table).len() as u32;
        (rows > 0).then(|| (self.pages(table), rows))
    }

    fn pages(&mut self, table: &Table) -> u32 {
        match self.engine.heap(table.node).len() {
            0 => 0,
            len => self.page_of(table, Tid(len - 1)) + 1,
        }
    }

    fn read_chain(&mut self, table: &Table, chain: Chain) -> Result<(), Halt> {
        let Some(me) = self.reader() else {
            return Ok(());
        };
        let versions: Vec<Tid> = self.chain(table, chain).collect();
        for tid in versions {
            let visible = self.sees(table, tid);
            self.read_version(table, me, tid, visible)?;
            if visible {
                let own = self.tx.owns(self.tuple(table, tid).xmin);
                if !own {
                    let target = self.version(table, tid);
                    self.engine.ssi.acquire(me, target);
                }
                break;
            }
        }
        Ok(())
    }

    fn read_versions(&mut self, table: &Table, me: Sxact, page: u32) -> Result<(), Halt> {
        for tid in self.versions(table) {
            if self.page_of(table, tid) == page {
                let visible = self.sees(table, tid);
                self.read_version(table, me, tid, visible)?;
            }
        }
        Ok(())
    }

    /// A version is looked at, and perhaps somebody has written it whom the snapshot does not show
    /// (`HeapCheckForSerializableConflictOut`).
    fn read_version(
        &mut self,
        table: &Table,
        me: Sxact,
        tid: Tid,
        visible: bool,
    ) -> Result<(), Halt> {
        self.engine.ssi.refuse_reading(me)?;
        let snapshot = self.journal_snapshot();
        let Some(xid) = self.unseen_writer(self.tuple(table, tid), visible, snapshot.xmin()) else {
            return Ok(());
        };
        let snapshot = snapshot.clone();
        Ok(self.engine.ssi.conflict_out(me, xid, &snapshot)?)
    }

    /// Who created a version that is not seen, or removed one that is, if that matters
    /// (`HeapTupleSatisfiesVacuum`).
    fn unseen_writer(&self, tuple: &Tuple, visible: bool, xmin: Xid) -> Option<Xid> {
        if self.tx.owns(tuple.xmin) {
            return None;
        }
        match self.status(tuple.xmin) {
            XactStatus::InProgress => return Some(tuple.xmin),
            XactStatus::Aborted => return None,
            XactStatus::Committed => {}
        }
        let removed = match tuple.xmax {
            Xid::NONE => XactStatus::Aborted,
            xmax => self.status(xmax),
        };
        match removed {
            XactStatus::Aborted => (!visible).then_some(tuple.xmin),
            XactStatus::Committed if tuple.xmax < xmin => None,
            _ if visible => (!self.tx.owns(tuple.xmax)).then_some(tuple.xmax),
            _ => (tuple.xmin >= xmin).then_some(tuple.xmin),
        }
    }

    /// The versions of a chain, from its head on.
    pub(in crate::engine) fn chain<'s>(
        &'s self,
        table: &'s Table,
        head: Chain,
    ) -> impl Iterator<Item = Tid> + use<'s> {
        // What was rolled back may be gone.
        let first = Some(head).filter(|head| head.0 < self.engine.heap(table.node).len());
        std::iter::successors(first, move |&tid| self.hot_update(table, tid))
    }

    /// The next version, if it needed no new entries in any index (a HOT update).
    fn hot_update(&self, table: &Table, tid: Tid) -> Option<Tid> {
        let old = self.tuple(table, tid);
        if old.next == tid {
            return None;
        }
        let new = self.tuple(table, old.next);
        let same = new.xmin == old.xmax && !table.indexes_differ(&old.row, &new.row);
        same.then_some(old.next)
    }

    fn sees(&self, table: &Table, tid: Tid) -> bool {
        self.view().sees(self.tuple(table, tid))
    }

    fn version(&mut self, table: &Table, tid: Tid) -> Target {
        let Engine { ssi, heaps, .. } = &mut *self.engine;
        let (page, number) = match heaps.get(&table.node) {
            Some(heap) => ssi.pages.place(table.node, heap, tid),
            None => (0, tid.0 + 1),
        };
        Target::new(table.id, None, Granule::Tuple(page, number))
    }

    /// Whose reads are to be noted; nobody's, once its snapshot has turned out to be safe
    /// (`SerializationNeededForRead`).
    fn reader(&mut self) -> Option<Sxact> {
        let xact = self.tx.sxact?;
        if self.engine.ssi.is_followed(xact) {
            return Some(xact);
        }
        self.engine.forget_serializable(self.tx);
        None
    }

    /// A read, once.
    fn read_once(&mut self, read: impl FnOnce(&mut Self) -> Result<(), Halt>) -> Result<(), Halt> {
        match self.effect(|exec| read(exec).map(|()| Effect::Done))? {
            Effect::Done => Ok(()),
            other => diverged("a read", &other),
        }
    }
}

/// Where the only leaf of a small B-tree is.
const LEAF: Granule = Granule::Page(1);

/// Writing: within the effects of `modify`, right before the deed.
impl Exec<'_> {
    /// A new row.
    pub(in crate::engine) fn inserts(&mut self, table: &Table) -> Result<(), PgError> {
        self.writes(|_| Target::new(table.id, None, Granule::Relation))
    }

    /// An update or deletion of a version.
    pub(in crate::engine) fn replaces(&mut self, table: &Table, tid: Tid) -> Result<(), PgError> {
        self.writes(|exec| exec.version(table, tid))
    }

    /// A new entry in an index.
    pub(in crate::engine) fn enters(
        &mut self,
        table: &Table,
        index: &Index,
    ) -> Result<(), PgError> {
        self.writes(|_| Target::new(table.id, Some(index.id), LEAF))
    }

    /// A new entry in each index that is not unique.
    pub(in crate::engine) fn enter_others(&mut self, table: &Table) -> Result<(), Halt> {
        if !self.is_serializable() {
            return Ok(());
        }
        self.read_once(|exec| {
            for index in table.indexes.iter().filter(|index| !index.unique) {
                exec.enters(table, index)?;
            }
            Ok(())
        })
    }

    /// A table is emptied or dropped.
    pub(in crate::engine) fn empties(&mut self, table: &Table) -> Result<(), PgError> {
        match self.tx.sxact {
            Some(me) => self.engine.ssi.conflict_in_all(me, table.id),
            None => Ok(()),
        }
    }

    fn writes(&mut self, what: impl FnOnce(&mut Self) -> Target) -> Result<(), PgError> {
        let Some(me) = self.tx.sxact else {
            return Ok(());
        };
        let target = what(self);
        let in_savepoint = self.tx.savepoints() > 0;
        self.engine.ssi.conflict_in(me, &target, in_savepoint)
    }
}
