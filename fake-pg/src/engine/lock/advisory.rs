//! Advisory locks: keys that mean what the application says they mean.
//!
//! Session locks are counted and outlive transactions, rolled-back ones too; transaction locks end
//! with theirs, or at ROLLBACK TO, and cannot be unlocked by hand. The two spaces of keys are apart.

use super::{LockMode, LockTag, Request};
use crate::engine::exec::{Exec, Halt};
use crate::engine::{Engine, Pid};
use crate::error::{PgError, SqlState};
use crate::types::Datum;

/// What an advisory lock is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdvisoryKey {
    /// `pg_advisory_lock(bigint)`.
    One(i64),
    /// `pg_advisory_lock(integer, integer)`.
    Two(i32, i32),
}

impl AdvisoryKey {
    /// The least of all keys.
    pub(super) const FIRST: AdvisoryKey = AdvisoryKey::One(i64::MIN);
}

/// How long a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdvisoryScope {
    /// Until it is unlocked or the session ends.
    Session,
    /// Until the transaction ends.
    Transaction,
}

impl Exec<'_> {
    /// A key of the session's database.
    fn advisory_tag(&self, key: AdvisoryKey) -> LockTag {
        LockTag::Advisory(self.tx.path().database, key)
    }

    /// `pg_advisory_lock`, `pg_advisory_xact_lock_shared` and so on; the mode is Exclusive or Share.
    pub fn advisory_lock(
        &mut self,
        key: AdvisoryKey,
        mode: LockMode,
        scope: AdvisoryScope,
    ) -> Result<(), Halt> {
        self.datum(|exec| {
            let tag = exec.advisory_tag(key);
            match exec.try_lock(tag, mode, scope) {
                true => Ok(Datum::Void),
                false => Err(exec.wait_for(tag, mode)),
            }
        })
        .map(drop)
    }

    /// `pg_try_advisory_lock` and its kin: whether it got the lock.
    pub fn try_advisory_lock(
        &mut self,
        key: AdvisoryKey,
        mode: LockMode,
        scope: AdvisoryScope,
    ) -> Result<bool, Halt> {
        let taken = self.datum(|exec| {
            let (tag, pid) = (exec.advisory_tag(key), exec.tx.pid);
            let free = exec.engine.locks.is_free(tag, pid, mode);
            Ok(Datum::Bool(free && exec.try_lock(tag, mode, scope)))
        })?;
        Ok(taken == Datum::Bool(true))
    }

    /// `pg_advisory_unlock`: whether this session held it; a warning if not.
    pub fn advisory_unlock(&mut self, key: AdvisoryKey, mode: LockMode) -> Result<bool, Halt> {
        let held = self.datum(|exec| {
            let (pid, scope) = (exec.tx.pid, AdvisoryScope::Session);
            let tag = exec.advisory_tag(key);
            let request = Request { pid, mode, scope };
            let Engine { locks, wakeups, .. } = &mut *exec.engine;
            let held = locks.release(tag, request, wakeups);
            if !held {
                let message = format!("you don't own a lock of type {}", mode.name());
                exec.journal
                    .notices
                    .push(PgError::warning(SqlState::WARNING, message));
            }
            Ok(Datum::Bool(held))
        })?;
        Ok(held == Datum::Bool(true))
    }

    /// `pg_advisory_unlock_all`.
    pub fn advisory_unlock_all(&mut self) -> Result<(), Halt> {
        self.datum(|exec| {
            exec.engine.advisory_unlock_all(exec.tx.pid);
            Ok(Datum::Void)
        })
        .map(drop)
    }
}

impl Engine {
    /// Frees every session lock of a session, as DISCARD ALL does.
    pub fn advisory_unlock_all(&mut self, pid: Pid) {
        self.locks.release_session(pid, &mut self.wakeups);
    }

    /// The session locks that a session holds, and how often it took each.
    pub fn session_locks(&self, pid: Pid) -> Vec<(AdvisoryKey, LockMode, u32)> {
        let locks = self.locks.session_locks(pid);
        locks
            .filter_map(|(tag, mode, count)| match tag {
                LockTag::Advisory(_, key) => Some((key, mode, count)),
                _ => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::script::check;

    #[test]
    fn session_locks_are_counted_and_survive_rollback() {
        // Measured on PostgreSQL 15.18.
        check(
            "a begin
             a advisory lock 1   -> locked
             a advisory lock 1   -> locked
             a abort
             b advisory try 1    -> false
             a advisory unlock 1 -> true
             b advisory try 1    -> false
             a advisory unlock 1 -> true
             b advisory try 1    -> true
             a advisory unlock 1 -> false [WARNING 01000: you don't own a lock of type ExclusiveLock]",
        );
    }

    #[test]
    fn transaction_locks_go_at_rollback_to_and_not_by_hand() {
        // Measured on PostgreSQL 15.18.
        check(
            "a begin
             a savepoint s
             a advisory xact 1   -> locked
             a advisory unlock 1 -> false [WARNING 01000: you don't own a lock of type ExclusiveLock]
             b advisory try 1    -> false
             a rollback-to s
             b advisory try 1    -> true",
        );
    }

    #[test]
    fn a_release_hands_over_to_the_head_of_the_queue() {
        // Measured on PostgreSQL 15.18: before the unlocker's next statement.
        check(
            "a advisory lock 1   -> locked
             b advisory lock 1   -> waits
             c advisory share 1  -> waits
             a advisory unlock 1 -> true; b: locked
             a advisory try 1    -> false
             b end               -> c: locked",
        );
    }

    #[test]
    fn a_sharer_queues_behind_an_exclusive_waiter() {
        check(
            "a advisory share 1  -> locked
             b advisory lock 1   -> waits
             c advisory share 1  -> waits
             a end               -> b: locked
             b end               -> c: locked",
        );
    }
}
