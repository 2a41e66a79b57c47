//! Django's transactions: `atomic`, `on_commit`, and the connection's state they share.
//!
//! Statement by statement as in the source, since what an exception leaves behind
//! depends on which statements it came between. Where the interpreter looks for
//! signals there is a boundary; leaving a block passes these, in this order:
//!
//! - W0 `exit_enter`: still in the block, the transaction open
//! - W1 `commit`, `commit_call`: COMMIT not sent
//! - W2 inside the driver's commit: COMMIT in flight
//! - W3 `commit_returned`: committed, the flag that runs the hooks unset
//! - W4 `commit_hooks_flag`, `set_autocommit`: flag set, the driver not in autocommit
//! - W4b `driver_autocommit`: the driver is, Django's attribute says no
//! - W5 `attribute_autocommit`, `run_hooks`: before the list is swapped
//! - W6 `hooks_swap`, `hook`, those of the hook, `hook_returned`
//!
//! Source: `transaction.py` and `backends/base/base.py` of Django 5.2.19.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;

use crate::driver::{Connection, Driver};
use crate::python::{Class, PyError, PyResult, Python, finally};

/// A callable without arguments, called at most once.
pub(crate) type Hook = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = PyResult<()>>>>>;

/// `DatabaseWrapper`: a connection, or none yet, and what Django believes about it.
pub(crate) struct DatabaseWrapper {
    py: Python,
    driver: Driver,
    connection: Option<Connection>,
    /// Whether Django believes the driver to be in autocommit.
    autocommit: bool,
    in_atomic_block: bool,
    /// One entry per inner block; `None` for a block without a savepoint of its own.
    savepoint_ids: Vec<Option<String>>,
    /// Savepoints made so far: they are numbered.
    savepoint_state: u32,
    needs_rollback: bool,
    /// False in a block that was entered in the middle of a transaction.
    commit_on_exit: bool,
    closed_in_transaction: bool,
    /// Hooks, with the savepoints that were active when each was registered.
    run_on_commit: Vec<(BTreeSet<String>, Hook)>,
    run_commit_hooks_on_set_autocommit_on: bool,
}

impl DatabaseWrapper {
    pub(crate) fn new(py: &Python, driver: Driver) -> DatabaseWrapper {
        DatabaseWrapper {
            py: py.clone(),
            driver,
            connection: None,
            autocommit: false,
            in_atomic_block: false,
            savepoint_ids: Vec::new(),
            savepoint_state: 0,
            needs_rollback: false,
            commit_on_exit: true,
            closed_in_transaction: false,
            run_on_commit: Vec::new(),
            run_commit_hooks_on_set_autocommit_on: false,
        }
    }

    /// `with transaction.atomic(): …`
    pub(crate) async fn atomic<T>(
        &mut self,
        body: impl AsyncFnOnce(&mut DatabaseWrapper) -> PyResult<T>,
    ) -> PyResult<T> {
        self.enter().await?;
        let ran = body(self).await;
        let exited = self.exit(ran.is_err()).await;
        finally(ran, exited)
    }

    /// `connection.on_commit(hook)`.
    pub(crate) async fn on_commit(&mut self, hook: Hook) -> PyResult<()> {
        self.py.boundary("on_commit")?;
        if self.in_atomic_block {
            let active = self.savepoint_ids.iter().flatten().cloned().collect();
            self.run_on_commit.push((active, hook));
            Ok(())
        } else if !self.get_autocommit().await? {
            Err(PyError::new(
                Class::TransactionManagementError,
                "on_commit() cannot be used in manual transaction management",
            ))
        } else {
            hook().await
        }
    }

    /// `connection.cursor().execute(sql)`.
    pub(crate) async fn execute(&mut self, sql: &str) -> PyResult<()> {
        self.py.boundary("execute")?;
        self.ensure_connection().await?;
        if self.needs_rollback {
            return Err(PyError::new(
                Class::TransactionManagementError,
                "An error occurred in the current transaction. You can't execute queries until the end of the \
                 'atomic' block.",
            ));
        }
        match &mut self.connection {
            Some(connection) => connection.execute(sql).await,
            None => unreachable!("a connection has just been ensured"),
        }
    }

