//! The lock manager: who holds what, who waits for it, in which order they get it.
//!
//! One table serves relations, transactions, tuples, names and advisory keys, as all of them are
//! PostgreSQL's eight modes with one table of conflicts. Waiters stand in a queue, first in, first
//! out, but whom a waiter must wait for anyway goes before it. A release wakes whom the lock is free
//! for and keeps it for them: nobody overtakes between the waking and the moment the woken session
//! runs again.
//!
//! Nothing here waits: a refused request is put in the queue and its statement given up until its
//! session is woken. When to give up for good is `exec`'s business. Which rows are locked is written
//! in the rows themselves (`row_lock`); a tuple is locked here only by who stands first in line for it.

mod advisory;
mod deadlock;
mod fast_path;
mod lockers;
mod mode;

use std::collections::BTreeMap;

pub use advisory::{AdvisoryKey, AdvisoryScope};
pub use mode::{LockMode, LockStrength, WaitPolicy};

use super::mvcc::Running;
use super::{DatabaseId, Pid, TableId, Tid, Xid};

/// What can be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockTag {
    /// The right to be the next who locks a row, in this version.
    Tuple(TableId, Tid),
    /// The end of a transaction. Its owner holds it by running.
    Transaction(Xid),
    /// The end of a session's transaction, which need not have an xid.
    VirtualTransaction(Pid),
    /// A key of `pg_advisory_lock`, which means something in one database.
    Advisory(DatabaseId, AdvisoryKey),
    /// A table.
    Relation(TableId),
    /// What is no relation, by the OIDs of its database, its catalog and itself: a type or a schema.
    Object(DatabaseId, u32, u32),
}

/// A lock that somebody holds or waits for: a line of `pg_locks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockEntry {
    /// What is locked.
    pub tag: LockTag,
    /// By whom.
    pub pid: Pid,
    /// How.
    pub mode: LockMode,
    /// Whether it is held rather than waited for.
    pub granted: bool,
    /// Whether it is held in a slot of its session (`fast_path`).
    pub fastpath: bool,
}

/// One session's hold of one lock in one mode.
#[derive(Clone, Debug)]
struct Holder {
    pid: Pid,
    mode: LockMode,
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
    /// Weak locks on relations, beside the table.
    slots: Vec<fast_path::Slot>,
    locks: BTreeMap<LockTag, Lock>,
    /// What each waiting session waits for.
    waiting: BTreeMap<Pid, (LockTag, LockMode)>,
    /// Whose transactions a session awaits, without a lock.
    awaited: Vec<(Pid, Vec<Pid>)>,
}

/// Who asks for a lock, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) pid: Pid,
    pub(super) mode: LockMode,
    pub(super) scope: AdvisoryScope,
}

impl LockTable {
    /// Takes the lock if it is free for the asker, and says whether it was.
    pub(super) fn acquire(
        &mut self,
        tag: LockTag,
        request: Request,
        wakeups: &mut Vec<Pid>,
    ) -> bool {
        if self.acquire_fast(tag, request) {
            if self.waiting.contains_key(&request.pid) {
                self.stop_waiting(request.pid, wakeups);
            }
            return true;
        }
        self.expose(tag, request.mode);
        let lock = self.locks.entry(tag).or_default();
        if !lock.is_free_for(request.pid, request.mode) {
            return false;
        }
        lock.hold(request);
        if self.waiting.contains_key(&request.pid) {
            self.stop_waiting(request.pid, wakeups);
        }
        true
    }

    /// A strong lock is about to be asked for: weak ones go to the table.
    pub(super) fn expose(&mut self, tag: LockTag, mode: LockMode) {
        if fast_path::is_strong(mode) {
            self.transfer(tag, None);
        }
    }

    /// Whether who will not wait gets the lock: it must be free of those who wait for it too, whatever
    /// the asker holds of it in other modes (`LockAcquireExtended` with `dontWait`).
    pub(super) fn is_free(&self, tag: LockTag, pid: Pid, mode: LockMode) -> bool {
        if self.is_fast_against(tag, pid, mode) {
            return false;
        }
        let Some(lock) = self.locks.get(&tag) else {
            return true;
        };
        let mut others = lock.queue.iter().filter(|waiter| waiter.pid != pid);
        self.holds(tag, pid, mode)
            || !lock.is_held_against(pid, mode) && !others.any(|waiter| waiter.mode.conflicts(mode))
    }

    /// Whether the session holds the lock in this very mode.
    pub(super) fn holds(&self, tag: LockTag, pid: Pid, mode: LockMode) -> bool {
        let same = |holder: &Holder| (holder.pid, holder.mode) == (pid, mode);
        self.holds_fast(tag, pid, mode)
            || self
                .locks
                .get(&tag)
                .is_some_and(|lock| lock.holders.iter().any(same))
    }

