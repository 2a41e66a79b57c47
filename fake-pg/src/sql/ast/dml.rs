//! INSERT, UPDATE, DELETE.
//!
//! Columns keep the order in which they were written; which ones are left out,
//! and what they get, is `plan`'s to find. The rows come from queries of
//! [`Query`].

use super::{Expr, FromItem, Name, Query, Relation, Target, With};

/// INSERT.
#[derive(Debug, Clone, PartialEq)]
pub struct Insert {
    /// WITH.
    pub with: With,
    /// Into which table.
    pub table: Relation,
    /// AS.
    pub alias: Option<Name>,
    /// The columns named.
    pub columns: Vec<(Name, u32)>,
    /// OVERRIDING SYSTEM VALUE (true) or USER VALUE (false).
    pub overriding: Option<bool>,
    /// The rows; `None` is DEFAULT VALUES.
    pub source: Option<Query>,
    /// ON CONFLICT.
    pub on_conflict: Option<OnConflict>,
    /// RETURNING.
    pub returning: Vec<Target>,
}

/// ON CONFLICT.
#[derive(Debug, Clone, PartialEq)]
pub struct OnConflict {
    /// Which conflicts.
    pub target: ConflictTarget,
    /// DO UPDATE SET; `None` is DO NOTHING.
    pub update: Option<(Vec<Assignment>, Option<Expr>)>,
    /// Where it stands.
    pub at: u32,
}

/// Which unique index an ON CONFLICT is about.
#[derive(Debug, Clone, PartialEq)]
pub enum ConflictTarget {
    /// Any.
    Any,
    /// The one over these columns, with the predicate of a partial index; and where they stand.
    Columns(Vec<Expr>, Option<Expr>, u32),
    /// ON CONSTRAINT.
    Constraint(Name),
}

/// `column = expr`.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// The column.
    pub column: Name,
    /// Where it stands.
    pub at: u32,
    /// The value; [`Expr::Default`] for DEFAULT.
    pub value: Expr,
}

/// UPDATE.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// WITH.
    pub with: With,
    /// Which table.
    pub table: Relation,
    /// AS.
    pub alias: Option<Name>,
    /// SET.
    pub set: Vec<Assignment>,
    /// FROM.
    pub from: Vec<FromItem>,
    /// WHERE.
    pub filter: Option<Expr>,
    /// WHERE CURRENT OF: the cursor.
    pub current_of: Option<Name>,
    /// RETURNING.
    pub returning: Vec<Target>,
}

/// DELETE.
#[derive(Debug, Clone, PartialEq)]
pub struct Delete {
    /// WITH.
    pub with: With,
    /// Which table.
    pub table: Relation,
    /// AS.
    pub alias: Option<Name>,
    /// USING.
    pub using: Vec<FromItem>,
    /// WHERE.
    pub filter: Option<Expr>,
    /// WHERE CURRENT OF: the cursor.
    pub current_of: Option<Name>,
    /// RETURNING.
    pub returning: Vec<Target>,
}
