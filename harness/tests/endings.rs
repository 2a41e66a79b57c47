//! When a run may end, and what a plan may ask: seen from outside, on plans given as text.

use std::time::Duration;

use fake_pg::engine::CommitPoint;
use midcommit::history::What;
use midcommit::oracle::Verdict;
use midcommit::plan::{Class, Plan};
use midcommit::replay::{Replay, ReplayError};
use midcommit::{Env, Redeliver::UntilOk, Scenario, Times, explore};

fn replay(scenario: &Scenario, plan: &str) -> Result<Replay, ReplayError> {
    let plan: Plan = plan.parse().unwrap();
    midcommit::replay::replay(scenario, &plan)
}

fn notes() -> Scenario {
    Scenario::new("notes")
        .schema("create table note (id int primary key)")
        .owes("note", "select id from note", Times::Once)
        .settle(Duration::from_millis(500), Duration::from_secs(10))
}

/// The worker gives up long before the delayed INSERT arrives, and nothing else is under way by then.
#[test]
fn a_run_waits_for_what_a_delay_holds_back() {
    let scenario = notes().jobs([1]).worker("worker", async |env: Env| {
        let client = env.connect().await?;
        let insert = client.execute("insert into note values (1)", &[]);
        tokio::time::timeout(Duration::from_millis(100), insert).await??;
        env.effect("note", env.job()).await?;
        Ok(())
    });
    let replay = replay(&scenario, "delay.2s@conn1.insert.1.request+0").unwrap();
    assert_eq!(replay.judgement.verdict, Verdict::Lost);
}

/// As when `main` returns: what a process has left running when it ends goes no further.
#[test]
fn a_process_that_ends_ends_its_tasks() {
    let scenario =
        notes()
            .jobs([1])
            .grace(Duration::from_secs(1))
            .worker("worker", async |env: Env| {
                let client = env.connect().await?;
                client.execute("insert into note values (1)", &[]).await?;
                let later = env.clone();
                env.spawn("receipt", async move {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    later.effect("note", later.job()).await
                });
                Ok(())
            });
    let verdict = |plan| replay(&scenario, plan).unwrap().judgement.verdict;
    // It waits for its next job, and the task goes on.
    assert_eq!(verdict("jobs.1"), Verdict::Ok);
    assert_eq!(verdict("deploy@worker.start+1"), Verdict::Lost);
}

/// Nothing has moved in the simulation yet, time neither.
#[test]
fn a_worker_may_yield_before_anything_else() {
    #[allow(clippy::disallowed_methods)]
    let scenario = notes().jobs([1]).worker("worker", async |env: Env| {
        tokio::task::yield_now().await;
        tokio::spawn(async {}).await?;
        let client = env.connect().await?;
        client.execute("insert into note values (1)", &[]).await?;
        Ok(env.effect("note", env.job()).await?)
    });
    let replay = replay(&scenario, "jobs.1").unwrap();
    assert_eq!(replay.judgement.verdict, Verdict::Ok);
}

/// A task that only tokio knows of is not interrupted; but it runs.
#[test]
fn a_run_waits_for_a_task_outside_the_gate() {
    #[allow(clippy::disallowed_methods)]
    let scenario = notes().jobs([1]).worker("worker", async |env: Env| {
        let client = env.connect().await?;
        client.execute("insert into note values (1)", &[]).await?;
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            env.effect("note", env.job()).await
        });
        Ok(())
    });
    let replay = replay(&scenario, "jobs.1").unwrap();
    assert_eq!(replay.judgement.verdict, Verdict::Ok);
}

/// The run ends in the middle of a poll; but nobody has forgotten that transaction.
#[test]
fn a_poll_in_a_transaction_is_no_leak() {
    let scenario = notes()
        .jobs([1])
        .worker("worker", async |env: Env| {
            let client = env.connect().await?;
            client.batch_execute("insert into note values (1)").await?;
            Ok(env.effect("note", env.job()).await?)
        })
        .daemon("poller", async |env: Env| {
            let mut client = env.connect().await?;
            loop {
                let tx = client.transaction().await?;
                tx.query(
                    "select id from note where id > 1 for update skip locked",
                    &[],
                )
                .await?;
                tx.rollback().await?;
            }
        });
    for seed in 0..16 {
        let replay = replay(&scenario, &format!("seed.{seed},jobs.1")).unwrap();
        assert_eq!(replay.judgement.verdict, Verdict::Ok, "seed {seed}");
    }
}

/// For far longer than the run is quiet otherwise.
#[test]
fn a_run_waits_for_a_commit_that_dwells() {
    let scenario = notes()
        .jobs([1])
        .dwell(CommitPoint::Flushed, Duration::from_secs(3))
        .worker("worker", async |env: Env| {
            let client = env.connect().await?;
            client.batch_execute("insert into note values (1)").await?;
            Ok(env.effect("note", env.job()).await?)
        });
    let replay = replay(&scenario, "cancel@worker.after-startup.1+1").unwrap();
    assert_eq!(replay.judgement.verdict, Verdict::Lost);
}

#[test]
#[should_panic(expected = "a worker cannot be called `relay-2`: the name is taken")]
fn no_worker_is_called_like_a_replica_of_another() {
    let idle = async |_: Env| std::future::pending().await;
    let _taken = notes().daemon("relay", idle).daemon("relay-2", idle);
}

