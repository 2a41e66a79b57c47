//! Finding a row to change or lock, in the version that counts now.
//!
//! Who has locked a row is written in its versions: who updated or deleted it (`xmax`), and beside
//! that one others with weaker claims (`lockers`), as in PostgreSQL's multixacts. A claim counts while
//! its transaction runs, so it needs no unlocking. Who must wait first takes the tuple's lock in the
//! lock manager, which makes a queue of those who wait, then waits for the end of each transaction
//! whose claim conflicts.
//!
//! If that one commits a change, read committed goes on with the newest version, once WHERE has been
//! evaluated on it again ([`Found::Moved`], EvalPlanQual); repeatable read gives up with 40001.
//!
//! Source: `heap_lock_tuple`, `heap_lock_updated_tuple_rec`, `heap_update` and `heap_delete` in
//! `heapam.c`, `heapam_tuple_lock` in `heapam_handler.c`.

mod claim;
#[cfg(test)]
mod tests;

use super::catalog::Table;
use super::exec::{Effect, Exec, Halt, diverged};
use super::lock::{AdvisoryScope, LockStrength, LockTag, WaitPolicy};
use super::mvcc::{XactStatus, status};
use super::{TableId, Tid, Xid};
use crate::error::PgError;
use claim::Claim;

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

/// What one version is, or has become by locking it (`TM_Result` again).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nobody else has a claim on it; or it is locked now.
    Free,
    /// Others have claims on it, and are not done.
    Claimed,
    /// Somebody has replaced it.
    Updated,
    /// Somebody has deleted it.
    Deleted,
    /// This transaction has, or it is not to be seen anyway.
    Mine,
    /// Others have a claim that conflicts, and it is not to be waited for.
    WouldBlock,
}

/// A statement that waits to lock a version: where it is in that, whatever others do meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asleep {
    table: TableId,
    /// The version it was to lock at first,
    start: Tid,
    /// and the one it has come to.
    tid: Tid,
    /// Who had updated that when it fell asleep.
    updater: Option<Xid>,
}

