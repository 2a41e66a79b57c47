//! Executing one statement, as often as it takes.
//!
//! Executing never blocks. What must wait gives the statement up with [`Halt::Wait`]; when the
//! session is woken, the statement is executed *again from its start*, with the same [`Journal`].
//! The journal holds the statement's snapshot and the result of each effect so far, in order, and
//! answers from there until it is used up; only then do effects happen again. Scans see what the
//! snapshot sees, and never what the statement itself has written: the second execution runs exactly
//! as the first did, up to where that one stopped.
//!
//! So: everything that changes the world, or that could come out differently the next time, goes
//! through [`Exec`]. What is written here is that mechanism; the effects themselves stand in
//! `lock_wait`, `modify`, `row_lock`, `ddl`, `sequence` and `lock::advisory`.

use std::sync::Arc;
use std::time::Duration;

use super::catalog::{Catalog, Table};
use super::heap::{Heap, Key, Row, Tuple};
use super::lock::LockTag;
use super::lock_wait::Waiting;
use super::mvcc::{Snapshot, View};
use super::namespace::SearchPath;
use super::row_lock::Found;
use super::trigger::Event;
use super::wal::Record;
use super::xact::Transaction;
use super::{CommandId, Engine, Lsn, Tid, Timestamp, Xid};
use crate::error::PgError;
use crate::types::Datum;

/// Why a statement stopped short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// It failed.
    Error(PgError),
    /// It must wait, then be executed again with the same journal.
    Wait(Wait),
}

impl Halt {
    /// The same error, at a place in the statement.
    pub fn at(self, position: usize) -> Halt {
        match self {
            Halt::Error(error) if position > 0 => Halt::Error(error.at(position)),
            other => other,
        }
    }

    /// The same error, pointing nowhere.
    pub fn nowhere(self) -> Halt {
        match self {
            Halt::Error(error) => Halt::Error(error.nowhere()),
            other => other,
        }
    }
}

impl From<PgError> for Halt {
    fn from(error: PgError) -> Self {
        Halt::Error(error)
    }
}

/// What a session waits for. It is woken by [`Engine::take_wakeups`] or by the deadline; being woken
/// early is harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What for.
    pub on: WaitOn,
    /// When to try again even if nobody wakes it.
    pub deadline: Option<Timestamp>,
}

/// The kinds of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitOn {
    /// A lock that others hold.
    Lock(LockTag),
    /// `pg_sleep`.
    Sleep,
    /// Whatever the embedder has a caller of its functions wait for.
    Embedder,
    /// A replica that has what was committed.
    Replica,
    /// A snapshot that no running transaction can make inconsistent.
    SafeSnapshot,
}

/// What one statement has done so far.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    pub(super) snapshot: Option<Snapshot>,
    /// The command that took it: a cursor sees nothing of later ones.
    command: Option<CommandId>,
    pub(super) effects: Vec<Effect>,
    /// Its snapshot is its own, and not the transaction's.
    passing: bool,
    /// Its snapshot was taken before it asked for a table, and is not taken anew when it had to wait
    /// for that: COPY TO is no query that is analysed first.
    pub keeps_snapshot: bool,
    /// Since when it has been waiting, and whether it has looked for a deadlock.
    pub(super) waiting: Option<Waiting>,
    /// It has the tables it needs, and runs.
    pub began: bool,
    /// The query within the statement that is being executed, for CONTEXT.
    pub within: Option<String>,
    /// Notices and warnings for the client, in order. The session takes them.
    pub notices: Vec<PgError>,
    /// The rows that a query had found when it failed: they are sent before the error.
    pub found: Vec<Vec<Datum>>,
}

impl Journal {
    /// For a command that needs no snapshot: SET, SHOW, LOCK. It does not fix the one that repeatable
    /// read keeps.
    pub fn passing() -> Journal {
        Journal {
            passing: true,
            ..Journal::default()
        }
    }
}

/// The result of an effect: all that the statement may know of it when it is executed again.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    /// A row was sought to be locked.
    Found(Found),
    /// A version was written.
    Placed(Tid),
    /// A version was entered in an index, where its key may have stood already.
    Indexed(bool),
    /// A query within the statement began.
    Snapshot(Snapshot),
    /// A conflicting row was looked for.
    Conflict(Option<Tid>),
    /// A function with side effects was called.
    Value(Datum),
    /// Rows that no snapshot keeps.
    Rows(Arc<Vec<Row>>),
    /// A sleep began, to end then.
    Until(Timestamp),
    /// DDL was done, or something was read.
    Done,
    /// Entries of an index were read.
    Entries(Arc<[Tid]>),
}

