//! The supervisor of a worker's process: hands it jobs, one at a time, and notes how they end.
//!
//! The supervisor is the root of the process's host. It is not behind the gate;
//! all it runs for the worker is. When it has nothing more to hand out the process
//! is over, and what it has left running is over too, as when `main` returns.

use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::JoinError;

use super::env::Env;
use super::gate::{Ended, Gate};
use super::system::{Work, WorkerResult};
use super::world::{Slot, World};
use crate::history::{ProcessId, What};
use crate::plan::TaskName;

/// The root of a worker's host.
pub(crate) async fn supervise(slot: Slot, host: Rc<str>) {
    let (process, work, takes_jobs) = World::with(|world| {
        let spec = &world.setup.system.workers[slot.worker];
        (
            world.begin_process(slot, &host),
            spec.work.clone(),
            spec.takes_jobs,
        )
    });
    match takes_jobs {
        true => take_jobs(process, &work).await,
        false => run_forever(process, &work).await,
    }
    World::with(|world| world.exit(process));
    // Its host ends at the end of the step.
    std::future::pending().await
}

/// Takes jobs until the process is told to stop.
async fn take_jobs(process: ProcessId, work: &Work) {
    while let Some(job) = next_job(process).await {
        World::with(|world| {
            world.process(process, |p| p.job = Some(job.clone()));
            world.log(What::Invoke {
                process,
                job: job.clone(),
            });
        });
        let ended = run(process, job.clone(), work).await;
        World::with(|world| {
            let ok = matches!(ended, Ended::Done(Ok(())));
            world.process(process, |p| p.job = None);
            world.log(outcome(process, job.clone(), ended));
            world.end_attempt(job, ok);
        });
    }
}

/// Runs a daemon again whenever it returns, until the process is told to stop.
async fn run_forever(process: ProcessId, work: &Work) {
    let nothing: Arc<str> = "".into();
    loop {
        let ended = run(process, nothing.clone(), work).await;
        let (stopping, pause) = World::with(|world| {
            if !matches!(ended, Ended::Done(Ok(()))) {
                world.log(outcome(process, nothing.clone(), ended));
            }
            let stopping = world.process(process, |p| p.stopping);
            (stopping, world.setup.system.redelivery_delay)
        });
        if stopping {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

async fn next_job(process: ProcessId) -> Option<Arc<str>> {
    loop {
        let (job, stopping, ready, stop) = World::with(|world| {
            let (stopping, frozen, stop) =
                world.process(process, |p| (p.stopping, p.frozen, p.stop.clone()));
            // A killed process has until the end of the tick, and takes nothing with it.
            let job = match stopping || frozen {
                true => None,
                false => world.jobs.borrow_mut().waiting.pop_front(),
            };
            (job, stopping, world.job_ready.clone(), stop)
        });
        if job.is_some() || stopping {
            return job;
        }
        tokio::select! {
            biased;
            () = ready.notified() => {}
            () = stop.notified() => {}
        }
    }
}

/// One call of the worker's code, behind the gate.
async fn run(process: ProcessId, job: Arc<str>, work: &Work) -> Ended<WorkerResult> {
    let task = TaskName {
        process: World::with(|world| world.process(process, |p| p.name.clone())),
        child: None,
    };
    let future = work(Env::new(process, job));
    Gate::new(process, task, future).await
}

fn outcome(process: ProcessId, job: Arc<str>, ended: Ended<WorkerResult>) -> What {
    match ended {
        Ended::Done(Ok(())) => What::Ok { process, job },
        Ended::Done(Err(error)) => What::Fail {
            process,
            job,
            error: describe(&*error).into(),
        },
        Ended::Cancelled => What::Info {
            process,
            job,
            reason: "cancelled".into(),
        },
        Ended::Panicked(reason) => What::Info {
            process,
            job,
            reason,
        },
    }
}

/// An error and its causes, outermost first.
fn describe(error: &(dyn Error + 'static)) -> String {
    let mut text = in_words(error);
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = in_words(error);
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// What an error says, without what differs from run to run: tokio numbers its tasks over the whole
/// process, and the end of one is told by its number.
fn in_words(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref::<JoinError>() {
        Some(ended) if ended.is_cancelled() => "a spawned task was cancelled".to_owned(),
        Some(_) => "a spawned task panicked".to_owned(),
        None => error.to_string(),
    }
}
