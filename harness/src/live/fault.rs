//! The text of a fault: `commit POINT: ACTION`, and which of them make sense where.
//!
//! Whoever writes it is told what was seen and what would be accepted.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use fake_pg::engine::CommitPoint;
use fake_pg::error::SqlState;

use crate::plan::Cut;

/// What happens at which point of a COMMIT: `commit flushed: rst`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) point: Point,
    pub(crate) action: Action,
}

/// A place on the way of a COMMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Point {
    /// A step of the server's.
    Step(CommitPoint),
    /// So many bytes of the request have passed.
    Request(u32),
    /// So many bytes of the answer have passed.
    Reply(u32),
}

/// What happens there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The client's connection ends.
    Cut(Cut),
    /// The COMMIT goes on so much later.
    Delay(Duration),
    /// The COMMIT goes on when `resume` says so.
    Pause,
    /// The server's process ends at once, and recovers from its WAL.
    Crash,
    /// The COMMIT fails.
    Fail(SqlState),
    /// A cancel request arrives.
    Cancel,
    /// `pg_terminate_backend` on the committing session.
    Terminate,
}

/// Who stands between client and server, and so what can be seen and done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// The server itself.
    Server,
    /// A proxy in front of it.
    Proxy,
}

const ACTIONS: &str =
    "rst, fin, silence, delay 700ms, pause, crash, sqlstate 40001, cancel and terminate";

/// The steps that a proxy can tell by what passes through it.
const SEEN_BY_PROXY: [CommitPoint; 3] = [
    CommitPoint::Received,
    CommitPoint::Flushed,
    CommitPoint::Ready,
];

impl Fault {
    /// Whether both strike a COMMIT at one place: the same step, or some byte of the same message.
    pub(crate) fn meets(&self, other: &Fault) -> bool {
        match (self.point, other.point) {
            (Point::Step(one), Point::Step(other)) => one == other,
            (Point::Request(_), Point::Request(_)) | (Point::Reply(_), Point::Reply(_)) => true,
            _ => false,
        }
    }

    /// Whether it strikes a message of so many bytes. Behind the last one there is nothing left to
    /// be held up, and none that could be waited for.
    pub(crate) fn strikes_within(&self, length: usize) -> bool {
        match self.point {
            Point::Step(_) => false,
            Point::Request(byte) | Point::Reply(byte) => match self.action {
                Action::Delay(_) => (byte as usize) < length,
                _ => byte as usize <= length,
            },
        }
    }

    /// Reads a fault that can happen where one sees so much.
    pub(crate) fn parse(text: &str, sight: Sight) -> Result<Fault, String> {
        let Some((place, action)) = text.split_once(':') else {
            return Err(format!(
                "a fault is like `commit flushed: rst`; there is no colon in `{text}`"
            ));
        };
        let place = place.trim();
        let point = place
            .strip_prefix("commit")
            .filter(|rest| rest.starts_with(char::is_whitespace));
        let Some(point) = point else {
            return Err(format!(
                "faults strike at COMMIT: `{place}` should be `commit` and a point, as in `commit flushed: rst`"
            ));
        };
        let fault = Fault {
            point: Point::parse(point.trim(), sight)?,
            action: action.trim().parse()?,
        };
        fault.check(sight)?;
        Ok(fault)
    }

