//! A schema that an embedder answers for, as a stock client meets it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;

use fake_pg::connection::serve;
use fake_pg::engine::{
    Caller, Embedded, EmbeddedArg, EmbeddedFunction, EmbeddedRelation, Engine, Halt, Pid, Row,
    Timestamp,
};
use fake_pg::error::{PgError, SqlState};
use fake_pg::postmaster::Postmaster;
use fake_pg::session::Undisturbed;
use fake_pg::types::{Datum, Type};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

const DOOR: &[EmbeddedArg] = &[
    EmbeddedArg {
        name: "door",
        ty: Type::Text,
        optional: false,
    },
    EmbeddedArg {
        name: "times",
        ty: Type::Int8,
        optional: true,
    },
];

/// A house whose doors are opened, and whose guests wait for that.
#[derive(Debug, Default)]
struct House {
    open: Mutex<Vec<String>>,
    waiting: Mutex<Vec<Pid>>,
}

impl Embedded for House {
    fn schema(&self) -> &str {
        "house"
    }

    fn functions(&self) -> &[EmbeddedFunction] {
        &[
            EmbeddedFunction {
                name: "open",
                args: DOOR,
                result: Type::Int8,
            },
            EmbeddedFunction {
                name: "enter",
                args: DOOR,
                result: Type::Text,
            },
        ]
    }

    fn relations(&self) -> &[EmbeddedRelation] {
        &[EmbeddedRelation {
            name: "doors",
            columns: &[("number", Type::Int8), ("door", Type::Text)],
        }]
    }

    fn call(
        &self,
        function: usize,
        args: &[Datum],
        caller: Caller,
        engine: &mut Engine,
    ) -> Result<Datum, Halt> {
        let door = args[0].as_str().unwrap_or_default();
        let mut open = self.open.lock().unwrap();
        if function == 0 {
            for _ in 0..args[1].as_i64().unwrap_or(1) {
                open.push(door.to_owned());
            }
            for pid in self.waiting.lock().unwrap().drain(..) {
                engine.wake(pid);
            }
            return Ok(Datum::Int8(open.len() as i64));
        }
        match door {
            "wall" => Err(PgError::new(SqlState::INVALID_PARAMETER_VALUE, "a wall").into()),
            _ if open.iter().any(|known| known == door) => Ok(Datum::text(format!("in by {door}"))),
            _ => {
                self.waiting.lock().unwrap().push(caller.pid);
                Err(Halt::embedded(None))
            }
        }
    }

    fn rows(&self, _: usize, _: &Engine) -> Vec<Row> {
        let open = self.open.lock().unwrap();
        let rows = open.iter().zip(1..);
        rows.map(|(door, number)| Row::from([Datum::Int8(number), Datum::text(&**door)]))
            .collect()
    }
}

/// Runs a test with clients of a server that has the house.
fn with_clients(test: impl AsyncFn(Client, Client)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut engine = Engine::new();
        engine.embed(Arc::new(House::default()));
        let postmaster = Postmaster::new(engine, Box::new(Undisturbed), Box::new(|| Timestamp(0)));
        let postmaster = Rc::new(RefCell::new(postmaster));
        let connect = async || {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            tokio::task::spawn_local(serve(postmaster.clone(), theirs));
            let mut config = tokio_postgres::Config::new();
            let (client, connection) = config
                .user("postgres")
                .dbname("postgres")
                .connect_raw(ours, NoTls)
                .await
                .unwrap();
            tokio::task::spawn_local(connection);
            client
        };
        let (one, two) = (connect().await, connect().await);
        test(one, two).await;
    });
}

#[test]
fn its_functions_take_arguments_by_position_and_by_name() {
    with_clients(async |client, _| {
        for (call, doors) in [
            ("house.open('a')", 1),
            ("house.open('b', 2)", 3),
            ("house.open(times => 1, door => 'c')", 4),
            ("house.open('d', times := 3::smallint)", 7),
        ] {
            let row = client.query_one(&format!("select {call}"), &[]).await;
            assert_eq!(row.unwrap().get::<_, i64>(0), doors, "{call}");
        }
        let row = client
            .query_one("select house.open($1, times => $2)", &[&"e", &1i64])
            .await;
        assert_eq!(row.unwrap().get::<_, i64>(0), 8);
        let filtered = "select d.door, number from house.doors d where number > 6 order by 2 desc";
        let rows = client.query(filtered, &[]).await.unwrap();
        let rows: Vec<(&str, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(rows, [("e", 8), ("d", 7)]);
    });
}

#[test]
fn a_call_that_does_not_fit_is_told_what_there_is() {
    with_clients(async |client, _| {
        for (sql, error, hint) in [
            (
                "select house.shut('a')",
                "function house.shut() does not exist",
                "In house there are: open(door text, times bigint optional), enter(door text, times bigint optional).",
            ),
            (
                "select house.open()",
                "function house.open() does not exist",
                "There is house.open(door text, times bigint optional).",
            ),
            (
                "select house.open('a', door => 'b')",
                "function house.open(unknown, door => unknown) does not exist",
                "There is house.open(door text, times bigint optional).",
            ),
            (
                "select * from house.windows",
                "relation \"house.windows\" does not exist",
                "In house there are: doors.",
            ),
        ] {
            let failed = client.query(sql, &[]).await.unwrap_err();
            let failed = failed.as_db_error().unwrap();
            assert_eq!((failed.message(), failed.hint()), (error, Some(hint)));
        }
    });
}

#[test]
fn what_it_does_is_done_once_and_no_rollback_takes_it_back() {
    with_clients(async |client, _| {
        let script = "begin; select house.open('a'); rollback; select count(*) from house.doors";
        let messages = client.simple_query(script).await.unwrap();
        let rows: Vec<_> = messages
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0),
                _ => None,
            })
            .collect();
        assert_eq!(rows, ["1", "1"]);
    });
}

#[test]
fn a_call_waits_until_it_is_woken() {
    with_clients(async |guest, host| {
        // What the statement has done before it waits is not done again.
        let entering = guest.query_one("select house.open('a'), house.enter('b')", &[]);
        let opening = async {
            while host
                .query("select * from house.doors", &[])
                .await
                .unwrap()
                .is_empty()
            {}
            host.query_one("select house.open('b')", &[]).await.unwrap()
        };
        let (entered, _) = tokio::join!(entering, opening);
        assert_eq!(entered.unwrap().get::<_, &str>(1), "in by b");
        let doors = host.query("select * from house.doors", &[]).await.unwrap();
        assert_eq!(doors.len(), 2);
        let failed = host.query("select house.enter('wall')", &[]).await;
        assert_eq!(
            failed.unwrap_err().as_db_error().unwrap().message(),
            "a wall"
        );
    });
}
