//! The broker: where effects arrive, and from where consumers take them.
//!
//! An effect without a consumer takes hold on arrival. One with a consumer waits
//! until the consumer has acknowledged it, and is handed out again when the
//! consumer's connection ends before that.
//!
//! On the wire each effect is a connection of its own, as a POST would be: one
//! line there, one byte back.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use super::cursor::Here;
use super::system::{BROKER, Sabotage, System};
use super::tcp::{TcpListener, TcpStream};
use super::world::{Action, World};
use crate::history::{CommitId, ProcessId, Times, What};
use crate::plan::{Arrival, Kind};

/// The port the broker listens on.
pub(crate) const PORT: u16 = 5672;
/// The broker's answer: it happened.
pub(crate) const ACCEPTED: u8 = b'+';
/// The broker's answer: nothing happened.
pub(crate) const REFUSED: u8 = b'-';

/// What the broker holds.
pub(crate) struct Broker {
    /// Messages for each effect that has a consumer.
    queues: BTreeMap<Arc<str>, Queue>,
    publishes: u32,
    acks: u32,
    /// Effects that have been sent and have not arrived.
    on_the_way: u32,
    /// Until then every arrival is refused.
    down_until: Duration,
    /// Whether its host has been started, and who waits for that.
    up: bool,
    started: Arc<Notify>,
    /// What a control run does.
    control: Option<Control>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<str>>,
    ready: Rc<Notify>,
}

/// What a control run does, to see that the oracles notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    /// The first effect does not take hold.
    Drop,
    /// The first effect takes hold twice.
    Double,
    /// At the end, the server turns out to have lost its first commit.
    Forget,
}

impl Broker {
    pub(crate) fn new(system: &System) -> Broker {
        let effects = system.inboxes.iter().map(|inbox| inbox.effect.clone());
        Broker {
            queues: effects.map(|effect| (effect, Queue::default())).collect(),
            publishes: 0,
            acks: 0,
            on_the_way: 0,
            down_until: Duration::ZERO,
            up: false,
            started: Arc::default(),
            control: None,
        }
    }

    pub(crate) fn set_control(&mut self, control: Option<Control>) {
        self.control = control;
    }

    /// Whether its host has been started.
    pub(crate) fn is_up(&self) -> bool {
        self.up
    }

    /// Its host can be connected to from now on.
    pub(crate) fn note_started(&mut self) {
        self.up = true;
        self.started.notify_waiters();
    }

    /// A message has left its sender, who may be gone when it arrives.
    pub(crate) fn note_sent(&mut self) {
        self.on_the_way += 1;
    }

    /// Whether no message is on its way, and none waits for a consumer.
    pub(crate) fn is_idle(&self) -> bool {
        self.on_the_way == 0 && self.queues.values().all(|queue| queue.waiting.is_empty())
    }
}

/// What becomes of an arrival.
enum Fate {
    Accept,
    Refuse,
    LoseAck,
}

impl World {
    /// An effect takes hold, unless a control run has it otherwise.
    pub(crate) fn apply(&self, name: &Arc<str>, key: &Arc<str>, commit: Option<CommitId>) {
        // What nobody has promised anything about would not show it.
        let promised = self
            .setup
            .promises
            .owed
            .iter()
            .find(|(owed, _)| owed == name);
        let control = self.broker.borrow_mut().control.take_if(|control| {
            promised.is_some_and(|(_, times)| match control {
                Control::Drop => *times != Times::AtMostOnce,
                Control::Double => *times != Times::AtLeastOnce,
                Control::Forget => false,
            })
        });
        let times = match control {
            Some(Control::Drop) => 0,
            Some(Control::Double) => 2,
            _ => 1,
        };
        for _ in 0..times {
            self.log(What::Applied {
                name: name.clone(),
                key: key.clone(),
                commit: commit.clone(),
            });
        }
    }

    /// Something reaches the broker: whether it counts.
    fn arrive(&self, arrival: Arrival) -> Fate {
        let nth = {
            let mut broker = self.broker.borrow_mut();
            let count = match arrival {
                Arrival::Publish => &mut broker.publishes,
                Arrival::Ack => &mut broker.acks,
            };
            *count += 1;
            *count
        };
        let last_commit = self.servers[0].last_write();
        let fault = self.visit(Here::Broker {
            arrival,
            nth,
            last_commit,
        });
        let now = self.now();
        let fate = match fault.map(|fault| fault.kind) {
            Some(Kind::Down(time)) => {
                self.broker.borrow_mut().down_until = now + time;
                Fate::Refuse
            }
            Some(Kind::AckLost) => Fate::LoseAck,
            Some(Kind::Failover(number)) => {
                self.crash_server(0, Some(number));
                Fate::Accept
            }
            _ => Fate::Accept,
        };
        match now < self.broker.borrow().down_until {
            true => Fate::Refuse,
            false => fate,
        }
    }

    /// An effect has arrived and counts.
    fn deliver(&self, name: &Arc<str>, key: &Arc<str>) {
        self.log(What::Delivered {
            name: name.clone(),
            key: key.clone(),
        });
        let queued = {
            let mut broker = self.broker.borrow_mut();
            broker.queues.get_mut(name).map(|queue| {
                queue.waiting.push_back(key.clone());
                queue.ready.notify_waiters();
            })
        };
        if queued.is_none() {
            self.apply(name, key, None);
        }
    }

    fn requeue(&self, name: &str, key: Arc<str>) {
        if let Some(queue) = self.broker.borrow_mut().queues.get_mut(name) {
            queue.waiting.push_front(key);
            queue.ready.notify_waiters();
        }
    }
}

