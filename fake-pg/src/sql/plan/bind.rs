//! Expressions: from names to positions, from nothing to types.

use std::sync::Arc;

use super::coerce::{Context, varchar_typmod};
use super::scope::Scope;
use super::{Comparison, Scalar, Subquery, SubqueryKind, Typed, Unequal};
use crate::engine::{Catalog, LockMode, Relation, Table};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{Expr, Name, Query, TypeName};
use crate::sql::functions;
use crate::types::{Datum, Type};

/// Binds one statement.
pub(crate) struct Binder<'a> {
    pub(super) catalog: &'a Catalog,
    /// Types of the parameters, as far as they are known.
    pub(super) params: Vec<Option<Type>>,
    /// Outermost first.
    pub(super) scopes: Vec<Scope>,
    /// Common table expressions in reach, innermost last.
    pub(super) ctes: Vec<super::from::CteInReach>,
    /// How many slots for them the statement needs.
    pub(super) cte_slots: usize,
    /// How many subqueries there are.
    pub(super) subqueries: usize,
    /// The outermost level that the expression at hand refers to.
    pub(super) outermost: usize,
    /// Unknown constants of the next target list stay unknown.
    pub(super) keep_unknown: bool,
    /// The tables met, and how the statement must lock them.
    pub(super) locks: Vec<(Arc<Table>, LockMode)>,
}

impl<'a> Binder<'a> {
    /// A binder for a statement with these types of parameters.
    pub(crate) fn new(catalog: &'a Catalog, params: Vec<Option<Type>>) -> Self {
        Binder {
            catalog,
            params,
            scopes: Vec::new(),
            ctes: Vec::new(),
            cte_slots: 0,
            subqueries: 0,
            outermost: usize::MAX,
            keep_unknown: false,
            locks: Vec::new(),
        }
    }

    /// The types of the parameters; one that nothing tells is text where it
    /// was used, and an error where it was not.
    pub(crate) fn params(&self) -> Result<Vec<Type>, PgError> {
        let mut types = Vec::with_capacity(self.params.len());
        for (number, ty) in self.params.iter().enumerate() {
            match ty {
                Some(ty) => types.push(*ty),
                None => {
                    return Err(PgError::new(
                        SqlState::INDETERMINATE_DATATYPE,
                        format!("could not determine data type of parameter ${}", number + 1),
                    ));
                }
            }
        }
        Ok(types)
    }

    /// The tables the statement uses, and how it must lock them as a whole.
    pub(crate) fn locks(&mut self) -> Vec<(Arc<Table>, LockMode)> {
        std::mem::take(&mut self.locks)
    }

    /// Notes that a table is used; of several ways the strongest counts.
    pub(super) fn note_lock(&mut self, table: &Arc<Table>, mode: LockMode) {
        match self
            .locks
            .iter_mut()
            .find(|(other, _)| other.id == table.id)
        {
            Some((_, other)) => *other = mode.max(*other),
            None => self.locks.push((table.clone(), mode)),
        }
    }

    /// How many slots for subqueries and common table expressions a run needs.
    pub(crate) fn slots(&self) -> (usize, usize) {
        (self.subqueries, self.cte_slots)
    }

    /// Binds an expression over the columns of one table, as DEFAULT (none) and
    /// CHECK need it.
    pub(crate) fn over_table(
        &mut self,
        table: Option<&Arc<Table>>,
        expr: &Expr,
    ) -> Result<(Scalar, Typed), PgError> {
        let mut scope = Scope::default();
        if let Some(table) = table {
            let columns = super::scope::table_columns(table);
            scope.add(table.name.clone(), columns, None, None)?;
        }
        let outer = std::mem::replace(&mut self.scopes, vec![scope]);
        let bound = self.expr(expr);
        self.scopes = outer;
        bound
    }

    /// Checks the expression of a DEFAULT.
    pub(crate) fn check_default(
        &mut self,
        expr: &Expr,
        to: Typed,
        column: &str,
    ) -> Result<(), PgError> {
        let (scalar, from) = self.over_table(None, expr)?;
        // A default that draws on what is not there yet is bound when it is used.
        match self.coerce(scalar, from, to, Context::Assignment)? {
            Some(_) => Ok(()),
            None => Err(PgError::new(
                SqlState::DATATYPE_MISMATCH,
                format!(
                    "column \"{column}\" is of type {} but default expression is of type {}",
                    to.ty, from.ty
                ),
            )
            .with_hint("You will need to rewrite or cast the expression.")),
        }
    }

