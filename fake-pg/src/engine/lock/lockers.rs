//! Whose transactions are awaited, whatever they hold: for DDL that lets others pass meanwhile.
//!
//! Who awaits several is queued for one of them at a time. All are noted at once, since those who
//! end and begin another transaction meanwhile are not waited for again (`VirtualXactLock`). What is
//! prepared meanwhile is waited for until it is finished (`XactLockForVirtualXact`).

use super::{LockMode, LockTable, LockTag};
use crate::engine::Pid;

impl LockTable {
    /// Who holds a lock against a mode, but for one.
    pub(in crate::engine) fn holders_against(
        &self,
        tag: LockTag,
        pid: Pid,
        mode: LockMode,
    ) -> Vec<Pid> {
        let entries = self.fast_entries().filter(|entry| entry.tag == tag);
        let fast = entries.map(|entry| (entry.pid, entry.mode));
        let holders = self.locks.get(&tag).into_iter();
        let holders = holders.flat_map(|lock| &lock.holders);
        let held = fast.chain(holders.map(|holder| (holder.pid, holder.mode)));
        let against = held.filter(|(holder, held)| *holder != pid && held.conflicts(mode));
        let mut pids: Vec<Pid> = against.map(|(holder, _)| holder).collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// A session awaits the ends of others' transactions.
    pub(in crate::engine) fn await_ends(&mut self, pid: Pid, others: Vec<Pid>) {
        self.awaited.retain(|(waiter, _)| *waiter != pid);
        if !others.is_empty() {
            self.awaited.push((pid, others));
        }
    }

    /// The first whose end it still awaits.
    pub(in crate::engine) fn awaited_by(&self, pid: Pid) -> Option<Pid> {
        let own = self.awaited.iter().find(|(waiter, _)| *waiter == pid);
        own.and_then(|(_, others)| others.first().copied())
    }

    /// A session's transaction has ended.
    pub(in crate::engine) fn session_transaction_ended(
        &mut self,
        pid: Pid,
        wakeups: &mut Vec<Pid>,
    ) {
        if self.awaited.is_empty() {
            return;
        }
        for (_, others) in &mut self.awaited {
            others.retain(|other| *other != pid);
        }
        self.awaited
            .retain(|(waiter, others)| *waiter != pid && !others.is_empty());
        self.wake_who_awaits(pid, wakeups);
    }

    /// A session's transaction is another's from now on, since it was prepared.
    pub(in crate::engine) fn session_transaction_prepared(
        &mut self,
        pid: Pid,
        owner: Pid,
        wakeups: &mut Vec<Pid>,
    ) {
        if self.awaited.is_empty() {
            return;
        }
        let others = self.awaited.iter_mut().flat_map(|(_, others)| others);
        for other in others.filter(|other| **other == pid) {
            *other = owner;
        }
        self.wake_who_awaits(pid, wakeups);
    }

    fn wake_who_awaits(&mut self, pid: Pid, wakeups: &mut Vec<Pid>) {
        let lock = self.locks.remove(&LockTag::VirtualTransaction(pid));
        for waiter in lock.into_iter().flat_map(|lock| lock.queue) {
            self.waiting.remove(&waiter.pid);
            wakeups.push(waiter.pid);
        }
    }
}
