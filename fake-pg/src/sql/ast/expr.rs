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
    Null,
    /// TRUE, FALSE.
    Bool(bool),
    /// An integer that fits a bigint.
    Integer(i64),
    /// Any other number, as written.
    Numeric(Name),
    /// A string of unknown type.
    String(Name, u32),
    /// `$n`, counted from 0.
    Param(usize, u32),
    /// DEFAULT where a value is assigned.
    Default,
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
    Not(Box<Expr>),
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
    },
    /// A function call.
    Call(Box<Call>),
    /// `name => value`, among the arguments of a call.
    Named(Name, Box<Expr>),
    /// EXISTS.
    Exists(Box<Query>),
    /// A scalar subquery.
    Subquery(Box<Query>),
    /// ARRAY[…].
    Array(Vec<Expr>),
    /// ARRAY(query).
    ArrayQuery(Box<Query>),
    /// ROW(…) or (a, b).
    Row(Vec<Expr>),
    /// `a[1]`.
    Index(Box<Expr>, Box<Expr>),
    /// `a[1:2]`, either end perhaps missing.
    Slice(Box<Expr>, Option<Box<Expr>>, Option<Box<Expr>>),
    /// A construct fake-pg lacks.
    Unsupported(Arc<str>),
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
