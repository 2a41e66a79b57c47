//! In doubt: a COMMIT whose answer is lost is asked for, on a new connection.
//!
//! The worker waits for COMMIT only so long, and takes every error of it for "perhaps". By xid:
//! it has noted the transaction's id before, and asks the server what became of it. By token: its
//! transaction has written a row under a name of its own, and it tries to write the same row. The
//! key makes that wait for a transaction which is still on its way. Whose row it is then decides:
//! the worker's own takes the place of a transaction that is gone, so that it cannot come back.
//!
//! Whoever asks must be alive. An invoice found paid is taken for done.

use std::time::Duration;

use midcommit::oracle::Verdict::{Duplicated, Early, Lost, Ok as Fine, Phantom};
use midcommit::plan::Class;
use midcommit::{Env, Redeliver::UntilOk, Scenario, Times, WorkerResult};
use tokio::time::{sleep, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Transaction};

const SCHEMA: &str = "
    create table invoice (id int primary key, pages int not null, paid bool not null default false);
    create table token (name text primary key, committed bool not null);
    create sequence attempt;
    insert into invoice (id, pages) values (1, 0), (2, 3);
";

/// Nothing if it is paid.
const LOOK: &str = "select pages from invoice where id = $1 and not paid for update";
const PAY: &str = "update invoice set paid = true where id = $1";

const XID: &str = "select pg_current_xact_id()::text";
const STATUS: &str = "select pg_xact_status($1::text::xid8)";

const NUMBER: &str = "select nextval('attempt')::text";
const WRITE_TOKEN: &str = "insert into token (name, committed) values ($1, true)";
/// Waits for a transaction that has written it and is still on its way.
const TAKE_TOKEN: &str =
    "insert into token (name, committed) values ($1, false) on conflict do nothing";
const LOOK_FOR_TOKEN: &str = "select committed from token where name = $1";

/// How long a worker waits for a COMMIT.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long it waits before it connects again, and before it asks again.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a page takes to render, within the transaction.
const PAGE: Duration = Duration::from_millis(20);

/// How a worker finds out what became of its COMMIT.
#[derive(Clone, Copy)]
enum Resolver {
    /// It asks for the transaction's status until that is final.
    Xid,
    /// It takes "in progress" for "not committed".
    XidAtOnce,
    /// It tries to write the row that its transaction has written, and reads who did.
    Token,
    /// It takes the row for its transaction's if it cannot write it.
    TokenUnsigned,
    /// It looks whether the row is there.
    TokenAtOnce,
    /// It does as `Token`; the row was written before the transaction began.
    TokenApart,
    /// It does as `Token`; the server has numbered the attempt.
    TokenNumbered,
}

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        xid_resolver(),
        xid_resolver_at_once(),
        token_resolver(),
        token_resolver_at_once(),
        token_resolver_apart(),
        token_resolver_numbered(),
        token_resolver_unsigned(),
    ]
}

/// By the number the server has given the transaction.
fn xid_resolver() -> Scenario {
    let scenario = shop("xid_resolver", Resolver::Xid)
        .source("remedies: in-doubt resolution by xid, pg_current_xact_id() before COMMIT and pg_xact_status() after (model 9)")
        .about(
            "Before COMMIT the worker notes the transaction's xid; if COMMIT is not answered, it connects again and asks \
             for the status of that xid until it is final. **Holds** under every single fault of the network, as long as \
             the worker lives: the callback runs if and only if the transaction was committed. **Remains lost** what a \
             worker that was killed or dropped had in doubt: nobody else asks, and the next run finds the invoice paid; \
             and what a broker that is down refuses. **Wrong** after a crash of the server: the xid of a transaction that \
             left nothing in the WAL is given to another one, and its status is that one's. After a fail-over that loses \
             an answered commit, the effect is out.",
        );
    unresolved(scenario).expect(Some(Class::Server), [Fine, Phantom], NUMBERED_AGAIN)
}

/// Its twin, which asks once.
fn xid_resolver_at_once() -> Scenario {
    let scenario = shop("xid_resolver_at_once", Resolver::XidAtOnce)
        .source("the twin of xid_resolver that takes \"in progress\" for \"not committed\"")
        .twin_of("xid_resolver");
    unresolved(scenario)
        .expect(Some(Class::Network), [Fine, Lost], ON_ITS_WAY)
        .expect_several([Phantom], NUMBERED_AGAIN)
}