/// One execution of one statement.
#[derive(Debug)]
pub struct Exec<'a> {
    /// The server.
    pub engine: &'a mut Engine,
    /// The transaction it belongs to.
    pub tx: &'a mut Transaction,
    /// What earlier executions of it have done.
    pub journal: &'a mut Journal,
    /// The time.
    pub now: Timestamp,
    /// How many of the journal's effects this execution has used up.
    used: usize,
    /// What is written now is written by this command, and only earlier ones are seen.
    pub(super) command: CommandId,
    /// What must be looked into when the rows are written.
    pub(super) events: Vec<Event>,
    /// Of these, what is left for later.
    pub(super) deferring: Vec<Event>,
    /// Whether the transaction's own deferred events are being fired.
    pub(super) fires_pending: bool,
    /// The snapshot of a query within the statement.
    pub(super) nested: Option<Snapshot>,
    /// Whether that one sees more than the transaction does.
    pub(super) crosschecks: bool,
}

impl<'a> Exec<'a> {
    /// Begins an execution. The first one with a journal takes the statement's snapshot.
    pub fn new(
        engine: &'a mut Engine,
        tx: &'a mut Transaction,
        journal: &'a mut Journal,
        now: Timestamp,
    ) -> Self {
        if journal.keeps_snapshot {
            tx.refresh_catalog(engine);
        }
        if journal.snapshot.is_none() {
            tx.refresh_catalog(engine);
            let snapshot = tx.snapshot.clone();
            let snapshot =
                snapshot.unwrap_or_else(|| Snapshot::take(&engine.running, engine.next_xid));
            if tx.options.isolation.keeps_snapshot() && tx.snapshot.is_none() && !journal.passing {
                engine.follow(tx, &snapshot);
                tx.snapshot = Some(snapshot.clone());
            }
            journal.snapshot = Some(snapshot);
        }
        Exec {
            command: *journal.command.get_or_insert(tx.command),
            engine,
            tx,
            journal,
            now,
            used: 0,
            events: Vec::new(),
            deferring: Vec::new(),
            fires_pending: false,
            nested: None,
            crosschecks: false,
        }
    }

    /// Leaves a statement that must wait, for its next execution.
    pub fn suspend(self) {
        if let Some(oldest) = self.oldest_needed() {
            self.engine.vacuum.hold_statement(self.tx.pid, oldest);
        }
    }

    /// Ends a statement that succeeded: what it did is seen by the next (`CommandCounterIncrement`).
    pub fn finish(mut self) {
        self.engine.stop_waiting(self.tx.pid);
        self.settle_events();
        if !self.journal.effects.is_empty() {
            self.tx.command = CommandId(self.command.0 + 1);
        }
        *self.journal = Journal {
            notices: std::mem::take(&mut self.journal.notices),
            ..Journal::default()
        };
    }

    /// Leaves a cursor that is not at its end: its journal stays, for more of its rows.
    pub fn keep(self) {
        self.engine.stop_waiting(self.tx.pid);
        if let Some(oldest) = self.oldest_needed() {
            self.engine.vacuum.hold_transaction(self.tx.pid, oldest);
        }
    }

    /// Ends a part of a statement that goes on in others: this one is not executed again. Gives what
    /// its rows have queued.
    pub fn end_part(&mut self) -> Vec<Event> {
        self.journal.effects.clear();
        self.used = 0;
        std::mem::take(&mut self.events)
    }

    /// Queues what the parts of a statement have left, in its last one: it has had effects.
    pub fn queue_parts(&mut self, events: &[Event]) -> Result<(), Halt> {
        self.events.extend_from_slice(events);
        self.effect(|_| Ok(Effect::Done)).map(drop)
    }

    /// What ended before this transaction is nothing to the statement. A serializable one knows where
    /// chains begin, which may be with versions that nobody sees.
    fn oldest_needed(&self) -> Option<Xid> {
        let snapshot = self.journal.snapshot.as_ref()?;
        Some(match self.is_serializable() {
            true => Xid::NONE,
            false => snapshot.xmin(),
        })
    }

    /// The tables and sequences this statement knows.
    pub fn catalog(&self) -> &Arc<Catalog> {
        self.tx.catalog()
    }

    /// Where its names are looked up.
    pub fn path(&self) -> &SearchPath {
        self.tx.path()
    }
}

