//! One client's session, sans I/O: bytes in, bytes out, or a wait.
//!
//! `Session::advance` goes on until it needs its caller: for bytes, for a write, for time, for
//! another session, or for a decision at a point of a COMMIT. What it is in the middle of is a
//! value, `Work`, so it can be left there for ever. Replies gather in `output`; they are written
//! when the next thing to do is to wait for something.
//!
//! After letting a client in come the two protocols, then what they share: statements, prepared and
//! fetched piece by piece, the transaction block, its end, and what is written.

mod startup;
mod authentication;
pub(crate) mod password;
mod known;
mod simple;
mod extended;
mod parameters;
mod prepared;
mod execute;
mod portal;
mod cursor;
mod copy;
mod run;
mod block;
mod hook;
mod commit;
mod reply;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, BytesMut};

pub use authentication::Authentication;
pub use hook::{CommitAction, CommitContext, CommitHook, Undisturbed};

use crate::engine::{CommitPoint, Engine, Halt, Journal, Pid, SearchPath, Timestamp, Wait};
use crate::error::{PgError, Severity, SqlState};
use crate::sql::settings::Settings;
use crate::types::Datum;
use crate::wire::frontend::{self, BadFrame, Message};
use authentication::Asking;
use block::Block;
use commit::Commit;
use execute::Execution;
use known::Known;
use portal::Portal;
use prepared::PreparedStatement;
use simple::Script;

/// What a session needs before it can go on.
#[derive(Debug)]
pub enum Next {
    /// More bytes: `receive` or `eof`, then `advance`.
    Read,
    /// `take_output` is to be written, all of it; then `advance`.
    Write,
    /// To be advanced again when woken or at the deadline.
    Wait(Wait),
    /// A COMMIT has reached this point: `resume` with the hook's answer, then `advance`.
    Commit(Arc<CommitContext>, CommitPoint),
    /// This connection only asks to cancel what another session runs; it closes now.
    CancelRequest {
        /// Whose statement.
        pid: Pid,
        /// The secret that allows it.
        key: i32,
    },
    /// The session is over: hang up.
    Close,
}

/// Room for the replies that most exchanges need.
const OUTPUT_FIRST: usize = 1 << 10;

/// How much may gather before it is written, whatever else has been asked for.
const OUTPUT_MAX: usize = 1 << 20;

/// One client's session.
#[derive(Debug)]
pub struct Session {
    pid: Pid,
    key: i32,
    authentication: Authentication,
    input: BytesMut,
    output: BytesMut,
    /// So many bytes at the head of the output may not wait for more.
    due: usize,
    /// The client will send no more.
    ended: bool,
    /// The client has closed abortively: what it has sent is still read, but no answer arrives.
    reset: bool,
    /// Nothing can be written any more, and that has been noticed.
    lost: bool,
    cancelled: bool,
    terminated: bool,
    let_in: bool,
    /// What the startup packet is answered with, if the server wants no more clients.
    refusal: Option<Box<PgError>>,
    /// After an error in the extended protocol everything up to Sync is skipped.
    skipping: bool,
    work: Work,
    block: Block,
    /// The time at which it was last advanced.
    now: Timestamp,
    /// Since when it has been waiting for a message, after ReadyForQuery.
    idle_since: Option<Timestamp>,
    /// When `statement_timeout` ends what has been going on since the last Sync.
    timer: Option<Timestamp>,
    /// A message of the extended protocol has begun what Sync will end.
    pipelining: bool,
    /// Whether a query has run in this transaction: its modes are fixed then.
    queried: bool,
    /// An Execute has ended or been suspended in this transaction (`XACT_FLAGS_PIPELINING`).
    executed: bool,
    /// COMMITs that are complete, but for which no ReadyForQuery has been written yet.
    unready: Vec<Commit>,
    /// Asynchronous COMMITs that are answered, but not flushed.
    unflushed: Vec<Commit>,
    statements: BTreeMap<String, Arc<PreparedStatement>>,
    unnamed_statement: Option<Arc<PreparedStatement>>,
    portals: BTreeMap<String, Portal>,
    /// A DECLARE waits for the tables of its query.
    declaring: Option<Box<Journal>>,
    unnamed_portal: Option<Portal>,
    user: Arc<str>,
    database: Arc<str>,
    /// Where its names are looked up.
    path: Arc<SearchPath>,
    settings: Settings,
    /// The settings as the client knows them.
    reported: Settings,
    known: Known,
    /// The rows that a portal had found when it failed.
    found: Vec<Vec<Datum>>,
    /// Room for the text of a value.
    scratch: String,
}

