//! Stock tokio-postgres against the server, over an in-memory stream.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use fake_pg::connection::serve;
use fake_pg::engine::{CommitPoint, Engine, Timestamp};
use fake_pg::error::SqlState;
use fake_pg::postmaster::Postmaster;
use fake_pg::session::{CommitAction, CommitContext, CommitHook, Undisturbed};
use tokio_postgres::{Client, NoTls};

type Shared = Rc<RefCell<Postmaster>>;

const SCHEMA: &str = "create table t (id int primary key, v text); insert into t values (1, 'a')";

/// Runs a test on a server with `SCHEMA`, on paused time.
fn check<F: Future<Output = ()>>(hook: impl CommitHook + 'static, test: impl FnOnce(Shared) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut engine = Engine::default();
        engine.load(SCHEMA).expect("the schema loads");
        let start = tokio::time::Instant::now();
        let clock = move || Timestamp(0).after(start.elapsed());
        let postmaster = Postmaster::new(engine, Box::new(hook), Box::new(clock));
        test(Rc::new(RefCell::new(postmaster))).await;
    });
}

async fn connect(server: &Shared) -> Client {
    let (near, far) = tokio::io::duplex(1 << 16);
    tokio::task::spawn_local(serve(Rc::clone(server), far));
    let mut config = tokio_postgres::Config::new();
    config
        .user("postgres")
        .dbname("postgres")
        .application_name("stock");
    let (client, connection) = config.connect_raw(near, NoTls).await.expect("let in");
    tokio::task::spawn_local(async { drop(connection.await) });
    client
}

/// Counts how often a task is left pending.
async fn pendings<F: Future>(future: F, count: &Cell<usize>) -> F::Output {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        let polled = future.as_mut().poll(context);
        count.set(count.get() + usize::from(polled.is_pending()));
        polled
    })
    .await
}

fn code(result: Result<impl Sized, tokio_postgres::Error>) -> String {
    let error = result.err().expect("an error");
    error
        .code()
        .map_or_else(|| error.to_string(), |code| code.code().to_string())
}

#[test]
fn a_transaction_with_and_without_parameters_commits() {
    check(Undisturbed, |server| async move {
        let mut client = connect(&server).await;
        let transaction = client.transaction().await.unwrap();
        let insert = "insert into t values ($1, $2)";
        assert_eq!(transaction.execute(insert, &[&2, &"b"]).await.unwrap(), 1);
        assert_eq!(
            transaction
                .execute("insert into t values (3, null)", &[])
                .await
                .unwrap(),
            1
        );
        transaction.commit().await.unwrap();
        let rows = client
            .query("select id, v from t where id > $1 order by id", &[&1])
            .await
            .unwrap();
        let rows: Vec<(i32, Option<String>)> =
            rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(rows, [(2, Some("b".into())), (3, None)]);
        let commits = server.borrow().engine().commits().len();
        assert_eq!(commits, 1, "the schema is installed, not committed");
    });
}

#[test]
fn a_dropped_transaction_is_rolled_back() {
    check(Undisturbed, |server| async move {
        let mut client = connect(&server).await;
        let transaction = client.transaction().await.unwrap();
        transaction
            .execute("insert into t values (2, 'b')", &[])
            .await
            .unwrap();
        drop(transaction);
        let row = client
            .query_one("select count(*) from t", &[])
            .await
            .unwrap();
        assert_eq!(row.get::<_, i64>(0), 1);
    });
}

#[test]
fn connect_insert_and_commit_leave_the_worker_pending_five_times() {
    check(Undisturbed, |server| async move {
        let (near, far) = tokio::io::duplex(1 << 16);
        tokio::task::spawn_local(serve(Rc::clone(&server), far));
        let (worker, driver) = (Cell::new(0), Rc::new(Cell::new(0)));
        pendings(
            async {
                let mut config = tokio_postgres::Config::new();
                let (mut client, connection) = config
                    .user("postgres")
                    .dbname("postgres")
                    .connect_raw(near, NoTls)
                    .await
                    .unwrap();
                let count = Rc::clone(&driver);
                tokio::task::spawn_local(async move { drop(pendings(connection, &count).await) });
                let transaction = client.transaction().await.unwrap();
                transaction
                    .execute("insert into t values (2, 'b')", &[])
                    .await
                    .unwrap();
                transaction.commit().await.unwrap();
            },
            &worker,
        )
        .await;
        tokio::task::yield_now().await;
        assert_eq!(
            (worker.get(), driver.get()),
            (5, 8),
            "over TCP, connecting is one more"
        );
    });
}

