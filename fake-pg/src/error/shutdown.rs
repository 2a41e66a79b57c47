//! What a server says that stops or has crashed.

use super::{PgError, SqlState};

impl PgError {
    /// 57P03, fatal.
    pub fn shutting_down() -> Self {
        Self::new(
            SqlState::CANNOT_CONNECT_NOW,
            "the database system is shutting down",
        )
        .fatal()
    }

    /// Warning 57P01: the server is stopped at once.
    pub fn immediate_shutdown() -> Self {
        Self::warning(
            SqlState::ADMIN_SHUTDOWN,
            "terminating connection due to immediate shutdown command",
        )
    }

    /// Warning 57P02: the server starts again.
    pub fn crash_shutdown() -> Self {
        Self::warning(
            SqlState::CRASH_SHUTDOWN,
            "terminating connection because of crash of another server process",
        )
        .with_detail(
            "The postmaster has commanded this server process to roll back the current transaction \
             and exit, because another server process exited abnormally and possibly corrupted \
             shared memory.",
        )
        .with_hint(
            "In a moment you should be able to reconnect to the database and repeat your command.",
        )
    }
}
