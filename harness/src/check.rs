//! What a test calls: explore a scenario, and panic with what a person needs.

use crate::explore::{Exploration, ExploreError, explore};
use crate::plan::Plan;
use crate::replay::replay;
use crate::report::Failure;
use crate::scenario::Scenario;

/// Runs every single-fault schedule of a scenario, and drawn plans with several faults.
///
/// With `MIDCOMMIT_REPLAY` set to a plan, runs that plan alone and prints its timeline; a file below
/// `target/midcommit/` has the whole history if it fails.
/// `MIDCOMMIT_SEED`, `MIDCOMMIT_CASES` and `MIDCOMMIT_DEPTH` as for [`explore`].
///
/// # Panics
///
/// If a promise is broken: with the verdict in one sentence, how many schedules break it and the
/// least plan, the timeline around it, and one command that replays it. The same text goes to a
/// file in the target directory. Also if the check would prove nothing: see [`ExploreError`].
#[track_caller]
pub fn check(scenario: Scenario) {
    if let Ok(plan) = std::env::var("MIDCOMMIT_REPLAY") {
        return check_plan(&scenario, &plan);
    }
    let exploration = match explore(scenario).run() {
        Ok(exploration) => exploration,
        Err(error) => panic!("{error}"),
    };
    if exploration.certificate.ungated_tasks > 0 {
        eprintln!(
            "{}",
            ExploreError::Ungated(exploration.certificate.ungated_tasks)
        );
    }
    if let Some(plan) = exploration.certificate.unfired.first() {
        panic!(
            "the fault of {plan} never fired, though its point was observed: the scenario is not deterministic"
        );
    }
    if let Some(failure) = failure_of(&exploration) {
        panic!("{}", told(&failure));
    }
}

/// What an exploration leads with, replayed.
pub(crate) fn failure_of(exploration: &Exploration) -> Option<Failure> {
    let example = exploration.counterexample()?;
    match replay(&exploration.scenario, &example.plan) {
        Ok(replay) => Some(Failure::of_check(
            exploration,
            example,
            &replay.history,
            replay.source_line.as_deref(),
        )),
        Err(error) => panic!(
            "the counterexample {} cannot be replayed: {error}",
            example.plan
        ),
    }
}

fn check_plan(scenario: &Scenario, plan: &str) {
    let plan: Plan = plan
        .parse()
        .unwrap_or_else(|error| panic!("MIDCOMMIT_REPLAY is no plan: {error}"));
    let replay = match replay(scenario, &plan) {
        Ok(replay) => replay,
        Err(error) => panic!("{error}"),
    };
    let failure = Failure::of_replay(
        scenario,
        &plan,
        &replay.judgement,
        &replay.history,
        replay.source_line.as_deref(),
    );
    if !replay.judgement.is_ok() {
        panic!("{}", told(&failure));
    }
    eprintln!("{plan}: ok");
}

/// The text, with the file it also went to.
fn told(failure: &Failure) -> String {
    match failure.write() {
        Ok(path) => format!("{failure}\n(also in {})", path.display()),
        Err(error) => format!("{failure}\n(not written to a file: {error})"),
    }
}
