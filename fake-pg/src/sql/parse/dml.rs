//! INSERT, UPDATE, DELETE.

use std::sync::Arc;

use squawk_syntax::{SyntaxKind as K, SyntaxNode};

use super::expr::{child_expr, child_exprs};
use super::query::{filter, from, inner_query, query, targets, with};
use super::tree::{Tree, child, child_name, child_of, children, has, name, path, relation};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{
    Assignment, Command, ConflictTarget, Delete, Expr, Insert, Name, OnConflict, Target, Update,
};

type Lacking = Arc<str>;

/// Lowers INSERT.
pub(super) fn insert(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    let lower = || -> Result<Insert, Lacking> {
        let table = child(node, K::RELATION_NAME_REF).ok_or("this INSERT")?;
        let source = child_of(
            node,
            &[
                K::DEFAULT_VALUES,
                K::SELECT,
                K::VALUES,
                K::TABLE,
                K::PAREN_SELECT,
                K::COMPOUND_SELECT,
            ],
        )
        .ok_or("this INSERT")?;
        Ok(Insert {
            with: with(tree, node)?,
            table: relation(tree, &table),
            alias: child(node, K::REQUIRED_AS_ALIAS)
                .and_then(|alias| child_name(&alias, K::TABLE_ALIAS)),
            columns: child(node, K::COLUMN_TARGET_LIST)
                .map_or(Ok(Vec::new()), |list| columns(tree, &list))?,
            overriding: child_of(
                node,
                &[K::OVERRIDING_SYSTEM_VALUE, K::OVERRIDING_USER_VALUE],
            )
            .map(|clause| clause.kind() == K::OVERRIDING_SYSTEM_VALUE),
            source: match source.kind() {
                K::DEFAULT_VALUES => None,
                _ => Some(query(tree, &source)?),
            },
            on_conflict: child(node, K::ON_CONFLICT_CLAUSE)
                .map(|clause| on_conflict(tree, &clause))
                .transpose()?,
            returning: returning(tree, node)?,
        })
    };
    lower().map_or_else(Command::Unsupported, |insert| {
        Command::Insert(Box::new(insert))
    })
}

fn columns(tree: &Tree<'_>, list: &SyntaxNode) -> Result<Vec<(Name, u32)>, Lacking> {
    children(list, K::COLUMN_TARGET)
        .map(|target| column_target(tree, &target))
        .collect()
}

fn column_target(tree: &Tree<'_>, target: &SyntaxNode) -> Result<(Name, u32), Lacking> {
    if target.children().count() != 1 {
        return Err("assigning to a part of a column".into());
    }
    let column = child(target, K::COLUMN_NAME_REF).ok_or("this column")?;
    Ok((name(&column), tree.at(&column)))
}

fn returning(tree: &Tree<'_>, node: &SyntaxNode) -> Result<Vec<Target>, Lacking> {
    match child(node, K::RETURNING_CLAUSE) {
        Some(clause) if child(&clause, K::RETURNING_OPTION_LIST).is_some() => {
            Err("RETURNING WITH".into())
        }
        Some(clause) => Ok(targets(tree, &clause)),
        None => Ok(Vec::new()),
    }
}

fn on_conflict(tree: &Tree<'_>, clause: &SyntaxNode) -> Result<OnConflict, Lacking> {
    let target = if let Some(constraint) = child(clause, K::CONFLICT_ON_CONSTRAINT) {
        let names = path(&constraint);
        ConflictTarget::Constraint(names.last().cloned().ok_or("this ON CONFLICT")?)
    } else if let Some(index) = child(clause, K::CONFLICT_ON_INDEX) {
        let list = child(&index, K::CONFLICT_INDEX_ITEM_LIST).ok_or("this ON CONFLICT")?;
        let columns = children(&list, K::CONFLICT_INDEX_ITEM)
            .filter_map(|item| child_expr(tree, &item))
            .collect();
        ConflictTarget::Columns(columns, filter(tree, &index), tree.at(&index))
    } else {
        ConflictTarget::Any
    };
    let update = match child_of(clause, &[K::CONFLICT_DO_NOTHING, K::CONFLICT_DO_UPDATE_SET]) {
        Some(action) if action.kind() == K::CONFLICT_DO_UPDATE_SET => {
            Some((assignments(tree, &action)?, filter(tree, &action)))
        }
        Some(_) => None,
        None => return Err("ON CONFLICT DO SELECT".into()),
    };
    Ok(OnConflict {
        target,
        update,
        at: tree.at(clause),
    })
}

