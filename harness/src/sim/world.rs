//! The state of one run that all its hosts share: history, plan, processes, jobs.
//!
//! A run lives on one thread, and everything in it finds the world through
//! [`World::with`]: handles that a worker may carry about ([`super::Env`], streams)
//! hold plain numbers and stay `Send`. Nothing here waits or steps; `run` does.
//!
//! Frozen means frozen: once a process or a server is, nothing it does counts.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::broker::Broker;
use super::cursor::{Cursor, Here, Moment};
use super::links::{Link, Links};
use super::server::Server;
use super::setup::Setup;
use super::system::{Redeliver, Sabotage};
use super::tcp::{HostId, Latency, Network};
use crate::history::{History, HistoryHash, ProcessId, What};
use crate::plan::{Anchor, Exchange, Fault, ProcessName, TaskName, Workload};

thread_local! {
    static CURRENT: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
}

/// What all hosts of a run share.
pub(crate) struct World {
    pub(crate) setup: Arc<Setup>,
    pub(crate) workload: Workload,
    pub(crate) cursor: RefCell<Cursor>,
    pub(crate) processes: RefCell<Vec<Process>>,
    pub(crate) jobs: RefCell<Jobs>,
    /// Rung when a job can be taken.
    pub(crate) job_ready: Rc<Notify>,
    pub(crate) servers: Vec<Server>,
    pub(crate) broker: RefCell<Broker>,
    pub(crate) network: Network,
    /// The names of hosts, in the order in which they were added.
    hosts: RefCell<Vec<Rc<str>>>,
    /// The connections between processes and servers.
    pub(crate) links: RefCell<Links>,
    /// Connections accepted so far, over all servers.
    pub(crate) accepted: Cell<u32>,
    /// What is to be done between two steps.
    pub(crate) actions: RefCell<Vec<Action>>,
    /// What is to be done later, by time and then in the order of asking.
    pub(crate) timers: RefCell<BTreeMap<(Duration, u64), Timer>>,
    timers_set: Cell<u64>,
    /// The first error that makes the run worthless.
    pub(crate) failure: RefCell<Option<String>>,
    /// Tasks seen that no gate holds.
    pub(crate) ungated: Cell<usize>,
    /// How many gated tasks there are.
    pub(crate) tasks: Cell<usize>,
    /// How many tasks are stalled.
    pub(crate) stalled: Cell<usize>,
    /// How often a gated future has been polled.
    pub(crate) polls: Cell<u64>,
    /// Tasks of stock drivers' connections whose handles nobody holds, where points are recorded.
    pub(crate) drivers: RefCell<BTreeSet<TaskName>>,
    /// The other ends of the servers' connections that something has arrived on, where points are recorded.
    pub(crate) wires: RefCell<BTreeMap<u32, WireEnd>>,
    /// The process whose task is being polled.
    pub(crate) polling: Cell<Option<ProcessId>>,
    /// Whether [`super::locate`] is to say where tasks wait.
    pub(crate) locating: bool,
    /// Where in the source the task waited that the first fault struck.
    pub(crate) located: RefCell<Option<String>>,
    /// When the run began, on the runtime's clock, while it goes on.
    start: Cell<Option<Instant>>,
    clock: Cell<Duration>,
    /// When something last happened that counts as progress.
    progress: Cell<Duration>,
    history: RefCell<History>,
}

/// Whose a server's connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WireEnd {
    /// The process that opened it.
    pub(crate) process: ProcessId,
    /// That process's how-manieth connection it is; from 1.
    pub(crate) connection: u32,
    /// The server's host name.
    pub(crate) server: Arc<str>,
}

/// A change that only the stepping loop can make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// End a frozen process's host, and start the process again.
    Kill(ProcessId),
    /// End the host of a process that is over.
    End(ProcessId),
    /// Start a replacement, and kill the process when its grace is over.
    Deploy(ProcessId),
    /// Start the broker's host: somebody has an effect after all.
    StartBroker,
    /// End a frozen server's host; recover, without the commits from that number on if one is given.
    Crash { server: usize, without: Option<u64> },
    /// Separate a process's host from a server's, for so long.
    Partition {
        process: ProcessId,
        server: usize,
        time: Duration,
    },
}

