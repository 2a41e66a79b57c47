//! One round over the catalogue with a seed of its own: `soak SEED`.
//!
//! Prints each failing plan that no scenario declares, as the command that replays it, and fails
//! if there is one.

use std::process::ExitCode;

use midcommit::explore;
use midcommit::explore::{Counterexample, Exploration};
use midcommit::seed::Seed;

/// How many plans of several faults are drawn for each scenario.
const CASES: usize = 2_000;

fn main() -> ExitCode {
    let Some(seed) = std::env::args().nth(1).and_then(|seed| seed.parse().ok()) else {
        eprintln!("usage: soak SEED");
        return ExitCode::from(64);
    };
    let mut unexpected = false;
    for scenario in midcommit_scenarios::catalogue() {
        let name = scenario.name().to_owned();
        match explore(scenario).seed(Seed(seed)).cases(CASES).run() {
            Ok(exploration) => {
                let examples = exploration.counterexamples.iter();
                for example in examples.filter(|example| !declared(&exploration, example)) {
                    unexpected = true;
                    println!(
                        "{}: midcommit replay {name} {}",
                        example.judgement.verdict, example.plan
                    );
                }
            }
            Err(error) => {
                unexpected = true;
                println!("{name} with seed {seed}: {error}");
            }
        }
    }
    if unexpected {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Whether the scenario declares this verdict for the class of one of the plan's faults, for no fault at
/// all, or for several.
fn declared(exploration: &Exploration, example: &Counterexample) -> bool {
    let classes = example.plan.faults.iter().map(|fault| fault.kind.class());
    let classes: Vec<_> = classes.map(Some).chain([None]).collect();
    let verdict = &example.judgement.verdict;
    let of_several = exploration.scenario.expected_of_several();
    if example.drawn && of_several.contains_key(verdict) {
        return true;
    }
    let expectations = exploration.scenario.expectations().iter();
    expectations
        .filter(|expectation| classes.contains(&expectation.class))
        .any(|expectation| expectation.verdicts.contains(verdict))
}
