//! What an exploration found: counts per class and verdict, least counterexamples, and the
//! certificate that says what was covered.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::history::HistoryHash;
use crate::oracle::{Judgement, Verdict};
use crate::plan::{Class, Plan, Point, Workload};
use crate::scenario::Scenario;
use crate::seed::Seed;

/// The result of exploring one scenario.
#[derive(Clone, Debug)]
pub struct Exploration {
    /// What was explored.
    pub scenario: Scenario,
    /// The seed of the drawn schedules.
    pub seed: Seed,
    /// One cell per class tried, and under `None` the schedules without a fault.
    pub cells: BTreeMap<Option<Class>, Cell>,
    /// The verdicts of the drawn plans, which have several faults.
    pub drawn: Cell,
    /// For each class and verdict (for drawn plans: each verdict that none of their faults gives alone), the least plan.
    pub counterexamples: Vec<Counterexample>,
    /// What was covered.
    pub certificate: Certificate,
    /// How long it took: the only figure in here that differs from run to run.
    pub elapsed: Duration,
}

/// The verdicts of some schedules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// How many schedules.
    pub schedules: usize,
    /// How many of them earned each verdict.
    pub verdicts: BTreeMap<Verdict, usize>,
}

/// A plan that breaks a promise, and how.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// The column it stands for; `None` for the fault-free one.
    pub class: Option<Class>,
    /// Whether it was drawn rather than enumerated.
    pub drawn: bool,
    /// The least plan found.
    pub plan: Plan,
    /// What the oracles said.
    pub judgement: Judgement,
    /// The hash of its history.
    pub hash: HistoryHash,
}

/// What was covered, by count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// Single-fault schedules enumerated from the fault-free run.
    pub planned: usize,
    /// Those that were run.
    pub run: usize,
    /// Those whose fault did not fire: each an error.
    pub unfired: Vec<Plan>,
    /// Points of the fault-free run, and how many of them at least one schedule struck.
    pub points: usize,
    /// Of these.
    pub points_struck: usize,
    /// Await points per task of the fault-free run; each counts for both phases.
    pub await_points: BTreeMap<String, usize>,
    /// Boundaries passed in the fault-free run.
    pub boundaries: usize,
    /// Commit points passed in the fault-free run.
    pub commit_points: usize,
    /// Exchanges in which something was committed: cut at every byte.
    pub cuts: Vec<CutCount>,
    /// Tasks spawned outside the gate: none of their await points was tested.
    pub ungated_tasks: usize,
    /// What was broken on purpose, by the verdict it must earn: an effect dropped, lost; an effect
    /// doubled, duplicated; where neither would break a promise, a commit forgotten, undurable.
    pub controls: Vec<Verdict>,
    /// Whether the oracles caught all of these.
    pub control_caught: bool,
    /// Schedules run twice and compared.
    pub run_twice: usize,
    /// Plans that were drawn and run.
    pub drawn: DrawnCovered,
    /// Pairs of faults, if they were asked for.
    pub pairs: Option<PairsCovered>,
}

/// What was drawn. A fault that finds no point does not strike, nor do those after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrawnCovered {
    /// How many plans.
    pub plans: usize,
    /// In how many of them so many faults struck.
    pub struck: BTreeMap<usize, usize>,
    /// Those with fewer jobs than the scenario has.
    pub fewer_jobs: usize,
    /// Those in which jobs are asked to roll back.
    pub rollbacks: usize,
    /// Those with another number of processes.
    pub replicas: usize,
}

/// What the pairs of faults cover. Each that is planned is run, skipped or left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PairsCovered {
    /// The jobs of the smallest workload, if those are fewer than the scenario's.
    pub jobs: Option<usize>,
    /// The scenario's jobs.
    pub jobs_known: usize,
    /// First faults, from the fault-free run of that workload.
    pub firsts: usize,
    /// First faults that were not tried, since another leads to the same run.
    pub firsts_skipped: usize,
    /// Pairs enumerated from the runs with those first faults.
    pub planned: usize,
    /// Pairs that were run.
    pub run: usize,
    /// Pairs skipped since their second fault kills a process that the kill before finds just the same.
    pub skipped_kills: usize,
    /// Pairs skipped since their second fault panics a driver's task that a cancel drops just the same.
    pub skipped_panics: usize,
    /// Pairs that were not run since fewer were asked for.
    pub left_out: usize,
    /// Byte offsets at which the fault-free run can be cut.
    pub bytes: usize,
    /// Those of them that pairs do not try: they are tried alone.
    pub bytes_left_out: usize,
    /// The verdicts by the classes of the first and the second fault.
    pub cells: BTreeMap<(Class, Class), Cell>,
}

