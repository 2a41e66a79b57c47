//! Every single fault: from the points of a run to the schedules that strike them.
//!
//! What is enumerated is what was observed. An exchange in which something was
//! committed is cut at every byte; any other at the ends of its request and reply.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fake_pg::engine::CommitPoint;

use super::outcome::CutCount;
use crate::history::HistoryHash;
use crate::plan::{
    Arrival, Class, Cut, Exchange, Fault, Kind, PANIC, Phase, Point, Side, TaskName,
};
use crate::scenario::Scenario;
use crate::sim::{Detail, Recorded};

/// How long an enumerated partition lasts.
pub(crate) const PARTITION: Duration = Duration::from_secs(1);
/// How long an enumerated outage of the broker lasts.
pub(crate) const OUTAGE: Duration = Duration::from_millis(300);
/// What a COMMIT fails with: the one error that every client must be ready for.
pub(crate) const SERIALIZATION_FAILURE: &str = "40001";

/// A single-fault schedule.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) fault: Fault,
    /// The hash of the history just before the fault, in the run that the point was observed in.
    pub(crate) prefix: HistoryHash,
    /// The place of the point among those that the run reached.
    pub(crate) index: usize,
}

/// All single-fault schedules of some classes, in the order of the points they strike.
pub(crate) fn schedules(
    scenario: &Scenario,
    points: &[Recorded],
    wanted: impl Fn(Class) -> bool,
) -> Vec<Schedule> {
    let exchanges = exchanges(points);
    let mut schedules = Vec::new();
    // The writing commits of the primary so far.
    let mut visible: Vec<u64> = Vec::new();
    for (index, recorded) in points.iter().enumerate() {
        let mut add = |kind: Kind, at: Point| {
            if wanted(kind.class()) {
                schedules.push(Schedule {
                    fault: Fault { kind, at },
                    prefix: recorded.prefix,
                    index,
                });
            }
        };
        match &recorded.point {
            Point::Await { task, phase, .. } => {
                for kind in at_await(scenario, task, *phase) {
                    add(kind, recorded.point.clone());
                }
            }
            Point::Boundary { .. } => {
                for exception in &scenario.system.exceptions {
                    add(Kind::Raise(exception.clone()), recorded.point.clone());
                }
            }
            Point::Commit { number, step, .. } => {
                for kind in at_commit(*number, *step, &recorded.detail) {
                    add(kind, recorded.point.clone());
                }
                if matches!(recorded.detail, Detail::Commit { loses: true, .. })
                    && !visible.contains(number)
                {
                    visible.push(*number);
                }
            }
            Point::Wire {
                connection,
                exchange,
                side,
                byte: from,
            } => {
                let Detail::Stretch(length) = recorded.detail else {
                    continue;
                };
                let span = &exchanges[&(*connection, exchange.clone())];
                let whole = span.length(*side);
                for byte in *from..=from + length {
                    // The last byte of one stretch is the first of the next. What strikes there strikes as soon as
                    // so many have passed, however long the next is in coming.
                    if byte == *from && byte != 0 {
                        continue;
                    }
                    let at = Point::Wire {
                        connection: *connection,
                        exchange: exchange.clone(),
                        side: *side,
                        byte,
                    };
                    if span.commits || byte == 0 || byte == whole {
                        for cut in Cut::ALL {
                            add(Kind::Cut(cut), at.clone());
                        }
                    }
                    if byte == 0 {
                        for delay in &scenario.delays {
                            add(Kind::Delay(*delay), at.clone());
                        }
                        add(Kind::Partition(PARTITION), at);
                    }
                }
            }
            Point::Broker { arrival, .. } => {
                add(Kind::Down(OUTAGE), recorded.point.clone());
                add(Kind::AckLost, recorded.point.clone());
                // A replica may lag by any number of commits.
                let lacking = visible.iter().filter(|_| *arrival == Arrival::Publish);
                for number in lacking {
                    add(Kind::Failover(*number), recorded.point.clone());
                }
            }
        }
    }
    schedules
}

