//! The run without faults: the points there are, and whether checking it can mean anything.
//!
//! A check that cannot fail proves nothing. So a baseline without a commit, or
//! without anything owed, is an error; so is one that differs when run again; and
//! controls that break a promise on purpose must be caught by the oracles.

use std::fmt::Write as _;
use std::sync::Arc;

use super::ExploreError;
use crate::history::{Event, History, Times, What};
use crate::oracle::{Judgement, Verdict, judge};
use crate::plan::Plan;
use crate::replay;
use crate::scenario::Scenario;
use crate::seed::Seed;
use crate::sim::{self, Control, Order, Recorded, Setup};

/// The run without faults.
pub(crate) struct Baseline {
    pub(crate) setup: Arc<Setup>,
    pub(crate) history: History,
    pub(crate) judgement: Judgement,
    pub(crate) points: Vec<Recorded>,
    pub(crate) ungated: usize,
    /// What the controls that were run had to be rejected as, and were.
    pub(crate) controls: Vec<Verdict>,
}

/// Runs the scenario without faults, twice, and against its controls.
pub(crate) fn baseline(scenario: &Scenario) -> Result<Baseline, ExploreError> {
    let setup = Setup::new(&scenario.system).map_err(ExploreError::Unusable)?;
    let order = Order {
        record: true,
        ..Order::default()
    };
    let shared = Arc::new(setup.clone());
    let run = replay::accept(&shared, &Plan::faultless(), sim::run(&shared, &order))?;
    let again = sim::run(&shared, &order);
    same(&run.history, &again.history)?;
    guard(scenario, &run.history)?;
    let setup = Arc::new(setup.with_ok_commits(all_ok_jobs_commit(&run.history)));
    let mut history = run.history;
    history.promises = setup.promises.clone();
    let judgement = judge(&history);
    let controls = control(&setup, &judgement)?;
    if scenario.strict && run.ungated > 0 {
        return Err(ExploreError::Ungated(run.ungated));
    }
    Ok(Baseline {
        setup,
        history,
        judgement,
        points: run.points,
        ungated: run.ungated,
        controls,
    })
}

/// Whether every job that ended ok had made a writing commit: then one that has not was deceived.
pub(crate) fn all_ok_jobs_commit(history: &History) -> bool {
    let mut committed = Vec::new();
    let mut ok = Vec::new();
    for event in &history.events {
        match &event.what {
            What::Committed {
                job: Some(job),
                writes: true,
                ..
            } => committed.push(job),
            What::Ok { job, .. } => ok.push(job),
            _ => {}
        }
    }
    !ok.is_empty() && ok.iter().all(|job| committed.contains(job))
}

pub(super) fn guard(scenario: &Scenario, history: &History) -> Result<(), ExploreError> {
    let any = |is: fn(&What) -> bool| history.events.iter().any(|event| is(&event.what));
    if !any(|what| matches!(what, What::Committed { .. })) {
        return Err(ExploreError::NoCommit(why_no_commit(scenario, history)));
    }
    let promises = &scenario.system.promises;
    if !scenario.owes_nothing && promises.is_empty() {
        return Err(ExploreError::NoPromise);
    }
    if !scenario.owes_nothing && !any(|what| matches!(what, What::Owed { .. })) {
        return Err(ExploreError::NothingOwed);
    }
    Ok(())
}

/// What is the likeliest reason.
fn why_no_commit(scenario: &Scenario, history: &History) -> String {
    let system = &scenario.system;
    if system.workers.is_empty() {
        return "it has no worker: declare one by `.worker(name, async |env| …)`".to_owned();
    }
    if system.jobs.is_empty() && system.workers.iter().any(|worker| worker.takes_jobs) {
        return "there are no jobs for its worker: give it some by `.jobs([…])`".to_owned();
    }
    let name = |process: usize| &history.processes[process].name;
    let ends = history.events.iter().find_map(|event| match &event.what {
        What::Fail { process, error, .. } => Some((*process, error)),
        What::Info {
            process, reason, ..
        } => Some((*process, reason)),
        _ => None,
    });
    let unfinished = |event: &Event| matches!(event.what, What::Unfinished { .. });
    match ends {
        Some((process, why)) => format!("`{}` does not end ok: {why}", name(process)),
        None if history.events.iter().any(unfinished) => {
            let limit = system.limit;
            format!(
                "no job was done when the run's {limit:?} were over: `.settle(quiet, limit)` gives it more"
            )
        }
        None => {
            "every job ends ok, and none has written anything in a transaction of `pg`".to_owned()
        }
    }
}

