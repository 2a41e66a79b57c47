//! A small, crashable Postgres for fault injection.
//!
//! No clock, no randomness, no sockets: time is an argument, faults enter through `CommitHook`
//! and through the stream that `connection::serve` is given.

pub mod wire;
