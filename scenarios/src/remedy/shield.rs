//! Shielding: the payment and its callback run in a task that the caller's end does not end.
//!
//! A future that is dropped does nothing more. What a request has begun is therefore handed to a
//! task of its own, whose handle the request awaits and nobody aborts: a caller who hangs up,
//! runs into a time-out or panics leaves it running. All of it must be in there: COMMIT and what
//! follows it.

use std::error::Error;
use std::time::Duration;

use midcommit::oracle::Verdict::{Lost, Ok as Fine, Phantom};
use midcommit::plan::Class;
use midcommit::{Env, Scenario, Times};

const SCHEMA: &str = "
    create table invoice (id int primary key, paid bool not null default false);
    insert into invoice (id) values (1), (2);
";

const PAY: &str = "update invoice set paid = true where id = $1 and not paid";

/// What a task may fail with.
type Failure = Box<dyn Error + Send + Sync>;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![shield(), shield_commit_only(), shield_callback_only()]
}

/// The remedy.
fn shield() -> Scenario {
    const NOT_THE_CALLER: &str = "the shield's own task, or the driver's, is struck, and no caller's: nobody aborts \
                                  them, but a panic or the end of the runtime ends them all the same";
    let scenario = shop("shield", async |env: Env| {
        let shielded = env.clone();
        let both = env.spawn("shield", async move {
            if pay(&shielded).await? {
                send(&shielded).await?;
            }
            Ok(())
        });
        both.await?
    })
    .source("remedies: COMMIT and its callbacks shielded from cancellation, in a task of their own")
    .about(
        "The request hands payment and callback to a task of its own, and awaits it. **Holds** for whatever ends the \
         request: a caller who hangs up, a time-out, a panic in the handler; and for a deploy whose grace period is \
         longer than the task. **Remains lost** whatever ends the task or hides COMMIT's answer from it: SIGKILL, the \
         driver's task, a connection lost in COMMIT, a crash of the server, a broker that is down. A process that \
         returns from `main` drops its tasks: await them first. After a fail-over that loses the commit, the effect is out.",
    );
    unshielded(scenario).expect(Some(Class::Interrupt), [Fine, Lost], NOT_THE_CALLER)
}

/// Its twin, whose callback is the caller's again.
fn shield_commit_only() -> Scenario {
    const CALLERS_CALLBACK: &str = "the shield commits whatever becomes of the caller, and then the caller is not there to send";
    let scenario = shop("shield_commit_only", async |env: Env| {
        let shielded = env.clone();
        let paying = env.spawn("shield", async move { pay(&shielded).await });
        if paying.await?? {
            send(&env).await?;
        }
        Ok(())
    })
    .source("the twin of shield that shields COMMIT, and leaves the callback to the caller")
    .twin_of("shield");
    unshielded(scenario).expect(Some(Class::Interrupt), [Fine, Lost], CALLERS_CALLBACK)
}

/// Its twin, whose COMMIT is the caller's.
fn shield_callback_only() -> Scenario {
    const CALLERS_COMMIT: &str =
        "dropped while it waits for COMMIT, the caller never comes to start the shield";
    let scenario = shop("shield_callback_only", async |env: Env| {
        if pay(&env).await? {
            let shielded = env.clone();
            let sending = env.spawn("shield", async move { send(&shielded).await });
            sending.await??;
        }
        Ok(())
    })
    .source("the twin of shield that shields the callback, and not the COMMIT before it")
    .twin_of("shield");
    unshielded(scenario).expect(Some(Class::Interrupt), [Fine, Lost], CALLERS_COMMIT)
}

/// What no shield keeps off.
fn unshielded(scenario: Scenario) -> Scenario {
    const WINDOW: &str = "a process, a connection, a server or a broker that ends between COMMIT and the callback \
                          takes the callback with it";
    let lossy = [Class::Kill, Class::Network, Class::Server, Class::Broker];
    let scenario = lossy.into_iter().fold(scenario, |scenario, class| {
        scenario.expect(Some(class), [Fine, Lost], WINDOW)
    });
    scenario.expect(
        Some(Class::Failover),
        [Fine, Phantom],
        "the effect is out when the commit it belongs to disappears",
    )
}

fn shop<W>(name: &str, work: W) -> Scenario
where
    W: AsyncFn(Env) -> Result<(), Failure> + Send + Sync + 'static,
{
    Scenario::new(name)
        .schema(SCHEMA)
        .jobs(1..=2)
        // Longer than payment and callback take.
        .grace(Duration::from_millis(300))
        .worker("worker", async move |env: Env| {
            let worked = work(env).await;
            worked.map_err(|failure| -> Box<dyn Error> { failure })
        })
        .owes("receipt", "select id from invoice where paid", Times::Once)
}

/// Marks an invoice paid: whether that was committed.
async fn pay(env: &Env) -> Result<bool, Failure> {
    let mut client = env.connect().await?;
    let id: i32 = env.job().parse()?;
    let tx = client.transaction().await?;
    tx.execute(PAY, &[&id]).await?;
    if env.rolls_back() {
        tx.rollback().await?;
        return Ok(false);
    }
    tx.commit().await?;
    Ok(true)
}

/// The callback.
async fn send(env: &Env) -> Result<(), Failure> {
    Ok(env.effect("receipt", env.job()).await?)
}
