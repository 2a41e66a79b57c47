//! What a check refuses to say anything about: runs that would prove nothing.

use std::time::SystemTime;

use midcommit::explore::{Exploration, ExploreError};
use midcommit::oracle::Verdict;
use midcommit::{Env, Scenario, Times, explore};

fn base() -> Scenario {
    Scenario::new("notes")
        .schema("create table note (id int primary key, at bigint)")
        .jobs([1])
}

fn run(scenario: Scenario) -> Result<Exploration, ExploreError> {
    explore(scenario).cases(0).run()
}

#[test]
fn a_wall_clock_time_in_a_row_is_caught_and_the_event_named() {
    let scenario = base()
        .worker("worker", async |env: Env| {
            #[allow(clippy::disallowed_methods)] // The mistake that this test is about.
            let now = SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)?
                .as_nanos() as i64;
            let client = env.connect().await?;
            client
                .execute("insert into note values (1, $1)", &[&now])
                .await?;
            Ok(())
        })
        .owes_nothing();
    let error = run(scenario).unwrap_err();
    let ExploreError::NotDeterministic(why) = &error else {
        panic!("{error}")
    };
    assert!(
        why.contains("insert.1") && why.contains("wall clock"),
        "{why}"
    );
}

#[test]
fn a_task_outside_the_gate_is_counted() {
    let scenario = base()
        .worker("worker", async |env: Env| {
            let client = env.connect().await?;
            #[allow(clippy::disallowed_methods)] // The mistake that this test is about.
            let task =
                tokio::spawn(
                    async move { client.execute("insert into note values (1, 1)", &[]).await },
                );
            task.await??;
            Ok(())
        })
        .owes_nothing();
    assert_eq!(run(scenario.clone()).unwrap().certificate.ungated_tasks, 1);
    assert_eq!(
        run(scenario.strict()).unwrap_err(),
        ExploreError::Ungated(1)
    );
}

#[test]
fn a_run_that_commits_nothing_is_refused() {
    let refused = |scenario: Scenario| run(scenario.owes_nothing()).unwrap_err().to_string();
    let idle = refused(base().worker("worker", async |_| Ok(())));
    assert!(
        idle.ends_with("none has written anything in a transaction of `pg`"),
        "{idle}"
    );
    let closed = refused(base().worker("worker", async |_| Err("the account is closed".into())));
    assert!(
        closed.ends_with("`worker` does not end ok: the account is closed"),
        "{closed}"
    );
    let jobless = refused(
        base()
            .jobs([] as [&str; 0])
            .worker("worker", async |_| Ok(())),
    );
    assert!(
        jobless.ends_with("give it some by `.jobs([…])`"),
        "{jobless}"
    );
    let alone = refused(base());
    assert!(alone.contains("it has no worker"), "{alone}");
}

/// Nothing needs to be broken: the receipt never comes.
#[test]
fn what_no_fault_is_needed_for_is_told_as_it_is() {
    let scenario = base().worker("worker", async |env: Env| {
        let client = env.connect().await?;
        client
            .execute("insert into note values (1, 1)", &[])
            .await?;
        Ok(())
    });
    let explored = run(scenario.owes("note", "select id from note", Times::Once)).unwrap();
    let example = explored.counterexample().unwrap();
    assert_eq!(
        (example.judgement.verdict, example.plan.to_string()),
        (Verdict::Lost, "none".to_owned())
    );
}

#[test]
fn a_run_that_owes_nothing_is_refused_unless_that_is_meant() {
    let scenario = base().worker("worker", async |env: Env| {
        env.connect()
            .await?
            .execute("insert into note values (1, 1)", &[])
            .await?;
        Ok(())
    });
    let owed = scenario
        .clone()
        .owes("note", "select id from note where at > 1", Times::Once);
    assert_eq!(run(owed).unwrap_err(), ExploreError::NothingOwed);
    assert_eq!(run(scenario.clone()).unwrap_err(), ExploreError::NoPromise);
    assert!(run(scenario.owes_nothing()).is_ok());
}

#[test]
fn what_the_server_lacks_is_an_error_and_not_a_verdict() {
    let scenario = base()
        .worker("worker", async |env: Env| {
            env.connect()
                .await?
                .execute("create materialized view v as select 1", &[])
                .await?;
            Ok(())
        })
        .owes_nothing();
    let error = run(scenario).unwrap_err();
    let ExploreError::Unusable(why) = &error else {
        panic!("{error}")
    };
    assert!(why.contains("MATERIALIZED VIEW"), "{why}");
}

#[test]
fn a_schema_that_fails_says_so_in_the_servers_words() {
    let scenario = base()
        .schema("create table note (id int, id int)")
        .worker("worker", async |_| Ok(()));
    let error = run(scenario).unwrap_err().to_string();
    // PostgreSQL 15: ERROR: column "id" specified more than once.
    assert!(
        error.contains("column \"id\" specified more than once"),
        "{error}"
    );
}
