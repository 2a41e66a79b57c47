//! What the server knows of its sessions: who they are, what they do, and who signals them.
//!
//! A session keeps its own entry, from being let in until it ends, with stores that cost nothing:
//! texts are shared, nothing is formatted. What can be asked elsewhere, such as the lock that a
//! session waits for, is not kept here. Signals sent by SQL gather until the owner of the sessions
//! takes them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::exec::{Effect, diverged};
use super::{Engine, Exec, Halt, Pid, Timestamp, Wait, WaitOn, Xid};
use crate::types::Datum;

/// What one session does: a row of `pg_stat_activity`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// The database it is connected to.
    pub database: Arc<str>,
    /// Who it is.
    pub user: Arc<str>,
    /// What it calls itself.
    pub application_name: Arc<str>,
    /// What it is doing.
    pub state: ActivityState,
    /// The statement it runs, or ran last, as the client sent it.
    pub query: Arc<str>,
    /// When it connected.
    pub backend_start: Timestamp,
    /// When its transaction began.
    pub xact_start: Option<Timestamp>,
    /// When its statement began.
    pub query_start: Option<Timestamp>,
    /// When its state last changed.
    pub state_change: Timestamp,
    /// What its statement waits for.
    pub waiting: Option<WaitOn>,
}

/// What a session is doing, as `pg_stat_activity` calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivityState {
    /// It runs a statement.
    Active,
    /// It waits for its client.
    Idle,
    /// The same within a transaction block.
    IdleInTransaction,
    /// The same within one that has failed.
    IdleInTransactionAborted,
}

impl ActivityState {
    /// As `pg_stat_activity` writes it.
    pub fn name(self) -> &'static str {
        match self {
            ActivityState::Active => "active",
            ActivityState::Idle => "idle",
            ActivityState::IdleInTransaction => "idle in transaction",
            ActivityState::IdleInTransactionAborted => "idle in transaction (aborted)",
        }
    }
}

/// What one session can do to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// End what it runs: `pg_cancel_backend`, SIGINT.
    Cancel,
    /// End: `pg_terminate_backend`, SIGTERM.
    Terminate,
}

/// All sessions that were let in, and the signals nobody has taken yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    pub(super) activity: BTreeMap<Pid, Activity>,
    signals: Vec<(Pid, Signal)>,
}

/// A session as a transaction has seen it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What it did.
    pub activity: Activity,
    /// The xid it had.
    pub xid: Option<Xid>,
    /// The oldest xid that was in progress.
    pub xmin: Xid,
}

impl Exec<'_> {
    /// The sessions as they were when the transaction first looked, or has last given up what it saw
    /// (`pgstat_read_current_status`).
    pub fn sessions_seen(&self) -> &BTreeMap<Pid, Seen> {
        let engine = &*self.engine;
        let look = || {
            let sessions = engine.activity().iter();
            let seen = sessions.map(|(&pid, activity)| {
                let seen = Seen {
                    activity: activity.clone(),
                    xid: engine.running_xid(pid),
                    xmin: engine.oldest_running(),
                };
                (pid, seen)
            });
            seen.collect()
        };
        self.tx.sessions_seen.get_or_init(look)
    }

    /// `pg_stat_clear_snapshot`.
    pub fn forget_sessions_seen(&mut self) {
        self.tx.sessions_seen.take();
    }

    /// Waits for the end of a session, which has been told to end, and says whether it came.
    pub fn wait_until_gone(&mut self, pid: Pid, patience: Duration) -> Result<bool, Halt> {
        let until = match self.effect(|exec| Ok(Effect::Until(exec.now.after(patience))))? {
            Effect::Until(until) => until,
            other => diverged("a deadline", &other),
        };
        let gone = self.datum(|exec| {
            let gone = !exec.engine.sessions.activity.contains_key(&pid);
            match gone || exec.now >= until {
                true => Ok(Datum::Bool(gone)),
                false => Err(Halt::Wait(Wait {
                    on: WaitOn::Sleep,
                    deadline: Some(until),
                })),
            }
        })?;
        Ok(gone == Datum::Bool(true))
    }
}

impl Engine {
    /// A session is over: who waits for that may look again.
    pub(super) fn forget_session(&mut self, pid: Pid) {
        let Engine {
            sessions, wakeups, ..
        } = self;
        if sessions.activity.remove(&pid).is_some() {
            let waiting = sessions.activity.iter();
            let waiting = waiting.filter(|(_, other)| other.waiting == Some(WaitOn::Sleep));
            wakeups.extend(waiting.map(|(pid, _)| *pid));
        }
    }

    /// The sessions, by pid.
    pub fn activity(&self) -> &BTreeMap<Pid, Activity> {
        &self.sessions.activity
    }

    /// What is known of one session, to be kept up to date by it.
    pub fn activity_mut(&mut self, pid: Pid) -> Option<&mut Activity> {
        self.sessions.activity.get_mut(&pid)
    }

    /// A session is let in.
    pub fn begin_session(&mut self, pid: Pid, activity: Activity) {
        self.sessions.activity.insert(pid, activity);
    }

    /// Sends a signal, and says whether there is somebody to receive it.
    pub fn send_signal(&mut self, pid: Pid, signal: Signal) -> bool {
        let exists = self.sessions.activity.contains_key(&pid);
        if exists {
            self.sessions.signals.push((pid, signal));
        }
        exists
    }

    /// The signals sent since this was last asked, in that order.
    pub fn take_signals(&mut self) -> Vec<(Pid, Signal)> {
        std::mem::take(&mut self.sessions.signals)
    }

    /// Whether a signal was sent that nobody has taken yet.
    pub fn has_signals(&self) -> bool {
        !self.sessions.signals.is_empty()
    }

    /// The signals that a session has sent to itself: those reach it at once.
    pub fn take_own_signals(&mut self, pid: Pid) -> Vec<Signal> {
        if self.sessions.signals.is_empty() {
            return Vec::new();
        }
        let signals = std::mem::take(&mut self.sessions.signals);
        let (own, others) = signals.into_iter().partition(|(to, _)| *to == pid);
        self.sessions.signals = others;
        let own: Vec<(Pid, Signal)> = own;
        own.into_iter().map(|(_, signal)| signal).collect()
    }
}
