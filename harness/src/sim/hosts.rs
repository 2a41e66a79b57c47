//! The hosts of a run: who takes a turn when, and the clock that they share.
//!
//! Time goes in steps of a tick. At the beginning of each every host takes one turn, in
//! order: what has arrived is handed to it, and its tasks run until all of them wait.
//! A task that another host's turn wakes runs at the host's next turn. In the middle of a
//! step only timers wake anybody.
//!
//! All hosts live on one runtime whose clock is paused, so that the clock goes straight to
//! where something happens: a step in which nothing does costs nothing. A host's
//! tasks are a set of their own, and end with it. A task spawned past that set, by
//! `tokio::spawn`, lives on, but its sockets are closed, and nothing it does counts.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::{Instant, Sleep};

use super::tcp::HostId;
use super::world::World;

/// What a host runs, again each time it starts. It never returns.
type Software = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()>>>>;

/// All hosts of a run.
pub(crate) struct Hosts {
    world: Rc<World>,
    tick: Duration,
    /// When the run began, on the runtime's clock.
    start: Instant,
    /// Whether the order of turns is drawn; else it is the order in which hosts were added.
    shuffled: bool,
    /// When the last step began whose order has been drawn: of steps that are passed over it is, too.
    drawn: Option<Duration>,
    hosts: Vec<Host>,
    /// How the runtime is told that a timer has woken a host, and whether anybody waits to be told.
    runtime: Waker,
    waiting: Arc<AtomicBool>,
}

struct Host {
    /// None while it is down.
    tasks: Option<LocalSet>,
    software: Software,
    woken: Arc<Woken>,
    waker: Waker,
    /// Woken in another host's turn: it runs at its own.
    due: bool,
}

/// Notes that some task of a host wants to run.
struct Woken {
    woken: AtomicBool,
    waiting: Arc<AtomicBool>,
    runtime: Waker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Relaxed);
        if self.waiting.swap(false, Ordering::Relaxed) {
            self.runtime.wake_by_ref();
        }
    }
}

/// The runtime that hosts live on: one for each run, so that no timer of another one is on it.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without threads needs nothing of the system");
    // Timers have whole milliseconds: this takes the clock to the next of them.
    runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
    runtime
}

impl Hosts {
    /// No hosts yet. To be called, and used, in the runtime's main future.
    pub(crate) async fn new(world: Rc<World>, shuffled: bool) -> Hosts {
        let start = Instant::now();
        world.set_start(Some(start));
        Hosts {
            tick: world.setup.system.tick,
            start,
            world,
            shuffled,
            drawn: None,
            hosts: Vec::new(),
            runtime: poll_fn(|cx| Poll::Ready(cx.waker().clone())).await,
            waiting: Arc::default(),
        }
    }

