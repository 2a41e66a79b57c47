//! Scripts with several sessions: each step is written to a session byte by byte as a client
//! would, and every reply is read back by postgres-protocol, the independent other half.
//!
//! A script is its own expectation. A line `a: op | op` sends messages on session `a`, opening
//! it when it is new; indented lines below it are what all sessions answered until the server
//! was quiet: `a> D 1 ; C SELECT 1 ; Z I`, `(waits)` for a session that is held up.
//!
//! Messages: `Q sql`, `P [name=]sql`, `B [portal]/[statement] [values…]`, `D S name`, `D P name`,
//! `E [portal] [rows]`, `C S name`, `C P name`, `S`, `H`, `X`; `ext sql` is `P sql | B | E`.
//! Deeds: `cancel`, `terminate`, `eof` on a session; `wait 100ms`, `crash`, `fail 23505` on `server`:
//! the next COMMIT fails with that code when its deferred constraints are checked.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::BytesMut;
use fake_pg::engine::{CommitPoint, Engine, Pid, Timestamp};
use fake_pg::error::SqlState;
use fake_pg::session::{CommitAction, Next, Session};
use fallible_iterator::FallibleIterator;
use postgres_protocol::IsNull;
use postgres_protocol::message::backend::{ErrorFields, Message as Reply};
use postgres_protocol::message::frontend as client;

/// Runs a script and compares it with what happened.
#[track_caller]
pub(crate) fn check(script: &str) {
    let lines: Vec<&str> = script.lines().map(str::trim_end).collect();
    let indent = lines.iter().filter(|line| !line.is_empty());
    let indent = indent
        .map(|line| line.len() - line.trim_start().len())
        .min()
        .unwrap_or(0);
    let expected: Vec<&str> = lines
        .iter()
        .map(|line| line.get(indent..).unwrap_or(""))
        .collect();
    let expected = expected.join("\n");
    let mut server = Server::default();
    let mut happened = String::new();
    for line in expected.lines() {
        if line.starts_with(' ') {
            continue;
        }
        happened.push_str(line);
        happened.push('\n');
        if !line.is_empty() && !line.starts_with('#') {
            server.step(line, &mut happened);
        }
    }
    let expected = expected.trim().to_string();
    let happened = happened.trim().to_string();
    assert!(
        happened == expected,
        "--- expected\n{expected}\n--- happened\n{happened}\n"
    );
}

/// An engine and its sessions, with a hand-wound clock.
#[derive(Default)]
struct Server {
    engine: Engine,
    now: i64,
    clients: BTreeMap<String, Client>,
    pids: i32,
    /// What the next COMMIT fails with.
    failure: Option<SqlState>,
}

struct Client {
    session: Session,
    pid: Pid,
    /// What the session has written and nobody has read yet.
    replies: BytesMut,
    waits: Option<Option<i64>>,
    woken: bool,
    closed: bool,
}

impl Server {
    fn step(&mut self, line: &str, happened: &mut String) {
        let (name, ops) = line.split_once(": ").expect("a step is `session: ops`");
        if name == "server" {
            self.deed(ops, happened);
        } else {
            self.send(name, ops);
        }
        self.run();
        self.tell(happened);
    }

    fn deed(&mut self, deed: &str, happened: &mut String) {
        match deed.split_once(' ').unwrap_or((deed, "")) {
            ("wait", time) => {
                let millis = time.strip_suffix("ms").expect("milliseconds");
                self.now += millis.parse::<i64>().expect("a number") * 1000;
                self.clients
                    .values_mut()
                    .for_each(|client| client.woken = true);
            }
            ("fail", code) => self.failure = Some(code.parse().expect("an SQLSTATE")),
            ("crash", "") => {
                self.clients.clear();
                let recovery = self.engine.crash();
                writeln!(happened, "  lost {:?}", recovery.lost).unwrap();
            }
            other => panic!("no such deed: {other:?}"),
        }
    }

    fn client(&mut self, name: &str) -> &mut Client {
        if !self.clients.contains_key(name) {
            self.pids += 1;
            let pid = Pid(self.pids);
            let mut client = Client {
                session: Session::new(pid, 0),
                pid,
                replies: BytesMut::new(),
                waits: None,
                woken: true,
                closed: false,
            };
            let mut startup = BytesMut::new();
            client::startup_message([("user", "postgres")], &mut startup).unwrap();
            client.session.receive(&mut startup);
            self.clients.insert(name.into(), client);
            self.run();
            self.clients.get_mut(name).unwrap().replies.clear();
        }
        self.clients.get_mut(name).unwrap()
    }

    fn send(&mut self, name: &str, ops: &str) {
        let client = self.client(name);
        let mut bytes = BytesMut::new();
        for op in ops.split(" | ") {
            match op {
                "cancel" => client.session.cancel(),
                "terminate" => client.session.terminate(),
                "eof" => client.session.eof(),
                _ => message(op, &mut bytes),
            }
        }
        client.woken = true;
        client.session.receive(&mut bytes);
    }

