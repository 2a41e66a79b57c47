//! LISTEN and NOTIFY.
//!
//! Notifications gather in their transaction, each once; at `visible` they enter the queue, in the
//! order of commits: who is to commit some waits for who is before it. A listener has a place in the queue, from right before its LISTEN commits, and
//! a set of channels, from `notified` on; it is rung for at `notified`, and reads when its session
//! is idle. Both are the server's memory: a crash forgets them.
//!
//! Source: `commands/async.c`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::exec::Effect;
use super::lock::{LockMode, LockTag};
use super::xact::Transaction;
use super::{Engine, Exec, Halt, Pid};
use crate::error::{PgError, SqlState};

/// Channels are names, and shorter than this (`NAMEDATALEN`).
const CHANNEL_LENGTH_MAX: usize = 63;
/// A payload is shorter than this (`NOTIFY_PAYLOAD_MAX_LENGTH`).
const PAYLOAD_LENGTH_MAX: usize = 7999;
/// What one entry takes in the queue besides its texts (`AsyncQueueEntryEmptySize`).
const ENTRY_SIZE: usize = 16;
/// How large the queue may grow: pages of it (`QUEUE_MAX_PAGES`).
const PAGES_MAX: usize = 1 << 20;
const PAGE_SIZE: usize = 8192;

/// A notification on its way to those who listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Whose it was.
    pub pid: Pid,
    /// Channels are per database.
    pub database: Arc<str>,
    /// The channel.
    pub channel: Arc<str>,
    /// What was said; empty if nothing.
    pub payload: Arc<str>,
}

/// The queue, and who reads it.
#[derive(Clone, Debug, Default)]
pub(super) struct Notifications {
    queue: VecDeque<Notification>,
    /// The place of the queue's head: so many have left it.
    first: u64,
    listeners: BTreeMap<Pid, Listener>,
    /// The sessions that have ever come so far as to commit a LISTEN (`unlistenExitRegistered`).
    have_listened: BTreeSet<Pid>,
}

#[derive(Clone, Debug)]
struct Listener {
    database: Arc<str>,
    /// In the order in which it began to listen.
    channels: Vec<Arc<str>>,
    /// The place of the first notification it has not read.
    place: u64,
    /// It was rung for.
    rung: bool,
}

/// What a transaction will do to the queue when it commits.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    database: Arc<str>,
    actions: Vec<Action>,
    notifications: Vec<Said>,
    /// The same, once there are many: each is said once.
    known: BTreeSet<Said>,
}

/// A channel, and what is said there.
type Said = (Arc<str>, Arc<str>);

/// From so many on they are looked for in order (`MIN_HASHABLE_NOTIFIES`).
const ORDERED_FROM: usize = 16;

#[derive(Clone, Debug)]
enum Action {
    Listen(Arc<str>),
    Unlisten(Arc<str>),
    UnlistenAll,
}

impl Pending {
    /// How much there is, for a savepoint to come back to.
    pub(super) fn mark(&self) -> (usize, usize) {
        (self.actions.len(), self.notifications.len())
    }

    pub(super) fn truncate(&mut self, (actions, notifications): (usize, usize)) {
        self.actions.truncate(actions);
        for gone in self.notifications.drain(notifications..) {
            self.known.remove(&gone);
        }
        if self.notifications.len() < ORDERED_FROM {
            self.known.clear();
        }
    }

    /// Notifies of what it has not yet (`AsyncExistsPendingNotify`).
    fn notify(&mut self, channel: &str, payload: &str) {
        if self.notifications.len() < ORDERED_FROM {
            let same = |(c, p): &Said| **c == *channel && **p == *payload;
            if !self.notifications.iter().any(same) {
                self.notifications.push((channel.into(), payload.into()));
            }
            return;
        }
        if self.known.is_empty() {
            self.known.extend(self.notifications.iter().cloned());
        }
        let said: Said = (channel.into(), payload.into());
        if self.known.insert(said.clone()) {
            self.notifications.push(said);
        }
    }

