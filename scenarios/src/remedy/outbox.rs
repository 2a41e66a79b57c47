//! Transactional outbox: what is owed is a row first, and a message later.
//!
//! The worker writes what it owes in the transaction that makes it owed. Relays publish
//! unsent rows, and mark each after the broker has confirmed, in the transaction that holds
//! its lock. Between the two a message may be repeated; it is never lost.
//!
//! There is no shutdown code: whoever is told to stop is killed after its grace.

use std::time::Duration;

use midcommit::oracle::Verdict::{Duplicated, Lost, Ok as Fine, Phantom};
use midcommit::plan::Class;
use midcommit::{Env, Redeliver::UntilOk, Scenario, Times, WorkerResult};
use tokio::time::sleep;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

const SHOP: &str = "
    create table invoice (id int primary key, pages int not null, paid bool not null default false);
    create table outbox (
        id bigint generated always as identity primary key,
        key text not null,
        sent bool not null default false
    );
    insert into invoice (id, pages) values (1, 4), (2, 0);
";

const PAY: &str = "update invoice set paid = true where id = $1 and not paid returning pages";
const OWE: &str = "insert into outbox (key) values ($1)";
/// Asked outside a transaction, so that none is opened while there is nothing to do.
const PENDING: &str = "select 1 from outbox where not sent limit 1";
/// Another relay that asks while this one publishes gets the next row.
const CLAIM: &str =
    "select id, key from outbox where not sent order by id limit 1 for update skip locked";
/// The same without the lock.
const LOOK: &str = "select id, key from outbox where not sent order by id limit 1";
const MARK: &str = "update outbox set sent = true where id = $1";

/// How often a relay looks for unsent rows.
const POLL: Duration = Duration::from_millis(50);
/// How long a page takes to render, within the transaction: lower ids may commit later.
const PAGE: Duration = Duration::from_millis(20);

/// What of the design is kept.
#[derive(Clone, Copy)]
struct Design {
    /// How a relay finds the next row.
    next: &'static str,
    /// Whether the worker writes both rows in one transaction.
    together: bool,
}

const SOUND: Design = Design {
    next: CLAIM,
    together: true,
};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![outbox_relay(), outbox_relay_unlocked(), outbox_apart()]
}

/// The remedy.
fn outbox_relay() -> Scenario {
    let scenario = outbox("outbox_relay", SOUND)
        .source("remedies: outbox + relay (model 23 with a flag), two replicas of the relay, SKIP LOCKED")
        .about(
            "What is owed is a row of the transaction that makes it owed; relays claim unsent rows with \
             `for update skip locked`, publish, and mark them in the transaction that holds the lock. \
             **Holds**: nothing is lost and nothing invented, whatever single fault strikes, short of a \
             fail-over; two relays do not publish the same row unless one of them is struck. \
             **Does not hold**: once. Whatever ends a relay between the broker's confirmation and its own COMMIT \
             has the message published again, so that the receiver must dedupe; and messages of two relays \
             overtake each other. **Remains lost**: after a fail-over that loses the commit, the message is out.",
        );
    repeats(scenario)
}

/// Its twin, whose relays do not lock what they publish.
fn outbox_relay_unlocked() -> Scenario {
    const BOTH: &str = "both relays see the same unsent row, without any fault";
    let unlocked = Design {
        next: LOOK,
        ..SOUND
    };
    let scenario = outbox("outbox_relay_unlocked", unlocked)
        .source("the twin of outbox_relay whose two relays read unsent rows without a lock")
        .jobs([1])
        .twin_of("outbox_relay")
        .expect(None, [Duplicated], BOTH);
    let never_apart = [Class::Deploy, Class::Server];
    let scenario = never_apart.into_iter().fold(scenario, |scenario, class| {
        scenario.expect(Some(class), [Duplicated], BOTH)
    });
    let out_of_step = [Class::Interrupt, Class::Kill, Class::Network, Class::Broker];
    let scenario = out_of_step.into_iter().fold(scenario, |scenario, class| {
        scenario.expect(
            Some(class),
            [Fine, Duplicated],
            "both see the same unsent row, unless the fault puts the relays out of step",
        )
    });
    scenario.expect(
        Some(Class::Failover),
        [Fine, Duplicated, Phantom],
        "both publish, then the commit disappears",
    )
}