    /// Advances all sessions until each needs something that is not there.
    fn run(&mut self) {
        while let Some(client) = self.clients.values_mut().find(|client| client.woken) {
            client.woken = false;
            while !client.closed {
                client.waits = None;
                match client
                    .session
                    .advance(&mut self.engine, Timestamp(self.now))
                {
                    Next::Write => client.session.take_output(&mut client.replies),
                    Next::Commit(_, CommitPoint::Deferred) => {
                        let failure = self.failure.take().map(CommitAction::Fail);
                        client.session.resume(failure.unwrap_or(CommitAction::GoOn));
                    }
                    Next::Commit(..) => client.session.resume(CommitAction::GoOn),
                    Next::Read => break,
                    Next::Wait(wait) => {
                        client.waits = Some(wait.deadline.map(|deadline| deadline.0));
                        break;
                    }
                    Next::Close => {
                        let session =
                            std::mem::replace(&mut client.session, Session::new(client.pid, 0));
                        drop(session.exit(&mut self.engine, Timestamp(self.now)));
                        client.closed = true;
                    }
                    Next::CancelRequest { .. } => panic!("cancel is a deed"),
                }
            }
            for pid in self.engine.take_wakeups() {
                let woken = self.clients.values_mut().filter(|client| client.pid == pid);
                woken.for_each(|client| client.woken = true);
            }
        }
    }

    fn tell(&mut self, happened: &mut String) {
        for (name, client) in &mut self.clients {
            let mut replies = Vec::new();
            while let Some(reply) = Reply::parse(&mut client.replies).expect("a reply") {
                replies.push(say(reply));
            }
            assert!(client.replies.is_empty(), "whole messages");
            replies.extend(client.waits.is_some().then(|| "(waits)".into()));
            replies.extend(client.closed.then(|| "EOF".into()));
            if !replies.is_empty() {
                writeln!(happened, "  {name}> {}", replies.join(" ; ")).unwrap();
            }
        }
        self.clients.retain(|_, client| !client.closed);
    }
}

/// Writes what one message of a step stands for.
fn message(op: &str, to: &mut BytesMut) {
    let (kind, rest) = op.split_once(' ').unwrap_or((op, ""));
    let first = rest.bytes().next().unwrap_or(b' ');
    let name = rest.get(2..).unwrap_or("");
    match kind {
        "Q" => client::query(rest, to).unwrap(),
        "P" => match rest.split_once('=') {
            Some((name, sql)) if !name.contains([' ', '$']) => {
                client::parse(name, sql, [], to).unwrap()
            }
            _ => client::parse("", rest, [], to).unwrap(),
        },
        "B" => {
            let mut words = rest.split(' ');
            let target = words.next().unwrap_or("");
            let (portal, statement) = target.split_once('/').unwrap_or((target, ""));
            let values: Vec<&str> = words.collect();
            let write = |value: &str, to: &mut BytesMut| {
                if value == "NULL" {
                    return Ok(IsNull::Yes);
                }
                to.extend_from_slice(value.as_bytes());
                Ok(IsNull::No)
            };
            client::bind(portal, statement, [], values, write, [], to)
                .unwrap_or_else(|_| panic!("bind is encoded"));
        }
        "D" => client::describe(first, name, to).unwrap(),
        "C" => client::close(first, name, to).unwrap(),
        "E" => {
            let (portal, rows) = rest.split_once(' ').unwrap_or((rest, "0"));
            client::execute(portal, rows.parse().expect("a number of rows"), to).unwrap();
        }
        "S" => client::sync(to),
        "H" => client::flush(to),
        "X" => client::terminate(to),
        "ext" => {
            client::parse("", rest, [], to).unwrap();
            message("B", to);
            message("E", to);
        }
        "raw" => to.extend(
            rest.split(' ')
                .map(|hex| u8::from_str_radix(hex, 16).unwrap()),
        ),
        other => panic!("no such message: {other}"),
    }
}

/// What a reply says, in a few words.
fn say(reply: Reply) -> String {
    match reply {
        Reply::ParseComplete => "1".into(),
        Reply::BindComplete => "2".into(),
        Reply::CloseComplete => "3".into(),
        Reply::NoData => "n".into(),
        Reply::PortalSuspended => "s".into(),
        Reply::EmptyQueryResponse => "I".into(),
        Reply::CommandComplete(body) => format!("C {}", body.tag().unwrap()),
        Reply::ReadyForQuery(body) => format!("Z {}", char::from(body.status())),
        Reply::ErrorResponse(body) => format!("E {}", fields(body.fields())),
        Reply::NoticeResponse(body) => format!("N {}", fields(body.fields())),
        Reply::ParameterStatus(body) => {
            format!("S {}={}", body.name().unwrap(), body.value().unwrap())
        }
        Reply::ParameterDescription(body) => {
            let oids: Vec<String> = body
                .parameters()
                .map(|oid| Ok(oid.to_string()))
                .collect()
                .unwrap();
            format!("t {}", oids.join(" "))
        }
        Reply::RowDescription(body) => {
            let names: Vec<String> = body
                .fields()
                .map(|field| Ok(format!("{}:{}", field.name(), field.type_oid())))
                .collect()
                .unwrap();
            format!("T {}", names.join(" "))
        }
        Reply::DataRow(body) => {
            let buffer = body.buffer().to_vec();
            let values: Vec<String> = body
                .ranges()
                .map(|range| {
                    Ok(match range {
                        Some(range) => String::from_utf8_lossy(&buffer[range]).into_owned(),
                        None => "NULL".into(),
                    })
                })
                .collect()
                .unwrap();
            format!("D {}", values.join("|"))
        }
        Reply::NotificationResponse(body) => {
            format!("A {} {}", body.channel().unwrap(), body.message().unwrap())
        }
        _ => "?".into(),
    }
}

fn fields(mut fields: ErrorFields<'_>) -> String {
    let mut told = BTreeMap::new();
    while let Some(field) = fields.next().unwrap() {
        told.insert(
            field.type_(),
            String::from_utf8_lossy(field.value_bytes()).into_owned(),
        );
    }
    format!("{} {} {}", told[&b'V'], told[&b'C'], told[&b'M'])
}
