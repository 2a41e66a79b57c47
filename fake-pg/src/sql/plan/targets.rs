//! Target lists: `*` spread, columns named, ORDER BY and GROUP BY that refer
//! to them.
//!
//! Names follow PostgreSQL's `FigureColname`. A column that is a table's own
//! tells so to the client; anything else has no origin. Aggregates are left
//! in place for `aggregate`.

use super::aggregate::aggregate_at;
use super::coerce::Context;
use super::names::split_name;
use super::operator::refuse_unequal;
use super::{Binder, Scalar, Typed};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{Expr, Name, QueryBody, Select, Target};
use crate::sql::face::Column;
use crate::types::Type;

/// `MaxTupleAttributeNumber`.
const COLUMNS_MAX: usize = 1664;

impl Binder<'_> {
    /// Binds a target list, stars spread.
    pub(super) fn targets(
        &mut self,
        targets: &[Target],
        into: &[Typed],
    ) -> Result<(Vec<Scalar>, Vec<Column>), PgError> {
        let keep_unknown = std::mem::take(&mut self.keep_unknown);
        let mut scalars = Vec::with_capacity(targets.len());
        let mut columns = Vec::with_capacity(targets.len());
        // A parameter learns from its column once all are bound.
        let mut waiting = Vec::new();
        for target in targets {
            match target {
                Target::Star(names, at) => self.star(names, *at, &mut scalars, &mut columns)?,
                Target::Expr(expr, alias) => {
                    let (mut scalar, mut typed) = self.expr(expr)?;
                    let mut waits = false;
                    if let (Scalar::Param(number), Type::Unknown) = (&scalar, typed.ty)
                        && scalars.len() < into.len()
                    {
                        waiting.push((scalars.len(), *number, typed.typmod));
                        waits = true;
                    }
                    if let (Type::Unknown, Some(to), false) =
                        (typed.ty, into.get(scalars.len()), waits)
                    {
                        let to = Typed::from(to.ty);
                        if let Some(cast) =
                            self.coerce(scalar.clone(), typed, to, Context::Assignment)?
                        {
                            (scalar, typed) = (cast, to);
                        }
                    }
                    let (scalar, typed) = match scalar {
                        Scalar::Const(_) | Scalar::Param(_)
                            if typed.ty == Type::Unknown && (keep_unknown || waits) =>
                        {
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
        if columns.len() > COLUMNS_MAX {
            return Err(PgError::new(
                SqlState::TOO_MANY_COLUMNS,
                format!("target lists can have at most {COLUMNS_MAX} entries"),
            ));
        }
        for (place, number, at) in waiting {
            let to = into[place].ty;
            self.deduce(number, to.base(), at)?;
            columns[place].ty = to;
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
        let (schema, qualifier) = match names {
            [] => (None, None),
            names => {
                let split = split_name(self.catalog, self.path, names);
                let (schema, name) = split.map_err(|error| error.at(at as usize))?;
                (schema, Some(name))
            }
        };
        let scope = self.scope();
        let mut found = false;
        for relation in &scope.relations {
            if qualifier.is_some_and(|qualifier| !relation.is_called(schema, qualifier)) {
                continue;
            }
            found = true;
            for (index, column) in relation.columns.iter().enumerate() {
                if column.dropped || qualifier.is_none() && column.merged {
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
            (false, Some(qualifier)) => Err(self.missing_from(qualifier).at(at as usize)),
            (false, None) => Err(PgError::new(
                SqlState::SYNTAX_ERROR,
                "SELECT * with no tables specified is not valid",
            )
            .at(at as usize)),
        }
    }

    /// ORDER BY: a number, the name of a result, or any expression.
    pub(super) fn result_expr(
        &mut self,
        expr: &Expr,
        targets: &[Scalar],
        columns: &[Column],
        clause: &str,
    ) -> Result<(Scalar, Type), PgError> {
        refuse_constant(expr, clause)?;
        match expr {
            Expr::Integer(place, at) => {
                let place = position(*place, targets.len(), clause, *at)?;
                return Ok((targets[place].clone(), columns[place].ty));
            }
            Expr::Column(names, at) if names.len() == 1 => {
                let mut named = columns
                    .iter()
                    .zip(targets)
                    .filter(|(column, _)| column.name == names[0])
                    .map(|(column, target)| (target, column.ty));
                if let Some((first, ty)) = named.next() {
                    if named.any(|(other, _)| other != first) {
                        let message = format!("{clause} \"{}\" is ambiguous", names[0]);
                        return Err(
                            PgError::new(SqlState::AMBIGUOUS_COLUMN, message).at(*at as usize)
                        );
                    }
                    return Ok((first.clone(), ty));
                }
            }
            _ => {}
        }
        let (scalar, typed) = self.settled(expr)?;
        Ok((scalar, typed.ty))
    }

    /// The same, of values that can be sorted.
    pub(super) fn sort_expr(
        &mut self,
        expr: &Expr,
        targets: &[Scalar],
        columns: &[Column],
        clause: &str,
    ) -> Result<Scalar, PgError> {
        let (scalar, ty) = self.result_expr(expr, targets, columns, clause)?;
        let unsorted = [Type::Json, Type::JsonArray, Type::Void];
        if unsorted.contains(&ty) {
            let message = format!("could not identify an ordering operator for type {ty}");
            return Err(PgError::new(SqlState::UNDEFINED_FUNCTION, message)
                .with_hint("Use an explicit ordering operator or modify the query.")
                .near(expr.at()));
        }
        Ok(scalar)
    }

    /// GROUP BY: a number, an expression, or the name of a result that is no column.
    pub(super) fn group_key(
        &mut self,
        expr: &Expr,
        targets: &[Scalar],
        columns: &[Column],
        select: &Select,
    ) -> Result<Scalar, PgError> {
        let key_of = |place: usize| {
            let mut aggregates = false;
            targets[place].walk(&mut |part| aggregates |= matches!(part, Scalar::Aggregate(_)));
            if aggregates {
                let at = match select.target_of(place, targets.len()) {
                    Some(Target::Expr(expr, _)) => aggregate_at(expr),
                    _ => 0,
                };
                let message = "aggregate functions are not allowed in GROUP BY";
                return Err(PgError::new(SqlState::GROUPING_ERROR, message).near(at));
            }
            Ok(targets[place].clone())
        };
        refuse_constant(expr, "GROUP BY")?;
        if let Expr::Integer(place, at) = expr {
            let place = position(*place, targets.len(), "GROUP BY", *at)?;
            refuse_unequal(columns[place].ty, *at)?;
            return key_of(place);
        }
        let bound = self.settled(expr);
        match (bound, expr) {
            (Ok((scalar, typed)), _) => {
                refuse_unequal(typed.ty, expr.at())?;
                Ok(scalar)
            }
            (Err(error), Expr::Column(names, _)) if names.len() == 1 => {
                let named = columns.iter().position(|column| column.name == names[0]);
                match named {
                    Some(place) => {
                        refuse_unequal(columns[place].ty, expr.at())?;
                        key_of(place)
                    }
                    None => Err(error),
                }
            }
            (Err(error), _) => Err(error),
        }
    }
}

/// 42601 for a constant that is no place (`findTargetlistEntrySQL92`).
pub(super) fn refuse_constant(expr: &Expr, clause: &str) -> Result<(), PgError> {
    let at = match expr {
        Expr::String(_, at) | Expr::Numeric(_, at) | Expr::Null(at) | Expr::Bool(_, at) => *at,
        Expr::Integer(place, at) if i32::try_from(*place).is_err() => *at,
        _ => return Ok(()),
    };
    let message = format!("non-integer constant in {clause}");
    Err(PgError::new(SqlState::SYNTAX_ERROR, message).near(at))
}

pub(super) fn position(place: i64, width: usize, clause: &str, at: u32) -> Result<usize, PgError> {
    match usize::try_from(place) {
        Ok(place @ 1..) if place <= width => Ok(place - 1),
        _ => Err(PgError::new(
            SqlState::INVALID_COLUMN_REFERENCE,
            format!("{clause} position {place} is not in select list"),
        )
        .near(at)),
    }
}

pub(super) fn plain_column(name: Name, typed: Typed) -> Column {
    Column {
        name,
        ty: typed.ty,
        typmod: match typed.ty {
            Type::Unknown => -1,
            _ => typed.typmod,
        },
        table: 0,
        attnum: 0,
    }
}

/// The name of a column without an alias, and how sure it is
/// (`FigureColnameInternal`).
fn name_of(expr: &Expr) -> (u8, Name) {
    let named = |name: &str| (2, Name::from(name));
    let nameless = || (0, Name::from("?column?"));
    match expr {
        Expr::Column(names, _) => names.last().map_or_else(nameless, |name| (2, name.clone())),
        Expr::Index(base, _) | Expr::Slice(base, ..) => name_of(base),
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
        Expr::Exists(..) => named("exists"),
        Expr::Array(..) | Expr::ArrayQuery(..) => named("array"),
        Expr::Row(..) => named("row"),
        Expr::Subquery(query, _) => match &query.body {
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
