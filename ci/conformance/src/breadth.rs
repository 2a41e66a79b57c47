//! What random programs use besides rows: functions that change the world, DDL under one name, crashes,
//! cursors, portals that are left in the middle, COPY, settings, and looks at what the server tells
//! of itself.
//!
//! Each is a feature of `program`'s. What a look would tell otherwise on each server, pids for example,
//! it does not ask for.

use proptest::prelude::*;
use proptest::sample::select;

use crate::program::{Act, condition, row, words};

/// Acts by weight.
type Acts = Vec<(u32, BoxedStrategy<Act>)>;
/// Statements by weight.
type Statements = Vec<(u32, BoxedStrategy<String>)>;

/// The features that are described here.
pub const FEATURES: &[&str] = &[
    "volatile",
    "ddl",
    "crash",
    "asynchronous",
    "unlogged",
    "partial",
    "cursors",
    "settings",
    "views",
    "portals",
    "copy",
    "joins",
];

/// What there is before a program begins.
pub fn setup(on: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let mut setup = Vec::new();
    if on("unlogged") {
        setup.push(
            "create unlogged table l (id int primary key, v int); insert into l values (1, 1)",
        );
    }
    if on("partial") {
        setup.push(
            "create table p (id int primary key, k int, s text); \
             create unique index on p (k) where s is null; \
             create unique index on p (lower(s)); \
             insert into p values (1, 1, null), (2, 2, 'A')",
        );
    }
    if on("volatile") {
        setup.push("create sequence o");
    }
    setup
}

/// What is looked at in the end.
pub fn tables(on: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let all = [("unlogged", "l"), ("partial", "p")];
    let all = all.into_iter().filter(|(feature, _)| on(feature));
    all.map(|(_, table)| table).collect()
}

/// What sessions do.
pub fn acts(on: impl Fn(&str) -> bool) -> Acts {
    let mut acts: Acts = Vec::new();
    if on("ddl") {
        acts.push((3, words(DDL).prop_map(Act::Work).boxed()));
        acts.push((2, words(DDL).prop_map(Act::Inside).boxed()));
        acts.push((3, words(USES).prop_map(Act::Work).boxed()));
    }
    if on("crash") {
        acts.push((2, Just(Act::Server("crash")).boxed()));
    }
    if on("asynchronous") {
        let ways = [
            "Q set local synchronous_commit = off",
            "Q set synchronous_commit = off",
            "Q set synchronous_commit = on",
        ];
        acts.push((3, words(&ways).prop_map(Act::Work).boxed()));
    }
    if on("cursors") {
        let cursor = (
            select(vec!["", "scroll ", "no scroll "]),
            select(HOLDS.to_vec()),
            condition(),
        )
            .prop_map(|(scroll, hold, on)| {
                format!("Q declare c {scroll}cursor{hold} for select id, v from t{on} order by id")
            });
        acts.push((3, cursor.prop_map(Act::Inside).boxed()));
        let locks = condition();
        let locks = locks
            .prop_map(|on| format!("Q declare c cursor for select id, v from t{on} for update"));
        acts.push((1, locks.prop_map(Act::Inside).boxed()));
        acts.push((4, words(FETCHES).prop_map(Act::Work).boxed()));
    }
    if on("portals") {
        let query = (
            condition(),
            select(vec!["", " for update", " for share skip locked"]),
        );
        let open = (query, 1..3_i32, select(vec!["S", "H"])).prop_map(|((on, lock), rows, end)| {
            format!("P select id, v from t{on} order by id{lock} | B p/ | E p {rows} | {end}")
        });
        acts.push((3, open.prop_map(Act::Inside).boxed()));
        let change = (condition(), 1..3_i32).prop_map(|(on, rows)| {
            format!("P update t set v = v + 1{on} returning id | B p/ | E p {rows} | S")
        });
        acts.push((1, change.prop_map(Act::Inside).boxed()));
        let on_with_it = [
            "E p 1 | S",
            "E p 2 | H",
            "E p | S",
            "C P p | S",
            "D P p | S",
            "E p 1 | E p 1 | S",
        ];
        acts.push((3, words(&on_with_it).prop_map(Act::Work).boxed()));
    }
    if on("copy") {
        let out = [
            "Q copy t to stdout",
            "Q copy (select id, v from t order by id) to stdout",
        ];
        acts.push((1, words(&out).prop_map(Act::Work).boxed()));
        let rows = prop::collection::vec((row(), 0..50_i32), 0..3);
        let ends = select(vec![
            "63 00 00 00 04",
            "63 00 00 00 04",
            "66 00 00 00 07 6e 6f 00",
        ]);
        let copies = (rows, ends).prop_map(|(rows, end)| {
            let rows = rows
                .iter()
                .map(|(id, v)| format!(" | raw {}", copy_data(&format!("{id}\t{v}\n"))));
            format!(
                "Q copy t from stdin{} | raw {end}",
                rows.collect::<String>()
            )
        });
        acts.push((2, copies.prop_map(Act::Work).boxed()));
    }
    acts
}

