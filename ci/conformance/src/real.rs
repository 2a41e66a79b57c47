//! A real server as a host: raw sockets, and a control connection that tells who waits.
//!
//! A session is *idle* when the kernel has handed all its bytes to its backend and the backend
//! sleeps in `ClientRead` again; it *waits* when it is blocked by another session or sleeps. All
//! is quiet when two looks in a row found everybody so and nothing had been written in between,
//! and who began to wait has done so for longer than `deadlock_timeout`: each wait anew, as one may
//! follow another without a step in between.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use postgres_protocol::message::backend::Message as Reply;
use postgres_protocol::message::frontend as client;
use socket2::SockRef;

use crate::client::Exchange;
use crate::control::Control;
use crate::host::{Heard, Host};
use crate::script::{Login, Op};
use crate::server::{Server, Stop, now, today, within};

/// How long somebody waits before it counts: several times `deadlock_timeout`.
const LOCK_WAIT: Duration = Duration::from_millis(30);
/// The same when in a hurry.
const LOCK_WAIT_HASTY: Duration = Duration::from_millis(18);
/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(30);
/// The database that a script runs in.
const DATABASE: &str = "script";

/// A server and the sessions of a script.
pub struct Real {
    server: Server,
    control: Option<Control>,
    /// The same in the database of scripts.
    inside: Option<Control>,
    sessions: BTreeMap<String, Session>,
    /// How long somebody waits before it counts.
    lock_wait: Duration,
    /// Believes replies where they tell all.
    hasty: bool,
}

struct Session {
    socket: Option<TcpStream>,
    port: u16,
    pid: Option<i32>,
    key: i32,
    replies: BytesMut,
    /// How many times ReadyForQuery is still to come.
    awaited: usize,
    /// Where the next reply begins that was not counted.
    counted: usize,
    listens: bool,
    /// It was told something that ReadyForQuery does not answer.
    unsynced: bool,
    closed: bool,
    /// The client sends no more: the backend is quiet only when it waits or is gone.
    departed: bool,
    waits_since: Option<Instant>,
    /// Which wait that is.
    wait: String,
}

/// What a look at a session found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Idle,
    Waits,
    Gone,
    Busy,
}

impl Real {
    /// A server of our own.
    pub fn start() -> Result<Real, String> {
        Ok(Real {
            server: Server::start()?,
            control: None,
            inside: None,
            sessions: BTreeMap::new(),
            lock_wait: LOCK_WAIT,
            hasty: false,
        })
    }

    /// From now on speed counts: whose ReadyForQuery has come is believed to be idle, as long as
    /// nobody waits, listens or departs.
    pub fn hurry(&mut self) {
        self.hasty = true;
        self.lock_wait = LOCK_WAIT_HASTY;
    }

    /// A fresh database on a server with these settings, and nothing left of the last script.
    pub fn renew(&mut self, settings: &[(String, String)]) -> Result<(), String> {
        self.sessions.clear();
        self.inside = None;
        if self.server.require(settings)? {
            self.control = None;
        }
        let altered = "select name, '' from pg_file_settings \
                       where sourcefile like '%postgresql.auto.conf'";
        if !self.control()?.pairs(altered)?.is_empty() {
            self.control()?.query("alter system reset all")?;
            self.server.restart(Stop::Fast)?;
            self.control = None;
        }
        let control = self.control()?;
        for (gid, database) in
            control.pairs("select gid, database from pg_prepared_xacts order by gid")?
        {
            // A prepared transaction can only be ended in its own database.
            let address = self.server.address();
            let mut there = Control::connect(address, &database)?;
            there.query(&format!("rollback prepared '{}'", gid.replace('\'', "''")))?;
        }
        let control = self.control()?;
        let databases = "select datname, '' from pg_database \
                         where datname not in ('postgres', 'template0', 'template1')";
        for (name, _) in control.pairs(databases)? {
            control.query(&format!("drop database \"{name}\" with (force)"))?;
        }
        let roles = "select rolname, '' from pg_roles where oid >= 16384";
        for (name, _) in control.pairs(roles)? {
            control.query(&format!("drop role \"{name}\""))?;
        }
        control.query(&format!("create database {DATABASE} template template0"))?;
        Ok(())
    }

