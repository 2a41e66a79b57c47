//! The work that is measured: a server of one table, and what a session would do with a statement.

use std::hint::black_box;
use std::sync::Arc;

use bytes::BytesMut;
use fake_pg::engine::{Engine, Exec, Journal, Pid, Timestamp, TxOptions};
use fake_pg::sql::settings::Settings;
use fake_pg::sql::{self, Context, Fetch, Outcome, Prepared};
use fake_pg::types::{Datum, binary};
use fake_pg::wire::backend::{self, Presence};

/// How many rows the table has.
pub(crate) const ROWS: usize = 100;

const SCHEMA: &str = "
    create table job (id int primary key, state text not null default 'ready', body text);
    insert into job (id, body) select i, 'do what is to be done' from generate_series(1, 100) as i";

/// An engine, and the session that asks it.
pub(crate) struct Server {
    new: Engine,
    engine: Engine,
    settings: Settings,
}

/// A statement that is bound, with its parameters.
pub(crate) struct Statement {
    sql: &'static str,
    prepared: Arc<Prepared>,
    params: Vec<Datum>,
}

impl Statement {
    /// Text to tree, without a cache.
    pub(crate) fn parse(&self) {
        drop(black_box(sql::parse::parse_script(black_box(self.sql))));
    }
}

impl Server {
    pub(crate) fn new() -> Server {
        let mut new = Engine::new();
        new.load(SCHEMA).expect("the schema loads");
        Server {
            engine: new.clone(),
            new,
            settings: Settings::default(),
        }
    }

    /// Forgets all that was executed.
    pub(crate) fn renew(&mut self) {
        self.engine = self.new.clone();
    }

    pub(crate) fn prepare(&mut self, sql: &'static str, params: &[i32]) -> Statement {
        let script = sql::parse_script(sql).expect("it parses");
        let tx = self
            .engine
            .begin(Pid(1), TxOptions::default(), Timestamp(0));
        let prepared = sql::prepare(&self.engine, &tx, &script[0], &[]).expect("it is bound");
        self.engine.end_read_only(tx).expect("nothing was written");
        Statement {
            sql,
            prepared,
            params: params.iter().map(|&value| Datum::Int4(value)).collect(),
        }
    }

    /// Runs it in a transaction that is rolled back.
    pub(crate) fn execute(&mut self, statement: &Statement) -> Outcome {
        let mut tx = self
            .engine
            .begin(Pid(1), TxOptions::default(), Timestamp(0));
        let mut journal = Journal::default();
        let mut context = Context {
            exec: Exec::new(&mut self.engine, &mut tx, &mut journal, Timestamp(0)),
            settings: &mut self.settings,
            database: "postgres",
            user: "postgres",
            fetch: Fetch::default(),
        };
        let outcome = sql::execute(&statement.prepared, &statement.params, &mut context);
        context.exec.finish();
        self.engine.abort(tx);
        outcome.expect("it runs, and waits for nobody")
    }
}

/// Writes the reply.
pub(crate) fn encode(statement: &Statement, outcome: &Outcome) {
    let mut output = BytesMut::with_capacity(1 << 10);
    let columns = statement.prepared.columns().unwrap_or_default();
    for row in &outcome.rows {
        let values = row.iter().zip(columns);
        backend::data_row(&mut output, values, |(datum, column), output| {
            if datum.is_null() {
                return Presence::Null;
            }
            binary::write(column.ty, datum, output).expect("it has a binary format");
            Presence::Given
        });
    }
    backend::command_complete(&mut output, &outcome.tag.to_string());
    drop(black_box(output));
}