fn assignments(tree: &Tree<'_>, node: &SyntaxNode) -> Result<Vec<Assignment>, Lacking> {
    let list = child(node, K::SET_CLAUSE)
        .and_then(|clause| child(&clause, K::SET_COLUMN_LIST))
        .ok_or("this SET")?;
    let mut assignments = Vec::new();
    for item in list.children() {
        if let Some(target) = child(&item, K::COLUMN_TARGET) {
            let (column, at) = column_target(tree, &target)?;
            let value = child(&item, K::SET_EXPR).ok_or("this SET")?;
            assignments.push(Assignment {
                column,
                at,
                value: set_expr(tree, &value),
            });
            continue;
        }
        let targets = child(&item, K::COLUMN_TARGET_LIST).ok_or("this SET")?;
        let columns = columns(tree, &targets)?;
        if let Some(inner) = inner_query(&item) {
            let query = Arc::new(query(tree, &inner)?);
            let width = columns.len();
            let start = tree.at(&inner);
            for (place, (column, at)) in columns.into_iter().enumerate() {
                let value = Expr::QueryColumn(query.clone(), place, width, start);
                assignments.push(Assignment { column, at, value });
            }
            continue;
        }
        let values = child(&item, K::SET_EXPR_LIST).ok_or("SET (…) = (SELECT …)")?;
        let values: Vec<Expr> = children(&values, K::SET_EXPR)
            .map(|value| set_expr(tree, &value))
            .collect();
        if columns.len() != values.len() {
            let row = child(&item, K::SET_EXPR_LIST);
            let message = "number of columns does not match number of values";
            let error = PgError::new(SqlState::SYNTAX_ERROR, message);
            tree.refuse_with(error.near(row.map_or(0, |row| tree.at(&row))));
        }
        for ((column, at), value) in columns.into_iter().zip(values) {
            assignments.push(Assignment { column, at, value });
        }
    }
    Ok(assignments)
}

fn set_expr(tree: &Tree<'_>, node: &SyntaxNode) -> Expr {
    if has(node, K::DEFAULT_KW) {
        return Expr::Default(tree.at(node));
    }
    child_exprs(tree, node)
        .pop()
        .unwrap_or_else(|| Expr::Unsupported("this SET".into()))
}

/// Lowers UPDATE.
pub(super) fn update(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    let lower = || -> Result<Update, Lacking> {
        refuse_odd_clauses(node)?;
        let table = child(node, K::RELATION_NAME).ok_or("this UPDATE")?;
        Ok(Update {
            with: with(tree, node)?,
            table: relation(tree, &table),
            alias: alias(node),
            set: assignments(tree, node)?,
            from: child(node, K::FROM_CLAUSE)
                .map_or(Ok(Vec::new()), |clause| from(tree, &clause))?,
            filter: filter(tree, node),
            current_of: current_of(node),
            returning: returning(tree, node)?,
        })
    };
    lower().map_or_else(Command::Unsupported, |update| {
        Command::Update(Box::new(update))
    })
}

/// Lowers DELETE.
pub(super) fn delete(tree: &Tree<'_>, node: &SyntaxNode) -> Command {
    let lower = || -> Result<Delete, Lacking> {
        refuse_odd_clauses(node)?;
        let table = child(node, K::RELATION_NAME).ok_or("this DELETE")?;
        Ok(Delete {
            with: with(tree, node)?,
            table: relation(tree, &table),
            alias: alias(node),
            using: child(node, K::USING_CLAUSE)
                .map_or(Ok(Vec::new()), |clause| from(tree, &clause))?,
            filter: filter(tree, node),
            current_of: current_of(node),
            returning: returning(tree, node)?,
        })
    };
    lower().map_or_else(Command::Unsupported, |delete| {
        Command::Delete(Box::new(delete))
    })
}

fn alias(node: &SyntaxNode) -> Option<Name> {
    child(node, K::OPTIONAL_AS_ALIAS).and_then(|alias| child_name(&alias, K::TABLE_ALIAS))
}

fn current_of(node: &SyntaxNode) -> Option<Name> {
    child(node, K::WHERE_CURRENT_OF).and_then(|clause| child_name(&clause, K::CURSOR_REF))
}

fn refuse_odd_clauses(node: &SyntaxNode) -> Result<(), Lacking> {
    let others = child_of(node, &[K::FROM_CLAUSE, K::USING_CLAUSE]);
    if current_of(node).is_some() && others.is_some() {
        return Err("WHERE CURRENT OF beside other tables".into());
    }
    if child(node, K::FOR_PORTION_OF).is_some() {
        return Err("FOR PORTION OF".into());
    }
    Ok(())
}
