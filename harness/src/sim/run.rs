//! One run of one plan: step, fire, heal, settle.
//!
//! The loop is ours, one tick at a time: between two steps it carries out what
//! the faults of the last one asked for (a host ended, a link cut) and what timers
//! ask for (a restart, a redelivery). A run is over when nothing can happen any
//! more, when nothing has happened for `quiet`, or at `limit`; before that, once,
//! everything broken is healed and given its chance.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rand_chacha::rand_core::Rng;
use turmoil::Sim;

use super::broker::Control;
use super::cursor::{Cursor, Recorded, Step};
use super::server::{self, Server};
use super::setup::Setup;
use super::system::BROKER;
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
    let world = World::new(
        setup.clone(),
        order.workload.clone(),
        cursor,
        servers,
        order.locate,
    );
    world.broker.borrow_mut().set_control(setup.control);
    let _inside = world.enter();
    let mut stepper = Stepper::new(&world, order);
    stepper.run();
    // Destructors of what still runs must find the world, and add nothing to the history.
    let history = world.take_history();
    drop(stepper);
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
    sim: Sim<'static>,
    tick: Duration,
    /// Replacements started so far: each gets a host of its own.
    replacements: usize,
}

impl<'w> Stepper<'w> {
    fn new(world: &'w Rc<World>, order: &Order) -> Stepper<'w> {
        let system = &world.setup.system;
        let mut builder = turmoil::Builder::new();
        let plain = order.seed == Seed(0);
        let latency_max = if plain {
            system.tick
        } else {
            system.tick * LATENCY_TICKS_MAX
        };
        builder
            .rng_seed(order.seed.stream("network").next_u64())
            .epoch(UNIX_EPOCH)
            .tick_duration(system.tick)
            .min_message_latency(system.tick)
            .max_message_latency(latency_max)
            // Runs end by their own limit; the simulator's must never come first.
            .simulation_duration(Duration::MAX / 4);
        if !plain {
            builder.enable_random_order();
        }
        let mut stepper = Stepper {
            world,
            sim: builder.build(),
            tick: system.tick,
            replacements: 0,
        };
        stepper.add_hosts(&order.workload);
        stepper
    }

    fn add_hosts(&mut self, workload: &Workload) {
        let world = self.world;
        for (index, server) in world.servers.iter().enumerate() {
            self.sim.host(&*server.name, move || server::listen(index));
        }
        if world.setup.expects_effects() {
            self.start_broker();
        }
        for (index, spec) in world.setup.system.workers.iter().enumerate() {
            let replicas = match workload.replicas {
                Some(n) if spec.takes_jobs => n,
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
            self.sim.host(BROKER, broker::listen);
            self.world.broker.borrow_mut().note_started();
        }
    }

    fn add_worker(&mut self, slot: Slot, host: Rc<str>) {
        let name = host.clone();
        self.sim
            .host(&*name, move || worker::supervise(slot, host.clone()));
    }

    fn run(&mut self) {
        let limit = self.world.setup.system.limit;
        loop {
            self.sim.step().expect("no root of ours returns an error");
            let now = self.sim.elapsed();
            self.world.set_clock(now);
            self.act();
            self.ring_timers(now);
            let at_limit = now >= limit;
            if self.world.failure.borrow().is_some() || at_limit || self.is_over(now) {
                return self.close(at_limit);
            }
        }
    }

    /// Carries out what the last step asked for.
    fn act(&mut self) {
        let actions = std::mem::take(&mut *self.world.actions.borrow_mut());
        for action in actions {
            match action {
                Action::Kill(process) => self.end_process(process),
                Action::Deploy(process) => self.deploy(process),
                Action::StartBroker => self.start_broker(),
                Action::Crash { server, without } => {
                    self.sim.crash(&*self.world.servers[server].name);
                    let timer = Timer::StartServer { server, without };
                    self.world.later(self.tick * RESTART_TICKS, timer);
                }
                Action::Partition {
                    process,
                    server,
                    time,
                } => {
                    let host = self.world.process(process, |p| p.host.clone());
                    self.sim
                        .partition(&*host, &*self.world.servers[server].name);
                    self.world
                        .links
                        .borrow_mut()
                        .silence_between(process, server);
                    self.world.later(time, Timer::Repair { process, server });
                }
            }
        }
    }

    /// Ends a killed process: its sockets close at once, and as under a supervisor without back-off
    /// its next life begins, unless a replacement has been started.
    fn end_process(&mut self, process: usize) {
        let (host, job, replaced) = self.world.process(process, |p| {
            p.frozen = true;
            p.ended = true;
            (p.host.clone(), p.job.take(), p.stopping)
        });
        match replaced {
            true => self.sim.crash(&*host),
            false => self.sim.bounce(&*host),
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
                    self.sim.bounce(&*self.world.servers[server].name);
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
                    self.world
                        .links
                        .borrow_mut()
                        .silence_between(process, server);
                    let host = self.world.process(process, |p| p.host.clone());
                    self.sim.repair(&*host, &*self.world.servers[server].name);
                }
            }
        }
    }

    /// Whether the run has come to its end, healing first what is broken.
    fn is_over(&mut self, now: Duration) -> bool {
        let world = self.world;
        let pending = !world.timers.borrow().is_empty()
            || !world.actions.borrow().is_empty()
            || world.stalled.get() > 0;
        if pending {
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
            && workers.iter().all(|worker| worker.takes_jobs)
            && self.broker.borrow().is_idle()
            && self.servers.iter().all(Server::is_deserted)
    }
}
