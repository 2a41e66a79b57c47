//! The simulated server on a real port: `midcommit serve`.
//!
//! One thread, real time, stock clients. Faults come by SQL; `hook` strikes them at the points of a
//! COMMIT, `wire` at the bytes of a request, and `live` knows what is armed. After a crash the
//! server recovers, and listens on.
//!
//! In reading order:

mod schema;
mod hook;
mod wire;

pub use fake_pg::session::Authentication;

use std::cell::RefCell;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fake_pg::connection;
use fake_pg::engine::{Engine, Pid};
use fake_pg::postmaster::{Postmaster, Shutdown};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::live::desk::Desk;
use crate::live::fault::Sight;
use crate::live::link::Link;
use crate::live::listen::{Clock, Door, bind, chance};
use crate::plan::Cut;
use hook::Hook;
use wire::Wire;

/// How long a session may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(3);

/// How a server is to be set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen: `127.0.0.1:5432`; port 0 is any that is free.
    pub listen: String,
    /// Whether other machines may connect.
    pub allow_remote: bool,
    /// A script that is run before anybody connects.
    pub schema: Option<PathBuf>,
    /// How many may be connected.
    pub connections_max: usize,
    /// What is asked of clients. Passwords are those of roles that the schema makes.
    pub authentication: Authentication,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            listen: "127.0.0.1:0".to_owned(),
            allow_remote: false,
            schema: None,
            connections_max: 2000,
            authentication: Authentication::Trust,
        }
    }
}

/// After so many records of the WAL it is recycled.
const CHECKPOINT_EVERY: usize = 200_000;

/// A server that listens, and has not accepted anybody yet.
#[derive(Debug)]
pub struct Server {
    door: Door,
    address: SocketAddr,
    postmaster: Rc<RefCell<Postmaster>>,
    desk: Arc<Desk>,
    clock: Clock,
    crashed: Rc<Notify>,
}

impl Server {
    /// Loads the schema and begins to listen.
    ///
    /// # Errors
    ///
    /// What cannot be done, and what could be instead.
    pub async fn start(options: &Options) -> Result<Server, String> {
        let mut engine = Engine::new();
        engine.seed_secrets(chance()?);
        if options.authentication != Authentication::Trust && options.schema.is_none() {
            return Err(
                "without a --schema no role has a password, and nobody could connect; it would say \
                 something like: create role app login password 'secret'"
                    .to_owned(),
            );
        }
        if let Some(file) = &options.schema {
            schema::load(&mut engine, file)?;
        }
        // Nobody fails over to an earlier commit here.
        engine.checkpoint_every(Some(CHECKPOINT_EVERY));
        let desk = Arc::new(Desk::new(Sight::Server));
        engine.embed(desk.clone());
        let listener = bind(&options.listen, options.allow_remote).await?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let clock = Clock::start();
        let crashed = Rc::new(Notify::new());
        let hook = Hook {
            desk: desk.clone(),
            clock,
            crashed: crashed.clone(),
        };
        let mut postmaster = Postmaster::new(engine, Box::new(hook), Box::new(move || clock.now()));
        postmaster.set_connections_max(options.connections_max);
        postmaster.demand(options.authentication);
        Ok(Server {
            door: Door::new(listener, "session"),
            address,
            postmaster: Rc::new(RefCell::new(postmaster)),
            desk,
            clock,
            crashed,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` comes to an end; then tells all sessions, and ends them. Runs on a
    /// `LocalSet`. `tell` hears of what no client is told.
    pub async fn run(mut self, stop: impl Future<Output = ()>, mut tell: impl FnMut(&str)) {
        tokio::pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = self.crashed.notified() => self.recover(&mut tell).await,
                tcp = self.door.next(&mut tell) => {
                    let session = self.session(tcp);
                    self.door.serve(session);
                }
            }
        }
        let goodbye = || {
            self.desk.resume_all();
            self.postmaster.borrow_mut().shutdown(Shutdown::Fast);
        };
        self.door.close(FAREWELL, goodbye).await;
    }

    /// One client, from its first byte to its last.
    fn session(&self, tcp: TcpStream) -> impl Future<Output = ()> + use<> {
        let (postmaster, desk) = (self.postmaster.clone(), self.desk.clone());
        let clock = self.clock;
        async move {
            // A small answer that waits for company would wait for long.
            let _ = tcp.set_nodelay(true);
            let link = Link::new(tcp);
            // Pids are counted in the order in which sessions begin, and this one begins now.
            let pid = postmaster.borrow().next_pid();
            desk.connect(pid, link.clone());
            let _leave = Leave {
                desk: desk.clone(),
                pid,
            };
            let wire = Wire::new(link, pid, desk, postmaster.clone(), clock);
            connection::serve(postmaster, wire).await;
        }
    }

    /// What a crash leaves: every connection is reset, and the engine is what its WAL says.
    async fn recover(&mut self, tell: &mut impl FnMut(&str)) {
        for link in self.desk.links() {
            link.cut(Cut::Rst);
        }
        self.door.clear().await;
        let recovery = self.postmaster.borrow_mut().crash();
        let numbers = |numbers: &[fake_pg::engine::CommitNumber]| -> Vec<u64> {
            numbers.iter().map(|number| number.0).collect()
        };
        let (lost, completed) = (numbers(&recovery.lost), numbers(&recovery.completed));
        self.desk.recovered(&lost, &completed, self.clock.now());
        tell(&format!(
            "crashed and recovered: {} commits lost, {} completed",
            lost.len(),
            completed.len()
        ));
    }
}

/// Strikes a connection off the desk, however it ends.
struct Leave {
    desk: Arc<Desk>,
    pid: Pid,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.desk.disconnect(self.pid);
    }
}
