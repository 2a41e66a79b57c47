//! The points of a COMMIT, by which plans and reports call them.
//!
//! What happens at each, and which of them a transaction passes, is `commit`'s business.

use std::fmt;
use std::str::FromStr;

/// A step of a COMMIT that has been reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CommitPoint {
    /// The request is here.
    Received,
    /// Deferred constraints have been checked. Until here it can fail, be cancelled or terminated.
    Deferred,
    /// Cancel and terminate wait from here on.
    InterruptsHeld,
    /// The commit record is in the WAL.
    Inserted,
    /// It is on disk: a crash from here on finds the transaction committed.
    Flushed,
    /// The commit log says so too.
    Clog,
    /// Synchronous replicas have it.
    Replicated,
    /// Other sessions see it.
    Visible,
    /// Its locks are free.
    Unlocked,
    /// Its notifications are out.
    Notified,
    /// CommandComplete is written.
    Completed,
    /// ReadyForQuery has been handed to the stream.
    Ready,
}

impl CommitPoint {
    /// All points in the order of a synchronous COMMIT that writes.
    pub const ALL: [CommitPoint; 12] = [
        CommitPoint::Received,
        CommitPoint::Deferred,
        CommitPoint::InterruptsHeld,
        CommitPoint::Inserted,
        CommitPoint::Flushed,
        CommitPoint::Clog,
        CommitPoint::Replicated,
        CommitPoint::Visible,
        CommitPoint::Unlocked,
        CommitPoint::Notified,
        CommitPoint::Completed,
        CommitPoint::Ready,
    ];

    /// Its name in plans and reports.
    pub fn name(self) -> &'static str {
        match self {
            CommitPoint::Received => "received",
            CommitPoint::Deferred => "deferred",
            CommitPoint::InterruptsHeld => "interrupts-held",
            CommitPoint::Inserted => "inserted",
            CommitPoint::Flushed => "flushed",
            CommitPoint::Clog => "clog",
            CommitPoint::Replicated => "replicated",
            CommitPoint::Visible => "visible",
            CommitPoint::Unlocked => "unlocked",
            CommitPoint::Notified => "notified",
            CommitPoint::Completed => "completed",
            CommitPoint::Ready => "ready",
        }
    }

    /// What a PREPARE TRANSACTION goes through.
    pub(super) fn is_of_prepare(self) -> bool {
        use CommitPoint::*;
        !matches!(self, Clog | Visible | Unlocked | Notified)
    }

    /// What only a transaction with an xid goes through.
    pub(super) fn needs_xid(self) -> bool {
        use CommitPoint::*;
        matches!(self, Inserted | Flushed | Clog | Replicated)
    }
}

impl fmt::Display for CommitPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for CommitPoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let point = CommitPoint::ALL
            .into_iter()
            .find(|point| point.name() == text);
        point.ok_or_else(|| format!("no commit point is called {text:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_have_names_that_parse_back() {
        for point in CommitPoint::ALL {
            assert_eq!(point.to_string().parse(), Ok(point));
        }
        assert!("flush".parse::<CommitPoint>().is_err());
    }
}
