//! From the first byte to the first ReadyForQuery.
//!
//! Encryption is refused politely; who is let in is `authentication`'s. Texts and their order are
//! those of `ProcessStartupPacket` in `postmaster/postmaster.c`.

use std::sync::Arc;

use super::{Next, Session, Work};
use crate::engine::{Activity, ActivityState, DatabaseId, Engine, Role, SearchPath};
use crate::error::{PgError, SqlState};
use crate::sql::settings::Settings;
use crate::wire::backend;
use crate::wire::frontend::{self, BadFrame, Opening, Startup};

/// What has been asked for before the startup packet: each may be asked for once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Asked {
    ssl: bool,
    gss: bool,
}

impl Session {
    /// Reads one opening. `None` goes on.
    pub(super) fn open(&mut self, mut asked: Asked, engine: &mut Engine) -> Option<Next> {
        let opening = match frontend::opening(&mut self.input) {
            Ok(Some(opening)) => opening,
            Ok(None) => {
                self.work = Work::Opening(asked);
                return self.read();
            }
            // The real server only logs it.
            Err(BadFrame::Length | BadFrame::UnknownType(_)) => {
                self.hang_up();
                return None;
            }
        };
        match opening {
            Opening::Ssl if !asked.ssl => {
                asked.ssl = true;
                return self.refuse_encryption(asked, "SSL request");
            }
            Opening::GssEnc if !asked.gss => {
                asked.gss = true;
                return self.refuse_encryption(asked, "GSSAPI encryption request");
            }
            Opening::Ssl => self.fatal(unsupported_protocol(1234, 5679)),
            Opening::GssEnc => self.fatal(unsupported_protocol(1234, 5680)),
            Opening::Cancel { pid, key } => {
                self.work = Work::Closing;
                return Some(Next::CancelRequest {
                    pid: crate::engine::Pid(pid),
                    key,
                });
            }
            Opening::Startup(startup) => match self.start(startup, engine) {
                Ok(()) => (),
                Err(error) => self.fatal(error),
            },
        }
        None
    }

    fn refuse_encryption(&mut self, asked: Asked, request: &str) -> Option<Next> {
        self.output.extend_from_slice(b"N");
        self.flush();
        self.work = Work::Opening(asked);
        if !self.input.is_empty() {
            self.fatal(
                PgError::protocol_violation(format!("received unencrypted data after {request}"))
                    .with_detail(
                        "This could be either a client-software bug or evidence of an attempted \
                         man-in-the-middle attack.",
                    ),
            );
        }
        None
    }

    fn start(&mut self, startup: Startup, engine: &mut Engine) -> Result<(), PgError> {
        if startup.major != 3 {
            return Err(unsupported_protocol(startup.major, startup.minor));
        }
        let extensions = startup.parameters.iter().map(|(name, _)| name.as_str());
        let extensions: Vec<_> = extensions.filter(|n| n.starts_with("_pq_.")).collect();
        if !startup.terminated {
            return Err(PgError::protocol_violation(
                "invalid startup packet layout: expected terminator as last byte",
            ));
        }
        if startup.minor > 0 || !extensions.is_empty() {
            backend::negotiate_protocol_version(&mut self.output, &extensions);
        }
        if let Some(refusal) = self.refusal.take() {
            return Err(*refusal);
        }
        let given = |wanted: &str| {
            let mut found = startup.parameters.iter().filter(|(name, _)| name == wanted);
            found.next_back().map(|(_, value)| value.as_str())
        };
        let user = given("user").filter(|user| !user.is_empty());
        let user = user.ok_or_else(|| {
            PgError::new(
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                "no PostgreSQL user name specified in startup packet",
            )
        })?;
        let database = given("database").filter(|database| !database.is_empty());
        if given("replication").is_some_and(|value| !matches!(value, "false" | "off" | "no" | "0"))
        {
            return Err(PgError::feature_not_supported("replication connections"));
        }
        self.user = user.into();
        self.database = database.unwrap_or(user).into();
        match self.ask(startup, engine) {
            Ok(startup) => self.let_in(startup, engine),
            Err(asking) => {
                self.work = Work::Authenticating(Box::new(asking));
                Ok(())
            }
        }
    }

