//! What enumeration owes: every point, each by one name, and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{baseline, exhaustive, explore};
use crate::oracle::Verdict;
use crate::plan::{Class, CommitPoint, Kind, Plan, Point};
use crate::sim::{self, Order, Step};
use crate::{Env, Redeliver::UntilOk, Scenario, Times};

/// BEGIN, INSERT, COMMIT on stock tokio-postgres.
fn commit_only() -> Scenario {
    Scenario::new("commit_only")
        .schema("create table t (id int)")
        .jobs([1])
        .redeliver(UntilOk)
        .worker("worker", async |env: Env| {
            let mut client = env.connect().await?;
            let tx = client.transaction().await?;
            tx.execute("INSERT INTO t VALUES (1)", &[]).await?;
            tx.commit().await?;
            Ok(())
        })
        .owes_nothing()
        .repeatable()
}

/// Measured with stock tokio-postgres at one tick of latency: 6 suspensions in the worker, 14 with the
/// connection's task.
#[test]
fn a_transaction_has_6_await_points_in_the_worker_and_8_in_its_connection() {
    let exploration = explore(commit_only()).cases(0).run().unwrap();
    let counts: Vec<_> = exploration.certificate.await_points.into_iter().collect();
    assert_eq!(counts, [("worker".into(), 6), ("worker/conn1".into(), 8)]);
}

#[test]
fn every_point_prints_as_a_name_of_its_own_that_parses_back() {
    let baseline = baseline::baseline(&commit_only()).unwrap();
    let mut names = BTreeSet::new();
    for recorded in &baseline.points {
        let name = recorded.point.to_string();
        assert_eq!(name.parse::<Point>().as_ref(), Ok(&recorded.point));
        assert!(names.insert(name.clone()), "{name} names two points");
    }
}

/// The next life of a root task may wait where the last one did: for its connection, since the same message.
#[test]
fn every_point_of_a_run_with_a_fault_has_a_name_of_its_own() {
    let scenario = commit_only();
    let baseline = baseline::baseline(&scenario).unwrap();
    let ends = exhaustive::Ends::of(&baseline.points);
    for schedule in exhaustive::schedules(&scenario, &baseline.points, |_| true) {
        if !ends.is_near_an_end(&schedule.fault.at) {
            continue;
        }
        let plan = Plan::single(schedule.fault);
        let order = Order {
            record: true,
            ..Order::of(&plan)
        };
        let mut names = BTreeSet::new();
        for recorded in sim::run(&baseline.setup, &order).points {
            let name = recorded.point.to_string();
            assert!(
                names.insert(name.clone()),
                "{name} names two points of {plan}"
            );
        }
    }
}

#[test]
fn every_schedule_is_a_plan_of_its_own_that_parses_back() {
    let scenario = commit_only();
    let baseline = baseline::baseline(&scenario).unwrap();
    let mut plans = BTreeSet::new();
    for schedule in exhaustive::schedules(&scenario, &baseline.points, |_| true) {
        let plan = Plan::single(schedule.fault);
        let text = plan.to_string();
        assert_eq!(text.parse::<Plan>().as_ref(), Ok(&plan));
        assert!(plans.insert(text.clone()), "{text} is planned twice");
    }
}

/// As SQLite tests its error paths: raise the fault at the n-th point until it no longer fires. The n
/// that is reached is the certificate's.
#[test]
fn raising_n_until_the_fault_no_longer_fires_ends_at_the_certificates_count() {
    let baseline = baseline::baseline(&commit_only()).unwrap();
    for kind in [Kind::Cancel, Kind::Raise(Arc::from("panic")), Kind::Kill] {
        let fires = |n: u32| {
            let order = Order {
                script: vec![Step::Drawn {
                    kind: kind.clone(),
                    delta: n,
                    along: 0,
                }],
                ..Order::default()
            };
            sim::run(&baseline.setup, &order).unfired.is_empty()
        };
        let n = (0..).take_while(|n| fires(*n)).count();
        assert_eq!(n, (6 + 8) * 2, "{kind}");
    }
}

