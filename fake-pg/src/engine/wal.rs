//! The write-ahead log: the only state that survives a crash.
//!
//! Invariant: `flushed <= inserted`; recovery reads up to `flushed` and stops. Records are logical,
//! and as every change of a heap is one of them, replaying a prefix puts each version at its old
//! place. When to flush is `commit`'s business; how to replay is `recover`'s.

use std::sync::Arc;

use super::catalog::CatalogChange;
use super::commit::Committed;
use super::constraint::Index;
use super::heap::Row;
use super::lock::LockStrength;
use super::prepared::TwoPhase;
use super::rewrite::Mapping;
use super::sequence::SequenceState;
use super::{FileNode, Lsn, Tid, Xid};

/// One entry of the log.
#[derive(Clone, Debug)]
pub(super) enum Record {
    Insert {
        xid: Xid,
        node: FileNode,
        row: Row,
    },
    Update {
        xid: Xid,
        node: FileNode,
        old: Tid,
        taken: LockStrength,
        row: Row,
    },
    Delete {
        xid: Xid,
        node: FileNode,
        tid: Tid,
    },
    /// A row lock changes no data, yet it makes the xid known to recovery, and it must survive with a
    /// prepared transaction (`xl_heap_lock`).
    Lock {
        xid: Xid,
        node: FileNode,
        tid: Tid,
        strength: LockStrength,
    },
    /// Dead versions were removed, and their places are free.
    Prune {
        node: FileNode,
        dead: Arc<[Tid]>,
    },
    CreateHeap {
        xid: Xid,
        node: FileNode,
        indexes: Vec<Arc<Index>>,
        unlogged: bool,
    },
    AddIndex {
        xid: Xid,
        node: FileNode,
        index: Arc<Index>,
    },
    /// The versions of one heap, with other columns or indexes, at another node.
    RemapHeap {
        xid: Xid,
        from: FileNode,
        to: FileNode,
        indexes: Vec<Arc<Index>>,
        mapping: Option<Mapping>,
    },
    /// Not of any transaction: sequences do not roll back.
    Sequence {
        node: FileNode,
        state: SequenceState,
    },
    /// A logical message. Nobody decodes it; it takes its place in the log.
    Message,
    /// A change of catalogs, which the commit tells in full, or a lock that standbys must take too. It
    /// makes the xid known.
    Note {
        xid: Xid,
    },
    Commit(Arc<CommitRecord>),
    Prepare(Arc<TwoPhase>),
    Abort {
        xids: Vec<Xid>,
    },
}

/// The record that makes a transaction durable.
#[derive(Clone, Debug)]
pub(super) struct CommitRecord {
    /// Its entry in the commit log.
    pub(super) committed: Committed,
    /// Its xid and those of its surviving subtransactions.
    pub(super) xids: Vec<Xid>,
    /// Its DDL.
    pub(super) ddl: Vec<CatalogChange>,
}

impl Record {
    /// The youngest xid that this record proves to have been assigned.
    pub(super) fn xid(&self) -> Xid {
        match self {
            Record::Insert { xid, .. }
            | Record::Update { xid, .. }
            | Record::Delete { xid, .. }
            | Record::Lock { xid, .. }
            | Record::CreateHeap { xid, .. }
            | Record::AddIndex { xid, .. }
            | Record::RemapHeap { xid, .. }
            | Record::Note { xid } => *xid,
            Record::Commit(commit) => commit.xids.last().copied().unwrap_or_default(),
            Record::Prepare(state) => state.xids.last().copied().unwrap_or_default(),
            Record::Abort { xids } => xids.last().copied().unwrap_or_default(),
            Record::Prune { .. } | Record::Sequence { .. } | Record::Message => Xid::NONE,
        }
    }
}

/// The records since the last checkpoint.
#[derive(Clone, Debug, Default)]
pub(super) struct Wal {
    start: Lsn,
    records: Vec<Record>,
    flushed: Lsn,
}

impl Wal {
    /// Appends a record; the position after it is where it must be flushed to.
    pub(super) fn insert(&mut self, record: Record) -> Lsn {
        self.records.push(record);
        self.inserted()
    }

    /// Where what has not been recycled begins.
    pub(super) fn start(&self) -> Lsn {
        self.start
    }

    pub(super) fn inserted(&self) -> Lsn {
        Lsn(self.start.0 + self.records.len() as u64)
    }

    pub(super) fn flushed(&self) -> Lsn {
        self.flushed
    }

    /// Makes everything up to a position durable. What precedes it goes along, as on a disk.
    pub(super) fn flush(&mut self, to: Lsn) {
        assert!(
            to <= self.inserted(),
            "flush to {to} beyond the end {}",
            self.inserted()
        );
        self.flushed = self.flushed.max(to);
    }

    /// The end of the record before the commit, or PREPARE, of that number, if it is here.
    pub(super) fn before_commit(&self, number: super::CommitNumber) -> Option<Lsn> {
        let place = self.records.iter().position(|record| match record {
            Record::Commit(commit) => commit.committed.number == number,
            Record::Prepare(state) => state.number == number,
            _ => false,
        })?;
        Some(Lsn(self.start.0 + place as u64))
    }

    pub(super) fn records(&self) -> &[Record] {
        &self.records
    }

    /// Forgets what lies beyond a position and returns it: it never happened.
    pub(super) fn truncate(&mut self, end: Lsn) -> Vec<Record> {
        let kept = end.0.saturating_sub(self.start.0) as usize;
        self.flushed = end;
        self.records.split_off(kept.min(self.records.len()))
    }

    /// Starts over after a checkpoint, which made all of this unnecessary.
    pub(super) fn recycle(&mut self) {
        self.start = self.inserted();
        self.flushed = self.start;
        self.records.clear();
    }
}
