//! Deadlocks: a session that waits, through others, for itself.
//!
//! As in PostgreSQL, nobody looks until somebody has waited for `deadlock_timeout`; who then finds
//! itself on a cycle is the victim, unless the cycle is only one of places in a queue and goes away
//! when two of them are changed (`DeadLockCheck`).

use super::{Lock, LockMode, LockTable, LockTag};
use crate::engine::mvcc::Running;
use crate::engine::{Catalog, DatabaseId, Pid};
use crate::error::PgError;

/// One session waits for another.
#[derive(Clone, Copy)]
struct Edge {
    waiter: Pid,
    blocker: Pid,
    tag: LockTag,
    mode: LockMode,
    /// The other holds nothing, but stands ahead in the queue.
    soft: bool,
}

impl LockTable {
    /// The error for a session that waits for itself.
    pub(in crate::engine) fn deadlock(
        &mut self,
        pid: Pid,
        (running, catalog): (&Running, &Catalog),
        wakeups: &mut Vec<Pid>,
    ) -> Option<PgError> {
        let cycle = self.cycle(pid, running)?;
        for edge in cycle.iter().filter(|edge| edge.soft) {
            let queue = self.locks[&edge.tag].queue.clone();
            let lock = self.locks.get_mut(&edge.tag).expect("just looked up");
            lock.overtake(edge.waiter, edge.blocker);
            let concerned = [edge.waiter, edge.blocker, pid];
            if concerned
                .iter()
                .all(|pid| self.cycle(*pid, running).is_none())
            {
                self.wake(edge.tag, wakeups);
                return None;
            }
            self.locks.get_mut(&edge.tag).expect("still there").queue = queue;
        }
        Some(detected(&cycle, catalog))
    }

    /// The error for a session that asks for what another holds, while that one waits for the same
    /// lock because of the session.
    pub(in crate::engine) fn early_deadlock(
        &self,
        tag: LockTag,
        (pid, mode): (Pid, LockMode),
        other: Pid,
        catalog: &Catalog,
    ) -> PgError {
        let (theirs, their_mode) = self.waiting.get(&other).copied().unwrap_or((tag, mode));
        let soft = false;
        let cycle = [
            Edge {
                waiter: pid,
                blocker: other,
                tag,
                mode,
                soft,
            },
            Edge {
                waiter: other,
                blocker: pid,
                tag: theirs,
                mode: their_mode,
                soft,
            },
        ];
        detected(&cycle, catalog)
    }

    /// Those whom a session waits for (`pg_blocking_pids`).
    pub(in crate::engine) fn blockers(&self, pid: Pid, running: &Running) -> Vec<Pid> {
        let mut blockers: Vec<Pid> = Vec::new();
        for edge in self.edges(pid, running) {
            // Who is prepared has no process.
            let blocker = edge.blocker.max(Pid(0));
            // Who holds a lock in two modes, or stands ahead as well, is told once.
            if !blockers.contains(&blocker) || blocker == Pid(0) {
                blockers.push(blocker);
            }
        }
        blockers
    }

    fn cycle(&self, pid: Pid, running: &Running) -> Option<Vec<Edge>> {
        let mut path = Vec::new();
        self.find_cycle(pid, pid, running, &mut Vec::new(), &mut path)
            .then_some(path)
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
            path.push(edge);
            if edge.blocker == target
                || self.find_cycle(edge.blocker, target, running, visited, path)
            {
                return true;
            }
            path.pop();
        }
        false
    }

    /// First those who hold, then those who stand ahead (`FindLockCycleRecurseMember`).
    fn edges(&self, waiter: Pid, running: &Running) -> Vec<Edge> {
        let Some(&(tag, mode)) = self.waiting.get(&waiter) else {
            return Vec::new();
        };
        let edge = |blocker, soft| Edge {
            waiter,
            blocker,
            tag,
            mode,
            soft,
        };
        if let LockTag::Transaction(xid) = tag {
            let blocker = running.get(&xid).copied();
            return blocker.map(|pid| edge(pid, false)).into_iter().collect();
        }
        if let LockTag::VirtualTransaction(pid) = tag {
            return vec![edge(pid, false)];
        }
        let Some(lock) = self.locks.get(&tag) else {
            return Vec::new();
        };
        let against = |(pid, held): (Pid, LockMode)| pid != waiter && held.conflicts(mode);
        let holders = lock
            .holders
            .iter()
            .map(|holder| (holder.pid, holder.mode))
            .filter(|holder| against(*holder))
            .map(|(pid, _)| edge(pid, false));
        let ahead = lock.queue.iter().take_while(|other| other.pid != waiter);
        let ahead = ahead
            .filter(|other| against((other.pid, other.mode)))
            .map(|other| edge(other.pid, !other.woken));
        holders.chain(ahead).collect()
    }
}

impl Lock {
    /// Lets one waiter stand right before another.
    fn overtake(&mut self, waiter: Pid, other: Pid) {
        let place = |queue: &[super::Waiter], pid| queue.iter().position(|w| w.pid == pid);
        if let (Some(from), Some(to)) = (place(&self.queue, waiter), place(&self.queue, other)) {
            let waiter = self.queue.remove(from);
            self.queue.insert(to.min(from), waiter);
        }
    }
}

fn detected(cycle: &[Edge], catalog: &Catalog) -> PgError {
    let lines: Vec<String> = cycle.iter().map(|edge| edge.describe(catalog)).collect();
    PgError::deadlock_detected(lines.join("\n"))
}

impl Edge {
    /// One line of the error's detail (`DescribeLockTag`).
    fn describe(&self, catalog: &Catalog) -> String {
        let Edge {
            waiter,
            blocker,
            tag,
            mode,
            ..
        } = self;
        let mode = mode.name();
        let database = |id| {
            let table = catalog.table_by_id(id).map(|table| table.database);
            table.unwrap_or(DatabaseId::POSTGRES).0
        };
        let what = match tag {
            LockTag::Tuple(id, tid) => {
                let place = tid.0 + 1;
                let database = database(*id);
                format!("{mode} on tuple (0,{place}) of relation {id} of database {database}")
            }
            LockTag::Transaction(xid) => format!("{mode} on transaction {xid}"),
            LockTag::VirtualTransaction(pid) => format!("{mode} on virtual transaction {pid}"),
            LockTag::Advisory(database, key) => {
                use super::AdvisoryKey::*;
                // The last number tells the spaces of keys apart: 1 for one bigint, 2 for two
                // integers.
                let (high, low, space) = match *key {
                    One(key) => ((key >> 32) as u32, key as u32, 1),
                    Two(high, low) => (high as u32, low as u32, 2),
                };
                format!(
                    "{mode} on advisory lock [{},{high},{low},{space}]",
                    database.0
                )
            }
            LockTag::Object(database, class, id) => {
                let database = database.0;
                format!("{mode} on object {id} of class {class} of database {database}")
            }
            LockTag::Relation(id) => {
                format!("{mode} on relation {id} of database {}", database(*id))
            }
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
