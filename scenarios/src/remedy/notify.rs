//! NOTIFY: alone, beside polling, and with a sweep after each LISTEN.
//!
//! A notification reaches the sessions that listen when it is sent, and nobody else. So it can say
//! *when* to look, never *what* there is to do: that stands in a table, and who begins to listen
//! looks there first.

use std::error::Error;
use std::time::Duration;

use midcommit::oracle::Verdict::{Duplicated, Lost, Ok as Fine};
use midcommit::plan::Class;
use midcommit::{Env, Redeliver::UntilOk, Scenario, Times};
use tokio::time::timeout;
use tokio_postgres::Client;

const SCHEMA: &str = "
    create table invoice (id int primary key, paid bool not null default false);
    create table receipt (invoice int not null);
    create table job (invoice int primary key, done bool not null default false);
    insert into invoice (id) values (1), (2);
";

const PAY: &str = "update invoice set paid = true where id = $1 and not paid";

const ADD_JOB: &str = "insert into job (invoice) values ($1) on conflict do nothing";

/// Sent with the commit, to whoever listens then.
const NOTIFY: &str = "select pg_notify('job', $1)";

const LISTEN: &str = "listen job";

const WRITE_RECEIPT: &str = "insert into receipt (invoice) values ($1::text::int)";

/// Does all there is to do, in one transaction with noting it done.
const SWEEP: &str = "
    with taken as (
        update job set done = true
        where invoice in (select invoice from job where not done for update skip locked)
        returning invoice
    )
    insert into receipt (invoice) select invoice from taken";

/// How long a listener waits before it looks all the same.
const POLL: Duration = Duration::from_millis(200);

/// When a listener that has only just come looks for what was there before it.
#[derive(Clone, Copy)]
enum Sweep {
    /// What is committed in between is swept, or notified, or both.
    AfterListening,
    /// What is committed in between is neither.
    BeforeListening,
}

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        notify_alone(),
        notify_beside_polling(),
        listen_then_sweep(),
        sweep_then_listen(),
    ]
}

/// What to do is in the notification, and nowhere else.
fn notify_alone() -> Scenario {
    const UNHEARD: &str = "nobody listens at the moment of the commit: the notification is gone";
    let scenario = shop("notify_alone", async |env: Env| {
        let (client, mut notifications) = env.connect_with_notifications().await?;
        client.batch_execute(LISTEN).await?;
        while let Some(notification) = notifications.recv().await {
            client
                .execute(WRITE_RECEIPT, &[&notification.payload()])
                .await?;
        }
        Ok(())
    })
    .source("remedies: NOTIFY alone")
    .about(
        "The commit sends what is to be done as a notification, and a listener does it. **Holds** as long as nothing \
         breaks: a transaction that rolls back notifies nobody, and nobody hears of a commit that is not there. \
         **Remains lost** whatever is committed while the listener is away: killed, deployed, cut off, or about to \
         connect again after a crash of the server. No error says so. And all who listen hear it: where two do, as in \
         a deploy that overlaps, it is done twice.",
    );
    let deaf = [Class::Interrupt, Class::Kill, Class::Network, Class::Server];
    let scenario = deaf.into_iter().fold(scenario, |scenario, class| {
        scenario.expect(Some(class), [Fine, Lost], UNHEARD)
    });
    scenario
        .expect(
            Some(Class::Deploy),
            [Fine, Duplicated],
            "the old listener and the new one hear the same notification, and both do it",
        )
        .expect(
            Some(Class::Failover),
            [Fine, Lost],
            "the replica has the payment and not the receipt, and notifies nobody again",
        )
}