/// What a session is in the middle of.
#[derive(Debug)]
enum Work {
    /// The client has not introduced itself.
    Opening(startup::Asked),
    /// It has, and is asked for a password.
    Authenticating(Box<Asking>),
    /// Between two messages.
    Idle,
    /// A script of the simple protocol.
    Script(Box<Script>),
    /// An Execute of the extended protocol.
    Execute(Execution),
    /// The next message, whose statement waits for the tables it is analysed with.
    Analysis(Box<Journal>),
    /// A COMMIT between two points.
    Commit(Box<Commit>),
    /// ReadyForQuery is to be written: the COMMITs before it are `ready` then.
    Acknowledge,
    /// Once what is due has been written, there is nothing left to do.
    Closing,
}

impl Session {
    /// A session before its startup packet.
    pub fn new(pid: Pid, key: i32) -> Session {
        let settings = Settings::default();
        Session {
            pid,
            key,
            authentication: Authentication::Trust,
            input: BytesMut::new(),
            output: BytesMut::with_capacity(OUTPUT_FIRST),
            due: 0,
            ended: false,
            reset: false,
            lost: false,
            cancelled: false,
            terminated: false,
            let_in: false,
            refusal: None,
            skipping: false,
            work: Work::Opening(startup::Asked::default()),
            block: Block::None,
            now: Timestamp::default(),
            idle_since: None,
            timer: None,
            pipelining: false,
            queried: false,
            executed: false,
            unready: Vec::new(),
            unflushed: Vec::new(),
            statements: BTreeMap::new(),
            unnamed_statement: None,
            portals: BTreeMap::new(),
            declaring: None,
            unnamed_portal: None,
            user: Arc::default(),
            database: Arc::default(),
            path: Arc::new(SearchPath::standard().clone()),
            known: Known::of(&settings),
            reported: settings.clone(),
            settings,
            found: Vec::new(),
            scratch: String::new(),
        }
    }

    /// Demands this of its client.
    pub fn demand(&mut self, authentication: Authentication) {
        self.authentication = authentication;
    }

    /// The secret that allows to cancel.
    pub fn key(&self) -> i32 {
        self.key
    }

    /// Whether the client got past its startup packet.
    pub fn is_let_in(&self) -> bool {
        self.let_in
    }

    /// Has the startup packet answered with this error. Cancel requests are heard all the same.
    pub(crate) fn refuse(&mut self, error: PgError) {
        self.refusal = Some(Box::new(error));
    }

    /// SIGQUIT: a word of warning, and nothing else is done.
    ///
    /// Source: `quickdie` in `tcop/postgres.c`.
    pub(crate) fn quit(&mut self, warning: &PgError) {
        if self.let_in {
            self.report(warning);
            self.flush();
        }
        self.hang_up();
    }

    /// Whether a transaction is open, failed or being committed.
    pub fn in_transaction(&self) -> bool {
        !matches!(self.block, Block::None) || matches!(self.work, Work::Commit(_))
    }

    /// Whether its statement waits for another session, or for time to pass.
    pub fn is_waiting(&self) -> bool {
        match &self.work {
            Work::Script(script) => script.is_waiting(),
            Work::Execute(execution) => execution.is_waiting(),
            Work::Analysis(_) => true,
            Work::Commit(commit) => commit.is_waiting(),
            _ => false,
        }
    }

    /// What it calls itself.
    pub fn application_name(&self) -> &str {
        &self.known.application_name
    }

    /// Whether a terminate is pending.
    pub fn is_terminated(&self) -> bool {
        self.terminated
    }

    /// Whether the COMMIT it is in the middle of can still fail.
    pub fn can_abort(&self) -> bool {
        matches!(&self.work, Work::Commit(commit) if commit.can_abort())
    }

    /// When it wants to be advanced even if nothing arrives: an asynchronous COMMIT is to be
    /// flushed, or a block has been idle for too long.
    pub fn deadline(&self) -> Option<Timestamp> {
        let deadlines = [self.flush_due(), self.idle_until()];
        deadlines.into_iter().flatten().min()
    }

    fn idle_until(&self) -> Option<Timestamp> {
        let patience = match self.block {
            Block::Explicit(_) | Block::Failed(_) => self.known.idle_in_transaction_timeout,
            Block::None | Block::Implicit(_) => self.known.idle_session_timeout,
        };
        Some(self.idle_since?.after(patience?))
    }

    /// Whether it is in the middle of a COMMIT, or has just told its client of one.
    pub fn is_committing(&self) -> bool {
        matches!(self.work, Work::Commit(_) | Work::Acknowledge)
    }

    /// Whether a cancel or terminate ends that COMMIT now.
    pub fn is_interrupted(&self) -> bool {
        self.can_abort() && (self.cancelled || self.terminated)
    }

