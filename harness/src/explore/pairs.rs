//! All pairs of faults: each single fault, and after it every fault of the run it leads to.
//!
//! The second point is enumerated from the history of the run with the first, so
//! recovery itself is broken too. The workload is the smallest, one job, unless
//! someone says otherwise. Of the bytes of a committing exchange, both faults
//! try 0, 1, len−1 and len: the bytes between are tried alone.
//!
//! A pair is skipped only if it is the same run as one that is not. Both rules
//! are about a fault that takes all memory of the difference with it:
//!
//! - *A kill*, at a point that its process reached in the same `Moment` as the
//!   point before it. No worker's code ran between the two, and no other host: the
//!   process dies with the same bytes sent, the same bytes unread and at the same
//!   time. What it had in mind dies with it.
//! - *A panic in the task of a stock driver's connection* whose handle nobody holds,
//!   where the task can also be cancelled. Both drop the same future at the same
//!   instant. Only destructors can tell them apart (by `std::thread::panicking`),
//!   and the driver's do not ask.
//!
//! Runs that merely look alike are not skipped: two faults that leave the same
//! rows, the same await point and the same obligations may leave a worker with
//! different memories, of how often it has failed for example, that only a second
//! fault brings to light. A future cannot be looked into. For that reason the idle
//! rounds of a poller that lives on are all tried.
//!

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::exhaustive::{self, Ends, Schedule};
use super::outcome::{Cell, PairsCovered};
use super::{Explore, ExploreError, Findings, Progress, baseline, shrink, size};
use crate::history::HistoryHash;
use crate::oracle::{Judgement, Verdict, judge};
use crate::plan::{Class, Fault, Kind, Plan, Point, TaskName, Workload};
use crate::replay;
use crate::sim::{self, Order, Recorded, Run, Setup};

/// Runs all pairs, and says what that covers.
pub(crate) fn run(
    explore: &Explore<'_>,
    setup: &Arc<Setup>,
    found: &mut Findings,
) -> Result<PairsCovered, ExploreError> {
    let pairs = Pairs {
        explore,
        workload: smallest(explore),
    };
    let order = pairs.recorded(&pairs.plan([]));
    let plain = replay::accept(setup, &pairs.plan([]), sim::run(setup, &order))?;
    baseline::guard(&explore.scenario, &plain.history)?;
    let firsts = pairs.enumerate(&plain, 0);
    let mut covered = PairsCovered {
        jobs: pairs.workload.jobs,
        jobs_known: explore.scenario.system.jobs.len(),
        firsts: firsts.run.len(),
        skipped_kills: 0,
        bytes: firsts.bytes,
        bytes_left_out: firsts.bytes_left_out,
        ..PairsCovered::default()
    };

    // How many pairs there are, the runs with one fault say.
    let first = &firsts.run;
    let alone = explore.map("first faults", setup, first.len(), |setup, i| {
        pairs.alone(setup, &first[i])
    });
    let mut verdicts: BTreeMap<&Fault, Verdict> = BTreeMap::new();
    // How many pairs to run stand before those that begin with each.
    let mut before = Vec::new();
    for (schedule, alone) in first.iter().zip(alone) {
        let alone = alone?;
        before.push(covered.planned - covered.skipped_kills - covered.skipped_panics);
        covered.planned += alone.planned;
        covered.skipped_kills += alone.skipped_kills;
        covered.skipped_panics += alone.skipped_panics;
        verdicts.insert(&schedule.fault, alone.judgement.verdict);
        if !alone.judgement.is_ok() && !found.is_known(alone.judgement.verdict) {
            let class = schedule.fault.kind.class();
            let plan = pairs.plan([&schedule.fault]);
            found.keep(Some(class), true, &plan, &alone.judgement, alone.hash);
        }
    }
    covered.firsts_skipped = firsts.skipped_kills + firsts.skipped_panics;

    let total = covered.planned - covered.skipped_kills - covered.skipped_panics;
    let stride = explore
        .pairs_max
        .map_or(1, |most| total.div_ceil(most.max(1)).max(1));
    let done = AtomicUsize::new(0);
    let tell = |more| {
        (explore.progress)(Progress {
            done: done.fetch_add(more, Ordering::Relaxed) + more,
            total: total.div_ceil(stride),
            stage: "pairs",
        });
    };
    let outcomes = explore.map_quietly(setup, first.len(), |setup, i| {
        let skip = before[i].next_multiple_of(stride) - before[i];
        pairs.after(setup, &first[i], &verdicts, (skip, stride), &tell)
    });
    let mut least: BTreeMap<(Class, Verdict), Failure> = BTreeMap::new();
    for outcome in outcomes {
        let After { cells, failures } = outcome?;
        for (classes, cell) in cells {
            covered.run += cell.schedules;
            found.drawn.add(&cell);
            covered.cells.entry(classes).or_default().add(&cell);
        }
        for (key, failure) in failures {
            keep_least(&mut least, key, failure);
        }
    }
    covered.left_out = total - covered.run;
    for ((class, verdict), (plan, ..)) in least {
        let plan = shrink::least_failing(setup, plan, verdict, |_, _| true)?;
        if let Some((judgement, hash)) = shrink::outcome(setup, &plan)? {
            found.keep(Some(class), true, &plan, &judgement, hash);
        }
    }
    Ok(covered)
}

