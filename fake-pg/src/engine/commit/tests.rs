//! What each kind of commit passes, and what planted bugs do to it.

use super::*;
use crate::engine::ServerConfig;
use crate::engine::script::{World, check, check_on, engine};

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
fn a_commit_knows_its_number_from_its_first_step_on_and_its_xid() {
    let mut engine = engine();
    let mut tx = engine.begin(Pid(1), Default::default(), Timestamp(0));
    let xid = tx.xid(&mut engine);
    let mut machine = CommitMachine::new(&mut engine, tx, CommitKind::Explicit, Default::default());
    while let Some(point) = machine.step(&mut engine, Timestamp(0)).unwrap() {
        let known = (machine.number(), machine.xid());
        assert_eq!(known, (CommitNumber(1), Some(xid)), "at {point}");
    }
    let logged = &engine.commits()[0];
    assert_eq!((logged.number, logged.xid), (CommitNumber(1), xid));
}

#[test]
fn the_log_says_what_has_a_record_and_what_did_not_wait_for_its_flush() {
    // Source: the condition of `XLogFlush` in `RecordTransactionCommit`.
    let mut world = World::new(engine());
    for deed in [
        "insert 1 x",
        "commit",
        "insert 2 x",
        "commit async",
        "select",
        "commit async",
        "truncate",
        "commit async",
    ] {
        if !deed.starts_with("commit") {
            world.run("a begin");
        }
        world.run(&format!("a {deed}"));
    }
    let logged = world.engine.commits().iter();
    let logged: Vec<(bool, bool)> = logged.map(|c| (c.writes, c.asynchronous)).collect();
    assert_eq!(
        logged,
        [(true, false), (true, true), (false, false), (true, false)]
    );
    // One without a record is where the WAL stood, here at the end of the record before.
    let places: Vec<Lsn> = world.engine.commits().iter().map(|c| c.lsn).collect();
    assert!(places.is_sorted() && places[1] == places[2], "{places:?}");
}

