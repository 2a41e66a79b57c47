//! The gate around every task of a worker: counts await points and interrupts there.
//!
//! An await point is a `Pending` of the task's root future. The gate stands
//! between the runtime and that future, so it can stop polling it (kill, stall),
//! drop it (cancel), unwind it (raise) or mark its process (a pending exception,
//! a stop signal) right after the poll that suspended it, or right before the
//! next. What it does not hold, it cannot test: such tasks are counted.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::task::AbortHandle;
use tokio::time::Sleep;

use super::cursor::Here;
use super::locate;
use super::world::{Action, World};
use crate::history::ProcessId;
use crate::plan::{Anchor, Kind, Phase, TaskName};

/// How a gated future ended.
#[derive(Debug)]
pub(crate) enum Ended<T> {
    /// On its own.
    Done(T),
    /// Dropped at an await point.
    Cancelled,
    /// Unwound: by an exception raised at an await point, or by its own panic.
    Panicked(Arc<str>),
}

/// A future under the harness's control.
pub(crate) struct Gate<F> {
    future: Option<Pin<Box<F>>>,
    task: TaskName,
    process: ProcessId,
    /// The await point the task was last at: its process's last message then, and how often the
    /// task has waited since that message.
    anchor: Anchor,
    anchored: u32,
    offset: u32,
    /// Whether the task has waited: then the next poll resumes it.
    suspended: bool,
    stall: Option<Pin<Box<Sleep>>>,
}

/// What an exception raised in plain Rust unwinds with.
struct Raised(Arc<str>);

impl<F: Future> Gate<F> {
    pub(crate) fn new(process: ProcessId, task: TaskName, future: F) -> Gate<F> {
        let (anchor, anchored, offset) = World::with(|world| {
            world.tasks.set(world.tasks.get() + 1);
            match task.child {
                None => world.process(process, |process| process.root_waits()),
                Some(_) => (Anchor::Start, 0, 0),
            }
        });
        Gate {
            future: Some(Box::pin(future)),
            task,
            process,
            anchor,
            anchored,
            offset,
            suspended: false,
            stall: None,
        }
    }

    /// The task waits: at the next await point from its process's last message.
    fn advance(&mut self, world: &World) {
        self.offset += 1;
        world.process(self.process, |process| {
            if self.anchored != process.anchored {
                (self.anchored, self.offset) = (process.anchored, 1);
                self.anchor.clone_from(&process.anchor);
            }
            if self.task.child.is_none() {
                process.root_waited = (self.anchored, self.offset);
            }
        });
    }

    /// Shows the await point to the plan.
    fn visit(&mut self, world: &World, phase: Phase) -> Option<Kind> {
        world.fold((self.process as u64) << 40 | u64::from(self.offset) << 8 | phase as u64);
        let here = Here::Await {
            task: &self.task,
            anchor: &self.anchor,
            offset: self.offset,
            phase,
            root: self.task.child.is_none(),
        };
        world.visit(here).map(|fault| fault.kind)
    }

    /// Carries a fault out. `Some` is what the task ends with; `None`: it goes on as it may.
    fn strike(
        &mut self,
        world: &World,
        kind: Kind,
        cx: &mut Context<'_>,
    ) -> Option<Ended<F::Output>> {
        match kind {
            Kind::Cancel => {
                self.future = None;
                Some(Ended::Cancelled)
            }
            Kind::Raise(exception) if world.setup.raises(&exception) => {
                world.signal(self.process, exception);
                // A signal interrupts what the process waits for.
                cx.waker().wake_by_ref();
                None
            }
            Kind::Raise(exception) => Some(self.unwind(exception)),
            Kind::Stall(time) => {
                world.stalled.set(world.stalled.get() + 1);
                self.stall = Some(Box::pin(tokio::time::sleep(time)));
                None
            }
            Kind::Kill => {
                world.kill(self.process);
                None
            }
            Kind::Deploy => {
                world.ask(Action::Deploy(self.process));
                None
            }
            _ => unreachable!("a plan holds no {kind} at an await point: parsing refuses it"),
        }
    }

    /// Drops the future while unwinding, as a panic in it would.
    fn unwind(&mut self, exception: Arc<str>) -> Ended<F::Output> {
        let future = self.future.take();
        let caught = catch_unwind(AssertUnwindSafe(move || {
            let _unwound = future;
            // Without the panic hook: nothing is printed.
            resume_unwind(Box::new(Raised(exception)))
        }));
        match caught {
            Ok(()) => unreachable!("unwinding does not return"),
            Err(payload) => Ended::Panicked(reason(payload)),
        }
    }

