//! Deterministic fault injection for what happens after COMMIT.
//!
//! A seed finds a failure, a plan keeps it; the simulation runs a plan and
//! writes a history; oracles judge the history and nothing else; the report
//! shows it. The modules stand in that order, and each imports only from those
//! above it.

pub mod seed;
pub mod plan;
pub mod history;
pub mod oracle;
pub mod scenario;
mod sim;
pub mod replay;
pub mod explore;
pub mod report;
mod check;
pub mod cli;

pub use check::check;
pub use explore::{explore, plans};
pub use history::Times;
pub use scenario::{Redeliver, Sabotage, Scenario};
pub use sim::{ConnectError, EffectError, Env, Exception, Message, StopToken, Stream, spawn};

#[cfg(test)]
mod script;
