//! The client's end of a connection to a server: what a driver is given.
//!
//! Here bytes become canonical and exchanges get their names, as a message
//! leaves the process and as its answer has been read; here a frozen process's
//! bytes stop. Cutting and delaying is the other end's business, in `wire`.

use std::collections::VecDeque;
use std::hash::Hasher;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{Replies, Requests, Told};
use super::tcp::TcpStream;
use super::world::World;
use crate::history::{ProcessId, RollingHash, What};
use crate::plan::Exchange;

/// A connection to a server, in bytes.
pub struct Stream {
    tcp: TcpStream,
    local: SocketAddr,
    process: ProcessId,
    connection: u32,
    requests: Requests,
    replies: Replies,
    /// Canonical bytes that the network has not taken yet.
    unsent: BytesMut,
    /// Exchanges whose answer has not been read to its end, and how many ReadyForQuery are missing.
    open: VecDeque<(Exchange, u32)>,
    outcome: String,
    digest: RollingHash,
    closed: bool,
}

impl Stream {
    /// Connects a process, at a job if it takes any, to a server's host.
    pub(crate) async fn connect(
        process: ProcessId,
        job: Option<Arc<str>>,
        host: &str,
    ) -> io::Result<Stream> {
        let server = World::with(|world| {
            world
                .servers
                .iter()
                .position(|server| &*server.name == host)
        });
        let Some(server) = server else {
            let known: Vec<_> = World::with(|world| {
                world
                    .servers
                    .iter()
                    .map(|server| server.name.to_string())
                    .collect()
            });
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!(
                    "there is no server `{host}`; there are: {}",
                    known.join(", ")
                ),
            ));
        };
        // Only a task that its host does not know of can outlive a kill, and get here.
        if World::with(|world| world.is_frozen(process)) {
            return std::future::pending().await;
        }
        let (from, to) = World::with(|world| (world.host_of(process), world.host(host)));
        let tcp = TcpStream::connect(from, to, super::server::PORT).await?;
        let local = tcp.local_addr();
        let connection = World::with(|world| {
            let connection = world.process(process, |process| {
                process.connections += 1;
                process.connections
            });
            let whose = (process, connection);
            world.links.borrow_mut().open(local, whose, job, server);
            connection
        });
        Ok(Stream {
            tcp,
            local,
            process,
            connection,
            requests: Requests::default(),
            replies: Replies::default(),
            unsent: BytesMut::new(),
            open: VecDeque::new(),
            outcome: String::new(),
            digest: RollingHash::default(),
            closed: false,
        })
    }

    /// The process's how-manieth connection this is; from 1.
    pub fn number(&self) -> u32 {
        self.connection
    }

    /// Hands canonical bytes to the network.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let sent = std::task::ready!(Pin::new(&mut self.tcp).poll_write(cx, &self.unsent))?;
            self.unsent.advance(sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Notes what the bytes just read tell.
    fn note_reply(&mut self, world: &World, bytes: &[u8]) {
        self.digest.write(bytes);
        let Stream {
            replies,
            open,
            outcome,
            digest,
            ..
        } = self;
        let mut answered = Vec::new();
        replies.feed(bytes, |told, _| match told {
            Told::Tag(tag) => append(outcome, &tag),
            Told::Error(code, message) => {
                // What the server lacks must not pass for a finding about the worker.
                if code == "0A000" {
                    world.fail(format!(
                        "the simulated server lacks what was asked of it: {message}"
                    ));
                }
                append(outcome, &code);
            }
            Told::Ready => {
                let Some((_, missing)) = open.front_mut() else {
                    return;
                };
                *missing -= 1;
                if *missing == 0 {
                    let (exchange, _) = open.pop_front().expect("it is there");
                    answered.push((exchange, std::mem::take(outcome)));
                }
            }
        });
        for (exchange, outcome) in answered {
            world.anchor_message(self.process, self.connection, &exchange, true);
            world.log(What::Answered {
                process: self.process,
                connection: self.connection,
                exchange,
                outcome: outcome.into(),
                digest: std::mem::take(digest).finish(),
            });
        }
    }

    fn note_end(&mut self, world: &World, how: &'static str) {
        if !std::mem::replace(&mut self.closed, true) {
            world.log(What::Disconnected {
                process: self.process,
                connection: self.connection,
                how,
            });
        }
    }
}

fn append(outcome: &mut String, word: &str) {
    if !outcome.is_empty() {
        outcome.push_str("; ");
    }
    outcome.push_str(word);
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        World::with(|world| {
            if world.is_frozen(stream.process) {
                return Poll::Pending;
            }
            if world.links.borrow_mut().is_reset(stream.local, cx) {
                stream.note_end(world, "timed out");
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            let before = buf.filled().len();
            match std::task::ready!(Pin::new(&mut stream.tcp).poll_read(cx, buf)) {
                Ok(()) if buf.filled().len() > before => {
                    stream.note_reply(world, &buf.filled()[before..])
                }
                Ok(()) => stream.note_end(world, "end of file"),
                Err(error) => {
                    stream.note_end(world, "reset");
                    return Poll::Ready(Err(error));
                }
            }
            Poll::Ready(Ok(()))
        })
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        World::with(|world| {
            if world.is_frozen(stream.process) {
                return Poll::Pending;
            }
            std::task::ready!(stream.poll_send(cx))?;
            let segment = stream.requests.feed(bytes, &mut stream.unsent);
            let (length, digest) = (stream.unsent.len() as u32, RollingHash::of(&stream.unsent));
            // What the network cannot take now goes out with the next flush: the bytes are ours already.
            let sent = stream.poll_send(cx);
            if let Some(segment) = segment {
                let exchange = segment.exchange;
                if exchange.verb.ends_with("-request") {
                    stream.replies.expect_bare();
                }
                world.anchor_message(stream.process, stream.connection, &exchange, false);
                world.log(What::Sent {
                    process: stream.process,
                    connection: stream.connection,
                    exchange: exchange.clone(),
                    bytes: length,
                    digest,
                });
                if segment.answers > 0 {
                    stream.open.push_back((exchange, segment.answers));
                }
            }
            if let Poll::Ready(Err(error)) = sent {
                return Poll::Ready(Err(error));
            }
            Poll::Ready(Ok(bytes.len()))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if World::with(|world| world.is_frozen(stream.process)) {
            return Poll::Pending;
        }
        stream.poll_send(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if World::with(|world| world.is_frozen(stream.process)) {
            return Poll::Pending;
        }
        std::task::ready!(stream.poll_send(cx))?;
        Pin::new(&mut stream.tcp).poll_shutdown(cx)
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("process", &self.process)
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}
