//! Expressions and the names of types.
//!
//! Precedence is resolved; types are not: a string is of unknown type until
//! `plan` gives it one. Places are characters from 1, for error messages.

use std::sync::Arc;

use super::{Name, OrderBy, QualifiedName, Query};

/// A type as written.
#[derive(Debug, Clone, PartialEq)]
pub struct TypeName {
    /// Its name, folded, spelled as in the catalog where the grammar knows a
    /// synonym (`int4` for INTEGER).
    pub name: QualifiedName,
    /// Modifiers: the `20` of `varchar(20)`.
    pub modifiers: Vec<i32>,
    /// `[]`.
    pub array: bool,
    /// Where it stands.
    pub at: u32,
    /// Where the cast to it stands, or 0.
    pub cast_at: u32,
}

/// Expressions.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// NULL.
    Null(u32),
    /// TRUE, FALSE.
    Bool(bool, u32),
    /// An integer that fits a bigint.
    Integer(i64, u32),
    /// Any other number, as written.
    Numeric(Name, u32),
    /// A string of unknown type.
    String(Name, u32),
    /// `$n`, counted from 0.
    Param(usize, u32),
    /// DEFAULT where a value is assigned.
    Default(u32),
    /// A column, perhaps qualified.
    Column(QualifiedName, u32),
    /// A prefix operator.
    Prefix(Name, Box<Expr>, u32),
    /// A binary operator.
    Binary(Name, Box<Expr>, Box<Expr>, u32),
    /// AND of several.
    And(Vec<Expr>),
    /// OR of several.
    Or(Vec<Expr>),
    /// NOT.
    Not(Box<Expr>, u32),
    /// `IS [NOT] NULL`.
    IsNull(Box<Expr>, bool),
    /// `IS [NOT] TRUE`, FALSE, UNKNOWN (`None`).
    IsBool(Box<Expr>, Option<bool>, bool),
    /// `IS [NOT] DISTINCT FROM`.
    IsDistinct(Box<Expr>, Box<Expr>, bool, u32),
    /// `[NOT] BETWEEN [SYMMETRIC]`.
    Between {
        /// What is compared.
        operand: Box<Expr>,
        /// From.
        low: Box<Expr>,
        /// To.
        high: Box<Expr>,
        /// NOT.
        negated: bool,
        /// SYMMETRIC.
        symmetric: bool,
        /// Where BETWEEN stands.
        at: u32,
    },
    /// `[NOT] IN (list)`.
    InList(Box<Expr>, Vec<Expr>, bool, u32),
    /// `[NOT] IN (query)`.
    InQuery(Box<Expr>, Box<Query>, bool, u32),
    /// `x op ANY (array)`, `x op ALL (array)`.
    Any {
        /// What is compared.
        operand: Box<Expr>,
        /// How.
        op: Name,
        /// With the elements of this.
        array: Box<Expr>,
        /// ALL.
        all: bool,
        /// Where the operator stands.
        at: u32,
    },
    /// `x op ANY (query)`.
    AnyQuery {
        /// What is compared.
        operand: Box<Expr>,
        /// How.
        op: Name,
        /// With the rows of this.
        query: Box<Query>,
        /// ALL.
        all: bool,
        /// Where the operator stands.
        at: u32,
    },
    /// `[NOT] LIKE`, ILIKE.
    Like {
        /// What is matched.
        operand: Box<Expr>,
        /// Against what.
        pattern: Box<Expr>,
        /// ESCAPE.
        escape: Option<Box<Expr>>,
        /// ILIKE.
        insensitive: bool,
        /// NOT.
        negated: bool,
        /// Where LIKE stands.
        at: u32,
    },
    /// CAST, `::`, and `type 'literal'`.
    Cast(Box<Expr>, TypeName),
    /// CASE.
    Case {
        /// CASE operand.
        operand: Option<Box<Expr>>,
        /// WHEN … THEN ….
        whens: Vec<(Expr, Expr)>,
        /// ELSE.
        otherwise: Option<Box<Expr>>,
        /// Where CASE stands.
        at: u32,
    },
    /// A function call.
    Call(Box<Call>),
    /// `name => value`, among the arguments of a call.
    Named(Name, Box<Expr>),
    /// EXISTS.
    Exists(Box<Query>, u32),
    /// A scalar subquery.
    Subquery(Box<Query>, u32),
    /// In SET, a column of the query that gives so many: `(a, b) = (query)`.
    QueryColumn(Arc<Query>, usize, usize, u32),
    /// ARRAY[…].
    Array(Vec<Expr>, u32),
    /// ARRAY(query).
    ArrayQuery(Box<Query>, u32),
    /// ROW(…) or (a, b).
    Row(Vec<Expr>, u32),
    /// `a[1]`.
    Index(Box<Expr>, Box<Expr>),
    /// `a[1:2]`, either end perhaps missing.
    Slice(Box<Expr>, Option<Box<Expr>>, Option<Box<Expr>>),
    /// A construct fake-pg lacks.
    Unsupported(Arc<str>),
}