    /// Whether that can happen there.
    fn check(&self, sight: Sight) -> Result<(), String> {
        let Fault { point, action } = self;
        let refused = |why: &str| Err(format!("`{action}` at `{point}`: {why}"));
        match (point, action) {
            (Point::Request(_) | Point::Reply(_), Action::Cut(_) | Action::Delay(_)) => Ok(()),
            (Point::Request(_) | Point::Reply(_), _) => {
                refused("at a byte there can be rst, fin, silence and delay 700ms")
            }
            (Point::Step(step), Action::Fail(_)) if *step > CommitPoint::Deferred => refused(
                "nothing fails any more behind deferred; an SQLSTATE strikes at received or deferred",
            ),
            (
                Point::Step(CommitPoint::Deferred),
                Action::Cut(_) | Action::Delay(_) | Action::Pause,
            ) => Ok(()),
            (_, Action::Crash) if sight == Sight::Proxy => {
                refused("a proxy cannot crash the server behind it; `midcommit serve` can")
            }
            (_, Action::Cancel) if sight == Sight::Proxy => refused(
                "what a proxy cancels has either not begun or is over; there are rst, fin, silence, delay 700ms, pause, sqlstate 40001 and terminate",
            ),
            (Point::Step(step), Action::Terminate)
                if sight == Sight::Proxy && *step != CommitPoint::Received =>
            {
                refused("to a proxy the server has answered by then; it terminates at received")
            }
            _ => Ok(()),
        }
    }
}

impl Point {
    /// Reads a point; the leading `commit` may be there or not.
    pub(crate) fn parse(text: &str, sight: Sight) -> Result<Point, String> {
        let text = text.trim();
        let text = text.strip_prefix("commit ").unwrap_or(text).trim();
        let byte = |side: &str| -> Option<Result<u32, String>> {
            let rest = text.strip_prefix(side)?;
            Some(match rest.strip_prefix('+') {
                Some(byte) => byte
                    .parse()
                    .map_err(|_| format!("`{text}` should be like `{side}+7`")),
                None if rest.is_empty() => Ok(0),
                None => return None,
            })
        };
        if let Some(byte) = byte("request") {
            return byte.map(Point::Request);
        }
        if let Some(byte) = byte("reply") {
            return byte.map(Point::Reply);
        }
        let known = |points: &[CommitPoint]| {
            let names: Vec<&str> = points.iter().map(|point| point.name()).collect();
            format!("{}, request+N and reply+N", names.join(", "))
        };
        let Ok(step) = text.parse::<CommitPoint>() else {
            let there = match sight {
                Sight::Server => known(&CommitPoint::ALL),
                Sight::Proxy => known(&SEEN_BY_PROXY),
            };
            return Err(format!(
                "`{text}` is no point of a COMMIT; there are {there}"
            ));
        };
        if sight == Sight::Proxy && !SEEN_BY_PROXY.contains(&step) {
            return Err(format!(
                "a proxy cannot see `{step}`, which happens within the server; it sees {}",
                known(&SEEN_BY_PROXY)
            ));
        }
        Ok(Point::Step(step))
    }
}

impl FromStr for Action {
    type Err = String;

    fn from_str(text: &str) -> Result<Action, String> {
        let (word, rest) = match text.split_once(char::is_whitespace) {
            Some((word, rest)) => (word, rest.trim()),
            None => (text, ""),
        };
        let action = match word {
            "rst" => Action::Cut(Cut::Rst),
            "fin" => Action::Cut(Cut::Fin),
            "silence" => Action::Cut(Cut::Silence),
            "pause" => Action::Pause,
            "crash" => Action::Crash,
            "cancel" => Action::Cancel,
            "terminate" => Action::Terminate,
            "delay" => return Ok(Action::Delay(duration(rest)?)),
            "sqlstate" => return failure(rest).map(Action::Fail),
            _ => return Err(format!("`{text}` is no fault; there are {ACTIONS}")),
        };
        match rest {
            "" => Ok(action),
            _ => Err(format!("`{word}` stands alone; `{rest}` is too much")),
        }
    }
}

/// Reads the SQLSTATE of an error.
fn failure(text: &str) -> Result<SqlState, String> {
    let code = text.parse().map_err(|_| {
        format!("`{text}` is no SQLSTATE, which has five characters, as in sqlstate 40001")
    })?;
    match &text[..2] {
        "00" | "01" | "02" => Err(format!(
            "sqlstate {text} is no error: classes 00, 01 and 02 tell of success, a warning and no data"
        )),
        _ => Ok(code),
    }
}

