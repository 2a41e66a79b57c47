//! The settings of a session: SET, SET LOCAL, RESET, SHOW.
//!
//! A setting follows transactions as in guc.c: SET is undone by ROLLBACK and by
//! ROLLBACK TO, SET LOCAL also by COMMIT. The session says when those happen; names and values are
//! checked here. What PostgreSQL has and fake-pg lacks is refused with `0A000`, unless nobody sees it.

mod acting;
mod refused;
mod units;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use crate::engine::refuse_set;
use crate::error::{PgError, SqlState};
use crate::types::text;
pub use refused::refuse_list;
use refused::{exists, read_only, unknown, unrecognized};

/// What values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    /// Milliseconds, shown with the largest unit that divides them; so many at least.
    Time,
    /// The same, one at least.
    Delay,
    /// Kilobytes, shown with the largest unit that divides them.
    Memory,
    /// An integer, from, to.
    Integer(i64, i64),
    Text,
    /// Identifiers between commas.
    Names,
    Enum(&'static [&'static str]),
    /// Only these values, since others would change what fake-pg answers.
    Only(&'static [&'static str]),
    ReadOnly,
}

struct Known {
    /// As SHOW spells it.
    name: &'static str,
    kind: Kind,
    default: &'static str,
}

const fn known(name: &'static str, kind: Kind, default: &'static str) -> Known {
    Known {
        name,
        kind,
        default,
    }
}

const LEVELS: Kind = Kind::Enum(&[
    "debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error",
]);

/// The settings fake-pg knows, with PostgreSQL 15's defaults.
const KNOWN: &[Known] = &[
    known("application_name", Kind::Text, ""),
    known("bytea_output", Kind::Only(&["hex"]), "hex"),
    known("check_function_bodies", Kind::Bool, "on"),
    known("client_encoding", Kind::Only(&["UTF8"]), "UTF8"),
    known("client_min_messages", LEVELS, "notice"),
    known("DateStyle", Kind::Only(&["ISO, MDY"]), "ISO, MDY"),
    known("deadlock_timeout", Kind::Delay, "1000"),
    known(
        "default_transaction_isolation",
        Kind::Enum(&[
            "serializable",
            "repeatable read",
            "read committed",
            "read uncommitted",
        ]),
        "read committed",
    ),
    known("default_transaction_deferrable", Kind::Bool, "off"),
    known("default_transaction_read_only", Kind::Bool, "off"),
    known("enable_seqscan", Kind::Bool, "on"),
    known("extra_float_digits", Kind::Integer(1, 3), "1"),
    known("idle_in_transaction_session_timeout", Kind::Time, "0"),
    known("idle_session_timeout", Kind::Time, "0"),
    known("in_hot_standby", Kind::ReadOnly, "off"),
    known("integer_datetimes", Kind::ReadOnly, "on"),
    known("IntervalStyle", Kind::Only(&["postgres"]), "postgres"),
    known("is_superuser", Kind::ReadOnly, "on"),
    known("jit", Kind::Bool, "on"),
    known("lock_timeout", Kind::Time, "0"),
    known("max_connections", Kind::ReadOnly, "100"),
    known(
        "password_encryption",
        Kind::Enum(&["md5", "scram-sha-256"]),
        "scram-sha-256",
    ),
    known("role", Kind::ReadOnly, "none"),
    known("row_security", Kind::Bool, "on"),
    known("search_path", Kind::Names, "\"$user\", public"),
    known("server_encoding", Kind::ReadOnly, "UTF8"),
    known("server_version", Kind::ReadOnly, "15.18"),
    known("server_version_num", Kind::ReadOnly, "150018"),
    known("session_authorization", Kind::ReadOnly, "postgres"),
    known("standard_conforming_strings", Kind::Only(&["on"]), "on"),
    known("statement_timeout", Kind::Time, "0"),
    known(
        "synchronous_commit",
        Kind::Enum(&["local", "remote_write", "remote_apply", "on", "off"]),
        "on",
    ),
    known(
        "TimeZone",
        Kind::Only(&["UTC", "Etc/UTC", "GMT", "Etc/GMT", "Zulu", "Universal"]),
        "UTC",
    ),
    known("transaction_deferrable", Kind::ReadOnly, "off"),
    known("transaction_isolation", Kind::ReadOnly, "read committed"),
    known("transaction_read_only", Kind::ReadOnly, "off"),
    known("work_mem", Kind::Memory, "4096"),
];

