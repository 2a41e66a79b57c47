//! One event in words: who, in which lane, and what.
//!
//! The words are those of the timeline and of JSON alike. A verb without a
//! subject: the subject is the lane, or the name before it.

use std::time::Duration;

use crate::history::{EffectOutcome, Event, History, What};
use crate::plan::{Point, ProcessName};

/// The columns of a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// Workers and daemons.
    Process,
    /// Servers.
    Server,
    /// The broker, and what it makes happen.
    Broker,
}

/// An event in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    /// Its lane.
    pub(crate) lane: Lane,
    /// Who did it, where that is anyone.
    pub(crate) who: Option<String>,
    /// What it is.
    pub(crate) text: String,
}

/// An event on its own, with its time, and with the hash of bytes whose name says too little:
/// for telling two alike ones apart.
pub(crate) fn event_line(history: &History, event: &Event) -> String {
    let Described { who, text, .. } = describe(history, &event.what);
    let who = who.map_or(String::new(), |who| format!("{who} "));
    let bytes = match &event.what {
        What::Sent { bytes, digest, .. } => format!(" ({bytes} bytes, hash {digest:016x})"),
        What::Answered { digest, .. } => format!(" (hash {digest:016x})"),
        _ => String::new(),
    };
    format!("{} ms {who}{text}{bytes}", milliseconds(event.at))
}

/// Whole milliseconds where they are whole.
pub(crate) fn milliseconds(at: Duration) -> String {
    match at.subsec_micros() % 1000 {
        0 => at.as_millis().to_string(),
        micros => format!("{}.{micros:03}", at.as_millis()),
    }
}

/// Says an event in words.
pub(crate) fn describe(history: &History, what: &What) -> Described {
    let process = |id: usize| history.processes.get(id).map(ProcessName::to_string);
    let by = |id: usize, text: String| Described {
        lane: Lane::Process,
        who: process(id),
        text,
    };
    let on = |server: &str, text: String| Described {
        lane: Lane::Server,
        who: Some(server.to_owned()),
        text,
    };
    let nobody = |lane: Lane, text: String| Described {
        lane,
        who: None,
        text,
    };
    match what {
        What::Started(id) => by(*id, "starts".to_owned()),
        What::ToldToStop(id) => by(*id, "is told to stop".to_owned()),
        What::Ended {
            process,
            killed: true,
        } => by(*process, "is killed".to_owned()),
        What::Ended {
            process,
            killed: false,
        } => by(*process, "exits".to_owned()),
        What::Invoke { process, job } => by(*process, format!("takes job {job}")),
        What::Ok { process, job } => by(*process, format!("job {job} ok")),
        What::Fail {
            process,
            job,
            error,
        } => by(*process, format!("{}fails: {error}", of_job(job))),
        What::Info {
            process,
            job,
            reason,
        } => by(*process, format!("{}unknown: {reason}", of_job(job))),
        What::Sent {
            process,
            connection,
            exchange,
            ..
        } => by(
            *process,
            format!("→ {}{exchange}", on_connection(*connection)),
        ),
        What::Answered {
            process,
            connection,
            exchange,
            outcome,
            ..
        } => by(
            *process,
            format!("← {}{exchange} {outcome}", on_connection(*connection))
                .trim_end()
                .to_owned(),
        ),
        What::Disconnected {
            process,
            connection,
            how,
        } => by(*process, format!("conn{connection} ends: {how}")),
        What::Committed {
            commit,
            job,
            writes,
            asynchronous,
            ..
        } => {
            let of = job
                .as_ref()
                .map_or(String::new(), |job| format!(" of job {job}"));
            let remark = match (writes, asynchronous) {
                (false, _) => " (read only)",
                (true, true) => " (asynchronous)",
                (true, false) => "",
            };
            on(
                &commit.server,
                format!("commit {}{of} visible{remark}", commit.number),
            )
        }
        What::Acknowledged(commit) => on(
            &commit.server,
            format!("commit {} acknowledged", commit.number),
        ),
        What::Owed { name, key, commit } => on(&commit.server, format!("owes {name}:{key}")),
        What::EffectInvoke { process, name, key } => by(*process, format!("sends {name}:{key}")),
        What::EffectDone {
            process,
            name,
            key,
            outcome,
        } => {
            let outcome = match outcome {
                EffectOutcome::Ok => "acknowledged",
                EffectOutcome::Refused => "refused",
                EffectOutcome::Unknown => "unknown",
            };
            by(*process, format!("{name}:{key} {outcome}"))
        }
        What::Delivered { name, key } => nobody(Lane::Broker, format!("{name}:{key} arrives")),
        What::Applied {
            name,
            key,
            commit: None,
        } => nobody(Lane::Broker, format!("{name}:{key} applied")),
        What::Applied {
            name,
            key,
            commit: Some(commit),
        } => on(
            &commit.server,
            format!("{name}:{key} applied by commit {}", commit.number),
        ),
        What::Fired(fault) => {
            let lane = match fault.at {
                Point::Await { .. } | Point::Boundary { .. } | Point::Wire { .. } => Lane::Process,
                Point::Commit { .. } => Lane::Server,
                Point::Broker { .. } => Lane::Broker,
            };
            nobody(lane, fault.to_string())
        }
        What::ServerDown(server) => on(server, "goes down".to_owned()),
        What::ServerUp {
            server,
            lost,
            failover,
        } => {
            let how = if *failover {
                "a replica takes over"
            } else {
                "is up again"
            };
            on(server, format!("{how}{}", without(lost)))
        }
        What::Healed => nobody(Lane::Process, "(what was broken is healed)".to_owned()),
        What::Unfinished { job } => nobody(Lane::Process, format!("(job {job} is unfinished)")),
        What::Leaked { server, what } => on(server, format!("still holds {what}")),
        What::Settled { at_limit: true } => nobody(Lane::Process, "(time is up)".to_owned()),
        What::Settled { at_limit: false } => nobody(Lane::Process, "(all is quiet)".to_owned()),
    }
}

