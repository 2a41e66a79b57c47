//! Random programs of several sessions over a few rows.
//!
//! A program is drawn as intents and becomes a script while fake-pg runs it: what makes no sense
//! in a session's state, such as sending to one that waits, is left out or becomes a ROLLBACK.
//! Most programs are in the middle of something most of the time; that is what makes them worth
//! running.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::breadth;

/// A program before anybody has run it.
#[derive(Debug, Clone)]
pub struct Program {
    /// How many sessions take part.
    pub sessions: usize,
    /// Who does what, in order.
    pub intents: Vec<Intent>,
}

/// What a session is to do next.
#[derive(Debug, Clone)]
pub struct Intent {
    /// Which session, modulo their number.
    pub session: usize,
    /// What it does.
    pub act: Act,
    /// How it opens a block first, if it needs one.
    pub begin: String,
    /// Opens one even for what could do without.
    pub opens: bool,
    /// Does it even where it makes little sense.
    pub stubborn: bool,
}

/// What is done, by when it makes sense.
#[derive(Debug, Clone)]
pub enum Act {
    /// Opens a block: outside of one.
    Begin(String),
    /// Within a block; in a failed one it is replaced by ROLLBACK.
    Inside(String),
    /// Outside of blocks.
    Alone(String),
    /// Anywhere; in a failed block it is replaced by ROLLBACK.
    Work(String),
    /// Ends a block, or a part of it.
    End(String),
    /// Done to a session, whatever it is about: `cancel`, `fin` …
    Deed(&'static str),
    /// Done to the server, seldom.
    Server(&'static str),
}

/// What programs may use, besides what is in `breadth`. Each is on once fake-pg has it.
pub const FEATURES: &[&str] = &[
    "rows",
    "locks",
    "conflict",
    "savepoints",
    "levels",
    "serializable",
    "advisory",
    "pipelines",
    "signals",
    "functions",
    "sequences",
    "foreign keys",
    "deferred",
    "table locks",
    "two-phase",
    "notify",
];

/// What there is before a program begins.
pub fn setup(features: &[&str]) -> Vec<String> {
    let mut setup = vec![
        "create table t (id int primary key, v int); \
         insert into t values (1, 10), (2, 20), (3, 30)",
        "create table u (id serial primary key, k int unique, n int not null default 0); \
         insert into u (k) values (1), (2)",
    ];
    if features.contains(&"foreign keys") {
        setup.push(
            "create table r (id int primary key, t int references t, \
             d int references t on delete cascade deferrable initially deferred); \
             insert into r values (1, 1, 1)",
        );
    }
    if features.contains(&"deferred") {
        setup.push(
            "create table d (id int primary key, k int unique deferrable initially deferred); \
             insert into d values (1, 1), (2, 2)",
        );
    }
    if features.contains(&"sequences") {
        setup.push("create sequence q");
    }
    if features == ["skew"] {
        setup.extend(crate::skew::SETUP);
    }
    setup.extend(breadth::setup(|feature| features.contains(&feature)));
    setup.into_iter().map(String::from).collect()
}

/// Programs of two to four sessions.
pub fn programs(features: &[&str]) -> BoxedStrategy<Program> {
    if features == ["skew"] {
        return crate::skew::programs();
    }
    let on = |feature: &str| features.contains(&feature);
    let begin = begin(on("levels"), on("serializable"));
    let opens = prop::bool::weighted(0.6);
    let stubborn = prop::bool::weighted(0.08);
    let intent = (0..4_usize, act(features), begin, opens, stubborn);
    let intent = intent.prop_map(|(session, act, begin, opens, stubborn)| Intent {
        session,
        act,
        begin,
        opens,
        stubborn,
    });
    let programs = (2..=4_usize, vec(intent, 10..=60));
    programs
        .prop_map(|(sessions, intents)| Program { sessions, intents })
        .boxed()
}

fn act(features: &[&str]) -> BoxedStrategy<Act> {
    let on = |feature: &str| features.contains(&feature);
    let statement = statement(features);
    let mut acts: Vec<(u32, BoxedStrategy<Act>)> = vec![
        (
            5,
            statement
                .clone()
                .prop_map(|sql| Act::Work(format!("Q {sql}")))
                .boxed(),
        ),
        (
            3,
            begin(on("levels"), on("serializable"))
                .prop_map(Act::Begin)
                .boxed(),
        ),
        (
            16,
            statement
                .clone()
                .prop_map(|sql| Act::Inside(format!("Q {sql}")))
                .boxed(),
        ),
        (
            4,
            words(&["Q commit", "Q rollback", "Q commit", "Q end"])
                .prop_map(Act::End)
                .boxed(),
        ),
        (
            1,
            vec(statement.clone(), 2..=3)
                .prop_map(|all| Act::Work(format!("Q {}", all.join("; "))))
                .boxed(),
        ),
    ];
    // Rows that everybody wants.
    let hot = (1..=3_i32, 1..9_i32)
        .prop_map(|(id, n)| format!("Q update t set v = v + {n} where id = {id}"));
    acts.push((8, hot.prop_map(Act::Inside).boxed()));
    if on("savepoints") {
        let marks = [
            "Q savepoint s",
            "Q savepoint r",
            "Q release s",
            "Q release r",
        ];
        acts.push((3, words(&marks).prop_map(Act::Inside).boxed()));
        let back = ["Q rollback to s", "Q rollback to r"];
        acts.push((2, words(&back).prop_map(Act::End).boxed()));
    }
    if on("pipelines") {
        let extended = statement.clone().prop_map(|sql| format!("ext {sql}"));
        let ends = words(&["ext commit", "ext begin", "ext select 1/0", "S", "H"]);
        let part = prop_oneof![6 => extended, 1 => ends];
        let pipeline = vec(part, 1..=4).prop_map(|parts| format!("{} | S", parts.join(" | ")));
        acts.push((4, pipeline.prop_map(Act::Work).boxed()));
        let left_open = statement.clone().prop_map(|sql| format!("ext {sql} | H"));
        acts.push((1, left_open.prop_map(Act::Work).boxed()));
        acts.push((1, Just(Act::End("S".into())).boxed()));
        let bound = (row(), -3..9_i32).prop_map(|(id, v)| {
            format!("P update t set v = v + $1 where id = $2 returning id, v | B / {v} {id} | D P  | E | S")
        });
        acts.push((1, bound.prop_map(Act::Work).boxed()));
    }
    if on("signals") {
        acts.push((
            2,
            select(vec!["cancel", "cancel", "fin", "terminate", "X"])
                .prop_map(Act::Deed)
                .boxed(),
        ));
    }
    if on("notify") {
        let words_of = [
            "Q listen x",
            "Q listen x",
            "Q notify x",
            "Q notify x, 'one'",
            "Q unlisten x",
            "Q notify y, 'two'",
            "Q listen y",
            "Q select pg_notify('x', 'three')",
            "Q unlisten *",
        ];
        acts.push((3, words(&words_of).prop_map(Act::Work).boxed()));
    }
    if on("two-phase") {
        acts.push((
            2,
            words(&["Q prepare transaction 'g'", "Q prepare transaction 'h'"])
                .prop_map(Act::End)
                .boxed(),
        ));
        let ends = [
            "Q commit prepared 'g'",
            "Q rollback prepared 'g'",
            "Q commit prepared 'h'",
            "Q rollback prepared 'h'",
        ];
        acts.push((2, words(&ends).prop_map(Act::Work).boxed()));
    }
    if on("table locks") {
        let lock = (
            select(vec!["t", "u"]),
            select(vec![
                "access share",
                "row share",
                "row exclusive",
                "share update exclusive",
                "share",
                "share row exclusive",
                "exclusive",
                "access exclusive",
            ]),
            select(vec!["", "", " nowait"]),
        );
        let lock = lock
            .prop_map(|(table, mode, wait)| format!("Q lock table {table} in {mode} mode{wait}"));
        acts.push((2, lock.prop_map(Act::Inside).boxed()));
        acts.push((
            1,
            words(&[
                "Q truncate t",
                "Q truncate u",
                "Q alter table u add column x int",
            ])
            .prop_map(Act::Work)
            .boxed(),
        ));
        // Rolled back, it would leave the size of the table behind, for those who had not yet looked:
        // which plans there are then, fake-pg does not know.
        let index = Just(Act::Alone("Q create index on t (v)".into()));
        acts.push((1, index.boxed()));
    }
    if on("deferred") {
        let set = [
            "Q set constraints all immediate",
            "Q set constraints all deferred",
        ];
        acts.push((1, words(&set).prop_map(Act::Inside).boxed()));
    }
    acts.extend(breadth::acts(on));
    proptest::strategy::Union::new_weighted(acts).boxed()
}

fn begin(levels: bool, serializable: bool) -> BoxedStrategy<String> {
    let mut begins = vec![
        (12, "Q begin"),
        (2, "Q start transaction"),
        (1, "Q begin read only"),
    ];
    if levels {
        begins.push((7, "Q begin isolation level repeatable read"));
        begins.push((1, "Q begin isolation level repeatable read, read only"));
    }
    if serializable {
        begins.push((9, "Q begin isolation level serializable"));
        begins.push((1, "Q begin isolation level serializable, read only"));
    }
    let begins = begins.into_iter();
    let begins = begins.map(|(weight, sql)| (weight, Just(sql.to_string())));
    proptest::strategy::Union::new_weighted(begins.collect()).boxed()
}

pub(crate) fn row() -> impl Strategy<Value = i32> + Clone {
    prop_oneof![6 => 1..=3_i32, 1 => 4..=5_i32]
}

pub(crate) fn words(all: &[&'static str]) -> BoxedStrategy<String> {
    select(all.to_vec()).prop_map(String::from).boxed()
}

/// Which rows of `t`, found by all sorts of plans: the order of rows is the plan's.
pub(crate) fn condition() -> BoxedStrategy<String> {
    prop_oneof![
        5 => row().prop_map(|id| format!(" where id = {id}")),
        1 => row().prop_map(|id| format!(" where id + 0 <= {id}")),
        1 => row().prop_map(|id| format!(" where id + 0 > {id}")),
        2 => (0..60_i32).prop_map(|v| format!(" where v > {v}")),
        1 => (row(), row()).prop_map(|(a, b)| format!(" where id + 0 in ({a}, {b})")),
        1 => (row(), select(vec!["<=", ">", ">="])).prop_map(|(id, than)| format!(" where id {than} {id}")),
        1 => (row(), row()).prop_map(|(a, b)| format!(" where id in ({a}, {b})")),
        1 => (2..4_i32).prop_map(|n| format!(" where v % {n} = 0")),
        1 => Just(String::new()),
    ]
    .boxed()
}

fn statement(features: &[&str]) -> BoxedStrategy<String> {
    let on = |feature: &str| features.contains(&feature);
    let set = prop_oneof![
        9 => (-5..20_i32).prop_map(|n| format!("v = v + {n}")),
        3 => (0..50_i32).prop_map(|n| format!("v = {n}")),
        1 => row().prop_map(|n| format!("id = id + {n}")),
        1 => Just("v = v / (v - 20)".to_string()),
    ];
    let returning = words(&["", "", " returning id, v"]);
    let mut all: Vec<(u32, BoxedStrategy<String>)> = vec![
        (8, (set, condition(), returning.clone()).prop_map(|(set, on, back)| format!("update t set {set}{on}{back}")).boxed()),
        (3, (condition(), returning.clone()).prop_map(|(on, back)| format!("delete from t{on}{back}")).boxed()),
        (4, (row(), 0..50_i32, returning.clone()).prop_map(|(id, v, back)| format!("insert into t values ({id}, {v}){back}")).boxed()),
        (3, condition().prop_map(|on| format!("select id, v from t{on} order by id")).boxed()),
        (1, condition().prop_map(|on| format!("select id, v from t{on}")).boxed()),
        (1, condition().prop_map(|on| format!("select count(*), sum(v) from t{on}")).boxed()),
        (2, (1..4_i32).prop_map(|k| format!("insert into u (k) values ({k}) returning id")).boxed()),
        (1, (1..4_i32, 1..4_i32).prop_map(|(k, to)| format!("update u set k = {to} where k = {k}")).boxed()),
        (1, (1..4_i32).prop_map(|k| format!("delete from u where k = {k}")).boxed()),
        (1, words(&["select 1/0", "insert into t values (null, 1)", "insert into t values (9, 1), (9, 2)", "select nope",
            "insert into u (k, n) values (7, null)"]).boxed()),
        (1, (row(), -3..9_i32).prop_map(|(id, n)| format!(
            "with w as (update t set v = v + {n} where id = {id} returning v) select v from w")).boxed()),
        (1, (row(), row()).prop_map(|(id, n)| format!(
            "update t set v = t.v + u.n + {n} from u where u.k = t.id and t.id = {id}")).boxed()),
    ];
    if on("locks") {
        let strength = select(vec!["update", "no key update", "share", "key share"]);
        let wait = select(vec!["", "", " nowait", " skip locked"]);
        let limit = select(vec!["", "", " limit 1", " limit 2"]);
        let lock = (condition(), limit, strength, wait);
        all.push((
            6,
            lock.prop_map(|(on, limit, strength, wait)| {
                format!("select id, v from t{on} order by id{limit} for {strength}{wait}")
            })
            .boxed(),
        ));
        let next = "update u set n = n + 1 where id = (select id from u order by id limit 1 for update skip locked) returning id, n";
        all.push((1, Just(next.to_string()).boxed()));
    }
    if on("conflict") {
        let action = words(&[
            "do nothing",
            "(id) do nothing",
            "(id) do update set v = t.v + excluded.v",
            "(id) do update set v = excluded.v where t.v < 25",
        ]);
        all.push((
            3,
            (row(), 0..50_i32, action, returning.clone())
                .prop_map(|(id, v, action, back)| {
                    format!("insert into t values ({id}, {v}) on conflict {action}{back}")
                })
                .boxed(),
        ));
        all.push((1, (1..4_i32).prop_map(|k| format!(
            "insert into u (k) values ({k}) on conflict (k) do update set n = u.n + 1 returning id, n")).boxed()));
    }
    if on("advisory") {
        let lock = [
            "pg_advisory_lock(1)",
            "pg_advisory_lock(2)",
            "pg_advisory_lock_shared(1)",
            "pg_advisory_xact_lock(1)",
            "pg_advisory_xact_lock(2)",
            "pg_advisory_xact_lock_shared(2)",
            "pg_try_advisory_lock(1)",
            "pg_try_advisory_xact_lock(2)",
            "pg_advisory_unlock(1)",
            "pg_advisory_unlock(2)",
            "pg_advisory_unlock_shared(1)",
            "pg_advisory_unlock_all()",
            "pg_advisory_lock(0, 1)",
            "pg_advisory_unlock(0, 1)",
        ];
        all.push((
            3,
            words(&lock)
                .prop_map(|lock| format!("select {lock}"))
                .boxed(),
        ));
    }
    if on("functions") {
        all.push((
            1,
            words(&[
                "select pg_current_xact_id_if_assigned() is null",
                "select pg_backend_pid() = 0",
                "show transaction_isolation",
                "show transaction_read_only",
            ])
            .boxed(),
        ));
    }
    if on("sequences") {
        all.push((
            1,
            words(&[
                "select nextval('q')",
                "select currval('q')",
                "select lastval()",
            ])
            .boxed(),
        ));
    }
    if on("foreign keys") {
        all.push((
            3,
            (1..4_i32, row(), row())
                .prop_map(|(id, t, d)| format!("insert into r values ({id}, {t}, {d})"))
                .boxed(),
        ));
        all.push((
            1,
            (1..4_i32, row())
                .prop_map(|(id, t)| format!("update r set t = {t} where id = {id}"))
                .boxed(),
        ));
        all.push((
            1,
            (1..4_i32)
                .prop_map(|id| format!("delete from r where id = {id}"))
                .boxed(),
        ));
        all.push((
            1,
            Just("select id, t, d from r order by id".to_string()).boxed(),
        ));
    }
    if on("deferred") {
        all.push((
            1,
            (1..4_i32, 1..4_i32)
                .prop_map(|(id, k)| format!("insert into d values ({id}, {k})"))
                .boxed(),
        ));
        all.push((
            2,
            (1..4_i32)
                .prop_map(|k| format!("update d set k = k + {k}"))
                .boxed(),
        ));
        all.push((
            1,
            (1..4_i32, 1..4_i32)
                .prop_map(|(id, k)| format!("update d set k = {k} where id = {id}"))
                .boxed(),
        ));
        all.push((
            1,
            (1..4_i32)
                .prop_map(|id| format!("delete from d where id = {id}"))
                .boxed(),
        ));
    }
    all.extend(breadth::statements(on));
    proptest::strategy::Union::new_weighted(all).boxed()
}
