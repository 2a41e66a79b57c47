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
    /// Something has been written since the last bytes were handed to the server.
    has_answered: bool,
    /// A COMMIT was begun at its request, and a fault has struck that.
    has_begun: bool,
    /// What a delay keeps from the server.
    held: BytesMut,
    delay: Option<Pin<Box<Sleep>>>,
}

#[derive(Default)]
struct Requests {
    frames: Frames,
    statements: Statements,
    /// What has come since the last Sync or Query, if anything.
    kind: Kind,
    is_open: bool,
    /// Where among the bytes at hand that began.
    begin: isize,
    /// Where the first message of it ends that commits at once.
    decisive: Option<isize>,
}

/// A request that may commit: where it lies among the bytes at hand, or before them.
struct Request {
    kind: Kind,
    begin: isize,
    end: isize,
    /// Before this nothing can have been committed.
    decisive: isize,
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
            has_answered: false,
            has_begun: false,
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
        let request = found.filter(|_| self.desk.watches_requests())?;
        let session = self.postmaster.borrow().session(self.pid)?;
        let Kind {
            commits,
            writes,
            runs,
            ..
        } = request.kind;
        // A COMMIT alone is one of what was done before.
        let is_ours = match session.in_block {
            true => commits && (runs > 1 || session.xid.is_some()),
            false => writes || commits && runs > 1,
        };
        if !is_ours {
            return None;
        }
        let author = Author {
            server_number: 0,
            xid: None,
            pid: self.pid,
            application_name: session.application_name.into(),
        };
        self.desk.begin(&author, self.clock.now());
        let length = (request.end - request.begin) as usize;
        let Some((byte, action)) = self.desk.request_fault(self.pid, length) else {
            self.desk.withdraw(self.pid);
            return None;
        };
        let at = request.begin + byte as isize;
        match action {
            // Of what the server has, nothing commits.
            Action::Cut(_) if at < request.decisive => {
                self.desk.ended(self.pid, Outcome::Aborted);
            }
            // If it commits, it goes on at the points that the server knows.
            _ => (self.has_begun, self.has_answered) = (true, false),
        }
        Some((at.max(0) as usize, action))
    }

    /// The server asks for more, so what it had is answered.
    fn settle(&mut self) {
        if std::mem::take(&mut self.has_answered) {
            self.port.0.answered();
            if std::mem::take(&mut self.has_begun) {
                self.desk.settle(self.pid);
            }
        }
    }
}

impl Requests {
    /// Takes in bytes; tells of the first request that ends among them and may commit.
    fn feed(&mut self, bytes: &[u8]) -> Option<Request> {
        let Requests {
            frames,
            statements,
            kind,
            is_open,
            begin,
            decisive,
        } = self;
        let mut found = None;
        frames.feed(bytes, |tag, body, at| {
            if !*is_open {
                *begin = at;
            }
            let own = statements.message(tag, body);
            *kind = kind.and(own);
            let end = at + body.len() as isize + 5;
            if own.commits {
                decisive.get_or_insert(end);
            }
            // Who flushes wants to be answered: a COMMIT does not wait for Sync.
            let ends = matches!(tag, b'Q' | b'S') || tag == b'H' && kind.commits;
            *is_open = !ends;
            if ends {
                if found.is_none() && (kind.commits || kind.writes) {
                    found = Some(Request {
                        kind: *kind,
                        begin: *begin,
                        end,
                        decisive: decisive.unwrap_or(end),
                    });
                }
                (*kind, *decisive) = (Kind::default(), None);
            }
        });
        // What is not complete began so many bytes before the next ones.
        let passed = bytes.len() as isize;
        *begin -= passed;
        if let Some(decisive) = decisive {
            *decisive -= passed;
        }
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
            // Only now the server has it.
            this.has_answered = false;
            return Poll::Ready(Ok(()));
        }
        this.settle();
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
        self.has_answered = true;
        Pin::new(&mut self.port).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.port).poll_shutdown(context)
    }
}
