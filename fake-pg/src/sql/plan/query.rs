//! SELECT, VALUES, set operations.

use std::sync::Arc;

use super::bind::Binder;
use super::coerce::{Cast, Context};
use super::from::join;
use super::scope::{Scope, missing_from};
use super::{
    Body, DistinctPlan, FromNode, LockPlan, QueryPlan, Scalar, SelectPlan, SetPlan, SortKey, Tail,
    Typed, ValuesPlan,
};
use crate::engine::LockMode;
use crate::error::{PgError, SqlState};
use crate::sql::ast::{
    Command, Distinct, Expr, LockStrength, Locking, Name, OrderBy, Query, QueryBody, Select, SetOp,
    Target,
};
use crate::sql::face::Column;
use crate::types::Type;

impl Binder<'_> {
    /// Binds a query; its unknown columns become text.
    pub(crate) fn query(&mut self, query: &Query) -> Result<QueryPlan, PgError> {
        self.query_into(query, &[])
    }

    /// Binds a query whose unknown columns take these types: those of the table
    /// that INSERT puts them in.
    pub(super) fn query_into(
        &mut self,
        query: &Query,
        into: &[Typed],
    ) -> Result<QueryPlan, PgError> {
        let reach = self.ctes.len();
        let ctes = self.with(&query.with)?;
        let bound = match &query.body {
            QueryBody::Select(select) => self.select(select, query, into),
            _ if !query.locking.is_empty() => Err(PgError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!(
                    "{} is not allowed with UNION/INTERSECT/EXCEPT",
                    strength_name(query.locking[0].strength)
                ),
            )),
            QueryBody::Values(rows) => self.values(rows, query, into),
            QueryBody::SetOperation {
                op,
                all,
                left,
                right,
            } => self.set_operation(*op, *all, left, right, query),
            QueryBody::Nested(inner) => self.nested(inner, query),
        };
        self.ctes.truncate(reach);
        let (body, columns) = bound?;
        Ok(QueryPlan {
            ctes,
            body,
            columns,
        })
    }

    fn limits(&mut self, query: &Query) -> Result<(Option<Scalar>, Option<Scalar>), PgError> {
        let mut bind = |expr: &Option<Expr>, clause: &'static str| match expr {
            None | Some(Expr::Null) => Ok(None),
            Some(expr) => {
                // LIMIT stands outside of the rows.
                self.scopes.push(Scope {
                    clause,
                    ..Scope::default()
                });
                let bound = self.expr(expr);
                let bound = bound.and_then(|bound| self.demand(bound, Type::Int8, clause));
                self.scopes.pop();
                bound.map(Some)
            }
        };
        Ok((bind(&query.limit, "LIMIT")?, bind(&query.offset, "OFFSET")?))
    }

    /// ORDER BY over nothing but the columns of the result.
    fn tail_over_result(&mut self, query: &Query, columns: &[Column]) -> Result<Tail, PgError> {
        let mut order = Vec::with_capacity(query.order_by.len());
        for key in &query.order_by {
            let place = match &key.expr {
                Expr::Integer(place) => position(*place, columns.len(), "ORDER BY")?,
                Expr::Column(names, at) => match &names[..] {
                    [name] => columns
                        .iter()
                        .position(|column| column.name == *name)
                        .ok_or_else(|| PgError::undefined_column(name).at(*at as usize))?,
                    _ => return Err(missing_from(&names[0])),
                },
                _ => {
                    return Err(PgError::new(
                        SqlState::FEATURE_NOT_SUPPORTED,
                        "invalid UNION/INTERSECT/EXCEPT ORDER BY clause",
                    )
                    .with_detail(
                        "Only result column names can be used, not expressions or functions.",
                    ));
                }
            };
            order.push(sort_key(Scalar::Column(place), key));
        }
        let (limit, offset) = self.limits(query)?;
        Ok(Tail {
            order,
            limit,
            offset,
        })
    }

    fn values(
        &mut self,
        rows: &[Vec<Expr>],
        query: &Query,
        into: &[Typed],
    ) -> Result<(Body, Vec<Column>), PgError> {
        let width = rows[0].len();
        if rows.iter().any(|row| row.len() != width) {
            return Err(PgError::new(
                SqlState::SYNTAX_ERROR,
                "VALUES lists must all be the same length",
            ));
        }
        self.scopes.push(Scope {
            clause: "VALUES",
            ..Scope::default()
        });
        let bound = self.values_rows(rows, width, into);
        self.scopes.pop();
        let (rows, types) = bound?;
        let columns: Vec<Column> = types
            .into_iter()
            .zip(1..)
            .map(|(typed, number)| plain_column(format!("column{number}").into(), typed))
            .collect();
        let tail = self.tail_over_result(query, &columns)?;
        Ok((Body::Values(ValuesPlan { rows, tail }), columns))
    }

    fn values_rows(
        &mut self,
        rows: &[Vec<Expr>],
        width: usize,
        into: &[Typed],
    ) -> Result<(Vec<Vec<Scalar>>, Vec<Typed>), PgError> {
        let mut bound: Vec<Vec<Scalar>> = rows.iter().map(|_| Vec::with_capacity(width)).collect();
        let mut types = Vec::with_capacity(width);
        for column in 0..width {
            let mut cells = Vec::with_capacity(rows.len());
            for row in rows {
                cells.push(self.expr(&row[column])?);
            }
            if let Some(to) = into.get(column)
                && cells.iter().all(|(_, typed)| typed.ty == Type::Unknown)
            {
                for (row, (scalar, from)) in bound.iter_mut().zip(cells) {
                    let cast = self.coerce(scalar, from, to.ty.into(), Context::Assignment)?;
                    row.extend(cast);
                }
                types.push(Typed::from(to.ty));
                continue;
            }
            let (cells, typed) = self.unify(cells, "VALUES")?;
            for (row, cell) in bound.iter_mut().zip(cells) {
                row.push(cell);
            }
            types.push(typed);
        }
        Ok((bound, types))
    }

    fn set_operation(
        &mut self,
        op: SetOp,
        all: bool,
        left: &Query,
        right: &Query,
        query: &Query,
    ) -> Result<(Body, Vec<Column>), PgError> {
        let (left, right) = (self.operand(left)?, self.operand(right)?);
        let name = match op {
            SetOp::Union => "UNION",
            SetOp::Intersect => "INTERSECT",
            SetOp::Except => "EXCEPT",
        };
        if left.columns.len() != right.columns.len() {
            return Err(PgError::new(
                SqlState::SYNTAX_ERROR,
                format!("each {name} query must have the same number of columns"),
            ));
        }
        let mut columns = left.columns.clone();
        let mut casts = (Vec::new(), Vec::new());
        for (column, (left, right)) in columns
            .iter_mut()
            .zip(left.types().into_iter().zip(right.types()))
        {
            let ty = self.common_type(&[left, right], name)?;
            let cast = |from: Type| {
                (from != ty).then_some(Cast {
                    to: ty,
                    typmod: -1,
                    explicit: false,
                })
            };
            casts.0.push(cast(left));
            casts.1.push(cast(right));
            *column = plain_column(column.name.clone(), ty.into());
        }
        let tail = self.tail_over_result(query, &columns)?;
        let plan = SetPlan {
            op,
            all,
            left,
            right,
            casts,
            tail,
        };
        Ok((Body::SetOperation(Box::new(plan)), columns))
    }

    /// A side of a set operation: its unknown constants take the other's types.
    fn operand(&mut self, query: &Query) -> Result<QueryPlan, PgError> {
        self.keep_unknown = true;
        let plan = self.query(query);
        self.keep_unknown = false;
        plan
    }

    /// Parentheses with clauses of their own: `(query) LIMIT 1`.
    fn nested(&mut self, inner: &Query, outer: &Query) -> Result<(Body, Vec<Column>), PgError> {
        for (clause, twice) in [
            (
                "ORDER BY",
                !inner.order_by.is_empty() && !outer.order_by.is_empty(),
            ),
            ("OFFSET", inner.offset.is_some() && outer.offset.is_some()),
            ("LIMIT", inner.limit.is_some() && outer.limit.is_some()),
        ] {
            if twice {
                return Err(PgError::new(
                    SqlState::SYNTAX_ERROR,
                    format!("multiple {clause} clauses not allowed"),
                ));
            }
        }
        let plan = self.query(inner)?;
        let columns = plan.columns.clone();
        let width = columns.len();
        let tail = self.tail_over_result(outer, &columns)?;
        let from = super::FromPlan {
            width,
            tables: 0,
            root: FromNode::Derived {
                source: super::Derived::Subquery {
                    plan,
                    lateral: false,
                },
                offset: 0,
                width,
                filter: Vec::new(),
            },
            recheck: Vec::new(),
            filter: Vec::new(),
        };
        let select = SelectPlan {
            from,
            grouping: None,
            having: None,
            targets: (0..width).map(Scalar::Column).collect(),
            set: None,
            distinct: None,
            tail,
            locking: Vec::new(),
        };
        Ok((Body::Select(Box::new(select)), columns))
    }

    fn select(
        &mut self,
        select: &Select,
        query: &Query,
        into: &[Typed],
    ) -> Result<(Body, Vec<Column>), PgError> {
        self.scopes.push(Scope::default());
        let bound = self.select_in_scope(select, query, into);
        self.scopes.pop();
        let (mut plan, columns) = bound?;
        let (limit, offset) = self.limits(query)?;
        plan.tail.limit = limit;
        plan.tail.offset = offset;
        Ok((Body::Select(Box::new(plan)), columns))
    }

    fn select_in_scope(
        &mut self,
        select: &Select,
        query: &Query,
        into: &[Typed],
    ) -> Result<(SelectPlan, Vec<Column>), PgError> {
        let keep_unknown = std::mem::take(&mut self.keep_unknown);
        let (root, conditions) = self.bind_from(&select.from)?;
        let filter = match &select.filter {
            Some(filter) => Some(self.condition(filter, "WHERE")?),
            None => None,
        };
        let locking = self.locking(&query.locking, &conditions.nullable, select)?;
        let from = self.finish_from(root, conditions, filter);

        self.scope().aggregates = Some(Vec::new());
        self.scope().clause = "";
        self.keep_unknown = keep_unknown;
        let targets = self.targets(&select.targets, into);
        self.keep_unknown = false;
        let (mut targets, columns) = targets?;
        let mut having = match &select.having {
            Some(having) => {
                let bound = self.expr(having)?;
                Some(self.demand(bound, Type::Bool, "HAVING")?)
            }
            None => None,
        };
        let mut order = Vec::with_capacity(query.order_by.len());
        for key in &query.order_by {
            let by = self.sort_expr(&key.expr, &targets, &columns)?;
            order.push(sort_key(by, key));
        }
        let mut distinct = match &select.distinct {
            None => None,
            Some(Distinct::Rows) => Some(DistinctPlan::Rows),
            Some(Distinct::On(exprs)) => {
                let mut on = Vec::with_capacity(exprs.len());
                for expr in exprs {
                    on.push(self.sort_expr(expr, &targets, &columns)?);
                }
                Some(DistinctPlan::On(on))
            }
        };
        let aggregates = self.scope().aggregates.take().unwrap_or_default();
        self.scope().clause = "GROUP BY";
        let mut keys = Vec::with_capacity(select.group_by.len());
        for expr in &select.group_by {
            let key = self.group_key(expr, &targets, &columns)?;
            keys.push(key);
        }
        let grouping = if aggregates.is_empty() && keys.is_empty() && having.is_none() {
            None
        } else {
            let mut exprs: Vec<&mut Scalar> = targets.iter_mut().chain(&mut having).collect();
            exprs.extend(order.iter_mut().map(|key| &mut key.by));
            if let Some(DistinctPlan::On(on)) = &mut distinct {
                exprs.extend(on);
            }
            Some(self.group(keys, aggregates, exprs)?)
        };
        let set = set_target(&targets)?;
        // What is sorted after DISTINCT, or after sets are spread, is the result.
        if set.is_some() || matches!(distinct, Some(DistinctPlan::Rows)) {
            for key in &mut order {
                let Some(place) = targets.iter().position(|target| *target == key.by) else {
                    return Err(match set {
                        Some(_) => PgError::feature_not_supported("this ORDER BY beside a set"),
                        None => PgError::new(
                            SqlState::INVALID_COLUMN_REFERENCE,
                            "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
                        ),
                    });
                };
                key.by = Scalar::Column(place);
            }
        }
        if let Some(DistinctPlan::On(on)) = &distinct {
            if set.is_some() {
                return Err(PgError::feature_not_supported("DISTINCT ON beside a set"));
            }
            let leading = order.iter().take(on.len());
            if leading.into_iter().any(|key| !on.contains(&key.by)) {
                return Err(PgError::new(
                    SqlState::INVALID_COLUMN_REFERENCE,
                    "SELECT DISTINCT ON expressions must match initial ORDER BY expressions",
                ));
            }
        }
        let plan = SelectPlan {
            from,
            grouping,
            having,
            targets,
            set,
            distinct,
            tail: Tail {
                order,
                limit: None,
                offset: None,
            },
            locking,
        };
        Ok((plan, columns))
    }

    /// Binds a target list, stars spread.
    pub(super) fn targets(
        &mut self,
        targets: &[Target],
        into: &[Typed],
    ) -> Result<(Vec<Scalar>, Vec<Column>), PgError> {
        let keep_unknown = std::mem::take(&mut self.keep_unknown);
        let mut scalars = Vec::with_capacity(targets.len());
        let mut columns = Vec::with_capacity(targets.len());
        for target in targets {
            match target {
                Target::Star(names, at) => self.star(names, *at, &mut scalars, &mut columns)?,
                Target::Expr(expr, alias) => {
                    let (mut scalar, mut typed) = self.expr(expr)?;
                    if let (Type::Unknown, Some(to)) = (typed.ty, into.get(scalars.len())) {
                        let to = Typed::from(to.ty);
                        if let Some(cast) =
                            self.coerce(scalar.clone(), typed, to, Context::Assignment)?
                        {
                            (scalar, typed) = (cast, to);
                        }
                    }
                    let (scalar, typed) = match scalar {
                        Scalar::Const(_) if keep_unknown && typed.ty == Type::Unknown => {
                            (scalar, typed)
                        }
                        scalar => self.settle(scalar, typed)?,
                    };
                    let name = match alias {
                        Some(alias) => alias.clone(),
                        None => name_of(expr).1,
                    };
                    let mut column = plain_column(name, typed);
                    if let Scalar::Column(index) = scalar
                        && let Some((_, origin)) = self.scope().column(index)
                    {
                        (column.table, column.attnum) = origin.origin;
                    }
                    scalars.push(scalar);
                    columns.push(column);
                }
            }
        }
        Ok((scalars, columns))
    }

    fn star(
        &mut self,
        names: &[Name],
        at: u32,
        scalars: &mut Vec<Scalar>,
        columns: &mut Vec<Column>,
    ) -> Result<(), PgError> {
        let qualifier = names.last();
        let scope = self.scope();
        let mut found = false;
        for relation in &scope.relations {
            let wanted = match qualifier {
                Some(qualifier) => relation.name == *qualifier,
                None => !relation.qualified_only,
            };
            if !wanted {
                continue;
            }
            found = true;
            for (index, column) in relation.columns.iter().enumerate() {
                if qualifier.is_none() && column.merged {
                    continue;
                }
                scalars.push(Scalar::Column(relation.offset + index));
                columns.push(Column {
                    table: column.origin.0,
                    attnum: column.origin.1,
                    ..plain_column(column.name.clone(), column.typed)
                });
            }
        }
        match (found, qualifier) {
            (true, _) => Ok(()),
            (false, Some(qualifier)) => Err(missing_from(qualifier).at(at as usize)),
            (false, None) => Err(PgError::new(
                SqlState::SYNTAX_ERROR,
                "SELECT * with no tables specified is not valid",
            )
            .at(at as usize)),
        }
    }

    /// ORDER BY: a number, the name of a result, or any expression.
    fn sort_expr(
        &mut self,
        expr: &Expr,
        targets: &[Scalar],
        columns: &[Column],
    ) -> Result<Scalar, PgError> {
        match expr {
            Expr::Integer(place) => {
                let place = position(*place, targets.len(), "ORDER BY")?;
                return Ok(targets[place].clone());
            }
            Expr::Column(names, at) if names.len() == 1 => {
                let mut named = columns
                    .iter()
                    .zip(targets)
                    .filter(|(column, _)| column.name == names[0])
                    .map(|(_, target)| target);
                if let Some(first) = named.next() {
                    if named.any(|other| other != first) {
                        let message = format!("ORDER BY \"{}\" is ambiguous", names[0]);
                        return Err(
                            PgError::new(SqlState::AMBIGUOUS_COLUMN, message).at(*at as usize)
                        );
                    }
                    return Ok(first.clone());
                }
            }
            _ => {}
        }
        let (scalar, typed) = self.settled(expr)?;
        if matches!(typed.ty, Type::Json | Type::Void) {
            return Err(PgError::new(
                SqlState::UNDEFINED_FUNCTION,
                format!(
                    "could not identify an ordering operator for type {}",
                    typed.ty
                ),
            )
            .with_hint("Use an explicit ordering operator or modify the query."));
        }
        Ok(scalar)
    }

    /// GROUP BY: a number, an expression, or the name of a result that is no column.
    fn group_key(
        &mut self,
        expr: &Expr,
        targets: &[Scalar],
        columns: &[Column],
    ) -> Result<Scalar, PgError> {
        if let Expr::Integer(place) = expr {
            let place = position(*place, targets.len(), "GROUP BY")?;
            return Ok(targets[place].clone());
        }
        let bound = self.settled(expr);
        match (bound, expr) {
            (Ok((scalar, _)), _) => Ok(scalar),
            (Err(error), Expr::Column(names, _)) if names.len() == 1 => {
                let named = columns.iter().position(|column| column.name == names[0]);
                match named {
                    Some(place) => Ok(targets[place].clone()),
                    None => Err(error),
                }
            }
            (Err(error), _) => Err(error),
        }
    }

    fn locking(
        &mut self,
        clauses: &[Locking],
        nullable: &[std::ops::Range<usize>],
        select: &Select,
    ) -> Result<Vec<LockPlan>, PgError> {
        let mut plans: Vec<LockPlan> = Vec::new();
        let mut locked = Vec::new();
        for clause in clauses {
            let name = strength_name(clause.strength);
            let refuse = |with: &str| {
                Err(PgError::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    format!("{name} is not allowed with {with}"),
                ))
            };
            if select.distinct.is_some() {
                return refuse("DISTINCT clause");
            }
            if !select.group_by.is_empty() {
                return refuse("GROUP BY clause");
            }
            if select.having.is_some() {
                return refuse("HAVING clause");
            }
            for of in &clause.of {
                let known = self
                    .scope()
                    .relations
                    .iter()
                    .any(|r| of.name[..] == [r.name.clone()]);
                if !known {
                    let message = format!(
                        "relation \"{}\" in {name} clause not found in FROM clause",
                        of.name.join(".")
                    );
                    return Err(PgError::new(SqlState::UNDEFINED_TABLE, message).at(of.at as usize));
                }
            }
            for relation in &self.scope().relations {
                let named = clause
                    .of
                    .iter()
                    .any(|of| of.name[..] == [relation.name.clone()]);
                if !clause.of.is_empty() && !named {
                    continue;
                }
                let Some((table, place)) = &relation.table else {
                    if named || relation.columns.iter().any(|column| column.origin.0 != 0) {
                        return Err(PgError::feature_not_supported(format_args!(
                            "{name} of a subquery"
                        )));
                    }
                    continue;
                };
                if nullable.iter().any(|range| range.contains(place)) {
                    return Err(PgError::new(
                        SqlState::FEATURE_NOT_SUPPORTED,
                        format!("{name} cannot be applied to the nullable side of an outer join"),
                    ));
                }
                locked.push(table.clone());
                let plan = LockPlan {
                    table: Arc::clone(table),
                    place: *place,
                    offset: relation.offset,
                    strength: clause.strength,
                    wait: clause.wait,
                };
                // Of several clauses for one table the strongest counts.
                match plans.iter_mut().find(|other| other.place == *place) {
                    Some(other) if other.strength < plan.strength => *other = plan,
                    Some(_) => {}
                    None => plans.push(plan),
                }
            }
        }
        for table in locked {
            self.note_lock(&table, LockMode::RowShare);
        }
        Ok(plans)
    }

    /// FROM of UPDATE and USING of DELETE: the target's columns come first in
    /// the row, but the others are read first, so that they find it by its key.
    pub(super) fn target_and_others(&mut self, target: FromNode, others: FromNode) -> FromNode {
        match others {
            FromNode::Nothing => target,
            others => join(others, target),
        }
    }

    /// A statement inside WITH.
    pub(super) fn modify(&mut self, command: &Command) -> Result<super::ModifyPlan, PgError> {
        match command {
            Command::Insert(insert) => self.insert(insert),
            Command::Update(update) => self.update(update),
            Command::Delete(delete) => self.delete(delete),
            _ => Err(PgError::feature_not_supported("this statement in WITH")),
        }
    }
}

