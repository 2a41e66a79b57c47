//! `midcommit serve` as a stock client meets it, over loopback.

use std::time::Duration;

use midcommit::serve::{Authentication, Options, Server};
use tokio_postgres::{Client, Config, NoTls, Row};

/// Runs a test against a server of its own, and stops the server after it.
fn with_server(options: Options, test: impl AsyncFn(Connect)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let server = Server::start(&options).await.unwrap();
        let port = server.address().port();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let stopped = async { drop(stopped.await) };
        let running = tokio::task::spawn_local(server.run(stopped, |said| println!("{said}")));
        test(Connect { port }).await;
        drop(stop);
        running.await.unwrap();
    });
}

struct Connect {
    port: u16,
}

impl Connect {
    async fn try_as(&self, application: &str) -> Result<Client, tokio_postgres::Error> {
        let mut config = Config::new();
        config
            .host("127.0.0.1")
            .port(self.port)
            .user("postgres")
            .application_name(application);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::task::spawn_local(async { drop(connection.await) });
        Ok(client)
    }

    async fn by(&self, application: &str) -> Client {
        self.try_as(application).await.unwrap()
    }
}

const TABLE: &str = "create table t (id int primary key)";

async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(client: &Client, sql: &str) -> T {
    let row: Row = client.query_one(sql, &[]).await.unwrap();
    row.get(0)
}

/// The SQLSTATE and the message of an error.
fn told(error: tokio_postgres::Error) -> (String, String) {
    let error = error.as_db_error().expect("the server said so");
    (error.code().code().to_owned(), error.message().to_owned())
}

#[test]
fn the_client_is_reset_and_the_commit_stands() {
    with_server(Options::default(), async |connect| {
        let (ours, worker) = (connect.by("test").await, connect.by("worker").await);
        ours.batch_execute(TABLE).await.unwrap();
        ours.batch_execute("select midcommit.reset(); select midcommit.arm('commit flushed: rst')")
            .await
            .unwrap();
        let error = worker
            .batch_execute("begin; insert into t values (1); commit")
            .await
            .unwrap_err();
        assert!(
            error.as_db_error().is_none() && worker.is_closed(),
            "{error}"
        );
        assert_eq!(one::<i64>(&ours, "select count(*) from t").await, 1);
        let commits = "select outcome || ' ' || application_name || ' ' || acknowledged::text \
                       from midcommit.commits";
        assert_eq!(
            one::<String>(&ours, commits).await,
            "committed worker false"
        );
        assert_eq!(
            one::<i64>(&ours, "select midcommit.assert_fired()").await,
            1
        );
    });
}

#[test]
fn a_commit_stays_paused_until_it_is_resumed() {
    with_server(Options::default(), async |connect| {
        let (ours, worker) = (connect.by("test").await, connect.by("worker").await);
        ours.batch_execute(TABLE).await.unwrap();
        let arm = "select midcommit.arm('commit flushed: pause', application_name => 'worker')";
        ours.query_one(arm, &[]).await.unwrap();
        // Another application's COMMIT passes.
        ours.batch_execute("insert into t values (0)")
            .await
            .unwrap();
        let committing = worker.batch_execute("insert into t values (1)");
        let watching = async {
            let paused =
                one::<i64>(&ours, "select midcommit.wait('flushed', timeout => '60s')").await;
            let row =
                "select number || paused_at from midcommit.commits where paused_at is not null";
            assert_eq!(one::<String>(&ours, row).await, format!("{paused}flushed"));
            // It is durable, and nobody sees it.
            assert_eq!(one::<i64>(&ours, "select count(*) from t").await, 1);
            assert_eq!(one::<i64>(&ours, "select midcommit.resume()").await, 1);
        };
        let (committed, ()) = tokio::join!(committing, watching);
        committed.unwrap();
        assert_eq!(one::<i64>(&ours, "select count(*) from t").await, 2);
    });
}

#[test]
fn waiting_in_vain_ends_and_says_what_was_seen() {
    with_server(Options::default(), async |connect| {
        let ours = connect.by("test").await;
        let wait = "select midcommit.wait('flushed', timeout => '10ms')";
        let told_by = async |sql: &str| told(ours.query_one(sql, &[]).await.unwrap_err());
        assert_eq!(
            told_by(wait).await,
            (
                "MC003".to_owned(),
                "no COMMIT will be paused at flushed: no such fault is armed".to_owned()
            )
        );
        ours.batch_execute("select midcommit.arm('commit flushed: pause')")
            .await
            .unwrap();
        assert_eq!(
            told_by(wait).await,
            (
                "MC001".to_owned(),
                "no COMMIT was paused at flushed within 10ms".to_owned()
            )
        );
        assert_eq!(
            told_by("select midcommit.assert_fired()").await,
            (
                "MC002".to_owned(),
                "did not fire: commit flushed: pause (fault 1)".to_owned()
            )
        );
        assert_eq!(told_by("select midcommit.arm('flushed')").await.0, "22023");
        assert_eq!(one::<i64>(&ours, "select midcommit.disarm()").await, 1);
        assert_eq!(
            one::<i64>(&ours, "select midcommit.assert_fired()").await,
            0
        );
    });
}

