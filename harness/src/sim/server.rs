//! A host around a Postmaster: accepts, asks the plan at each commit point, and
//! writes down what only the server knows.
//!
//! The Postmaster outlives its host's crashes, as a disk would; its sessions do
//! not. What a visible commit makes owed is the ledger's.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use fake_pg::connection::serve;
use fake_pg::engine::{CommitNumber, CommitPoint, Committed, Engine, Pid, Recovery, Timestamp};
use fake_pg::postmaster::Postmaster;
use fake_pg::session::{CommitAction, CommitContext, CommitHook};

use super::cursor::Here;
use super::ledger::Ledger;
use super::system::PRIMARY;
use super::tcp::TcpListener;
use super::wire::Wire;
use super::world::{Action, Timer, World};
use crate::history::{CommitId, ProcessId, What};
use crate::plan::Kind;

/// The port all servers listen on.
pub(crate) const PORT: u16 = 5432;

/// Midnight on 1 January 2000, in microseconds since the Unix epoch: when runs begin.
const EPOCH: i64 = 946_684_800_000_000;

/// A server of a run.
pub(crate) struct Server {
    pub(crate) name: Arc<str>,
    pub(crate) postmaster: Rc<RefCell<Postmaster>>,
    /// Crashed: its host passes no byte until it is started again.
    frozen: Cell<bool>,
    /// The client's address behind each backend, and the connection's number, by pid.
    clients: RefCell<BTreeMap<Pid, (SocketAddr, u32)>>,
    /// The numbers of visible writing commits on the surviving timeline, newest last.
    writes: RefCell<Vec<u64>>,
    ledger: RefCell<Ledger>,
    /// Whose each COMMIT is: the process on the other end, and the job it was at.
    authors: RefCell<BTreeMap<u64, Author>>,
}

/// Whose a COMMIT is, as far as the run knows.
#[derive(Clone, Default)]
struct Author {
    process: Option<ProcessId>,
    job: Option<Arc<str>>,
}

impl Server {
    pub(crate) fn new(index: usize, name: Arc<str>, engine: Engine, ledger: Ledger) -> Server {
        let clock = || {
            let now = World::with(World::now);
            Timestamp(EPOCH + now.as_micros() as i64)
        };
        let hook = Hook {
            server: index,
            name: name.clone(),
        };
        Server {
            name,
            postmaster: Rc::new(RefCell::new(Postmaster::new(
                engine,
                Box::new(hook),
                Box::new(clock),
            ))),
            frozen: Cell::new(false),
            clients: RefCell::default(),
            writes: RefCell::default(),
            ledger: RefCell::new(ledger),
            authors: RefCell::default(),
        }
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.get()
    }

    /// The newest commit that a replica could lack.
    pub(crate) fn last_write(&self) -> Option<u64> {
        self.writes.borrow().last().copied()
    }

    /// Recovers, without the commits from that number on if one is given, and logs what is gone, and
    /// what became visible only now: its record had been flushed when the server went down.
    pub(crate) fn restart(&self, without: Option<u64>) {
        let mut postmaster = self.postmaster.borrow_mut();
        let Recovery {
            lost, completed, ..
        } = match without {
            None => postmaster.crash(),
            Some(number) => postmaster.promote_without(CommitNumber(number)),
        };
        let lost: Vec<u64> = lost.into_iter().map(|number| number.0).collect();
        self.writes
            .borrow_mut()
            .retain(|number| !lost.contains(number));
        self.frozen.set(false);
        World::with(|world| {
            self.ledger
                .borrow_mut()
                .recover(world, &lost, postmaster.engine_mut());
            world.log(What::ServerUp {
                server: self.name.clone(),
                lost,
                failover: without.is_some(),
            });
            for number in completed {
                self.note_visible(world, number, postmaster.engine_mut());
            }
        });
    }

