//! From a plan that fails to a least one.
//!
//! A least plan fails in the same way, and no plan that lacks one of its faults
//! fails in a way that counts: else every pair would be reported beside the single
//! fault in it. What counts, the caller says.

use std::sync::Arc;

use super::{ExploreError, run_plan};
use crate::history::HistoryHash;
use crate::oracle::{Judgement, Verdict};
use crate::plan::{Plan, Workload};
use crate::replay::ReplayError;
use crate::seed::Seed;
use crate::sim::Setup;

/// What became of a plan, or `None` if one of its faults does not fire.
pub(crate) fn outcome(
    setup: &Arc<Setup>,
    plan: &Plan,
) -> Result<Option<(Judgement, HistoryHash)>, ExploreError> {
    match run_plan(setup, plan) {
        Ok(outcome) => Ok(Some(outcome)),
        Err(ExploreError::Stale(ReplayError::Stale { .. })) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes away faults, seed and workload while the verdict stays the same.
pub(crate) fn least(
    setup: &Arc<Setup>,
    plan: Plan,
    verdict: Verdict,
) -> Result<Plan, ExploreError> {
    let mut least = plan;
    'again: loop {
        for smaller in smaller(&least) {
            let outcome = outcome(setup, &smaller)?;
            if outcome.is_some_and(|(judgement, _)| judgement.verdict == verdict) {
                least = smaller;
                continue 'again;
            }
        }
        return Ok(least);
    }
}

/// The least part of a plan that fails in a way that counts: no part of it that lacks a fault does. Its
/// workload or its seed may be what a single fault needs, or even no fault at all.
pub(crate) fn least_failing(
    setup: &Arc<Setup>,
    plan: Plan,
    verdict: Verdict,
    counts: impl Fn(&Plan, Verdict) -> bool,
) -> Result<Plan, ExploreError> {
    let mut least = self::least(setup, plan, verdict)?;
    while let Some((part, verdict)) = failing_part(setup, &least, &counts)? {
        least = self::least(setup, part, verdict)?;
    }
    Ok(least)
}

/// A plan that lacks one of the faults and fails too.
fn failing_part(
    setup: &Arc<Setup>,
    plan: &Plan,
    counts: impl Fn(&Plan, Verdict) -> bool,
) -> Result<Option<(Plan, Verdict)>, ExploreError> {
    for part in without_one(plan) {
        match outcome(setup, &part)? {
            Some((judgement, _)) if !judgement.is_ok() && counts(&part, judgement.verdict) => {
                return Ok(Some((part, judgement.verdict)));
            }
            _ => {}
        }
    }
    Ok(None)
}

fn without_one(plan: &Plan) -> impl Iterator<Item = Plan> {
    (0..plan.faults.len()).map(|i| {
        let mut part = plan.clone();
        part.faults.remove(i);
        part
    })
}

/// Plans that ask for one thing less.
fn smaller(plan: &Plan) -> Vec<Plan> {
    let mut plans: Vec<Plan> = without_one(plan).collect();
    let mut simpler = |changes: bool, plan: Plan| {
        if changes {
            plans.push(plan);
        }
    };
    simpler(
        plan.seed != Seed(0),
        Plan {
            seed: Seed(0),
            ..plan.clone()
        },
    );
    simpler(
        plan.workload != Workload::default(),
        Plan {
            workload: Workload::default(),
            ..plan.clone()
        },
    );
    plans
}
