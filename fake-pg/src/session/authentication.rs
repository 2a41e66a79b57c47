//! Whether a client is who it says: trust, MD5 or SCRAM-SHA-256, as the embedder demands.
//!
//! Who is unknown is asked for a password all the same, and fails as with a wrong one.
//! Source: `ClientAuthentication` in `libpq/auth.c`.

use super::password::{Exchange, Refusal, md5_answers};
use super::{Next, Session, Work};
use crate::engine::Engine;
use crate::error::{PgError, SqlState};
use crate::wire::backend;
use crate::wire::frontend::{self, Startup};

/// What is asked of clients, as `pg_hba.conf` says it for all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Authentication {
    /// Nothing.
    #[default]
    Trust,
    /// A password, by MD5 or, for roles that have such a verifier, by SCRAM.
    Md5,
    /// A password, by SCRAM.
    Scram,
}

/// The longest answer to a challenge (`PG_MAX_AUTH_TOKEN_LENGTH`).
const ANSWER_LENGTH_MAX: usize = 65535;

/// A client that is being asked.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) startup: Startup,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Md5([u8; 4]),
    Mechanism,
    Proof(Box<Exchange>),
}

impl Session {
    /// Asks for what the embedder demands; `None` if that is nothing.
    pub(super) fn ask(&mut self, startup: Startup, engine: &mut Engine) -> Result<Startup, Asking> {
        let verifier = self.verifier(engine);
        let is_scram = |verifier: &String| verifier.starts_with("SCRAM-SHA-256$");
        let stage = match self.authentication {
            Authentication::Trust => return Ok(startup),
            Authentication::Md5 if verifier.as_ref().is_some_and(|kept| !is_scram(kept)) => {
                let secret = engine.draw_secret();
                let salt = [secret[0], secret[1], secret[2], secret[3]];
                backend::authentication_md5(&mut self.output, salt);
                Stage::Md5(salt)
            }
            Authentication::Md5 | Authentication::Scram => {
                backend::authentication_sasl(&mut self.output, "SCRAM-SHA-256");
                Stage::Mechanism
            }
        };
        self.flush();
        Err(Asking { startup, stage })
    }

    /// What the role's password is checked against.
    fn verifier(&self, engine: &Engine) -> Option<String> {
        let role = engine.catalog().role(&self.user)?;
        let expired = role.valid_until.is_some_and(|until| until < self.now);
        role.password
            .as_ref()
            .filter(|_| !expired)
            .map(|verifier| verifier.to_string())
    }

    /// Goes on with a client that is being asked. `None` goes on.
    pub(super) fn authenticate(
        &mut self,
        asking: Box<Asking>,
        engine: &mut Engine,
    ) -> Option<Next> {
        if self.terminated {
            self.fatal(PgError::admin_shutdown());
            return None;
        }
        let Some((&tag, mut length)) = self.input.first().zip(self.input.get(1..5)) else {
            self.work = Work::Authenticating(asking);
            return self.read();
        };
        let length = usize::try_from(bytes::Buf::get_i32(&mut length)).unwrap_or(0);
        if tag != b'p' {
            self.fatal(PgError::protocol_violation(format!(
                "expected {} response, got message type {tag}",
                match asking.stage {
                    Stage::Md5(_) => "password",
                    _ => "SASL",
                }
            )));
            return None;
        }
        if !(4..=ANSWER_LENGTH_MAX).contains(&length) {
            self.hang_up();
            return None;
        }
        if self.input.len() <= length {
            self.work = Work::Authenticating(asking);
            return self.read();
        }
        let message = self.input.split_to(length + 1);
        match self.answered(*asking, &message[5..], engine) {
            Ok(Some(asking)) => {
                self.flush();
                self.work = Work::Authenticating(Box::new(asking));
            }
            Ok(None) => {}
            Err(error) => self.fatal(error),
        }
        None
    }

    fn answered(
        &mut self,
        asking: Asking,
        body: &[u8],
        engine: &mut Engine,
    ) -> Result<Option<Asking>, PgError> {
        let verifier = self.verifier(engine);
        let Asking { startup, stage } = asking;
        let user = self.user.clone();
        let refused = |refusal| match refusal {
            Refusal::Wrong => wrong_password(&user),
            Refusal::Malformed(message, detail) => {
                PgError::protocol_violation(message).with_detail(detail)
            }
        };
        match stage {
            Stage::Md5(salt) => {
                let answer = body.strip_suffix(&[0]).unwrap_or(body);
                let answer = std::str::from_utf8(answer).unwrap_or("");
                if answer.is_empty() {
                    let error = PgError::new(
                        SqlState::INVALID_PASSWORD,
                        "empty password returned by client",
                    );
                    return Err(error.fatal());
                }
                match verifier.is_some_and(|verifier| md5_answers(&verifier, &salt, answer)) {
                    true => self.let_in(startup, engine).map(|()| None),
                    false => Err(wrong_password(&user)),
                }
            }
            Stage::Mechanism => {
                let Some((mechanism, message)) = frontend::sasl_initial(body) else {
                    return Err(PgError::protocol_violation("invalid message format"));
                };
                if mechanism != "SCRAM-SHA-256" {
                    return Err(PgError::protocol_violation(
                        "client selected an invalid SASL authentication mechanism",
                    ));
                }
                let secret = engine.draw_secret();
                let begun = Exchange::begin(verifier.as_deref(), message, &secret);
                let (exchange, answer) = begun.map_err(refused)?;
                backend::authentication_sasl_continue(&mut self.output, &answer);
                let stage = Stage::Proof(Box::new(exchange));
                Ok(Some(Asking { startup, stage }))
            }
            Stage::Proof(exchange) => {
                let message = std::str::from_utf8(body).unwrap_or("");
                let proof = exchange.finish(message).map_err(refused)?;
                backend::authentication_sasl_final(&mut self.output, &proof);
                self.let_in(startup, engine).map(|()| None)
            }
        }
    }
}

fn wrong_password(user: &str) -> PgError {
    PgError::new(
        SqlState::INVALID_PASSWORD,
        format!("password authentication failed for user \"{user}\""),
    )
    .fatal()
}
