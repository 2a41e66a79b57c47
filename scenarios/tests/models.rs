//! The models against what was measured on the real systems.
//!
//! Expected values come from the measurements: Django 5.2, psycopg2 2.9 and psycopg 3.3
//! against PostgreSQL 15, and the blog's loop run in CPython.

use midcommit::history::{History, What};
use midcommit::oracle::Verdict;
use midcommit::plan::{Class, Plan};
use midcommit::replay::{Replay, replay};
use midcommit::{Scenario, explore};

const DRIVERS: [&str; 4] = ["psycopg2", "psycopg335", "psycopg336", "psycopg339"];

const IN_TRANSACTION: &str = "ProgrammingError: set_session cannot be used inside a transaction";
const MASK: &str =
    "ProgrammingError: can't change 'autocommit' now: connection in transaction status";

fn scenario(name: &str) -> Scenario {
    let mut all = midcommit_scenarios::catalogue().into_iter();
    all.find(|scenario| scenario.name() == name)
        .unwrap_or_else(|| panic!("there is no scenario {name}"))
}

fn run(name: &str, faults: &[&str]) -> Replay {
    let faults = faults.iter().map(|fault| fault.parse().expect(fault));
    let plan = Plan {
        faults: faults.collect(),
        ..Plan::default()
    };
    replay(&scenario(name), &plan).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// How often the transaction that owes something committed, how often a callback ran, and what the task raised.
fn outcome(history: &History) -> String {
    let count = |is: fn(&What) -> bool| history.events.iter().filter(|e| is(&e.what)).count();
    let committed = count(|what| matches!(what, What::Owed { .. }));
    let ran = count(|what| matches!(what, What::Applied { .. }));
    let raised = history.events.iter().find_map(|event| match &event.what {
        What::Fail { error, .. } => Some(error.to_string()),
        _ => None,
    });
    let committed = ["not committed", "committed"][committed];
    let ran = ["no callback", "callback ran"][ran];
    format!(
        "{committed}, {ran}, {}",
        raised.unwrap_or_else(|| "ok".to_owned())
    )
}

fn check(name: &str, faults: &[&str], expected: &str) {
    let seen = outcome(&run(name, faults).history);
    assert_eq!(seen, expected, "{name} with {faults:?}");
}

/// The windows between the block's body and its return, in which a signal strikes psycopg2.
#[test]
fn each_window_leaves_what_was_measured() {
    let masked = format!("not committed, no callback, {IN_TRANSACTION} (masks SystemExit)");
    for (boundary, expected) in [
        ("body_end.1", "not committed, no callback, SystemExit"),
        ("exit_enter.1", "not committed, no callback, SystemExit"),
        ("commit.1", &*masked),
        ("commit_call.1", &*masked),
        ("commit_returned.1", "committed, no callback, SystemExit"),
        // The flag is set: the `finally` runs the hooks, and SystemExit goes on.
        ("commit_hooks_flag.1", "committed, callback ran, SystemExit"),
        ("set_autocommit.3", "committed, no callback, SystemExit"),
        ("driver_autocommit.3", "committed, no callback, SystemExit"),
        (
            "attribute_autocommit.3",
            "committed, no callback, SystemExit",
        ),
        ("run_hooks.1", "committed, no callback, SystemExit"),
        ("hooks_swap.1", "committed, no callback, SystemExit"),
        ("hook.1", "committed, no callback, SystemExit"),
        ("delay.1", "committed, no callback, SystemExit"),
        ("delay_returned.1", "committed, callback ran, SystemExit"),
        ("hook_returned.1", "committed, callback ran, SystemExit"),
        ("exit_returned.1", "committed, callback ran, SystemExit"),
    ] {
        let fault = format!("raise.SystemExit@worker.{boundary}");
        check("dj_atomic_psycopg2", &[&fault], expected);
    }
}

#[test]
fn no_driver_saves_on_commit_from_signals() {
    for driver in DRIVERS {
        let name = format!("dj_atomic_{driver}");
        for exception in ["SystemExit", "SoftTimeLimitExceeded"] {
            let fault = format!("raise.{exception}@worker.commit_returned.1");
            check(
                &name,
                &[&fault],
                &format!("committed, no callback, {exception}"),
            );
        }
        let exploration = explore(scenario(&name))
            .faults([Class::Interrupt])
            .cases(0)
            .run()
            .expect("the scenario can be explored");
        let lost = exploration.cells[&Some(Class::Interrupt)].verdicts[&Verdict::Lost];
        assert!(lost >= 20, "{name} loses {lost} callbacks to signals");
    }
}

#[test]
fn psycopg2_defers_a_signal_in_commit_and_loses_the_callback() {
    check(
        "dj_atomic_psycopg2",
        &["raise.SystemExit@worker.commit.1+1"],
        "committed, no callback, SystemExit",
    );
}

#[test]
fn up_to_335_a_signal_in_commit_is_masked_by_the_active_connection() {
    check(
        "dj_atomic_psycopg335",
        &["raise.SystemExit@worker.commit.1+1"],
        &format!("committed, no callback, {MASK} ACTIVE (masks SystemExit)"),
    );
}

#[test]
fn from_336_on_a_signal_in_the_deferred_phase_cancels_the_commit() {
    for driver in ["psycopg336", "psycopg339"] {
        check(
            &format!("dj_atomic_{driver}"),
            &["raise.SystemExit@worker.commit.1+1"],
            "not committed, no callback, SystemExit",
        );
    }
}

#[test]
fn a_reply_that_was_pending_beats_the_cancel() {
    for driver in ["psycopg336", "psycopg339"] {
        check(
            &format!("dj_atomic_{driver}"),
            &["raise.SystemExit@worker.commit.1+1.resuming"],
            "committed, no callback, SystemExit",
        );
    }
}

#[test]
fn a_soft_time_limit_is_masked_in_all_versions_of_psycopg_3() {
    for driver in &DRIVERS[1..] {
        check(
            &format!("dj_atomic_{driver}"),
            &["raise.SoftTimeLimitExceeded@worker.commit.1+1"],
            &format!("committed, no callback, {MASK} ACTIVE (masks SoftTimeLimitExceeded)"),
        );
    }
}

#[test]
fn an_exception_inside_the_generator_ends_the_second_wait_at_once() {
    for driver in ["psycopg336", "psycopg339"] {
        check(
            &format!("dj_atomic_{driver}"),
            &["raise.SystemExit@worker.query_sent.3"],
            &format!("not committed, no callback, {MASK} ACTIVE (masks SystemExit)"),
        );
    }
}

#[test]
fn a_second_interruption_closes_the_connection_from_339_on() {
    let twice = [
        "raise.SystemExit@worker.commit.1+1",
        "raise.SystemExit@worker.cancel_returned.1",
    ];
    let masked = |status| {
        format!("not committed, no callback, {MASK} {status} (masks SystemExit (masks SystemExit))")
    };
    check("dj_atomic_psycopg336", &twice, &masked("ACTIVE"));
    check("dj_atomic_psycopg339", &twice, &masked("UNKNOWN"));
}

#[test]
fn a_cancelled_commit_leaves_a_phantom_to_the_next_block() {
    for driver in ["psycopg336", "psycopg339"] {
        let name = format!("dj_atomic_{driver}_reuse");
        let replay = run(&name, &["raise.SystemExit@worker.commit.1+1"]);
        assert_eq!(
            outcome(&replay.history),
            "not committed, callback ran, SystemExit"
        );
        assert_eq!(replay.judgement.verdict, Verdict::Phantom);
    }
}

#[test]
fn a_hook_left_behind_runs_after_the_next_blocks_commit() {
    for driver in DRIVERS {
        let name = format!("dj_atomic_{driver}_reuse");
        let history = run(&name, &["raise.SystemExit@worker.commit_returned.1"]).history;
        assert_eq!(
            outcome(&history),
            "committed, callback ran, SystemExit",
            "{name}"
        );
        let before = history
            .events
            .iter()
            .take_while(|event| !matches!(event.what, What::Applied { .. }))
            .filter(|event| matches!(event.what, What::Committed { .. }))
            .count();
        assert_eq!(before, 2, "{name} runs the hook too soon");
    }
}

#[test]
fn a_block_left_too_early_turns_the_next_into_a_zombie() {
    for (boundary, expected) in [
        ("exit_enter.1", 0),
        ("commit_call.1", 0),
        ("set_autocommit.3", 1),
    ] {
        let fault = format!("raise.SystemExit@worker.{boundary}");
        let history = run("dj_atomic_psycopg2_reuse", &[&fault]).history;
        let commits = history
            .events
            .iter()
            .filter(|event| matches!(event.what, What::Committed { .. }));
        assert_eq!(commits.count(), expected, "{boundary}");
    }
}

/// The keys of the tasks that were enqueued, and how many users had been committed by the first of them.
fn enqueued(history: &History) -> String {
    let mut visible = None;
    let mut owed = 0;
    let mut keys = Vec::new();
    for event in &history.events {
        match &event.what {
            What::Owed { .. } => owed += 1,
            What::Delivered { key, .. } => {
                visible.get_or_insert(owed);
                keys.push(&**key);
            }
            _ => {}
        }
    }
    format!("{}, {} visible", keys.join(","), visible.unwrap_or(0))
}

#[test]
fn the_blogs_table_comes_out_cell_by_cell() {
    for (variant, top, nested) in [
        ("inside", "1,2,3, 0 visible", "1,2,3, 0 visible"),
        ("lambda", "3,3,3, 3 visible", "3,3,3, 3 visible"),
        ("fix", "1,2,3, 3 visible", "3,3,3, 3 visible"),
        ("partial", "1,2,3, 3 visible", "1,2,3, 3 visible"),
        ("one_callback", "1,2,3, 3 visible", "1,2,3, 3 visible"),
    ] {
        let alone = run(&format!("blog_{variant}"), &[]).history;
        let within = run(&format!("blog_{variant}_nested"), &[]).history;
        assert_eq!(enqueued(&alone), top, "{variant} at top level");
        assert_eq!(enqueued(&within), nested, "{variant} nested");
    }
}

#[test]
fn only_what_is_enqueued_inside_survives_a_rollback() {
    for (variant, expected) in [
        ("inside", "1,2,3, 0 visible"),
        ("lambda", ", 0 visible"),
        ("fix", ", 0 visible"),
        ("partial", ", 0 visible"),
        ("one_callback", ", 0 visible"),
    ] {
        for name in [format!("blog_{variant}"), format!("blog_{variant}_nested")] {
            let mut plan = Plan::default();
            plan.workload.rollbacks.insert("users".into());
            let replay = replay(&scenario(&name), &plan).expect("the plan has no fault");
            assert_eq!(enqueued(&replay.history), expected, "{name}");
        }
    }
}

/// Each was drawn, and called lost or wedged by a harness that ended a run while a message was
/// delayed, or never reset a connection that a partition had caught in its handshake.
#[test]
fn the_outbox_survives_a_delay_and_a_partition_at_odd_times() {
    for plan in [
        "seed.2888271943091579811,cancel-backend@inbox.commit.1.received,delay.700ms@conn5.commit.1.reply+0",
        "seed.6980566272562484905,replicas.1,partition.1s@conn1.terminate.1.request+0",
    ] {
        let plan: Plan = plan.parse().expect(plan);
        match replay(&scenario("outbox_inbox"), &plan) {
            Ok(replay) => assert_eq!(replay.judgement.verdict, Verdict::Ok, "{plan}"),
            Err(error) => panic!("{plan}: {error}"),
        }
    }
}