    /// Takes all of `bytes` in.
    pub fn receive(&mut self, bytes: &mut BytesMut) {
        if self.input.is_empty() {
            std::mem::swap(&mut self.input, bytes);
        } else {
            self.input.extend_from_slice(bytes);
        }
        bytes.clear();
    }

    /// The client will send no more: what it has sent is still done.
    pub fn eof(&mut self) {
        self.ended = true;
    }

    /// The client has closed abortively. What was read before is run up to the first answer that
    /// does not arrive.
    pub fn reset(&mut self) {
        (self.ended, self.reset) = (true, true);
    }

    /// Nothing can be written any more: the session ends at the next chance.
    ///
    /// Source: `internal_flush` in `libpq/pqcomm.c` sets `ClientConnectionLost`.
    pub fn lost(&mut self) {
        self.lost = true;
    }

    /// A cancel request. It ends what is running, if something is.
    pub fn cancel(&mut self) {
        self.cancelled = true;
    }

    /// `pg_terminate_backend`: the session ends at the next chance.
    pub fn terminate(&mut self) {
        self.terminated = true;
    }

    /// The hook's answer to `Next::Commit`. A crash and a stay are the caller's to arrange.
    pub fn resume(&mut self, action: CommitAction) {
        match action {
            CommitAction::GoOn | CommitAction::Dwell(_) | CommitAction::Crash => (),
            CommitAction::Cancel => self.cancelled = true,
            CommitAction::Terminate => self.terminated = true,
            CommitAction::Fail(code) => {
                if let Work::Commit(commit) = &mut self.work {
                    commit.fail(code);
                }
            }
        }
    }

    /// Moves what is to be written to the end of `into`.
    pub fn take_output(&mut self, into: &mut BytesMut) {
        if into.is_empty() && self.due == self.output.len() {
            std::mem::swap(into, &mut self.output);
        } else {
            into.extend_from_slice(&self.output[..self.due]);
            self.output.advance(self.due);
        }
        self.due = 0;
    }

    /// Goes on until the caller is needed.
    pub fn advance(&mut self, engine: &mut Engine, now: Timestamp) -> Next {
        self.now = now;
        if let Some(next) = self.flush_commit(engine, now) {
            return next;
        }
        loop {
            let next = match std::mem::replace(&mut self.work, Work::Idle) {
                Work::Idle => self.message(engine, now),
                Work::Script(script) => self.run_script(script, engine, now),
                Work::Execute(execution) => self.run_portal(execution, engine, now),
                Work::Analysis(journal) => self.handle(Some(journal), engine, now),
                Work::Commit(commit) => self.step_commit(commit, engine, now),
                Work::Acknowledge => self.acknowledge(engine, now),
                Work::Opening(asked) => self.open(asked, engine),
                Work::Authenticating(asking) => self.authenticate(asking, engine),
                Work::Closing => {
                    self.work = Work::Closing;
                    let written = self.due == 0 || self.lost;
                    Some(if written { Next::Close } else { Next::Write })
                }
            };
            match next {
                Some(Next::Write) if self.reset => {
                    (self.due, self.lost) = (0, true);
                    self.output.clear();
                }
                Some(next) => return next,
                None => {}
            }
        }
    }

    /// Handles the next message. `None` goes on.
    fn message(&mut self, engine: &mut Engine, now: Timestamp) -> Option<Next> {
        // A cancel that finds nothing running is forgotten.
        self.hear_self(engine);
        self.cancelled = false;
        if self.lost {
            self.hang_up();
            return None;
        }
        if self.terminated {
            self.fatal(PgError::admin_shutdown());
            return None;
        }
        // Who asks for much in one go and does not read is answered no further.
        if self.output.len() >= OUTPUT_MAX {
            self.flush();
            return Some(Next::Write);
        }
        self.handle(None, engine, now)
    }