/// The workload that pairs are tried on.
pub(super) fn smallest(explore: &Explore<'_>) -> Workload {
    let jobs = explore.pair_jobs.unwrap_or(1);
    Workload {
        jobs: (jobs < explore.scenario.system.jobs.len()).then_some(jobs),
        ..Workload::default()
    }
}

/// A plan that fails where neither of its faults alone does.
type Failure = (Plan, Judgement, HistoryHash);

struct Pairs<'e, 'p> {
    explore: &'e Explore<'p>,
    workload: Workload,
}

/// The faults of a run from some point on, sorted.
#[derive(Default)]
struct Enumerated {
    run: Vec<Schedule>,
    skipped_kills: usize,
    skipped_panics: usize,
    /// Bytes at which something could be cut, and those at which nothing is.
    bytes: usize,
    bytes_left_out: usize,
}

/// A run with one fault, and how many can follow.
struct Alone {
    judgement: Judgement,
    hash: HistoryHash,
    planned: usize,
    skipped_kills: usize,
    skipped_panics: usize,
}

/// What became of the pairs that begin with one fault.
struct After {
    cells: BTreeMap<(Class, Class), Cell>,
    failures: BTreeMap<(Class, Verdict), Failure>,
}

impl Pairs<'_, '_> {
    fn plan<'f>(&self, faults: impl IntoIterator<Item = &'f Fault>) -> Plan {
        Plan {
            workload: self.workload.clone(),
            faults: faults.into_iter().cloned().collect(),
            ..Plan::default()
        }
    }

    fn recorded(&self, plan: &Plan) -> Order {
        Order {
            record: true,
            ..Order::of(plan)
        }
    }

    /// The faults of a run that strike at its `reached`-th point or later.
    fn enumerate(&self, run: &Run, reached: usize) -> Enumerated {
        let explore = self.explore;
        let all = exhaustive::schedules(&explore.scenario, &run.points, |class| {
            explore.classes.contains(&class)
        });
        let ends = Ends::of(&run.points);
        let mut enumerated = Enumerated::default();
        let (mut bytes, mut left_out) = (BTreeSet::new(), BTreeSet::new());
        for schedule in all.into_iter().filter(|it| it.index >= reached) {
            if let (Kind::Cut(_), at) = (&schedule.fault.kind, &schedule.fault.at) {
                bytes.insert(at.clone());
                if !ends.is_near_an_end(at) {
                    left_out.insert(at.clone());
                    continue;
                }
            }
            match twin(&schedule, run, reached) {
                Some(Twin::Kill) => enumerated.skipped_kills += 1,
                Some(Twin::Panic) => enumerated.skipped_panics += 1,
                None => enumerated.run.push(schedule),
            }
        }
        (enumerated.bytes, enumerated.bytes_left_out) = (bytes.len(), left_out.len());
        enumerated
    }

    /// Runs a first fault alone.
    fn alone(&self, setup: &Arc<Setup>, first: &Schedule) -> Result<Alone, ExploreError> {
        let (run, seconds) = self.first(setup, first)?;
        Ok(Alone {
            judgement: judge(&run.history),
            hash: run.history.hash(),
            planned: seconds.run.len() + seconds.skipped_kills + seconds.skipped_panics,
            skipped_kills: seconds.skipped_kills,
            skipped_panics: seconds.skipped_panics,
        })
    }

    /// The run with a first fault, and what may follow.
    fn first(
        &self,
        setup: &Arc<Setup>,
        first: &Schedule,
    ) -> Result<(Run, Enumerated), ExploreError> {
        let plan = self.plan([&first.fault]);
        let run = replay::accept(setup, &plan, sim::run(setup, &self.recorded(&plan)))?;
        same_prefix(&plan, &run, 0, first)?;
        let seconds = self.enumerate(&run, run.reached);
        Ok((run, seconds))
    }

    /// Every fault that can follow `first`; with a `stride`, each so-manieth after those skipped.
    fn after(
        &self,
        setup: &Arc<Setup>,
        first: &Schedule,
        verdicts: &BTreeMap<&Fault, Verdict>,
        (skip, stride): (usize, usize),
        tell: &dyn Fn(usize),
    ) -> Result<After, ExploreError> {
        /// So many pairs are run between two reports of progress.
        const TOLD_EVERY: usize = 64;
        let (_, seconds) = self.first(setup, first)?;
        let mut after = After {
            cells: BTreeMap::new(),
            failures: BTreeMap::new(),
        };
        let mut untold = 0;
        for second in seconds.run.iter().skip(skip).step_by(stride) {
            let plan = self.plan([&first.fault, &second.fault]);
            let run = replay::accept(setup, &plan, sim::run(setup, &Order::of(&plan)))?;
            same_prefix(&plan, &run, 1, second)?;
            let judgement = judge(&run.history);
            let classes = (first.fault.kind.class(), second.fault.kind.class());
            let cell = after.cells.entry(classes).or_default();
            cell.count(judgement.verdict);
            if !judgement.is_ok()
                && verdicts.get(&first.fault) == Some(&Verdict::Ok)
                && self.is_ok_alone(setup, &second.fault, verdicts)?
            {
                let class = blamed(classes);
                let failure = (plan, judgement, run.history.hash());
                keep_least(&mut after.failures, (class, failure.1.verdict), failure);
            }
            untold += 1;
            if untold == TOLD_EVERY {
                tell(std::mem::take(&mut untold));
            }
        }
        tell(untold);
        Ok(after)
    }

    /// Whether a plan with this fault alone keeps every promise, or does not even fire.
    fn is_ok_alone(
        &self,
        setup: &Arc<Setup>,
        fault: &Fault,
        verdicts: &BTreeMap<&Fault, Verdict>,
    ) -> Result<bool, ExploreError> {
        match verdicts.get(fault) {
            Some(verdict) => Ok(*verdict == Verdict::Ok),
            None => {
                let outcome = shrink::outcome(setup, &self.plan([fault]))?;
                Ok(outcome.is_none_or(|(judgement, _)| judgement.is_ok()))
            }
        }
    }
}

