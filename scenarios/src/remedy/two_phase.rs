//! Two-phase commit: the receipt is prepared in the ledger's database before the shop commits.
//!
//! The shop's commit decides. With it goes a row that names what was prepared, so that a recoverer
//! can finish what a worker has left behind. The recoverer decides in the same table: who writes
//! the row of a transaction first has decided it, and the other follows.

use std::error::Error;
use std::time::Duration;

use midcommit::oracle::Verdict::{Duplicated, Leaked, Lost, Ok as Fine, Phantom};
use midcommit::plan::Class;
use midcommit::{Env, Redeliver::UntilOk, Scenario, Times};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

const SHOP: &str = "
    create table invoice (id int primary key, paid bool not null default false);
    create table outcome (gid text primary key, committed bool not null);
    create sequence attempt;
    insert into invoice (id) values (1), (2);
";

const LEDGER: &str = "
    alter system set max_prepared_transactions = 10;
    create table receipt (invoice int not null);
";

/// Each attempt is prepared under a name of its own.
const ATTEMPT: &str = "select nextval('attempt')";

const WRITE_RECEIPT: &str = "insert into receipt (invoice) values ($1)";

const PAY: &str = "update invoice set paid = true where id = $1 and not paid";

/// Only one row fits: the worker and the recoverer cannot both decide.
const DECIDE: &str = "insert into outcome (gid, committed) values ($1, $2) on conflict do nothing";

const DECIDED: &str = "select committed from outcome where gid = $1";

/// What has been prepared for longer than its worker should need. The view shows those of all
/// databases, and of everybody who prepares: only ours are the recoverer's to decide.
const LEFT_BEHIND: &str = "
    select gid from pg_prepared_xacts
    where database = current_database() and gid like 'receipt-%'
        and prepared < now() - interval '200 milliseconds'
    order by prepared";

/// How often the recoverer looks.
const POLL: Duration = Duration::from_millis(50);

/// Who finishes what a worker has prepared and left behind.
#[derive(Clone, Copy)]
enum Recoverer {
    /// It decides what is undecided: a worker that is still on its way is told so.
    Decides,
    /// It takes what is undecided for what never will be.
    Presumes,
}

const TAKEN_BACK: &str =
    "the ledger has committed what was prepared, and the payment that decided so disappears";

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![two_phase(), two_phase_no_recoverer(), two_phase_presumed()]
}

/// The remedy.
fn two_phase() -> Scenario {
    with_recoverer("two_phase", Recoverer::Decides)
        .source("remedies: two-phase commit with a recoverer (model 25)")
        .about(
            "The receipt is prepared in another database, then the commit of the payment decides, then what was \
             prepared is committed. A recoverer asks for what has been prepared for too long, and finishes it by what \
             was decided; what is undecided it decides itself, in the table that the payment's transaction writes \
             too. **Holds** under every single fault but a fail-over: both or neither. While a transaction is \
             prepared its locks are held, over crashes too: until the recoverer comes, others wait. \
             **Remains lost**: after a fail-over that loses the payment, the ledger has the receipt. It takes two \
             databases that can prepare, which a broker or a mail server cannot.",
        )
        .expect(Some(Class::Failover), [Fine, Phantom], TAKEN_BACK)
}

/// Nobody finishes what a worker has left behind.
fn two_phase_no_recoverer() -> Scenario {
    const ORPHANED: &str = "what is prepared survives its worker: lost if the payment was committed, a leak and its \
                            locks if it was not";
    let scenario = shop("two_phase_no_recoverer")
        .source("the twin of two_phase that has nobody to finish what was prepared")
        .twin_of("two_phase");
    let orphaning = [
        Class::Interrupt,
        Class::Kill,
        Class::Deploy,
        Class::Network,
        Class::Server,
    ];
    let scenario = orphaning.into_iter().fold(scenario, |scenario, class| {
        scenario.expect(Some(class), [Fine, Leaked, Lost], ORPHANED)
    });
    scenario.expect(
        Some(Class::Failover),
        [Leaked, Phantom],
        "the payment is taken back: an orphan if the worker had not gone on, a receipt too many if it had",
    )
    .expect_several(
        [Duplicated],
        "the payment is taken back, its receipt is not; killed, the worker pays again, with a receipt again",
    )
}

