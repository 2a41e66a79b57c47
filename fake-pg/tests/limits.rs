//! No statement overflows the stack, holds memory without bound or computes for seconds.

use bytes::BytesMut;
use fake_pg::engine::{Engine, Pid, ServerConfig, Timestamp};
use fake_pg::session::{CommitAction, Next, Session};
use postgres_protocol::message::frontend as client;

/// What the server says to one script: its messages as text.
fn answer(script: &str) -> String {
    answer_within(ServerConfig::default().statement_steps, script)
}

/// The same where statements may take so many steps.
fn answer_within(statement_steps: usize, script: &str) -> String {
    let (mut engine, mut session) = (Engine::default(), Session::new(Pid(1), 0));
    engine.configure(ServerConfig {
        statement_steps,
        ..ServerConfig::default()
    });
    let mut bytes = BytesMut::new();
    client::startup_message([("user", "postgres")], &mut bytes).unwrap();
    session.receive(&mut bytes);
    let mut said = BytesMut::new();
    run(&mut session, &mut engine, &mut said);
    said.clear();
    client::query(script, &mut bytes).unwrap();
    session.receive(&mut bytes);
    run(&mut session, &mut engine, &mut said);
    session.exit(&mut engine, Timestamp(0));
    String::from_utf8_lossy(&said).into_owned()
}

fn run(session: &mut Session, engine: &mut Engine, said: &mut BytesMut) {
    loop {
        match session.advance(engine, Timestamp(0)) {
            Next::Write => session.take_output(said),
            Next::Commit(..) => session.resume(CommitAction::GoOn),
            Next::Read => return,
            other => panic!("{other:?}"),
        }
    }
}

/// One thing within another, so many times.
fn nest(open: &str, close: &str, times: usize) -> String {
    format!("select {}1{}", open.repeat(times), close.repeat(times))
}

fn chain(term: &str, by: &str, times: usize) -> String {
    format!("select {}", vec![term; times].join(by))
}

#[test]
fn what_is_nested_too_deeply_is_refused() {
    for text in [
        nest("(", ")", 100_000),
        nest("- ", "", 100_000),
        nest("not ", "", 100_000),
        nest("abs(", ")", 100_000),
        nest("(select ", ")", 100_000),
        nest("case when true then ", " end", 100_000),
        nest("array[", "]", 100_000),
        chain("'a'", "||", 100_000),
        chain("1", "+", 100_000),
        chain("1", " union all select ", 100_000),
        chain("1", "::", 100_000),
    ] {
        let said = answer(&text);
        let begins = &text[..40];
        assert!(said.contains("C54001\0"), "{begins}: {said}");
        assert!(said.contains("Mstack depth limit exceeded\0"), "{begins}");
    }
}

#[test]
fn what_people_write_is_not_too_deep() {
    for text in [
        nest("(", ")", 200),
        nest("- ", "", 200),
        nest("abs(", ")", 200),
        nest("case when true then ", " end", 200),
        nest("(select ", ")", 50),
        chain("'a'", "||", 200),
        chain("1", " union all select ", 100),
        chain("1=1", " and ", 10_000),
        chain("1=2", " or ", 10_000),
        format!("select 1 in ({})", vec!["2"; 10_000].join(",")),
        "select 1 from (select row(row(row(row('a b'))))::text) s".into(),
        "select 1 from (select 10::numeric ^ 100000, factorial(5000) offset 0) s".into(),
        "select 1 from (select pg_notify('c', n::text) from generate_series(1, 50000) n offset 49999) s"
            .into(),
    ] {
        let said = answer(&text);
        assert!(said.contains("SELECT 1"), "{}: {said}", &text[..40]);
    }
}

#[test]
fn a_statement_has_a_budget() {
    for text in [
        "select count(*) from generate_series(1, 1000000000)",
        "select generate_series(1, 1000000000)",
        "select generate_series(1, 1000000000::numeric) limit 1",
        "select count(*) from generate_series(1, 10000) a, generate_series(1, 10000) b",
        "with recursive t(x) as (select 1 union all select x + 1 from t) select count(*) from t",
        "with recursive t(x) as (select 'xx' union all select x || x from t) select length(x) from t",
        "select string_agg(repeat('x', 10000000), '') from generate_series(1, 200)",
    ] {
        let said = answer(text);
        assert!(said.contains("C53200\0Mout of memory\0"), "{text}: {said}");
    }
}

#[test]
fn what_is_long_is_charged_for_its_length() {
    for text in [
        "select factorial(n) from generate_series(20000, 21000) n",
        "select exp(5000 + n::numeric / 100) from generate_series(1, 1000) n",
        "select ln(2::numeric(1000, 999)) from generate_series(1, 1000)",
        "select array_fill(0, array[10000, 10000])",
        "select array_to_string(array_fill('x'::text, array[10000]), repeat('y', 100000))",
        "select format(repeat('%1$s', 10000), repeat('x', 100000))",
        "select length(x) from (select repeat('x', 10000000) x offset 0) s, generate_series(1, 10000)",
        "select x from (select repeat('x', 10000000) x offset 0) s, generate_series(1, 10000)",
        "select array_fill(1, array[100000]) <@ array_fill(2, array[100000])",
        "select repeat('a', 100000) like '%' || repeat('a', 50000) || 'b'",
        "select generate_series('2000-01-01', '9999-01-01'::timestamp, '1 second')",
        "select 1, n from generate_series(1, 150000) n",
        "with recursive t(x) as (select row('a b') union all select row(x) from t) select x::text from t",
        "with recursive t(x) as (select '[]'::jsonb union all select jsonb_build_array(x) from t) select count(*) from t",
        "with recursive t(x) as (select '[1]'::jsonb union all select x || x from t) select count(*) from t",
    ] {
        let said = answer_within(500_000, text);
        let detail = "A statement may take 500000 steps, of rows and of memory.";
        assert!(said.contains("C53200\0Mout of memory\0"), "{text}: {said}");
        assert!(said.contains(detail), "{text}: {said}");
    }
}

#[test]
fn columns_do_not_double_without_end() {
    let mut ctes = vec!["c0 as (select 1)".to_string()];
    ctes.extend((1..20).map(|n| format!("c{n} as (select * from c{0}, c{0} b)", n - 1)));
    let said = answer(&format!("with {} select * from c19", ctes.join(", ")));
    let error = "C54011\0Mtarget lists can have at most 1664 entries\0";
    assert!(said.contains(error), "{said}");
}