    /// Checks the expression of a CHECK, and tells which columns it is about.
    pub(crate) fn check(&mut self, table: &Arc<Table>, expr: &Expr) -> Result<Vec<usize>, PgError> {
        let bound = self.over_table(Some(table), expr)?;
        let check = self.demand(bound, Type::Bool, "CHECK")?;
        let mut columns = Vec::new();
        check.walk(&mut |part| match part {
            Scalar::Column(column) if !columns.contains(column) => columns.push(*column),
            _ => {}
        });
        Ok(columns)
    }

    /// Binds an expression that must be boolean.
    pub(super) fn condition(
        &mut self,
        expr: &Expr,
        clause: &'static str,
    ) -> Result<Scalar, PgError> {
        self.scope().clause = clause;
        let bound = self.expr(expr)?;
        self.demand(bound, Type::Bool, clause)
    }

    /// Binds an expression.
    pub(crate) fn expr(&mut self, expr: &Expr) -> Result<(Scalar, Typed), PgError> {
        let unknown = Typed::from(Type::Unknown);
        let boolean = |scalar| Ok((scalar, Typed::from(Type::Bool)));
        match expr {
            Expr::Null => Ok((Scalar::Const(Datum::Null), unknown)),
            Expr::Bool(value) => boolean(Scalar::Const(Datum::Bool(*value))),
            Expr::Integer(value) => Ok(match i32::try_from(*value) {
                Ok(value) => (Scalar::Const(Datum::Int4(value)), Type::Int4.into()),
                Err(_) => (Scalar::Const(Datum::Int8(*value)), Type::Int8.into()),
            }),
            // It must become something else: there are no values of that type.
            Expr::Numeric(text) => Ok((
                Scalar::Const(Datum::Text(text.clone())),
                Type::Numeric.into(),
            )),
            Expr::String(text, _) => Ok((Scalar::Const(Datum::Text(text.clone())), unknown)),
            Expr::Param(number, _) => {
                if self.params.len() <= *number {
                    self.params.resize(number + 1, None);
                }
                let ty = self.params[*number].unwrap_or(Type::Unknown);
                Ok((Scalar::Param(*number), ty.into()))
            }
            Expr::Default => Err(PgError::new(
                SqlState::SYNTAX_ERROR,
                "DEFAULT is not allowed in this context",
            )),
            Expr::Column(names, at) => self.column(names, *at),
            Expr::Prefix(op, operand, at) => self.prefix(op, operand, *at),
            Expr::Binary(op, left, right, at) => self.binary(op, left, right, *at),
            Expr::And(parts) => boolean(Scalar::And(self.conditions(parts, "AND")?)),
            Expr::Or(parts) => boolean(Scalar::Or(self.conditions(parts, "OR")?)),
            Expr::Not(inner) => {
                let bound = self.expr(inner)?;
                boolean(Scalar::Not(Box::new(self.demand(
                    bound,
                    Type::Bool,
                    "NOT",
                )?)))
            }
            Expr::IsNull(inner, negated) => {
                if matches!(**inner, Expr::Row(_)) {
                    return Err(PgError::feature_not_supported("IS NULL of a row"));
                }
                let (scalar, _) = self.settled(inner)?;
                boolean(Scalar::IsNull(Box::new(scalar), *negated))
            }
            Expr::IsBool(inner, value, negated) => {
                let bound = self.expr(inner)?;
                let clause = match value {
                    Some(true) => "IS TRUE",
                    Some(false) => "IS FALSE",
                    None => "IS UNKNOWN",
                };
                let scalar = self.demand(bound, Type::Bool, clause)?;
                boolean(Scalar::IsBool(Box::new(scalar), *value, *negated))
            }
            Expr::IsDistinct(left, right, negated, at) => {
                let (left, right) = (self.expr(left)?, self.expr(right)?);
                let pair = self.comparable("=", left, right, *at)?;
                boolean(Scalar::Distinct(Box::new(pair), *negated))
            }
            Expr::Between {
                operand,
                low,
                high,
                negated,
                symmetric,
                at,
            } => {
                let between = self.between(operand, low, high, *at)?;
                let between = match symmetric {
                    false => between,
                    true => Scalar::Or(vec![between, self.between(operand, high, low, *at)?]),
                };
                boolean(match negated {
                    true => Scalar::Not(Box::new(between)),
                    false => between,
                })
            }
            Expr::InList(operand, list, negated, at) => self.in_list(operand, list, *negated, *at),
            Expr::InQuery(operand, query, negated, at) => {
                self.in_query(operand, "=", query, false, *negated, *at)
            }
            Expr::AnyQuery {
                operand,
                op,
                query,
                all,
                at,
            } => self.in_query(operand, op, query, *all, false, *at),
            Expr::Any {
                operand,
                op,
                array,
                all,
                at,
            } => self.any(operand, op, array, *all, *at),
            Expr::Like {
                operand,
                pattern,
                escape,
                insensitive,
                negated,
                at,
            } => {
                let op = match (insensitive, negated) {
                    (false, false) => "~~",
                    (false, true) => "!~~",
                    (true, false) => "~~*",
                    (true, true) => "!~~*",
                };
                if escape.is_some() {
                    return Err(PgError::feature_not_supported("LIKE … ESCAPE"));
                }
                self.binary(op, operand, pattern, *at)
            }
            Expr::Cast(inner, ty) => self.cast(inner, ty),
            Expr::Case {
                operand,
                whens,
                otherwise,
            } => self.case(operand.as_deref(), whens, otherwise.as_deref()),
            Expr::Call(call) => self.call(call),
            Expr::Exists(query) => {
                let subquery = self.subquery(query, SubqueryKind::Exists)?;
                boolean(Scalar::Subquery(Box::new(subquery)))
            }
            Expr::Subquery(query) => {
                let subquery = self.subquery(query, SubqueryKind::Scalar)?;
                let [column] = &subquery.plan.0.columns[..] else {
                    return Err(one_column());
                };
                let typed = Typed {
                    ty: column.ty,
                    typmod: column.typmod,
                };
                Ok((Scalar::Subquery(Box::new(subquery)), typed))
            }
            Expr::ArrayQuery(query) => {
                let subquery = self.subquery(query, SubqueryKind::Array)?;
                let [column] = &subquery.plan.0.columns[..] else {
                    return Err(one_column());
                };
                let array = array_of(column.ty)?;
                Ok((Scalar::Subquery(Box::new(subquery)), array.into()))
            }
            Expr::Array(items) => {
                let mut bound = Vec::with_capacity(items.len());
                for item in items {
                    bound.push(self.expr(item)?);
                }
                if bound.is_empty() {
                    // Its type is that of the cast around it, which knows empty arrays.
                    return Err(PgError::new(
                        SqlState::INDETERMINATE_DATATYPE,
                        "cannot determine type of empty array",
                    )
                    .with_hint(
                        "Explicitly cast to the desired type, for example ARRAY[]::integer[].",
                    ));
                }
                let (items, typed) = self.unify(bound, "ARRAY")?;
                Ok((Scalar::Array(items), array_of(typed.ty)?.into()))
            }
            Expr::Row(_) => Err(PgError::feature_not_supported("row values in this place")),
            Expr::Index(base, index) => {
                let (base, typed) = self.expr(base)?;
                let Some(element) = typed.ty.element() else {
                    return Err(PgError::new(
                        SqlState::DATATYPE_MISMATCH,
                        format!(
                            "cannot subscript type {} because it does not support subscripting",
                            typed.ty
                        ),
                    ));
                };
                let index = self.expr(index)?;
                let index = self.demand(index, Type::Int4, "array subscript")?;
                Ok((Scalar::Index(Box::new((base, index))), element.into()))
            }
            Expr::Unsupported(what) => Err(PgError::feature_not_supported(what)),
        }
    }