/// What the stepping loop does when its time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Timer {
    /// A job is handed out again.
    Redeliver(Arc<str>),
    /// A server's host starts again.
    StartServer { server: usize, without: Option<u64> },
    /// A process that was told to stop is killed.
    EndGrace(ProcessId),
    /// What a delay held back passes now, or a COMMIT goes on that dwelt at a point.
    EndDelay,
    /// A link is whole again.
    Repair { process: ProcessId, server: usize },
}

/// One life of a worker.
pub(crate) struct Process {
    pub(crate) name: ProcessName,
    pub(crate) host: Rc<str>,
    pub(crate) slot: Slot,
    /// Killed, or over: its streams pass no byte and its tasks are not polled.
    pub(crate) frozen: bool,
    pub(crate) ended: bool,
    pub(crate) anchor: Anchor,
    /// Changes with the anchor: await points are counted from it.
    pub(crate) anchored: u32,
    /// Where the root task last waited: at which anchor, and how often since it.
    pub(crate) root_waited: (u32, u32),
    pub(crate) connections: u32,
    pub(crate) effects: u32,
    pub(crate) children: BTreeMap<Arc<str>, u32>,
    pub(crate) boundaries: BTreeMap<Arc<str>, u32>,
    pub(crate) job: Option<Arc<str>>,
    pub(crate) exception: Option<Arc<str>>,
    /// Rung when an exception becomes pending.
    pub(crate) signal: Arc<Notify>,
    pub(crate) stopping: bool,
    /// Rung when the stop signal arrives.
    pub(crate) stop: Arc<Notify>,
}

impl Process {
    /// Where a root task that begins now counts on from. The one before may have waited since the
    /// process's last message, too, and no two waits have the same name.
    pub(crate) fn root_waits(&self) -> (Anchor, u32, u32) {
        match self.root_waited {
            (anchored, offset) if anchored == self.anchored => {
                (self.anchor.clone(), anchored, offset)
            }
            _ => (Anchor::Start, 0, 0),
        }
    }
}

/// A place for a process: which worker, which replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub(crate) worker: usize,
    pub(crate) replica: usize,
}

/// Jobs to hand out.
#[derive(Default)]
pub(crate) struct Jobs {
    pub(crate) waiting: VecDeque<Arc<str>>,
    /// Jobs that a process is at, or that wait to be handed out again.
    pub(crate) outstanding: usize,
}

impl World {
    pub(crate) fn new(
        setup: Arc<Setup>,
        workload: Workload,
        cursor: Cursor,
        servers: Vec<Server>,
        (latency, seed): (Latency, u64),
        locating: bool,
    ) -> Rc<World> {
        let system = &setup.system;
        let jobs = system.jobs.iter().take(workload.jobs.unwrap_or(usize::MAX));
        let waiting: VecDeque<_> = jobs.cloned().collect();
        let mut promises = setup.promises.clone();
        // A job that was asked to roll back ends ok without a commit.
        promises.ok_commits &= workload.rollbacks.is_empty();
        let history = History::new(promises);
        let links = Links::new(cursor.may_silence());
        Rc::new(World {
            jobs: RefCell::new(Jobs {
                outstanding: waiting.len(),
                waiting,
            }),
            workload,
            cursor: RefCell::new(cursor),
            processes: RefCell::default(),
            job_ready: Rc::default(),
            servers,
            broker: RefCell::new(Broker::new(system)),
            network: Network::new(latency, seed),
            hosts: RefCell::default(),
            links: RefCell::new(links),
            accepted: Cell::new(0),
            actions: RefCell::default(),
            timers: RefCell::default(),
            timers_set: Cell::new(0),
            failure: RefCell::default(),
            ungated: Cell::new(0),
            tasks: Cell::new(0),
            stalled: Cell::new(0),
            polls: Cell::new(0),
            drivers: RefCell::default(),
            wires: RefCell::default(),
            polling: Cell::new(None),
            locating,
            located: RefCell::new(None),
            start: Cell::new(None),
            clock: Cell::new(Duration::ZERO),
            progress: Cell::new(Duration::ZERO),
            history: RefCell::new(history),
            setup,
        })
    }

