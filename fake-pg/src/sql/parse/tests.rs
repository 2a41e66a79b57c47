//! Precedence, folding, places of errors, and that everything parses.

use super::*;

/// The tree without the places, so that parentheses can be compared.
fn shape(sql: &str) -> String {
    let script = parse_script(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let debug = format!("{:?}", script[0].command);
    let mut out = String::new();
    let mut rest = debug.as_str();
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let end = rest[at..]
            .find(|c: char| !c.is_ascii_digit())
            .map_or(rest.len(), |end| at + end);
        let place = rest[..at].ends_with(", ") || rest[..at].ends_with("at: ");
        out.push_str(if place { &rest[..at] } else { &rest[..end] });
        rest = &rest[end..];
    }
    out + rest
}

#[test]
fn operators_bind_as_in_gram_y() {
    for (written, meant) in [
        ("a || b -> c", "(a || b) -> c"),
        ("a #>> b || c", "(a #>> b) || c"),
        ("x ~ y || z", "(x ~ y) || z"),
        ("a IS NULL = b", "(a IS NULL) = b"),
        ("a = b IS NULL", "(a = b) IS NULL"),
        ("not a = b", "not (a = b)"),
        ("not a and b", "(not a) and b"),
        ("a or b and c", "a or (b and c)"),
        ("a + b * c ^ d ^ e", "a + (b * ((c ^ d) ^ e))"),
        ("a - b - c", "(a - b) - c"),
        ("- a :: int", "- (a :: int)"),
        ("- a ^ b", "(- a) ^ b"),
        ("a < b + c", "a < (b + c)"),
        ("a between b and c and d", "(a between b and c) and d"),
        ("a not between b + c and d", "a not between (b + c) and d"),
        ("a like b || c", "a like (b || c)"),
        ("a like b escape c or d", "(a like b escape c) or d"),
        ("a in (b, c) and d", "(a in (b, c)) and d"),
        ("a = b in (c)", "a = (b in (c))"),
        ("a is distinct from b or c", "(a is distinct from b) or c"),
        ("a at time zone b || c", "(a at time zone b) || c"),
        ("a -> b ->> c = d", "((a -> b) ->> c) = d"),
        ("a + b :: int", "a + (b :: int)"),
        ("a = any (b) and c", "(a = any (b)) and c"),
        (
            "a operator(pg_catalog.+) b * c",
            "a operator(pg_catalog.+) (b * c)",
        ),
    ] {
        assert_eq!(
            shape(&format!("select {written}")),
            shape(&format!("select {meant}")),
            "{written}"
        );
    }
}

#[test]
fn names_fold_unless_quoted() {
    let script = parse_script("select Foo.\"Bar\" AS \"Q r\", 'x''y', E'a\\nb', $$d$$").unwrap();
    let shown = format!("{:?}", script[0].command);
    for part in [
        "\"foo\"",
        "\"Bar\"",
        "\"Q r\"",
        "\"x'y\"",
        "\"a\\nb\"",
        "\"d\"",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[test]
fn syntax_errors_point_at_the_token() {
    // From PostgreSQL 15.
    for (sql, message, position) in [
        ("selct 1", "syntax error at or near \"selct\"", 1),
        ("select 1; selct 2", "syntax error at or near \"selct\"", 11),
        ("select (1", "syntax error at end of input", 10),
        ("insert into t values", "syntax error at end of input", 21),
        ("select a = b = c", "syntax error at or near \"=\"", 14),
        ("select * from t where", "syntax error at end of input", 22),
        ("select 'é', from t", "syntax error at or near \"from\"", 13),
    ] {
        let error = parse_script(sql).unwrap_err();
        assert_eq!(
            (error.message.as_str(), error.position),
            (message, Some(position)),
            "{sql}"
        );
    }
}

#[test]
fn a_script_is_cut_into_statements() {
    let script = parse_script("select $1 ; ; -- nothing\n update t set a = $3;").unwrap();
    let cut: Vec<_> = script.iter().map(|s| (&*s.text, s.params)).collect();
    assert_eq!(cut, [("select $1", 1), ("update t set a = $3", 3)]);
    let empty = parse_script(" ; -- nothing").unwrap();
    assert_eq!(
        (empty.len(), empty[0].kind()),
        (1, crate::sql::ast::StatementKind::Empty)
    );
}

#[test]
fn what_is_lacking_is_named() {
    for (sql, construct) in [
        ("refresh materialized view a", "REFRESH MATERIALIZED VIEW"),
        ("copy t from '/tmp/x'", "COPY from a file"),
        (
            "create table t (a int, exclude using gist (a with =))",
            "exclusion constraints",
        ),
        ("vacuum verbose", "VACUUM VERBOSE"),
    ] {
        let script = parse_script(sql).unwrap();
        assert_eq!(
            script[0].command,
            Command::Unsupported(construct.into()),
            "{sql}"
        );
    }
}
