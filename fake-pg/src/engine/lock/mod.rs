//! The lock manager: who holds what, who waits for it, in which order they get it.
//!
//! One table serves rows, transactions, advisory keys and relations, as all of them are PostgreSQL's
//! eight modes with one table of conflicts. Waiters stand in a queue, first in, first out. A release
//! wakes whom the lock is free for and keeps it for them: nobody overtakes between the waking and
//! the moment the woken session runs again.
//!
//! Nothing here waits: a refused request is put in the queue and its statement given up until its
//! session is woken. When to give up for good is `exec`'s business.

mod advisory;
mod deadlock;
mod mode;

use std::collections::BTreeMap;

pub use advisory::{AdvisoryKey, AdvisoryScope};
pub use mode::{LockMode, LockStrength, WaitPolicy};

use super::mvcc::Running;
use super::{FileNode, Pid, TableId, Tid, Xid};

/// What can be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockTag {
    /// A row, by the first version of its chain.
    Row(FileNode, Tid),
    /// The end of a transaction. Its owner holds it by running.
    Transaction(Xid),
    /// A key of `pg_advisory_lock`.
    Advisory(AdvisoryKey),
    /// A table.
    Relation(TableId),
    /// The name of a relation that is being created, as a hash: two that collide wait without need.
    Name(u64),
}

/// One session's hold of one lock in one mode.
#[derive(Clone, Debug)]
struct Holder {
    pid: Pid,
    mode: LockMode,
    /// The transaction that took it, if it is a row: the hold ends with it, before the lock goes.
    xid: Xid,
    /// How often its transaction took it.
    transaction: u32,
    /// How often its session did, for advisory locks.
    session: u32,
}

#[derive(Clone, Debug)]
struct Waiter {
    pid: Pid,
    mode: LockMode,
    /// The lock is free for it and kept for it.
    woken: bool,
}

#[derive(Clone, Debug, Default)]
struct Lock {
    holders: Vec<Holder>,
    queue: Vec<Waiter>,
}

/// All locks that are held or waited for.
#[derive(Clone, Debug, Default)]
pub(super) struct LockTable {
    locks: BTreeMap<LockTag, Lock>,
    /// What each waiting session waits for.
    waiting: BTreeMap<Pid, (LockTag, LockMode)>,
}

/// Who asks for a lock, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) pid: Pid,
    pub(super) mode: LockMode,
    pub(super) xid: Xid,
    pub(super) scope: AdvisoryScope,
}

impl LockTable {
    /// Takes the lock if it is free for the asker, and says whether it was.
    pub(super) fn acquire(
        &mut self,
        tag: LockTag,
        request: Request,
        running: &Running,
        wakeups: &mut Vec<Pid>,
    ) -> bool {
        let lock = self.locks.entry(tag).or_default();
        if !lock.is_free_for(tag, request.pid, request.mode, running) {
            return false;
        }
        lock.hold(request);
        if self.waiting.contains_key(&request.pid) {
            self.stop_waiting(request.pid, running, wakeups);
        }
        true
    }

    /// Whether [`LockTable::acquire`] would succeed.
    pub(super) fn is_free(
        &self,
        tag: LockTag,
        pid: Pid,
        mode: LockMode,
        running: &Running,
    ) -> bool {
        self.locks
            .get(&tag)
            .is_none_or(|lock| lock.is_free_for(tag, pid, mode, running))
    }

    /// Whether the session holds the lock in a mode that covers this one.
    pub(super) fn holds(&self, tag: LockTag, pid: Pid, mode: LockMode) -> bool {
        self.locks.get(&tag).is_some_and(|lock| {
            lock.holders
                .iter()
                .any(|holder| holder.pid == pid && holder.mode.covers(mode))
        })
    }

    /// Puts a session at the end of a lock's queue, unless it stands there already.
    pub(super) fn enqueue(
        &mut self,
        tag: LockTag,
        pid: Pid,
        mode: LockMode,
        running: &Running,
        wakeups: &mut Vec<Pid>,
    ) {
        match self.waiting.get(&pid) {
            Some(&place) if place == (tag, mode) => {}
            Some(_) => self.stop_waiting(pid, running, wakeups),
            None => {}
        }
        self.waiting.insert(pid, (tag, mode));
        let queue = &mut self.locks.entry(tag).or_default().queue;
        match queue.iter_mut().find(|waiter| waiter.pid == pid) {
            Some(waiter) => waiter.woken = false,
            None => queue.push(Waiter {
                pid,
                mode,
                woken: false,
            }),
        }
    }

    /// Takes a session out of the queue it stands in.
    pub(super) fn stop_waiting(&mut self, pid: Pid, running: &Running, wakeups: &mut Vec<Pid>) {
        let Some((tag, _)) = self.waiting.remove(&pid) else {
            return;
        };
        if let Some(lock) = self.locks.get_mut(&tag) {
            lock.queue.retain(|waiter| waiter.pid != pid);
            self.wake(tag, running, wakeups);
        }
    }

    /// Gives back one hold, and says whether there was one.
    pub(super) fn release(
        &mut self,
        tag: LockTag,
        request: Request,
        running: &Running,
        wakeups: &mut Vec<Pid>,
    ) -> bool {
        let Some(lock) = self.locks.get_mut(&tag) else {
            return false;
        };
        let released = lock.give_back(request);
        if released {
            self.wake(tag, running, wakeups);
        }
        released
    }