/// 26 bytes of Close, Sync and Query; CloseComplete, two ReadyForQuery and CommandComplete: 29.
#[test]
fn a_commit_is_cut_three_ways_at_each_of_its_bytes_and_both_ends() {
    let exploration = explore(commit_only()).cases(0).run().unwrap();
    let cuts = exploration.certificate.cuts;
    let [commit] = cuts.as_slice() else {
        panic!("{cuts:?}")
    };
    assert_eq!(commit.exchange.to_string(), "conn1.commit.1.request+0");
    assert_eq!((commit.request_bytes, commit.reply_bytes), (26, 29));
    assert_eq!(commit.schedules, 3 * (26 + 29 + 2));
    assert_eq!(exploration.certificate.unfired, []);
}

/// The statement's Close is sent with COMMIT, and answered at once; COMMIT is while it takes its time.
#[test]
fn a_byte_between_two_parts_of_an_answer_is_struck_when_the_first_is_through() {
    let slow = commit_only().dwell(CommitPoint::Inserted, Duration::from_millis(50));
    let exploration = explore(slow).faults([Class::Network]).cases(0).run();
    let certificate = exploration.unwrap().certificate;
    assert_eq!(certificate.unfired, []);
    let cuts = &certificate.cuts[0];
    assert_eq!(
        cuts.schedules as u32,
        3 * (cuts.request_bytes + cuts.reply_bytes + 2)
    );
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let run = |threads| {
        let exploration = explore(commit_only())
            .cases(32)
            .threads(threads)
            .run()
            .unwrap();
        let plans: Vec<_> = exploration
            .counterexamples
            .iter()
            .map(|c| (c.plan.clone(), c.hash))
            .collect();
        (
            exploration.cells,
            exploration.drawn,
            exploration.certificate,
            plans,
        )
    };
    assert_eq!(run(1), run(3));
}

/// Tries twice, then apologises.
fn apologetic() -> Scenario {
    Scenario::new("apologetic")
        .schema("create table note (id int); create table apology (id int)")
        .jobs([1])
        .worker("worker", async |env: Env| {
            let client = env.connect().await?;
            client.execute("insert into note values (1)", &[]).await?;
            for _ in 0..2 {
                if env.effect("note", env.job()).await.is_ok() {
                    return Ok(());
                }
                // Longer than the broker is down.
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
            env.effect("apology", env.job()).await?;
            Ok(())
        })
        .owes("note", "select id from note", Times::Once)
        .owes("apology", "select id from apology", Times::Once)
        .settle(Duration::from_millis(500), Duration::from_secs(10))
}

/// An acknowledgement lost is a note too many; two are a note too many, and an apology for none.
#[test]
fn what_several_faults_do_is_not_explained_by_what_one_of_them_does_otherwise() {
    let exploration = explore(apologetic()).faults([Class::Broker]).cases(64);
    let exploration = exploration.run().unwrap();
    let alone = &exploration.cells[&Some(Class::Broker)];
    assert_eq!(alone.worst(), Verdict::Duplicated);
    // Not the single fault that is in them.
    let several = exploration.several().map(|(example, declared)| {
        assert!(!declared);
        (example.judgement.verdict, example.plan.faults.len())
    });
    assert_eq!(
        BTreeSet::from_iter(several),
        BTreeSet::from([(Verdict::Phantom, 2), (Verdict::Lost, 2)])
    );
    assert!(!exploration.drawn_as_expected());
    assert_eq!(exploration.certificate.drawn.plans, 64);
}

#[test]
fn what_is_declared_of_several_faults_is_as_expected() {
    let why = "the broker fails twice";
    let declared = apologetic().expect_several([Verdict::Phantom, Verdict::Lost], why);
    let exploration = explore(declared).faults([Class::Broker]).cases(64);
    assert!(exploration.run().unwrap().drawn_as_expected());
}
