//! An exact kill, as small as it can be.
//!
//! Points are counted over all tasks of a process: each time one is suspended, and
//! each time it is about to resume. At the point chosen the process freezes: none
//! of its tasks is polled any more, so it sends nothing.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::sync::Notify;

/// A process that is killed at most once, and restarted.
#[derive(Default)]
pub(crate) struct Process {
    /// Points passed so far.
    passed: Cell<usize>,
    /// Where it is killed: after so many points.
    kill_after: Cell<Option<usize>>,
    frozen: Cell<bool>,
    /// Whether the work has been done.
    done: Cell<bool>,
    /// Tasks that have not ended.
    tasks: Cell<usize>,
    /// Rung when it may have come to its end, by itself or killed.
    pub(crate) stopped: Notify,
}

impl Process {
    /// A process to be killed after so many points, or never.
    pub(crate) fn new(kill_after: Option<usize>) -> Rc<Process> {
        Rc::new(Process {
            kill_after: Cell::new(kill_after),
            ..Process::default()
        })
    }

    pub(crate) fn passed(&self) -> usize {
        self.passed.get()
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.get()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done.get()
    }

    /// Whether nothing is left to be done, farewells to the server included.
    pub(crate) fn is_over(&self) -> bool {
        self.done.get() && self.tasks.get() == 0
    }

    pub(crate) fn note_done(&self) {
        self.done.set(true);
    }

    /// The process lives again; its old tasks have been dropped.
    pub(crate) fn restart(&self) {
        self.frozen.set(false);
    }

    /// Passes a point; true if the process is killed there.
    fn pass(&self) -> bool {
        let nth = self.passed.replace(self.passed.get() + 1);
        let killed = self.kill_after.get() == Some(nth);
        if killed {
            self.frozen.set(true);
            self.stopped.notify_one();
        }
        killed
    }
}

/// A task of a process.
pub(crate) struct Gate<F> {
    process: Rc<Process>,
    future: Pin<Box<F>>,
    suspended: bool,
}

impl<F: Future> Gate<F> {
    pub(crate) fn new(process: &Rc<Process>, future: F) -> Gate<F> {
        process.tasks.set(process.tasks.get() + 1);
        Gate {
            process: process.clone(),
            future: Box::pin(future),
            suspended: false,
        }
    }
}

impl<F: Future> Future for Gate<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let gate = &mut *self;
        let process = &gate.process;
        if process.is_frozen() || (gate.suspended && process.pass()) {
            return Poll::Pending;
        }
        let polled = gate.future.as_mut().poll(cx);
        gate.suspended = polled.is_pending();
        if gate.suspended {
            let _killed = process.pass();
        }
        polled
    }
}

impl<F> Drop for Gate<F> {
    fn drop(&mut self) {
        self.process.tasks.set(self.process.tasks.get() - 1);
        self.process.stopped.notify_one();
    }
}