    /// The same; with the journal of its analysis if that had to wait.
    fn handle(
        &mut self,
        waited: Option<Box<Journal>>,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Option<Next> {
        let frame = match frontend::frame(&self.input) {
            Ok(Some(frame)) => frame,
            Ok(None) => return self.idle(engine, now),
            Err(BadFrame::UnknownType(tag)) => {
                self.fatal(PgError::protocol_violation(format!(
                    "invalid frontend message type {tag}"
                )));
                return None;
            }
            // The real server only logs it.
            Err(BadFrame::Length) => {
                self.hang_up();
                return None;
            }
        };
        self.idle_since = None;
        let mut input = std::mem::take(&mut self.input);
        let extended = frontend::is_extended(frame.tag);
        if self.timer.is_some_and(|timer| timer <= now) {
            // It had to wait until the message was read, and takes its place.
            self.skipping = false;
            self.fail_message(PgError::statement_timeout(), extended, engine);
        } else if !self.skipping || matches!(frame.tag, b'S' | b'X') {
            self.skipping = false;
            match frontend::parse(frame.tag, frame.body(&input)) {
                Ok(message) => {
                    if let Some(wait) = self.dispatch(message, waited, engine, now) {
                        self.input = input;
                        return Some(self.wait(wait));
                    }
                }
                Err(malformed) => {
                    let code = malformed
                        .sqlstate()
                        .parse()
                        .unwrap_or(SqlState::PROTOCOL_VIOLATION);
                    let error = PgError::new(code, malformed.to_string());
                    self.fail_message(error, extended, engine);
                }
            }
        }
        input.advance(frame.length);
        self.input = input;
        None
    }

    /// Gives what it waits for if the message is not over.
    fn dispatch(
        &mut self,
        message: Message<'_>,
        waited: Option<Box<Journal>>,
        engine: &mut Engine,
        now: Timestamp,
    ) -> Option<Wait> {
        let mut done = Ok(());
        match message {
            Message::Parse { name, query, types } => {
                done = self.parse(name, query, &types, waited, engine, now);
            }
            Message::Bind(bind) => done = self.bind(&bind, waited, engine, now),
            Message::Describe(target, name) => {
                done = self.describe(target, name, engine, now).map_err(Halt::from);
            }
            Message::Execute { portal, rows_max } => {
                done = self
                    .execute(portal, rows_max, engine, now)
                    .map_err(Halt::from);
            }
            Message::Close(target, name) => self.close(target, name),
            Message::Flush => self.flush(),
            Message::Query(sql) => self.query(sql, engine),
            Message::Sync => self.sync(engine, now),
            Message::Terminate => self.work = Work::Closing,
            Message::FunctionCall => {
                let error = PgError::feature_not_supported("function calls by fast path");
                self.fail_message(error, false, engine);
            }
            Message::Copy => {}
        }
        match done {
            Ok(()) => {}
            Err(Halt::Error(error)) => self.fail_message(error, true, engine),
            Err(Halt::Wait(wait)) => return Some(wait),
        }
        None
    }

    /// What an error does after which the message is over: the transaction fails; a message of
    /// the extended protocol skips to Sync, another one gets its ReadyForQuery.
    fn fail_message(&mut self, error: PgError, extended: bool, engine: &mut Engine) {
        if error.severity >= Severity::Fatal {
            return self.fatal(error);
        }
        self.fail(error, engine);
        self.end_command();
        if extended {
            self.skipping = true;
        } else {
            self.ready(engine);
        }
    }

    /// Waits for the next message, after ReadyForQuery perhaps not for ever.
    fn idle(&mut self, engine: &mut Engine, now: Timestamp) -> Option<Next> {
        if !self.pipelining && engine.is_notified(self.pid) && matches!(self.block, Block::None) {
            self.tell_notifications(engine);
            self.flush();
        }
        if self.idle_until().is_some_and(|until| until <= now) {
            self.fatal(match self.block {
                Block::Explicit(_) | Block::Failed(_) => PgError::idle_in_transaction_timeout(),
                Block::None | Block::Implicit(_) => PgError::idle_session_timeout(),
            });
            return None;
        }
        self.read()
    }

    /// Something begins that `statement_timeout` limits.
    ///
    /// Source: `start_xact_command`, which starts the clock unless it is running.
    fn begin_command(&mut self) {
        if self.timer.is_none()
            && let Some(patience) = self.known().statement_timeout
        {
            self.timer = Some(self.now.after(patience));
        }
    }

    /// It is over: `finish_xact_command`.
    fn end_command(&mut self) {
        self.timer = None;
        self.pipelining = false;
    }

    /// Waits for bytes, once everything that may not wait is written.
    fn read(&mut self) -> Option<Next> {
        if self.due > 0 {
            return Some(Next::Write);
        }
        if self.ended {
            self.hang_up();
            return None;
        }
        Some(Next::Read)
    }

    /// Waits, once everything that may not wait is written.
    fn wait(&self, wait: Wait) -> Next {
        if self.due > 0 {
            Next::Write
        } else {
            Next::Wait(wait)
        }
    }

    /// Replies written so far may not wait for later ones.
    fn flush(&mut self) {
        self.due = self.output.len();
    }

    /// Ends without a word.
    fn hang_up(&mut self) {
        self.work = Work::Closing;
    }

    /// Says why, and hangs up.
    fn fatal(&mut self, error: PgError) {
        self.report(&error.fatal());
        self.flush();
        self.work = Work::Closing;
    }
}
