//! A small, crashable Postgres for fault injection.
//!
//! It knows no seeds, no simulator and no clock: time is an argument, chance does not exist, and
//! faults enter only at the points of a COMMIT and through the stream a session is given.
//!
//! In reading order:

pub mod wire;

pub mod engine;

pub mod types;

pub mod error;

pub mod sql;

pub mod session;

pub mod postmaster;

pub mod connection;