    /// Puts a session in a lock's queue, unless it stands there already: at its end, or before the
    /// first who must wait for what the session holds. Gives that one if the session must in turn
    /// wait for it: a deadlock that need not be looked for (`ProcSleep`, `RememberSimpleDeadLock`).
    pub(super) fn enqueue(
        &mut self,
        tag: LockTag,
        pid: Pid,
        mode: LockMode,
        wakeups: &mut Vec<Pid>,
    ) -> Result<(), Pid> {
        match self.waiting.get(&pid) {
            Some(&place) if place == (tag, mode) => {}
            Some(_) => self.stop_waiting(pid, wakeups),
            None => {}
        }
        let lock = self.locks.entry(tag).or_default();
        if let Some(waiter) = lock.queue.iter_mut().find(|waiter| waiter.pid == pid) {
            waiter.woken = false;
            return Ok(());
        }
        let behind = lock.first_behind(pid);
        if let Some(place) = behind {
            let other = &lock.queue[place];
            let mut held = lock.holders.iter().filter(|holder| holder.pid == other.pid);
            if held.any(|holder| holder.mode.conflicts(mode)) {
                return Err(other.pid);
            }
        }
        let place = behind.unwrap_or(lock.queue.len());
        let woken = false;
        lock.queue.insert(place, Waiter { pid, mode, woken });
        self.waiting.insert(pid, (tag, mode));
        Ok(())
    }

    /// Takes a session out of the queue it stands in.
    pub(super) fn stop_waiting(&mut self, pid: Pid, wakeups: &mut Vec<Pid>) {
        let Some((tag, _)) = self.waiting.remove(&pid) else {
            return;
        };
        if let Some(lock) = self.locks.get_mut(&tag) {
            lock.queue.retain(|waiter| waiter.pid != pid);
            self.wake(tag, wakeups);
        }
    }

    /// Gives back one hold, and says whether there was one.
    pub(super) fn release(
        &mut self,
        tag: LockTag,
        request: Request,
        wakeups: &mut Vec<Pid>,
    ) -> bool {
        if self.release_fast(tag, request.pid, request.mode) {
            return true;
        }
        let Some(lock) = self.locks.get_mut(&tag) else {
            return false;
        };
        let released = lock.give_back(request);
        if released {
            self.wake(tag, wakeups);
        }
        released
    }

    /// Ends every hold of a session that outlives transactions, as DISCARD and disconnecting do.
    pub(super) fn release_session(&mut self, pid: Pid, wakeups: &mut Vec<Pid>) {
        let mut tags: Vec<LockTag> = self.session_locks(pid).map(|(tag, _, _)| tag).collect();
        // Held in two modes, it is listed twice.
        tags.dedup();
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
            self.wake(tag, wakeups);
        }
    }

    /// What one session holds of these goes to another.
    pub(super) fn hand_over(&mut self, tags: impl Iterator<Item = LockTag>, from: Pid, to: Pid) {
        for tag in tags {
            self.transfer(tag, Some(from));
            let holders = self.locks.get_mut(&tag).map(|lock| &mut lock.holders);
            for holder in holders.into_iter().flatten() {
                if holder.pid == from {
                    holder.pid = to;
                }
            }
        }
    }

    /// The locks that a session holds beyond its transactions, and how often.
    pub(super) fn session_locks(&self, pid: Pid) -> impl Iterator<Item = (LockTag, LockMode, u32)> {
        let advisory = self
            .locks
            .range(LockTag::Advisory(DatabaseId(0), AdvisoryKey::FIRST)..);
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

    /// Every lock that is held or waited for, those of running transactions included.
    pub(super) fn entries<'l>(
        &'l self,
        running: &'l Running,
    ) -> impl Iterator<Item = LockEntry> + use<'l> {
        let transactions = running.iter().map(|(xid, pid)| LockEntry {
            tag: LockTag::Transaction(*xid),
            pid: *pid,
            mode: LockMode::Exclusive,
            granted: true,
            fastpath: false,
        });
        let others = self.locks.iter().flat_map(|(tag, lock)| lock.entries(*tag));
        self.fast_entries().chain(transactions).chain(others)
    }

    /// Wakes, from the head of the queue, those whom the lock is free for (`ProcLockWakeup`).
    fn wake(&mut self, tag: LockTag, wakeups: &mut Vec<Pid>) {
        let Some(lock) = self.locks.get_mut(&tag) else {
            return;
        };
        if lock.holders.is_empty() && lock.queue.is_empty() {
            self.locks.remove(&tag);
            return;
        }
        // That ends for all of its waiters at once.
        if let LockTag::Transaction(_) | LockTag::VirtualTransaction(_) = tag {
            return;
        }
        for place in 0..lock.queue.len() {
            let Waiter { pid, mode, woken } = lock.queue[place];
            let behind = |ahead: &Waiter| ahead.mode.conflicts(mode);
            if !woken && !lock.is_held_against(pid, mode) && !lock.queue[..place].iter().any(behind)
            {
                lock.queue[place].woken = true;
                wakeups.push(pid);
            }
        }
    }
}

