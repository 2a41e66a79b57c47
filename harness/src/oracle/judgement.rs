//! What an oracle says of a history, and how several oracles' words become one verdict.

use std::sync::Arc;

use super::Verdict;

/// The verdict on a run, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The greatest verdict among the findings; `Ok` without any.
    pub verdict: Verdict,
    /// What the oracles found, greatest verdict first, then in order of events.
    pub findings: Vec<Finding>,
}

/// One broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is called.
    pub verdict: Verdict,
    /// What it is about: `receipt:1`, `job 2`, `pg commit 3`.
    pub subject: Arc<str>,
    /// One sentence: what was promised and what happened instead.
    pub sentence: String,
    /// The event that shows it, as an index into the history.
    pub event: usize,
}

impl Judgement {
    /// Sorts findings and takes the greatest verdict.
    pub fn of(mut findings: Vec<Finding>) -> Judgement {
        findings.sort_by(|a, b| b.verdict.cmp(&a.verdict).then(a.event.cmp(&b.event)));
        Judgement {
            verdict: findings
                .first()
                .map_or(Verdict::Ok, |finding| finding.verdict),
            findings,
        }
    }

    /// Whether every promise held.
    pub fn is_ok(&self) -> bool {
        self.verdict == Verdict::Ok
    }
}
