//! Which plans to run, and what became of them all.
//!
//! First the fault-free run, which says what there is to break; then every single
//! fault, from every point it passed; then the plain schedule under other seeds;
//! then drawn plans with several faults, shrunk to least ones. What is covered is
//! certified by count.

mod baseline;
mod exhaustive;
mod outcome;
mod pairs;
mod grid;
mod parallel;
mod random;
mod shrink;
#[cfg(test)]
mod tests;

pub(crate) use baseline::all_ok_jobs_commit;
pub(crate) use grid::{Grid, GridCell, GridColumn, Layer, PAIRS_MAX};
pub use outcome::{
    Cell, Certificate, Counterexample, CutCount, DrawnCovered, Exploration, PairsCovered,
};
pub use random::{Drawn, plans};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use baseline::Baseline;
use exhaustive::Schedule;

use crate::history::HistoryHash;
use crate::oracle::{Judgement, Verdict, judge};
use crate::plan::{Class, Fault, Plan, Point};
use crate::replay::{self, ReplayError};
use crate::scenario::Scenario;
use crate::seed::Seed;
use crate::sim::{self, Order, Setup};

/// One run in so many is run twice and compared.
const RERUN_EVERY: usize = 64;
/// So many seeds are tried without a fault.
const SEEDS: usize = 16;
/// So many plans are drawn, unless someone says otherwise.
const CASES: usize = 256;
/// How many plans of several faults a catalogue draws for each of its scenarios.
pub const CATALOGUE_CASES: usize = 64;

/// An exploration to be started: what to try, and how much of it.
///
/// ```no_run
/// # fn receipts() -> midcommit::Scenario { midcommit::Scenario::new("receipts") }
/// let matrix = midcommit::explore(receipts()).cases(1000).matrix();
/// ```
pub struct Explore<'a> {
    scenario: Scenario,
    classes: BTreeSet<Class>,
    depth: usize,
    cases: usize,
    seed: Seed,
    threads: usize,
    repeat: usize,
    pair_jobs: Option<usize>,
    pairs_max: Option<usize>,
    progress: Box<dyn Fn(Progress) + Sync + 'a>,
}

/// How far an exploration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Schedules run.
    pub done: usize,
    /// Schedules planned in this stage.
    pub total: usize,
    /// What these are.
    pub stage: &'static str,
}

/// Explores a scenario with the classes of fault it declares.
///
/// `MIDCOMMIT_SEED`, `MIDCOMMIT_CASES` and `MIDCOMMIT_DEPTH` say what the builder does not.
pub fn explore<'a>(scenario: Scenario) -> Explore<'a> {
    Explore {
        classes: scenario.classes().clone(),
        depth: match variable("MIDCOMMIT_DEPTH") {
            None => 1,
            Some(depth @ (1 | 2)) => depth,
            Some(depth) => panic!("{}", no_depth(depth)),
        },
        cases: variable("MIDCOMMIT_CASES").unwrap_or(CASES),
        seed: Seed(variable("MIDCOMMIT_SEED").unwrap_or(1)),
        threads: parallel::cores(),
        repeat: 1,
        pair_jobs: None,
        pairs_max: None,
        progress: Box::new(|_| {}),
        scenario,
    }
}

/// What is wrong with the variables, if anything is.
pub(crate) fn misread_variable() -> Option<String> {
    let wrong = |name: &&str| {
        let value = std::env::var(name).unwrap_or_else(|_| "0".to_owned());
        value.parse::<u64>().is_err()
    };
    let depth = std::env::var("MIDCOMMIT_DEPTH").unwrap_or_default();
    if let Ok(depth) = depth.parse()
        && !(1..=2).contains(&depth)
    {
        return Some(no_depth(depth));
    }
    let name = ["MIDCOMMIT_SEED", "MIDCOMMIT_CASES", "MIDCOMMIT_DEPTH"]
        .iter()
        .find(|name| wrong(name))?;
    Some(format!(
        "{name} must be a number, and is `{}`",
        std::env::var(name).unwrap_or_default()
    ))
}

fn no_depth(depth: usize) -> String {
    format!("MIDCOMMIT_DEPTH must be 1 or 2, and is `{depth}`")
}

/// A variable's value, if it is set.
///
/// # Panics
///
/// If it is set to something else than a number: silence would explore something else.
fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, and is `{value}`")),
    )
}