    /// Makes this the world of the thread until the guard is dropped.
    pub(crate) fn enter(self: &Rc<World>) -> impl Drop + use<> {
        struct Leave(Option<Rc<World>>);
        impl Drop for Leave {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        Leave(CURRENT.replace(Some(self.clone())))
    }

    /// The world of this thread's run, if one is going on.
    pub(crate) fn current() -> Option<Rc<World>> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Does something with the world of this thread's run.
    ///
    /// # Panics
    ///
    /// Outside a run: a handle has left its simulation, for another thread or a later time.
    #[track_caller]
    pub(crate) fn with<T>(f: impl FnOnce(&World) -> T) -> T {
        CURRENT.with_borrow(|world| match world {
            Some(world) => f(world),
            None => {
                panic!(
                    "an Env or one of its connections is used outside the simulation it came from"
                )
            }
        })
    }

    /// Simulated time since the run began.
    pub(crate) fn now(&self) -> Duration {
        match self.start.get() {
            Some(start) => Instant::now() - start,
            None => self.clock.get(),
        }
    }

    /// From now on, and until it is `None` again, the time is the runtime's.
    pub(crate) fn set_start(&self, start: Option<Instant>) {
        self.start.set(start);
    }

    /// When the step began that all hosts are at.
    pub(crate) fn set_clock(&self, now: Duration) {
        self.clock.set(now);
    }

    /// Whether a connection's client has begun a transaction within the time that a run is quiet for.
    pub(crate) fn has_begun_lately(&self, link: &Link) -> bool {
        let since = self.now().saturating_sub(self.setup.system.quiet);
        let history = self.history.borrow();
        let lately = history.events.iter().rev();
        lately
            .take_while(|event| event.at >= since)
            .any(|event| match &event.what {
                What::Sent {
                    process,
                    connection,
                    exchange,
                    ..
                } => {
                    (*process, *connection) == (link.process, link.connection)
                        && exchange.verb == "begin"
                }
                _ => false,
            })
    }

    /// Appends an event. All but chatter counts as progress.
    pub(crate) fn log(&self, what: What) {
        let now = self.now();
        let chatter = matches!(what, What::Sent { .. } | What::Answered { .. });
        if !chatter {
            self.progress.set(now);
        }
        self.history.borrow_mut().push(now, what);
    }

    /// Something is under way: that, too, is progress.
    pub(crate) fn touch(&self, now: Duration) {
        self.progress.set(self.progress.get().max(now));
    }

    /// When something last happened.
    pub(crate) fn last_progress(&self) -> Duration {
        self.progress.get()
    }

    /// A host of that name is added.
    pub(crate) fn add_host(&self, name: &str) -> HostId {
        self.hosts.borrow_mut().push(name.into());
        self.network.add_host()
    }

    /// The host of that name.
    ///
    /// # Panics
    ///
    /// If none has been added.
    pub(crate) fn host(&self, name: &str) -> HostId {
        let hosts = self.hosts.borrow();
        let found = hosts.iter().position(|host| **host == *name);
        found.unwrap_or_else(|| panic!("there is no host `{name}`"))
    }

    /// The host that a process lives on.
    pub(crate) fn host_of(&self, process: ProcessId) -> HostId {
        self.host(&self.processes.borrow()[process].host)
    }

    /// Rolls the history's hash over something that is not worth an event.
    pub(crate) fn fold(&self, what: u64) {
        self.history.borrow_mut().fold(what);
    }

    /// The history's hash so far.
    pub(crate) fn hash(&self) -> HistoryHash {
        self.history.borrow().hash()
    }

    /// Takes the history out, at the end of the run.
    pub(crate) fn take_history(&self) -> History {
        self.history.take()
    }

    /// Shows a reached point to the plan, and logs the fault that strikes there.
    pub(crate) fn visit(&self, here: Here<'_>) -> Option<Fault> {
        let mut cursor = self.cursor.borrow_mut();
        let moment = || (self.moment(), self.history.borrow().events.len());
        let fault = cursor.visit(here, || self.hash(), moment)?;
        drop(cursor);
        self.log(What::Fired(Arc::new(fault.clone())));
        Some(fault)
    }

    /// Remembers whose a server's connection is.
    pub(crate) fn note_wire(&self, connection: u32, client: SocketAddr) {
        if let Some(link) = self.links.borrow().get(client) {
            let end = WireEnd {
                process: link.process,
                connection: link.connection,
                server: self.servers[link.server].name.clone(),
            };
            self.wires.borrow_mut().insert(connection, end);
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            at: self.now(),
            step: self.clock.get(),
            polls: self.polls.get(),
        }
    }

    /// Asks for something to be done between two steps.
    pub(crate) fn ask(&self, action: Action) {
        self.actions.borrow_mut().push(action);
    }

    /// Asks for something to be done so much later.
    pub(crate) fn later(&self, delay: Duration, timer: Timer) {
        let nth = self.timers_set.get();
        self.timers_set.set(nth + 1);
        self.timers
            .borrow_mut()
            .insert((self.now() + delay, nth), timer);
    }

    /// The run is worthless: its scenario asks for what cannot be.
    pub(crate) fn fail(&self, why: String) {
        self.failure.borrow_mut().get_or_insert(why);
    }

    /// A process begins: its name is the worker's, with how often its slot has been filled.
    pub(crate) fn begin_process(&self, slot: Slot, host: &str) -> ProcessId {
        let worker = &self.setup.system.workers[slot.worker];
        let mut processes = self.processes.borrow_mut();
        let incarnation = 1 + processes
            .iter()
            .filter(|process| process.slot == slot)
            .count() as u32;
        let name = ProcessName {
            name: match slot.replica {
                0 => worker.name.clone(),
                n => format!("{}-{}", worker.name, n + 1).into(),
            },
            incarnation,
        };
        let id = processes.len();
        processes.push(Process {
            name: name.clone(),
            host: host.into(),
            slot,
            frozen: false,
            ended: false,
            anchor: Anchor::Start,
            anchored: 0,
            root_waited: (0, 0),
            connections: 0,
            effects: 0,
            children: BTreeMap::new(),
            boundaries: BTreeMap::new(),
            job: None,
            exception: None,
            signal: Arc::default(),
            stopping: false,
            stop: Arc::default(),
        });
        drop(processes);
        self.history.borrow_mut().processes.push(name);
        self.log(What::Started(id));
        id
    }

    /// Reads or changes a process.
    pub(crate) fn process<T>(&self, id: ProcessId, f: impl FnOnce(&mut Process) -> T) -> T {
        f(&mut self.processes.borrow_mut()[id])
    }

    /// Whether a process has been killed.
    pub(crate) fn is_frozen(&self, id: ProcessId) -> bool {
        self.processes.borrow()[id].frozen
    }

    /// From now on, the process's await points are counted from this message.
    pub(crate) fn anchor(&self, id: ProcessId, anchor: Anchor) {
        self.process(id, |process| {
            process.anchor = anchor;
            process.anchored += 1;
        });
    }

    /// The anchor of a message of a process: sent, or answered.
    pub(crate) fn anchor_message(
        &self,
        id: ProcessId,
        connection: u32,
        exchange: &Exchange,
        answered: bool,
    ) {
        let exchange = exchange.clone();
        self.anchor(
            id,
            match answered {
                false => Anchor::Sent(connection, exchange),
                true => Anchor::Answered(connection, exchange),
            },
        );
    }

    /// Ends a process at this instant. What the rest of the tick does in it does not count.
    pub(crate) fn kill(&self, id: ProcessId) {
        let sloppy = self.setup.system.sabotage == Some(Sabotage::KillWithoutFreeze);
        self.process(id, |process| process.frozen = !sloppy);
        self.log(What::Ended {
            process: id,
            killed: true,
        });
        self.ask(Action::Kill(id));
    }

    /// A process returns from its `main`. Its other tasks go no further.
    pub(crate) fn exit(&self, id: ProcessId) {
        self.process(id, |process| (process.frozen, process.ended) = (true, true));
        self.log(What::Ended {
            process: id,
            killed: false,
        });
        self.ask(Action::End(id));
    }

    /// An exception is pending in a process; whoever waits for signals is woken.
    pub(crate) fn signal(&self, id: ProcessId, exception: Arc<str>) {
        self.process(id, |process| {
            process.exception = Some(exception);
            process.signal.notify_waiters();
        });
    }

    /// A job's attempt is over: it is done, or handed out again if the scenario says so.
    pub(crate) fn end_attempt(&self, job: Arc<str>, ok: bool) {
        let system = &self.setup.system;
        if !ok && system.redeliver == Redeliver::UntilOk {
            self.later(system.redelivery_delay, Timer::Redeliver(job));
        } else {
            self.jobs.borrow_mut().outstanding -= 1;
        }
    }

    /// A job can be handed out (again).
    pub(crate) fn return_job(&self, job: Arc<str>) {
        self.jobs.borrow_mut().waiting.push_back(job);
        self.job_ready.notify_waiters();
    }
}
