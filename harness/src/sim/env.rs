//! What a worker is handed: its job, connections, effects, tasks, and word of signals.
//!
//! An `Env` holds a number and the job's key; all else it asks of the running
//! simulation. So it can be cloned into pools and other tasks of its process, and
//! is of no use outside the run it came from.

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, Notification};

use super::broker;
use super::cursor::Here;
use super::gate::{Child, Gate};
use super::stream::Stream;
use super::system::PRIMARY;
use super::tcp::TcpStream;
use super::world::World;
use crate::history::{EffectOutcome, ProcessId, What};
use crate::plan::{Exchange, Kind, TaskName, Verb};

/// A worker's view of the world.
#[derive(Clone, Debug)]
pub struct Env {
    process: ProcessId,
    job: Arc<str>,
}

impl Env {
    pub(crate) fn new(process: ProcessId, job: Arc<str>) -> Env {
        Env { process, job }
    }

    /// The key of the job at hand; empty in a daemon.
    pub fn job(&self) -> &str {
        &self.job
    }

    /// Whether the workload asks this job to roll its transaction back.
    pub fn rolls_back(&self) -> bool {
        World::with(|world| world.workload.rollbacks.contains(&self.job))
    }

    /// A stock tokio-postgres client of the server `pg`. Its connection runs as the task `connN`,
    /// and what is committed on it counts as done by the job at hand.
    ///
    /// # Errors
    ///
    /// The server refuses, or the connection ends during start-up.
    pub async fn connect(&self) -> Result<Client, ConnectError> {
        self.connect_to(PRIMARY).await
    }

    /// The same, of another server of the scenario's.
    ///
    /// # Errors
    ///
    /// As [`Env::connect`]; also if there is no such server.
    pub async fn connect_to(&self, server: &str) -> Result<Client, ConnectError> {
        let mut config = Config::new();
        config.user("postgres").dbname("postgres");
        let (client, _detached) = self.connect_with(server, &config, true).await?;
        Ok(client)
    }

