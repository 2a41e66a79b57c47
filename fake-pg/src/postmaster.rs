//! The server: its engine, its sessions, and who may disturb them.
//!
//! Owns pids and cancel keys, both counted; asks the hook at each commit point; wakes sessions
//! whose wait is over. While it is down nothing advances. Bytes and time are left to
//! `connection`, protocol to `session`.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::Notify;

use crate::engine::{CommitMachine, CommitNumber, Engine, Pid, Recovery, Signal, Timestamp, Xid};
use crate::error::PgError;
use crate::session::{Authentication, CommitAction, CommitHook, Next, Session};

/// A running server, shared by its connections as `Rc<RefCell<Postmaster>>`.
pub struct Postmaster {
    engine: Engine,
    hook: Box<dyn CommitHook>,
    authentication: Authentication,
    /// It is being stopped.
    stopping: Option<Shutdown>,
    clock: Box<dyn Fn() -> Timestamp>,
    backends: BTreeMap<Pid, Backend>,
    /// The newest pid. Pids are never used twice, not even after a crash.
    pids: i32,
    down: bool,
    /// Asynchronous COMMITs of sessions that are gone: the WAL writer still owes them a flush.
    orphans: Vec<CommitMachine>,
    /// `max_connections`.
    connections_max: usize,
}

/// How a server is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Nobody new is let in; it ends with its last session. SIGTERM.
    Smart,
    /// Sessions are terminated too. SIGINT.
    Fast,
    /// Sessions are told and gone, whatever they were doing: a crash with a word of warning. SIGQUIT.
    Immediate,
}

/// A session and the bell its connection listens to.
struct Backend {
    session: Session,
    bell: Rc<Notify>,
}

/// What an onlooker sees of a session, as in `pg_stat_activity`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionState {
    /// Its process id.
    pub pid: Pid,
    /// Whether a transaction block is open, failed or not, or a statement is running.
    pub in_transaction: bool,
    /// Whether that is a block, failed or not.
    pub in_block: bool,
    /// The id of a transaction that its client could commit, if it was given one.
    pub xid: Option<Xid>,
    /// Whether its statement waits for another session or for a time.
    pub waiting: bool,
    /// How many advisory locks it holds beyond its transaction; each counts once.
    pub session_locks: usize,
    /// What it calls itself.
    pub application_name: String,
}

/// What a connection has to do before its session can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pump {
    /// Bring bytes; or the bell has rung; or, if there is one, the time has come.
    Read(Option<Duration>),
    /// Take the output away and write it.
    Write,
    /// Sleep until the bell rings or, if there is one, the time has come.
    Wait(Option<Duration>),
    /// Sleep for so long, unless the bell rings and `is_released`; then `dwelt`.
    Dwell(Duration),
    /// Hang up.
    Close,
    /// Never do anything again: the server is down, or was restarted without this session.
    Gone,
}

impl Postmaster {
    /// A server on `engine`. `clock` is the only time it knows.
    pub fn new(
        engine: Engine,
        hook: Box<dyn CommitHook>,
        clock: Box<dyn Fn() -> Timestamp>,
    ) -> Postmaster {
        Postmaster {
            engine,
            hook,
            authentication: Authentication::Trust,
            stopping: None,
            clock,
            backends: BTreeMap::new(),
            pids: 0,
            down: false,
            orphans: Vec::new(),
            connections_max: usize::MAX,
        }
    }

    /// Lets no more than so many in at a time: `max_connections`.
    pub fn set_connections_max(&mut self, most: usize) {
        self.connections_max = most;
    }

    /// Ends every session as a fast shutdown does: each is told, and what it runs is undone.
    pub fn terminate_all(&mut self) {
        let pids: Vec<Pid> = self.backends.keys().copied().collect();
        for pid in pids {
            self.terminate(pid);
        }
    }

    /// Stops the server. Connections are told why they end, and new ones that they come too late;
    /// `is_stopped` says when nobody is left. `crash` starts it again.
    ///
    /// Measured on PostgreSQL 15.18.
    pub fn shutdown(&mut self, shutdown: Shutdown) {
        self.stopping = Some(shutdown);
        match shutdown {
            Shutdown::Smart => {}
            Shutdown::Fast => self.terminate_all(),
            Shutdown::Immediate => self.quit_all(&PgError::immediate_shutdown()),
        }
    }

    /// Another process of the server has crashed: every session is told, and gone. Then `crash`
    /// recovers.
    pub fn quit_for_crash(&mut self) {
        self.stopping = Some(Shutdown::Immediate);
        self.quit_all(&PgError::crash_shutdown());
    }

    fn quit_all(&mut self, warning: &PgError) {
        for backend in self.backends.values_mut() {
            backend.session.quit(warning);
            backend.bell.notify_one();
        }
    }

    /// Whether it was asked to stop, and has no sessions any more.
    pub fn is_stopped(&self) -> bool {
        self.stopping.is_some() && self.backends.is_empty()
    }

