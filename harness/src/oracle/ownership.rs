//! One job, one commit: `repeated`.
//!
//! Counted per server, since a job that writes in two databases commits once in
//! each, and on the surviving timeline only: doing again what a fail-over took
//! back is no repetition.

use std::collections::BTreeMap;

use super::survival::Survival;
use super::{Finding, Verdict};
use crate::history::{History, What};

pub(super) fn judge(history: &History, survival: &Survival<'_>, findings: &mut Vec<Finding>) {
    if history.promises.repeatable {
        return;
    }
    // A commit that the server applies twice is in the log twice, and counts twice.
    let mut commits: BTreeMap<(&str, &str), (usize, u64)> = BTreeMap::new();
    for (index, event) in history.events.iter().enumerate() {
        let What::Committed {
            commit,
            job: Some(job),
            writes: true,
            ..
        } = &event.what
        else {
            continue;
        };
        if !survival.holds(commit) {
            continue;
        }
        let server = &*commit.server;
        let (count, first) = commits.entry((job, server)).or_insert((0, commit.number));
        *count += 1;
        if *count == 2 {
            findings.push(Finding {
                verdict: Verdict::Repeated,
                subject: format!("job {job}").into(),
                sentence: format!(
                    "job {job} was committed twice, by {server} commit {first} and {}",
                    commit.number
                ),
                event: index,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::oracle::check;

    #[test]
    fn two_writing_commits_of_one_job_repeat_it() {
        check(
            "pg commit 1 by w job 1 | pg commit 2 by w job 2 | settled",
            "ok",
        );
        check(
            "pg commit 1 by w job 1 | pg commit 2 by w job 1 reads | settled",
            "ok",
        );
        check(
            "pg commit 1 by w job 1 | w killed | pg commit 2 by w:2 job 1 | pg commit 3 by w:2 job 1 | settled",
            "repeated job 1: job 1 was committed twice, by pg commit 1 and 2",
        );
    }

    #[test]
    fn one_commit_applied_twice_repeats_it_too() {
        check(
            "pg commit 1 by w job 1 | pg commit 1 by w job 1 | settled",
            "repeated job 1: job 1 was committed twice, by pg commit 1 and 1",
        );
    }

    #[test]
    fn a_daemon_has_no_job_to_repeat() {
        check(
            "pg commit 1 by relay | pg commit 2 by relay | settled",
            "ok",
        );
    }

    #[test]
    fn a_commit_that_is_gone_was_not_the_first() {
        check(
            "pg commit 1 by w job 1 | pg failover lost 1 | pg commit 2 by w job 1 | settled",
            "ok",
        );
        check(
            "pg commit 1 by w job 1 | pg failover lost 3 | pg commit 2 by w job 1 | settled",
            "repeated job 1: job 1 was committed twice, by pg commit 1 and 2",
        );
    }

    #[test]
    fn once_in_each_database_is_once() {
        check(
            "pg commit 1 by w job 1 | db commit 1 by w job 1 | settled",
            "ok",
        );
    }

    #[test]
    fn a_scenario_may_allow_it() {
        check(
            "promise repeatable | pg commit 1 by w job 1 | pg commit 2 by w job 1 | settled",
            "ok",
        );
    }
}
