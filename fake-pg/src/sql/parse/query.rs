//! SELECT, VALUES, TABLE and what combines them.

use std::sync::Arc;

use squawk_syntax::ast::AstNode;
use squawk_syntax::{SyntaxKind as K, SyntaxNode};

use super::expr::{child_expr, child_exprs, expr, is_expr};
use super::operand::star;
use super::tree::{Tree, child, child_name, child_of, children, has, name, relation};
use crate::sql::ast::{
    Alias, Command, Cte, Distinct, Expr, FromItem, JoinCondition, JoinKind, LockStrength, LockWait,
    Locking, OrderBy, Query, QueryBody, Relation, Select, SetOp, Target, With,
};

/// What is lacking, as the error names it.
type Lacking = Arc<str>;

const QUERIES: [K; 5] = [
    K::SELECT,
    K::VALUES,
    K::TABLE,
    K::PAREN_SELECT,
    K::COMPOUND_SELECT,
];

/// The query inside parentheses, however many there are.
pub(super) fn inner_query(node: &SyntaxNode) -> Option<SyntaxNode> {
    if let Some(query) = child_of(node, &QUERIES) {
        return Some(query);
    }
    inner_query(&child(node, K::PAREN_EXPR)?)
}

/// Lowers a query.
pub(super) fn query(tree: &Tree<'_>, node: &SyntaxNode) -> Result<Query, Lacking> {
    let mut leading = With::default();
    let body = match node.kind() {
        K::SELECT => QueryBody::Select(Box::new(select(tree, node)?)),
        K::VALUES => QueryBody::Values(rows(tree, node)),
        K::TABLE => QueryBody::Select(Box::new(table(tree, node))),
        K::PAREN_SELECT => match inner_query(node) {
            Some(inner) => QueryBody::Nested(Box::new(query(tree, &inner)?)),
            None => return Err("this query".into()),
        },
        K::COMPOUND_SELECT => {
            let (with, body) = set_operation(tree, node)?;
            leading = with;
            body
        }
        _ => return Err("this query".into()),
    };
    for clauses in [
        &[K::ORDER_BY_CLAUSE][..],
        &[K::LIMIT_CLAUSE, K::FETCH_CLAUSE],
        &[K::OFFSET_CLAUSE],
    ] {
        let mut found = node.children().filter(|c| clauses.contains(&c.kind()));
        if let Some(second) = found.nth(1) {
            tree.refuse(tree.at(&second));
        }
    }
    let limit_clause = child(node, K::LIMIT_CLAUSE);
    let mut limit = limit_clause
        .as_ref()
        .and_then(|clause| child_expr(tree, clause));
    if let Some(fetch) = child(node, K::FETCH_CLAUSE) {
        if child(&fetch, K::WITH_TIES).is_some() {
            return Err("FETCH FIRST WITH TIES".into());
        }
        limit = Some(child_expr(tree, &fetch).unwrap_or(Expr::Integer(1, 0)));
    }
    let query = Query {
        with: match leading.tables.is_empty() {
            true => with(tree, node)?,
            false => leading,
        },
        body,
        order_by: child(node, K::ORDER_BY_CLAUSE)
            .map_or(Vec::new(), |clause| order_by(tree, &clause)),
        limit,
        offset: child(node, K::OFFSET_CLAUSE).and_then(|clause| child_expr(tree, &clause)),
        locking: children(node, K::LOCKING_CLAUSE)
            .map(|clause| locking(tree, &clause))
            .collect(),
    };
    // Parentheses that add nothing are no level of their own.
    match query {
        Query {
            with: With { ref tables, .. },
            body: QueryBody::Nested(_),
            ref order_by,
            limit: None,
            offset: None,
            ref locking,
        } if tables.is_empty() && order_by.is_empty() && locking.is_empty() => match query.body {
            QueryBody::Nested(inner) => Ok(*inner),
            _ => unreachable!("matched as nested"),
        },
        query => Ok(query),
    }
}

