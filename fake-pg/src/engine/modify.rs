//! Changing rows: insert, update, delete, lock.
//!
//! A row that somebody else is changing is waited for. If that somebody commits, read committed goes
//! on with the newest version, once the executor has evaluated its WHERE on it again
//! ([`Found::Moved`], PostgreSQL's EvalPlanQual); repeatable read gives up with 40001.
//! A key that somebody else is inserting is waited for likewise, on the transaction's end.

use std::sync::Arc;

use super::catalog::{Index, Table};
use super::exec::{Effect, Exec, Halt, diverged};
use super::heap::{Key, Row};
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

/// What came of an insert with ON CONFLICT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The row is in.
    New(Tid),
    /// This row is in its way: perhaps one that the statement's snapshot does not see.
    Conflict(Tid),
}

impl Exec<'_> {
    /// INSERT: waits for others who insert the same key, and fails on one that is there.
    pub fn insert(&mut self, table: &Table, row: Row) -> Result<Tid, Halt> {
        let tid = self.place(table, None, row)?;
        for (place, index) in table.unique_indexes() {
            self.index_checked(table, place, index, tid)?;
        }
        Ok(tid)
    }

    /// INSERT … ON CONFLICT. The arbiters are positions among the table's unique indexes; none means
    /// all of them.
    pub fn insert_unless_conflict(
        &mut self,
        table: &Table,
        row: Row,
        arbiters: &[usize],
    ) -> Result<Inserted, Halt> {
        let conflict = self.effect(|exec| {
            exec.tx.xid(exec.engine);
            for (place, index) in table.unique_indexes() {
                if !arbiters.is_empty() && !arbiters.contains(&place) {
                    continue;
                }
                let Some(key) = Key::of(index, &row) else {
                    continue;
                };
                if let Some(tid) = exec.conflict(table, place, &key, None)? {
                    exec.refuse_invisible(table, tid)?;
                    return Ok(Effect::Conflict(Some(tid)));
                }
            }
            Ok(Effect::Conflict(None))
        })?;
        match conflict {
            Effect::Conflict(Some(tid)) => Ok(Inserted::Conflict(tid)),
            Effect::Conflict(None) => self.insert(table, row).map(Inserted::New),
            other => diverged("a conflict", &other),
        }
    }

    /// UPDATE of one version to a new row. [`Found::Here`] names the new version.
    pub fn update(&mut self, table: &Table, tid: Tid, row: Row) -> Result<Found, Halt> {
        let old = self.row(table, tid).clone();
        let strength = match table.changes_key(&old, &row) {
            true => LockStrength::Update,
            false => LockStrength::NoKeyUpdate,
        };
        match self.find_to_change(table, tid, strength)? {
            Found::Here(tid) => {
                let new = self.place(table, Some(tid), row.clone())?;
                for (place, index) in table.unique_indexes() {
                    // Who keeps its key keeps its right to it.
                    if index
                        .columns
                        .iter()
                        .all(|&column| old[column] == row[column])
                    {
                        self.index_unchecked(table, place, new)?;
                    } else {
                        self.index_checked(table, place, index, new)?;
                    }
                }
                Ok(Found::Here(new))
            }
            elsewhere => Ok(elsewhere),
        }
    }

    /// DELETE of one version.
    pub fn delete(&mut self, table: &Table, tid: Tid) -> Result<Found, Halt> {
        let found = self.find_to_change(table, tid, LockStrength::Update)?;
        if let Found::Here(tid) = found {
            self.effect(|exec| {
                let (xid, command) = (exec.tx.xid(exec.engine), exec.tx.command);
                let heap = exec.heap_mut(table)?;
                heap.delete(tid, xid, command);
                if !heap.unlogged {
                    exec.engine.wal.insert(Record::Delete {
                        xid,
                        node: table.node,
                        tid,
                    });
                }
                Ok(Effect::Done)
            })?;
        }
        Ok(found)
    }

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

    fn find_to_change(
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
}

/// Rows and their locks.
impl Exec<'_> {
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

    fn is_repeatable_read(&self) -> bool {
        self.tx.options.isolation == Isolation::RepeatableRead
    }

    fn status(&self, xid: Xid) -> XactStatus {
        status(&self.engine.running, &self.engine.clog, xid)
    }
}

