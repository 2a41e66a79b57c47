//! Reading the parser's tree: children by kind, names, places.
//!
//! A [`Tree`] also counts the parameters met while lowering one statement.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use squawk_syntax::{SyntaxKind, SyntaxNode, SyntaxToken};

use crate::error::{PgError, SqlState};
use crate::sql::ast::{Name, QualifiedName, Relation};
use crate::types::text::truncate;

/// The source text and what lowering has seen of it.
pub(super) struct Tree<'a> {
    text: &'a str,
    params: Cell<usize>,
    refused: RefCell<Option<PgError>>,
    /// The last place asked for: its offset and its position. The next is mostly near.
    near: Cell<(usize, u32)>,
}

impl<'a> Tree<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Tree {
            text,
            params: Cell::new(0),
            refused: RefCell::new(None),
            near: Cell::new((0, 1)),
        }
    }

    /// The highest parameter number seen.
    pub(super) fn params(&self) -> usize {
        self.params.get()
    }

    /// Records `$n`.
    pub(super) fn saw_param(&self, number: usize) {
        self.params.set(self.params.get().max(number));
    }

    /// Notes a place where PostgreSQL's grammar would have stopped.
    pub(super) fn refuse(&self, at: u32) {
        let place = (at as usize).checked_sub(1);
        if let Some((offset, _)) = place.and_then(|place| self.text.char_indices().nth(place)) {
            self.refuse_with(self.syntax_error(offset));
        }
    }

    /// Notes what it would have refused in words of its own.
    pub(super) fn refuse_with(&self, error: PgError) {
        self.refused.borrow_mut().get_or_insert(error);
    }

    /// The error for what was refused first, if anything.
    pub(super) fn refusal(&self) -> Option<PgError> {
        self.refused.borrow().clone()
    }

    /// Where a node starts, in characters from 1, as error messages count.
    pub(super) fn at(&self, node: &SyntaxNode) -> u32 {
        self.position(usize::from(node.text_range().start()))
    }

    /// Where a token starts.
    pub(super) fn token_at(&self, token: &SyntaxToken) -> u32 {
        self.position(usize::from(token.text_range().start()))
    }

    fn position(&self, offset: usize) -> u32 {
        let offset = offset.min(self.text.len());
        let (from, position) = match self.near.get() {
            near if near.0 <= offset => near,
            _ => (0, 1),
        };
        let between = &self.text.as_bytes()[from..offset];
        // Continuation bytes are not characters.
        let characters = between.iter().filter(|b| (**b & 0xC0) != 0x80).count();
        let position = position + characters as u32;
        self.near.set((offset, position));
        position
    }

    /// A place in the text, in characters from 1.
    pub(super) fn place(&self, offset: usize) -> u32 {
        self.position(offset)
    }

    /// Whether nothing stands between.
    pub(super) fn is_blank(&self, from: usize, to: usize) -> bool {
        let between = self.text.get(from..to);
        between.is_some_and(|between| skip_blank(between).is_empty())
    }

    /// The error PostgreSQL gives for a statement it cannot parse.
    pub(super) fn syntax_error(&self, offset: usize) -> PgError {
        let rest = self.text.get(offset..).unwrap_or("");
        let skipped = rest.len() - skip_blank(rest).len();
        let rest = &rest[skipped..];
        let position = self.position(offset + skipped) as usize;
        match first_token(rest) {
            "" => PgError::syntax_error_at_end().at(position),
            token => PgError::syntax_error_near(token).at(position),
        }
    }
}

