//! Statements that job queues send: each is understood, or refused by name.

use fake_pg::engine::Engine;

const STATEMENTS: &str = include_str!("statements.sql");

/// What is refused, as the error names it. The list may only shrink.
const REFUSED: &[&str] = &[
    "window functions",
    "a column definition list",
    "generated columns",
    "CREATE TABLE … LIKE",
    "index access methods other than btree",
    "exclusion constraints",
    "CREATE OR REPLACE FUNCTION",
    "CREATE TRIGGER",
    "DO",
    "CALL",
    "MERGE",
    "GROUPING SETS",
    "EXPLAIN",
    "assigning to a part of a column",
    "temporary tables",
    "CREATE MATERIALIZED VIEW",
    "the extension uuid-ossp",
];

#[test]
fn what_job_queues_send_is_understood_or_refused_by_name() {
    let mut engine = Engine::new();
    let mut strange = Vec::new();
    for statement in STATEMENTS.split("--;").map(str::trim) {
        let Err(error) = engine.load(statement) else {
            continue;
        };
        let refused = error.message.strip_prefix("fake-pg does not support ");
        // A loader is no session: it has no cursors and nothing to discard.
        let known = |what: &str| {
            what == "a command of a session in a script that the server itself runs"
                || what == "transaction control in this script"
                || REFUSED.contains(&what)
        };
        match (error.code.as_str(), refused) {
            ("0A000", Some(what)) if known(what) => {}
            ("0A000", _) => strange.push(format!("{statement}\n  {error}")),
            // Tables and types of other people's schemas are missing here.
            _ => {}
        }
    }
    assert!(strange.is_empty(), "{}", strange.join("\n"));
}
