//! The same random programs on fake-pg and on a real server, compared step by step.
//!
//! fake-pg goes first and turns a program into a script; the real server runs that. A difference
//! is believed once the real server has repeated itself: where two sessions are freed at once and
//! want the same again, it may answer in more than one way. Then fake-pg must be able to answer so
//! too, with its sessions in another order.
//!
//! Each program uses some of the features only, drawn by its number: what is rare among all of them
//! is common among few.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::breadth;
use crate::check::differ;
use crate::fake::Fake;
use crate::host::Run;
use crate::program::{Act, Intent, Program, programs, setup};
use crate::real::Real;
use crate::script::{Item, Script, Step};

/// How often the real server is asked again before a difference is believed.
const REPEATS: usize = 2;
/// In how many orders fake-pg is tried.
const ORDERS: u64 = 60;
/// After so many programs the real server gets a new database: catalogs grow.
const RENEWAL: usize = 200;

/// What a comparison has seen: vacuous programs prove nothing.
#[derive(Debug, Default)]
pub struct Mix {
    /// Programs run on both.
    pub programs: usize,
    /// Steps run on both.
    pub steps: usize,
    /// Programs in which the real server went another way than fake-pg at first, but one that
    /// fake-pg can go too.
    pub raced: usize,
    /// Programs in which it did not repeat itself.
    pub unsteady: usize,
    /// How often something occurred in a reply: `(waits)`, an SQLSTATE.
    pub seen: BTreeMap<String, usize>,
    /// Why programs were not run: fake-pg lacks something.
    pub refused: BTreeMap<String, usize>,
}

impl Mix {
    fn add(&mut self, other: Mix) {
        self.programs += other.programs;
        self.steps += other.steps;
        self.raced += other.raced;
        self.unsteady += other.unsteady;
        for (what, count) in other.seen {
            *self.seen.entry(what).or_default() += count;
        }
        for (what, count) in other.refused {
            *self.refused.entry(what).or_default() += count;
        }
    }
}

impl std::fmt::Display for Mix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seen = |what: &str| self.seen.get(what).copied().unwrap_or(0);
        writeln!(
            f,
            "{} programs, {} steps: {} waits, {} deadlocks, {} serialization failures; \
             {} went another way at first, {} not the same way twice",
            self.programs,
            self.steps,
            seen("(waits)"),
            seen("40P01"),
            seen("40001"),
            self.raced,
            self.unsteady
        )?;
        let counts = self
            .seen
            .iter()
            .map(|(what, count)| format!("{what} {count}"));
        write!(f, "seen: {}", counts.collect::<Vec<_>>().join(", "))?;
        for (message, count) in &self.refused {
            write!(f, "\nrefused by fake-pg {count} times: {message}")?;
        }
        Ok(())
    }
}

/// How a comparison is run.
#[derive(Debug, Clone)]
pub struct Plan<'p> {
    /// Where programs come from.
    pub seed: u64,
    /// The first program's number.
    pub first: usize,
    /// How many.
    pub programs: usize,
    /// Stop after so many differences.
    pub differences: usize,
    /// What programs may use.
    pub features: &'p [&'p str],
    /// Each uses some of them only.
    pub draws: bool,
    /// How many servers there are.
    pub jobs: usize,
    /// How many smaller programs are tried when one shows a difference.
    pub shrinks: usize,
}

impl Plan<'_> {
    /// What a program uses: one in eight all, the others about half of it each.
    fn features(&self, number: usize) -> Vec<&str> {
        let mut bits = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number as u64;
        let mut draw = || {
            bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        };
        let all = !self.draws || draw() % 8 == 0;
        let features = self.features.iter().copied();
        features.filter(|_| draw() % 2 == 0 || all).collect()
    }
}

/// What the servers of a comparison share.
struct Shared<P, D> {
    next: usize,
    mix: Mix,
    differences: usize,
    progress: P,
    differs: D,
}