    /// Whether somebody is to be notified: then the transaction needs an xid.
    pub(super) fn notifies(&self) -> bool {
        !self.notifications.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.actions.is_empty() && self.notifications.is_empty()
    }
}

impl Exec<'_> {
    /// NOTIFY and `pg_notify`.
    pub fn notify(&mut self, database: &str, channel: &str, payload: &str) -> Result<(), Halt> {
        let invalid = |message| PgError::new(SqlState::INVALID_PARAMETER_VALUE, message);
        if channel.is_empty() {
            return Err(invalid("channel name cannot be empty").into());
        }
        if channel.len() > CHANNEL_LENGTH_MAX {
            return Err(invalid("channel name too long").into());
        }
        if payload.len() > PAYLOAD_LENGTH_MAX {
            return Err(invalid("payload string too long").into());
        }
        self.queue_action(database, |pending| pending.notify(channel, payload))
    }

    /// LISTEN.
    pub fn listen(&mut self, database: &str, channel: &Arc<str>) -> Result<(), Halt> {
        self.queue_action(database, |pending| {
            pending.actions.push(Action::Listen(channel.clone()));
        })
    }

    /// UNLISTEN; `None` is all channels.
    pub fn unlisten(&mut self, database: &str, channel: Option<&Arc<str>>) -> Result<(), Halt> {
        // Who can never have listened has nothing to do (`Async_Unlisten`).
        let known = &self.engine.notifications.have_listened;
        let pending = self.tx.pending.as_ref();
        let acts = pending.is_some_and(|pending| !pending.actions.is_empty());
        if !acts && !known.contains(&self.tx.pid) {
            return Ok(());
        }
        self.queue_action(database, |pending| {
            pending.actions.push(match channel {
                Some(channel) => Action::Unlisten(channel.clone()),
                None => Action::UnlistenAll,
            });
        })
    }

    /// What its messages ask of a transaction before interrupts are held: a place in the queue for who
    /// begins to listen; for who notifies, the lock that puts commits in the queue's order, up to
    /// where other locks are freed.
    ///
    /// Source: `PreCommit_Notify`.
    pub fn prepare_to_notify(&mut self) -> Result<(), Halt> {
        self.engine.prepare_to_listen(self.tx);
        let pending = self.tx.pending.as_ref();
        match pending.is_some_and(|pending| pending.notifies()) {
            true => self.lock_tag(LockTag::NOTIFICATIONS, LockMode::AccessExclusive),
            false => Ok(()),
        }
    }

    fn queue_action(
        &mut self,
        database: &str,
        queue: impl FnOnce(&mut Pending),
    ) -> Result<(), Halt> {
        self.effect(|exec| {
            let pending = exec.tx.pending.get_or_insert_with(|| {
                Box::new(Pending {
                    database: database.into(),
                    actions: Vec::new(),
                    notifications: Vec::new(),
                    known: BTreeSet::new(),
                })
            });
            queue(pending);
            Ok(Effect::Done)
        })
        .map(drop)
    }
}

impl Engine {
    /// `pg_listening_channels`.
    pub fn listening_channels(&self, pid: Pid) -> &[Arc<str>] {
        let listener = self.notifications.listeners.get(&pid);
        listener.map_or(&[], |listener| &listener.channels)
    }

    /// `pg_notification_queue_usage`: the fraction of the queue that is full.
    pub fn notification_queue_usage(&self) -> f64 {
        let size = |entry: &Notification| {
            (ENTRY_SIZE + entry.channel.len() + entry.payload.len() + 2).next_multiple_of(4)
        };
        let used: usize = self.notifications.queue.iter().map(size).sum();
        (used / PAGE_SIZE) as f64 / PAGES_MAX as f64
    }

    /// Whether a session was rung for and has not read the queue since.
    pub fn is_notified(&self, pid: Pid) -> bool {
        let listeners = &self.notifications.listeners;
        !listeners.is_empty() && listeners.get(&pid).is_some_and(|listener| listener.rung)
    }

