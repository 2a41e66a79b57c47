//! Prints the hash of a history for each scenario and each of so many seeds: `hashes SEEDS THREADS`.
//!
//! From each seed a plan is drawn, with a workload, a schedule and up to four faults. The lines
//! must be the same on every machine, in every profile, on any number of threads.

use std::process::ExitCode;

use midcommit::Scenario;
use midcommit::plan::Plan;
use midcommit::replay::replay;
use midcommit::seed::Seed;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let numbers = match &args[..] {
        [seeds, threads] => seeds.parse().ok().zip(threads_of(threads)),
        _ => None,
    };
    let Some((seeds, threads)) = numbers else {
        eprintln!("usage: hashes SEEDS THREADS, where THREADS may be `all`");
        return ExitCode::from(64);
    };
    for scenario in midcommit_scenarios::catalogue() {
        for line in lines(&scenario, seeds, threads) {
            println!("{line}");
        }
    }
    ExitCode::SUCCESS
}

fn threads_of(text: &str) -> Option<u64> {
    match text {
        // At least two: on a machine with one core, too, threads must change nothing.
        "all" => std::thread::available_parallelism()
            .ok()
            .map(|n| n.get().max(2) as u64),
        text => text.parse().ok().filter(|&n| n > 0),
    }
}

/// The lines of a scenario, in the order of the seeds; the n-th of T threads takes each T-th seed.
fn lines(scenario: &Scenario, seeds: u64, threads: u64) -> Vec<String> {
    let share = |nth: u64| {
        (nth..seeds)
            .step_by(threads as usize)
            .map(|seed| (seed, line(scenario, seed)))
    };
    let mut lines: Vec<(u64, String)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|nth| scope.spawn(move || share(nth).collect::<Vec<_>>()))
            .collect();
        let shares = workers
            .into_iter()
            .map(|worker| worker.join().expect("a worker has panicked"));
        shares.flatten().collect()
    });
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

fn line(scenario: &Scenario, seed: u64) -> String {
    let plan = draw(scenario, seed);
    let (verdict, hash) = match replay(scenario, &plan) {
        Ok(replay) => (
            replay.judgement.verdict.to_string(),
            replay.history.hash().to_string(),
        ),
        Err(error) => ("error".to_owned(), error.to_string()),
    };
    format!("{} {seed} {hash} {verdict} {plan}", scenario.name())
}

/// The plan that follows from a seed.
fn draw(scenario: &Scenario, seed: u64) -> Plan {
    let mut bytes = [0; 32];
    for (i, word) in bytes.chunks_mut(8).enumerate() {
        word.copy_from_slice(&Seed(seed).child("hashes", i as u64).0.to_le_bytes());
    }
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let drawn = midcommit::plans(scenario)
        .new_tree(&mut runner)
        .expect("nothing is filtered")
        .current();
    // A drawn plan shows itself as the concrete plan of the faults that fire.
    format!("{drawn:?}")
        .parse()
        .expect("a plan prints as it parses")
}
