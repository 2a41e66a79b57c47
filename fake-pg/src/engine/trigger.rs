//! What is checked after the rows are written: foreign keys and deferrable unique keys.
//!
//! Writing a row queues events; they are fired when the statement is over, or, if their constraint is
//! deferred, at COMMIT or SET CONSTRAINTS … IMMEDIATE. Each query that an event leads to has a
//! command and a snapshot of its own, so it sees what the statement has written. The events of a
//! statement are queued anew each time it is executed, as its rows come out of the journal; those that
//! are deferred become the transaction's when the statement ends. What an event does is `sql`'s
//! business.
//!
//! Source: `commands/trigger.c` and `utils/adt/ri_triggers.c`.

use std::sync::Arc;

use super::catalog::Table;
use super::constraint::{Deferral, ForeignKey, Index, Reaction};
use super::exec::{Effect, Exec, Halt, diverged};
use super::heap::{Key, Tuple};
use super::mvcc::{Snapshot, View, XactStatus};
use super::{TableId, Tid, Xid};
use crate::error::PgError;
use crate::types::Datum;

/// Something that happened to a row and must be looked into.
#[derive(Clone, Debug)]
pub enum Event {
    /// A version was written that refers to another row.
    Refers(Arc<ForeignKey>, Tid),
    /// A row that others may refer to was deleted in this version.
    Deleted(Arc<ForeignKey>, Tid),
    /// A row that others may refer to changed its key from this version to that one.
    Rekeyed(Arc<ForeignKey>, Tid, Tid),
    /// A version was written whose key stood in a deferrable index already.
    Doubled(TableId, Arc<Index>, Tid),
}

/// The deferred events of a transaction, and what SET CONSTRAINTS has said.
#[derive(Clone, Debug, Default)]
pub(super) struct AfterTriggers {
    pub(super) events: Vec<Event>,
    all: Option<bool>,
    named: Vec<(Arc<str>, bool)>,
}

impl AfterTriggers {
    /// Whether there is nothing that a savepoint would have to remember.
    pub(super) fn is_default(&self) -> bool {
        self.events.is_empty() && self.all.is_none() && self.named.is_empty()
    }

    fn defers(&self, event: &Event) -> bool {
        let (name, deferral) = event.constraint();
        let said = || {
            let named = self.named.iter().find(|(other, _)| other == name);
            named.map(|(_, deferred)| *deferred).or(self.all)
        };
        match deferral {
            Deferral::Never => false,
            initially => said().unwrap_or(initially == Deferral::Deferred),
        }
    }
}

impl Event {
    /// The constraint it is about, and when it may be fired: what a foreign key does to referring rows
    /// is never deferred.
    fn constraint(&self) -> (&Arc<str>, Deferral) {
        match self {
            Event::Refers(key, _) => (&key.name, key.deferral),
            Event::Deleted(key, _) if key.on_delete == Reaction::NoAction => {
                (&key.name, key.deferral)
            }
            Event::Rekeyed(key, ..) if key.on_update == Reaction::NoAction => {
                (&key.name, key.deferral)
            }
            Event::Deleted(key, _) | Event::Rekeyed(key, ..) => (&key.name, Deferral::Never),
            Event::Doubled(_, index, _) => (&index.name, index.deferral),
        }
    }

    /// The table whose row it is about.
    fn table(&self) -> TableId {
        match self {
            Event::Refers(key, _) => key.table,
            Event::Deleted(key, _) | Event::Rekeyed(key, ..) => key.referenced,
            Event::Doubled(table, ..) => *table,
        }
    }
}