    /// The same as [`Env::connect`], with what the server sends unasked after `LISTEN`: `None` when
    /// the connection has ended.
    ///
    /// # Errors
    ///
    /// As [`Env::connect`].
    pub async fn connect_with_notifications(
        &self,
    ) -> Result<(Client, UnboundedReceiver<Notification>), ConnectError> {
        let mut config = Config::new();
        config.user("postgres").dbname("postgres");
        let (name, client, mut connection) = self.start_session(PRIMARY, &config).await?;
        let (heard, notifications) = unbounded_channel();
        let task = async move {
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(notification) = message {
                    // Nobody need be waiting for it any more.
                    let _unheard = heard.send(notification);
                }
            }
        };
        let _detached = spawn_gated(self.process, &name, true, task);
        Ok((client, notifications))
    }

    /// Connects and spawns the connection's task; `detached` if nobody will hold its handle.
    async fn connect_with(
        &self,
        server: &str,
        config: &Config,
        detached: bool,
    ) -> Result<(Client, JoinHandle<()>), ConnectError> {
        let (name, client, connection) = self.start_session(server, config).await?;
        let task = async move {
            // The client learns of a broken connection by itself.
            let _ended = connection.await;
        };
        let task = spawn_gated(self.process, &name, detached, task);
        Ok((client, task))
    }

    /// Connects: what the connection's task is called, and what it is to drive.
    async fn start_session(
        &self,
        server: &str,
        config: &Config,
    ) -> Result<(String, Client, Connection<Stream, NoTlsStream>), ConnectError> {
        let stream = self.stream(server).await.map_err(ConnectError::Refused)?;
        let name = format!("conn{}", stream.number());
        let started = config.connect_raw(stream, NoTls).await;
        let (client, connection) = started.map_err(ConnectError::Startup)?;
        Ok((name, client, connection))
    }

    /// A deadpool of so many stock clients of `pg`.
    ///
    /// # Panics
    ///
    /// If `size` is 0.
    pub fn pool(&self, size: usize) -> deadpool_postgres::Pool {
        let mut config = Config::new();
        config.user("postgres").dbname("postgres");
        let manager = deadpool_postgres::Manager::from_connect(
            config,
            Connector(self.clone()),
            deadpool_postgres::ManagerConfig::default(),
        );
        let pool = deadpool_postgres::Pool::builder(manager)
            .max_size(size)
            .build();
        pool.expect("a pool of at least one connection needs no runtime")
    }

    /// A connection in bytes to a server of the scenario's, for drivers that speak the wire themselves.
    ///
    /// # Errors
    ///
    /// The host refuses, or there is no such server.
    pub async fn stream(&self, server: &str) -> io::Result<Stream> {
        // A daemon has no job.
        let job = (!self.job.is_empty()).then(|| self.job.clone());
        Stream::connect(self.process, job, server).await
    }

    /// Makes an effect: what the outside world sees. The key comes from the job, so that a
    /// repetition is recognised as one.
    ///
    /// # Errors
    ///
    /// [`EffectError::Refused`]: it did not happen. [`EffectError::Unknown`]: it may have happened.
    pub async fn effect(&self, name: &str, key: impl fmt::Display) -> Result<(), EffectError> {
        let (name, key): (Arc<str>, Arc<str>) = (name.into(), key.to_string().into());
        if World::with(|world| world.is_frozen(self.process)) {
            return std::future::pending().await;
        }
        World::with(|world| {
            world.log(What::EffectInvoke {
                process: self.process,
                name: name.clone(),
                key: key.clone(),
            });
        });
        let outcome = self.publish(&name, &key).await;
        World::with(|world| {
            world.log(What::EffectDone {
                process: self.process,
                name,
                key,
                outcome,
            });
        });
        match outcome {
            EffectOutcome::Ok => Ok(()),
            EffectOutcome::Refused => Err(EffectError::Refused),
            EffectOutcome::Unknown => Err(EffectError::Unknown),
        }
    }

    async fn publish(&self, name: &str, key: &str) -> EffectOutcome {
        let Ok(mut tcp) = broker::connect(self.process).await else {
            return EffectOutcome::Refused;
        };
        let exchange = World::with(|world| {
            let nth = world.process(self.process, |process| {
                process.effects += 1;
                process.effects
            });
            Exchange {
                verb: Verb::Borrowed("publish"),
                nth,
            }
        });
        let line = format!("publish {name} {key}\n");
        let acknowledged = async {
            tcp.write_all(line.as_bytes()).await?;
            World::with(|world| {
                world.broker.borrow_mut().note_sent();
                world.anchor_message(self.process, 1, &exchange, false);
            });
            tcp.read_u8().await
        };
        let answer = acknowledged.await;
        World::with(|world| world.anchor_message(self.process, 1, &exchange, true));
        match answer {
            Ok(broker::ACCEPTED) => EffectOutcome::Ok,
            Ok(_) => EffectOutcome::Refused,
            Err(_) => EffectOutcome::Unknown,
        }
    }

    /// The next message of an effect that the scenario has a consumer for.
    ///
    /// # Errors
    ///
    /// The broker is not to be reached, or has no queue of that name.
    pub async fn receive(&self, name: &str) -> io::Result<Message> {
        let mut tcp = broker::connect(self.process).await?;
        tcp.write_all(format!("consume {name}\n").as_bytes())
            .await?;
        let key = broker::read_line(&mut tcp).await?;
        if key.is_empty() {
            let error = format!("`{name}` has no consumer: see Scenario::applied_in");
            return Err(io::Error::new(io::ErrorKind::NotFound, error));
        }
        Ok(Message { key, tcp })
    }

    /// Spawns a task behind the gate, as `NAME` in points. Cancelled there, its handle says so.
    pub fn spawn<F>(&self, name: &str, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.spawn_local(name, task)
    }

    /// The same, for a task that is not `Send`.
    pub fn spawn_local<F>(&self, name: &str, task: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        spawn_gated(self.process, name, false, task)
    }

    /// A named place where a modelled runtime may raise an exception: the one that is pending or
    /// that the plan raises here, if any. Taken: asked again, it is gone.
    pub fn boundary(&self, name: &str) -> Option<Exception> {
        World::with(|world| {
            let (process, nth) = world.process(self.process, |process| {
                let nth = match process.boundaries.get_mut(name) {
                    Some(nth) => nth,
                    None => process.boundaries.entry(name.into()).or_default(),
                };
                *nth += 1;
                (process.name.clone(), *nth)
            });
            let here = Here::Boundary {
                process: &process,
                name,
                nth,
            };
            if let Some(fault) = world.visit(here)
                && let Kind::Raise(exception) = fault.kind
            {
                world.signal(self.process, exception);
            }
        });
        self.take_exception()
    }

    /// Whether an exception is pending.
    pub fn pending(&self) -> bool {
        World::with(|world| world.process(self.process, |process| process.exception.is_some()))
    }

    /// Waits until an exception is pending.
    pub async fn signalled(&self) {
        loop {
            let (pending, signal) = World::with(|world| {
                world.process(self.process, |p| (p.exception.is_some(), p.signal.clone()))
            });
            if pending {
                return;
            }
            signal.notified().await;
        }
    }

    /// Takes the pending exception.
    pub fn take_exception(&self) -> Option<Exception> {
        World::with(|world| {
            world.process(self.process, |process| {
                process.exception.take().map(Exception)
            })
        })
    }

    /// The process's stop signal.
    pub fn stop_token(&self) -> StopToken {
        StopToken {
            process: self.process,
        }
    }

    /// Simulated time since the run began.
    pub fn now(&self) -> Duration {
        World::with(World::now)
    }
}

