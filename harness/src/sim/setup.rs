//! A scenario made ready: schemas loaded once, shared by every run on every thread.

use std::sync::Arc;

use fake_pg::engine::Engine;

use super::broker::Control;
use super::ledger::Ledger;
use super::system::{PRIMARY, Sabotage, System};
use crate::history::Promises;

/// What all runs of a scenario start from.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) system: System,
    pub(crate) promises: Promises,
    /// The loaded engines, one for each server; a run clones them by reference.
    pub(crate) engines: Vec<(Engine, Ledger)>,
    pub(crate) control: Option<Control>,
}

impl Setup {
    /// Loads the schemas.
    ///
    /// # Errors
    ///
    /// A schema or a query of the scenario's fails: the server's words, and which.
    pub(crate) fn new(system: &System) -> Result<Setup, String> {
        let mut engines = Vec::new();
        for server in &system.servers {
            let mut engine = Engine::new();
            engine
                .load(&server.schema)
                .map_err(|error| format!("the schema of `{}` failed: {error}", server.name))?;
            if let (Some(Sabotage::Server(sabotage)), PRIMARY) = (system.sabotage, &*server.name) {
                engine.sabotage(sabotage);
            }
            let ledger = Ledger::open(system, &server.name, &mut engine)?;
            engines.push((engine, ledger));
        }
        Ok(Setup {
            promises: promises(system),
            engines,
            control: None,
            system: system.clone(),
        })
    }

    /// The same for a thread of its own: engines that several threads clone slow each other down.
    pub(crate) fn unshared(&self) -> Setup {
        let engines = self.engines.iter();
        Setup {
            engines: engines
                .map(|(engine, ledger)| (engine.unshared(), ledger.clone()))
                .collect(),
            ..self.clone()
        }
    }

    /// The same, with a control that the oracles must catch.
    pub(crate) fn with_control(&self, control: Control) -> Setup {
        Setup {
            control: Some(control),
            ..self.clone()
        }
    }

    /// The same, knowing whether a job that ends ok must have committed.
    pub(crate) fn with_ok_commits(mut self, ok_commits: bool) -> Setup {
        self.promises.ok_commits = ok_commits;
        self
    }

    /// Whether the broker is there from the start. Every host costs something at every tick, so
    /// where nothing is owed it comes when it is first asked for.
    pub(crate) fn expects_effects(&self) -> bool {
        !self.promises.owed.is_empty() || !self.system.inboxes.is_empty()
    }

    /// What a stop signal raises in workers that model exceptions, unless they only watch for it.
    pub(crate) fn stop_exception(&self) -> Option<Arc<str>> {
        self.system.stop_exception.clone()
    }

    /// Whether the workers model a runtime in which this exception can arise.
    pub(crate) fn raises(&self, exception: &Arc<str>) -> bool {
        self.system.exceptions.contains(exception)
    }
}

fn promises(system: &System) -> Promises {
    let owed = system.promises.iter();
    Promises {
        owed: owed
            .map(|promise| (promise.effect.clone(), promise.times))
            .collect(),
        repeatable: system.repeatable,
        ok_commits: false,
    }
}
