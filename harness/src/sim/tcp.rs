//! TCP between the hosts of a run: what a segment meets on its way.
//!
//! A write is a segment of any size, and arrives whole, in order, after as many
//! ticks as the network takes: at the beginning of one, when its host takes its turn.
//! Nothing is lost but by a partition, which loses what is under way both ways. Nothing is
//! sent twice: a connection that was open then passes nothing any more, ever. Up to 64 segments wait to be read; the next write waits.
//!
//! A socket that is dropped with unread data resets the connection, and closes it
//! otherwise. What had been read into its peer's queue before a reset stays
//! readable there. What reaches a host that is down waits until it is up, and is
//! refused then: nobody knows the connection any more.
//!
//! A socket is a number: sockets can be sent between threads as their drivers
//! want it, and are of no use outside their run.

mod listener;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Exp};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::world::World;

pub(crate) use listener::TcpListener;

/// A host, as an index in the order in which hosts were added.
pub(crate) type HostId = usize;
type SocketId = usize;

/// How many segments a connection holds in one direction.
const SEGMENTS_MAX: u32 = 64;
/// The first port that a client's end of a connection has.
const FIRST_PORT: u16 = 49_152;

/// How the latencies between the least and the most are spread: one in a hundred and fifty is the most.
const TAIL: f64 = 5.0;

/// How long segments take.
pub(crate) struct Latency {
    /// The least, and what all latencies are multiples of.
    pub(crate) tick: Duration,
    /// The most, if they are drawn; without it, each takes one tick.
    pub(crate) most: Option<Duration>,
}

/// All hosts' sockets, and what is under way between them.
pub(crate) struct Network {
    state: RefCell<State>,
}

struct State {
    latency: Latency,
    /// What latencies and the order of turns are drawn from.
    chance: SmallRng,
    hosts: Vec<Host>,
    sockets: Vec<Socket>,
    /// In the order of sending.
    flying: Vec<Packet>,
    /// Pairs of hosts between which nothing passes, the lesser first.
    parted: Vec<(HostId, HostId)>,
    /// When what is sent now arrives at the earliest.
    step_end: Duration,
}

struct Host {
    addr: Ipv4Addr,
    next_port: u16,
    up: bool,
    listener: Option<Listening>,
}

/// Connections that nobody has accepted yet.
struct Listening {
    port: u16,
    waiting: VecDeque<SocketId>,
    waker: Option<Waker>,
}

struct Socket {
    host: HostId,
    local: SocketAddr,
    remote: SocketAddr,
    peer_host: HostId,
    peer: Option<SocketId>,
    state: Connected,
    arrived: VecDeque<Segment>,
    /// What has been read of a segment only in part.
    rest: Bytes,
    read_to_end: bool,
    shut_down: bool,
    /// Whether this end has been dropped, or has ended with its host.
    dropped: bool,
    /// Whether a partition has cut it: what is sent on it from then on is lost.
    severed: bool,
    /// Segments sent that the peer has not read.
    unread: u32,
    /// When the last segment sent arrives: the next one is not faster.
    last_due: Duration,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Connected {
    /// Waits to be accepted.
    Asking,
    Open,
    /// Refused, reset, or dropped at this end.
    Gone,
}

enum Segment {
    Data(Bytes),
    Fin,
}

struct Packet {
    from: HostId,
    to: HostId,
    due: Duration,
    what: What,
}

enum What {
    Ask { client: SocketId, port: u16 },
    Segment(SocketId, Segment),
    Reset(SocketId),
}

impl Network {
    pub(crate) fn new(latency: Latency, seed: u64) -> Network {
        Network {
            state: RefCell::new(State {
                chance: SmallRng::seed_from_u64(seed),
                step_end: latency.tick,
                latency,
                hosts: Vec::new(),
                sockets: Vec::new(),
                flying: Vec::new(),
                parted: Vec::new(),
            }),
        }
    }

