//! fake-pg as a host: an engine and its sessions, without sockets, with a hand-wound clock.
//!
//! What stays true: the same script gives the same bytes. Time goes on by a moment with each step,
//! by `LOCK_WAIT` when somebody waits after it, since a real server is given that time to find a
//! deadlock, and by what `sleep` says.

use std::collections::{BTreeMap, VecDeque};

use bytes::BytesMut;
use fake_pg::engine::{CommitPoint, Engine, Pid, Signal, Timestamp};
use fake_pg::error::SqlState;
use fake_pg::session::{Authentication, CommitAction, Next, Session};
use postgres_protocol::message::backend::Message as Reply;

use crate::client::Exchange;
use crate::host::{Heard, Host};
use crate::script::{Login, Op};

/// Microseconds between two steps.
const MOMENT: i64 = 1000;
/// Microseconds that pass while somebody waits: more than `deadlock_timeout` below.
const LOCK_WAIT: i64 = 40_000;
/// When the world begins: 2003-03-03, a day that no script mentions.
const BIRTH: i64 = 1_046_649_600_000_000;
const DAY: i64 = 86_400_000_000;

/// An engine and its sessions.
pub struct Fake {
    engine: Engine,
    now: i64,
    clients: BTreeMap<String, Client>,
    pids: i32,
    /// The server's settings, as options of each session.
    options: String,
    /// What the next COMMIT fails with.
    failure: Option<SqlState>,
    /// Who waited when the last step was over.
    waited: Vec<(String, Option<Timestamp>)>,
    /// Chance, where several sessions can go on: otherwise by name.
    chance: Option<u64>,
    /// Who went on last.
    last: Option<String>,
}

struct Client {
    session: Session,
    pid: Pid,
    /// What the session has written and nobody has read yet.
    replies: BytesMut,
    waits: bool,
    deadline: Option<Timestamp>,
    woken: bool,
    closed: bool,
    /// The client is gone and hears nothing.
    deaf: bool,
    /// Messages on their way, when others may go first.
    messages: VecDeque<BytesMut>,
    /// The client sends nothing after them.
    departs: bool,
}

impl Fake {
    /// A new server with these settings.
    pub fn new(settings: &[(String, String)]) -> Fake {
        let mut options = String::from("-c deadlock_timeout=10ms");
        // What only the server can be told is in its own configuration; the rest, each session's.
        let mut engine = Engine::default();
        let mut configure = |name: &str, value: &str| engine.alter_system(Some(name), Some(value));
        let _ = configure("max_prepared_transactions", "20");
        for (name, value) in settings {
            if configure(name, value).is_ok() {
                continue;
            }
            let value = value.replace('\\', "\\\\").replace(' ', "\\ ");
            options.push_str(&format!(" -c {name}={value}"));
        }
        // The database that every script runs in.
        engine
            .load("create database script")
            .expect("a fresh server makes a database");
        engine.restart();
        Fake {
            engine,
            now: BIRTH,
            clients: BTreeMap::new(),
            pids: 1_000_000,
            options,
            failure: None,
            waited: Vec::new(),
            chance: None,
            last: None,
        }
    }