    /// `connection.close()`.
    pub(crate) async fn close(&mut self) -> PyResult<()> {
        self.py.boundary("close")?;
        self.run_on_commit.clear();
        if self.closed_in_transaction {
            return Ok(());
        }
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let closed = connection.close().await;
        if self.in_atomic_block {
            self.closed_in_transaction = true;
            self.needs_rollback = true;
        } else {
            self.connection = None;
        }
        closed
    }

    /// `Atomic.__enter__`. It does not clear the hooks.
    async fn enter(&mut self) -> PyResult<()> {
        self.py.boundary("enter")?;
        if !self.in_atomic_block {
            self.commit_on_exit = true;
            self.needs_rollback = false;
            if !self.get_autocommit().await? {
                self.in_atomic_block = true;
                self.commit_on_exit = false;
            }
        }
        if self.in_atomic_block {
            let sid = match self.needs_rollback {
                false => self.savepoint().await?,
                true => None,
            };
            self.savepoint_ids.push(sid);
        } else {
            self.set_autocommit(false).await?;
            self.in_atomic_block = true;
        }
        self.py.boundary("entered")
    }

    /// `Atomic.__exit__`.
    async fn exit(&mut self, failed: bool) -> PyResult<()> {
        self.py.boundary("exit_enter")?;
        let sid = match self.savepoint_ids.pop() {
            Some(sid) => sid,
            None => {
                self.in_atomic_block = false;
                None
            }
        };
        let concluded = self.conclude(failed, sid).await;
        let restored = self.restore().await;
        finally(concluded, restored)?;
        self.py.boundary("exit_returned")
    }

    /// The `try` in `__exit__`: commits or rolls back, the transaction or its savepoint.
    async fn conclude(&mut self, failed: bool, sid: Option<String>) -> PyResult<()> {
        if self.closed_in_transaction {
            return Ok(());
        }
        if !failed && !self.needs_rollback {
            return match (self.in_atomic_block, sid) {
                (false, _) => self.commit_or_roll_back().await,
                (true, Some(sid)) => self.release_or_roll_back(&sid).await,
                (true, None) => Ok(()),
            };
        }
        self.needs_rollback = false;
        match (self.in_atomic_block, sid) {
            (false, _) => match self.rollback().await {
                Err(error) if error.is_db_error() => self.drop_connection(error).await,
                rolled_back => rolled_back,
            },
            (true, None) => {
                self.needs_rollback = true;
                Ok(())
            }
            (true, Some(sid)) => match self.roll_back_to(&sid).await {
                Err(error) if error.is_db_error() => {
                    self.needs_rollback = true;
                    Ok(())
                }
                rolled_back => rolled_back,
            },
        }
    }

    async fn commit_or_roll_back(&mut self) -> PyResult<()> {
        let error = match self.commit().await {
            Err(error) if error.is_database_error() => error,
            committed => return committed,
        };
        match self.rollback().await {
            Ok(()) => Err(error),
            Err(second) if second.is_db_error() => match self.drop_connection(second).await {
                Ok(()) => Err(error),
                Err(third) => Err(third.during(error)),
            },
            Err(second) => Err(second.during(error)),
        }
    }

    async fn release_or_roll_back(&mut self, sid: &str) -> PyResult<()> {
        let error = match self.savepoint_commit(sid).await {
            Err(error) if error.is_database_error() => error,
            released => return released,
        };
        match self.roll_back_to(sid).await {
            Ok(()) => Err(error),
            Err(second) if second.is_db_error() => {
                self.needs_rollback = true;
                Err(error)
            }
            Err(second) => Err(second.during(error)),
        }
    }

    /// A rollback has failed: the connection is no good.
    async fn drop_connection(&mut self, error: PyError) -> PyResult<()> {
        self.close().await.map_err(|second| second.during(error))
    }

    /// The `finally` in `__exit__`: back to autocommit, which runs the hooks.
    async fn restore(&mut self) -> PyResult<()> {
        if !self.in_atomic_block {
            if self.closed_in_transaction {
                self.connection = None;
            } else {
                self.set_autocommit(true).await?;
            }
        } else if self.savepoint_ids.is_empty() && !self.commit_on_exit {
            if self.closed_in_transaction {
                self.connection = None;
            } else {
                self.in_atomic_block = false;
            }
        }
        Ok(())
    }