    /// What is stored, and the log of commits.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The same, to query or to sabotage.
    pub fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// Demands this of clients that connect from now on.
    pub fn demand(&mut self, authentication: Authentication) {
        self.authentication = authentication;
    }

    /// Replaces the hook.
    pub fn set_hook(&mut self, hook: Box<dyn CommitHook>) {
        self.hook = hook;
    }

    /// Whether the server has crashed and was not restarted yet.
    pub fn is_down(&self) -> bool {
        self.down
    }

    /// The server stops dead, as it does when a hook answers `Crash`; `crash` restarts it.
    pub fn go_down(&mut self) {
        self.down = true;
    }

    /// Loses all memory, recovers from what was flushed, and is up again without sessions.
    pub fn crash(&mut self) -> Recovery {
        self.forget_sessions();
        self.engine.crash()
    }

    /// Fails over to a replica whose WAL ends just before the record of commit `number`.
    pub fn promote_without(&mut self, number: CommitNumber) -> Recovery {
        self.forget_sessions();
        self.engine.promote_without(number)
    }

    fn forget_sessions(&mut self) {
        // What the WAL writer has written by now is safe.
        self.flush_orphans((self.clock)());
        self.orphans.clear();
        // Connections that are still there find no session and stay pending until dropped.
        self.backends.clear();
        self.stopping = None;
        self.down = false;
    }

    /// Ends a session as `pg_terminate_backend` does. False if there is none.
    pub fn terminate(&mut self, pid: Pid) -> bool {
        self.signal(pid, |session| {
            session.terminate();
            true
        })
    }

    /// Cancels what a session runs, if `key` is its secret.
    pub fn cancel(&mut self, pid: Pid, key: i32) -> bool {
        self.signal(pid, |session| {
            let allowed = session.key() == key;
            if allowed {
                session.cancel();
            }
            allowed
        })
    }

    fn signal(&mut self, pid: Pid, deliver: impl FnOnce(&mut Session) -> bool) -> bool {
        let Some(backend) = self.backends.get_mut(&pid) else {
            return false;
        };
        let delivered = deliver(&mut backend.session);
        if delivered {
            backend.bell.notify_one();
        }
        delivered
    }

    /// The pid that the next connection's backend will have.
    pub fn next_pid(&self) -> Pid {
        Pid(self.pids + 1)
    }

    /// All sessions that were let in, by pid.
    pub fn sessions(&self) -> Vec<SessionState> {
        let pids = self.backends.keys();
        pids.filter_map(|&pid| self.session(pid)).collect()
    }

    /// A session, if it was let in.
    pub fn session(&self, pid: Pid) -> Option<SessionState> {
        let backend = self.backends.get(&pid).filter(|_| self.is_let_in(pid))?;
        Some(SessionState {
            pid,
            in_transaction: backend.session.in_transaction(),
            in_block: backend.session.is_in_block(),
            xid: backend.session.xid(),
            waiting: backend.session.is_waiting(),
            session_locks: self.engine.session_locks(pid).len(),
            application_name: backend.session.application_name().to_string(),
        })
    }

    /// Whether a session got past its startup packet.
    pub fn is_let_in(&self, pid: Pid) -> bool {
        let backend = self.backends.get(&pid);
        backend.is_some_and(|backend| backend.session.is_let_in())
    }

    /// Has a session look again whether what it waits for has come.
    pub fn wake(&self, pid: Pid) {
        if let Some(backend) = self.backends.get(&pid) {
            backend.bell.notify_one();
        }
    }

    /// Lets a connection in, unless the server is down.
    pub(crate) fn open(&mut self) -> Option<(Pid, Rc<Notify>)> {
        if self.down {
            return None;
        }
        self.pids += 1;
        let pid = Pid(self.pids);
        let bell = Rc::new(Notify::new());
        // A secret that tests can foresee: whoever may connect may also cancel.
        let mut session = Session::new(pid, self.pids.wrapping_mul(0x9e37_79b1_u32 as i32));
        session.demand(self.authentication);
        if self.stopping.is_some() {
            session.refuse(PgError::shutting_down());
        } else if self.backends.len() >= self.connections_max {
            session.refuse(PgError::too_many_connections());
        }
        let backend = Backend {
            session,
            bell: Rc::clone(&bell),
        };
        self.backends.insert(pid, backend);
        Some((pid, bell))
    }

    /// Ends a session whose connection is gone: what was not committed is undone.
    pub(crate) fn close(&mut self, pid: Pid) {
        if self.down {
            return;
        }
        if let Some(backend) = self.backends.remove(&pid) {
            // Recovery decides what became of its work.
            if self.stopping == Some(Shutdown::Immediate) {
                return;
            }
            let now = (self.clock)();
            self.orphans
                .extend(backend.session.exit(&mut self.engine, now));
            self.ring();
        }
    }

