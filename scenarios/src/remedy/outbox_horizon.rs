//! An outbox without a flag: a relay that follows the order of transactions, up to a horizon.
//!
//! A row says which transaction wrote it. The relay reads only what is below the oldest
//! transaction that still runs: nothing can come in behind it any more. So one position says
//! what has been published, and no row of the outbox is ever written again.
//!
//! The position moves after the broker has confirmed: a message may be repeated, and is never
//! lost. There is no shutdown code: whoever is told to stop is killed after its grace.

use std::time::Duration;

use midcommit::oracle::Verdict::{Ok as Fine, Phantom};
use midcommit::plan::Class;
use midcommit::{Env, Redeliver::UntilOk, Scenario, Times, WorkerResult};
use tokio::time::sleep;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

const SHOP: &str = "
    create table invoice (id int primary key, pages int not null, paid bool not null default false);
    create table outbox (
        id bigint generated always as identity primary key,
        xid xid8 not null default pg_current_xact_id(),
        key text not null
    );
    create table position (xid xid8 not null, id bigint not null);
    insert into invoice (id, pages) values (1, 4), (2, 0);
    insert into position values ('0', 0);
";

const PAY: &str = "update invoice set paid = true where id = $1 and not paid returning pages";
const OWE: &str = "insert into outbox (key) values ($1)";
const UNPUBLISHED: &str = "
    select o.xid::text, o.id, o.key from outbox o, position p
    where (o.xid, o.id) > (p.xid, p.id) and o.xid < pg_snapshot_xmin(pg_current_snapshot())
    order by o.xid, o.id";
const MOVE: &str = "update position set xid = $1::text::xid8, id = $2";

/// How often the relay looks for rows below the horizon.
const POLL: Duration = Duration::from_millis(50);
/// How long a page takes to render, within the transaction: lower ids may commit later.
const PAGE: Duration = Duration::from_millis(20);

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![outbox_horizon()]
}

/// The remedy.
fn outbox_horizon() -> Scenario {
    Scenario::new("outbox_horizon")
        .source("remedies: outbox + relay that follows an xmin horizon (model 23); at least once")
        .about(
            "A row of the outbox says which transaction wrote it (`xid8`, `pg_current_xact_id()`), and the relay \
             reads, in the order of transactions, only what is below `pg_snapshot_xmin(pg_current_snapshot())`; a \
             position in the same database moves after the broker has confirmed. **Holds** whatever single fault \
             strikes, short of a fail-over: nothing is lost, late commits included. **Does not hold**: once; an \
             inbox dedupes here as it does behind a flag. One transaction left open, or prepared and forgotten, \
             holds up every message behind it. A dump that is restored, or a move by logical replication, begins \
             with lower transaction ids than the position has seen, and all that is new is passed over without a \
             word: on such a move, reset the position and the `xid` of the rows. **Remains lost**: after a fail-over that loses the commit, \
             the message is out.",
        )
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
        .scales()
        .owes(
            "receipt",
            "select id from invoice where paid",
            Times::AtLeastOnce,
        )
        .settle(Duration::from_millis(400), Duration::from_secs(30))
        .expect(
            Some(Class::Failover),
            [Fine, Phantom],
            "published, then the commit disappears: no design survives that",
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

/// Publishes what is below the horizon, and moves the position past it.
async fn publish(env: &Env, client: &Client) -> WorkerResult {
    for row in client.query_typed(UNPUBLISHED, &[]).await? {
        let (xid, id, key): (String, i64, String) = (row.get(0), row.get(1), row.get(2));
        env.effect("receipt", key).await?;
        move_to(client, &xid, id).await?;
    }
    Ok(())
}

async fn move_to(client: &Client, xid: &str, id: i64) -> Result<(), Error> {
    let position: [(&(dyn ToSql + Sync), Type); 2] = [(&xid, Type::TEXT), (&id, Type::INT8)];
    client.execute_typed(MOVE, &position).await?;
    Ok(())
}