/// By a row that only the transaction could have written.
fn token_resolver() -> Scenario {
    let scenario = shop("token_resolver", Resolver::Token)
        .source("remedies: in-doubt resolution by a token row of the transaction (model 9)")
        .about(
            "The transaction writes a row under a name that its client has made up; if COMMIT is not answered, the worker \
             connects again, tries to write that row itself, and reads who has. The key makes it wait for a transaction \
             on its way; if the row is the transaction's, that was committed; if it is the worker's, it never will be, and \
             asking again gives the same answer. **Holds** \
             under every single fault of the network and of the server, as long as the worker lives. **Remains lost** what \
             a worker that was killed or dropped had in doubt: nobody else asks, and the next run finds the invoice paid; \
             and what a broker that is down refuses: what must outlive its worker is an outbox. After a fail-over that \
             loses an answered commit, the effect is out. Tokens want to be swept: after the longest time that a \
             transaction can be on its way.",
        );
    unresolved(scenario)
}

/// Its twin, which looks for the row instead of taking its place.
fn token_resolver_at_once() -> Scenario {
    let scenario = shop("token_resolver_at_once", Resolver::TokenAtOnce)
        .source("the twin of token_resolver that selects the row: what is not there yet counts as never there")
        .twin_of("token_resolver");
    unresolved(scenario).expect(Some(Class::Network), [Fine, Lost], ON_ITS_WAY)
}

/// Its twin, whose token says nothing about the transaction.
fn token_resolver_apart() -> Scenario {
    const ALWAYS_THERE: &str = "the token is there whatever became of the transaction, so that it was never committed, \
                                or not yet, when its effect is made";
    let scenario = shop("token_resolver_apart", Resolver::TokenApart)
        .source("the twin of token_resolver that writes its token outside the transaction, before it")
        .twin_of("token_resolver")
        .expect(
            Some(Class::Interrupt),
            [Fine, Early, Phantom, Lost],
            "cancelled, a worker asks nobody; if only its connection ends or is late, it takes its token for the commit",
        )
        .expect(Some(Class::Network), [Fine, Early, Phantom], ALWAYS_THERE)
        .expect(Some(Class::Server), [Fine, Phantom], ALWAYS_THERE)
        .expect_several([Duplicated], SENT_ANYWAY);
    unresolved(scenario)
}

/// Its twin, whose token is as much the server's as an xid.
fn token_resolver_numbered() -> Scenario {
    let scenario = shop("token_resolver_numbered", Resolver::TokenNumbered)
        .source("the twin of token_resolver whose token is a number that a sequence gave the transaction")
        .twin_of("token_resolver");
    unresolved(scenario)
        .expect(Some(Class::Server), [Fine, Phantom], NUMBERED_AGAIN)
        .expect_several([Duplicated], SENT_ANYWAY)
}

/// Its twin, which does not tell its own row from its transaction's.
fn token_resolver_unsigned() -> Scenario {
    let scenario = shop("token_resolver_unsigned", Resolver::TokenUnsigned)
        .source("the twin of token_resolver whose row does not say who has written it")
        .twin_of("token_resolver")
        .expect_several(
            [Phantom],
            "in doubt about its own row as well, the worker asks again, finds that row, and takes it for its \
             transaction's",
        );
    unresolved(scenario)
}

const NUMBERED_AGAIN: &str = "the crash has taken a transaction back that left nothing in the WAL; its number goes to \
                              another one, whose commit is taken for its own";

const SENT_ANYWAY: &str = "the effect of a commit that never was is out, and its worker does not end ok: the next run \
                           commits, and sends another";

const ON_ITS_WAY: &str = "COMMIT was late, not lost: called off as not committed, it commits, and the next run finds the invoice paid";

/// What is lost however the worker asks. What a scenario has said before stands.
fn unresolved(scenario: Scenario) -> Scenario {
    const NOBODY_ASKS: &str = "who had the COMMIT in doubt is gone, or the broker refuses: the next run finds the invoice \
                               paid, and takes it for done";
    let lossy = [Class::Interrupt, Class::Kill, Class::Deploy, Class::Broker];
    let scenario = lossy.into_iter().fold(scenario, |scenario, class| {
        scenario.expect(Some(class), [Fine, Lost], NOBODY_ASKS)
    });
    scenario.expect(
        Some(Class::Failover),
        [Fine, Phantom],
        "COMMIT was answered and the effect is out when the commit disappears",
    )
}

fn shop(name: &str, resolver: Resolver) -> Scenario {
    Scenario::new(name)
        .schema(SCHEMA)
        .jobs(1..=2)
        .redeliver(UntilOk)
        // Who finds its attempt gone leaves a token behind: a commit of its own.
        .repeatable()
        .worker("worker", async move |env: Env| work(&env, resolver).await)
        .replicas(2)
        .owes("receipt", "select id from invoice where paid", Times::Once)
        // Longer than a worker waits for COMMIT.
        .stalls([Duration::from_millis(400)])
        .delays([Duration::from_millis(400)])
        .grace(Duration::from_millis(30))
        .settle(Duration::from_millis(500), Duration::from_secs(10))
}