/// What is to be done to a row, for the CONTEXT of errors (`XactLockTableWaitErrorCb`).
#[derive(Clone, Copy)]
pub(super) enum Deed {
    Update,
    Delete,
    Lock,
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
            exec.find_with(|exec| {
                exec.lock_newest(table, tid, strength, policy, exec.keeps_snapshot())
            })
        })
    }

    /// Locks the row that stands in the way of an INSERT … ON CONFLICT DO UPDATE. [`Found::Gone`]
    /// means that there is another version of it, or none: look again.
    pub fn lock_conflicting(
        &mut self,
        table: &Table,
        tid: Tid,
        strength: LockStrength,
    ) -> Result<Found, Halt> {
        self.found(|exec| {
            exec.find_with(|exec| {
                let block = WaitPolicy::Block;
                match exec.lock_version(table, (tid, tid), strength, block, false)? {
                    Fate::Free => {
                        exec.refuse_invisible(table, tid)?;
                        Ok(Found::Here(tid))
                    }
                    Fate::Updated if exec.keeps_snapshot() => {
                        Err(PgError::concurrent("update").into())
                    }
                    Fate::Deleted if exec.keeps_snapshot() => {
                        Err(PgError::concurrent("delete").into())
                    }
                    Fate::Mine => Ok(Found::Mine),
                    _ => Ok(Found::Gone),
                }
            })
        })
    }

    /// Finds a row to update or delete. Nobody else has a claim on it then, and as executing never
    /// blocks, nobody will before it is changed.
    pub(super) fn find_to_change(
        &mut self,
        table: &Table,
        tid: Tid,
        strength: LockStrength,
        deed: Deed,
    ) -> Result<Found, Halt> {
        self.found(|exec| {
            // A writer has an xid before it waits; who only locks gets one with the lock.
            exec.tx.xid(exec.engine);
            exec.find_with(|exec| {
                let fate = exec.claim_version(table, tid, strength, deed)?;
                let snapshot_only = exec.keeps_snapshot();
                match fate {
                    Fate::Free if !exec.passes_crosscheck(exec.tuple(table, tid)) => {
                        Err(PgError::concurrent("update").into())
                    }
                    Fate::Free => Ok(Found::Here(tid)),
                    Fate::Updated if snapshot_only => Err(PgError::concurrent("update").into()),
                    Fate::Deleted if snapshot_only => Err(PgError::concurrent("delete").into()),
                    Fate::Updated => {
                        exec.leave_line();
                        exec.lock_newest(table, tid, strength, WaitPolicy::Block, false)
                    }
                    Fate::Deleted => Ok(Found::Gone),
                    _ => Ok(Found::Mine),
                }
            })
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

    /// Looks for a row; who has found it, or failed, stands in line no longer.
    fn find_with(
        &mut self,
        find: impl FnOnce(&mut Self) -> Result<Found, Halt>,
    ) -> Result<Found, Halt> {
        let found = find(self);
        if !matches!(found, Err(Halt::Wait(_))) {
            self.tx.asleep = None;
            self.leave_line();
        }
        found
    }

    /// Who is not first in line for a version any more lets the next one come.
    fn leave_line(&mut self) {
        if let Some((tag, mode)) = self.tx.tuple_lock.take() {
            self.engine.unlock(self.tx.pid, tag, mode);
        }
    }

    /// Locks the newest version of a row, unless the caller may only have the one it sees
    /// (`heapam_tuple_lock`).
    fn lock_newest(
        &mut self,
        table: &Table,
        start: Tid,
        strength: LockStrength,
        policy: WaitPolicy,
        only_seen: bool,
    ) -> Result<Found, Halt> {
        let asleep = self.tx.asleep.filter(|asleep| asleep.table == table.id);
        let mut tid = match asleep {
            Some(asleep) if asleep.start == start => asleep.tid,
            _ => start,
        };
        loop {
            match self.lock_version(table, (start, tid), strength, policy, true)? {
                Fate::Free if tid == start => return Ok(Found::Here(tid)),
                Fate::Free => return Ok(Found::Moved(tid)),
                Fate::WouldBlock => return Ok(Found::Skipped),
                Fate::Updated | Fate::Deleted if only_seen => {
                    return Err(PgError::concurrent("update").into());
                }
                Fate::Updated => {}
                Fate::Deleted => return Ok(Found::Gone),
                Fate::Mine | Fate::Claimed => return Ok(Found::Mine),
            }
            self.leave_line();
            // On to the next version that is there to stay.
            loop {
                let tuple = self.tuple(table, tid);
                let next = tuple.next;
                if next == tid {
                    return Ok(Found::Gone);
                }
                tid = next;
                let tuple = self.tuple(table, tid);
                match self.updater(tuple) {
                    None => break,
                    Some(xid) if self.tx.owns(xid) => return Ok(Found::Mine),
                    Some(xid) if self.is_running(xid) => match policy {
                        WaitPolicy::Block => {
                            let what = self.place_in(table, tid);
                            let reason = format!("rechecking updated tuple {what}");
                            return Err(self.wait_for_end(xid, &reason));
                        }
                        WaitPolicy::Skip => return Ok(Found::Skipped),
                        WaitPolicy::Error => {
                            return Err(PgError::row_lock_not_available(&table.name).into());
                        }
                    },
                    Some(_) => {}
                }
            }
        }
    }

    /// Locks one version, and those that follow it if somebody has updated it (`heap_lock_tuple`).
    fn lock_version(
        &mut self,
        table: &Table,
        (start, tid): (Tid, Tid),
        strength: LockStrength,
        policy: WaitPolicy,
        follow: bool,
    ) -> Result<Fate, Halt> {
        let updater = self.noted_updater(self.tuple(table, tid));
        let place = |asleep: &mut Asleep| (asleep.table, asleep.tid) == (table.id, tid);
        let resumed = self.tx.asleep.take_if(place);
        let updater = match resumed {
            Some(asleep) => asleep.updater,
            None => {
                let fate = self.fate(table, tid);
                if fate == Fate::Mine {
                    return Ok(fate);
                }
                let tuple = self.tuple(table, tid);
                let claims = self.claims(tuple);
                let own = claims.iter().filter(|claim| self.tx.owns(claim.xid));
                let own = own.map(|claim| claim.strength).max();
                if own.is_some_and(|own| own >= strength) {
                    return Ok(Fate::Free);
                }
                let only_own = claims.iter().all(|claim| self.tx.owns(claim.xid));
                let exclusive = |claim: &Claim| claim.strength >= LockStrength::NoKeyUpdate;
                let must_wait = match strength {
                    LockStrength::KeyShare => {
                        updater.is_some() && tuple.taken == LockStrength::Update
                            || claims.iter().any(|c| c.strength == LockStrength::Update)
                    }
                    LockStrength::Share => updater.is_some() || claims.iter().any(exclusive),
                    LockStrength::NoKeyUpdate => claims.iter().any(|c| self.conflicts(c, strength)),
                    LockStrength::Update => true,
                };
                if only_own || !must_wait {
                    if follow && updater.is_some() {
                        let fate = self.lock_updated(table, tid, strength)?;
                        if fate != Fate::Free {
                            return Ok(fate);
                        }
                    }
                    self.write_claim(table, tid, strength)?;
                    return Ok(Fate::Free);
                }
                if let Fate::Updated | Fate::Deleted = fate {
                    return Ok(fate);
                }
                updater
            }
        };
        // Who is executed again after a wait goes on from here.
        self.tx.asleep = Some(Asleep {
            table: table.id,
            start,
            tid,
            updater,
        });
        let claims = self.claims(self.tuple(table, tid));
        let mut blocked = self.stand_in_line(table, tid, strength, &claims, policy)?;
        if blocked.is_none() {
            // Whom it fell asleep for has gone: it is given an xid, even if it waits on for another.
            if resumed.is_some() && follow && updater.is_some_and(|xid| !self.is_running(xid)) {
                self.tx.xid(self.engine);
            }
            blocked = self.wait_for_claims(table, tid, strength, &claims, policy, Deed::Lock)?;
        }
        if blocked.is_none() && follow && updater.is_some() {
            let fate = self.lock_updated(table, tid, strength)?;
            if fate != Fate::Free {
                self.tx.asleep = None;
                return Ok(fate);
            }
        }
        self.tx.asleep = None;
        if let Some(blocked) = blocked {
            return Ok(blocked);
        }
        if self.noted_updater(self.tuple(table, tid)) != updater {
            return self.lock_version(table, (start, tid), strength, policy, follow);
        }
        if updater.is_some_and(|xid| self.claim_status(xid) == XactStatus::Committed) {
            return Ok(self.replaced(table, tid));
        }
        self.write_claim(table, tid, strength)?;
        Ok(Fate::Free)
    }

    /// Locks the versions that follow one whose key they keep, waiting for whoever is in the way
    /// whatever SKIP LOCKED and NOWAIT say (`heap_lock_updated_tuple_rec`).
    fn lock_updated(
        &mut self,
        table: &Table,
        start: Tid,
        strength: LockStrength,
    ) -> Result<Fate, Halt> {
        let mut tid = start;
        loop {
            let tuple = self.tuple(table, tid);
            if tuple.next == tid || self.updater(tuple).is_none() {
                return Ok(Fate::Free);
            }
            tid = tuple.next;
            let tuple = self.tuple(table, tid);
            if self.claim_status(tuple.xmin) == XactStatus::Aborted {
                return Ok(Fate::Free);
            }
            let claims = self.claims(tuple);
            let mut mine = false;
            for claim in &claims {
                let conflicts = claim.strength.mode().conflicts(strength.mode());
                if self.tx.owns(claim.xid) {
                    mine = true;
                    break;
                } else if conflicts && self.is_running(claim.xid) {
                    let place = place(tid);
                    let what = &table.name;
                    let reason =
                        format!("locking updated version {place} of tuple in relation \"{what}\"");
                    return Err(self.wait_for_end(claim.xid, &reason));
                } else if conflicts && claim.updates {
                    return Ok(self.replaced(table, tid));
                }
            }
            if !mine {
                self.write_claim(table, tid, strength)?;
            }
        }
    }

    /// Waits until a version can be changed (the first halves of `heap_update` and `heap_delete`).
    fn claim_version(
        &mut self,
        table: &Table,
        tid: Tid,
        strength: LockStrength,
        deed: Deed,
    ) -> Result<Fate, Halt> {
        let fate = self.fate(table, tid);
        if fate != Fate::Claimed {
            return Ok(fate);
        }
        let tuple = self.tuple(table, tid);
        let claims = self.claims(tuple);
        let committed = self
            .updater(tuple)
            .is_some_and(|xid| self.claim_status(xid) == XactStatus::Committed);
        if claims.iter().any(|claim| self.conflicts(claim, strength)) {
            let block = WaitPolicy::Block;
            self.stand_in_line(table, tid, strength, &claims, block)?;
            self.wait_for_claims(table, tid, strength, &claims, block, deed)?;
        }
        Ok(match committed {
            true => self.replaced(table, tid),
            false => Fate::Free,
        })
    }

    /// Stands in line for a version (`heap_acquire_tuplock`). `Some` if it is not to wait.
    fn stand_in_line(
        &mut self,
        table: &Table,
        tid: Tid,
        strength: LockStrength,
        claims: &[Claim],
        policy: WaitPolicy,
    ) -> Result<Option<Fate>, Halt> {
        // Who has a claim already must not queue behind those who wait for its end.
        let has_claim = claims.iter().any(|claim| self.tx.owns(claim.xid));
        let (tag, mode) = (LockTag::Tuple(table.id, tid), strength.mode());
        if let Some((other, mode)) = self.tx.tuple_lock.take_if(|(held, _)| *held != tag) {
            self.engine.unlock(self.tx.pid, other, mode);
        }
        if !has_claim && self.tx.tuple_lock.is_none() {
            if !self.try_lock(tag, mode, AdvisoryScope::Transaction) {
                return match policy {
                    WaitPolicy::Block => Err(self.wait_for(tag, mode)),
                    WaitPolicy::Skip => Ok(Some(Fate::WouldBlock)),
                    WaitPolicy::Error => Err(PgError::row_lock_not_available(&table.name).into()),
                };
            }
            self.tx.tuple_lock = self.tx.locks.pop();
        }
        Ok(None)
    }

    /// Waits for those whose claims on a version conflict. `Some` if it is not to wait.
    fn wait_for_claims(
        &mut self,
        table: &Table,
        tid: Tid,
        strength: LockStrength,
        claims: &[Claim],
        policy: WaitPolicy,
        deed: Deed,
    ) -> Result<Option<Fate>, Halt> {
        let conflicts = |claim: &&Claim| {
            !self.tx.owns(claim.xid)
                && claim.strength.mode().conflicts(strength.mode())
                && self.is_running(claim.xid)
        };
        let Some(xid) = claims.iter().find(conflicts).map(|claim| claim.xid) else {
            return Ok(None);
        };
        match policy {
            WaitPolicy::Skip => Ok(Some(Fate::WouldBlock)),
            WaitPolicy::Error => Err(PgError::row_lock_not_available(&table.name).into()),
            WaitPolicy::Block => {
                let verb = match deed {
                    Deed::Update => "updating",
                    Deed::Delete => "deleting",
                    Deed::Lock => "locking",
                };
                let reason = format!("{verb} tuple {}", self.place_in(table, tid));
                Err(self.wait_for_end(xid, &reason))
            }
        }
    }

    /// What has become of a version (`HeapTupleSatisfiesUpdate`).
    fn fate(&self, table: &Table, tid: Tid) -> Fate {
        let tuple = self.tuple(table, tid);
        if self.tx.owns(tuple.xmin) && tuple.cmin >= self.command {
            return Fate::Mine;
        }
        let updater = self.updater(tuple);
        if updater.is_some_and(|xid| self.tx.owns(xid)) {
            return Fate::Mine;
        }
        let locked = tuple.lockers.iter().any(|(xid, _)| self.is_running(*xid));
        match updater.map(|xid| self.claim_status(xid)) {
            Some(XactStatus::InProgress) => Fate::Claimed,
            _ if locked => Fate::Claimed,
            Some(XactStatus::Committed) => self.replaced(table, tid),
            _ => Fate::Free,
        }
    }

    fn replaced(&self, table: &Table, tid: Tid) -> Fate {
        match self.tuple(table, tid).next == tid {
            true => Fate::Deleted,
            false => Fate::Updated,
        }
    }

    fn place_in(&self, table: &Table, tid: Tid) -> String {
        format!("{} in relation \"{}\"", place(tid), table.name)
    }

    /// Whether what was committed since the transaction's snapshot must not be acted on.
    pub(super) fn keeps_snapshot(&self) -> bool {
        self.tx.options.isolation.keeps_snapshot()
    }

    pub(super) fn status(&self, xid: Xid) -> XactStatus {
        status(&self.engine.running, &self.engine.clog, xid)
    }
}

/// A place as messages tell it. All versions of a table are on one page here.
pub(super) fn place(tid: Tid) -> String {
    format!("(0,{})", tid.0 + 1)
}
