//! How many schedules a second: the cost of one kill, restart and rerun.
//!
//! Every row does the same work. A stock tokio-postgres client connects and runs
//! BEGIN, INSERT, COMMIT; its process is killed at one await point, stays down for
//! two ticks and does it again until it succeeds; and so on for every await point
//! in both phases. Rows differ in what surrounds that work:
//!
//! - `midcommit`: `explore`, the path that `check` takes. The simulated server with
//!   its WAL and locks, the broker, canonical bytes, history, prefix check and oracles.
//! - `canned`: turmoil, a simulator for any program, and nothing else. A server that answers with fixed bytes.
//! - `floor`: no network at all. The same futures over `tokio::io::duplex`.
//! - `pairs`: `explore` at depth 2. Two kills, one after the other, at all pairs of points but those that
//!   the certificate says are skipped; counted in pairs.
//!
//! Read it from below: `canned` over `floor` is what a general simulator costs, `midcommit` over
//! `floor` is what ours costs with all it does. Time is CPU time, so that a busy machine distorts little;
//! rows take turns, and each figure is the median of the rounds. Two threads over one
//! is about wall time, since nothing else shows contention: run it on an idle machine.
//!
//! Nothing is asserted about time. `cargo bench --bench schedules -- --quick` is a
//! short run, good for a look.

mod canned;
mod explored;
mod floor;
mod gate;
mod measure;
mod server;
mod work;

use std::time::Duration;

use measure::{Cost, Rounds};

/// How often rows take turns.
const ROUNDS: usize = 5;

fn main() {
    let effort = Effort::of(std::env::args());
    let mut rows = [
        Row::new("midcommit", || explored::run(effort.repeat, 1).schedules),
        Row::new("canned", canned::kill_everywhere),
        Row::new("floor", floor::kill_everywhere),
        Row::new("pairs", explored::pairs),
    ];
    let mut two_over_one = Vec::new();
    for row in &mut rows {
        // Caches fill, lazy statics settle.
        let _warm = (row.work)();
    }
    for _ in 0..ROUNDS {
        for row in &mut rows {
            row.rounds.push(Cost::of(effort.at_least, &mut row.work));
        }
        let [one, two] = [1, 2].map(|threads| explored::run(effort.repeat, threads).per_second());
        two_over_one.push(two / one);
    }
    print(&rows, &two_over_one);
}

/// How long to measure.
#[derive(Clone, Copy)]
struct Effort {
    /// CPU time of each row in each round, at least.
    at_least: Duration,
    /// How often one exploration runs each of its schedules.
    repeat: usize,
}

impl Effort {
    /// Cargo passes `--bench`; without it, as under `cargo test --all-targets`, a look is enough.
    fn of(mut arguments: impl Iterator<Item = String>) -> Effort {
        let (mut quick, mut bench) = (false, false);
        arguments.by_ref().for_each(|argument| {
            quick |= argument == "--quick";
            bench |= argument == "--bench";
        });
        match bench && !quick {
            true => Effort {
                at_least: Duration::from_millis(1_500) / ROUNDS as u32,
                repeat: 128,
            },
            false => Effort {
                at_least: Duration::from_millis(20),
                repeat: 16,
            },
        }
    }
}

/// What is measured under one name.
struct Row<'a> {
    name: &'static str,
    /// Runs some schedules, and says how many.
    work: Box<dyn FnMut() -> usize + 'a>,
    rounds: Rounds,
}

impl<'a> Row<'a> {
    fn new(name: &'static str, work: impl FnMut() -> usize + 'a) -> Row<'a> {
        Row {
            name,
            work: Box::new(work),
            rounds: Rounds::default(),
        }
    }
}

fn print(rows: &[Row<'_>; 4], two_over_one: &[f64]) {
    let [midcommit, canned, floor, pairs] = rows;
    println!(
        "killed at each of {} await points (canned {}, floor {}), restarted, run again until ok",
        explored::run(1, 1).schedules,
        canned::kill_everywhere(),
        floor::kill_everywhere(),
    );
    let heading = |of: &str| {
        println!(
            "{:<12}{:>14}{:>28}",
            "",
            format!("µs/{of}"),
            format!("{of}s per CPU-second")
        )
    };
    heading("schedule");
    for row in [midcommit, canned, floor] {
        line(row);
    }
    heading("pair");
    line(pairs);
    let ratios = midcommit.rounds.speed_over(&canned.rounds);
    println!("midcommit/canned    {}", measure::median_of(&ratios));
    println!("two threads/one     {}", measure::median_of(two_over_one));
}

fn line(row: &Row<'_>) {
    println!(
        "{:<12}{:>14.1}{:>28.0}",
        row.name,
        row.rounds.median_micros(),
        1e6 / row.rounds.median_micros(),
    );
}
