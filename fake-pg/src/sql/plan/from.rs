//! FROM: tables, subqueries, functions, WITH, and joins of them; and which
//! part of WHERE each step can decide.

use std::ops::Range;
use std::sync::Arc;

use super::bind::Binder;
use super::scope::{Relation, ScopeColumn, result_columns, table_columns};
use super::{
    Comparison, CtePlan, CteSource, Derived, FromNode, FromPlan, Lookup, QueryPlan, Scalar,
    ScanPlan, Typed,
};
use crate::engine::{LockMode, Table};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{
    self, Alias, Command, Expr, FromItem, JoinCondition, JoinKind, Name, QueryBody, SetOp, With,
};
use crate::sql::face::Column;
use crate::types::Type;

/// A common table expression that names can refer to.
#[derive(Debug, Clone)]
pub(super) struct CteInReach {
    name: Name,
    slot: usize,
    columns: Vec<Column>,
    /// It has rows to offer: a modifying one needs RETURNING.
    readable: bool,
}

impl Binder<'_> {
    /// Finds a table by the name a statement gives it.
    pub(super) fn table(&self, relation: &ast::Relation) -> Result<Arc<Table>, PgError> {
        let shown = relation.name.join(".");
        let missing = || PgError::undefined_table(&shown).at(relation.at as usize);
        let name = match &relation.name[..] {
            [name] => name,
            [schema, name] if &**schema == "public" => name,
            [schema, _] if matches!(&**schema, "pg_catalog" | "information_schema") => {
                return Err(PgError::feature_not_supported(format_args!(
                    "the catalog {shown}"
                )));
            }
            _ => return Err(missing()),
        };
        match self.catalog.relation(name) {
            Some(crate::engine::Relation::Table(table)) => Ok(table),
            Some(crate::engine::Relation::Index(..)) => Err(PgError::new(
                SqlState::WRONG_OBJECT_TYPE,
                format!("\"{name}\" is an index"),
            )
            .at(relation.at as usize)),
            Some(crate::engine::Relation::Sequence(_)) => {
                Err(PgError::feature_not_supported("a sequence as a table"))
            }
            None if name.starts_with("pg_") => Err(PgError::feature_not_supported(format_args!(
                "the catalog {name}"
            ))),
            None => Err(missing()),
        }
    }

    /// Binds WITH and brings its names in reach; the caller takes them out again.
    pub(super) fn with(&mut self, with: &With) -> Result<Vec<CtePlan>, PgError> {
        let mut plans = Vec::with_capacity(with.tables.len());
        for cte in &with.tables {
            let outermost = std::mem::replace(&mut self.outermost, usize::MAX);
            let slot = self.cte_slots;
            self.cte_slots += 1;
            let (source, mut columns, readable) = match &cte.command {
                Command::Query(query) if with.recursive && refers_to(query, &cte.name) => {
                    let (source, columns) = self.recursive(cte, query, slot)?;
                    (source, columns, true)
                }
                Command::Query(query) => {
                    let plan = self.query(query)?;
                    let columns = plan.columns.clone();
                    (CteSource::Query(plan), columns, true)
                }
                command => {
                    if !self.scopes.is_empty() {
                        return Err(PgError::new(
                            SqlState::FEATURE_NOT_SUPPORTED,
                            "WITH clause containing a data-modifying statement must be at the top level",
                        ));
                    }
                    let plan = self.modify(command)?;
                    let returning = plan.returning.as_ref();
                    let columns = returning.map_or(Vec::new(), |(_, columns)| columns.clone());
                    let readable = plan.returning.is_some();
                    (CteSource::Modify(Box::new(plan)), columns, readable)
                }
            };
            if self.outermost < self.scopes.len() {
                return Err(PgError::feature_not_supported(
                    "a WITH query that refers to an enclosing query",
                ));
            }
            self.outermost = outermost;
            rename(&mut columns, &cte.columns, &cte.name)?;
            self.ctes.push(CteInReach {
                name: cte.name.clone(),
                slot,
                columns,
                readable,
            });
            plans.push(CtePlan { slot, source });
        }
        Ok(plans)
    }

    fn recursive(
        &mut self,
        cte: &ast::Cte,
        query: &ast::Query,
        slot: usize,
    ) -> Result<(CteSource, Vec<Column>), PgError> {
        let QueryBody::SetOperation {
            op: SetOp::Union,
            all,
            left,
            right,
        } = &query.body
        else {
            return Err(PgError::new(
                "42P19".parse().unwrap_or(SqlState::SYNTAX_ERROR),
                format!(
                    "recursive query \"{}\" does not have the form non-recursive-term UNION [ALL] recursive-term",
                    cte.name
                ),
            ));
        };
        if !query.order_by.is_empty() || query.limit.is_some() || query.offset.is_some() {
            return Err(PgError::feature_not_supported(
                "ORDER BY or LIMIT in a recursive query",
            ));
        }
        let left = self.query(left)?;
        let mut columns = left.columns.clone();
        rename(&mut columns, &cte.columns, &cte.name)?;
        self.ctes.push(CteInReach {
            name: cte.name.clone(),
            slot,
            columns: columns.clone(),
            readable: true,
        });
        let right = self.query(right);
        self.ctes.pop();
        let right = right?;
        let types = |columns: &[Column]| -> Vec<Type> { columns.iter().map(|c| c.ty).collect() };
        if types(&left.columns) != types(&right.columns) {
            return Err(PgError::feature_not_supported(
                "a recursive query whose terms differ in type",
            ));
        }
        let source = CteSource::Recursive(Box::new(left), Box::new(right), *all);
        Ok((source, columns))
    }

    /// Binds the items of FROM into the scope at hand, and joins them.
    pub(super) fn bind_from(
        &mut self,
        items: &[FromItem],
    ) -> Result<(FromNode, Conditions), PgError> {
        let mut conditions = Conditions::default();
        let mut root = FromNode::Nothing;
        for item in items {
            let node = self.bind_from_item(item, &mut conditions)?;
            root = join(root, node);
        }
        Ok((root, conditions))
    }

    fn bind_from_item(
        &mut self,
        item: &FromItem,
        conditions: &mut Conditions,
    ) -> Result<FromNode, PgError> {
        match item {
            FromItem::Relation { relation, alias } => self.relation(relation, alias.as_ref()),
            FromItem::Subquery {
                query,
                lateral,
                alias,
            } => {
                let Some(alias) = alias else {
                    return Err(PgError::new(
                        SqlState::SYNTAX_ERROR,
                        "subquery in FROM must have an alias",
                    )
                    .with_hint("For example, FROM (SELECT ...) [AS] foo."));
                };
                let plan = if *lateral {
                    self.query(query)?
                } else {
                    // It does not see its neighbours.
                    let scope = self.scopes.pop().expect("FROM is bound within a scope");
                    let plan = self.query(query);
                    self.scopes.push(scope);
                    plan?
                };
                let columns = result_columns(&plan.columns);
                let lateral = *lateral;
                self.derived(Derived::Subquery { plan, lateral }, columns, alias)
            }
            FromItem::Function {
                call,
                ordinality,
                alias,
            } => self.function(call, *ordinality, alias.as_ref()),
            FromItem::Join {
                kind,
                left,
                right,
                condition,
            } => self.join(*kind, left, right, condition, conditions),
        }
    }

    fn relation(
        &mut self,
        relation: &ast::Relation,
        alias: Option<&Alias>,
    ) -> Result<FromNode, PgError> {
        if let [name] = &relation.name[..]
            && let Some(cte) = self
                .ctes
                .iter()
                .rev()
                .find(|cte| cte.name == *name)
                .cloned()
        {
            if !cte.readable {
                return Err(PgError::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    format!("WITH query \"{name}\" does not have a RETURNING clause"),
                )
                .at(relation.at as usize));
            }
            let columns = result_columns(&cte.columns);
            let width = columns.len();
            let place = self.scope().add(name.clone(), columns, None, alias)?;
            return Ok(FromNode::Derived {
                source: Derived::Cte(cte.slot),
                offset: self.scope().relations[place].offset,
                width,
                filter: Vec::new(),
            });
        }
        let table = self.table(relation)?;
        self.scan(table, alias)
    }

    /// A table in FROM, or the target of UPDATE and DELETE.
    pub(super) fn scan(
        &mut self,
        table: Arc<Table>,
        alias: Option<&Alias>,
    ) -> Result<FromNode, PgError> {
        self.note_lock(&table, LockMode::AccessShare);
        let columns = table_columns(&table);
        let scope = self.scope();
        let place = scope.add(table.name.clone(), columns, Some(table.clone()), alias)?;
        let relation = &scope.relations[place];
        Ok(FromNode::Scan(ScanPlan {
            table,
            offset: relation.offset,
            place: scope.tables - 1,
            lookup: None,
            filter: Vec::new(),
        }))
    }

    fn derived(
        &mut self,
        source: Derived,
        columns: Vec<ScopeColumn>,
        alias: &Alias,
    ) -> Result<FromNode, PgError> {
        let width = columns.len();
        let scope = self.scope();
        let place = scope.add(alias.name.clone(), columns, None, Some(alias))?;
        Ok(FromNode::Derived {
            source,
            offset: scope.relations[place].offset,
            width,
            filter: Vec::new(),
        })
    }

    fn function(
        &mut self,
        call: &Expr,
        ordinality: bool,
        alias: Option<&Alias>,
    ) -> Result<FromNode, PgError> {
        let name: Name = match call {
            Expr::Call(call) => call.name.last().cloned().unwrap_or_else(|| "".into()),
            _ => "column".into(),
        };
        self.scope().clause = "functions in FROM";
        let (scalar, typed) = self.settled(call)?;
        if typed.ty == Type::Record {
            return Err(PgError::feature_not_supported("functions that return rows"));
        }
        let column = |name: Name, typed| ScopeColumn {
            name,
            typed,
            origin: (0, 0),
            merged: false,
        };
        let only = match alias {
            Some(alias) if alias.columns.is_empty() => alias.name.clone(),
            _ => name.clone(),
        };
        let mut columns = vec![column(only, typed)];
        if ordinality {
            columns.push(column("ordinality".into(), Typed::from(Type::Int8)));
        }
        let call = Derived::Function {
            call: scalar,
            ordinality,
        };
        let own = Alias {
            name,
            columns: Vec::new(),
        };
        self.derived(call, columns, alias.unwrap_or(&own))
    }

    fn join(
        &mut self,
        kind: JoinKind,
        left: &FromItem,
        right: &FromItem,
        condition: &JoinCondition,
        conditions: &mut Conditions,
    ) -> Result<FromNode, PgError> {
        let (start, tables) = (self.scope().width, self.scope().tables);
        let relations = self.scope().relations.len();
        let mut inner = Conditions::default();
        let left = self.bind_from_item(left, &mut inner)?;
        let (middle, middle_tables) = (self.scope().width, self.scope().tables);
        let middle_relations = self.scope().relations.len();
        let right = self.bind_from_item(right, &mut inner)?;
        let (end, end_tables) = (self.scope().width, self.scope().tables);
        let mut on = match condition {
            JoinCondition::None => Vec::new(),
            JoinCondition::On(expr) => split(self.condition(expr, "JOIN/ON")?),
            JoinCondition::Using(names) => self.using(names, relations..middle_relations, kind)?,
            JoinCondition::Natural => return Err(PgError::feature_not_supported("NATURAL JOIN")),
        };
        if kind == JoinKind::Inner {
            conditions.inner.append(&mut inner.inner);
            conditions.inner.append(&mut on);
            conditions.nullable.append(&mut inner.nullable);
            return Ok(join(left, right));
        }
        let (outer, nulled, columns, places) = match kind {
            JoinKind::Left => (left, right, middle..end, middle_tables..end_tables),
            JoinKind::Right => (right, left, start..middle, tables..middle_tables),
            _ => return Err(PgError::feature_not_supported("FULL JOIN")),
        };
        // Conditions of inner joins below stay below.
        let (mut outer, mut nulled) = (outer, nulled);
        for condition in inner.inner {
            let refs = References::of(&condition);
            let pushed = push(&mut outer, condition, &refs, &[])
                .or_else(|condition| push(&mut nulled, condition, &refs, &[]));
            if pushed.is_err() {
                return Err(PgError::feature_not_supported("this nesting of joins"));
            }
        }
        conditions.nullable.append(&mut inner.nullable);
        conditions.nullable.push(places.clone());
        let before = ranges(&outer);
        on.retain(|condition| {
            let refs = References::of(condition);
            push(&mut nulled, condition.clone(), &refs, &before).is_err()
        });
        Ok(FromNode::Join {
            left: Box::new(outer),
            right: Box::new(nulled),
            outer: true,
            on,
            right_columns: columns,
            right_tables: places,
        })
    }

    /// USING: equal columns, of which one remains.
    fn using(
        &mut self,
        names: &[Name],
        left: Range<usize>,
        kind: JoinKind,
    ) -> Result<Vec<Scalar>, PgError> {
        let mut on = Vec::with_capacity(names.len());
        for name in names {
            let relations = &self.scope().relations;
            let find = |side: &[Relation]| {
                side.iter().enumerate().find_map(|(place, relation)| {
                    let column = relation
                        .columns
                        .iter()
                        .position(|column| column.name == *name && !column.merged)?;
                    Some((place, column))
                })
            };
            let found = (find(&relations[left.clone()]), find(&relations[left.end..]));
            let (Some(a), Some(b)) = found else {
                let side = if found.0.is_none() { "left" } else { "right" };
                return Err(PgError::new(
                    SqlState::UNDEFINED_COLUMN,
                    format!(
                        "column \"{name}\" specified in USING clause does not exist in {side} table"
                    ),
                ));
            };
            let (a, b) = ((a.0 + left.start, a.1), (b.0 + left.end, b.1));
            let bound = |place: (usize, usize)| {
                let relation = &relations[place.0];
                let typed = relation.columns[place.1].typed;
                (Scalar::Column(relation.offset + place.1), typed)
            };
            let (left, right) = (bound(a), bound(b));
            let hidden = if kind == JoinKind::Right { a } else { b };
            self.scope().relations[hidden.0].columns[hidden.1].merged = true;
            let pair = self.comparable("=", left, right, 0)?;
            on.push(Scalar::Compare(Comparison::Equal, Box::new(pair)));
        }
        Ok(on)
    }

    /// Distributes WHERE and the conditions of inner joins over the steps that
    /// can decide them, and finds the indexes that help.
    pub(super) fn finish_from(
        &mut self,
        mut root: FromNode,
        conditions: Conditions,
        filter: Option<Scalar>,
    ) -> FromPlan {
        let mut recheck = conditions.inner;
        recheck.extend(filter.into_iter().flat_map(split));
        let mut last = Vec::new();
        for condition in &recheck {
            let refs = References::of(condition);
            if refs.everything {
                last.push(condition.clone());
                continue;
            }
            if let Err(condition) = push(&mut root, condition.clone(), &refs, &[]) {
                last.push(condition);
            }
        }
        choose_indexes(&mut root);
        let scope = self.scope();
        FromPlan {
            width: scope.width,
            tables: scope.tables,
            root,
            recheck,
            filter: last,
        }
    }
}