    /// Binds an expression whose type nothing else will tell: unknown is text.
    pub(super) fn settled(&mut self, expr: &Expr) -> Result<(Scalar, Typed), PgError> {
        let (scalar, typed) = self.expr(expr)?;
        self.settle(scalar, typed)
    }

    /// Makes text of what is unknown.
    pub(super) fn settle(
        &mut self,
        scalar: Scalar,
        typed: Typed,
    ) -> Result<(Scalar, Typed), PgError> {
        if typed.ty == Type::Numeric {
            return Err(numeric());
        }
        if typed.ty != Type::Unknown {
            return Ok((scalar, typed));
        }
        let text = Typed::from(Type::Text);
        match self.coerce(scalar, typed, text, Context::Implicit)? {
            Some(scalar) => Ok((scalar, text)),
            None => Err(PgError::feature_not_supported("a value of unknown type")),
        }
    }

    fn conditions(&mut self, parts: &[Expr], clause: &str) -> Result<Vec<Scalar>, PgError> {
        let mut bound = Vec::with_capacity(parts.len());
        for part in parts {
            let part = self.expr(part)?;
            bound.push(self.demand(part, Type::Bool, clause)?);
        }
        Ok(bound)
    }

    fn between(
        &mut self,
        operand: &Expr,
        low: &Expr,
        high: &Expr,
        at: u32,
    ) -> Result<Scalar, PgError> {
        let (from, _) = self.binary(">=", operand, low, at)?;
        let (to, _) = self.binary("<=", operand, high, at)?;
        Ok(Scalar::And(vec![from, to]))
    }

