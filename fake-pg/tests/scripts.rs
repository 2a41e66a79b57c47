//! Scripts whose expectations were recorded from PostgreSQL 15.18.

mod script;

use script::check;

#[test]
fn command_complete_is_not_commit() {
    check(include_str!("scripts/command_complete.script"));
}

#[test]
fn commit_of_an_aborted_transaction_answers_rollback() {
    check(include_str!("scripts/aborted_commit.script"));
}

#[test]
fn scripts_and_pipelines_are_implicit_transactions() {
    check(include_str!("scripts/implicit_transactions.script"));
}

#[test]
fn savepoints_roll_back_their_part() {
    check(include_str!("scripts/savepoints.script"));
}

#[test]
fn the_extended_protocol_answers_message_by_message() {
    check(include_str!("scripts/extended.script"));
}

#[test]
fn malformed_messages_are_errors_or_hang_ups() {
    check(include_str!("scripts/malformed.script"));
}

#[test]
fn waits_end_by_locks_cancels_and_terminations() {
    check(include_str!("scripts/waits.script"));
}

#[test]
fn a_departed_clients_statement_still_commits() {
    check(include_str!("scripts/departed.script"));
}

#[test]
fn settings_follow_transactions_and_limit_waits() {
    check(include_str!("scripts/settings.script"));
}

#[test]
fn a_conflict_that_does_nothing_assigns_no_xid() {
    check(include_str!("scripts/conflict.script"));
}

#[test]
fn a_failing_commit_is_told_where_it_happens() {
    check(include_str!("scripts/failing_commit.script"));
}
