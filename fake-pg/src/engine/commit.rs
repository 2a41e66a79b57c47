//! COMMIT as a machine: twelve points, one step each, and anything may happen between two of them.
//!
//! The order is `CommitTransaction`'s in `xact.c`. The session steps the machine, tells its hook the
//! point reached, and may be told to crash there, to wait, or to fail. At `completed` and `ready` the
//! session does the work, writing CommandComplete and ReadyForQuery; the machine only says when.
//!
//! PREPARE TRANSACTION is such a machine too, and has a number; its points are received, deferred,
//! interrupts-held, inserted, flushed, replicated, completed and ready. Its record is always flushed,
//! and at `replicated` its transaction leaves the session. COMMIT PREPARED passes all points of a
//! COMMIT, and is always flushed as well. ROLLBACK PREPARED shares the machine, since it is flushed and
//! waits for a replica too, and nothing else of it.
//!
//! The way from there on is chosen when interrupts are held, since deferred constraints may have written.
//!
//! Invariant: once interrupts are held there is no way back but a crash.

use std::sync::Arc;

use super::commit_point::CommitPoint;
use super::mvcc::XactStatus;
use super::prepared::{Preparer, TwoPhase};
use super::sabotage::Sabotage;
use super::wal::{CommitRecord, Record};
use super::xact::{Message, Transaction};
use super::{CommitNumber, Engine, Lsn, Pid, Timestamp, Xid};
use crate::error::PgError;

/// What made a transaction commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitKind {
    /// A COMMIT of a transaction block.
    Explicit,
    /// The end of a simple Query outside a block: its CommandComplete follows the commit.
    Implicit,
    /// A Sync outside a block: the CommandCompletes are out already, only ReadyForQuery follows.
    Sync,
}

/// `synchronous_commit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The answer waits for the flush, and for a replica if [`super::ServerConfig`] wants one.
    #[default]
    Synchronous,
    /// It waits for the flush only.
    Local,
    /// It does not: a crash may take back what was answered.
    Asynchronous,
}

/// An entry of the commit log: what other sessions could see from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Which commit.
    pub number: CommitNumber,
    /// Its xid; [`Xid::NONE`] if it had none.
    pub xid: Xid,
    /// Whose it was.
    pub pid: Pid,
    /// The end of its record in the WAL, or where the WAL stood.
    pub lsn: Lsn,
    /// Whether it has a record. One without cannot be lost.
    pub writes: bool,
    /// Whether it was answered without waiting for the flush.
    pub asynchronous: bool,
    /// Its transactional messages.
    pub messages: Vec<Message>,
}

/// What a machine brings about.
#[derive(Debug)]
enum Purpose {
    /// COMMIT.
    Commit,
    /// PREPARE TRANSACTION; its state, once that is in the WAL.
    Prepare(Arc<str>, Preparer, Option<Arc<TwoPhase>>),
    /// COMMIT PREPARED.
    Finish(Arc<TwoPhase>),
    /// ROLLBACK PREPARED.
    Undo(Arc<TwoPhase>),
}

/// A COMMIT on its way.
#[derive(Debug)]
#[must_use = "a commit that is dropped half-way keeps its locks"]
pub struct CommitMachine {
    purpose: Purpose,
    tx: Option<Transaction>,
    pid: Pid,
    kind: CommitKind,
    durability: Durability,
    /// The points ahead, the next one last. Up to `interrupts-held` it does not hold those after it.
    ahead: Vec<CommitPoint>,
    number: CommitNumber,
    record: Option<Arc<CommitRecord>>,
    flush_due: Timestamp,
}

impl CommitMachine {
    /// A COMMIT about to be received. The transaction must not have failed.
    pub fn new(
        engine: &mut Engine,
        mut tx: Transaction,
        kind: CommitKind,
        durability: Durability,
    ) -> Self {
        assert!(
            !tx.has_failed(),
            "a failed transaction cannot commit: roll it back"
        );
        // Source: `PreCommit_Notify`, which makes sure that there is one.
        if tx
            .pending
            .as_ref()
            .is_some_and(|pending| pending.notifies())
        {
            tx.top_xid_assigned(engine);
        }
        CommitMachine::on(Purpose::Commit, tx.pid, tx, kind, durability)
    }

