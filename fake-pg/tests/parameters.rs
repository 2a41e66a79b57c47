//! Parameters through the session, in every pair of formats; expectations recorded from
//! PostgreSQL 15.18 in `parameters.txt`.
//!
//! What goes in and comes out is bytes: how text and binary are read is not this file's to know.

use bytes::BytesMut;
use fake_pg::engine::{Engine, Pid, Timestamp};
use fake_pg::session::{Next, Session};
use fallible_iterator::FallibleIterator;
use postgres_protocol::IsNull;
use postgres_protocol::message::backend::Message as Reply;
use postgres_protocol::message::frontend as client;

const TEXT: i16 = 0;
const BINARY: i16 = 1;

struct Server {
    engine: Engine,
    session: Session,
}

/// The OID of the parameter and the value, or the error.
type Answer = Result<(u32, Option<Vec<u8>>), String>;

impl Server {
    fn start() -> Self {
        let (engine, session) = (Engine::default(), Session::new(Pid(1), 0));
        let mut server = Server { engine, session };
        let mut startup = BytesMut::new();
        client::startup_message([("user", "postgres"), ("TimeZone", "UTC")], &mut startup).unwrap();
        server.answers(startup);
        server
    }

    fn answers(&mut self, mut bytes: BytesMut) -> Vec<Reply> {
        self.session.receive(&mut bytes);
        let mut output = BytesMut::new();
        loop {
            match self.session.advance(&mut self.engine, Timestamp(0)) {
                Next::Write => self.session.take_output(&mut output),
                Next::Read => break,
                other => panic!("{other:?}"),
            }
        }
        std::iter::from_fn(|| Reply::parse(&mut output).expect("a reply")).collect()
    }

    /// Sends a parameter of a type and takes it back.
    fn echo(&mut self, ty: &str, value: Option<&[u8]>, from: i16, to: i16) -> Answer {
        let mut bytes = BytesMut::new();
        client::parse("", &format!("select $1::{ty}"), [], &mut bytes).unwrap();
        client::describe(b'S', "", &mut bytes).unwrap();
        let write = |value: Option<&[u8]>, to: &mut BytesMut| {
            let Some(value) = value else {
                return Ok(IsNull::Yes);
            };
            to.extend_from_slice(value);
            Ok(IsNull::No)
        };
        if client::bind("", "", [from], [value], write, [to], &mut bytes).is_err() {
            panic!("bind is encoded");
        }
        client::execute("", 0, &mut bytes).unwrap();
        client::sync(&mut bytes);
        let (mut oid, mut answer) = (0, None);
        for reply in self.answers(bytes) {
            match reply {
                Reply::ParameterDescription(body) => {
                    oid = body.parameters().next().unwrap().expect("one parameter");
                }
                Reply::DataRow(body) => {
                    let range = body.ranges().next().unwrap().expect("one column");
                    answer = range.map(|range| body.buffer()[range].to_vec());
                }
                Reply::ErrorResponse(body) => {
                    let told = |kind: u8| {
                        let field = body.fields().find(|field| Ok(field.type_() == kind));
                        let field = field.unwrap().expect("every error has it");
                        String::from_utf8_lossy(field.value_bytes()).into_owned()
                    };
                    return Err(format!("E {} {}", told(b'C'), told(b'M')));
                }
                _ => {}
            }
        }
        Ok((oid, answer))
    }

    /// What a line of the recording says of a value.
    fn line(&mut self, ty: &str, input: &str) -> String {
        let (from, value) = match (input, input.strip_prefix('=')) {
            ("NULL", _) => (TEXT, None),
            (_, Some(hex)) => (BINARY, Some(unhex(hex))),
            (text, None) => (TEXT, Some(text.as_bytes().to_vec())),
        };
        let both = [TEXT, BINARY].map(|to| self.echo(ty, value.as_deref(), from, to));
        let [Ok((oid, text)), Ok((_, binary))] = both else {
            let [text, binary] = both;
            assert_eq!(text, binary, "{ty}: {input}");
            return text.expect_err("an error in either format");
        };
        let (Some(text), Some(binary)) = (&text, &binary) else {
            assert_eq!(text, binary, "{ty}: {input}");
            return format!("{oid} NULL");
        };
        // Whatever came out goes in again, and is the same in both formats.
        for (from, value) in [(TEXT, text), (BINARY, binary)] {
            for (to, expected) in [(TEXT, text), (BINARY, binary)] {
                let echoed = self.echo(ty, Some(value), from, to);
                let expected = Ok((oid, Some(expected.clone())));
                assert_eq!(echoed, expected, "{ty}: {input}, {from} to {to}");
            }
        }
        let hex: String = binary.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{oid} {} ={hex}", String::from_utf8_lossy(text))
    }
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

#[test]
fn parameters_come_back_in_both_formats() {
    let expected = include_str!("parameters.txt");
    let mut server = Server::start();
    let mut happened = String::new();
    for line in expected.lines() {
        if line.is_empty() || line.starts_with('#') {
            happened.push_str(line);
        } else {
            let (ty, rest) = line.split_once(": ").expect("a type and a value");
            let (input, _) = rest.split_once(" -> ").expect("what came of it");
            let answer = server.line(ty, input);
            happened.push_str(&format!("{ty}: {input} -> {answer}"));
        }
        happened.push('\n');
    }
    let differs = expected
        .lines()
        .zip(happened.lines())
        .filter(|(a, b)| a != b);
    let differs: String = differs.map(|(a, b)| format!("- {a}\n+ {b}\n")).collect();
    assert!(differs.is_empty(), "\n{differs}");
}