/// Does one thing at one point of the n-th commit.
struct At(u64, CommitPoint, CommitAction);

impl CommitHook for At {
    fn reached(
        &mut self,
        commit: &CommitContext,
        point: CommitPoint,
        _: &mut Engine,
    ) -> CommitAction {
        match (commit.number.0, point) == (self.0, self.1) {
            true => self.2.clone(),
            false => CommitAction::GoOn,
        }
    }
}

#[test]
fn a_crash_loses_exactly_what_was_not_flushed() {
    for point in CommitPoint::ALL {
        check(At(1, point, CommitAction::Crash), |server| async move {
            let client = connect(&server).await;
            let insert = client.execute("insert into t values (2, 'b')", &[]);
            let answer = tokio::time::timeout(Duration::from_secs(1), insert).await;
            assert_eq!(
                answer.is_ok(),
                point == CommitPoint::Ready,
                "an answer at {point}"
            );
            assert!(server.borrow().is_down());
            drop(client);
            let recovery = server.borrow_mut().crash();
            assert_eq!(recovery.lost, [], "nobody had seen what is gone");
            let client = connect(&server).await;
            let rows = client
                .query("select 1 from t where id = 2", &[])
                .await
                .unwrap();
            // In a pipeline `completed` comes first.
            let flushed = point != CommitPoint::Completed && point >= CommitPoint::Flushed;
            assert_eq!(
                rows.len(),
                usize::from(flushed),
                "rows after a crash at {point}"
            );
            let unseen = flushed && point < CommitPoint::Visible;
            assert_eq!(
                recovery.completed.len(),
                usize::from(unseen),
                "completed after {point}"
            );
        });
    }
}

#[test]
fn a_commit_can_be_made_to_fail() {
    let fail = CommitAction::Fail(SqlState::SERIALIZATION_FAILURE);
    check(At(1, CommitPoint::Deferred, fail), |server| async move {
        let mut client = connect(&server).await;
        let transaction = client.transaction().await.unwrap();
        transaction
            .execute("insert into t values (2, 'b')", &[])
            .await
            .unwrap();
        assert_eq!(code(transaction.commit().await), "40001");
        let row = client
            .query_one("select count(*) from t", &[])
            .await
            .unwrap();
        assert_eq!(row.get::<_, i64>(0), 1);
    });
}

#[test]
fn a_cancel_is_heard_until_interrupts_are_held() {
    for point in CommitPoint::ALL {
        for action in [CommitAction::Cancel, CommitAction::Terminate] {
            check(At(1, point, action.clone()), |server| async move {
                let mut client = connect(&server).await;
                let transaction = client.transaction().await.unwrap();
                transaction
                    .execute("insert into t values (2, 'b')", &[])
                    .await
                    .unwrap();
                let result = transaction.commit().await;
                let heard = point < CommitPoint::InterruptsHeld;
                match (heard, action == CommitAction::Cancel) {
                    (true, true) => assert_eq!(code(result), "57014"),
                    (true, false) => assert_eq!(code(result), "57P01"),
                    (false, _) => result.unwrap(),
                }
                let other = connect(&server).await;
                let row = other
                    .query_one("select count(*) from t", &[])
                    .await
                    .unwrap();
                assert_eq!(row.get::<_, i64>(0), if heard { 1 } else { 2 }, "{point}");
            });
        }
    }
}

#[test]
fn a_dwell_takes_its_time_and_others_see_what_is_visible() {
    let dwell = CommitAction::Dwell(Duration::from_millis(500));
    check(At(1, CommitPoint::Flushed, dwell), |server| async move {
        let client = connect(&server).await;
        let other = connect(&server).await;
        let start = tokio::time::Instant::now();
        let insert = client.execute("insert into t values (2, 'b')", &[]);
        let look = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            other
                .query("select 1 from t where id = 2", &[])
                .await
                .unwrap()
                .len()
        };
        let (inserted, seen) = tokio::join!(insert, look);
        assert_eq!((inserted.unwrap(), seen), (1, 0));
        assert_eq!(start.elapsed(), Duration::from_millis(500));
    });
}