    /// A PREPARE TRANSACTION about to be received. The transaction must not have failed.
    pub fn prepare(
        engine: &mut Engine,
        mut tx: Transaction,
        gid: Arc<str>,
        by: Preparer,
        durability: Durability,
    ) -> Self {
        assert!(
            !tx.has_failed(),
            "a failed transaction cannot be prepared: roll it back"
        );
        tx.top_xid_assigned(engine);
        let purpose = Purpose::Prepare(gid, by, None);
        CommitMachine::on(purpose, tx.pid, tx, CommitKind::Explicit, durability)
    }

    /// A COMMIT PREPARED about to be received, of what [`Engine::take_prepared`] gave.
    pub fn finish(engine: &Engine, state: Arc<TwoPhase>, pid: Pid, durability: Durability) -> Self {
        let tx = state.take_up(engine);
        let purpose = Purpose::Finish(state);
        CommitMachine::on(purpose, pid, tx, CommitKind::Explicit, durability)
    }

    /// A ROLLBACK PREPARED, of what [`Engine::take_prepared`] gave. It is no commit: it has no number,
    /// and nobody is told of its steps, which end with `completed`.
    pub fn undo(engine: &Engine, state: Arc<TwoPhase>, pid: Pid, durability: Durability) -> Self {
        use CommitPoint::*;
        let tx = state.take_up(engine);
        let purpose = Purpose::Undo(state);
        let mut machine = CommitMachine::on(purpose, pid, tx, CommitKind::Explicit, durability);
        machine.ahead = vec![Completed, Visible, Replicated, Flushed];
        machine
    }

    fn on(
        purpose: Purpose,
        pid: Pid,
        tx: Transaction,
        kind: CommitKind,
        durability: Durability,
    ) -> Self {
        use CommitPoint::*;
        let mut ahead = Vec::with_capacity(CommitPoint::ALL.len());
        ahead.extend([InterruptsHeld, Deferred, Received]);
        if kind == CommitKind::Sync {
            ahead.push(Completed);
        }
        CommitMachine {
            purpose,
            tx: Some(tx),
            pid,
            kind,
            durability,
            ahead,
            number: CommitNumber(0),
            record: None,
            flush_due: Timestamp(0),
        }
    }

    /// Its number, from its first step on.
    pub fn number(&self) -> CommitNumber {
        self.number
    }

    /// Whether it is a PREPARE TRANSACTION.
    pub fn prepares(&self) -> bool {
        matches!(self.purpose, Purpose::Prepare(..))
    }

    /// Whether it is a ROLLBACK PREPARED.
    pub fn undoes(&self) -> bool {
        matches!(self.purpose, Purpose::Undo(_))
    }

    /// The transaction's xid, if it has one.
    pub fn xid(&self) -> Option<Xid> {
        self.tx.as_ref().and_then(Transaction::top_xid)
    }

    /// The transaction, while something that may wait is to be done before it goes on: constraints are
    /// to be checked, or it notifies. The session does that before it takes the step.
    pub fn deferred(&mut self) -> Option<&mut Transaction> {
        let due = self.next_point() == Some(CommitPoint::Deferred);
        let waits = |tx: &Transaction| tx.has_pending_events() || tx.has_notifications();
        self.tx.as_mut().filter(|tx| due && waits(tx))
    }

    /// The point that the next step will reach; none if it has reached its last. An asynchronous
    /// commit has `flushed` left when it is ready: the session goes on with its client, and has it
    /// done at [`CommitMachine::flush_due`].
    pub fn next_point(&self) -> Option<CommitPoint> {
        self.ahead.last().copied()
    }

    /// When the WAL writer flushes an asynchronous commit.
    pub fn flush_due(&self) -> Timestamp {
        self.flush_due
    }

    /// Whether it is asynchronous and the WAL writer has not come yet.
    pub fn is_unflushed(&self) -> bool {
        self.record.is_some() && self.ahead.first() == Some(&CommitPoint::Flushed)
    }

