//! Drivers that Django knows, as models: how each drives the wire, and where it can be interrupted.
//!
//! Both stand on `wire`, as both stand on libpq. What a driver's call comes to
//! is decided by the server and by the instant of the interruption.

pub(crate) mod psycopg2;
pub(crate) mod psycopg3;
pub(crate) mod wire;

use crate::python::{Class, PyError, PyResult, Python};
use psycopg3::Version;
use wire::ServerError;

/// Which driver a program uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    Psycopg2,
    Psycopg3(Version),
}

impl Driver {
    /// `Database.connect(…)`.
    pub(crate) async fn connect(self, py: &Python) -> PyResult<Connection> {
        Ok(match self {
            Driver::Psycopg2 => Connection::Psycopg2(psycopg2::Connection::connect(py).await?),
            Driver::Psycopg3(version) => {
                Connection::Psycopg3(psycopg3::Connection::connect(py, version).await?)
            }
        })
    }
}

/// An open connection of either driver, as Django sees it.
pub(crate) enum Connection {
    Psycopg2(psycopg2::Connection),
    Psycopg3(psycopg3::Connection),
}

impl Connection {
    /// `cursor.execute(sql)`, the cursor being new.
    pub(crate) async fn execute(&mut self, sql: &str) -> PyResult<()> {
        match self {
            Connection::Psycopg2(connection) => connection.execute(sql).await,
            Connection::Psycopg3(connection) => connection.execute(sql).await,
        }
    }

    pub(crate) async fn commit(&mut self) -> PyResult<()> {
        match self {
            Connection::Psycopg2(connection) => connection.commit().await,
            Connection::Psycopg3(connection) => connection.commit().await,
        }
    }

    pub(crate) async fn rollback(&mut self) -> PyResult<()> {
        match self {
            Connection::Psycopg2(connection) => connection.rollback().await,
            Connection::Psycopg3(connection) => connection.rollback().await,
        }
    }

    /// `connection.autocommit = on`.
    pub(crate) fn set_autocommit(&mut self, on: bool) -> PyResult<()> {
        match self {
            Connection::Psycopg2(connection) => connection.set_autocommit(on),
            Connection::Psycopg3(connection) => connection.set_autocommit(on),
        }
    }

    pub(crate) async fn close(&mut self) -> PyResult<()> {
        match self {
            Connection::Psycopg2(connection) => connection.close().await,
            Connection::Psycopg3(connection) => connection.close().await,
        }
    }
}

/// A server's objection as PEP 249 files it, by the class of its SQLSTATE.
///
/// Source: `get_base_exception` in psycopg 3's `errors.py`, as far as psycopg2 agrees. Without a
/// SQLSTATE the connection is lost.
fn raised(error: &ServerError) -> PyError {
    let Some(code) = &error.sqlstate else {
        return PyError::new(Class::OperationalError, &error.message);
    };
    let class = match code.get(..2) {
        Some("08" | "40" | "53" | "54" | "55" | "57" | "58") => Class::OperationalError,
        Some("22") => Class::DataError,
        Some("23") => Class::IntegrityError,
        Some("24" | "25" | "2B" | "2D" | "XX") => Class::InternalError,
        Some("42" | "44") => Class::ProgrammingError,
        _ => Class::DatabaseError,
    };
    PyError::new(class, &error.message).with_sqlstate(code)
}