/// What joins demand of a row besides WHERE.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    /// Conditions of inner joins.
    pub(super) inner: Vec<Scalar>,
    /// Tables whose rows an outer join may null.
    pub(super) nullable: Vec<Range<usize>>,
}

/// Joins two steps; nothing joined with something is that.
pub(super) fn join(left: FromNode, right: FromNode) -> FromNode {
    match left {
        FromNode::Nothing => right,
        left => FromNode::Join {
            left: Box::new(left),
            right: Box::new(right),
            outer: false,
            on: Vec::new(),
            right_columns: 0..0,
            right_tables: 0..0,
        },
    }
}

/// The parts of a conjunction.
fn split(scalar: Scalar) -> Vec<Scalar> {
    match scalar {
        Scalar::And(parts) => parts.into_iter().flat_map(split).collect(),
        other => vec![other],
    }
}

fn rename(columns: &mut [Column], names: &[Name], of: &str) -> Result<(), PgError> {
    if names.len() > columns.len() {
        return Err(PgError::new(
            SqlState::INVALID_COLUMN_REFERENCE,
            format!(
                "WITH query \"{of}\" has {} columns available but {} columns specified",
                columns.len(),
                names.len()
            ),
        ));
    }
    for (column, name) in columns.iter_mut().zip(names) {
        column.name = name.clone();
    }
    Ok(())
}