/// What is queued.
impl Exec<'_> {
    /// A new row.
    pub(super) fn queue_insert(&mut self, table: &Table, tid: Tid, doubled: Vec<Event>) {
        self.queue_unique(doubled, |exec| {
            for key in &table.foreign_keys {
                if refers(key, exec.row(table, tid)) {
                    exec.events.push(Event::Refers(key.clone(), tid));
                }
            }
        });
    }

    /// A new version of a row.
    pub(super) fn queue_update(&mut self, table: &Table, old: Tid, new: Tid, doubled: Vec<Event>) {
        self.queue_unique(doubled, |exec| {
            let (before, after) = (exec.tuple(table, old).clone(), exec.row(table, new).clone());
            let changed = |columns: &[usize]| columns.iter().any(|&c| before.row[c] != after[c]);
            for key in &table.referenced_by {
                let had_key = key.keys.iter().all(|&column| !before.row[column].is_null());
                if had_key && changed(&key.keys) {
                    exec.events.push(Event::Rekeyed(key.clone(), old, new));
                }
            }
            for key in &table.foreign_keys {
                // The check of a row that this very transaction has inserted passes over it now.
                let own = exec.tx.owns(before.xmin);
                if refers(key, &after) && (own || changed(&key.columns)) {
                    exec.events.push(Event::Refers(key.clone(), new));
                }
            }
        });
    }

    /// The end of a row.
    pub(super) fn queue_delete(&mut self, table: &Table, tid: Tid) {
        for key in &table.referenced_by {
            let row = self.row(table, tid);
            if key.keys.iter().all(|&column| !row[column].is_null()) {
                self.events.push(Event::Deleted(key.clone(), tid));
            }
        }
    }

    /// Triggers fire in the order of their names: `PK_ConstraintTrigger…`, `RI_ConstraintTrigger_a…`
    /// on the referenced side, `RI_ConstraintTrigger_c…` on the other, `Unique_ConstraintTrigger…`.
    fn queue_unique(&mut self, doubled: Vec<Event>, others: impl FnOnce(&mut Self)) {
        let primary = |event: &Event| matches!(event, Event::Doubled(_, index, _) if index.primary);
        let (first, last): (Vec<_>, Vec<_>) = doubled.into_iter().partition(primary);
        self.events.extend(first);
        others(self);
        self.events.extend(last);
    }
}