    /// Adds a host and starts it.
    pub(crate) fn add<F>(&mut self, name: &str, software: impl Fn() -> F + 'static) -> HostId
    where
        F: Future<Output = ()> + 'static,
    {
        let id = self.world.add_host(name);
        let woken = Arc::new(Woken {
            woken: AtomicBool::new(false),
            waiting: self.waiting.clone(),
            runtime: self.runtime.clone(),
        });
        self.hosts.push(Host {
            tasks: None,
            software: Box::new(move || Box::pin(software())),
            waker: woken.clone().into(),
            woken,
            due: false,
        });
        self.start(id);
        id
    }

    /// Ends all tasks of a host, if it is up, and starts it.
    pub(crate) fn start(&mut self, id: HostId) {
        self.end(id);
        let host = &mut self.hosts[id];
        let tasks = LocalSet::new();
        tasks.spawn_local((host.software)());
        host.tasks = Some(tasks);
        host.due = true;
        self.world.network.set_up(id, true);
    }

    /// Ends all tasks of a host. Their sockets close.
    pub(crate) fn end(&mut self, id: HostId) {
        drop(self.hosts[id].tasks.take());
        self.world.network.close_all(id);
        self.world.network.set_up(id, false);
    }

    /// Begins the step at `now`: each host takes its turn. Whether any had something to do.
    pub(crate) fn take_turns(&mut self, now: Duration) -> bool {
        self.world.network.begin_step(now + self.tick);
        let mut any = false;
        for id in self.order(now) {
            any |= self.take_turn(id, now);
        }
        any
    }

    /// Who takes a turn in the step that begins then, in order.
    fn order(&mut self, step: Duration) -> Vec<HostId> {
        let mut up: Vec<HostId> = (0..self.hosts.len()).collect();
        up.retain(|id| self.hosts[*id].tasks.is_some());
        if self.shuffled {
            self.world.network.shuffle(&mut up);
            self.drawn = Some(step);
        }
        up
    }

    /// Draws the orders of the steps that began by then and were passed over.
    fn pass_over(&mut self, last: Duration) {
        while let Some(drawn) = self.drawn
            && drawn + self.tick <= last
        {
            self.order(drawn + self.tick);
        }
    }

    fn take_turn(&mut self, id: HostId, now: Duration) -> bool {
        let host = &mut self.hosts[id];
        if host.tasks.is_none() {
            return false;
        }
        self.world.network.deliver(id, now);
        host.run()
    }

    /// Those run whom a timer has woken within a step.
    fn run_woken(&mut self) {
        for host in &mut self.hosts {
            if !host.due {
                host.run();
            }
        }
        self.note_woken();
    }

    /// Who is woken by now runs at its next turn.
    fn note_woken(&mut self) {
        for host in &mut self.hosts {
            host.due |= host.woken.woken.load(Ordering::Relaxed);
        }
    }

    /// Whether somebody has been woken outside its turn.
    fn any_due(&self) -> bool {
        self.hosts
            .iter()
            .any(|host| host.due || host.woken.woken.load(Ordering::Relaxed))
    }

    /// Waits until the end of a step, and says when that is: `until`, or before that the end of one
    /// in which a timer wakes somebody.
    pub(crate) async fn pass(&mut self, now: Duration, until: Duration) -> Duration {
        self.note_woken();
        let mut end = match self.any_due() {
            true => now + self.tick,
            false => until,
        };
        let mut sleep = std::pin::pin!(tokio::time::sleep_until(self.start + end));
        loop {
            if poll_fn(|cx| self.poll_passed(sleep.as_mut(), cx)).await {
                self.pass_over(end - self.tick);
                return end;
            }
            let now = Instant::now() - self.start;
            let step = whole(now, self.tick);
            if step == now {
                self.pass_over(now.saturating_sub(self.tick));
                return now;
            }
            self.pass_over(step);
            // In the middle of a step, which then is the last.
            if step + self.tick != end {
                end = step + self.tick;
                sleep.as_mut().reset(self.start + end);
            }
            self.world.set_clock(step);
            self.world.network.begin_step(end);
            self.run_woken();
        }
    }

    /// Ready with whether time has passed: if not, a timer has woken a host.
    fn poll_passed(&self, sleep: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<bool> {
        if sleep.poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        let is_woken = |host: &Host| !host.due && host.woken.woken.load(Ordering::Relaxed);
        if self.hosts.iter().any(is_woken) {
            return Poll::Ready(false);
        }
        self.waiting.store(true, Ordering::Relaxed);
        Poll::Pending
    }
}

/// The last whole tick by then.
fn whole(time: Duration, tick: Duration) -> Duration {
    Duration::from_nanos((time.as_nanos() / tick.as_nanos() * tick.as_nanos()) as u64)
}

impl Host {
    /// Runs its tasks until all of them wait. Whether there was anything to run.
    fn run(&mut self) -> bool {
        let mut any = false;
        while std::mem::take(&mut self.due) | self.woken.woken.swap(false, Ordering::Relaxed) {
            let Some(tasks) = &mut self.tasks else {
                return any;
            };
            any = true;
            let ended = Pin::new(tasks).poll(&mut Context::from_waker(&self.waker));
            assert!(ended.is_pending(), "the root of a host never returns");
        }
        any
    }
}

#[cfg(test)]
pub(in crate::sim) mod tests {
    use std::cell::RefCell;

    use tokio::time::sleep;

    use super::super::cursor::Cursor;
    use super::super::setup::Setup;
    use super::super::system::System;
    use super::super::tcp::Latency;
    use super::*;
    use crate::plan::Workload;

    pub(in crate::sim) const TICK: Duration = Duration::from_millis(10);

    /// Adds hosts and passes so many ticks; `meanwhile` is called at the end of each step, with how many have passed.
    /// Says at which ticks steps began.
    pub(in crate::sim) fn in_steps(
        ticks: u32,
        add: impl FnOnce(&mut Hosts),
        mut meanwhile: impl FnMut(&World, &mut Hosts, u32),
    ) -> Vec<u32> {
        let system = System {
            tick: TICK,
            ..System::default()
        };
        let latency = Latency {
            tick: TICK,
            most: None,
        };
        let setup = Arc::new(Setup::new(&system).unwrap());
        let cursor = Cursor::new([], false);
        let world = World::new(
            setup,
            Workload::default(),
            cursor,
            Vec::new(),
            (latency, 0),
            false,
        );
        let _inside = world.enter();
        let mut began = Vec::new();
        runtime().block_on(async {
            let mut hosts = Hosts::new(world.clone(), false).await;
            add(&mut hosts);
            let mut now = Duration::ZERO;
            while now < TICK * ticks {
                began.push((now.as_micros() / TICK.as_micros()) as u32);
                let busy = hosts.take_turns(now);
                let due = world.network.next_due().unwrap_or(TICK * ticks);
                let until = if busy { now + TICK } else { due };
                now = hosts.pass(now, until).await;
                world.set_clock(now);
                meanwhile(
                    &world,
                    &mut hosts,
                    (now.as_micros() / TICK.as_micros()) as u32,
                );
            }
        });
        world.set_start(None);
        began
    }

    #[test]
    fn steps_in_which_nothing_happens_are_passed_over() {
        let began = in_steps(
            1_000_000,
            |hosts| {
                hosts.add("idle", std::future::pending);
                hosts.add("sleeper", || async {
                    sleep(TICK * 300).await;
                    sleep(TICK * 5000).await;
                    std::future::pending().await
                });
            },
            |_, _, _| {},
        );
        assert_eq!(began, [0, 1, 300, 301, 5300, 5301]);
    }

    #[test]
    fn a_timer_in_the_middle_of_a_step_wakes_at_its_time() {
        let woken = Rc::new(RefCell::new(Vec::new()));
        let at = woken.clone();
        let began = in_steps(
            100,
            |hosts| {
                hosts.add("sleeper", move || {
                    let at = at.clone();
                    async move {
                        for ms in [25, 1, 4, 3] {
                            sleep(Duration::from_millis(ms)).await;
                            at.borrow_mut().push(World::with(World::now).as_millis());
                        }
                        std::future::pending().await
                    }
                });
            },
            |_, _, _| {},
        );
        assert_eq!(*woken.borrow(), [25, 26, 30, 33]);
        assert_eq!(began, [0, 1, 3, 4]);
    }

    #[test]
    fn who_is_woken_in_anothers_turn_runs_at_its_own() {
        let bell = Rc::new(tokio::sync::Notify::new());
        let notes = Rc::new(RefCell::new(Vec::new()));
        in_steps(
            10,
            |hosts| {
                for name in ["before", "ringer", "after"] {
                    let (bell, notes) = (bell.clone(), notes.clone());
                    hosts.add(name, move || {
                        let (bell, notes) = (bell.clone(), notes.clone());
                        async move {
                            match name {
                                "ringer" => {
                                    sleep(TICK * 3).await;
                                    bell.notify_waiters();
                                }
                                _ => {
                                    bell.notified().await;
                                    let ticks = World::with(World::now).as_millis() / 10;
                                    notes.borrow_mut().push((name, ticks));
                                }
                            }
                            std::future::pending().await
                        }
                    });
                }
            },
            |_, _, _| {},
        );
        assert_eq!(*notes.borrow(), [("after", 3), ("before", 4)]);
    }
}