#[test]
fn who_waits_for_a_replica_is_woken_once_and_in_turn() {
    // Source: `SyncRepQueueInsert`, by the position of the record; `SyncRepCancelWait` takes it out.
    let mut engine = engine();
    let wait = |engine: &mut Engine, pid| {
        let mut tx = engine.begin(pid, Default::default(), Timestamp(0));
        tx.xid(engine);
        tx.logged = true;
        let mut machine = CommitMachine::new(engine, tx, CommitKind::Explicit, Default::default());
        while machine.next_point() != Some(CommitPoint::Replicated) {
            machine.step(engine, Timestamp(0)).unwrap();
        }
        assert!(machine.awaits_replica(engine));
        // It is asked again whenever its session is woken.
        assert!(machine.awaits_replica(engine));
        machine
    };
    let wanted = |names: &str| ServerConfig {
        synchronous_standby_names: names.into(),
        ..ServerConfig::default()
    };
    engine.configure(wanted("r"));
    let given_up = wait(&mut engine, Pid(1));
    let waits = wait(&mut engine, Pid(2));
    given_up.forgo_replica(&mut engine);
    let waits_anew = wait(&mut engine, Pid(1));
    engine.configure(wanted(""));
    assert_eq!(engine.take_wakeups(), [Pid(2), Pid(1)]);
    assert!(!waits.awaits_replica(&mut engine) && !waits_anew.awaits_replica(&mut engine));
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

/// A PREPARE TRANSACTION about to be received, of somebody who has an xid.
fn preparing(engine: &mut Engine) -> CommitMachine {
    engine.configure(ServerConfig {
        max_prepared_transactions: 1,
        ..ServerConfig::default()
    });
    let tx = engine.begin(Pid(1), Default::default(), Timestamp(0));
    CommitMachine::prepare(engine, tx, "g".into(), somebody(), Default::default())
}

fn somebody() -> Preparer {
    Preparer {
        user: "u".into(),
        database: "d".into(),
    }
}

#[test]
fn a_commit_prepared_that_is_given_up_leaves_it_prepared() {
    // Source: `AtAbort_Twophase`.
    let mut engine = engine();
    let mut machine = preparing(&mut engine);
    while machine.step(&mut engine, Timestamp(0)).unwrap().is_some() {}
    let state = engine.take_prepared("g", &somebody(), false).unwrap();
    assert!(engine.take_prepared("g", &somebody(), false).is_err());
    CommitMachine::finish(&engine, state, Pid(1), Default::default()).abort(&mut engine);
    assert!(engine.take_prepared("g", &somebody(), false).is_ok());
}

#[test]
fn what_is_prepared_has_a_number_to_fail_over_by_and_keeps_its_messages() {
    let mut engine = engine();
    let message: Message = ("m".into(), "one".into());
    let mut machine = preparing(&mut engine);
    machine.tx().messages.push(message.clone());
    while machine.step(&mut engine, Timestamp(7)).unwrap().is_some() {}
    let number = machine.number();
    let mut replica = engine.clone();
    assert!(replica.crash().lost.is_empty());
    assert_eq!(replica.prepared_transactions().count(), 1);
    replica.promote_without(number);
    assert_eq!(replica.prepared_transactions().count(), 0);
    let state = engine.take_prepared("g", &somebody(), false).unwrap();
    // `prepared` of `pg_prepared_xacts`: when it was prepared.
    assert_eq!(state.prepared, Timestamp(7));
    let mut machine = CommitMachine::finish(&engine, state, Pid(2), Default::default());
    while machine.step(&mut engine, Timestamp(9)).unwrap().is_some() {}
    let logged = engine.commits().last().unwrap();
    assert_eq!((logged.pid, &logged.messages), (Pid(2), &vec![message]));
}

#[test]
fn no_checkpoint_comes_between_a_record_and_what_it_says() {
    // Source: `DELAY_CHKPT_START` in `RecordTransactionCommit`, `EndPrepare` and
    // `RecordTransactionAbortPrepared`. Here it lasts until others see it.
    use CommitPoint::*;
    fn refused(engine: &mut Engine, mut machine: CommitMachine) -> Vec<CommitPoint> {
        let mut refused = Vec::new();
        while let Some(point) = machine.step(engine, Timestamp(0)).unwrap() {
            refused.extend((!engine.checkpoint()).then_some(point));
        }
        refused
    }
    let mut engine = engine();
    let mut tx = engine.begin(Pid(1), Default::default(), Timestamp(0));
    tx.xid(&mut engine);
    tx.logged = true;
    let machine = CommitMachine::new(&mut engine, tx, CommitKind::Explicit, Default::default());
    let of_commit = [Inserted, Flushed, Clog, Replicated];
    assert_eq!(refused(&mut engine, machine), of_commit);
    let machine = preparing(&mut engine);
    assert_eq!(refused(&mut engine, machine), [Inserted]);
    let state = engine.take_prepared("g", &somebody(), false).unwrap();
    let machine = CommitMachine::finish(&engine, state, Pid(1), Default::default());
    assert_eq!(refused(&mut engine, machine), of_commit);
    let machine = preparing(&mut engine);
    assert_eq!(refused(&mut engine, machine), [Inserted]);
    let state = engine.take_prepared("g", &somebody(), false).unwrap();
    let machine = CommitMachine::undo(&engine, state, Pid(1), Default::default());
    assert_eq!(refused(&mut engine, machine), [Flushed, Replicated]);
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
fn sabotage_unlocks_before_visibility_and_wakes_who_queued_up_again() {
    let mut engine = engine();
    engine.sabotage(Sabotage::UnlockBeforeVisible);
    check_on(
        engine,
        "a begin
         a insert 1 x
         b insert 1 y       -> waits
         a commit to unlocked -> received deferred interrupts-held inserted flushed clog replicated unlocked
         a step             -> visible notified completed ready; b: ERROR 23505: duplicate key value violates unique constraint \"t_pkey\" (Key (id)=(1) already exists.)
         b select           -> 1=x",
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
