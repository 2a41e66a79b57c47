//! Transactions: begin, savepoints, and every way to end but COMMIT.
//!
//! A [`Transaction`] is a value that its session owns. It keeps, in the order of their happening, the
//! xids, locks, messages and catalog changes it has made, and a savepoint remembers how long each
//! list was: to roll back is to undo the tails, to release is to forget the marks.
//!
//! Xids are assigned when something is written, parents first (`AssignTransactionId`): a
//! subtransaction's xid is above its parent's, and all that came of it lie above that.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::activity::Seen;
use super::catalog::{Catalog, CatalogChange, Table};
use super::lock::{AdvisoryScope, LockMode, LockTag, Request};
use super::mvcc::{Snapshot, XactStatus};
use super::namespace::SearchPath;
use super::notify::Pending;
use super::row_lock::Asleep;
use super::sabotage::Sabotage;
use super::ssi::Sxact;
use super::trigger::AfterTriggers;
use super::wal::Record;
use super::{CommandId, Engine, Pid, TableId, Timestamp, Xid};
use crate::error::PgError;

/// What a transaction sees of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Each statement sees what was committed before it.
    #[default]
    ReadCommitted,
    /// The same under another name.
    ReadUncommitted,
    /// All statements see what was committed before the first.
    RepeatableRead,
    /// So they do, and what they have read holds at the end too, or the transaction fails.
    Serializable,
}

impl Isolation {
    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Isolation::ReadCommitted => "read committed",
            Isolation::ReadUncommitted => "read uncommitted",
            Isolation::RepeatableRead => "repeatable read",
            Isolation::Serializable => "serializable",
        }
    }

    /// Whether one snapshot serves the whole transaction (`IsolationUsesXactSnapshot`).
    pub fn keeps_snapshot(self) -> bool {
        matches!(self, Isolation::RepeatableRead | Isolation::Serializable)
    }
}

/// The modes of BEGIN and SET TRANSACTION.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxOptions {
    /// ISOLATION LEVEL.
    pub isolation: Isolation,
    /// READ ONLY.
    pub read_only: bool,
    /// DEFERRABLE: matters only to what is serializable and read-only.
    pub deferrable: bool,
}

impl TxOptions {
    /// Whether its snapshot must be one that nothing can make inconsistent.
    pub fn needs_safe_snapshot(self) -> bool {
        self.deferrable && self.read_only && self.isolation == Isolation::Serializable
    }
}

/// How long a statement may stand in a queue. The session copies its settings here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// `lock_timeout`; none is for ever.
    pub lock: Option<Duration>,
    /// `deadlock_timeout`: how long to wait before looking for a deadlock.
    pub deadlock: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            lock: None,
            deadlock: Duration::from_secs(1),
        }
    }
}

/// A transaction that has not ended. Give it back to the engine, by [`Engine::abort`] or to a
/// [`super::commit::CommitMachine`]: dropped, it would run for ever.
#[derive(Debug)]
#[must_use = "a transaction that is dropped keeps its locks"]
pub struct Transaction {
    /// The session it belongs to.
    pub pid: Pid,
    /// When it began: what `now()` says.
    pub started: Timestamp,
    /// Its modes. They may change until its first query.
    pub options: TxOptions,
    /// Its patience.
    pub timeouts: Timeouts,
    /// Where its names are looked up; none is [`SearchPath::standard`]. The session copies its
    /// settings here.
    pub path: Option<Arc<SearchPath>>,
    /// The transaction itself, then its open savepoints.
    levels: Vec<Level>,
    /// Its xids that have not been rolled back, in order.
    pub(super) xids: Vec<Xid>,
    pub(super) locks: Vec<(LockTag, LockMode)>,
    /// It stands first in line for a row.
    pub(super) tuple_lock: Option<(LockTag, LockMode)>,
    /// It waits for a row.
    pub(super) asleep: Option<Asleep>,
    /// The sequence it has locked last.
    sequence: Option<TableId>,
    /// What is to be checked before it commits.
    pub(super) triggers: AfterTriggers,
    pub(super) messages: Vec<Message>,
    pub(super) ddl: Vec<CatalogChange>,
    /// What it will notify, and listen to.
    pub(super) pending: Option<Box<Pending>>,
    /// The committed catalog with this transaction's changes.
    catalog: Arc<Catalog>,
    /// The version of the committed catalog that this view was made from.
    catalog_base: u64,
    /// The snapshot of repeatable read and serializable, from its first statement on.
    pub(super) snapshot: Option<Snapshot>,
    /// What serializable isolation knows it by, while it must be followed.
    pub(super) sxact: Option<Sxact>,
    pub(super) command: CommandId,
    failed: bool,
    /// Whether it has written to the WAL (`XactLastRecEnd`).
    pub(super) logged: bool,
    /// Whether its commit takes away what no recovery could bring back: it is flushed before that,
    /// however it commits (`nrels` and `forceSyncCommit` in `RecordTransactionCommit`).
    pub(super) flushes: bool,
    /// See [`Transaction::forbid_prepare`].
    pub(super) unpreparable: Option<&'static str>,
    /// The tables that the session's cursors read, for a statement that would change one as a whole.
    pub in_use: Vec<super::TableId>,
    /// What it has seen of the sessions.
    pub(super) sessions_seen: OnceCell<BTreeMap<Pid, Seen>>,
}

