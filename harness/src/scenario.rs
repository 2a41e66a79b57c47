//! What an author fills in: schema, workers, jobs, what is owed, and how to try it.
//!
//! A scenario is data plus the workers' code. It is shared by all threads that
//! explore it, and changes nothing while they do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fake_pg::engine::CommitPoint;

use crate::history::Times;
use crate::oracle::Verdict;
use crate::plan::Class;
use crate::sim::{
    BROKER, Env, Inbox, Promise, Redeliver, Sabotage, ServerSpec, System, WorkerResult, WorkerSpec,
};

/// A system under test: what runs, against which schema, and what must come true.
///
/// ```
/// use midcommit::{Env, Redeliver::UntilOk, Scenario, Times};
///
/// let receipts = Scenario::new("receipts")
///     .schema("create table invoice (id int primary key, paid bool not null);
///              insert into invoice values (1, false)")
///     .jobs([1])
///     .redeliver(UntilOk)
///     .worker("worker", async |env: Env| {
///         let mut client = env.connect().await?;
///         let id: i32 = env.job().parse()?;
///         let tx = client.transaction().await?;
///         tx.execute("update invoice set paid = true where id = $1", &[&id]).await?;
///         tx.commit().await?;
///         env.effect("receipt", env.job()).await?;
///         Ok(())
///     })
///     .owes("receipt", "select id from invoice where paid", Times::Once);
/// ```
#[derive(Clone)]
pub struct Scenario {
    pub(crate) name: Arc<str>,
    pub(crate) source: String,
    pub(crate) about: String,
    pub(crate) twin_of: Option<Arc<str>>,
    /// What runs.
    pub(crate) system: System,
    pub(crate) owes_nothing: bool,
    pub(crate) classes: BTreeSet<Class>,
    pub(crate) stalls: Vec<Duration>,
    pub(crate) delays: Vec<Duration>,
    pub(crate) expected: Vec<Expectation>,
    /// What several faults are known to do together that none of them does alone, and why.
    pub(crate) several: BTreeMap<Verdict, &'static str>,
    pub(crate) strict: bool,
}

/// The verdicts a class of fault is known to give, and why.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// The class; `None` is the column without faults.
    pub class: Option<Class>,
    /// All verdicts that occur, `Ok` among them where some schedules pass.
    pub verdicts: BTreeSet<Verdict>,
    /// Why it must be so.
    pub why: &'static str,
}

impl Scenario {
    /// A scenario without anything in it yet.
    ///
    /// # Panics
    ///
    /// If `name` is not made of ASCII letters, digits, `_` and `-`.
    pub fn new(name: &str) -> Scenario {
        Scenario {
            name: plain(name, "a scenario"),
            source: String::new(),
            about: String::new(),
            twin_of: None,
            system: System::default(),
            owes_nothing: false,
            classes: Class::ALL.into(),
            stalls: vec![Duration::from_secs(2)],
            delays: vec![Duration::from_millis(700)],
            expected: Vec::new(),
            several: BTreeMap::new(),
            strict: false,
        }
    }

    /// Where the system comes from: one line, shown by `list`.
    pub fn source(mut self, source: &str) -> Self {
        self.source = source.to_owned();
        self
    }

    /// What the system guarantees, and what remains lost: a paragraph of Markdown, shown by `list NAME`.
    pub fn about(mut self, about: &str) -> Self {
        self.about = about.to_owned();
        self
    }

    /// The system is that of scenario `name` but for one thing, which breaks it.
    pub fn twin_of(mut self, name: &str) -> Self {
        self.twin_of = Some(name.into());
        self
    }

    /// The script that the server `pg` has run before the workers start.
    pub fn schema(mut self, sql: &str) -> Self {
        self.system.servers[0].schema = sql.to_owned();
        self
    }

    /// Another server, reached by [`Env::connect_to`]; what is owed is asked of `pg` only,
    /// and so are fail-overs: other servers are other people's.
    ///
    /// # Panics
    ///
    /// If the name is taken or not plain.
    pub fn server(mut self, name: &str, schema: &str) -> Self {
        let name = self.free_name(name, "a server");
        self.system.servers.push(ServerSpec {
            name,
            schema: schema.to_owned(),
        });
        self
    }

    /// The jobs, by key. They go to the workers declared by [`Scenario::worker`].
    ///
    /// # Panics
    ///
    /// If a key is not plain.
    pub fn jobs<J: fmt::Display>(mut self, jobs: impl IntoIterator<Item = J>) -> Self {
        self.system.jobs = jobs
            .into_iter()
            .map(|job| plain(&job.to_string(), "a job's key"))
            .collect();
        self
    }

    /// What becomes of a job whose worker did not return `Ok`. Without this: nothing.
    pub fn redeliver(mut self, redeliver: Redeliver) -> Self {
        self.system.redeliver = redeliver;
        self
    }

