//! Edges between transactions, and which of them are dangerous.
//!
//! Source: `CheckForSerializableConflictOut`, `CheckTargetForConflictsIn`, `FlagRWConflict`,
//! `OnConflict_CheckForSerializationFailure`, `PreCommit_CheckForSerializationFailure`.

use super::{Granule, Ssi, Sxact, Target, failure};
use crate::engine::Xid;
use crate::engine::mvcc::Snapshot;
use crate::error::PgError;

impl Ssi {
    /// Fails a transaction that is about to read, if another has decided that it must.
    pub(super) fn refuse_reading(&self, me: Sxact) -> Result<(), PgError> {
        self.refuse(me, "during conflict out checking")
    }

    fn refuse(&self, me: Sxact, when: &str) -> Result<(), PgError> {
        match self.get(me).doomed {
            true => Err(failure(format_args!(
                "Canceled on identification as a pivot, {when}"
            ))),
            false => Ok(()),
        }
    }

    /// A transaction has met what another has written, and its snapshot does not show.
    pub(super) fn conflict_out(
        &mut self,
        me: Sxact,
        writer: Xid,
        snapshot: &Snapshot,
    ) -> Result<(), PgError> {
        let Some(&other) = self.xids.get(&writer) else {
            return Ok(());
        };
        if other == me || self.get(other).doomed {
            return Ok(());
        }
        let (own, state) = (self.get(me), self.get(other));
        let top = state.top.unwrap_or(writer);
        if top < own.xmin {
            return Ok(());
        }
        if state.any_out {
            if state.prepared.is_some() {
                return Err(failure("Canceled on conflict out to old pivot"));
            }
            self.get_mut(other).doomed = true;
            return Ok(());
        }
        // A reader alone comes first of all, unless the writer depends on what it cannot see.
        let depends = state
            .first_out
            .is_some_and(|first| first <= own.snapshot_after);
        if own.read_only && state.committed.is_some() && !depends {
            return Ok(());
        }
        if !snapshot.is_concurrent(top) || own.outgoing.contains(&other) {
            return Ok(());
        }
        self.flag(me, other, me)
    }

    /// A transaction writes over a version of a row, in a page, or anywhere in a relation.
    pub(super) fn conflict_in(
        &mut self,
        me: Sxact,
        target: &Target,
        in_savepoint: bool,
    ) -> Result<(), PgError> {
        self.refuse(me, "during conflict in checking")?;
        self.get_mut(me).has_written = true;
        if let Granule::Tuple(page, _) = target.granule {
            self.overwrite(me, target)?;
            // Who writes needs no lock as a reader, if no savepoint can take the write back.
            if !in_savepoint && self.get(me).locks.contains(target) {
                self.release(me, target);
            }
            self.overwrite(me, &at(target, Granule::Page(page)))?;
        } else if let Granule::Page(_) = target.granule {
            self.overwrite(me, target)?;
        }
        self.overwrite(me, &at(target, Granule::Relation))
    }

    /// A relation is emptied or dropped: over all that was read of it and its indexes
    /// (`CheckTableForSerializableConflictIn`).
    pub(super) fn conflict_in_all(
        &mut self,
        me: Sxact,
        table: crate::engine::TableId,
    ) -> Result<(), PgError> {
        self.get_mut(me).has_written = true;
        let targets = self.locks.keys().filter(|target| target.table == table);
        let targets: Vec<Target> = targets.copied().collect();
        for target in targets {
            for reader in self.holders(&target) {
                if reader != me && !self.get(reader).outgoing.contains(&me) {
                    self.flag(reader, me, me)?;
                }
            }
        }
        Ok(())
    }

    fn overwrite(&mut self, me: Sxact, target: &Target) -> Result<(), PgError> {
        let xmin = self.get(me).xmin;
        for reader in self.holders(target) {
            let state = self.get(reader);
            let overlaps = state.is_running() || xmin < state.ended_before;
            if reader == me || state.doomed || !overlaps || state.outgoing.contains(&me) {
                continue;
            }
            self.flag(reader, me, me)?;
        }
        Ok(())
    }

    /// Draws an edge. If it completes a dangerous structure, somebody is doomed; if nobody else can
    /// be, this transaction fails.
    fn flag(&mut self, reader: Sxact, writer: Sxact, me: Sxact) -> Result<(), PgError> {
        if self.is_dangerous(reader, writer) {
            if writer == me {
                return Err(failure(
                    "Canceled on identification as a pivot, during write",
                ));
            }
            let state = self.get_mut(writer);
            if state.prepared.is_some() {
                let xid = state.top.unwrap_or_default();
                return Err(failure(format_args!(
                    "Canceled on conflict out to pivot {xid}, during read"
                )));
            }
            state.doomed = true;
        }
        self.get_mut(reader).outgoing.insert(writer);
        self.get_mut(writer).incoming.insert(reader);
        Ok(())
    }

    fn is_dangerous(&self, reader: Sxact, writer: Sxact) -> bool {
        let (r, w) = (self.get(reader), self.get(writer));
        // The writer depends on what committed before it did.
        if w.committed.is_some() && w.first_out.is_some() || w.any_out {
            return true;
        }
        // R → W → T2, and T2 was the first to commit, or is about to be.
        let pivots = w.outgoing.iter().any(|&t2| {
            self.get(t2).prepared.is_some_and(|prepared| {
                r.committed.is_none_or(|committed| prepared <= committed)
                    && w.committed.is_none_or(|committed| prepared <= committed)
                    && (!r.read_only || prepared <= r.snapshot_after)
            })
        });
        if pivots {
            return true;
        }
        // T0 → R → W, and W was the first to commit.
        let Some(prepared) = w.prepared.filter(|_| !r.read_only) else {
            return false;
        };
        r.any_in
            || r.incoming.iter().any(|&t0| {
                let t0 = self.get(t0);
                !t0.doomed
                    && t0.committed.is_none_or(|committed| committed >= prepared)
                    && (!t0.read_only || t0.snapshot_after >= prepared)
            })
    }

    /// The last check before a commit: whoever would become a pivot by it is doomed. From here on it
    /// cannot be made to fail.
    pub(super) fn pre_commit(&mut self, me: Sxact) -> Result<(), PgError> {
        self.refuse(me, "during commit attempt")?;
        let readers = self.get(me).incoming.clone();
        for near in readers {
            let state = self.get(near);
            if !state.is_running() || state.doomed {
                continue;
            }
            let pivots = state.incoming.iter().any(|&far| {
                let other = self.get(far);
                far == me || other.is_running() && !other.read_only && !other.doomed
            });
            if !pivots {
                continue;
            }
            if state.prepared.is_some() {
                return Err(failure(
                    "Canceled on commit attempt with conflict in from prepared pivot",
                ));
            }
            self.get_mut(near).doomed = true;
        }
        self.last_commit += 1;
        let now = self.last_commit;
        self.get_mut(me).prepared = Some(now);
        Ok(())
    }
}

fn at(target: &Target, granule: Granule) -> Target {
    Target { granule, ..*target }
}