    /// Adds a host. Its address is 192.168.0.1 if it is the first, and so on.
    pub(crate) fn add_host(&self) -> HostId {
        let mut state = self.state.borrow_mut();
        // A stream for each host's own chance, which nobody draws from: what seeds mean depends on it.
        let _unused: [u8; 32] = state.chance.random();
        let number = state.hosts.len() as u16 + 1;
        let [high, low] = number.to_be_bytes();
        state.hosts.push(Host {
            addr: Ipv4Addr::new(192, 168, high, low),
            next_port: FIRST_PORT,
            up: true,
            listener: None,
        });
        state.hosts.len() - 1
    }

    /// Puts those that take a turn into an order that is drawn.
    pub(crate) fn shuffle(&self, hosts: &mut [HostId]) {
        hosts.shuffle(&mut self.state.borrow_mut().chance);
    }

    /// Whether segments reach this host, or wait until they do.
    pub(crate) fn set_up(&self, host: HostId, up: bool) {
        self.state.borrow_mut().hosts[host].up = up;
    }

    /// Closes all sockets of a host that ends: those too that a task holds of which it does not know.
    pub(crate) fn close_all(&self, host: HostId) {
        let mut state = self.state.borrow_mut();
        for socket in 0..state.sockets.len() {
            if state.sockets[socket].host == host {
                state.close(socket);
            }
        }
    }

    /// A step begins: what is sent in it arrives at its end at the earliest.
    pub(crate) fn begin_step(&self, end: Duration) {
        self.state.borrow_mut().step_end = end;
    }

    /// When the next segment arrives at a host that is up.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let state = self.state.borrow();
        let flying = state.flying.iter();
        let dues = flying.filter(|packet| state.hosts[packet.to].up);
        dues.map(|packet| packet.due).min()
    }

    /// Hands a host what has arrived by now, from each peer in turn. Whether there was anything.
    pub(crate) fn deliver(&self, to: HostId, now: Duration) -> bool {
        let mut state = self.state.borrow_mut();
        if state.flying.is_empty() {
            return false;
        }
        let is_due = |packet: &mut Packet| packet.to == to && packet.due <= now;
        let mut arrived: Vec<Packet> = state.flying.extract_if(.., is_due).collect();
        arrived.sort_by_key(|packet| packet.from);
        let any = !arrived.is_empty();
        for packet in arrived {
            state.arrive(packet);
        }
        any
    }

    /// Loses what is under way between two hosts, and all that is sent between them from now on; on
    /// connections that there are, for ever.
    pub(crate) fn partition(&self, a: HostId, b: HostId) {
        let mut state = self.state.borrow_mut();
        let pair = (a.min(b), a.max(b));
        if !state.parted.contains(&pair) {
            state.parted.push(pair);
        }
        for socket in &mut state.sockets {
            let (a, b) = (socket.host, socket.peer_host);
            socket.severed |= (a.min(b), a.max(b)) == pair;
        }
        let between =
            |packet: &mut Packet| (packet.from.min(packet.to), packet.from.max(packet.to)) == pair;
        let lost: Vec<Packet> = state.flying.extract_if(.., between).collect();
        for packet in lost {
            if let What::Ask { client, .. } = packet.what {
                state.sockets[client].refuse();
            }
        }
    }

    /// Lets segments pass again.
    pub(crate) fn repair(&self, a: HostId, b: HostId) {
        let pair = (a.min(b), a.max(b));
        self.state
            .borrow_mut()
            .parted
            .retain(|other| *other != pair);
    }
}

impl State {
    fn send(&mut self, from: HostId, to: HostId, after: Duration, what: What) -> Duration {
        let pair = (from.min(to), from.max(to));
        if self.parted.contains(&pair) {
            if let What::Ask { client, .. } = what {
                self.sockets[client].refuse();
            }
            return after;
        }
        let more = match self.latency.most {
            Some(most) => {
                let tail: f64 = Exp::new(TAIL)
                    .expect("it is positive")
                    .sample(&mut self.chance);
                let range = most - self.latency.tick;
                Duration::from_millis((range.as_millis() as f64 * tail) as u64).min(range)
            }
            None => Duration::ZERO,
        };
        let due = (self.step_end + more).max(after);
        self.flying.push(Packet {
            from,
            to,
            due,
            what,
        });
        due
    }

