//! Who waits for a row, and what becomes of it.

use crate::engine::Sabotage;
use crate::engine::script::{check, check_on, engine};

#[test]
fn the_four_strengths_meet_as_the_manual_says() {
    // Table 13.3 of the manual; an update that changes no key is a FOR NO KEY UPDATE.
    check(
        "a insert 1 x
         a begin
         a append 1 y
         b lock key-share nowait     -> locked 1=x
         b lock share nowait         -> ERROR 55P03: could not obtain lock on row in relation \"t\"
         b lock no-key-update nowait -> ERROR 55P03: could not obtain lock on row in relation \"t\"
         a abort
         a begin
         a update 1 2 x
         b lock key-share nowait     -> ERROR 55P03: could not obtain lock on row in relation \"t\"
         a abort
         a begin
         a lock share block          -> locked 1=x
         b begin
         b lock share block          -> locked 1=x
         c append 1 z                -> waits
         a abort                     -> rolled back
         b abort                     -> rolled back; c: updated 1",
    );
}

#[test]
fn skip_locked_takes_the_next_row() {
    check(
        "a insert 1 x
         a insert 2 y
         a begin
         a lock update block 1 -> locked 1=x
         b begin
         b lock update skip    -> locked 2=y
         c lock update skip    -> locked
         a commit
         c lock update skip    -> locked 1=x",
    );
}

#[test]
fn waiters_for_a_row_are_served_first_in_first_out() {
    check(
        "a insert 1 x
         a begin
         a append 1 a
         b begin
         b append 1 b -> waits
         c append 1 c -> waits
         d append 1 d -> waits
         a abort      -> rolled back; b: updated 1
         b abort      -> rolled back; c: updated 1; d: updated 1
         a select     -> 1=xcd",
    );
}

#[test]
fn a_cancelled_waiter_leaves_the_queue() {
    check(
        "a insert 1 x
         a begin
         a append 1 a
         b append 1 b -> waits
         c append 1 c -> waits
         b cancel     -> ERROR 57014: canceling statement due to user request
         a abort      -> rolled back; c: updated 1
         a select     -> 1=xc",
    );
}

#[test]
fn sabotage_of_row_locks_lets_everybody_in() {
    let mut engine = engine();
    engine.sabotage(Sabotage::ForgetRowLock);
    check_on(
        engine,
        "a insert 1 x
         a begin
         a lock update block -> locked 1=x
         b lock update skip  -> locked 1=x",
    );
}

#[test]
fn an_update_goes_on_with_the_newest_version() {
    // The row is computed anew from what the other has written: xyz, not xz.
    check(
        "a insert 1 x
         a begin
         a append 1 y
         b append 1 z         -> waits
         a commit to unlocked -> received deferred interrupts-held inserted flushed clog replicated visible unlocked; b: updated 1
         b select             -> 1=xyz",
    );
}

#[test]
fn an_update_passes_over_a_row_that_no_longer_qualifies() {
    check(
        "a insert 1 x
         a begin
         a update 1 2 x       -> updated 1
         b append 1 z         -> waits
         c append 1 w         -> waits
         a commit to unlocked -> received deferred interrupts-held inserted flushed clog replicated visible unlocked; b: updated 0; c: updated 0
         b select             -> 2=x",
    );
}

#[test]
fn a_row_deleted_meanwhile_is_passed_over() {
    check(
        "a insert 1 x
         a begin
         a delete 1
         b delete 1           -> waits
         a commit to unlocked -> received deferred interrupts-held inserted flushed clog replicated visible unlocked; b: deleted 0",
    );
}

#[test]
fn repeatable_read_gives_up_on_what_was_changed_meanwhile() {
    check(
        "a insert 1 x
         a insert 2 x
         b begin rr
         b select     -> 1=x 2=x
         c begin rr
         c select     -> 1=x 2=x
         a append 1 y
         a delete 2
         b append 1 z -> ERROR 40001: could not serialize access due to concurrent update
         c delete 2   -> ERROR 40001: could not serialize access due to concurrent delete",
    );
}

#[test]
fn a_statement_that_waits_twice_does_each_thing_once() {
    check(
        "a insert 1 x
         a insert 2 x
         a insert 3 x
         b begin
         b append 2 b
         c begin
         c append 3 c
         a lock update block  -> waits
         b abort              -> rolled back
         c abort              -> rolled back; a: locked 1=x 2=x 3=x
         a append 1 !
         a select             -> 2=x 3=x 1=x!",
    );
}