/// Reads `700ms`, `5s`, `1.5 s`, `2min`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is no time; a time is like 700ms, 5s or 2min");
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .ok_or_else(bad)?;
    let number: f64 = text[..end].parse().map_err(|_| bad())?;
    let unit = match text[end..].trim() {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(bad()),
    };
    Duration::try_from_secs_f64(number * unit).map_err(|_| bad())
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "commit {}: {}", self.point, self.action)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Point::Step(step) => write!(f, "{step}"),
            Point::Request(byte) => write!(f, "request+{byte}"),
            Point::Reply(byte) => write!(f, "reply+{byte}"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Cut(Cut::Rst) => f.write_str("rst"),
            Action::Cut(Cut::Fin) => f.write_str("fin"),
            Action::Cut(Cut::Silence) => f.write_str("silence"),
            Action::Delay(time) => write!(f, "delay {time:?}"),
            Action::Pause => f.write_str("pause"),
            Action::Crash => f.write_str("crash"),
            Action::Fail(code) => write!(f, "sqlstate {code}"),
            Action::Cancel => f.write_str("cancel"),
            Action::Terminate => f.write_str("terminate"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_prints_as_it_parses() {
        for text in [
            "commit flushed: rst",
            "commit received: sqlstate 40001",
            "commit interrupts-held: delay 700ms",
            "commit request+3: fin",
            "commit reply+0: silence",
            "commit visible: pause",
            "commit inserted: crash",
            "commit ready: terminate",
            "commit deferred: cancel",
        ] {
            let fault = Fault::parse(text, Sight::Server);
            assert_eq!(fault.map(|fault| fault.to_string()).as_deref(), Ok(text));
        }
        let loose = Fault::parse("  commit   reply :  delay  1.5 s ", Sight::Proxy).unwrap();
        assert_eq!(loose.to_string(), "commit reply+0: delay 1.5s");
    }

    #[test]
    fn what_is_no_fault_is_told_what_would_be() {
        let refused = |text, sight| Fault::parse(text, sight).unwrap_err();
        for (text, said) in [
            (
                "rst",
                "a fault is like `commit flushed: rst`; there is no colon in `rst`",
            ),
            (
                "insert flushed: rst",
                "faults strike at COMMIT: `insert flushed` should be",
            ),
            (
                "commit flush: rst",
                "`flush` is no point of a COMMIT; there are received, deferred,",
            ),
            ("commit reply+x: rst", "`reply+x` should be like `reply+7`"),
            (
                "commit flushed: reset",
                "`reset` is no fault; there are rst, fin,",
            ),
            (
                "commit flushed: delay",
                "`` is no time; a time is like 700ms, 5s or 2min",
            ),
            (
                "commit flushed: rst 5",
                "`rst` stands alone; `5` is too much",
            ),
            ("commit deferred: sqlstate 4", "`4` is no SQLSTATE"),
            (
                "commit received: sqlstate 00000",
                "sqlstate 00000 is no error",
            ),
            (
                "commit received: sqlstate 01004",
                "sqlstate 01004 is no error",
            ),
            (
                "commit flushed: sqlstate 40001",
                "nothing fails any more behind deferred",
            ),
            (
                "commit reply+2: crash",
                "at a byte there can be rst, fin, silence and delay",
            ),
        ] {
            let error = refused(text, Sight::Server);
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_proxy_says_what_it_can_see() {
        for (text, said) in [
            (
                "commit inserted: rst",
                "a proxy cannot see `inserted`, which happens within the server; it sees received, flushed, ready, request+N and reply+N",
            ),
            (
                "commit received: crash",
                "a proxy cannot crash the server behind it",
            ),
            (
                "commit flushed: cancel",
                "what a proxy cancels has either not begun or is over",
            ),
            ("commit flushed: terminate", "it terminates at received"),
        ] {
            let error = Fault::parse(text, Sight::Proxy).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
