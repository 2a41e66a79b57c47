//! Asking for a lock, and giving the statement up while somebody else holds it.
//!
//! To hold a lock is no effect that must not be repeated, so the journal knows nothing of it but since
//! when the statement has been waiting, and what for.

use super::catalog::Table;
use super::exec::{Exec, Halt, Journal, Wait, WaitOn};
use super::lock::{AdvisoryScope, LockMode, LockTag, Request};
use super::{DatabaseId, Engine, TableId, Timestamp, Transaction, Xid};
use crate::error::{PgError, SqlState};

/// What can be locked besides relations, by the OID of its catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectClass {
    /// `pg_type`.
    Type = 1247,
    /// `pg_namespace`.
    Schema = 2615,
}

/// A wait that has begun.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    tag: LockTag,
    since: Timestamp,
    deadlock_checked: bool,
    /// What errors that end the wait say of it.
    context: Option<String>,
    /// Where the statement names what it waits for, or 0.
    at: u32,
}

impl Journal {
    /// What it waits for stands at this place of the statement.
    pub fn waits_at(&mut self, at: u32) {
        if let Some(waiting) = &mut self.waiting {
            waiting.at = at;
        }
    }

    /// An error that interrupts the statement, perhaps while it waits, as it reaches the client. A
    /// cancel points nowhere (`pcb_error_callback`).
    pub fn interrupted(&self, mut error: PgError) -> PgError {
        error.context = self.waiting_context();
        match &self.waiting {
            Some(waiting) if error.code != SqlState::QUERY_CANCELED => error.near(waiting.at),
            _ => error,
        }
    }

    fn waiting_context(&self) -> Option<String> {
        let waiting = self.waiting.as_ref()?;
        let parts = [waiting.context.as_deref(), self.within.as_deref()];
        let parts: Vec<&str> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("\n"))
    }
}

impl Engine {
    /// Locks a relation for a transaction, if nobody is in the way.
    pub fn try_lock_relation(
        &mut self,
        tx: &mut Transaction,
        relation: TableId,
        mode: LockMode,
    ) -> bool {
        let tag = LockTag::Relation(relation);
        self.locks.holds(tag, tx.pid, mode)
            || self.try_lock(tx, tag, mode, AdvisoryScope::Transaction)
    }

    /// Takes a lock if it is free.
    fn try_lock(
        &mut self,
        tx: &mut Transaction,
        tag: LockTag,
        mode: LockMode,
        scope: AdvisoryScope,
    ) -> bool {
        let request = Request {
            pid: tx.pid,
            mode,
            scope,
        };
        let taken = self.locks.acquire(tag, request, &mut self.wakeups);
        if taken && scope == AdvisoryScope::Transaction {
            tx.locks.push((tag, mode));
        }
        taken
    }
}

/// Tables as a whole.
impl Exec<'_> {
    /// Locks a table until the transaction ends: AccessShare to read it, RowShare to lock rows,
    /// RowExclusive to change them; LOCK TABLE and DDL take what they need. A statement does this
    /// before anything else.
    ///
    /// To hold a lock is no effect that must not be repeated, so the journal knows nothing of it. Who
    /// has had to wait starts afresh, with a new snapshot and perhaps a new catalog.
    pub fn lock_table(&mut self, table: &Table, mode: LockMode, nowait: bool) -> Result<(), Halt> {
        self.announce(LockTag::Relation(table.id), mode);
        if nowait && !self.may_lock(LockTag::Relation(table.id), mode) {
            // Weak locks were moved out of the way before that was known.
            self.engine.locks.expose(LockTag::Relation(table.id), mode);
            let message = format!("could not obtain lock on relation \"{}\"", table.name);
            return Err(PgError::new(SqlState::LOCK_NOT_AVAILABLE, message).into());
        }
        self.lock_tag(LockTag::Relation(table.id), mode)
    }

    /// The same for any relation: a sequence, a view, an index.
    pub fn lock_relation(&mut self, id: TableId, mode: LockMode) -> Result<(), Halt> {
        self.lock_tag(LockTag::Relation(id), mode)
    }

    /// The same for what is no relation (`LockDatabaseObject`).
    pub fn lock_object(
        &mut self,
        database: DatabaseId,
        class: ObjectClass,
        id: u32,
        mode: LockMode,
    ) -> Result<(), Halt> {
        self.lock_tag(LockTag::Object(database, class as u32, id), mode)
    }

    /// The same for anything else that DDL must have to itself.
    pub(super) fn lock_tag(&mut self, tag: LockTag, mode: LockMode) -> Result<(), Halt> {
        match self.engine.locks.take_fast(tag, self.tx.pid, mode) {
            Some(true) => {
                self.tx.locks.push((tag, mode));
                return Ok(());
            }
            Some(false) => return Ok(()),
            None => {}
        }
        if self.engine.locks.holds(tag, self.tx.pid, mode) {
            return Ok(());
        }
        self.announce(tag, mode);
        if self.try_lock(tag, mode, AdvisoryScope::Transaction) {
            if is_announced(tag, mode) {
                self.note();
            }
            return Ok(());
        }
        if self.journal.effects.is_empty() && !self.journal.keeps_snapshot {
            self.journal.snapshot = None;
        }
        Err(self.wait_for(tag, mode))
    }

    /// Standbys take the strongest lock on a table as well: who asks for it gets an xid before it
    /// waits, and its having got it stands in the WAL (`LogAccessExclusiveLockPrepare`).
    fn announce(&mut self, tag: LockTag, mode: LockMode) {
        if is_announced(tag, mode) && !self.engine.locks.holds(tag, self.tx.pid, mode) {
            self.tx.xid(self.engine);
        }
    }

    fn may_lock(&self, tag: LockTag, mode: LockMode) -> bool {
        self.engine.locks.is_free(tag, self.tx.pid, mode)
    }
}

