//! Operators: which one two operands mean, and what it becomes.
//!
//! A comparison of values that order themselves is a node of its own, since it is what most
//! statements do most of the time; everything else is a call.

use super::bind::Binder;
use super::coerce::Context;
use super::resolve::{self, Choice, Generic};
use super::{Comparison, Scalar, Typed};
use crate::error::{PgError, SqlState};
use crate::sql::ast::Expr;
use crate::sql::functions::{self, Operator};
use crate::types::Type;

type Bound = (Scalar, Typed);

impl Binder<'_> {
    pub(super) fn prefix(&mut self, op: &str, operand: &Expr, at: u32) -> Result<Bound, PgError> {
        let (scalar, typed) = self.expr(operand)?;
        let operator = match resolve::prefix(functions::operators(op), typed.ty) {
            Choice::One(operator) => operator,
            choice => {
                let ambiguous = matches!(choice, Choice::Ambiguous);
                return Err(missing(&format!("{op} {}", typed.ty), ambiguous, true, at));
            }
        };
        let generic = Generic::of(&[typed.ty], &[operator.right]).unwrap_or_default();
        let to = generic.actual(operator.right).unwrap_or(Type::Text);
        let scalar = self.coerce(scalar, typed, to.into(), Context::Implicit)?;
        let scalar =
            scalar.ok_or_else(|| missing(&format!("{op} {}", typed.ty), false, true, at))?;
        let Some(function) = operator.function else {
            return Err(lacking(operator));
        };
        let result = generic.actual(operator.result).unwrap_or(operator.result);
        Ok((Scalar::Call(function, vec![scalar]), result.into()))
    }

    pub(super) fn binary(
        &mut self,
        op: &str,
        left: &Expr,
        right: &Expr,
        at: u32,
    ) -> Result<Bound, PgError> {
        if let (Expr::Row(left, _), Expr::Row(right, _)) = (left, right) {
            return self.compare_rows(op, left, right, at);
        }
        if let (Expr::Row(..), Expr::Subquery(query, _)) = (left, right) {
            return self.row_and_query(left, op, query, at);
        }
        let left = self.expr(left)?;
        let right = self.expr(right)?;
        self.operate(op, left, right, at)
    }

    /// Binds an operator over operands that are bound.
    pub(super) fn operate(
        &mut self,
        op: &str,
        left: Bound,
        right: Bound,
        at: u32,
    ) -> Result<Bound, PgError> {
        Ok(self.operate_as(op, left, right, at)?.0)
    }

    /// The same, and what it takes its left operand as.
    fn operate_as(
        &mut self,
        op: &str,
        left: Bound,
        right: Bound,
        at: u32,
    ) -> Result<(Bound, Type), PgError> {
        let op = if op == "!=" { "<>" } else { op };
        let types = (left.1.ty, right.1.ty);
        let signature = || format!("{} {op} {}", types.0, types.1);
        let operator = match resolve::binary(functions::operators(op), types.0, types.1) {
            Choice::One(operator) => operator,
            choice => {
                let ambiguous = matches!(choice, Choice::Ambiguous);
                return Err(missing(&signature(), ambiguous, false, at));
            }
        };
        let wanted = [operator.left.unwrap_or(Type::Text), operator.right];
        let Some(generic) = Generic::of(&[types.0, types.1], &wanted) else {
            return Err(missing(&signature(), false, false, at));
        };
        let [to_left, to_right] = wanted.map(|ty| generic.actual(ty).unwrap_or(Type::Text));
        let left = self.coerce(left.0, left.1, to_left.into(), Context::Implicit)?;
        let right = self.coerce(right.0, right.1, to_right.into(), Context::Implicit)?;
        let (Some(left), Some(right)) = (left, right) else {
            return Err(missing(&signature(), false, false, at));
        };
        let result = Typed::from(generic.actual(operator.result).unwrap_or(operator.result));
        if let Some(comparison) = operator.comparison {
            check_order(to_left, op, at)?;
            let compared = Scalar::Compare(comparison, Box::new((left, right)));
            return Ok(((compared, result), to_left));
        }
        match operator.function {
            Some(function) => {
                let called = Scalar::Call(function, vec![left, right]);
                Ok(((called, result), to_left))
            }
            None => Err(lacking(operator)),
        }
    }

    /// Casts two operands so that they can be compared.
    pub(super) fn comparable(
        &mut self,
        op: &str,
        left: Bound,
        right: Bound,
        at: u32,
    ) -> Result<(Scalar, Scalar), PgError> {
        Ok(self.comparable_as(op, left, right, at)?.0)
    }

    pub(super) fn comparable_as(
        &mut self,
        op: &str,
        left: Bound,
        right: Bound,
        at: u32,
    ) -> Result<((Scalar, Scalar), Type), PgError> {
        match self.operate_as(op, left, right, at)? {
            ((Scalar::Compare(_, pair), _), ty) => Ok((*pair, ty)),
            _ => Err(PgError::feature_not_supported(format_args!(
                "the operator {op} of these types here"
            ))),
        }
    }

    fn compare_rows(
        &mut self,
        op: &str,
        left: &[Expr],
        right: &[Expr],
        at: u32,
    ) -> Result<Bound, PgError> {
        let Some(comparison) = comparison(op) else {
            return Err(PgError::feature_not_supported(format_args!("{op} of rows")));
        };
        if left.len() != right.len() {
            return Err(PgError::new(
                SqlState::SYNTAX_ERROR,
                "unequal number of entries in row expressions",
            )
            .at(at as usize));
        }
        let mut pairs = Vec::with_capacity(left.len());
        for (left, right) in left.iter().zip(right) {
            let (left, right) = (self.expr(left)?, self.expr(right)?);
            pairs.push(self.comparable(op, left, right, at)?);
        }
        Ok((Scalar::CompareRows(comparison, pairs), Type::Bool.into()))
    }
}

