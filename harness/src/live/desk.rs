//! The desk: where faults are armed, and where COMMITs are written down as they pass.
//!
//! Only COMMITs of transactions that write are seen here: whoever asks the desk by SQL commits too,
//! and does not disturb what it asks about. A fault strikes the first COMMIT that fits it; no two are
//! armed for one place of one COMMIT. What does not strike, be it that a message has no such byte, is
//! not counted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fake_pg::engine::{Pid, Timestamp};
use tokio::sync::Notify;

use super::fault::{Action, Fault, Point, Sight};
use super::link::Link;

/// How many COMMITs are kept: the newest.
const COMMITS_MAX: usize = 1000;

/// Shared by whoever passes COMMITs on and whoever asks by SQL.
#[derive(Debug)]
pub(crate) struct Desk {
    sight: Sight,
    state: Mutex<State>,
    /// Rings when a pause ends.
    pub(crate) bell: Notify,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) faults: Vec<Armed>,
    last_fault: i64,
    pub(super) commits: VecDeque<Commit>,
    last_commit: i64,
    /// What the server called the newest COMMIT.
    newest: u64,
    /// Up to here, as the server counts them, COMMITs are none of ours any more.
    forgotten: u64,
    /// What is under way, by session.
    open: BTreeMap<Pid, i64>,
    /// Which COMMITs are paused, and where; by session.
    paused: BTreeMap<Pid, Point>,
    /// Sessions that wait for a COMMIT to be paused.
    waiting: BTreeSet<Pid>,
    /// The connections that there are.
    links: BTreeMap<Pid, Arc<Link>>,
}

/// A fault that was armed.
#[derive(Clone, Debug)]
pub(super) struct Armed {
    pub(super) id: i64,
    pub(super) fault: Fault,
    pub(super) application_name: Option<Arc<str>>,
    pub(super) times_left: i64,
    pub(super) fired: i64,
    /// The COMMIT it struck last, and its session.
    pub(super) last: Option<(i64, Pid)>,
}

/// A fault that waits for a byte of the answer to a COMMIT.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    fault: i64,
    commit: i64,
    pid: Pid,
    pub(crate) byte: usize,
    pub(crate) action: Action,
}

/// A COMMIT that was seen.
#[derive(Clone, Debug)]
pub(super) struct Commit {
    pub(super) number: i64,
    /// What the server calls it.
    server_number: u64,
    pub(super) xid: Option<i64>,
    pub(super) pid: Pid,
    pub(super) application_name: Arc<str>,
    pub(super) received_at: Timestamp,
    pub(super) committed_at: Option<Timestamp>,
    pub(super) acknowledged: bool,
    pub(super) outcome: Outcome,
}

/// What has become of a COMMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is under way.
    Open,
    /// Others see what it wrote.
    Committed,
    /// Nothing has come of it: it failed, or never reached the server.
    Aborted,
    /// It was visible, and a crash has undone it.
    Lost,
    /// The server left without a word.
    Unknown,
}

/// Whose COMMIT it is.
#[derive(Clone, Debug)]
pub(crate) struct Author {
    /// What the server calls it, or 0.
    pub(crate) server_number: u64,
    pub(crate) xid: Option<i64>,
    pub(crate) pid: Pid,
    pub(crate) application_name: Arc<str>,
}

impl Desk {
    pub(crate) fn new(sight: Sight) -> Desk {
        Desk {
            sight,
            state: Mutex::default(),
            bell: Notify::new(),
        }
    }