    fn in_list(
        &mut self,
        operand: &Expr,
        list: &[Expr],
        negated: bool,
        at: u32,
    ) -> Result<(Scalar, Typed), PgError> {
        let boolean = Typed::from(Type::Bool);
        if let Expr::Row(_) = operand {
            let mut any = Vec::with_capacity(list.len());
            for item in list {
                any.push(self.binary("=", operand, item, at)?.0);
            }
            let any = Scalar::Or(any);
            return Ok(match negated {
                true => (Scalar::Not(Box::new(any)), boolean),
                false => (any, boolean),
            });
        }
        let bound = self.expr(operand)?;
        let mut items = Vec::with_capacity(list.len());
        for item in list {
            items.push(self.expr(item)?);
        }
        // The operand may learn its type from the list.
        let known = items.iter().find(|(_, typed)| typed.ty != Type::Unknown);
        let (operand, typed) = match (bound.1.ty, known) {
            (Type::Unknown, Some(known)) => {
                let known = known.clone();
                let (operand, _) = self.comparable("=", bound, known.clone(), at)?;
                (operand, known.1)
            }
            (Type::Unknown, None) => self.settle(bound.0, bound.1)?,
            _ => bound,
        };
        let mut bound = Vec::with_capacity(items.len());
        for item in items {
            bound.push(self.comparable("=", (operand.clone(), typed), item, at)?.1);
        }
        Ok((Scalar::InList(Box::new(operand), bound, negated), boolean))
    }

    fn any(
        &mut self,
        operand: &Expr,
        op: &str,
        array: &Expr,
        all: bool,
        at: u32,
    ) -> Result<(Scalar, Typed), PgError> {
        let operand = self.expr(operand)?;
        let (array, array_type) = self.expr(array)?;
        let Some(comparison) = comparison(op) else {
            return Err(PgError::feature_not_supported(format_args!(
                "{op} ANY (array)"
            )));
        };
        let (operand, array) = if array_type.ty == Type::Unknown {
            let (operand, typed) = self.settle(operand.0, operand.1)?;
            let element = match typed.ty {
                Type::Varchar | Type::Name => Type::Text,
                ty => ty,
            };
            let to = array_of(element)?.into();
            let array = self.coerce(array, array_type, to, Context::Implicit)?;
            (operand, array.unwrap_or(Scalar::Const(Datum::Null)))
        } else {
            let Some(element) = array_type.ty.element() else {
                return Err(PgError::new(
                    SqlState::WRONG_OBJECT_TYPE,
                    "op ANY/ALL (array) requires array on right side",
                )
                .at(at as usize));
            };
            // Stands for the elements: a column has a type that does not change.
            let stand_in = (Scalar::Column(0), element.into());
            let (operand, element) = self.comparable(op, operand, stand_in, at)?;
            if element != Scalar::Column(0) {
                return Err(PgError::feature_not_supported(
                    "comparing with an array of another type",
                ));
            }
            (operand, array)
        };
        let any = Scalar::Any(comparison, Box::new((operand, array)), all);
        Ok((any, Type::Bool.into()))
    }