/// The run up to a fault must be the run that its point was observed in.
pub(super) fn same_prefix(
    plan: &Plan,
    run: &Run,
    nth: usize,
    schedule: &Schedule,
) -> Result<(), ExploreError> {
    match run.fired.get(nth) {
        Some((_, prefix)) if *prefix == schedule.prefix => Ok(()),
        _ => Err(ExploreError::NotDeterministic(format!(
            "the run of {plan} differs, before its last fault fires, from the run without that fault"
        ))),
    }
}

/// Why a schedule is the same run as another that strikes at the same point or right before.
#[derive(Debug, PartialEq, Eq)]
enum Twin {
    Kill,
    Panic,
}

/// Whether a fault of this run leads to the same run as another from `reached` on does.
fn twin(schedule: &Schedule, run: &Run, reached: usize) -> Option<Twin> {
    let Point::Await { task, .. } = &schedule.fault.at else {
        return None;
    };
    match schedule.fault.kind {
        Kind::Kill => {
            let before = schedule.index.checked_sub(1).filter(|at| *at >= reached)?;
            is_same_death(&run.points[before], &run.points[schedule.index], task)
                .then_some(Twin::Kill)
        }
        Kind::Raise(_) => run.drivers.contains(task).then_some(Twin::Panic),
        _ => None,
    }
}

/// Whether this task's process dies the same death at both points, one right after the other.
fn is_same_death(before: &Recorded, at: &Recorded, task: &TaskName) -> bool {
    let Point::Await { task: earlier, .. } = &before.point else {
        return false;
    };
    earlier.process == task.process && before.moment == at.moment
}

/// The class that a pair is told under: no design survives a fail-over, so it stands first.
fn blamed((first, second): (Class, Class)) -> Class {
    match second {
        Class::Failover => second,
        _ => first,
    }
}