    /// What the WAL writer does for those who are gone, as soon as somebody looks.
    fn flush_orphans(&mut self, now: Timestamp) {
        let engine = &mut self.engine;
        self.orphans.retain_mut(|commit| {
            let due = commit.flush_due() <= now;
            // Nothing can fail behind interrupts-held.
            while due && matches!(commit.step(engine, now), Ok(Some(_))) {}
            !due
        });
    }

    /// Lets a session go on until it needs its connection.
    pub(crate) fn pump(&mut self, pid: Pid) -> Pump {
        let now = (self.clock)();
        if !self.down && !self.orphans.is_empty() {
            self.flush_orphans(now);
        }
        let pump = self.advance(pid, now);
        if !self.down {
            self.ring();
        }
        pump
    }

    fn advance(&mut self, pid: Pid, now: Timestamp) -> Pump {
        if self.down {
            return Pump::Gone;
        }
        let Some(Backend { session, .. }) = self.backends.get_mut(&pid) else {
            return Pump::Gone;
        };
        let left = |deadline: Timestamp| {
            Duration::from_micros(deadline.0.saturating_sub(now.0).max(0) as u64)
        };
        loop {
            match session.advance(&mut self.engine, now) {
                Next::Read => return Pump::Read(session.deadline().map(left)),
                Next::Write => return Pump::Write,
                Next::Close => return Pump::Close,
                Next::Wait(wait) => {
                    let deadlines = [wait.deadline, session.deadline()];
                    return Pump::Wait(deadlines.into_iter().flatten().min().map(left));
                }
                Next::CancelRequest { pid, key } => {
                    self.cancel(pid, key);
                    return Pump::Close;
                }
                Next::Commit(commit, point) => {
                    match self.hook.reached(&commit, point, &mut self.engine) {
                        CommitAction::Crash => {
                            self.down = true;
                            return Pump::Gone;
                        }
                        CommitAction::Fail(_) if !session.can_abort() => {
                            self.down = true;
                            return Pump::Gone;
                        }
                        // The WAL writer may dwell without anybody noticing.
                        CommitAction::Dwell(duration) if session.is_committing() => {
                            return Pump::Dwell(duration);
                        }
                        action => session.resume(action),
                    }
                }
            }
        }
    }

    /// Delivers signals, and rings for those whose wait may be over.
    fn ring(&mut self) {
        for (pid, signal) in self.engine.take_signals() {
            self.signal(pid, |session| {
                match signal {
                    Signal::Cancel => session.cancel(),
                    Signal::Terminate => session.terminate(),
                }
                true
            });
        }
        for pid in self.engine.take_wakeups() {
            if let Some(backend) = self.backends.get(&pid) {
                backend.bell.notify_one();
            }
        }
    }

    /// Hands over what was read.
    pub(crate) fn receive(&mut self, pid: Pid, bytes: &mut BytesMut) {
        self.with(pid, |session| session.receive(bytes));
    }

    /// The client will send no more.
    pub(crate) fn eof(&mut self, pid: Pid) {
        self.with(pid, Session::eof);
    }

    /// The client has closed abortively.
    pub(crate) fn reset(&mut self, pid: Pid) {
        self.with(pid, Session::reset);
    }

    /// Nothing can be written to the client any more.
    pub(crate) fn lost(&mut self, pid: Pid) {
        self.with(pid, Session::lost);
    }

    /// The end of a stay at a commit point.
    pub(crate) fn dwelt(&mut self, pid: Pid) {
        self.with(pid, |session| session.resume(CommitAction::GoOn));
    }

    /// Takes what is to be written.
    pub(crate) fn take_output(&mut self, pid: Pid, into: &mut BytesMut) {
        self.with(pid, |session| session.take_output(into));
    }

    /// Whether the session need not dwell any longer: by a cancel, a terminate, or the hook.
    pub(crate) fn is_released(&self, pid: Pid) -> bool {
        let backend = self.backends.get(&pid);
        backend.is_some_and(|backend| backend.session.is_interrupted() || !self.hook.holds(pid))
    }

    /// Whether a terminate is pending: a blocked write is given up for it.
    pub(crate) fn is_terminated(&self, pid: Pid) -> bool {
        let backend = self.backends.get(&pid);
        backend.is_some_and(|backend| backend.session.is_terminated())
    }

    /// Whether the session can still go on.
    pub(crate) fn is_running(&self, pid: Pid) -> bool {
        !self.down && self.backends.contains_key(&pid)
    }

    fn with(&mut self, pid: Pid, act: impl FnOnce(&mut Session)) {
        if let Some(backend) = self.backends.get_mut(&pid).filter(|_| !self.down) {
            act(&mut backend.session);
        }
    }
}

impl std::fmt::Debug for Postmaster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postmaster")
            .field("down", &self.down)
            .field("sessions", &self.sessions())
            .finish_non_exhaustive()
    }
}