/// `pg_logical_emit_message(true, prefix, content)`.
pub type Message = (Arc<str>, Arc<str>);

/// A transaction or savepoint: its xid, and how long the lists were when it began.
#[derive(Debug)]
struct Level {
    /// None for the transaction itself.
    name: Option<Arc<str>>,
    xid: Option<Xid>,
    locks: usize,
    messages: usize,
    ddl: usize,
    read_only: bool,
    flushes: bool,
    /// What there was to be checked; none if nothing.
    triggers: Option<Box<AfterTriggers>>,
    pending: (usize, usize),
}

impl Transaction {
    /// Its catalog: what is committed, and its own changes.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Where its names are looked up.
    pub fn path(&self) -> &SearchPath {
        match &self.path {
            Some(path) => path,
            None => SearchPath::standard(),
        }
    }

    /// Its catalog, brought up to date with what others have committed, as its next statement will
    /// see it.
    pub fn fresh_catalog(&self, engine: &Engine) -> Arc<Catalog> {
        if self.catalog_base == engine.catalog.version() {
            return self.catalog.clone();
        }
        match self.ddl.is_empty() {
            true => engine.catalog.clone(),
            false => Arc::new(engine.catalog.with(&self.ddl)),
        }
    }

    /// Whether an error has doomed it, up to a ROLLBACK TO.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether it has left anything that a commit must publish. If not, an implicit transaction ends
    /// by [`Engine::end_read_only`], without a machine and without a number.
    pub fn has_effects(&self) -> bool {
        self.top_xid().is_some() || !self.messages.is_empty() || self.has_notifications()
    }

    /// Whether it has executed LISTEN, UNLISTEN or NOTIFY, which PREPARE TRANSACTION refuses.
    pub fn has_notifications(&self) -> bool {
        let pending = self.pending.as_ref();
        pending.is_some_and(|pending| !pending.is_empty())
    }

    /// Makes it the transaction that has these xids, its own first.
    pub(super) fn own(&mut self, xids: Vec<Xid>) {
        self.levels[0].xid = xids.first().copied();
        self.xids = xids;
    }

    /// What keeps it from being prepared: it has done something that cannot outlive its session.
    pub fn forbid_prepare(&mut self, what: &'static str) {
        self.unpreparable.get_or_insert(what);
    }

    /// Its xid, if it has one: `pg_current_xact_id_if_assigned`.
    pub fn top_xid(&self) -> Option<Xid> {
        self.levels[0].xid
    }

    /// Whether constraints are to be checked before it commits.
    pub fn has_pending_events(&self) -> bool {
        !self.triggers.events.is_empty()
    }

    /// Whether it has taken a snapshot that it must keep.
    pub fn has_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// How many savepoints are open.
    pub fn savepoints(&self) -> usize {
        self.levels.len() - 1
    }

    /// Whether it is the transaction, or a live subtransaction, with that xid.
    pub(super) fn owns(&self, xid: Xid) -> bool {
        self.xids.binary_search(&xid).is_ok()
    }

    /// The xid to write with, assigned now if need be.
    pub(super) fn xid(&mut self, engine: &mut Engine) -> Xid {
        if let Some(xid) = self.levels.last().expect("level 0 is always there").xid {
            return xid;
        }
        for level in 0..self.levels.len() {
            if self.levels[level].xid.is_none() {
                self.assign(level, engine);
            }
        }
        *self.xids.last().expect("one was just assigned")
    }

