//! psycopg 3: every command is a generator, driven by a loop that waits in Python.
//!
//! So a signal may raise in the middle of a command, and leave it under way: the
//! connection is ACTIVE, neither closed nor broken, and takes no other command.
//! What is done about that depends on the exception and on the version:
//!
//! - KeyboardInterrupt, and from 3.3.6 on SystemExit: the command is cancelled on
//!   the server, and the generator driven on until it ends, for 5 s from 3.3.6 on;
//! - from 3.3.9 on, a second interruption closes the connection;
//! - any other exception, like SoftTimeLimitExceeded: nothing.
//!
//! A generator that an exception has left has ended: driven on, it returns at
//! once. That happens in the implementation in pure Python, which this models.
//!
//! Source: `Connection.wait` in `connection.py`, `waiting.py` and `generators.py`
//! of psycopg 3.3.5, 3.3.6 and 3.3.9; libpq 17, so cancelling is not a C call.

use std::collections::VecDeque;
use std::time::Duration;

use super::raised;
use super::wire::{self, PgConn, QueryResult, TransactionStatus};
use crate::python::{Class, PyError, PyResult, Python};

/// How often the loop comes back to Python while nothing happens: `_WAIT_INTERVAL`.
const INTERVAL: Duration = Duration::from_millis(100);
/// How long cancelling may take, and how long the cancelled command may.
const PATIENCE: Duration = Duration::from_secs(5);

/// Versions that differ in what an interruption does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    /// Up to 3.3.5.
    UpTo3_3_5,
    /// 3.3.6 to 3.3.8.
    From3_3_6,
    /// 3.3.9.
    From3_3_9,
}

impl Version {
    /// Whether `_INTERRUPTED` holds the class: then the command is cancelled.
    fn cancels_on(self, class: Class) -> bool {
        match class {
            Class::KeyboardInterrupt => true,
            Class::SystemExit => self >= Version::From3_3_6,
            _ => false,
        }
    }
}

/// A connection: `psycopg.Connection`.
pub(crate) struct Connection {
    py: Python,
    version: Version,
    pg: PgConn,
    autocommit: bool,
    closed: bool,
}

/// How a wait ends before its generator does.
enum Stopped {
    Raised(PyError),
    TimedOut,
}

impl From<PyError> for Stopped {
    fn from(error: PyError) -> Stopped {
        Stopped::Raised(error)
    }
}

impl Connection {
    /// `psycopg.connect`: `wait_conn`.
    pub(crate) async fn connect(py: &Python, version: Version) -> PyResult<Connection> {
        let connected = py.wait(PgConn::connect(py.env())).await?;
        py.boundary("connected")?;
        Ok(Connection {
            py: py.clone(),
            version,
            pg: connected.map_err(|error| raised(&error))?,
            autocommit: false,
            closed: false,
        })
    }

    /// `cursor.execute`: begins a transaction first unless in autocommit, in the same generator.
    ///
    /// Django's cursors bind on the client's side, so a query is a simple one.
    pub(crate) async fn execute(&mut self, sql: &str) -> PyResult<()> {
        self.check_open()?;
        let begins = !self.autocommit && self.pg.transaction_status() == TransactionStatus::Idle;
        let begin = begins.then_some("BEGIN");
        self.wait(begin.into_iter().chain([sql])).await?;
        self.py.boundary("execute_returned")
    }

    /// `connection.commit`.
    pub(crate) async fn commit(&mut self) -> PyResult<()> {
        self.py.boundary("commit_call")?;
        if self.pg.transaction_status() != TransactionStatus::Idle {
            self.check_open()?;
            self.wait(["COMMIT"]).await?;
        }
        self.py.boundary("commit_returned")
    }

    /// `connection.rollback`.
    pub(crate) async fn rollback(&mut self) -> PyResult<()> {
        self.py.boundary("rollback_call")?;
        if self.pg.transaction_status() != TransactionStatus::Idle {
            self.check_open()?;
            self.wait(["ROLLBACK"]).await?;
        }
        self.py.boundary("rollback_returned")
    }

    /// The setter of `autocommit`: nothing goes to the server.
    pub(crate) fn set_autocommit(&mut self, on: bool) -> PyResult<()> {
        let status = self.pg.transaction_status();
        if status != TransactionStatus::Idle {
            let message = format!(
                "can't change 'autocommit' now: connection in transaction status {}",
                status.name()
            );
            return Err(PyError::new(Class::ProgrammingError, message));
        }
        self.autocommit = on;
        self.py.boundary("driver_autocommit")
    }

    /// `connection.close`.
    pub(crate) async fn close(&mut self) -> PyResult<()> {
        if !std::mem::replace(&mut self.closed, true) {
            self.py.c_call(self.pg.finish()).await;
        }
        self.py.boundary("closed")
    }

    /// `_check_connection_ok`.
    fn check_open(&self) -> PyResult<()> {
        match self.pg.is_bad() {
            false => Ok(()),
            true => Err(PyError::new(
                Class::OperationalError,
                "the connection is closed",
            )),
        }
    }

    /// `Connection.wait`: drives commands to their end, one after the other in one generator.
    async fn wait(&mut self, commands: impl IntoIterator<Item = &str>) -> PyResult<()> {
        let mut generator = Generator::new(commands);
        self.py.boundary("wait")?;
        let interruption = match self.drive(&mut generator, None).await {
            Ok(()) => return self.py.boundary("wait_returned"),
            Err(Stopped::Raised(error)) => error,
            Err(Stopped::TimedOut) => unreachable!("without a time-out nothing times out"),
        };
        let cancels = self.version.cancels_on(interruption.class())
            && self.pg.transaction_status() == TransactionStatus::Active;
        match cancels {
            true => Err(self.cancel(generator, interruption).await),
            false => Err(interruption),
        }
    }