impl Lock {
    /// `LockAcquireExtended`, up to where it would sleep.
    fn is_free_for(&self, pid: Pid, mode: LockMode) -> bool {
        if self.holders.is_empty() && self.queue.is_empty() {
            return true;
        }
        if self.is_held_against(pid, mode) {
            return false;
        }
        // Who stands in the queue waits for those ahead; a newcomer for everybody, unless it holds
        // some of the lock already and those behind it wait for that.
        let own = self.queue.iter().position(|waiter| waiter.pid == pid);
        let conflicting = |waiter: &Waiter| waiter.mode.conflicts(mode);
        let ahead = match own {
            Some(own) => own,
            None if !self.queue.iter().any(conflicting) => return true,
            None => match self.first_behind(pid) {
                Some(first) => first,
                None => return false,
            },
        };
        !self.queue[..ahead].iter().any(conflicting)
    }

    /// The first in the queue who must wait for what a session holds.
    fn first_behind(&self, pid: Pid) -> Option<usize> {
        let own = |holder: &&Holder| holder.pid == pid;
        if !self.holders.iter().any(|holder| own(&holder)) {
            return None;
        }
        self.queue.iter().position(|waiter| {
            let mut held = self.holders.iter().filter(own);
            held.any(|holder| waiter.mode.conflicts(holder.mode))
        })
    }

    /// Whether somebody holds or awaits it in a mode that weak ones conflict with.
    fn is_strongly_wanted(&self) -> bool {
        let held = self.holders.iter().map(|holder| holder.mode);
        let wanted = self.queue.iter().map(|waiter| waiter.mode);
        held.chain(wanted).any(fast_path::is_strong)
    }

    fn is_held_against(&self, pid: Pid, mode: LockMode) -> bool {
        let holders = self.holders.iter();
        let kept = self.queue.iter().filter(|waiter| waiter.woken);
        holders
            .map(|holder| (holder.pid, holder.mode))
            .chain(kept.map(|waiter| (waiter.pid, waiter.mode)))
            .any(|(holder, held)| holder != pid && held.conflicts(mode))
    }

    fn hold(&mut self, request: Request) {
        let Request { pid, mode, scope } = request;
        let same = |holder: &&mut Holder| (holder.pid, holder.mode) == (pid, mode);
        if self.holders.iter_mut().find(same).is_none() {
            self.holders.push(Holder {
                pid,
                mode,
                transaction: 0,
                session: 0,
            });
        }
        let holder = self
            .holders
            .iter_mut()
            .find(same)
            .expect("it was just put there");
        *holder.count(scope) += 1;
    }

    fn give_back(&mut self, request: Request) -> bool {
        let Request { pid, mode, scope } = request;
        let same = |holder: &Holder| (holder.pid, holder.mode) == (pid, mode);
        let Some(place) = self.holders.iter().position(same) else {
            return false;
        };
        let holder = &mut self.holders[place];
        let count = holder.count(scope);
        if *count == 0 {
            return false;
        }
        *count -= 1;
        if holder.transaction + holder.session == 0 {
            self.holders.remove(place);
        }
        true
    }

    fn entries(&self, tag: LockTag) -> impl Iterator<Item = LockEntry> + use<'_> {
        let holders = self.holders.iter().map(|h| (h.pid, h.mode, true));
        let waiters = self.queue.iter().map(|w| (w.pid, w.mode, w.woken));
        holders
            .chain(waiters)
            .map(move |(pid, mode, granted)| LockEntry {
                tag,
                pid,
                mode,
                granted,
                fastpath: false,
            })
    }
}

impl Holder {
    fn count(&mut self, scope: AdvisoryScope) -> &mut u32 {
        match scope {
            AdvisoryScope::Transaction => &mut self.transaction,
            AdvisoryScope::Session => &mut self.session,
        }
    }
}

impl LockTag {
    /// The right to put notifications in the queue (`PreCommit_Notify`): an object of `pg_database`
    /// that there is not.
    pub(super) const NOTIFICATIONS: LockTag = LockTag::Object(DatabaseId(0), 1262, 0);
}
