//! Expressions: from names to positions, from nothing to types.
//!
//! Every expression comes out with its type; an unknown one stays unknown
//! until somebody demands a type of it or settles it as text. How operands
//! agree on a type is `operator`'s and `coerce`'s, what a call means is
//! `functions`'.

use std::sync::Arc;

use super::coerce::Context;
use super::operator::comparison;
use super::subquery::one_column;
use super::type_name::array_of;
use super::{Binder, Scalar, SubqueryKind, Typed};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{Expr, TypeName};
use crate::sql::functions;
use crate::types::numeric::Numeric;
use crate::types::{Datum, Type};

impl Binder<'_> {
    /// Binds an expression.
    pub(crate) fn expr(&mut self, expr: &Expr) -> Result<(Scalar, Typed), PgError> {
        let constants = self.constants.len();
        let bound = self.parts(expr)?;
        self.note_constant(&bound.0, constants);
        Ok(bound)
    }

    fn parts(&mut self, expr: &Expr) -> Result<(Scalar, Typed), PgError> {
        let unknown = Typed::from(Type::Unknown);
        let boolean = |scalar| Ok((scalar, Typed::from(Type::Bool)));
        match expr {
            Expr::Null => Ok((Scalar::Const(Datum::Null), unknown)),
            Expr::Bool(value) => boolean(Scalar::Const(Datum::Bool(*value))),
            Expr::Integer(value) => Ok(match i32::try_from(*value) {
                Ok(value) => (Scalar::Const(Datum::Int4(value)), Type::Int4.into()),
                Err(_) => (Scalar::Const(Datum::Int8(*value)), Type::Int8.into()),
            }),
            Expr::Numeric(text) => match Numeric::parse(text) {
                Some(value) => Ok((Scalar::Const(value?.into()), Type::Numeric.into())),
                None => Err(PgError::invalid_text("numeric", text)),
            },
            Expr::String(text, at) => {
                // The modifier of an unknown is where it stands: errors in reading it point there.
                let typed = Typed {
                    ty: Type::Unknown,
                    typmod: *at as i32,
                };
                Ok((Scalar::Const(Datum::Text(text.clone())), typed))
            }
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
            Expr::Named(..) => Err(PgError::feature_not_supported("named arguments")),
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
            .at(name.cast_at as usize)),
        }
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

    fn call(&mut self, call: &crate::sql::ast::Call) -> Result<(Scalar, Typed), PgError> {
        functions::bind(self, call)
    }
}
