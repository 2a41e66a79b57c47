//! Callbacks after commit: what `on_commit` and `delay_on_commit` do, on stock tokio-postgres.
//!
//! The transaction first, then the effect. Handed out again until it is ok, a job repairs a lost
//! callback only if it makes the callback again; a guard that calls it done makes the loss
//! permanent.

use std::error::Error;

use midcommit::oracle::Verdict::{self, Duplicated, Lost, Ok as Fine, Phantom};
use midcommit::plan::Class;
use midcommit::{Env, Redeliver::UntilOk, Scenario, Times, WorkerResult};
use tokio_postgres::Client;

const SCHEMA: &str = "
    create table invoice (id int primary key, paid bool not null default false);
    insert into invoice (id) values (1), (2);
";

const PAY: &str = "update invoice set paid = true where id = $1 and not paid";

/// What a run does with an invoice that an earlier run has paid.
#[derive(Clone, Copy)]
enum Rerun {
    /// It sends the receipt all the same: who knows whether the earlier run came to that.
    SendsAgain,
    /// It has nothing to do: the invoice is paid.
    Skips,
}

/// What became of a payment.
enum Payment {
    Committed,
    /// By an earlier run.
    PaidBefore,
    RolledBack,
}

const WINDOW: &str =
    "the window between COMMIT and the effect: whatever ends the worker there loses the effect";

const GONE: &str = "the effect is out when the commit it belongs to disappears";

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![effect_after_commit(), after_commit_rerun(), guarded_rerun()]
}

/// Handed out once, as a request is.
fn effect_after_commit() -> Scenario {
    let scenario = shop("effect_after_commit", Rerun::SendsAgain)
        .source("remedies, row 1: callbacks after commit (on_commit, delay_on_commit), on stock tokio-postgres")
        .about(
            "The callback runs after COMMIT has returned, in the process that committed. **Holds** only this: what is \
             rolled back calls nobody, and nobody is called twice. **Remains lost** whatever is committed when the \
             worker ends, its COMMIT's answer is lost, or the broker does not take the message: no trace of the callback \
             is left anywhere, and no error says so. After a fail-over that loses the commit, the effect is out.",
        );
    expect(scenario, &LOSSY, [Fine, Lost], WINDOW).expect(
        Some(Class::Failover),
        [Fine, Phantom],
        GONE,
    )
}

/// Handed out again until it is ok, and the callback with it.
fn after_commit_rerun() -> Scenario {
    const AGAIN: &str = "run again after the effect was out: at least once is not once";
    let twice = [Class::Interrupt, Class::Kill, Class::Deploy, Class::Broker];
    let scenario = shop("after_commit_rerun", Rerun::SendsAgain)
        .redeliver(UntilOk)
        .source("remedies, row 1 with redelivery (acks_late, and a retry after an error): each run makes the callback again")
        .about(
            "The job is acknowledged after its callback, and handed out again until then; the payment changes nothing \
             a second time, and the callback is made each time. **Holds** under every single fault: no callback is \
             lost, as long as the queue keeps the job. **Remains**: callbacks made twice, whenever a run ends after its \
             callback, so the receiver must know the key; and the queue is one more thing that may forget. After a \
             fail-over that loses the commit, the effect is out.",
        );
    expect(scenario, &twice, [Fine, Duplicated], AGAIN).expect(
        Some(Class::Failover),
        [Fine, Phantom],
        GONE,
    )
}

/// Its twin, with a guard that many a task begins with.
fn guarded_rerun() -> Scenario {
    const DONE: &str = "the job is handed out again, finds the invoice paid, and leaves it at that";
    let scenario = shop("guarded_rerun", Rerun::Skips)
        .redeliver(UntilOk)
        .source(
            "the twin of after_commit_rerun that skips an invoice which is paid already (model 7)",
        )
        .twin_of("after_commit_rerun");
    expect(scenario, &LOSSY, [Fine, Lost], DONE).expect(
        Some(Class::Failover),
        [Fine, Phantom],
        GONE,
    )
}

/// The classes that may end a run between its COMMIT and its callback, or hide the COMMIT from it.
const LOSSY: [Class; 6] = [
    Class::Interrupt,
    Class::Kill,
    Class::Deploy,
    Class::Network,
    Class::Server,
    Class::Broker,
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

fn shop(name: &str, rerun: Rerun) -> Scenario {
    Scenario::new(name)
        .schema(SCHEMA)
        .jobs(1..=2)
        .worker("worker", async move |env: Env| work(&env, rerun).await)
        .owes("receipt", "select id from invoice where paid", Times::Once)
}

/// Pays, and makes the callback of what has been committed.
async fn work(env: &Env, rerun: Rerun) -> WorkerResult {
    let mut client = env.connect().await?;
    match (pay(env, &mut client).await?, rerun) {
        (Payment::RolledBack, _) | (Payment::PaidBefore, Rerun::Skips) => {}
        (Payment::Committed, _) | (Payment::PaidBefore, Rerun::SendsAgain) => {
            env.effect("receipt", env.job()).await?;
        }
    }
    Ok(())
}

/// Marks an invoice paid; a second time it changes nothing.
async fn pay(env: &Env, client: &mut Client) -> Result<Payment, Box<dyn Error>> {
    let id: i32 = env.job().parse()?;
    let tx = client.transaction().await?;
    let paid = tx.execute(PAY, &[&id]).await?;
    if env.rolls_back() {
        tx.rollback().await?;
        return Ok(Payment::RolledBack);
    }
    tx.commit().await?;
    Ok(match paid {
        1 => Payment::Committed,
        _ => Payment::PaidBefore,
    })
}