    /// The same database, without tables and sessions.
    pub fn clear(&mut self) -> Result<(), String> {
        let pids = self.sessions.values().filter_map(|session| session.pid);
        let pids: Vec<i32> = pids.collect();
        self.sessions.clear();
        if !pids.is_empty() {
            self.control()?.end(&pids)?;
        }
        let address = self.server.address();
        let inside = match self.inside.take() {
            Some(inside) => inside,
            None => Control::connect(address, DATABASE)?,
        };
        let inside = self.inside.insert(inside);
        for (gid, _) in inside.pairs("select gid, '' from pg_prepared_xacts")? {
            inside.query(&format!("rollback prepared '{}'", gid.replace('\'', "''")))?;
        }
        let schemas = "select nspname, '' from pg_namespace where oid >= 16384";
        for (schema, _) in inside.pairs(schemas)? {
            inside.query(&format!("drop schema \"{schema}\" cascade"))?;
        }
        inside.query("drop schema if exists public cascade; create schema public")?;
        Ok(())
    }

    fn control(&mut self) -> Result<&mut Control, String> {
        let control = match self.control.take() {
            Some(control) => control,
            None => Control::connect(self.server.address(), "postgres")?,
        };
        Ok(self.control.insert(control))
    }

    fn session(&mut self, session: &str) -> Result<&mut Session, String> {
        let found = self.sessions.get_mut(session);
        found.ok_or_else(|| format!("no session {session}"))
    }

    /// One look at everybody.
    fn look(&mut self) -> Result<BTreeMap<String, Found>, String> {
        let unread = unread(self.server.address().port());
        let pids: Vec<i32> = self.sessions.values().filter_map(|s| s.pid).collect();
        let waits = match pids.is_empty() {
            true => BTreeMap::new(),
            false => self.control()?.waits(&pids)?,
        };
        let mut found = BTreeMap::new();
        for (name, session) in &mut self.sessions {
            let wait = session.pid.map(|pid| waits.get(&pid).map(String::as_str));
            let read = unread.get(&session.port).is_none_or(|&unread| unread == 0);
            let state = match wait {
                _ if session.closed => Found::Gone,
                Some(None) if session.socket.is_none() => Found::Gone,
                // One that was signalled is awake before it is seen to wait no more.
                Some(Some(wait)) if wait.starts_with("waits") && session.sleeps() => {
                    if session.wait != wait {
                        (session.wait, session.waits_since) = (wait.to_string(), None);
                    }
                    Found::Waits
                }
                Some(Some("reads")) if read && !session.departed && session.sleeps() => Found::Idle,
                // Before it is let in a backend is not to be seen.
                None if session.pid.is_none() && read => Found::Idle,
                _ => Found::Busy,
            };
            found.insert(name.clone(), state);
        }
        Ok(found)
    }

    /// Reads what there is. True if there was something.
    fn drain(&mut self) -> bool {
        let mut heard = false;
        for session in self.sessions.values_mut() {
            heard |= session.drain();
        }
        heard
    }

    fn forget_connections(&mut self) {
        (self.control, self.inside) = (None, None);
        for session in self.sessions.values_mut() {
            session.closed = true;
            session.replies.clear();
        }
    }
}

impl Host for Real {
    fn open(&mut self, name: &str, login: &Login) -> Result<(), String> {
        let told = |error: std::io::Error| format!("{name}: {error}");
        let mut socket = TcpStream::connect(self.server.address()).map_err(told)?;
        socket.set_nodelay(true).map_err(told)?;
        socket.set_nonblocking(true).map_err(told)?;
        let port = socket.local_addr().map_err(told)?.port();
        socket.write_all(&Exchange::startup(login)).map_err(told)?;
        let mut session = Session {
            socket: Some(socket),
            port,
            pid: None,
            key: 0,
            replies: BytesMut::new(),
            awaited: 1,
            counted: 0,
            listens: false,
            unsynced: false,
            closed: false,
            departed: false,
            waits_since: None,
            wait: String::new(),
        };
        let (mut exchange, mut seen) = (Exchange::default(), 0);
        let greeted = within(LIMIT, || {
            session.drain();
            let mut unseen = BytesMut::from(&session.replies[seen..]);
            let before = unseen.len();
            let mut over = session.closed;
            while let Ok(Some(reply)) = Reply::parse(&mut unseen) {
                if let Some(answer) = exchange.answer(login, &reply) {
                    session.socket.as_mut()?.write_all(&answer).ok()?;
                }
                match reply {
                    Reply::BackendKeyData(body) => {
                        (session.pid, session.key) = (Some(body.process_id()), body.secret_key());
                    }
                    Reply::ReadyForQuery(_) => over = true,
                    _ => (),
                }
            }
            seen += before - unseen.len();
            over.then_some(())
        });
        greeted.ok_or_else(|| format!("{name}: no answer to its startup"))?;
        self.sessions.insert(name.to_string(), session);
        Ok(())
    }

