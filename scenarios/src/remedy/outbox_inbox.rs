//! Outbox and inbox: the message may be repeated, its effect is not.
//!
//! The worker writes what it owes in the transaction that makes it owed. A relay publishes
//! unsent rows, and marks each after the broker has confirmed. A consumer, with a database of
//! its own, notes each key in the transaction that applies the effect, and acknowledges after
//! that has committed. So every step is repeated until it is known to be done.
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

const CONSUMER: &str = "
    create table inbox (key text primary key);
    create table newest (number int not null);
    create table receipt (key text not null);
    insert into newest values (0);
";

const PAY: &str = "update invoice set paid = true where id = $1 and not paid returning pages";
const OWE: &str = "insert into outbox (key) values ($1)";
const UNSENT: &str = "select id, key from outbox where not sent order by id";
const MARK: &str = "update outbox set sent = true where id = $1";

const NOTE: &str = "insert into inbox (key) values ($1) on conflict do nothing";
const ADVANCE: &str = "update newest set number = $1 where number < $1";
const APPLY: &str = "insert into receipt (key) values ($1)";

/// How often the relay looks for unsent rows.
const POLL: Duration = Duration::from_millis(200);
/// How long a page takes to render, within the transaction: lower ids may commit later.
const PAGE: Duration = Duration::from_millis(25);

const GONE: &str = "applied, then the commit disappears: no design survives that";

/// When the relay marks a row as sent.
#[derive(Clone, Copy)]
enum Mark {
    /// Once the broker has confirmed: a crash in between publishes it again.
    AfterPublishing,
    /// Before it is published: a crash in between forgets it.
    BeforePublishing,
}

/// How the consumer applies a message once.
#[derive(Clone, Copy)]
enum Apply {
    /// It notes the key in the transaction that applies the effect.
    WithKey,
    /// It notes the key in a transaction of its own, first.
    KeyApart,
    /// It acknowledges before it applies.
    AckFirst,
    /// It keeps the highest number seen, and takes only what is above.
    Newest,
    /// It notes the key, but the effect is not the database's: it sends mail.
    Mail,
}

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        outbox_inbox(),
        outbox_mark_first(),
        inbox_apart(),
        inbox_ack_first(),
        inbox_newest(),
        inbox_mail(),
    ]
}

/// The remedy.
fn outbox_inbox() -> Scenario {
    receipts("outbox_inbox", Mark::AfterPublishing, Apply::WithKey)
        .source("remedies: outbox + relay + inbox (models 23 with a flag and 24)")
        .about(
            "What is owed is a row of the transaction that makes it owed; a relay publishes unsent rows, and marks \
             each after the broker has confirmed; a consumer notes the key in the transaction that applies the \
             effect, and acknowledges after its COMMIT. **Holds** whatever single fault strikes, short of a \
             fail-over: each commit has its effect, once. The order of commits is not kept, and the effect must be \
             rows in the consumer's own database. **Remains lost**: after a fail-over that loses the commit, what \
             had been published is applied.",
        )
        .expect(Some(Class::Failover), [Fine, Phantom], GONE)
}

/// Its twin, with two lines of the relay in the other order.
fn outbox_mark_first() -> Scenario {
    const FORGOTTEN: &str = "marked as sent, and then not sent";
    let scenario = receipts("outbox_mark_first", Mark::BeforePublishing, Apply::WithKey)
        .source("the twin of outbox_inbox whose relay marks a row before it publishes it")
        .twin_of("outbox_inbox")
        .jobs([1]);
    let scenario = loses(scenario, FORGOTTEN);
    scenario
        .expect(Some(Class::Broker), [Fine, Lost], FORGOTTEN)
        .expect(Some(Class::Failover), [Fine, Phantom], GONE)
}

/// Its twin, whose consumer notes the key and applies the effect in two transactions.
fn inbox_apart() -> Scenario {
    const NOTED: &str =
        "the key is noted and the effect is not applied: handed out again, it is taken for done";
    let scenario = receipts("inbox_apart", Mark::AfterPublishing, Apply::KeyApart)
        .source("the twin of outbox_inbox whose consumer notes the key in a transaction of its own")
        .twin_of("outbox_inbox")
        .jobs([1]);
    let scenario = loses(scenario, NOTED);
    scenario.expect(Some(Class::Failover), [Fine, Phantom], GONE)
}

/// Its twin, whose consumer acknowledges first.
fn inbox_ack_first() -> Scenario {
    const ACKED: &str = "the broker has forgotten the message, and the consumer has not applied it";
    let scenario = receipts("inbox_ack_first", Mark::AfterPublishing, Apply::AckFirst)
        .source(
            "the twin of outbox_inbox whose consumer acknowledges a message before it applies it",
        )
        .twin_of("outbox_inbox")
        .jobs([1]);
    let scenario = loses(scenario, ACKED);
    scenario.expect(Some(Class::Failover), [Fine, Phantom], GONE)
}

/// Its twin, whose consumer takes messages to be in order.
fn inbox_newest() -> Scenario {
    const LATE: &str = "a lower number that commits later is taken for a repetition";
    let scenario = receipts("inbox_newest", Mark::AfterPublishing, Apply::Newest)
        .source("the twin of outbox_inbox whose consumer keeps the highest number it has seen, not each key")
        .twin_of("outbox_inbox")
        .expect(None, [Fine, Lost], LATE);
    let scenario = loses(scenario, LATE);
    scenario.expect(Some(Class::Failover), [Fine, Lost, Phantom], LATE)
}