    /// Its own xid, whatever savepoint is open, assigned now if need be (`GetTopTransactionId`).
    pub(super) fn top_xid_assigned(&mut self, engine: &mut Engine) -> Xid {
        match self.top_xid() {
            Some(xid) => xid,
            None => self.assign(0, engine),
        }
    }

    /// Whether it knows that it has locked that sequence.
    pub(super) fn has_locked_sequence(&self, sequence: TableId) -> bool {
        self.sequence == Some(sequence)
    }

    /// It holds that sequence's lock, perhaps since now. The lock is the transaction's own, whatever
    /// savepoint is open.
    pub(super) fn note_sequence(&mut self, sequence: TableId, is_new: bool) {
        self.sequence = Some(sequence);
        if !is_new {
            return;
        }
        let place = self
            .levels
            .get(1)
            .map_or(self.locks.len(), |level| level.locks);
        let lock = (LockTag::Relation(sequence), LockMode::RowExclusive);
        self.locks.insert(place, lock);
        for level in &mut self.levels[1..] {
            level.locks += 1;
        }
    }

    /// Gives a level, whose parents have theirs, its xid.
    fn assign(&mut self, level: usize, engine: &mut Engine) -> Xid {
        let xid = engine.assign_xid(self.pid);
        self.levels[level].xid = Some(xid);
        self.xids.push(xid);
        if let Some(xact) = self.sxact {
            engine.ssi.register(xact, xid);
        }
        xid
    }

    /// Brings the view of the catalog up to date with what others have committed.
    pub(super) fn refresh_catalog(&mut self, engine: &Engine) {
        let base = engine.catalog.version();
        if self.catalog_base != base {
            self.rebuild_catalog(engine);
        }
    }

    fn rebuild_catalog(&mut self, engine: &Engine) {
        self.catalog_base = engine.catalog.version();
        self.catalog = match self.ddl.is_empty() {
            true => engine.catalog.clone(),
            false => Arc::new(engine.catalog.with(&self.ddl)),
        };
    }

    /// Whether it has created a table since its innermost savepoint.
    pub(super) fn has_created(&self, table: &Table) -> bool {
        let since = self.levels.last().map_or(0, |level| level.ddl);
        let mut changes = self.ddl[since..].iter();
        changes.any(|change| matches!(change, CatalogChange::CreateTable(t) if t.id == table.id))
    }

    /// Notes a catalog change and shows it to the statements that follow.
    pub(super) fn change_catalog(&mut self, change: CatalogChange) {
        self.catalog = Arc::new(self.catalog.with([&change]));
        self.ddl.push(change);
    }

    fn push_level(&mut self, name: Option<Arc<str>>) {
        self.levels.push(Level {
            name,
            xid: None,
            locks: self.locks.len(),
            messages: self.messages.len(),
            ddl: self.ddl.len(),
            read_only: self.options.read_only,
            flushes: self.flushes,
            triggers: (!self.triggers.is_default()).then(|| Box::new(self.triggers.clone())),
            pending: self.pending.as_ref().map_or((0, 0), |p| p.mark()),
        });
    }

    fn find_savepoint(&self, name: &str) -> Result<usize, PgError> {
        let place = self.levels[1..]
            .iter()
            .rposition(|level| level.name.as_deref() == Some(name));
        place
            .map(|place| place + 1)
            .ok_or_else(|| PgError::no_such_savepoint(name))
    }
}

impl Engine {
    /// Begins a transaction. It costs nothing until it writes.
    pub fn begin(&self, pid: Pid, options: TxOptions, now: Timestamp) -> Transaction {
        let mut tx = Transaction {
            pid,
            started: now,
            options,
            timeouts: Timeouts::default(),
            path: None,
            levels: Vec::new(),
            xids: Vec::new(),
            locks: Vec::new(),
            tuple_lock: None,
            asleep: None,
            sequence: None,
            triggers: AfterTriggers::default(),
            messages: Vec::new(),
            ddl: Vec::new(),
            pending: None,
            catalog: self.catalog.clone(),
            catalog_base: self.catalog.version(),
            snapshot: None,
            sxact: None,
            command: CommandId(0),
            failed: false,
            logged: false,
            flushes: false,
            unpreparable: None,
            sessions_seen: OnceCell::new(),
            in_use: Vec::new(),
        };
        tx.push_level(None);
        tx
    }

    /// SAVEPOINT.
    pub fn savepoint(&mut self, tx: &mut Transaction, name: &str) {
        tx.push_level(Some(name.into()));
    }

