//! Which fault is next, and whether it strikes here.
//!
//! Every point of a run is shown to the cursor once, when it is reached. The
//! cursor answers with the fault that strikes there, if one does, and remembers
//! the concrete point with the history's hash at that instant: the fault-free
//! run had the same hash there, or the two runs are not the same up to the fault.
//!
//! A plan's faults are *named*. While searching, they may be *drawn* instead: so
//! many eligible points after the previous firing. A drawn fault is resolved as
//! the run goes, so it never names a missing point; the concrete plan is kept.

use std::collections::VecDeque;
use std::time::Duration;

use crate::history::HistoryHash;
use crate::plan::{
    Anchor, Arrival, Cut, Exchange, Fault, Kind, PANIC, Phase, Point, ProcessName, Side, TaskName,
};
use fake_pg::engine::CommitPoint;

/// Faults in firing order, and what became of them.
#[derive(Default)]
pub(crate) struct Cursor {
    script: VecDeque<Step>,
    /// Faults that fired, with the hash of the history just before.
    pub(crate) fired: Vec<(Fault, HistoryHash)>,
    /// Points in the order they were reached, where someone wants them.
    pub(crate) recorder: Option<Vec<Recorded>>,
    /// How many points had been reached when the last fault fired, that one included.
    pub(crate) reached: usize,
}

/// One fault still to come.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// At a point given by name.
    Named(Fault),
    /// At the eligible point after so many others, counted from the previous firing.
    Drawn {
        /// What breaks.
        kind: Kind,
        /// How many eligible points pass unharmed first.
        delta: u32,
        /// Where in a stretch of bytes, in thousandths of it.
        along: u32,
    },
}

/// A point that a run reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// Which.
    pub(crate) point: Point,
    /// The history's hash just before.
    pub(crate) prefix: HistoryHash,
    /// What is worth knowing when faults are enumerated.
    pub(crate) detail: Detail,
    /// When it was reached.
    pub(crate) moment: Moment,
    /// How many events the history had.
    pub(crate) events: usize,
}

impl Recorded {
    /// Whether a drawn fault of this kind may strike here.
    pub(crate) fn suits(&self, kind: &Kind) -> bool {
        self.here().is_some_and(|here| here.suits(kind))
    }

    /// The point as it was reached; none if its detail is another kind of point's.
    fn here(&self) -> Option<Here<'_>> {
        Some(match (&self.point, &self.detail) {
            (
                Point::Await {
                    task,
                    anchor,
                    offset,
                    phase,
                },
                Detail::None,
            ) => Here::Await {
                task,
                anchor,
                offset: *offset,
                phase: *phase,
                root: task.child.is_none(),
            },
            (Point::Boundary { process, name, nth }, Detail::None) => Here::Boundary {
                process,
                name,
                nth: *nth,
            },
            (
                Point::Commit {
                    server,
                    number,
                    step,
                },
                Detail::Commit { connection, loses },
            ) => Here::Commit {
                server,
                number: *number,
                step: *step,
                connection: *connection,
                loses: *loses,
            },
            (
                Point::Wire {
                    connection,
                    exchange,
                    side,
                    byte,
                },
                Detail::Stretch(length),
            ) => Here::Wire {
                connection: *connection,
                exchange,
                side: *side,
                from: *byte,
                to: byte + length,
            },
            (Point::Broker { arrival, nth }, Detail::LastCommit(last_commit)) => Here::Broker {
                arrival: *arrival,
                nth: *nth,
                last_commit: *last_commit,
            },
            _ => return None,
        })
    }
}

/// An instant of one host: of two points of a process with the same one, no worker's code ran in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Simulated time.
    pub(crate) at: Duration,
    /// The step of the simulation, by when it began: all hosts take their turn in each.
    pub(crate) step: Duration,
    /// How often futures of workers had been polled.
    pub(crate) polls: u64,
}

