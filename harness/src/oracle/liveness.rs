//! Nothing is stuck for ever: `wedged`.
//!
//! An effect still owed at the limit is `exactly_once`'s to report, which knows what is owed.

use super::{Finding, Verdict};
use crate::history::{History, What};

pub(super) fn judge(history: &History, findings: &mut Vec<Finding>) {
    for (index, event) in history.events.iter().enumerate() {
        let (subject, sentence) = match &event.what {
            What::Unfinished { job } => (
                format!("job {job}"),
                format!("job {job} was neither done nor given up when the run ended"),
            ),
            What::Settled { at_limit: true } => (
                "the run".to_owned(),
                "the run never came to rest: something still happened when time was up".to_owned(),
            ),
            _ => continue,
        };
        findings.push(Finding {
            verdict: Verdict::Wedged,
            subject: subject.into(),
            sentence,
            event: index,
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::oracle::check;

    #[test]
    fn every_job_comes_to_an_end() {
        check("w invoke 1 | w ok 1 | settled", "ok");
        check("w invoke 1 | w fail 1: 40001 | settled", "ok");
        check(
            "w invoke 1 | unfinished 1 | settled",
            "wedged job 1: job 1 was neither done nor given up when the run ended",
        );
    }

    #[test]
    fn every_run_comes_to_rest() {
        check("pg commit 1 by relay | settled", "ok");
        check(
            "pg commit 1 by relay | limit",
            "wedged the run: the run never came to rest: something still happened when time was up",
        );
    }
}