/// 42883 for operands that no operator takes, 42725 for those that several take.
fn missing(signature: &str, ambiguous: bool, prefix: bool, at: u32) -> PgError {
    if ambiguous {
        return PgError::new(
            SqlState::AMBIGUOUS_FUNCTION,
            format!("operator is not unique: {signature}"),
        )
        .with_hint(
            "Could not choose a best candidate operator. You might need to add explicit type casts.",
        )
        .at(at as usize);
    }
    let error = PgError::undefined_operator(signature).at(at as usize);
    match prefix {
        true => error.with_hint(
            "No operator matches the given name and argument type. You might need to add an explicit type cast.",
        ),
        false => error,
    }
}

fn lacking(operator: &Operator) -> PgError {
    let left = operator.left.map_or(String::new(), |ty| format!("{ty} "));
    PgError::feature_not_supported(format_args!(
        "the operator {left}{} {}",
        operator.name, operator.right
    ))
}

/// 42883 for values that cannot be told apart.
pub(super) fn refuse_unequal(ty: Type, at: u32) -> Result<(), PgError> {
    if is_ordered(ty) || ty != Type::Json && ty.element() != Some(Type::Json) {
        return Ok(());
    }
    let message = format!("could not identify an equality operator for type {ty}");
    Err(PgError::new(SqlState::UNDEFINED_FUNCTION, message).near(at))
}

/// Arrays are ordered as far as their elements are (`array_cmp`).
fn check_order(ty: Type, op: &str, at: u32) -> Result<(), PgError> {
    let Some(element) = ty.element() else {
        return Ok(());
    };
    if is_ordered(element) {
        return Ok(());
    }
    let what = if matches!(op, "=" | "<>") {
        "an equality operator"
    } else {
        "a comparison function"
    };
    Err(PgError::new(
        SqlState::UNDEFINED_FUNCTION,
        format!("could not identify {what} for type {element}"),
    )
    .at(at as usize))
}

/// Whether values of a type can be sorted.
pub(crate) fn is_ordered(ty: Type) -> bool {
    let ty = ty.base();
    let text = ty == Type::Varchar;
    text || ty.labels().is_some()
        || ty.element().is_some_and(is_ordered)
        || ty.category() == 'C'
        || matches!(ty, Type::Unknown | Type::Record)
        || functions::operators("<")
            .iter()
            .any(|op| op.left == Some(ty) && op.right == ty)
        || matches!(ty, Type::Regclass | Type::Regtype | Type::Regproc)
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