    pub(super) fn sight(&self) -> Sight {
        self.sight
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked here has left nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A COMMIT begins; or, if its request was seen before it reached the server, it goes on there.
    pub(crate) fn begin(&self, author: &Author, now: Timestamp) {
        let mut state = self.state();
        if author.server_number > 0 && author.server_number <= state.forgotten {
            return;
        }
        state.newest = state.newest.max(author.server_number);
        if let Some(number) = state.open.get(&author.pid).copied()
            && let Some(commit) = state.commits.iter_mut().rev().find(|c| c.number == number)
        {
            if author.server_number > 0 && commit.server_number == author.server_number {
                return;
            }
            if commit.server_number == 0
                && commit.outcome == Outcome::Open
                && self.sight == Sight::Server
            {
                commit.server_number = author.server_number;
                commit.xid = author.xid;
                return;
            }
        }
        state.last_commit += 1;
        let number = state.last_commit;
        if state.commits.len() == COMMITS_MAX {
            state.commits.pop_front();
        }
        state.commits.push_back(Commit {
            number,
            server_number: author.server_number,
            xid: author.xid,
            pid: author.pid,
            application_name: author.application_name.clone(),
            received_at: now,
            committed_at: None,
            acknowledged: false,
            outcome: Outcome::Open,
        });
        state.open.insert(author.pid, number);
    }

    /// The COMMIT under way in a session has reached a point: says what is to happen, if anything.
    pub(crate) fn reached(&self, pid: Pid, point: Point) -> Option<Action> {
        let mut state = self.state();
        state.paused.remove(&pid);
        let fault = state.strike(pid, |fault| fault.point == point)?;
        if fault.action == Action::Pause {
            state.paused.insert(pid, point);
        }
        Some(fault.action)
    }

    /// Whether any fault is armed for a byte of a request.
    pub(crate) fn watches_requests(&self) -> bool {
        let state = self.state();
        let mut faults = state.faults.iter();
        faults.any(|armed| armed.times_left > 0 && matches!(armed.fault.point, Point::Request(_)))
    }

    /// The fault that is armed for some byte of the request of the COMMIT under way in a session,
    /// used up. Such a request has so many bytes.
    pub(crate) fn request_fault(&self, pid: Pid, length: usize) -> Option<(usize, Action)> {
        let mut state = self.state();
        let fault = state.strike(pid, |fault| {
            matches!(fault.point, Point::Request(_)) && fault.strikes_within(length)
        })?;
        match fault.point {
            Point::Request(byte) => Some((byte as usize, fault.action)),
            _ => None,
        }
    }

    /// The fault that is armed for some byte of its answer. It has not struck before that byte has
    /// come: see `strikes`.
    pub(crate) fn reply_fault(&self, pid: Pid) -> Option<Watch> {
        let mut state = self.state();
        let (armed, commit) = state.armed(pid, |fault| matches!(fault.point, Point::Reply(_)))?;
        match armed.fault.point {
            Point::Reply(byte) => Some(Watch {
                fault: armed.id,
                commit,
                pid,
                byte: byte as usize,
                action: armed.fault.action.clone(),
            }),
            _ => None,
        }
    }

    /// The byte has come: whether the fault is still armed, and the COMMIT has not failed meanwhile.
    /// Then it is used up.
    pub(crate) fn strikes(&self, watch: &Watch) -> bool {
        let mut state = self.state();
        let mut commits = state.commits.iter().rev();
        let is_committed = commits
            .any(|commit| commit.number == watch.commit && commit.outcome == Outcome::Committed);
        let mut faults = state.faults.iter_mut();
        match faults.find(|armed| armed.id == watch.fault && armed.times_left > 0) {
            Some(armed) if is_committed => {
                armed.fire(watch.commit, watch.pid);
                true
            }
            _ => false,
        }
    }

    /// The server has answered a session all that it was asked: if a COMMIT was begun at its request,
    /// and never got to the server's own, nothing came of it.
    pub(crate) fn settle(&self, pid: Pid) {
        self.state().settle(pid);
    }

    /// The COMMIT of a session is visible.
    pub(crate) fn committed(&self, pid: Pid, now: Timestamp) {
        self.note(pid, |commit| {
            commit.committed_at = Some(now);
            commit.outcome = Outcome::Committed;
        });
    }

    /// The COMMIT of a session has come to nothing, or nobody knows to what.
    pub(crate) fn ended(&self, pid: Pid, outcome: Outcome) {
        self.note(pid, |commit| {
            if commit.outcome == Outcome::Open {
                commit.outcome = outcome;
            }
        });
        self.state().open.remove(&pid);
    }

    /// A COMMIT that was begun at its request turns out to be none of ours yet.
    pub(crate) fn withdraw(&self, pid: Pid) {
        let mut state = self.state();
        if let Some(number) = state.open.remove(&pid) {
            state.commits.retain(|commit| commit.number != number);
            state.last_commit = number - 1;
        }
    }

    /// Its answer has left for a client that is still there.
    pub(crate) fn acknowledged(&self, pid: Pid) {
        self.note(pid, |commit| commit.acknowledged = true);
    }

    fn note(&self, pid: Pid, change: impl FnOnce(&mut Commit)) {
        let mut state = self.state();
        let Some(number) = state.open.get(&pid).copied() else {
            return;
        };
        // The newest are last.
        if let Some(commit) = state.commits.iter_mut().rev().find(|c| c.number == number) {
            change(commit);
        }
    }

    /// A crash is over: what it undid, what it completed, and what is gone with its session.
    pub(crate) fn recovered(&self, lost: &[u64], completed: &[u64], now: Timestamp) {
        let mut state = self.state();
        for commit in &mut state.commits {
            if lost.contains(&commit.server_number) {
                commit.outcome = Outcome::Lost;
            } else if completed.contains(&commit.server_number) {
                commit.outcome = Outcome::Committed;
                commit.committed_at.get_or_insert(now);
            } else if commit.outcome == Outcome::Open {
                commit.outcome = Outcome::Aborted;
            }
        }
        state.open.clear();
        state.paused.clear();
        state.waiting.clear();
        state.links.clear();
        self.bell.notify_waiters();
    }

    /// Whether the COMMIT of a session is still paused.
    pub(crate) fn holds(&self, pid: Pid) -> bool {
        self.state().paused.contains_key(&pid)
    }

    /// The sessions that wait for a COMMIT to be paused; each is to look again.
    pub(crate) fn take_waiting(&self) -> BTreeSet<Pid> {
        std::mem::take(&mut self.state().waiting)
    }

    /// A connection begins.
    pub(crate) fn connect(&self, pid: Pid, link: Arc<Link>) {
        self.state().links.insert(pid, link);
    }

    /// A connection is over.
    pub(crate) fn disconnect(&self, pid: Pid) {
        let mut state = self.state();
        state.links.remove(&pid);
        if self.sight == Sight::Server {
            state.settle(pid);
        }
        state.open.remove(&pid);
        state.paused.remove(&pid);
    }

    /// The stream of a session.
    pub(crate) fn link(&self, pid: Pid) -> Option<Arc<Link>> {
        self.state().links.get(&pid).cloned()
    }

    /// All streams.
    pub(crate) fn links(&self) -> Vec<Arc<Link>> {
        self.state().links.values().cloned().collect()
    }

    /// Ends all pauses; says whose.
    pub(crate) fn resume_all(&self) -> Vec<Pid> {
        let paused = self.state().resume(|_| true);
        self.bell.notify_waiters();
        paused
    }
}

impl Armed {
    /// Whether it may strike a COMMIT of that application.
    fn fits(&self, application_name: &str) -> bool {
        let wanted = self.application_name.as_deref();
        self.times_left > 0 && wanted.is_none_or(|wanted| wanted == application_name)
    }