/// The settings the server reports by ParameterStatus, in the order of
/// PostgreSQL 15's start-up: by name, in any case.
const REPORTED: &[&str] = &[
    "application_name",
    "client_encoding",
    "DateStyle",
    "default_transaction_read_only",
    "in_hot_standby",
    "integer_datetimes",
    "IntervalStyle",
    "is_superuser",
    "server_encoding",
    "server_version",
    "session_authorization",
    "standard_conforming_strings",
    "TimeZone",
];

/// What is known of these: looked up once.
static REPORTED_KNOWN: LazyLock<Vec<&'static Known>> =
    LazyLock::new(|| REPORTED.iter().filter_map(|name| find(name)).collect());

/// What only superusers may set (`PGC_SUSET`).
const SUPERUSERS: [&str; 3] = [
    "deadlock_timeout",
    "session_replication_role",
    "log_statement",
];

/// Values that differ from the defaults, keyed by the folded name.
type Values = Arc<BTreeMap<String, String>>;

/// The values now, and those that COMMIT will leave.
#[derive(Debug, Clone, Default, PartialEq)]
struct State {
    now: Values,
    after_commit: Values,
}

/// A session's settings.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// What the start-up packet asked for: RESET returns to it.
    initial: Values,
    state: State,
    /// Names of no module's, once set: they are there for good, whatever is rolled back.
    custom: BTreeSet<String>,
    /// The state before the transaction block, then before each savepoint.
    saved: Vec<State>,
    /// Who has logged in.
    login: Arc<str>,
}