#[test]
fn after_a_crash_the_server_listens_on() {
    with_server(Options::default(), async |connect| {
        let (ours, worker) = (connect.by("test").await, connect.by("worker").await);
        ours.batch_execute(TABLE).await.unwrap();
        for (point, kept) in [("inserted", 0), ("flushed", 1)] {
            let arm = format!("select midcommit.arm('commit {point}: crash')");
            connect.by("test").await.batch_execute(&arm).await.unwrap();
            let worker = connect.by("worker").await;
            worker
                .batch_execute("insert into t values (1)")
                .await
                .unwrap_err();
            let ours = connect.by("test").await;
            assert_eq!(
                one::<i64>(&ours, "select count(*) from t").await,
                kept,
                "{point}"
            );
        }
        // Everybody's connection is gone.
        ours.batch_execute("select 1").await.unwrap_err();
        worker.batch_execute("select 1").await.unwrap_err();
    });
}

#[test]
fn a_commit_can_fail_be_cancelled_or_cut_at_a_byte() {
    with_server(Options::default(), async |connect| {
        let ours = connect.by("test").await;
        ours.batch_execute(TABLE).await.unwrap();
        for (fault, code, kept) in [
            ("received: sqlstate 40001", Some("40001"), false),
            ("deferred: cancel", Some("57014"), false),
            ("received: terminate", Some("57P01"), false),
            ("flushed: terminate", None, true),
            ("received: rst", None, false),
            ("deferred: rst", None, true),
            ("request+3: rst", None, false),
            ("reply+0: fin", None, true),
            ("reply+7: rst", None, true),
        ] {
            let arm = format!("select midcommit.reset(), midcommit.arm('commit {fault}')");
            ours.query_one(&arm, &[]).await.unwrap();
            let worker = connect.by("worker").await;
            worker
                .batch_execute("begin; delete from t; insert into t values (1)")
                .await
                .unwrap();
            let failed = worker.batch_execute("commit").await.err();
            let seen = failed.as_ref().and_then(|error| error.code());
            // Once interrupts are held a terminate waits, and the answer is sent.
            if fault != "flushed: terminate" {
                assert!(failed.is_some(), "{fault}");
            }
            assert_eq!(seen.map(|code| code.code()), code, "{fault}");
            assert_eq!(
                one::<i64>(&ours, "select midcommit.assert_fired()").await,
                1,
                "{fault}"
            );
            let outcome = one::<String>(&ours, "select outcome from midcommit.commits").await;
            assert_eq!(outcome == "committed", kept, "{fault}: {outcome}");
            let count = "with gone as (delete from t returning id) select count(*) from gone";
            assert_eq!(one::<i64>(&ours, count).await == 1, kept, "{fault}");
        }
    });
}

#[test]
fn a_silenced_client_hears_nothing_until_the_reset() {
    with_server(Options::default(), async |connect| {
        let (ours, worker) = (connect.by("test").await, connect.by("worker").await);
        ours.batch_execute(TABLE).await.unwrap();
        ours.batch_execute("select midcommit.arm('commit ready: silence')")
            .await
            .unwrap();
        worker
            .batch_execute("insert into t values (1)")
            .await
            .unwrap();
        let asking = worker.batch_execute("select 1");
        let healing = async {
            assert_eq!(one::<i64>(&ours, "select count(*) from t").await, 1);
            ours.batch_execute("select midcommit.reset()")
                .await
                .unwrap();
        };
        let (asked, ()) = tokio::join!(asking, healing);
        assert!(asked.unwrap_err().as_db_error().is_none());
    });
}

#[test]
fn one_client_too_many_is_told_so() {
    let options = Options {
        connections_max: 2,
        ..Options::default()
    };
    with_server(options, async |connect| {
        let first = connect.by("one").await;
        let second = connect.by("two").await;
        let error = connect.try_as("three").await.err().unwrap();
        assert_eq!(
            told(error),
            (
                "53300".to_owned(),
                "sorry, too many clients already".to_owned()
            )
        );
        drop(second);
        // The server hears of it in its own time.
        while connect.try_as("three").await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        first.batch_execute("select 1").await.unwrap();
    });
}

