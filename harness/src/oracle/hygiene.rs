//! What is left behind, and who acts after death: `leaked` and `undead`.
//!
//! A kill freezes a process, so it can begin nothing more; what it had sent
//! goes on, and its COMMIT may become visible long after. So only requests,
//! effects and answers count, and never what a server or the broker does with
//! bytes that had left in time.

use super::{Finding, Verdict};
use crate::history::{History, ProcessId, What};

pub(super) fn judge(history: &History, findings: &mut Vec<Finding>) {
    let mut dead: Vec<ProcessId> = Vec::new();
    for (index, event) in history.events.iter().enumerate() {
        let (process, did) = match &event.what {
            What::Leaked { server, what } => {
                findings.push(Finding {
                    verdict: Verdict::Leaked,
                    subject: format!("{what} on {server}").into(),
                    sentence: format!("{what} was still held on {server} when the run ended"),
                    event: index,
                });
                continue;
            }
            What::Ended {
                process,
                killed: true,
            } => {
                dead.push(*process);
                continue;
            }
            What::Sent { process, .. } => (process, "sent a request"),
            What::EffectInvoke { process, .. } => (process, "set out to make an effect"),
            What::Ok { process, .. } | What::Fail { process, .. } => {
                (process, "answered for its job")
            }
            _ => continue,
        };
        if dead.contains(process) {
            let name = &history.processes[*process];
            findings.push(Finding {
                verdict: Verdict::Undead,
                subject: name.to_string().into(),
                sentence: format!("{name} was killed, and {did} afterwards"),
                event: index,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::oracle::check;

    #[test]
    fn what_is_left_behind_is_leaked() {
        check("w start | w exited | settled", "ok");
        check(
            "w start | w exited | pg leaked: advisory lock 7 | settled",
            "leaked advisory lock 7 on pg: advisory lock 7 was still held on pg when the run ended",
        );
    }

    #[test]
    fn the_dead_begin_nothing() {
        for (act, did) in [
            ("w sent commit.1", "sent a request"),
            ("w effect receipt:1", "set out to make an effect"),
            ("w ok 1", "answered for its job"),
            ("w fail 1: 40001", "answered for its job"),
        ] {
            check(
                &format!("w start | w invoke 1 | {act} | w killed | settled"),
                "ok",
            );
            check(
                &format!(
                    "w start | w invoke 1 | w killed | w:2 start | {} | settled",
                    act.replace('w', "w:2")
                ),
                "ok",
            );
            check(
                &format!("w start | w invoke 1 | w killed | w:2 start | {act} | settled"),
                &format!("undead w: w was killed, and {did} afterwards"),
            );
        }
    }

    #[test]
    fn what_the_dead_had_sent_goes_on() {
        check(
            "promise receipt at-most-once | w invoke 1 | w sent commit.1 | w effect receipt:1 | w killed | w info 1: killed | \
             pg commit 1 by w job 1 | pg owes 1 receipt:1 | receipt:1 applied | settled",
            "ok",
        );
    }

    #[test]
    fn a_process_that_ends_by_itself_may_speak_its_last() {
        check(
            "w start | w invoke 1 | w stop | w exited | w ok 1 | settled",
            "ok",
        );
    }
}