    /// The same, but where several sessions can go on, chance decides who does, message by message.
    /// A real server's scheduler does the same.
    pub fn by_chance(settings: &[(String, String)], seed: u64) -> Fake {
        Fake {
            chance: Some(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            ..Fake::new(settings)
        }
    }

    /// Who goes on next: by chance, mostly who went on last, as one that runs does on a processor.
    fn next(&mut self) -> Option<String> {
        let mut woken = self.clients.iter().filter(|(_, client)| client.woken);
        let Some(chance) = &mut self.chance else {
            return woken.next().map(|(name, _)| name.clone());
        };
        let woken: Vec<&String> = woken.map(|(name, _)| name).collect();
        let stays = self.last.take().filter(|last| woken.contains(&last));
        self.last = match stays.filter(|_| !draw(chance).is_multiple_of(4)) {
            Some(last) => Some(last),
            None => {
                let pick = draw(chance) % woken.len().max(1);
                woken.get(pick).map(|name| name.to_string())
            }
        };
        self.last.clone()
    }

    fn client(&mut self, session: &str) -> Result<&mut Client, String> {
        let client = self.clients.get_mut(session);
        client.ok_or_else(|| format!("no session {session}"))
    }

    /// Advances all sessions until each needs something that is not there.
    fn run(&mut self) {
        while let Some(name) = self.next() {
            let Some(client) = self.clients.get_mut(&name) else {
                return;
            };
            client.woken = false;
            while !client.closed {
                (client.waits, client.deadline) = (false, None);
                let now = Timestamp(self.now);
                match client.session.advance(&mut self.engine, now) {
                    Next::Write => client.session.take_output(&mut client.replies),
                    Next::Commit(_, CommitPoint::Deferred) => {
                        let failure = self.failure.take().map(CommitAction::Fail);
                        client.session.resume(failure.unwrap_or(CommitAction::GoOn));
                    }
                    Next::Commit(..) => client.session.resume(CommitAction::GoOn),
                    Next::Read => {
                        client.deadline = client.session.deadline();
                        client.woken = client.hand_over();
                        break;
                    }
                    Next::Wait(wait) => {
                        let deadlines = [wait.deadline, client.session.deadline()];
                        client.deadline = deadlines.into_iter().flatten().min();
                        client.waits = true;
                        break;
                    }
                    Next::Close | Next::CancelRequest { .. } => {
                        let fresh = Session::new(client.pid, 0);
                        let session = std::mem::replace(&mut client.session, fresh);
                        drop(session.exit(&mut self.engine, now));
                        client.closed = true;
                    }
                }
            }
            for (pid, signal) in self.engine.take_signals() {
                let signalled = self.clients.values_mut().filter(|client| client.pid == pid);
                signalled.for_each(|client| {
                    match signal {
                        Signal::Cancel => client.session.cancel(),
                        Signal::Terminate => client.session.terminate(),
                    }
                    client.woken = true;
                });
            }
            for pid in self.engine.take_wakeups() {
                let woken = self.clients.values_mut().filter(|client| client.pid == pid);
                woken.for_each(|client| client.woken = true);
            }
        }
    }

    /// Lets time pass, deadline by deadline.
    fn pass(&mut self, time: i64) {
        let end = self.now + time;
        // A deadline that stays where it is must not hold time up.
        for _ in 0..10_000 {
            let deadlines = self.clients.values().filter(|client| !client.closed);
            let deadlines = deadlines.filter_map(|client| client.deadline);
            let next = deadlines.min().map_or(end, |next| next.0.min(end));
            self.now = next.max(self.now);
            let now = Timestamp(self.now);
            let mut due = false;
            for client in self.clients.values_mut() {
                if client.deadline.is_some_and(|deadline| deadline <= now) {
                    (client.woken, due) = (true, true);
                }
            }
            self.run();
            if !due && self.now >= end {
                return;
            }
        }
        panic!("deadlines pass and nobody moves");
    }

    /// Who waits, and until when: one who waits anew has another deadline.
    fn waiting(&self) -> Vec<(String, Option<Timestamp>)> {
        let waiting = self.clients.iter().filter(|(_, client)| client.waits);
        waiting
            .map(|(name, client)| (name.clone(), client.deadline))
            .collect()
    }
}

impl Host for Fake {
    fn open(&mut self, session: &str, login: &Login) -> Result<(), String> {
        self.pids += 1;
        // A real server's processes have places too, of which the last that was left is the next
        // that is taken: what goes by them goes in any order.
        let place = self.chance.as_mut().map_or(0, |chance| draw(chance) % 1000);
        let pid = Pid(place as i32 * 1_000_000 + self.pids);
        let mut fresh = Session::new(pid, 0);
        // As `server` has it in pg_hba.conf: the superuser is trusted.
        if login.parameter("user") != Some("postgres") {
            fresh.demand(Authentication::Md5);
        }
        let client = Client {
            session: fresh,
            pid,
            replies: BytesMut::new(),
            waits: false,
            deadline: None,
            woken: true,
            closed: false,
            deaf: false,
            messages: VecDeque::new(),
            departs: false,
        };
        let mut login = login.clone();
        let asked = login.parameter("options").unwrap_or("");
        let options = format!("{} {asked}", self.options);
        login.parameters.retain(|(name, _)| name != "options");
        login.parameters.push(("options".into(), options));
        self.clients.insert(session.to_string(), client);
        let (mut exchange, mut heard) = (Exchange::default(), BytesMut::new());
        self.send(session, Exchange::startup(&login))?;
        loop {
            self.run();
            let client = self.client(session)?;
            let replies = std::mem::take(&mut client.replies);
            heard.extend_from_slice(&replies);
            let (mut replies, mut said) = (replies, BytesMut::new());
            while let Ok(Some(reply)) = Reply::parse(&mut replies) {
                said.extend(exchange.answer(&login, &reply).unwrap_or_default());
            }
            if said.is_empty() {
                client.replies = heard;
                return Ok(());
            }
            self.send(session, said)?;
        }
    }