    /// The handler of `_INTERRUPTED`: cancels the command, drives it to its end, and says what is raised then.
    async fn cancel(&mut self, mut generator: Generator, interruption: PyError) -> PyError {
        let patience = (self.version >= Version::From3_3_6).then_some(PATIENCE);
        let ended = match self.try_cancel().await {
            Ok(()) => self.drive(&mut generator, patience).await,
            Err(error) => Err(Stopped::Raised(error)),
        };
        match ended {
            Ok(()) => interruption,
            Err(Stopped::Raised(error)) if error.sqlstate() == Some(QUERY_CANCELED) => interruption,
            Err(Stopped::TimedOut) => {
                self.py.c_call(self.pg.finish()).await;
                interruption
            }
            Err(Stopped::Raised(error)) if self.version < Version::From3_3_9 => {
                error.during(interruption)
            }
            Err(Stopped::Raised(error)) => {
                self.py.c_call(self.pg.finish()).await;
                match error.is_exception() {
                    true => interruption,
                    false => error.during(interruption),
                }
            }
        }
    }

    /// `_try_cancel`: on a connection of its own. A failure is logged and no more.
    async fn try_cancel(&mut self) -> PyResult<()> {
        self.py.boundary("cancel")?;
        let request = wire::cancel(self.py.env(), self.pg.cancel_key());
        let _logged = self
            .py
            .wait(tokio::time::timeout(PATIENCE, request))
            .await?;
        self.py.boundary("cancel_returned")
    }

    /// `wait_selector`: resumes the generator whenever the socket is ready, or the interval over.
    async fn drive(
        &mut self,
        generator: &mut Generator,
        patience: Option<Duration>,
    ) -> Result<(), Stopped> {
        let py = self.py.clone();
        let deadline = patience.map(|patience| py.env().now() + patience);
        let mut ready = false;
        while generator.resume(&py, &mut self.pg, ready).await? == Progress::Waits {
            let now = py.env().now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Err(Stopped::TimedOut);
            }
            py.boundary("select")?;
            let interval = deadline.map_or(INTERVAL, |deadline| INTERVAL.min(deadline - now));
            ready = py.wait(select(&mut self.pg, interval)).await?;
        }
        Ok(())
    }
}

const QUERY_CANCELED: &str = "57014";

/// Until the socket is readable, which is true, or for so long.
async fn select(pg: &mut PgConn, interval: Duration) -> bool {
    tokio::select! {
        biased;
        () = pg.readable() => true,
        () = tokio::time::sleep(interval) => false,
    }
}

/// A generator that runs commands: `_exec_command`, and `_send` and `_fetch_many` below it.
struct Generator {
    /// Commands that have not been sent.
    commands: VecDeque<String>,
    /// Whether one has been, and is not over.
    sent: bool,
    /// The results of that one; the first error counts.
    results: QueryResult,
    /// Returned, or left by an exception.
    ended: bool,
}

/// Why a generator gives control back.
#[derive(PartialEq, Eq)]
enum Progress {
    /// It yields: it waits for the socket.
    Waits,
    /// It has returned.
    Returned,
}

impl Generator {
    fn new<'a>(commands: impl IntoIterator<Item = &'a str>) -> Generator {
        Generator {
            commands: commands.into_iter().map(str::to_owned).collect(),
            sent: false,
            results: Ok(()),
            ended: false,
        }
    }

    /// `gen.send(ready)`.
    async fn resume(&mut self, py: &Python, pg: &mut PgConn, ready: bool) -> PyResult<Progress> {
        if self.ended {
            return Ok(Progress::Returned);
        }
        let progress = self.run(py, pg, ready).await;
        self.ended = !matches!(progress, Ok(Progress::Waits));
        progress
    }

    /// Runs to the next yield. An exception at a boundary here is raised inside the generator.
    async fn run(&mut self, py: &Python, pg: &mut PgConn, ready: bool) -> PyResult<Progress> {
        if self.sent {
            if !ready {
                return Ok(Progress::Waits);
            }
            self.consume(pg)?;
            py.boundary("consumed")?;
        }
        loop {
            if !self.sent {
                let Some(command) = self.commands.pop_front() else {
                    return Ok(Progress::Returned);
                };
                let sent = py.c_call(pg.send_query(&command)).await;
                sent.map_err(|error| {
                    let message = format!("sending query failed: {}", error.message);
                    PyError::new(Class::OperationalError, message)
                })?;
                self.sent = true;
                py.boundary("query_sent")?;
            }
            if pg.is_busy() {
                return Ok(Progress::Waits);
            }
            match pg.get_result() {
                Some(result) => self.results = self.results.clone().and(result),
                None => {
                    self.sent = false;
                    std::mem::replace(&mut self.results, Ok(())).map_err(|error| raised(&error))?;
                }
            }
            py.boundary("result")?;
        }
    }

    /// `consume_input`. A connection that ends after an error was due to it: the error is raised.
    fn consume(&mut self, pg: &mut PgConn) -> PyResult<()> {
        pg.consume_input().map_err(|lost| match &self.results {
            Err(error) => raised(error),
            Ok(()) => raised(&lost),
        })
    }
}
