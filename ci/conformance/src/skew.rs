//! Random programs of serializable transactions, on tables that are read by every kind of path.
//!
//! Who reads what by which path decides who fails, so there are an index that is unique, one that is
//! not, and none. Statements are few: what matters is how transactions overlap.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::program::{Act, Intent, Program};

/// What there is before a program begins.
pub const SETUP: &[&str] = &[
    "create table s (id int primary key, g int, v int)",
    "create index on s (g)",
    "insert into s values (1, 1, 1), (2, 1, 2), (3, 2, 3), (4, 2, 4)",
    "create table n (a int, b int)",
    "insert into n values (1, 1), (2, 2)",
];

/// Programs of two or three sessions.
pub fn programs() -> BoxedStrategy<Program> {
    let intent = (0..3_usize, act(), begin(), prop::bool::weighted(0.03));
    let intent = intent.prop_map(|(session, act, begin, stubborn)| Intent {
        session,
        act,
        begin: format!("Q {begin}"),
        opens: false,
        stubborn,
    });
    (2..=3_usize, vec(intent, 8..=28))
        .prop_map(|(sessions, intents)| Program { sessions, intents })
        .boxed()
}

fn act() -> BoxedStrategy<Act> {
    prop_oneof![
        14 => statement().prop_map(|sql| Act::Inside(format!("Q {sql}"))),
        1 => statement().prop_map(|sql| Act::Work(format!("Q {sql}"))),
        1 => statement().prop_map(|sql| Act::Inside(format!("ext {sql} | S"))),
        1 => Just(Act::End("Q prepare transaction 'g'".into())),
        1 => select(vec!["Q commit prepared 'g'", "Q rollback prepared 'g'"])
            .prop_map(|ops| Act::Work(ops.into())),
        4 => begin().prop_map(|sql| Act::Begin(format!("Q {sql}"))),
        5 => select(vec!["Q commit", "Q commit", "Q commit", "Q rollback"])
            .prop_map(|ops| Act::End(ops.into())),
        1 => Just(Act::Inside("Q savepoint s".into())),
        1 => statement().prop_map(|sql| Act::Inside(format!("Q savepoint s; {sql}; rollback to s"))),
    ]
    .boxed()
}

fn begin() -> BoxedStrategy<String> {
    let other = [
        "serializable, read only",
        "serializable, read only",
        "serializable, read only, deferrable",
        "repeatable read",
        "read committed",
    ];
    prop_oneof![
        7 => Just("serializable"),
        1 => select(other.to_vec()),
    ]
    .prop_map(|level| format!("begin isolation level {level}"))
    .boxed()
}

fn condition() -> BoxedStrategy<String> {
    let id = 1..=4_i32;
    prop_oneof![
        5 => id.clone().prop_map(|id| format!(" where id = {id}")),
        1 => (id.clone(), id.clone()).prop_map(|(a, b)| format!(" where id in ({a}, {b})")),
        1 => id.clone().prop_map(|id| format!(" where id > {id}")),
        1 => id.clone().prop_map(|id| format!(" where id between {id} and {}", id + 1)),
        2 => (1..4_i32).prop_map(|g| format!(" where g = {g}")),
        1 => (1..4_i32).prop_map(|g| format!(" where g = {g} or id = {g}")),
        1 => (1..4_i32).prop_map(|g| format!(" where g = {g} and v < 3")),
        2 => (1..5_i32).prop_map(|v| format!(" where v = {v}")),
        1 => Just(String::new()),
    ]
    .boxed()
}

fn statement() -> BoxedStrategy<String> {
    let id = 1..=4_i32;
    let set = prop_oneof![
        4 => (1..6_i32).prop_map(|v| format!("v = {v}")),
        1 => Just("v = v + 1".to_string()),
        1 => (1..4_i32).prop_map(|g| format!("g = {g}")),
        1 => Just("id = id + 10".to_string()),
    ];
    let tail = select(vec![
        "",
        "",
        "",
        " order by id",
        " order by id limit 1",
        " order by g",
        " limit 1",
    ]);
    let lock = select(vec!["for update", "for key share"]);
    prop_oneof![
        5 => (condition(), tail).prop_map(|(on, tail)| format!("select id, g, v from s{on}{tail}")),
        1 => condition().prop_map(|on| format!("select count(*), sum(v) from s{on}")),
        1 => select(vec!["max(id)", "min(g)", "max(v)"]).prop_map(|what| format!("select {what} from s")),
        7 => (set, id.clone()).prop_map(|(set, id)| format!("update s set {set} where id = {id}")),
        1 => condition().prop_map(|on| format!("update s set v = v + 1{on}")),
        1 => condition().prop_map(|on| format!("delete from s{on}")),
        3 => (id.clone(), 1..4_i32, 1..5_i32)
            .prop_map(|(id, g, v)| format!("insert into s values ({}, {g}, {v})", id + 4)),
        1 => (id.clone(), 1..4_i32).prop_map(|(id, g)| format!(
            "insert into s values ({id}, {g}, 9) on conflict (id) do update set v = s.v + 1")),
        1 => (id.clone(), 1..4_i32).prop_map(|(id, g)| format!(
            "insert into s values ({id}, {g}, 9) on conflict do nothing")),
        1 => (id.clone(), lock).prop_map(|(id, lock)| format!("select v from s where id = {id} {lock}")),
        1 => Just("select * from n".to_string()),
        1 => (1..3_i32).prop_map(|a| format!("update n set b = b + 1 where a = {a}")),
        1 => Just("insert into n values (3, 3)".to_string()),
        1 => (1..4_i32).prop_map(|id| format!("select n.b, s.v from n join s on s.id = n.a where n.a = {id}")),
        1 => (1..4_i32).prop_map(|id| format!("update s set v = (select sum(b) from n) where id = {id}")),
    ]
    .boxed()
}