/// Whether a query's right side reads from a name: then WITH RECURSIVE recurses.
fn refers_to(query: &ast::Query, name: &str) -> bool {
    fn in_item(item: &FromItem, name: &str) -> bool {
        match item {
            FromItem::Relation { relation, .. } => {
                matches!(&relation.name[..], [own] if &**own == name)
            }
            FromItem::Subquery { query, .. } => refers_to(query, name),
            FromItem::Join { left, right, .. } => in_item(left, name) || in_item(right, name),
            FromItem::Function { .. } => false,
        }
    }
    match &query.body {
        QueryBody::Select(select) => select.from.iter().any(|item| in_item(item, name)),
        QueryBody::SetOperation { left, right, .. } => {
            refers_to(left, name) || refers_to(right, name)
        }
        QueryBody::Nested(inner) => refers_to(inner, name),
        QueryBody::Values(_) => false,
    }
}

/// Which columns of the row at hand an expression needs.
#[derive(Debug, Default)]
pub(super) struct References {
    columns: Vec<usize>,
    /// It must be decided last: it is volatile, or a subquery looks at the row.
    everything: bool,
}

impl References {
    pub(super) fn of(scalar: &Scalar) -> Self {
        let mut refs = References::default();
        scalar.walk(&mut |part| match part {
            Scalar::Column(column) => refs.columns.push(*column),
            Scalar::Subquery(subquery) if subquery.correlated => refs.everything = true,
            Scalar::Call(function, _) if function.is_volatile() => refs.everything = true,
            _ => {}
        });
        refs
    }