fn is_announced(tag: LockTag, mode: LockMode) -> bool {
    mode == LockMode::AccessExclusive && matches!(tag, LockTag::Relation(_))
}

/// The queue.
impl Exec<'_> {
    /// Takes a lock if it is free.
    pub(super) fn try_lock(&mut self, tag: LockTag, mode: LockMode, scope: AdvisoryScope) -> bool {
        self.engine.try_lock(self.tx, tag, mode, scope)
    }

    /// Waits for the end of a transaction (`XactLockTableWait`). What for is told by `reason`, such
    /// as `updating tuple (0,1) in relation "t"`.
    pub(super) fn wait_for_end(&mut self, xid: Xid, reason: &str) -> Halt {
        let context = Some(format!("while {reason}"));
        self.wait_within(LockTag::Transaction(xid), LockMode::Share, context)
    }

    /// Stands in the queue for a lock, or gives up: after `lock_timeout`, or on a deadlock found
    /// after `deadlock_timeout`.
    pub(super) fn wait_for(&mut self, tag: LockTag, mode: LockMode) -> Halt {
        self.wait_within(tag, mode, None)
    }

    fn wait_within(&mut self, tag: LockTag, mode: LockMode, context: Option<String>) -> Halt {
        let (pid, timeouts, now) = (self.tx.pid, self.tx.timeouts, self.now);
        let Engine {
            locks,
            running,
            wakeups,
            catalog,
            ..
        } = &mut *self.engine;
        let fail = |mut error: PgError, context: Option<String>| {
            error.context = context;
            Halt::Error(error)
        };
        if let Err(other) = locks.enqueue(tag, pid, mode, wakeups) {
            return fail(
                locks.early_deadlock(tag, (pid, mode), other, catalog),
                context,
            );
        }
        let waiting = match &mut self.journal.waiting {
            Some(waiting) if waiting.tag == tag => waiting,
            other => other.insert(Waiting {
                tag,
                since: now,
                deadlock_checked: false,
                context,
                at: 0,
            }),
        };
        let lock_deadline = timeouts.lock.map(|patience| waiting.since.after(patience));
        if lock_deadline.is_some_and(|deadline| now >= deadline) {
            return fail(PgError::lock_timeout(), waiting.context.clone());
        }
        let check = waiting.since.after(timeouts.deadlock);
        if now >= check && !waiting.deadlock_checked {
            waiting.deadlock_checked = true;
            if let Some(error) = locks.deadlock(pid, (running, catalog), wakeups) {
                return fail(error, waiting.context.clone());
            }
        }
        let check = (!waiting.deadlock_checked).then_some(check);
        let deadline = [lock_deadline, check].into_iter().flatten().min();
        Halt::Wait(Wait {
            on: WaitOn::Lock(tag),
            deadline,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::script::check;

    #[test]
    fn lock_timeout_counts_from_the_beginning_of_the_wait() {
        check(
            "a insert 1 x
             a begin
             a append 1 a
             b begin 500
             b append 1 b -> waits
             sleep 499
             sleep 1      -> b: ERROR 55P03: canceling statement due to lock timeout",
        );
    }

    #[test]
    fn who_waited_for_a_table_sees_what_has_become_of_it() {
        // Repeatable read has taken its snapshot before it waits, so that it sees neither row.
        check(
            "a insert 1 x
             a begin
             a truncate   -> truncated
             a insert 2 y
             b select     -> waits
             c begin rr
             c append 2 z -> waits
             a commit to unlocked -> received deferred interrupts-held inserted flushed clog replicated visible unlocked; b: 2=y; c: updated 0
             d drop       -> waits
             c abort      -> rolled back; d: dropped
             c select     -> ERROR 42P01: relation \"t\" does not exist",
        );
    }
}