/// Its twin, whose effect is not a row.
fn inbox_mail() -> Scenario {
    const SENT: &str = "the mail is out when the transaction that notes its key comes to nothing";
    let scenario = shop("inbox_mail", Mark::AfterPublishing, Apply::Mail)
        .source("the twin of outbox_inbox whose consumer sends mail: an effect that no transaction takes back")
        .twin_of("outbox_inbox")
        .jobs([1])
        .owes("mail", "select id from invoice where paid", Times::Once);
    let classes = [
        Class::Interrupt,
        Class::Kill,
        Class::Deploy,
        Class::Network,
        Class::Server,
        Class::Broker,
    ];
    let scenario = classes.into_iter().fold(scenario, |scenario, class| {
        scenario.expect(Some(class), [Fine, Duplicated], SENT)
    });
    scenario.expect(Some(Class::Failover), [Fine, Phantom], GONE)
}

/// What is known of a process that may end between two steps of which the first forgets.
fn loses(scenario: Scenario, why: &'static str) -> Scenario {
    let classes = [
        Class::Interrupt,
        Class::Kill,
        Class::Deploy,
        Class::Network,
        Class::Server,
    ];
    classes.into_iter().fold(scenario, |scenario, class| {
        scenario.expect(Some(class), [Fine, Lost], why)
    })
}

/// The shop, whose consumer writes receipts.
fn receipts(name: &str, mark: Mark, apply: Apply) -> Scenario {
    shop(name, mark, apply).owes("receipt", "select id from invoice where paid", Times::Once)
}

fn shop(name: &str, mark: Mark, apply: Apply) -> Scenario {
    Scenario::new(name)
        .schema(SHOP)
        .server("inbox", CONSUMER)
        .jobs(1..=2)
        .redeliver(UntilOk)
        .worker("worker", async |env: Env| pay(&env).await)
        .replicas(2)
        .daemon("relay", async move |env: Env| {
            let client = env.connect().await?;
            loop {
                publish_unsent(&env, &client, mark).await?;
                sleep(POLL).await;
            }
        })
        .scales()
        .daemon("consumer", async move |env: Env| {
            let mut client = env.connect_to("inbox").await?;
            loop {
                consume(&env, &mut client, apply).await?;
            }
        })
        .scales()
        .applied_in("inbox", "receipt", "select key from receipt")
        .settle(Duration::from_millis(400), Duration::from_secs(30))
        // So short that SIGKILL finds relay and consumer between two steps.
        .grace(Duration::from_millis(10))
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

/// Publishes what is unsent.
async fn publish_unsent(env: &Env, client: &Client, mark: Mark) -> WorkerResult {
    for row in client.query_typed(UNSENT, &[]).await? {
        let (id, key): (i64, String) = (row.get(0), row.get(1));
        match mark {
            Mark::AfterPublishing => {
                env.effect("receipt", key).await?;
                mark_sent(client, id).await?;
            }
            Mark::BeforePublishing => {
                mark_sent(client, id).await?;
                env.effect("receipt", key).await?;
            }
        }
    }
    Ok(())
}

async fn mark_sent(client: &Client, id: i64) -> Result<(), Error> {
    client.execute_typed(MARK, &[(&id, Type::INT8)]).await?;
    Ok(())
}

/// Applies the next message, once for each key.
async fn consume(env: &Env, client: &mut Client, apply: Apply) -> WorkerResult {
    let message = env.receive("receipt").await?;
    let key = message.key().to_owned();
    match apply {
        Apply::WithKey => apply_once(client, &key).await?,
        Apply::KeyApart => apply_after(client, &key).await?,
        Apply::AckFirst => {
            message.ack().await?;
            return Ok(apply_once(client, &key).await?);
        }
        Apply::Newest => apply_newer(client, &key).await?,
        Apply::Mail => mail_once(env, client, &key).await?,
    }
    message.ack().await?;
    Ok(())
}

async fn apply_once(client: &mut Client, key: &str) -> Result<(), Error> {
    let tx = client.transaction().await?;
    if tx.execute_typed(NOTE, &[(&key, Type::TEXT)]).await? == 1 {
        tx.execute_typed(APPLY, &[(&key, Type::TEXT)]).await?;
    }
    tx.commit().await
}

async fn apply_after(client: &Client, key: &str) -> Result<(), Error> {
    if client.execute_typed(NOTE, &[(&key, Type::TEXT)]).await? == 1 {
        client.execute_typed(APPLY, &[(&key, Type::TEXT)]).await?;
    }
    Ok(())
}

async fn apply_newer(client: &mut Client, key: &str) -> WorkerResult {
    let number: i32 = key.parse()?;
    let tx = client.transaction().await?;
    if tx.execute_typed(ADVANCE, &[(&number, Type::INT4)]).await? == 1 {
        tx.execute_typed(APPLY, &[(&key, Type::TEXT)]).await?;
    }
    Ok(tx.commit().await?)
}

async fn mail_once(env: &Env, client: &mut Client, key: &str) -> WorkerResult {
    let tx = client.transaction().await?;
    if tx.execute_typed(NOTE, &[(&key, Type::TEXT)]).await? == 1 {
        env.effect("mail", key).await?;
    }
    Ok(tx.commit().await?)
}
