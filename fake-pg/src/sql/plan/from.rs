//! FROM: tables, subqueries, functions, names of WITH, and joins of them.
//!
//! Each item adds its columns to the scope at hand, from left to right, and
//! what comes out is a tree of steps over one wide row. Conditions of inner
//! joins are handed on with WHERE; which step decides them is `pushdown`'s.

use std::ops::Range;
use std::sync::Arc;

use super::bind::Binder;
use super::names::split_name;
use super::pushdown::{References, push, ranges, split};
use super::scope::{Relation, ScopeColumn, result_columns, table_columns};
use super::sets::set_at;
use super::{Comparison, Derived, FromNode, Scalar, ScanPlan, Typed, Wanted};
use crate::engine::{Embedded, LockMode, Table, View};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{self, Alias, Command, Expr, FromItem, JoinCondition, JoinKind, Name};
use crate::sql::catalogs::{self, SystemRelation};
use crate::sql::parse::{self, DEPTH_MAX};
use crate::types::Type;

/// What a view within another adds to the depth of its text.
const VIEW: usize = 6;
/// How many views a statement may come to read: each may read the next one twice.
const VIEWS_MAX: usize = 1_000;
/// How many relations FROM may list: they are joined one within the other.
const ITEMS_MAX: usize = 200;

impl Binder<'_> {
    /// Finds a table by the name a statement gives it.
    pub(super) fn table(&self, relation: &ast::Relation) -> Result<Arc<Table>, PgError> {
        let shown = relation.name.join(".");
        let found = self.find_relation(relation)?;
        let (schema, name) = match &relation.name[..] {
            [name] => (None, name),
            [.., schema, name] => (Some(&**schema), name),
            [] => return Err(PgError::undefined_table("")),
        };
        match found {
            Some(crate::engine::Relation::Table(table)) => Ok(table),
            Some(crate::engine::Relation::Index(..)) => Err(PgError::new(
                SqlState::WRONG_OBJECT_TYPE,
                format!("\"{name}\" is an index"),
            )
            .at(relation.at as usize)),
            Some(crate::engine::Relation::Sequence(_)) => {
                Err(PgError::feature_not_supported("a sequence as a table"))
            }
            Some(crate::engine::Relation::View(_)) => Err(PgError::feature_not_supported("views")),
            None if matches!(schema, Some("pg_catalog" | "information_schema"))
                || schema.is_none() && name.starts_with("pg_") =>
            {
                Err(PgError::feature_not_supported(format_args!(
                    "the catalog {shown}"
                )))
            }
            None => Err(PgError::undefined_table(&shown).at(relation.at as usize)),
        }
    }

    /// Binds the items of FROM into the scope at hand, and joins them.
    pub(super) fn bind_from(
        &mut self,
        items: &[FromItem],
    ) -> Result<(FromNode, Conditions), PgError> {
        let mut conditions = Conditions::default();
        let mut root = FromNode::Nothing;
        if items.len() > ITEMS_MAX {
            return Err(parse::too_deep());
        }
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
                at,
            } => {
                let Some(alias) = alias else {
                    return Err(PgError::new(
                        SqlState::SYNTAX_ERROR,
                        "subquery in FROM must have an alias",
                    )
                    .with_hint("For example, FROM (SELECT ...) [AS] foo.")
                    .near(*at));
                };
                let outermost = std::mem::replace(&mut self.outermost, usize::MAX);
                let reads = self.cte_reads.len();
                let plan = if *lateral {
                    self.lower_query(query, &[])?
                } else {
                    // It does not see its neighbours.
                    let scope = self.scopes.pop().expect("FROM is bound within a scope");
                    let plan = self.lower_query(query, &[]);
                    self.scopes.push(scope);
                    plan?
                };
                let depends = *lateral
                    || self.outermost < self.scopes.len() - 1
                    || self.cte_reads.len() > reads;
                self.outermost = self.outermost.min(outermost);
                let kept = (!depends).then_some(self.cte_slots);
                self.cte_slots += usize::from(!depends);
                let columns = result_columns(&plan.columns);
                let source = Derived::Subquery {
                    plan,
                    lateral: *lateral,
                    kept,
                };
                self.derived(source, columns, alias)
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
            if let Some(at) = cte.closed {
                let message = format!(
                    "recursive query \"{name}\" must not contain data-modifying statements"
                );
                let code = "42P19".parse().unwrap_or(SqlState::SYNTAX_ERROR);
                return Err(PgError::new(code, message).near(at));
            }
            if !cte.readable {
                return Err(PgError::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    format!("WITH query \"{name}\" does not have a RETURNING clause"),
                )
                .at(relation.at as usize));
            }
            self.cte_reads.push(cte.slot);
            let columns = result_columns(&cte.columns);
            let width = columns.len();
            let place = self.scope().add(name.clone(), columns, None, alias)?;
            return Ok(FromNode::Derived {
                source: Derived::Cte(cte.slot, false),
                offset: self.scope().relations[place].offset,
                width,
                filter: Vec::new(),
            });
        }
        if let Some((embedded, place)) = self.embedded_relation(relation)? {
            return self.embedded_rows(embedded, place, alias);
        }
        if let Some(system) = self.system_relation(relation)? {
            return self.system_rows(system, alias);
        }
        if let Some(crate::engine::Relation::View(view)) = self.find_relation(relation)? {
            return self.view(&view, alias, relation.at);
        }
        let table = self.table(relation)?;
        self.scan(table, alias, (LockMode::AccessShare, relation.at))
    }

    /// A view is its query, bound where it was made.
    fn view(
        &mut self,
        view: &Arc<View>,
        alias: Option<&Alias>,
        at: u32,
    ) -> Result<FromNode, PgError> {
        self.note_view(view, at);
        if !self.in_view {
            self.reads.push(view.id);
        }
        let depth = self.view_depth + VIEW + parse::depth(&view.query);
        if depth > DEPTH_MAX || self.views == VIEWS_MAX {
            return Err(parse::too_deep());
        }
        let script = parse::parse_script(&view.query)?;
        let Some(Command::Query(query)) = script.first().map(|statement| &statement.command) else {
            return Err(PgError::undefined_table(&view.name));
        };
        let mut binder = Binder::new(self.catalog, &view.path, Vec::new());
        binder.in_view = true;
        (binder.view_depth, binder.views) = (depth, self.views + 1);
        (binder.cte_slots, binder.subqueries) = (self.cte_slots, self.subqueries);
        let plan = binder.query(query)?;
        self.views = binder.views;
        (self.subqueries, self.cte_slots) = binder.slots();
        self.cte_reads.append(&mut binder.cte_reads);
        self.row_lock = self.row_lock.or(binder.row_lock);
        self.note_locks_within(&mut binder);
        self.constants.append(&mut binder.constants);
        let mut columns = result_columns(&plan.columns);
        for (place, (column, own)) in columns.iter_mut().zip(&view.columns).enumerate() {
            column.name = own.name.clone();
            column.origin = (view.id.0, place as i16 + 1);
        }
        let own = Alias {
            name: view.name.clone(),
            columns: Vec::new(),
        };
        let source = Derived::Subquery {
            plan,
            lateral: false,
            kept: Some(self.cte_slots),
        };
        self.cte_slots += 1;
        let node = self.derived(source, columns, alias.unwrap_or(&own))?;
        if alias.is_none()
            && let Some(added) = self.scope().relations.last_mut()
        {
            added.schema = Some(view.schema.clone());
        }
        Ok(node)
    }

    /// The system relation of that name, if there is one.
    pub(super) fn system_relation(
        &self,
        relation: &ast::Relation,
    ) -> Result<Option<&'static SystemRelation>, PgError> {
        let split = split_name(self.catalog, self.path, &relation.name);
        let (schema, name) = split.map_err(|error| error.at(relation.at as usize))?;
        let found = catalogs::find(self.path, schema.map(|schema| &**schema), name);
        match found {
            Some(found) if found.is_lacking() => Err(PgError::feature_not_supported(format_args!(
                "the catalog {}",
                found.name
            ))),
            found => Ok(found),
        }
    }

    fn system_rows(
        &mut self,
        relation: &'static SystemRelation,
        alias: Option<&Alias>,
    ) -> Result<FromNode, PgError> {
        let columns = relation.columns.iter().zip(1..);
        let columns = columns.map(|((name, ty, typmod), attnum)| ScopeColumn {
            name: name.clone(),
            typed: Typed {
                ty: *ty,
                typmod: *typmod,
            },
            origin: (relation.id.0, attnum),
            merged: false,
            dropped: false,
        });
        let columns: Vec<ScopeColumn> = columns.collect();
        let width = columns.len();
        let slot = self.cte_slots;
        self.cte_slots += 1;
        let scope = self.scope();
        let place = scope.add(relation.name.clone(), columns, None, alias)?;
        let added = &mut scope.relations[place];
        if alias.is_none() {
            added.schema = Some(relation.schema.clone());
        }
        Ok(FromNode::Derived {
            source: Derived::System(relation, slot, None),
            offset: added.offset,
            width,
            filter: Vec::new(),
        })
    }

    /// A table in FROM, or the target of UPDATE and DELETE.
    pub(super) fn scan(
        &mut self,
        table: Arc<Table>,
        alias: Option<&Alias>,
        (mode, at): (LockMode, u32),
    ) -> Result<FromNode, PgError> {
        self.note_lock(&table, mode, at);
        self.planned.push(table.id);
        if !self.in_view && !self.reads.contains(&table.id) {
            self.reads.push(table.id);
        }
        let columns = table_columns(&table);
        let scope = self.scope();
        let place = scope.add(table.name.clone(), columns, Some(table.clone()), alias)?;
        let relation = &scope.relations[place];
        Ok(FromNode::Scan(ScanPlan {
            table,
            offset: relation.offset,
            place: scope.tables - 1,
            lookup: None,
            hashed: None,
            current: false,
            filter: Vec::new(),
            wanted: Wanted::default(),
        }))
    }

    /// The embedder's relation of that name, if the schema is the embedder's.
    fn embedded_relation(
        &self,
        relation: &ast::Relation,
    ) -> Result<Option<EmbeddedPlace>, PgError> {
        let [schema, name] = &relation.name[..] else {
            return Ok(None);
        };
        let Some(embedded) = self.catalog.embedded(schema) else {
            return Ok(None);
        };
        let relations = embedded.relations();
        let Some(place) = relations.iter().position(|known| known.name == &**name) else {
            let known: Vec<&str> = relations.iter().map(|relation| relation.name).collect();
            return Err(PgError::undefined_table(&relation.name.join("."))
                .with_hint(format!("In {schema} there are: {}.", known.join(", ")))
                .at(relation.at as usize));
        };
        Ok(Some((embedded.clone(), place)))
    }

    fn embedded_rows(
        &mut self,
        embedded: Arc<dyn Embedded>,
        place: usize,
        alias: Option<&Alias>,
    ) -> Result<FromNode, PgError> {
        let relation = embedded.relations()[place];
        let columns = relation.columns.iter().map(|&(name, ty)| ScopeColumn {
            name: name.into(),
            typed: ty.into(),
            origin: (0, 0),
            merged: false,
            dropped: false,
        });
        let columns = columns.collect();
        let own = Alias {
            name: relation.name.into(),
            columns: Vec::new(),
        };
        let source = Derived::Embedded(embedded, place);
        self.derived(source, columns, alias.unwrap_or(&own))
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
        if let Some(at) = call.parts().into_iter().find_map(set_at) {
            let message = "set-returning functions must appear at top level of FROM";
            return Err(PgError::new(SqlState::FEATURE_NOT_SUPPORTED, message).near(at));
        }
        let out = match &scalar {
            Scalar::Call(function, _) => crate::sql::functions::out_columns(function),
            _ => &[],
        };
        if typed.ty == Type::Record && out.is_empty() {
            return Err(PgError::feature_not_supported("functions that return rows"));
        }
        let column = |name: Name, typed| ScopeColumn {
            name,
            typed,
            origin: (0, 0),
            merged: false,
            dropped: false,
        };
        let only = match alias {
            Some(alias) if alias.columns.is_empty() => alias.name.clone(),
            _ => name.clone(),
        };
        let mut columns: Vec<ScopeColumn> = match out {
            [] => vec![column(only, typed)],
            out => out
                .iter()
                .map(|(name, ty)| column((*name).into(), Typed::from(*ty)))
                .collect(),
        };
        let is_scalar = columns.len() == 1 && !ordinality;
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
        let node = self.derived(call, columns, alias.unwrap_or(&own))?;
        if let Some(relation) = self.scope().relations.last_mut() {
            relation.scalar = is_scalar;
        }
        Ok(node)
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
}

/// A relation of the embedder's, by its place.
type EmbeddedPlace = (Arc<dyn Embedded>, usize);

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
