//! The row `midcommit`: an exploration with kills, as `check` runs it.

use midcommit::oracle::Verdict;
use midcommit::plan::Class;
use midcommit::{Env, Redeliver::UntilOk, Scenario, explore};

use crate::work;

/// What an exploration ran, and in which time.
pub(crate) struct Explored {
    pub(crate) schedules: usize,
    wall_seconds: f64,
}

impl Explored {
    /// Schedules a second of wall time, over all threads.
    pub(crate) fn per_second(&self) -> f64 {
        self.schedules as f64 / self.wall_seconds
    }
}

/// Explores every kill of the transaction, each so many times.
///
/// Only kills are counted. What else an exploration does goes into their cost, as it does in a
/// `check`: the fault-free run and its controls, 16 other seeds, and every 64th schedule once
/// more. The first two happen once per exploration, so repetition makes them small.
pub(crate) fn run(repeat: usize, threads: usize) -> Explored {
    let exploration = explore(commit_only())
        .faults([Class::Kill])
        .cases(0)
        .depth(1)
        .repeat(repeat)
        .threads(threads)
        .run()
        .expect("the scenario can be explored");
    // A broken run may be fast for no good reason.
    assert_eq!(exploration.worst(), Verdict::Ok);
    assert_eq!(exploration.certificate.unfired, []);
    Explored {
        schedules: exploration.cells[&Some(Class::Kill)].schedules,
        wall_seconds: exploration.elapsed.as_secs_f64(),
    }
}

/// Explores every pair of kills of the transaction, and says how many were run. What the single ones
/// cost, and the runs that say where second kills may strike, goes into their cost.
pub(crate) fn pairs() -> usize {
    let exploration = explore(commit_only())
        .faults([Class::Kill])
        .cases(0)
        .depth(2)
        .threads(1)
        .run()
        .expect("the scenario can be explored");
    assert_eq!(exploration.worst(), Verdict::Ok);
    let pairs = exploration.certificate.pairs;
    pairs.expect("pairs were asked for").run
}

fn commit_only() -> Scenario {
    Scenario::new("commit_only")
        .schema(work::SCHEMA)
        .jobs([1])
        .redeliver(UntilOk)
        .worker("worker", async |env: Env| {
            let mut client = env.connect().await?;
            work::transaction(&mut client).await?;
            Ok(())
        })
        .owes_nothing()
        .repeatable()
}
