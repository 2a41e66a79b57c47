//! The small numbers the engine is made of. Each is its own type, so that none is taken for another.

use std::fmt;

use crate::types::datetime;

/// Microseconds since the Unix epoch. The engine never asks a clock: its caller says what time it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This much later; saturates, as a time-out of years must not wrap.
    pub fn after(self, duration: std::time::Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_add(micros))
    }
}

/// `2024-02-29 13:37:00.5+00`, as timestamptz prints in UTC.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        datetime::write_timestamptz(f, *self, datetime::Zone::default())
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A transaction, or a subtransaction, that has written. Zero is none. Reused after a crash
    /// that lost it, as in PostgreSQL.
    Xid(u64)
}
number! {
    /// A server process: one session.
    Pid(i32)
}
number! {
    /// A table's OID: what the catalog and RowDescription call it.
    TableId(u32)
}
number! {
    /// Where a table's or a sequence's data is. TRUNCATE gives a table a new one.
    FileNode(u32)
}
number! {
    /// A tuple's place in its heap.
    Tid(u32)
}
number! {
    /// The n-th writing command of a transaction.
    CommandId(u32)
}
number! {
    /// The n-th commit of the server's whole life, crashes included; the first is 1.
    CommitNumber(u64)
}

impl Xid {
    /// No transaction.
    pub const NONE: Xid = Xid(0);
    /// The writer of what everybody sees (`FrozenTransactionId`).
    pub const FROZEN: Xid = Xid(2);
    /// The writer of what is not there: nobody ever sees it.
    pub const NEVER: Xid = Xid(u64::MAX);
}

/// A position in the WAL: how many records precede it since the first. It is shown as if a server's
/// first segments lay before that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// `0/16B3748`, as pg_lsn prints.
impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FIRST: u64 = 0x1000_0000;
        let shown = self.0 + FIRST;
        write!(f, "{:X}/{:X}", shown >> 32, shown & 0xffff_ffff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_prints_as_timestamptz_in_utc() {
        // Expectations from `select to_timestamp(n)` on PostgreSQL 15 with TimeZone = UTC.
        for (micros, text) in [
            (0, "1970-01-01 00:00:00+00"),
            (-500_000, "1969-12-31 23:59:59.5+00"),
            (951_782_400_000_000, "2000-02-29 00:00:00+00"),
            (1_709_213_820_000_001, "2024-02-29 13:37:00.000001+00"),
            (-62_135_596_801_000_000, "0001-12-31 23:59:59+00 BC"),
        ] {
            assert_eq!(Timestamp(micros).to_string(), text);
        }
    }
}
