//! Job row: what is owed is a row of the transaction that makes it owed, and workers take it up.
//!
//! A worker claims a row by a lease, does the work in one transaction with noting it done, and
//! shows there that the row is still its own: each claim has a token of its own, and
//! a worker that comes late has an old one. Rows whose lease has run out are claimed like new ones,
//! so that every worker is a reaper too.

use std::error::Error;
use std::time::Duration;

use midcommit::oracle::Verdict::{self, Duplicated, Lost, Ok as Fine};
use midcommit::plan::Class;
use midcommit::{Env, Redeliver::UntilOk, Scenario, Times};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Statement};

const SCHEMA: &str = "
    create table invoice (id int primary key, paid bool not null default false);
    create table receipt (invoice int not null);
    create table job (
        invoice int primary key,
        state text not null default 'ready',
        token int not null default 0,
        lease timestamptz
    );
    insert into invoice (id) values (1), (2);
";

const PAY: &str = "update invoice set paid = true where id = $1 and not paid";

/// The invoice is the job's key: a payment that is tried again adds no second job.
const ADD_JOB: &str = "insert into job (invoice) values ($1) on conflict do nothing";

/// Looks for a job and takes it while its row is locked.
const CLAIM: &str = "
    update job
    set state = 'running', token = token + 1, lease = now() + interval '150 milliseconds'
    where invoice = (
        select invoice from job
        where state = 'ready' or state = 'running' and lease < now()
        order by invoice
        limit 1
        for update skip locked
    )
    returning invoice, token";

/// The same by a worker that trusts its fellows to come to an end.
const CLAIM_READY: &str = "
    update job
    set state = 'running', token = token + 1, lease = now() + interval '150 milliseconds'
    where invoice = (
        select invoice from job
        where state = 'ready'
        order by invoice
        limit 1
        for update skip locked
    )
    returning invoice, token";

/// The same in two statements: what the first has seen may be over when the second comes.
const LOOK: &str = "
    select invoice from job
    where state = 'ready' or state = 'running' and lease < now()
    order by invoice
    limit 1";
const TAKE: &str = "
    update job
    set state = 'running', token = token + 1, lease = now() + interval '150 milliseconds'
    where invoice = $1
    returning invoice, token";

/// Changes nothing if somebody has claimed the job since.
const FINISH: &str = "update job set state = 'done' where invoice = $1 and token = $2";

/// The same, whoever has claimed the job since.
const FINISH_UNFENCED: &str = "update job set state = 'done' where invoice = $1";

const WRITE_RECEIPT: &str = "insert into receipt (invoice) values ($1)";

/// How often a worker without a job looks for one.
const POLL: Duration = Duration::from_millis(200);

/// How a worker comes by its job, and whether it shows that the job is still its own.
#[derive(Clone, Copy)]
struct Design {
    claim: Claim,
    fenced: bool,
}

#[derive(Clone, Copy)]
enum Claim {
    /// By one statement.
    AtOnce(&'static str),
    /// By one that looks and one that takes.
    LookThenTake,
}

/// A claimed job.
struct Job {
    invoice: i32,
    token: i32,
}

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        job_row(),
        job_row_no_reaper(),
        job_row_no_fence(),
        job_row_look_then_take(),
    ]
}

/// The remedy.
fn job_row() -> Scenario {
    let design = Design {
        claim: Claim::AtOnce(CLAIM),
        fenced: true,
    };
    workers("job_row", design)
        .source("remedies: job row in the transaction, with lease, reaper and fencing token (model 22)")
        .about(
            "The job is a row of the transaction that makes it owed. Workers claim it with a lease (`for update skip \
             locked`), do the work in one transaction with noting it done, and note that only under the token of \
             their claim. **Holds** under every single fault: a worker that ends leaves a lease that runs out, a \
             worker that comes late has an old token and changes nothing, a payment whose answer was lost is tried \
             again and finds its job there. No broker takes part, and a fail-over takes invoice, job and receipt \
             together. **Remains lost**: nothing, as long as the work is rows of the same database. What leaves it (a \
             mail, another service) is done again after a kill, whatever the token says, unless the receiver knows \
             the key.",
        )
}

/// Nobody takes up what a worker has left behind.
fn job_row_no_reaper() -> Scenario {
    const ABANDONED: &str = "whatever ends the worker, its connection or its transaction after the claim leaves a job \
                             that is running for ever";
    let design = Design {
        claim: Claim::AtOnce(CLAIM_READY),
        fenced: true,
    };
    let lossy = [
        Class::Interrupt,
        Class::Kill,
        Class::Deploy,
        Class::Network,
        Class::Server,
    ];
    let scenario = workers("job_row_no_reaper", design)
        .source("the twin of job_row whose workers claim only what nobody has claimed before")
        .twin_of("job_row");
    expect(scenario, &lossy, [Fine, Lost], ABANDONED).expect(
        Some(Class::Failover),
        [Fine, Lost],
        "the replica has the claim and not the work, and the worker has lost its connection",
    )
}