    /// The WAL writer comes, whatever point the commit has reached.
    pub fn flush_now(&mut self, engine: &mut Engine) -> CommitPoint {
        self.ahead.retain(|&point| point != CommitPoint::Flushed);
        self.flush(engine);
        CommitPoint::Flushed
    }

    /// Whether it can still be given up, for a cancel, a terminate or an error.
    pub fn can_abort(&self) -> bool {
        self.tx.is_some() && self.ahead.contains(&CommitPoint::InterruptsHeld)
    }

    /// Gives it up: the transaction is rolled back.
    pub fn abort(mut self, engine: &mut Engine) {
        assert!(
            self.can_abort(),
            "commit {} can no longer be given up",
            self.number
        );
        let tx = self.tx.take().expect("checked by can_abort");
        match &self.purpose {
            Purpose::Finish(state) | Purpose::Undo(state) => engine.let_prepared_go(&state.gid),
            Purpose::Commit | Purpose::Prepare(..) => engine.abort(tx),
        }
    }

    /// Whether its next step has to wait for a replica. Its session is woken when that has changed.
    ///
    /// Source: `SyncRepWaitForLSN` in `replication/syncrep.c`.
    pub fn awaits_replica(&self, engine: &mut Engine) -> bool {
        let waits = self.next_point() == Some(CommitPoint::Replicated)
            && self.durability == Durability::Synchronous
            && engine.wants_replicas()
            && self.has_logged();
        if waits && !engine.replication_waiters.contains(&self.pid) {
            engine.replication_waiters.push(self.pid);
        }
        waits
    }

    /// Whether there is anything for a replica to have.
    fn has_logged(&self) -> bool {
        let commits = matches!(self.purpose, Purpose::Commit);
        !commits || self.tx.as_ref().is_some_and(|tx| tx.logged)
    }

    /// Waits for no replica any more: it was cancelled, or its session is to end. What it does next is
    /// the step that it waits before.
    pub fn forgo_replica(&self, engine: &mut Engine) {
        engine.replication_waiters.retain(|&pid| pid != self.pid);
    }