impl<'a> Explore<'a> {
    /// Only these classes of fault.
    pub fn faults(mut self, classes: impl IntoIterator<Item = Class>) -> Self {
        self.classes = classes.into_iter().collect();
        self
    }

    /// 2: all pairs of faults as well, on the smallest workload: one job. Pairs are the most there is.
    pub fn depth(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    /// Pairs are tried with so many jobs, instead of one.
    pub fn pair_jobs(mut self, jobs: usize) -> Self {
        self.pair_jobs = Some(jobs);
        self
    }

    /// At most so many pairs are run, spread evenly over all. The certificate says how many were not.
    pub fn pairs_max(mut self, pairs: usize) -> Self {
        self.pairs_max = Some(pairs);
        self
    }

    /// How many plans with several faults are drawn.
    pub fn cases(mut self, cases: usize) -> Self {
        self.cases = cases;
        self
    }

    /// What drawn plans and drawn schedules follow from.
    pub fn seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// How many threads run schedules; the results do not depend on it.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// How often each schedule with a single fault is run: repetitions find nothing more, they
    /// measure what one costs.
    #[doc(hidden)]
    pub fn repeat(mut self, times: usize) -> Self {
        self.repeat = times;
        self
    }

    /// Told now and then how far it is.
    pub fn progress(mut self, tell: impl Fn(Progress) + Sync + 'a) -> Self {
        self.progress = Box::new(tell);
        self
    }

    /// Runs it all.
    ///
    /// # Errors
    ///
    /// The exploration would prove nothing, or contradicts itself: see [`ExploreError`].
    pub fn run(self) -> Result<Exploration, ExploreError> {
        #[allow(clippy::disallowed_methods)] // The one figure that is about this machine.
        let started = std::time::Instant::now();
        let baseline = baseline::baseline(&self.scenario)?;
        let mut found = Findings::default();
        let hash = baseline.history.hash();
        found.add(None, false, &Plan::faultless(), &baseline.judgement, hash);

        let singles = exhaustive::schedules(&self.scenario, &baseline.points, |class| {
            self.classes.contains(&class)
        });
        let mut certificate = certify(&baseline, &singles);
        self.run_singles(&baseline, &singles, &mut found, &mut certificate)?;
        self.run_seeds(&baseline.setup, &mut found)?;
        if self.depth >= 2 {
            certificate.pairs = Some(pairs::run(&self, &baseline.setup, &mut found)?);
        }
        random::run(&self, &baseline, &singles, &mut found, &mut certificate)?;
        // In the order of the matrix, whatever order the points had.
        found
            .counterexamples
            .sort_by_key(|example| (example.drawn, example.class));
        Ok(Exploration {
            seed: self.seed,
            cells: found.cells,
            drawn: found.drawn,
            counterexamples: found.counterexamples,
            certificate,
            elapsed: started.elapsed(),
            scenario: self.scenario,
        })
    }

    /// How many schedules with a single fault there are.
    ///
    /// # Errors
    ///
    /// The fault-free run proves nothing: see [`ExploreError`].
    pub fn planned(&self) -> Result<usize, ExploreError> {
        let points = baseline::baseline(&self.scenario)?.points;
        Ok(exhaustive::schedules(&self.scenario, &points, |class| {
            self.classes.contains(&class)
        })
        .len())
    }

    /// Calls `work` for each schedule of a stage on all threads, each with a setup of its own.
    fn map<T: Send>(
        &self,
        stage: &'static str,
        setup: &Setup,
        n: usize,
        work: impl Fn(&Arc<Setup>, usize) -> T + Sync,
    ) -> Vec<T> {
        let tell = |done| {
            (self.progress)(Progress {
                done,
                total: n,
                stage,
            });
        };
        let equip = || Arc::new(setup.unshared());
        parallel::map(self.threads, n, parallel::BATCH, equip, work, &tell)
    }

    /// The same, for work of a second or so that tells how far it is by itself.
    fn map_quietly<T: Send>(
        &self,
        setup: &Setup,
        n: usize,
        work: impl Fn(&Arc<Setup>, usize) -> T + Sync,
    ) -> Vec<T> {
        let equip = || Arc::new(setup.unshared());
        parallel::map(self.threads, n, 1, equip, work, &|_| {})
    }

    fn run_singles(
        &self,
        baseline: &Baseline,
        singles: &[Schedule],
        found: &mut Findings,
        certificate: &mut Certificate,
    ) -> Result<(), ExploreError> {
        let runs = singles.len() * self.repeat;
        let outcomes = self.map("single faults", &baseline.setup, runs, |setup, i| {
            let schedule = &singles[i % singles.len()];
            run_single(setup, schedule, i % RERUN_EVERY == 0)
        });
        certificate.run_twice = runs.div_ceil(RERUN_EVERY);
        for (schedule, outcome) in singles.iter().cycle().zip(outcomes) {
            let plan = Plan::single(schedule.fault.clone());
            match outcome {
                Ok((judgement, hash)) => {
                    certificate.run += 1;
                    found.add(
                        Some(schedule.fault.kind.class()),
                        false,
                        &plan,
                        &judgement,
                        hash,
                    );
                }
                Err(ExploreError::Stale(..)) => certificate.unfired.push(plan),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The plain workload under other orders of hosts and other latencies.
    fn run_seeds(&self, setup: &Arc<Setup>, found: &mut Findings) -> Result<(), ExploreError> {
        let plans: Vec<Plan> = (0..SEEDS)
            .map(|i| baseline::seeded(self.seed.child("schedule", i as u64)))
            .collect();
        let outcomes = self.map("seeds", setup, SEEDS, |setup, i| run_plan(setup, &plans[i]));
        for (plan, outcome) in plans.iter().zip(outcomes) {
            let (judgement, hash) = outcome?;
            found.add(None, false, plan, &judgement, hash);
        }
        Ok(())
    }
}

/// Runs a schedule; the run must be the fault-free one up to the fault, and itself when repeated.
fn run_single(
    setup: &Arc<Setup>,
    schedule: &Schedule,
    twice: bool,
) -> Result<(Judgement, HistoryHash), ExploreError> {
    let plan = Plan::single(schedule.fault.clone());
    let run = replay::accept(setup, &plan, sim::run(setup, &Order::of(&plan)))?;
    if run
        .fired
        .first()
        .is_none_or(|(_, prefix)| *prefix != schedule.prefix)
    {
        let plain = sim::run(setup, &Order::default()).history;
        return Err(ExploreError::NotDeterministic(format!(
            "the run of {plan} differs from the fault-free one before its fault fires: {}",
            baseline::difference(&plain, &run.history)
        )));
    }
    if twice {
        baseline::same(&run.history, &sim::run(setup, &Order::of(&plan)).history)?;
    }
    Ok((judge(&run.history), run.history.hash()))
}

/// Runs a plan.
fn run_plan(setup: &Arc<Setup>, plan: &Plan) -> Result<(Judgement, HistoryHash), ExploreError> {
    let replay = replay::replay_in(setup, plan, false)?;
    Ok((replay.judgement, replay.history.hash()))
}

/// What there is to cover, and what the schedules cover of it.
fn certify(baseline: &Baseline, singles: &[Schedule]) -> Certificate {
    let mut await_points: BTreeMap<String, usize> = BTreeMap::new();
    let (mut boundaries, mut commit_points) = (0, 0);
    for recorded in &baseline.points {
        match &recorded.point {
            Point::Await {
                task,
                phase: crate::plan::Phase::Suspended,
                ..
            } => {
                *await_points.entry(task.to_string()).or_default() += 1;
            }
            Point::Boundary { .. } => boundaries += 1,
            Point::Commit { .. } => commit_points += 1,
            _ => {}
        }
    }
    let mut struck: BTreeSet<&Point> = singles.iter().map(|schedule| &schedule.fault.at).collect();
    let reached: BTreeSet<&Point> = baseline
        .points
        .iter()
        .map(|recorded| &recorded.point)
        .collect();
    struck.retain(|point| reached.contains(point));
    Certificate {
        planned: singles.len(),
        points: reached.len(),
        points_struck: struck.len(),
        await_points,
        boundaries,
        commit_points,
        cuts: exhaustive::cut_counts(&baseline.points, singles),
        ungated_tasks: baseline.ungated,
        controls: baseline.controls.clone(),
        control_caught: true,
        ..Certificate::default()
    }
}

/// Verdicts by class, and the least plan for each.
#[derive(Default)]
struct Findings {
    cells: BTreeMap<Option<Class>, Cell>,
    drawn: Cell,
    counterexamples: Vec<Counterexample>,
}

impl Findings {
    /// Counts a schedule, and keeps its plan if it is the least of its kind.
    fn add(
        &mut self,
        class: Option<Class>,
        drawn: bool,
        plan: &Plan,
        judgement: &Judgement,
        hash: HistoryHash,
    ) {
        let cell = match drawn {
            true => &mut self.drawn,
            false => self.cells.entry(class).or_default(),
        };
        cell.count(judgement.verdict);
        if judgement.verdict != Verdict::Ok && !drawn {
            self.keep(class, drawn, plan, judgement, hash);
        }
    }

    fn keep(
        &mut self,
        class: Option<Class>,
        drawn: bool,
        plan: &Plan,
        judgement: &Judgement,
        hash: HistoryHash,
    ) {
        let example = Counterexample {
            class,
            drawn,
            plan: plan.clone(),
            judgement: judgement.clone(),
            hash,
        };
        let known = self.counterexamples.iter_mut().find(|known| {
            known.class == class
                && known.drawn == drawn
                && known.judgement.verdict == judgement.verdict
        });
        match known {
            Some(known) if size(plan) < size(&known.plan) => *known = example,
            Some(_) => {}
            None => self.counterexamples.push(example),
        }
    }

    /// Whether some plan with at most one fault is known to give this verdict.
    fn is_known(&self, verdict: Verdict) -> bool {
        self.cells
            .values()
            .any(|cell| cell.verdicts.contains_key(&verdict))
    }

    /// Whether no fault at all, or a single one of a class in this plan, is known to give this verdict.
    fn explains(&self, plan: &Plan, verdict: Verdict) -> bool {
        let classes = plan.faults.iter().map(|fault| Some(fault.kind.class()));
        classes.chain([None]).any(|class| {
            let cell = self.cells.get(&class);
            cell.is_some_and(|cell| cell.verdicts.contains_key(&verdict))
        })
    }
}

/// Of plans with as many faults as each other, one that strikes the worker's own task reads best.
fn size(plan: &Plan) -> (usize, usize) {
    let strikes_child =
        |fault: &&Fault| matches!(&fault.at, Point::Await { task, .. } if task.child.is_some());
    (
        plan.faults.len(),
        plan.faults.iter().filter(strikes_child).count(),
    )
}

/// Why an exploration proves nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExploreError {
    /// The scenario cannot be run: its schema, its queries, or something the simulated server lacks.
    Unusable(String),
    /// The fault-free run commits nothing: the likeliest reason.
    NoCommit(String),
    /// Nothing is promised, and the scenario does not say that this is meant.
    NoPromise,
    /// The fault-free run makes nothing owed, and the scenario does not say that this is meant.
    NothingOwed,
    /// The oracles did not notice a promise broken on purpose.
    ControlMissed(Verdict),
    /// Two runs of the same plan differ: where, and what usually causes it.
    NotDeterministic(String),
    /// A strict scenario spawned so many tasks outside the gate.
    Ungated(usize),
    /// A plan's fault does not fire.
    Stale(ReplayError),
}

impl From<ReplayError> for ExploreError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Unusable(why) => ExploreError::Unusable(why),
            stale @ ReplayError::Stale { .. } => ExploreError::Stale(stale),
        }
    }
}

impl fmt::Display for ExploreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExploreError::Unusable(why) => write!(f, "the scenario cannot be run: {why}"),
            ExploreError::NoCommit(why) => write!(
                f,
                "the run without faults commits nothing, so no fault can come after a commit: {why}",
            ),
            ExploreError::NoPromise => f.write_str(
                "the scenario promises nothing, so nothing can be lost: say what is owed by `.owes(effect, sql, times)` \
                 (if that is meant, say `owes_nothing()`)",
            ),
            ExploreError::NothingOwed => f.write_str(
                "the run without faults makes nothing owed, so nothing can be lost: does the query of `owes` find rows, \
                 or the worker write the messages of `owes_by_message`? (if that is meant, say `owes_nothing()`)",
            ),
            ExploreError::ControlMissed(verdict) => write!(
                f,
                "a run that was tampered with was not called {verdict}: nothing the scenario promises would show it",
            ),
            ExploreError::NotDeterministic(why) => write!(f, "not deterministic: {why}"),
            ExploreError::Ungated(n) => write!(
                f,
                "{n} tasks were spawned outside Env: none of their await points was tested (use Env::spawn or midcommit::spawn)",
            ),
            ExploreError::Stale(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ExploreError {}
