//! The engine: everything a server remembers, and what COMMIT and a crash do to it.
//!
//! An [`Engine`] is a value. It has no clock (the time is an argument), no chance and no I/O, and it
//! clones by reference: tables are shared until one side writes.
//!
//! # How the session and the executor use it
//!
//! ```text
//! session                              executor
//! ───────                              ────────
//! tx = engine.begin(pid, options, now)
//! journal = Journal::default()
//!   ┌─ Exec::new(&mut engine, &mut tx, &mut journal, now) ─▶ exec.catalog()
//!   │                                  exec.lock_table(table, mode)        of every table, first
//!   │                                  exec.scan / lookup / next_row      rows the statement sees
//!   │                                  exec.insert / update / delete / lock
//!   │                                  exec.nextval / advisory_lock / sleep / emit_message / datum …
//!   │  Err(Halt::Wait(wait))      ◀─── `?`
//!   └─ until woken (take_wakeups, or wait.deadline): once more, same journal
//!      Err(Halt::Error(e))        ◀─── `?`     engine.fail(&mut tx) in a block, else engine.abort(tx)
//!      Ok                         ◀─── result, and exec.finish()
//! engine.savepoint / release / rollback_to(&mut tx, name)
//! CommitMachine::new(&engine, tx, kind, durability), then step(..) until it says None
//! ```
//!
//! - Each execution begins with `exec.catalog()`: after waiting for a table it may be another one.
//! - A statement has one [`Journal`], from its first execution to its end. Cancelled while it waits,
//!   it is simply dropped after `fail` or `abort`, which leave the queue.
//! - [`Found::Moved`] means: evaluate the WHERE clause on [`Exec::row`] of that version, and if it
//!   still holds, compute the new row from it and call again with its tid.
//! - After anything that may free locks (steps of a commit, `fail`, `abort`, statements, the end of a
//!   session), hand out [`Engine::take_wakeups`].
//! - An implicit transaction without effects ends by [`Engine::end_read_only`], one with effects or an
//!   explicit COMMIT by a [`CommitMachine`]; COMMIT of a failed transaction is [`Engine::abort`].

mod ids;
mod config;
mod chance;
mod namespace;
mod roles;
mod user_type;
mod catalog;
mod constraint;
mod heap;
mod mvcc;
mod wal;
mod lock;
mod xact;
mod exec;
mod lock_wait;
mod row_lock;
mod modify;
mod trigger;
mod new_name;
mod ddl;
mod rewrite;
mod sequence;
mod ssi;
mod commit_point;
mod commit;
mod prepared;
mod vacuum;
mod concurrently;
mod notify;
mod activity;
mod recover;
mod embedded;
mod sabotage;

#[cfg(test)]
mod script;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use activity::{Activity, ActivityState, Seen, Signal};
pub use catalog::{Catalog, CatalogChange, Column, Identity, Relation, Sequence, Table, View};
pub use commit::{CommitKind, CommitMachine, Committed, Durability};
pub use commit_point::CommitPoint;
pub use config::ServerConfig;
pub(crate) use config::refuse_set;
pub use constraint::{
    Check, Computed, Deferral, ForeignKey, Index, IndexState, KeyProgram, Reaction,
};
pub use embedded::{Caller, Embedded, EmbeddedArg, EmbeddedFunction, EmbeddedRelation};
pub use exec::{Exec, Halt, Journal, Wait, WaitOn};
pub use heap::{Heap, Key, Row, Tuple};
pub use ids::*;
pub use lock::{
    AdvisoryKey, AdvisoryScope, LockEntry, LockMode, LockStrength, LockTag, WaitPolicy,
};
pub use lock_wait::ObjectClass;
pub use modify::Inserted;
pub use mvcc::{Snapshot, XactStatus};
pub use namespace::{Database, DatabaseId, Namespace, PUBLIC_NAMESPACE, SearchPath};
pub use new_name::NameIndex;
pub use notify::Notification;
pub use prepared::{Preparer, TwoPhase};
pub use recover::Recovery;
pub use rewrite::{Mapping, Source};
pub use roles::{Role, RoleSetting, SUPERUSER_ID};
pub use row_lock::Found;
pub use sabotage::Sabotage;
pub use sequence::SequenceState;
pub use ssi::{Chain, Granule, Target};
pub use trigger::Event;
pub use xact::{Isolation, Message, Timeouts, Transaction, TxOptions};

