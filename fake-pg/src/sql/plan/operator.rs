//! Operators: which exist for which types.
//!
//! An operand of unknown type takes the other's type; two of them are text
//! (`oper_select_candidate`, rules 2 and 3, for the operators there are).

use super::bind::Binder;
use super::coerce::{Context, is_text, number_rank};
use super::type_name::numeric;
use super::{Comparison, Scalar, Typed};
use crate::error::PgError;
use crate::sql::ast::Expr;
use crate::sql::functions;
use crate::types::Type;

type Bound = (Scalar, Typed);

/// Names of operators that PostgreSQL has, for whatever types, and fake-pg has for none.
const ABSENT: [&str; 22] = [
    "~", "~*", "!~", "!~*", "~<~", "~<=~", "~>~", "~>=~", "~=", "^@", "@@", "@@@", "?|", "?&",
    "#-", "@?", "<->", "&<", "&>", "-|-", "<<=", ">>=",
];

impl Binder<'_> {
    pub(super) fn prefix(&mut self, op: &str, operand: &Expr, at: u32) -> Result<Bound, PgError> {
        let (operand, typed) = self.expr(operand)?;
        if op == "+" && number_rank(typed.ty).is_some() {
            return Ok((operand, typed));
        }
        let found = functions::prefix_operator(op, typed.ty);
        let Some((function, result)) = found else {
            if typed.ty == Type::Numeric {
                return Err(numeric());
            }
            let error = PgError::undefined_operator(&format!("{op} {}", typed.ty));
            return Err(error.at(at as usize).with_hint(
                "No operator matches the given name and argument type. You might need to add an explicit type cast.",
            ));
        };
        Ok((Scalar::Call(function, vec![operand]), result.into()))
    }

    pub(super) fn binary(
        &mut self,
        op: &str,
        left: &Expr,
        right: &Expr,
        at: u32,
    ) -> Result<Bound, PgError> {
        if let (Expr::Row(left), Expr::Row(right)) = (left, right) {
            return self.compare_rows(op, left, right, at);
        }
        let left = self.expr(left)?;
        let right = self.expr(right)?;
        let (left, right) = self.without_numeric(left, right)?;
        if let Some(comparison) = comparison(op) {
            let pair = self.comparable(op, left, right, at)?;
            return Ok((
                Scalar::Compare(comparison, Box::new(pair)),
                Type::Bool.into(),
            ));
        }
        self.operator(op, left, right, at)
    }

    /// A numeric constant beside a float or an interval is a float.
    fn without_numeric(&mut self, left: Bound, right: Bound) -> Result<(Bound, Bound), PgError> {
        let float = Typed::from(Type::Float8);
        let becomes_float = |ty| matches!(ty, Type::Float8 | Type::Interval);
        Ok(match (left.1.ty, right.1.ty) {
            (Type::Numeric, other) if becomes_float(other) => {
                let cast = self.coerce(left.0, left.1, float, Context::Implicit)?;
                ((cast.ok_or_else(numeric)?, float), right)
            }
            (other, Type::Numeric) if becomes_float(other) => {
                let cast = self.coerce(right.0, right.1, float, Context::Implicit)?;
                (left, (cast.ok_or_else(numeric)?, float))
            }
            (Type::Numeric, _) | (_, Type::Numeric) => return Err(numeric()),
            _ => (left, right),
        })
    }

    /// Casts two operands so that they can be compared.
    pub(super) fn comparable(
        &mut self,
        op: &str,
        left: Bound,
        right: Bound,
        at: u32,
    ) -> Result<(Scalar, Scalar), PgError> {
        let (left, right) = self.without_numeric(left, right)?;
        let (left_type, right_type) = (left.1.ty, right.1.ty);
        let missing = || {
            PgError::undefined_operator(&format!("{left_type} {op} {right_type}")).at(at as usize)
        };
        let (left, right) = match (left_type, right_type) {
            (Type::Unknown, Type::Unknown) => {
                let (left, _) = self.settle(left.0, left.1)?;
                let (right, _) = self.settle(right.0, right.1)?;
                return Ok((left, right));
            }
            (Type::Unknown, ty) => {
                let to = Typed::from(text_for(ty));
                let left = self.coerce(left.0, left.1, to, Context::Implicit)?;
                ((left.ok_or_else(missing)?, to), right)
            }
            (ty, Type::Unknown) => {
                let to = Typed::from(text_for(ty));
                let right = self.coerce(right.0, right.1, to, Context::Implicit)?;
                (left, (right.ok_or_else(missing)?, to))
            }
            _ => (left, right),
        };
        let ordered = !matches!(op, "=" | "<>");
        let alike = match (left.1.ty, right.1.ty) {
            // json has no operators of comparison; the order of jsonb is its own.
            (Type::Json, _) | (_, Type::Json) => false,
            (Type::Jsonb, Type::Jsonb) if ordered => {
                return Err(PgError::feature_not_supported("the order of jsonb values"));
            }
            (a, b) if a == b => !matches!(a, Type::Void | Type::Record),
            (a, b) if is_text(a) && is_text(b) => true,
            (a, b) if is_number(a) && is_number(b) => true,
            (a, b) => match (a.element(), b.element()) {
                (Some(a), Some(b)) => is_text(a) && is_text(b),
                _ => false,
            },
        };
        match alike {
            true => Ok((left.0, right.0)),
            false => Err(missing()),
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
                crate::error::SqlState::SYNTAX_ERROR,
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

    /// Everything that is not a comparison.
    fn operator(&mut self, op: &str, left: Bound, right: Bound, at: u32) -> Result<Bound, PgError> {
        let (left_type, right_type) = (left.1.ty, right.1.ty);
        if ABSENT.contains(&op) {
            return Err(PgError::feature_not_supported(format_args!(
                "operator {op}"
            )));
        }
        let missing = || {
            PgError::undefined_operator(&format!("{left_type} {op} {right_type}")).at(at as usize)
        };
        let Some(found) = functions::binary_operator(op, left_type, right_type) else {
            return Err(missing());
        };
        let (function, wants, result) = found;
        let left = self.coerce(left.0, left.1, wants.0.into(), Context::Assignment)?;
        let right = self.coerce(right.0, right.1, wants.1.into(), Context::Assignment)?;
        match (left, right) {
            (Some(left), Some(right)) => {
                Ok((Scalar::Call(function, vec![left, right]), result.into()))
            }
            _ => Err(missing()),
        }
    }
}

/// Comparisons of varchar and name are those of text.
fn text_for(ty: Type) -> Type {
    match ty {
        Type::Varchar => Type::Text,
        ty => ty,
    }
}

fn is_number(ty: Type) -> bool {
    number_rank(ty).is_some() || matches!(ty, Type::Oid | Type::Regclass | Type::Xid8)
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