fn sort_key(by: Scalar, key: &OrderBy) -> SortKey {
    SortKey {
        by,
        descending: key.descending,
        nulls_first: key.nulls_first,
    }
}

fn position(place: i64, width: usize, clause: &str) -> Result<usize, PgError> {
    match usize::try_from(place) {
        Ok(place @ 1..) if place <= width => Ok(place - 1),
        _ => Err(PgError::new(
            SqlState::INVALID_COLUMN_REFERENCE,
            format!("{clause} position {place} is not in select list"),
        )),
    }
}

pub(super) fn plain_column(name: Name, typed: Typed) -> Column {
    Column {
        name,
        ty: typed.ty,
        typmod: typed.typmod,
        table: 0,
        attnum: 0,
    }
}

/// The target that returns a set, of which there may be one.
fn set_target(targets: &[Scalar]) -> Result<Option<usize>, PgError> {
    let mut found = None;
    for (place, target) in targets.iter().enumerate() {
        let is_set = matches!(target, Scalar::Call(function, _) if function.set);
        let mut sets = 0;
        target.walk(&mut |part| {
            sets += usize::from(matches!(part, Scalar::Call(function, _) if function.set));
        });
        if sets > usize::from(is_set) {
            return Err(PgError::feature_not_supported("a set within an expression"));
        }
        if is_set && found.replace(place).is_some() {
            return Err(PgError::feature_not_supported(
                "several sets in one target list",
            ));
        }
    }
    Ok(found)
}

