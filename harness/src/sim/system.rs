//! What runs, as data: servers, processes, jobs, what is owed, and how long things take.
//!
//! An author fills this in through [`crate::Scenario`]; a run reads it and changes
//! nothing. It is shared by all threads.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fake_pg::engine::CommitPoint;

use super::env::Env;
use crate::history::Times;

/// What a worker's future ends with.
pub type WorkerResult = Result<(), Box<dyn Error>>;

/// A worker's code: from what it is handed to its future.
pub(crate) type Work =
    Arc<dyn Fn(Env) -> Pin<Box<dyn Future<Output = WorkerResult>>> + Send + Sync>;

/// The host name of the server that everything is owed by.
pub(crate) const PRIMARY: &str = "pg";
/// The host name of the broker.
pub(crate) const BROKER: &str = "broker";

/// A system under test.
#[derive(Clone)]
pub(crate) struct System {
    pub(crate) servers: Vec<ServerSpec>,
    pub(crate) jobs: Vec<Arc<str>>,
    pub(crate) redeliver: Redeliver,
    pub(crate) redelivery_delay: Duration,
    pub(crate) workers: Vec<WorkerSpec>,
    pub(crate) promises: Vec<Promise>,
    pub(crate) inboxes: Vec<Inbox>,
    pub(crate) repeatable: bool,
    pub(crate) exceptions: Vec<Arc<str>>,
    pub(crate) stop_exception: Option<Arc<str>>,
    pub(crate) grace: Duration,
    pub(crate) quiet: Duration,
    pub(crate) limit: Duration,
    pub(crate) tick: Duration,
    pub(crate) dwells: BTreeMap<CommitPoint, Duration>,
    pub(crate) sabotage: Option<Sabotage>,
}

impl Default for System {
    /// One empty server, and nobody who uses it.
    fn default() -> System {
        System {
            servers: vec![ServerSpec {
                name: PRIMARY.into(),
                schema: String::new(),
            }],
            jobs: Vec::new(),
            redeliver: Redeliver::Never,
            redelivery_delay: Duration::from_millis(10),
            workers: Vec::new(),
            promises: Vec::new(),
            inboxes: Vec::new(),
            repeatable: false,
            exceptions: Vec::new(),
            stop_exception: None,
            grace: Duration::from_millis(100),
            quiet: Duration::from_secs(1),
            limit: Duration::from_secs(30),
            tick: Duration::from_millis(10),
            dwells: BTreeMap::new(),
            sabotage: None,
        }
    }
}

/// A server and what it starts with.
#[derive(Clone)]
pub(crate) struct ServerSpec {
    pub(crate) name: Arc<str>,
    pub(crate) schema: String,
}

/// A kind of process.
#[derive(Clone)]
pub(crate) struct WorkerSpec {
    pub(crate) name: Arc<str>,
    pub(crate) work: Work,
    pub(crate) takes_jobs: bool,
    pub(crate) replicas: usize,
    /// Whether a workload may ask for another number of them.
    pub(crate) scales: bool,
}

/// An effect that commits make owed.
#[derive(Clone)]
pub(crate) struct Promise {
    pub(crate) effect: Arc<str>,
    /// Each row's first column is a key; without a query, only messages in the WAL count.
    pub(crate) sql: Option<Arc<str>>,
    pub(crate) times: Times,
}

/// Where a consumer keeps what it has applied.
#[derive(Clone)]
pub(crate) struct Inbox {
    pub(crate) effect: Arc<str>,
    pub(crate) server: Arc<str>,
    pub(crate) sql: Arc<str>,
}

/// What becomes of a job whose worker did not return `Ok`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redeliver {
    /// It was handed out once; that was it.
    Never,
    /// It is handed out again after a kill, a cancel or an `Err`.
    UntilOk,
}

/// A bug planted in the server or in the harness, to see that the harness notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// A bug of the server.
    Server(fake_pg::engine::Sabotage),
    /// A kill that lets the rest of the tick run.
    KillWithoutFreeze,
    /// A broker that never sends its acknowledgements, and says nothing.
    BrokerDropsAcks,
}