/// Statements that stand alone or in a block.
pub fn statements(on: impl Fn(&str) -> bool) -> Statements {
    let mut all: Statements = Vec::new();
    let returning = || words(&["", " returning id, v"]);
    if on("volatile") {
        let orders = || select(vec!["", " order by id", " order by v, id"]);
        let limits = || select(vec!["", "", " limit 1", " limit 2"]);
        let locks = || {
            select(vec![
                "",
                " for update",
                " for share",
                " for update skip locked",
                " for no key update nowait",
            ])
        };
        let calls = select(vec![
            "nextval('o')",
            "pg_try_advisory_xact_lock(id)",
            "pg_try_advisory_lock(id)",
            "v / (v - 20)",
            "(select count(*) from u)",
            "(select n from u where u.k = t.id)",
            "pg_current_xact_id_if_assigned() is null",
        ]);
        all.push((
            6,
            (calls, condition(), orders(), limits(), locks())
                .prop_map(|(call, on, order, limit, lock)| {
                    format!("select id, {call} from t{on}{order}{limit}{lock}")
                })
                .boxed(),
        ));
        let tests = || {
            select(vec![
                "nextval('o') % 2 = 0",
                "pg_try_advisory_xact_lock(id)",
                "pg_try_advisory_lock(v)",
            ])
        };
        all.push((
            2,
            (tests(), limits(), locks())
                .prop_map(|(test, limit, lock)| {
                    format!("select id, v from t where {test} order by id{limit}{lock}")
                })
                .boxed(),
        ));
        all.push((
            2,
            (tests(), returning())
                .prop_map(|(test, back)| format!("update t set v = v + 1 where {test}{back}"))
                .boxed(),
        ));
        all.push((
            2,
            (condition(), returning())
                .prop_map(|(on, back)| format!("update t set v = nextval('o'){on}{back}"))
                .boxed(),
        ));
        all.push((
            1,
            condition()
                .prop_map(|on| format!("delete from t{on} returning id, nextval('o')"))
                .boxed(),
        ));
        all.push((
            1,
            Just("insert into t values (nextval('o'), 5) returning id".to_string()).boxed(),
        ));
        all.push((
            2,
            (condition(), returning())
                .prop_map(|(on, back)| {
                    format!("insert into t select id + 1, v from t{on} order by id desc{back}")
                })
                .boxed(),
        ));
        all.push((1, (row(), row()).prop_map(|(a, b)| {
            format!("insert into t values ({a}, 1), ({b}, nextval('o')) on conflict (id) do update set v = t.v + nextval('o') returning id, v")
        }).boxed()));
        all.push((2, words(&[
            "delete from t where id = (select id from t order by v limit 1 for update skip locked) returning id",
            "update t set v = 0 where id in (select id from t where v > 10 order by id limit 1 for update) returning id",
            "with w as (delete from t where v > 25 returning id, v) insert into t select id + 3, v from w returning id, v",
            "with w as (insert into u (k) values (3) on conflict do nothing returning id) select count(*) from w",
            "select nextval('o')",
            "select currval('o')",
            "select setval('o', 5)",
            "select pg_current_xact_id() = pg_current_xact_id()",
        ]).boxed()));
    }
    if on("unlogged") {
        all.push((
            3,
            (row(), 0..9_i32)
                .prop_map(|(id, v)| format!("insert into l values ({id}, {v})"))
                .boxed(),
        ));
        all.push((
            2,
            (row(), 0..9_i32)
                .prop_map(|(id, v)| format!("update l set v = v + {v} where id = {id} returning v"))
                .boxed(),
        ));
        all.push((
            1,
            words(&["select * from l order by id", "delete from l", "truncate l"]).boxed(),
        ));
    }
    if on("partial") {
        let values = (
            row(),
            1..4_i32,
            select(vec!["null", "null", "'a'", "'A'", "'b'"]),
        )
            .prop_map(|(id, k, s)| format!("({id}, {k}, {s})"));
        let ways = select(vec![
            "",
            " on conflict do nothing",
            " on conflict (id) do update set k = excluded.k",
            " on conflict (k) where s is null do nothing",
            " on conflict (k) where s is null do update set k = p.k + 1",
            " on conflict (lower(s)) do update set s = excluded.s || p.s",
            " on conflict (lower(s)) do nothing",
        ]);
        all.push((
            6,
            (values, ways)
                .prop_map(|(values, way)| {
                    format!("insert into p values {values}{way} returning id, k, s")
                })
                .boxed(),
        ));
        let sets = select(vec![
            "s = null",
            "s = 'a'",
            "s = 'B'",
            "k = k + 1",
            "k = 1",
            "id = id + 1",
        ]);
        all.push((
            3,
            (sets, 1..4_i32, select(vec!["id", "k"]))
                .prop_map(|(set, n, by)| {
                    format!("update p set {set} where {by} = {n} returning id, k, s")
                })
                .boxed(),
        ));
        all.push((
            1,
            (1..4_i32)
                .prop_map(|id| format!("delete from p where id = {id}"))
                .boxed(),
        ));
        // Which rows an index over an expression leads to is not asked for: fake-pg reads all of them
        // then, and in a serializable transaction that can be seen.
        all.push((1, words(&["select * from p order by id"]).boxed()));
    }
    if on("settings") {
        all.push((4, words(SETTINGS).boxed()));
    }
    if on("views") {
        all.push((4, words(VIEWS).boxed()));
        // What a join reads depends on whether PostgreSQL merges, hashes or loops, which fake-pg does
        // not choose.
        if !on("joins") {
            all.push((1, words(&[SIREAD]).boxed()));
        }
    }
    if on("joins") {
        let locks = select(vec![
            "",
            " for update",
            " for update of t",
            " for share of u",
            " for key share of u nowait",
        ]);
        let on = select(vec![
            "u.k = t.id",
            "u.k = t.id and t.id = 2",
            "u.k = t.id and u.k = 1",
            "u.id = t.id and u.id < 3",
        ]);
        all.push((
            3,
            (on, locks)
                .prop_map(|(on, lock)| {
                    format!("select t.id, t.v, u.n from t join u on {on} order by t.id{lock}")
                })
                .boxed(),
        ));
        all.push((2, words(&[
            "select t.id, u.n from t left join u on u.k = t.id order by t.id for update of t",
            "delete from u using t where t.id = u.k and t.v > 25 and t.id = 3",
            "select t.id from t where exists (select from u where u.k = t.id) order by t.id for update",
            "select t.id from t where t.id in (select k from u) order by t.id",
        ]).boxed()));
    }
    all
}

