//! What happened: one totally ordered log of a run, and its rolling hash.
//!
//! The log takes in what the outside world can know (invoke, then ok, fail or
//! info; requests and replies; effects) and what only the server knows
//! (commits, what they make owed, what a crash loses). Oracles judge by it
//! alone. Events are structured, and rendered only when someone reads: see
//! [`crate::report`].
//!
//! The hash rolls over every event with its time, and over whatever else is
//! folded in between (await points, steps of a COMMIT), so that two runs with
//! the same hash did the same things in the same order.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use crate::plan::{Exchange, Fault, ProcessName};

/// The log of one run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What the scenario promises; oracles hold the events against it.
    pub promises: Promises,
    /// The processes that events name by index.
    pub processes: Vec<ProcessName>,
    /// What happened, in order.
    pub events: Vec<Event>,
    hash: RollingHash,
}

/// What the scenario says must come true.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Promises {
    /// Effects that commits make owed, and how often each key may be applied.
    pub owed: Vec<(Arc<str>, Times)>,
    /// Whether one job may make more than one writing commit.
    pub repeatable: bool,
    /// Whether a job that ends ok must have committed something.
    pub ok_commits: bool,
}

/// How often an owed effect is to be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Times {
    /// Once: not lost, not duplicated.
    Once,
    /// Once or more: not lost.
    AtLeastOnce,
    /// Once or never: not duplicated.
    AtMostOnce,
}

/// Something that happened, and when.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// Simulated time since the run began.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// A process, as an index into [`History::processes`].
pub type ProcessId = usize;

/// A COMMIT: the server's name and its number there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId {
    /// The server's host name.
    pub server: Arc<str>,
    /// The COMMIT's number over the server's life; from 1.
    pub number: u64,
}

/// What may happen in a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// A process started.
    Started(ProcessId),
    /// A process was told to stop.
    ToldToStop(ProcessId),
    /// A process ended: on its own after a stop signal, or killed.
    Ended {
        /// Which.
        process: ProcessId,
        /// Whether it had no say in it.
        killed: bool,
    },
    /// A job was handed to a process.
    Invoke {
        /// To which.
        process: ProcessId,
        /// Its key.
        job: Arc<str>,
    },
    /// The job's future returned `Ok`.
    Ok {
        /// In which process.
        process: ProcessId,
        /// Its key.
        job: Arc<str>,
    },
    /// The job's future returned `Err`.
    Fail {
        /// In which process.
        process: ProcessId,
        /// Its key.
        job: Arc<str>,
        /// The error, as it prints.
        error: Arc<str>,
    },
    /// The job's future ended without an answer: cancelled, raised in, panicked or killed.
    Info {
        /// In which process.
        process: ProcessId,
        /// Its key.
        job: Arc<str>,
        /// Which of these.
        reason: Arc<str>,
    },
    /// A request left a process.
    Sent {
        /// From which.
        process: ProcessId,
        /// The process's how-manieth connection.
        connection: u32,
        /// Its name.
        exchange: Exchange,
        /// Its length in canonical bytes.
        bytes: u32,
        /// The hash of these bytes.
        digest: u64,
    },
    /// A reply was read to its end by a process.
    Answered {
        /// By which.
        process: ProcessId,
        /// The process's how-manieth connection.
        connection: u32,
        /// The request's name.
        exchange: Exchange,
        /// Command tags and errors in it, joined by spaces.
        outcome: Arc<str>,
        /// The hash of its bytes.
        digest: u64,
    },
    /// A connection of a process ended under it.
    Disconnected {
        /// Of which process.
        process: ProcessId,
        /// The process's how-manieth connection.
        connection: u32,
        /// End of file, or the error.
        how: &'static str,
    },
    /// A transaction became visible.
    Committed {
        /// Which COMMIT.
        commit: CommitId,
        /// The process on the other end of the connection.
        process: Option<ProcessId>,
        /// The job that process was at.
        job: Option<Arc<str>>,
        /// Whether it changed anything.
        writes: bool,
        /// Whether it was acknowledged before its WAL was flushed, as the client had asked.
        asynchronous: bool,
    },
    /// The server answered a COMMIT with success, and the bytes left it.
    Acknowledged(CommitId),
    /// A commit made an effect owed.
    Owed {
        /// The effect's name.
        name: Arc<str>,
        /// Its key.
        key: Arc<str>,
        /// Which commit.
        commit: CommitId,
    },
    /// A process set out to make an effect.
    EffectInvoke {
        /// Which process.
        process: ProcessId,
        /// The effect's name.
        name: Arc<str>,
        /// Its key.
        key: Arc<str>,
    },
    /// The process learnt what became of it.
    EffectDone {
        /// Which process.
        process: ProcessId,
        /// The effect's name.
        name: Arc<str>,
        /// Its key.
        key: Arc<str>,
        /// What it learnt.
        outcome: EffectOutcome,
    },
    /// The effect arrived at the broker.
    Delivered {
        /// The effect's name.
        name: Arc<str>,
        /// Its key.
        key: Arc<str>,
    },
    /// The effect took hold: on arrival, or in the consumer's committed table.
    Applied {
        /// The effect's name.
        name: Arc<str>,
        /// Its key.
        key: Arc<str>,
        /// The consumer's commit, where there is a consumer.
        commit: Option<CommitId>,
    },
    /// A fault fired.
    Fired(Arc<Fault>),
    /// A server went down.
    ServerDown(Arc<str>),
    /// A server is up again.
    ServerUp {
        /// Which.
        server: Arc<str>,
        /// The numbers of the visible commits that are gone.
        lost: Vec<u64>,
        /// Whether another machine took over, whose WAL ended earlier.
        failover: bool,
    },
    /// After the last fault: links healed, silenced connections reset, stalls released.
    Healed,
    /// A job was neither done nor given up when the run reached its limit.
    Unfinished {
        /// Its key.
        job: Arc<str>,
    },
    /// A session or lock was left behind.
    Leaked {
        /// On which server.
        server: Arc<str>,
        /// What is held.
        what: Arc<str>,
    },
    /// The run ended.
    Settled {
        /// Whether that was because its time was up.
        at_limit: bool,
    },
}

