//! Connections that are open, and those that nothing passes on any more.
//!
//! A silenced connection stays half-open until the run heals: then both ends
//! learn, as keepalive would tell them after its time, that it is dead. Real TCP
//! may also recover from a short partition; the simulated one never does, as it
//! sends nothing twice.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Waker};

use crate::history::ProcessId;

/// All connections between processes and servers, by the client's address.
#[derive(Default)]
pub(crate) struct Links {
    links: BTreeMap<SocketAddr, Link>,
    /// Whether this run can silence anything: else nobody registers to be woken.
    may_silence: bool,
    wakers: BTreeMap<(SocketAddr, bool), Waker>,
}

/// One connection.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) process: ProcessId,
    /// The process's how-manieth connection it is; from 1.
    pub(crate) connection: u32,
    /// The job whose worker opened it: what is committed on it is that job's, even if COMMIT arrives
    /// when the job has ended and the process is at the next one.
    pub(crate) job: Option<Arc<str>>,
    pub(crate) server: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Alive,
    Silent,
    Reset,
}

impl Links {
    pub(crate) fn new(may_silence: bool) -> Links {
        Links {
            may_silence,
            ..Links::default()
        }
    }

    pub(crate) fn open(
        &mut self,
        client: SocketAddr,
        (process, connection): (ProcessId, u32),
        job: Option<Arc<str>>,
        server: usize,
    ) {
        let link = Link {
            process,
            connection,
            job,
            server,
            state: State::Alive,
        };
        self.links.insert(client, link);
    }

    /// The connection from that address.
    pub(crate) fn get(&self, client: SocketAddr) -> Option<Link> {
        self.links.get(&client).cloned()
    }

    /// Nothing passes on this connection any more.
    pub(crate) fn silence(&mut self, client: SocketAddr) {
        if let Some(link) = self.links.get_mut(&client) {
            link.state = State::Silent;
        }
    }

    /// Nothing passes between these processes and a server any more.
    pub(crate) fn silence_between(&mut self, is_one: impl Fn(ProcessId) -> bool, server: usize) {
        for link in self.links.values_mut() {
            if link.server == server && link.state == State::Alive && is_one(link.process) {
                link.state = State::Silent;
            }
        }
    }

    /// Whether some connection waits to be reset.
    pub(crate) fn any_silent(&self) -> bool {
        self.may_silence && self.links.values().any(|link| link.state == State::Silent)
    }

    /// Silent connections are reset, and both their ends woken.
    pub(crate) fn heal(&mut self) {
        for link in self.links.values_mut() {
            if link.state == State::Silent {
                link.state = State::Reset;
            }
        }
        for waker in std::mem::take(&mut self.wakers).into_values() {
            waker.wake();
        }
    }

    /// Whether the end that asks must report a reset; if not, it will be woken once it must.
    pub(crate) fn is_reset(&mut self, client: SocketAddr, cx: &Context<'_>) -> bool {
        self.end_is_reset(client, false, cx)
    }

    /// The same, for the server's end.
    pub(crate) fn is_reset_at_server(&mut self, client: SocketAddr, cx: &Context<'_>) -> bool {
        self.end_is_reset(client, true, cx)
    }

    fn end_is_reset(&mut self, client: SocketAddr, server: bool, cx: &Context<'_>) -> bool {
        if !self.may_silence {
            return false;
        }
        match self.links.get(&client) {
            Some(link) if link.state == State::Reset => true,
            _ => {
                self.wakers.insert((client, server), cx.waker().clone());
                false
            }
        }
    }
}