    fn within(&self, ranges: &[Range<usize>]) -> bool {
        let inside = |column: &usize| ranges.iter().any(|range| range.contains(column));
        self.columns.iter().all(inside)
    }
}

/// Where the columns of one relation stand in the row.
fn span(offset: usize, width: usize) -> Range<usize> {
    offset..offset + width
}

/// The columns that a step has filled in.
fn ranges(node: &FromNode) -> Vec<Range<usize>> {
    match node {
        FromNode::Nothing => Vec::new(),
        FromNode::Scan(scan) => vec![span(scan.offset, scan.table.columns.len())],
        FromNode::Derived { offset, width, .. } => vec![span(*offset, *width)],
        FromNode::Join { left, right, .. } => [ranges(left), ranges(right)].concat(),
    }
}

/// Hands a condition to the first step that can decide it; gives it back if
/// there is none.
fn push(
    node: &mut FromNode,
    condition: Scalar,
    refs: &References,
    before: &[Range<usize>],
) -> Result<(), Scalar> {
    if refs.everything {
        return Err(condition);
    }
    let own = ranges(node);
    let decides = refs.within(&[before, &own[..]].concat());
    match node {
        FromNode::Scan(ScanPlan { filter, .. }) | FromNode::Derived { filter, .. } if decides => {
            filter.push(condition);
            Ok(())
        }
        FromNode::Join {
            left,
            right,
            outer: false,
            on,
            ..
        } if decides => {
            let condition = match push(left, condition, refs, before) {
                Ok(()) => return Ok(()),
                Err(condition) => condition,
            };
            let before = [before, &ranges(left)[..]].concat();
            if let Err(condition) = push(right, condition, refs, &before) {
                on.push(condition);
            }
            Ok(())
        }
        FromNode::Join { left, .. } if decides => push(left, condition, refs, before),
        _ => Err(condition),
    }
}