/// Reading.
impl Exec<'_> {
    /// The rows of a table that this statement sees, oldest first.
    pub fn scan<'s>(&'s self, table: &Table) -> impl Iterator<Item = (Tid, &'s Row)> + use<'s> {
        let view = self.view();
        let tuples = self.engine.heap(table.node).tuples();
        tuples
            .filter(move |(_, tuple)| view.sees(tuple))
            .map(|(tid, tuple)| (tid, &tuple.row))
    }

    /// The rows that there are now, whatever the transaction's snapshot: what DDL looks at, which has
    /// locked the table against changes (`GetLatestSnapshot`).
    pub fn scan_latest(&self, table: &Table) -> Vec<(Tid, Row)> {
        let snapshot = Snapshot::take(&self.engine.running, self.engine.next_xid);
        let view = View {
            snapshot: &snapshot,
            ..self.view()
        };
        let tuples = self.engine.heap(table.node).tuples();
        let seen = tuples.filter(|(_, tuple)| view.sees(tuple));
        seen.map(|(tid, tuple)| (tid, tuple.row.clone())).collect()
    }

    /// The first row at or after a place that this statement sees: a scan that can be interrupted by
    /// changes.
    pub fn next_row(&self, table: &Table, from: Tid) -> Option<(Tid, &Row)> {
        let (view, heap) = (self.view(), self.engine.heap(table.node));
        let mut places = (from.0..heap.len()).map(Tid);
        let tid = places.find(|&tid| view.sees(heap.tuple(tid)))?;
        Some((tid, &heap.tuple(tid).row))
    }

    /// The row with this key in the table's n-th unique index, if this statement sees one.
    pub fn lookup(&self, table: &Table, index: usize, key: &Key) -> Option<(Tid, &Row)> {
        let (view, heap) = (self.view(), self.engine.heap(table.node));
        let tid = heap
            .lookup(index, key)
            .find(|&tid| view.sees(heap.tuple(tid)))?;
        Some((tid, &heap.tuple(tid).row))
    }

    /// The version of a row that this statement sees, this one or a newer one: WHERE CURRENT OF.
    ///
    /// Source: `TidNext` in `nodeTidscan.c`.
    pub fn newest_row(&self, table: &Table, mut tid: Tid) -> Option<(Tid, &Row)> {
        let (view, heap) = (self.view(), self.engine.heap(table.node));
        while tid.0 < heap.len() {
            let tuple = heap.tuple(tid);
            if view.sees(tuple) {
                return Some((tid, &tuple.row));
            }
            if tuple.next == tid {
                break;
            }
            tid = tuple.next;
        }
        None
    }

    /// A version, seen or not: what [`Found::Moved`] points to.
    pub fn row(&self, table: &Table, tid: Tid) -> &Row {
        &self.tuple(table, tid).row
    }

    /// The xid of the transaction that wrote a version: the system column `xmin`.
    pub fn xmin(&self, table: &Table, tid: Tid) -> Xid {
        self.tuple(table, tid).xmin
    }

    /// Whether this very statement wrote a version: ON CONFLICT DO UPDATE must not touch it again.
    pub fn is_own_work(&self, table: &Table, tid: Tid) -> bool {
        let tuple = self.tuple(table, tid);
        tuple.cmin == self.command && self.tx.owns(tuple.xmin)
    }

    pub(super) fn tuple(&self, table: &Table, tid: Tid) -> &Tuple {
        self.engine.heap(table.node).tuple(tid)
    }

    pub(super) fn journal_snapshot(&self) -> &Snapshot {
        let snapshot = self.journal.snapshot.as_ref();
        snapshot.expect("taken when the execution began")
    }

    pub(super) fn view(&self) -> View<'_> {
        View {
            snapshot: match &self.nested {
                Some(nested) => nested,
                None => self.journal_snapshot(),
            },
            clog: &self.engine.clog,
            own: &self.tx.xids,
            command: self.command,
        }
    }

    pub(super) fn heap_mut(&mut self, table: &Table) -> Result<&mut Heap, PgError> {
        let heap = self.engine.heaps.get_mut(&table.node);
        // Only who changes a table without having locked it can find it gone.
        heap.map(Arc::make_mut)
            .ok_or_else(|| PgError::undefined_table(&table.name))
    }
}