    /// Whether it and another could strike one COMMIT at one place.
    fn meets(&self, fault: &Fault, application_name: Option<&str>) -> bool {
        let applications = [self.application_name.as_deref(), application_name];
        let can_be_one = match applications {
            [Some(one), Some(other)] => one == other,
            _ => true,
        };
        self.times_left > 0 && can_be_one && self.fault.meets(fault)
    }

    /// It strikes that COMMIT.
    fn fire(&mut self, commit: i64, pid: Pid) {
        self.times_left -= 1;
        self.fired += 1;
        self.last = Some((commit, pid));
    }
}

impl State {
    /// COMMITs that failed reach no point that would say so: their xids tell.
    pub(super) fn sweep(&mut self, is_aborted: impl Fn(i64) -> bool) {
        let State {
            commits,
            open,
            paused,
            ..
        } = self;
        for commit in commits {
            if commit.outcome == Outcome::Open && commit.xid.is_some_and(&is_aborted) {
                commit.outcome = Outcome::Aborted;
                if open.get(&commit.pid) == Some(&commit.number) {
                    open.remove(&commit.pid);
                    paused.remove(&commit.pid);
                }
            }
        }
    }

    /// The armed fault that fits the COMMIT under way in a session, and the number of that.
    fn armed(&mut self, pid: Pid, is_there: impl Fn(&Fault) -> bool) -> Option<(&mut Armed, i64)> {
        let number = self.open.get(&pid).copied()?;
        let commit = self.commits.iter().rev().find(|c| c.number == number)?;
        let mut armed = self.faults.iter_mut();
        let armed =
            armed.find(|armed| is_there(&armed.fault) && armed.fits(&commit.application_name))?;
        Some((armed, number))
    }

