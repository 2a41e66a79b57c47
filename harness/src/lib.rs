//! Deterministic fault injection for what happens after COMMIT.
//!
//! A seed finds a failure, a plan keeps it; the simulation runs a plan and
//! writes a history; oracles judge the history and nothing else; the report
//! shows it. The modules stand in that order, and each imports only from those
//! above it.

pub mod seed;
pub mod plan;
pub mod history;
mod sim;
pub mod oracle;
pub mod scenario;
pub mod replay;
pub mod explore;
pub mod report;
mod check;
mod live;
pub mod serve;
pub mod proxy;
pub mod cli;

pub use check::check;
pub use explore::{explore, plans};
pub use history::Times;
pub use scenario::Scenario;
pub use sim::{
    ConnectError, EffectError, Env, Exception, Message, Redeliver, Sabotage, StopToken, Stream,
    WorkerResult, spawn,
};

#[cfg(test)]
mod script;
