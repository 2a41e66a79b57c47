//! What each kind of commit passes, and what planted bugs do to it.

use super::*;
use crate::engine::script::{check, check_on, engine};

#[test]
fn each_kind_of_commit_passes_its_points() {
    check(
        "a begin
         a insert 1 x
         a commit         -> received deferred interrupts-held inserted flushed clog replicated visible unlocked notified completed ready
         a begin
         a select
         a commit         -> received deferred interrupts-held visible unlocked notified completed ready
         a begin
         a insert 2 x
         a commit async   -> received deferred interrupts-held inserted clog replicated visible unlocked notified completed ready flushed
         a begin
         a insert 3 x
         a commit sync at-sync -> completed received deferred interrupts-held inserted flushed clog replicated visible unlocked notified ready",
    );
}

#[test]
fn a_row_is_there_at_visible_and_free_at_unlocked() {
    check(
        "a insert 1 x
         a begin
         a append 1 y
         a commit to clog -> received deferred interrupts-held inserted flushed clog
         b select         -> 1=x
         b append 1 z     -> waits
         a step visible   -> replicated visible
         c select         -> 1=xy
         a step unlocked  -> unlocked; b: updated 1
         c select         -> 1=xyz",
    );
}

#[test]
fn a_commit_is_numbered_and_logged_with_its_messages() {
    let mut engine = engine();
    for (keys, content) in [(1..=2, "one"), (3..=3, "two")] {
        let mut tx = engine.begin(Pid(1), Default::default(), Timestamp(0));
        tx.messages.push(("m".into(), content.into()));
        for _ in keys {
            tx.xid(&mut engine);
        }
        engine.commit(tx, Timestamp(0)).unwrap();
    }
    let shown: Vec<String> = engine
        .commits()
        .iter()
        .map(|commit| format!("{} {} {}", commit.number, commit.xid, commit.messages[0].1))
        .collect();
    assert_eq!(shown, ["1 741 one", "2 742 two"]);
}

#[test]
fn before_interrupts_are_held_a_commit_can_be_given_up() {
    let mut engine = engine();
    let mut tx = engine.begin(Pid(1), Default::default(), Timestamp(0));
    tx.xid(&mut engine);
    let mut machine = CommitMachine::new(&mut engine, tx, CommitKind::Explicit, Default::default());
    let mut passed = Vec::new();
    while machine.can_abort() {
        passed.push(
            machine
                .step(&mut engine, Timestamp(0))
                .unwrap()
                .unwrap()
                .name(),
        );
    }
    assert_eq!(passed, ["received", "deferred", "interrupts-held"]);
}

#[test]
fn sabotage_acknowledges_before_the_flush() {
    let mut engine = engine();
    engine.sabotage(Sabotage::AckBeforeFlush);
    check_on(
        engine,
        "a begin
         a insert 1 x
         a commit to ready -> received deferred interrupts-held inserted clog replicated visible unlocked notified completed ready
         crash             -> lost 1
         a select          -> ",
    );
}

#[test]
fn sabotage_unlocks_before_visibility_and_loses_an_update() {
    let mut engine = engine();
    engine.sabotage(Sabotage::UnlockBeforeVisible);
    check_on(
        engine,
        "a insert 1 x
         a begin
         a append 1 y
         b append 1 z       -> waits
         a commit to unlocked -> received deferred interrupts-held inserted flushed clog replicated unlocked; b: updated 1
         a step             -> visible notified completed ready
         a select           -> 1=xy 1=xz",
    );
}

#[test]
fn sabotage_tells_a_commit_twice() {
    let mut engine = engine();
    engine.sabotage(Sabotage::CommitTwice);
    let mut tx = engine.begin(Pid(1), Default::default(), Timestamp(0));
    tx.xid(&mut engine);
    engine.commit(tx, Timestamp(0)).unwrap();
    assert_eq!(engine.commits().len(), 2);
}

#[test]
fn whether_the_answer_waits_for_the_flush_depends_on_what_was_written() {
    check(
        "a begin
         a truncate       -> truncated
         a commit async   -> received deferred interrupts-held inserted flushed clog replicated visible unlocked notified completed ready",
    );
    let mut engine = engine();
    let mut tx = engine.begin(Pid(1), Default::default(), Timestamp(0));
    tx.xid(&mut engine);
    let mut machine = CommitMachine::new(&mut engine, tx, CommitKind::Explicit, Default::default());
    let mut passed = Vec::new();
    while let Ok(Some(point)) = machine.step(&mut engine, Timestamp(0)) {
        passed.push(point);
    }
    assert_eq!(passed.last(), Some(&CommitPoint::Flushed));
    assert!(engine.commits()[0].asynchronous);
}
