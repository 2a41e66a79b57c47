//! psycopg2: every command is one call of `PQexec`, with the interpreter released.
//!
//! No signal ends such a call: it is raised at the boundary behind it, when the
//! server has long answered. That makes COMMIT whole, and what follows it none
//! the safer.
//!
//! Source: psycopg2 2.9.13, `pqpath.c` and `connection_type.c`.

use super::raised;
use super::wire::{PgConn, ServerError};
use crate::python::{Class, PyError, PyResult, Python};

/// A connection: `connectionObject`.
pub(crate) struct Connection {
    py: Python,
    pg: PgConn,
    autocommit: bool,
    /// Whether it has sent a BEGIN: `CONN_STATUS_BEGIN`.
    begun: bool,
    /// Closed by the program, or found lost.
    closed: bool,
}

impl Connection {
    /// `psycopg2.connect`.
    pub(crate) async fn connect(py: &Python) -> PyResult<Connection> {
        let connected = py.c_call(PgConn::connect(py.env())).await;
        py.boundary("connected")?;
        Ok(Connection {
            py: py.clone(),
            pg: connected.map_err(|error| raised(&error))?,
            autocommit: false,
            begun: false,
            closed: false,
        })
    }

    /// `cursor.execute`: `pq_execute`, which begins a transaction first unless in autocommit.
    pub(crate) async fn execute(&mut self, sql: &str) -> PyResult<()> {
        self.check_open()?;
        let begins = !self.autocommit && !self.begun;
        let pg = &mut self.pg;
        // Both under one release of the interpreter.
        let (began, outcome) = self
            .py
            .c_call(async {
                if begins && let Err(error) = pg.exec("BEGIN").await {
                    return (false, Err(error));
                }
                (begins, pg.exec(sql).await)
            })
            .await;
        self.begun |= began;
        self.complete(outcome)?;
        self.py.boundary("execute_returned")
    }

    /// `connection.commit`: `pq_commit`. Whatever comes of it, the connection is out of its transaction.
    pub(crate) async fn commit(&mut self) -> PyResult<()> {
        self.check_open()?;
        self.py.boundary("commit_call")?;
        if std::mem::take(&mut self.begun) {
            let outcome = self.py.c_call(self.pg.exec("COMMIT")).await;
            self.complete(outcome)?;
        }
        self.py.boundary("commit_returned")
    }

    /// `connection.rollback`: `pq_abort`.
    pub(crate) async fn rollback(&mut self) -> PyResult<()> {
        self.check_open()?;
        self.py.boundary("rollback_call")?;
        if self.begun {
            let outcome = self.py.c_call(self.pg.exec("ROLLBACK")).await;
            self.begun = outcome.is_err();
            self.complete(outcome)?;
        }
        self.py.boundary("rollback_returned")
    }

    /// The setter of `autocommit`: nothing goes to the server.
    pub(crate) fn set_autocommit(&mut self, on: bool) -> PyResult<()> {
        self.check_open()?;
        if self.begun {
            let message = "set_session cannot be used inside a transaction";
            return Err(PyError::new(Class::ProgrammingError, message));
        }
        self.autocommit = on;
        self.py.boundary("driver_autocommit")
    }

    /// `connection.close`.
    pub(crate) async fn close(&mut self) -> PyResult<()> {
        self.closed = true;
        self.py.c_call(self.pg.finish()).await;
        self.py.boundary("closed")
    }

    /// `EXC_IF_CONN_CLOSED`.
    fn check_open(&self) -> PyResult<()> {
        match self.closed {
            false => Ok(()),
            true => Err(PyError::new(
                Class::InterfaceError,
                "connection already closed",
            )),
        }
    }

    /// What a call returns or raises: an error comes before a signal that is still pending.
    fn complete(&mut self, outcome: Result<(), ServerError>) -> PyResult<()> {
        self.closed |= self.pg.is_bad();
        outcome.map_err(|error| raised(&error))
    }
}
