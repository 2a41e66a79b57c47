//! Ending a transaction: COMMIT between its points.
//!
//! Invariant: nothing aborts a COMMIT once interrupts are held. It is `ready` only after the
//! ReadyForQuery behind it was handed to the stream, so a complete COMMIT waits in `unready`; an
//! asynchronous one then waits in `unflushed` for the WAL writer. What happens at a point is left
//! to the engine's machine, what to do there to the hook.

use std::sync::Arc;

use super::block::{Block, End, Ending};
use super::reply::write_tag;
use super::simple::Script;
use super::{CommitContext, Next, Session, Work};
use crate::engine::{
    CommitKind, CommitMachine, CommitPoint, Engine, Exec, Halt, Journal, Timestamp, TxOptions,
    Wait, WaitOn,
};
use crate::error::{PgError, SqlState};
use crate::sql::{self, CommandTag, Context};

/// A COMMIT on its way.
#[derive(Debug)]
pub(super) struct Commit {
    machine: CommitMachine,
    kind: CommitKind,
    context: Option<Arc<CommitContext>>,
    then: Then,
    /// What the session does once nothing can fail any more; taken when it is done.
    finish: Option<Finish>,
    /// The hook wants it to fail.
    failure: Option<SqlState>,
    /// The client has been told that its session ends while the COMMIT waits for a replica.
    told: bool,
    /// What its last work that may wait has done so far.
    journal: Journal,
    /// Whether that waits for another session.
    is_waiting: bool,
    /// Whether it has waited for a replica until now.
    awaited_replica: bool,
}

/// What a COMMIT leaves to its session.
#[derive(Debug)]
struct Finish {
    /// Another transaction like it begins.
    chain: Option<TxOptions>,
    /// What CommandComplete says, unless it was written before.
    tag: Option<CommandTag>,
}

/// What follows a COMMIT.
#[derive(Debug)]
pub(super) enum Then {
    /// The rest of the script.
    Script(Box<Script>),
    /// The next message of the pipeline.
    Message,
    /// ReadyForQuery.
    Sync,
}

impl Commit {
    /// Whether an error, a cancel or a terminate still ends it.
    pub(super) fn can_abort(&self) -> bool {
        self.machine.can_abort()
    }

    /// Whether its deferred constraints wait for another session.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Makes it fail before its next point.
    pub(super) fn fail(&mut self, code: SqlState) {
        self.failure = Some(code);
    }

    /// When the WAL writer comes, if it is asynchronous.
    fn flush_due(&self) -> Timestamp {
        self.machine.flush_due()
    }
}

impl Session {
    /// Begins to end a transaction. One without effects, unless by COMMIT, ends at once and
    /// without a number.
    pub(super) fn commit(&mut self, end: End, then: Then, engine: &mut Engine, now: Timestamp) {
        let End {
            ending,
            explicit,
            chain,
            tag,
        } = end;
        let finish = Finish { chain, tag };
        let kind = match (explicit, &then) {
            (true, _) => CommitKind::Explicit,
            (false, Then::Sync) => CommitKind::Sync,
            (false, _) => CommitKind::Implicit,
        };
        let durability = self.known().durability;
        let machine = match ending {
            Ending::Commit(transaction) if !explicit && !transaction.has_effects() => {
                return match engine.end_read_only(transaction) {
                    Ok(()) => {
                        self.finish(finish, engine, now);
                        self.follow(then, engine);
                    }
                    Err(error) => self.commit_failed(error, &then, engine),
                };
            }
            Ending::Commit(transaction) => {
                CommitMachine::new(engine, transaction, kind, durability)
            }
            Ending::Prepare(transaction, gid) => {
                CommitMachine::prepare(engine, transaction, gid, self.preparer(), durability)
            }
            Ending::Finish(state) => CommitMachine::finish(engine, state, self.pid, durability),
            Ending::Undo(state) => CommitMachine::undo(engine, state, self.pid, durability),
        };
        self.work = Work::Commit(Box::new(Commit {
            machine,
            kind,
            context: None,
            then,
            finish: Some(finish),
            failure: None,
            told: false,
            journal: Journal::passing(),
            is_waiting: false,
            awaited_replica: false,
        }));
    }

