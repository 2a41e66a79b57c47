//! What a server and a proxy share as processes: an address, a clock, file descriptors, signals.
//!
//! The only place of the library that looks at a clock on the wall: who connects by TCP lives by it.

use std::fs::File;
use std::future::Future;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use fake_pg::engine::Timestamp;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

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
