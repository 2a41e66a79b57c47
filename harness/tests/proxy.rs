//! `midcommit proxy` as a stock client meets it, in front of the simulated server.

use midcommit::proxy::{self, Proxy};
use midcommit::serve::{self, Server};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// Runs a test against a proxy with a server behind it.
fn with_proxy(test: impl AsyncFn(Connect)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let server = Server::start(&serve::Options::default()).await.unwrap();
        let options = proxy::Options {
            to: server.address().to_string(),
            ..proxy::Options::default()
        };
        let proxy = Proxy::start(&options).await.unwrap();
        let ports = (proxy.address().port(), server.address().port());
        let tell = |said: &str| println!("{said}");
        tokio::task::spawn_local(server.run(std::future::pending(), tell));
        tokio::task::spawn_local(proxy.run(std::future::pending(), tell));
        test(Connect { ports }).await;
    });
}

struct Connect {
    ports: (u16, u16),
}

impl Connect {
    async fn to(&self, port: u16) -> Client {
        let mut config = Config::new();
        config.host("127.0.0.1").port(port).user("postgres");
        config.dbname("postgres").application_name("worker");
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::task::spawn_local(async { drop(connection.await) });
        client
    }

    async fn through(&self) -> Client {
        self.to(self.ports.0).await
    }

    /// Past the proxy.
    async fn directly(&self) -> Client {
        self.to(self.ports.1).await
    }
}

const TABLE: &str = "create table t (id int primary key)";

async fn text(client: &Client, sql: &str) -> String {
    let messages = client.simple_query(sql).await.unwrap();
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
        _ => None,
    });
    rows.collect::<Vec<_>>().join(" ")
}

#[test]
fn what_is_not_ours_passes_unchanged() {
    with_proxy(async |connect| {
        let mut client = connect.through().await;
        client.batch_execute(TABLE).await.unwrap();
        let insert = client.prepare("insert into t values ($1)").await.unwrap();
        let transaction = client.transaction().await.unwrap();
        for id in 1..=3 {
            assert_eq!(transaction.execute(&insert, &[&id]).await.unwrap(), 1);
        }
        transaction.commit().await.unwrap();
        let failed = client.execute(&insert, &[&1]).await.unwrap_err();
        assert_eq!(failed.code().map(|code| code.code()), Some("23505"));
        // A pipeline, and a row longer than any buffer.
        let long = "x".repeat(3_000_000);
        let long_one: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&long];
        let (one, two) = tokio::join!(
            client.query_one("select $1::text", &long_one),
            client.query_one("select count(*) from t", &[]),
        );
        assert_eq!(one.unwrap().get::<_, String>(0), long);
        assert_eq!(two.unwrap().get::<_, i64>(0), 3);
        let commits = "select outcome || (xid is null)::text from midcommit.commits";
        let seen = "committedtrue committedfalse abortedtrue";
        assert_eq!(text(&client, commits).await, seen);
    });
}

#[test]
fn what_is_ours_is_answered_in_both_protocols_and_tells_the_state_of_the_transaction() {
    with_proxy(async |connect| {
        let mut client = connect.through().await;
        let transaction = client.transaction().await.unwrap();
        let arm = "select midcommit.arm($1, times => $2)";
        let row = transaction
            .query_one(arm, &[&"commit flushed: rst", &2i64])
            .await;
        assert_eq!(row.unwrap().get::<_, i64>(0), 1);
        let error = transaction
            .query_one(arm, &[&"commit inserted: rst", &2i64])
            .await;
        let error = error.unwrap_err();
        assert!(
            error
                .as_db_error()
                .unwrap()
                .message()
                .contains("a proxy cannot see `inserted`")
        );
        // What we say no to fails nothing on the server; the block there is read-only, so its
        // COMMIT is none that a fault could strike.
        transaction.query_one("select 1", &[]).await.unwrap();
        transaction.commit().await.unwrap();
        let faults = "select fault || times_left from midcommit.faults";
        assert_eq!(text(&client, faults).await, "commit flushed: rst2");
    });
}

#[test]
fn the_client_is_reset_and_the_commit_stands() {
    with_proxy(async |connect| {
        let (ours, worker) = (connect.through().await, connect.through().await);
        ours.batch_execute(TABLE).await.unwrap();
        text(
            &ours,
            "select midcommit.reset(), midcommit.arm('commit flushed: rst')",
        )
        .await;
        let error = worker
            .batch_execute("begin; insert into t values (1); commit")
            .await
            .unwrap_err();
        assert!(
            error.as_db_error().is_none() && worker.is_closed(),
            "{error}"
        );
        assert_eq!(text(&ours, "select count(*) from t").await, "1");
        let commits = "select outcome || ' ' || application_name || ' ' || acknowledged::text \
                       from midcommit.commits";
        assert_eq!(text(&ours, commits).await, "committed worker false");
        assert_eq!(text(&ours, "select midcommit.assert_fired()").await, "1");
    });
}

