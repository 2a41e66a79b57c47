//! Judges: each reads a history, and nothing else.
//!
//! They run once per schedule, so each looks through the events once and writes
//! no sentence unless it finds something.

mod survival;
mod exactly_once;
mod durability;
mod ownership;
mod liveness;
mod hygiene;
mod judgement;
mod verdict;

pub use judgement::{Finding, Judgement};
pub use verdict::Verdict;

use crate::history::History;
use survival::Survival;

/// The verdict on a run, from its history alone.
pub fn judge(history: &History) -> Judgement {
    let survival = Survival::of(history);
    let mut findings = Vec::new();
    exactly_once::judge(history, &survival, &mut findings);
    durability::judge(history, &mut findings);
    ownership::judge(history, &survival, &mut findings);
    liveness::judge(history, &mut findings);
    hygiene::judge(history, &mut findings);
    Judgement::of(findings)
}

/// Holds what the oracles find in a script (see [`crate::script`]) against `expected`: the
/// findings as `VERDICT SUBJECT: SENTENCE`, joined by ` | `, or `ok`. That the run as such is
/// wedged goes without saying where something else is.
#[cfg(test)]
fn check(script: &str, expected: &str) {
    let judgement = judge(&crate::script::history(script));
    let found: Vec<String> = judgement
        .findings
        .iter()
        .map(|finding| {
            format!(
                "{} {}: {}",
                finding.verdict, finding.subject, finding.sentence
            )
        })
        .collect();
    let found = match &found[..] {
        [] => "ok".to_owned(),
        [found @ .., run] if !found.is_empty() && run.starts_with("wedged the run") => {
            found.join(" | ")
        }
        found => found.join(" | "),
    };
    assert_eq!(found, expected, "in {script}");
}
