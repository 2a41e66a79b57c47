//! What a client was told, against what there is: `undurable` and `false-ok`.
//!
//! A crash may take an asynchronous commit, and a fail-over may take any: the
//! client had been told so in the manual. A crash that takes an acknowledged
//! synchronous commit breaks the server's word.

use super::{Finding, Verdict};
use crate::history::{CommitId, History, What};

pub(super) fn judge(history: &History, findings: &mut Vec<Finding>) {
    for (index, event) in history.events.iter().enumerate() {
        match &event.what {
            What::ServerUp {
                server,
                lost,
                failover: false,
            } => {
                for &number in lost {
                    undurable(history, index, server, number, findings);
                }
            }
            What::ServerDown(server) => unseen(history, index, server, findings),
            What::Ok { job, .. } if history.promises.ok_commits && !has_committed(history, job) => {
                findings.push(Finding {
                    verdict: Verdict::FalseOk,
                    subject: format!("job {job}").into(),
                    sentence: format!("job {job} ended ok, but no commit of it wrote anything"),
                    event: index,
                });
            }
            _ => (),
        }
    }
}

/// Recovery at `up` came back without this commit, which had been visible.
fn undurable(history: &History, up: usize, server: &str, number: u64, findings: &mut Vec<Finding>) {
    let (mut acknowledged, mut asynchronous) = (false, false);
    for event in &history.events[..up] {
        match &event.what {
            What::Acknowledged(commit) => acknowledged |= is(commit, server, number),
            What::Committed {
                commit,
                asynchronous: true,
                ..
            } => asynchronous |= is(commit, server, number),
            _ => (),
        }
    }
    if acknowledged && !asynchronous {
        findings.push(Finding {
            verdict: Verdict::Undurable,
            subject: format!("{server} commit {number}").into(),
            sentence: format!("{server} commit {number} was acknowledged, and {server} came back from its crash without it"),
            event: up,
        });
    }
}

/// A COMMIT acknowledged before `down` that never became visible, neither before nor by recovery:
/// every COMMIT that succeeds is in the log, also one that only read.
fn unseen(history: &History, down: usize, server: &str, findings: &mut Vec<Finding>) {
    // What was acknowledged before an earlier crash has been looked into then.
    let before = history.events[..down].iter().rev();
    let lived =
        before.take_while(|event| !matches!(&event.what, What::ServerDown(it) if **it == *server));
    for event in lived {
        let What::Acknowledged(acknowledged) = &event.what else {
            continue;
        };
        let CommitId { server: by, number } = acknowledged;
        if **by == *server && !is_seen(history, acknowledged) {
            findings.push(Finding {
                verdict: Verdict::Undurable,
                subject: format!("{server} commit {number}").into(),
                sentence: format!(
                    "{server} commit {number} was acknowledged, and was never visible to anyone"
                ),
                event: down,
            });
        }
    }
}

fn is_seen(history: &History, id: &CommitId) -> bool {
    let mut events = history.events.iter();
    events.any(|event| matches!(&event.what, What::Committed { commit, .. } if commit == id))
}

fn has_committed(history: &History, id: &str) -> bool {
    let mut events = history.events.iter();
    events.any(|event| {
        matches!(&event.what, What::Committed { job: Some(job), writes: true, .. } if **job == *id)
    })
}

fn is(commit: &CommitId, server: &str, number: u64) -> bool {
    commit.number == number && *commit.server == *server
}

#[cfg(test)]
mod tests {
    use crate::oracle::check;

    #[test]
    fn a_crash_must_not_take_what_was_acknowledged() {
        check("pg commit 1 | pg ack 1 | pg down | pg up | settled", "ok");
        check("pg commit 1 | pg down | pg up lost 1 | settled", "ok");
        check(
            "pg commit 1 | pg ack 1 | pg down | pg up lost 1 | settled",
            "undurable pg commit 1: pg commit 1 was acknowledged, and pg came back from its crash without it",
        );
    }

    #[test]
    fn an_asynchronous_commit_and_a_fail_over_may_take_it() {
        check(
            "pg commit 1 async | pg ack 1 | pg down | pg up lost 1 | settled",
            "ok",
        );
        check(
            "pg commit 1 | pg ack 1 | pg down | pg failover lost 1 | settled",
            "ok",
        );
    }

    #[test]
    fn another_servers_commit_of_that_number_is_another_commit() {
        check(
            "pg commit 1 | db commit 1 | db ack 1 | pg down | pg up lost 1 | settled",
            "ok",
        );
    }

    #[test]
    fn what_was_acknowledged_must_become_visible() {
        check(
            "pg ack 1 | pg commit 1 reads | pg down | pg up | settled",
            "ok",
        );
        check("pg ack 1 | pg down | pg commit 1 | pg up | settled", "ok");
        check("pg ack 1 | db down | db up | settled", "ok");
        check(
            "pg ack 1 | pg down | pg up | pg down | pg up | settled",
            "undurable pg commit 1: pg commit 1 was acknowledged, and was never visible to anyone",
        );
    }

    #[test]
    fn a_job_that_ends_ok_has_committed_where_that_is_promised() {
        let promise = |history: &str| format!("promise ok-commits | {history}");
        check(
            &promise("w invoke 1 | pg commit 1 by w job 1 | w ok 1 | settled"),
            "ok",
        );
        check(
            &promise("w invoke 1 | pg commit 1 by w job 1 reads | w ok 1 | settled"),
            "false-ok job 1: job 1 ended ok, but no commit of it wrote anything",
        );
        check(
            &promise("w invoke 1 | pg commit 1 by w job 2 | w ok 1 | settled"),
            "false-ok job 1: job 1 ended ok, but no commit of it wrote anything",
        );
        check("w invoke 1 | w ok 1 | settled", "ok");
    }

    #[test]
    fn a_rerun_may_find_the_work_done() {
        check(
            "promise ok-commits | w invoke 1 | pg commit 1 by w job 1 | w info 1: killed | w:2 invoke 1 | w:2 ok 1 | settled",
            "ok",
        );
    }

    #[test]
    fn a_failure_promises_nothing() {
        check(
            "promise ok-commits | w invoke 1 | w fail 1: 40001 | settled",
            "ok",
        );
    }
}