    fn in_query(
        &mut self,
        operand: &Expr,
        op: &str,
        query: &Query,
        all: bool,
        negated: bool,
        at: u32,
    ) -> Result<(Scalar, Typed), PgError> {
        let Some(comparison) = comparison(op) else {
            return Err(PgError::feature_not_supported(format_args!(
                "{op} ANY (query)"
            )));
        };
        let mut operands = Vec::new();
        match operand {
            Expr::Row(items) => {
                for item in items {
                    operands.push(self.expr(item)?);
                }
            }
            single => operands.push(self.expr(single)?),
        }
        let mut subquery = self.subquery(query, SubqueryKind::Exists)?;
        let columns = subquery.plan.0.columns.clone();
        if columns.len() != operands.len() {
            let few = match columns.len() < operands.len() {
                true => "subquery has too few columns",
                false => "subquery has too many columns",
            };
            return Err(PgError::new(SqlState::SYNTAX_ERROR, few).at(at as usize));
        }
        let mut bound = Vec::with_capacity(operands.len());
        for (index, (operand, column)) in operands.into_iter().zip(&columns).enumerate() {
            let (operand, column) =
                self.comparable(op, operand, (Scalar::Column(index), column.ty.into()), at)?;
            if column != Scalar::Column(index) {
                return Err(PgError::feature_not_supported(
                    "comparing with a subquery of another type",
                ));
            }
            bound.push(operand);
        }
        subquery.kind = SubqueryKind::In {
            operands: bound,
            comparison,
            all,
            negated,
        };
        Ok((Scalar::Subquery(Box::new(subquery)), Type::Bool.into()))
    }

    /// Binds a subquery in its own scope.
    pub(super) fn subquery(
        &mut self,
        query: &Query,
        kind: SubqueryKind,
    ) -> Result<Subquery, PgError> {
        let outermost = std::mem::replace(&mut self.outermost, usize::MAX);
        let plan = self.query(query)?;
        // Its own level, and those inside of it, are no correlation.
        let correlated = self.outermost < self.scopes.len();
        self.outermost = self.outermost.min(outermost);
        self.subqueries += 1;
        Ok(Subquery {
            kind,
            id: self.subqueries - 1,
            correlated,
            plan: Unequal(Arc::new(plan)),
        })
    }

    fn cast(&mut self, inner: &Expr, name: &TypeName) -> Result<(Scalar, Typed), PgError> {
        let to = self.type_name(name)?;
        if let (Expr::Array(items), Some(_)) = (inner, to.ty.element())
            && items.is_empty()
        {
            return Ok((Scalar::Const(Datum::Array(Arc::new([]))), to));
        }
        let (scalar, from) = self.expr(inner)?;
        match self.coerce(scalar, from, to, Context::Explicit)? {
            Some(scalar) => Ok((scalar, to)),
            None => Err(PgError::new(
                SqlState::CANNOT_COERCE,
                format!("cannot cast type {} to {}", from.ty, to.ty),
            )
            .at(name.at as usize)),
        }
    }

