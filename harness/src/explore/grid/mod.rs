//! Pairs of faults around COMMIT, as a grid: what a process waits for × where a COMMIT stands.
//!
//! One fault strikes a process where its own code waits (or, in a modelled runtime, passes a
//! boundary); the other strikes a COMMIT: the server at one of its steps, or the network at the ends of its
//! request and its answer. Whichever comes first in the run strikes first, and the second point is
//! enumerated from the run with the first, so what happens while a process recovers is tried, too: it has a
//! row and columns of its own. The workload is the smallest, one job.
//!
//! It is a bounded part of all pairs: where there are more than asked for, each cell tries so many, spread
//! evenly over its own, and says so. Tasks that a worker spawns, and a driver's, have no rows.

mod frame;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fake_pg::engine::CommitPoint;

use super::exhaustive::Schedule;
use super::outcome::Cell;
use super::pairs::{same_prefix, smallest};
use super::{Explore, ExploreError, Progress, baseline};
use crate::oracle::{Verdict, judge};
use crate::plan::{Fault, Plan, Workload};
use crate::replay;
use crate::sim::{self, Order, Run, Setup};
use frame::Frame;

/// So many pairs are tried, unless someone says otherwise.
pub(crate) const PAIRS_MAX: usize = 20_000;

/// The verdicts of pairs of faults around COMMIT.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grid {
    /// The jobs of the smallest workload, if those are fewer than the scenario's.
    pub(crate) jobs: Option<usize>,
    /// Where processes wait, in the order of the fault-free run.
    pub(crate) rows: Vec<GridRow>,
    /// Where COMMITs stand, in order.
    pub(crate) columns: Vec<GridColumn>,
    /// Each row's faults alone.
    pub(crate) rows_alone: Vec<GridCell>,
    /// Each column's faults alone, without and with fail-overs only.
    pub(crate) columns_alone: BTreeMap<(Layer, usize), GridCell>,
    /// Pairs, by row and column.
    pub(crate) cells: BTreeMap<(Layer, usize, usize), GridCell>,
    /// Pairs that there are, and those that were run.
    pub(crate) planned: usize,
    /// Of these.
    pub(crate) run: usize,
}

/// Fail-overs stand apart: no design survives all of them, and they would hide everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Layer {
    /// Faults of the server and of the network.
    Server,
    /// A replica takes over that lacks a commit.
    Failover,
}

/// Where a process waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GridRow {
    /// The worker's name.
    pub(crate) process: String,
    /// The point, without the process, as plans name it; of several, with `*` for the number.
    pub(crate) name: String,
    /// How many points share the row.
    pub(crate) points: usize,
    /// Whether only runs with a fault come there.
    pub(crate) later: bool,
}

/// Where a COMMIT stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GridColumn {
    /// Which COMMIT; `None` are those that only runs with a fault make.
    pub(crate) commit: Option<(String, u64)>,
    /// Whose it is, where that is known.
    pub(crate) of: String,
    /// How far it is.
    pub(crate) stage: Stage,
}

/// How far a COMMIT is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Its request is on the way.
    Request,
    /// The server is at this step.
    Step(CommitPoint),
    /// Its answer is on the way.
    Reply,
}

/// The verdicts of some runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GridCell {
    /// What they earned.
    pub(crate) cell: Cell,
    /// How many there are, run or not.
    pub(crate) planned: usize,
    /// A plan that earns the gravest verdict, if that is not ok.
    pub(crate) plan: Option<Plan>,
    /// Whether that plan needs both its faults: neither breaks anything alone.
    pub(crate) together: bool,
}

impl Stage {
    /// The word for it.
    pub(crate) fn name(self) -> String {
        match self {
            Stage::Request => "request".to_owned(),
            Stage::Step(step) => step.to_string(),
            Stage::Reply => "reply".to_owned(),
        }
    }
}

impl GridCell {
    fn add(&mut self, verdict: Verdict, plan: &Plan, together: bool) {
        let worst = self.cell.worst();
        self.cell.count(verdict);
        let better = verdict == worst && together && !self.together;
        if verdict != Verdict::Ok && (verdict > worst || better) {
            self.plan = Some(plan.clone());
            self.together = together;
        }
    }
}

