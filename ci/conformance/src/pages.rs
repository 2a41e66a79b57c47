//! SQL on pages for people: every block is run, and what a page shows of it is what was answered.
//!
//! A page is Markdown. Its blocks marked `sql` are run in order, on one database, statement by
//! statement, as psql would run them; all in one session, unless a comment above a block names
//! another: `<!-- session: b -->`. A block marked `text` right below one of them is its result, as
//! psql prints it, but without spaces at the ends of lines. A real server writes it
//! (`conformance pages`), and fake-pg is held to it. A block without a result must not fail.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{DataRowBody, ErrorFields, Message as Reply};

use crate::client::encode;
use crate::fake::Fake;
use crate::host::{Heard, Host};
use crate::real::Real;
use crate::script::Login;

/// The pages, below the top of the repository.
const PAGES: &[&str] = &["docs/monday.md", "docs/which-design.md"];
/// Who runs a block that nobody else does.
const SESSION: &str = "a";

/// What a page is made of.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    /// Anything else, as it stands.
    Prose(String),
    /// A block of statements, and what stands below it as its result.
    Sql {
        session: String,
        text: String,
        result: Option<String>,
    },
}

/// Holds fake-pg to the results that the pages show. The error is for people.
pub fn check() -> Result<usize, String> {
    hold(|_, pieces| answered(&mut Fake::new(&[]), pieces))
}

/// Holds a real server to them.
pub fn verify() -> Result<usize, String> {
    let mut real = Real::start()?;
    hold(|_, pieces| {
        real.renew(&[])?;
        answered(&mut real, pieces)
    })
}

/// Has a real server write the results.
pub fn record() -> Result<usize, String> {
    let mut real = Real::start()?;
    let mut blocks = 0;
    for page in PAGES {
        let (path, pieces) = read(page)?;
        real.renew(&[])?;
        let pieces = answered(&mut real, &pieces)?;
        blocks += sql(&pieces);
        fs::write(&path, written(&pieces)).map_err(|error| format!("{page}: {error}"))?;
    }
    Ok(blocks)
}

/// Compares each page with what `answer` makes of it, and counts the blocks.
fn hold(
    mut answer: impl FnMut(&str, &[Piece]) -> Result<Vec<Piece>, String>,
) -> Result<usize, String> {
    let mut blocks = 0;
    for page in PAGES {
        let (_, pieces) = read(page)?;
        let answered = answer(page, &pieces).map_err(|error| format!("{page}: {error}"))?;
        for (shown, seen) in pieces.iter().zip(&answered) {
            if shown != seen {
                let [shown, seen] = [shown, seen].map(|piece| written(std::slice::from_ref(piece)));
                return Err(format!("{page} shows\n{shown}and the answer is\n{seen}"));
            }
        }
        blocks += sql(&pieces);
    }
    Ok(blocks)
}

fn sql(pieces: &[Piece]) -> usize {
    let sql = pieces
        .iter()
        .filter(|piece| matches!(piece, Piece::Sql { .. }));
    sql.count()
}

fn read(page: &str) -> Result<(PathBuf, Vec<Piece>), String> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "..", page]
        .iter()
        .collect();
    let text = fs::read_to_string(&path).map_err(|error| format!("{page}: {error}"))?;
    Ok((path, pieces(&text)))
}

/// Takes a page apart.
fn pieces(page: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut prose = String::new();
    let mut session = SESSION;
    let mut rest = page;
    while !rest.is_empty() {
        let (line, after) = split_line(rest);
        if let Some(named) = line.trim_end().strip_prefix("<!-- session: ") {
            session = named.trim_end_matches(" -->");
        }
        if line.trim_end() != "```sql" {
            prose.push_str(line);
            rest = after;
            continue;
        }
        pieces.push(Piece::Prose(std::mem::take(&mut prose)));
        let (text, after) = block(after);
        let below = after.strip_prefix("\n```text\n").map(block);
        rest = below.map_or(after, |(_, after)| after);
        pieces.push(Piece::Sql {
            session: std::mem::replace(&mut session, SESSION).to_owned(),
            text: text.to_owned(),
            result: below.map(|(result, _)| result.to_owned()),
        });
    }
    pieces.push(Piece::Prose(prose));
    pieces
}