    /// The type a name stands for.
    pub(crate) fn type_name(&self, name: &TypeName) -> Result<Typed, PgError> {
        let found = match &name.name[..] {
            [single] => find_type(single),
            [schema, single] if &**schema == "pg_catalog" => find_type(single),
            _ => None,
        };
        let shown = name.name.join(".");
        let Some(ty) = found else {
            return Err(PgError::new(
                SqlState::UNDEFINED_OBJECT,
                format!("type \"{shown}\" does not exist"),
            )
            .at(name.at as usize));
        };
        if matches!(
            ty,
            Type::Float4 | Type::Bpchar | Type::Date | Type::Timestamp | Type::Numeric
        ) {
            return Err(PgError::feature_not_supported(format_args!("type {ty}")));
        }
        let typmod = match (&name.modifiers[..], ty) {
            ([], _) => -1,
            ([length], Type::Varchar) if (1..=10_485_760).contains(length) => {
                varchar_typmod(*length)
            }
            ([length], Type::Varchar) => {
                let message = match length {
                    ..=0 => "length for type varchar must be at least 1",
                    _ => "length for type varchar cannot exceed 10485760",
                };
                return Err(PgError::new(SqlState::INVALID_PARAMETER_VALUE, message));
            }
            _ => {
                return Err(PgError::feature_not_supported(format_args!(
                    "a modifier of type {ty}"
                )));
            }
        };
        if !name.array {
            return Ok(Typed { ty, typmod });
        }
        Ok(Typed {
            ty: array_of(ty)?,
            typmod,
        })
    }

    fn case(
        &mut self,
        operand: Option<&Expr>,
        whens: &[(Expr, Expr)],
        otherwise: Option<&Expr>,
    ) -> Result<(Scalar, Typed), PgError> {
        let mut conditions = Vec::with_capacity(whens.len());
        let mut values = Vec::with_capacity(whens.len() + 1);
        for (when, then) in whens {
            conditions.push(match operand {
                Some(operand) => self.binary("=", operand, when, 0)?.0,
                None => {
                    let bound = self.expr(when)?;
                    self.demand(bound, Type::Bool, "CASE/WHEN")?
                }
            });
            values.push(self.expr(then)?);
        }
        values.push(match otherwise {
            Some(otherwise) => self.expr(otherwise)?,
            None => (Scalar::Const(Datum::Null), Type::Unknown.into()),
        });
        let (mut values, typed) = self.unify(values, "CASE")?;
        let otherwise = values.pop().unwrap_or(Scalar::Const(Datum::Null));
        let whens = conditions.into_iter().zip(values).collect();
        Ok((Scalar::Case(whens, Box::new(otherwise)), typed))
    }

    /// `'t'::regclass`: the OID of a relation, looked up now.
    pub(super) fn regclass(&self, name: &str) -> Result<Scalar, PgError> {
        if let Ok(oid) = name.parse::<u32>() {
            return Ok(Scalar::Const(Datum::Int8(oid.into())));
        }
        let plain = name.strip_prefix("public.").unwrap_or(name);
        let folded: Name = match plain
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
        {
            Some(quoted) => quoted.replace("\"\"", "\"").into(),
            None => plain.to_lowercase().into(),
        };
        let oid = match self.catalog.relation(&folded) {
            Some(Relation::Table(table)) => table.id.0,
            Some(Relation::Sequence(sequence)) => sequence.id.0,
            Some(Relation::Index(..)) => {
                return Err(PgError::feature_not_supported("the regclass of an index"));
            }
            None => return Err(PgError::undefined_table(&folded)),
        };
        Ok(Scalar::Const(Datum::Int8(oid.into())))
    }

    fn call(&mut self, call: &crate::sql::ast::Call) -> Result<(Scalar, Typed), PgError> {
        functions::bind(self, call)
    }
}

/// 0A000 for what would be a numeric.
pub(super) fn numeric() -> PgError {
    PgError::feature_not_supported("type numeric")
}

fn one_column() -> PgError {
    PgError::new(
        SqlState::SYNTAX_ERROR,
        "subquery must return only one column",
    )
}

/// A type by its name in the catalog.
pub(super) fn find_type(name: &str) -> Option<Type> {
    let by_name = Type::ALL.iter().find(|ty| ty.name() == name);
    by_name
        .copied()
        .filter(|ty| !matches!(ty, Type::Unknown | Type::Record))
}

/// The array type over an element.
pub(super) fn array_of(element: Type) -> Result<Type, PgError> {
    element
        .array()
        .ok_or_else(|| PgError::feature_not_supported(format_args!("arrays of {element}")))
}

/// The comparison an operator makes, if it is one.
pub(super) fn comparison(op: &str) -> Option<Comparison> {
    Some(match op {
        "=" => Comparison::Equal,
        "<>" | "!=" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        _ => return None,
    })
}