/// Pays an invoice, and sends its receipt once it is known to be paid.
async fn work(env: &Env, resolver: Resolver) -> WorkerResult {
    let mut client = env.connect().await?;
    let id: i32 = env.job().parse()?;
    // The client names its attempt.
    let token = format!("{id}-{}", env.now().as_nanos());
    if let Resolver::TokenApart = resolver {
        client
            .execute_typed(WRITE_TOKEN, &[(&token, Type::TEXT)])
            .await?;
    }
    let tx = client.transaction().await?;
    let attempt = identify(&tx, resolver, token).await?;
    let Some(unpaid) = tx.query_typed_opt(LOOK, &[(&id, Type::INT4)]).await? else {
        // Paid by an earlier run, whose business the receipt was.
        return Ok(tx.rollback().await?);
    };
    render(unpaid.get(0)).await;
    tx.execute_typed(PAY, &[(&id, Type::INT4)]).await?;
    if env.rolls_back() {
        return Ok(tx.rollback().await?);
    }
    if let Err(doubt) = commit(tx).await {
        drop(client);
        if !has_committed(env, resolver, &attempt).await {
            return Err(doubt);
        }
    }
    env.effect("receipt", env.job()).await?;
    Ok(())
}

async fn render(pages: i32) {
    sleep(PAGE * pages.unsigned_abs()).await;
}

/// By what the transaction can be asked for afterwards.
async fn identify(
    tx: &Transaction<'_>,
    resolver: Resolver,
    token: String,
) -> Result<String, tokio_postgres::Error> {
    let token = match resolver {
        Resolver::Xid | Resolver::XidAtOnce => {
            return Ok(tx.query_typed_one(XID, &[]).await?.get(0));
        }
        Resolver::TokenApart => return Ok(token),
        Resolver::TokenNumbered => tx.query_typed_one(NUMBER, &[]).await?.get(0),
        Resolver::Token | Resolver::TokenUnsigned | Resolver::TokenAtOnce => token,
    };
    tx.execute_typed(WRITE_TOKEN, &[(&token, Type::TEXT)])
        .await?;
    Ok(token)
}

/// Commits. An error says only that nobody has heard of the COMMIT's success.
async fn commit(tx: Transaction<'_>) -> WorkerResult {
    Ok(timeout(PATIENCE, tx.commit()).await??)
}

/// Asks until there is an answer.
async fn has_committed(env: &Env, resolver: Resolver, name: &str) -> bool {
    loop {
        sleep(PAUSE).await;
        let Ok(client) = env.connect().await else {
            continue;
        };
        let answer = match resolver {
            Resolver::Xid | Resolver::XidAtOnce => ask_status(&client, resolver, name).await,
            Resolver::Token | Resolver::TokenApart | Resolver::TokenNumbered => {
                ask_by_token(&client, name).await
            }
            Resolver::TokenUnsigned => ask_unsigned(&client, name).await,
            Resolver::TokenAtOnce => look_for_token(&client, name).await,
        };
        if let Ok(Some(committed)) = answer {
            return committed;
        }
    }
}

/// What the server knows of a transaction; nothing as long as it is in progress.
async fn ask_status(
    client: &Client,
    resolver: Resolver,
    xid: &str,
) -> Result<Option<bool>, tokio_postgres::Error> {
    let status: Option<String> = match client.query_typed_one(STATUS, &[(&xid, Type::TEXT)]).await {
        Ok(row) => row.get(0),
        // After a crash the server may not have come that far yet: it has lost the transaction.
        Err(error) if error.code() == Some(&SqlState::INVALID_PARAMETER_VALUE) => {
            return Ok(Some(false));
        }
        Err(error) => return Err(error),
    };
    Ok(match (status.as_deref(), resolver) {
        (Some("in progress"), Resolver::Xid) => None,
        (status, _) => Some(status == Some("committed")),
    })
}

/// Writes the row unless it is there, and reads who has written it. Asked again, it answers the same.
async fn ask_by_token(client: &Client, token: &str) -> Result<Option<bool>, tokio_postgres::Error> {
    take_token(client, token).await?;
    look_for_token(client, token).await
}

async fn ask_unsigned(client: &Client, token: &str) -> Result<Option<bool>, tokio_postgres::Error> {
    Ok(Some(take_token(client, token).await? == 0))
}

async fn take_token(client: &Client, token: &str) -> Result<u64, tokio_postgres::Error> {
    let name = [(&token as &(dyn ToSql + Sync), Type::TEXT)];
    client.execute_typed(TAKE_TOKEN, &name).await
}

/// Whether the transaction's row can be seen.
async fn look_for_token(
    client: &Client,
    token: &str,
) -> Result<Option<bool>, tokio_postgres::Error> {
    let name = [(&token as &(dyn ToSql + Sync), Type::TEXT)];
    let found = client.query_typed_opt(LOOK_FOR_TOKEN, &name).await?;
    Ok(Some(found.is_some_and(|row| row.get(0))))
}
