//! CREATE VIEW, CREATE TABLE AS, and statements that change nothing here.

use std::sync::Arc;

use squawk_syntax::{SyntaxKind as K, SyntaxNode};

use super::query::query;
use super::tree::{Tree, child, child_name, child_of, children, has, name, path, relation};
use crate::sql::ast::{Command, CreateTableAs, CreateView, Name, Relation};

type Lacking = Arc<str>;

const QUERIES: [K; 5] = [
    K::SELECT,
    K::VALUES,
    K::TABLE,
    K::PAREN_SELECT,
    K::COMPOUND_SELECT,
];

/// Lowers CREATE VIEW.
pub(super) fn create_view(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    let lower = || -> Result<CreateView, Lacking> {
        for (kind, what) in [
            (K::TEMP, "temporary views"),
            (K::RECURSIVE_KW, "recursive views"),
            (K::WITH_CHECK_OPTION, "WITH CHECK OPTION"),
            (K::WITH_PARAMS, "options of views"),
        ] {
            if child(node, kind).is_some() || has(node, kind) {
                return Err(what.into());
            }
        }
        let view = child(node, K::VIEW).ok_or("this CREATE VIEW")?;
        let inner = child_of(node, &QUERIES).ok_or("this CREATE VIEW")?;
        let columns = child(node, K::COLUMN_LIST);
        Ok(CreateView {
            view: relation(tree, &view),
            or_replace: child(node, K::OR_REPLACE).is_some(),
            columns: columns.map_or(Vec::new(), |list| {
                children(&list, K::COLUMN_NAME)
                    .map(|column| name(&column))
                    .collect()
            }),
            text: inner.text().to_string().trim().into(),
            query: query(tree, &inner)?,
        })
    };
    lower().map_or_else(Command::Unsupported, |create| {
        Command::CreateView(Box::new(create))
    })
}

/// Lowers CREATE TABLE AS.
pub(super) fn create_table_as(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    let lower = || -> Result<CreateTableAs, Lacking> {
        for (kind, what) in [
            (K::TEMP, "temporary tables"),
            (K::ON_COMMIT, "ON COMMIT"),
            (K::USING_METHOD, "table access methods"),
        ] {
            if child(node, kind).is_some() {
                return Err(what.into());
            }
        }
        let table = child(node, K::TABLE_NAME).ok_or("this CREATE TABLE AS")?;
        let inner = child_of(node, &QUERIES).ok_or("CREATE TABLE AS EXECUTE")?;
        let columns = child(node, K::TABLE_ARG_LIST);
        Ok(CreateTableAs {
            table: relation(tree, &table),
            if_not_exists: child(node, K::IF_NOT_EXISTS).is_some(),
            unlogged: child(node, K::UNLOGGED).is_some(),
            columns: columns.map_or(Vec::new(), |list| {
                children(&list, K::COLUMN)
                    .filter_map(|column| child_name(&column, K::COLUMN_NAME))
                    .collect()
            }),
            query: query(tree, &inner)?,
            with_data: child(node, K::WITH_NO_DATA).is_none(),
        })
    };
    lower().map_or_else(Command::Unsupported, |create| {
        Command::CreateTableAs(Box::new(create))
    })
}

/// Lowers COMMENT ON of a table or of what has none of its own.
pub(super) fn comment(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    let object = node.first_child();
    let on: Option<Relation> = object.and_then(|object| match object.kind() {
        K::OBJECT_TABLE | K::OBJECT_VIEW | K::OBJECT_INDEX | K::OBJECT_SEQUENCE => {
            Some(relation(tree, &object))
        }
        K::OBJECT_COLUMN => {
            let mut of = relation(tree, &object);
            of.name.pop();
            Some(of)
        }
        _ => None,
    });
    Command::Comment(on)
}

/// Lowers REINDEX TABLE and REINDEX INDEX.
pub(super) fn reindex(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    match child_of(node, &[K::REINDEX_TARGET_TABLE, K::REINDEX_TARGET_INDEX]) {
        Some(target) => match has(node, K::CONCURRENTLY_KW) || has(&target, K::CONCURRENTLY_KW) {
            true => Command::ReindexConcurrently(relation(tree, &target)),
            false => Command::Reindex(relation(tree, &target)),
        },
        _ => Command::Unsupported("this REINDEX".into()),
    }
}

/// Lowers CREATE EXTENSION.
pub(super) fn create_extension(node: &SyntaxNode) -> Command {
    let named = child(node, K::EXTENSION);
    let name: Name = named.map_or_else(
        || "".into(),
        |named| match path(&named).last() {
            Some(last) => last.clone(),
            None => name(&named),
        },
    );
    if &*name != "plpgsql" {
        return Command::Unsupported(format!("the extension {name}").into());
    }
    Command::CreateExtension {
        name,
        if_not_exists: child(node, K::IF_NOT_EXISTS).is_some(),
    }
}