#[test]
fn a_commit_can_be_held_dropped_or_cut_on_either_side() {
    with_proxy(async |connect| {
        let (ours, server) = (connect.through().await, connect.directly().await);
        ours.batch_execute(TABLE).await.unwrap();
        for (fault, code, kept) in [
            ("received: rst", None, false),
            ("received: sqlstate 40001", Some("40001"), false),
            ("received: terminate", Some("57P01"), false),
            ("request+7: fin", None, false),
            ("flushed: fin", None, true),
            ("reply+0: rst", None, true),
            ("reply+9: fin", None, true),
        ] {
            let arm = format!("select midcommit.reset(), midcommit.arm('commit {fault}')");
            text(&ours, &arm).await;
            let worker = connect.through().await;
            worker
                .batch_execute("begin; insert into t values (1)")
                .await
                .unwrap();
            let failed = worker.batch_execute("commit").await.unwrap_err();
            assert_eq!(failed.code().map(|code| code.code()), code, "{fault}");
            assert_eq!(
                text(&ours, "select midcommit.assert_fired()").await,
                "1",
                "{fault}"
            );
            let outcome = text(&ours, "select outcome from midcommit.commits").await;
            assert_eq!(
                outcome,
                if kept { "committed" } else { "aborted" },
                "{fault}"
            );
            let kept_rows = text(&server, "delete from t returning id").await;
            assert_eq!(kept_rows == "1", kept, "{fault}");
        }
    });
}

#[test]
fn a_pause_is_waited_for_and_ended_from_another_connection() {
    with_proxy(async |connect| {
        let (ours, worker) = (connect.through().await, connect.through().await);
        ours.batch_execute(TABLE).await.unwrap();
        for (point, visible) in [("received", "0"), ("flushed", "1")] {
            let arm = format!("select midcommit.arm('commit {point}: pause')");
            text(&ours, &arm).await;
            let committing = worker.batch_execute("insert into t values (1)");
            let watching = async {
                let wait = format!("select midcommit.wait('{point}', timeout => '60s')");
                text(&ours, &wait).await;
                assert_eq!(
                    text(&ours, "select count(*) from t").await,
                    visible,
                    "{point}"
                );
                assert_eq!(text(&ours, "select midcommit.resume()").await, "1");
            };
            let (committed, ()) = tokio::join!(committing, watching);
            committed.unwrap();
            worker.batch_execute("delete from t").await.unwrap();
        }
    });
}

#[test]
fn whoever_waits_can_be_cancelled() {
    with_proxy(async |connect| {
        let (ours, theirs) = (connect.through().await, connect.through().await);
        text(&ours, "select midcommit.arm('commit flushed: pause')").await;
        for sql in ["select midcommit.wait('flushed')", "select pg_sleep(60)"] {
            let token = theirs.cancel_token();
            let waiting = theirs.batch_execute(sql);
            tokio::pin!(waiting);
            let error = loop {
                tokio::select! {
                    ended = &mut waiting => break ended.unwrap_err(),
                    // It may not have begun when the first request comes.
                    () = tokio::time::sleep(std::time::Duration::from_millis(5)) => {
                        token.cancel_query(NoTls).await.unwrap();
                    }
                }
            };
            assert_eq!(error.code().map(|code| code.code()), Some("57014"), "{sql}");
        }
    });
}

#[test]
fn without_a_server_the_client_is_told() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        // Nobody listens where a listener has just gone.
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = gone.local_addr().unwrap().to_string();
        drop(gone);
        let options = proxy::Options {
            to: to.clone(),
            ..proxy::Options::default()
        };
        let proxy = Proxy::start(&options).await.unwrap();
        let mut config = Config::new();
        config
            .host("127.0.0.1")
            .port(proxy.address().port())
            .user("postgres");
        tokio::task::spawn_local(proxy.run(std::future::pending(), |_| {}));
        let error = config.connect(NoTls).await.err().unwrap();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "08001");
        let said = format!("midcommit proxy cannot connect to {to}: Connection refused");
        assert_eq!(error.message(), said);
    });
}
