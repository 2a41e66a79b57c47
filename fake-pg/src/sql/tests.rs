//! Statements and their answers, as PostgreSQL 15 gave them.
//!
//! The files in `tests/` were recorded from a real server, each in a database of
//! its own, statement by statement, each in its own transaction: `>` the statement, `=` the columns with their
//! types (`*`: of a table), then the rows, `.` the tag, `!` an error with its
//! place, `~` a notice.

use super::ast::StatementKind;
use super::face::{self, Column, Context, Prepared};
use super::settings::Settings;
use crate::engine::{Engine, Exec, Halt, Journal, Pid, SearchPath, Timestamp, TxOptions};
use crate::error::PgError;
use crate::types::Datum;

const ANSWERS: &[&str] = &[
    include_str!("tests/answers.txt"),
    include_str!("tests/schemas.txt"),
    include_str!("tests/catalogs.txt"),
];

/// A client of its own transaction for each statement.
struct Client {
    engine: Engine,
    settings: Settings,
}

impl Client {
    fn new() -> Self {
        Client {
            engine: Engine::new(),
            settings: Settings::default(),
        }
    }

    /// What the server says, one line each.
    fn run(&mut self, sql: &str) -> Vec<String> {
        let mut lines = Vec::new();
        if let Err(error) = self.try_run(sql, &mut lines) {
            show_error('!', &error, &mut lines);
        }
        lines
    }

    fn try_run(&mut self, sql: &str, lines: &mut Vec<String>) -> Result<(), PgError> {
        let script = face::parse_script(sql)?;
        let statement = &script[0];
        assert_ne!(statement.kind(), StatementKind::Transaction, "{sql}");
        let now = Timestamp(1_600_000_000_000_000);
        let mut tx = self.engine.begin(Pid(1), TxOptions::default(), now);
        tx.path = Some(std::sync::Arc::new(SearchPath {
            schemas: self.settings.search_path("postgres"),
            ..SearchPath::standard().clone()
        }));
        self.settings.begin();
        let mut journal = Journal::default();
        let prepared = match face::prepare(&self.engine, &tx, statement, &[]) {
            Ok(prepared) => prepared,
            Err(error) => {
                self.engine.abort(tx);
                return Err(error);
            }
        };
        let mut context = Context {
            exec: Exec::new(&mut self.engine, &mut tx, &mut journal, now),
            settings: &mut self.settings,
            database: "postgres",
            user: "postgres",
        };
        let outcome = face::execute(&prepared, &[], &mut context);
        if outcome.is_ok() {
            context.exec.finish();
        }
        for notice in &journal.notices {
            show_error('~', notice, lines);
        }
        match outcome {
            Ok(outcome) => {
                show_rows(&prepared, &outcome.rows, lines);
                lines.push(format!(". {}", outcome.tag));
                self.engine.commit(tx, now)?;
                self.settings.commit();
                Ok(())
            }
            Err(halt) => {
                self.engine.abort(tx);
                self.settings.rollback();
                match halt {
                    Halt::Error(error) => Err(error),
                    Halt::Wait(wait) => panic!("{sql}: alone, it waits: {wait:?}"),
                }
            }
        }
    }
}

fn show_error(kind: char, error: &PgError, lines: &mut Vec<String>) {
    let place = error
        .position
        .map_or(String::new(), |place| format!(" @{place}"));
    lines.push(format!("{kind} {} {}{place}", error.code, error.message));
    for (name, text) in [("detail", &error.detail), ("hint", &error.hint)] {
        lines.extend(
            text.iter()
                .map(|text| format!("  {name}: {}", text.replace('\n', "\\n"))),
        );
    }
}

