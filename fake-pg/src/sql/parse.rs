//! From text to [`ast`](super::ast). This file and its folder are the only
//! ones that name the parser, squawk-syntax.
//!
//! The parser's tree is read by kind of node; what fake-pg lacks becomes
//! [`Command::Unsupported`] or [`Expr::Unsupported`], so lowering itself never
//! fails. Syntax errors are reported as PostgreSQL does: `42601`, at the token
//! where the grammar stops.

mod alter;
mod copy;
mod cursor;
mod ddl;
mod depth;
mod dml;
mod expr;
mod operand;
mod escape;
mod maintain;
mod query;
mod role;
mod schema;
mod tree;
mod types;
mod utility;
mod view;

use std::sync::Arc;

use squawk_lexer::{LiteralKind, TokenKind, tokenize};
use squawk_syntax::ast::AstNode;
use squawk_syntax::syntax_error::SyntaxError;
use squawk_syntax::{Parse, SourceFile, SyntaxKind, SyntaxNode};

use super::ast::{Command, Expr, QueryBody, Statement, Target};
use super::quote::quote_name;
use crate::error::{PgError, SqlState};
pub(crate) use depth::{DEPTH_MAX, depth, too_deep};
use tree::Tree;

/// Parses a script of statements separated by semicolons.
///
/// Empty statements between semicolons are dropped; a script without any
/// statement gives one [`Command::Empty`], as the simple protocol wants it.
///
/// What is nested too deeply for a stack is refused (`54001`) before it is parsed.
pub fn parse_script(text: &str) -> Result<Arc<[Statement]>, PgError> {
    depth::check(text)?;
    let parsed = SourceFile::parse(text);
    // To be asked for once: each time the whole tree is validated.
    let errors = parsed.errors();
    if !errors.is_empty()
        && let Some(other) = as_assignment(text)
        && let parsed = SourceFile::parse(&other)
        && parsed.errors().is_empty()
    {
        return statements(&other, text, &parsed);
    }
    let read = || match errors.first() {
        Some(error) => Err(refused(text, &parsed, error)),
        None => statements(text, text, &parsed),
    };
    if text.len() < LONG {
        return read();
    }
    // Ten thousand terms of OR are ten thousand levels, and a tree is freed by recursion. So its
    // nodes are held one by one, and let go from the root on.
    let root = parsed.tree();
    let nodes = root.syntax().descendants();
    let held: Vec<_> = nodes.map(|node| node.green().into_owned()).collect();
    let result = read();
    drop((root, parsed));
    held.into_iter().for_each(drop);
    result
}

/// The length of a text whose tree may be too deep to be freed at once.
const LONG: usize = 4096;

/// What [`as_assignment`] writes for NAMES, which nobody can have meant.
const NAMES: &str = "\u{1}\u{1}\u{1}";

/// SET NAMES as an assignment of the same length, since the parser does not know it.
fn as_assignment(text: &str) -> Option<String> {
    let mut other = text.to_string();
    let mut end = 0;
    let tokens = tokenize(text).map(|token| {
        end += token.len as usize;
        (end - token.len as usize, token.kind)
    });
    let tokens: Vec<(usize, TokenKind)> = tokens.collect();
    let word = |at: usize| {
        let end = tokens.get(at + 1).map_or(text.len(), |next| next.0);
        text[tokens[at].0..end].to_ascii_lowercase()
    };
    for at in 4..tokens.len() {
        let is_value = matches!(tokens[at].1, TokenKind::Literal { .. });
        if !is_value || tokens[at - 1].1 != TokenKind::Whitespace || word(at - 2) != "names" {
            continue;
        }
        if ["set", "session", "local"].contains(&&*word(at - 4)) {
            let start = tokens[at - 2].0;
            other.replace_range(start..start + 6, &format!("\"{NAMES}\"="));
        }
    }
    (other != text).then_some(other)
}

