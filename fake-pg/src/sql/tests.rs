//! Statements and their answers, as PostgreSQL 15 gave them.

use crate::engine::Engine;

#[test]
fn smoke() {
    let mut engine = Engine::new();
    engine
        .load("create table t (id serial primary key, a int not null default 5 check (a > 0), b text unique); insert into t (b) values ('x'), ('y'); insert into t(a,b) values (7, null)")
        .unwrap();
    let rows = engine
        .query_committed("select id, a, b from t where a >= 5 order by id desc limit 2")
        .unwrap();
    assert_eq!(
        format!("{rows:?}"),
        r#"[[Some("3"), Some("7"), None], [Some("2"), Some("5"), Some("y")]]"#
    );
}
