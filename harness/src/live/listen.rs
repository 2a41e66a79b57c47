//! What a server and a proxy share as processes: an address, connections, a clock, file descriptors,
//! signals.
//!
//! The only place of the library that looks at a clock on the wall: who connects by TCP lives by it.

use std::fs::File;
use std::future::Future;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fake_pg::engine::Timestamp;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// Binds an address that clients of this machine can reach, or others if they are to.
pub(crate) async fn bind(listen: &str, remote: bool) -> Result<TcpListener, String> {
    let address = resolve(listen, "--listen").await?;
    if !address.ip().is_loopback() && !remote {
        return Err(format!(
            "{address} can be reached from other machines, and whoever connects may do anything; \
             listen on 127.0.0.1:{} or [::1]:{}, or say --allow-remote",
            address.port(),
            address.port()
        ));
    }
    TcpListener::bind(address).await.map_err(|error| {
        let instead = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "; another server is there: stop it, or choose another port, or port 0 for any that is free"
            }
            io::ErrorKind::PermissionDenied => "; ports below 1024 are for root",
            io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
            _ => "",
        };
        format!("cannot listen on {address}: {}{instead}", plain(&error))
    })
}

/// The first address that a text like `localhost:5432` stands for.
pub(crate) async fn resolve(text: &str, option: &str) -> Result<SocketAddr, String> {
    let bad = |why: &str| {
        format!(
            "{option} {text}: {why}; an address is like 127.0.0.1:5432, localhost:5432 or [::1]:5432"
        )
    };
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(bad("there is no port"));
    };
    if host.is_empty() {
        return Err(bad("there is no host"));
    }
    if port.parse::<u16>().is_err() {
        return Err(bad(&format!(
            "`{port}` is no port, which is from 0 to 65535"
        )));
    }
    let found = tokio::net::lookup_host(text).await;
    let mut found = found.map_err(|error| bad(&plain(&error)))?;
    found.next().ok_or_else(|| bad("the name has no address"))
}

/// An error without its number: `Address already in use`.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_owned()
}

/// Chance, from where the kernel keeps it: salts and nonces must not be foreseen.
pub(crate) fn chance() -> Result<[u8; 32], String> {
    let mut seed = [0; 32];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut seed));
    read.map_err(|error| format!("cannot read /dev/urandom: {}", plain(&error)))?;
    Ok(seed)
}

/// The time by the clock on the wall; it never goes back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    epoch: i64,
    started: Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "real clients live in real time")]
    pub(crate) fn start() -> Clock {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Clock {
            epoch: since.map_or(0, |since| since.as_micros() as i64),
            started: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.epoch + self.started.elapsed().as_micros() as i64)
    }
}

/// How long to rest when no connection can be accepted.
const REST: Duration = Duration::from_millis(50);

/// Where connections come in, and those that have.
#[derive(Debug)]
pub(crate) struct Door {
    listener: TcpListener,
    /// What one is called.
    what: &'static str,
    inside: JoinSet<()>,
    resting: bool,
}

impl Door {
    pub(crate) fn new(listener: TcpListener, what: &'static str) -> Door {
        Door {
            listener,
            what,
            inside: JoinSet::new(),
            resting: false,
        }
    }

    /// The next that comes in. What goes wrong meanwhile is told, and survived. May be given up at
    /// any time.
    pub(crate) async fn next(&mut self, tell: &mut impl FnMut(&str)) -> TcpStream {
        loop {
            tokio::select! {
                biased;
                Some(ended) = self.inside.join_next(), if !self.inside.is_empty() => {
                    if let Err(error) = ended && error.is_panic() {
                        let what = self.what;
                        tell(&format!("a {what} ended in a panic, which is a bug: {error}"));
                    }
                }
                accepted = self.listener.accept() => match accepted {
                    Ok((tcp, _)) => {
                        self.resting = false;
                        return tcp;
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut self.resting, true) {
                            tell(&format!("cannot accept a connection: {error}; trying again"));
                        }
                        tokio::time::sleep(REST).await;
                    }
                },
            }
        }
    }

    /// Runs what is to be done for one that came in, on the `LocalSet` at hand.
    pub(crate) fn serve(&mut self, connection: impl Future<Output = ()> + 'static) {
        self.inside.spawn_local(connection);
    }

    /// Ends all that are inside.
    pub(crate) async fn clear(&mut self) {
        self.inside.shutdown().await;
    }

    /// Lets nobody in any more, says `goodbye`, and waits for so long at most until all are gone.
    pub(crate) async fn close(mut self, farewell: Duration, goodbye: impl FnOnce()) {
        drop(self.listener);
        goodbye();
        let gone = async { while self.inside.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(farewell, gone).await;
    }
}

/// Makes room for so many connections; says what is lacking.
pub(crate) fn make_room(connections: usize) -> Result<(), String> {
    // Besides connections there are a listener, the runtime's own, and standard streams.
    let wanted = connections as u64 + 64;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let current = limit.current.unwrap_or(0);
    limit.current = Some(limit.maximum.map_or(wanted, |most| most.min(wanted)));
    let raised = setrlimit(Resource::Nofile, limit);
    if raised.is_ok() && limit.current == Some(wanted) {
        return Ok(());
    }
    let have = if raised.is_ok() {
        limit.current.unwrap_or(current)
    } else {
        current
    };
    Err(format!(
        "{have} files may be open, which is too few for {connections} connections: `ulimit -n {wanted}`"
    ))
}

/// Comes to an end at SIGINT or SIGTERM.
pub(crate) fn signalled() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