    /// Does the work of one point and says which one that was; none when there is nothing left.
    /// An error, which deferred constraints and serializable isolation can give, and what PREPARE
    /// refuses, means that the transaction has been rolled back and the machine is at its end.
    pub fn step(
        &mut self,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<Option<CommitPoint>, PgError> {
        let Some(point) = self.ahead.pop() else {
            return Ok(None);
        };
        if self.number == CommitNumber(0) && !self.undoes() {
            self.number = engine.new_commit_number();
        }
        match point {
            CommitPoint::Inserted => self.insert_record(engine, now),
            CommitPoint::Flushed => self.flush(engine),
            CommitPoint::Clog => engine.mark_committed(&self.record().xids),
            CommitPoint::Visible => self.become_visible(engine),
            CommitPoint::Unlocked => self.unlock(engine),
            // The request is here, and has its number.
            CommitPoint::Received => {}
            // The session has done what it found by `deferred`.
            CommitPoint::Deferred => {}
            CommitPoint::Notified => engine.ring_listeners(self.tx()),
            // From here `can_abort` says no: that is what it is to hold interrupts.
            CommitPoint::InterruptsHeld => self.hold(engine)?,
            CommitPoint::Replicated => self.leave(engine),
            // The session's work.
            CommitPoint::Completed | CommitPoint::Ready => {}
        }
        Ok(Some(point))
    }

    fn record(&self) -> &Arc<CommitRecord> {
        self.record
            .as_ref()
            .expect("the record is inserted before anything is done with it")
    }

    fn tx(&mut self) -> &mut Transaction {
        self.tx
            .as_mut()
            .expect("a transaction has its locks until it is unlocked")
    }

    /// The last that can fail: what others have read, then the place that PREPARE takes.
    fn hold(&mut self, engine: &mut Engine) -> Result<(), PgError> {
        let gid = match &self.purpose {
            Purpose::Commit => None,
            Purpose::Prepare(gid, ..) => Some(gid.clone()),
            Purpose::Finish(_) | Purpose::Undo(_) => {
                self.set_out(engine);
                return Ok(());
            }
        };
        let mut held = engine.check_serializable(self.tx());
        if let Some(gid) = gid {
            held = held.and_then(|()| engine.reserve_gid(self.tx(), &gid));
        }
        match held {
            Ok(()) => self.set_out(engine),
            Err(_) => engine.abort(self.tx.take().expect("it was just asked for")),
        }
        held
    }

    /// Chooses the points that it will pass from now on.
    fn set_out(&mut self, engine: &Engine) {
        use CommitPoint::*;
        let (has_xid, waits) = (self.tx().top_xid().is_some(), self.waits_for_flush());
        let later = CommitPoint::ALL.into_iter().rev();
        let later = later.take_while(|&point| point != InterruptsHeld);
        let points = &mut self.ahead;
        match &self.purpose {
            Purpose::Prepare(..) => points.extend(later.filter(|point| point.is_of_prepare())),
            Purpose::Finish(_) | Purpose::Undo(_) => points.extend(later),
            Purpose::Commit => {
                let sync = self.kind == CommitKind::Sync;
                let passes = |point: &CommitPoint| match point {
                    Completed => !sync,
                    point => has_xid || !point.needs_xid(),
                };
                points.extend(later.filter(passes));
                if !waits || engine.is_sabotaged(Sabotage::AckBeforeFlush) {
                    move_point(points, Flushed, |_| 0);
                }
                if engine.is_sabotaged(Sabotage::UnlockBeforeVisible) {
                    move_point(points, Unlocked, |points| {
                        let visible = points.iter().position(|&point| point == Visible);
                        visible.map_or(0, |place| place + 1)
                    });
                }
            }
        }
    }

    /// Whether the answer waits for the flush: what has written no WAL loses nothing in a crash.
    ///
    /// Source: the condition of `XLogFlush` in `RecordTransactionCommit`.
    fn waits_for_flush(&mut self) -> bool {
        let durability = self.durability;
        match self.purpose {
            Purpose::Commit => {
                let tx = self.tx();
                tx.flushes || tx.logged && durability != Durability::Asynchronous
            }
            Purpose::Prepare(..) | Purpose::Finish(_) | Purpose::Undo(_) => true,
        }
    }

    fn insert_record(&mut self, engine: &mut Engine, now: Timestamp) {
        engine.vacuum.enter_commit();
        if let Purpose::Prepare(gid, by, state) = &mut self.purpose {
            let tx = self.tx.as_ref().expect("its machine keeps it");
            let prepared = Arc::new(TwoPhase {
                gid: gid.clone(),
                preparer: by.clone(),
                prepared: now,
                lsn: Lsn(engine.wal.inserted().0 + 1),
                number: self.number,
                xids: tx.xids.clone(),
                locks: tx.locks.clone(),
                messages: tx.messages.clone(),
                ddl: tx.final_ddl(),
                reads: engine.prepared_reads(tx),
            });
            engine.wal.insert(Record::Prepare(prepared.clone()));
            *state = Some(prepared);
            return;
        }
        let committed = self.entry(Lsn(engine.wal.inserted().0 + 1), true);
        let tx = self.tx();
        let record = CommitRecord {
            committed,
            xids: tx.xids.clone(),
            ddl: tx.final_ddl(),
        };
        let record = Arc::new(record);
        engine.wal.insert(Record::Commit(record.clone()));
        self.record = Some(record);
        self.flush_due = now.after(engine.config().wal_writer_delay);
    }

    fn flush(&mut self, engine: &mut Engine) {
        match &self.purpose {
            Purpose::Prepare(.., Some(state)) => {
                engine.wal.flush(state.lsn);
                engine.show_prepared(state);
                engine.vacuum.leave_commit();
            }
            Purpose::Undo(state) => engine.log_rollback_prepared(state),
            _ => engine.wal.flush(self.record().committed.lsn),
        }
    }

    /// What was prepared is no longer its session's.
    fn leave(&mut self, engine: &mut Engine) {
        if let Purpose::Prepare(.., Some(state)) = &self.purpose {
            engine.leave_prepared(state, self.pid);
            engine.ssi.disown(self.tx.as_ref().and_then(|tx| tx.sxact));
            engine.vacuum.release_transaction(self.pid);
        }
    }

    fn entry(&mut self, lsn: Lsn, writes: bool) -> Committed {
        let (number, pid) = (self.number, self.pid);
        let asynchronous = writes && !self.waits_for_flush();
        let tx = self.tx();
        let (xid, messages) = (tx.top_xid().unwrap_or_default(), tx.messages.clone());
        Committed {
            number,
            xid,
            pid,
            lsn,
            writes,
            asynchronous,
            messages,
        }
    }

    fn become_visible(&mut self, engine: &mut Engine) {
        if let Purpose::Undo(state) = &self.purpose {
            let tx = self.tx.take().expect("it has its locks until now");
            return engine.undo_prepared(state, tx);
        }
        engine.publish_notifications(self.tx());
        match &self.record {
            Some(record) => {
                engine.publish(record);
                engine.vacuum.leave_commit();
                if let Purpose::Finish(state) = &self.purpose {
                    engine.prepared.remove(Some(&state.xid()));
                }
            }
            None => {
                let entry = self.entry(engine.wal.inserted(), false);
                engine.log_commit(entry);
            }
        }
    }

    fn unlock(&mut self, engine: &mut Engine) {
        let tx = self.tx();
        let (pid, xids) = (tx.pid, std::mem::take(&mut tx.xids));
        engine.vacuum.release_transaction(pid);
        for (tag, mode) in std::mem::take(&mut tx.locks) {
            engine.unlock(pid, tag, mode);
        }
        for xid in xids {
            if engine.is_sabotaged(Sabotage::UnlockBeforeVisible) {
                engine.let_go.push(xid);
            }
            engine.locks.transaction_ended(xid, &mut engine.wakeups);
        }
        engine
            .locks
            .session_transaction_ended(pid, &mut engine.wakeups);
        engine.commit_serializable(self.tx());
        engine.tidy_up();
    }
}

/// Puts a point elsewhere on the way, if it is on it.
fn move_point(
    points: &mut Vec<CommitPoint>,
    point: CommitPoint,
    place: fn(&[CommitPoint]) -> usize,
) {
    if let Some(from) = points.iter().position(|&other| other == point) {
        points.remove(from);
        points.insert(place(points), point);
    }
}

impl Engine {
    /// Commits at once, all points in a row, for who has no client to answer.
    pub fn commit(&mut self, tx: Transaction, now: Timestamp) -> Result<CommitNumber, PgError> {
        let mut machine =
            CommitMachine::new(self, tx, CommitKind::Explicit, Durability::Synchronous);
        while machine.step(self, now)?.is_some() {}
        Ok(machine.number)
    }

