//! Scripts for tests: sessions that take turns over one table, and what each of them gets.
//!
//! ```text
//! a begin
//! a insert 1 x -> inserted
//! b insert 1 y -> waits
//! a abort      -> rolled back; b: inserted
//! ```
//!
//! The table is `t (id integer primary key, v text)`. A statement outside a block commits by itself.
//! [`check`] runs what stands before the arrows and compares what it gives with what stands behind.

mod statement;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::types::Type;
use statement::statement;

/// A column without frills.
pub(super) fn column(name: &str, ty: Type) -> Column {
    Column {
        name: name.into(),
        ty,
        typmod: -1,
        not_null: false,
        default: None,
        identity: None,
        dropped: false,
    }
}

/// A primary key on the first column.
pub(super) fn primary_key(name: &str) -> Arc<Index> {
    let name = name.into();
    Arc::new(Index {
        id: TableId(0),
        name,
        columns: vec![0],
        unique: true,
        primary: true,
        constraint: true,
        ..Index::default()
    })
}

/// An engine as installed, with table `t` and sequence `s`.
pub(super) fn engine() -> Engine {
    let mut world = World::new(Engine::new());
    world.statement(Pid(0), |exec| {
        let mut table = Table::new("t");
        table.columns = vec![column("id", Type::Int4), column("v", Type::Text)];
        table.indexes = vec![primary_key("t_pkey")];
        exec.create_table(table)?;
        exec.create_sequence(Sequence::serial("s", Type::Int8))?;
        Ok(String::new())
    });
    world.engine.checkpoint_as_installed();
    world.engine
}

/// Runs a script and compares.
#[track_caller]
pub(super) fn check(script: &str) {
    check_on(engine(), script);
}

/// The same on an engine of one's own.
#[track_caller]
pub(super) fn check_on(engine: Engine, script: &str) {
    let mut world = World::new(engine);
    let lines = script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let (mut expected, mut found) = (String::new(), String::new());
    for line in lines {
        let (command, result) = line.split_once("->").unwrap_or((line, ""));
        let command = command.trim();
        expected += &format!("{command} -> {}\n", result.trim());
        let given = world.run(command);
        // What is not asked for is not shown, unless it is an error.
        let shown = !result.is_empty() || given.contains("ERROR") || given.contains("; ");
        found += &format!("{command} -> {}\n", if shown { &given } else { "" });
    }
    assert_eq!(found, expected, "found (left), expected (right):\n{found}");
}

