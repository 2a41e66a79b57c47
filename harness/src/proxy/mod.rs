//! Faults in front of a real server: `midcommit proxy`.
//!
//! Passes bytes between clients and a PostgreSQL, and stops them where a fault is armed: before a
//! COMMIT reaches the server, after the server has answered, and at any byte of either. What a
//! proxy cannot see it does not claim to.
//!
//! Statements that name the schema `midcommit` are answered here, by a session of fake-pg that
//! knows nothing else.
//!
//! In reading order:

mod opening;
mod relay;
mod commit;
mod replies;
mod owed;
mod ours;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fake_pg::engine::{Engine, Pid};
use fake_pg::postmaster::Postmaster;
use fake_pg::session::Undisturbed;
use tokio::net::TcpStream;

use crate::live::desk::Desk;
use crate::live::fault::Sight;
use crate::live::listen::{Clock, Door, bind, resolve};

/// How long connections may take to come to an end.
const FAREWELL: Duration = Duration::from_secs(1);

/// How a proxy is to be set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server behind it: `127.0.0.1:5432`.
    pub to: String,
    /// Where to listen; port 0 is any that is free.
    pub listen: String,
    /// Whether other machines may connect.
    pub allow_remote: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            to: "127.0.0.1:5432".to_owned(),
            listen: "127.0.0.1:0".to_owned(),
            allow_remote: false,
        }
    }
}

/// A proxy that listens, and has not accepted anybody yet.
pub struct Proxy {
    door: Door,
    address: SocketAddr,
    shared: Rc<Shared>,
}

/// What all connections share.
struct Shared {
    desk: Arc<Desk>,
    clock: Clock,
    to: SocketAddr,
    /// Answers what names the schema `midcommit`.
    ours: Rc<RefCell<Postmaster>>,
    /// Who may be cancelled, by what the server calls a session and its secret: the session of ours
    /// that answers just now, and its secret.
    keys: RefCell<BTreeMap<(i32, i32), Rc<Answering>>>,
}

/// The session of ours that answers a client just now.
type Answering = Cell<Option<(Pid, i32)>>;

impl Proxy {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// What cannot be done, and what could be instead.
    pub async fn start(options: &Options) -> Result<Proxy, String> {
        let to = resolve(&options.to, "--to").await?;
        let listener = bind(&options.listen, options.allow_remote).await?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        if address == to {
            return Err(format!("--to {to} is where the proxy itself listens"));
        }
        let desk = Arc::new(Desk::new(Sight::Proxy));
        let mut engine = Engine::new();
        engine.embed(desk.clone());
        let clock = Clock::start();
        let ours = Postmaster::new(engine, Box::new(Undisturbed), Box::new(move || clock.now()));
        Ok(Proxy {
            door: Door::new(listener, "connection"),
            address,
            shared: Rc::new(Shared {
                desk,
                clock,
                to,
                ours: Rc::new(RefCell::new(ours)),
                keys: RefCell::default(),
            }),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server behind it.
    pub fn to(&self) -> SocketAddr {
        self.shared.to
    }

    /// Passes bytes on until `stop` comes to an end. Runs on a `LocalSet`. `tell` hears of what no
    /// client is told.
    pub async fn run(mut self, stop: impl Future<Output = ()>, mut tell: impl FnMut(&str)) {
        tokio::pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                tcp = self.door.next(&mut tell) => {
                    let connection = self.connection(tcp);
                    self.door.serve(connection);
                }
            }
        }
        // What is held goes on; what is idle ends with the process.
        let goodbye = || {
            self.shared.desk.resume_all();
        };
        self.door.close(FAREWELL, goodbye).await;
    }

    fn connection(&self, tcp: TcpStream) -> impl Future<Output = ()> + use<> {
        let shared = self.shared.clone();
        async move {
            // What is passed on late would be a fault that nobody armed.
            let _ = tcp.set_nodelay(true);
            opening::connection(shared, tcp).await;
        }
    }
}
