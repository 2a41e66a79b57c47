//! From the first byte to the first ReadyForQuery; expectations measured on PostgreSQL 15.18.

use bytes::BytesMut;
use fake_pg::engine::{Engine, Pid, Timestamp};
use fake_pg::session::{Next, Session};

const V3: i32 = 3 << 16;

fn packet(version: i32, body: &[u8]) -> Vec<u8> {
    let length = 8 + body.len() as i32;
    [&length.to_be_bytes(), &version.to_be_bytes(), body].concat()
}

/// What the session answers to these pieces, each sent when the one before was dealt with; `EOF` at
/// the end if it hung up. Not printable bytes are dots.
fn answers(pieces: &[&[u8]]) -> String {
    let (mut engine, mut session) = (Engine::default(), Session::new(Pid(7), 9));
    engine.load("create database u").expect("it is a new name");
    let mut answers = BytesMut::new();
    let mut end = "";
    for piece in pieces {
        session.receive(&mut BytesMut::from(*piece));
        loop {
            match session.advance(&mut engine, Timestamp(0)) {
                Next::Write => session.take_output(&mut answers),
                Next::Read => break,
                Next::Close => {
                    end = "EOF";
                    break;
                }
                Next::CancelRequest { pid, key } => return format!("cancel {pid} {key}"),
                other => panic!("{other:?}"),
            }
        }
    }
    let shown = |&byte: &u8| {
        if byte.is_ascii_graphic() || byte == b' ' {
            byte as char
        } else {
            '.'
        }
    };
    answers.iter().map(shown).collect::<String>() + end
}

#[track_caller]
fn check(pieces: &[&[u8]], expected: &str) {
    let answers = answers(pieces);
    assert!(answers.contains(expected), "{answers}");
}

#[test]
fn startup_is_answered_in_one_go() {
    let startup = packet(V3, b"user\0postgres\0application_name\0x\0\0");
    let answer = answers(&[&startup]);
    let reported = [
        "application_name.x.",
        "client_encoding.UTF8.",
        "DateStyle.ISO, MDY.",
        "default_transaction_read_only.off.",
        "in_hot_standby.off.",
        "integer_datetimes.on.",
        "IntervalStyle.postgres.",
        "is_superuser.on.",
        "server_encoding.UTF8.",
        "server_version.15.",
        "session_authorization.postgres.",
        "standard_conforming_strings.on.",
        "TimeZone.",
    ];
    let mut rest = answer.as_str();
    assert!(rest.starts_with("R........S"), "{rest}");
    for setting in reported {
        let at = rest
            .find(setting)
            .unwrap_or_else(|| panic!("{setting} comes next in {rest}"));
        rest = &rest[at..];
    }
    assert!(rest.ends_with("K............Z....I"), "{rest}");
}

#[test]
fn encryption_is_refused_once_each() {
    let (ssl, gss) = (packet(80_877_103, b""), packet(80_877_104, b""));
    let startup = packet(V3, b"user\0postgres\0\0");
    check(&[&ssl, &gss, &startup], "NNR........S");
    check(
        &[&ssl, &ssl],
        "C0A000.Munsupported frontend protocol 1234.5679: server supports 3.0 to 3.0..EOF",
    );
    let eager = [ssl, startup].concat();
    check(
        &[&eager],
        "NE....SFATAL.VFATAL.C08P01.Mreceived unencrypted data after SSL request.DThis could be",
    );
}

#[test]
fn other_versions_are_negotiated_or_refused() {
    let newer = packet(V3 + 2, b"user\0postgres\0_pq_.foo\x001\0\0");
    check(&[&newer], "v............_pq_.foo.R........S");
    check(
        &[&packet(4 << 16, b"user\0postgres\0\0")],
        "C0A000.Munsupported frontend protocol 4.0: server supports 3.0 to 3.0..EOF",
    );
}

#[test]
fn startup_packets_can_be_wrong() {
    check(
        &[&packet(V3, b"user\0postgres\0")],
        "C08P01.Minvalid startup packet layout: expected terminator as last byte..EOF",
    );
    check(
        &[&packet(V3, b"database\0d\0\0")],
        "C28000.Mno PostgreSQL user name specified in startup packet..EOF",
    );
    check(
        &[&packet(V3, b"user\0postgres\0nope\x001\0\0")],
        "configuration parameter \"nope\"..EOF",
    );
    assert_eq!(answers(&[b"GET / HTTP/1.1\r\n\r\n"]), "EOF");
    assert_eq!(
        answers(&[&packet(80_877_102, b"\0\0\0\x05\0\0\0\x06")]),
        "cancel 5 6"
    );
}

#[test]
fn options_set_settings() {
    check(
        &[&packet(
            V3,
            b"user\0postgres\0options\0-c application_name=a\\ b\0\0",
        )],
        "application_name.a b.",
    );
}
