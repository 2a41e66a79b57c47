//! An outbox whose relay follows the highest id: the twin of the one with a horizon.
//!
//! Ids are taken when rows are written, and seen when their transactions commit. A lower
//! id that commits later is behind the cursor when it appears, and is never looked at.

use std::time::Duration;

use midcommit::oracle::Verdict::{Lost, Ok as Fine, Phantom};
use midcommit::plan::Class;
use midcommit::{Env, Redeliver::UntilOk, Scenario, Times, WorkerResult};
use tokio::time::sleep;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

const SHOP: &str = "
    create table invoice (id int primary key, pages int not null, paid bool not null default false);
    create table outbox (id bigint generated always as identity primary key, key text not null);
    create table position (id bigint not null);
    insert into invoice (id, pages) values (1, 4), (2, 0);
    insert into position values (0);
";

const PAY: &str = "update invoice set paid = true where id = $1 and not paid returning pages";
const OWE: &str = "insert into outbox (key) values ($1)";
const UNPUBLISHED: &str =
    "select o.id, o.key from outbox o, position p where o.id > p.id order by o.id";
const MOVE: &str = "update position set id = $1";

/// How often the relay looks for rows above the cursor.
const POLL: Duration = Duration::from_millis(50);
/// How long a page takes to render, within the transaction: lower ids may commit later.
const PAGE: Duration = Duration::from_millis(20);

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![outbox_cursor()]
}

/// The twin.
fn outbox_cursor() -> Scenario {
    const SKIPPED: &str = "a lower id that commits later is behind the cursor, without any fault";
    let scenario = Scenario::new("outbox_cursor")
        .source("the twin of outbox_horizon whose relay follows an id cursor (model 23)")
        .twin_of("outbox_horizon")
        .schema(SHOP)
        .jobs(1..=2)
        .redeliver(UntilOk)
        .worker("worker", async |env: Env| pay(&env).await)
        .replicas(2)
        .daemon("relay", async |env: Env| {
            let client = env.connect().await?;
            loop {
                publish(&env, &client).await?;
                sleep(POLL).await;
            }
        })
        .owes(
            "receipt",
            "select id from invoice where paid",
            Times::AtLeastOnce,
        )
        .settle(Duration::from_millis(400), Duration::from_secs(30))
        .expect(None, [Fine, Lost], SKIPPED);
    let classes = [
        Class::Interrupt,
        Class::Kill,
        Class::Deploy,
        Class::Network,
        Class::Server,
    ];
    let scenario = classes.into_iter().fold(scenario, |scenario, class| {
        scenario.expect(Some(class), [Fine, Lost], SKIPPED)
    });
    scenario
        .expect(
            Some(Class::Broker),
            [Fine],
            "a message that is not confirmed is read again, and by then the lower id is there",
        )
        .expect(
            Some(Class::Failover),
            [Fine, Phantom],
            "the fail-over ends the late transaction, too: run again, it takes a higher id",
        )
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

async fn render(pages: i32) {
    sleep(PAGE * pages.unsigned_abs()).await;
}

/// Publishes what is above the cursor, and moves the cursor past it.
async fn publish(env: &Env, client: &Client) -> WorkerResult {
    for row in client.query_typed(UNPUBLISHED, &[]).await? {
        let (id, key): (i64, String) = (row.get(0), row.get(1));
        env.effect("receipt", key).await?;
        move_to(client, id).await?;
    }
    Ok(())
}

async fn move_to(client: &Client, id: i64) -> Result<(), Error> {
    client.execute_typed(MOVE, &[(&id, Type::INT8)]).await?;
    Ok(())
}
