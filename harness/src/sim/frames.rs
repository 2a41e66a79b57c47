//! Messages on the wire, seen from outside: where they end, what they are called, and
//! canonical names for prepared statements.
//!
//! Both ends of a simulated connection cut the byte stream into messages here. A *segment* is
//! what a client writes at once, in whole messages; if it asks for an answer it begins an
//! *exchange*, named by its most telling statement. What the messages mean is the server's.

use std::ffi::CStr;

use bytes::{Buf, BufMut, BytesMut};

use crate::plan::{Exchange, Verb};

/// Cuts a client's bytes into segments, and renames statements and portals by first appearance.
///
/// tokio-postgres numbers its statements over the whole process, so without canonical names the
/// bytes on the wire would depend on what other threads and earlier runs did.
#[derive(Default)]
pub(crate) struct Requests {
    /// Bytes of a message that has not come whole.
    pending: Vec<u8>,
    started: bool,
    statements: Names,
    portals: Names,
    counts: Vec<(Verb, u32)>,
}

/// Names as the client gave them, with what they run.
#[derive(Default)]
struct Names(Vec<(Vec<u8>, Verb)>);

/// A run of whole messages.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The exchange it begins.
    pub(crate) exchange: Exchange,
    /// How many ReadyForQuery answer it; 0 if it only adds to what is under way.
    pub(crate) answers: u32,
}

/// How telling a message is about the exchange it is in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    Housekeeping,
    Close,
    Parse,
    Run,
    Commit,
}

impl Requests {
    /// Takes in bytes and moves all whole messages to `out`, in canonical names. `None` if there
    /// is no whole message yet.
    pub(crate) fn feed(&mut self, bytes: &[u8], out: &mut BytesMut) -> Option<Segment> {
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(bytes);
        let mut rest = &pending[..];
        let mut told: Option<(Weight, Verb)> = None;
        let mut answers = 0;
        while let Some((message, after)) = self.next_message(rest) {
            let (weight, verb, answered) = self.read_message(message, out);
            answers += u32::from(answered);
            if told.as_ref().is_none_or(|(most, _)| weight >= *most) {
                told = Some((weight, verb));
            }
            rest = after;
        }
        let read = pending.len() - rest.len();
        pending.drain(..read);
        self.pending = pending;
        let (_, verb) = told?;
        Some(Segment {
            exchange: Exchange {
                nth: count(&mut self.counts, &verb),
                verb,
            },
            answers,
        })
    }

    /// The first whole message, and what follows it.
    fn next_message<'b>(&self, bytes: &'b [u8]) -> Option<(&'b [u8], &'b [u8])> {
        let tag = usize::from(self.started);
        let length = bytes.get(tag..tag + 4)?;
        // A nonsensical length passes as it is: the server has its own words for it.
        let length = u32::from_be_bytes(length.try_into().ok()?).max(4) as usize;
        bytes.split_at_checked(tag + length)
    }

    /// Writes the message to `out` and says what it tells, and whether a ReadyForQuery answers it.
    fn read_message(&mut self, message: &[u8], out: &mut BytesMut) -> (Weight, Verb, bool) {
        const HOUSEKEEPING: Weight = Weight::Housekeeping;
        if !self.started {
            out.put_slice(message);
            let code = message.get(4..8).map_or(0, |mut code| code.get_u32());
            return match code {
                80_877_102 => (Weight::Run, Verb::Borrowed("cancel-request"), false),
                80_877_103 => (Weight::Run, Verb::Borrowed("ssl-request"), false),
                80_877_104 => (Weight::Run, Verb::Borrowed("gss-request"), false),
                _ => {
                    self.started = true;
                    (Weight::Run, Verb::Borrowed("startup"), true)
                }
            };
        }
        let body = &message[5..];
        match message[0] {
            b'Q' => {
                out.put_slice(message);
                let verb = verb_of(cstr(body));
                let weight = match &*verb {
                    "commit" => Weight::Commit,
                    _ => Weight::Run,
                };
                (weight, verb, true)
            }
            b'P' => {
                let name = cstr(body);
                let rest = &body[(name.len() + 1).min(body.len())..];
                let verb = verb_of(cstr(rest));
                let canonical = self.statements.give(name, verb.clone(), 's');
                write_message(out, b'P', &[&canonical, b"\0", rest]);
                (Weight::Parse, parse_of(&verb), false)
            }
            b'B' => {
                let portal = cstr(body);
                let rest = &body[(portal.len() + 1).min(body.len())..];
                let statement = cstr(rest);
                let tail = &rest[(statement.len() + 1).min(rest.len())..];
                let (statement, verb) = self.statements.find(statement, 's');
                let portal = self.portals.give(portal, verb.clone(), 'p');
                write_message(out, b'B', &[&portal, b"\0", &statement, b"\0", tail]);
                (HOUSEKEEPING, verb, false)
            }
            tag @ (b'D' | b'C') if !body.is_empty() => {
                let names = match body[0] {
                    b'S' => (&mut self.statements, 's'),
                    _ => (&mut self.portals, 'p'),
                };
                let (name, _) = names.0.find(cstr(&body[1..]), names.1);
                write_message(out, tag, &[&body[..1], &name, b"\0"]);
                match tag {
                    b'C' => (Weight::Close, Verb::Borrowed("close"), false),
                    _ => (HOUSEKEEPING, Verb::Borrowed("describe"), false),
                }
            }
            b'E' => {
                let portal = cstr(body);
                let rest = &body[(portal.len() + 1).min(body.len())..];
                let (portal, verb) = self.portals.find(portal, 'p');
                write_message(out, b'E', &[&portal, b"\0", rest]);
                let weight = match &*verb {
                    "commit" => Weight::Commit,
                    _ => Weight::Run,
                };
                (weight, verb, false)
            }
            tag => {
                out.put_slice(message);
                let verb = match tag {
                    b'S' => "sync",
                    b'H' => "flush",
                    b'X' => "terminate",
                    b'p' => "password",
                    b'd' | b'c' | b'f' => "copy",
                    b'F' => "call",
                    _ => "unknown",
                };
                (
                    HOUSEKEEPING,
                    Verb::Borrowed(verb),
                    tag == b'S' || tag == b'F',
                )
            }
        }
    }
}