fn at_await(scenario: &Scenario, task: &TaskName, phase: Phase) -> Vec<Kind> {
    let root = task.child.is_none();
    let modelled = !scenario.system.exceptions.is_empty();
    let stalls = scenario.stalls.iter().copied().map(Kind::Stall);
    let mut kinds: Vec<Kind> = match modelled {
        // A runtime with asynchronous exceptions has no futures that could be dropped.
        true if root => scenario
            .system
            .exceptions
            .iter()
            .cloned()
            .map(Kind::Raise)
            .collect(),
        true => Vec::new(),
        false => vec![Kind::Cancel, Kind::Raise(Arc::from(PANIC))],
    };
    kinds.extend(stalls);
    kinds.push(Kind::Kill);
    // A stop signal that arrives while the task is suspended is seen when it resumes.
    if root && phase == Phase::Suspended {
        kinds.push(Kind::Deploy);
    }
    kinds
}

fn at_commit(number: u64, step: CommitPoint, detail: &Detail) -> Vec<Kind> {
    let mut kinds = vec![Kind::Crash, Kind::CancelBackend, Kind::TerminateBackend];
    if step <= CommitPoint::Deferred {
        kinds.push(Kind::SqlState(Arc::from(SERIALIZATION_FAILURE)));
    }
    if matches!(detail, Detail::Commit { loses: true, .. }) {
        kinds.push(Kind::Failover(number));
    }
    kinds
}

/// An exchange as it was observed.
#[derive(Clone, Debug, Default)]
struct Span {
    request: u32,
    reply: u32,
    commits: bool,
}

impl Span {
    fn length(&self, side: Side) -> u32 {
        match side {
            Side::Request => self.request,
            Side::Reply => self.reply,
        }
    }
}

fn exchanges(points: &[Recorded]) -> BTreeMap<(u32, Exchange), Span> {
    let mut spans: BTreeMap<(u32, Exchange), Span> = BTreeMap::new();
    // The exchange that each connection is at.
    let mut current: BTreeMap<u32, Exchange> = BTreeMap::new();
    for recorded in points {
        match (&recorded.point, &recorded.detail) {
            (
                Point::Wire {
                    connection,
                    exchange,
                    side,
                    byte,
                },
                Detail::Stretch(length),
            ) => {
                let span = spans.entry((*connection, exchange.clone())).or_default();
                match side {
                    Side::Request => {
                        span.request = byte + length;
                        current.insert(*connection, exchange.clone());
                    }
                    Side::Reply => span.reply = byte + length,
                }
            }
            (
                Point::Commit {
                    step: CommitPoint::Visible,
                    ..
                },
                Detail::Commit { connection, .. },
            ) => {
                if let Some(exchange) = current.get(connection) {
                    let span = spans.get_mut(&(*connection, exchange.clone()));
                    span.expect("a current exchange has been seen").commits = true;
                }
            }
            _ => {}
        }
    }
    spans
}

/// How long each side of each exchange was, to find the bytes at its ends.
pub(crate) struct Ends(BTreeMap<(u32, Exchange), Span>);

impl Ends {
    /// Those of a run.
    pub(crate) fn of(points: &[Recorded]) -> Ends {
        Ends(exchanges(points))
    }

    /// Whether a byte is one of the two at each end of its side: 0, 1, len−1 and len.
    pub(crate) fn is_near_an_end(&self, at: &Point) -> bool {
        let Point::Wire {
            connection,
            exchange,
            side,
            byte,
        } = at
        else {
            return true;
        };
        let span = self.0.get(&(*connection, exchange.clone()));
        span.is_none_or(|span| *byte <= 1 || *byte + 1 >= span.length(*side))
    }
}

/// The cuts of every exchange that commits, for the certificate.
pub(crate) fn cut_counts(points: &[Recorded], schedules: &[Schedule]) -> Vec<CutCount> {
    let exchanges = exchanges(points);
    let committing = exchanges.into_iter().filter(|(_, span)| span.commits);
    committing
        .map(|((connection, exchange), span)| {
            let is_cut = |schedule: &&Schedule| {
                matches!(schedule.fault.kind, Kind::Cut(_))
                    && matches!(&schedule.fault.at, Point::Wire { connection: c, exchange: e, .. } if *c == connection && *e == exchange)
            };
            CutCount {
                schedules: schedules.iter().filter(is_cut).count(),
                exchange: Point::Wire {
                    connection,
                    exchange,
                    side: Side::Request,
                    byte: 0,
                },
                request_bytes: span.request,
                reply_bytes: span.reply,
            }
        })
        .collect()
}