    /// Lets in a client that is who it says.
    ///
    /// Source: `InitPostgres` in `utils/init/postinit.c`.
    pub(super) fn let_in(&mut self, startup: Startup, engine: &mut Engine) -> Result<(), PgError> {
        let given = |wanted: &str| {
            let mut found = startup.parameters.iter().filter(|(name, _)| name == wanted);
            found.next_back().map(|(_, value)| value.as_str())
        };
        backend::authentication_ok(&mut self.output);
        let role = self.find_role(engine)?;
        let database = find_database(engine, &self.database)?;
        let own = |name: &str| {
            matches!(name, "user" | "database" | "options" | "replication")
                || name.starts_with("_pq_.")
        };
        let mut asked = given("options")
            .map(options)
            .transpose()?
            .unwrap_or_default();
        asked.extend(
            startup
                .parameters
                .iter()
                .filter(|(name, _)| !own(name))
                .cloned(),
        );
        let asked = asked
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let defaults = role.settings.iter().filter(|setting| {
            let database = setting.database.as_ref();
            database.is_none_or(|database| *database == self.database)
        });
        // What is said of one database goes before what is said of all.
        let (special, general): (Vec<_>, Vec<_>) =
            defaults.partition(|setting| setting.database.is_some());
        let defaults = general.into_iter().chain(special);
        let defaults = defaults.map(|setting| (&*setting.name, &*setting.value));
        self.settings = Settings::new(defaults.chain(asked))?;
        self.settings.log_in(&self.user, role.superuser);
        self.path = Arc::new(SearchPath {
            database,
            ..SearchPath::standard().clone()
        });
        self.path = self.search_path();
        self.report_settings();
        backend::backend_key_data(&mut self.output, self.pid.0, self.key);
        self.let_in = true;
        let application_name = Arc::clone(&self.known().application_name);
        let activity = Activity {
            database: Arc::clone(&self.database),
            user: Arc::clone(&self.user),
            application_name,
            state: ActivityState::Idle,
            query: Arc::default(),
            backend_start: self.now,
            xact_start: None,
            query_start: None,
            state_change: self.now,
            waiting: None,
        };
        engine.begin_session(self.pid, activity);
        self.ready(engine);
        Ok(())
    }
}

/// Source: `InitPostgres` in `utils/init/postinit.c`.
fn find_database(engine: &Engine, name: &str) -> Result<DatabaseId, PgError> {
    let Some(database) = engine.catalog().database(name) else {
        let message = format!("database \"{name}\" does not exist");
        return Err(PgError::new(SqlState::INVALID_CATALOG_NAME, message));
    };
    if !database.allows_connections {
        let message = format!("database \"{name}\" is not currently accepting connections");
        return Err(PgError::new(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            message,
        ));
    }
    Ok(database.id)
}

impl Session {
    /// The role that logs in.
    ///
    /// Source: `InitializeSessionUserId` in `utils/init/miscinit.c`.
    fn find_role(&self, engine: &Engine) -> Result<Arc<Role>, PgError> {
        let user = &self.user;
        let refuse =
            |message| PgError::new(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, message).fatal();
        let Some(role) = engine.catalog().role(user) else {
            return Err(refuse(format!("role \"{user}\" does not exist")));
        };
        if !role.login {
            return Err(refuse(format!(
                "role \"{user}\" is not permitted to log in"
            )));
        }
        let limit = usize::try_from(role.connection_limit).unwrap_or(usize::MAX);
        if !role.superuser && engine.sessions_of(user) >= limit {
            return Err(PgError::new(
                SqlState::TOO_MANY_CONNECTIONS,
                format!("too many connections for role \"{user}\""),
            ));
        }
        Ok(role.clone())
    }
}

fn unsupported_protocol(major: u16, minor: u16) -> PgError {
    PgError::new(
        SqlState::FEATURE_NOT_SUPPORTED,
        format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0"),
    )
}

/// The settings in `-c name=value --name=value`, with spaces and backslashes escaped.
///
/// Source: `pg_split_opts` in `utils/init/postinit.c` and `process_postgres_switches`.
fn options(text: &str) -> Result<Vec<(String, String)>, PgError> {
    let mut words = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character.is_ascii_whitespace() {
            words.push(String::new());
        } else if let Some(word) = words.last_mut() {
            match character {
                '\\' => word.extend(characters.next()),
                other => word.push(other),
            }
        }
    }
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let assignment = match word.strip_prefix("--") {
            Some(rest) => Some(rest.to_string()),
            None => match word.strip_prefix("-c") {
                Some("") => words.next(),
                Some(rest) => Some(rest.to_string()),
                None => None,
            },
        };
        let assignment = assignment.as_deref().and_then(|text| text.split_once('='));
        let (name, value) = assignment.ok_or_else(|| {
            PgError::new(
                SqlState::SYNTAX_ERROR,
                format!("invalid command-line argument for server process: {word}"),
            )
            .with_hint("Try \"postgres --help\" for more information.")
        })?;
        // Dashes stand for underscores on a command line.
        settings.push((name.replace('-', "_"), value.to_string()));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_split_as_on_a_command_line() {
        let read = |text| {
            let options = options(text).map_err(|error| error.message.clone());
            options.map(|all| {
                all.iter()
                    .map(|(n, v)| format!("{n}={v}"))
                    .collect::<Vec<_>>()
            })
        };
        let expected = ["lock_timeout=5s", "a=b c", "x_y=1"];
        assert_eq!(
            read(r"-c lock_timeout=5s  -ca=b\ c --x-y=1"),
            Ok(expected.map(String::from).to_vec())
        );
        assert_eq!(read(""), Ok(vec![]));
        assert_eq!(
            read("-Z"),
            Err("invalid command-line argument for server process: -Z".into())
        );
    }
}
