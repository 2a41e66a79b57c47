//! What the verbs of a script do to its table.
//!
//! Who says them, and in whose turn, is the script's.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::*;
use crate::types::Datum;

/// A statement of a script, as the executor would run it.
pub(super) fn statement(
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