    /// Sends something of a connection, after all it has sent before.
    fn send_on(&mut self, socket: SocketId, what: impl FnOnce(SocketId) -> What) {
        let end = &self.sockets[socket];
        // A connection that was never accepted has nobody to tell.
        let Some(peer) = end.peer.filter(|_| !end.severed) else {
            return;
        };
        let due = self.send(end.host, end.peer_host, end.last_due, what(peer));
        self.sockets[socket].last_due = due;
    }

    fn reset_peer(&mut self, socket: SocketId) {
        self.send_on(socket, What::Reset);
    }

    fn arrive(&mut self, packet: Packet) {
        match packet.what {
            What::Ask { client, port } => match &mut self.hosts[packet.to].listener {
                Some(listening) if listening.port == port => {
                    listening.waiting.push_back(client);
                    wake(&mut listening.waker);
                }
                _ => self.sockets[client].refuse(),
            },
            What::Segment(to, segment) => {
                let socket = &mut self.sockets[to];
                match socket.state {
                    Connected::Gone => self.reset_peer(to),
                    _ => {
                        socket.arrived.push_back(segment);
                        wake(&mut socket.reader);
                    }
                }
            }
            What::Reset(to) => {
                let socket = &mut self.sockets[to];
                socket.state = Connected::Gone;
                wake(&mut socket.reader);
                wake(&mut socket.writer);
            }
        }
    }

    fn add_socket(&mut self, socket: Socket) -> SocketId {
        self.sockets.push(socket);
        self.sockets.len() - 1
    }

    /// A socket's owner drops it, or dies.
    fn close(&mut self, id: SocketId) {
        let socket = &mut self.sockets[id];
        if std::mem::replace(&mut socket.dropped, true) {
            return;
        }
        let unread = !socket.read_to_end
            && (!socket.rest.is_empty()
                || matches!(socket.arrived.front(), Some(Segment::Data(_))));
        let was = std::mem::replace(&mut socket.state, Connected::Gone);
        let shut_down = std::mem::replace(&mut socket.shut_down, true);
        (socket.reader, socket.writer) = (None, None);
        if unread {
            self.reset_peer(id);
        } else if was == Connected::Open && !shut_down {
            self.send_on(id, |peer| What::Segment(peer, Segment::Fin));
        }
    }
}

impl Socket {
    fn new(host: HostId, local: SocketAddr, peer_host: HostId, remote: SocketAddr) -> Socket {
        Socket {
            host,
            local,
            remote,
            peer_host,
            peer: None,
            state: Connected::Asking,
            arrived: VecDeque::new(),
            rest: Bytes::new(),
            read_to_end: false,
            shut_down: false,
            dropped: false,
            severed: false,
            unread: 0,
            last_due: Duration::ZERO,
            reader: None,
            writer: None,
        }
    }

    fn refuse(&mut self) {
        self.state = Connected::Gone;
        wake(&mut self.reader);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

fn broken_pipe() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "Broken pipe")
}

