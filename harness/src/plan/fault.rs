//! What breaks, in seven classes; each fault strikes at one kind of point.
//!
//! One enum is used everywhere: by the text of a plan, by what enumerates
//! points, and by what fires. How a fault is carried out is the simulation's.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use fake_pg::engine::CommitPoint;

use super::point::{Point, word};

/// The classes of fault: the columns of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A task is cancelled, stalled, or an exception is raised in it.
    Interrupt,
    /// The process ends at that instant, as by SIGKILL, and is started again.
    Kill,
    /// A stop signal, a grace period, SIGKILL, and a replacement that overlaps.
    Deploy,
    /// A connection is cut, delayed or partitioned.
    Network,
    /// The server crashes and recovers, ends a backend, or fails a COMMIT.
    Server,
    /// The server is replaced by a replica whose WAL ends before a commit.
    Failover,
    /// The broker is down, or its acknowledgement is lost.
    Broker,
}

impl Class {
    /// All of them, in the order of the matrix.
    pub const ALL: [Class; 7] = [
        Class::Interrupt,
        Class::Kill,
        Class::Deploy,
        Class::Network,
        Class::Server,
        Class::Failover,
        Class::Broker,
    ];

    /// The word for it, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Class::Interrupt => "interrupt",
            Class::Kill => "kill",
            Class::Deploy => "deploy",
            Class::Network => "network",
            Class::Server => "server",
            Class::Failover => "failover",
            Class::Broker => "broker",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Class {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Class::ALL
            .into_iter()
            .find(|class| class.name() == text)
            .ok_or_else(|| {
                let known = Class::ALL.map(Class::name).join(", ");
                format!("`{text}` is no class of fault; there are {known}")
            })
    }
}

/// What breaks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The task's future is dropped.
    Cancel,
    /// An exception: the one named, in a runtime that models exceptions; a panic elsewhere.
    Raise(Arc<str>),
    /// The task is not polled for that long.
    Stall(Duration),
    /// The process ends at once.
    Kill,
    /// The process is told to stop; a replacement starts; after the grace period it is killed.
    Deploy,
    /// The connection ends at that byte.
    Cut(Cut),
    /// What follows that byte arrives so much later.
    Delay(Duration),
    /// Nothing passes between the two hosts for so long; what was under way is gone.
    Partition(Duration),
    /// The server's process ends at once, and recovers from its WAL.
    Crash,
    /// `pg_cancel_backend` on the committing session.
    CancelBackend,
    /// `pg_terminate_backend` on the committing session.
    TerminateBackend,
    /// COMMIT fails with this SQLSTATE.
    SqlState(Arc<str>),
    /// A replica takes over whose WAL ends just before the commit of this number.
    Failover(u64),
    /// The broker refuses this arrival and all others for so long.
    Down(Duration),
    /// The arrival counts; its sender never learns of it.
    AckLost,
}

/// What an exception in plain Rust is called: the task unwinds.
pub(crate) const PANIC: &str = "panic";

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cut {
    /// An orderly close: end of file.
    Fin,
    /// A reset.
    Rst,
    /// Nothing more arrives, and nobody is told.
    Silence,
}

impl Cut {
    /// All of them.
    pub const ALL: [Cut; 3] = [Cut::Fin, Cut::Rst, Cut::Silence];
}

impl Kind {
    /// The class it belongs to.
    pub fn class(&self) -> Class {
        match self {
            Kind::Cancel | Kind::Raise(_) | Kind::Stall(_) => Class::Interrupt,
            Kind::Kill => Class::Kill,
            Kind::Deploy => Class::Deploy,
            Kind::Cut(_) | Kind::Delay(_) | Kind::Partition(_) => Class::Network,
            Kind::Crash | Kind::CancelBackend | Kind::TerminateBackend | Kind::SqlState(_) => {
                Class::Server
            }
            Kind::Failover(_) => Class::Failover,
            Kind::Down(_) | Kind::AckLost => Class::Broker,
        }
    }

