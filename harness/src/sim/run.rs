//! One run of one plan: step, fire, heal, settle.
//!
//! Between two steps it carries out what
//! the faults of the last one asked for (a host ended, a link cut) and what timers
//! ask for (a restart, a redelivery). A run is over when nothing can happen any
//! more, when nothing has happened for `quiet`, or at `limit`; before that, once,
//! everything broken is healed and given its chance.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::rand_core::Rng;
use tokio::runtime::Handle;

use super::broker::Control;
use super::cursor::{Cursor, Recorded, Step};
use super::hosts::{self, Hosts};
use super::server::{self, Server};
use super::setup::Setup;
use super::system::BROKER;
use super::tcp::{HostId, Latency};
use super::world::{Action, Slot, Timer, WireEnd, World};
use super::{broker, worker};
use crate::history::{History, HistoryHash, What};
use crate::plan::{Fault, Plan, TaskName, Workload};
use crate::seed::Seed;

/// How long a crashed server stays down.
const RESTART_TICKS: u32 = 2;
/// On a schedule with a seed, messages take up to so many ticks.
const LATENCY_TICKS_MAX: u32 = 3;

/// What is to be run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    pub(crate) seed: Seed,
    pub(crate) workload: Workload,
    pub(crate) script: Vec<Step>,
    /// Whether reached points are wanted.
    pub(crate) record: bool,
    /// Whether the source line of the first fault's await point is wanted.
    pub(crate) locate: bool,
}

impl Order {
    /// A plan's faults, by name.
    pub(crate) fn of(plan: &Plan) -> Order {
        Order {
            seed: plan.seed,
            workload: plan.workload.clone(),
            script: plan.faults.iter().cloned().map(Step::Named).collect(),
            ..Order::default()
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) history: History,
    /// The faults that fired, with the history's hash just before each.
    pub(crate) fired: Vec<(Fault, HistoryHash)>,
    pub(crate) unfired: Vec<Step>,
    pub(crate) points: Vec<Recorded>,
    /// How many of the points had been reached when the last fault fired, that one included.
    pub(crate) reached: usize,
    pub(crate) ungated: usize,
    /// Tasks of stock drivers' connections, where points are recorded.
    pub(crate) drivers: BTreeSet<TaskName>,
    /// Whose the servers' connections are, by their number, where points are recorded.
    pub(crate) wires: BTreeMap<u32, WireEnd>,
    pub(crate) located: Option<String>,
    /// Why the run is worthless, if it is.
    pub(crate) failure: Option<String>,
}

/// Runs an order to its end.
pub(crate) fn run(setup: &Arc<Setup>, order: &Order) -> Run {
    let servers = setup.system.servers.iter().zip(&setup.engines).enumerate();
    let servers = servers
        .map(|(index, (spec, (engine, ledger)))| {
            Server::new(index, spec.name.clone(), engine.clone(), ledger.clone())
        })
        .collect();
    let cursor = Cursor::new(order.script.iter().cloned(), order.record);
    let plain = order.seed == Seed(0);
    let tick = setup.system.tick;
    let latency = Latency {
        tick,
        most: (!plain).then_some(tick * LATENCY_TICKS_MAX),
    };
    let seed = order.seed.stream("network").next_u64();
    let world = World::new(
        setup.clone(),
        order.workload.clone(),
        cursor,
        servers,
        (latency, seed),
        order.locate,
    );
    world.broker.borrow_mut().set_control(setup.control);
    let _inside = world.enter();
    let runtime = hosts::runtime();
    let history = runtime.block_on(async {
        let hosts = Hosts::new(world.clone(), !plain).await;
        let mut stepper = Stepper::new(&world, hosts, &order.workload);
        stepper.run().await;
        // Destructors of what still runs must find the world, and add nothing to the history.
        world.take_history()
    });
    world.set_start(None);
    drop(runtime);
    let mut cursor = world.cursor.borrow_mut();
    Run {
        history,
        fired: std::mem::take(&mut cursor.fired),
        unfired: cursor.unfired().cloned().collect(),
        reached: cursor.reached,
        points: cursor.recorder.take().unwrap_or_default(),
        ungated: world.ungated.get(),
        drivers: world.drivers.take(),
        wires: world.wires.take(),
        located: world.located.take(),
        failure: world.failure.take(),
    }
}

struct Stepper<'w> {
    world: &'w Rc<World>,
    hosts: Hosts,
    tick: Duration,
    /// Replacements started so far: each gets a host of its own.
    replacements: usize,
    /// Whether something was healed at the end of the last step.
    healed: bool,
}

