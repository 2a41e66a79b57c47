//! Changing rows: insert, update, delete, and the keys they need.
//!
//! A key that somebody else is inserting, or whose row somebody is deleting, is waited for, on the
//! end of that transaction. Which version of a row is changed is `row_lock`'s business.

use std::sync::Arc;

use super::catalog::Table;
use super::constraint::{Deferral, Index};
use super::exec::{Effect, Exec, Halt, diverged};
use super::heap::{Key, Row};
use super::lock::LockStrength;
use super::mvcc::XactStatus;
use super::row_lock::{Deed, Found, place};
use super::trigger::Event;
use super::wal::Record;
use super::{Tid, Xid};
use crate::error::PgError;

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
        let tid = self.insert_tuple(table, row)?;
        self.insert_entries(table, tid)?;
        Ok(tid)
    }

    /// Its first half: the row is in the table, and in no index (`table_multi_insert`).
    pub fn insert_tuple(&mut self, table: &Table, row: Row) -> Result<Tid, Halt> {
        self.place(table, None, row)
    }

    /// Its other half (`ExecInsertIndexTuples`).
    pub fn insert_entries(&mut self, table: &Table, tid: Tid) -> Result<(), Halt> {
        let mut doubled = Vec::new();
        for (place, index) in table.unique_indexes() {
            doubled.extend(self.index_checked(table, place, index, tid)?);
        }
        if !table.foreign_keys.is_empty() || !doubled.is_empty() {
            self.queue_insert(table, tid, doubled);
        }
        self.enter_others(table)
    }

    /// INSERT … ON CONFLICT. The arbiters are positions among the table's unique indexes; none means
    /// all of them.
    pub fn insert_unless_conflict(
        &mut self,
        table: &Table,
        row: Row,
        arbiters: &[usize],
    ) -> Result<Inserted, Halt> {
        // Measured on PostgreSQL 15: who finds a conflict has written nothing, and is given no xid.
        let conflict = self.effect(|exec| {
            for (place, index) in table.unique_indexes() {
                if !arbiters.is_empty() && !arbiters.contains(&place) {
                    continue;
                }
                if index.deferral != Deferral::Never {
                    let error = PgError::deferrable_arbiter(&table.name, &index.name);
                    return Err(error.in_schema(&table.schema).into());
                }
                let Some(key) = Key::computed(index, &row)? else {
                    continue;
                };
                if let Some(tid) = exec.conflict(table, place, &key, None, &table.name)? {
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

    /// Repeatable read must not act on a row that it cannot see (`ExecCheckTupleVisible`): DO NOTHING
    /// asks at once, DO UPDATE once it has the lock.
    pub fn refuse_invisible(&self, table: &Table, tid: Tid) -> Result<(), PgError> {
        if !self.keeps_snapshot() {
            return Ok(());
        }
        let tuple = self.tuple(table, tid);
        match self.view().sees(tuple) || self.tx.owns(tuple.xmin) {
            true => Ok(()),
            false => Err(PgError::concurrent("update")),
        }
    }

    /// UPDATE of one version to a new row. [`Found::Here`] names the new version.
    pub fn update(&mut self, table: &Table, tid: Tid, row: Row) -> Result<Found, Halt> {
        let old = self.row(table, tid).clone();
        let strength = match table.changes_key(&old, &row) {
            true => LockStrength::Update,
            false => LockStrength::NoKeyUpdate,
        };
        match self.find_to_change(table, tid, strength, Deed::Update)? {
            Found::Here(tid) => {
                let new = self.place(table, Some((tid, strength)), row.clone())?;
                let mut doubled = Vec::new();
                let enters = self.is_serializable() && table.indexes_differ(&old, &row);
                for (place, index) in table.unique_indexes() {
                    // Who keeps its key keeps its right to it, if it had one: one that is doubled until
                    // the end of the transaction is looked at anew, unless no index gets an entry.
                    let has_right =
                        || index.deferral == Deferral::Never || !table.indexes_differ(&old, &row);
                    if index.keeps_key(&old, &row) && has_right() {
                        self.index_unchecked(table, place, index, new, enters)?;
                    } else {
                        doubled.extend(self.index_checked(table, place, index, new)?);
                    }
                }
                if enters {
                    self.enter_others(table)?;
                }
                if table.has_triggers() || !doubled.is_empty() {
                    self.queue_update(table, tid, new, doubled);
                }
                Ok(Found::Here(new))
            }
            elsewhere => Ok(elsewhere),
        }
    }

    /// DELETE of one version.
    pub fn delete(&mut self, table: &Table, tid: Tid) -> Result<Found, Halt> {
        let found = self.find_to_change(table, tid, LockStrength::Update, Deed::Delete)?;
        if let Found::Here(tid) = found {
            self.effect(|exec| {
                exec.replaces(table, tid)?;
                let (xid, command) = (exec.tx.xid(exec.engine), exec.command);
                let heap = exec.heap_mut(table)?;
                heap.delete(tid, xid, command);
                let (logged, due) = (!heap.unlogged, heap.asks_to_be_pruned());
                if logged {
                    exec.log(Record::Delete {
                        xid,
                        node: table.node,
                        tid,
                    });
                }
                if due {
                    exec.engine.vacuum.note(table.node);
                }
                Ok(Effect::Done)
            })?;
            if !table.referenced_by.is_empty() {
                self.queue_delete(table, tid);
            }
        }
        Ok(found)
    }
}

/// Versions and their keys.
impl Exec<'_> {
    /// Writes a version, of a new row or of an old one.
    fn place(
        &mut self,
        table: &Table,
        old: Option<(Tid, LockStrength)>,
        row: Row,
    ) -> Result<Tid, Halt> {
        let placed = self.effect(|exec| {
            match old {
                Some((old, _)) => exec.replaces(table, old)?,
                None => exec.inserts(table)?,
            }
            let (xid, command, node) = (exec.tx.xid(exec.engine), exec.command, table.node);
            let heap = exec.heap_mut(table)?;
            let old = old.map(|(old, strength)| (old, heap.strongest(old, xid, strength)));
            let (tid, record) = match old {
                Some((old, taken)) => (
                    heap.update(old, xid, command, taken, row.clone()),
                    Record::Update {
                        xid,
                        node,
                        old,
                        taken,
                        row,
                    },
                ),
                None => (
                    heap.insert(xid, command, row.clone()),
                    Record::Insert { xid, node, row },
                ),
            };
            let (logged, due) = (!heap.unlogged, heap.asks_to_be_pruned());
            if logged {
                exec.log(record);
            }
            if due {
                exec.engine.vacuum.note(node);
            }
            Ok(Effect::Placed(tid))
        })?;
        match placed {
            Effect::Placed(tid) => Ok(tid),
            other => diverged("a place", &other),
        }
    }

    /// Enters a version in an index if its key is free, waits if that is not yet decided. A deferrable
    /// index takes it in any case, and it is looked into later whether the key is free then.
    fn index_checked(
        &mut self,
        table: &Table,
        place: usize,
        index: &Arc<Index>,
        tid: Tid,
    ) -> Result<Option<Event>, Halt> {
        let indexed = self.effect(|exec| {
            let row = exec.row(table, tid).clone();
            let mut doubled = false;
            if let Some(key) = Key::computed(index, &row)? {
                if index.deferral != Deferral::Never {
                    doubled = exec.may_double(table, place, &key, tid);
                } else if exec
                    .conflict(table, place, &key, Some(tid), &index.name)?
                    .is_some()
                {
                    // Nothing will be written, but who would have been cancelled for writing is told
                    // that.
                    exec.enters(table, index)?;
                    let key = index.describe(table, &row);
                    let error = PgError::unique_violation(&table.name, &index.name, &key);
                    return Err(error.in_schema(&table.schema).into());
                }
            }
            exec.enters(table, index)?;
            exec.heap_mut(table)?.index_one(place, tid);
            Ok(Effect::Indexed(doubled))
        })?;
        match indexed {
            Effect::Indexed(false) => Ok(None),
            Effect::Indexed(true) => Ok(Some(Event::Doubled(table.id, index.clone(), tid))),
            other => diverged("an index", &other),
        }
    }

    fn index_unchecked(
        &mut self,
        table: &Table,
        place: usize,
        index: &Index,
        tid: Tid,
        enters: bool,
    ) -> Result<(), Halt> {
        self.effect(|exec| {
            if enters {
                exec.enters(table, index)?;
            }
            exec.heap_mut(table)?.index_one(place, tid);
            Ok(Effect::Indexed(false))
        })
        .map(drop)
    }

    /// The live row with a key (`_bt_check_unique`, which looks at what is, not at what a snapshot
    /// sees). Whoever is about to make or unmake one is waited for.
    pub(super) fn conflict(
        &mut self,
        table: &Table,
        index: usize,
        key: &Key,
        except: Option<Tid>,
        relation: &str,
    ) -> Result<Option<Tid>, Halt> {
        let mut undecided = None;
        let heap = self.engine.heap(table.node);
        for tid in heap.entries(index, key).filter(|&tid| Some(tid) != except) {
            let tuple = heap.tuple(tid);
            let own = |xid| self.tx.owns(xid);
            match self.status(tuple.xmin) {
                XactStatus::Aborted => continue,
                XactStatus::InProgress if !own(tuple.xmin) => {
                    undecided = Some((tid, tuple.xmin));
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
                    undecided = Some((tid, tuple.xmax));
                    break;
                }
                XactStatus::InProgress | XactStatus::Committed => {}
            }
        }
        match undecided {
            Some((tid, xid)) => {
                let at = place(except.unwrap_or(tid));
                let reason = format!("inserting index tuple {at} in relation \"{relation}\"");
                Err(self.wait_for_end(xid, &reason))
            }
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::script::check;

    #[test]
    fn an_insert_waits_for_the_same_key_and_takes_it_if_the_other_aborts() {
        // Measured on PostgreSQL 15.18.
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
    fn repeatable_read_raises_even_for_do_nothing_on_an_invisible_row() {
        // Measured on PostgreSQL 15.18.
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
}