impl Explore<'_> {
    /// Tries pairs of faults around COMMIT; at most so many, if there is a row and a column for each.
    pub(crate) fn grid(&self, pairs_max: usize) -> Result<Grid, ExploreError> {
        let setup = baseline::baseline(&self.scenario)?.setup;
        let workload = smallest(self);
        let plain = recorded(&setup, &plan(&workload, []))?;
        baseline::guard(&self.scenario, &plain.history)?;
        let frame = Frame::of(&plain);
        let firsts: Vec<(Schedule, Place)> = frame.enumerate(self, &plain, 0);
        let grider = Grider {
            explore: self,
            workload: &workload,
            frame: &frame,
        };

        let alone = self.map("first faults", &setup, firsts.len(), |setup, i| {
            grider.alone(setup, &firsts[i].0, firsts[i].1)
        });
        let mut grid = frame.grid(workload.jobs);
        let mut verdicts: BTreeMap<&Fault, Verdict> = BTreeMap::new();
        // How many pairs of each cell stand before those that begin with each first fault.
        let mut before: Vec<BTreeMap<Key, usize>> = Vec::new();
        let mut totals: BTreeMap<Key, usize> = BTreeMap::new();
        for ((first, place), alone) in firsts.iter().zip(alone) {
            let (verdict, counts) = alone?;
            verdicts.insert(&first.fault, verdict);
            let cell = match place {
                Place::Row(row) => &mut grid.rows_alone[*row],
                Place::Column(layer, column) => {
                    grid.columns_alone.entry((*layer, *column)).or_default()
                }
            };
            cell.planned += 1;
            cell.add(verdict, &plan(&workload, [&first.fault]), false);
            let mut start = BTreeMap::new();
            for (key, count) in counts {
                let total = totals.entry(key).or_default();
                start.insert(key, *total);
                *total += count;
            }
            before.push(start);
        }

        let share = share(&totals, pairs_max);
        grid.planned = totals.values().sum();
        let to_run = totals.values().map(|total| (*total).min(share)).sum();
        let done = AtomicUsize::new(0);
        let tell = |more| {
            (self.progress)(Progress {
                done: done.fetch_add(more, Ordering::Relaxed) + more,
                total: to_run,
                stage: "pairs around COMMIT",
            });
        };
        let outcomes = self.map_quietly(&setup, firsts.len(), |setup, i| {
            let (first, place) = &firsts[i];
            let chosen = |key: &Key, nth: usize| {
                is_chosen(
                    before[i].get(key).copied().unwrap_or(0) + nth,
                    totals[key],
                    share,
                )
            };
            grider.after(setup, first, *place, &verdicts, &chosen, &tell)
        });
        for (key, total) in &totals {
            grid.cells.entry(*key).or_default().planned = *total;
        }
        for outcome in outcomes {
            for (key, cell) in outcome? {
                grid.run += cell.cell.schedules;
                merge(grid.cells.entry(key).or_default(), cell);
            }
        }
        Ok(grid)
    }
}

fn merge(all: &mut GridCell, more: GridCell) {
    let (worst, worse) = (all.cell.worst(), more.cell.worst());
    let better = worse == worst && more.together && !all.together;
    if more.plan.is_some() && (worse > worst || better) {
        (all.plan, all.together) = (more.plan, more.together);
    }
    all.cell.add(&more.cell);
}

/// How many pairs a cell may have so that all have no more than `most` together; at least one.
fn share(totals: &BTreeMap<Key, usize>, most: usize) -> usize {
    let with = |share: usize| {
        totals
            .values()
            .map(|total| (*total).min(share))
            .sum::<usize>()
    };
    let largest = totals.values().copied().max().unwrap_or(1);
    let (mut fits, mut too_many) = (1, largest + 1);
    while fits + 1 < too_many {
        let middle = fits.midpoint(too_many);
        if with(middle) <= most {
            fits = middle;
        } else {
            too_many = middle;
        }
    }
    fits
}

