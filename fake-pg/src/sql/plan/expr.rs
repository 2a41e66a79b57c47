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
use crate::sql::ast::{Expr, Query, TypeName};
use crate::sql::functions;
use crate::types::numeric::Numeric;
use crate::types::{Datum, Type};

impl Binder<'_> {
    /// Binds an expression.
    pub(crate) fn expr(&mut self, expr: &Expr) -> Result<(Scalar, Typed), PgError> {
        self.within += 1;
        let bound = self.parts(expr);
        self.within -= 1;
        if let (0, Ok((scalar, _))) = (self.within, &bound) {
            self.note_constants(scalar);
        }
        bound
    }

    /// Only what may be nested deeply, and by calls alone: its frame stands on the stack once for
    /// each level, so the many locals of the rest are not in it.
    fn parts(&mut self, expr: &Expr) -> Result<(Scalar, Typed), PgError> {
        match expr {
            Expr::Prefix(op, operand, at) => self.prefix(op, operand, *at),
            Expr::Binary(op, left, right, at) => self.binary(op, left, right, *at),
            Expr::And(parts) => self.connected(parts, "AND"),
            Expr::Or(parts) => self.connected(parts, "OR"),
            Expr::Not(inner, _) => self.not(inner),
            Expr::Cast(inner, ty) => self.cast(inner, ty),
            Expr::Case {
                operand,
                whens,
                otherwise,
                ..
            } => self.case(operand.as_deref(), whens, otherwise.as_deref()),
            Expr::Call(call) => self.call(call),
            Expr::Subquery(query, at) => self.scalar_subquery(query, *at),
            Expr::Array(items, at) => self.array(items, *at),
            Expr::InList(operand, list, negated, at) => self.in_list(operand, list, *negated, *at),
            _ => self.other_parts(expr),
        }
    }

    fn connected(&mut self, parts: &[Expr], word: &str) -> Result<(Scalar, Typed), PgError> {
        let parts = self.conditions(parts, word)?;
        let scalar = match word {
            "AND" => Scalar::And(parts),
            _ => Scalar::Or(parts),
        };
        Ok((scalar, Type::Bool.into()))
    }

    fn not(&mut self, inner: &Expr) -> Result<(Scalar, Typed), PgError> {
        let inner = self.demand(inner, Type::Bool, "NOT")?;
        Ok((Scalar::Not(Box::new(inner)), Type::Bool.into()))
    }

    fn scalar_subquery(&mut self, query: &Query, at: u32) -> Result<(Scalar, Typed), PgError> {
        self.refuse_subquery(at)?;
        let subquery = self.subquery(query, SubqueryKind::Scalar)?;
        let [column] = &subquery.plan.0.columns[..] else {
            return Err(one_column().near(at));
        };
        let typed = Typed {
            ty: column.ty,
            typmod: column.typmod,
        };
        Ok((Scalar::Subquery(Box::new(subquery)), typed))
    }

    fn array(&mut self, items: &[Expr], at: u32) -> Result<(Scalar, Typed), PgError> {
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
            .with_hint("Explicitly cast to the desired type, for example ARRAY[]::integer[].")
            .near(at));
        }
        let places: Vec<u32> = items.iter().map(Expr::at).collect();
        let (items, typed) = self.unify(bound, &places, "ARRAY")?;
        // An array of arrays is an array of more dimensions.
        let array = match typed.ty.element() {
            Some(_) => typed.ty,
            None => array_of(typed.ty)?,
        };
        Ok((Scalar::Array(items), array.into()))
    }

    fn other_parts(&mut self, expr: &Expr) -> Result<(Scalar, Typed), PgError> {
        let unknown = Typed::from(Type::Unknown);
        let boolean = |scalar| Ok((scalar, Typed::from(Type::Bool)));
        match expr {
            Expr::Null(_) => Ok((Scalar::Const(Datum::Null), unknown)),
            Expr::Bool(value, _) => boolean(Scalar::Const(Datum::Bool(*value))),
            Expr::Integer(value, _) => Ok(match i32::try_from(*value) {
                Ok(value) => (Scalar::Const(Datum::Int4(value)), Type::Int4.into()),
                Err(_) => (Scalar::Const(Datum::Int8(*value)), Type::Int8.into()),
            }),
            Expr::Numeric(text, _) => match Numeric::parse(text) {
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
            Expr::Param(number, at) => {
                if self.no_params {
                    let message = format!("there is no parameter ${}", number + 1);
                    return Err(PgError::new(SqlState::UNDEFINED_PARAMETER, message).near(*at));
                }
                if self.params.len() <= *number {
                    self.params.resize(number + 1, None);
                }
                let typed = match self.params[*number] {
                    Some(ty) => ty.into(),
                    // As for strings: where it stands.
                    None => Typed {
                        ty: Type::Unknown,
                        typmod: *at as i32,
                    },
                };
                Ok((Scalar::Param(*number), typed))
            }
            Expr::Default(at) => Err(PgError::new(
                SqlState::SYNTAX_ERROR,
                "DEFAULT is not allowed in this context",
            )
            .near(*at)),
            Expr::Column(names, at) => self.column(names, *at),
            Expr::IsNull(inner, negated) => {
                if let Expr::Row(items, _) = &**inner {
                    // Of a row all columns are, or none is.
                    let mut parts = Vec::with_capacity(items.len());
                    for item in items {
                        let (scalar, typed) = self.settled_if_constant(item)?;
                        parts.push(match typed.ty {
                            // A row in it is null only if it is none at all.
                            Type::Record => {
                                let pair = Box::new((scalar, Scalar::Const(Datum::Null)));
                                Scalar::Distinct(pair, !*negated)
                            }
                            _ => Scalar::IsNull(Box::new(scalar), *negated),
                        });
                    }
                    return boolean(Scalar::And(parts));
                }
                let (scalar, _) = self.settled_if_constant(inner)?;
                boolean(Scalar::IsNull(Box::new(scalar), *negated))
            }
            Expr::IsBool(inner, value, negated) => {
                let clause = match value {
                    Some(true) => "IS TRUE",
                    Some(false) => "IS FALSE",
                    None => "IS UNKNOWN",
                };
                let scalar = self.demand(inner, Type::Bool, clause)?;
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
                let Some(escape) = escape else {
                    return self.binary(op, operand, pattern, *at);
                };
                let pattern = crate::sql::ast::Call {
                    name: vec!["like_escape".into()],
                    args: vec![Expr::clone(pattern), Expr::clone(escape)],
                    star: false,
                    distinct: false,
                    order_by: Vec::new(),
                    filter: None,
                    at: *at,
                };
                self.binary(op, operand, &Expr::Call(Box::new(pattern)), *at)
            }
            Expr::Exists(query, at) => {
                self.refuse_subquery(*at)?;
                let subquery = self.exists(query)?;
                boolean(Scalar::Subquery(Box::new(subquery)))
            }
            Expr::ArrayQuery(query, at) => {
                self.refuse_subquery(*at)?;
                let subquery = self.subquery(query, SubqueryKind::Array)?;
                let [column] = &subquery.plan.0.columns[..] else {
                    return Err(one_column().near(*at));
                };
                let array = array_of(column.ty)?;
                Ok((Scalar::Subquery(Box::new(subquery)), array.into()))
            }
            Expr::Row(items, _) => {
                let mut parts = Vec::with_capacity(items.len());
                for item in items {
                    parts.push(self.settled_if_constant(item)?.0);
                }
                Ok((Scalar::Row(parts, Arc::new([])), Type::Record.into()))
            }
            Expr::Index(..) | Expr::Slice(..) => self.subscript(expr),
            Expr::Named(..) => Err(PgError::feature_not_supported("named arguments")),
            Expr::QueryColumn(..) => Err(PgError::feature_not_supported("this SET")),
            Expr::Unsupported(what) => Err(PgError::feature_not_supported(what)),
            _ => self.parts(expr),
        }
    }

    /// `a[1][2]`, `a[1:2]`: all subscripts of one value belong together.
    fn subscript(&mut self, expr: &Expr) -> Result<(Scalar, Typed), PgError> {
        let mut chain = Vec::new();
        let mut base = expr;
        let is_slice = loop {
            match base {
                Expr::Index(inner, index) => {
                    chain.push((None, Some(&**index), false));
                    base = inner;
                }
                Expr::Slice(inner, low, high) => {
                    chain.push((low.as_deref(), high.as_deref(), true));
                    base = inner;
                }
                _ => break chain.iter().any(|(_, _, is_slice)| *is_slice),
            }
        };
        chain.reverse();
        let (mut scalar, mut typed) = self.expr(base)?;
        if typed.ty == Type::Jsonb {
            for (_, index, _) in chain {
                match index {
                    Some(index) if !is_slice => (scalar, typed) = self.json_item(scalar, index)?,
                    _ => {
                        return Err(PgError::new(
                            SqlState::DATATYPE_MISMATCH,
                            "jsonb subscript does not support slices",
                        ));
                    }
                }
            }
            return Ok((scalar, typed));
        }
        let Some(element) = typed.ty.base().element() else {
            return Err(PgError::new(
                SqlState::DATATYPE_MISMATCH,
                format!(
                    "cannot subscript type {} because it does not support subscripting",
                    typed.ty
                ),
            ));
        };
        let mut bounds = Vec::with_capacity(chain.len());
        for (low, high, own_slice) in chain {
            let mut end = |bound: Option<&Expr>| -> Result<Option<Scalar>, PgError> {
                let Some(bound) = bound else { return Ok(None) };
                let bound = self.expr(bound)?;
                match self.coerce(bound.0, bound.1, Type::Int4.into(), Context::Assignment)? {
                    Some(scalar) => Ok(Some(scalar)),
                    None => Err(PgError::new(
                        SqlState::DATATYPE_MISMATCH,
                        "array subscript must have type integer",
                    )),
                }
            };
            let (mut low, high) = (end(low)?, end(high)?);
            // Among slices a single place means all up to it.
            if is_slice && !own_slice {
                low = Some(Scalar::Const(Datum::Int4(1)));
            }
            bounds.push((low, high));
        }
        let result = match is_slice {
            true => typed.ty,
            false => element,
        };
        let scalar = Scalar::Subscript(Box::new(scalar), bounds, is_slice);
        Ok((scalar, result.into()))
    }

    /// `j['key']`, `j[0]`.
    fn json_item(&mut self, base: Scalar, index: &Expr) -> Result<(Scalar, Typed), PgError> {
        let (index, from) = self.expr(index)?;
        let (name, to) = match from.ty {
            Type::Unknown | Type::Text => ("jsonb_object_field", Type::Text),
            Type::Int4 => ("jsonb_array_element", Type::Int4),
            _ => return Err(PgError::feature_not_supported("this subscript of jsonb")),
        };
        let index = self.coerce(index, from, to.into(), Context::Implicit)?;
        let function = functions::procs(name).iter().find_map(|proc| proc.function);
        match (function, index) {
            (Some(function), Some(index)) => Ok((
                Scalar::Call(function, vec![base, index]),
                Type::Jsonb.into(),
            )),
            _ => Err(PgError::feature_not_supported("this subscript of jsonb")),
        }
    }

    fn conditions(&mut self, parts: &[Expr], clause: &str) -> Result<Vec<Scalar>, PgError> {
        let mut bound = Vec::with_capacity(parts.len());
        for part in parts {
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
        if let Expr::Row(..) = operand {
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
            // Elements that are cast are cast with the array.
            let array = match element {
                Scalar::Column(0) => array,
                Scalar::Cast(_, cast) => {
                    let cast = super::Cast {
                        to: array_of(cast.to)?,
                        ..cast
                    };
                    Scalar::Cast(Box::new(array), cast)
                }
                _ => {
                    return Err(PgError::feature_not_supported(
                        "comparing with an array of another type",
                    ));
                }
            };
            (operand, array)
        };
        let any = Scalar::Any(comparison, Box::new((operand, array)), all);
        Ok((any, Type::Bool.into()))
    }

    fn cast(&mut self, inner: &Expr, name: &TypeName) -> Result<(Scalar, Typed), PgError> {
        let to = self.type_name(name)?;
        if let (Expr::Array(items, _), Some(element)) = (inner, to.ty.element()) {
            if items.is_empty() {
                return Ok((Scalar::Const(Datum::Array(Arc::new([]))), to));
            }
            let mut bound = Vec::with_capacity(items.len());
            for item in items {
                bound.push(self.cast_item(item, element, name)?);
            }
            return Ok((Scalar::Array(bound), to));
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

    /// An item of `ARRAY[…]::type[]` takes the type that is named (`transformArrayExpr`).
    fn cast_item(
        &mut self,
        item: &Expr,
        element: Type,
        name: &TypeName,
    ) -> Result<Scalar, PgError> {
        if let Expr::Array(..) = item {
            return Ok(self.cast(item, name)?.0);
        }
        let (scalar, from) = self.expr(item)?;
        let to = match from.ty.element() {
            Some(_) => self.type_name(name)?,
            None => Typed {
                ty: element,
                typmod: self.type_name(name)?.typmod,
            },
        };
        let cast = self.coerce(scalar, from, to, Context::Explicit)?;
        cast.ok_or_else(|| {
            PgError::new(
                SqlState::CANNOT_COERCE,
                format!("cannot cast type {} to {}", from.ty, to.ty),
            )
            .near(item.at())
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
                None => self.demand(when, Type::Bool, "CASE/WHEN")?,
            });
            values.push(self.expr(then)?);
        }
        // ELSE comes first: it weighs most where types are to agree.
        let otherwise_bound = match otherwise {
            Some(otherwise) => self.expr(otherwise)?,
            None => (Scalar::Const(Datum::Null), Type::Unknown.into()),
        };
        values.insert(0, otherwise_bound);
        let places = whens.iter().map(|(_, then)| then.at());
        let places: Vec<u32> = [otherwise.map_or(0, Expr::at)]
            .into_iter()
            .chain(places)
            .collect();
        let (mut values, typed) = self.unify(values, &places, "CASE")?;
        let otherwise = values.remove(0);
        let whens = conditions.into_iter().zip(values).collect();
        Ok((Scalar::Case(whens, Box::new(otherwise)), typed))
    }

    fn call(&mut self, call: &crate::sql::ast::Call) -> Result<(Scalar, Typed), PgError> {
        functions::bind(self, call)
    }
}
