//! Planted bugs: the server or the harness does something wrong, and `explore` says so by its
//! verdicts alone. Each bug has a twin without it that does not earn the verdict.

use std::time::Duration;

use fake_pg::engine::{CommitPoint, Sabotage as Server};
use midcommit::oracle::Verdict;
use midcommit::plan::Class;
use midcommit::{Env, Redeliver::UntilOk, Sabotage, Scenario, Times, explore};

/// Explores the scenario with and without the bug.
#[track_caller]
fn check(scenario: Scenario, bug: Sabotage, class: Option<Class>, verdict: Verdict) {
    let earned = |scenario: Scenario| {
        let explored = explore(scenario).faults(class).cases(0).run();
        let cells = explored.unwrap_or_else(|error| panic!("{error}")).cells;
        cells[&class].verdicts.clone()
    };
    let clean = earned(scenario.clone());
    assert!(!clean.contains_key(&verdict), "without the bug: {clean:?}");
    let planted = earned(scenario.sabotage(bug));
    assert!(planted.contains_key(&verdict), "with the bug: {planted:?}");
}

fn receipts() -> Scenario {
    Scenario::new("receipts")
        .schema(
            "create table invoice (id int primary key, paid bool not null);
             insert into invoice values (1, false), (2, false)",
        )
        .jobs(1..=2)
        .redeliver(UntilOk)
        .worker("worker", async |env: Env| {
            let mut client = env.connect().await?;
            let id: i32 = env.job().parse()?;
            let tx = client.transaction().await?;
            let update = "update invoice set paid = true where id = $1 and not paid";
            tx.execute(update, &[&id]).await?;
            tx.commit().await?;
            env.effect("receipt", env.job()).await?;
            Ok(())
        })
        .owes("receipt", "select id from invoice where paid", Times::Once)
        .settle(Duration::from_millis(500), Duration::from_secs(5))
}

#[test]
fn a_server_that_acknowledges_before_the_flush_is_undurable() {
    let bug = Sabotage::Server(Server::AckBeforeFlush);
    check(receipts(), bug, Some(Class::Server), Verdict::Undurable);
}

#[test]
fn a_commit_applied_twice_is_repeated() {
    let bug = Sabotage::Server(Server::CommitTwice);
    check(receipts(), bug, None, Verdict::Repeated);
}

#[test]
fn a_kill_without_the_freeze_is_undead() {
    check(
        receipts(),
        Sabotage::KillWithoutFreeze,
        Some(Class::Kill),
        Verdict::Undead,
    );
}

#[test]
fn a_broker_that_drops_acks_silently_is_wedged() {
    check(receipts(), Sabotage::BrokerDropsAcks, None, Verdict::Wedged);
}

/// Two workers take numbers from one counter; whoever waits for the row must see the other's number.
#[test]
fn locks_given_back_before_visibility_duplicate_a_number() {
    let scenario = Scenario::new("tickets")
        .schema(
            "create table counter (id int primary key, n int not null);
             create table ticket (job text primary key, n int not null);
             insert into counter values (1, 0)",
        )
        .jobs(1..=2)
        .worker("worker", async |env: Env| {
            let mut client = env.connect().await?;
            let tx = client.transaction().await?;
            let row = tx
                .query_one("update counter set n = n + 1 where id = 1 returning n", &[])
                .await?;
            let n: i32 = row.get(0);
            tx.execute("insert into ticket values ($1, $2)", &[&env.job(), &n])
                .await?;
            tx.commit().await?;
            env.effect("ticket", n).await?;
            Ok(())
        })
        .replicas(2)
        .owes("ticket", "select n from ticket", Times::Once)
        // Without the bug this is after visibility, with it before.
        .dwell(CommitPoint::Unlocked, Duration::from_millis(50));
    let bug = Sabotage::Server(Server::UnlockBeforeVisible);
    check(scenario, bug, None, Verdict::Duplicated);
}

/// What was rolled back to a savepoint must owe nothing.
#[test]
fn a_lost_savepoint_owes_what_was_rolled_back() {
    let scenario = Scenario::new("bonus")
        .schema("create table item (id int primary key)")
        .jobs([1])
        .worker("worker", async |env: Env| {
            let mut client = env.connect().await?;
            let mut tx = client.transaction().await?;
            tx.execute("insert into item values (1)", &[]).await?;
            let savepoint = tx.savepoint("bonus").await?;
            savepoint
                .execute("insert into item values (2)", &[])
                .await?;
            savepoint.rollback().await?;
            tx.commit().await?;
            env.effect("item", 1).await?;
            Ok(())
        })
        .owes("item", "select id from item", Times::Once);
    let bug = Sabotage::Server(Server::LoseSavepoint);
    check(scenario, bug, None, Verdict::Lost);
}

/// Two workers take rows of a queue with SKIP LOCKED: never the same one.
#[test]
fn a_forgotten_row_lock_hands_a_row_out_twice() {
    let scenario = Scenario::new("queue")
        .schema(
            "create table task (id int primary key, done bool not null default false);
             insert into task (id) values (1), (2)",
        )
        .jobs(1..=2)
        .worker("worker", async |env: Env| {
            let mut client = env.connect().await?;
            let tx = client.transaction().await?;
            let next =
                "select id from task where not done order by id limit 1 for update skip locked";
            let id: i32 = tx.query_one(next, &[]).await?.get(0);
            tx.execute("update task set done = true where id = $1", &[&id])
                .await?;
            tx.commit().await?;
            env.effect("task", id).await?;
            Ok(())
        })
        .replicas(2)
        .owes("task", "select id from task where done", Times::Once);
    let bug = Sabotage::Server(Server::ForgetRowLock);
    check(scenario, bug, None, Verdict::Duplicated);
}