/// Lowers a WITH clause of any statement.
pub(super) fn with(tree: &Tree<'_>, node: &SyntaxNode) -> Result<With, Lacking> {
    let Some(clause) = child(node, K::WITH_CLAUSE) else {
        return Ok(With::default());
    };
    let mut with = With {
        recursive: has(&clause, K::RECURSIVE_KW),
        tables: Vec::new(),
    };
    for table in children(&clause, K::WITH_TABLE) {
        if child_of(&table, &[K::SEARCH_CLAUSE, K::CYCLE_CLAUSE]).is_some() {
            return Err("SEARCH and CYCLE clauses".into());
        }
        let inner = table
            .children()
            .find(|child| {
                QUERIES.contains(&child.kind())
                    || matches!(child.kind(), K::INSERT | K::UPDATE | K::DELETE | K::MERGE)
            })
            .ok_or("this WITH query")?;
        let command = super::command(tree, &inner);
        if let Command::Unsupported(what) = command {
            return Err(what);
        }
        with.tables.push(Cte {
            name: child_name(&table, K::CTE_NAME).unwrap_or_else(|| "".into()),
            columns: column_list(&table),
            command,
            at: tree.at(&table),
        });
    }
    Ok(with)
}

fn column_list(node: &SyntaxNode) -> Vec<Arc<str>> {
    child(node, K::COLUMN_LIST).map_or(Vec::new(), |list| {
        children(&list, K::COLUMN_NAME)
            .map(|column| name(&column))
            .collect()
    })
}

/// A set operation, and the WITH in front of it: that is the whole's, though the parser's tree has
/// it in the first operand.
fn set_operation(tree: &Tree<'_>, node: &SyntaxNode) -> Result<(With, QueryBody), Lacking> {
    let mut operands = node
        .children()
        .filter(|child| QUERIES.contains(&child.kind()) || child.kind() == K::PAREN_EXPR);
    let (Some(left), Some(right)) = (operands.next(), operands.next()) else {
        return Err("this set operation".into());
    };
    let Some(op) = child_of(node, &[K::UNION, K::INTERSECT, K::EXCEPT]) else {
        return Err("this set operation".into());
    };
    let operand = |node: SyntaxNode| match node.kind() {
        K::PAREN_EXPR => match inner_query(&node) {
            Some(inner) => query(tree, &inner),
            None => Err("this set operation".into()),
        },
        _ => query(tree, &node),
    };
    if child(&right, K::WITH_CLAUSE).is_some() && right.kind() != K::PAREN_SELECT {
        tree.refuse(tree.at(&right));
    }
    let in_parentheses = matches!(left.kind(), K::PAREN_SELECT | K::PAREN_EXPR);
    let mut left = operand(left)?;
    let with = match in_parentheses {
        true => With::default(),
        false => std::mem::take(&mut left.with),
    };
    let body = QueryBody::SetOperation {
        op: match op.kind() {
            K::UNION => SetOp::Union,
            K::INTERSECT => SetOp::Intersect,
            _ => SetOp::Except,
        },
        all: child(&op, K::ALL).is_some(),
        left: Box::new(left),
        right: Box::new(operand(right)?),
    };
    Ok((with, body))
}

/// The rows of VALUES.
pub(super) fn rows(tree: &Tree<'_>, node: &SyntaxNode) -> Vec<Vec<Expr>> {
    child(node, K::ROW_LIST).map_or(Vec::new(), |list| {
        children(&list, K::ROW)
            .map(|row| child_exprs(tree, &row))
            .collect()
    })
}

fn table(tree: &Tree<'_>, node: &SyntaxNode) -> Select {
    Select {
        distinct: None,
        targets: vec![Target::Star(Vec::new(), tree.at(node))],
        from: vec![FromItem::Relation {
            relation: relation(tree, node),
            alias: None,
        }],
        filter: None,
        group_by: Vec::new(),
        having: None,
    }
}