impl<'w> Stepper<'w> {
    fn new(world: &'w Rc<World>, hosts: Hosts, workload: &Workload) -> Stepper<'w> {
        let mut stepper = Stepper {
            world,
            hosts,
            tick: world.setup.system.tick,
            replacements: 0,
            healed: false,
        };
        stepper.add_hosts(workload);
        stepper
    }

    fn add_hosts(&mut self, workload: &Workload) {
        let world = self.world;
        for (index, server) in world.servers.iter().enumerate() {
            self.hosts.add(&server.name, move || server::listen(index));
        }
        if world.setup.expects_effects() {
            self.start_broker();
        }
        for (index, spec) in world.setup.system.workers.iter().enumerate() {
            let replicas = match workload.replicas {
                Some(n) if spec.scales => n,
                _ => spec.replicas,
            };
            for replica in 0..replicas {
                let host = match replica {
                    0 => spec.name.to_string(),
                    n => format!("{}-{}", spec.name, n + 1),
                };
                self.add_worker(
                    Slot {
                        worker: index,
                        replica,
                    },
                    host.into(),
                );
            }
        }
    }

    fn start_broker(&mut self) {
        // Two may have asked in the same tick.
        if !self.world.broker.borrow().is_up() {
            self.hosts.add(BROKER, broker::listen);
            self.world.broker.borrow_mut().note_started();
        }
    }

    fn add_worker(&mut self, slot: Slot, host: Rc<str>) {
        let name = host.clone();
        self.hosts
            .add(&name, move || worker::supervise(slot, host.clone()));
    }

    async fn run(&mut self) {
        let limit = self.world.setup.system.limit;
        let mut now = Duration::ZERO;
        loop {
            let busy = self.hosts.take_turns(now);
            let pending = self.is_pending();
            let until = match busy || self.healed || !self.world.actions.borrow().is_empty() {
                true => now + self.tick,
                false => self.next_change(now).unwrap_or(limit),
            };
            now = self.hosts.pass(now, self.whole(until)).await;
            if pending {
                // It was so in all steps that nothing happened in.
                self.world.touch(now.saturating_sub(self.tick));
            }
            self.world.set_clock(now);
            self.act();
            self.ring_timers(now);
            let at_limit = now >= limit;
            if self.world.failure.borrow().is_some() || at_limit || self.is_over(now) {
                return self.close(at_limit);
            }
        }
    }

    /// When there is something to do between steps, or for a host that nobody in it wakes, unless that
    /// is at the limit only.
    fn next_change(&self, now: Duration) -> Option<Duration> {
        let world = self.world;
        let timer = world.timers.borrow().keys().next().map(|(due, _)| *due);
        let quiet = world.last_progress() + world.setup.system.quiet;
        let quiet = (!self.is_pending() && quiet > now).then_some(quiet);
        let limit = Some(world.setup.system.limit);
        let changes = [world.network.next_due(), timer, quiet, limit];
        changes.into_iter().flatten().min()
    }

    /// The end of the step that a time is in.
    fn whole(&self, time: Duration) -> Duration {
        Duration::from_nanos(time.as_nanos().next_multiple_of(self.tick.as_nanos()) as u64)
    }

    /// Carries out what the last step asked for.
    fn act(&mut self) {
        let actions = std::mem::take(&mut *self.world.actions.borrow_mut());
        for action in actions {
            match action {
                Action::Kill(process) => self.end_process(process),
                Action::End(process) => self.hosts.end(self.world.host_of(process)),
                Action::Deploy(process) => self.deploy(process),
                Action::StartBroker => self.start_broker(),
                Action::Crash { server, without } => {
                    self.hosts.end(self.server_host(server));
                    let timer = Timer::StartServer { server, without };
                    self.world.later(self.tick * RESTART_TICKS, timer);
                }
                Action::Partition {
                    process,
                    server,
                    time,
                } => {
                    let host = self.world.host_of(process);
                    self.world.network.partition(host, self.server_host(server));
                    self.silence_between(host, server);
                    self.world.later(time, Timer::Repair { process, server });
                }
            }
        }
    }

    /// Ends a killed process: its sockets close at once, and as under a supervisor without back-off
    /// its next life begins, unless a replacement has been started.
    fn end_process(&mut self, process: usize) {
        let host = self.world.host_of(process);
        let (job, replaced) = self.world.process(process, |p| {
            p.frozen = true;
            p.ended = true;
            (p.job.take(), p.stopping)
        });
        match replaced {
            true => self.hosts.end(host),
            false => self.hosts.start(host),
        }
        if let Some(job) = job {
            self.world.log(What::Info {
                process,
                job: job.clone(),
                reason: "killed".into(),
            });
            self.world.end_attempt(job, false);
        }
    }

    /// Tells a process to stop, and starts its replacement beside it.
    fn deploy(&mut self, process: usize) {
        let (slot, replaced) = self.world.process(process, |p| {
            p.stop.notify_waiters();
            (p.slot, std::mem::replace(&mut p.stopping, true))
        });
        self.world.log(What::ToldToStop(process));
        if let Some(exception) = self.world.setup.stop_exception() {
            self.world.signal(process, exception);
        }
        if replaced {
            return;
        }
        self.world
            .later(self.world.setup.system.grace, Timer::EndGrace(process));
        self.replacements += 1;
        let worker = &self.world.setup.system.workers[slot.worker].name;
        let host = format!("{worker}-deployed-{}", self.replacements);
        self.add_worker(slot, host.into());
    }

    fn ring_timers(&mut self, now: Duration) {
        loop {
            let timer = {
                let mut timers = self.world.timers.borrow_mut();
                match timers.first_key_value() {
                    Some(((due, _), _)) if *due <= now => timers.pop_first(),
                    _ => None,
                }
            };
            let Some((_, timer)) = timer else { return };
            match timer {
                Timer::Redeliver(job) => self.world.return_job(job),
                // The connection has a clock of its own.
                Timer::EndDelay => {}
                Timer::StartServer { server, without } => {
                    self.world.servers[server].restart(without);
                    self.hosts.start(self.server_host(server));
                }
                Timer::EndGrace(process) => {
                    let ended = self.world.process(process, |p| p.ended);
                    if !ended {
                        self.world.process(process, |p| p.frozen = true);
                        self.world.log(What::Ended {
                            process,
                            killed: true,
                        });
                        self.end_process(process);
                    }
                }
                Timer::Repair { process, server } => {
                    // A connection whose last packet of the handshake was under way when the hosts
                    // were parted has lost what it sent first.
                    let host = self.world.host_of(process);
                    self.silence_between(host, server);
                    self.world.network.repair(host, self.server_host(server));
                }
            }
        }
    }

    /// Whoever is on this host: the bytes that cut may be those of a process that has ended since, and
    /// its next life is as much cut off.
    fn silence_between(&self, host: HostId, server: usize) {
        let is_there = |process| self.world.host_of(process) == host;
        let mut links = self.world.links.borrow_mut();
        links.silence_between(is_there, server);
    }

    /// Whether something is sure to happen later.
    fn is_pending(&self) -> bool {
        !self.world.timers.borrow().is_empty()
            || !self.world.actions.borrow().is_empty()
            || self.world.stalled.get() > 0
    }

    fn server_host(&self, server: usize) -> HostId {
        self.world.host(&self.world.servers[server].name)
    }

    /// Whether the run has come to its end, healing first what is broken.
    fn is_over(&mut self, now: Duration) -> bool {
        let world = self.world;
        self.healed = false;
        if self.is_pending() {
            // What a stall, a delay or a time-out held up has its chance when it is over.
            world.touch(now);
            return false;
        }
        let quiet = now - world.last_progress() >= world.setup.system.quiet;
        if !quiet && !world.is_idle() {
            return false;
        }
        if world.links.borrow().any_silent() {
            world.log(What::Healed);
            world.links.borrow_mut().heal();
            self.healed = true;
            return false;
        }
        // A job that is still under way may yet move: only the limit ends it.
        world.jobs.borrow().outstanding == 0
    }

    fn close(&mut self, at_limit: bool) {
        let world = self.world;
        let mut unfinished: Vec<_> = world.jobs.borrow().waiting.iter().cloned().collect();
        unfinished.extend(
            world
                .processes
                .borrow()
                .iter()
                .filter_map(|process| process.job.clone()),
        );
        for job in unfinished {
            world.log(What::Unfinished { job });
        }
        for server in &world.servers {
            server.log_leaks(world);
        }
        if world.setup.control == Some(Control::Forget) {
            world.log(What::ServerUp {
                server: world.servers[0].name.clone(),
                lost: vec![1],
                failover: false,
            });
        }
        world.log(What::Settled { at_limit });
    }
}

impl World {
    /// Whether nothing can happen any more: no job, no daemon, no task, no session, no message.
    fn is_idle(&self) -> bool {
        let workers = &self.setup.system.workers;
        self.jobs.borrow().outstanding == 0
            && self.tasks.get() == 0
            // Those that no gate holds, and no host.
            && Handle::current().metrics().num_alive_tasks() == 0
            && workers.iter().all(|worker| worker.takes_jobs)
            && self.broker.borrow().is_idle()
            && self.servers.iter().all(Server::is_deserted)
    }
}