/// A CopyData message in hexadecimal.
fn copy_data(text: &str) -> String {
    let length = (text.len() + 4) as u32;
    let bytes = [b'd']
        .into_iter()
        .chain(length.to_be_bytes())
        .chain(text.bytes());
    let bytes: Vec<String> = bytes.map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}

const HOLDS: &[&str] = &["", "", " with hold"];

const FETCHES: &[&str] = &[
    "Q fetch 1 from c",
    "Q fetch 2 from c",
    "Q fetch all from c",
    "Q fetch backward 1 from c",
    "Q fetch prior from c",
    "Q fetch first from c",
    "Q move 1 in c",
    "Q close c",
    "Q close all",
    "Q update t set v = v + 1 where current of c returning id, v",
    "Q delete from t where current of c",
];

/// One name for all.
const DDL: &[&str] = &[
    "Q create table x (id int primary key, v int)",
    "Q create table if not exists x (id int)",
    "Q create table x as select id, v from t",
    "Q drop table x",
    "Q drop table if exists x",
    "Q alter table x add column w int default 7",
    "Q alter table x drop column v",
    "Q alter table x rename to y",
    "Q alter table y rename to x",
    "Q create index i on x (id)",
    "Q create unique index i on x (id)",
    "Q drop index i",
    "Q create type e as enum ('a', 'b')",
    "Q alter type e add value 'c'",
    "Q alter type e add value if not exists 'd'",
    "Q drop type e",
    "Q create table z (e e)",
    "Q drop table z",
    "Q create sequence x",
    "Q drop sequence x",
    "Q create view x as select id from t",
    "Q drop view x",
    "Q create schema n",
    "Q drop schema n",
    "Q truncate x",
];

