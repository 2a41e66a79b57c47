//! Drawn plans: workload, schedule and several faults, by proptest.
//!
//! A fault is drawn as a kind and a number of eligible points to pass, counted
//! from the previous firing and resolved as the run goes: so it never names a
//! missing point, and shrinks well. What is kept is the concrete plan, and that
//! must give the same history.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rand_chacha::rand_core::Rng;

use super::baseline::{self, Baseline};
use super::exhaustive::Schedule;
use super::shrink;
use super::{Certificate, Explore, ExploreError, Findings, run_plan};
use crate::history::HistoryHash;
use crate::oracle::{Judgement, Verdict, judge};
use crate::plan::{Class, Kind, Plan, Workload};
use crate::scenario::Scenario;
use crate::seed::Seed;
use crate::sim::{self, Order, Recorded, Setup, Step};

/// The most faults in one drawn plan.
const FAULTS_MAX: usize = 4;
/// How many eligible points a drawn fault passes at most that strikes near the one before it.
const NEAR_MAX: u32 = 48;
/// How many simpler cases are tried for each failing one.
const SHRINKS_MAX: usize = 256;

/// A drawn plan of a scenario, to be run: what [`plans`] yields.
#[derive(Clone)]
pub struct Drawn {
    setup: Arc<Setup>,
    order: Order,
}

impl Drawn {
    /// Runs it, and judges the history.
    ///
    /// # Errors
    ///
    /// Some promise is broken: what the oracles found, and the concrete plan that replays it.
    pub fn run(&self) -> Result<(), String> {
        let run = sim::run(&self.setup, &self.order);
        if let Some(why) = run.failure {
            return Err(why);
        }
        let judgement = judge(&run.history);
        match judgement.findings.first() {
            None => Ok(()),
            Some(finding) => Err(format!(
                "{}: {}; plan: {}",
                judgement.verdict,
                finding.sentence,
                concrete(&self.order, &run.fired)
            )),
        }
    }
}

impl fmt::Debug for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = sim::run(&self.setup, &self.order);
        write!(f, "{}", concrete(&self.order, &run.fired))
    }
}

/// All plans of a scenario with up to four faults of its classes, for `proptest!`.
///
/// # Panics
///
/// If the scenario cannot be checked: see [`ExploreError`].
pub fn plans(scenario: &Scenario) -> impl Strategy<Value = Drawn> + use<> {
    let baseline = baseline::baseline(scenario).unwrap_or_else(|error| panic!("{error}"));
    let orders = orders(scenario, scenario.classes(), &baseline.points);
    let setup = baseline.setup;
    orders.prop_map(move |order| Drawn {
        setup: setup.clone(),
        order,
    })
}

/// A fault as it is drawn, before it is known with how many others.
#[derive(Clone, Debug)]
struct Draft {
    kind: Kind,
    /// How many points of the fault-free run it could strike.
    eligible: u32,
    /// How far from the fault before: so many points, or so many thousandths of its share of the run.
    distance: Distance,
    along: u32,
}

#[derive(Clone, Debug)]
enum Distance {
    Near(u32),
    Far(u32),
}

impl Draft {
    /// Of so many faults each has a share of the run, so that far ones strike all over it.
    fn step(self, faults: usize) -> Step {
        let delta = match self.distance {
            Distance::Near(points) => points,
            Distance::Far(thousandths) => {
                let share = u64::from(self.eligible) / faults as u64;
                (share * u64::from(thousandths) / 1000) as u32
            }
        };
        Step::Drawn {
            kind: self.kind,
            delta,
            along: self.along,
        }
    }
}

/// What a run may be asked. Points of the fault-free run say how far there is to go, and what can
/// strike at all: behind a fault that finds no point all others would wait in vain.
fn orders(
    scenario: &Scenario,
    classes: &BTreeSet<Class>,
    points: &[Recorded],
) -> impl Strategy<Value = Order> + use<> {
    let eligible = |kind: &Kind| points.iter().filter(|point| point.suits(kind)).count() as u32;
    let kinds: Vec<(Kind, u32)> = kinds(scenario, classes)
        .into_iter()
        .map(|kind| (kind.clone(), eligible(&kind)))
        .filter(|(_, eligible)| *eligible > 0)
        .collect();
    let faults = match kinds.is_empty() {
        true => 0..=0,
        false => 1..=FAULTS_MAX,
    };
    let distance = prop_oneof![
        (0..NEAR_MAX).prop_map(Distance::Near),
        (0..1000u32).prop_map(Distance::Far),
    ];
    let fault = (prop::sample::select(kinds), distance, 0..=1000u32).prop_map(
        |((kind, eligible), distance, along)| Draft {
            kind,
            eligible,
            distance,
            along,
        },
    );
    let seed = prop_oneof![Just(0), any::<u64>()];
    let drafts = prop::collection::vec(fault, faults);
    (seed, workloads(scenario), drafts).prop_map(|(seed, workload, drafts)| {
        let faults = drafts.len();
        let script = drafts.into_iter().map(|draft| draft.step(faults));
        Order {
            seed: Seed(seed),
            workload,
            script: script.collect(),
            ..Order::default()
        }
    })
}

