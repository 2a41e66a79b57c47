//! sqlx: the extended protocol, binary, prepared statements, a listener of its own.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions};
use sqlx::types::chrono::{DateTime, Utc};
use sqlx::{Connection, Executor};

type Job = (i64, Value, i32);

const DEQUEUE: &str = "select id, payload, attempts from jobs_sqlx where state = 'queued' \
     order by id limit 1 for update skip locked";

async fn queued(connection: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from jobs_sqlx where state = $1")
        .bind("queued")
        .fetch_one(connection)
        .await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = std::env::var("PGHOST").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let options = PgConnectOptions::new_without_pgpass()
        .host(&host)
        .port(std::env::var("PGPORT")?.parse()?)
        .username("postgres")
        .database("postgres");
    let mut a = PgConnection::connect_with(&options).await?;
    let mut b = PgConnection::connect_with(&options).await?;

    a.execute(
        "create table jobs_sqlx (
            id bigserial primary key,
            payload jsonb not null,
            state text not null default 'queued',
            attempts int not null default 0,
            created_at timestamptz not null default now()
        )",
    )
    .await?;

    let mut tx = a.begin().await?;
    for n in [1, 2] {
        let (_, created): (i64, DateTime<Utc>) =
            sqlx::query_as("insert into jobs_sqlx (payload) values ($1) returning id, created_at")
                .bind(json!({ "n": n }))
                .fetch_one(&mut *tx)
                .await?;
        assert!((Utc::now() - created).num_seconds().abs() < 60);
    }
    assert_eq!(queued(&mut b).await?, 0, "queued before the commit");
    tx.commit().await?;
    assert_eq!(queued(&mut b).await?, 2, "queued after the commit");

    let mut one = a.begin().await?;
    let mut two = b.begin().await?;
    let first: Job = sqlx::query_as(DEQUEUE).fetch_one(&mut *one).await?;
    let second: Job = sqlx::query_as(DEQUEUE).fetch_one(&mut *two).await?;
    assert_eq!(first, (1, json!({ "n": 1 }), 0));
    assert_eq!(second, (2, json!({ "n": 2 }), 0));
    sqlx::query("update jobs_sqlx set state = 'done' where id = $1")
        .bind(first.0)
        .execute(&mut *one)
        .await?;
    one.commit().await?;

    // The second one fails: its lock goes with the rollback, and the attempt is counted.
    let failed = sqlx::query("select 1 / $1")
        .bind(0)
        .execute(&mut *two)
        .await;
    let failed = failed.expect_err("a division by zero");
    let code = failed.as_database_error().and_then(|error| error.code());
    assert_eq!(code.as_deref(), Some("22012"));
    two.rollback().await?;
    sqlx::query("update jobs_sqlx set attempts = attempts + 1 where id = $1")
        .bind(second.0)
        .execute(&mut b)
        .await?;
    let mut one = a.begin().await?;
    let again: Job = sqlx::query_as(DEQUEUE).fetch_one(&mut *one).await?;
    assert_eq!(again, (2, json!({ "n": 2 }), 1));
    sqlx::query("update jobs_sqlx set state = 'done' where id = any($1)")
        .bind(vec![again.0])
        .execute(&mut *one)
        .await?;
    one.commit().await?;

    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen("jobs_sqlx").await?;
    let mut tx = a.begin().await?;
    sqlx::query("select pg_notify($1, $2)")
        .bind("jobs_sqlx")
        .bind("hello")
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    let heard = tokio::time::timeout(Duration::from_secs(10), listener.recv()).await??;
    assert_eq!((heard.channel(), heard.payload()), ("jobs_sqlx", "hello"));

    a.execute("select pg_advisory_lock(42)").await?;
    let got: bool = sqlx::query_scalar("select pg_try_advisory_lock(42)")
        .fetch_one(&mut b)
        .await?;
    assert!(!got, "the lock is taken");
    {
        let waiting = b.execute("select pg_advisory_lock(42)");
        tokio::pin!(waiting);
        let early = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
        assert!(early.is_err(), "the lock while it is held");
        a.execute("select pg_advisory_unlock(42)").await?;
        tokio::time::timeout(Duration::from_secs(10), waiting).await??;
    }

    let left: Vec<(i64, String, i32)> =
        sqlx::query_as("select id, state, attempts from jobs_sqlx order by id")
            .fetch_all(&mut a)
            .await?;
    assert_eq!(left, [(1, "done".to_owned(), 0), (2, "done".to_owned(), 1)]);
    Ok(())
}