#[test]
fn a_cancel_ends_a_dwell_before_interrupts_are_held() {
    let dwell = CommitAction::Dwell(Duration::from_secs(500));
    check(At(1, CommitPoint::Received, dwell), |server| async move {
        let client = connect(&server).await;
        let token = client.cancel_token();
        let insert = client.execute("insert into t values (2, 'b')", &[]);
        let cancel = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let (near, far) = tokio::io::duplex(1 << 10);
            tokio::task::spawn_local(serve(Rc::clone(&server), far));
            token.cancel_query_raw(near, NoTls).await.unwrap();
        };
        let (inserted, ()) = tokio::join!(insert, cancel);
        assert_eq!(code(inserted), "57014");
    });
}

#[test]
fn a_wait_for_a_lock_ends_with_the_other_transaction() {
    check(Undisturbed, |server| async move {
        let mut first = connect(&server).await;
        let second = connect(&server).await;
        let transaction = first.transaction().await.unwrap();
        let update = "update t set v = v || $1 where id = 1";
        transaction.execute(update, &[&"1"]).await.unwrap();
        let waiting = second.execute(update, &[&"2"]);
        let commit = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(server.borrow().sessions()[1].waiting);
            transaction.commit().await.unwrap();
        };
        let (updated, ()) = tokio::join!(waiting, commit);
        assert_eq!(updated.unwrap(), 1);
        let row = second.query_one("select v from t", &[]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), "a12");
    });
}

#[test]
fn a_terminated_session_is_gone_with_its_locks() {
    check(Undisturbed, |server| async move {
        let mut first = connect(&server).await;
        let second = connect(&server).await;
        let transaction = first.transaction().await.unwrap();
        transaction
            .execute("update t set v = 'x' where id = 1", &[])
            .await
            .unwrap();
        let pid = server.borrow().sessions()[0].pid;
        assert!(server.borrow_mut().terminate(pid));
        assert_eq!(
            second
                .execute("update t set v = 'y' where id = 1", &[])
                .await
                .unwrap(),
            1
        );
        assert!(transaction.commit().await.is_err());
        assert_eq!(server.borrow().sessions().len(), 1);
    });
}

#[test]
fn sessions_are_counted_and_named() {
    check(Undisturbed, |server| async move {
        let client = connect(&server).await;
        client
            .batch_execute("begin; select pg_advisory_lock(1)")
            .await
            .unwrap();
        let sessions = server.borrow().sessions();
        let [session] = &sessions[..] else {
            panic!("{sessions:?}")
        };
        assert_eq!(
            (session.pid.0, session.in_transaction, session.waiting),
            (1, true, false)
        );
        assert_eq!(
            (session.session_locks, session.application_name.as_str()),
            (1, "stock")
        );
        drop(client);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(server.borrow().sessions(), []);
    });
}

#[test]
fn an_idle_block_is_ended_after_its_time() {
    check(Undisturbed, |server| async move {
        let client = connect(&server).await;
        let limit = "set idle_in_transaction_session_timeout = '1s'; begin";
        client.batch_execute(limit).await.unwrap();
        tokio::time::sleep(Duration::from_millis(900)).await;
        client.batch_execute("select 1").await.unwrap();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert!(client.batch_execute("select 1").await.is_err());
        assert_eq!(server.borrow().sessions(), []);
    });
}

#[test]
fn an_asynchronous_commit_is_lost_until_the_wal_writer_comes() {
    for (millis, kept) in [(0, 0), (100, 0), (300, 1)] {
        check(Undisturbed, |server| async move {
            let client = connect(&server).await;
            client
                .batch_execute("set synchronous_commit = off")
                .await
                .unwrap();
            client
                .execute("insert into t values (2, 'b')", &[])
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(millis)).await;
            let lost = server.borrow_mut().crash().lost;
            assert_eq!(lost.len(), 1 - kept, "after {millis} ms");
            let rows = connect(&server)
                .await
                .query("select 1 from t where id = 2", &[])
                .await;
            assert_eq!(rows.unwrap().len(), kept);
        });
    }
}

#[test]
fn the_wal_writer_outlives_the_session() {
    check(Undisturbed, |server| async move {
        let client = connect(&server).await;
        client
            .batch_execute("set synchronous_commit = off")
            .await
            .unwrap();
        client
            .execute("insert into t values (2, 'b')", &[])
            .await
            .unwrap();
        drop(client);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(server.borrow_mut().crash().lost, []);
    });
}
