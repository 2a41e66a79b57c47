//! Enqueue in the transaction: the message goes to the broker before COMMIT.
//!
//! A broker that refuses makes the transaction roll back, so that nothing is committed without
//! its message. But a message that is out stays out, whatever becomes of the transaction, and
//! may be looked at before there is anything to see.

use midcommit::oracle::Verdict::{self, Early, Lost, Ok as Fine, Phantom};
use midcommit::plan::Class;
use midcommit::{Env, Scenario, Times, WorkerResult};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

const SCHEMA: &str = "
    create table invoice (id int primary key, paid bool not null default false);
    create table receipt (invoice int primary key);
    insert into invoice (id) values (1), (2);
";

const PAY: &str = "update invoice set paid = true where id = $1 and not paid";

/// Writes a receipt for an invoice that can be seen to be paid; a second time it changes nothing.
const WRITE_RECEIPT: &str = "
    insert into receipt (invoice)
    select id from invoice where id = $1 and paid
    on conflict do nothing";

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![effect_before_commit(), enqueue_looked_up()]
}

/// The remedy: no window after COMMIT in which the message could be lost.
fn effect_before_commit() -> Scenario {
    const TOO_SOON: &str = "the effect is out before the commit, and stays out if there is none";
    let scenario = shop("effect_before_commit")
        .source("remedies, row 2: enqueue in the transaction; the blog's first version")
        .about(
            "The message is published before COMMIT, within the transaction. **Holds**: nothing is committed whose \
             message the broker has not taken; one that refuses it makes the transaction roll back. **Remains**: \
             the message of a transaction that rolls back, or whose worker, connection or server ends before COMMIT, is \
             out all the same. And each is out before its commit can be seen: whoever acts on it at once looks for a row \
             that is not there yet.",
        )
        .expect(
            None,
            [Early],
            "the consumer may look for a row that is not there yet",
        );
    let scenario = scenario.expect_several(
        [Phantom],
        "no fault is needed: the transaction rolls back, and the effect is out",
    );
    expect(scenario, &ENDING, [Early, Phantom], TOO_SOON)
        .expect(
            Some(Class::Failover),
            [Phantom],
            "each commit that a replica lacks had its effect before",
        )
        .expect(
            Some(Class::Broker),
            [Fine, Early, Phantom],
            "a refused effect aborts the transaction, one whose answer is lost does so too late",
        )
}

/// Its twin, whose consumer believes the database more than the message.
fn enqueue_looked_up() -> Scenario {
    const NOT_YET: &str =
        "the message has overtaken its COMMIT: the consumer finds nothing, and is done with it";
    let late = [Class::Interrupt, Class::Deploy, Class::Network];
    let scenario = shop("enqueue_looked_up")
        .source("the twin of effect_before_commit whose consumer looks the row up, and skips what is not there")
        .twin_of("effect_before_commit")
        .about(
            "The consumer writes a receipt only for an invoice that it can see to be paid. **Holds**: what was not \
             committed has no receipt. **Lost**, with no fault at all, is what the consumer looks for before COMMIT has \
             made it visible: the two travel side by side, and the message often wins.",
        )
        .daemon("consumer", async |env: Env| {
            let client = env.connect().await?;
            loop {
                consume(&env, &client).await?;
            }
        })
        .applied_in("pg", "receipt", "select invoice from receipt")
        .expect(None, [Fine, Lost], NOT_YET);
    expect(scenario, &late, [Fine, Lost], NOT_YET).expect(
        Some(Class::Failover),
        [Fine, Lost],
        "the replica has the payment and not the receipt, and the broker has been told that it is written",
    )
}

/// The classes that may end a transaction whose message is out.
const ENDING: [Class; 5] = [
    Class::Interrupt,
    Class::Kill,
    Class::Deploy,
    Class::Network,
    Class::Server,
];

fn expect<const N: usize>(
    scenario: Scenario,
    classes: &[Class],
    verdicts: [Verdict; N],
    why: &'static str,
) -> Scenario {
    classes.iter().fold(scenario, |scenario, class| {
        scenario.expect(Some(*class), verdicts, why)
    })
}

fn shop(name: &str) -> Scenario {
    Scenario::new(name)
        .schema(SCHEMA)
        .jobs(1..=2)
        .worker("worker", pay)
        .owes("receipt", "select id from invoice where paid", Times::Once)
}

/// Marks an invoice paid, and asks for its receipt before that is committed.
async fn pay(env: Env) -> WorkerResult {
    let mut client = env.connect().await?;
    let id: i32 = env.job().parse()?;
    let tx = client.transaction().await?;
    tx.execute(PAY, &[&id]).await?;
    env.effect("receipt", env.job()).await?;
    match env.rolls_back() {
        true => tx.rollback().await?,
        false => tx.commit().await?,
    }
    Ok(())
}

/// Writes the receipt of the next message, unless there is no such payment.
async fn consume(env: &Env, client: &Client) -> WorkerResult {
    let message = env.receive("receipt").await?;
    let id: i32 = message.key().parse()?;
    client
        .execute_typed(WRITE_RECEIPT, &[(&id, Type::INT4)])
        .await?;
    message.ack().await?;
    Ok(())
}
