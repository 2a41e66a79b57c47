//! Claims: who has locked, updated or deleted a version, as it says itself.
//!
//! A claim counts while its transaction runs, so nobody takes it away. What must wait for one is for
//! the callers to say.

use crate::engine::catalog::Table;
use crate::engine::exec::Exec;
use crate::engine::heap::Tuple;
use crate::engine::lock::LockStrength;
use crate::engine::mvcc::XactStatus;
use crate::engine::sabotage::Sabotage;
use crate::engine::wal::Record;
use crate::engine::{Tid, Xid};
use crate::error::PgError;

/// A claim on a version.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    pub(super) xid: Xid,
    pub(super) strength: LockStrength,
    /// It has written the next version, or ended the row.
    pub(super) updates: bool,
}

impl Exec<'_> {
    pub(super) fn write_claim(
        &mut self,
        table: &Table,
        tid: Tid,
        strength: LockStrength,
    ) -> Result<(), PgError> {
        let (xid, node) = (self.tx.xid(self.engine), table.node);
        let stale: Vec<Xid> = self
            .tuple(table, tid)
            .lockers
            .iter()
            .map(|(xid, _)| *xid)
            .filter(|xid| !self.is_running(*xid))
            .collect();
        let tuple = self.tuple(table, tid);
        let rolled_back = tuple.xmax != Xid::NONE && self.status(tuple.xmax) == XactStatus::Aborted;
        let heap = self.heap_mut(table)?;
        if rolled_back {
            heap.forget_update(tid);
        }
        let logged = !heap.unlogged;
        let lockers = heap.lockers_mut(tid);
        lockers.retain(|(locker, _)| *locker != xid && !stale.contains(locker));
        // In order, as members of a multixact are.
        let place = lockers.partition_point(|(locker, _)| *locker < xid);
        lockers.insert(place, (xid, strength));
        if logged {
            self.log(Record::Lock {
                xid,
                node,
                tid,
                strength,
            });
        }
        Ok(())
    }

    /// Who has updated or deleted a version, as its multixact says: there one that was rolled back
    /// stays while others' claims beside it count, until somebody adds to them (`MultiXactIdExpand`).
    pub(super) fn noted_updater(&self, tuple: &Tuple) -> Option<Xid> {
        let stays = || tuple.lockers.iter().any(|(xid, _)| self.is_running(*xid));
        self.updater(tuple)
            .or_else(|| (tuple.xmax != Xid::NONE && stays()).then_some(tuple.xmax))
    }

    /// Who has updated or deleted a version, and has not been rolled back.
    pub(super) fn updater(&self, tuple: &Tuple) -> Option<Xid> {
        let xid = tuple.xmax;
        (xid != Xid::NONE && self.claim_status(xid) != XactStatus::Aborted).then_some(xid)
    }

    /// The claims on a version that may count, by xid.
    pub(super) fn claims(&self, tuple: &Tuple) -> Vec<Claim> {
        let lockers = tuple.lockers.iter().map(|&(xid, strength)| Claim {
            xid,
            strength,
            updates: false,
        });
        let mut claims: Vec<Claim> = lockers.filter(|claim| self.is_running(claim.xid)).collect();
        claims.extend(self.updater(tuple).map(|xid| Claim {
            xid,
            strength: tuple.taken,
            updates: true,
        }));
        claims.sort_by_key(|claim| claim.xid);
        claims
    }

    pub(super) fn conflicts(&self, claim: &Claim, strength: LockStrength) -> bool {
        !self.tx.owns(claim.xid) && claim.strength.mode().conflicts(strength.mode())
    }

    pub(super) fn is_running(&self, xid: Xid) -> bool {
        self.claim_status(xid) == XactStatus::InProgress
    }

    /// What a claim is worth; two planted bugs make it worth nothing.
    pub(super) fn claim_status(&self, xid: Xid) -> XactStatus {
        let fate = self.status(xid);
        let ignored = fate == XactStatus::InProgress
            && self.engine.sabotage.is_some()
            && !self.tx.owns(xid)
            && (self.engine.is_sabotaged(Sabotage::ForgetRowLock)
                || self.engine.let_go.contains(&xid));
        if ignored { XactStatus::Aborted } else { fate }
    }
}