    /// What a session was notified of since it last asked.
    pub fn take_notifications(&mut self, pid: Pid) -> Vec<Notification> {
        let Notifications {
            queue,
            first,
            listeners,
            ..
        } = &mut self.notifications;
        let Some(listener) = listeners.get_mut(&pid) else {
            return Vec::new();
        };
        let unread = queue.iter().skip((listener.place - *first) as usize);
        let heard = unread.filter(|entry| {
            entry.database == listener.database && listener.channels.contains(&entry.channel)
        });
        let heard = heard.cloned().collect();
        listener.place = *first + queue.len() as u64;
        listener.rung = false;
        self.trim_notifications();
        heard
    }

    /// The end of a session.
    pub(super) fn forget_listener(&mut self, pid: Pid) {
        self.unlisten_all(pid);
        self.notifications.have_listened.remove(&pid);
    }

    /// A session listens no more: DISCARD ALL, or its end.
    pub fn unlisten_all(&mut self, pid: Pid) {
        if self.notifications.listeners.remove(&pid).is_some() {
            self.trim_notifications();
        }
    }

    /// Forgets what everybody has read.
    fn trim_notifications(&mut self) {
        let Notifications {
            queue,
            first,
            listeners,
            ..
        } = &mut self.notifications;
        let end = *first + queue.len() as u64;
        let places = listeners.values().map(|listener| listener.place);
        let oldest = places.min().unwrap_or(end);
        queue.drain(..(oldest - *first) as usize);
        *first = oldest;
    }

    /// Before interrupts are held: who begins to listen gets its place in the queue.
    ///
    /// Source: `PreCommit_Notify`.
    fn prepare_to_listen(&mut self, tx: &Transaction) {
        let Some(pending) = &tx.pending else { return };
        let listens = |action: &Action| matches!(action, Action::Listen(_));
        if !pending.actions.iter().any(listens) {
            return;
        }
        let Notifications {
            queue,
            first,
            listeners,
            have_listened,
        } = &mut self.notifications;
        have_listened.insert(tx.pid);
        let place = *first + queue.len() as u64;
        listeners.entry(tx.pid).or_insert_with(|| Listener {
            database: pending.database.clone(),
            channels: Vec::new(),
            place,
            rung: false,
        });
    }

    /// At `visible`: what was said can be read.
    pub(super) fn publish_notifications(&mut self, tx: &Transaction) {
        let Some(pending) = &tx.pending else { return };
        if self.notifications.listeners.is_empty() {
            return;
        }
        let entries = pending.notifications.iter();
        self.notifications
            .queue
            .extend(entries.map(|(channel, payload)| Notification {
                pid: tx.pid,
                database: pending.database.clone(),
                channel: channel.clone(),
                payload: payload.clone(),
            }));
    }

    /// At `notified`: LISTEN and UNLISTEN take effect, and listeners are rung for.
    ///
    /// Source: `AtCommit_Notify`.
    pub(super) fn ring_listeners(&mut self, tx: &mut Transaction) {
        let Some(pending) = tx.pending.take() else {
            return;
        };
        let listeners = &mut self.notifications.listeners;
        if let Some(listener) = listeners.get_mut(&tx.pid) {
            for action in &pending.actions {
                match action {
                    Action::Listen(channel) if listener.channels.contains(channel) => (),
                    Action::Listen(channel) => listener.channels.push(channel.clone()),
                    Action::Unlisten(channel) => listener.channels.retain(|own| own != channel),
                    Action::UnlistenAll => listener.channels.clear(),
                }
            }
        }
        self.stop_listening_in_vain(tx.pid);
        if !pending.notifies() {
            return;
        }
        let Notifications {
            queue,
            first,
            listeners,
            ..
        } = &mut self.notifications;
        let end = *first + queue.len() as u64;
        for (pid, listener) in listeners {
            if listener.database == pending.database && listener.place < end {
                listener.rung = true;
                self.wakeups.push(*pid);
            }
        }
    }

    /// Who listens to nothing gives up its place.
    pub(super) fn stop_listening_in_vain(&mut self, pid: Pid) {
        let listener = self.notifications.listeners.get(&pid);
        if listener.is_some_and(|listener| listener.channels.is_empty()) {
            self.unlisten_all(pid);
        }
    }
}
