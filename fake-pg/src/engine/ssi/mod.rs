//! Serializable snapshot isolation: who has read what, who wrote over it, and who must therefore
//! go (`predicate.c`; Cahill, Röhm and Fekete, 2008).
//!
//! A serializable transaction works on a snapshot, as repeatable read does. Besides, its reads leave
//! SIREAD locks, which block nobody, and each read of what a concurrent transaction changes is an
//! edge from the reader to the writer. Two edges in a row, of which the last writer was the first to
//! commit, may be part of a cycle: one of the three is cancelled with 40001.
//!
//! Invariants: locks and edges outlive the commit of their transaction until nobody who was running
//! then is left. An edge is known at both of its ends. What has been rolled back has neither.
//! Transactions of other levels take no part, and while there is no serializable one there is
//! nothing here.
//!
//! Locks and their granularity are in `locks`, which page a row is on in `pages`, edges in `conflict`, ends in `finish`, prepared
//! transactions in `prepared`; what executing a statement does about all this is in `exec`. Which
//! scan reads which pages is the planner's business, `sql::plan`. Transactions are never
//! summarised: PostgreSQL begins to at ten times its number of connections.

mod conflict;
mod exec;
mod finish;
mod locks;
mod pages;
mod prepared;

use std::collections::{BTreeMap, BTreeSet};

pub use exec::Chain;
pub use locks::{Granule, Target};
pub(super) use prepared::PreparedReads;

use super::mvcc::Snapshot;
use super::{Engine, Pid, Xid};
use crate::error::{PgError, SqlState};

/// A serializable transaction, in the order of their snapshots (`SERIALIZABLEXACT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sxact(u64);

/// A moment in the order of commits (`SerCommitSeqNo`). Zero is before the first.
type SeqNo = u64;

/// All serializable transactions that still matter.
#[derive(Clone, Debug, Default)]
pub(super) struct Ssi {
    xacts: BTreeMap<Sxact, State>,
    /// Whose an xid is, subtransactions included.
    xids: BTreeMap<Xid, Sxact>,
    /// Who holds a SIREAD lock on what.
    locks: BTreeMap<Target, BTreeSet<Sxact>>,
    /// Those that have committed, in that order.
    finished: Vec<Sxact>,
    last: u64,
    /// `LastSxactCommitSeqNo`.
    last_commit: SeqNo,
    /// How many are running that may write.
    writers: usize,
    /// Up to here the locks of what has committed are of no use to anybody.
    clear_through: SeqNo,
    cleared_through: SeqNo,
    /// The oldest xmin of those that are running; none if nobody is.
    oldest: Option<Xid>,
    pages: pages::Pages,
}

/// What is known of one transaction.
#[derive(Clone, Debug, Default)]
struct State {
    pid: Pid,
    /// The xid that stands for it, once it has one.
    top: Option<Xid>,
    xids: Vec<Xid>,
    xmin: Xid,
    /// READ ONLY as declared, or as it has turned out at its commit.
    read_only: bool,
    /// It can no longer be made to fail; stays true when it commits.
    prepared: Option<SeqNo>,
    committed: Option<SeqNo>,
    /// It must fail, at its next chance.
    doomed: bool,
    has_written: bool,
    /// The last commit that its snapshot includes.
    snapshot_after: SeqNo,
    /// It has an edge to a transaction that committed before it: the first such.
    first_out: Option<SeqNo>,
    /// It has edges that nobody remembers exactly: a crash came in between.
    any_out: bool,
    any_in: bool,
    /// Xids from here on were assigned after its end.
    ended_before: Xid,
    /// Who overwrote what it has read, and who has read what it overwrote.
    outgoing: BTreeSet<Sxact>,
    incoming: BTreeSet<Sxact>,
    /// Of a read-only transaction: the writers that may yet make its snapshot unsafe. Of a writer: the
    /// read-only transactions that wait to know.
    unsafe_with: BTreeSet<Sxact>,
    is_safe: bool,
    is_unsafe: bool,
    /// It waits for a safe snapshot (DEFERRABLE).
    waits: bool,
    locks: BTreeSet<Target>,
}

impl State {
    fn is_running(&self) -> bool {
        self.committed.is_none()
    }
}

impl Ssi {
    fn get(&self, xact: Sxact) -> &State {
        self.xacts.get(&xact).expect("an edge leads to somebody")
    }

    fn get_mut(&mut self, xact: Sxact) -> &mut State {
        self.xacts
            .get_mut(&xact)
            .expect("an edge leads to somebody")
    }

    /// Begins to follow a transaction, unless its reads cannot matter
    /// (`GetSerializableTransactionSnapshotInt`).
    pub(super) fn begin(
        &mut self,
        pid: Pid,
        read_only: bool,
        snapshot: &Snapshot,
    ) -> Option<Sxact> {
        if read_only && self.writers == 0 {
            return None;
        }
        let writers: BTreeSet<Sxact> = match read_only {
            true => self
                .xacts
                .iter()
                .filter(|(_, other)| other.is_running() && !other.doomed && !other.read_only)
                .map(|(xact, _)| *xact)
                .collect(),
            false => BTreeSet::new(),
        };
        if read_only && writers.is_empty() {
            return None;
        }
        self.last += 1;
        let xact = Sxact(self.last);
        for &writer in &writers {
            self.get_mut(writer).unsafe_with.insert(xact);
        }
        if !read_only {
            self.writers += 1;
        }
        let xmin = snapshot.xmin();
        self.oldest.get_or_insert(xmin);
        let state = State {
            pid,
            xmin,
            read_only,
            snapshot_after: self.last_commit,
            unsafe_with: writers,
            ..State::default()
        };
        self.xacts.insert(xact, state);
        Some(xact)
    }

    /// A transaction has been given an xid (`RegisterPredicateLockingXid`).
    pub(super) fn register(&mut self, xact: Sxact, xid: Xid) {
        let state = self.get_mut(xact);
        state.top.get_or_insert(xid);
        state.xids.push(xid);
        self.xids.insert(xid, xact);
    }

    /// Whether it still has to be followed: a read-only one that is known to be safe is let go.
    fn is_followed(&self, xact: Sxact) -> bool {
        !self.get(xact).is_safe
    }
}

impl Engine {
    /// The SIREAD locks there are: what was read, by whom. Who is prepared has no pid; who has
    /// committed keeps it, as in `pg_locks`.
    pub fn siread_locks(&self) -> impl Iterator<Item = (&Target, Option<Pid>)> {
        self.ssi.all_locks()
    }

    /// `pg_safe_snapshot_blocking_pids`: whom a session waits for that has asked for a snapshot that
    /// is safe. As on the real server, an earlier transaction of that session that has not been
    /// forgotten yet hides the one that waits (`GetSafeSnapshotBlockingPids`).
    pub fn safe_snapshot_blocking_pids(&self, pid: Pid) -> Vec<Pid> {
        let mut states = self.ssi.xacts.values();
        let waiting = states.find(|state| state.pid == pid);
        let waiting = waiting.filter(|state| state.waits);
        let writers = waiting.into_iter().flat_map(|state| &state.unsafe_with);
        writers.map(|&xact| self.ssi.get(xact).pid).collect()
    }
}

/// The error of all of this; `reason` is for who knows the algorithm.
fn failure(reason: impl std::fmt::Display) -> PgError {
    PgError::new(
        SqlState::SERIALIZATION_FAILURE,
        "could not serialize access due to read/write dependencies among transactions",
    )
    .with_detail(format!("Reason code: {reason}."))
    .with_hint("The transaction might succeed if retried.")
}
