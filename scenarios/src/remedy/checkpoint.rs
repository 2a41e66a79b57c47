//! Warm shutdown: a signal is heard at checkpoints only, where nothing is half done.
//!
//! A job is a batch of invoices. Each is paid and its receipt sent before the worker looks whether
//! a signal has come; if so, it leaves the rest to whoever is handed the batch next. Signals are
//! all that this is about: they do not cut into the worker's code but wait until it asks, as
//! the flag that a handler sets.

use std::error::Error;
use std::time::Duration;

use midcommit::oracle::Verdict::{Duplicated, Lost, Ok as Fine, Phantom};
use midcommit::plan::Class;
use midcommit::{Env, Redeliver::UntilOk, Scenario, Times, WorkerResult};
use tokio::select;
use tokio_postgres::Client;

const SCHEMA: &str = "
    create table invoice (id int primary key, batch int not null, paid bool not null default false);
    insert into invoice (id, batch) values (11, 1), (12, 1), (21, 2);
";

/// What is left of a batch.
const UNPAID: &str = "select id from invoice where batch = $1 and not paid order by id";

const PAY: &str = "update invoice set paid = true where id = $1 and not paid";

/// Longer than one invoice takes.
const LONG_GRACE: Duration = Duration::from_millis(200);
/// Shorter.
const SHORT_GRACE: Duration = Duration::from_millis(50);

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![checkpoint(), checkpoint_dropped(), checkpoint_short_grace()]
}

/// The remedy.
fn checkpoint() -> Scenario {
    let scenario = billing("checkpoint", async |env: Env| pay_batch(&env).await)
        .source("remedies: signals deferred to checkpoints, warm shutdown (model 8)")
        .about(
            "A signal sets a flag; the worker looks at it between two invoices, when every payment has its receipt, and \
             leaves the rest of its batch to whoever is handed it next. **Holds** under signals, wherever they strike, \
             and in a deploy whose grace period is longer than the work between two checkpoints. **Remains lost** what \
             does not ask first: SIGKILL, a connection lost in COMMIT, a crash of the server, a broker that is down. \
             The next run finds the invoice paid and leaves it at that, so the loss is permanent. After a fail-over that \
             loses the commit, the receipt is out; if the batch is run again, it is paid and sent a second time.",
        )
        .grace(LONG_GRACE)
        .expect_several(
            [Lost],
            "held up for longer than its grace, a worker that was told to stop is killed as if it had not been told",
        );
    unheard(scenario)
}

/// Its twin, which drops what it is at.
fn checkpoint_dropped() -> Scenario {
    const DROPPED: &str = "the signal drops the work between COMMIT and the receipt, and the next run finds the invoice paid";
    let scenario = billing("checkpoint_dropped", async |env: Env| {
        select! {
            biased;
            () = env.signalled() => stop_if_signalled(&env),
            done = pay_batch(&env) => done,
        }
    })
    .source("the twin of checkpoint that drops its work on the signal, by a `select!` over both")
    .twin_of("checkpoint")
    .grace(LONG_GRACE);
    unheard(scenario)
        .expect(Some(Class::Interrupt), [Fine, Lost], DROPPED)
        .expect(Some(Class::Deploy), [Fine, Lost], DROPPED)
}

/// Its twin, whose orchestrator is in more of a hurry than it.
fn checkpoint_short_grace() -> Scenario {
    let scenario = billing("checkpoint_short_grace", async |env: Env| {
        pay_batch(&env).await
    })
    .source("the twin of checkpoint whose grace period is shorter than the work between two checkpoints")
    .twin_of("checkpoint")
    .grace(SHORT_GRACE);
    unheard(scenario).expect(
        Some(Class::Deploy),
        [Fine, Lost],
        "SIGKILL comes between COMMIT and the receipt, before the worker has come to its checkpoint",
    )
}

/// What sends no signal, or none that can be deferred.
fn unheard(scenario: Scenario) -> Scenario {
    const WINDOW: &str = "a process, a connection, a server or a broker that ends between COMMIT and the receipt takes \
                          the receipt with it, and the next run finds the invoice paid";
    let lossy = [Class::Kill, Class::Network, Class::Server, Class::Broker];
    let scenario = lossy.into_iter().fold(scenario, |scenario, class| {
        scenario.expect(Some(class), [Fine, Lost], WINDOW)
    });
    scenario.expect(
        Some(Class::Failover),
        [Fine, Duplicated, Phantom],
        "the receipt is out when its payment disappears; where the batch is run again, it is paid again",
    )
}

fn billing<W>(name: &str, work: W) -> Scenario
where
    W: AsyncFn(Env) -> WorkerResult + Send + Sync + 'static,
{
    Scenario::new(name)
        .schema(SCHEMA)
        .jobs(1..=2)
        .redeliver(UntilOk)
        // A commit for each invoice of a batch.
        .repeatable()
        .worker("worker", work)
        .owes("receipt", "select id from invoice where paid", Times::Once)
        .exceptions(&["SIGTERM"])
        .stop_raises("SIGTERM")
        .settle(Duration::from_millis(400), Duration::from_secs(10))
}

/// Pays what is unpaid, one invoice after the other.
async fn pay_batch(env: &Env) -> WorkerResult {
    let mut client = env.connect().await?;
    let batch: i32 = env.job().parse()?;
    for invoice in unpaid(&client, batch).await? {
        stop_if_signalled(env)?;
        if pay(env, &mut client, invoice).await? {
            env.effect("receipt", invoice).await?;
        }
    }
    Ok(())
}

/// The checkpoint.
fn stop_if_signalled(env: &Env) -> WorkerResult {
    match env.take_exception() {
        Some(signal) => Err(signal.into()),
        None => Ok(()),
    }
}

async fn unpaid(client: &Client, batch: i32) -> Result<Vec<i32>, tokio_postgres::Error> {
    let rows = client.query(UNPAID, &[&batch]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Marks an invoice paid: whether that was committed.
async fn pay(env: &Env, client: &mut Client, invoice: i32) -> Result<bool, Box<dyn Error>> {
    let tx = client.transaction().await?;
    let paid = tx.execute(PAY, &[&invoice]).await?;
    if env.rolls_back() {
        tx.rollback().await?;
        return Ok(false);
    }
    tx.commit().await?;
    Ok(paid == 1)
}
