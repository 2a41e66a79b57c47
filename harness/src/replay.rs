//! One plan → its history and verdict.
//!
//! A replayed plan must do what it says: a fault that does not fire makes it
//! stale, which is an error that names the nearest points there are.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::history::History;
use crate::oracle::{Judgement, judge};
use crate::plan::{Fault, Plan, Workload};
use crate::scenario::Scenario;
use crate::sim::{self, Order, Recorded, Run, Setup, Step, WireEnd};

/// What a plan did.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The plan.
    pub plan: Plan,
    /// What happened.
    pub history: History,
    /// What the oracles say of it.
    pub judgement: Judgement,
    /// Where in the source the task waited that the first fault struck, if it struck a task.
    pub source_line: Option<String>,
}

/// Why a plan says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayError {
    /// A fault did not fire: its point does not exist any more.
    Stale {
        /// The fault.
        fault: Box<Fault>,
        /// Points that exist, nearest first.
        nearest: Vec<String>,
    },
    /// The scenario cannot be run: its schema, its queries, or something the simulated server lacks.
    Unusable(String),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplayError::Stale { fault, nearest } => {
                write!(
                    f,
                    "stale plan: {fault} does not fire, there is no such point in the run"
                )?;
                if !nearest.is_empty() {
                    write!(f, "; the nearest are: {}", nearest.join(", "))?;
                }
                Ok(())
            }
            ReplayError::Unusable(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for ReplayError {}

/// What a plan did, and the points its run passed.
#[derive(Debug)]
pub(crate) struct Trace {
    /// What a replay tells.
    pub(crate) replay: Replay,
    /// The points, in the order they were reached.
    pub(crate) points: Vec<Recorded>,
    /// Whose the servers' connections were.
    pub(crate) wires: BTreeMap<u32, WireEnd>,
}

/// Runs a plan, and says where its first fault struck.
///
/// # Errors
///
/// The plan is stale, or the scenario cannot be run.
pub fn replay(scenario: &Scenario, plan: &Plan) -> Result<Replay, ReplayError> {
    replay_in(&ready(scenario, plan)?, plan, true)
}

/// The same, with all points on the way.
pub(crate) fn trace(scenario: &Scenario, plan: &Plan) -> Result<Trace, ReplayError> {
    let setup = ready(scenario, plan)?;
    let order = Order {
        locate: true,
        record: true,
        ..Order::of(plan)
    };
    let mut run = accept(&setup, plan, sim::run(&setup, &order))?;
    Ok(Trace {
        points: std::mem::take(&mut run.points),
        wires: std::mem::take(&mut run.wires),
        replay: told(plan, run),
    })
}

/// A scenario made ready for a plan.
fn ready(scenario: &Scenario, plan: &Plan) -> Result<Arc<Setup>, ReplayError> {
    possible(scenario, &plan.workload).map_err(ReplayError::Unusable)?;
    let setup = Setup::new(&scenario.system).map_err(ReplayError::Unusable)?;
    // Whether a job that ends ok must have committed, the fault-free run says.
    let baseline = sim::run(&Arc::new(setup.clone()), &Order::default());
    let setup = setup.with_ok_commits(crate::explore::all_ok_jobs_commit(&baseline.history));
    Ok(Arc::new(setup))
}

/// Whether a scenario can do what a plan changes about its workload: a run of no job, or without
/// anyone to do it, would say nothing.
fn possible(scenario: &Scenario, workload: &Workload) -> Result<(), String> {
    const REPLICAS_MAX: usize = 64;
    let known = scenario.system.jobs.len();
    if let Some(jobs) = workload.jobs
        && !(1..=known).contains(&jobs)
    {
        return Err(format!(
            "stale plan: jobs.{jobs}, but the scenario's jobs count {known}"
        ));
    }
    if let Some(replicas) = workload.replicas
        && !(1..=REPLICAS_MAX).contains(&replicas)
    {
        return Err(format!(
            "replicas.{replicas}: there must be 1 to {REPLICAS_MAX}"
        ));
    }
    match workload
        .rollbacks
        .iter()
        .find(|job| !scenario.system.jobs.contains(job))
    {
        Some(job) => Err(format!(
            "stale plan: rollback.{job}, but there is no such job"
        )),
        None => Ok(()),
    }
}

/// The same, of a scenario made ready.
pub(crate) fn replay_in(
    setup: &Arc<Setup>,
    plan: &Plan,
    locate: bool,
) -> Result<Replay, ReplayError> {
    let order = Order {
        locate,
        ..Order::of(plan)
    };
    let run = sim::run(setup, &order);
    let run = accept(setup, plan, run)?;
    Ok(told(plan, run))
}

fn told(plan: &Plan, run: Run) -> Replay {
    Replay {
        plan: plan.clone(),
        judgement: judge(&run.history),
        history: run.history,
        source_line: run.located,
    }
}

/// A run whose faults have all fired, and that nothing made worthless.
pub(crate) fn accept(setup: &Arc<Setup>, plan: &Plan, run: Run) -> Result<Run, ReplayError> {
    if let Some(why) = run.failure {
        return Err(ReplayError::Unusable(why));
    }
    match run.unfired.first() {
        None => Ok(run),
        Some(Step::Drawn { .. }) => Ok(run),
        Some(Step::Named(fault)) => Err(ReplayError::Stale {
            fault: Box::new(fault.clone()),
            nearest: nearest(setup, plan, fault),
        }),
    }
}

/// Names of points that the run has, most alike to the one it lacks.
fn nearest(setup: &Arc<Setup>, plan: &Plan, fault: &Fault) -> Vec<String> {
    const SHOWN: usize = 5;
    let before = plan
        .faults
        .iter()
        .take_while(|other| *other != fault)
        .cloned();
    let order = Order {
        record: true,
        ..Order::of(&Plan {
            faults: before.collect(),
            ..plan.clone()
        })
    };
    let wanted = fault.at.to_string();
    let alike = |name: &String| (strsim::jaro_winkler(name, &wanted) * 1e6) as u64;
    let points = sim::run(setup, &order).points.into_iter();
    let of_its_kind = points.filter(|recorded| {
        std::mem::discriminant(&recorded.point) == std::mem::discriminant(&fault.at)
    });
    let mut names: Vec<String> = of_its_kind
        .map(|recorded| recorded.point.to_string())
        .collect();
    names.sort_by_key(|name| std::cmp::Reverse(alike(name)));
    names.dedup();
    names.truncate(SHOWN);
    names
}