/// The cuts of one exchange that commits: 3 × (request + reply + 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutCount {
    /// The exchange: a wire point at byte 0 of the request.
    pub exchange: Point,
    /// Length of the request in canonical bytes.
    pub request_bytes: u32,
    /// Length of the reply in canonical bytes.
    pub reply_bytes: u32,
    /// Schedules: each kind of cut at each offset, both ends included.
    pub schedules: usize,
}

impl DrawnCovered {
    /// Counts a plan, as far as it struck.
    pub(crate) fn count(&mut self, plan: &Plan) {
        let Workload {
            jobs,
            replicas,
            rollbacks,
        } = &plan.workload;
        self.plans += 1;
        *self.struck.entry(plan.faults.len()).or_default() += 1;
        self.fewer_jobs += usize::from(jobs.is_some());
        self.rollbacks += usize::from(!rollbacks.is_empty());
        self.replicas += usize::from(replicas.is_some());
    }
}

impl Cell {
    /// Counts one more schedule.
    pub fn count(&mut self, verdict: Verdict) {
        self.schedules += 1;
        *self.verdicts.entry(verdict).or_default() += 1;
    }

    /// Counts what another has counted.
    pub fn add(&mut self, other: &Cell) {
        self.schedules += other.schedules;
        for (verdict, n) in &other.verdicts {
            *self.verdicts.entry(*verdict).or_default() += n;
        }
    }

    /// The greatest verdict that occurred; `Ok` if none did.
    pub fn worst(&self) -> Verdict {
        self.verdicts
            .keys()
            .next_back()
            .copied()
            .unwrap_or(Verdict::Ok)
    }
}

impl Exploration {
    /// The greatest verdict over all cells and drawn plans.
    pub fn worst(&self) -> Verdict {
        self.cells
            .values()
            .chain([&self.drawn])
            .map(Cell::worst)
            .max()
            .unwrap_or(Verdict::Ok)
    }

    /// The counterexample that a report leads with: the least plan of the greatest verdict; of several,
    /// that of the first class.
    pub fn counterexample(&self) -> Option<&Counterexample> {
        self.counterexamples.iter().rev().max_by_key(|example| {
            (
                example.judgement.verdict,
                std::cmp::Reverse((example.plan.faults.len(), example.class)),
            )
        })
    }

    /// Whether every cell's set of verdicts is the one the scenario declares, and drawn plans add nothing
    /// to it that it does not.
    pub fn as_expected(&self) -> bool {
        // What is declared of a class that has no schedule would be true of anything.
        let tried = |class: &Option<Class>| {
            class.is_none_or(|class| !self.scenario.classes().contains(&class))
                || self.cells.contains_key(class)
        };
        let declared = self.scenario.expectations();
        self.drawn_as_expected()
            && declared.iter().all(|expectation| tried(&expectation.class))
            && self
                .cells
                .iter()
                .all(|(class, cell)| self.cell_as_expected(*class, cell))
    }

    /// Drawn plans that break a promise as none of their faults does alone, and whether the scenario
    /// declares that of several.
    pub fn several(&self) -> impl Iterator<Item = (&Counterexample, bool)> {
        let declared = self.scenario.expected_of_several();
        let drawn = self.counterexamples.iter().filter(|it| it.drawn);
        drawn.map(|it| (it, declared.contains_key(&it.judgement.verdict)))
    }

    /// Whether drawn plans break no promise but as one of their faults does alone, or as is declared of several.
    pub fn drawn_as_expected(&self) -> bool {
        self.several().all(|(_, declared)| declared)
    }

    /// Whether this cell's set of verdicts is the declared one; a class without a declaration must be all ok.
    pub fn cell_as_expected(&self, class: Option<Class>, cell: &Cell) -> bool {
        let declared = self
            .scenario
            .expectations()
            .iter()
            .find(|e| e.class == class);
        match declared {
            Some(expectation) => cell.verdicts.keys().eq(&expectation.verdicts),
            None => cell.verdicts.keys().all(|verdict| *verdict == Verdict::Ok),
        }
    }
}
