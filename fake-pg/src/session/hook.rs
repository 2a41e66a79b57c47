//! What an owner of the server may do at each point of each COMMIT.
//!
//! The hook is asked when a point has been reached and before anything later happens, so an
//! answer takes effect exactly between two points.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::{CommitNumber, CommitPoint, Engine, Pid, Xid};
use crate::error::SqlState;

/// Asked at every point that a COMMIT reaches.
pub trait CommitHook {
    /// Says what happens now that `commit` has reached `point`.
    fn reached(
        &mut self,
        commit: &CommitContext,
        point: CommitPoint,
        engine: &mut Engine,
    ) -> CommitAction;

    /// Whether a COMMIT that was told to dwell must still stay there. Asked whenever the session is
    /// woken ([`Engine::wake`]): a stay can end before its time.
    fn holds(&self, pid: Pid) -> bool {
        let _ = pid;
        true
    }
}

/// Which COMMIT has reached a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitContext {
    /// Counted over the server's whole life.
    pub number: CommitNumber,
    /// The session that commits.
    pub pid: Pid,
    /// The transaction's id, if it was given one: a read-only transaction has none.
    pub xid: Option<Xid>,
    /// Whether it is a PREPARE TRANSACTION, which makes nothing visible yet.
    pub prepares: bool,
    /// The session's `application_name` at `received`.
    pub application_name: Arc<str>,
}

/// What a hook has happen at a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitAction {
    /// Nothing: on to the next point.
    GoOn,
    /// The COMMIT stays at this point for a while. Before interrupts are held, a cancel or a
    /// terminate ends the stay.
    Dwell(Duration),
    /// The server is gone at once: no session advances, nothing more is written.
    Crash,
    /// The COMMIT fails with this SQLSTATE. From `interrupts-held` on no error can be raised any
    /// more: the real server panics, so this is a crash then.
    Fail(SqlState),
    /// A cancel request arrives now. From `interrupts-held` on it comes too late.
    Cancel,
    /// `pg_terminate_backend` arrives now. From `interrupts-held` on the COMMIT is finished first.
    Terminate,
}

/// The hook of a server that nobody disturbs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Undisturbed;

impl CommitHook for Undisturbed {
    fn reached(&mut self, _: &CommitContext, _: CommitPoint, _: &mut Engine) -> CommitAction {
        CommitAction::GoOn
    }
}