/// Of failures of a kind, the first that strikes the fewest tasks spawned by workers.
fn keep_least(
    failures: &mut BTreeMap<(Class, Verdict), Failure>,
    key: (Class, Verdict),
    failure: Failure,
) {
    match failures.get(&key) {
        Some(known) if size(&known.0) <= size(&failure.0) => {}
        _ => {
            failures.insert(key, failure);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{baseline, explore};
    use super::*;
    use crate::history::{History, What};
    use crate::{Env, Redeliver::UntilOk, Scenario, Times};
    use std::time::Duration;

    /// A worker whose effect follows its commit, and is made again until it is confirmed.
    fn retried() -> Scenario {
        Scenario::new("retried")
            .schema("create table t (id int primary key)")
            .jobs([1, 2])
            .redeliver(UntilOk)
            .worker("worker", async |env: Env| {
                let client = env.connect().await?;
                let insert = "insert into t values (1) on conflict do nothing";
                client.batch_execute(insert).await?;
                env.effect("receipt", env.job()).await?;
                Ok(())
            })
            .owes("receipt", "select id from t", Times::AtLeastOnce)
            .settle(Duration::from_millis(100), Duration::from_secs(10))
            .stalls([Duration::from_millis(100)])
            .delays([Duration::from_millis(100)])
    }

    fn recorded(setup: &Arc<Setup>, plan: &Plan) -> Run {
        let order = Order {
            record: true,
            ..Order::of(plan)
        };
        sim::run(setup, &order)
    }

    /// What happened, but for which fault did it and what an ended task is said to have ended of.
    fn told(history: &History) -> Vec<(Duration, What)> {
        let events = history.events.iter();
        let untold = |what: &What| matches!(what, What::Fired(_));
        events
            .filter(|event| !untold(&event.what))
            .map(|event| (event.at, event.what.clone()))
            .collect()
    }

    #[test]
    fn what_is_skipped_is_the_same_run_as_what_is_not() {
        let setup = baseline::baseline(&retried()).unwrap().setup;
        let plain = recorded(&setup, &Plan::faultless());
        let all = exhaustive::schedules(&retried(), &plain.points, |_| true);
        let mut skipped = BTreeMap::new();
        for schedule in &all {
            let Some(why) = twin(schedule, &plain, 0) else {
                continue;
            };
            let twin = all.iter().find(|other| match why {
                Twin::Kill => other.fault.kind == Kind::Kill && other.index + 1 == schedule.index,
                Twin::Panic => other.fault.kind == Kind::Cancel && other.index == schedule.index,
            });
            let history = |fault: &Fault| {
                told(&sim::run(&setup, &Order::of(&Plan::single(fault.clone()))).history)
            };
            let twin = &twin.expect("the other is tried too").fault;
            assert_eq!(
                history(&schedule.fault),
                history(twin),
                "{} and {twin}",
                schedule.fault
            );
            *skipped.entry(format!("{why:?}")).or_insert(0) += 1;
        }
        assert!(skipped["Kill"] > 2 && skipped["Panic"] > 2, "{skipped:?}");
    }

    #[test]
    fn a_kill_after_other_code_has_run_is_another_run() {
        let setup = baseline::baseline(&retried()).unwrap().setup;
        let plain = recorded(&setup, &Plan::faultless());
        for (before, at) in plain.points.iter().zip(&plain.points[1..]) {
            let Point::Await { task, .. } = &at.point else {
                continue;
            };
            if is_same_death(before, at, task) {
                assert_eq!(before.moment.polls, at.moment.polls);
                assert_eq!(before.moment.step, at.moment.step);
            }
        }
    }

    /// A poller that gives up at its second error: rows, await points and what is owed are the same after
    /// one error as after none, and only its memory differs.
    fn forgetful(patience: u32) -> Scenario {
        Scenario::new("forgetful")
            .schema("create table t (id int primary key, sent bool not null default false)")
            .jobs([1])
            .redeliver(UntilOk)
            .worker("worker", async |env: Env| {
                let client = env.connect().await?;
                let insert = "insert into t values (1) on conflict do nothing";
                client.batch_execute(insert).await?;
                Ok(())
            })
            .daemon("relay", async move |env: Env| {
                let mut errors = 0;
                loop {
                    if errors >= patience {
                        std::future::pending::<()>().await;
                    }
                    tokio::time::sleep(Duration::from_millis(30)).await;
                    let Ok(client) = env.connect().await else {
                        errors += 1;
                        continue;
                    };
                    let unsent = "select id from t where not sent";
                    let Ok(rows) = client.query(unsent, &[]).await else {
                        errors += 1;
                        continue;
                    };
                    if rows.is_empty() {
                        continue;
                    }
                    let sent = "update t set sent = true";
                    if env.effect("receipt", 1).await.is_err()
                        || client.batch_execute(sent).await.is_err()
                    {
                        errors += 1;
                        // Longer than the broker is down.
                        tokio::time::sleep(Duration::from_millis(400)).await;
                    }
                }
            })
            .owes("receipt", "select id from t", Times::AtLeastOnce)
            .faults([Class::Broker])
            .settle(Duration::from_millis(600), Duration::from_secs(10))
    }

    #[test]
    fn a_memory_that_only_a_second_fault_brings_to_light_is_found() {
        let explored = explore(forgetful(2)).cases(0).depth(2).run().unwrap();
        assert_eq!(explored.cells[&Some(Class::Broker)].worst(), Verdict::Ok);
        let example = explored.counterexample().expect("two errors are too many");
        assert_eq!(example.judgement.verdict, Verdict::Lost);
        assert_eq!(example.plan.faults.len(), 2, "{}", example.plan);
        let patient = explore(forgetful(9)).cases(0).depth(2).run().unwrap();
        assert_eq!(patient.worst(), Verdict::Ok);
    }

    #[test]
    fn what_is_planned_is_run_skipped_or_said_to_be_left_out() {
        let run = |most: Option<usize>, threads| {
            let mut exploring = explore(retried())
                .faults([Class::Kill, Class::Interrupt, Class::Broker])
                .cases(0)
                .depth(2)
                .threads(threads);
            if let Some(most) = most {
                exploring = exploring.pairs_max(most);
            }
            exploring.run().unwrap().certificate.pairs.unwrap()
        };
        let all = run(None, 2);
        assert_eq!(all, run(None, 1));
        assert_eq!((all.jobs, all.left_out), (Some(1), 0));
        let skipped = all.skipped_kills + all.skipped_panics;
        assert!(all.skipped_kills > 0 && all.skipped_panics > 0, "{all:?}");
        assert_eq!(all.planned, all.run + skipped);
        let some = run(Some(all.run / 4), 2);
        assert_eq!(some.run, all.run.div_ceil(all.run.div_ceil(all.run / 4)));
        assert!(some.run > 0 && some.run <= all.run / 4, "{some:?}");
        assert_eq!(some.planned, some.run + skipped + some.left_out);
    }

    #[test]
    fn pairs_are_tried_with_as_many_jobs_as_asked_for() {
        let jobs = |n| {
            let exploring = explore(retried()).faults([Class::Broker]).cases(0).depth(2);
            let pairs = exploring.pair_jobs(n).run().unwrap().certificate.pairs;
            pairs.unwrap().jobs
        };
        assert_eq!(jobs(1), Some(1));
        assert_eq!(jobs(2), None);
    }

    #[test]
    fn both_faults_are_cut_at_the_bytes_next_to_an_end_only() {
        let explored = explore(retried()).faults([Class::Network]).cases(0);
        let setup = baseline::baseline(&retried()).unwrap().setup;
        let pairs = Pairs {
            explore: &explored,
            workload: Workload::default(),
        };
        let check = |run: &Run, reached| {
            let enumerated = pairs.enumerate(run, reached);
            let mut kept: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
            for schedule in &enumerated.run {
                if let (
                    Kind::Cut(_),
                    Point::Wire {
                        connection,
                        exchange,
                        side,
                        byte,
                    },
                ) = (&schedule.fault.kind, &schedule.fault.at)
                {
                    let name = format!("{connection}.{exchange:?}.{side:?}");
                    kept.entry(name).or_default().insert(*byte);
                }
            }
            assert!(kept.values().all(|bytes| bytes.len() <= 4), "{kept:?}");
            assert!(kept.values().any(|bytes| bytes.len() == 4), "{kept:?}");
            assert!(enumerated.bytes_left_out > 0);
            let kept: usize = kept.values().map(BTreeSet::len).sum();
            assert_eq!(kept + enumerated.bytes_left_out, enumerated.bytes);
        };
        check(&recorded(&setup, &Plan::faultless()), 0);
        let plan = "kill@worker.start+1".parse().unwrap();
        let run = recorded(&setup, &plan);
        check(&run, run.reached);
    }
}
