//! The server's end of a client's stream: faults at a byte of a request.
//!
//! Messages are looked at as they arrive, so that a COMMIT is known before the server reads it, also
//! one that was prepared long ago. Faults at bytes of the answer are the link's.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use fake_pg::engine::Pid;
use fake_pg::postmaster::Postmaster;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::live::desk::{Author, Desk, Outcome};
use crate::live::fault::Action;
use crate::live::link::{Link, Port};
use crate::live::listen::Clock;
use crate::live::statements::{Frames, Kind, Statements};

/// A client's stream as its server reads and writes it.
pub(super) struct Wire {
    port: Port,
    pid: Pid,
    desk: Arc<Desk>,
    postmaster: Rc<RefCell<Postmaster>>,
    clock: Clock,
    /// None before the startup packet, whose frames are of another kind.
    requests: Option<Requests>,
    /// What a delay keeps from the server.
    held: BytesMut,
    delay: Option<Pin<Box<Sleep>>>,
}

#[derive(Default)]
struct Requests {
    frames: Frames,
    statements: Statements,
    /// What has come since the last Sync or Query.
    kind: Kind,
    /// Where among the bytes at hand that began.
    begin: isize,
}

impl Wire {
    pub(super) fn new(
        link: Arc<Link>,
        pid: Pid,
        desk: Arc<Desk>,
        postmaster: Rc<RefCell<Postmaster>>,
        clock: Clock,
    ) -> Wire {
        Wire {
            port: Port(link),
            pid,
            desk,
            postmaster,
            clock,
            requests: None,
            held: BytesMut::new(),
            delay: None,
        }
    }

    /// The byte of the first request among these that commits, if a fault strikes it.
    fn fault(&mut self, bytes: &[u8]) -> Option<(usize, Action)> {
        if self.requests.is_none() {
            let postmaster = self.postmaster.borrow();
            // What was sent before the client was let in is no statement.
            if postmaster.is_let_in(self.pid) {
                self.requests = Some(Requests::default());
            }
        }
        let found = self.requests.as_mut()?.feed(bytes);
        let (begin, kind) = found.filter(|_| self.desk.watches_requests())?;
        let (in_transaction, application_name) = {
            let postmaster = self.postmaster.borrow();
            let session = postmaster.session(self.pid)?;
            (session.in_transaction, session.application_name)
        };
        if !(kind.commits || kind.writes && !in_transaction) {
            return None;
        }
        let author = Author {
            server_number: 0,
            xid: None,
            pid: self.pid,
            application_name: application_name.into(),
        };
        self.desk.begin(&author, self.clock.now());
        let (byte, action) = match self.desk.request_fault(self.pid) {
            Some(fault) => fault,
            None => {
                self.desk.withdraw(self.pid);
                return None;
            }
        };
        if matches!(action, Action::Cut(_)) {
            self.desk.ended(self.pid, Outcome::Aborted);
        }
        let at = begin.saturating_add(byte as isize).max(0) as usize;
        Some((at.min(bytes.len()), action))
    }
}

impl Requests {
    /// Takes in bytes; says where the first request among them begins that may commit.
    fn feed(&mut self, bytes: &[u8]) -> Option<(isize, Kind)> {
        let Requests {
            frames,
            statements,
            kind,
            begin,
        } = self;
        let mut found = None;
        let mut fresh = *kind == Kind::default();
        frames.feed(bytes, |tag, body, at| {
            if fresh {
                *begin = at;
            }
            *kind = kind.and(statements.message(tag, body));
            fresh = matches!(tag, b'Q' | b'S');
            if fresh {
                if found.is_none() && (kind.commits || kind.writes) {
                    found = Some((*begin, *kind));
                }
                *kind = Kind::default();
            }
        });
        // What is not complete began so many bytes before the next ones.
        *begin -= bytes.len() as isize;
        found
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(delay) = &mut this.delay {
            ready!(delay.as_mut().poll(context));
            this.delay = None;
        }
        if !this.held.is_empty() {
            let length = this.held.len().min(into.remaining());
            into.put_slice(&this.held[..length]);
            this.held.advance(length);
            return Poll::Ready(Ok(()));
        }
        let before = into.filled().len();
        ready!(Pin::new(&mut this.port).poll_read(context, into))?;
        let fault = this.fault(&into.filled()[before..]);
        let Some((at, action)) = fault else {
            return Poll::Ready(Ok(()));
        };
        let rest = BytesMut::from(&into.filled()[before + at..]);
        into.set_filled(before + at);
        match action {
            Action::Cut(cut) => this.port.0.cut(cut),
            Action::Delay(time) => {
                this.held = rest;
                this.delay = Some(Box::pin(tokio::time::sleep(time)));
            }
            _ => {}
        }
        // Nothing read would be the end of the stream.
        match at {
            0 => self.poll_read(context, into),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.port).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.port).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.port).poll_shutdown(context)
    }
}