    /// The same, used up once.
    fn strike(&mut self, pid: Pid, is_there: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let (armed, number) = self.armed(pid, is_there)?;
        armed.fire(number, pid);
        Some(armed.fault.clone())
    }

    /// See `Desk::settle`.
    fn settle(&mut self, pid: Pid) {
        let Some(&number) = self.open.get(&pid) else {
            return;
        };
        let mut commits = self.commits.iter_mut().rev();
        if let Some(commit) = commits.find(|commit| commit.number == number)
            && commit.server_number == 0
            && commit.outcome == Outcome::Open
        {
            commit.outcome = Outcome::Aborted;
            self.open.remove(&pid);
        }
    }

    /// The fault that is armed where this one would strike.
    pub(super) fn in_the_way(
        &self,
        fault: &Fault,
        application_name: Option<&str>,
    ) -> Option<&Armed> {
        let mut faults = self.faults.iter();
        faults.find(|armed| armed.meets(fault, application_name))
    }

    /// Arms a fault; gives its id.
    pub(super) fn arm(
        &mut self,
        fault: Fault,
        times: i64,
        application_name: Option<Arc<str>>,
    ) -> i64 {
        self.last_fault += 1;
        self.faults.push(Armed {
            id: self.last_fault,
            fault,
            application_name,
            times_left: times,
            fired: 0,
            last: None,
        });
        self.last_fault
    }

    /// Forgets what is armed and what was seen, and counts from 1 again. What is under way is none of
    /// what comes.
    pub(super) fn forget(&mut self) {
        self.faults.clear();
        self.commits.clear();
        self.open.clear();
        (self.last_fault, self.last_commit) = (0, 0);
        self.forgotten = self.newest;
    }

    /// Takes a session among those that wait.
    pub(super) fn wait(&mut self, pid: Pid) {
        self.waiting.insert(pid);
    }

    /// The COMMITs that are paused: number and point.
    pub(super) fn paused(&self) -> impl Iterator<Item = (i64, Point)> {
        let paused = self.paused.iter();
        paused.filter_map(|(pid, point)| Some((*self.open.get(pid)?, *point)))
    }

    /// Ends the pauses of these COMMITs; says whose.
    pub(super) fn resume(&mut self, which: impl Fn(i64) -> bool) -> Vec<Pid> {
        let State { paused, open, .. } = self;
        let resumed = paused.keys().copied();
        let resumed: Vec<Pid> = resumed
            .filter(|pid| open.get(pid).is_none_or(|&number| which(number)))
            .collect();
        for pid in &resumed {
            paused.remove(pid);
        }
        resumed
    }
}

impl Outcome {
    /// As the relation says it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Outcome::Open => "in progress",
            Outcome::Committed => "committed",
            Outcome::Aborted => "aborted",
            Outcome::Lost => "lost",
            Outcome::Unknown => "unknown",
        }
    }
}