/// What is fired.
impl Exec<'_> {
    /// The events queued since this was last asked.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Whether an event is to be fired later; then it is put there.
    pub fn defer(&mut self, event: &Event) -> bool {
        let later = self.tx.triggers.defers(event);
        if later {
            self.deferring.push(event.clone());
        }
        later
    }

    /// Queues the deferred events whose time has come: all at COMMIT, else those that SET CONSTRAINTS
    /// has made immediate.
    pub fn queue_pending(&mut self, all: bool) {
        let pending = &self.tx.triggers;
        let due = pending.events.iter();
        let due = due.filter(|event| all || !pending.defers(event)).cloned();
        self.events = due.collect();
        self.fires_pending = true;
    }

    /// SET CONSTRAINTS; no names means all.
    pub fn set_constraints(&mut self, names: Option<&[Arc<str>]>, deferred: bool) {
        let pending = &mut self.tx.triggers;
        let Some(names) = names else {
            (pending.all, pending.named) = (Some(deferred), Vec::new());
            return;
        };
        for name in names {
            pending.named.retain(|(other, _)| other != name);
            pending.named.push((name.clone(), deferred));
        }
    }

    /// The statement is over: what it defers is the transaction's.
    pub(super) fn settle_events(&mut self) {
        let pending = &mut self.tx.triggers;
        if self.fires_pending {
            let events = std::mem::take(&mut pending.events);
            pending.events = events.into_iter().filter(|e| pending.defers(e)).collect();
        }
        pending.events.append(&mut self.deferring);
    }

    /// 55006 if a cursor reads a table that is to be changed as a whole, or events wait for it
    /// (`CheckTableNotInUse`).
    pub fn refuse_pending(&self, table: &Table, statement: &str) -> Result<(), PgError> {
        if self.tx.in_use.contains(&table.id) {
            return Err(PgError::used_by_queries(statement, &table.name));
        }
        let events = &self.tx.triggers.events;
        match events.iter().any(|event| event.table() == table.id) {
            true => Err(PgError::pending_trigger_events(statement, &table.name)),
            false => Ok(()),
        }
    }

    /// Begins a query of its own within the statement: it sees what was written before it. `latest`
    /// sees what others have committed even in repeatable read, but may change only what the
    /// transaction sees too (`ri_PerformCheck`).
    pub fn begin_query(&mut self, latest: bool) -> Result<(), Halt> {
        self.command.0 += 1;
        let isolated = self.tx.options.isolation.keeps_snapshot();
        let taken = self.effect(|exec| {
            let own = exec.tx.snapshot.clone().filter(|_| isolated && !latest);
            let engine = &exec.engine;
            let snapshot = own.unwrap_or_else(|| Snapshot::take(&engine.running, engine.next_xid));
            Ok(Effect::Snapshot(snapshot))
        })?;
        let Effect::Snapshot(snapshot) = taken else {
            diverged("a snapshot", &taken)
        };
        self.nested = Some(snapshot);
        self.crosschecks = isolated && latest;
        Ok(())
    }

    /// Ends it.
    pub fn end_query(&mut self) {
        self.nested = None;
        self.crosschecks = false;
    }

    /// Whether the transaction itself sees a version that a query of the latest snapshot has found.
    pub(super) fn passes_crosscheck(&self, tuple: &Tuple) -> bool {
        let Some(snapshot) = self.tx.snapshot.as_ref().filter(|_| self.crosschecks) else {
            return true;
        };
        let view = View {
            snapshot,
            clog: &self.engine.clog,
            own: &self.tx.xids,
            command: self.command,
        };
        view.sees(tuple)
    }

    /// Whether a version is still there, for this transaction (`SnapshotSelf`).
    pub fn is_live(&self, table: &Table, tid: Tid) -> bool {
        let tuple = self.tuple(table, tid);
        let counts = |xid: Xid| self.tx.owns(xid) || self.status(xid) == XactStatus::Committed;
        counts(tuple.xmin) && (tuple.xmax == Xid::NONE || !counts(tuple.xmax))
    }

    /// Whether another row, or one that somebody is about to write, has the key of a version.
    pub(super) fn may_double(&self, table: &Table, slot: usize, key: &Key, tid: Tid) -> bool {
        let heap = self.engine.heap(table.node);
        heap.lookup(slot, key).any(|other| {
            let tuple = heap.tuple(other);
            let gone = |xid: Xid| match self.status(xid) {
                XactStatus::Committed => true,
                XactStatus::InProgress => self.tx.owns(xid),
                XactStatus::Aborted => false,
            };
            other != tid
                && self.status(tuple.xmin) != XactStatus::Aborted
                && (tuple.xmax == Xid::NONE || !gone(tuple.xmax))
        })
    }

    /// Looks again whether a key is unique, and waits for who is still writing it. The version may
    /// have been replaced by one that needed no new entries (`unique_key_recheck`).
    pub fn recheck_unique(&mut self, table: &Table, index: &Index, tid: Tid) -> Result<(), Halt> {
        self.effect(|exec| {
            let live = exec.chain(table, tid).find(|&tid| exec.is_live(table, tid));
            let Some(tid) = live else {
                return Ok(Effect::Done);
            };
            let row = exec.row(table, tid).clone();
            if let Some(key) = Key::of(index, &row)
                && exec
                    .conflict(table, index.slot, &key, Some(tid), &index.name)?
                    .is_some()
            {
                // Who would have been cancelled for writing is told that (`_bt_check_unique`).
                exec.enters(table, index)?;
                let key = index.describe(table, &row);
                let error = PgError::unique_violation(&table.name, &index.name, &key);
                return Err(error.in_schema(&table.schema).into());
            }
            Ok(Effect::Done)
        })
        .map(drop)
    }
}

/// Whether a row refers to another one, or must be told that it may not.
fn refers(key: &ForeignKey, row: &[Datum]) -> bool {
    let mut nulls = key.columns.iter().map(|&column| row[column].is_null());
    match key.full {
        true => !nulls.all(|null| null),
        false => !nulls.any(|null| null),
    }
}
