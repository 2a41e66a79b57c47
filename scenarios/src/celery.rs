//! Celery, as far as a task needs it: putting a message on the broker's queue.

use midcommit::EffectError;

use crate::python::{Class, PyError, PyResult, Python};

/// `task.delay(key)`: publishes a message and waits for the broker, over a socket.
///
/// Without kombu's retries: a broker that is down fails the call.
pub(crate) async fn delay(py: &Python, task: &str, key: &str) -> PyResult<()> {
    py.boundary("delay")?;
    let sent = py.wait(py.env().effect(task, key)).await?;
    py.boundary("delay_returned")?;
    sent.map_err(|error| {
        let message = match error {
            EffectError::Refused => "connection refused",
            EffectError::Unknown => "connection reset before the broker confirmed",
        };
        PyError::new(Class::BrokerError, message)
    })
}