/// What a process learns of its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EffectOutcome {
    /// Acknowledged.
    Ok,
    /// It did not happen.
    Refused,
    /// It may have happened.
    Unknown,
}

impl History {
    /// An empty history under these promises.
    pub fn new(promises: Promises) -> History {
        History {
            promises,
            ..History::default()
        }
    }

    /// Appends an event and rolls the hash over it.
    pub fn push(&mut self, at: Duration, what: What) {
        let event = Event { at, what };
        event.hash(&mut self.hash);
        self.events.push(event);
    }

    /// Rolls the hash over something that is not worth an event.
    pub fn fold(&mut self, what: u64) {
        self.hash.write_u64(what);
    }

    /// The hash of all that happened so far.
    pub fn hash(&self) -> HistoryHash {
        HistoryHash(self.hash.finish())
    }
}

/// A history's hash; prints as sixteen hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HistoryHash(pub u64);

impl fmt::Display for HistoryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A hash that is the same on every machine, in debug and in release: the
/// standard library's promise covers neither.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RollingHash(u64);

impl RollingHash {
    /// The hash of some bytes alone.
    pub(crate) fn of(bytes: &[u8]) -> u64 {
        let mut hash = RollingHash::default();
        hash.write(bytes);
        hash.finish()
    }

    fn roll(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for RollingHash {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.roll(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.roll(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }

    fn write_u8(&mut self, i: u8) {
        self.roll(i.into());
    }

    fn write_u16(&mut self, i: u16) {
        self.roll(i.into());
    }

    fn write_u32(&mut self, i: u32) {
        self.roll(i.into());
    }

    fn write_u64(&mut self, i: u64) {
        self.roll(i);
    }

    fn write_usize(&mut self, i: usize) {
        self.roll(i as u64);
    }

    fn finish(&self) -> u64 {
        // The last word rolled in has only been multiplied once: mix it down.
        let h = self.0 ^ self.0 >> 32;
        h.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ h >> 29
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_depends_on_what_when_and_in_which_order() {
        let hash = |events: &[(u64, What)]| {
            let mut history = History::default();
            for (ms, what) in events {
                history.push(Duration::from_millis(*ms), what.clone());
            }
            history.hash()
        };
        let (a, b) = (What::Started(0), What::Started(1));
        let base = hash(&[(1, a.clone()), (2, b.clone())]);
        assert_eq!(base, hash(&[(1, a.clone()), (2, b.clone())]));
        assert_ne!(base, hash(&[(1, b.clone()), (2, a.clone())]));
        assert_ne!(base, hash(&[(1, a.clone()), (3, b)]));
        assert_ne!(base, hash(&[(1, a)]));
    }

    #[test]
    fn a_fold_changes_the_hash_and_adds_no_event() {
        let mut history = History::default();
        let before = history.hash();
        history.fold(7);
        assert_ne!(before, history.hash());
        assert!(history.events.is_empty());
    }
}
