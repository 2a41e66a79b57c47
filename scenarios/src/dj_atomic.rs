//! A task that commits in `atomic` and leaves the rest to `on_commit`, for each driver.
//!
//! The task saves a row and registers one callback. It is handed out once, so
//! what is lost is lost. Afterwards the connection is closed, as Celery's fix-up
//! for Django does it; or it is used again first: the task's own `finally` notes
//! the attempt in a second transaction. A list of hooks that the first has left
//! behind is run by the second.

use std::time::Duration;

use fake_pg::engine::CommitPoint;
use midcommit::oracle::Verdict::{self, Lost, Ok as Fine, Phantom};
use midcommit::plan::Class as Fault;
use midcommit::{Env, Redeliver, Scenario, Times};

use crate::celery;
use crate::django::{DatabaseWrapper, Hook};
use crate::driver::{Driver, psycopg3::Version};
use crate::python::{Class, PyError, PyResult, Python, finally};

const SCHEMA: &str = "
    create table invoice (id int primary key);
    create table attempt (invoice int not null);
";

/// How long deferred triggers run at COMMIT: long enough for a cancel to find them at it, and
/// shorter than psycopg 3's wait interval.
const DEFERRED: Duration = Duration::from_millis(80);

/// What becomes of the connection when the block has been left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// It is closed.
    Close,
    /// Another transaction runs on it first.
    Reuse,
}

/// Four drivers, each closed and reused.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let drivers = [
        ("dj_atomic_psycopg2", Driver::Psycopg2),
        ("dj_atomic_psycopg335", Driver::Psycopg3(Version::UpTo3_3_5)),
        ("dj_atomic_psycopg336", Driver::Psycopg3(Version::From3_3_6)),
        ("dj_atomic_psycopg339", Driver::Psycopg3(Version::From3_3_9)),
    ];
    let closed = drivers.map(|(name, driver)| expected_of(dj_atomic(name, driver, After::Close)));
    let reused = drivers.map(|(name, driver)| {
        let scenario = dj_atomic(&format!("{name}_reuse"), driver, After::Reuse);
        let scenario = expected_of_reuse(scenario, driver);
        match driver {
            Driver::Psycopg2 | Driver::Psycopg3(Version::UpTo3_3_5) => {
                scenario.expect_several([Phantom], NOT_UNDONE)
            }
            _ => scenario,
        }
    });
    closed.into_iter().chain(reused).collect()
}

fn dj_atomic(name: &str, driver: Driver, after: After) -> Scenario {
    let scenario = Scenario::new(name)
        .source(match after {
            After::Close => "model 1: Django ticket 37033, atomic and on_commit under signals; the connection is closed",
            After::Reuse => "models 2 and 3: the same, and the next atomic on that connection",
        })
        .schema(SCHEMA)
        .jobs([1])
        .redeliver(Redeliver::Never)
        .worker("worker", async move |env: Env| {
            let py = Python::new(env);
            let mut db = DatabaseWrapper::new(&py, driver);
            let ran = task(&py, &mut db, after).await;
            Ok(finally(ran, db.close().await)?)
        })
        .owes("callback", "select id from invoice", Times::Once)
        .exceptions(&["SystemExit", "SoftTimeLimitExceeded"])
        // A cold shutdown.
        .stop_raises("SystemExit")
        // Time for the second COMMIT as well.
        .grace(Duration::from_secs(1))
        .dwell(CommitPoint::Deferred, DEFERRED);
    match after {
        After::Close => scenario,
        After::Reuse => scenario.repeatable(),
    }
}

async fn task(py: &Python, db: &mut DatabaseWrapper, after: After) -> PyResult<()> {
    let id = py.env().job().to_owned();
    let saved = db
        .atomic(async |db: &mut DatabaseWrapper| {
            let sql = format!("INSERT INTO invoice (id) VALUES ({id})");
            db.execute(&sql).await?;
            db.on_commit(callback(py)).await?;
            py.boundary("body_end")?;
            match py.env().rolls_back() {
                true => Err(PyError::new(Class::Abandoned, "")),
                false => Ok(()),
            }
        })
        .await;
    let saved = match saved {
        Err(error) if error.class() == Class::Abandoned => Ok(()),
        saved => saved,
    };
    match after {
        After::Close => saved,
        After::Reuse => {
            let noted = db
                .atomic(async |db: &mut DatabaseWrapper| {
                    let sql = format!("INSERT INTO attempt (invoice) VALUES ({id})");
                    db.execute(&sql).await
                })
                .await;
            finally(saved, noted)
        }
    }
}

/// `lambda: callback.delay(id)`
fn callback(py: &Python) -> Hook {
    let py = py.clone();
    Box::new(move || Box::pin(async move { celery::delay(&py, "callback", py.env().job()).await }))
}

const WINDOW: &str = "between COMMIT and the hook, whatever ends the task loses the callback";
const CLEARED: &str =
    "a COMMIT that was aborted leaves its hook behind, and closing the connection clears it";
const NOT_UNDONE: &str = "the COMMIT fails, and so does what should undo it, interrupted: the hook that is left behind runs in \
                          the next block";
const GONE: &str = "the callback is out when the commit it belongs to disappears";

/// Signals, kills, lost connections and a broker that is down all lose the callback, on every driver.
fn expected_of(scenario: Scenario) -> Scenario {
    let scenario = expect(
        scenario,
        [Fault::Interrupt, Fault::Deploy],
        [Fine, Lost],
        CLEARED,
    );
    expect_of_others(scenario)
}

/// With the connection reused, a hook left behind runs in the next block: late, or for nothing.
fn expected_of_reuse(scenario: Scenario, driver: Driver) -> Scenario {
    let signals = [Fault::Interrupt, Fault::Deploy];
    let scenario = match driver {
        Driver::Psycopg3(Version::From3_3_6 | Version::From3_3_9) => expect(
            scenario,
            signals,
            [Fine, Lost, Phantom],
            "SystemExit cancels a COMMIT that runs deferred triggers: its hook runs in the next block",
        ),
        Driver::Psycopg2 | Driver::Psycopg3(Version::UpTo3_3_5) => expect(
            scenario,
            signals,
            [Fine, Lost],
            "nothing cancels a COMMIT; a hook that was left behind belongs to one that succeeded",
        ),
    };
    expect_of_others(scenario)
}

fn expect_of_others(scenario: Scenario) -> Scenario {
    let scenario = scenario.expect(None, [Fine], "undisturbed, the hook runs after COMMIT");
    let lossy = [Fault::Kill, Fault::Network, Fault::Server, Fault::Broker];
    let scenario = expect(scenario, lossy, [Fine, Lost], WINDOW);
    expect(scenario, [Fault::Failover], [Fine, Phantom], GONE)
}

fn expect<const N: usize>(
    scenario: Scenario,
    faults: impl IntoIterator<Item = Fault>,
    verdicts: [Verdict; N],
    why: &'static str,
) -> Scenario {
    faults.into_iter().fold(scenario, |scenario, fault| {
        scenario.expect(Some(fault), verdicts, why)
    })
}