/// Runs programs on both servers. What differs is told as it is found, for people, and counted.
pub fn compare(
    plan: &Plan<'_>,
    progress: impl FnMut(usize, &Mix) + Send,
    differs: impl FnMut(&str) + Send,
) -> Result<(Mix, usize), String> {
    let shared = Mutex::new(Shared {
        next: plan.first,
        mix: Mix::default(),
        differences: 0,
        progress,
        differs,
    });
    let done: Vec<Result<(), String>> = std::thread::scope(|scope| {
        let jobs: Vec<_> = (0..plan.jobs.max(1))
            .map(|_| scope.spawn(|| work(plan, &shared)))
            .collect();
        let ended = jobs.into_iter().map(|job| job.join());
        ended
            .map(|ended| ended.unwrap_or_else(|_| Err("a job panicked".into())))
            .collect()
    });
    done.into_iter().collect::<Result<(), String>>()?;
    let shared = shared.into_inner().map_err(|error| error.to_string())?;
    Ok((shared.mix, shared.differences))
}

/// One server's share: program after program, until there are none left or differences enough.
fn work<P: FnMut(usize, &Mix), D: FnMut(&str)>(
    plan: &Plan<'_>,
    shared: &Mutex<Shared<P, D>>,
) -> Result<(), String> {
    let lock = || shared.lock().map_err(|error| error.to_string());
    let mut real = Real::start()?;
    real.hurry();
    for round in 0.. {
        let number = {
            let mut shared = lock()?;
            let enough = shared.differences >= plan.differences;
            if enough || shared.next >= plan.first + plan.programs {
                break;
            }
            let number = shared.next;
            shared.next += 1;
            let Shared { progress, mix, .. } = &mut *shared;
            progress(number, mix);
            number
        };
        if usize::is_multiple_of(round, RENEWAL) {
            real.renew(&[])?;
        }
        let mut mix = Mix::default();
        let found = one(plan, number, &mut real, &mut mix)?;
        let mut shared = lock()?;
        shared.mix.add(mix);
        if let Some(found) = found {
            shared.differences += 1;
            (shared.differs)(&found);
        }
    }
    Ok(())
}

/// Runs one program. If there is a difference, one in a program that is as small as can be.
fn one(
    plan: &Plan<'_>,
    number: usize,
    real: &mut Real,
    mix: &mut Mix,
) -> Result<Option<String>, String> {
    let features = plan.features(number);
    let mut tree = programs(&features)
        .new_tree(&mut runner(plan.seed, number))
        .map_err(|reason| reason.to_string())?;
    let Some(found) = play(&tree.current(), &features, real, mix)? else {
        return Ok(None);
    };
    let (mut least, mut shrunk) = (found, 0);
    let mut scratch = Mix::default();
    while shrunk < plan.shrinks && tree.simplify() {
        loop {
            shrunk += 1;
            match play(&tree.current(), &features, real, &mut scratch)? {
                Some(smaller) => {
                    least = smaller;
                    break;
                }
                None if shrunk < plan.shrinks && tree.complicate() => (),
                None => break,
            }
        }
    }
    Ok(Some(format!(
        "# seed {}, program {number}\n{least}",
        plan.seed
    )))
}

/// A program as a script, with fake-pg's replies.
pub fn show(plan: &Plan<'_>) -> Result<String, String> {
    let features = plan.features(plan.first);
    let tree = programs(&features).new_tree(&mut runner(plan.seed, plan.first));
    let tree = tree.map_err(|reason| reason.to_string())?;
    Ok(imagine(&tree.current(), &features)?.0.text())
}

fn runner(seed: u64, number: usize) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&(number as u64).to_le_bytes());
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    TestRunner::new_with_rng(config, rng)
}

/// Runs one program on both. `Some` says where they differ.
fn play(
    program: &Program,
    features: &[&str],
    real: &mut Real,
    mix: &mut Mix,
) -> Result<Option<String>, String> {
    let (script, refusal) = imagine(program, features)?;
    if let Some(refusal) = refusal {
        *mix.refused.entry(refusal).or_default() += 1;
        return Ok(None);
    }
    mix.programs += 1;
    let opening = setup(features).len();
    let first = rehearse(&script, opening, real)?;
    for replies in &first {
        mix.steps += 1;
        count(replies, &mut mix.seen);
    }
    if agrees(&script, &first) {
        return Ok(None);
    }
    // Both are right where the server can go more than one way.
    for seed in 0..ORDERS {
        if replays(&script, &first, Fake::by_chance(&[], seed))? {
            mix.raced += 1;
            return Ok(None);
        }
    }
    for _ in 0..REPEATS {
        let again = rehearse(&script, opening, real)?;
        if again != first {
            mix.unsteady += 1;
            return Ok(None);
        }
    }
    Ok(Some(explain(&script, &first)))
}

