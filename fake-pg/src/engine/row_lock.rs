//! Finding a row to change or lock, in the version that counts now.
//!
//! A row that somebody else is changing is waited for. If that somebody commits, read committed goes
//! on with the newest version, once the executor has evaluated its WHERE on it again
//! ([`Found::Moved`], PostgreSQL's EvalPlanQual); repeatable read gives up with 40001.

use super::catalog::Table;
use super::exec::{Effect, Exec, Halt, diverged};
use super::lock::{AdvisoryScope, LockMode, LockStrength, LockTag, Request, WaitPolicy};
use super::mvcc::{XactStatus, status};
use super::sabotage::Sabotage;
use super::wal::Record;
use super::xact::Isolation;
use super::{Engine, Tid, Xid};
use crate::error::PgError;

/// How a row was found that a statement meant to change or lock (`TM_Result`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// As it was seen. For an update: this is the new version.
    Here(Tid),
    /// Changed meanwhile: this is the newest version, locked. Nothing has been done to it: evaluate
    /// the WHERE clause on it, and if it still holds, ask again for this version.
    Moved(Tid),
    /// Deleted meanwhile: pass over it.
    Gone,
    /// Already changed by this very statement: pass over it.
    Mine,
    /// Locked by somebody else, and [`WaitPolicy::Skip`] was asked for.
    Skipped,
}