    /// Ends every hold of a session that outlives transactions, as DISCARD and disconnecting do.
    pub(super) fn release_session(&mut self, pid: Pid, running: &Running, wakeups: &mut Vec<Pid>) {
        let tags: Vec<LockTag> = self.session_locks(pid).map(|(tag, _, _)| tag).collect();
        for tag in tags {
            let lock = self
                .locks
                .get_mut(&tag)
                .expect("a lock that was just listed");
            for holder in lock.holders.iter_mut().filter(|holder| holder.pid == pid) {
                holder.session = 0;
            }
            lock.holders
                .retain(|holder| holder.transaction + holder.session > 0);
            self.wake(tag, running, wakeups);
        }
    }

    /// The locks that a session holds beyond its transactions, and how often.
    pub(super) fn session_locks(&self, pid: Pid) -> impl Iterator<Item = (LockTag, LockMode, u32)> {
        let advisory = self.locks.range(LockTag::Advisory(AdvisoryKey::FIRST)..);
        advisory.flat_map(move |(tag, lock)| {
            let own = move |holder: &&Holder| holder.pid == pid && holder.session > 0;
            lock.holders
                .iter()
                .filter(own)
                .map(|holder| (*tag, holder.mode, holder.session))
        })
    }

    /// A transaction has ended: everybody who waited for that may go on.
    pub(super) fn transaction_ended(&mut self, xid: Xid, wakeups: &mut Vec<Pid>) {
        let Some(lock) = self.locks.remove(&LockTag::Transaction(xid)) else {
            return;
        };
        for waiter in lock.queue {
            self.waiting.remove(&waiter.pid);
            wakeups.push(waiter.pid);
        }
    }

    /// What a session waits for.
    pub(super) fn waits_for(&self, pid: Pid) -> Option<LockTag> {
        self.waiting.get(&pid).map(|(tag, _)| *tag)
    }

    /// Wakes, from the head of the queue, those whom the lock is free for.
    fn wake(&mut self, tag: LockTag, running: &Running, wakeups: &mut Vec<Pid>) {
        let Some(lock) = self.locks.get_mut(&tag) else {
            return;
        };
        if lock.holders.is_empty() && lock.queue.is_empty() {
            self.locks.remove(&tag);
            return;
        }
        for place in 0..lock.queue.len() {
            let Waiter { pid, mode, woken } = lock.queue[place];
            let behind = |ahead: &Waiter| ahead.mode.conflicts(mode);
            if !woken
                && !lock.is_held_against(tag, pid, mode, running)
                && !lock.queue[..place].iter().any(behind)
            {
                lock.queue[place].woken = true;
                wakeups.push(pid);
            }
        }
    }
}

impl Lock {
    fn is_free_for(&self, tag: LockTag, pid: Pid, mode: LockMode, running: &Running) -> bool {
        if self.holders.is_empty() && self.queue.is_empty() {
            return true;
        }
        if self.is_held_against(tag, pid, mode, running) {
            return false;
        }
        // Who holds some of it already must not wait behind those who wait for that.
        if self.holders.iter().any(|holder| holder.pid == pid) {
            return true;
        }
        let own = self.queue.iter().position(|waiter| waiter.pid == pid);
        let ahead = &self.queue[..own.unwrap_or(self.queue.len())];
        !ahead
            .iter()
            .any(|waiter| waiter.mode.conflicts(mode) && (waiter.woken || tag.is_fair()))
    }

    fn is_held_against(&self, tag: LockTag, pid: Pid, mode: LockMode, running: &Running) -> bool {
        self.holders
            .iter()
            .any(|holder| holder.stands_against(tag, pid, mode, running))
    }

    fn hold(&mut self, request: Request) {
        let same = |holder: &&mut Holder| {
            (holder.pid, holder.mode, holder.xid) == (request.pid, request.mode, request.xid)
        };
        if self.holders.iter_mut().find(same).is_none() {
            let Request { pid, mode, xid, .. } = request;
            self.holders.push(Holder {
                pid,
                mode,
                xid,
                transaction: 0,
                session: 0,
            });
        }
        let holder = self
            .holders
            .iter_mut()
            .find(same)
            .expect("it was just put there");
        *holder.count(request.scope) += 1;
    }

    fn give_back(&mut self, request: Request) -> bool {
        let same = |holder: &Holder| {
            (holder.pid, holder.mode, holder.xid) == (request.pid, request.mode, request.xid)
        };
        let Some(place) = self.holders.iter().position(same) else {
            return false;
        };
        let holder = &mut self.holders[place];
        let count = holder.count(request.scope);
        if *count == 0 {
            return false;
        }
        *count -= 1;
        if holder.transaction + holder.session == 0 {
            self.holders.remove(place);
        }
        true
    }
}

impl Holder {
    fn count(&mut self, scope: AdvisoryScope) -> &mut u32 {
        match scope {
            AdvisoryScope::Transaction => &mut self.transaction,
            AdvisoryScope::Session => &mut self.session,
        }
    }

    /// A row is locked by a transaction in progress: once that has ended, even if its locks have
    /// not yet gone, a newcomer finds the row free, as `xmax` tells it so.
    fn stands_against(&self, tag: LockTag, pid: Pid, mode: LockMode, running: &Running) -> bool {
        self.pid != pid
            && self.mode.conflicts(mode)
            && (!matches!(tag, LockTag::Row(..)) || running.contains_key(&self.xid))
    }
}

impl LockTag {
    /// The lock on a name (FNV-1a).
    pub(super) fn name(name: &str) -> Self {
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        LockTag::Name(name.bytes().fold(0xcbf2_9ce4_8422_2325, mix))
    }

    /// Whether a request queues behind waiters that it conflicts with. Row locks do not: a share
    /// lock is granted beside another while an exclusive one waits (`heap_lock_tuple`).
    fn is_fair(self) -> bool {
        matches!(
            self,
            LockTag::Advisory(_) | LockTag::Relation(_) | LockTag::Name(_)
        )
    }
}