/// What PostgreSQL says of a text in which the parser has found this first.
fn refused(text: &str, parsed: &Parse<SourceFile>, error: &SyntaxError) -> PgError {
    let tree = Tree::new(text);
    let mut offset = u32::from(error.range().start()) as usize;
    if error.message().contains("trailing comma") {
        // PostgreSQL takes the comma and stops at what follows.
        offset += 1;
    }
    if let Some(error) = escape::wrong_before(&tree, parsed.tree().syntax(), offset) {
        return error;
    }
    match unterminated(text) {
        Some((start, what)) if start <= offset || tree.is_blank(offset, start) => {
            let near = &text[start..];
            let message = format!("unterminated {what} at or near \"{near}\"");
            PgError::new(SqlState::SYNTAX_ERROR, message).near(tree.place(start))
        }
        _ => tree.syntax_error(offset),
    }
}

/// The statements of a text that was parsed, perhaps in other words of the same length.
fn statements(
    text: &str,
    written: &str,
    parsed: &Parse<SourceFile>,
) -> Result<Arc<[Statement]>, PgError> {
    let tree = Tree::new(text);
    let source: Arc<str> = written.into();
    let root = parsed.tree();
    let mut statements = Vec::new();
    for node in root.syntax().children() {
        if node.kind() == SyntaxKind::EMPTY_STMT {
            continue;
        }
        let range = node.text_range();
        let (start, end) = (usize::from(range.start()), usize::from(range.end()));
        let own = written[start..end]
            .trim_end()
            .trim_end_matches(';')
            .trim_end();
        let tree = Tree::new(text);
        let command = command(&tree, &node);
        if let Some(error) = tree.refusal() {
            return Err(error);
        }
        statements.push(Statement {
            text: own.into(),
            source: source.clone(),
            start: tree.at(&node),
            params: tree.params(),
            notices: tree::cut_names(&node),
            command,
        });
    }
    if statements.is_empty() {
        if let Some(error) = tree.refusal() {
            return Err(error);
        }
        statements.push(Statement {
            text: "".into(),
            source: source.clone(),
            start: 1,
            command: Command::Empty,
            params: 0,
            notices: Vec::new(),
        });
    }
    Ok(statements.into())
}

/// What begins somewhere in the text and does not end, as the scanner calls it (`scan.l`).
fn unterminated(text: &str) -> Option<(usize, &'static str)> {
    let mut end = 0;
    let tokens = tokenize(text).map(|token| {
        end += token.len as usize;
        (end - token.len as usize, token.kind)
    });
    tokens.last().and_then(|(start, kind)| {
        let what = match kind {
            TokenKind::BlockComment { terminated: false } => "/* comment",
            TokenKind::QuotedIdent {
                terminated: false, ..
            } => "quoted identifier",
            TokenKind::Literal { kind } => match kind {
                LiteralKind::Str { terminated: false }
                | LiteralKind::EscStr { terminated: false }
                | LiteralKind::NationalStr { terminated: false }
                | LiteralKind::UnicodeEscStr { terminated: false } => "quoted string",
                LiteralKind::DollarQuotedString { terminated: false } => "dollar-quoted string",
                LiteralKind::ByteStr { terminated: false } => "hexadecimal string literal",
                LiteralKind::BitStr { terminated: false } => "bit string literal",
                _ => return None,
            },
            _ => return None,
        };
        Some((start, what))
    })
}

/// Parses an expression of the catalog: a default, a check.
pub(crate) fn expression(text: &str) -> Result<Expr, PgError> {
    let script = parse_script(&format!("select {text}"))?;
    if let Some(Command::Query(query)) = script.first().map(|statement| &statement.command)
        && let QueryBody::Select(select) = &query.body
        && let [Target::Expr(expr, None)] = &select.targets[..]
    {
        return Ok(expr.clone());
    }
    Err(PgError::syntax_error_near(text))
}