/// Does something with the network of this thread's run.
fn with<T>(f: impl FnOnce(&mut State) -> T) -> T {
    World::with(|world| f(&mut world.network.state.borrow_mut()))
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct TcpStream(SocketId);

impl TcpStream {
    /// Connects from a host to a port of another.
    ///
    /// # Errors
    ///
    /// The other host is parted from this one, or nobody listens there.
    pub(crate) async fn connect(from: HostId, to: HostId, port: u16) -> io::Result<TcpStream> {
        // Dropped before it is connected, or while it is not known yet, it closes the connection.
        let stream = TcpStream(with(|state| {
            let host = &mut state.hosts[from];
            let local = SocketAddr::new(IpAddr::V4(host.addr), host.next_port);
            host.next_port = host.next_port.checked_add(1).unwrap_or(FIRST_PORT);
            let remote = SocketAddr::new(IpAddr::V4(state.hosts[to].addr), port);
            let client = state.add_socket(Socket::new(from, local, to, remote));
            state.send(from, to, Duration::ZERO, What::Ask { client, port });
            client
        }));
        poll_fn(|cx| stream.poll_connected(cx)).await?;
        Ok(stream)
    }

    fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with(|state| {
            let socket = &mut state.sockets[self.0];
            match socket.state {
                Connected::Open => Poll::Ready(Ok(())),
                Connected::Gone => Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::ConnectionRefused,
                    socket.remote.to_string(),
                ))),
                Connected::Asking => {
                    socket.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
    }

    /// This end's address.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        with(|state| state.sockets[self.0].local)
    }

    /// Waits for a segment and makes what is unread of it readable; `false` at the end of the stream.
    fn poll_filled(&self, state: &mut State, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let socket = &mut state.sockets[self.0];
        if socket.read_to_end {
            return Poll::Ready(Ok(false));
        }
        if !socket.rest.is_empty() {
            return Poll::Ready(Ok(true));
        }
        match socket.arrived.pop_front() {
            Some(Segment::Data(bytes)) => {
                socket.rest = bytes;
                if let Some(peer) = socket.peer {
                    let peer = &mut state.sockets[peer];
                    peer.unread -= 1;
                    wake(&mut peer.writer);
                }
                Poll::Ready(Ok(true))
            }
            Some(Segment::Fin) => {
                socket.read_to_end = true;
                Poll::Ready(Ok(false))
            }
            None if socket.state == Connected::Gone => Poll::Ready(Err(io::Error::new(
                io::ErrorKind::ConnectionReset,
                "Connection reset",
            ))),
            None => {
                match &mut socket.reader {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
        }
    }

    /// Reads what there is without taking it.
    pub(crate) fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        with(|state| {
            if !ready!(self.poll_filled(state, cx))? {
                return Poll::Ready(Ok(0));
            }
            let rest = &state.sockets[self.0].rest;
            let length = rest.len().min(buf.remaining());
            buf.put_slice(&rest[..length]);
            Poll::Ready(Ok(length))
        })
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        if let Some(world) = World::current() {
            world.network.state.borrow_mut().close(self.0);
        }
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        with(|state| {
            if ready!(self.poll_filled(state, cx))? {
                let rest = &mut state.sockets[self.0].rest;
                let length = rest.len().min(buf.remaining());
                buf.put_slice(&rest[..length]);
                rest.advance(length);
            }
            Poll::Ready(Ok(()))
        })
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        with(|state| {
            let socket = &mut state.sockets[self.0];
            if socket.shut_down {
                return Poll::Ready(Err(broken_pipe()));
            }
            if bytes.is_empty() {
                return Poll::Ready(Ok(0));
            }
            if socket.state == Connected::Gone {
                return Poll::Ready(Err(broken_pipe()));
            }
            if socket.unread == SEGMENTS_MAX {
                socket.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            socket.unread += 1;
            let segment = Segment::Data(Bytes::copy_from_slice(bytes));
            state.send_on(self.0, |peer| What::Segment(peer, segment));
            Poll::Ready(Ok(bytes.len()))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        with(|state| {
            let socket = &mut state.sockets[self.0];
            if std::mem::replace(&mut socket.shut_down, true) {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            }
            if socket.state == Connected::Gone {
                return Poll::Ready(Err(broken_pipe()));
            }
            state.send_on(self.0, |peer| What::Segment(peer, Segment::Fin));
            Poll::Ready(Ok(()))
        })
    }
}

#[cfg(test)]
mod tests;