fn strength_name(strength: LockStrength) -> &'static str {
    match strength {
        LockStrength::Update => "FOR UPDATE",
        LockStrength::NoKeyUpdate => "FOR NO KEY UPDATE",
        LockStrength::Share => "FOR SHARE",
        LockStrength::KeyShare => "FOR KEY SHARE",
    }
}

/// The name of a column without an alias, and how sure it is
/// (`FigureColnameInternal`).
fn name_of(expr: &Expr) -> (u8, Name) {
    let named = |name: &str| (2, Name::from(name));
    let nameless = || (0, Name::from("?column?"));
    match expr {
        Expr::Column(names, _) => names.last().map_or_else(nameless, |name| (2, name.clone())),
        Expr::Index(base, _) => name_of(base),
        Expr::Call(call) => call
            .name
            .last()
            .map_or_else(nameless, |name| (2, name.clone())),
        Expr::Cast(inner, ty) => match name_of(inner) {
            (0 | 1, _) => ty
                .name
                .last()
                .map_or_else(nameless, |name| (1, name.clone())),
            sure => sure,
        },
        Expr::Case { otherwise, .. } => match otherwise.as_deref().map(name_of) {
            Some((sure @ 1.., name)) => (sure, name),
            _ => (1, "case".into()),
        },
        Expr::Exists(_) => named("exists"),
        Expr::Array(_) | Expr::ArrayQuery(_) => named("array"),
        Expr::Row(_) => named("row"),
        Expr::Subquery(query) => match &query.body {
            QueryBody::Select(select) => match select.targets.first() {
                Some(Target::Expr(_, Some(alias))) => (2, alias.clone()),
                Some(Target::Expr(expr, None)) => name_of(expr),
                _ => nameless(),
            },
            _ => nameless(),
        },
        _ => nameless(),
    }
}