/// Whether the pair with this index is among so many of `total` that are spread evenly.
fn is_chosen(index: usize, total: usize, share: usize) -> bool {
    let kept = share.min(total);
    (index + 1) * kept / total > index * kept / total
}

fn plan<'f>(workload: &Workload, faults: impl IntoIterator<Item = &'f Fault>) -> Plan {
    Plan {
        workload: workload.clone(),
        faults: faults.into_iter().cloned().collect(),
        ..Plan::default()
    }
}

/// A run with its points.
fn recorded(setup: &Arc<Setup>, plan: &Plan) -> Result<Run, ExploreError> {
    let order = Order {
        record: true,
        ..Order::of(plan)
    };
    Ok(replay::accept(setup, plan, sim::run(setup, &order))?)
}

/// A cell: a layer, a row, a column.
type Key = (Layer, usize, usize);

/// Where a fault stands in the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Row(usize),
    Column(Layer, usize),
}

struct Grider<'g, 'e> {
    explore: &'g Explore<'e>,
    workload: &'g Workload,
    frame: &'g Frame,
}

impl Grider<'_, '_> {
    /// A first fault alone: its verdict, and how many pairs of each cell begin with it.
    fn alone(
        &self,
        setup: &Arc<Setup>,
        first: &Schedule,
        place: Place,
    ) -> Result<(Verdict, BTreeMap<Key, usize>), ExploreError> {
        let (run, seconds) = self.first(setup, first, place)?;
        let mut counts = BTreeMap::new();
        for (_, key) in seconds {
            *counts.entry(key).or_default() += 1;
        }
        Ok((judge(&run.history).verdict, counts))
    }

    /// The run with a first fault, and the second ones that make a pair of a row and a column with it.
    fn first(
        &self,
        setup: &Arc<Setup>,
        first: &Schedule,
        place: Place,
    ) -> Result<(Run, Vec<(Schedule, Key)>), ExploreError> {
        let plan = plan(self.workload, [&first.fault]);
        let run = recorded(setup, &plan)?;
        same_prefix(&plan, &run, 0, first)?;
        let seconds = self.frame.enumerate(self.explore, &run, run.reached);
        let paired = seconds.into_iter().filter_map(|(second, other)| {
            let key = match (place, other) {
                (Place::Row(row), Place::Column(layer, column))
                | (Place::Column(layer, column), Place::Row(row)) => (layer, row, column),
                _ => return None,
            };
            Some((second, key))
        });
        let paired = paired.collect();
        Ok((run, paired))
    }

    /// The chosen pairs that begin with a first fault.
    fn after(
        &self,
        setup: &Arc<Setup>,
        first: &Schedule,
        place: Place,
        verdicts: &BTreeMap<&Fault, Verdict>,
        chosen: &dyn Fn(&Key, usize) -> bool,
        tell: &dyn Fn(usize),
    ) -> Result<BTreeMap<Key, GridCell>, ExploreError> {
        let (_, seconds) = self.first(setup, first, place)?;
        let mut cells: BTreeMap<Key, GridCell> = BTreeMap::new();
        let mut nth: BTreeMap<Key, usize> = BTreeMap::new();
        let mut run = 0;
        // What is not known alone does not even strike alone.
        let breaks_alone = |fault: &Fault| {
            verdicts
                .get(fault)
                .is_some_and(|verdict| *verdict != Verdict::Ok)
        };
        for (second, key) in seconds {
            let index = nth.entry(key).or_default();
            let is_wanted = chosen(&key, *index);
            *index += 1;
            if !is_wanted {
                continue;
            }
            let plan = plan(self.workload, [&first.fault, &second.fault]);
            let pair = replay::accept(setup, &plan, sim::run(setup, &Order::of(&plan)))?;
            same_prefix(&plan, &pair, 1, &second)?;
            let together = !breaks_alone(&first.fault) && !breaks_alone(&second.fault);
            let cell = cells.entry(key).or_default();
            cell.add(judge(&pair.history).verdict, &plan, together);
            run += 1;
        }
        tell(run);
        Ok(cells)
    }
}
