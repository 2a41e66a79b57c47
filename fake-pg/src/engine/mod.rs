//! The engine: heaps, transactions, locks, the WAL.

mod ids;

pub use ids::*;