/// A statement that is executed again until it is done.
type Statement = Arc<dyn Fn(&mut Exec<'_>) -> Result<String, Halt>>;

/// Sessions over an engine.
pub(super) struct World {
    pub(super) engine: Engine,
    now: Timestamp,
    sessions: BTreeMap<Pid, Session>,
}

#[derive(Default)]
struct Session {
    tx: Option<Transaction>,
    in_block: bool,
    waiting: Option<(Statement, Journal, Option<Timestamp>)>,
    commit: Option<CommitMachine>,
}

impl World {
    pub(super) fn new(engine: Engine) -> Self {
        World {
            engine,
            now: Timestamp(0),
            sessions: BTreeMap::new(),
        }
    }

    /// Whether a session of that name is in the middle of a statement.
    pub(super) fn is_waiting(&mut self, who: &str) -> bool {
        self.session(pid(who)).waiting.is_some()
    }

    /// Whether a session of that name is in a block.
    pub(super) fn is_in_block(&mut self, who: &str) -> bool {
        let session = self.session(pid(who));
        session.in_block && session.tx.is_some()
    }

    /// Runs one line and whatever it wakes, and says what came of it.
    pub(super) fn run(&mut self, command: &str) -> String {
        let mut words = command.split_whitespace();
        let who = words.next().expect("a script line begins with a session");
        let words: Vec<&str> = words.collect();
        let mut said = vec![match who {
            "checkpoint" => {
                self.engine.checkpoint();
                String::new()
            }
            "crash" => self.restart(|engine| engine.crash()),
            "promote-without" => {
                let number = CommitNumber(words[0].parse().expect("a number"));
                self.restart(|engine| engine.promote_without(number))
            }
            "sleep" => {
                self.now = self
                    .now
                    .after(Duration::from_millis(words[0].parse().expect("ms")));
                String::new()
            }
            _ => self.act(pid(who), words[0], &words[1..]),
        }];
        while let Some(pid) = self.next_runnable() {
            if let Some((statement, journal, _)) = self.session(pid).waiting.take() {
                let result = self.attempt(pid, statement, journal);
                if result != "waits" {
                    said.push(format!("{}: {result}", name(pid)));
                }
            }
        }
        said.retain(|said| !said.is_empty());
        said.join("; ")
    }

    /// Who was woken, else whose deadline has passed.
    fn next_runnable(&mut self) -> Option<Pid> {
        let woken = self.engine.take_wakeups();
        for &pid in woken.iter().skip(1) {
            self.engine.wakeups.push(pid);
        }
        let now = self.now;
        let due = |session: &Session| {
            let deadline = session.waiting.as_ref().and_then(|waiting| waiting.2);
            deadline.is_some_and(|deadline| deadline <= now)
        };
        let late = || {
            self.sessions
                .iter()
                .find(|(_, session)| due(session))
                .map(|(pid, _)| *pid)
        };
        woken.first().copied().or_else(late)
    }

    fn restart(&mut self, how: impl FnOnce(&mut Engine) -> Recovery) -> String {
        self.sessions.clear();
        let Recovery {
            lost, completed, ..
        } = how(&mut self.engine);
        let list = |numbers: Vec<CommitNumber>| {
            numbers
                .iter()
                .map(|number| number.to_string())
                .collect::<Vec<_>>()
                .join(",")
        };
        let mut said = Vec::new();
        if !lost.is_empty() {
            said.push(format!("lost {}", list(lost)));
        }
        if !completed.is_empty() {
            said.push(format!("completed {}", list(completed)));
        }
        said.join(", ")
    }

    fn act(&mut self, pid: Pid, verb: &str, words: &[&str]) -> String {
        assert!(
            self.session(pid).waiting.is_none() || verb == "cancel",
            "{verb} while it waits"
        );
        match verb {
            "begin" => {
                let mut options = TxOptions::default();
                if words == ["rr"] {
                    options.isolation = Isolation::RepeatableRead;
                }
                let mut tx = self.engine.begin(pid, options, self.now);
                if let [timeout] = words
                    && let Ok(millis) = timeout.parse()
                {
                    tx.timeouts.lock = Some(Duration::from_millis(millis));
                }
                let session = self.session(pid);
                (session.tx, session.in_block) = (Some(tx), true);
                String::new()
            }
            "commit" => self.commit(pid, words),
            "step" => self.step(pid, words.first().copied()),
            "abort" => {
                let tx = self.take_tx(pid);
                self.engine.abort(tx);
                "rolled back".into()
            }
            "cancel" => {
                self.session(pid).waiting = None;
                self.fail(pid, PgError::query_canceled())
            }
            "end" => {
                self.engine.end_session(pid);
                String::new()
            }
            "savepoint" | "release" | "rollback-to" => {
                let mut tx = self.session(pid).tx.take().expect("in a block");
                let done = match verb {
                    "savepoint" => {
                        self.engine.savepoint(&mut tx, words[0]);
                        Ok(())
                    }
                    "release" => self.engine.release(&mut tx, words[0]),
                    _ => self.engine.rollback_to(&mut tx, words[0]),
                };
                self.session(pid).tx = Some(tx);
                done.map_or_else(|error| self.fail(pid, error), |()| String::new())
            }
            _ => self.statement(pid, statement(verb, words)),
        }
    }

    fn commit(&mut self, pid: Pid, words: &[&str]) -> String {
        let tx = self.take_tx(pid);
        if tx.has_failed() {
            self.engine.abort(tx);
            return "rolled back".into();
        }
        let durability = match words.first() {
            Some(&"async") => Durability::Asynchronous,
            _ => Durability::Synchronous,
        };
        let kind = if words.contains(&"at-sync") {
            CommitKind::Sync
        } else {
            CommitKind::Explicit
        };
        let machine = CommitMachine::new(&mut self.engine, tx, kind, durability);
        self.session(pid).commit = Some(machine);
        match words {
            ["to", point] => self.step(pid, Some(point)),
            ["async", "unflushed"] => self.step(pid, Some("ready")),
            _ => self.step(pid, None),
        }
    }

    /// Steps a commit up to a point, or to its end, and says which points it passed.
    fn step(&mut self, pid: Pid, until: Option<&str>) -> String {
        let mut machine = self.session(pid).commit.take().expect("a commit under way");
        let mut passed = Vec::new();
        while let Some(point) = machine
            .step(&mut self.engine, self.now)
            .expect("nothing deferred")
        {
            passed.push(point.name());
            if until == Some(point.name()) {
                self.session(pid).commit = Some(machine);
                break;
            }
        }
        passed.join(" ")
    }

    pub(super) fn statement(
        &mut self,
        pid: Pid,
        run: impl Fn(&mut Exec<'_>) -> Result<String, Halt> + 'static,
    ) -> String {
        if self.session(pid).tx.is_none() {
            let tx = self.engine.begin(pid, TxOptions::default(), self.now);
            let session = self.session(pid);
            (session.tx, session.in_block) = (Some(tx), false);
        }
        if self
            .session(pid)
            .tx
            .as_ref()
            .expect("just begun")
            .has_failed()
        {
            return PgError::in_failed_transaction().to_string();
        }
        self.attempt(pid, Arc::new(run), Journal::default())
    }

    fn attempt(&mut self, pid: Pid, statement: Statement, mut journal: Journal) -> String {
        let now = self.now;
        let mut tx = self
            .session(pid)
            .tx
            .take()
            .expect("a statement has a transaction");
        let mut execute = || {
            let mut exec = Exec::new(&mut self.engine, &mut tx, &mut journal, now);
            let result = statement(&mut exec);
            match result {
                Ok(_) => exec.finish(),
                Err(Halt::Wait(_)) => exec.suspend(),
                Err(Halt::Error(_)) => {}
            }
            result
        };
        let mut result = execute();
        if let Err(Halt::Wait(_)) = result {
            // To be woken early is harmless, so every wait is.
            let again = execute();
            assert_eq!(again, result, "executed again at once");
            result = again;
        }
        self.session(pid).tx = Some(tx);
        match result {
            Ok(said) => {
                if !self.session(pid).in_block {
                    let tx = self.take_tx(pid);
                    match tx.has_effects() {
                        true => drop(self.engine.commit(tx, now).expect("nothing deferred")),
                        false => self
                            .engine
                            .end_read_only(tx)
                            .expect("nobody is serializable"),
                    }
                }
                let notices = journal.notices.iter().map(|notice| format!(" [{notice}]"));
                said + &notices.collect::<String>()
            }
            Err(Halt::Wait(wait)) => {
                self.session(pid).waiting = Some((statement, journal, wait.deadline));
                "waits".into()
            }
            Err(Halt::Error(error)) => self.fail(pid, error),
        }
    }

    fn fail(&mut self, pid: Pid, error: PgError) -> String {
        let mut tx = self.take_tx(pid);
        if self.session(pid).in_block {
            self.engine.fail(&mut tx);
            self.session(pid).tx = Some(tx);
        } else {
            self.engine.abort(tx);
        }
        error.to_string().replace('\n', " ")
    }

    fn session(&mut self, pid: Pid) -> &mut Session {
        self.sessions.entry(pid).or_default()
    }

    fn take_tx(&mut self, pid: Pid) -> Transaction {
        self.session(pid).tx.take().expect("a transaction")
    }
}

/// Session `a` is process 1.
fn pid(name: &str) -> Pid {
    Pid(i32::from(name.as_bytes()[0] - b'a') + 1)
}

fn name(pid: Pid) -> char {
    char::from(b'a' + pid.0 as u8 - 1)
}