fn show_rows(prepared: &Prepared, rows: &[Vec<Datum>], lines: &mut Vec<String>) {
    let Some(columns) = prepared.columns() else {
        return;
    };
    let column = |column: &Column| {
        let length = match column.typmod {
            -1 => String::new(),
            typmod => format!("({})", typmod - 4),
        };
        let star = if column.attnum > 0 { "*" } else { "" };
        format!("{}:{}{length}{star}", column.name, column.ty.name())
    };
    let columns: Vec<String> = columns.iter().map(column).collect();
    lines.push(format!("= {}", columns.join(" | ")));
    for row in rows {
        let value = |datum: &Datum| match datum {
            Datum::Null => "NULL".to_string(),
            datum => datum.to_string(),
        };
        let values: Vec<String> = row.iter().map(value).collect();
        lines.push(format!("  {}", values.join(" | ")));
    }
}

/// The answers, statement by statement.
fn recorded(answers: &'static str) -> Vec<(&'static str, Vec<String>)> {
    let mut all: Vec<(&str, Vec<String>)> = Vec::new();
    for line in answers.lines() {
        match (line.strip_prefix("> "), all.last_mut()) {
            (Some(sql), _) => all.push((sql, Vec::new())),
            // We have no hints about misspelled names.
            (None, Some(_)) if line.contains("hint: Perhaps you meant") => {}
            (None, Some((_, lines))) if !line.starts_with("--") => {
                lines.push(line.trim_end().into())
            }
            _ => {}
        }
    }
    all
}

/// Where an error stands is compared if we say so: fewer of ours know it.
fn alike(ours: &str, theirs: &str) -> bool {
    let bare = |line: &str| {
        line.rsplit_once(" @")
            .map_or(line.to_string(), |(bare, _)| bare.into())
    };
    ours == theirs || ours.starts_with('!') && ours == bare(theirs)
}

#[test]
fn statements_answer_as_postgres_does() {
    let mut differences = String::new();
    let mut count = 0;
    let files = ANSWERS
        .iter()
        .map(|answers| (Client::new(), recorded(answers)));
    let statements = files.flat_map(|(client, all)| {
        let client = std::rc::Rc::new(std::cell::RefCell::new(client));
        all.into_iter()
            .map(move |(sql, theirs)| (client.clone(), sql, theirs))
    });
    for (client, sql, mut theirs) in statements {
        // When rows are announced, and notices sent, is the session's business.
        if theirs.iter().any(|line| line.starts_with('!')) {
            theirs.retain(|line| !line.starts_with('='));
        }
        theirs.sort_by_key(|line| !line.starts_with('~'));
        let ours = client.borrow_mut().run(sql);
        let ours: Vec<String> = ours
            .iter()
            .map(|line| line.trim_end().to_string())
            .collect();
        let same = ours.len() == theirs.len() && ours.iter().zip(&theirs).all(|(a, b)| alike(a, b));
        if !same {
            count += 1;
            differences += &format!(
                "> {sql}\n-- postgres\n{}\n-- fake-pg\n{}\n\n",
                theirs.join("\n"),
                ours.join("\n")
            );
        }
    }
    assert!(count == 0, "{count} statements differ:\n{differences}");
}

#[test]
fn what_is_lacking_fails_and_is_named() {
    let mut client = Client::new();
    for (sql, construct) in [
        ("select gen_random_uuid()", "the function gen_random_uuid"),
        (
            "select pg_export_snapshot()",
            "the function pg_export_snapshot",
        ),
        ("select row_number() over ()", "window functions"),
        ("select 1.5", "type numeric"),
        ("select 1 + 1.5", "type numeric"),
        ("select sum(1::int8)", "sum(bigint), whose type is numeric"),
        ("select '2020-01-01'::date", "type date"),
        ("select * from pg_operator", "the catalog pg_operator"),
        ("select 'a' collate \"C\"", "COLLATE"),
        ("create temp table x (a int)", "temporary tables"),
        (
            "merge into t using s on true when matched then delete",
            "MERGE",
        ),
    ] {
        assert_eq!(
            client.run(sql),
            [format!("! 0A000 fake-pg does not support {construct}")],
            "{sql}"
        );
    }
}