/// Versions and their keys.
impl Exec<'_> {
    /// Writes a version, of a new row or of an old one.
    fn place(&mut self, table: &Table, old: Option<Tid>, row: Row) -> Result<Tid, Halt> {
        let placed = self.effect(|exec| {
            let (xid, command, node) = (exec.tx.xid(exec.engine), exec.tx.command, table.node);
            let heap = exec.heap_mut(table)?;
            let (tid, record) = match old {
                Some(old) => (
                    heap.update(old, xid, command, row.clone()),
                    Record::Update {
                        xid,
                        node,
                        old,
                        row,
                    },
                ),
                None => (
                    heap.insert(xid, command, row.clone()),
                    Record::Insert { xid, node, row },
                ),
            };
            if !heap.unlogged {
                exec.engine.wal.insert(record);
            }
            Ok(Effect::Placed(tid))
        })?;
        match placed {
            Effect::Placed(tid) => Ok(tid),
            other => diverged("a place", &other),
        }
    }

    /// Enters a version in an index if its key is free, waits if that is not yet decided.
    fn index_checked(
        &mut self,
        table: &Table,
        place: usize,
        index: &Arc<Index>,
        tid: Tid,
    ) -> Result<(), Halt> {
        self.effect(|exec| {
            let row = exec.row(table, tid).clone();
            if let Some(key) = Key::of(index, &row) {
                if exec.conflict(table, place, &key, Some(tid))?.is_some() {
                    let key = index.describe(table, &row);
                    return Err(PgError::unique_violation(&table.name, &index.name, &key).into());
                }
            }
            exec.heap_mut(table)?.index_one(place, tid);
            Ok(Effect::Indexed)
        })
        .map(drop)
    }

    fn index_unchecked(&mut self, table: &Table, place: usize, tid: Tid) -> Result<(), Halt> {
        self.effect(|exec| {
            exec.heap_mut(table)?.index_one(place, tid);
            Ok(Effect::Indexed)
        })
        .map(drop)
    }

    /// The live row with a key (`_bt_check_unique`, which looks at what is, not at what a snapshot
    /// sees). Whoever is about to make or unmake one is waited for.
    fn conflict(
        &mut self,
        table: &Table,
        place: usize,
        key: &Key,
        except: Option<Tid>,
    ) -> Result<Option<Tid>, Halt> {
        let mut undecided = None;
        let heap = self.engine.heap(table.node);
        for tid in heap.lookup(place, key).filter(|&tid| Some(tid) != except) {
            let tuple = heap.tuple(tid);
            let own = |xid| self.tx.owns(xid);
            match self.status(tuple.xmin) {
                XactStatus::Aborted => continue,
                XactStatus::InProgress if !own(tuple.xmin) => {
                    undecided = Some(tuple.xmin);
                    break;
                }
                XactStatus::InProgress | XactStatus::Committed => {}
            }
            if tuple.xmax == Xid::NONE {
                return Ok(Some(tid));
            }
            match self.status(tuple.xmax) {
                XactStatus::Aborted => return Ok(Some(tid)),
                XactStatus::InProgress if !own(tuple.xmax) => {
                    undecided = Some(tuple.xmax);
                    break;
                }
                XactStatus::InProgress | XactStatus::Committed => {}
            }
        }
        match undecided {
            Some(xid) => Err(self.wait_for(LockTag::Transaction(xid), LockMode::Share)),
            None => Ok(None),
        }
    }

    /// Repeatable read must not act on a row that it cannot see (`ExecCheckTupleVisible`).
    fn refuse_invisible(&self, table: &Table, tid: Tid) -> Result<(), PgError> {
        let tuple = self.tuple(table, tid);
        if self.is_repeatable_read() && !self.view().sees(tuple) && !self.tx.owns(tuple.xmin) {
            return Err(PgError::concurrent("update"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::Sabotage;
    use crate::engine::script::{check, check_on, engine};

    #[test]
    fn an_insert_waits_for_the_same_key_and_takes_it_if_the_other_aborts() {
        // FAKE_PG, trap 9.
        check(
            "a begin
             a insert 1 x
             b insert 1 y -> waits
             a abort      -> rolled back; b: inserted
             a select     -> 1=y",
        );
    }

    #[test]
    fn an_insert_fails_if_the_other_commits() {
        check(
            "a begin
             a insert 1 x
             b insert 1 y -> waits
             a commit     -> received deferred interrupts-held inserted flushed clog replicated visible unlocked notified completed ready; b: ERROR 23505: duplicate key value violates unique constraint \"t_pkey\" (Key (id)=(1) already exists.)",
        );
    }

    #[test]
    fn an_insert_waits_for_a_deletion_of_its_key() {
        check(
            "a insert 1 x
             a begin
             a delete 1
             b insert 1 y -> waits
             a commit to unlocked -> received deferred interrupts-held inserted flushed clog replicated visible unlocked; b: inserted
             a select     -> 1=y",
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
    fn repeatable_read_raises_even_for_do_nothing_on_an_invisible_row() {
        // FAKE_PG, trap 9.
        check(
            "b begin rr
             b select             -> 
             a insert 1 x
             c insert-or-skip 1 y -> skipped
             b insert-or-skip 1 y -> ERROR 40001: could not serialize access due to concurrent update",
        );
    }

    #[test]
    fn do_nothing_waits_for_the_other_to_decide() {
        check(
            "a begin
             a insert 1 x
             b insert-or-skip 1 y -> waits
             c insert-or-skip 1 z -> waits
             a abort              -> rolled back; b: inserted; c: skipped
             a select             -> 1=y",
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
}