fn select(tree: &Tree<'_>, node: &SyntaxNode) -> Result<Select, Lacking> {
    if child(node, K::WINDOW_CLAUSE).is_some() {
        return Err("window functions".into());
    }
    let Some(clause) = child(node, K::SELECT_CLAUSE) else {
        return Err("this query".into());
    };
    let distinct = child(&clause, K::DISTINCT_CLAUSE).map(|clause| {
        child(&clause, K::DISTINCT_ON)
            .map_or(Distinct::Rows, |on| Distinct::On(child_exprs(tree, &on)))
    });
    let mut group_by = Vec::new();
    if let Some(list) =
        child(node, K::GROUP_BY_CLAUSE).and_then(|clause| child(&clause, K::GROUP_BY_LIST))
    {
        for item in list.children() {
            match (item.kind(), child_expr(tree, &item)) {
                // A list in parentheses is its parts; the empty one is a group of everything.
                (K::GROUPING_EXPR, Some(Expr::Row(parts, _)))
                    if item.first_token().is_some_and(|t| t.kind() == K::L_PAREN)
                        && !parts.is_empty() =>
                {
                    group_by.extend(parts);
                }
                (K::GROUPING_EXPR, Some(expr)) => group_by.push(expr),
                _ => return Err("GROUPING SETS".into()),
            }
        }
    }
    Ok(Select {
        distinct,
        targets: targets(tree, &clause),
        from: child(node, K::FROM_CLAUSE).map_or(Ok(Vec::new()), |clause| from(tree, &clause))?,
        filter: filter(tree, node),
        group_by,
        having: child(node, K::HAVING_CLAUSE).and_then(|clause| child_expr(tree, &clause)),
    })
}

/// The WHERE of any statement.
pub(super) fn filter(tree: &Tree<'_>, node: &SyntaxNode) -> Option<Expr> {
    child(node, K::WHERE_CLAUSE).and_then(|clause| child_expr(tree, &clause))
}

/// The target list below a SELECT or RETURNING clause.
pub(super) fn targets(tree: &Tree<'_>, clause: &SyntaxNode) -> Vec<Target> {
    let Some(list) = child(clause, K::TARGET_LIST) else {
        return Vec::new();
    };
    children(&list, K::TARGET)
        .map(|target| {
            let at = tree.at(&target);
            if has(&target, K::STAR) {
                return Target::Star(Vec::new(), at);
            }
            let Some(node) = target.children().find(is_expr) else {
                return Target::Expr(Expr::Unsupported("this target".into()), None);
            };
            if let Some(names) = star(&node) {
                return Target::Star(names, at);
            }
            let alias =
                child(&target, K::AS_NAME).and_then(|alias| child_name(&alias, K::COLUMN_NAME));
            Target::Expr(expr(tree, &node), alias)
        })
        .collect()
}

/// The items of FROM or USING.
pub(super) fn from(tree: &Tree<'_>, clause: &SyntaxNode) -> Result<Vec<FromItem>, Lacking> {
    clause
        .children()
        .map(|item| from_item(tree, &item))
        .collect()
}

fn from_item(tree: &Tree<'_>, node: &SyntaxNode) -> Result<FromItem, Lacking> {
    let alias = alias(node)?;
    match node.kind() {
        K::RELATION_FROM_ITEM => {
            if child(node, K::TABLESAMPLE_CLAUSE).is_some() {
                return Err("TABLESAMPLE".into());
            }
            Ok(FromItem::Relation {
                relation: relation(tree, node),
                alias,
            })
        }
        K::PAREN_FROM_ITEM => {
            if let Some(inner) = inner_query(node) {
                return Ok(FromItem::Subquery {
                    query: Box::new(query(tree, &inner)?),
                    lateral: has(node, K::LATERAL_KW),
                    alias,
                    at: node
                        .descendants_with_tokens()
                        .filter_map(|element| element.into_token())
                        .find(|token| token.kind() == K::L_PAREN)
                        .map_or(0, |paren| tree.token_at(&paren)),
                });
            }
            let inner = child(node, K::PAREN_EXPR)
                .and_then(|paren| paren.first_child())
                .ok_or("this FROM item")?;
            match alias {
                None => from_item(tree, &inner),
                Some(_) => Err("an alias of a join".into()),
            }
        }
        K::FUNCTION_FROM_ITEM | K::EXPR_FROM_ITEM => {
            let call = child_expr(tree, node).ok_or("this FROM item")?;
            Ok(FromItem::Function {
                call,
                ordinality: child(node, K::WITH_ORDINALITY).is_some(),
                alias,
            })
        }
        K::JOIN_EXPR => join(tree, node),
        _ => Err("this FROM item".into()),
    }
}