    fn poll_future(&mut self, world: &World, cx: &mut Context<'_>) -> Poll<Ended<F::Output>> {
        let Some(future) = &mut self.future else {
            return Poll::Pending;
        };
        let outer = world.polling.replace(Some(self.process));
        let before = world.tasks_alive();
        world.polls.set(world.polls.get() + 1);
        let polled = match world.locating {
            false => catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))),
            true => catch_unwind(AssertUnwindSafe(|| locate::poll(future.as_mut(), cx))),
        };
        world.count_ungated(before);
        world.polling.set(outer);
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ended::Done(output)),
            Err(payload) => Poll::Ready(Ended::Panicked(reason(payload))),
        }
    }
}

impl<F: Future> Future for Gate<F> {
    type Output = Ended<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let gate = self.get_mut();
        // After the run, and after a kill, whoever still polls gets nothing.
        let Some(world) = World::current() else {
            return Poll::Pending;
        };
        if world.is_frozen(gate.process) {
            return Poll::Pending;
        }
        if let Some(stall) = &mut gate.stall {
            std::task::ready!(stall.as_mut().poll(cx));
            gate.stall = None;
            world.stalled.set(world.stalled.get() - 1);
        }
        if gate.suspended {
            gate.suspended = false;
            if let Some(kind) = gate.visit(&world, Phase::Resuming) {
                let ended = gate.strike(&world, kind, cx);
                if let Some(ended) = ended {
                    return Poll::Ready(ended);
                }
                if world.is_frozen(gate.process) || gate.stalls(cx) {
                    return Poll::Pending;
                }
            }
        }
        let polled = gate.poll_future(&world, cx);
        // Another task of the process may have been where the kill struck.
        if world.is_frozen(gate.process) {
            return Poll::Pending;
        }
        if polled.is_ready() {
            gate.future = None;
            return polled;
        }
        gate.suspended = true;
        gate.advance(&world);
        if let Some(kind) = gate.visit(&world, Phase::Suspended) {
            if world.locating {
                world.located.replace(locate::describe());
            }
            if let Some(ended) = gate.strike(&world, kind, cx) {
                return Poll::Ready(ended);
            }
            gate.stalls(cx);
        }
        Poll::Pending
    }
}

impl<F> Gate<F> {
    /// Starts the stall's clock, if there is one, so that it wakes this task.
    fn stalls(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.stall {
            Some(stall) => stall.as_mut().poll(cx).is_pending(),
            None => false,
        }
    }
}

impl<F> Drop for Gate<F> {
    fn drop(&mut self) {
        let Some(world) = World::current() else {
            return;
        };
        world.tasks.set(world.tasks.get() - 1);
        if self.stall.is_some() {
            world.stalled.set(world.stalled.get() - 1);
        }
    }
}

/// A panic's message.
fn reason(payload: Box<dyn std::any::Any + Send>) -> Arc<str> {
    if let Some(Raised(exception)) = payload.downcast_ref() {
        return format!("{exception} raised").into();
    }
    let message = payload
        .downcast_ref::<&str>()
        .map(|message| (*message).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned());
    format!("panicked: {message}").into()
}

/// A gated task that a worker spawned: cancelled and raised in, it ends as tokio's tasks do.
pub(crate) struct Child<F> {
    gate: Gate<F>,
    abort: Arc<std::sync::OnceLock<AbortHandle>>,
}

impl<F: Future> Child<F> {
    /// The task, and where its own handle must be put once it is spawned.
    pub(crate) fn new(gate: Gate<F>) -> (Child<F>, Arc<std::sync::OnceLock<AbortHandle>>) {
        let abort = Arc::default();
        let child = Child {
            gate,
            abort: Arc::clone(&abort),
        };
        (child, abort)
    }
}

impl<F: Future> Future for Child<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let child = self.get_mut();
        match std::task::ready!(Pin::new(&mut child.gate).poll(cx)) {
            Ended::Done(output) => Poll::Ready(output),
            Ended::Cancelled => {
                if let Some(abort) = child.abort.get() {
                    abort.abort();
                }
                Poll::Pending
            }
            Ended::Panicked(reason) => resume_unwind(Box::new(reason.to_string())),
        }
    }
}

impl World {
    /// Tasks that tokio knows of in this host's runtime; gated ones are not among them.
    fn tasks_alive(&self) -> usize {
        // Asked in fault-free runs only: it is not free.
        match self.cursor.borrow().recorder {
            Some(_) => tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks(),
            None => 0,
        }
    }

    fn count_ungated(&self, before: usize) {
        let more = self.tasks_alive().saturating_sub(before);
        self.ungated.set(self.ungated.get() + more);
    }
}
