//! CPython, as far as asynchronous exceptions go: where a signal's handler may raise.
//!
//! A handler runs in the main thread, between two bytecodes, when the interpreter
//! looks. It looks at boundaries, and in waits that a signal interrupts. It does
//! not look while a C function runs, even one that has released the interpreter:
//! the exception stays pending and is raised at the boundary behind the call.
//!
//! Source: `_Py_HandlePending` in `Python/ceval_gil.c`; PEP 475 for waits.

use std::error::Error;
use std::fmt;
use std::future::Future;

use midcommit::{Env, Exception};

/// What a Python function returns, or raises.
pub(crate) type PyResult<T> = Result<T, PyError>;

/// The interpreter of one process.
#[derive(Clone)]
pub(crate) struct Python {
    env: Env,
}

impl Python {
    pub(crate) fn new(env: Env) -> Python {
        Python { env }
    }

    /// The world around the interpreter.
    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    /// Between two bytecodes: a pending signal's handler runs here, and may raise.
    pub(crate) fn boundary(&self, name: &str) -> PyResult<()> {
        match self.env.boundary(name) {
            None => Ok(()),
            Some(exception) => Err(PyError::asynchronous(&exception)),
        }
    }

    /// A C function that does not look for signals. What arrives meanwhile waits for the boundary
    /// that must follow.
    pub(crate) async fn c_call<T>(&self, function: impl Future<Output = T>) -> T {
        function.await
    }

    /// A wait for a socket: a signal ends it at once. What the socket has by then stays there.
    pub(crate) async fn wait<T>(&self, ready: impl Future<Output = T>) -> PyResult<T> {
        tokio::select! {
            biased;
            () = self.env.signalled() => match self.env.take_exception() {
                Some(exception) => Err(PyError::asynchronous(&exception)),
                None => unreachable!("only this task takes the process's exceptions"),
            },
            output = ready => Ok(output),
        }
    }
}

/// `try: … finally: …`. What the `finally` raises replaces what the `try` raised.
pub(crate) fn finally<T>(tried: PyResult<T>, last: PyResult<()>) -> PyResult<T> {
    match (tried, last) {
        (tried, Ok(())) => tried,
        (Ok(_), Err(error)) => Err(error),
        (Err(first), Err(error)) => Err(error.during(first)),
    }
}

/// A raised exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PyError {
    class: Class,
    message: String,
    sqlstate: Option<String>,
    /// What was being handled when it was raised: `__context__`.
    context: Option<Box<PyError>>,
}

/// The exceptions there are in the modelled programs. Those of the database are PEP 249's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    SystemExit,
    KeyboardInterrupt,
    /// billiard's; an `Exception`, other than the two above.
    SoftTimeLimitExceeded,
    /// What a task raises to have its transaction rolled back.
    Abandoned,
    /// kombu's `OperationalError`: the broker did not take the message.
    BrokerError,
    /// PEP 249's, and not a `DatabaseError`.
    InterfaceError,
    OperationalError,
    ProgrammingError,
    IntegrityError,
    InternalError,
    DataError,
    DatabaseError,
    /// Django's; a `ProgrammingError`.
    TransactionManagementError,
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Class::SystemExit => "SystemExit",
            Class::KeyboardInterrupt => "KeyboardInterrupt",
            Class::SoftTimeLimitExceeded => "SoftTimeLimitExceeded",
            Class::Abandoned => "Abandoned",
            Class::BrokerError => "kombu.OperationalError",
            Class::InterfaceError => "InterfaceError",
            Class::OperationalError => "OperationalError",
            Class::ProgrammingError => "ProgrammingError",
            Class::IntegrityError => "IntegrityError",
            Class::InternalError => "InternalError",
            Class::DataError => "DataError",
            Class::DatabaseError => "DatabaseError",
            Class::TransactionManagementError => "TransactionManagementError",
        }
    }
}

impl PyError {
    pub(crate) fn new(class: Class, message: impl Into<String>) -> PyError {
        PyError {
            class,
            message: message.into(),
            sqlstate: None,
            context: None,
        }
    }

    /// What a signal's handler raises.
    ///
    /// # Panics
    ///
    /// If the scenario raises what no handler of the modelled programs does.
    fn asynchronous(exception: &Exception) -> PyError {
        let class = match &*exception.0 {
            "SystemExit" => Class::SystemExit,
            "KeyboardInterrupt" => Class::KeyboardInterrupt,
            "SoftTimeLimitExceeded" => Class::SoftTimeLimitExceeded,
            other => panic!("no signal handler of the modelled programs raises {other}"),
        };
        PyError::new(class, "")
    }

    /// With the server's code.
    pub(crate) fn with_sqlstate(mut self, code: &str) -> PyError {
        self.sqlstate = Some(code.to_owned());
        self
    }

    /// Raised while `first` was being handled: `first` is seen no more.
    pub(crate) fn during(mut self, first: PyError) -> PyError {
        match &mut self.context {
            None => self.context = Some(Box::new(first)),
            Some(context) => **context = context.clone().during(first),
        }
        self
    }

    pub(crate) fn class(&self) -> Class {
        self.class
    }

    /// The server's code, if it was the server who objected.
    pub(crate) fn sqlstate(&self) -> Option<&str> {
        self.sqlstate.as_deref()
    }

    /// Whether `except Exception` catches it.
    pub(crate) fn is_exception(&self) -> bool {
        !matches!(self.class, Class::SystemExit | Class::KeyboardInterrupt)
    }

    /// Whether `except DatabaseError` catches it.
    pub(crate) fn is_database_error(&self) -> bool {
        matches!(
            self.class,
            Class::OperationalError
                | Class::ProgrammingError
                | Class::IntegrityError
                | Class::InternalError
                | Class::DataError
                | Class::DatabaseError
                | Class::TransactionManagementError
        )
    }

    /// Whether `except django.db.Error` catches it.
    pub(crate) fn is_db_error(&self) -> bool {
        self.class == Class::InterfaceError || self.is_database_error()
    }
}

impl fmt::Display for PyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.class.name())?;
        if let Some(code) = &self.sqlstate {
            write!(f, " {code}")?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        match &self.context {
            None => Ok(()),
            Some(first) => write!(f, " (masks {first})"),
        }
    }
}

impl Error for PyError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tried: Option<Class>, last: Option<Class>, expected: &str) {
        let raise = |class: Option<Class>| match class {
            None => Ok(()),
            Some(class) => Err(PyError::new(class, "")),
        };
        let seen = match finally(raise(tried), raise(last)) {
            Ok(()) => "ok".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(seen, expected);
    }

    #[test]
    fn an_exception_in_a_finally_masks_the_first() {
        use Class::{ProgrammingError, SystemExit};
        check(None, None, "ok");
        check(Some(SystemExit), None, "SystemExit");
        check(None, Some(ProgrammingError), "ProgrammingError");
        check(
            Some(SystemExit),
            Some(ProgrammingError),
            "ProgrammingError (masks SystemExit)",
        );
    }

    #[test]
    fn only_interpreter_exits_are_no_exceptions() {
        let caught = |class| PyError::new(class, "").is_exception();
        assert!(!caught(Class::SystemExit));
        assert!(!caught(Class::KeyboardInterrupt));
        assert!(caught(Class::SoftTimeLimitExceeded));
        assert!(caught(Class::ProgrammingError));
    }
}