fn workloads(scenario: &Scenario) -> impl Strategy<Value = Workload> + use<> {
    let jobs = scenario.system.jobs.clone();
    let count = jobs.len();
    let fewer = (1..=count.max(1)).prop_map(move |n| (n < count).then_some(n));
    // Only numbers that are not what there is anyway.
    let scaled = scenario.system.workers.iter().filter(|spec| spec.scales);
    let processes: BTreeSet<usize> = scaled.map(|spec| spec.replicas).collect();
    let mut others = vec![None; 4];
    others.extend(
        [1, 2]
            .into_iter()
            .filter(|n| processes.iter().any(|has| has != n))
            .map(Some),
    );
    let replicas = prop::sample::select(others);
    let rollbacks = (
        prop::bool::weighted(0.2),
        prop::sample::subsequence(jobs, 0..=count),
    )
        .prop_map(|(any, jobs)| {
            if any {
                BTreeSet::from_iter(jobs)
            } else {
                BTreeSet::new()
            }
        });
    (fewer, replicas, rollbacks).prop_map(|(jobs, replicas, rollbacks)| Workload {
        jobs,
        replicas,
        rollbacks,
    })
}

fn kinds(scenario: &Scenario, classes: &BTreeSet<Class>) -> Vec<Kind> {
    let mut kinds = vec![
        Kind::Kill,
        Kind::Deploy,
        Kind::Crash,
        Kind::CancelBackend,
        Kind::TerminateBackend,
    ];
    kinds.extend(crate::plan::Cut::ALL.map(Kind::Cut));
    kinds.push(Kind::Partition(super::exhaustive::PARTITION));
    kinds.push(Kind::SqlState(
        super::exhaustive::SERIALIZATION_FAILURE.into(),
    ));
    kinds.push(Kind::Failover(1));
    kinds.push(Kind::Down(super::exhaustive::OUTAGE));
    kinds.push(Kind::AckLost);
    kinds.extend(scenario.delays.iter().copied().map(Kind::Delay));
    kinds.extend(scenario.stalls.iter().copied().map(Kind::Stall));
    match scenario.system.exceptions.is_empty() {
        true => kinds.extend([Kind::Cancel, Kind::Raise(crate::plan::PANIC.into())]),
        false => kinds.extend(scenario.system.exceptions.iter().cloned().map(Kind::Raise)),
    }
    kinds.retain(|kind| classes.contains(&kind.class()));
    kinds
}

/// The plan of the faults that fired.
fn concrete(order: &Order, fired: &[(crate::plan::Fault, HistoryHash)]) -> Plan {
    Plan {
        seed: order.seed,
        workload: order.workload.clone(),
        faults: fired.iter().map(|(fault, _)| fault.clone()).collect(),
    }
}

/// A drawn plan that fails as none of its faults is known to, and no part of it does.
type Failure = (Plan, Judgement, HistoryHash);

/// Runs drawn plans, and keeps the least of those that fail for a reason of their own.
pub(crate) fn run(
    explore: &Explore<'_>,
    baseline: &Baseline,
    singles: &[Schedule],
    found: &mut Findings,
    certificate: &mut Certificate,
) -> Result<(), ExploreError> {
    if singles.is_empty() {
        return Ok(());
    }
    let strategy = orders(&explore.scenario, &explore.classes, &baseline.points);
    let cases = explore.cases;
    let outcomes = explore.map("drawn plans", &baseline.setup, cases, |setup, i| {
        let seed = explore.seed.child("case", i as u64);
        draw(setup, &strategy, seed, |plan, verdict| {
            found.explains(plan, verdict)
        })
    });
    for outcome in outcomes {
        let (judgement, plan, failure) = outcome?;
        found.drawn.count(judgement.verdict);
        certificate.drawn.count(&plan);
        if let Some((plan, judgement, hash)) = failure {
            found.keep(None, true, &plan, &judgement, hash);
        }
    }
    Ok(())
}

/// Draws one case and runs it. If it fails in a way that no fault of its is known for, also the least plan
/// that does.
fn draw(
    setup: &Arc<Setup>,
    strategy: &impl Strategy<Value = Order>,
    seed: Seed,
    explained: impl Fn(&Plan, Verdict) -> bool,
) -> Result<(Judgement, Plan, Option<Failure>), ExploreError> {
    let mut bytes = [0; 32];
    seed.stream("proptest").fill_bytes(&mut bytes);
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let mut tree = strategy
        .new_tree(&mut runner)
        .map_err(|reason| ExploreError::Unusable(reason.to_string()))?;
    let (judgement, drawn) = judge_drawn(setup, &tree.current())?;
    let verdict = judgement.verdict;
    if judgement.is_ok() || explained(&drawn, verdict) {
        return Ok((judgement, drawn, None));
    }
    let mut plan = drawn.clone();
    for _ in 0..SHRINKS_MAX {
        if !tree.simplify() {
            break;
        }
        loop {
            let (simpler, simpler_plan) = judge_drawn(setup, &tree.current())?;
            if simpler.verdict == verdict && !explained(&simpler_plan, verdict) {
                plan = simpler_plan;
                break;
            }
            if !tree.complicate() {
                break;
            }
        }
    }
    // A part that fails as is known of it is no explanation of what the whole does.
    let counts = |part: &Plan, verdict| !explained(part, verdict);
    let plan = shrink::least_failing(setup, plan, verdict, counts)?;
    let (least, hash) = run_plan(setup, &plan)?;
    Ok((judgement, drawn, Some((plan, least, hash))))
}

/// Runs a drawn order; the concrete plan must be the same run.
fn judge_drawn(setup: &Arc<Setup>, order: &Order) -> Result<(Judgement, Plan), ExploreError> {
    let run = sim::run(setup, order);
    if let Some(why) = run.failure {
        return Err(ExploreError::Unusable(why));
    }
    let plan = concrete(order, &run.fired);
    let judgement = judge(&run.history);
    if !judgement.is_ok() {
        baseline::same(&run.history, &sim::run(setup, &Order::of(&plan)).history)?;
    }
    Ok((judgement, plan))
}
