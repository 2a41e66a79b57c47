//! Statements and their answers, as PostgreSQL 15 gave them.
//!
//! The files in `tests` were recorded from a real server (UTF8, locale C, UTC), statement by statement,
//! each in its own transaction, each file in a database of its own: `>` the statement, `=` the columns with their
//! types (`*`: of a table), then the rows, `.` the tag, `!` an error with its
//! place, `~` a notice.

use super::ast::StatementKind;
use super::face::{self, Column, Context, Prepared};
use super::settings::Settings;
use crate::engine::{Engine, Exec, Halt, Journal, Pid, SearchPath, Timestamp, TxOptions};
use crate::error::PgError;
use crate::types::Datum;

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
            fetch: face::Fetch::default(),
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
fn recorded(answers: &str) -> Vec<(&str, Vec<String>)> {
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
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sql/tests");
    let entries = std::fs::read_dir(&folder).expect("the folder of answers is there");
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let differences: Vec<String> = files.iter().map(|file| compare(file)).collect();
    assert!(
        differences.iter().all(String::is_empty),
        "{}",
        differences.concat()
    );
}

/// The statements of a file that are answered otherwise.
fn compare(file: &std::path::Path) -> String {
    let answers = std::fs::read_to_string(file).expect("a file of answers is text");
    let mut client = Client::new();
    let mut differences = String::new();
    for (sql, mut theirs) in recorded(&answers) {
        // When rows are announced, and notices sent, is the session's business.
        if theirs.iter().any(|line| line.starts_with('!')) {
            theirs.retain(|line| !line.starts_with('='));
        }
        theirs.sort_by_key(|line| !line.starts_with('~'));
        let ours = client.run(sql);
        // Values may be of several lines.
        let ours: Vec<String> = ours
            .iter()
            .flat_map(|line| line.split('\n'))
            .map(|line| line.trim_end().to_string())
            .collect();
        let same = ours.len() == theirs.len() && ours.iter().zip(&theirs).all(|(a, b)| alike(a, b));
        if !same {
            differences += &format!(
                "> {sql}\n-- postgres\n{}\n-- fake-pg\n{}\n\n",
                theirs.join("\n"),
                ours.join("\n")
            );
        }
    }
    differences
}

#[test]
fn what_is_lacking_fails_and_is_named() {
    let mut client = Client::new();
    for (sql, construct) in [
        (
            "select pg_export_snapshot()",
            "the function pg_export_snapshot",
        ),
        ("select row_number() over ()", "window functions"),
        ("select '1'::money", "type money"),
        ("select '(1,2)'::point <-> '(1,2)'", "type point"),
        ("select * from pg_operator", "the catalog pg_operator"),
        ("select 'a' collate \"de_DE\"", "COLLATE"),
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
