//! What the server asks the desk at each point of a COMMIT, and how it does what it is told.

use std::rc::Rc;
use std::sync::Arc;

use fake_pg::engine::{CommitPoint, Engine, Pid};
use fake_pg::session::{CommitAction, CommitContext, CommitHook};
use tokio::sync::Notify;

use crate::live::desk::{Author, Desk};
use crate::live::fault::{Action, Point};
use crate::live::link::FOR_EVER;
use crate::live::listen::Clock;

/// The desk at the points of a COMMIT.
pub(super) struct Hook {
    pub(super) desk: Arc<Desk>,
    pub(super) clock: Clock,
    /// Rings when the server goes down.
    pub(super) crashed: Rc<Notify>,
}

impl CommitHook for Hook {
    fn reached(
        &mut self,
        commit: &CommitContext,
        point: CommitPoint,
        engine: &mut Engine,
    ) -> CommitAction {
        // Who only reads, and who asks the desk, is not looked at; nor is PREPARE TRANSACTION, which
        // commits nothing.
        let Some(xid) = commit.xid.filter(|_| !commit.prepares) else {
            return CommitAction::GoOn;
        };
        let pid = commit.pid;
        match point {
            // In a pipeline CommandComplete is written before the COMMIT is received.
            CommitPoint::Received | CommitPoint::Completed => {
                let author = Author {
                    server_number: commit.number.0,
                    xid: Some(xid.0 as i64),
                    pid,
                    application_name: commit.application_name.clone(),
                };
                self.desk.begin(&author, self.clock.now());
                self.watch_reply(pid, point);
            }
            CommitPoint::Visible => self.desk.committed(pid, self.clock.now()),
            CommitPoint::Ready => {
                if let Some(link) = self.desk.link(pid) {
                    link.answered();
                    if !link.is_cut() {
                        self.desk.acknowledged(pid);
                    }
                }
            }
            _ => {}
        }
        let action = self.desk.reached(pid, Point::Step(point));
        action.map_or(CommitAction::GoOn, |action| {
            self.act(action, pid, point, engine)
        })
    }

    fn holds(&self, pid: Pid) -> bool {
        self.desk.holds(pid)
    }
}

impl Hook {
    /// Has the answer cut at a byte, if that is armed: what is written from now on is the answer.
    fn watch_reply(&self, pid: Pid, point: CommitPoint) {
        if point == CommitPoint::Received
            && let Some(watch) = self.desk.reply_fault(pid)
            && let Some(link) = self.desk.link(pid)
        {
            link.watch(watch, 0, self.desk.clone());
        }
    }

    fn act(
        &self,
        action: Action,
        pid: Pid,
        point: CommitPoint,
        engine: &mut Engine,
    ) -> CommitAction {
        match action {
            Action::Cut(cut) => {
                if let Some(link) = self.desk.link(pid) {
                    link.cut(cut);
                }
                // Here the request is lost with the connection, as in front of a real server; from
                // the next point on the server has it, and finishes it.
                match point {
                    CommitPoint::Received => CommitAction::Terminate,
                    _ => CommitAction::GoOn,
                }
            }
            Action::Delay(time) => CommitAction::Dwell(time),
            Action::Pause => {
                for waiting in self.desk.take_waiting() {
                    engine.wake(waiting);
                }
                CommitAction::Dwell(FOR_EVER)
            }
            Action::Crash => {
                self.crashed.notify_one();
                CommitAction::Crash
            }
            Action::Fail(code) => CommitAction::Fail(code),
            Action::Cancel => CommitAction::Cancel,
            Action::Terminate => CommitAction::Terminate,
        }
    }
}