/// The first line with its end, and what follows.
fn split_line(text: &str) -> (&str, &str) {
    let end = text.find('\n').map_or(text.len(), |at| at + 1);
    text.split_at(end)
}

/// What stands in a block that has begun, and what follows it.
fn block(text: &str) -> (&str, &str) {
    match text.starts_with("```\n") {
        true => ("", &text[4..]),
        false => {
            let (inside, after) = text.split_once("\n```\n").unwrap_or((text, ""));
            (&text[..(inside.len() + 1).min(text.len())], after)
        }
    }
}

/// Puts a page together again.
fn written(pieces: &[Piece]) -> String {
    let mut page = String::new();
    for piece in pieces {
        match piece {
            Piece::Prose(text) => page.push_str(text),
            Piece::Sql { text, result, .. } => {
                page.extend(["```sql\n", text, "```\n"]);
                if let Some(result) = result {
                    page.extend(["\n```text\n", result, "```\n"]);
                }
            }
        }
    }
    page
}

/// The page with the results that a server gives.
fn answered(host: &mut dyn Host, pieces: &[Piece]) -> Result<Vec<Piece>, String> {
    let mut open = BTreeSet::new();
    let mut answered = Vec::new();
    for piece in pieces {
        answered.push(match piece {
            Piece::Prose(text) => Piece::Prose(text.clone()),
            Piece::Sql {
                session,
                text,
                result,
            } => {
                if open.insert(session.as_str()) {
                    host.open(session, &Login::default())?;
                    host.settle()?;
                }
                let mut seen = String::new();
                for statement in statements(text) {
                    let answer = ask(host, session, statement)?;
                    if result.is_none() && answer.starts_with("ERROR:") {
                        return Err(format!("{statement}\n{answer}"));
                    }
                    // As psql leaves a line free below a table.
                    if seen.ends_with(" row)\n") || seen.ends_with(" rows)\n") {
                        seen.push('\n');
                    }
                    seen.push_str(&answer);
                }
                Piece::Sql {
                    session: session.clone(),
                    text: text.clone(),
                    result: result.as_ref().map(|_| seen),
                }
            }
        });
    }
    Ok(answered)
}

/// The statements of a block: each ends with a semicolon at the end of a line.
fn statements(block: &str) -> impl Iterator<Item = &str> {
    let mut rest = block;
    std::iter::from_fn(move || {
        let mut end = 0;
        for line in rest.split_inclusive('\n') {
            end += line.len();
            let code = line.split("--").next().unwrap_or(line);
            if code.trim_end().ends_with(';') {
                break;
            }
        }
        let (statement, after) = rest.split_at(end);
        rest = after;
        (!statement.trim().is_empty()).then_some(statement)
    })
}

fn ask(host: &mut dyn Host, session: &str, statement: &str) -> Result<String, String> {
    let mut bytes = BytesMut::new();
    encode(&format!("Q {statement}"), &mut bytes)?;
    host.send(session, bytes)?;
    let heard = host.settle()?.remove(session).unwrap_or_default();
    shown(heard)
}

/// What psql would print.
fn shown(mut heard: Heard) -> Result<String, String> {
    let mut text = String::new();
    let mut table = None;
    while let Some(reply) = Reply::parse(&mut heard.bytes).map_err(|error| error.to_string())? {
        let told = match reply {
            Reply::RowDescription(body) => {
                let fields = body.fields();
                let fields = fields.map(|field| Ok((field.name().to_owned(), field.type_oid())));
                let columns = fields.collect::<Vec<_>>().map_err(|e| e.to_string())?;
                table = Some(Table {
                    columns,
                    rows: Vec::new(),
                });
                Ok(())
            }
            Reply::DataRow(body) => {
                let row = values(&body)?;
                let table = table.as_mut().ok_or("a row without columns")?;
                table.rows.push(row);
                Ok(())
            }
            Reply::CommandComplete(body) => match table.take() {
                Some(table) => write!(text, "{}", table.text()),
                None => writeln!(text, "{}", body.tag().map_err(|error| error.to_string())?),
            },
            Reply::ErrorResponse(body) => writeln!(text, "ERROR:  {}", message(body.fields())?),
            _ => Ok(()),
        };
        told.map_err(|error| error.to_string())?;
    }
    if heard.waits {
        text.push_str("(waits)\n");
    }
    Ok(text)
}