/// Whoever comes last is right.
fn job_row_no_fence() -> Scenario {
    const LATE: &str =
        "held up for longer than its lease, a worker does again what another has done meanwhile";
    let design = Design {
        claim: Claim::AtOnce(CLAIM),
        fenced: false,
    };
    let late = [Class::Interrupt, Class::Network];
    let scenario = workers("job_row_no_fence", design)
        .source("the twin of job_row whose workers note a job done whatever its token is by then (model 19)")
        .twin_of("job_row");
    expect(scenario, &late, [Fine, Duplicated], LATE)
}

/// The lease is looked at before the row is locked.
fn job_row_look_then_take() -> Scenario {
    const STALE: &str = "between the look and the lock another worker has done the job: it is taken again, under a \
                         new token";
    let design = Design {
        claim: Claim::LookThenTake,
        fenced: true,
    };
    let late = [Class::Interrupt, Class::Network];
    let scenario = workers("job_row_look_then_take", design)
        .source(
            "the twin of job_row whose workers look for a job first and lock it then (model 20)",
        )
        .twin_of("job_row")
        // It takes more exchanges: a slow network has it claim again after a lease, a poll and ten of them.
        .settle(Duration::from_millis(800), Duration::from_secs(10));
    expect(scenario, &late, [Fine, Duplicated], STALE).expect(
        None,
        [Fine, Duplicated],
        "no fault is needed: latency that differs between two workers is enough",
    )
}

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

fn workers(name: &str, design: Design) -> Scenario {
    Scenario::new(name)
        .schema(SCHEMA)
        .jobs(1..=2)
        .redeliver(UntilOk)
        // A payment that is tried again may have waited for the first: it commits, and changes nothing.
        .repeatable()
        .worker("shop", pay)
        .daemon("worker", async move |env: Env| work(&env, design).await)
        .replicas(2)
        .owes("receipt", "select id from invoice where paid", Times::Once)
        .applied_in("pg", "receipt", "select invoice from receipt")
        // Longer than a lease: others have the job by then.
        .stalls([Duration::from_millis(400)])
        .delays([Duration::from_millis(400)])
        .grace(Duration::from_millis(30))
        // Longer than a lease and a poll together.
        .settle(Duration::from_millis(400), Duration::from_secs(5))
}

/// Marks an invoice paid, and leaves a job behind.
async fn pay(env: Env) -> Result<(), Box<dyn Error>> {
    let mut client = env.connect().await?;
    let invoice: i32 = env.job().parse()?;
    let tx = client.transaction().await?;
    tx.execute_typed(PAY, &[(&invoice, Type::INT4)]).await?;
    tx.execute_typed(ADD_JOB, &[(&invoice, Type::INT4)]).await?;
    if env.rolls_back() {
        tx.rollback().await?;
    } else {
        tx.commit().await?;
    }
    Ok(())
}

/// Does one job after the other.
async fn work(env: &Env, design: Design) -> Result<(), Box<dyn Error>> {
    let mut client = env.connect().await?;
    let claiming = Claiming::prepare(&client, design.claim).await?;
    loop {
        match claiming.claim(&client).await? {
            Some(job) => write_receipt(&mut client, &job, design.fenced).await?,
            None => tokio::time::sleep(POLL).await,
        }
    }
}

/// What a worker asks again and again is prepared.
enum Claiming {
    AtOnce(Statement),
    LookThenTake(Statement, Statement),
}

impl Claiming {
    async fn prepare(client: &Client, claim: Claim) -> Result<Claiming, tokio_postgres::Error> {
        Ok(match claim {
            Claim::AtOnce(claim) => Claiming::AtOnce(client.prepare(claim).await?),
            Claim::LookThenTake => {
                let look = client.prepare(LOOK).await?;
                Claiming::LookThenTake(look, client.prepare(TAKE).await?)
            }
        })
    }

    async fn claim(&self, client: &Client) -> Result<Option<Job>, tokio_postgres::Error> {
        let claimed = match self {
            Claiming::AtOnce(claim) => client.query_opt(claim, &[]).await?,
            Claiming::LookThenTake(look, take) => match client.query_opt(look, &[]).await? {
                Some(seen) => client.query_opt(take, &[&seen.get::<_, i32>(0)]).await?,
                None => None,
            },
        };
        Ok(claimed.map(|row| Job {
            invoice: row.get(0),
            token: row.get(1),
        }))
    }
}

/// The work, and that it is done: both or neither.
async fn write_receipt(
    client: &mut Client,
    job: &Job,
    fenced: bool,
) -> Result<(), tokio_postgres::Error> {
    let tx = client.transaction().await?;
    tx.execute_typed(WRITE_RECEIPT, &[(&job.invoice, Type::INT4)])
        .await?;
    let finished = match fenced {
        true => {
            tx.execute_typed(
                FINISH,
                &[(&job.invoice, Type::INT4), (&job.token, Type::INT4)],
            )
            .await?
        }
        false => {
            tx.execute_typed(FINISH_UNFENCED, &[(&job.invoice, Type::INT4)])
                .await?
        }
    };
    if finished == 1 {
        tx.commit().await
    } else {
        tx.rollback().await
    }
}