    /// Goes on to the next point of a COMMIT. `None` goes on elsewhere.
    pub(super) fn step_commit(
        &mut self,
        mut commit: Box<Commit>,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Option<Next> {
        let mut checked = Ok(());
        if commit.can_abort() {
            checked = self.interrupt_commit(&commit).map_err(Halt::Error);
        }
        if checked.is_ok() && commit.machine.deferred().is_some() {
            checked = self.check_deferred(&mut commit, engine, now);
        }
        match checked {
            Ok(()) => {}
            Err(Halt::Wait(wait)) => {
                commit.is_waiting = true;
                self.work = Work::Commit(commit);
                if let Some(activity) = engine.activity_mut(self.pid) {
                    activity.waiting = Some(wait.on);
                }
                return Some(self.wait(wait));
            }
            Err(Halt::Error(error)) => {
                let Commit { machine, then, .. } = *commit;
                machine.abort(engine);
                self.commit_failed(error, &then, engine);
                return None;
            }
        }
        if commit.machine.next_point() == Some(CommitPoint::Ready) {
            if let Some(finish) = commit.finish.take() {
                self.finish(finish, engine, now);
            }
            let then = std::mem::replace(&mut commit.then, Then::Message);
            self.unready.push(*commit);
            self.follow(then, engine);
            return None;
        }
        if commit.machine.awaits_replica(engine)
            && let Some(next) = self.await_replica(&mut commit, engine)
        {
            commit.awaited_replica = true;
            if let Some(activity) = engine.activity_mut(self.pid) {
                activity.waiting = Some(WaitOn::Replica);
            }
            self.work = Work::Commit(commit);
            return Some(next);
        }
        if std::mem::take(&mut commit.awaited_replica)
            && let Some(activity) = engine.activity_mut(self.pid)
        {
            activity.waiting = None;
        }
        match commit.machine.step(engine, now) {
            Ok(Some(point)) => {
                // In a pipeline the statements have been completed already.
                if point == CommitPoint::Completed
                    && commit.kind != CommitKind::Sync
                    && let Some(finish) = commit.finish.take()
                {
                    self.finish(finish, engine, now);
                }
                if commit.machine.undoes() {
                    match point {
                        CommitPoint::Completed => self.follow(commit.then, engine),
                        _ => self.work = Work::Commit(commit),
                    }
                    return None;
                }
                let context = self.context(&mut commit);
                self.work = Work::Commit(commit);
                Some(Next::Commit(context, point))
            }
            Ok(None) => None,
            Err(error) => {
                self.commit_failed(error, &commit.then, engine);
                None
            }
        }
    }

    /// Waits for a replica, unless a cancel or terminate has ended that: the transaction is
    /// committed all the same.
    ///
    /// Source: `SyncRepWaitForLSN`. A terminated session says why it ends before its COMMIT is
    /// finished, and nothing any more after that.
    fn await_replica(&mut self, commit: &mut Commit, engine: &mut Engine) -> Option<Next> {
        const DETAIL: &str = "The transaction has already committed locally, but might not have been replicated to the standby.";
        if self.terminated {
            if !std::mem::replace(&mut commit.told, true) {
                let warning = PgError::warning(
                    SqlState::ADMIN_SHUTDOWN,
                    "canceling the wait for synchronous replication and terminating connection due to administrator command",
                );
                self.notice(&warning.with_detail(DETAIL));
                self.flush();
                if self.due > 0 && !self.lost {
                    return Some(Next::Write);
                }
            }
            self.lost = true;
            commit.machine.forgo_replica(engine);
            return None;
        }
        if std::mem::take(&mut self.cancelled) {
            let warning = PgError::warning(
                SqlState::WARNING,
                "canceling wait for synchronous replication due to user request",
            );
            self.notice(&warning.with_detail(DETAIL));
            commit.machine.forgo_replica(engine);
            return None;
        }
        Some(self.wait(Wait {
            on: WaitOn::Replica,
            deadline: None,
        }))
    }

    /// Who the hook is told commits; made when the COMMIT is received.
    fn context(&mut self, commit: &mut Commit) -> Arc<CommitContext> {
        let machine = &commit.machine;
        let known = commit.context.get_or_insert_with(|| {
            Arc::new(CommitContext {
                number: machine.number(),
                pid: self.pid,
                xid: machine.xid(),
                prepares: machine.prepares(),
                application_name: Arc::clone(&self.known.application_name),
            })
        });
        Arc::clone(known)
    }

    /// Checks what the transaction has deferred, then asks for its turn to notify. Both may wait for
    /// others.
    fn check_deferred(
        &mut self,
        commit: &mut Commit,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Result<(), Halt> {
        let commits = !commit.machine.prepares();
        let Some(tx) = commit.machine.deferred() else {
            return Ok(());
        };
        tx.timeouts = self.known().timeouts;
        let mut context = Context {
            exec: Exec::new(engine, tx, &mut commit.journal, now),
            settings: &mut self.settings,
            database: &self.database,
            user: &self.user,
            fetch: Default::default(),
        };
        let result = sql::fire_deferred(&mut context);
        let result = result.and_then(|()| match commits {
            true => context.exec.prepare_to_notify(),
            false => Ok(()),
        });
        if result.is_ok() {
            context.exec.finish();
        }
        if !matches!(result, Err(Halt::Wait(_)))
            && std::mem::take(&mut commit.is_waiting)
            && let Some(activity) = engine.activity_mut(self.pid)
        {
            activity.waiting = None;
        }
        for notice in std::mem::take(&mut commit.journal.notices) {
            self.notice(&notice);
        }
        result
    }

    fn interrupt_commit(&mut self, commit: &Commit) -> Result<(), PgError> {
        // `statement_timeout` no longer counts (`finish_xact_command`).
        let interrupted = self.interrupt();
        interrupted.map_err(|error| commit.journal.interrupted(error))?;
        let failure = commit.failure;
        failure.map_or(Ok(()), |code| Err(PgError::injected(code)))
    }

    /// The transaction has been rolled back instead.
    fn commit_failed(&mut self, error: PgError, then: &Then, engine: &mut Engine) {
        self.settings.rollback();
        self.drop_portals(false);
        self.fail_message(error, matches!(then, Then::Message), engine);
    }

    /// What a session does when its transaction is over, before it says so.
    fn finish(&mut self, finish: Finish, engine: &mut Engine, now: Timestamp) {
        let Finish { chain, tag } = finish;
        self.settings.commit();
        self.drop_portals(true);
        if let Some(options) = chain {
            self.block = Block::Explicit(self.begin(options, engine, now));
        }
        if let Some(tag) = tag {
            write_tag(&mut self.output, tag);
        }
    }

    fn follow(&mut self, then: Then, engine: &mut Engine) {
        match then {
            Then::Script(script) => self.work = Work::Script(script),
            Then::Message => self.work = Work::Idle,
            Then::Sync => self.ready(engine),
        }
    }

    /// ReadyForQuery is written: the COMMITs before it are ready. `None` goes on elsewhere.
    pub(super) fn acknowledge(&mut self, engine: &mut Engine, now: Timestamp) -> Option<Next> {
        if self.due > 0 && !self.lost {
            self.work = Work::Acknowledge;
            return Some(Next::Write);
        }
        if self.unready.is_empty() {
            return None;
        }
        let mut commit = self.unready.remove(0);
        self.work = Work::Acknowledge;
        let reached = commit.machine.step(engine, now);
        let context = self.context(&mut commit);
        if commit.machine.next_point().is_some() {
            self.unflushed.push(commit);
        }
        match reached {
            // Nobody was told: the point was not reached.
            Ok(Some(point)) if !self.lost => Some(Next::Commit(context, point)),
            _ => None,
        }
    }

    /// When the WAL writer flushes this session's oldest asynchronous COMMIT.
    pub(super) fn flush_due(&self) -> Option<Timestamp> {
        // One COMMIT at a time is asked about; the other's flush takes this one along.
        if matches!(self.work, Work::Commit(_)) {
            return None;
        }
        let mut late = self.unflushed.iter().chain(&self.unready);
        late.find(|commit| commit.machine.is_unflushed())
            .map(Commit::flush_due)
    }

    /// Flushes an asynchronous COMMIT that is due.
    pub(super) fn flush_commit(&mut self, engine: &mut Engine, now: Timestamp) -> Option<Next> {
        if self.flush_due()? > now {
            return None;
        }
        let mut late = self.unflushed.iter_mut().chain(&mut self.unready);
        let commit = late.find(|commit| commit.machine.is_unflushed())?;
        let point = commit.machine.flush_now(engine);
        // Its context was made when it was received.
        let context = Arc::clone(commit.context.as_ref()?);
        self.unflushed
            .retain(|commit| commit.machine.next_point().is_some());
        Some(Next::Commit(context, point))
    }

    /// Ends the session: what is not committed is rolled back, what can not be is finished. What
    /// is left are COMMITs that the WAL writer has not flushed yet.
    pub fn exit(mut self, engine: &mut Engine, now: Timestamp) -> Vec<CommitMachine> {
        if let Work::Commit(commit) = std::mem::replace(&mut self.work, Work::Closing) {
            match commit.can_abort() {
                true => commit.machine.abort(engine),
                false => self.unready.push(*commit),
            }
        }
        for mut commit in self.unready.drain(..) {
            loop {
                let point = commit.machine.next_point();
                let _ = commit.machine.step(engine, now);
                if matches!(point, None | Some(CommitPoint::Ready)) {
                    break;
                }
            }
            self.unflushed.push(commit);
        }
        if let Some(transaction) = self.block.take() {
            engine.abort(transaction);
        }
        engine.end_session(self.pid);
        let machines = self.unflushed.into_iter().map(|commit| commit.machine);
        machines
            .filter(|machine| machine.next_point().is_some())
            .collect()
    }
}
