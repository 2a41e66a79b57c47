//! The client's stream, and what becomes of it.
//!
//! A cut takes hold at once, whoever is reading or writing: a reset is on the wire before the next
//! step of the COMMIT. The server's side then sees what a server would see: a broken connection, the
//! end of the stream, or nothing at all.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::desk::{Desk, Watch};
use super::fault::Action;
use crate::plan::Cut;

/// A client's stream, shared by who serves it and who may cut it.
#[derive(Debug)]
pub(crate) struct Link {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Gone once it has been reset.
    tcp: Option<TcpStream>,
    cut: Option<Cut>,
    /// The fault that is to strike once so many more bytes of an answer have been written.
    due: Option<(usize, Watch, Arc<Desk>)>,
    delay: Option<Pin<Box<Sleep>>>,
    /// Who waits for bytes, or for the end of a silence.
    reader: Option<Waker>,
}

impl Link {
    pub(crate) fn new(tcp: TcpStream) -> Arc<Link> {
        let inner = Inner {
            tcp: Some(tcp),
            cut: None,
            due: None,
            delay: None,
            reader: None,
        };
        Arc::new(Link {
            inner: Mutex::new(inner),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the client's connection.
    pub(crate) fn cut(&self, cut: Cut) {
        self.inner().cut(cut);
    }

    /// What is written from now on is an answer that a fault waits for, of which so many bytes have
    /// been written before.
    pub(crate) fn watch(&self, watch: Watch, before: usize, desk: Arc<Desk>) {
        let left = watch.byte.saturating_sub(before);
        self.inner().due = Some((left, watch, desk));
    }

    /// The answer is over. If it was shorter, its fault has not struck.
    pub(crate) fn answered(&self) {
        self.inner().due = None;
    }

    /// Whether it has been cut.
    pub(crate) fn is_cut(&self) -> bool {
        self.inner().cut.is_some()
    }

    /// Ends a silence, as keepalive would: with a reset.
    pub(crate) fn heal(&self) {
        let mut inner = self.inner();
        if inner.cut == Some(Cut::Silence) {
            inner.cut(Cut::Rst);
        }
    }
}

impl Inner {
    fn cut(&mut self, cut: Cut) {
        self.cut = Some(cut);
        match cut {
            Cut::Rst => {
                if let Some(tcp) = self.tcp.take() {
                    // Without lingering a close is a reset. If that is refused, the peer is gone.
                    let _ = tcp.set_zero_linger();
                }
            }
            Cut::Fin => {
                if let Some(tcp) = &mut self.tcp {
                    // It does not wait for anything.
                    let mut context = Context::from_waker(Waker::noop());
                    let _ = Pin::new(tcp).poll_shutdown(&mut context);
                }
            }
            Cut::Silence => {}
        }
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match (self.cut, &mut self.tcp) {
            (Some(Cut::Rst), _) | (_, None) => {
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            (Some(Cut::Fin), _) => Poll::Ready(Ok(())),
            (Some(Cut::Silence), Some(tcp)) => {
                // What the client still says is lost; that it leaves is not.
                let mut lost = [0; 1024];
                loop {
                    let mut lost = ReadBuf::new(&mut lost);
                    let read = Pin::new(&mut *tcp).poll_read(context, &mut lost);
                    if read.is_pending() {
                        self.reader = Some(context.waker().clone());
                    }
                    ready!(read)?;
                    if lost.filled().is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
            (None, Some(tcp)) => Pin::new(tcp).poll_read(context, into),
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(delay) = &mut self.delay {
            ready!(delay.as_mut().poll(context));
            self.delay = None;
        }
        if let Some((0, ..)) = self.due
            && let Some((_, watch, desk)) = self.due.take()
            && desk.strikes(&watch)
        {
            match watch.action {
                Action::Cut(cut) => self.cut(cut),
                Action::Delay(time) => {
                    self.delay = Some(Box::pin(tokio::time::sleep(time)));
                    return self.poll_write(context, bytes);
                }
                _ => {}
            }
        }
        let most = self.due.as_ref().map_or(usize::MAX, |(left, ..)| *left);
        let bytes = &bytes[..bytes.len().min(most)];
        let written = match (self.cut, &mut self.tcp) {
            (Some(Cut::Silence), _) => bytes.len(),
            (Some(_), _) | (_, None) => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            (None, Some(tcp)) => ready!(Pin::new(tcp).poll_write(context, bytes))?,
        };
        if let Some((left, ..)) = &mut self.due {
            *left -= written;
        }
        Poll::Ready(Ok(written))
    }

    /// A fault that is due at the very end of what was written strikes when it is flushed.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some((0, watch, desk)) = &self.due
            && let Action::Cut(cut) = watch.action
        {
            let strikes = desk.strikes(watch);
            self.due = None;
            if strikes {
                self.cut(cut);
            }
        }
        match (&mut self.tcp, self.cut) {
            (Some(tcp), None) => Pin::new(tcp).poll_flush(context),
            _ => Poll::Ready(Ok(())),
        }
    }
}

/// One end of a link, to read and to write.
#[derive(Clone, Debug)]
pub(crate) struct Port(pub(crate) Arc<Link>);

impl AsyncRead for Port {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.inner().poll_read(context, into)
    }
}

impl AsyncWrite for Port {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.inner().poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.inner().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0.inner().tcp {
            Some(tcp) => Pin::new(tcp).poll_shutdown(context),
            None => Poll::Ready(Ok(())),
        }
    }
}

/// The longest that anything is held: a year.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);