    /// A commit became visible: logs it with whose it was, and what it makes owed.
    fn note_visible(&self, world: &World, number: CommitNumber, engine: &mut Engine) {
        // One entry, unless the server applies a COMMIT twice. It is the newest, unless a recovery
        // has completed several.
        let log = engine.commits().iter().rev();
        let entries: Vec<Committed> = log
            .skip_while(|entry| entry.number != number)
            .take_while(|entry| entry.number == number)
            .cloned()
            .collect();
        let author = self.authors.borrow().get(&number.0).cloned();
        let Author { process, job } = author.unwrap_or_default();
        for entry in &entries {
            world.log(What::Committed {
                commit: self.commit_id(number),
                process,
                job: job.clone(),
                writes: entry.writes,
                asynchronous: entry.asynchronous,
            });
            if entry.writes {
                self.writes.borrow_mut().push(number.0);
            }
            for (prefix, content) in &entry.messages {
                self.note_message(world, number, prefix, content);
            }
        }
        if entries.iter().any(|entry| entry.writes) {
            self.ledger.borrow_mut().note(world, number.0, engine);
        }
    }

    /// `midcommit` messages say `EFFECT:KEY`.
    fn note_message(&self, world: &World, number: CommitNumber, prefix: &str, content: &str) {
        if let (true, Some((name, key))) = (prefix == "midcommit", content.split_once(':')) {
            world.log(What::Owed {
                name: name.into(),
                key: key.into(),
                commit: self.commit_id(number),
            });
        }
    }

    fn commit_id(&self, number: CommitNumber) -> CommitId {
        CommitId {
            server: self.name.clone(),
            number: number.0,
        }
    }

    /// Whether nobody is connected, not even a client that has gone and was not missed yet.
    pub(crate) fn is_deserted(&self) -> bool {
        self.postmaster.borrow().sessions().is_empty()
    }

    /// Sessions and locks that nobody will ever give back, now that the run is over.
    pub(crate) fn log_leaks(&self, world: &World) {
        let postmaster = self.postmaster.borrow();
        for prepared in postmaster.engine().prepared_transactions() {
            world.log(What::Leaked {
                server: self.name.clone(),
                what: format!("prepared transaction {:?}", prepared.gid).into(),
            });
        }
        drop(postmaster);
        for session in self.postmaster.borrow().sessions() {
            let client = self.clients.borrow().get(&session.pid).copied();
            let link = client.and_then(|(client, _)| world.links.borrow().get(client));
            let owner = link.as_ref().map(|link| link.process);
            let alive =
                owner.is_some_and(|process| world.process(process, |p| !p.frozen && !p.ended));
            let mut held = Vec::new();
            if !alive {
                held.push("its client is gone".to_owned());
            }
            // Who has begun one within the time that a run is quiet for is at work.
            let at_work = alive && link.is_some_and(|link| world.has_begun_lately(&link));
            if session.in_transaction && !at_work {
                held.push("a transaction is open".to_owned());
            }
            if session.session_locks > 0 {
                held.push(format!("{} advisory locks are held", session.session_locks));
            }
            if !held.is_empty() {
                world.log(What::Leaked {
                    server: self.name.clone(),
                    what: format!("backend {}: {}", session.pid, held.join(", ")).into(),
                });
            }
        }
    }
}

/// The root of a server's host: accepts for ever.
pub(crate) async fn listen(server: usize) {
    let host = World::with(|world| world.host(&world.servers[server].name));
    let listener = TcpListener::bind(host, PORT);
    loop {
        let (tcp, client) = listener.accept().await;
        let (postmaster, connection) = World::with(|world| {
            world.accepted.set(world.accepted.get() + 1);
            (
                world.servers[server].postmaster.clone(),
                world.accepted.get(),
            )
        });
        tokio::task::spawn_local(async move {
            World::with(|world| world.servers[server].admit(client, connection));
            let wire = Wire::new(tcp, client, server, connection);
            serve(postmaster, wire).await;
        });
    }
}