/// Breaks promises on purpose, and tells how.
fn control(setup: &Arc<Setup>, plain: &Judgement) -> Result<Vec<Verdict>, ExploreError> {
    let times: Vec<Times> = setup
        .promises
        .owed
        .iter()
        .map(|(_, times)| *times)
        .collect();
    let mut controls = Vec::new();
    if times.iter().any(|times| *times != Times::AtMostOnce) {
        controls.push((Control::Drop, Verdict::Lost));
    }
    if times.iter().any(|times| *times != Times::AtLeastOnce) {
        controls.push((Control::Double, Verdict::Duplicated));
    }
    if controls.is_empty() {
        controls.push((Control::Forget, Verdict::Undurable));
    }
    let mut told = Vec::new();
    for (control, verdict) in controls {
        let setup = Arc::new(setup.with_control(control));
        let judgement = judge(&sim::run(&setup, &Order::default()).history);
        let caught = match plain.is_ok() {
            true => judgement.findings.iter().any(|f| f.verdict == verdict),
            // Where even the run without faults is rejected, tampering may show in some other way.
            false => judgement.findings != plain.findings,
        };
        if caught {
            told.push(verdict);
        } else if plain.is_ok() {
            return Err(ExploreError::ControlMissed(verdict));
        }
    }
    Ok(told)
}

/// Two runs of the same plan must be the same run.
pub(crate) fn same(first: &History, second: &History) -> Result<(), ExploreError> {
    if first.hash() == second.hash() {
        return Ok(());
    }
    Err(ExploreError::NotDeterministic(difference(first, second)))
}

/// The first event in which two histories differ, and what that points to.
pub(crate) fn difference(first: &History, second: &History) -> String {
    let mut text = String::new();
    let pairs = first.events.iter().zip(&second.events);
    let at = pairs.take_while(|(a, b)| a == b).count();
    let show = |history: &History| match history.events.get(at) {
        Some(event) => crate::report::event_line(history, event),
        None => "nothing more".to_owned(),
    };
    let (a, b) = (show(first), show(second));
    let _ = write!(
        text,
        "two runs of the same plan differ at event {at}: first `{a}`, then `{b}`"
    );
    let _ = write!(
        text,
        "; {}",
        likely_cause(first.events.get(at), second.events.get(at))
    );
    text
}

/// What usually makes such events differ, with its fix.
fn likely_cause(first: Option<&Event>, second: Option<&Event>) -> &'static str {
    match (first.map(|e| &e.what), second.map(|e| &e.what)) {
        (Some(What::Sent { exchange: a, .. }), Some(What::Sent { exchange: b, .. })) if a == b => {
            "the same request carries other bytes: the worker sends something that differs from run to run, like the \
             wall clock, a fresh id or a HashMap's order (take the time from Env::now and ids from the job)"
        }
        (Some(What::Answered { .. }), Some(What::Answered { .. })) => {
            "the same request was answered differently: a row holds something that differs from run to run"
        }
        _ => {
            "the worker did something else: `tokio::select!` picks its branch at random (add `biased;` or build with \
             `--cfg tokio_unstable`), and so do `futures::select!`, a HashMap's order, threads and the wall clock"
        }
    }
}

/// The plain schedule under some other seed, without a fault.
pub(crate) fn seeded(seed: Seed) -> Plan {
    Plan {
        seed,
        ..Plan::default()
    }
}
