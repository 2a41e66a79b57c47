//! Prepared transactions: they are committed as far as failing goes, and their reads outlive a crash.
//!
//! Source: `AtPrepare_PredicateLocks`, `PostPrepare_PredicateLocks`, `PredicateLockTwoPhaseFinish`,
//! `predicatelock_twophase_recover`.

use std::collections::BTreeSet;

use super::{Ssi, State, Sxact, Target};
use crate::engine::{Engine, Pid, Transaction, Xid};

/// What PREPARE TRANSACTION writes down of what a transaction has read.
#[derive(Clone, Debug)]
pub(in crate::engine) struct PreparedReads {
    xids: Vec<Xid>,
    xmin: Xid,
    read_only: bool,
    locks: BTreeSet<Target>,
}

impl Engine {
    /// For the record of a PREPARE; none if it takes no part in serializable isolation.
    pub(in crate::engine) fn prepared_reads(&self, tx: &Transaction) -> Option<PreparedReads> {
        let state = self.ssi.get(tx.sxact?);
        Some(PreparedReads {
            xids: state.xids.clone(),
            xmin: state.xmin,
            read_only: state.read_only,
            locks: state.locks.clone(),
        })
    }
}

impl Ssi {
    /// A prepared transaction is no longer its session's.
    pub(in crate::engine) fn disown(&mut self, xact: Option<Sxact>) {
        if let Some(xact) = xact {
            let state = self.get_mut(xact);
            state.pid = Pid(0);
            // Whoever finishes it does not know what it did: it counts as having written.
            state.has_written = true;
        }
    }

    /// The prepared transaction with that xid, if it is serializable.
    pub(in crate::engine) fn prepared(&self, xid: Xid) -> Option<Sxact> {
        self.xids.get(&xid).copied()
    }

    /// Recovery finds it prepared. Its edges are lost, so that anything may have been there.
    pub(in crate::engine) fn recover(&mut self, reads: &PreparedReads) {
        self.last += 1;
        let xact = Sxact(self.last);
        let state = State {
            xmin: reads.xmin,
            read_only: reads.read_only,
            // It precedes all that has committed since.
            prepared: Some(0),
            has_written: true,
            any_in: true,
            any_out: true,
            ..State::default()
        };
        self.writers += usize::from(!reads.read_only);
        let oldest = self
            .oldest
            .map_or(reads.xmin, |oldest| oldest.min(reads.xmin));
        self.oldest = Some(oldest);
        self.xacts.insert(xact, state);
        for &xid in &reads.xids {
            self.register(xact, xid);
        }
        for &target in &reads.locks {
            self.acquire(xact, target);
        }
    }
}
