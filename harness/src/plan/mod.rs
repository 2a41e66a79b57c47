//! A plan: the schedule seed, the workload, and the faults in firing order. Text in, text out.
//!
//! A seed finds a failure; a plan keeps it. Since a plan names its points in
//! words, neither a better generator nor a refactored worker invalidates it.
//!
//! A text is made of items joined by commas, with no character that a shell
//! would touch: `seed.4711,jobs.2,kill@worker.after-commit.1+2`. Without items
//! about seed and workload, the seed is 0 and the workload the scenario's own.

mod fault;
mod point;

/// The steps of a COMMIT, by which a point of one is named.
pub use fake_pg::engine::CommitPoint;
pub(crate) use fault::PANIC;
pub use fault::{Class, Cut, Fault, Kind};
pub(crate) use point::word;
pub use point::{
    Anchor, Arrival, Exchange, ParsePointError, Phase, Point, ProcessName, Side, TaskName, Verb,
};

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::seed::Seed;

/// All that decides a run of a scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Plan {
    /// The order of hosts, and latencies. 0 is the plain schedule: fixed order, one tick of latency.
    pub seed: Seed,
    /// What is asked of the workers.
    pub workload: Workload,
    /// What breaks, in firing order.
    pub faults: Vec<Fault>,
}

/// What a plan changes about the scenario's own workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// Only the first so many jobs.
    pub jobs: Option<usize>,
    /// So many processes of each worker that takes jobs or scales ([`crate::Scenario::scales`]).
    pub replicas: Option<usize>,
    /// Jobs asked to roll their transaction back ([`crate::Env::rolls_back`]).
    pub rollbacks: BTreeSet<Arc<str>>,
}

impl Plan {
    /// No fault, the plain schedule.
    pub fn faultless() -> Plan {
        Plan::default()
    }

    /// One fault on the plain schedule.
    pub fn single(fault: Fault) -> Plan {
        Plan {
            faults: vec![fault],
            ..Plan::default()
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut items = Vec::new();
        if self.seed != Seed(0) {
            items.push(format!("seed.{}", self.seed));
        }
        if let Some(jobs) = self.workload.jobs {
            items.push(format!("jobs.{jobs}"));
        }
        if let Some(replicas) = self.workload.replicas {
            items.push(format!("replicas.{replicas}"));
        }
        items.extend(
            self.workload
                .rollbacks
                .iter()
                .map(|job| format!("rollback.{job}")),
        );
        items.extend(self.faults.iter().map(Fault::to_string));
        if items.is_empty() {
            items.push("none".to_owned());
        }
        f.write_str(&items.join(","))
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut plan = Plan::default();
        let text = text.trim();
        if text == "none" {
            return Ok(plan);
        }
        for item in text.split(',') {
            let bad = || {
                format!(
                    "`{item}` is no item of a plan; there are seed.N, jobs.N, replicas.N, rollback.JOB and FAULT@POINT"
                )
            };
            match item.split_once('.') {
                _ if item.contains('@') => plan.faults.push(item.parse()?),
                Some(("seed", n)) => plan.seed = Seed(n.parse().map_err(|_| bad())?),
                Some(("jobs", n)) => plan.workload.jobs = Some(n.parse().map_err(|_| bad())?),
                Some(("replicas", n)) => {
                    plan.workload.replicas = Some(n.parse().map_err(|_| bad())?)
                }
                Some(("rollback", job)) => {
                    plan.workload.rollbacks.insert(word(job).ok_or_else(bad)?);
                }
                _ => return Err(bad()),
            }
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_prints_as_it_parses() {
        for text in [
            "none",
            "seed.7",
            "kill@worker.after-commit.1+2",
            "cut.silence@conn1.commit.1.reply+7",
            "delay.700ms@conn1.commit.1.reply+0,partition.2s@conn2.insert.1.request+0",
            "raise.SystemExit@worker.set_autocommit.1",
            "seed.4711,jobs.2,replicas.2,rollback.1,crash@pg.commit.2.flushed,sqlstate.40001@pg.commit.3.deferred",
            "failover.2@broker.publish.1,down.500ms@broker.publish.2,ack-lost@broker.ack.1",
        ] {
            assert_eq!(text.parse::<Plan>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_fault_at_the_wrong_kind_of_point_is_refused() {
        assert_eq!(
            "kill@pg.commit.1.flushed".parse::<Plan>().unwrap_err(),
            "`kill` needs an await point, and pg.commit.1.flushed is none"
        );
        assert_eq!(
            "sqlstate.40001@pg.commit.1.flushed"
                .parse::<Plan>()
                .unwrap_err(),
            "`sqlstate.40001` needs the commit point received or deferred, and pg.commit.1.flushed is none"
        );
    }

    #[test]
    fn an_unknown_item_is_refused_with_what_there_is() {
        for text in [
            "",
            "seed.x",
            "boom@worker.start+1",
            "kill",
            "sqlstate.1@pg.commit.1.deferred",
        ] {
            let error = text.parse::<Plan>().unwrap_err();
            assert!(
                error.contains("there are") || error.contains("as in"),
                "{error}"
            );
        }
    }
}