    /// A worker that takes jobs, one at a time.
    ///
    /// # Panics
    ///
    /// If the name is taken or not plain.
    pub fn worker<F>(self, name: &str, work: F) -> Self
    where
        F: AsyncFn(Env) -> WorkerResult + Send + Sync + 'static,
    {
        self.process(name, true, work)
    }

    /// A worker without jobs, which runs until the end, and again whenever it returns.
    ///
    /// # Panics
    ///
    /// If the name is taken or not plain.
    pub fn daemon<F>(self, name: &str, work: F) -> Self
    where
        F: AsyncFn(Env) -> WorkerResult + Send + Sync + 'static,
    {
        self.process(name, false, work)
    }

    fn process<F>(mut self, name: &str, takes_jobs: bool, work: F) -> Self
    where
        F: AsyncFn(Env) -> WorkerResult + Send + Sync + 'static,
    {
        let name = self.free_name(name, "a worker");
        let work = Arc::new(work);
        self.system.workers.push(WorkerSpec {
            name,
            work: Arc::new(move |env| {
                let work = work.clone();
                Box::pin(async move { work(env).await })
            }),
            takes_jobs,
            replicas: 1,
            // Whoever takes jobs shares them.
            scales: takes_jobs,
        });
        self
    }

    /// So many processes of the worker declared last. Of several there may be more or fewer:
    /// see [`Scenario::scales`].
    ///
    /// # Panics
    ///
    /// If no worker has been declared, or `n` is 0.
    pub fn replicas(mut self, n: usize) -> Self {
        assert!(n > 0, "a worker needs at least one replica");
        let worker = self.last_worker("replicas(n)");
        worker.replicas = n;
        worker.scales |= n > 1;
        self
    }

    /// The daemon declared last may run in any number of processes: drawn workloads try it. Workers
    /// that take jobs may anyway.
    ///
    /// # Panics
    ///
    /// If no worker has been declared.
    pub fn scales(mut self) -> Self {
        self.last_worker("scales()").scales = true;
        self
    }

    fn last_worker(&mut self, call: &str) -> &mut WorkerSpec {
        let worker = self.system.workers.last_mut();
        worker.unwrap_or_else(|| panic!("{call} follows the worker it is about"))
    }

    /// After each commit on `pg`, every new value in the first column of `sql` is a key for which
    /// `effect` is owed. So is KEY after `pg_logical_emit_message(true, 'midcommit', 'EFFECT:KEY')`.
    pub fn owes(mut self, effect: &str, sql: &str, times: Times) -> Self {
        self.system.promises.push(Promise {
            effect: effect.into(),
            sql: Some(sql.into()),
            times,
        });
        self
    }

    /// `effect` is owed by nothing but messages in the WAL: see [`Scenario::owes`].
    pub fn owes_by_message(mut self, effect: &str, times: Times) -> Self {
        self.system.promises.push(Promise {
            effect: effect.into(),
            sql: None,
            times,
        });
        self
    }

    /// Nothing is owed, on purpose: the scenario is there to count points, or for its locks.
    pub fn owes_nothing(mut self) -> Self {
        self.owes_nothing = true;
        self
    }

    /// `effect` goes to a consumer ([`Env::receive`]): it counts as applied once for each row of
    /// `sql` on `server` (key in the first column) that a commit there has made visible.
    pub fn applied_in(mut self, server: &str, effect: &str, sql: &str) -> Self {
        self.system.inboxes.push(Inbox {
            effect: effect.into(),
            server: server.into(),
            sql: sql.into(),
        });
        self
    }

    /// One job may make several writing commits; without this that is `repeated`.
    pub fn repeatable(mut self) -> Self {
        self.system.repeatable = true;
        self
    }

    /// Only these classes of fault. Without this: all of them.
    pub fn faults(mut self, classes: impl IntoIterator<Item = Class>) -> Self {
        self.classes = classes.into_iter().collect();
        self
    }

    /// The workers model a runtime with asynchronous exceptions: these are raised at their
    /// boundaries, and where they wait, instead of dropping or unwinding their futures.
    pub fn exceptions(mut self, names: &[&str]) -> Self {
        self.system.exceptions = names
            .iter()
            .map(|name| plain(name, "an exception"))
            .collect();
        self
    }

    /// A deploy's stop signal raises this exception, as a cold shutdown does. Without this, a
    /// worker learns of it by its [`StopToken`](crate::StopToken) only.
    pub fn stop_raises(mut self, exception: &str) -> Self {
        self.system.stop_exception = Some(plain(exception, "an exception"));
        self
    }

    /// How long tasks are stalled. Without this: 2 s.
    pub fn stalls(mut self, stalls: impl IntoIterator<Item = Duration>) -> Self {
        self.stalls = stalls.into_iter().collect();
        self
    }

