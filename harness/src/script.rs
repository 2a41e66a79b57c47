//! Histories as text, for tests: events joined by ` | `, 10 ms apart.
//!
//! ```text
//! promise receipt once | promise repeatable | promise ok-commits
//! w start | w:2 start | w stop | w exited | w killed
//! w invoke 1 | w ok 1 | w fail 1: message | w info 1: cancelled
//! w sent commit.1 | w answered commit.1: COMMIT | w disconnected
//! w effect receipt:1 | w learns receipt:1 refused
//! pg commit 3 | pg commit 3 by w job 1 reads async | pg ack 3 | pg owes 3 receipt:1
//! pg down | pg up lost 2 3 | pg failover lost 3 | pg leaked: advisory lock 7
//! receipt:1 delivered | receipt:1 applied | receipt:1 applied in db 2
//! fired kill@w.after-commit.1+1 | healed | unfinished 1 | settled | limit
//! ```
//!
//! Without a promise about effects, `receipt` is owed once. `@250 EVENT` happens at 250 ms.

use std::sync::Arc;
use std::time::Duration;

use crate::history::{CommitId, EffectOutcome, History, ProcessId, Promises, Times, What};
use crate::plan::{Exchange, ProcessName};

/// The history that a script tells.
///
/// # Panics
///
/// If an event cannot be read: the script is part of a test.
pub(crate) fn history(script: &str) -> History {
    let mut history = History::new(Promises::default());
    let mut now = Duration::ZERO;
    for item in script
        .split('|')
        .map(str::trim)
        .filter(|item| !item.is_empty())
    {
        if let Some(promise) = item.strip_prefix("promise ") {
            promise_into(&mut history.promises, promise);
            continue;
        }
        let item = match item.strip_prefix('@').and_then(|item| item.split_once(' ')) {
            Some((ms, item)) => {
                now = Duration::from_millis(ms.parse().expect(ms));
                item
            }
            None => item,
        };
        let what =
            event(&mut history.processes, item).unwrap_or_else(|| panic!("no event: `{item}`"));
        history.push(now, what);
        now += Duration::from_millis(10);
    }
    if history.promises.owed.is_empty() {
        history.promises.owed.push(("receipt".into(), Times::Once));
    }
    history
}

fn promise_into(promises: &mut Promises, text: &str) {
    let times = |text: &str| match text {
        "once" => Times::Once,
        "at-least-once" => Times::AtLeastOnce,
        "at-most-once" => Times::AtMostOnce,
        _ => panic!("no number of times: `{text}`"),
    };
    match text.split_once(' ') {
        None if text == "repeatable" => promises.repeatable = true,
        None if text == "ok-commits" => promises.ok_commits = true,
        Some((effect, text)) => promises.owed.push((effect.into(), times(text))),
        None => panic!("no promise: `{text}`"),
    }
}

fn event(processes: &mut Vec<ProcessName>, item: &str) -> Option<What> {
    let (head, detail) = match item.split_once(": ") {
        Some((head, detail)) => (head, detail),
        None => (item, ""),
    };
    let words: Vec<&str> = head.split(' ').collect();
    let settled = |at_limit| Some(What::Settled { at_limit });
    match *words {
        ["healed"] => return Some(What::Healed),
        ["settled"] => return settled(false),
        ["limit"] => return settled(true),
        ["unfinished", job] => return Some(What::Unfinished { job: job.into() }),
        ["fired", fault] => return Some(What::Fired(Arc::new(fault.parse().ok()?))),
        [subject, "delivered"] => {
            let (name, key) = effect(subject)?;
            return Some(What::Delivered { name, key });
        }
        [subject, "applied", ref rest @ ..] => {
            let (name, key) = effect(subject)?;
            let commit = match *rest {
                [] => None,
                ["in", server, number] => Some(commit(server, number)?),
                _ => return None,
            };
            return Some(What::Applied { name, key, commit });
        }
        _ => (),
    }
    server_event(processes, &words, detail).or_else(|| process_event(processes, &words, detail))
}

