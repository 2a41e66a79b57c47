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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::judge;

    /// The events marked with `!` are those that the findings point to.
    fn check_shown(script: &str) {
        let marked = script.split(" | ").enumerate();
        let marked = marked.filter(|(_, event)| event.starts_with("! "));
        let marked: BTreeSet<usize> = marked.map(|(index, _)| index).collect();
        let judgement = judge(&crate::script::history(&script.replace("! ", "")));
        let shown = judgement.findings.iter().map(|finding| finding.event);
        assert_eq!(shown.collect::<BTreeSet<_>>(), marked, "in {script}");
    }

    #[test]
    fn a_run_without_a_finding_is_ok_and_no_other() {
        let judged = |script| judge(&crate::script::history(script));
        assert!(judged("pg commit 1 | settled").is_ok());
        assert!(!judged("pg commit 1 | limit").is_ok());
    }

    #[test]
    fn a_finding_points_to_the_event_that_shows_it() {
        check_shown("w start | ! pg owes 1 receipt:1 | pg owes 2 receipt:1 | settled");
        check_shown(
            "pg owes 1 receipt:1 | receipt:1 applied | ! receipt:1 applied | receipt:1 applied | settled",
        );
        check_shown("w start | ! receipt:1 applied | receipt:1 applied | settled");
        check_shown("w start | ! receipt:1 applied | pg owes 1 receipt:1 | settled");
        check_shown(
            "w start | ! receipt:1 applied | ! receipt:1 applied | receipt:1 applied | pg owes 1 receipt:1 | settled",
        );
        check_shown("pg commit 1 | pg ack 1 | pg down | ! pg up lost 1 | settled");
        check_shown("pg ack 1 | ! pg down | pg up | settled");
        check_shown(
            "pg commit 1 by w job 1 | ! pg commit 2 by w job 1 | pg commit 3 by w job 1 | settled",
        );
        check_shown("w start | ! pg leaked: advisory lock 7 | settled");
        check_shown("w start | w killed | ! w sent commit.1 | settled");
        check_shown("w invoke 1 | ! unfinished 1 | settled");
        check_shown("pg commit 1 by relay | ! limit");
    }
}
