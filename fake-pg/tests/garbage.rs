//! Whatever a client sends, the session answers or hangs up.

use bytes::BytesMut;
use fake_pg::engine::{Engine, Pid, Timestamp};
use fake_pg::session::{CommitAction, Next, Session};
use postgres_protocol::message::backend::Message as Reply;
use postgres_protocol::message::frontend as client;

/// Numbers without a pattern, the same every time (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

fn sensible() -> BytesMut {
    let mut bytes = BytesMut::new();
    client::startup_message([("user", "postgres"), ("options", "-c a=b")], &mut bytes).unwrap();
    client::query("begin; savepoint a; rollback to a; commit", &mut bytes).unwrap();
    client::parse("s", "begin", [23], &mut bytes).unwrap();
    let write = |value: i32, to: &mut BytesMut| {
        to.extend_from_slice(&value.to_be_bytes());
        Ok(postgres_protocol::IsNull::No)
    };
    let bound = client::bind("p", "s", [1], [1, 2], write, [1], &mut bytes);
    assert!(bound.is_ok());
    client::describe(b'S', "s", &mut bytes).unwrap();
    client::describe(b'P', "p", &mut bytes).unwrap();
    client::execute("p", 3, &mut bytes).unwrap();
    client::close(b'P', "p", &mut bytes).unwrap();
    client::sync(&mut bytes);
    client::query("rollback", &mut bytes).unwrap();
    client::flush(&mut bytes);
    client::terminate(&mut bytes);
    bytes
}

/// Feeds the bytes in pieces; what comes back must be whole messages.
fn feed(bytes: &[u8], piece: usize) {
    let (mut engine, mut session) = (Engine::default(), Session::new(Pid(1), 0));
    let mut answers = BytesMut::new();
    for part in bytes.chunks(piece) {
        session.receive(&mut BytesMut::from(part));
        let mut steps = 0;
        loop {
            steps += 1;
            assert!(steps < 10_000, "it goes on for ever");
            match session.advance(&mut engine, Timestamp(0)) {
                Next::Write => session.take_output(&mut answers),
                Next::Commit(..) => session.resume(CommitAction::GoOn),
                Next::Read => break,
                Next::Wait(wait) => panic!("nobody else is here: {wait:?}"),
                Next::Close | Next::CancelRequest { .. } => {
                    session.exit(&mut engine, Timestamp(0));
                    return read(answers);
                }
            }
        }
    }
    read(answers);
}

fn read(mut answers: BytesMut) {
    // Encryption is refused with a bare letter.
    while answers.first() == Some(&b'N') && answers.get(1).is_none_or(|&byte| byte != 0) {
        let _ = answers.split_to(1);
    }
    // The client half does not know the reply to a newer version.
    if answers.first() != Some(&b'v') {
        while Reply::parse(&mut answers)
            .expect("whole messages")
            .is_some()
        {}
        assert!(answers.is_empty(), "whole messages: {answers:?}");
    }
}

#[test]
fn sensible_bytes_may_come_in_any_pieces() {
    for piece in 1..60 {
        feed(&sensible(), piece);
    }
}

#[test]
fn spoilt_bytes_are_survived() {
    let (sensible, mut numbers) = (sensible(), Numbers(0x9e37_79b9_7f4a_7c15));
    for _ in 0..20_000 {
        let mut bytes = sensible.to_vec();
        for _ in 0..=numbers.below(3) {
            let place = numbers.below(bytes.len());
            match numbers.below(4) {
                0 => bytes[place] = numbers.below(256) as u8,
                1 => bytes[place] = [0, 1, 4, 5, 0x7f, 0x80, 0xff][numbers.below(7)],
                2 => drop(bytes.drain(place..(place + 1 + numbers.below(9)).min(bytes.len()))),
                _ => bytes.insert(place, numbers.below(256) as u8),
            }
        }
        feed(&bytes, 1 + numbers.below(200));
    }
}

#[test]
fn noise_is_survived() {
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let startup = sensible()[..40].to_vec();
    for _ in 0..5_000 {
        let mut bytes = if numbers.below(2) == 0 {
            startup.clone()
        } else {
            Vec::new()
        };
        let length = numbers.below(300);
        bytes.extend((0..length).map(|_| numbers.below(256) as u8));
        feed(&bytes, 64);
    }
}