impl Server {
    fn note_author(&self, world: &World, commit: &CommitContext) {
        let client = self.clients.borrow().get(&commit.pid).copied();
        let link = client.and_then(|(client, _)| world.links.borrow().get(client));
        let author = link.map_or_else(Author::default, |link| Author {
            process: Some(link.process),
            job: link.job,
        });
        self.authors.borrow_mut().insert(commit.number.0, author);
    }

    /// Notes which client the next backend serves: pids are counted in the order of connections.
    fn admit(&self, client: SocketAddr, connection: u32) {
        let pid = self.postmaster.borrow().next_pid();
        self.clients.borrow_mut().insert(pid, (client, connection));
    }
}

/// What a run asks and writes down at each commit point.
struct Hook {
    server: usize,
    name: Arc<str>,
}

impl CommitHook for Hook {
    fn reached(
        &mut self,
        commit: &CommitContext,
        point: CommitPoint,
        engine: &mut Engine,
    ) -> CommitAction {
        World::with(|world| {
            let server = &world.servers[self.server];
            world.fold((commit.number.0 << 8 | point as u64) ^ (self.server as u64) << 56);
            match point {
                CommitPoint::Received => server.note_author(world, commit),
                CommitPoint::Visible => server.note_visible(world, commit.number, engine),
                // What is prepared can be acknowledged, but not be seen.
                CommitPoint::Ready if !commit.prepares => {
                    world.log(What::Acknowledged(server.commit_id(commit.number)))
                }
                _ => {}
            }
            self.disturb(world, commit, point)
        })
    }
}

impl Hook {
    fn disturb(&self, world: &World, commit: &CommitContext, point: CommitPoint) -> CommitAction {
        let server = &world.servers[self.server];
        let writes = server.last_write() == Some(commit.number.0);
        let fault = world.visit(Here::Commit {
            server: &self.name,
            number: commit.number.0,
            step: point,
            connection: server
                .clients
                .borrow()
                .get(&commit.pid)
                .map_or(0, |(_, connection)| *connection),
            loses: writes && &*self.name == PRIMARY,
        });
        let Some(fault) = fault else {
            let dwell = world.setup.system.dwells.get(&point);
            return match dwell.filter(|_| commit.xid.is_some()) {
                Some(time) => {
                    world.later(*time, Timer::EndDelay);
                    CommitAction::Dwell(*time)
                }
                None => CommitAction::GoOn,
            };
        };
        match fault.kind {
            Kind::CancelBackend => CommitAction::Cancel,
            Kind::TerminateBackend => CommitAction::Terminate,
            Kind::SqlState(code) => CommitAction::Fail(
                code.parse()
                    .expect("a plan holds only codes of five characters"),
            ),
            Kind::Failover(number) => self.crash(world, Some(number)),
            _ => self.crash(world, None),
        }
    }

    fn crash(&self, world: &World, without: Option<u64>) -> CommitAction {
        world.crash_server(self.server, without);
        CommitAction::Crash
    }
}

impl World {
    /// Ends a server at this instant; what the rest of the tick does in its host does not count.
    pub(crate) fn crash_server(&self, server: usize, without: Option<u64>) {
        let host = &self.servers[server];
        if host.frozen.replace(true) {
            // It is down already: at most, another server comes up in its place.
            return self.replace_restart(server, without);
        }
        // Else its sessions would finish their COMMITs as they are dropped. Borrowed if it is its own
        // hook that ends it, which then says so by itself.
        if let Ok(mut postmaster) = host.postmaster.try_borrow_mut() {
            postmaster.go_down();
        }
        self.log(What::ServerDown(host.name.clone()));
        self.ask(Action::Crash { server, without });
    }

    /// A server that is down comes up without these commits, if any are named.
    fn replace_restart(&self, server: usize, instead: Option<u64>) {
        for action in self.actions.borrow_mut().iter_mut() {
            if let Action::Crash { server: s, without } = action
                && *s == server
            {
                *without = instead.or(*without);
            }
        }
        for timer in self.timers.borrow_mut().values_mut() {
            if let Timer::StartServer { server: s, without } = timer
                && *s == server
            {
                *without = instead.or(*without);
            }
        }
    }
}
