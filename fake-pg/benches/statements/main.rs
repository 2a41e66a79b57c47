//! What one statement costs inside the server: parse, execute and encode apart.
//!
//! No network, no session, no simulator. *parse* is text to tree, without the cache that makes it
//! free the second time. *execute* runs the bound statement on rows that are there, in a
//! transaction of its own that is rolled back: its snapshot, its locks, its undoing included. Dead
//! versions are not what is measured: the server is as new before each batch.
//! *encode* writes the reply: every row, in binary, and CommandComplete.
//!
//! Time is CPU time; statements take turns, and each figure is the median of the rounds. Nothing is
//! asserted about it. `cargo bench --bench statements -- --quick` is a short run, good for a look.

mod work;

use std::time::Duration;

use cpu_time::ThreadTime;
use work::{Server, Statement};

/// How often the statements take turns.
const ROUNDS: usize = 5;

/// So many at a time: a look at the clock costs as much as a short statement.
const BATCH: u32 = 64;

/// What is measured: a name, the statement, its parameters.
const STATEMENTS: [(&str, &str, &[i32]); 8] = [
    ("select 1", "select 1", &[]),
    (
        "by key",
        "select id, state, body from job where id = $1",
        &[70],
    ),
    (
        "insert",
        "insert into job (id, state, body) values ($1, 'ready', 'body')",
        &[1001],
    ),
    (
        "upsert",
        "insert into job (id, state) values ($1, 'ready') on conflict (id) do update set state = excluded.state",
        &[70],
    ),
    (
        "update",
        "update job set state = 'done' where id = $1",
        &[70],
    ),
    ("delete", "delete from job where id = $1", &[70]),
    (
        "dequeue",
        "with next as (select id from job where state = 'ready' order by id limit 1 for update skip locked) update job set state = 'busy' from next where job.id = next.id returning job.id, job.body",
        &[],
    ),
    (
        "100 rows",
        "select id, state, body from job order by id",
        &[],
    ),
];

fn main() {
    let at_least = match std::env::args().any(|argument| argument == "--quick") {
        true => Duration::from_millis(2),
        false => Duration::from_millis(100),
    };
    let mut server = Server::new();
    let statements = STATEMENTS.map(|(name, sql, params)| (name, server.prepare(sql, params)));
    let mut costs = vec![[(); 3].map(|()| Vec::new()); statements.len()];
    for _ in 0..ROUNDS {
        for ((_, statement), costs) in statements.iter().zip(&mut costs) {
            let [parse, execute, encode] = measure(&mut server, statement, at_least);
            costs[0].push(parse);
            costs[1].push(execute);
            costs[2].push(encode);
        }
    }
    println!("µs per statement, on a table of {} rows", work::ROWS);
    println!("{:<12}{:>10}{:>10}{:>10}", "", "parse", "execute", "encode");
    for ((name, _), costs) in statements.iter().zip(&mut costs) {
        let [parse, execute, encode] = costs.each_mut().map(|costs| median(costs));
        println!("{name:<12}{parse:>10.2}{execute:>10.2}{encode:>10.2}");
    }
}

/// One round of one statement.
fn measure(server: &mut Server, statement: &Statement, at_least: Duration) -> [f64; 3] {
    let outcome = server.execute(statement);
    [
        micros(at_least, || (0..BATCH).for_each(|_| statement.parse())),
        micros(at_least, || {
            server.renew();
            (0..BATCH).for_each(|_| drop(server.execute(statement)));
        }),
        micros(at_least, || {
            (0..BATCH).for_each(|_| work::encode(statement, &outcome))
        }),
    ]
}

/// Repeats a batch for so much CPU time of this thread, and says how long one of it took.
fn micros(at_least: Duration, mut batch: impl FnMut()) -> f64 {
    let started = ThreadTime::now();
    let mut times = 0;
    loop {
        batch();
        times += BATCH;
        let elapsed = started.elapsed();
        if elapsed >= at_least {
            return elapsed.as_secs_f64() * 1e6 / f64::from(times);
        }
    }
}

fn median(costs: &mut [f64]) -> f64 {
    costs.sort_by(f64::total_cmp);
    costs[costs.len() / 2]
}