/// Connects to the broker, which is started first if nobody has asked for it so far.
pub(crate) async fn connect(process: ProcessId) -> io::Result<TcpStream> {
    let starting = World::with(|world| {
        let broker = world.broker.borrow();
        let starting = (!broker.up).then(|| broker.started.clone());
        if starting.is_some() {
            world.ask(Action::StartBroker);
        }
        starting
    });
    if let Some(started) = starting {
        started.notified().await;
    }
    // As in `Stream::connect`.
    if World::with(|world| world.is_frozen(process)) {
        return std::future::pending().await;
    }
    let (from, to) = World::with(|world| (world.host_of(process), world.host(BROKER)));
    TcpStream::connect(from, to, PORT).await
}

/// The root of the broker's host: accepts for ever.
pub(crate) async fn listen() {
    let listener = TcpListener::bind(World::with(|world| world.host(BROKER)), PORT);
    loop {
        let (tcp, _) = listener.accept().await;
        tokio::task::spawn_local(async move {
            // A client that goes away in the middle is no error of the broker's.
            let _gone = serve(tcp).await;
        });
    }
}

async fn serve(mut tcp: TcpStream) -> io::Result<()> {
    let line = read_line(&mut tcp).await?;
    match line.split_once(' ') {
        Some(("publish", rest)) => {
            World::with(|world| world.broker.borrow_mut().on_the_way -= 1);
            match rest.split_once(' ') {
                Some((name, key)) => take_in(tcp, &name.into(), &key.into()).await,
                None => tcp.write_all(&[REFUSED]).await,
            }
        }
        Some(("consume", name)) => hand_out(tcp, name).await,
        _ => tcp.write_all(&[REFUSED]).await,
    }
}

async fn take_in(mut tcp: TcpStream, name: &Arc<str>, key: &Arc<str>) -> io::Result<()> {
    let (fate, silent) = World::with(|world| {
        let fate = world.arrive(Arrival::Publish);
        if !matches!(fate, Fate::Refuse) {
            world.deliver(name, key);
        }
        (
            fate,
            world.setup.system.sabotage == Some(Sabotage::BrokerDropsAcks),
        )
    });
    if silent {
        return std::future::pending().await;
    }
    match fate {
        Fate::Accept => tcp.write_all(&[ACCEPTED]).await,
        Fate::Refuse => tcp.write_all(&[REFUSED]).await,
        Fate::LoseAck => Ok(()),
    }
}

/// Gives a consumer the next message, and takes it back unless it is acknowledged.
async fn hand_out(mut tcp: TcpStream, name: &str) -> io::Result<()> {
    let key = loop {
        let (key, ready) = World::with(|world| {
            let mut broker = world.broker.borrow_mut();
            match broker.queues.get_mut(name) {
                Some(queue) => (queue.waiting.pop_front(), Some(queue.ready.clone())),
                None => (None, None),
            }
        });
        match (key, ready) {
            (Some(key), _) => break key,
            (None, Some(ready)) => tokio::select! {
                biased;
                () = ready.notified() => {}
                // A consumer that has gone must not be handed anything.
                gone = tcp.read_u8() => return gone.map(drop),
            },
            (None, None) => return tcp.write_all(b"\n").await,
        }
    };
    let acknowledged = async {
        tcp.write_all(format!("{key}\n").as_bytes()).await?;
        tcp.read_u8().await
    };
    if acknowledged.await.is_err() {
        World::with(|world| world.requeue(name, key));
        return Ok(());
    }
    match World::with(|world| world.arrive(Arrival::Ack)) {
        Fate::Accept => tcp.write_all(&[ACCEPTED]).await,
        Fate::Refuse | Fate::LoseAck => {
            World::with(|world| world.requeue(name, key));
            Ok(())
        }
    }
}

/// Reads up to a newline, which is left out. One write is one segment, so this is one read.
pub(crate) async fn read_line(tcp: &mut TcpStream) -> io::Result<String> {
    let mut line = Vec::new();
    loop {
        let mut chunk = [0; 256];
        let read = tcp.read(&mut chunk).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.extend_from_slice(&chunk[..read]);
        if line.ends_with(b"\n") {
            line.pop();
            return String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scenario;
    use crate::sim::{Order, Setup, run};

    #[test]
    fn a_broker_nobody_counts_on_comes_when_it_is_asked_for() {
        let scenario = Scenario::new("unpromised")
            .jobs([1, 2])
            .worker("worker", async |env| {
                Ok(env.effect("receipt", env.job()).await?)
            })
            .replicas(2)
            .owes_nothing();
        let setup = Setup::new(&scenario.system).unwrap();
        assert!(!setup.expects_effects());
        let history = run(&Arc::new(setup), &Order::default()).history;
        let applied = history.events.iter().filter_map(|event| match &event.what {
            What::Applied { key, .. } => Some(&**key),
            _ => None,
        });
        assert_eq!(applied.collect::<Vec<_>>(), ["1", "2"]);
    }

    #[test]
    fn an_effect_on_its_way_arrives_even_if_nobody_is_left_who_sent_it() {
        let scenario = Scenario::new("cancelled")
            .jobs([1])
            .worker("worker", async |env| {
                Ok(env.effect("receipt", env.job()).await?)
            })
            .owes_nothing();
        let setup = Arc::new(Setup::new(&scenario.system).unwrap());
        let plan = "cancel@worker.publish.1+1".parse().unwrap();
        let history = run(&setup, &Order::of(&plan)).history;
        let told: Vec<&What> = history.events.iter().map(|event| &event.what).collect();
        let place = |is: fn(&What) -> bool| told.iter().position(|what| is(what));
        let cancelled = place(|what| matches!(what, What::Info { .. }));
        let applied = place(|what| matches!(what, What::Applied { .. }));
        assert!(cancelled.is_some() && applied > cancelled, "{told:?}");
    }
}