/// No single fault of the plain run leads there: only a job that is asked to roll back does.
#[test]
fn what_fails_without_any_fault_under_another_workload_is_told() {
    let scenario = notes()
        .jobs([1])
        .redeliver(UntilOk)
        .worker("worker", async |env: Env| {
            let mut client = env.connect().await?;
            let tx = client.transaction().await?;
            tx.execute("insert into note values (1) on conflict do nothing", &[])
                .await?;
            match env.rolls_back() {
                true => tx.rollback().await?,
                false => tx.commit().await?,
            }
            env.effect("note", env.job()).await?;
            Ok(())
        })
        .faults([Class::Broker]);
    let exploration = explore(scenario).cases(64).run().unwrap();
    let told: Vec<_> = exploration
        .counterexamples
        .iter()
        .filter(|example| example.judgement.verdict == Verdict::Phantom)
        .map(|example| example.plan.to_string())
        .collect();
    assert_eq!(told, ["rollback.1"]);
}

fn paid() -> Scenario {
    notes()
        .jobs([1, 2])
        .redeliver(UntilOk)
        .worker("worker", async |env: Env| {
            let client = env.connect().await?;
            let id: i32 = env.job().parse()?;
            tokio::time::sleep(Duration::from_millis(100) * (id as u32 - 1)).await;
            let insert = "insert into note values ($1) on conflict do nothing";
            client.execute(insert, &[&id]).await?;
            env.effect("log", env.job()).await?;
            env.effect("note", env.job()).await?;
            Ok(())
        })
}

/// Each of these would be a run that says nothing.
#[test]
fn a_workload_that_cannot_be_is_refused() {
    for plan in [
        "jobs.0",
        "jobs.3",
        "replicas.0",
        "replicas.65",
        "rollback.9",
    ] {
        let refused = replay(&paid(), plan);
        assert!(
            matches!(&refused, Err(ReplayError::Unusable(why)) if why.contains(plan)),
            "{plan}: {refused:?}"
        );
    }
    let plan = "jobs.1,replicas.2,rollback.2";
    assert_eq!(replay(&paid(), plan).unwrap().plan.to_string(), plan);
}

/// The log is written first, so a control that dropped or doubled it would show nothing.
#[test]
fn controls_tamper_with_what_is_promised() {
    let explored = explore(paid()).faults([]).cases(0).run();
    assert!(explored.unwrap().certificate.control_caught);
}

/// To drop what may be dropped, or to double what may come twice, would show nothing.
#[test]
fn the_certificate_names_the_controls_that_ran() {
    let owing = |times| {
        Scenario::new("owing")
            .schema("create table note (id int primary key)")
            .owes("note", "select id from note", times)
    };
    let owing_nothing = Scenario::new("owing-nothing")
        .schema("create table note (id int primary key)")
        .owes_nothing();
    for (scenario, controls) in [
        (
            owing(Times::Once),
            "an effect dropped and an effect doubled were",
        ),
        (owing(Times::AtLeastOnce), "an effect dropped was"),
        (owing(Times::AtMostOnce), "an effect doubled was"),
        (owing_nothing, "an acknowledged commit forgotten was"),
    ] {
        let scenario = scenario.worker("worker", async |env: Env| {
            let client = env.connect().await?;
            client.execute("insert into note values (1)", &[]).await?;
            env.effect("note", env.job()).await?;
            Ok(())
        });
        let explored = explore(scenario.jobs([1])).faults([]).cases(0).run();
        let certificate = explored.unwrap().certificate.to_string();
        let said = format!("control: {controls} caught");
        assert_eq!(certificate.lines().last(), Some(&*said));
    }
}

/// Whether the two first commits are written down, where each waits behind its flush and the server
/// is ended while the second one does.
#[track_caller]
fn check_both_are_seen(plan: &str) {
    let scenario = paid()
        .replicas(2)
        .dwell(CommitPoint::Flushed, Duration::from_millis(200));
    let history = replay(&scenario, plan).unwrap().history;
    let is_seen = |wanted: u64| {
        history.events.iter().any(|event| {
            matches!(&event.what, What::Committed { commit, .. } if commit.number == wanted)
        })
    };
    assert!(is_seen(1) && is_seen(2));
}

#[test]
fn every_commit_that_a_recovery_completes_is_written_down() {
    check_both_are_seen("crash@pg.commit.2.flushed");
}

/// The broker ends the server from outside: its sessions must not finish anything as they go.
#[test]
fn what_a_fail_over_completes_is_written_down() {
    check_both_are_seen("failover.9@broker.publish.1");
}

/// Its error tells tasks by numbers, which tokio counts over the whole process.
#[test]
fn a_job_that_fails_with_its_tasks_end_fails_alike_each_time() {
    let scenario = notes().jobs([1]).worker("worker", async |env: Env| {
        let inner = env.clone();
        let task = env.spawn("inner", async move {
            let client = inner.connect().await.map_err(|error| error.to_string())?;
            let insert = client.execute("insert into note values (1)", &[]).await;
            insert.map_err(|error| error.to_string())
        });
        task.await??;
        env.effect("note", env.job()).await?;
        Ok(())
    });
    let plan = "cancel@worker/inner.after-startup.1+1";
    let [first, second] = [(); 2].map(|()| replay(&scenario, plan).unwrap().history);
    assert_eq!(first.hash(), second.hash());
    let failed = first.events.iter().find_map(|event| match &event.what {
        What::Fail { error, .. } => Some(error.to_string()),
        _ => None,
    });
    assert_eq!(failed.as_deref(), Some("a spawned task was cancelled"));
}