use crate::error::{PgError, SqlState};
use activity::Sessions;
use config::Config;
use lock::LockTable;
use mvcc::{Clog, Running};
use new_name::NewNames;
use notify::Notifications;
use prepared::PreparedTable;
use recover::Image;
use roles::Secrets;
use sequence::Currvals;
use ssi::Ssi;
use vacuum::Vacuum;
use wal::Wal;

/// The first xid that a fresh server gives: `initdb` has used up those below, more or less.
const FIRST_XID: Xid = Xid(740);

/// The first OID that is not PostgreSQL's own (`FirstNormalObjectId`).
const FIRST_OID: u32 = 16384;

/// A server's state: what is in memory, what is on disk, and the commit log.
#[derive(Clone, Debug)]
pub struct Engine {
    /// What is committed. A transaction with DDL has its own.
    catalog: Arc<Catalog>,
    heaps: BTreeMap<FileNode, Arc<Heap>>,
    sequences: BTreeMap<FileNode, SequenceState>,
    currvals: Currvals,
    clog: Clog,
    running: Running,
    next_xid: Xid,
    next_oid: u32,
    locks: LockTable,
    names: NewNames,
    ssi: Ssi,
    wal: Wal,
    /// Where recovery begins.
    base: Arc<Image>,
    commits: Vec<Committed>,
    last_number: CommitNumber,
    wakeups: Vec<Pid>,
    chance: chance::Chance,
    sessions: Sessions,
    notifications: Notifications,
    secrets: Secrets,
    prepared: PreparedTable,
    /// The sessions whose COMMIT waits for a replica.
    replication_waiters: Vec<Pid>,
    config: Config,
    vacuum: Vacuum,
    sabotage: Option<Sabotage>,
    /// Whose row locks [`Sabotage::UnlockBeforeVisible`] no longer heeds.
    let_go: Vec<Xid>,
}

impl Default for Engine {
    fn default() -> Self {
        Engine::new()
    }
}

impl Engine {
    /// A fresh server with an empty database.
    pub fn new() -> Self {
        let base = Image {
            next_xid: FIRST_XID,
            next_oid: FIRST_OID,
            ..Image::default()
        };
        Engine {
            catalog: base.catalog.clone(),
            heaps: BTreeMap::new(),
            sequences: BTreeMap::new(),
            currvals: Currvals::default(),
            clog: Clog::starting_at(FIRST_XID),
            running: Running::new(),
            next_xid: FIRST_XID,
            next_oid: FIRST_OID,
            locks: LockTable::default(),
            names: NewNames::default(),
            ssi: Ssi::default(),
            wal: Wal::default(),
            base: Arc::new(base),
            commits: Vec::new(),
            last_number: CommitNumber(0),
            wakeups: Vec::new(),
            chance: chance::Chance::default(),
            sessions: Sessions::default(),
            notifications: Notifications::default(),
            secrets: Secrets::default(),
            prepared: PreparedTable::default(),
            replication_waiters: Vec::new(),
            config: Config::default(),
            vacuum: Vacuum::default(),
            sabotage: None,
            let_go: Vec::new(),
        }
    }

    /// A copy for a thread of its own. Clones share rows by counted references, and two threads that
    /// count on the same ones slow each other down: each takes one such copy and clones that.
    pub fn unshared(&self) -> Engine {
        let mut copy = self.clone();
        copy.catalog = Arc::new(Catalog::clone(&self.catalog));
        let unshare = |heaps: &BTreeMap<FileNode, Arc<Heap>>| -> BTreeMap<FileNode, Arc<Heap>> {
            heaps
                .iter()
                .map(|(node, heap)| (*node, Arc::new(heap.unshared())))
                .collect()
        };
        copy.heaps = unshare(&self.heaps);
        copy.base = Arc::new(Image {
            catalog: copy.catalog.clone(),
            heaps: unshare(&self.base.heaps),
            ..Image::clone(&self.base)
        });
        copy
    }

