//! diesel-async: queries that are built, binary, prepared and cached; tokio-postgres underneath.

use std::future::poll_fn;
use std::time::Duration;

use diesel::prelude::*;
use diesel::result::Error;
use diesel::sql_types::{Bool, Integer, Text};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use serde_json::{Value, json};
use tokio_postgres::{AsyncMessage, NoTls};

diesel::table! {
    jobs_diesel (id) {
        id -> BigInt,
        payload -> Jsonb,
        state -> Text,
        attempts -> Integer,
        created_at -> Timestamptz,
    }
}
use self::jobs_diesel::dsl::*;

type Job = (i64, Value, i32);

#[derive(QueryableByName)]
struct Got {
    #[diesel(sql_type = Bool)]
    got: bool,
}

async fn dequeue(connection: &mut AsyncPgConnection) -> QueryResult<Job> {
    jobs_diesel
        .filter(state.eq("queued"))
        .order(id)
        .limit(1)
        .select((id, payload, attempts))
        .for_update()
        .skip_locked()
        .first(connection)
        .await
}

async fn done(connection: &mut AsyncPgConnection, job: i64) -> QueryResult<usize> {
    diesel::update(jobs_diesel.find(job))
        .set(state.eq("done"))
        .execute(connection)
        .await
}

async fn queued(connection: &mut AsyncPgConnection) -> QueryResult<i64> {
    jobs_diesel
        .filter(state.eq("queued"))
        .count()
        .get_result(connection)
        .await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = std::env::var("PGHOST").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let port = std::env::var("PGPORT")?;
    let url = format!("postgres://postgres@{host}:{port}/postgres");
    let mut a = AsyncPgConnection::establish(&url).await?;
    let mut b = AsyncPgConnection::establish(&url).await?;

    a.batch_execute(
        "create table jobs_diesel (
            id bigserial primary key,
            payload jsonb not null,
            state text not null default 'queued',
            attempts int not null default 0,
            created_at timestamptz not null default now()
        )",
    )
    .await?;

    a.transaction::<_, Error, _>(async |a| {
        for n in [1, 2] {
            let new: i64 = diesel::insert_into(jobs_diesel)
                .values(payload.eq(json!({ "n": n })))
                .returning(id)
                .get_result(a)
                .await?;
            assert_eq!(new, n);
        }
        assert_eq!(queued(&mut b).await?, 0, "queued before the commit");
        Ok(())
    })
    .await?;
    assert_eq!(queued(&mut b).await?, 2, "queued after the commit");

    a.transaction::<_, Error, _>(async |a| {
        assert_eq!(dequeue(a).await?, (1, json!({ "n": 1 }), 0));
        // The second one fails: its lock goes with the rollback, and the attempt is counted.
        let failed = b
            .transaction::<(), Error, _>(async |b| {
                assert_eq!(dequeue(b).await?, (2, json!({ "n": 2 }), 0));
                let zero = diesel::sql_query("select 1 / $1").bind::<Integer, _>(0);
                zero.execute(b).await?;
                Ok(())
            })
            .await;
        let failed = failed.expect_err("a division by zero").to_string();
        assert_eq!(failed, "division by zero");
        let second = diesel::update(jobs_diesel.find(2));
        second
            .set(attempts.eq(attempts + 1))
            .execute(&mut b)
            .await?;
        done(a, 1).await?;
        Ok(())
    })
    .await?;
    a.transaction::<_, Error, _>(async |a| {
        assert_eq!(dequeue(a).await?, (2, json!({ "n": 2 }), 1));
        done(a, 2).await?;
        Ok(())
    })
    .await?;

    // Diesel has no words for LISTEN: the driver underneath does.
    let (client, mut connection) = tokio_postgres::connect(&url, NoTls).await?;
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(said) = message
                && told
                    .send((said.channel().to_owned(), said.payload().to_owned()))
                    .is_err()
            {
                return;
            }
        }
    });
    client.batch_execute("listen jobs_diesel").await?;
    a.transaction::<_, Error, _>(async |a| {
        let notify = diesel::sql_query("select pg_notify($1, $2)");
        notify
            .bind::<Text, _>("jobs_diesel")
            .bind::<Text, _>("hello")
            .execute(a)
            .await?;
        Ok(())
    })
    .await?;
    let said = tokio::time::timeout(Duration::from_secs(10), heard.recv()).await?;
    assert_eq!(said, Some(("jobs_diesel".to_owned(), "hello".to_owned())));

    let lock = "select pg_advisory_lock(42)";
    diesel::sql_query(lock).execute(&mut a).await?;
    let tried: Got = diesel::sql_query("select pg_try_advisory_lock(42) as got")
        .get_result(&mut b)
        .await?;
    assert!(!tried.got, "the lock is taken");
    {
        let waiting = diesel::sql_query(lock).execute(&mut b);
        tokio::pin!(waiting);
        let early = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
        assert!(early.is_err(), "the lock while it is held");
        diesel::sql_query("select pg_advisory_unlock(42)")
            .execute(&mut a)
            .await?;
        tokio::time::timeout(Duration::from_secs(10), waiting).await??;
    }

    let left: Vec<(i64, String, i32)> = jobs_diesel
        .order(id)
        .select((id, state, attempts))
        .load(&mut a)
        .await?;
    assert_eq!(left, [(1, "done".to_owned(), 0), (2, "done".to_owned(), 1)]);
    Ok(())
}
