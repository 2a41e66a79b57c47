//! Where a fault strikes: the moments of a run that have a name.
//!
//! A name is made of words that survive edits (the task, the last message on
//! the wire, an offset from it), never of a running number over the whole run.
//! N points print as N distinct strings, each safe to paste into a shell, and
//! each parses back to itself. What may happen at a point is [`super::fault`]'s.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use fake_pg::engine::CommitPoint;

/// A moment of a run, named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// A `Pending` of a task's root future: `worker:2/conn1.after-commit.1+2.resuming`.
    Await {
        /// The task that waits.
        task: TaskName,
        /// The last message its process had sent or received.
        anchor: Anchor,
        /// How many times the task has been `Pending` since; from 1.
        offset: u32,
        /// Right after that poll, or right before the next.
        phase: Phase,
    },
    /// A place a modelled runtime names, where an exception may arise: `worker.set_autocommit.1`.
    Boundary {
        /// The process that passes it.
        process: ProcessName,
        /// The name the model gave.
        name: Arc<str>,
        /// The how-manieth passing of this name in this process; from 1.
        nth: u32,
    },
    /// A step of one COMMIT inside a server: `pg.commit.2.flushed`.
    Commit {
        /// The server's host name.
        server: Arc<str>,
        /// The COMMIT's number over the server's life; from 1.
        number: u64,
        /// The step.
        step: CommitPoint,
    },
    /// A byte of a request or a reply, in canonical bytes: `conn1.commit.1.reply+7`.
    Wire {
        /// The how-manieth connection the servers accepted; from 1.
        connection: u32,
        /// The exchange on it.
        exchange: Exchange,
        /// Towards the server, or back.
        side: Side,
        /// How many bytes of that side have passed.
        byte: u32,
    },
    /// The arrival of a message or an acknowledgement at the broker: `broker.publish.1`.
    Broker {
        /// What arrives.
        arrival: Arrival,
        /// The how-manieth of its kind; from 1.
        nth: u32,
    },
}

/// Before or after the time a task spends suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Right after the poll that returned `Pending`.
    Suspended,
    /// Right before the poll that follows.
    Resuming,
}

/// The direction of a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// From the client to the server.
    Request,
    /// From the server to the client.
    Reply,
}

/// What reaches the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arrival {
    /// An effect.
    Publish,
    /// A consumer's acknowledgement.
    Ack,
}

/// A process: a worker's name and which life of it this is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessName {
    /// The worker's name, with `-2` and on for further replicas.
    pub name: Arc<str>,
    /// 1 for the first life, one more after each kill or deploy.
    pub incarnation: u32,
}

/// A task of a process: its root (`None`) or one it spawned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskName {
    /// The process the task runs in.
    pub process: ProcessName,
    /// The spawned task's name; the root has none.
    pub child: Option<Arc<str>>,
}

/// The last message a process exchanged with a server or the broker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Anchor {
    /// Nothing yet.
    Start,
    /// The request has been written.
    Sent(u32, Exchange),
    /// Its reply has been read to the end.
    Answered(u32, Exchange),
}

/// A request and its reply, named by its most telling statement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Exchange {
    /// The statement's first word, as `commit` or `parse-insert`.
    pub verb: Verb,
    /// The how-manieth of this verb on its connection; from 1.
    pub nth: u32,
}

/// The word an exchange is called by.
pub type Verb = std::borrow::Cow<'static, str>;

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Point::Await {
                task,
                anchor,
                offset,
                phase,
            } => {
                write!(f, "{task}.{anchor}+{offset}")?;
                match phase {
                    Phase::Suspended => Ok(()),
                    Phase::Resuming => f.write_str(".resuming"),
                }
            }
            Point::Boundary { process, name, nth } => write!(f, "{process}.{name}.{nth}"),
            Point::Commit {
                server,
                number,
                step,
            } => write!(f, "{server}.commit.{number}.{step}"),
            Point::Wire {
                connection,
                exchange,
                side,
                byte,
            } => write!(f, "conn{connection}.{exchange}.{side}+{byte}"),
            Point::Broker { arrival, nth } => write!(f, "broker.{arrival}.{nth}"),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Request => "request",
            Side::Reply => "reply",
        })
    }
}

impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Arrival::Publish => "publish",
            Arrival::Ack => "ack",
        })
    }
}

impl fmt::Display for ProcessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match self.incarnation {
            1 => Ok(()),
            n => write!(f, ":{n}"),
        }
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.process.fmt(f)?;
        match &self.child {
            None => Ok(()),
            Some(child) => write!(f, "/{child}"),
        }
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (after, connection, exchange) = match self {
            Anchor::Start => return f.write_str("start"),
            Anchor::Sent(connection, exchange) => ("", *connection, exchange),
            Anchor::Answered(connection, exchange) => ("after-", *connection, exchange),
        };
        match connection {
            1 => write!(f, "{after}{exchange}"),
            n => write!(f, "conn{n}.{after}{exchange}"),
        }
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.verb, self.nth)
    }
}

/// Why a text names no point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsePointError {
    seen: String,
}