/// Its twin, whose worker writes the row after it has committed.
fn outbox_apart() -> Scenario {
    const BETWEEN: &str =
        "ended between its two transactions: paid, and nobody knows that it is owed";
    let apart = Design {
        together: false,
        ..SOUND
    };
    let scenario = outbox("outbox_apart", apart)
        .source("the twin of outbox_relay whose worker writes the outbox's row in a transaction of its own")
        .twin_of("outbox_relay")
        .jobs([1])
        .repeatable();
    let classes = [
        Class::Interrupt,
        Class::Kill,
        Class::Deploy,
        Class::Network,
        Class::Server,
    ];
    let scenario = classes.into_iter().fold(scenario, |scenario, class| {
        scenario.expect(Some(class), [Fine, Duplicated, Lost], BETWEEN)
    });
    scenario
        .expect(
            Some(Class::Broker),
            [Fine, Duplicated],
            "the broker has it, and the relay does not know",
        )
        .expect(
            Some(Class::Failover),
            [Fine, Duplicated, Lost, Phantom],
            "the replica may lack any of the three commits",
        )
}

/// What is known of a message that is published until the relay knows of it.
fn repeats(scenario: Scenario) -> Scenario {
    const AGAIN: &str = "published, and not marked: it is published again";
    let classes = [
        Class::Interrupt,
        Class::Kill,
        Class::Deploy,
        Class::Network,
        Class::Server,
    ];
    let scenario = classes.into_iter().fold(scenario, |scenario, class| {
        scenario.expect(Some(class), [Fine, Duplicated], AGAIN)
    });
    scenario
        .expect(
            Some(Class::Broker),
            [Fine, Duplicated],
            "the broker has it, and the relay does not know",
        )
        .expect(
            Some(Class::Failover),
            [Fine, Duplicated, Phantom],
            "published, then the commit or the mark disappears",
        )
}

fn outbox(name: &str, design: Design) -> Scenario {
    Scenario::new(name)
        .schema(SHOP)
        .jobs(1..=2)
        .redeliver(UntilOk)
        .worker("worker", async move |env: Env| match design.together {
            true => pay(&env).await,
            false => pay_then_owe(&env).await,
        })
        .replicas(2)
        .daemon("relay", async move |env: Env| {
            let mut client = env.connect().await?;
            loop {
                while is_pending(&client).await?
                    && publish_next(&env, &mut client, design.next).await?
                {}
                sleep(POLL).await;
            }
        })
        .replicas(2)
        .owes("receipt", "select id from invoice where paid", Times::Once)
        .settle(Duration::from_millis(400), Duration::from_secs(30))
}

/// Marks an invoice paid, and writes down what that makes owed. A second time it changes nothing.
async fn pay(env: &Env) -> WorkerResult {
    let mut client = env.connect().await?;
    let id: i32 = env.job().parse()?;
    let tx = client.transaction().await?;
    let Some(paid) = tx.query_typed_opt(PAY, &[(&id, Type::INT4)]).await? else {
        return Ok(tx.rollback().await?);
    };
    tx.execute_typed(OWE, &[(&env.job(), Type::TEXT)]).await?;
    render(paid.get(0)).await;
    match env.rolls_back() {
        true => tx.rollback().await?,
        false => tx.commit().await?,
    }
    Ok(())
}

/// The same in two transactions.
async fn pay_then_owe(env: &Env) -> WorkerResult {
    let mut client = env.connect().await?;
    let id: i32 = env.job().parse()?;
    let tx = client.transaction().await?;
    let Some(paid) = tx.query_typed_opt(PAY, &[(&id, Type::INT4)]).await? else {
        return Ok(tx.rollback().await?);
    };
    render(paid.get(0)).await;
    if env.rolls_back() {
        return Ok(tx.rollback().await?);
    }
    tx.commit().await?;
    client
        .execute_typed(OWE, &[(&env.job(), Type::TEXT)])
        .await?;
    Ok(())
}

async fn render(pages: i32) {
    sleep(PAGE * pages.unsigned_abs()).await;
}

/// Whether there is anything to claim.
async fn is_pending(client: &Client) -> Result<bool, Error> {
    Ok(client.query_typed_opt(PENDING, &[]).await?.is_some())
}

/// Publishes the oldest row that is unsent, unless there is none.
async fn publish_next(
    env: &Env,
    client: &mut Client,
    next: &str,
) -> Result<bool, Box<dyn std::error::Error>> {
    let tx = client.transaction().await?;
    let Some(row) = tx.query_typed_opt(next, &[]).await? else {
        tx.rollback().await?;
        return Ok(false);
    };
    let (id, key): (i64, String) = (row.get(0), row.get(1));
    env.effect("receipt", key).await?;
    tx.execute_typed(MARK, &[(&id, Type::INT8)]).await?;
    tx.commit().await?;
    Ok(true)
}