const USES: &[&str] = &[
    "Q insert into x values (1)",
    "Q insert into x values (1), (2)",
    "Q select * from x order by 1",
    "Q update x set id = id + 1",
    "Q delete from x",
    "Q insert into z values ('a')",
    "Q insert into z values ('c')",
    "Q select * from z order by e",
    "Q select 'd'::e",
    "Q select nextval('x')",
    "ext select * from x | S",
];

const SETTINGS: &[&str] = &[
    "set my.x = 'one'",
    "set local my.x = 'two'",
    "select set_config('my.x', 'three', true)",
    "select set_config('my.x', 'four', false)",
    "reset my.x",
    "show my.x",
    "select current_setting('my.x', true)",
    "set lock_timeout = '1h'",
    "set local lock_timeout = '2h'",
    "show lock_timeout",
    "reset all",
    "set default_transaction_isolation = 'repeatable read'",
    "set default_transaction_isolation = 'read committed'",
    "set default_transaction_read_only = off",
    "set transaction isolation level serializable",
    "set transaction read only",
    "set local transaction_read_only = off",
    "show transaction_isolation",
    "set application_name = 'me'",
    "show application_name",
    "discard all",
    "set search_path = nowhere, public",
    "set local search_path = nowhere",
    "reset search_path",
];

/// What serializable transactions have read.
const SIREAD: &str = "select locktype, relation::regclass::text, page, tuple from pg_locks where mode = 'SIReadLock' order by 1, 2, 3, 4";

/// The harness's own connection is not to be seen, nor locks on indexes, which fake-pg does not take.
const VIEWS: &[&str] = &[
    "select mode, granted, count(*) from pg_locks where relation = 't'::regclass group by 1, 2 order by 1, 2",
    "select relation::regclass::text, mode, granted, fastpath from pg_locks where relation in (select oid from pg_class where relkind in ('r', 'S', 'v') and oid >= 16384) and mode in ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock') order by 1, 2, 3, 4",
    "select locktype, mode, count(*) from pg_locks where not granted group by 1, 2 order by 1, 2",
    "select locktype, classid, objid, objsubid, mode, granted from pg_locks where locktype = 'advisory' order by 2, 3, 4, 5, 6",
    "select page, tuple, mode, granted from pg_locks where locktype = 'tuple' and mode <> 'SIReadLock' order by 1, 2, 3, 4",
    "select locktype, mode, granted from pg_locks where locktype = 'transactionid' order by 1, 2, 3",
    "select sum(cardinality(pg_blocking_pids(pid))) from pg_stat_activity where wait_event_type = 'Lock'",
    "select wait_event, query from pg_stat_activity where wait_event_type = 'Lock' order by 1, 2",
    "select state, backend_xid is null, query from pg_stat_activity where datname = 'script' and state <> 'idle' order by 1, 2, 3",
    "select gid, owner, database from pg_prepared_xacts order by 1",
    "select relname, relkind from pg_class where relnamespace = (select oid from pg_namespace where nspname = 'public') order by 1",
    "select count(*) from pg_listening_channels()",
];