    /// The commit log: every commit that has ever been visible, in that order. It only grows; what a
    /// crash has taken back is told by its [`super::Recovery`].
    pub fn commits(&self) -> &[Committed] {
        &self.commits
    }

    fn new_commit_number(&mut self) -> CommitNumber {
        self.last_number.0 += 1;
        self.last_number
    }

    pub(super) fn mark_committed(&mut self, xids: &[Xid]) {
        for &xid in xids {
            self.clog.set(xid, XactStatus::Committed);
        }
    }

    /// What was committed is now everybody's: `ProcArrayEndTransaction`, and our log.
    fn publish(&mut self, record: &CommitRecord) {
        for xid in &record.xids {
            self.running.remove(xid);
        }
        self.publish_ddl(record);
        self.log_commit(record.committed.clone());
        if self.is_sabotaged(Sabotage::UnlockBeforeVisible) {
            // Who was let go too early and found the transaction still running has queued up again.
            for &xid in &record.xids {
                self.locks.transaction_ended(xid, &mut self.wakeups);
            }
        }
    }

    pub(super) fn publish_ddl(&mut self, record: &CommitRecord) {
        for change in &record.ddl {
            self.finish_storage(change);
            self.catalog = Arc::new(self.catalog.with([change]));
        }
    }

    pub(super) fn log_commit(&mut self, committed: Committed) {
        if self.is_sabotaged(Sabotage::CommitTwice) {
            self.commits.push(committed.clone());
        }
        self.commits.push(committed);
    }
}

#[cfg(test)]
mod tests;