impl Names {
    /// The canonical name of a statement that is being created.
    fn give(&mut self, name: &[u8], verb: Verb, letter: char) -> Vec<u8> {
        let index = match self.0.iter().position(|(known, _)| known == name) {
            Some(index) => {
                self.0[index].1 = verb;
                index
            }
            None => {
                self.0.push((name.to_vec(), verb));
                self.0.len() - 1
            }
        };
        canonical(name, index, letter)
    }

    /// The canonical name of one that should exist; a name never seen passes as it is.
    fn find(&self, name: &[u8], letter: char) -> (Vec<u8>, Verb) {
        match self.0.iter().position(|(known, _)| known == name) {
            Some(index) => (canonical(name, index, letter), self.0[index].1.clone()),
            None => (name.to_vec(), Verb::Borrowed("unknown")),
        }
    }
}

/// `s0`, `s1`, …; the unnamed one keeps its lack of a name.
fn canonical(name: &[u8], index: usize, letter: char) -> Vec<u8> {
    match name {
        b"" => Vec::new(),
        _ => format!("{letter}{index}").into_bytes(),
    }
}

fn write_message(out: &mut BytesMut, tag: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.put_u8(tag);
    out.put_u32(length as u32 + 4);
    for part in parts {
        out.put_slice(part);
    }
}

/// The bytes up to the first NUL, or all of them.
fn cstr(bytes: &[u8]) -> &[u8] {
    CStr::from_bytes_until_nul(bytes).map_or(bytes, CStr::to_bytes)
}

fn count(counts: &mut Vec<(Verb, u32)>, verb: &Verb) -> u32 {
    match counts.iter_mut().find(|(known, _)| known == verb) {
        Some((_, n)) => {
            *n += 1;
            *n
        }
        None => {
            counts.push((verb.clone(), 1));
            1
        }
    }
}

/// Statements by their first word, and what parsing one is called.
macro_rules! verbs {
    ($($verb:literal)*) => { [$(($verb, concat!("parse-", $verb))),*] };
}

const VERBS: [(&str, &str); 29] = verbs![
    "begin" "commit" "rollback" "savepoint" "release" "insert" "update" "delete" "select" "with"
    "set" "show" "reset" "listen" "unlisten" "notify" "lock" "create" "drop" "alter" "truncate"
    "copy" "discard" "values" "commit-prepared" "rollback-prepared" "rollback-to"
    "prepare-transaction" "empty"
];

/// What a statement is called: its first word in lower case, by one name where it has several.
fn verb_of(sql: &[u8]) -> Verb {
    let mut words = sql
        .split(|b| !(b.is_ascii_alphanumeric() || *b == b'_'))
        .filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default();
    let second = words.next().unwrap_or_default();
    let is = |word: &[u8], name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    let commits = is(first, "commit") || is(first, "end");
    Verb::Borrowed(match () {
        () if is(first, "start") => "begin",
        () if commits && is(second, "prepared") => "commit-prepared",
        () if commits => "commit",
        () if is(first, "rollback") && is(second, "to") => "rollback-to",
        () if is(first, "rollback") && is(second, "prepared") => "rollback-prepared",
        () if is(first, "abort") => "rollback",
        () if is(first, "prepare") && is(second, "transaction") => "prepare-transaction",
        () if first.is_empty() => "empty",
        () => match VERBS.into_iter().find(|(known, _)| is(first, known)) {
            Some((known, _)) => known,
            None => return Verb::Owned(String::from_utf8_lossy(first).to_ascii_lowercase()),
        },
    })
}

/// What parsing such a statement is called.
fn parse_of(verb: &Verb) -> Verb {
    match VERBS.into_iter().find(|(known, _)| known == verb) {
        Some((_, parse)) => Verb::Borrowed(parse),
        None => Verb::Owned(format!("parse-{verb}")),
    }
}