/// What a point's name does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Nothing more.
    None,
    /// A wire point stands for a stretch of so many bytes that passed at once.
    Stretch(u32),
    /// The number of the newest commit that a replica could lack here.
    LastCommit(Option<u64>),
    /// A COMMIT on this connection, and whether a replica could lack it.
    Commit {
        /// The servers' how-manieth connection.
        connection: u32,
        /// Whether it is a visible commit that writes.
        loses: bool,
    },
}

/// A reached point, by reference: no name is built unless someone needs it.
#[derive(Clone, Copy)]
pub(crate) enum Here<'a> {
    Await {
        task: &'a TaskName,
        anchor: &'a Anchor,
        offset: u32,
        phase: Phase,
        /// Only the root task of a process can have an exception raised or a deploy begun at it.
        root: bool,
    },
    Boundary {
        process: &'a ProcessName,
        name: &'a str,
        nth: u32,
    },
    Commit {
        server: &'a str,
        number: u64,
        step: CommitPoint,
        connection: u32,
        /// Whether a fail-over here would lose this commit.
        loses: bool,
    },
    /// Bytes `from..=to` of one side of an exchange are passing.
    Wire {
        connection: u32,
        exchange: &'a Exchange,
        side: Side,
        from: u32,
        to: u32,
    },
    Broker {
        arrival: Arrival,
        nth: u32,
        last_commit: Option<u64>,
    },
}

impl Cursor {
    pub(crate) fn new(script: impl IntoIterator<Item = Step>, record: bool) -> Cursor {
        Cursor {
            script: script.into_iter().collect(),
            fired: Vec::new(),
            recorder: record.then(Vec::new),
            reached: 0,
        }
    }

    /// The faults that have not fired.
    pub(crate) fn unfired(&self) -> impl Iterator<Item = &Step> {
        self.script.iter()
    }

    /// Whether a fault to come leaves connections half-open.
    pub(crate) fn may_silence(&self) -> bool {
        self.kinds()
            .any(|kind| matches!(kind, Kind::Cut(Cut::Silence) | Kind::Partition(_)))
    }

    fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.script.iter().map(|step| match step {
            Step::Named(fault) => &fault.kind,
            Step::Drawn { kind, .. } => kind,
        })
    }

    /// Shows a reached point. Answers with the fault that strikes; for a wire point, its byte stands in
    /// the fault's point.
    pub(crate) fn visit(
        &mut self,
        here: Here<'_>,
        prefix: impl Fn() -> HistoryHash,
        moment: impl Fn() -> (Moment, usize),
    ) -> Option<Fault> {
        if let Some(recorder) = &mut self.recorder {
            let (moment, events) = moment();
            recorder.push(Recorded {
                point: here.point(),
                prefix: prefix(),
                detail: here.detail(),
                moment,
                events,
            });
        }
        let fault = match self.script.front_mut()? {
            Step::Named(fault) => here.is(&fault.at).then(|| fault.clone()),
            Step::Drawn { kind, delta, along } if here.suits(kind) => match delta.checked_sub(1) {
                Some(less) => {
                    *delta = less;
                    None
                }
                None => Some(Fault {
                    kind: here.concrete(kind),
                    at: here.point_along(*along),
                }),
            },
            Step::Drawn { .. } => None,
        }?;
        self.script.pop_front();
        self.reached = self.recorder.as_ref().map_or(0, Vec::len);
        self.fired.push((fault.clone(), prefix()));
        Some(fault)
    }
}