/// Skips white space and comments.
fn skip_blank(mut text: &str) -> &str {
    loop {
        let trimmed = text.trim_start();
        if let Some(rest) = trimmed.strip_prefix("--") {
            text = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(rest) = trimmed.strip_prefix("/*") {
            text = rest.split_once("*/").map_or("", |(_, rest)| rest);
        } else {
            return trimmed;
        }
    }
}

/// The token a text starts with, roughly as PostgreSQL's scanner cuts it.
fn first_token(text: &str) -> &str {
    let Some(first) = text.chars().next() else {
        return "";
    };
    let end = if first.is_alphanumeric() || first == '_' || first == '$' {
        text.find(|c: char| {
            !(c.is_alphanumeric() || c == '_' || c == '$' || c == '.' && first.is_ascii_digit())
        })
    } else if first == '\'' || first == '"' {
        text[1..].find(first).map(|at| at + 2)
    } else {
        Some(first.len_utf8())
    };
    &text[..end.unwrap_or(text.len())]
}

/// The first child of this kind.
pub(super) fn child(node: &SyntaxNode, kind: SyntaxKind) -> Option<SyntaxNode> {
    node.children().find(|child| child.kind() == kind)
}

/// The first child of one of these kinds.
pub(super) fn child_of(node: &SyntaxNode, kinds: &[SyntaxKind]) -> Option<SyntaxNode> {
    node.children().find(|child| kinds.contains(&child.kind()))
}

/// All children of this kind.
pub(super) fn children(
    node: &SyntaxNode,
    kind: SyntaxKind,
) -> impl Iterator<Item = SyntaxNode> + use<> {
    node.children().filter(move |child| child.kind() == kind)
}

/// Whether the node has this token of its own.
pub(super) fn has(node: &SyntaxNode, kind: SyntaxKind) -> bool {
    token(node, kind).is_some()
}

/// The node's own token of this kind.
pub(super) fn token(node: &SyntaxNode, kind: SyntaxKind) -> Option<SyntaxToken> {
    node.children_with_tokens()
        .filter_map(|element| element.into_token())
        .find(|token| token.kind() == kind)
}

/// The name a node spells, folded and cut.
pub(super) fn name(node: &SyntaxNode) -> Name {
    let name = squawk_syntax::ast::normalize_name_node(node);
    Arc::from(truncate(&name, NAME_MAX))
}

/// How many bytes a name has at most: `NAMEDATALEN` less its terminator.
const NAME_MAX: usize = 63;

/// What is said of names within a node that are cut, as its scanner meets them
/// (`truncate_identifier`).
pub(super) fn cut_names(node: &SyntaxNode) -> Vec<PgError> {
    if usize::from(node.text_range().len()) <= NAME_MAX {
        return Vec::new();
    }
    let tokens = node.descendants_with_tokens();
    let names = tokens
        .filter_map(|part| part.into_token())
        .filter(|token| {
            token.kind() == SyntaxKind::IDENT && usize::from(token.text_range().len()) > NAME_MAX
        })
        .filter_map(|token| token.parent())
        .map(|named| squawk_syntax::ast::normalize_name_node(&named));
    let long = names.filter(|name| name.len() > NAME_MAX);
    long.map(|name| {
        let cut = truncate(&name, NAME_MAX);
        let message = format!("identifier \"{name}\" will be truncated to \"{cut}\"");
        PgError::notice(SqlState::NAME_TOO_LONG, message)
    })
    .collect()
}

/// The name of the first child of this kind.
pub(super) fn child_name(node: &SyntaxNode, kind: SyntaxKind) -> Option<Name> {
    child(node, kind).map(|child| name(&child))
}

/// A dotted path, wherever in `node` it starts.
pub(super) fn path(node: &SyntaxNode) -> QualifiedName {
    let mut names = Vec::new();
    collect_path(node, &mut names);
    names
}

fn collect_path(node: &SyntaxNode, names: &mut QualifiedName) {
    match node.kind() {
        SyntaxKind::PATH_SEGMENT | SyntaxKind::PATH_SEGMENT_REF => {
            if node.first_token().is_some() {
                names.push(name(node));
            }
        }
        _ => {
            for child in node.children() {
                collect_path(&child, names);
            }
        }
    }
}

/// A relation named by `node`.
pub(super) fn relation(tree: &Tree<'_>, node: &SyntaxNode) -> Relation {
    let start = node
        .descendants()
        .find(|child| {
            matches!(
                child.kind(),
                SyntaxKind::PATH_SEGMENT | SyntaxKind::PATH_SEGMENT_REF
            )
        })
        .unwrap_or_else(|| node.clone());
    Relation {
        name: path(node),
        at: tree.at(&start),
    }
}
