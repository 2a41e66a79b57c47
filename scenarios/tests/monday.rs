//! The code on `docs/monday.md`, broken at each point: the page shows what stands here.
//!
//! Its tables are those of the page, too. Its SQL is held to a real server's answers elsewhere
//! (`ci/conformance`).

use std::error::Error;
use std::time::Duration;

use midcommit::oracle::Verdict;
use midcommit::plan::Class;
use midcommit::{Env, Redeliver::UntilOk, Scenario, Times, explore};
use tokio_postgres::Client;

const PAGE: &str = include_str!("../../docs/monday.md");

/// The payment and what it owes: both or neither. What is paid already, or not there, owes nothing.
async fn pay(client: &mut Client, invoice: i64) -> Result<(), Box<dyn Error>> {
    const PAY: &str = "update shop_invoice set paid_at = now() where id = $1 and paid_at is null";
    const OWE: &str =
        "insert into outbox (topic, key) values ('receipt', $1) on conflict do nothing";
    let tx = client.transaction().await?;
    if tx.execute(PAY, &[&invoice]).await? == 1 {
        tx.execute(OWE, &[&invoice.to_string()]).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Publishes the oldest row that is unsent, unless there is none.
async fn publish_next<P>(client: &mut Client, publish: P) -> Result<bool, Box<dyn Error>>
where
    P: AsyncFn(&str, &str) -> Result<(), Box<dyn Error>>,
{
    const CLAIM: &str = "select id, topic, key from outbox where sent_at is null
                         order by id limit 1 for update skip locked";
    let tx = client.transaction().await?;
    let Some(row) = tx.query_opt(CLAIM, &[]).await? else {
        tx.rollback().await?;
        return Ok(false);
    };
    let (id, topic, key): (i64, String, String) = (row.get(0), row.get(1), row.get(2));
    // Returns when the broker has confirmed. If it fails, the row stays unsent.
    publish(&topic, &key).await?;
    tx.execute("update outbox set sent_at = now() where id = $1", &[&id])
        .await?;
    tx.commit().await?;
    Ok(true)
}

/// Applies a message, unless that has been done.
async fn apply_once(client: &mut Client, topic: &str, key: &str) -> Result<(), Box<dyn Error>> {
    const NOTE: &str = "insert into inbox (topic, key) values ($1, $2) on conflict do nothing";
    const APPLY: &str = "insert into shop_receipt (invoice_id) values ($1)";
    let invoice: i64 = key.parse()?;
    let tx = client.transaction().await?;
    if tx.execute(NOTE, &[&topic, &key]).await? == 1 {
        tx.execute(APPLY, &[&invoice]).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// One invoice to be paid, one that was paid and receipted before there was an outbox.
fn shop() -> Scenario {
    const INVOICES: &str = "
        insert into shop_invoice (id, paid_at) values (1, null), (2, now());
        insert into shop_receipt (invoice_id) values (2);
    ";
    let tables = blocks("sql").filter(|block| block.starts_with("create table"));
    let schema: String = tables.collect();
    Scenario::new("monday")
        .schema(&(schema + INVOICES))
        .jobs([1])
        .redeliver(UntilOk)
        .worker("worker", async |env: Env| {
            pay(&mut env.connect().await?, env.job().parse()?).await
        })
        .daemon("relay", async |env: Env| {
            let mut client = env.connect().await?;
            loop {
                let publish = async |topic: &str, key: &str| Ok(env.effect(topic, key).await?);
                while is_unsent(&client).await? && publish_next(&mut client, publish).await? {}
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .daemon("consumer", async |env: Env| {
            let mut client = env.connect().await?;
            loop {
                let message = env.receive("receipt").await?;
                apply_once(&mut client, "receipt", message.key()).await?;
                message.ack().await?;
            }
        })
        .owes(
            "receipt",
            "select id from shop_invoice where paid_at is not null",
            Times::Once,
        )
        .applied_in("pg", "receipt", "select invoice_id from shop_receipt")
        .settle(Duration::from_millis(400), Duration::from_secs(30))
}

/// Asked outside a transaction: a relay that polls leaves none open.
async fn is_unsent(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let unsent = "select from outbox where sent_at is null limit 1";
    Ok(client.query_opt(unsent, &[]).await?.is_some())
}

/// The blocks of the page in this language.
fn blocks(language: &str) -> impl Iterator<Item = &'static str> {
    let opening = format!("```{language}\n");
    let blocks: Vec<&str> = PAGE.split(&opening).skip(1).collect();
    blocks
        .into_iter()
        .map(|rest| rest.split("```\n").next().unwrap_or(rest))
}

#[test]
fn the_page_shows_this_code() {
    let code = include_str!("monday.rs");
    assert!(blocks("rust").count() > 0);
    for block in blocks("rust") {
        assert!(code.contains(block), "monday.md has other code:\n{block}");
    }
}

/// Invoice 2 has its receipt. There is no invoice 3, so that a receipt for it is refused for ever.
#[test]
fn what_is_paid_already_or_not_there_owes_nothing() {
    let explored = explore(shop().jobs(1..=3)).faults([]).cases(0).run();
    let explored = explored.unwrap_or_else(|error| panic!("{error}"));
    let verdicts: Vec<_> = explored.cells[&None].verdicts.keys().collect();
    assert_eq!(verdicts, [&Verdict::Ok], "{}", explored.matrix());
}

#[test]
fn its_outbox_holds_whatever_single_thing_breaks() {
    let explored = explore(shop()).cases(0).run();
    let explored = explored.unwrap_or_else(|error| panic!("{error}"));
    for (class, cell) in &explored.cells {
        let allowed: &[Verdict] = match class {
            // The message is out when the payment is gone; or the receipt is gone when the broker has
            // forgotten its message.
            Some(Class::Failover) => &[Verdict::Ok, Verdict::Phantom, Verdict::Lost],
            _ => &[Verdict::Ok],
        };
        let seen: Vec<_> = cell.verdicts.keys().collect();
        assert!(
            seen.iter().all(|verdict| allowed.contains(verdict)),
            "{class:?}: {seen:?}\n{}",
            explored.matrix()
        );
    }
}
