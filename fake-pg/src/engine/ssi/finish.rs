//! The end of a serializable transaction, and when what it has read can be forgotten.
//!
//! Source: `ReleasePredicateLocks`, `ClearOldPredicateLocks`, `ReleaseOneSerializableXact`.

use super::{Ssi, Sxact};
use crate::engine::{Pid, Xid};

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Ending {
    /// It has become visible.
    Commit,
    /// It has been rolled back, or its reads cannot matter any more.
    Forget,
}

impl Ssi {
    /// Ends it. Sessions that can now tell whether their snapshot is safe are woken.
    pub(in crate::engine) fn finish(
        &mut self,
        me: Sxact,
        ending: Ending,
        next_xid: Xid,
        wakeups: &mut Vec<Pid>,
    ) {
        let declared_read_only = self.get(me).read_only;
        let commits = ending == Ending::Commit;
        if commits {
            self.last_commit += 1;
        }
        let now = self.last_commit;
        let state = self.get_mut(me);
        state.ended_before = next_xid;
        if commits {
            state.committed = Some(now);
            state.read_only |= !state.has_written;
        } else {
            state.doomed = true;
            state.prepared = None;
        }
        if !declared_read_only {
            self.writers -= 1;
            if self.writers == 0 {
                // Whoever still runs only reads: nobody can write over what was read so far.
                self.clear_through = self.last_commit;
            }
        } else {
            self.drop_unsafe(me);
        }
        self.prune_edges(me, commits);
        if !declared_read_only {
            self.tell_readers(me, commits, wakeups);
        }
        let xmin = self.get(me).xmin;
        let others = || {
            let others = self.xacts.iter();
            others.filter(|(xact, state)| **xact != me && state.is_running())
        };
        let was_oldest =
            self.oldest == Some(xmin) && !others().any(|(_, state)| state.xmin == xmin);
        if was_oldest {
            self.oldest = others().map(|(_, state)| state.xmin).min();
        }
        match ending {
            Ending::Commit => self.finished.push(me),
            Ending::Forget => self.forget(me),
        }
        if was_oldest {
            self.clear_old();
        }
    }

    /// Edges whose other end has committed tell nothing that is not noted at their ends.
    fn prune_edges(&mut self, me: Sxact, commits: bool) {
        let writes = !self.get(me).read_only;
        if commits && writes && self.get(me).any_out {
            self.get_mut(me).first_out = Some(0);
        }
        for other in self.get(me).outgoing.clone() {
            let state = self.get(other);
            let (committed, prepared) = (state.committed.is_some(), state.prepared);
            let later = state.snapshot_after >= self.last_commit;
            if commits && writes && committed {
                let first = self.get(me).first_out.into_iter().chain(prepared).min();
                self.get_mut(me).first_out = first;
            }
            if !commits || committed || later {
                self.drop_edge(me, other);
            }
        }
        for other in self.get(me).incoming.clone() {
            let state = self.get(other);
            if !commits || state.committed.is_some() || state.read_only {
                self.drop_edge(other, me);
            }
        }
    }

    /// Read-only transactions learn whether this writer makes their snapshot unsafe.
    fn tell_readers(&mut self, me: Sxact, commits: bool, wakeups: &mut Vec<Pid>) {
        let state = self.get(me);
        let first_out = state.first_out.filter(|_| commits && state.has_written);
        for reader in self.get(me).unsafe_with.clone() {
            if !self.get(me).unsafe_with.contains(&reader) {
                continue;
            }
            let after = self.get(reader).snapshot_after;
            if first_out.is_some_and(|first| first <= after) {
                self.get_mut(reader).is_unsafe = true;
                self.drop_unsafe(reader);
            } else {
                self.get_mut(me).unsafe_with.remove(&reader);
                let state = self.get_mut(reader);
                state.unsafe_with.remove(&me);
                state.is_safe = state.unsafe_with.is_empty();
            }
            let state = self.get(reader);
            if state.waits && (state.is_safe || state.is_unsafe) {
                wakeups.push(state.pid);
            }
        }
    }

    fn drop_unsafe(&mut self, reader: Sxact) {
        for writer in std::mem::take(&mut self.get_mut(reader).unsafe_with) {
            self.get_mut(writer).unsafe_with.remove(&reader);
        }
    }

    fn drop_edge(&mut self, reader: Sxact, writer: Sxact) {
        self.get_mut(reader).outgoing.remove(&writer);
        self.get_mut(writer).incoming.remove(&reader);
    }

    /// Forgets what nobody who runs can conflict with any more.
    fn clear_old(&mut self) {
        let mut cleared = 0;
        let finished = std::mem::take(&mut self.finished);
        for &xact in &finished {
            let state = self.get(xact);
            let committed = state.committed.unwrap_or_default();
            if self
                .oldest
                .is_none_or(|oldest| state.ended_before <= oldest)
            {
                cleared += 1;
                self.forget(xact);
            } else if committed > self.cleared_through && committed <= self.clear_through {
                // Only readers are left that ran beside it: to them its writes matter, and no more.
                if state.read_only {
                    self.forget(xact);
                } else {
                    self.finished.push(xact);
                    self.release_locks(xact);
                    self.drop_incoming(xact);
                }
                cleared += 1;
                self.cleared_through = committed;
            } else {
                break;
            }
        }
        self.finished.extend_from_slice(&finished[cleared..]);
        if self.xacts.is_empty() {
            debug_assert!(self.locks.is_empty() && self.xids.is_empty());
        }
    }

    fn drop_incoming(&mut self, xact: Sxact) {
        for reader in std::mem::take(&mut self.get_mut(xact).incoming) {
            self.get_mut(reader).outgoing.remove(&xact);
        }
    }

    fn forget(&mut self, xact: Sxact) {
        self.release_locks(xact);
        self.drop_incoming(xact);
        for writer in std::mem::take(&mut self.get_mut(xact).outgoing) {
            self.get_mut(writer).incoming.remove(&xact);
        }
        if let Some(state) = self.xacts.remove(&xact) {
            for xid in state.xids {
                self.xids.remove(&xid);
            }
        }
    }
}