impl Exec<'_> {
    /// SELECT … FOR UPDATE and the weaker ones, on one version.
    pub fn lock(
        &mut self,
        table: &Table,
        tid: Tid,
        strength: LockStrength,
        policy: WaitPolicy,
    ) -> Result<Found, Halt> {
        self.found(|exec| {
            let found = exec.find(table, tid, strength, policy)?;
            if let Found::Here(_) | Found::Moved(_) = found {
                let xid = exec.tx.xid(exec.engine);
                exec.engine.wal.insert(Record::Lock { xid });
            }
            Ok(found)
        })
    }

    pub(super) fn find_to_change(
        &mut self,
        table: &Table,
        tid: Tid,
        strength: LockStrength,
    ) -> Result<Found, Halt> {
        self.found(|exec| {
            // A writer has an xid before it waits; who only locks gets one with the lock.
            exec.tx.xid(exec.engine);
            exec.find(table, tid, strength, WaitPolicy::Block)
        })
    }

    fn found(
        &mut self,
        find: impl FnOnce(&mut Self) -> Result<Found, Halt>,
    ) -> Result<Found, Halt> {
        match self.effect(|exec| find(exec).map(Effect::Found))? {
            Effect::Found(found) => Ok(found),
            other => diverged("a row", &other),
        }
    }

    /// Locks a row and finds its newest version.
    fn find(
        &mut self,
        table: &Table,
        tid: Tid,
        strength: LockStrength,
        policy: WaitPolicy,
    ) -> Result<Found, Halt> {
        let tuple = self.tuple(table, tid);
        if self.tx.owns(tuple.xmax) {
            return Ok(Found::Mine);
        }
        let tag = LockTag::Row(table.node, tuple.root);
        if !self.lock_row(tag, strength.mode()) {
            return match policy {
                WaitPolicy::Skip => Ok(Found::Skipped),
                WaitPolicy::Error => Err(PgError::row_lock_not_available(&table.name).into()),
                WaitPolicy::Block => Err(self.wait_for(tag, strength.mode())),
            };
        }
        let found = self.newest(table, tid);
        match found {
            Found::Moved(_) if self.is_repeatable_read() => {
                Err(PgError::concurrent("update").into())
            }
            Found::Gone if self.is_repeatable_read() => Err(PgError::concurrent("delete").into()),
            _ => Ok(found),
        }
    }

    /// Follows the chain of updates that have committed.
    fn newest(&self, table: &Table, start: Tid) -> Found {
        let mut tid = start;
        loop {
            let tuple = self.tuple(table, tid);
            if self.tx.owns(tuple.xmax) {
                return Found::Mine;
            }
            let replaced =
                tuple.xmax != Xid::NONE && self.status(tuple.xmax) == XactStatus::Committed;
            match (replaced, tuple.next) {
                // An update in progress beside which the lock was free leaves the version as it is.
                (false, _) if tid == start => return Found::Here(tid),
                (false, _) => return Found::Moved(tid),
                (true, next) if next == tid => return Found::Gone,
                (true, next) => tid = next,
            }
        }
    }

    fn lock_row(&mut self, tag: LockTag, mode: LockMode) -> bool {
        let pid = self.tx.pid;
        if self.engine.is_sabotaged(Sabotage::ForgetRowLock)
            || self.engine.locks.holds(tag, pid, mode)
        {
            return true;
        }
        // Who is refused gets no xid: SKIP LOCKED over locked rows leaves no trace.
        if !self
            .engine
            .locks
            .is_free(tag, pid, mode, &self.engine.running)
        {
            return false;
        }
        let xid = self.tx.xid(self.engine);
        let request = Request {
            pid,
            mode,
            xid,
            scope: AdvisoryScope::Transaction,
        };
        let Engine {
            locks,
            running,
            wakeups,
            ..
        } = &mut *self.engine;
        locks.acquire(tag, request, running, wakeups);
        self.tx.locks.push((tag, mode, xid));
        true
    }

    pub(super) fn is_repeatable_read(&self) -> bool {
        self.tx.options.isolation == Isolation::RepeatableRead
    }

    pub(super) fn status(&self, xid: Xid) -> XactStatus {
        status(&self.engine.running, &self.engine.clog, xid)
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::Sabotage;
    use crate::engine::script::{check, check_on, engine};

    #[test]
    fn the_four_strengths_meet_as_the_manual_says() {
        // Table 13.3 of the manual; an update that changes no key is a FOR NO KEY UPDATE.
        check(
            "a insert 1 x
             a begin
             a append 1 y
             b lock key-share nowait     -> locked 1=x
             b lock share nowait         -> ERROR 55P03: could not obtain lock on row in relation \"t\"
             b lock no-key-update nowait -> ERROR 55P03: could not obtain lock on row in relation \"t\"
             a abort
             a begin
             a update 1 2 x
             b lock key-share nowait     -> ERROR 55P03: could not obtain lock on row in relation \"t\"
             a abort
             a begin
             a lock share block          -> locked 1=x
             b begin
             b lock share block          -> locked 1=x
             c append 1 z                -> waits
             a abort                     -> rolled back
             b abort                     -> rolled back; c: updated 1",
        );
    }

    #[test]
    fn skip_locked_takes_the_next_row() {
        check(
            "a insert 1 x
             a insert 2 y
             a begin
             a lock update block 1 -> locked 1=x
             b begin
             b lock update skip    -> locked 2=y
             c lock update skip    -> locked
             a commit
             c lock update skip    -> locked 1=x",
        );
    }

    #[test]
    fn waiters_for_a_row_are_served_first_in_first_out() {
        check(
            "a insert 1 x
             a begin
             a append 1 a
             b begin
             b append 1 b -> waits
             c append 1 c -> waits
             d append 1 d -> waits
             a abort      -> rolled back; b: updated 1
             b abort      -> rolled back; c: updated 1; d: updated 1
             a select     -> 1=xcd",
        );
    }

    #[test]
    fn a_cancelled_waiter_leaves_the_queue() {
        check(
            "a insert 1 x
             a begin
             a append 1 a
             b append 1 b -> waits
             c append 1 c -> waits
             b cancel     -> ERROR 57014: canceling statement due to user request
             a abort      -> rolled back; c: updated 1
             a select     -> 1=xc",
        );
    }

    #[test]
    fn sabotage_of_row_locks_lets_everybody_in() {
        let mut engine = engine();
        engine.sabotage(Sabotage::ForgetRowLock);
        check_on(
            engine,
            "a insert 1 x
             a begin
             a lock update block -> locked 1=x
             b lock update skip  -> locked 1=x",
        );
    }

    #[test]
    fn an_update_goes_on_with_the_newest_version() {
        // The row is computed anew from what the other has written: xyz, not xz.
        check(
            "a insert 1 x
             a begin
             a append 1 y
             b append 1 z         -> waits
             a commit to unlocked -> received deferred interrupts-held inserted flushed clog replicated visible unlocked; b: updated 1
             b select             -> 1=xyz",
        );
    }

    #[test]
    fn an_update_passes_over_a_row_that_no_longer_qualifies() {
        check(
            "a insert 1 x
             a begin
             a update 1 2 x       -> updated 1
             b append 1 z         -> waits
             c append 1 w         -> waits
             a commit to unlocked -> received deferred interrupts-held inserted flushed clog replicated visible unlocked; b: updated 0; c: updated 0
             b select             -> 2=x",
        );
    }

    #[test]
    fn a_row_deleted_meanwhile_is_passed_over() {
        check(
            "a insert 1 x
             a begin
             a delete 1
             b delete 1           -> waits
             a commit to unlocked -> received deferred interrupts-held inserted flushed clog replicated visible unlocked; b: deleted 0",
        );
    }

    #[test]
    fn repeatable_read_gives_up_on_what_was_changed_meanwhile() {
        check(
            "a insert 1 x
             a insert 2 x
             b begin rr
             b select     -> 1=x 2=x
             c begin rr
             c select     -> 1=x 2=x
             a append 1 y
             a delete 2
             b append 1 z -> ERROR 40001: could not serialize access due to concurrent update
             c delete 2   -> ERROR 40001: could not serialize access due to concurrent delete",
        );
    }

    #[test]
    fn a_statement_that_waits_twice_does_each_thing_once() {
        check(
            "a insert 1 x
             a insert 2 x
             a insert 3 x
             b begin
             b append 2 b
             c begin
             c append 3 c
             a lock update block  -> waits
             b abort              -> rolled back
             c abort              -> rolled back; a: locked 1=x 2=x 3=x
             a append 1 !
             a select             -> 2=x 3=x 1=x!",
        );
    }
}
