//! A port that accepts connections, and those that wait for it.
//!
//! A client learns that it is accepted at that instant: only its asking takes time.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use super::super::world::World;
use super::{Connected, HostId, Listening, Socket, State, TcpStream, wake, with};

/// A port of a host that accepts connections.
pub(crate) struct TcpListener(HostId);

impl TcpListener {
    /// Listens on a port of a host that listens on no other.
    pub(crate) fn bind(host: HostId, port: u16) -> TcpListener {
        with(|state| {
            state.hosts[host].listener = Some(Listening {
                port,
                waiting: VecDeque::new(),
                waker: None,
            });
        });
        TcpListener(host)
    }

    /// The next connection, and its client's address. The client learns of it at this instant.
    pub(crate) async fn accept(&self) -> (TcpStream, SocketAddr) {
        poll_fn(|cx| with(|state| state.poll_accept(self.0, cx))).await
    }
}

impl State {
    fn poll_accept(&mut self, host: HostId, cx: &Context<'_>) -> Poll<(TcpStream, SocketAddr)> {
        let listening = self.hosts[host].listener.as_mut().expect("it is bound");
        while let Some(client) = listening.waiting.pop_front() {
            // Who has given up waiting is not there any more.
            if self.sockets[client].state != Connected::Asking {
                continue;
            }
            let end = &self.sockets[client];
            let from = end.local;
            let mut socket = Socket::new(host, end.remote, end.host, from);
            (socket.state, socket.peer) = (Connected::Open, Some(client));
            socket.severed = end.severed;
            let server = self.add_socket(socket);
            let socket = &mut self.sockets[client];
            (socket.state, socket.peer) = (Connected::Open, Some(server));
            wake(&mut socket.reader);
            return Poll::Ready((TcpStream(server), from));
        }
        listening.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        let Some(world) = World::current() else {
            return;
        };
        let mut state = world.network.state.borrow_mut();
        if let Some(listening) = state.hosts[self.0].listener.take() {
            // Nobody will accept them.
            for client in listening.waiting {
                state.sockets[client].refuse();
            }
        }
    }
}
