//! Workers on stock tokio-postgres: commit, then do what must follow.
//!
//! The window between the two is the same in every language; only what may
//! strike in it differs. What is declared of each is derived
//! from its design, before anything was run.

use std::error::Error;
use std::time::Duration;

use midcommit::oracle::Verdict::{Duplicated, Lost, Ok as Fine, Phantom};
use midcommit::plan::Class;
use midcommit::{Env, Redeliver::UntilOk, Scenario, Times};
use tokio::time::timeout;

const INVOICES: &str = "
    create table invoice (id int primary key, paid bool not null default false);
    insert into invoice (id) values (1), (2), (3);
";

/// How long a worker waits for a COMMIT.
const PATIENCE: Duration = Duration::from_millis(500);

/// Scenarios whose driver is the real one.
pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![commit_only(), tokio_timeout(), pooled()]
}

/// One transaction and nothing after it: for counting points.
fn commit_only() -> Scenario {
    Scenario::new("commit_only")
        .source("no effect: BEGIN, INSERT, COMMIT on stock tokio-postgres, to count points by")
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
        // Run again after a kill, it inserts again: nobody is promised otherwise.
        .repeatable()
}

/// A time-out around COMMIT.
fn tokio_timeout() -> Scenario {
    let scenario = Scenario::new("tokio_timeout")
        .source("model 27: timeout(d, tx.commit()), then the effect; real tokio-postgres")
        .schema(INVOICES)
        .jobs([1])
        .worker("worker", async |env: Env| {
            let mut client = env.connect().await?;
            let id: i32 = env.job().parse()?;
            let tx = client.transaction().await?;
            tx.execute("update invoice set paid = true where id = $1", &[&id])
                .await?;
            // Elapsed or cancelled here, COMMIT may be on its way: the connection's task sends it.
            timeout(PATIENCE, tx.commit()).await??;
            env.effect("receipt", env.job()).await?;
            Ok(())
        })
        .owes("receipt", "select id from invoice where paid", Times::Once);
    after_commit(scenario)
}

/// What is known of an effect that follows the commit and is tried once.
fn after_commit(scenario: Scenario) -> Scenario {
    const WINDOW: &str =
        "the window between COMMIT and the effect: whatever ends the worker there loses the effect";
    let lossy = [
        Class::Interrupt,
        Class::Kill,
        Class::Deploy,
        Class::Network,
        Class::Server,
        Class::Broker,
    ];
    let scenario = lossy.into_iter().fold(scenario, |scenario, class| {
        scenario.expect(Some(class), [Fine, Lost], WINDOW)
    });
    scenario.expect(
        Some(Class::Failover),
        [Fine, Phantom],
        "the effect is out when the commit it belongs to disappears",
    )
}

/// Through a pool, and handed out again until it is ok.
fn pooled() -> Scenario {
    const AGAIN: &str = "run again after the effect was out: at least once is not once";
    Scenario::new("pooled")
        .source("remedies, row 1 with redelivery, through deadpool")
        .schema(INVOICES)
        .jobs(1..=2)
        .redeliver(UntilOk)
        .worker("worker", async |env: Env| {
            let pool = env.pool(2);
            let mut client = pool.get().await?;
            pay(&mut client, env.job()).await?;
            env.effect("receipt", env.job()).await?;
            Ok(())
        })
        .owes("receipt", "select id from invoice where paid", Times::Once)
        .expect(Some(Class::Interrupt), [Fine, Duplicated], AGAIN)
        .expect(Some(Class::Kill), [Fine, Duplicated], AGAIN)
        .expect(Some(Class::Deploy), [Fine, Duplicated], AGAIN)
        .expect(Some(Class::Broker), [Fine, Duplicated], AGAIN)
        .expect(
            Some(Class::Failover),
            [Fine, Phantom],
            "the effect is out when the commit it belongs to disappears",
        )
}

/// Marks an invoice paid; a second time it changes nothing.
async fn pay(client: &mut tokio_postgres::Client, job: &str) -> Result<(), Box<dyn Error>> {
    let id: i32 = job.parse()?;
    let tx = client.transaction().await?;
    tx.execute(
        "update invoice set paid = true where id = $1 and not paid",
        &[&id],
    )
    .await?;
    tx.commit().await?;
    Ok(())
}
