//! Cursors and prepared statements by SQL.

use std::sync::Arc;

use squawk_syntax::{SyntaxKind as K, SyntaxNode};

use super::expr::child_exprs;
use super::operand::{is_type, type_name};
use super::tree::{Tree, child, child_name, child_of, children, has};
use crate::sql::ast::{Command, Declare, Direction, Execute, Fetch, Name, Prepare, Statement};

/// The statement inside of DECLARE or PREPARE: it is prepared and run as if it stood alone.
fn inner(tree: &Tree<'_>, node: &SyntaxNode) -> Option<Arc<Statement>> {
    let starts = |child: &SyntaxNode| {
        matches!(
            child.kind(),
            K::SELECT
                | K::VALUES
                | K::TABLE
                | K::PAREN_SELECT
                | K::COMPOUND_SELECT
                | K::INSERT
                | K::UPDATE
                | K::DELETE
                | K::MERGE
        )
    };
    let inner = node.children().find(starts)?;
    Some(Arc::new(Statement {
        command: super::command(tree, &inner),
        text: inner.text().to_string().trim().into(),
        source: node.text().to_string().trim().into(),
        start: tree.at(&inner),
        params: tree.params(),
        notices: Vec::new(),
    }))
}

/// Lowers DECLARE.
pub(super) fn declare(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    let (Some(name), Some(query)) = (child_name(node, K::CURSOR), inner(tree, node)) else {
        return Command::Unsupported("this DECLARE".into());
    };
    let given = |kind| child(node, kind).is_some();
    if let Command::Unsupported(what) = &query.command {
        return Command::Unsupported(what.clone());
    }
    Command::Declare(Box::new(Declare {
        name,
        binary: has(node, K::BINARY_KW),
        insensitive: given(K::INSENSITIVE),
        scroll: match (given(K::SCROLL), given(K::NO_SCROLL)) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        },
        hold: given(K::WITH_HOLD),
        query,
    }))
}

/// Lowers FETCH and MOVE.
pub(super) fn fetch(node: &SyntaxNode) -> Command {
    let moves = node.kind() == K::MOVE;
    let lacking = || Command::Unsupported(if moves { "this MOVE" } else { "this FETCH" }.into());
    let Some(name) = child_name(node, K::CURSOR_REF) else {
        return lacking();
    };
    let kinds = [
        K::NEXT,
        K::PRIOR,
        K::FIRST,
        K::LAST,
        K::ABSOLUTE,
        K::RELATIVE,
        K::FORWARD,
        K::BACKWARD,
        K::ALL,
    ];
    let clause = child_of(node, &kinds);
    let number = number(clause.as_ref().unwrap_or(node));
    let all = clause.as_ref().is_some_and(|clause| has(clause, K::ALL_KW));
    let count = match (all, number) {
        (true, _) => None,
        (false, number) => Some(number.unwrap_or(1)),
    };
    let direction = match clause.map(|clause| clause.kind()) {
        Some(K::PRIOR | K::BACKWARD) => Direction::Backward(count),
        Some(K::FIRST) => Direction::Absolute(1),
        Some(K::LAST) => Direction::Absolute(-1),
        Some(K::ABSOLUTE) => Direction::Absolute(number.unwrap_or(0)),
        Some(K::RELATIVE) => Direction::Relative(number.unwrap_or(0)),
        _ => Direction::Forward(count),
    };
    Command::Fetch(Fetch {
        name,
        direction,
        moves,
    })
}

/// The count of a direction.
fn number(node: &SyntaxNode) -> Option<i64> {
    let number = child_of(node, &[K::LITERAL, K::PREFIX_EXPR])?;
    let text: String = number.text().to_string().split_whitespace().collect();
    text.parse().ok()
}

/// Lowers CLOSE.
pub(super) fn close(node: &SyntaxNode) -> Command {
    Command::CloseCursor(child_name(node, K::CURSOR_REF))
}

/// Lowers PREPARE.
pub(super) fn prepare(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    let name: Option<Name> = child_name(node, K::PREPARED_STATEMENT);
    let (Some(name), Some(statement)) = (name, inner(tree, node)) else {
        return Command::Unsupported("this PREPARE".into());
    };
    if let Command::Unsupported(what) = &statement.command {
        return Command::Unsupported(what.clone());
    }
    let types = child(node, K::PARAM_LIST).into_iter();
    let types = types.flat_map(|list| children(&list, K::PARAM).collect::<Vec<_>>());
    let types = types.filter_map(|param| param.children().find(is_type));
    Command::Prepare(Box::new(Prepare {
        name,
        types: types.map(|ty| type_name(tree, &ty)).collect(),
        statement,
    }))
}

/// Lowers EXECUTE.
pub(super) fn execute(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    let Some(name) = child_name(node, K::PREPARED_STATEMENT_REF) else {
        return Command::Unsupported("this EXECUTE".into());
    };
    let args = child(node, K::ARG_LIST).into_iter();
    let args = args.flat_map(|list| children(&list, K::ARG).collect::<Vec<_>>());
    Command::Execute(Box::new(Execute {
        name,
        args: args.flat_map(|arg| child_exprs(tree, &arg)).collect(),
    }))
}