    /// By how much replies and requests are delayed. Without this: 700 ms.
    pub fn delays(mut self, delays: impl IntoIterator<Item = Duration>) -> Self {
        self.delays = delays.into_iter().collect();
        self
    }

    /// The time between stop signal and SIGKILL in a deploy. Without this: 100 ms.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.system.grace = grace;
        self
    }

    /// When a run is over: nothing happened for `quiet` (at least the longest lease or time-out),
    /// or `limit` has passed. Without this: 1 s, and 30 s.
    pub fn settle(mut self, quiet: Duration, limit: Duration) -> Self {
        (self.system.quiet, self.system.limit) = (quiet, limit);
        self
    }

    /// The simulation's step, whole milliseconds; messages take one on the plain schedule.
    /// Without this: 10 ms.
    pub fn tick(mut self, tick: Duration) -> Self {
        self.system.tick = tick;
        self
    }

    /// Every COMMIT that writes stays at `point` for so long.
    pub fn dwell(mut self, point: CommitPoint, time: Duration) -> Self {
        self.system.dwells.insert(point, time);
        self
    }

    /// The verdicts that `class` is known to give: the catalogue compares.
    pub fn expect(
        mut self,
        class: Option<Class>,
        verdicts: impl IntoIterator<Item = Verdict>,
        why: &'static str,
    ) -> Self {
        self.expected.push(Expectation {
            class,
            verdicts: verdicts.into_iter().collect(),
            why,
        });
        self
    }

    /// Verdicts that several faults, or other workloads, are known to give where no single one of those
    /// faults does: the catalogue compares.
    pub fn expect_several(
        mut self,
        verdicts: impl IntoIterator<Item = Verdict>,
        why: &'static str,
    ) -> Self {
        self.several
            .extend(verdicts.into_iter().map(|verdict| (verdict, why)));
        self
    }

    /// A task outside the gate is an error, not a remark.
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Plants a bug, to see that the harness notices.
    pub fn sabotage(mut self, sabotage: Sabotage) -> Self {
        self.system.sabotage = Some(sabotage);
        self
    }

    /// The scenario's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the system comes from.
    pub fn source_text(&self) -> &str {
        &self.source
    }

    /// What the system guarantees, and what remains lost.
    pub fn about_text(&self) -> &str {
        &self.about
    }

    /// The scenario that this one is the broken twin of.
    pub fn original(&self) -> Option<&str> {
        self.twin_of.as_deref()
    }

    /// What it promises: each effect, how often it is due, and the server whose rows say that it was
    /// applied. Without one, it is applied when it arrives at the broker.
    pub fn promises(&self) -> impl Iterator<Item = (&str, Times, Option<&str>)> {
        self.system.promises.iter().map(|promise| {
            let mut inboxes = self.system.inboxes.iter();
            let inbox = inboxes.rfind(|inbox| inbox.effect == promise.effect);
            let server = inbox.map(|inbox| &*inbox.server);
            (&*promise.effect, promise.times, server)
        })
    }

    /// The classes of fault it is tried with.
    pub fn classes(&self) -> &BTreeSet<Class> {
        &self.classes
    }

    /// What is known of it.
    pub fn expectations(&self) -> &[Expectation] {
        &self.expected
    }

    /// What several faults are known to do together that none of them does alone, and why.
    pub fn expected_of_several(&self) -> &BTreeMap<Verdict, &'static str> {
        &self.several
    }

    fn free_name(&self, name: &str, what: &str) -> Arc<str> {
        let taken = self
            .system
            .servers
            .iter()
            .any(|server| &*server.name == name)
            || self
                .system
                .workers
                .iter()
                .any(|worker| are_hosts_of_one(&worker.name, name))
            || name == BROKER
            || name
                .strip_prefix("conn")
                .is_some_and(|rest| rest.parse::<u32>().is_ok());
        assert!(
            !taken,
            "{what} cannot be called `{name}`: the name is taken"
        );
        plain(name, what)
    }
}

/// Whether one of two names is the other's, or what a replica or a replacement of the other is called.
fn are_hosts_of_one(a: &str, b: &str) -> bool {
    let is_of = |name: &str, worker: &str| match name.strip_prefix(worker) {
        Some("") => true,
        Some(rest) => rest.strip_prefix('-').is_some_and(|rest| {
            let number = rest.strip_prefix("deployed-").unwrap_or(rest);
            number.parse::<u32>().is_ok()
        }),
        None => false,
    };
    is_of(a, b) || is_of(b, a)
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Checks that a name can stand in a plan.
fn plain(name: &str, what: &str) -> Arc<str> {
    crate::plan::word(name).unwrap_or_else(|| {
        panic!("{what} cannot be called `{name}`: only ASCII letters, digits, `_` and `-` can stand in a plan")
    })
}