/// Cuts a server's bytes into messages, and finds the ends of exchanges.
#[derive(Default)]
pub(crate) struct Replies {
    pending: BytesMut,
    /// Until the server has answered an SSLRequest there is one byte without a frame.
    bare: u32,
}

/// Something a reply tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// A command's tag.
    Tag(String),
    /// An error's or a fatal error's SQLSTATE and message.
    Error(String, String),
    /// The end of an exchange.
    Ready,
}

impl Replies {
    /// An answer of one bare byte is due.
    pub(crate) fn expect_bare(&mut self) {
        self.bare += 1;
    }

    /// Takes in bytes and calls `tell` for what they tell, with how many of `bytes` had passed by then.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut tell: impl FnMut(Told, usize)) {
        let before = self.pending.len();
        self.pending.extend_from_slice(bytes);
        let mut passed = 0;
        loop {
            let pending = &self.pending[..];
            let length = if self.bare > 0 && !pending.is_empty() {
                self.bare -= 1;
                1
            } else {
                let Some(header) = pending.get(..5) else {
                    return;
                };
                let length =
                    u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize + 1;
                if pending.len() < length {
                    return;
                }
                let told = match header[0] {
                    b'C' => Some(Told::Tag(
                        String::from_utf8_lossy(cstr(&pending[5..length])).into_owned(),
                    )),
                    b'E' => {
                        let fields = &pending[5..length];
                        Some(Told::Error(field(fields, b'C'), field(fields, b'M')))
                    }
                    b'Z' => Some(Told::Ready),
                    _ => None,
                };
                if let Some(told) = told {
                    tell(told, (passed + length).saturating_sub(before));
                }
                length
            };
            passed += length;
            self.pending.advance(length);
        }
    }
}

/// A field of an ErrorResponse.
fn field(fields: &[u8], code: u8) -> String {
    let found = fields
        .split(|b| *b == 0)
        .find_map(|field| field.strip_prefix(&[code]));
    String::from_utf8_lossy(found.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use postgres_protocol::message::frontend;

    fn startup() -> BytesMut {
        let mut bytes = BytesMut::new();
        frontend::startup_message([("user", "u")], &mut bytes).unwrap();
        bytes
    }

    fn started() -> Requests {
        let mut requests = Requests::default();
        requests.feed(&startup(), &mut BytesMut::new()).unwrap();
        requests
    }

    #[test]
    fn a_commit_in_one_write_with_a_close_is_one_exchange_of_26_bytes() {
        // Measured: tokio-postgres writes Close, Sync and Query "COMMIT" at once; 26 bytes while its
        // statement is called `s0`, 27 when the process-wide number has two digits.
        for name in ["s0", "s17", "s1000"] {
            let mut requests = started();
            let (mut bytes, mut out) = (BytesMut::new(), BytesMut::new());
            frontend::parse(name, "INSERT INTO t VALUES (1)", [], &mut bytes).unwrap();
            frontend::sync(&mut bytes);
            requests.feed(&bytes, &mut out).unwrap();
            bytes.clear();
            out.clear();
            frontend::close(b'S', name, &mut bytes).unwrap();
            frontend::sync(&mut bytes);
            frontend::query("COMMIT", &mut bytes).unwrap();
            let segment = requests.feed(&bytes, &mut out).unwrap();
            assert_eq!(
                (
                    segment.exchange.to_string().as_str(),
                    segment.answers,
                    out.len()
                ),
                ("commit.1", 2, 26)
            );
        }
    }

    #[test]
    fn a_message_that_comes_in_pieces_is_passed_on_whole() {
        let mut requests = started();
        let (mut bytes, mut out) = (BytesMut::new(), BytesMut::new());
        frontend::query("select 1", &mut bytes).unwrap();
        assert_eq!(requests.feed(&bytes[..7], &mut out), None);
        let segment = requests.feed(&bytes[7..], &mut out).unwrap();
        assert_eq!(
            (segment.exchange.to_string().as_str(), out.len()),
            ("select.1", bytes.len())
        );
    }

    #[test]
    fn statements_are_called_by_their_first_word() {
        for (sql, verb) in [
            ("START TRANSACTION ISOLATION LEVEL SERIALIZABLE", "begin"),
            ("  Commit", "commit"),
            ("COMMIT PREPARED 'g'", "commit-prepared"),
            ("ROLLBACK TO SAVEPOINT s", "rollback-to"),
            ("with x as (select 1) select * from x", "with"),
            ("VACUUM", "vacuum"),
            ("", "empty"),
        ] {
            assert_eq!(verb_of(sql.as_bytes()), verb, "{sql}");
        }
    }

    #[test]
    fn a_reply_tells_tags_errors_and_its_end() {
        let mut replies = Replies::default();
        let bytes = b"C\0\0\0\x0bCOMMIT\0Z\0\0\0\x05I";
        let mut told = Vec::new();
        replies.feed(&bytes[..3], |t, at| told.push((t, at)));
        replies.feed(&bytes[3..], |t, at| told.push((t, at)));
        assert_eq!(told, [(Told::Tag("COMMIT".into()), 9), (Told::Ready, 15)]);
    }
}
