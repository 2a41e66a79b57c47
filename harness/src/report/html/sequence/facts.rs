//! What a diagram has to know of a run beforehand: which lifelines go on as which, which steps a COMMIT
//! passed, which messages arrived, and whom an event is about.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fake_pg::engine::CommitPoint;

use crate::history::{CommitId, EffectOutcome, Event, ProcessId, What};
use crate::plan::{Point, ProcessName};
use crate::replay::Trace;

/// Which lifeline: processes first, in the order in which they began, then servers, then the broker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Process(ProcessId),
    Primary,
    Server(Arc<str>),
    Broker,
}

/// Steps that are still to be told: with how many events the history had at each.
pub(super) type Steps = BTreeMap<CommitId, VecDeque<(usize, CommitPoint, Duration)>>;

/// The lifeline of each process: one that begins when the last of its name has ended goes on on that one's.
pub(super) fn process_keys(processes: &[ProcessName], events: &[Event]) -> Vec<Key> {
    let place = |is: &dyn Fn(&What) -> bool| events.iter().position(|event| is(&event.what));
    let mut keys: Vec<Key> = Vec::new();
    for (id, process) in processes.iter().enumerate() {
        let before = processes[..id]
            .iter()
            .rposition(|earlier| earlier.name == process.name);
        let successor = before.filter(|&before| {
            let ended =
                place(&|what| matches!(what, What::Ended { process, .. } if *process == before));
            let started = place(&|what| matches!(what, What::Started(started) if *started == id));
            ended.is_some_and(|ended| started.is_none_or(|started| ended < started))
        });
        keys.push(match successor {
            Some(before) => keys[before].clone(),
            None => Key::Process(id),
        });
    }
    keys
}

/// The steps of the COMMITs that matter: those that a fault strikes or a finding is about; without
/// any, the first that writes.
pub(super) fn steps(trace: &Trace, findings: &[(usize, &'static str)]) -> Steps {
    let events = &trace.replay.history.events;
    let writes = |event: &Event| match &event.what {
        What::Committed {
            commit,
            writes: true,
            ..
        } => Some(commit.clone()),
        _ => None,
    };
    let mut matter: Vec<CommitId> = Vec::new();
    for (event, _) in findings {
        match &events[*event].what {
            What::Owed { commit, .. }
            | What::Committed { commit, .. }
            | What::Acknowledged(commit)
            | What::Applied {
                commit: Some(commit),
                ..
            } => matter.push(commit.clone()),
            _ => {}
        }
    }
    for fault in &trace.replay.plan.faults {
        if let Point::Commit { server, number, .. } = &fault.at {
            matter.push(CommitId {
                server: server.clone(),
                number: *number,
            });
        }
    }
    if matter.is_empty() {
        matter.extend(events.iter().find_map(writes));
    }
    let mut steps = Steps::new();
    for recorded in &trace.points {
        let Point::Commit {
            server,
            number,
            step,
        } = &recorded.point
        else {
            continue;
        };
        let commit = CommitId {
            server: server.clone(),
            number: *number,
        };
        if matter.contains(&commit) {
            let all = steps.entry(commit).or_default();
            all.push_back((recorded.events, *step, recorded.moment.at));
        }
    }
    steps
}

/// Whether an effect that a process has just sent reaches the broker, by the events that follow.
pub(super) fn arrives(later: &[Event], sender: ProcessId, effect: &str, of: &str) -> bool {
    for event in later {
        match &event.what {
            What::Delivered { name, key } if (&**name, &**key) == (effect, of) => return true,
            What::EffectDone {
                process,
                name,
                key,
                outcome,
            } if (*process, &**name, &**key) == (sender, effect, of) => {
                return *outcome == EffectOutcome::Ok;
            }
            _ => {}
        }
    }
    false
}

pub(super) fn server_in(what: &What) -> Option<Arc<str>> {
    match what {
        What::Committed { commit, .. }
        | What::Acknowledged(commit)
        | What::Owed { commit, .. }
        | What::Applied {
            commit: Some(commit),
            ..
        } => Some(commit.server.clone()),
        What::ServerDown(server) | What::ServerUp { server, .. } | What::Leaked { server, .. } => {
            Some(server.clone())
        }
        _ => None,
    }
}

pub(super) fn process_in(what: &What) -> Option<ProcessId> {
    match what {
        What::Started(process)
        | What::ToldToStop(process)
        | What::Ended { process, .. }
        | What::Invoke { process, .. }
        | What::Ok { process, .. }
        | What::Fail { process, .. }
        | What::Info { process, .. }
        | What::Sent { process, .. }
        | What::Answered { process, .. }
        | What::Disconnected { process, .. }
        | What::EffectInvoke { process, .. }
        | What::EffectDone { process, .. } => Some(*process),
        _ => None,
    }
}