    fn send(&mut self, session: &str, mut bytes: BytesMut) -> Result<(), String> {
        let chance = self.chance.is_some();
        let client = self.client(session)?;
        if chance && client.session.is_let_in() {
            client.messages.extend(messages(bytes));
        } else {
            client.session.receive(&mut bytes);
        }
        client.woken = true;
        Ok(())
    }

    fn act(&mut self, session: &str, op: &Op) -> Result<(), String> {
        match op {
            Op::Sleep(time) => {
                self.run();
                self.pass(time.as_micros() as i64);
            }
            Op::Fail(code) => {
                self.failure = Some(code.parse().map_err(|_| format!("no SQLSTATE: {code}"))?);
            }
            Op::Crash => {
                self.clients.values_mut().for_each(Client::hang_up);
                self.engine.crash();
            }
            Op::Restart => {
                let now = Timestamp(self.now);
                for client in self.clients.values_mut() {
                    client.hang_up();
                    let fresh = Session::new(client.pid, 0);
                    let session = std::mem::replace(&mut client.session, fresh);
                    for mut commit in session.exit(&mut self.engine, now) {
                        while matches!(commit.step(&mut self.engine, now), Ok(Some(_))) {}
                    }
                }
                self.engine.take_wakeups();
                self.engine.restart();
            }
            Op::Cancel => {
                self.run();
                self.client(session)?.session.cancel();
                self.client(session)?.woken = true;
            }
            Op::Terminate => {
                self.run();
                self.client(session)?.session.terminate();
                self.client(session)?.woken = true;
            }
            Op::Fin => {
                let client = self.client(session)?;
                match client.messages.is_empty() {
                    true => client.session.eof(),
                    false => client.departs = true,
                }
                client.woken = true;
            }
            Op::Rst => {
                let client = self.client(session)?;
                client.session.reset();
                (client.woken, client.deaf) = (true, true);
            }
            Op::Send(_) | Op::Start(_) => (),
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<BTreeMap<String, Heard>, String> {
        self.now += MOMENT;
        self.run();
        let waiting = self.waiting();
        if waiting.iter().any(|session| !self.waited.contains(session)) {
            self.pass(LOCK_WAIT);
        }
        self.waited = self.waiting();
        let mut heard = BTreeMap::new();
        for (name, client) in &mut self.clients {
            let bytes = std::mem::take(&mut client.replies);
            heard.insert(
                name.clone(),
                Heard {
                    bytes: if client.deaf { BytesMut::new() } else { bytes },
                    waits: client.waits && !client.closed,
                    closed: client.closed,
                },
            );
        }
        self.clients.retain(|_, client| !client.closed);
        Ok(heard)
    }

    fn pid(&self, session: &str) -> Option<i32> {
        self.clients.get(session).map(|client| client.pid.0)
    }

    fn today(&self) -> i64 {
        self.now.div_euclid(DAY)
    }
}

/// The next of a stream of numbers.
fn draw(chance: &mut u64) -> usize {
    *chance ^= *chance << 13;
    *chance ^= *chance >> 7;
    *chance ^= *chance << 17;
    (*chance >> 8) as usize
}

/// The messages in bytes; what is none is left at the end.
fn messages(mut bytes: BytesMut) -> VecDeque<BytesMut> {
    let mut messages = VecDeque::new();
    while let Some(&[_, a, b, c, d]) = bytes.first_chunk() {
        let length = u32::from_be_bytes([a, b, c, d]) as usize + 1;
        if length < 5 || length > bytes.len() {
            break;
        }
        messages.push_back(bytes.split_to(length));
    }
    messages.extend((!bytes.is_empty()).then_some(bytes));
    messages
}

impl Client {
    /// Hands over the next message. False if there is nothing to hand over.
    fn hand_over(&mut self) -> bool {
        if let Some(mut message) = self.messages.pop_front() {
            self.session.receive(&mut message);
            return true;
        }
        let departs = std::mem::take(&mut self.departs);
        if departs {
            self.session.eof();
        }
        departs
    }

    /// The connection is gone, and what was not read with it.
    fn hang_up(&mut self) {
        (self.closed, self.waits, self.deadline) = (true, false, None);
        self.replies.clear();
    }
}
