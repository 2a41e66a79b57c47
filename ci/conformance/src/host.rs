//! What runs a script: a server with sessions that can be opened, written to and listened to.
//!
//! `run` is the same for fake-pg and for a real server, so both are asked the same questions in
//! the same order.

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;

use crate::client::encode;
use crate::script::{Login, Op, Script, Step};
use crate::transcript::Transcript;

/// What a session has said since it was last listened to.
#[derive(Debug, Default)]
pub struct Heard {
    /// Replies, as they came.
    pub bytes: BytesMut,
    /// It is held up by another session, or sleeps.
    pub waits: bool,
    /// The server has ended it.
    pub closed: bool,
}

/// A server with sessions.
pub trait Host {
    /// Opens a session and logs in; what was said meanwhile is listened to by `settle`.
    fn open(&mut self, session: &str, login: &Login) -> Result<(), String>;
    /// Writes bytes.
    fn send(&mut self, session: &str, bytes: BytesMut) -> Result<(), String>;
    /// Does what is not writing: to a session or, if it is `server`, to all.
    fn act(&mut self, session: &str, op: &Op) -> Result<(), String>;
    /// Lets all sessions go on until each is idle, waits or is gone, and says what they said.
    fn settle(&mut self) -> Result<BTreeMap<String, Heard>, String>;
    /// The pid of a session, if it was let in.
    fn pid(&self, session: &str) -> Option<i32>;
    /// Puts the end of the WAL where a page begins: what fills a page is flushed, and otherwise it
    /// would be chance when that is.
    fn align(&mut self) -> Result<(), String> {
        Ok(())
    }
    /// Days since 1970.
    fn today(&self) -> i64;
}

/// A script in the middle of its run.
pub struct Run<'h> {
    host: &'h mut dyn Host,
    transcript: Transcript,
    open: BTreeSet<String>,
}

impl<'h> Run<'h> {
    /// A run on a fresh database.
    pub fn on(host: &'h mut dyn Host) -> Run<'h> {
        Run {
            host,
            transcript: Transcript::default(),
            open: BTreeSet::new(),
        }
    }

    /// Before a crash in some later step counts: see [`Host::align`].
    pub fn align(&mut self) -> Result<(), String> {
        self.host.align()
    }

    /// Does one step and says what was answered.
    pub fn step(&mut self, step: &Step) -> Result<Vec<String>, String> {
        let session = &step.session;
        self.transcript.set_today(self.host.today());
        let mut bytes = BytesMut::new();
        for op in &step.ops {
            if session != "server" && !self.open.contains(session) {
                self.open(session, op)?;
            }
            match op {
                Op::Start(_) => (),
                Op::Send(message) => encode(&self.with_pids(message)?, &mut bytes)?,
                other => {
                    self.send(session, &mut bytes)?;
                    self.host.act(session, other)?;
                }
            }
        }
        self.send(session, &mut bytes)?;
        let mut heard = self.host.settle()?;
        for (session, heard) in &heard {
            if heard.closed {
                self.open.remove(session);
            }
        }
        let greeted = step.ops.iter().any(|op| matches!(op, Op::Start(_)));
        let greeted = greeted.then_some(session.as_str());
        Ok(self.transcript.tell(&mut heard, greeted))
    }

    /// The message with the pid of session `b` for `{pid b}`.
    fn with_pids(&self, message: &str) -> Result<String, String> {
        let mut parts = message.split("{pid ");
        let mut replaced = parts.next().unwrap_or("").to_string();
        for part in parts {
            let (session, rest) = part.split_once('}').ok_or("{pid without its end")?;
            let pid = self.host.pid(session);
            let pid = pid.ok_or_else(|| format!("no session {session}"))?;
            replaced.push_str(&format!("{pid}{rest}"));
        }
        Ok(replaced)
    }

    fn send(&mut self, session: &str, bytes: &mut BytesMut) -> Result<(), String> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.host.send(session, bytes.split())
    }

    /// Opens a session before its first operation. Only one that is opened by `start` has its
    /// greeting in the transcript, and of that only what differs.
    fn open(&mut self, session: &str, op: &Op) -> Result<(), String> {
        let usual = Login::default();
        let login = match op {
            Op::Start(login) => login,
            _ => &usual,
        };
        self.host.open(session, login)?;
        self.open.insert(session.to_string());
        if let Some(pid) = self.host.pid(session) {
            self.transcript.know(pid, session);
        }
        if !matches!(op, Op::Start(_)) {
            let mut heard = self.host.settle()?;
            let greeting = heard.remove(session).unwrap_or_default();
            if greeting.closed {
                return Err(format!("{session} was not let in"));
            }
        }
        Ok(())
    }
}

/// Runs a script on a fresh database: what was answered to each step.
pub fn run(host: &mut dyn Host, script: &Script) -> Result<Vec<Vec<String>>, String> {
    let mut run = Run::on(host);
    let steps = script.steps();
    steps
        .map(|step| {
            let told = run.step(step);
            told.map_err(|error| format!("{}: {}: {error}", script.name, step.line))
        })
        .collect()
}
