//! Deadlocks: a session that waits, through others, for itself.
//!
//! As in PostgreSQL, nobody looks until somebody has waited for `deadlock_timeout`; who then finds
//! itself on a cycle is the victim.

use super::{LockMode, LockTable, LockTag};
use crate::engine::mvcc::Running;
use crate::engine::{Pid, Xid};
use crate::error::PgError;

/// One session waits for another.
struct Edge {
    waiter: Pid,
    blocker: Pid,
    tag: LockTag,
    mode: LockMode,
    /// The transaction whose end would free a row.
    xid: Xid,
}

impl LockTable {
    /// The error for a session that waits for itself.
    pub(in crate::engine) fn deadlock(&self, pid: Pid, running: &Running) -> Option<PgError> {
        let mut path = Vec::new();
        self.find_cycle(pid, pid, running, &mut Vec::new(), &mut path)
            .then(|| {
                let lines: Vec<String> = path.iter().map(Edge::describe).collect();
                PgError::deadlock_detected(lines.join("\n"))
            })
    }

    /// Those whom a session waits for (`pg_blocking_pids`).
    pub(in crate::engine) fn blockers(&self, pid: Pid, running: &Running) -> Vec<Pid> {
        self.edges(pid, running)
            .into_iter()
            .map(|edge| edge.blocker)
            .collect()
    }

    fn find_cycle(
        &self,
        from: Pid,
        target: Pid,
        running: &Running,
        visited: &mut Vec<Pid>,
        path: &mut Vec<Edge>,
    ) -> bool {
        if visited.contains(&from) {
            return false;
        }
        visited.push(from);
        for edge in self.edges(from, running) {
            let blocker = edge.blocker;
            path.push(edge);
            if blocker == target || self.find_cycle(blocker, target, running, visited, path) {
                return true;
            }
            path.pop();
        }
        false
    }

    fn edges(&self, waiter: Pid, running: &Running) -> Vec<Edge> {
        let Some(&(tag, mode)) = self.waiting.get(&waiter) else {
            return Vec::new();
        };
        if let LockTag::Transaction(xid) = tag {
            let blocker = running.get(&xid).copied();
            return blocker
                .map(|blocker| Edge {
                    waiter,
                    blocker,
                    tag,
                    mode,
                    xid,
                })
                .into_iter()
                .collect();
        }
        let Some(lock) = self.locks.get(&tag) else {
            return Vec::new();
        };
        let holders = lock
            .holders
            .iter()
            .filter(|holder| holder.stands_against(tag, waiter, mode, running));
        let ahead = lock.queue.iter().take_while(|other| other.pid != waiter);
        let ahead = ahead.filter(|other| other.mode.conflicts(mode));
        holders
            .map(|holder| (holder.pid, holder.xid))
            .chain(ahead.map(|other| (other.pid, Xid::NONE)))
            .map(|(blocker, xid)| Edge {
                waiter,
                blocker,
                tag,
                mode,
                xid,
            })
            .collect()
    }
}

impl Edge {
    /// One line of the error's detail (`DescribeLockTag`).
    fn describe(&self) -> String {
        let Edge {
            waiter,
            blocker,
            tag,
            mode,
            xid,
        } = self;
        let mode = mode.name();
        let what = match tag {
            // Who waits for a row waits for the transaction that holds it.
            LockTag::Row(..) if *xid != Xid::NONE => format!("ShareLock on transaction {xid}"),
            LockTag::Row(node, tid) => {
                format!(
                    "{mode} on tuple (0,{}) of relation {node} of database 5",
                    tid.0 + 1
                )
            }
            LockTag::Transaction(xid) => format!("{mode} on transaction {xid}"),
            LockTag::Advisory(key) => {
                use super::AdvisoryKey::*;
                // 5 is the database `postgres`. The last number tells the spaces of keys
                // apart: 1 for one bigint, 2 for two integers.
                let (high, low, space) = match *key {
                    One(key) => ((key >> 32) as u32, key as u32, 1),
                    Two(high, low) => (high as u32, low as u32, 2),
                };
                format!("{mode} on advisory lock [5,{high},{low},{space}]")
            }
            LockTag::Name(_) => format!("{mode} on a name in pg_class"),
            LockTag::Relation(id) => format!("{mode} on relation {id} of database 5"),
        };
        format!("Process {waiter} waits for {what}; blocked by process {blocker}.")
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::script::check;

    #[test]
    fn the_victim_is_whose_deadlock_timeout_fires_first() {
        // Measured on PostgreSQL 15.18. The one that began to wait first is the first to look.
        check(
            "a insert 1 x
             a insert 2 y
             a begin
             a append 1 a
             b begin
             b append 2 b
             a append 2 a -> waits
             sleep 400
             b append 1 b -> waits
             sleep 600    -> a: ERROR 40P01: deadlock detected (Process 1 waits for ShareLock on transaction 744; blocked by process 2. Process 2 waits for ShareLock on transaction 743; blocked by process 1.); b: updated 1",
        );
    }

    #[test]
    fn who_waits_without_a_cycle_goes_on_waiting() {
        check(
            "a begin
             a insert 1 x
             b insert 1 y -> waits
             sleep 1000
             sleep 100000
             a abort      -> rolled back; b: inserted",
        );
    }
}
