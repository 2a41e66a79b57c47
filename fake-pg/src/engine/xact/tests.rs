//! Savepoints, failures and when xids are assigned.

use crate::engine::Sabotage;
use crate::engine::script::{check, check_on, engine};

#[test]
fn rollback_to_undoes_what_came_after_the_savepoint() {
    check(
        "a begin
         a insert 1 x
         a savepoint s
         a insert 2 y
         a rollback-to s
         a select        -> 1=x
         a insert 2 z
         a commit
         b select        -> 1=x 2=z",
    );
}

#[test]
fn rollback_to_an_outer_savepoint_undoes_released_ones() {
    check(
        "a begin
         a savepoint s
         a savepoint r
         a insert 1 x
         a release r
         a insert 2 y
         a rollback-to s
         a insert 3 z
         a savepoint q
         a rollback-to r -> ERROR 3B001: savepoint \"r\" does not exist
         a rollback-to q
         a commit
         b select        -> 3=z",
    );
}

#[test]
fn a_savepoint_before_the_first_write_keeps_the_parents_xid() {
    check(
        "a begin
         a savepoint s
         a insert 1 x
         a release s
         a insert 2 y
         a savepoint s
         a rollback-to s
         a commit
         b select        -> 1=x 2=y",
    );
}

#[test]
fn an_error_undoes_the_innermost_savepoint_and_dooms_the_rest() {
    check(
        "a begin
         a insert 1 x
         a savepoint s
         a insert 2 y
         a insert 1 z    -> ERROR 23505: duplicate key value violates unique constraint \"t_pkey\" (Key (id)=(1) already exists.)
         a select        -> ERROR 25P02: current transaction is aborted, commands ignored until end of transaction block
         b insert 2 q    -> inserted
         a rollback-to s
         a select        -> 1=x 2=q
         a commit
         b select        -> 1=x 2=q",
    );
}

#[test]
fn commit_of_a_failed_transaction_rolls_back() {
    check(
        "a insert 1 x
         a begin
         a insert 2 y
         a insert 1 z    -> ERROR 23505: duplicate key value violates unique constraint \"t_pkey\" (Key (id)=(1) already exists.)
         a commit        -> rolled back
         a select        -> 1=x",
    );
}

#[test]
fn locks_taken_after_a_savepoint_go_with_it() {
    check(
        "a insert 1 x
         a begin
         a savepoint s
         a append 1 y    -> updated 1
         b append 1 z    -> waits
         a rollback-to s -> b: updated 1
         a select        -> 1=xz",
    );
}

#[test]
fn an_xid_is_assigned_by_the_first_write_or_row_lock() {
    // Measured on PostgreSQL 15.18.
    check(
        "a insert 1 x
         a begin
         a select             -> 1=x
         a xid                -> none
         a lock update block  -> locked 1=x
         a xid                -> some
         b begin
         b lock update skip   -> locked
         b xid                -> none",
    );
}

#[test]
fn sabotage_of_savepoints_keeps_their_rows() {
    let mut engine = engine();
    engine.sabotage(Sabotage::LoseSavepoint);
    check_on(
        engine,
        "a begin
         a savepoint s
         a insert 1 x
         a rollback-to s
         a commit
         b select     -> 1=x",
    );
}