/// Whether fake-pg answers as the real server did, step by step.
fn replays(script: &Script, real: &[Vec<String>], mut fake: Fake) -> Result<bool, String> {
    let mut run = Run::on(&mut fake);
    for (step, real) in script.steps().zip(real) {
        if run.step(step)? != *real {
            return Ok(false);
        }
    }
    Ok(true)
}

fn agrees(script: &Script, real: &[Vec<String>]) -> bool {
    script
        .steps()
        .zip(real)
        .all(|(step, real)| step.replies == *real)
}

/// Runs a script on the real server up to the first step that is answered otherwise.
fn rehearse(script: &Script, opening: usize, real: &mut Real) -> Result<Vec<Vec<String>>, String> {
    real.clear()?;
    let mut run = Run::on(real);
    let mut all = Vec::new();
    let crashes = script.steps().any(|step| step.session == "server");
    for (place, step) in script.steps().enumerate() {
        if crashes && place == opening {
            run.align()?;
        }
        let told = run.step(step);
        let replies = told.map_err(|error| format!("{}\n{}: {error}", script.text(), step.line))?;
        let same = replies == step.replies;
        all.push(replies);
        if !same {
            break;
        }
    }
    Ok(all)
}

fn count(replies: &[String], seen: &mut BTreeMap<String, usize>) {
    let words = replies.iter().filter_map(|line| line.split_once("> "));
    for word in words.flat_map(|(_, words)| words.split(" ; ")) {
        let mut words = word.split(' ');
        let what = match (words.next(), words.nth(1)) {
            (Some("E"), Some(code)) => code,
            (Some("(waits)"), _) => "(waits)",
            _ => continue,
        };
        *seen.entry(what.to_string()).or_default() += 1;
    }
}

fn explain(script: &Script, real: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (step, real) in script.steps().zip(real) {
        writeln!(text, "{}", step.line).expect("strings take all");
        if step.replies == *real {
            for reply in real {
                writeln!(text, "  {reply}").expect("strings take all");
            }
        } else {
            differ(&mut text, ["real", "fake-pg"], real, &step.replies);
        }
    }
    text
}

/// What a session is about, as its last replies tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Idle,
    Block,
    Failed,
    Unsynced,
    Waits,
    /// In the extended protocol. It is not cancelled: a table may be what it waits for, and that is
    /// a known divergence (`protocol/parse-waits`).
    WaitsInPipeline,
}

/// Lets fake-pg run a program: the script that came out, and what it refused, if it did.
fn imagine(program: &Program, features: &[&str]) -> Result<(Script, Option<String>), String> {
    let mut fake = Fake::new(&[]);
    let mut run = Run::on(&mut fake);
    let mut items = Vec::new();
    let mut states: BTreeMap<String, State> = BTreeMap::new();
    let mut refusal = None;
    let mut go = |line: &str, states: &mut BTreeMap<String, State>| -> Result<(), String> {
        let mut step = Step::parse(line)?;
        step.replies = run.step(&step)?;
        for reply in &step.replies {
            if let Some(at) = reply.find("E ERROR 0A000 fake-pg") {
                refusal.get_or_insert_with(|| reply[at..].to_string());
            }
        }
        note(&step, states);
        items.push(Item::Step(step));
        Ok(())
    };
    for sql in setup(features) {
        go(&format!("a: Q {sql}"), &mut states)?;
    }
    for intent in &program.intents {
        if let Act::Server(deed) = intent.act {
            if intent.stubborn {
                go(&format!("server: {deed}"), &mut states)?;
            }
            continue;
        }
        let name = session(intent.session % program.sessions);
        let state = states.get(&name).copied().unwrap_or(State::New);
        if let Some(ops) = ops(intent, state) {
            go(&format!("{name}: {ops}"), &mut states)?;
        }
    }
    // Whoever can end its block does, until nobody waits; then the rows are looked at.
    for _ in 0..program.sessions {
        for name in (0..program.sessions).map(session) {
            let line = match states.get(&name) {
                Some(State::Block | State::Failed) => format!("{name}: Q commit"),
                Some(State::Unsynced) => format!("{name}: S"),
                _ => continue,
            };
            go(&line, &mut states)?;
        }
    }
    let idle = |states: &BTreeMap<String, State>| {
        let mut idle = states.iter().filter(|(_, state)| **state == State::Idle);
        idle.next().map(|(name, _)| name.clone())
    };
    if let Some(name) = idle(&states) {
        for table in tables(features) {
            let line = format!("{name}: Q select * from {table} order by 1, 2");
            go(&line, &mut states)?;
        }
    }
    let name = String::from("random/program");
    Ok((Script { name, items }, refusal))
}