impl Expr {
    /// What it directly consists of; what is inside of subqueries is their own.
    pub fn parts(&self) -> Vec<&Expr> {
        match self {
            Expr::Null(_)
            | Expr::Bool(..)
            | Expr::Integer(..)
            | Expr::Numeric(..)
            | Expr::String(..)
            | Expr::Param(..)
            | Expr::Default(_)
            | Expr::Column(..)
            | Expr::Exists(..)
            | Expr::Subquery(..)
            | Expr::QueryColumn(..)
            | Expr::ArrayQuery(..)
            | Expr::Unsupported(_) => Vec::new(),
            Expr::Prefix(_, inner, _)
            | Expr::Not(inner, _)
            | Expr::IsNull(inner, _)
            | Expr::IsBool(inner, ..)
            | Expr::InQuery(inner, ..)
            | Expr::AnyQuery { operand: inner, .. }
            | Expr::Cast(inner, _)
            | Expr::Named(_, inner) => vec![inner],
            Expr::Binary(_, left, right, _)
            | Expr::IsDistinct(left, right, ..)
            | Expr::Index(left, right)
            | Expr::Any {
                operand: left,
                array: right,
                ..
            } => vec![left, right],
            Expr::Between {
                operand, low, high, ..
            } => vec![operand, low, high],
            Expr::Like {
                operand,
                pattern,
                escape,
                ..
            } => [operand, pattern]
                .into_iter()
                .chain(escape)
                .map(|part| &**part)
                .collect(),
            Expr::Slice(base, low, high) => [base]
                .into_iter()
                .chain(low)
                .chain(high)
                .map(|part| &**part)
                .collect(),
            Expr::InList(operand, list, ..) => [&**operand].into_iter().chain(list).collect(),
            Expr::And(parts) | Expr::Or(parts) | Expr::Array(parts, _) | Expr::Row(parts, _) => {
                parts.iter().collect()
            }
            Expr::Case {
                operand,
                whens,
                otherwise,
                ..
            } => {
                let whens = whens.iter().flat_map(|(when, then)| [when, then]);
                let operand = operand.iter().map(|part| &**part);
                operand.chain(whens).chain(otherwise.as_deref()).collect()
            }
            Expr::Call(call) => call.args.iter().collect(),
        }
    }

    /// Where it begins, or 0 (`exprLocation` in `nodeFuncs.c`): mostly with what stands leftmost.
    pub fn at(&self) -> u32 {
        let leftmost = |at: u32, parts: &[&Expr]| {
            let parts = parts.iter().map(|part| part.at());
            let known = parts.chain([at]).filter(|&at| at > 0);
            known.min().unwrap_or(0)
        };
        match self {
            Expr::Null(at)
            | Expr::Bool(_, at)
            | Expr::Integer(_, at)
            | Expr::Numeric(_, at)
            | Expr::String(_, at)
            | Expr::Param(_, at)
            | Expr::Default(at)
            | Expr::Column(_, at)
            | Expr::Prefix(_, _, at)
            | Expr::Not(_, at)
            | Expr::Case { at, .. }
            | Expr::Exists(_, at)
            | Expr::Subquery(_, at)
            | Expr::QueryColumn(_, _, _, at)
            | Expr::Array(_, at)
            | Expr::ArrayQuery(_, at)
            | Expr::Row(_, at) => *at,
            Expr::Binary(_, left, _, at) | Expr::IsDistinct(left, _, _, at) => {
                leftmost(*at, &[left])
            }
            Expr::And(parts) | Expr::Or(parts) => parts.first().map_or(0, Expr::at),
            Expr::IsNull(operand, _)
            | Expr::IsBool(operand, ..)
            | Expr::Between { operand, .. }
            | Expr::InList(operand, ..)
            | Expr::InQuery(operand, ..)
            | Expr::Any { operand, .. }
            | Expr::AnyQuery { operand, .. }
            | Expr::Like { operand, .. }
            | Expr::Index(operand, _)
            | Expr::Slice(operand, ..)
            | Expr::Named(_, operand) => operand.at(),
            Expr::Cast(inner, name) => leftmost(name.cast_at, &[inner]),
            Expr::Call(call) => leftmost(call.at, &call.args.iter().collect::<Vec<_>>()),
            Expr::Unsupported(_) => 0,
        }
    }
}

/// A function call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The function.
    pub name: QualifiedName,
    /// Its arguments.
    pub args: Vec<Expr>,
    /// `count(*)`.
    pub star: bool,
    /// DISTINCT.
    pub distinct: bool,
    /// ORDER BY within the call.
    pub order_by: Vec<OrderBy>,
    /// FILTER (WHERE …).
    pub filter: Option<Expr>,
    /// Where it stands.
    pub at: u32,
}
