//! An exploration as a check might leave it, for the tests of what shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::explore::{Cell, Certificate, Counterexample, CutCount, DrawnCovered, Exploration};
use crate::history::History;
use crate::oracle::{Verdict, judge};
use crate::plan::Class;
use crate::scenario::Scenario;
use crate::seed::Seed;

/// A column of the matrix, and how many schedules earned which verdicts in it.
pub(crate) type Column<'c> = (Option<Class>, &'c [(Verdict, usize)]);

/// A scenario of that name with these cells and nothing else.
pub(crate) fn explored(
    name: &str,
    columns: &[Column<'_>],
    declare: impl Fn(Scenario) -> Scenario,
) -> Exploration {
    let cells = columns
        .iter()
        .map(|(class, verdicts)| (*class, cell(verdicts)));
    Exploration {
        scenario: declare(Scenario::new(name).source("a sample")),
        seed: Seed(0),
        cells: cells.collect(),
        drawn: Cell::default(),
        counterexamples: Vec::new(),
        certificate: Certificate::default(),
        elapsed: Duration::from_millis(1500),
    }
}

fn cell(verdicts: &[(Verdict, usize)]) -> Cell {
    Cell {
        schedules: verdicts.iter().map(|(_, n)| n).sum(),
        verdicts: verdicts.iter().copied().collect(),
    }
}

/// A worker that is interrupted between COMMIT and the effect, and loses it.
pub(crate) fn receipts() -> Exploration {
    let columns: [Column<'_>; 3] = [
        (None, &[(Verdict::Ok, 16)]),
        (
            Some(Class::Interrupt),
            &[(Verdict::Ok, 53), (Verdict::Lost, 3)],
        ),
        (Some(Class::Kill), &[(Verdict::Ok, 28)]),
    ];
    let history = lost_history();
    Exploration {
        drawn: cell(&[(Verdict::Ok, 9), (Verdict::Lost, 1)]),
        counterexamples: vec![Counterexample {
            class: Some(Class::Interrupt),
            drawn: false,
            plan: "cancel@worker.commit.1+1".parse().unwrap(),
            judgement: judge(&history),
            hash: history.hash(),
        }],
        certificate: Certificate {
            planned: 84,
            run: 84,
            unfired: Vec::new(),
            points: 28,
            points_struck: 28,
            await_points: BTreeMap::from([
                ("worker".to_owned(), 6),
                ("worker/conn1".to_owned(), 8),
            ]),
            boundaries: 0,
            commit_points: 12,
            cuts: vec![CutCount {
                exchange: "conn1.commit.1.request+0".parse().unwrap(),
                request_bytes: 26,
                reply_bytes: 29,
                schedules: 171,
            }],
            ungated_tasks: 2,
            controls: vec![Verdict::Lost, Verdict::Duplicated],
            control_caught: true,
            run_twice: 5,
            drawn: DrawnCovered {
                plans: 10,
                struck: BTreeMap::from([(0, 1), (1, 4), (3, 5)]),
                rollbacks: 2,
                ..DrawnCovered::default()
            },
            pairs: None,
        },
        ..explored("receipts", &columns, |scenario| scenario)
    }
}

/// The history of the counterexample of [`receipts`].
pub(crate) fn lost_history() -> History {
    crate::script::history(
        "worker start | @0 worker invoke 1 | worker sent begin.1 | worker answered begin.1: BEGIN |
         @20 worker sent commit.1 | @20 fired cancel@worker.commit.1+1 | @20 worker info 1: cancelled |
         pg commit 1 by worker job 1 | @30 pg owes 1 receipt:1 | @30 pg ack 1 | healed | @1050 settled",
    )
}