    /// Whether it can strike at `point`, or the kind of point it needs.
    fn suits(&self, point: &Point) -> Result<(), &'static str> {
        let (suits, needs) = match self {
            Kind::Raise(_) => (
                matches!(point, Point::Await { .. } | Point::Boundary { .. }),
                "an await point or a boundary",
            ),
            Kind::Cancel | Kind::Stall(_) | Kind::Kill | Kind::Deploy => {
                (matches!(point, Point::Await { .. }), "an await point")
            }
            Kind::Cut(_) | Kind::Delay(_) | Kind::Partition(_) => {
                (matches!(point, Point::Wire { .. }), "a wire point")
            }
            Kind::Crash | Kind::CancelBackend | Kind::TerminateBackend => {
                (matches!(point, Point::Commit { .. }), "a commit point")
            }
            // Behind them an error would be a panic of the server: that is `crash`.
            Kind::SqlState(_) => (
                matches!(point, Point::Commit { step, .. } if *step <= CommitPoint::Deferred),
                "the commit point received or deferred",
            ),
            Kind::Failover(_) => (
                matches!(point, Point::Commit { .. } | Point::Broker { .. }),
                "a commit point or a point of the broker",
            ),
            Kind::Down(_) | Kind::AckLost => (
                matches!(point, Point::Broker { .. }),
                "a point of the broker",
            ),
        };
        if suits { Ok(()) } else { Err(needs) }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Cancel => f.write_str("cancel"),
            Kind::Raise(exception) => write!(f, "raise.{exception}"),
            Kind::Stall(d) => write!(f, "stall.{}", Span(*d)),
            Kind::Kill => f.write_str("kill"),
            Kind::Deploy => f.write_str("deploy"),
            Kind::Cut(Cut::Fin) => f.write_str("cut.fin"),
            Kind::Cut(Cut::Rst) => f.write_str("cut.rst"),
            Kind::Cut(Cut::Silence) => f.write_str("cut.silence"),
            Kind::Delay(d) => write!(f, "delay.{}", Span(*d)),
            Kind::Partition(d) => write!(f, "partition.{}", Span(*d)),
            Kind::Crash => f.write_str("crash"),
            Kind::CancelBackend => f.write_str("cancel-backend"),
            Kind::TerminateBackend => f.write_str("terminate-backend"),
            Kind::SqlState(code) => write!(f, "sqlstate.{code}"),
            Kind::Failover(number) => write!(f, "failover.{number}"),
            Kind::Down(d) => write!(f, "down.{}", Span(*d)),
            Kind::AckLost => f.write_str("ack-lost"),
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, argument) = match text.split_once('.') {
            Some((name, argument)) => (name, Some(argument)),
            None => (text, None),
        };
        let span = |argument: &str| argument.parse::<Span>().ok().map(|span| span.0);
        let kind = match (name, argument) {
            ("cancel", None) => Some(Kind::Cancel),
            ("raise", Some(exception)) => word(exception).map(Kind::Raise),
            ("stall", Some(d)) => span(d).map(Kind::Stall),
            ("kill", None) => Some(Kind::Kill),
            ("deploy", None) => Some(Kind::Deploy),
            ("cut", Some("fin")) => Some(Kind::Cut(Cut::Fin)),
            ("cut", Some("rst")) => Some(Kind::Cut(Cut::Rst)),
            ("cut", Some("silence")) => Some(Kind::Cut(Cut::Silence)),
            ("delay", Some(d)) => span(d).map(Kind::Delay),
            ("partition", Some(d)) => span(d).map(Kind::Partition),
            ("crash", None) => Some(Kind::Crash),
            ("cancel-backend", None) => Some(Kind::CancelBackend),
            ("terminate-backend", None) => Some(Kind::TerminateBackend),
            ("sqlstate", Some(code)) => word(code)
                .filter(|code| code.parse::<fake_pg::error::SqlState>().is_ok())
                .map(Kind::SqlState),
            ("failover", Some(n)) => n.parse().ok().filter(|&n| n > 0).map(Kind::Failover),
            ("down", Some(d)) => span(d).map(Kind::Down),
            ("ack-lost", None) => Some(Kind::AckLost),
            _ => None,
        };
        kind.ok_or_else(|| {
            format!(
                "`{text}` is no fault; there are cancel, raise.EXCEPTION, stall.TIME, kill, deploy, cut.fin, cut.rst, \
                 cut.silence, delay.TIME, partition.TIME, crash, cancel-backend, terminate-backend, sqlstate.CODE, \
                 failover.COMMIT, down.TIME and ack-lost"
            )
        })
    }
}

/// A fault and the point it strikes at: `cut.rst@conn1.commit.1.reply+7`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fault {
    /// What breaks.
    pub kind: Kind,
    /// Where.
    pub at: Point,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.kind, self.at)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, at) = text.split_once('@').ok_or_else(|| {
            format!("`{text}` is no fault: it has no `@`, as in kill@worker.after-commit.1+2")
        })?;
        let kind: Kind = kind.parse()?;
        let at: Point = at
            .parse()
            .map_err(|error: super::ParsePointError| error.to_string())?;
        kind.suits(&at)
            .map_err(|needs| format!("`{kind}` needs {needs}, and {at} is none"))?;
        Ok(Fault { kind, at })
    }
}

/// A duration as plans write it: `700ms`, `2s`.
pub(crate) struct Span(pub(crate) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        if ms > 0 && ms.is_multiple_of(1000) {
            write!(f, "{}s", ms / 1000)
        } else {
            write!(f, "{ms}ms")
        }
    }
}

impl FromStr for Span {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let ms = match text.strip_suffix("ms") {
            Some(ms) => ms.parse().ok(),
            None => text
                .strip_suffix('s')
                .and_then(|s| s.parse::<u64>().ok())
                .and_then(|s| s.checked_mul(1000)),
        };
        ms.map(|ms| Span(Duration::from_millis(ms))).ok_or(())
    }
}
