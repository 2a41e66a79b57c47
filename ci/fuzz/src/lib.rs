//! What both targets do: a session on a server with a small schema, driven until it is idle.
//!
//! A panic, a reply that is no whole message, more than a second or more than a gigabyte is a
//! finding; whatever the session answers is not.

use std::sync::LazyLock;

use bytes::BytesMut;
use fake_pg::engine::{Engine, Pid, ServerConfig, Timestamp};
use fake_pg::session::{CommitAction, Next, Session};
use postgres_protocol::message::backend::Message as Reply;
use postgres_protocol::message::frontend;

/// Microseconds since 1970 when it begins: a day of the third millennium.
const BIRTH: i64 = 1_046_649_600_000_000;
/// How many waits are sat out before the session is terminated.
const WAITS_MAX: usize = 20;
/// How many steps a session may take for a few kilobytes.
const STEPS_MAX: usize = 1_000_000;
/// How many steps a statement may take: few, since one input has several statements and a second.
/// What takes a second all the same is out of proportion to what it was charged.
const STATEMENT_STEPS: usize = 50_000;

static SCHEMA: LazyLock<Engine> = LazyLock::new(|| {
    let mut engine = Engine::default();
    engine
        .load(include_str!("schema.sql"))
        .expect("the schema is good");
    engine.configure(ServerConfig {
        statement_steps: STATEMENT_STEPS,
        max_prepared_transactions: 4,
        ..engine.config().clone()
    });
    engine
});

/// A client, and all that it has been told.
pub struct Client {
    engine: Engine,
    session: Session,
    now: i64,
    replies: BytesMut,
    waits: usize,
    /// It has hung up.
    pub closed: bool,
}

impl Client {
    /// A session before its startup packet.
    pub fn connect() -> Client {
        Client {
            engine: SCHEMA.unshared(),
            session: Session::new(Pid(1), 0),
            now: BIRTH,
            replies: BytesMut::new(),
            waits: 0,
            closed: false,
        }
    }

    /// A session that was let in.
    pub fn log_in() -> Client {
        let mut client = Client::connect();
        let mut startup = BytesMut::new();
        let parameters = [("user", "postgres"), ("database", "postgres")];
        frontend::startup_message(parameters, &mut startup).expect("no zero byte");
        client.send(&startup);
        client.read();
        client
    }

    /// Hands bytes over, and lets the session do what it can.
    pub fn send(&mut self, bytes: &[u8]) {
        self.session.receive(&mut BytesMut::from(bytes));
        for _ in 0..STEPS_MAX {
            match self.session.advance(&mut self.engine, Timestamp(self.now)) {
                Next::Write => self.session.take_output(&mut self.replies),
                Next::Commit(..) => self.session.resume(CommitAction::GoOn),
                Next::Read => return,
                Next::Wait(wait) => {
                    self.waits += 1;
                    match wait.deadline {
                        Some(deadline) if self.waits < WAITS_MAX => {
                            self.now = self.now.max(deadline.0);
                        }
                        _ => self.session.terminate(),
                    }
                }
                Next::Close | Next::CancelRequest { .. } => {
                    self.closed = true;
                    return;
                }
            }
        }
        panic!("it goes on for ever");
    }

    /// Everything it has been told must be messages.
    pub fn read(&mut self) {
        // Encryption is refused with a bare letter.
        while self.replies.first() == Some(&b'N') && self.replies.get(1).is_none_or(|&b| b != 0) {
            let _ = self.replies.split_to(1);
        }
        // The client half does not know the reply to a newer version.
        if self.replies.first() == Some(&b'v') {
            return;
        }
        while let Some(reply) = Reply::parse(&mut self.replies).expect("messages") {
            drop(reply);
        }
        assert!(
            self.replies.is_empty(),
            "whole messages: {:?}",
            self.replies
        );
    }

    /// The end of the session, as the server does it.
    pub fn hang_up(mut self) {
        self.session.eof();
        if !self.closed {
            self.send(&[]);
        }
        self.read();
        drop(self.session.exit(&mut self.engine, Timestamp(self.now)));
    }
}