fn session(number: usize) -> String {
    char::from(b'a' + number as u8).to_string()
}

/// What an intent comes to in a state.
fn ops(intent: &Intent, state: State) -> Option<String> {
    let stubborn = intent.stubborn;
    match (&intent.act, state) {
        (Act::Deed(deed), State::Waits) => Some(deed.to_string()).filter(|deed| deed != "X"),
        (_, State::Waits | State::WaitsInPipeline) | (Act::Server(_), _) => None,
        (Act::Deed(_), State::New) => None,
        (Act::Deed(deed), _) => Some(deed.to_string()).filter(|deed| stubborn && deed != "cancel"),
        (Act::Alone(ops), State::New | State::Idle) => Some(ops.clone()),
        (Act::Alone(_), _) => None,
        (Act::Begin(ops), State::New | State::Idle) => Some(ops.clone()),
        (Act::Begin(ops), _) => Some(ops.clone()).filter(|_| stubborn),
        (Act::Inside(ops), State::Block) => Some(ops.clone()),
        (Act::Inside(_), State::New | State::Idle) if !stubborn => Some(intent.begin.clone()),
        (Act::Work(_), State::New | State::Idle) if intent.opens => Some(intent.begin.clone()),
        (Act::Inside(_), State::Failed) if !stubborn => Some("Q rollback".into()),
        (Act::Inside(ops), _) => Some(ops.clone()).filter(|_| stubborn),
        (Act::Work(_), State::Failed) if !stubborn => Some("Q rollback".into()),
        (Act::Work(ops), State::Unsynced) if ops.starts_with('Q') && !stubborn => Some("S".into()),
        (Act::Work(ops), _) => Some(ops.clone()),
        (Act::End(ops), State::Block | State::Failed) => Some(ops.clone()),
        (Act::End(ops), State::Unsynced) => Some(ops.clone()).filter(|ops| ops == "S" || stubborn),
        (Act::End(ops), _) => Some(ops.clone()).filter(|ops| ops != "S" && stubborn),
    }
}

/// Learns from replies what sessions are about.
fn note(step: &Step, states: &mut BTreeMap<String, State>) {
    if step.session != "server" && step.line.contains("| H") {
        states.insert(step.session.clone(), State::Unsynced);
    }
    for reply in &step.replies {
        let (name, words) = reply.split_once("> ").unwrap_or((reply, ""));
        for word in words.split(" ; ") {
            let state = match word {
                "Z I" => State::Idle,
                "Z T" => State::Block,
                "Z E" => State::Failed,
                "(waits)" if step.session != name => continue,
                "(waits)" if step.line.contains(": Q ") => State::Waits,
                "(waits)" => State::WaitsInPipeline,
                "EOF" => State::New,
                _ => State::Unsynced,
            };
            let known = states.entry(name.to_string()).or_insert(State::New);
            if state != State::Unsynced || matches!(*known, State::Waits | State::WaitsInPipeline) {
                *known = state;
            }
        }
    }
    // The last word counts: what comes after ReadyForQuery is not asked for.
    if step.session != "server" && step.line.ends_with("| H") {
        let quiet = step
            .replies
            .iter()
            .filter(|reply| reply.starts_with(&step.session));
        let over = quiet.flat_map(|reply| reply.split(" ; ")).last();
        if !over.is_some_and(|word| word.contains("(waits)") || word.contains("EOF")) {
            states.insert(step.session.clone(), State::Unsynced);
        }
    }
}

/// The tables that are looked at in the end.
fn tables(features: &[&str]) -> Vec<&'static str> {
    if let ["skew"] = features {
        return vec!["s", "n"];
    }
    let mut tables = vec!["t", "u"];
    tables.extend(breadth::tables(|feature| features.contains(&feature)));
    tables
}