    fn send(&mut self, session: &str, bytes: BytesMut) -> Result<(), String> {
        let session = self.session(session)?;
        session.expect(&bytes);
        let (mut rest, start) = (&bytes[..], now());
        while let (Some(socket), false) = (&mut session.socket, rest.is_empty()) {
            match socket.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    session.drain();
                    if now() - start > LIMIT {
                        return Err("it does not read".into());
                    }
                    sleep(Duration::from_micros(100));
                }
                // The server has hung up: that is heard in what it said last.
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    fn act(&mut self, name: &str, op: &Op) -> Result<(), String> {
        match op {
            Op::Sleep(time) => {
                sleep(*time);
                return Ok(());
            }
            Op::Crash | Op::Restart => {
                let stop = match op {
                    Op::Crash => Stop::Immediate,
                    _ => Stop::Fast,
                };
                self.server.restart(stop)?;
                self.forget_connections();
                return Ok(());
            }
            Op::Fail(_) => return Err("a real server can not be made to fail".into()),
            Op::Cancel | Op::Terminate => {
                // What was sent before is to be what is ended.
                self.quiet()?;
            }
            Op::Fin | Op::Rst | Op::Send(_) | Op::Start(_) => (),
        }
        let address = self.server.address();
        let session = self.session(name)?;
        let told = |error: std::io::Error| format!("{name}: {error}");
        let pid = session
            .pid
            .ok_or_else(|| format!("{name} was not let in"))?;
        session.unsynced = true;
        match op {
            Op::Cancel => {
                let mut request = BytesMut::new();
                client::cancel_request(pid, session.key, &mut request);
                let mut socket = TcpStream::connect(address).map_err(told)?;
                socket.write_all(&request).map_err(told)?;
                // Closed by the postmaster's child once the signal has been sent.
                socket.read_to_end(&mut Vec::new()).map_err(told)?;
            }
            Op::Terminate => {
                let end = format!("select pg_terminate_backend({pid})");
                self.control()?.query(&end)?;
            }
            Op::Fin => {
                session.departed = true;
                let socket = session.socket.as_ref().ok_or("already closed")?;
                socket.shutdown(Shutdown::Write).map_err(told)?;
            }
            Op::Rst => {
                session.departed = true;
                let socket = session.socket.take().ok_or("already closed")?;
                let now = Some(Duration::ZERO);
                SockRef::from(&socket).set_linger(now).map_err(told)?;
            }
            _ => (),
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<BTreeMap<String, Heard>, String> {
        let found = self.quiet()?;
        let mut heard = BTreeMap::new();
        for (name, session) in &mut self.sessions {
            let gone = found.get(name) == Some(&Found::Gone);
            session.closed |= gone;
            heard.insert(
                name.clone(),
                Heard {
                    bytes: session.take(),
                    waits: found.get(name) == Some(&Found::Waits),
                    closed: session.closed,
                },
            );
        }
        self.sessions.retain(|_, session| !session.closed);
        Ok(heard)
    }

    fn pid(&self, session: &str) -> Option<i32> {
        self.sessions.get(session)?.pid
    }

    fn align(&mut self) -> Result<(), String> {
        self.control()?.query("select pg_switch_wal()").map(drop)
    }

    fn today(&self) -> i64 {
        today()
    }
}

impl Real {
    /// Whether everybody has been answered, after waiting for it a little.
    fn answered(&mut self) -> bool {
        let plain = |session: &Session| {
            !session.departed
                && !session.listens
                && !session.unsynced
                && session.waits_since.is_none()
        };
        if !self.sessions.values().all(plain) {
            return false;
        }
        let answered = within(Duration::from_millis(3), || {
            self.drain();
            let sessions = &mut self.sessions;
            let closed = sessions.values().any(|session| session.closed);
            let answered = sessions.values_mut().all(Session::is_answered);
            (closed || answered).then_some(answered && !closed)
        });
        answered == Some(true)
    }

    /// Looks until all is quiet.
    fn quiet(&mut self) -> Result<BTreeMap<String, Found>, String> {
        let start = now();
        if self.hasty && self.answered() {
            let idle = self.sessions.keys().map(|name| (name.clone(), Found::Idle));
            return Ok(idle.collect());
        }
        let mut quiet_before = None;
        let mut pause = Duration::from_micros(200);
        loop {
            let heard = self.drain();
            let found = self.look()?;
            let heard = self.drain() || heard;
            let time = now();
            let mut early = false;
            for (name, session) in &mut self.sessions {
                match found.get(name) {
                    Some(Found::Waits) => {
                        let since = *session.waits_since.get_or_insert(time);
                        early |= time - since < self.lock_wait;
                    }
                    _ => session.waits_since = None,
                }
            }
            let quiet = !heard && !found.values().any(|found| *found == Found::Busy);
            if quiet && !early && quiet_before.as_ref() == Some(&found) {
                return Ok(found);
            }
            quiet_before = quiet.then_some(found);
            if time - start > LIMIT {
                return Err("it does not come to rest".into());
            }
            sleep(pause);
            pause = (pause * 5 / 4).min(Duration::from_millis(5));
        }
    }
}

impl Session {
    /// Reads what there is. True if there was something.
    fn drain(&mut self) -> bool {
        let Some(socket) = self.socket.as_mut().filter(|_| !self.closed) else {
            return false;
        };
        let (mut chunk, mut heard) = ([0; 8192], false);
        loop {
            match socket.read(&mut chunk) {
                Ok(0) => self.closed = true,
                Ok(length) => {
                    self.replies.put_slice(&chunk[..length]);
                    heard = true;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return heard,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => self.closed = true,
            }
            return true;
        }
    }

    /// Notes what these messages ask for.
    fn expect(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let [tag, a, b, c, d, ..] = rest {
            let synced = matches!(tag, b'Q' | b'S');
            self.awaited += usize::from(synced);
            self.unsynced = !synced;
            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize + 1;
            let body = rest.get(5..length).unwrap_or_default();
            self.listens |= body
                .windows(6)
                .any(|word| word.eq_ignore_ascii_case(b"listen"));
            rest = rest.get(length..).unwrap_or_default();
        }
    }

    /// Whether ReadyForQuery has come as often as was asked for it.
    fn is_answered(&mut self) -> bool {
        while let Some([tag, a, b, c, d]) = self.replies.get(self.counted..self.counted + 5) {
            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize + 1;
            if self.replies.len() < self.counted + length {
                return false;
            }
            self.awaited = self.awaited.saturating_sub(usize::from(*tag == b'Z'));
            self.counted += length;
        }
        self.awaited == 0 && self.counted == self.replies.len()
    }

    /// What it has said so far.
    fn take(&mut self) -> BytesMut {
        self.is_answered();
        self.counted = 0;
        self.replies.split()
    }

    /// Whether its backend is asleep, with no signal that it has not seen yet.
    fn sleeps(&self) -> bool {
        let Some(pid) = self.pid else { return true };
        let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = status.rsplit_once(") ").map(|(_, rest)| &rest[..1]);
        state == Some("S")
    }
}

/// How many bytes wait for the server to read them, by the client's port.
fn unread(server: u16) -> BTreeMap<u16, usize> {
    let sockets = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
    let unread = sockets.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, remote) = (port(words.next()?)?, port(words.next()?)?);
        let queues = words.nth(1)?;
        let unread = usize::from_str_radix(queues.split_once(':')?.1, 16).ok()?;
        (local == server).then_some((remote, unread))
    });
    unread.collect()
}
