//! All pairs of faults: each single fault, and after it every fault of the run it leads to.
//!
//! The second point is enumerated from the history of the run with the first, so
//! recovery itself is broken too. Of the bytes of a committing exchange, only the
//! two at each end are tried as second: the bytes between are tried alone.

use std::sync::Arc;

use super::exhaustive::{self, Schedule};
use super::{Explore, ExploreError, Findings};
use crate::history::HistoryHash;
use crate::oracle::{Judgement, judge};
use crate::plan::{Kind, Plan, Point};
use crate::replay;
use crate::sim::{self, Order, Setup};

/// Runs all pairs that begin with one of `singles`.
pub(crate) fn run(
    explore: &Explore<'_>,
    setup: &Arc<Setup>,
    singles: &[Schedule],
    found: &mut Findings,
) -> Result<(), ExploreError> {
    let firsts: Vec<&Schedule> = singles
        .iter()
        .filter(|first| is_near_an_end(first, singles))
        .collect();
    let outcomes = explore.map("pairs", setup, firsts.len(), |setup, i| {
        after(explore, setup, firsts[i])
    });
    for (first, outcome) in firsts.iter().zip(outcomes) {
        for (plan, judgement, hash) in outcome? {
            found.add_pair(first.fault.kind.class(), &plan, &judgement, hash);
        }
    }
    Ok(())
}

type Outcome = (Plan, Judgement, HistoryHash);

/// Every fault that can follow `first`.
fn after(
    explore: &Explore<'_>,
    setup: &Arc<Setup>,
    first: &Schedule,
) -> Result<Vec<Outcome>, ExploreError> {
    let plan = Plan::single(first.fault.clone());
    let order = Order {
        record: true,
        ..Order::of(&plan)
    };
    let run = replay::accept(setup, &plan, sim::run(setup, &order))?;
    let seconds = exhaustive::schedules(&explore.scenario, &run.points, |class| {
        explore.classes.contains(&class)
    });
    let later = seconds
        .iter()
        .filter(|second| second.index >= run.reached && is_near_an_end(second, &seconds));
    later
        .map(|second| {
            let plan = Plan {
                faults: vec![first.fault.clone(), second.fault.clone()],
                ..Plan::default()
            };
            let run = replay::accept(setup, &plan, sim::run(setup, &Order::of(&plan)))?;
            Ok((plan, judge(&run.history), run.history.hash()))
        })
        .collect()
}

/// Whether a cut is at one of the two bytes at each end of its side; what is no cut always is.
fn is_near_an_end(schedule: &Schedule, among: &[Schedule]) -> bool {
    let Kind::Cut(cut) = schedule.fault.kind else {
        return true;
    };
    let Point::Wire {
        connection,
        exchange,
        side,
        byte,
    } = &schedule.fault.at
    else {
        return true;
    };
    let same_side = |other: &&Schedule| {
        other.fault.kind == Kind::Cut(cut)
            && matches!(&other.fault.at, Point::Wire { connection: c, exchange: e, side: s, .. } if c == connection && e == exchange && s == side)
    };
    let last = among
        .iter()
        .filter(same_side)
        .filter_map(|other| match other.fault.at {
            Point::Wire { byte, .. } => Some(byte),
            _ => None,
        });
    let last = last.max().unwrap_or(*byte);
    *byte <= 1 || *byte + 1 >= last
}