/// The notification only saves the wait.
fn notify_beside_polling() -> Scenario {
    shop("notify_beside_polling", async |env: Env| {
        let (client, mut notifications) = env.connect_with_notifications().await?;
        client.batch_execute(LISTEN).await?;
        loop {
            client.execute(SWEEP, &[]).await?;
            if let Ok(None) = timeout(POLL, notifications.recv()).await {
                return Ok(());
            }
        }
    })
    .scales()
    .source("remedies: NOTIFY as a wake-up beside polling")
    .about(
        "What is to be done is a row of the transaction that makes it owed; a notification wakes who looks for such \
         rows, and so does a timer. **Holds** under every single fault: a notification that nobody hears costs one \
         interval of polling. The work is done in one transaction with noting it done, so nothing is done twice. \
         **Remains lost**: nothing; what leaves the database asks for an inbox at the receiver, as ever.",
    )
}

/// Without a timer: whoever begins to listen looks once.
fn listen_then_sweep() -> Scenario {
    listener("listen_then_sweep", Sweep::AfterListening)
        .source("remedies: LISTEN with reconnect, and a sweep after each LISTEN")
        .about(
            "The same without a timer: a listener that has only just connected listens first and looks then, so that \
             what is committed meanwhile is seen, or heard of, or both. **Holds** under every single fault: nothing \
             that a listener misses, it misses on a connection that lasts, and a new one begins with a look. **Remains \
             late**, for as long as nobody notices, what is committed while the connection is dead and the listener \
             does not know: set keepalives, or poll beside it.",
        )
}

/// Its twin, with two lines in the other order.
fn sweep_then_listen() -> Scenario {
    const IN_BETWEEN: &str =
        "committed after the look and before LISTEN: neither seen nor heard of";
    listener("sweep_then_listen", Sweep::BeforeListening)
        .source("the twin of listen_then_sweep that looks first and listens then")
        .twin_of("listen_then_sweep")
        .expect(Some(Class::Interrupt), [Fine, Lost], IN_BETWEEN)
        .expect(Some(Class::Network), [Fine, Lost], IN_BETWEEN)
}

fn listener(name: &str, sweep: Sweep) -> Scenario {
    shop(name, async move |env: Env| {
        let (client, mut notifications) = env.connect_with_notifications().await?;
        begin(&client, sweep).await?;
        while notifications.recv().await.is_some() {
            client.execute(SWEEP, &[]).await?;
        }
        Ok(())
    })
    .scales()
}

async fn begin(client: &Client, sweep: Sweep) -> Result<(), tokio_postgres::Error> {
    match sweep {
        Sweep::AfterListening => {
            client.batch_execute(LISTEN).await?;
            client.execute(SWEEP, &[]).await?;
        }
        Sweep::BeforeListening => {
            client.execute(SWEEP, &[]).await?;
            client.batch_execute(LISTEN).await?;
        }
    }
    Ok(())
}

fn shop<L>(name: &str, listen: L) -> Scenario
where
    L: AsyncFn(Env) -> Result<(), Box<dyn Error>> + Send + Sync + 'static,
{
    Scenario::new(name)
        .schema(SCHEMA)
        .jobs(1..=2)
        .redeliver(UntilOk)
        .worker("shop", pay)
        .daemon("listener", listen)
        .owes("receipt", "select id from invoice where paid", Times::Once)
        .applied_in("pg", "receipt", "select invoice from receipt")
        .stalls([Duration::from_millis(400)])
        .delays([Duration::from_millis(400)])
        // Long enough that the old listener and the new one both hear.
        .grace(Duration::from_millis(200))
        .settle(Duration::from_millis(300), Duration::from_secs(5))
}

/// Marks an invoice paid, leaves a job behind, and says so; a second time it does nothing.
async fn pay(env: Env) -> Result<(), Box<dyn Error>> {
    let mut client = env.connect().await?;
    let invoice: i32 = env.job().parse()?;
    let tx = client.transaction().await?;
    if tx.execute(PAY, &[&invoice]).await? == 1 {
        tx.execute(ADD_JOB, &[&invoice]).await?;
        tx.execute(NOTIFY, &[&env.job()]).await?;
    }
    if env.rolls_back() {
        tx.rollback().await?;
    } else {
        tx.commit().await?;
    }
    Ok(())
}
