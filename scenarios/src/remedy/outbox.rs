//! Transactional outbox with an inbox: the effect is a row first, a message later.
//!
//! The worker writes what it owes in the transaction that makes it owed. A relay
//! publishes unsent rows and marks them after the broker has confirmed; a consumer,
//! with a database of its own, dedupes by key in the transaction that applies the
//! effect. Between them a message may be repeated, never lost.
//!
//! The relay follows a status flag: an id cursor would skip lower ids that commit late.

use std::time::Duration;

use midcommit::oracle::Verdict::{Lost, Ok as Fine, Phantom};
use midcommit::plan::Class;
use midcommit::{Env, Redeliver::UntilOk, Scenario, Times};
use tokio_postgres::Client;

const SHOP: &str = "
    create table invoice (id int primary key, paid bool not null default false);
    create table outbox (key text primary key, sent bool not null default false);
    insert into invoice (id) values (1), (2);
";

const CONSUMER: &str = "
    create table inbox (key text primary key);
    create table receipt (key text not null);
";

/// How often the relay looks for unsent rows.
const POLL: Duration = Duration::from_millis(200);

/// When the relay marks a row as sent.
#[derive(Clone, Copy)]
enum Mark {
    /// Once the broker has confirmed: a crash in between publishes it again.
    AfterPublishing,
    /// Before it is published: a crash in between forgets it.
    BeforePublishing,
}

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![outbox_inbox(), outbox_mark_first()]
}

/// The remedy.
fn outbox_inbox() -> Scenario {
    outbox("outbox_inbox", Mark::AfterPublishing)
        .source("remedies: outbox + relay + inbox (models 23 with a flag and 24)")
        .about(
            "What is owed is a row of the transaction that makes it owed; a relay publishes unsent rows and marks \
             them after the broker has confirmed; a consumer notes each key in the transaction that applies it. \
             **Holds** under every single fault but a fail-over: nothing is lost, nothing is applied twice. \
             **Remains lost**: after a fail-over that loses the commit, what had been published has been applied.",
        )
        .expect(
            Some(Class::Failover),
            [Fine, Phantom],
            "published, then the commit disappears: no design survives that",
        )
}

/// Its twin, with two lines in the other order.
fn outbox_mark_first() -> Scenario {
    const FORGOTTEN: &str = "marked as sent, and then not sent";
    let lossy = [
        Class::Interrupt,
        Class::Kill,
        Class::Deploy,
        Class::Network,
        Class::Server,
        Class::Broker,
    ];
    let scenario = outbox("outbox_mark_first", Mark::BeforePublishing)
        .source("the twin of outbox_inbox whose relay marks a row before it publishes it")
        .twin_of("outbox_inbox");
    let scenario = lossy.into_iter().fold(scenario, |scenario, class| {
        scenario.expect(Some(class), [Fine, Lost], FORGOTTEN)
    });
    scenario.expect(
        Some(Class::Failover),
        [Fine, Phantom],
        "published, then the commit disappears: no design survives that",
    )
}

fn outbox(name: &str, mark: Mark) -> Scenario {
    Scenario::new(name)
        .schema(SHOP)
        .server("inbox", CONSUMER)
        .jobs(1..=2)
        .redeliver(UntilOk)
        .worker("worker", async |env: Env| {
            let mut client = env.connect().await?;
            let id: i32 = env.job().parse()?;
            let tx = client.transaction().await?;
            tx.execute(
                "update invoice set paid = true where id = $1 and not paid",
                &[&id],
            )
            .await?;
            tx.execute(
                "insert into outbox (key) values ($1) on conflict do nothing",
                &[&env.job()],
            )
            .await?;
            tx.commit().await?;
            Ok(())
        })
        .daemon("relay", async move |env: Env| {
            let client = env.connect().await?;
            loop {
                relay(&env, &client, mark).await?;
                tokio::time::sleep(POLL).await;
            }
        })
        .daemon("consumer", async |env: Env| {
            let mut client = env.connect_to("inbox").await?;
            loop {
                consume(&env, &mut client).await?;
            }
        })
        .owes("receipt", "select id from invoice where paid", Times::Once)
        .applied_in("inbox", "receipt", "select key from receipt")
        // Short enough that SIGKILL finds the relay between its two steps.
        .grace(Duration::from_millis(60))
}

/// Publishes what is unsent.
async fn relay(env: &Env, client: &Client, mark: Mark) -> Result<(), Box<dyn std::error::Error>> {
    let unsent = "select key from outbox where not sent order by key";
    let sent = "update outbox set sent = true where key = $1";
    for row in client.query(unsent, &[]).await? {
        let key: String = row.get(0);
        match mark {
            Mark::AfterPublishing => {
                env.effect("receipt", &key).await?;
                client.execute(sent, &[&key]).await?;
            }
            Mark::BeforePublishing => {
                client.execute(sent, &[&key]).await?;
                env.effect("receipt", &key).await?;
            }
        }
    }
    Ok(())
}

/// Applies the next message, once for each key.
async fn consume(env: &Env, client: &mut Client) -> Result<(), Box<dyn std::error::Error>> {
    let message = env.receive("receipt").await?;
    let tx = client.transaction().await?;
    let new = tx
        .execute(
            "insert into inbox (key) values ($1) on conflict do nothing",
            &[&message.key()],
        )
        .await?;
    if new == 1 {
        tx.execute("insert into receipt (key) values ($1)", &[&message.key()])
            .await?;
    }
    tx.commit().await?;
    message.ack().await?;
    Ok(())
}