fn on_connection(connection: u32) -> String {
    match connection {
        1 => String::new(),
        n => format!("conn{n}."),
    }
}

fn without(lost: &[u64]) -> String {
    let numbers: Vec<String> = lost.iter().map(u64::to_string).collect();
    match &numbers[..] {
        [] => String::new(),
        [number] => format!(" without commit {number}"),
        [numbers @ .., last] => format!(" without commits {} and {last}", numbers.join(", ")),
    }
}

/// A daemon is at no job.
fn of_job(job: &str) -> String {
    match job {
        "" => String::new(),
        job => format!("job {job} "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Holds the words for a script's events (see [`crate::script`]) against `expected`.
    fn check(script: &str, expected: &str) {
        let history = crate::script::history(script);
        let words: Vec<String> = history
            .events
            .iter()
            .map(|event| {
                let described = describe(&history, &event.what);
                let who = described.who.map_or(String::new(), |who| format!("{who} "));
                format!("{who}{}", described.text)
            })
            .collect();
        assert_eq!(words.join(" | "), expected);
    }

    #[test]
    fn processes_speak_in_the_present() {
        check(
            "w start | w invoke 1 | w sent commit.1 | w answered commit.1: COMMIT | w effect receipt:1 | w learns receipt:1 unknown",
            "w starts | w takes job 1 | w → commit.1 | w ← commit.1 COMMIT | w sends receipt:1 | w receipt:1 unknown",
        );
        check(
            "w fail 1: 40001 | w info 2: cancelled | w:2 stop | w:2 exited | w:3 killed",
            "w job 1 fails: 40001 | w job 2 unknown: cancelled | w:2 is told to stop | w:2 exits | w:3 is killed",
        );
    }

    #[test]
    fn an_event_on_its_own_tells_its_bytes_apart() {
        let history = crate::script::history("w start | w sent insert.1 | pg commit 1");
        let lines: Vec<String> = history
            .events
            .iter()
            .map(|event| event_line(&history, event))
            .collect();
        assert_eq!(
            lines,
            [
                "0 ms w starts",
                "10 ms w → insert.1 (20 bytes, hash 0000000000000000)",
                "20 ms pg commit 1 visible"
            ]
        );
    }

    #[test]
    fn servers_say_what_they_have_and_what_they_lost() {
        check(
            "pg commit 1 by w job 7 async | pg owes 1 receipt:1 | pg commit 2 reads | pg ack 2",
            "pg commit 1 of job 7 visible (asynchronous) | pg owes receipt:1 | pg commit 2 visible (read only) | pg commit 2 acknowledged",
        );
        check(
            "pg down | pg up | pg up lost 1 | pg failover lost 1 2 3",
            "pg goes down | pg is up again | pg is up again without commit 1 | pg a replica takes over without commits 1, 2 and 3",
        );
    }
}