/// Effects that are not about rows.
impl Exec<'_> {
    /// A value that could come out differently the next time: `clock_timestamp()`, a random uuid.
    pub fn datum(
        &mut self,
        compute: impl FnOnce(&mut Self) -> Result<Datum, Halt>,
    ) -> Result<Datum, Halt> {
        match self.effect(|exec| compute(exec).map(Effect::Value))? {
            Effect::Value(value) => Ok(value),
            other => diverged("a value", &other),
        }
    }

    /// The same for a number.
    pub fn value(
        &mut self,
        compute: impl FnOnce(&mut Self) -> Result<i64, Halt>,
    ) -> Result<i64, Halt> {
        let datum = self.datum(|exec| compute(exec).map(Datum::Int8))?;
        Ok(datum.as_i64().expect("an Int8 went in"))
    }

    /// Rows that no snapshot keeps: they are computed once, and the same when the statement is
    /// executed again.
    pub fn rows(
        &mut self,
        compute: impl FnOnce(&mut Self) -> Vec<Row>,
    ) -> Result<Arc<Vec<Row>>, Halt> {
        match self.effect(|exec| Ok(Effect::Rows(Arc::new(compute(exec)))))? {
            Effect::Rows(rows) => Ok(rows),
            other => diverged("rows", &other),
        }
    }

    /// Rows that the statement sees, in an order that could come out differently the next time.
    pub fn once_found(&mut self, rows: Arc<[Tid]>) -> Result<Arc<[Tid]>, Halt> {
        match self.effect(|_| Ok(Effect::Entries(rows)))? {
            Effect::Entries(rows) => Ok(rows),
            other => diverged("rows found", &other),
        }
    }

    /// A notice or warning, sent once.
    pub fn notice(&mut self, notice: PgError) {
        let sent = self.datum(|exec| {
            exec.journal.notices.push(notice);
            Ok(Datum::Void)
        });
        sent.expect("a notice neither fails nor waits");
    }

    /// `pg_sleep`.
    pub fn sleep(&mut self, duration: Duration) -> Result<(), Halt> {
        match self.effect(|exec| Ok(Effect::Until(exec.now.after(duration))))? {
            Effect::Until(end) if self.now >= end => Ok(()),
            Effect::Until(end) => Err(Halt::Wait(Wait {
                on: WaitOn::Sleep,
                deadline: Some(end),
            })),
            other => diverged("a sleep", &other),
        }
    }

    /// `pg_current_xact_id`: assigns one.
    pub fn current_xid(&mut self) -> Xid {
        self.tx.top_xid_assigned(self.engine)
    }

    /// The statement's snapshot as `pg_current_snapshot` shows it: `xmin`, `xmax`, and who is running
    /// between. One's own transaction is not listed, nor are subtransactions.
    pub fn current_snapshot(&self) -> (Xid, Xid, Vec<Xid>) {
        let snapshot = self.view().snapshot;
        snapshot.shown(&self.tx.xids, &self.engine.running)
    }

    /// `pg_logical_emit_message`.
    pub fn emit_message(
        &mut self,
        transactional: bool,
        prefix: &str,
        content: &str,
    ) -> Result<Lsn, Halt> {
        let lsn = self.value(|exec| {
            if transactional {
                exec.tx.xid(exec.engine);
                exec.tx.messages.push((prefix.into(), content.into()));
            }
            Ok(exec.log(Record::Message).0 as i64)
        })?;
        Ok(Lsn(lsn as u64))
    }
}

/// The WAL.
impl Exec<'_> {
    /// Writes a record. A commit that has written none is not waited for.
    pub(super) fn log(&mut self, record: Record) -> Lsn {
        self.tx.logged = true;
        self.engine.wal.insert(record)
    }

    /// A change that the catalogs show: it assigns an xid, and the WAL knows of it.
    pub(super) fn note(&mut self) {
        let xid = self.tx.xid(self.engine);
        self.log(Record::Note { xid });
    }
}

/// The mechanism.
impl Exec<'_> {
    /// Whether the next effect has happened in an earlier execution.
    pub(super) fn is_repeating(&self) -> bool {
        self.used < self.journal.effects.len()
    }

    /// Whether it has had effects: it is executed again.
    pub fn has_begun(&self) -> bool {
        !self.journal.effects.is_empty()
    }

    /// An effect: answered from the journal if it has happened, else done and written there.
    pub(super) fn effect(
        &mut self,
        happen: impl FnOnce(&mut Self) -> Result<Effect, Halt>,
    ) -> Result<Effect, Halt> {
        if let Some(effect) = self.journal.effects.get(self.used) {
            let effect = effect.clone();
            self.used += 1;
            return Ok(effect);
        }
        let effect = happen(self)?;
        self.journal.waiting = None;
        self.journal.effects.push(effect.clone());
        self.used += 1;
        Ok(effect)
    }
}

/// A statement that ran differently the second time has broken the rule at the head of this file.
pub(super) fn diverged(expected: &str, found: &Effect) -> ! {
    panic!("executed again, the statement asked for {expected} where it had got {found:?}")
}

#[cfg(test)]
mod tests {
    use crate::engine::script::check;

    #[test]
    fn a_sleep_ends_once_and_what_follows_is_not_computed_twice() {
        check(
            "a nap 1500 -> waits
             sleep 1499
             sleep 1    -> a: 1970-01-01 00:00:01.5+00",
        );
    }
}
