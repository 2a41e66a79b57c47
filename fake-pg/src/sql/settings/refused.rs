//! Names of settings that nobody knows, and values that a setting does not take.

use super::find;
use crate::error::{PgError, SqlState};

/// 22023 for several values of a setting that takes one.
pub fn refuse_list(name: &str) -> Result<(), PgError> {
    const LISTS: [&str; 8] = [
        "datestyle",
        "search_path",
        "temp_tablespaces",
        "local_preload_libraries",
        "session_preload_libraries",
        "shared_preload_libraries",
        "synchronous_standby_names",
        "log_destination",
    ];
    let key = name.to_lowercase();
    if LISTS.contains(&&*key) {
        return Ok(());
    }
    if find(name).is_none() && !exists(name) && !key.contains('.') {
        return Err(unrecognized(name));
    }
    Err(PgError::new(
        SqlState::INVALID_PARAMETER_VALUE,
        format!("SET {name} takes only one argument"),
    ))
}

pub(super) fn unrecognized(name: &str) -> PgError {
    PgError::new(
        SqlState::UNDEFINED_OBJECT,
        format!("unrecognized configuration parameter \"{name}\""),
    )
}

/// Whether PostgreSQL 15 has such a setting.
pub(super) fn exists(name: &str) -> bool {
    let name = name.to_lowercase();
    include_str!("names.txt").lines().any(|known| known == name)
}

/// A name fake-pg does not know may be one that PostgreSQL knows.
pub(super) fn unknown(name: &str) -> PgError {
    if !exists(name) {
        return unrecognized(name);
    }
    PgError::feature_not_supported(format_args!("the configuration parameter \"{name}\""))
}

pub(super) fn read_only(name: &str) -> PgError {
    PgError::new(
        "55P02".parse().unwrap_or(SqlState::INVALID_PARAMETER_VALUE),
        match name {
            "max_connections" => {
                format!("parameter \"{name}\" cannot be changed without restarting the server")
            }
            _ => format!("parameter \"{name}\" cannot be changed"),
        },
    )
}
