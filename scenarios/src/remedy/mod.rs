//! Designs that close the window, each beside twins that leave it open.
//!
//! A file here is what a service would have: it uses `midcommit`, `tokio_postgres` and
//! `tokio`, and nothing of this crate, so that it can be compiled elsewhere with an edit.

mod after_commit;
mod in_transaction;
mod shield;
mod checkpoint;
mod in_doubt;
mod outbox;
mod outbox_inbox;
mod outbox_horizon;
mod outbox_cursor;
mod job_row;
mod two_phase;
mod notify;

use midcommit::Scenario;

/// All remedies in the order of the page, each before its broken twins.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let all = [
        after_commit::scenarios(),
        in_transaction::scenarios(),
        shield::scenarios(),
        checkpoint::scenarios(),
        in_doubt::scenarios(),
        outbox::scenarios(),
        outbox_inbox::scenarios(),
        outbox_horizon::scenarios(),
        outbox_cursor::scenarios(),
        job_row::scenarios(),
        two_phase::scenarios(),
        notify::scenarios(),
    ];
    all.into_iter().flatten().collect()
}