fn server_event(processes: &mut Vec<ProcessName>, words: &[&str], detail: &str) -> Option<What> {
    Some(match *words {
        [server, "commit", number, ref rest @ ..] => {
            let after = |word: &str| rest.iter().position(|w| *w == word).map(|i| rest[i + 1]);
            What::Committed {
                commit: commit(server, number)?,
                process: after("by").map(|name| process(processes, name)),
                job: after("job").map(Arc::from),
                writes: !rest.contains(&"reads"),
                asynchronous: rest.contains(&"async"),
            }
        }
        [server, "ack", number] => What::Acknowledged(commit(server, number)?),
        [server, "owes", number, subject] => {
            let (name, key) = effect(subject)?;
            What::Owed {
                name,
                key,
                commit: commit(server, number)?,
            }
        }
        [server, "down"] => What::ServerDown(server.into()),
        [server, how @ ("up" | "failover"), ref rest @ ..] => What::ServerUp {
            server: server.into(),
            lost: match *rest {
                [] => Vec::new(),
                ["lost", ref numbers @ ..] => numbers.iter().map(|n| n.parse().unwrap()).collect(),
                _ => return None,
            },
            failover: how == "failover",
        },
        [server, "leaked"] => What::Leaked {
            server: server.into(),
            what: detail.into(),
        },
        _ => return None,
    })
}

fn process_event(processes: &mut Vec<ProcessName>, words: &[&str], detail: &str) -> Option<What> {
    let [name, ref verb @ ..] = *words else {
        return None;
    };
    let process = process(processes, name);
    Some(match *verb {
        ["start"] => What::Started(process),
        ["stop"] => What::ToldToStop(process),
        ["exited"] => What::Ended {
            process,
            killed: false,
        },
        ["killed"] => What::Ended {
            process,
            killed: true,
        },
        ["invoke", job] => What::Invoke {
            process,
            job: job.into(),
        },
        ["ok", job] => What::Ok {
            process,
            job: job.into(),
        },
        ["fail", job] => What::Fail {
            process,
            job: job.into(),
            error: detail.into(),
        },
        ["info", job] => What::Info {
            process,
            job: job.into(),
            reason: detail.into(),
        },
        ["sent", name] => What::Sent {
            process,
            connection: 1,
            exchange: exchange(name)?,
            bytes: 20,
            digest: 0,
        },
        ["answered", name] => What::Answered {
            process,
            connection: 1,
            exchange: exchange(name)?,
            outcome: detail.into(),
            digest: 0,
        },
        ["disconnected"] => What::Disconnected {
            process,
            connection: 1,
            how: "end of file",
        },
        ["effect", subject] => {
            let (name, key) = effect(subject)?;
            What::EffectInvoke { process, name, key }
        }
        ["learns", subject, outcome] => {
            let (name, key) = effect(subject)?;
            let outcome = match outcome {
                "ok" => EffectOutcome::Ok,
                "refused" => EffectOutcome::Refused,
                "unknown" => EffectOutcome::Unknown,
                _ => return None,
            };
            What::EffectDone {
                process,
                name,
                key,
                outcome,
            }
        }
        _ => return None,
    })
}

fn process(processes: &mut Vec<ProcessName>, text: &str) -> ProcessId {
    let (name, incarnation) = match text.split_once(':') {
        Some((name, n)) => (name, n.parse().expect(text)),
        None => (text, 1),
    };
    let name = ProcessName {
        name: name.into(),
        incarnation,
    };
    processes
        .iter()
        .position(|known| *known == name)
        .unwrap_or_else(|| {
            processes.push(name);
            processes.len() - 1
        })
}

fn commit(server: &str, number: &str) -> Option<CommitId> {
    Some(CommitId {
        server: server.into(),
        number: number.parse().ok()?,
    })
}

fn effect(subject: &str) -> Option<(Arc<str>, Arc<str>)> {
    let (name, key) = subject.split_once(':')?;
    Some((name.into(), key.into()))
}

fn exchange(text: &str) -> Option<Exchange> {
    let (verb, nth) = text.rsplit_once('.')?;
    Some(Exchange {
        verb: verb.to_owned().into(),
        nth: nth.parse().ok()?,
    })
}