/// Undecided is not the same as aborted.
fn two_phase_presumed() -> Scenario {
    const NOT_YET: &str = "held up for longer than the recoverer waits, the worker commits a payment whose receipt has \
                           been rolled back";
    with_recoverer("two_phase_presumed", Recoverer::Presumes)
        .source("the twin of two_phase whose recoverer rolls back what is undecided, and does not say so")
        .twin_of("two_phase")
        .expect(Some(Class::Interrupt), [Fine, Lost], NOT_YET)
        .expect(Some(Class::Network), [Fine, Lost], NOT_YET)
        .expect(Some(Class::Failover), [Fine, Phantom], TAKEN_BACK)
}

fn with_recoverer(name: &str, recoverer: Recoverer) -> Scenario {
    shop(name)
        .daemon("recoverer", async move |env: Env| {
            let shop = env.connect().await?;
            let ledger = env.connect_to("ledger").await?;
            loop {
                recover(&shop, &ledger, recoverer).await?;
                tokio::time::sleep(POLL).await;
            }
        })
        .scales()
}

fn shop(name: &str) -> Scenario {
    Scenario::new(name)
        .schema(SHOP)
        .server("ledger", LEDGER)
        .jobs(1..=2)
        .redeliver(UntilOk)
        .worker("shop", pay)
        .owes("receipt", "select id from invoice where paid", Times::Once)
        .applied_in("ledger", "receipt", "select invoice from receipt")
        // Longer than the recoverer waits.
        .stalls([Duration::from_millis(400)])
        .delays([Duration::from_millis(400)])
        .grace(Duration::from_millis(30))
        .settle(Duration::from_millis(800), Duration::from_secs(10))
}

/// Marks an invoice paid, and has its receipt written: both or neither.
async fn pay(env: Env) -> Result<(), Box<dyn Error>> {
    let mut shop = env.connect().await?;
    let ledger = env.connect_to("ledger").await?;
    let invoice: i32 = env.job().parse()?;
    let tx = shop.transaction().await?;
    let attempt: i64 = tx.query_one(ATTEMPT, &[]).await?.get(0);
    let gid = format!("receipt-{invoice}-{attempt}");
    prepare(&ledger, invoice, &gid).await?;
    let paid = tx.execute(PAY, &[&invoice]).await?;
    let decided = tx.execute(DECIDE, &[&gid, &true]).await?;
    if paid == 1 && decided == 1 && !env.rolls_back() {
        tx.commit().await?;
        return finish(&ledger, &gid, true).await;
    }
    tx.rollback().await?;
    finish(&ledger, &gid, false).await?;
    match decided {
        // Paid by an earlier attempt, or not to be paid.
        1 => Ok(()),
        _ => Err("the recoverer has come first".into()),
    }
}

async fn prepare(ledger: &Client, invoice: i32, gid: &str) -> Result<(), tokio_postgres::Error> {
    ledger.batch_execute("begin").await?;
    ledger.execute(WRITE_RECEIPT, &[&invoice]).await?;
    ledger
        .batch_execute(&format!("prepare transaction '{gid}'"))
        .await
}

/// Commits or rolls back what is prepared, unless that has been done.
async fn finish(ledger: &Client, gid: &str, committed: bool) -> Result<(), Box<dyn Error>> {
    let verb = if committed { "commit" } else { "rollback" };
    let finished = ledger
        .batch_execute(&format!("{verb} prepared '{gid}'"))
        .await;
    match finished {
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_OBJECT) => Ok(()),
        other => Ok(other?),
    }
}

/// Finishes what has been left behind.
async fn recover(
    shop: &Client,
    ledger: &Client,
    recoverer: Recoverer,
) -> Result<(), Box<dyn Error>> {
    for row in ledger.query_typed(LEFT_BEHIND, &[]).await? {
        let gid: String = row.get(0);
        if let Recoverer::Decides = recoverer {
            shop.execute(DECIDE, &[&gid, &false]).await?;
        }
        let decided = shop.query_opt(DECIDED, &[&gid]).await?;
        let committed = decided.is_some_and(|row| row.get(0));
        finish(ledger, &gid, committed).await?;
    }
    Ok(())
}
