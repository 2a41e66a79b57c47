//! Which commits the surviving timeline holds: read once, before any oracle asks.
//!
//! A fail-over, a crash after an asynchronous commit or a server that lies each
//! take back commits that were visible. What such a commit made owed is owed no
//! more, and what a consumer applied in it is not applied.

use crate::history::{CommitId, History, What};

/// What the end of a history says about all that came before.
#[derive(Debug, Default)]
pub(crate) struct Survival<'h> {
    /// Commits that are gone, by server and number; almost always none.
    lost: Vec<(&'h str, u64)>,
    /// Whether the run ended because its time was up.
    pub(crate) at_limit: bool,
}

impl<'h> Survival<'h> {
    pub(crate) fn of(history: &'h History) -> Survival<'h> {
        let mut survival = Survival::default();
        for event in &history.events {
            match &event.what {
                What::ServerUp { server, lost, .. } => {
                    survival
                        .lost
                        .extend(lost.iter().map(|number| (&**server, *number)));
                }
                What::Settled { at_limit } => survival.at_limit = *at_limit,
                _ => (),
            }
        }
        survival
    }

    /// Whether this commit is still there when the run ends.
    pub(crate) fn holds(&self, commit: &CommitId) -> bool {
        !self
            .lost
            .iter()
            .any(|(server, number)| *number == commit.number && **server == *commit.server)
    }
}