impl fmt::Display for ParsePointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` names no point; a point is like worker.after-commit.1+2, worker/conn1.commit.1+1.resuming, \
             worker.set_autocommit.1, pg.commit.2.flushed, conn1.commit.1.reply+7 or broker.publish.1",
            self.seen
        )
    }
}

impl std::error::Error for ParsePointError {}

impl FromStr for Point {
    type Err = ParsePointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_point(text).ok_or_else(|| ParsePointError {
            seen: text.to_owned(),
        })
    }
}

fn parse_point(text: &str) -> Option<Point> {
    match text.rsplit_once('+') {
        Some((left, right)) => parse_wire(left, right).or_else(|| parse_await(left, right)),
        None => parse_broker(text)
            .or_else(|| parse_commit(text))
            .or_else(|| parse_boundary(text)),
    }
}

fn parse_wire(left: &str, byte: &str) -> Option<Point> {
    let (connection, rest) = left.strip_prefix("conn")?.split_once('.')?;
    let (exchange, side) = rest.rsplit_once('.')?;
    Some(Point::Wire {
        connection: number(connection)?,
        exchange: parse_exchange(exchange)?,
        side: match side {
            "request" => Side::Request,
            "reply" => Side::Reply,
            _ => return None,
        },
        byte: byte.parse().ok()?,
    })
}

fn parse_await(left: &str, right: &str) -> Option<Point> {
    let (offset, phase) = match right.strip_suffix(".resuming") {
        Some(offset) => (offset, Phase::Resuming),
        None => (right, Phase::Suspended),
    };
    let (task, anchor) = left.split_once('.')?;
    Some(Point::Await {
        task: parse_task(task)?,
        anchor: parse_anchor(anchor)?,
        offset: number(offset)?,
        phase,
    })
}

fn parse_task(text: &str) -> Option<TaskName> {
    let (process, child) = match text.split_once('/') {
        Some((process, child)) => (process, Some(word(child)?)),
        None => (text, None),
    };
    Some(TaskName {
        process: parse_process(process)?,
        child,
    })
}

fn parse_process(text: &str) -> Option<ProcessName> {
    let (name, incarnation) = match text.split_once(':') {
        Some((name, n)) => (name, number(n).filter(|&n| n > 1)?),
        None => (text, 1),
    };
    Some(ProcessName {
        name: word(name)?,
        incarnation,
    })
}

fn parse_anchor(text: &str) -> Option<Anchor> {
    if text == "start" {
        return Some(Anchor::Start);
    }
    let (connection, exchange) = match text.strip_prefix("conn").and_then(|t| t.split_once('.')) {
        Some((n, rest)) if number(n).is_some() => (number(n).filter(|&n| n > 1)?, rest),
        _ => (1, text),
    };
    Some(match exchange.strip_prefix("after-") {
        Some(exchange) => Anchor::Answered(connection, parse_exchange(exchange)?),
        None => Anchor::Sent(connection, parse_exchange(exchange)?),
    })
}

fn parse_exchange(text: &str) -> Option<Exchange> {
    let (verb, nth) = text.rsplit_once('.')?;
    word(verb)?;
    Some(Exchange {
        verb: Verb::Owned(verb.to_owned()),
        nth: number(nth)?,
    })
}

fn parse_broker(text: &str) -> Option<Point> {
    let (arrival, nth) = text.strip_prefix("broker.")?.split_once('.')?;
    Some(Point::Broker {
        arrival: match arrival {
            "publish" => Arrival::Publish,
            "ack" => Arrival::Ack,
            _ => return None,
        },
        nth: number(nth)?,
    })
}

fn parse_commit(text: &str) -> Option<Point> {
    let (rest, step) = text.rsplit_once('.')?;
    let (server, number) = rest.split_once(".commit.")?;
    Some(Point::Commit {
        server: word(server)?,
        number: number.parse().ok().filter(|&n| n > 0)?,
        step: step.parse().ok()?,
    })
}

fn parse_boundary(text: &str) -> Option<Point> {
    let (rest, nth) = text.rsplit_once('.')?;
    let (process, name) = rest.split_once('.')?;
    Some(Point::Boundary {
        process: parse_process(process)?,
        name: word(name)?,
        nth: number(nth)?,
    })
}

/// A count that starts at 1.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|&n| n > 0)
}

/// Letters, digits, `_` and `-`: what needs no quotes in any shell.
pub(crate) fn word(text: &str) -> Option<Arc<str>> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    (!text.is_empty() && text.chars().all(plain)).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_point_prints_as_it_parses() {
        for text in [
            "worker.start+1",
            "worker.after-commit.1+2",
            "worker:2/conn1.conn2.after-parse-insert.3+1.resuming",
            "worker.set_autocommit.1",
            "worker:3.set_autocommit.1",
            "pg.commit.2.interrupts-held",
            "conn1.commit.1.reply+7",
            "conn12.parse-insert.1.request+0",
            "broker.publish.1",
            "broker.ack.2",
        ] {
            let point: Point = text.parse().unwrap();
            assert_eq!(point.to_string(), text);
        }
    }

    #[test]
    fn what_names_no_point_is_refused_with_examples() {
        for text in [
            "",
            "worker",
            "worker.after-commit.1+0",
            "pg.commit.0.flushed",
            "conn0.commit.1.reply+7",
            "worker:1.start+1",
            "a b.start+1",
        ] {
            let error = text.parse::<Point>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("`{text}` names no point; a point is like")),
                "{error}"
            );
        }
    }
}
