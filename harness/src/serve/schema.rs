//! The schema a server starts with: a script from a file, loaded as a whole.

use std::path::Path;

use fake_pg::engine::Engine;
use fake_pg::error::PgError;
use fake_pg::sql::parse_script;

/// Loads a file. An error names the file, the line and the statement.
pub(super) fn load(engine: &mut Engine, file: &Path) -> Result<(), String> {
    let shown = file.display();
    let sql = std::fs::read_to_string(file).map_err(|error| {
        format!("cannot read --schema {shown}: {error}; it is a file of SQL statements")
    })?;
    let fresh = engine.clone();
    engine.load(&sql).map_err(|error| {
        let place = culprit(&fresh, &sql).unwrap_or_default();
        let mut said = format!("--schema {shown}{place}: {}", error.message);
        let copies = "the rows of COPY FROM STDIN are not read from a file; pg_dump --inserts writes INSERTs";
        let hint = match has_copy_before(&sql, error.position) {
            true => Some(copies.to_owned()),
            false => error.hint.clone(),
        };
        for (name, text) in [("detail", &error.detail), ("hint", &hint)] {
            if let Some(text) = text {
                said.push_str(&format!("\n{name}: {text}"));
            }
        }
        said
    })
}

/// Whether rows that belong to a COPY may be what was read as SQL.
fn has_copy_before(sql: &str, position: Option<usize>) -> bool {
    let before: String = sql.chars().take(position.unwrap_or(sql.len())).collect();
    before.to_ascii_lowercase().contains("from stdin")
}

/// `:3: create tabel …`: the line and the text of the first statement that fails.
fn culprit(fresh: &Engine, sql: &str) -> Option<String> {
    let statements = match parse_script(sql) {
        Ok(statements) => statements,
        Err(error) => return at_position(sql, &error),
    };
    // Where each statement ends: its text is part of the script's.
    let mut ends = Vec::with_capacity(statements.len());
    let mut from = 0;
    for statement in statements.iter() {
        let begin = from + sql[from..].find(&*statement.text)?;
        from = begin + statement.text.len();
        ends.push((begin, from));
    }
    let fails = |end: usize| fresh.clone().load(&sql[..end]).is_err();
    let first = ends.partition_point(|(_, end)| !fails(*end));
    let (begin, end) = *ends.get(first)?;
    Some(shown(sql, begin, &sql[begin..end]))
}

/// A syntax error knows where it is.
fn at_position(sql: &str, error: &PgError) -> Option<String> {
    let position = error.position?;
    let at = sql.char_indices().nth(position.saturating_sub(1))?.0;
    let begin = sql[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = sql[at..]
        .find('\n')
        .map_or(sql.len(), |newline| at + newline);
    Some(shown(sql, at, sql[begin..end].trim()))
}

fn shown(sql: &str, at: usize, text: &str) -> String {
    let line = sql[..at].matches('\n').count() + 1;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = text.chars().take(200).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!(":{line}: `{short}{more}`")
}