/// Spawns a task. In a simulation it runs behind the gate of the process that spawns it, as
/// `taskN`; outside, this is plain `tokio::spawn`.
pub fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match World::current().and_then(|world| world.polling.get()) {
        Some(process) => spawn_gated(process, "", false, task),
        #[allow(clippy::disallowed_methods)] // Outside a simulation there is no gate.
        None => tokio::spawn(task),
    }
}

/// A name that is taken, or empty, gets a number. A `driver` is the task of a stock driver's connection
/// whose handle nobody holds.
fn spawn_gated<F>(process: ProcessId, name: &str, driver: bool, task: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let name = World::with(|world| {
        let name = crate::plan::word(name).unwrap_or_else(|| "task".into());
        world.process(process, |p| {
            let nth = p.children.entry(name.clone()).or_insert(0);
            *nth += 1;
            let child = match *nth {
                1 => name,
                n => format!("{name}-{n}").into(),
            };
            TaskName {
                process: p.name.clone(),
                child: Some(child),
            }
        })
    });
    World::with(|world| {
        if driver && world.cursor.borrow().recorder.is_some() {
            world.drivers.borrow_mut().insert(name.clone());
        }
    });
    let (child, abort) = Child::new(Gate::new(process, name, task));
    let handle = tokio::task::spawn_local(child);
    abort
        .set(handle.abort_handle())
        .expect("the task has only just been spawned");
    handle
}

/// An exception as a modelled runtime raises it, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception(pub Arc<str>);

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Exception {}

/// Whether a process has been told to stop.
#[derive(Clone, Debug)]
pub struct StopToken {
    process: ProcessId,
}

impl StopToken {
    /// Whether the signal has arrived.
    pub fn is_stopped(&self) -> bool {
        World::with(|world| world.process(self.process, |process| process.stopping))
    }

    /// Waits for the signal.
    pub async fn stopped(&self) {
        let stop: Arc<Notify> =
            World::with(|world| world.process(self.process, |p| p.stop.clone()));
        if !self.is_stopped() {
            stop.notified().await;
        }
    }
}

/// A message that a consumer has been handed, and has not acknowledged yet.
#[derive(Debug)]
pub struct Message {
    key: String,
    tcp: TcpStream,
}

impl Message {
    /// The effect's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Tells the broker that the message has been dealt with. Dropped without this, it is handed out again.
    ///
    /// # Errors
    ///
    /// The broker did not confirm: the message may be handed out again.
    pub async fn ack(mut self) -> io::Result<()> {
        self.tcp.write_all(b"+").await?;
        self.tcp.read_u8().await.map(drop)
    }
}

/// Why an effect was not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffectError {
    /// It did not happen.
    Refused,
    /// It may have happened.
    Unknown,
}

impl fmt::Display for EffectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EffectError::Refused => "the broker refused: nothing happened",
            EffectError::Unknown => "the broker's answer was lost: it may have happened",
        })
    }
}

impl Error for EffectError {}

/// Why there is no connection.
#[derive(Debug)]
pub enum ConnectError {
    /// The host could not be reached.
    Refused(io::Error),
    /// The connection ended, or the server objected, during start-up.
    Startup(tokio_postgres::Error),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Refused(error) => write!(f, "cannot connect: {error}"),
            ConnectError::Startup(_) => f.write_str("cannot start a session"),
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ConnectError::Refused(error) => Some(error),
            ConnectError::Startup(error) => Some(error),
        }
    }
}

/// What deadpool wants of a connector.
type ConnectFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How a pool gets its connections.
struct Connector(Env);

impl deadpool_postgres::Connect for Connector {
    fn connect(
        &self,
        config: &Config,
    ) -> ConnectFuture<'_, Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        let config = config.clone();
        Box::pin(async move {
            match self.0.connect_with(PRIMARY, &config, false).await {
                Ok(connected) => Ok(connected),
                Err(ConnectError::Startup(error)) => Err(error),
                // tokio-postgres makes no errors for others; a closed stream is how it would see a refusal.
                Err(ConnectError::Refused(_)) => config
                    .connect_raw(Closed, NoTls)
                    .await
                    .map(|_| unreachable!()),
            }
        })
    }
}

/// A stream whose other end never was.
struct Closed;

impl tokio::io::AsyncRead for Closed {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()))
    }
}

impl tokio::io::AsyncWrite for Closed {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        std::task::Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()))
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}

/// What a worker awaits can be awaited in a task of `tokio::spawn`, which wants it `Send`.
const _: fn(Env) = |env| {
    fn can_be_spawned(_: impl Future + Send) {}
    can_be_spawned(env.connect());
    can_be_spawned(env.effect("", ""));
    can_be_spawned(env.receive(""));
    can_be_spawned(env.signalled());
    can_be_spawned(env.stop_token().stopped());
};
