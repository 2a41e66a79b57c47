//! The session of ours that answers what names the schema `midcommit`.
//!
//! It is a session of fake-pg, so functions and relations, both protocols, text and binary formats
//! are those of `serve`. Its ReadyForQuery tells the state of the client's transaction on the real
//! server.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::{Buf, BufMut, BytesMut};
use fake_pg::connection;
use fake_pg::engine::Pid;
use fake_pg::postmaster::Postmaster;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::replies::{Replies, Told};

/// How much is under way to and from it.
const BUFFER: usize = 1 << 16;

pub(super) struct Ours {
    stream: DuplexStream,
    input: BytesMut,
    replies: Replies,
    /// What it may be cancelled by.
    pub(super) key: (Pid, i32),
    /// How many ReadyForQuery are missing.
    pub(super) outstanding: usize,
    /// A transaction was left open in it.
    pub(super) is_spoilt: bool,
}

impl Ours {
    /// Opens one.
    pub(super) async fn open(postmaster: Rc<RefCell<Postmaster>>) -> Option<Ours> {
        let (near, far) = tokio::io::duplex(BUFFER);
        tokio::task::spawn_local(connection::serve(postmaster, far));
        let mut ours = Ours {
            stream: near,
            input: BytesMut::new(),
            replies: Replies::default(),
            key: (Pid(0), 0),
            outstanding: 1,
            is_spoilt: false,
        };
        let mut startup = BytesMut::new();
        startup.put_u32(0);
        startup.put_u32(3 << 16);
        startup.put_slice(
            b"user\0postgres\0database\0postgres\0application_name\0midcommit proxy\0\0",
        );
        let length = startup.len() as u32;
        startup[..4].copy_from_slice(&length.to_be_bytes());
        ours.stream.write_all(&startup).await.ok()?;
        while ours.outstanding > 0 {
            ours.read(b'I').await?;
        }
        Some(ours)
    }

    /// Hands it a client's messages, of which so many ask for ReadyForQuery.
    pub(super) async fn send(&mut self, messages: &[u8], answers: usize) -> Option<()> {
        self.outstanding += answers;
        self.stream.write_all(messages).await.ok()
    }

    /// Waits for more of its answer, which tells the client that its transaction is in this state.
    /// Nothing is lost if this is given up.
    pub(super) async fn read(&mut self, status: u8) -> Option<BytesMut> {
        if self.stream.read_buf(&mut self.input).await.ok()? == 0 {
            return None;
        }
        let mut answer = BytesMut::new();
        while let Some((mut part, told)) = self.replies.next(&mut self.input) {
            match told {
                Some(Told::Ready(own)) => {
                    self.outstanding = self.outstanding.saturating_sub(1);
                    self.is_spoilt |= own != b'I';
                    part.truncate(5);
                    part.put_u8(status);
                }
                Some(Told::Key(pid, key)) => self.key = (Pid(pid), key),
                _ => {}
            }
            answer.unsplit(part);
        }
        Some(answer)
    }
}

/// The types of a client's messages.
pub(super) fn tags(mut messages: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let header = messages.get(..5)?;
        let length = (&header[1..]).get_u32() as usize + 1;
        let tag = header[0];
        messages = messages.get(length..).unwrap_or_default();
        Some(tag)
    })
}

/// How many ReadyForQuery they ask for.
pub(super) fn answers(messages: &[u8]) -> usize {
    tags(messages)
        .filter(|tag| matches!(tag, b'Q' | b'S' | b'F'))
        .count()
}