/// An expression of the catalog with a column under another name.
pub(crate) fn rename_column(text: &str, from: &str, to: &str) -> String {
    let prefix = "select ";
    let parsed = SourceFile::parse(&format!("{prefix}{text}")).tree();
    let mut renamed = text.to_string();
    let named = parsed
        .syntax()
        .descendants()
        .filter(|node| node.kind() == SyntaxKind::NAME_REF && *tree::name(node) == *from);
    let mut places: Vec<_> = named.map(|node| node.text_range()).collect();
    places.sort_by_key(|range| std::cmp::Reverse(range.start()));
    for range in places {
        let (start, end) = (usize::from(range.start()), usize::from(range.end()));
        if let (Some(start), Some(end)) = (
            start.checked_sub(prefix.len()),
            end.checked_sub(prefix.len()),
        ) {
            renamed.replace_range(start..end, &quote_name(to));
        }
    }
    renamed
}

/// Lowers one statement.
fn command(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    use SyntaxKind as K;
    match node.kind() {
        K::SELECT | K::VALUES | K::TABLE | K::PAREN_SELECT | K::COMPOUND_SELECT => {
            query::query(tree, node).map_or_else(Command::Unsupported, |query| {
                Command::Query(Box::new(query))
            })
        }
        K::INSERT => dml::insert(tree, node),
        K::UPDATE => dml::update(tree, node),
        K::DELETE => dml::delete(tree, node),
        K::CREATE_TABLE => ddl::create_table(tree, node),
        K::CREATE_INDEX => ddl::create_index(tree, node),
        K::CREATE_SEQUENCE => ddl::create_sequence(tree, node),
        K::DROP_TABLE | K::DROP_INDEX | K::DROP_SEQUENCE | K::DROP_VIEW | K::DROP_SCHEMA => {
            ddl::drop(tree, node)
        }
        K::CREATE_VIEW => view::create_view(tree, node),
        K::CREATE_TABLE_AS => view::create_table_as(tree, node),
        K::COMMENT_ON => view::comment(tree, node),
        K::REINDEX => view::reindex(tree, node),
        K::CREATE_EXTENSION => view::create_extension(node),
        K::COPY => copy::copy(tree, node),
        K::ALTER_TABLE | K::ALTER_INDEX | K::ALTER_VIEW => alter::alter(tree, node),
        K::ALTER_SEQUENCE => alter::alter_sequence(tree, node),
        K::CREATE_TYPE => types::create(tree, node),
        K::ALTER_TYPE => types::alter(tree, node),
        K::DROP_TYPE => types::drop(tree, node),
        K::CREATE_SCHEMA => schema::create_schema(node),
        K::ALTER_SCHEMA => schema::alter_schema(node),
        K::CREATE_DATABASE => schema::create_database(node),
        K::DROP_DATABASE => schema::drop_database(node),
        K::VACUUM | K::ANALYZE => maintain::vacuum(tree, node),
        K::CHECKPOINT => Command::Checkpoint,
        K::TRUNCATE => ddl::truncate(tree, node),
        K::LOCK => ddl::lock(tree, node),
        K::SET_CONSTRAINTS => ddl::set_constraints(node),
        K::CREATE_ROLE | K::CREATE_USER | K::CREATE_GROUP => role::create(tree, node),
        K::ALTER_ROLE | K::ALTER_USER => role::alter(tree, node),
        K::DROP_ROLE | K::DROP_USER | K::DROP_GROUP => role::drop(node),
        K::GRANT | K::REVOKE => role::grant(tree, node),
        K::SET_ROLE | K::RESET_ROLE | K::SET_SESSION_AUTH | K::RESET_SESSION_AUTH => {
            role::act_as(node)
        }
        K::DECLARE => cursor::declare(tree, node),
        K::FETCH | K::MOVE => cursor::fetch(node),
        K::CLOSE => cursor::close(node),
        K::PREPARE => cursor::prepare(tree, node),
        K::EXECUTE => cursor::execute(tree, node),
        _ => utility::command(tree, node),
    }
}

#[cfg(test)]
mod tests;