    /// The committed catalog.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The sessions that may go on since this was last asked, in the order in which they should.
    pub fn take_wakeups(&mut self) -> Vec<Pid> {
        std::mem::take(&mut self.wakeups)
    }

    /// What a session waits for, if it waits for a lock.
    pub fn waits_for(&self, pid: Pid) -> Option<LockTag> {
        self.locks.waits_for(pid)
    }

    /// The xid of a session's transaction, if it has one.
    pub fn running_xid(&self, pid: Pid) -> Option<Xid> {
        let mut running = self.running.iter();
        running
            .find(|(_, owner)| **owner == pid)
            .map(|(xid, _)| *xid)
    }

    /// The oldest xid in progress, or the next one if there is none: what a new snapshot calls xmin.
    pub fn oldest_running(&self) -> Xid {
        let oldest = self.running.keys().next();
        oldest.copied().unwrap_or(self.next_xid)
    }

    /// `pg_blocking_pids`.
    pub fn blocking_pids(&self, pid: Pid) -> Vec<Pid> {
        self.locks.blockers(pid, &self.running)
    }

    /// Every lock that is held or waited for: what `pg_locks` shows.
    pub fn locks(&self) -> impl Iterator<Item = LockEntry> + use<'_> {
        self.locks.entries(&self.running)
    }

    /// A session is over: what it held beyond its transaction goes.
    pub fn end_session(&mut self, pid: Pid) {
        self.stop_waiting(pid);
        self.advisory_unlock_all(pid);
        self.discard_sequences(pid);
        self.forget_listener(pid);
        self.forget_session(pid);
    }

    /// DISCARD SEQUENCES: `currval` knows nothing any more.
    pub fn discard_sequences(&mut self, pid: Pid) {
        self.currvals.forget(pid);
    }

    /// `pg_xact_status`: none if that is so long ago that nobody remembers.
    pub fn xact_status(&self, xid: Xid) -> Result<Option<XactStatus>, PgError> {
        if xid >= self.next_xid {
            let message = format!("transaction ID {xid} is in the future");
            return Err(PgError::new(SqlState::INVALID_PARAMETER_VALUE, message));
        }
        // Bootstrap and frozen are for ever (`TransactionIdInRecentPast`).
        if matches!(xid.0, 1 | 2) {
            return Ok(Some(XactStatus::Committed));
        }
        let known = xid >= self.clog.first();
        Ok(known.then(|| mvcc::status(&self.running, &self.clog, xid)))
    }

    /// `pg_current_wal_insert_lsn` and `pg_current_wal_flush_lsn`.
    pub fn wal_positions(&self) -> (Lsn, Lsn) {
        (self.wal.inserted(), self.wal.flushed())
    }

    /// How many versions of rows a table has, dead ones included.
    pub fn versions(&self, table: &Table) -> u32 {
        self.heap(table.node).len()
    }

    /// The versions at a node. Of one that is gone there are none.
    fn heap(&self, node: FileNode) -> &Heap {
        static EMPTY: Heap = Heap::EMPTY;
        self.heaps.get(&node).map_or(&EMPTY, |heap| heap)
    }

    fn stop_waiting(&mut self, pid: Pid) {
        self.vacuum.release_statement(pid);
        self.locks.stop_waiting(pid, &mut self.wakeups);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_goes_to_other_threads() {
        fn assert<T: Send + Sync>() {}
        assert::<Engine>();
    }

    #[test]
    fn clones_do_not_see_each_other() {
        let one = script::engine();
        let (two, three) = (one.clone(), one.unshared());
        script::check_on(one, "a insert 1 x\n a select -> 1=x");
        script::check_on(two, "a insert 1 y\n a select -> 1=y");
        script::check_on(three, "a insert 1 z\n crash\n a find 1 -> 1=z");
    }
}