    async fn commit(&mut self) -> PyResult<()> {
        self.py.boundary("commit")?;
        self.validate_no_atomic_block()?;
        if let Some(connection) = &mut self.connection {
            connection.commit().await?;
        }
        self.run_commit_hooks_on_set_autocommit_on = true;
        self.py.boundary("commit_hooks_flag")
    }

    async fn rollback(&mut self) -> PyResult<()> {
        self.py.boundary("rollback")?;
        self.validate_no_atomic_block()?;
        if let Some(connection) = &mut self.connection {
            connection.rollback().await?;
        }
        self.needs_rollback = false;
        self.run_on_commit.clear();
        self.py.boundary("hooks_cleared")
    }

    async fn set_autocommit(&mut self, on: bool) -> PyResult<()> {
        self.py.boundary("set_autocommit")?;
        self.validate_no_atomic_block()?;
        self.ensure_connection().await?;
        if let Some(connection) = &mut self.connection {
            connection.set_autocommit(on)?;
        }
        self.autocommit = on;
        self.py.boundary("attribute_autocommit")?;
        if on && self.run_commit_hooks_on_set_autocommit_on {
            self.run_and_clear_commit_hooks().await?;
            self.run_commit_hooks_on_set_autocommit_on = false;
        }
        Ok(())
    }

    /// A hook that raises takes those behind it along: they are in nobody's list any more.
    async fn run_and_clear_commit_hooks(&mut self) -> PyResult<()> {
        self.py.boundary("run_hooks")?;
        self.validate_no_atomic_block()?;
        let current = std::mem::take(&mut self.run_on_commit);
        self.py.boundary("hooks_swap")?;
        for (_, hook) in current {
            self.py.boundary("hook")?;
            hook().await?;
            self.py.boundary("hook_returned")?;
        }
        Ok(())
    }

    async fn get_autocommit(&mut self) -> PyResult<bool> {
        self.ensure_connection().await?;
        Ok(self.autocommit)
    }

    async fn ensure_connection(&mut self) -> PyResult<()> {
        if self.connection.is_some() {
            return Ok(());
        }
        if self.in_atomic_block && self.closed_in_transaction {
            return Err(PyError::new(
                Class::ProgrammingError,
                "Cannot open a new connection in an atomic block.",
            ));
        }
        // It sets autocommit, which ensures a connection.
        Box::pin(self.connect()).await
    }

    async fn connect(&mut self) -> PyResult<()> {
        self.py.boundary("connect")?;
        self.in_atomic_block = false;
        self.savepoint_ids.clear();
        self.needs_rollback = false;
        self.closed_in_transaction = false;
        self.connection = Some(self.driver.connect(&self.py).await?);
        self.set_autocommit(true).await?;
        self.run_on_commit.clear();
        Ok(())
    }

    fn validate_no_atomic_block(&self) -> PyResult<()> {
        match self.in_atomic_block {
            false => Ok(()),
            true => Err(PyError::new(
                Class::TransactionManagementError,
                "This is forbidden when an 'atomic' block is active.",
            )),
        }
    }

    async fn savepoint(&mut self) -> PyResult<Option<String>> {
        if self.get_autocommit().await? {
            return Ok(None);
        }
        self.savepoint_state += 1;
        // The thread's number, as far as one thread has one.
        let sid = format!("s1_x{}", self.savepoint_state);
        self.execute(&format!("SAVEPOINT \"{sid}\"")).await?;
        Ok(Some(sid))
    }

    async fn savepoint_commit(&mut self, sid: &str) -> PyResult<()> {
        if self.get_autocommit().await? {
            return Ok(());
        }
        self.execute(&format!("RELEASE SAVEPOINT \"{sid}\"")).await
    }

    /// `savepoint_rollback`, and the release that always follows it.
    async fn roll_back_to(&mut self, sid: &str) -> PyResult<()> {
        if !self.get_autocommit().await? {
            let sql = format!("ROLLBACK TO SAVEPOINT \"{sid}\"");
            self.execute(&sql).await?;
            self.run_on_commit
                .retain(|(active, _)| !active.contains(sid));
        }
        self.savepoint_commit(sid).await
    }
}
