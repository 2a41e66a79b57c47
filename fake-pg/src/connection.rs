//! The only async code: pumps bytes between a stream and a session, and sleeps for it.
//!
//! All bytes that are there are read at once, and the replies they cause leave in one write: in
//! a simulated network a write is a segment. Decisions are left to `session` and `postmaster`.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::Notify;

use crate::engine::Pid;
use crate::postmaster::{Postmaster, Pump};

/// How much one read takes in before the session gets to see it.
const READ_MAX: usize = 1 << 20;
/// How much is asked from the stream at first.
const READ_FIRST: usize = 1 << 10;
/// How much is asked from it when there is more.
const READ_CHUNK: usize = 8 << 10;

/// Serves one client until either side ends the session.
///
/// When the server goes down, this stays pending until it is dropped: what the client then sees
/// is up to whoever owns the stream. Dropped early, the session ends and its transaction is
/// rolled back.
pub async fn serve<S>(postmaster: Rc<RefCell<Postmaster>>, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some((pid, bell)) = postmaster.borrow_mut().open() else {
        return std::future::pending().await;
    };
    let backend = Guard { postmaster, pid };
    let mut connection = Connection {
        backend,
        bell,
        stream,
        inbox: BytesMut::new(),
        outbox: BytesMut::new(),
    };
    connection.run().await;
}

struct Connection<S> {
    backend: Guard,
    bell: Rc<Notify>,
    stream: S,
    inbox: BytesMut,
    outbox: BytesMut,
}

/// Ends the session when its connection is over, however it ends.
struct Guard {
    postmaster: Rc<RefCell<Postmaster>>,
    pid: Pid,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Borrowed only if the server drops its own connections; then they are its business.
        if let Ok(mut postmaster) = self.postmaster.try_borrow_mut() {
            postmaster.close(self.pid);
        }
    }
}

impl Guard {
    fn with<T>(&self, act: impl FnOnce(&mut Postmaster, Pid) -> T) -> T {
        act(&mut self.postmaster.borrow_mut(), self.pid)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn run(&mut self) {
        loop {
            match self.backend.with(Postmaster::pump) {
                Pump::Read(None) => self.read().await,
                Pump::Read(Some(left)) => {
                    let _ = tokio::time::timeout(left, self.read()).await;
                }
                Pump::Write => self.write().await,
                Pump::Wait(None) => self.bell.notified().await,
                Pump::Wait(Some(left)) => {
                    let _ = tokio::time::timeout(left, self.bell.notified()).await;
                }
                Pump::Dwell(duration) => self.dwell(duration).await,
                Pump::Close => return,
                Pump::Gone => return std::future::pending().await,
            }
        }
    }

    /// Waits for bytes, for the end of the stream, or for the bell.
    async fn read(&mut self) {
        let Connection {
            stream,
            inbox,
            bell,
            backend,
            ..
        } = self;
        tokio::select! {
            biased;
            () = bell.notified() => (),
            arrived = poll_fn(|context| poll_available(stream, inbox, context)) => {
                backend.with(|postmaster, pid| {
                    if !inbox.is_empty() {
                        postmaster.receive(pid, inbox);
                    }
                    match arrived {
                        Arrived::Bytes => {}
                        Arrived::End => postmaster.eof(pid),
                        Arrived::Reset => postmaster.reset(pid),
                    }
                });
            }
        }
    }

    async fn write(&mut self) {
        let Connection {
            stream,
            outbox,
            bell,
            backend,
            ..
        } = self;
        backend.with(|postmaster, pid| postmaster.take_output(pid, outbox));
        loop {
            let written = tokio::select! {
                biased;
                written = poll_fn(|context| poll_write(backend, stream, outbox, context)) => written,
                // Source: `ProcessClientWriteInterrupt`. A client that does not read can not be
                // told that its session ends. Other rings may be lost here: what they announce
                // is looked at again after the write.
                () = bell.notified() => match backend.with(|p, pid| p.is_terminated(pid)) {
                    true => false,
                    false => continue,
                },
            };
            if !written {
                backend.with(|postmaster, pid| postmaster.lost(pid));
            }
            return outbox.clear();
        }
    }

    async fn dwell(&mut self, duration: Duration) {
        // What was due before the COMMIT is not held up by it.
        self.write().await;
        let sleep = tokio::time::sleep(duration);
        tokio::pin!(sleep);
        loop {
            tokio::select! {
                biased;
                () = &mut sleep => break,
                () = self.bell.notified() => {
                    if self.backend.with(|postmaster, pid| postmaster.is_released(pid)) {
                        break;
                    }
                }
            }
        }
        self.backend.with(Postmaster::dwelt);
    }
}

/// What came of a read. A FIN and an RST differ: after the one everything that was sent is there,
/// after the other only what had been read.
enum Arrived {
    Bytes,
    End,
    Reset,
}

/// Takes in all bytes that are there; pending while there are none.
fn poll_available<S: AsyncRead + Unpin>(
    stream: &mut S,
    inbox: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<Arrived> {
    let before = inbox.len();
    while inbox.len() < READ_MAX {
        // Most requests are short: only one that goes on is worth a large buffer.
        inbox.reserve(match inbox.is_empty() {
            true => READ_FIRST,
            false => READ_CHUNK,
        });
        let read = std::pin::pin!(stream.read_buf(inbox)).poll(context);
        match read {
            Poll::Pending if inbox.len() == before => return Poll::Pending,
            Poll::Pending => break,
            Poll::Ready(Ok(1..)) => (),
            Poll::Ready(Ok(0)) => return Poll::Ready(Arrived::End),
            Poll::Ready(Err(_)) => return Poll::Ready(Arrived::Reset),
        }
    }
    Poll::Ready(Arrived::Bytes)
}

/// Writes and flushes all of `outbox`. False if the stream is broken; pending for ever once the
/// server is down.
fn poll_write<S: AsyncWrite + Unpin>(
    backend: &Guard,
    stream: &mut S,
    outbox: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<bool> {
    while !outbox.is_empty() {
        if !backend.with(|postmaster, pid| postmaster.is_running(pid)) {
            return Poll::Pending;
        }
        match ready!(Pin::new(&mut *stream).poll_write(context, outbox)) {
            Ok(0) | Err(_) => return Poll::Ready(false),
            Ok(written) => outbox.advance(written),
        }
    }
    Pin::new(stream)
        .poll_flush(context)
        .map(|flushed| flushed.is_ok())
}
