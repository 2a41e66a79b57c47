//! The server's end of a connection: cuts and delays at a byte.
//!
//! Bytes arrive here in canonical form. A request's point is its arrival, a
//! reply's the server's write; the fault that strikes among the bytes that pass
//! lets exactly those before it through.
//!
//! A reset needs one unread byte: dropping a simulated socket with unread data
//! sends RST, without any it sends FIN. So one byte of what the server has been
//! given stays behind in the socket until the server has answered.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::cursor::Here;
use super::frames::{Replies, Requests, Segment, Told};
use super::tcp::TcpStream;
use super::world::{Action, Timer, World};
use crate::plan::{Cut, Exchange, Fault, Kind, Point, Side};

/// How much is taken from the network at a time.
const CHUNK_BYTES: usize = 8192;

/// A connection as its server sees it.
pub(crate) struct Wire {
    /// Gone once the connection has been cut.
    tcp: Option<TcpStream>,
    client: SocketAddr,
    server: usize,
    connection: u32,
    requests: Requests,
    replies: Replies,
    open: VecDeque<Open>,
    /// Bytes the server may read.
    inbox: BytesMut,
    /// Bytes that a delay keeps from the server.
    delayed: BytesMut,
    /// Bytes on their way to the client, held back by a delay.
    outbox: BytesMut,
    /// What happens once the inbox has been read.
    then: Option<Cut>,
    state: State,
    request_delay: Option<Pin<Box<Sleep>>>,
    reply_delay: Option<Pin<Box<Sleep>>>,
    /// Whether one byte is kept unread in the socket, so that dropping it resets the connection.
    held: bool,
    /// While a request is being answered, the next one stays in the socket, and so does that byte.
    awaiting_reply: bool,
}

/// An exchange whose answer has not left yet.
struct Open {
    exchange: Exchange,
    /// How many ReadyForQuery are missing.
    missing: u32,
    /// How many bytes of the answer have left.
    replied: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Alive,
    /// Closed, as the server learns: end of file, then a broken pipe.
    Closed,
    Reset,
    Silent,
}

impl Wire {
    pub(crate) fn new(tcp: TcpStream, client: SocketAddr, server: usize, connection: u32) -> Wire {
        Wire {
            tcp: Some(tcp),
            client,
            server,
            connection,
            requests: Requests::default(),
            replies: Replies::default(),
            open: VecDeque::new(),
            inbox: BytesMut::new(),
            delayed: BytesMut::new(),
            outbox: BytesMut::new(),
            then: None,
            state: State::Alive,
            request_delay: None,
            reply_delay: None,
            held: false,
            awaiting_reply: false,
        }
    }