    /// RELEASE SAVEPOINT: the savepoint and those after it are forgotten, their effects stay.
    pub fn release(&mut self, tx: &mut Transaction, name: &str) -> Result<(), PgError> {
        let place = tx.find_savepoint(name)?;
        tx.levels.truncate(place);
        Ok(())
    }

    /// ROLLBACK TO SAVEPOINT: everything after it is undone, the savepoint stays. It also revives a
    /// transaction that has failed.
    pub fn rollback_to(&mut self, tx: &mut Transaction, name: &str) -> Result<(), PgError> {
        let place = tx.find_savepoint(name)?;
        if self.is_sabotaged(Sabotage::LoseSavepoint) {
            tx.levels.truncate(place + 1);
        } else {
            self.undo(tx, place);
        }
        tx.failed = false;
        Ok(())
    }

    /// An error: the innermost savepoint's effects, or all, are undone at once, as in PostgreSQL,
    /// locks included. The block then waits for ROLLBACK, or ROLLBACK TO.
    pub fn fail(&mut self, tx: &mut Transaction) {
        self.undo(tx, tx.levels.len() - 1);
        tx.failed = true;
    }

    /// ROLLBACK, or the end of a session in a transaction.
    pub fn abort(&mut self, mut tx: Transaction) {
        self.undo(&mut tx, 0);
        self.vacuum.release_transaction(tx.pid);
        self.tidy_up();
    }

    /// Ends an implicit transaction without effects: no record, no number. A serializable one may
    /// fail even so.
    pub fn end_read_only(&mut self, mut tx: Transaction) -> Result<(), PgError> {
        assert!(
            !tx.has_effects(),
            "a transaction with effects ended without a commit: {tx:?}"
        );
        let checked = self.check_serializable(&mut tx);
        if checked.is_ok() {
            self.commit_serializable(&mut tx);
        }
        self.abort(tx);
        checked
    }

    /// Undoes a level and those above it (`AbortTransaction`, `AbortSubTransaction`): first nobody
    /// sees its rows any more, then its locks go.
    fn undo(&mut self, tx: &mut Transaction, place: usize) {
        self.stop_waiting(tx.pid);
        tx.levels.truncate(place + 1);
        let level = &mut tx.levels[place];
        tx.triggers = level.triggers.as_deref().cloned().unwrap_or_default();
        let (locks, messages, ddl) = (level.locks, level.messages, level.ddl);
        tx.flushes = level.flushes;
        if place > 0 {
            tx.options.read_only = level.read_only;
        }
        if let Some(pending) = &mut tx.pending {
            pending.truncate(level.pending);
            if place == 0 {
                self.stop_listening_in_vain(tx.pid);
            }
        }
        let aborted = match level.xid.take() {
            Some(first) => {
                let place = tx.xids.partition_point(|&xid| xid < first);
                tx.xids.split_off(place)
            }
            None => Vec::new(),
        };
        if !aborted.is_empty() {
            for &xid in &aborted {
                self.clog.set(xid, XactStatus::Aborted);
                self.running.remove(&xid);
            }
            self.wal.insert(Record::Abort {
                xids: aborted.clone(),
            });
            tx.logged = true;
        }
        let undone = tx.ddl.split_off(ddl);
        for change in undone.iter().rev() {
            self.undo_storage(change, tx);
        }
        if !undone.is_empty() {
            tx.rebuild_catalog(self);
        }
        tx.messages.truncate(messages);
        tx.asleep = None;
        let taken = tx.locks.split_off(locks).into_iter().rev();
        for (tag, mode) in tx.tuple_lock.take().into_iter().chain(taken) {
            self.unlock(tx.pid, tag, mode);
        }
        for xid in aborted {
            self.locks.transaction_ended(xid, &mut self.wakeups);
        }
        if place == 0 {
            self.locks
                .session_transaction_ended(tx.pid, &mut self.wakeups);
            self.forget_serializable(tx);
        }
    }

    pub(super) fn unlock(&mut self, pid: Pid, tag: LockTag, mode: LockMode) {
        let scope = AdvisoryScope::Transaction;
        self.locks
            .release(tag, Request { pid, mode, scope }, &mut self.wakeups);
    }

    fn assign_xid(&mut self, pid: Pid) -> Xid {
        let xid = self.next_xid;
        self.next_xid = Xid(xid.0 + 1);
        self.running.insert(xid, pid);
        xid
    }
}

#[cfg(test)]
mod tests;