/// Finds, for each table, a unique index whose columns are all compared with
/// what is known before the table is read.
fn choose_indexes(node: &mut FromNode) {
    match node {
        FromNode::Nothing | FromNode::Derived { .. } => {}
        FromNode::Join { left, right, .. } => {
            choose_indexes(left);
            choose_indexes(right);
        }
        FromNode::Scan(scan) => {
            let own = span(scan.offset, scan.table.columns.len());
            let key_for = |column: usize| {
                scan.filter.iter().find_map(|condition| {
                    let Scalar::Compare(Comparison::Equal, pair) = condition else {
                        return None;
                    };
                    let (left, right) = &**pair;
                    let known = |scalar: &Scalar| {
                        let refs = References::of(scalar);
                        !refs.everything && !refs.columns.iter().any(|column| own.contains(column))
                    };
                    match (left, right) {
                        (Scalar::Column(c), other) if *c == column && known(other) => {
                            Some(other.clone())
                        }
                        (other, Scalar::Column(c)) if *c == column && known(other) => {
                            Some(other.clone())
                        }
                        _ => None,
                    }
                })
            };
            let lookup = scan.table.unique_indexes().find_map(|(place, index)| {
                let key: Option<Vec<Scalar>> = index
                    .columns
                    .iter()
                    .map(|column| key_for(scan.offset + column))
                    .collect();
                Some(Lookup {
                    index: place,
                    key: key?,
                })
            });
            scan.lookup = lookup;
        }
    }
}

impl QueryPlan {
    /// The types of its columns.
    pub(super) fn types(&self) -> Vec<Type> {
        self.columns.iter().map(|column| column.ty).collect()
    }
}
