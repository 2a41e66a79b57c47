//! Designs that close the window, each beside a twin that leaves it open.

mod outbox;

use midcommit::Scenario;

/// All remedies, the broken twin after the remedy.
pub(crate) fn scenarios() -> Vec<Scenario> {
    outbox::scenarios()
}