impl Settings {
    /// Settings at the start of a session. `startup` are the parameters of the
    /// start-up packet other than `user`, `database` and `replication`.
    pub fn new<'a>(startup: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, PgError> {
        let mut settings = Settings::default();
        for (name, value) in startup {
            settings.set(name, Some(value), false)?;
        }
        settings.initial = settings.state.now.clone();
        Ok(settings)
    }

    /// Whether nothing has changed since `other` was cloned from these settings. May say no in
    /// vain, but never yes.
    pub fn is_same(&self, other: &Settings) -> bool {
        Arc::ptr_eq(&self.state.now, &other.state.now)
    }

    /// A transaction begins.
    pub fn begin(&mut self) {
        self.saved.clear();
        self.saved.push(self.state.clone());
    }

    /// The transaction has committed: what SET LOCAL set is gone.
    pub fn commit(&mut self) {
        self.saved.clear();
        self.state.now = self.state.after_commit.clone();
    }

    /// The transaction is rolled back: what SET set is gone too.
    pub fn rollback(&mut self) {
        if !self.saved.is_empty() {
            self.state = self.saved.swap_remove(0);
            self.saved.clear();
        }
    }

    /// A savepoint is made.
    pub fn savepoint(&mut self) {
        self.saved.push(self.state.clone());
    }

    /// How many levels are open: 0 outside transactions, 1 in one, 2 after a
    /// savepoint. To be remembered with a savepoint and given back to
    /// [`Settings::release`] and [`Settings::rollback_to`].
    pub fn level(&self) -> usize {
        self.saved.len()
    }

    /// Levels above `level` are merged into it.
    pub fn release(&mut self, level: usize) {
        self.saved.truncate(level.max(1));
    }

    /// The state returns to what it was when `level` was made, and `level`
    /// stays open.
    pub fn rollback_to(&mut self, level: usize) {
        self.saved.truncate(level.max(1));
        if let Some(state) = self.saved.last() {
            self.state = state.clone();
        }
    }

    /// The value as SHOW shows it. Settings of the transaction itself are the
    /// executor's to answer.
    pub fn get(&self, name: &str) -> Result<String, PgError> {
        self.show(name).ok_or_else(|| unrecognized(name))
    }

    /// The value, `None` for names nobody knows.
    pub fn show(&self, name: &str) -> Option<String> {
        let Some(known) = find(name) else {
            let key = name.to_lowercase();
            let known = self.custom.contains(&key);
            return known.then(|| self.state.now.get(&key).cloned().unwrap_or_default());
        };
        Some(self.shown(known).into_owned())
    }

    /// The settings that clients are told of, as SHOW shows them.
    pub fn reported(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        REPORTED_KNOWN
            .iter()
            .map(|known| (known.name, self.shown(known)))
    }

    fn shown(&self, known: &Known) -> Cow<'_, str> {
        let raw = self.raw(known);
        match known.kind {
            Kind::Time | Kind::Delay => Cow::Owned(units::show(raw, units::TIME, "ms")),
            Kind::Memory => Cow::Owned(units::show(raw, units::MEMORY, "kB")),
            _ => Cow::Borrowed(raw),
        }
    }

    fn raw(&self, known: &Known) -> &str {
        // Nearly always everything is at its default.
        if self.state.now.is_empty() {
            return known.default;
        }
        // Few settings differ from their defaults, so nothing is folded to look one up.
        let mut set = self.state.now.iter();
        set.find(|(name, _)| name.eq_ignore_ascii_case(known.name))
            .map_or(known.default, |(_, value)| value.as_str())
    }

    /// SET and SET LOCAL; `None` is DEFAULT.
    pub fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<(), PgError> {
        let key = name.to_lowercase();
        if let Some(refused) = refuse_set(&key) {
            return Err(refused);
        }
        if SUPERUSERS.contains(&&*key) && !self.is_superuser() {
            return Err(PgError::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("permission denied to set parameter \"{}\"", spelled(name)),
            ));
        }
        let value = match (find(name), value) {
            (Some(known), Some(value)) => Some(check(known, value)?),
            (Some(known), None) if known.kind == Kind::ReadOnly => {
                return Err(read_only(known.name));
            }
            (None, Some(value)) if key.contains('.') => Some(value.to_string()),
            (None, None) if key.contains('.') => self.initial.get(&key).cloned(),
            (Some(_), None) => self.initial.get(&key).cloned(),
            (None, None) if exists(name) => None,
            (None, None) => return Err(unrecognized(name)),
            (None, Some(_)) => return Err(unknown(name)),
        };
        if find(name).is_none() {
            self.custom.insert(key.clone());
        }
        let change = |values: &mut Values| {
            let values = Arc::make_mut(values);
            match &value {
                Some(value) => values.insert(key.clone(), value.clone()),
                None => values.remove(&key),
            };
        };
        change(&mut self.state.now);
        if !local {
            change(&mut self.state.after_commit);
        }
        Ok(())
    }

    /// RESET ALL, and DISCARD ALL's share.
    pub fn reset_all(&mut self) {
        // Who the session acts as is not a setting that this resets (`GUC_NO_RESET_ALL`).
        let kept = ["role", "session_authorization", "is_superuser"];
        let kept = kept.map(|name| (name, self.state.now.get(name).cloned()));
        self.state.now = self.initial.clone();
        self.state.after_commit = self.initial.clone();
        for (name, value) in kept {
            if self.state.now.get(name) != value.as_ref() {
                self.put(name, value.as_deref(), false);
            }
        }
    }

    /// All settings for SHOW ALL, by name.
    pub fn all(&self) -> Vec<(&'static str, String)> {
        KNOWN
            .iter()
            .map(|known| (known.name, self.show(known.name).unwrap_or_default()))
            .collect()
    }

    /// `synchronous_commit`, in lower case.
    pub fn synchronous_commit(&self) -> &str {
        self.raw_of("synchronous_commit")
    }

    /// `lock_timeout`, if any.
    pub fn lock_timeout(&self) -> Option<Duration> {
        self.time("lock_timeout")
    }

    /// `statement_timeout`, if any.
    pub fn statement_timeout(&self) -> Option<Duration> {
        self.time("statement_timeout")
    }

    /// `idle_in_transaction_session_timeout`, if any.
    pub fn idle_in_transaction_session_timeout(&self) -> Option<Duration> {
        self.time("idle_in_transaction_session_timeout")
    }

    /// `idle_session_timeout`, if any.
    pub fn idle_session_timeout(&self) -> Option<Duration> {
        self.time("idle_session_timeout")
    }

    /// `deadlock_timeout`.
    pub fn deadlock_timeout(&self) -> Duration {
        self.time("deadlock_timeout").unwrap_or_default()
    }

    /// `search_path`: the names of schemas, `"$user"` replaced by the user's.
    pub fn search_path(&self, user: &str) -> Vec<Arc<str>> {
        let names = split_identifiers(self.raw_of("search_path")).unwrap_or_default();
        names
            .into_iter()
            .map(|name| match &*name {
                "$user" => user.into(),
                _ => name.into(),
            })
            .collect()
    }

    /// `application_name`.
    pub fn application_name(&self) -> &str {
        self.raw_of("application_name")
    }

    /// `default_transaction_isolation`, in lower case.
    pub fn default_transaction_isolation(&self) -> &str {
        self.raw_of("default_transaction_isolation")
    }

    /// `default_transaction_read_only`.
    pub fn default_transaction_read_only(&self) -> bool {
        self.raw_of("default_transaction_read_only") == "on"
    }

    /// Whether a setting that is on or off is on.
    pub(crate) fn is_on(&self, name: &'static str) -> bool {
        self.raw_of(name) == "on"
    }

    /// `default_transaction_deferrable`.
    pub fn default_transaction_deferrable(&self) -> bool {
        self.raw_of("default_transaction_deferrable") == "on"
    }

    /// The least severe message the client wants, in lower case.
    pub fn client_min_messages(&self) -> &str {
        self.raw_of("client_min_messages")
    }

    fn raw_of(&self, name: &str) -> &str {
        find(name).map_or("", |known| self.raw(known))
    }

    fn time(&self, name: &str) -> Option<Duration> {
        let millis = self.raw_of(name).parse().ok()?;
        (millis > 0).then(|| Duration::from_millis(millis))
    }
}