fn values(row: &DataRowBody) -> Result<Vec<String>, String> {
    let ranges = row.ranges();
    let values = ranges.map(|range| {
        let bytes = range.map_or(&[][..], |range| &row.buffer()[range]);
        Ok(String::from_utf8_lossy(bytes).into_owned())
    });
    values.collect().map_err(|error| error.to_string())
}

fn message(mut fields: ErrorFields<'_>) -> Result<String, String> {
    while let Some(field) = fields.next().map_err(|error| error.to_string())? {
        if field.type_() == b'M' {
            return Ok(String::from_utf8_lossy(field.value_bytes()).into_owned());
        }
    }
    Err("an error without a message".into())
}

/// The rows of a result, and the names and types of its columns.
struct Table {
    columns: Vec<(String, u32)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// As psql aligns them.
    fn text(&self) -> String {
        // smallint, integer, bigint, oid, real, double precision, numeric.
        const NUMBERS: [u32; 7] = [21, 23, 20, 26, 700, 701, 1700];
        let widths = self.columns.iter().enumerate().map(|(at, (name, _))| {
            let values = self.rows.iter().map(|row| row[at].chars().count());
            values.chain([name.chars().count()]).max().unwrap_or(0)
        });
        let widths: Vec<usize> = widths.collect();
        let titles = self.columns.iter().zip(&widths);
        let titles = titles.map(|((name, _), width)| format!(" {name:^width$} "));
        let mut lines = vec![
            titles.collect::<Vec<_>>().join("|"),
            widths
                .iter()
                .map(|width| "-".repeat(width + 2))
                .collect::<Vec<_>>()
                .join("+"),
        ];
        for row in &self.rows {
            let cells = row.iter().zip(&self.columns).zip(&widths);
            let cells = cells.map(|((value, (_, oid)), width)| match NUMBERS.contains(oid) {
                true => format!(" {value:>width$} "),
                false => format!(" {value:<width$} "),
            });
            lines.push(cells.collect::<Vec<_>>().join("|"));
        }
        let s = if self.rows.len() == 1 { "" } else { "s" };
        lines.push(format!("({} row{s})", self.rows.len()));
        let lines = lines.iter().map(|line| format!("{}\n", line.trim_end()));
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# A page\n\n```sql\nselect 1 as one, 'x' as name;\ncreate table t (id int);\n```\n\n\
        ```text\n\n```\n\nMore.\n\n<!-- session: b -->\n```sql\ninsert into t\nvalues (1); -- one\n```\n";

    #[test]
    fn a_page_taken_apart_is_the_same_page() {
        assert_eq!(written(&pieces(PAGE)), PAGE);
    }

    #[test]
    fn results_are_shown_as_psql_shows_them() {
        let answered = answered(&mut Fake::new(&[]), &pieces(PAGE)).unwrap();
        let shown = written(&answered);
        let expected =
            "```text\n one | name\n-----+------\n   1 | x\n(1 row)\n\nCREATE TABLE\n```\n";
        assert!(shown.contains(expected), "{shown}");
        assert!(matches!(&answered[3], Piece::Sql { session, .. } if session == "b"));
    }

    #[test]
    fn a_block_without_a_result_must_not_fail() {
        let page = pieces("```sql\nselect 1 / 0;\n```\n");
        let error = answered(&mut Fake::new(&[]), &page).unwrap_err();
        assert!(error.contains("division by zero"), "{error}");
    }
}
