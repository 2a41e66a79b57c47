//! Every edit is caught, and what it was made in is not.

use std::collections::BTreeSet;

use sabotage::{catch, edits, spare, survive};

#[test]
fn every_edit_is_caught() {
    let mut missed = Vec::new();
    let mut told = Vec::new();
    for edit in edits().iter().filter(|edit| !edit.is_redundant()) {
        match catch(edit) {
            Ok(caught) => told.push(caught.to_string()),
            Err(error) => missed.push(error),
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("sabotage", told.join("\n")));
}

#[test]
fn no_remedy_is_caught_without_an_edit() {
    let edits = edits();
    let mut tried = BTreeSet::new();
    for edit in edits.iter().filter(|edit| !edit.is_redundant()) {
        let cell = (&edit.scenario, &edit.caught, &edit.dwell);
        if tried.insert(cell) {
            spare(edit).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

#[test]
fn a_redundant_guard_is_one() {
    for edit in edits().iter().filter(|edit| edit.is_redundant()) {
        survive(edit).unwrap_or_else(|error| panic!("{error}"));
    }
}
