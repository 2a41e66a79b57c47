//! Two-phase commit: PREPARE TRANSACTION has a number and points like a COMMIT, survives a crash
//! once it is flushed, and is a leak if nobody finishes it.

use std::time::Duration;

use midcommit::oracle::Verdict;
use midcommit::plan::Plan;
use midcommit::{Env, Redeliver::UntilOk, Scenario, Times};

fn scenario(finishes: bool) -> Scenario {
    Scenario::new("two-phase")
        .schema(
            "alter system set max_prepared_transactions = 10;
             create table note (id int primary key);
             create table draft (id int primary key)",
        )
        .owes("note", "select id from note", Times::Once)
        .jobs([1])
        .redeliver(UntilOk)
        .settle(Duration::from_millis(500), Duration::from_secs(10))
        .worker("worker", async move |env: Env| {
            let client = env.connect().await?;
            let left = "select 1 from pg_prepared_xacts where gid = 'one'";
            if !client.query(left, &[]).await?.is_empty() {
                client.batch_execute("commit prepared 'one'").await?;
            }
            if client.query("select id from note", &[]).await?.is_empty() {
                let (prepared, then) = match finishes {
                    true => ("note", "commit prepared 'one'"),
                    false => ("draft", "insert into note values (1)"),
                };
                client.batch_execute("begin").await?;
                let insert = format!("insert into {prepared} values (1)");
                client.batch_execute(&insert).await?;
                client.batch_execute("prepare transaction 'one'").await?;
                client.batch_execute(then).await?;
            }
            env.effect("note", env.job()).await?;
            Ok(())
        })
}

fn verdict(scenario: &Scenario, plan: &str) -> Verdict {
    let plan: Plan = plan.parse().expect("a plan");
    let replay = midcommit::replay::replay(scenario, &plan).expect("every point is reached");
    replay.judgement.verdict
}

#[test]
fn a_crash_at_each_point_of_a_prepare_leaves_it_to_be_finished_or_done_again() {
    let scenario = scenario(true);
    for point in [
        "received",
        "deferred",
        "interrupts-held",
        "inserted",
        "flushed",
        "replicated",
        "completed",
        "ready",
    ] {
        let plan = format!("crash@pg.commit.1.{point}");
        assert_eq!(verdict(&scenario, &plan), Verdict::Ok, "{plan}");
    }
}

#[test]
fn a_crash_at_each_point_of_a_commit_prepared_is_survived_too() {
    let scenario = scenario(true);
    for point in ["received", "inserted", "flushed", "visible", "ready"] {
        let plan = format!("crash@pg.commit.2.{point}");
        assert_eq!(verdict(&scenario, &plan), Verdict::Ok, "{plan}");
    }
}

#[test]
fn what_nobody_finishes_is_leaked() {
    let scenario = scenario(false);
    let plan = "crash@pg.commit.1.received";
    assert_eq!(verdict(&scenario, plan), Verdict::Leaked);
}