    /// Reads what has arrived into the inbox. `Ok(0)` is the end of the stream.
    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(tcp) = &mut self.tcp else {
            return Poll::Pending;
        };
        if self.held {
            if self.awaiting_reply {
                return Poll::Pending;
            }
            ready!(Pin::new(&mut *tcp).poll_read(cx, &mut ReadBuf::new(&mut [0])))?;
            self.held = false;
        }
        // Left uninitialised: most polls find nothing, and would clear it for nothing.
        let mut chunk = [MaybeUninit::uninit(); CHUNK_BYTES];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        let arrived = ready!(tcp.poll_peek(cx, &mut chunk))?;
        if arrived > 1 {
            let mut taken = [MaybeUninit::uninit(); CHUNK_BYTES];
            let mut taken = ReadBuf::uninit(&mut taken[..arrived - 1]);
            ready!(Pin::new(tcp).poll_read(cx, &mut taken))?;
        }
        self.held = arrived > 0;
        let start = self.inbox.len();
        if let Some(segment) = self.requests.feed(chunk.filled(), &mut self.inbox) {
            self.arrive(segment, start);
        }
        Poll::Ready(Ok(arrived))
    }

    /// A segment has arrived; its bytes stand in the inbox from `start` on.
    fn arrive(&mut self, segment: Segment, start: usize) {
        let Segment { exchange, answers } = segment;
        if exchange.verb.ends_with("-request") {
            self.replies.expect_bare();
        }
        self.awaiting_reply = answers > 0;
        let here = Here::Wire {
            connection: self.connection,
            exchange: &exchange,
            side: Side::Request,
            from: 0,
            to: (self.inbox.len() - start) as u32,
        };
        let struck = World::with(|world| {
            if world.cursor.borrow().recorder.is_some() {
                world.note_wire(self.connection, self.client);
            }
            world.visit(here)
        });
        if answers > 0 {
            self.open.push_back(Open {
                exchange,
                missing: answers,
                replied: 0,
            });
        }
        let Some(fault) = struck else { return };
        match self.strike(&fault.kind) {
            Some(cut) => {
                self.inbox.truncate(start + byte_of(&fault) as usize);
                self.then = Some(cut);
            }
            None => {
                if let Kind::Delay(time) = fault.kind {
                    self.delayed = self.inbox.split_off(start + byte_of(&fault) as usize);
                    self.request_delay = Some(delay(time));
                }
            }
        }
    }

    /// How a fault ends the connection, if it does. A partition also silences all others between the two hosts.
    fn strike(&self, kind: &Kind) -> Option<Cut> {
        match kind {
            Kind::Cut(cut) => Some(*cut),
            Kind::Partition(time) => {
                World::with(|world| {
                    if let Some(link) = world.links.borrow().get(self.client) {
                        world.ask(Action::Partition {
                            process: link.process,
                            server: self.server,
                            time: *time,
                        });
                    }
                });
                Some(Cut::Silence)
            }
            _ => None,
        }
    }

    /// Ends the connection at this instant.
    fn cut(&mut self, cut: Cut, cx: &mut Context<'_>) {
        self.outbox.clear();
        match cut {
            Cut::Fin => {
                // Unread data would turn the close into a reset.
                self.held = false;
                while let Poll::Ready(Ok(1..)) = self.poll_drain(cx) {}
                self.tcp = None;
                self.state = State::Closed;
            }
            Cut::Rst => {
                self.tcp = None;
                self.state = State::Reset;
            }
            Cut::Silence => {
                World::with(|world| world.links.borrow_mut().silence(self.client));
                self.state = State::Silent;
            }
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(tcp) = &mut self.tcp else {
            return Poll::Ready(Ok(0));
        };
        let mut chunk = [0; 1024];
        let mut buf = ReadBuf::new(&mut chunk);
        ready!(Pin::new(tcp).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// The state that faults have left the connection in: an answer for the server, unless it is alive.
    fn broken(&mut self, cx: &mut Context<'_>) -> Option<Poll<io::Result<()>>> {
        let frozen = World::with(|world| world.servers[self.server].is_frozen());
        if frozen {
            return Some(Poll::Pending);
        }
        let reset =
            World::with(|world| world.links.borrow_mut().is_reset_at_server(self.client, cx));
        if reset && self.state != State::Reset {
            self.tcp = None;
            self.state = State::Reset;
        }
        match self.state {
            State::Alive => None,
            State::Closed => Some(Poll::Ready(Ok(()))),
            State::Reset => Some(Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))),
            State::Silent => Some(Poll::Pending),
        }
    }

    /// Sends what a delay held back, once its time has come.
    fn poll_outbox(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(delay) = &mut self.reply_delay {
            ready!(delay.as_mut().poll(cx));
            self.reply_delay = None;
        }
        while !self.outbox.is_empty() {
            let Some(tcp) = &mut self.tcp else {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            };
            let sent = ready!(Pin::new(tcp).poll_write(cx, &self.outbox))?;
            self.outbox.advance(sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Notes that the server wrote `bytes`, piece by piece of the exchanges they answer, and says which
    /// fault strikes after how many of them.
    fn pass_reply(&mut self, bytes: &[u8]) -> Option<(usize, Kind)> {
        let mut ends = Vec::new();
        self.replies.feed(bytes, |told, at| {
            if told == Told::Ready {
                ends.push(at);
            }
        });
        let (mut from, mut struck) = (0, None);
        for end in ends {
            let Some(open) = self.open.front_mut() else {
                break;
            };
            open.missing -= 1;
            if open.missing == 0 {
                struck = struck.or(self.pass_piece(from, end));
                self.open.pop_front();
                from = end;
            }
        }
        if from < bytes.len() {
            struck = struck.or(self.pass_piece(from, bytes.len()));
        }
        struck
    }

    /// Bytes `from..to` of a write belong to the first open exchange.
    fn pass_piece(&mut self, from: usize, to: usize) -> Option<(usize, Kind)> {
        let open = self.open.front_mut()?;
        let start = open.replied;
        open.replied += (to - from) as u32;
        let here = Here::Wire {
            connection: self.connection,
            exchange: &open.exchange,
            side: Side::Reply,
            from: start,
            to: open.replied,
        };
        let fault = World::with(|world| world.visit(here))?;
        Some((from + (byte_of(&fault) - start) as usize, fault.kind))
    }
}

/// A delay, which the run waits for: what is held back has its chance when it is over.
fn delay(time: Duration) -> Pin<Box<Sleep>> {
    World::with(|world| world.later(time, Timer::EndDelay));
    Box::pin(tokio::time::sleep(time))
}

/// The byte a fault on the wire strikes after.
fn byte_of(fault: &Fault) -> u32 {
    match fault.at {
        Point::Wire { byte, .. } => byte,
        _ => unreachable!("only wire points are shown here"),
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        loop {
            if let Some(answer) = wire.broken(cx) {
                return answer;
            }
            // A delayed reply leaves while the server waits for the next request.
            if let Poll::Ready(Err(error)) = wire.poll_outbox(cx) {
                return Poll::Ready(Err(error));
            }
            if !wire.inbox.is_empty() {
                let length = wire.inbox.len().min(buf.remaining());
                buf.put_slice(&wire.inbox[..length]);
                wire.inbox.advance(length);
                return Poll::Ready(Ok(()));
            }
            if let Some(delay) = &mut wire.request_delay {
                ready!(delay.as_mut().poll(cx));
                wire.request_delay = None;
                wire.inbox.unsplit(std::mem::take(&mut wire.delayed));
                continue;
            }
            match wire.then.take() {
                Some(cut) => wire.cut(cut, cx),
                None => {
                    if ready!(wire.poll_arrival(cx))? == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        const OUTBOX_MAX: usize = 1 << 20;
        let wire = self.get_mut();
        match wire.broken(cx) {
            None => {}
            // Whoever writes into silence is not told.
            Some(Poll::Pending) if wire.state == State::Silent => {
                return Poll::Ready(Ok(bytes.len()));
            }
            Some(Poll::Pending) => return Poll::Pending,
            Some(Poll::Ready(Ok(()))) => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Some(Poll::Ready(Err(error))) => return Poll::Ready(Err(error)),
        }
        if wire.outbox.len() > OUTBOX_MAX {
            ready!(wire.poll_outbox(cx))?;
        }
        wire.awaiting_reply = false;
        let struck = wire.pass_reply(bytes);
        let now = struck.as_ref().map_or(bytes.len(), |(at, _)| *at);
        wire.outbox.extend_from_slice(&bytes[..now]);
        if let Poll::Ready(Err(error)) = wire.poll_outbox(cx) {
            return Poll::Ready(Err(error));
        }
        if let Some((at, kind)) = struck {
            match wire.strike(&kind) {
                Some(cut) => wire.cut(cut, cx),
                None => {
                    if let Kind::Delay(time) = kind {
                        wire.reply_delay = Some(delay(time));
                    }
                    wire.outbox.extend_from_slice(&bytes[at..]);
                    // The delay's clock starts now, and wakes whoever serves this connection.
                    let _started = wire.poll_outbox(cx);
                }
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What is held back is on its way as far as the server can tell.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        match wire.broken(cx) {
            None => match &mut wire.tcp {
                Some(tcp) => Pin::new(tcp).poll_shutdown(cx),
                None => Poll::Ready(Ok(())),
            },
            Some(Poll::Pending) if wire.state != State::Silent => Poll::Pending,
            Some(_) => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // The byte kept for a reset must not turn an orderly close into one.
        let mut cx = Context::from_waker(Waker::noop());
        if std::mem::take(&mut self.held) {
            let _drained = self.poll_drain(&mut cx);
        }
    }
}
