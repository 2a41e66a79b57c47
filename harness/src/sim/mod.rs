//! The simulation: runs one plan of one scenario and writes its history.
//!
//! From a worker's await to the server and back: [`env`] hands out a [`stream`], its bytes pass
//! the network, [`tcp`], and arrive in [`wire`], which feeds the session of a [`server`]; the
//! [`gate`] around the worker's tasks and the hook in the server ask the [`cursor`] at each point
//! whether a fault strikes; [`hosts`] gives each host its turns, and [`run`] does between steps what
//! faults ask for. What they share is the [`world`].

mod system;
mod setup;
mod run;
mod hosts;
mod tcp;
mod world;
mod cursor;
mod gate;
mod locate;
mod links;
mod frames;
mod stream;
mod wire;
mod server;
mod ledger;
mod broker;
mod worker;
mod env;

pub(crate) use broker::Control;
pub(crate) use cursor::{Detail, Recorded, Step};
pub use env::{ConnectError, EffectError, Env, Exception, Message, StopToken, spawn};
pub(crate) use run::{Order, Run, run};
pub(crate) use setup::Setup;
pub use stream::Stream;
pub(crate) use system::{BROKER, Inbox, PRIMARY, Promise, ServerSpec, System, WorkerSpec};
pub use system::{Redeliver, Sabotage, WorkerResult};
pub(crate) use world::WireEnd;
