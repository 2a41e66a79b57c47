//! Faults by SQL, for servers that real programs talk to.
//!
//! Owns the text of such a fault, the desk where faults are armed and COMMITs are written down, and
//! the schema `midcommit` that reaches it by SQL. `serve` and `proxy` ask the desk at the points they
//! can see, and do what it says: the streams are theirs.
//!
//! Invariant: what is armed, paused and written down belongs to the server, not to a session or its
//! transaction. It is effective at once, and no ROLLBACK takes it back.
//!
//! In reading order:

pub(crate) mod listen;
pub(crate) mod fault;
pub(crate) mod link;
pub(crate) mod desk;
mod sql;
pub(crate) mod statements;