fn alias(node: &SyntaxNode) -> Result<Option<Alias>, Lacking> {
    let Some(alias) = child(node, K::FROM_ALIAS) else {
        return Ok(None);
    };
    if child(&alias, K::COLUMN_DEF_LIST).is_some() {
        return Err("a column definition list".into());
    }
    Ok(Some(Alias {
        name: child_name(&alias, K::TABLE_ALIAS).unwrap_or_else(|| "".into()),
        columns: column_list(&alias),
    }))
}

fn join(tree: &Tree<'_>, node: &SyntaxNode) -> Result<FromItem, Lacking> {
    let left = node.first_child().ok_or("this join")?;
    let join = child(node, K::JOIN).ok_or("this join")?;
    let kind = match child_of(
        &join,
        &[
            K::JOIN_INNER,
            K::JOIN_LEFT,
            K::JOIN_RIGHT,
            K::JOIN_FULL,
            K::JOIN_CROSS,
        ],
    )
    .map(|kind| kind.kind())
    {
        Some(K::JOIN_LEFT) => JoinKind::Left,
        Some(K::JOIN_RIGHT) => JoinKind::Right,
        Some(K::JOIN_FULL) => JoinKind::Full,
        _ => JoinKind::Inner,
    };
    let right = join
        .children()
        .find(|child| squawk_syntax::ast::FromListItem::can_cast(child.kind()))
        .ok_or("this join")?;
    let condition = if has(&join, K::NATURAL_KW) {
        JoinCondition::Natural
    } else if let Some(on) = child(&join, K::ON_CLAUSE) {
        JoinCondition::On(child_expr(tree, &on).ok_or("this join")?)
    } else if let Some(using) = child(&join, K::JOIN_USING_CLAUSE) {
        let list = child(&using, K::COLUMN_REF_LIST).ok_or("this join")?;
        JoinCondition::Using(
            children(&list, K::COLUMN_NAME_REF)
                .map(|column| name(&column))
                .collect(),
        )
    } else {
        JoinCondition::None
    };
    Ok(FromItem::Join {
        kind,
        left: Box::new(from_item(tree, &left)?),
        right: Box::new(from_item(tree, &right)?),
        condition,
    })
}

/// ORDER BY.
pub(super) fn order_by(tree: &Tree<'_>, clause: &SyntaxNode) -> Vec<OrderBy> {
    let Some(list) = child(clause, K::SORT_BY_LIST) else {
        return Vec::new();
    };
    children(&list, K::SORT_BY)
        .filter_map(|item| {
            let descending = child(&item, K::SORT_DESC).is_some();
            let nulls = child_of(&item, &[K::NULLS_FIRST, K::NULLS_LAST]).map(|node| node.kind());
            let expr = if child(&item, K::SORT_USING).is_some() {
                Expr::Unsupported("ORDER BY USING".into())
            } else {
                child_expr(tree, &item)?
            };
            Some(OrderBy {
                expr,
                descending,
                nulls_first: nulls.map_or(descending, |kind| kind == K::NULLS_FIRST),
            })
        })
        .collect()
}

fn locking(tree: &Tree<'_>, clause: &SyntaxNode) -> Locking {
    let strength = match child_of(
        clause,
        &[
            K::FOR_UPDATE,
            K::FOR_NO_KEY_UPDATE,
            K::FOR_SHARE,
            K::FOR_KEY_SHARE,
        ],
    )
    .map(|node| node.kind())
    {
        Some(K::FOR_NO_KEY_UPDATE) => LockStrength::NoKeyUpdate,
        Some(K::FOR_SHARE) => LockStrength::Share,
        Some(K::FOR_KEY_SHARE) => LockStrength::KeyShare,
        _ => LockStrength::Update,
    };
    let of = child(clause, K::LOCKING_OF).map_or(Vec::new(), |of| {
        of.children()
            .filter(is_expr)
            .filter_map(|node| match expr(tree, &node) {
                Expr::Column(name, at) => Some(Relation { name, at }),
                _ => None,
            })
            .collect()
    });
    Locking {
        strength,
        of,
        wait: match child_of(clause, &[K::NOWAIT, K::SKIP_LOCKED]).map(|node| node.kind()) {
            Some(K::NOWAIT) => LockWait::NoWait,
            Some(_) => LockWait::SkipLocked,
            None => LockWait::Block,
        },
    }
}