#[test]
fn at_the_end_every_session_is_told() {
    let (told_by, heard) = std::sync::mpsc::channel();
    with_server(Options::default(), async |connect| {
        let client = connect.by("worker").await;
        let told_by = told_by.clone();
        tokio::task::spawn_local(async move {
            let error = client
                .batch_execute("select pg_sleep(3600)")
                .await
                .unwrap_err();
            told_by.send(told(error)).unwrap();
        });
        while connect
            .by("test")
            .await
            .query("select 1", &[])
            .await
            .is_err()
        {}
    });
    let heard = heard.try_recv();
    // The server may be gone before the client's own task has run again.
    assert!(heard.is_err() || heard.unwrap().0 == "57P01");
}

#[test]
fn what_cannot_be_is_refused_with_what_could_be() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let refused = |options: Options| runtime.block_on(Server::start(&options)).err().unwrap();
    let listen = |listen: &str| Options {
        listen: listen.to_owned(),
        ..Options::default()
    };
    let taken = runtime
        .block_on(Server::start(&Options::default()))
        .unwrap();
    for (options, said) in [
        (
            listen("5432"),
            "there is no port; an address is like 127.0.0.1:5432",
        ),
        (
            listen("127.0.0.1:x"),
            "`x` is no port, which is from 0 to 65535",
        ),
        (
            listen("0.0.0.0:0"),
            "listen on 127.0.0.1:0 or [::1]:0, or say --allow-remote",
        ),
        (
            listen(&taken.address().to_string()),
            "another server is there: stop it, or choose another port",
        ),
        (
            Options {
                schema: Some("no/such/file.sql".into()),
                ..Options::default()
            },
            "cannot read --schema no/such/file.sql",
        ),
    ] {
        let error = refused(options);
        assert!(error.contains(said), "{error}");
    }
}

/// A folder of this test's own, gone after it.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("midcommit-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn schema(&self, sql: &str) -> Options {
        let file = self.0.join("schema.sql");
        std::fs::write(&file, sql).unwrap();
        Options {
            schema: Some(file),
            ..Options::default()
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn passwords_are_those_of_the_roles_in_the_schema() {
    let folder = Folder::new("roles");
    for authentication in [Authentication::Md5, Authentication::Scram] {
        let options = Options {
            authentication,
            ..folder.schema("create role app login password 'secret'")
        };
        with_server(options, async |connect| {
            let mut config = Config::new();
            config.host("127.0.0.1").port(connect.port).user("app");
            config.dbname("postgres").password("wrong");
            let refused = config.connect(NoTls).await.err().unwrap();
            let said = "password authentication failed for user \"app\"";
            assert_eq!(told(refused), ("28P01".to_owned(), said.to_owned()));
            let (client, connection) = config.password("secret").connect(NoTls).await.unwrap();
            tokio::task::spawn_local(async { drop(connection.await) });
            assert_eq!(
                one::<String>(&client, "select current_user::text").await,
                "app"
            );
        });
    }
}

#[test]
fn a_schema_may_say_that_it_is_one_transaction() {
    let folder = Folder::new("frame");
    let options =
        folder.schema("begin; create table a (id int); insert into a values (1); commit;");
    with_server(options, async |connect| {
        let client = connect.by("worker").await;
        assert_eq!(one::<i64>(&client, "select count(*) from a").await, 1);
    });
}

#[test]
fn a_schema_that_fails_is_shown_where_it_does() {
    let folder = Folder::new("schema");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for (sql, said) in [
        (
            "create table a (id int);\n\ncreate table b (\n  id nonsense\n);\n",
            ":3: `create table b ( id nonsense )`: type \"nonsense\" does not exist",
        ),
        (
            "create table a (id int);\ncreate tabel b (id int);",
            ":2: `create tabel b (id int);`: syntax error",
        ),
        (
            "create table a (id int);\ncopy a from stdin;\n1\n\\.\n",
            "the rows of COPY FROM STDIN are not read from a file; pg_dump --inserts writes INSERTs",
        ),
        (
            "prepare p as select 1;",
            ":1: `prepare p as select 1`: fake-pg does not support a command of a session in a script",
        ),
        (
            "begin;\nrollback;",
            "fake-pg does not support transaction control in this script",
        ),
    ] {
        let error = runtime
            .block_on(Server::start(&folder.schema(sql)))
            .err()
            .unwrap();
        assert!(error.contains(said), "{error}");
    }
}
