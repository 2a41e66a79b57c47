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

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::types::{Datum, Type};

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

/// A statement of a script, as the executor would run it.
fn statement(
    verb: &str,
    words: &[&str],
) -> impl Fn(&mut Exec<'_>) -> Result<String, Halt> + 'static {
    let verb = verb.to_string();
    let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
    move |exec| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let number = |place: usize| words[place].parse::<i64>().expect("a number");
        let table = exec.catalog().table(exec.path(), "t");
        let table = table.ok_or_else(|| PgError::undefined_table("t"))?;
        let mode = match verb.as_str() {
            "select" | "find" => Some(LockMode::AccessShare),
            "lock" => Some(LockMode::RowShare),
            "insert" | "insert-or-skip" | "update" | "append" | "delete" => {
                Some(LockMode::RowExclusive)
            }
            _ => None,
        };
        if let Some(mode) = mode {
            exec.lock_table(&table, mode, false)?;
        }
        match verb.as_str() {
            "insert" => exec.insert(&table, row(&words)).map(|_| "inserted".into()),
            "insert-or-skip" => match exec.insert_unless_conflict(&table, row(&words), &[])? {
                Inserted::New(_) => Ok("inserted".into()),
                Inserted::Conflict(tid) => {
                    exec.refuse_invisible(&table, tid)?;
                    Ok("skipped".into())
                }
            },
            // update OLD-ID NEW-ID V | append ID V
            "update" => change(exec, &table, |id, _| {
                (id == number(0)).then(|| row(&words[1..]))
            }),
            "append" => change(exec, &table, |id, v| {
                let v = format!("{v}{}", words[1]);
                (id == number(0)).then(|| row(&[words[0], &v]))
            }),
            "delete" => {
                let mut count = 0;
                for (tid, _) in rows(exec, &table, |id, _| id == number(0)) {
                    let mut tid = tid;
                    count += loop {
                        match exec.delete(&table, tid)? {
                            Found::Here(_) => break 1,
                            Found::Moved(newest) if key(exec.row(&table, newest)) == number(0) => {
                                tid = newest
                            }
                            _ => break 0,
                        }
                    };
                }
                Ok(format!("deleted {count}"))
            }
            // lock STRENGTH POLICY [ID]
            "lock" => lock(
                exec,
                &table,
                words[0],
                words[1],
                words.get(2).map(|_| number(2)),
            ),
            "select" => {
                let rows = rows(exec, &table, |_, _| true);
                let shown: Vec<String> = rows.iter().map(|(_, row)| show(row)).collect();
                Ok(shown.join(" "))
            }
            "find" => {
                let found = exec.lookup(&table, 0, &Key::One(Datum::Int4(number(0) as i32)));
                Ok(found.map_or("none".into(), |(_, row)| show(row)))
            }
            "vacuum" => exec.vacuum(&table, false).map(|()| "vacuumed".into()),
            "truncate" => exec.truncate(&table).map(|()| "truncated".into()),
            "drop" => exec.drop_table(&table).map(|()| "dropped".into()),
            "unique" => {
                let index = Index {
                    id: TableId(0),
                    name: "t_v".into(),
                    columns: vec![1],
                    unique: true,
                    ..Index::default()
                };
                exec.create_index(&table, index).map(|()| "indexed".into())
            }
            "nextval" => {
                let mut sequences = exec.catalog().sequences();
                let sequence = sequences.next().expect("it was created").clone();
                drop(sequences);
                Ok(exec.nextval(&sequence)?.to_string())
            }
            "xid" => Ok(if exec.tx.top_xid().is_some() {
                "some"
            } else {
                "none"
            }
            .into()),
            "message" => exec
                .emit_message(true, "m", words[0])
                .map(|_| "sent".into()),
            // nap MS, then a time that must not change when executed again
            "nap" => {
                exec.sleep(Duration::from_millis(number(0) as u64))?;
                let now = exec.datum(|exec| Ok(Datum::Timestamptz(exec.now)))?;
                Ok(now.to_string())
            }
            "advisory" => advisory(exec, words[0], number(1)),
            other => panic!("no such verb: {other}"),
        }
    }
}

fn row(words: &[&str]) -> Row {
    let id = words[0].parse().expect("a number");
    Arc::new([Datum::Int4(id), Datum::text(words[1])])
}

fn key(row: &Row) -> i64 {
    row[0].as_i64().expect("the key is an integer")
}

fn show(row: &Row) -> String {
    format!("{}={}", row[0], row[1])
}

fn rows(exec: &Exec<'_>, table: &Table, wanted: impl Fn(i64, &str) -> bool) -> Vec<(Tid, Row)> {
    let rows = exec.scan(table).map(|(tid, row)| (tid, row.clone()));
    rows.filter(|(_, row)| wanted(key(row), row[1].as_str().expect("text")))
        .collect()
}

/// UPDATE: `new` gives the new row if the old one qualifies, and is asked again for a moved one.
fn change(
    exec: &mut Exec<'_>,
    table: &Table,
    new: impl Fn(i64, &str) -> Option<Row>,
) -> Result<String, Halt> {
    let new = |row: &Row| new(key(row), row[1].as_str().expect("text"));
    let mut count = 0;
    for (mut tid, mut old) in rows(exec, table, |_, _| true) {
        while let Some(row) = new(&old) {
            match exec.update(table, tid, row)? {
                Found::Moved(newest) => (tid, old) = (newest, exec.row(table, newest).clone()),
                Found::Here(_) => {
                    count += 1;
                    break;
                }
                _ => break,
            }
        }
    }
    Ok(format!("updated {count}"))
}

fn lock(
    exec: &mut Exec<'_>,
    table: &Table,
    strength: &str,
    policy: &str,
    id: Option<i64>,
) -> Result<String, Halt> {
    let strength = match strength {
        "key-share" => LockStrength::KeyShare,
        "share" => LockStrength::Share,
        "no-key-update" => LockStrength::NoKeyUpdate,
        "update" => LockStrength::Update,
        other => panic!("no such strength: {other}"),
    };
    let policy = match policy {
        "block" => WaitPolicy::Block,
        "skip" => WaitPolicy::Skip,
        "nowait" => WaitPolicy::Error,
        other => panic!("no such policy: {other}"),
    };
    let mut locked = Vec::new();
    for (tid, row) in rows(exec, table, |key, _| id.is_none_or(|id| id == key)) {
        match exec.lock(table, tid, strength, policy)? {
            Found::Here(_) => locked.push(show(&row)),
            Found::Moved(newest) => locked.push(format!("{} again", show(exec.row(table, newest)))),
            Found::Gone | Found::Mine | Found::Skipped => {}
        }
    }
    Ok(format!("locked {}", locked.join(" "))
        .trim_end()
        .to_string())
}

fn advisory(exec: &mut Exec<'_>, what: &str, key: i64) -> Result<String, Halt> {
    let key = AdvisoryKey::One(key);
    let mode = LockMode::Exclusive;
    let mut locked = |mode, scope| {
        let locked = exec.advisory_lock(key, mode, scope);
        locked.map(|()| "locked".into())
    };
    match what {
        "lock" => locked(mode, AdvisoryScope::Session),
        "share" => locked(LockMode::Share, AdvisoryScope::Session),
        "xact" => locked(mode, AdvisoryScope::Transaction),
        "try" => exec
            .try_advisory_lock(key, mode, AdvisoryScope::Session)
            .map(|got| got.to_string()),
        "unlock" => exec.advisory_unlock(key, mode).map(|held| held.to_string()),
        other => panic!("no such deed: {other}"),
    }
}