impl Here<'_> {
    /// The point's name. A stretch of bytes is named after its first.
    fn point(&self) -> Point {
        match *self {
            Here::Await {
                task,
                anchor,
                offset,
                phase,
                ..
            } => Point::Await {
                task: task.clone(),
                anchor: anchor.clone(),
                offset,
                phase,
            },
            Here::Boundary { process, name, nth } => Point::Boundary {
                process: process.clone(),
                name: name.into(),
                nth,
            },
            Here::Commit {
                server,
                number,
                step,
                ..
            } => Point::Commit {
                server: server.into(),
                number,
                step,
            },
            Here::Wire {
                connection,
                exchange,
                side,
                from,
                ..
            } => Point::Wire {
                connection,
                exchange: exchange.clone(),
                side,
                byte: from,
            },
            Here::Broker { arrival, nth, .. } => Point::Broker { arrival, nth },
        }
    }

    /// The point's name; of a stretch, the byte that so many thousandths of it precede.
    fn point_along(&self, along: u32) -> Point {
        let mut point = self.point();
        if let (Point::Wire { byte, .. }, Here::Wire { from, to, .. }) = (&mut point, self) {
            *byte = from + ((to - from) as u64 * u64::from(along) / 1000) as u32;
        }
        point
    }

    fn detail(&self) -> Detail {
        match *self {
            Here::Wire { from, to, .. } => Detail::Stretch(to - from),
            Here::Broker { last_commit, .. } => Detail::LastCommit(last_commit),
            Here::Commit {
                connection, loses, ..
            } => Detail::Commit { connection, loses },
            _ => Detail::None,
        }
    }

    fn is(&self, point: &Point) -> bool {
        match (self, point) {
            (
                Here::Await {
                    task,
                    anchor,
                    offset,
                    phase,
                    ..
                },
                Point::Await {
                    task: t,
                    anchor: a,
                    offset: o,
                    phase: p,
                },
            ) => offset == o && phase == p && *anchor == a && *task == t,
            (
                Here::Boundary { process, name, nth },
                Point::Boundary {
                    process: p,
                    name: m,
                    nth: n,
                },
            ) => nth == n && *name == &**m && *process == p,
            (
                Here::Commit {
                    server,
                    number,
                    step,
                    ..
                },
                Point::Commit {
                    server: s,
                    number: n,
                    step: p,
                },
            ) => number == n && step == p && *server == &**s,
            (
                Here::Wire {
                    connection,
                    exchange,
                    side,
                    from,
                    to,
                },
                Point::Wire {
                    connection: c,
                    exchange: e,
                    side: s,
                    byte,
                },
            ) => connection == c && side == s && (*from..=*to).contains(byte) && *exchange == e,
            (Here::Broker { arrival, nth, .. }, Point::Broker { arrival: a, nth: n }) => {
                arrival == a && nth == n
            }
            _ => false,
        }
    }

    /// Whether a drawn fault of this kind may strike here.
    fn suits(&self, kind: &Kind) -> bool {
        match self {
            Here::Await { root, .. } => match kind {
                Kind::Cancel | Kind::Stall(_) | Kind::Kill => true,
                // A modelled runtime's exceptions arise in its root task; any task can panic.
                Kind::Raise(exception) => *root || &**exception == PANIC,
                Kind::Deploy => *root,
                _ => false,
            },
            Here::Boundary { .. } => matches!(kind, Kind::Raise(_)),
            Here::Commit { step, loses, .. } => match kind {
                Kind::Crash | Kind::CancelBackend | Kind::TerminateBackend => true,
                Kind::SqlState(_) => *step <= CommitPoint::Deferred,
                Kind::Failover(_) => *loses,
                _ => false,
            },
            Here::Wire { .. } => matches!(kind, Kind::Cut(_) | Kind::Delay(_) | Kind::Partition(_)),
            Here::Broker {
                arrival,
                last_commit,
                ..
            } => match kind {
                Kind::Down(_) | Kind::AckLost => true,
                Kind::Failover(_) => *arrival == Arrival::Publish && last_commit.is_some(),
                _ => false,
            },
        }
    }

    /// A drawn fail-over loses the newest commit.
    fn concrete(&self, kind: &Kind) -> Kind {
        match (self, kind) {
            (Here::Commit { number, .. }, Kind::Failover(_)) => Kind::Failover(*number),
            (
                Here::Broker {
                    last_commit: Some(number),
                    ..
                },
                Kind::Failover(_),
            ) => Kind::Failover(*number),
            _ => kind.clone(),
        }
    }
}