fn find(name: &str) -> Option<&'static Known> {
    KNOWN
        .iter()
        .find(|known| known.name.eq_ignore_ascii_case(name))
}

/// Whether a setting exists.
pub fn is_known(name: &str) -> bool {
    find(name).is_some()
}

/// The name as PostgreSQL spells it: `TimeZone` for `timezone`.
pub fn spelled(name: &str) -> &str {
    find(name).map_or(name, |known| known.name)
}

fn invalid(known: &Known, value: &str) -> PgError {
    PgError::new(
        SqlState::INVALID_PARAMETER_VALUE,
        format!(
            "invalid value for parameter \"{}\": \"{value}\"",
            known.name
        ),
    )
}

/// Checks a value and gives the form in which it is kept.
fn check(known: &Known, value: &str) -> Result<String, PgError> {
    match known.kind {
        Kind::Text => Ok(value.to_string()),
        Kind::Names => match split_identifiers(value) {
            Some(_) => Ok(value.to_string()),
            None => Err(invalid(known, value).with_detail("List syntax is invalid.")),
        },
        Kind::ReadOnly => Err(read_only(known.name)),
        Kind::Bool => match text::boolean(value) {
            Some(true) => Ok("on".into()),
            Some(false) => Ok("off".into()),
            None => Err(PgError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("parameter \"{}\" requires a Boolean value", known.name),
            )),
        },
        Kind::Integer(from, to) => match value.trim().parse::<i64>() {
            Ok(number) if (from..=to).contains(&number) => Ok(number.to_string()),
            Ok(number) if known.name == "extra_float_digits" && !(-15..=3).contains(&number) => {
                Err(units::outside(known.name, &number.to_string(), (-15, 3)))
            }
            Ok(_) => Err(PgError::feature_not_supported(format_args!(
                "{} = {value}",
                known.name
            ))),
            Err(_) => Err(invalid(known, value)),
        },
        Kind::Time => units::read(known.name, value, units::TIME, "ms", 0),
        Kind::Delay => units::read(known.name, value, units::TIME, "ms", 1),
        Kind::Memory => units::read(known.name, value, units::MEMORY, "kB", 64),
        Kind::Enum(values) => {
            let folded = value.to_lowercase();
            if let Some(value) = values.iter().find(|value| **value == folded) {
                return Ok((*value).to_string());
            }
            // synchronous_commit is an enum that also takes Booleans.
            match text::boolean(value) {
                Some(on) if values.contains(&"on") => Ok(if on { "on" } else { "off" }.into()),
                _ => Err(invalid(known, value)
                    .with_hint(format!("Available values: {}.", values.join(", ")))),
            }
        }
        Kind::Only(values) => {
            let plain = |text: &str| {
                text.to_lowercase()
                    .replace(['-', '_', ' ', '\'', '"'], "")
                    .replace("unicode", "utf8")
            };
            let wanted = plain(value);
            let matches = |value: &&&str| {
                let value = plain(value);
                value == wanted
                    || value.split(',').any(|part| part == wanted)
                    || matches!((value.as_str(), wanted.as_str()), ("on", "true" | "1"))
            };
            values
                .iter()
                .find(matches)
                .map(|value| (*value).to_string())
                .ok_or_else(|| {
                    PgError::feature_not_supported(format_args!("{} = {value}", known.name))
                })
        }
    }
}

/// Names between commas, folded unless quoted; `None` if they are not that
/// (`SplitIdentifierString`).
fn split_identifiers(list: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = list.trim();
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        let after = match rest.strip_prefix('"') {
            Some(mut quoted) => {
                let mut name = String::new();
                loop {
                    let (part, after) = quoted.split_once('"')?;
                    name.push_str(part);
                    match after.strip_prefix('"') {
                        Some(more) => {
                            name.push('"');
                            quoted = more;
                        }
                        None => {
                            names.push(name);
                            break after;
                        }
                    }
                }
            }
            None => {
                let end = rest.find(|c: char| c == ',' || c.is_ascii_whitespace());
                let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
                if name.is_empty() {
                    return None;
                }
                names.push(name.to_lowercase());
                after
            }
        };
        match after.trim_start().strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None if after.trim().is_empty() => return Some(names),
            None => return None,
        }
    }
}

#[cfg(test)]
mod tests;
