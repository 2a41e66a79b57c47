//! Statements bound to a schema: names are positions, types are known.
//!
//! A plan refers to tables by their definition, so it is valid for one schema
//! version only. It is immutable and shared; what a run needs to remember is
//! `execute`'s. Binding is in the files of this folder.

mod bind;
mod names;
mod scope;
mod query;
mod with;
mod select;
mod targets;
mod sets;
mod aggregate;
mod timing;
mod from;
mod equivalence;
mod pushdown;
mod sinking;
mod condition;
mod access;
mod selectivity;
mod locking;
mod modify;
mod conflict;
mod copy;
mod expr;
mod fold;
mod subquery;
mod operator;
pub(crate) mod resolve;
mod coerce;
mod cast;
mod type_name;
mod walk;
mod cursor;

use std::sync::Arc;

pub(crate) use access::{Access, Wanted};
pub(crate) use bind::{Binder, Locked};
pub(crate) use cast::Cast;
pub(crate) use names::{find_class, named_class, parse_name, split_name};
pub(crate) use operator::is_ordered;
pub(crate) use resolve::{Choice, Chosen, Generic};
pub(crate) use timing::{Timing, When, stream};

use super::ast::{LockStrength, LockWait, SetOp};
use super::catalogs::SystemRelation;
use super::copy::Copying;
use super::face::Column;
use super::functions::{Aggregate, EmbeddedCall, Function};
use crate::engine::{Embedded, Table};
use crate::types::{Datum, Type};

/// What comparisons ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A bound expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    Const(Datum),
    Param(usize),
    /// A column of the row at hand.
    Column(usize),
    /// A column of the row of an enclosing query, 1 being the next one out.
    Outer(usize, usize),
    Call(&'static Function, Vec<Scalar>),
    /// A function of the embedder's.
    Embedded(EmbeddedCall, Vec<Scalar>),
    Compare(Comparison, Box<(Scalar, Scalar)>),
    /// Rows compared from left to right.
    CompareRows(Comparison, Vec<(Scalar, Scalar)>),
    And(Vec<Scalar>),
    Or(Vec<Scalar>),
    Not(Box<Scalar>),
    IsNull(Box<Scalar>, bool),
    IsBool(Box<Scalar>, Option<bool>, bool),
    Distinct(Box<(Scalar, Scalar)>, bool),
    InList(Box<Scalar>, Vec<Scalar>, bool),
    /// Operand, array, ALL rather than ANY.
    Any(Comparison, Box<(Scalar, Scalar)>, bool),
    Case(Vec<(Scalar, Scalar)>, Box<Scalar>),
    Coalesce(Vec<Scalar>),
    NullIf(Box<(Scalar, Scalar)>),
    /// LEAST if true.
    Extreme(Vec<Scalar>, bool),
    Cast(Box<Scalar>, Cast),
    Array(Vec<Scalar>),
    /// A row, and the names of its columns if it has them.
    Row(Vec<Scalar>, Arc<[Arc<str>]>),
    /// An array's element, or a slice of it.
    Subscript(Box<Scalar>, Vec<Bounds>, bool),
    Subquery(Box<Subquery>),
    /// The n-th aggregate, until `aggregate` has given it its place in the row.
    Aggregate(usize),
}

/// The ends of a subscript; the second one alone where it is a single place.
pub(crate) type Bounds = (Option<Scalar>, Option<Scalar>);

/// A subquery within an expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Subquery {
    pub(crate) kind: SubqueryKind,
    /// Its place among the subqueries of the statement.
    pub(crate) id: usize,
    /// It refers to rows of enclosing queries: then it is run for each of them.
    pub(crate) correlated: bool,
    /// The columns of the next query out that it refers to, and where.
    pub(crate) refers: Vec<(usize, u32)>,
    /// If that query is grouped: which of these columns stands where in the row of a group.
    pub(crate) regrouped: Option<Vec<(usize, usize)>>,
    pub(crate) plan: Unequal<QueryPlan>,
}

/// What is asked of a subquery.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SubqueryKind {
    Scalar,
    Exists,
    Array,
    /// Operands compared with its columns; ALL rather than ANY; negated.
    In {
        operands: Vec<Scalar>,
        comparison: Comparison,
        all: bool,
        negated: bool,
    },
    /// Operands compared with the columns of its only row.
    Row {
        operands: Vec<Scalar>,
        comparison: Comparison,
    },
    /// A column of its only row; of several that share its id, `fresh` is computed first.
    Column {
        place: usize,
        fresh: bool,
    },
}

impl SubqueryKind {
    /// What its rows are compared with.
    pub(crate) fn operands(&self) -> &[Scalar] {
        match self {
            SubqueryKind::In { operands, .. } | SubqueryKind::Row { operands, .. } => operands,
            _ => &[],
        }
    }
}

/// Subqueries are never the same expression twice.
#[derive(Debug)]
pub(crate) struct Unequal<T>(pub(crate) Arc<T>);

impl<T> Clone for Unequal<T> {
    fn clone(&self) -> Self {
        Unequal(self.0.clone())
    }
}

impl<T> PartialEq for Unequal<T> {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

/// A statement ready to run.
#[derive(Debug)]
pub(crate) enum Plan {
    Query(QueryPlan),
    Modify(Box<ModifyPlan>),
    /// Not optimised: run from its tree.
    Utility,
}

/// WITH, then rows.
#[derive(Debug)]
pub(crate) struct QueryPlan {
    pub(crate) ctes: Vec<CtePlan>,
    pub(crate) body: Body,
    pub(crate) columns: Vec<Column>,
    /// How it locks rows, if it does, or a query within it does: the first of several.
    pub(crate) row_lock: Option<LockStrength>,
}

/// A common table expression and its slot among all of the statement.
#[derive(Debug)]
pub(crate) struct CtePlan {
    pub(crate) slot: usize,
    pub(crate) source: CteSource,
}

#[derive(Debug)]
pub(crate) enum CteSource {
    Query(QueryPlan),
    Modify(Box<ModifyPlan>),
    /// The part before UNION, the part after it, and whether it is UNION ALL.
    Recursive(Box<QueryPlan>, Box<QueryPlan>, bool),
}

#[derive(Debug)]
pub(crate) enum Body {
    Select(Box<SelectPlan>),
    Values(ValuesPlan),
    SetOperation(Box<SetPlan>),
}

/// ORDER BY over columns of the result, and what is cut off.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    pub(crate) order: Vec<SortKey>,
    pub(crate) limit: Option<Scalar>,
    pub(crate) offset: Option<Scalar>,
}

#[derive(Debug)]
pub(crate) struct SortKey {
    pub(crate) by: Scalar,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

#[derive(Debug)]
pub(crate) struct ValuesPlan {
    pub(crate) rows: Vec<Vec<Scalar>>,
    pub(crate) tail: Tail,
}

#[derive(Debug)]
pub(crate) struct SetPlan {
    pub(crate) op: SetOp,
    pub(crate) all: bool,
    pub(crate) left: QueryPlan,
    pub(crate) right: QueryPlan,
    /// Casts of the left's and the right's columns to the common types.
    pub(crate) casts: (Vec<Option<Cast>>, Vec<Option<Cast>>),
    pub(crate) tail: Tail,
}

/// SELECT.
#[derive(Debug)]
pub(crate) struct SelectPlan {
    pub(crate) from: FromPlan,
    pub(crate) grouping: Option<Grouping>,
    pub(crate) having: Option<Scalar>,
    /// Over the joined row, or over the group's.
    pub(crate) targets: Vec<Scalar>,
    /// The targets that return sets.
    pub(crate) sets: Vec<usize>,
    pub(crate) distinct: Option<DistinctPlan>,
    /// Over the same row as the targets, or over the targets if `distinct`.
    pub(crate) tail: Tail,
    pub(crate) locking: Vec<LockPlan>,
    pub(crate) timing: Timing,
}

#[derive(Debug)]
pub(crate) enum DistinctPlan {
    Rows,
    On(Vec<Scalar>),
}

/// Everything in FROM, joined, and the part of WHERE each step can decide.
#[derive(Debug)]
pub(crate) struct FromPlan {
    /// How many columns the joined row has,
    pub(crate) width: usize,
    /// and how many tables with row identities.
    pub(crate) tables: usize,
    pub(crate) root: FromNode,
    /// All of WHERE and of inner joins, to be checked again on a row that was
    /// updated while we waited for it.
    pub(crate) recheck: Vec<Scalar>,
    /// What only the whole row decides.
    pub(crate) filter: Vec<Scalar>,
}

#[derive(Debug)]
pub(crate) enum FromNode {
    /// No FROM: one row without columns.
    Nothing,
    Scan(ScanPlan),
    Derived {
        source: Derived,
        offset: usize,
        width: usize,
        filter: Vec<Scalar>,
    },
    Join {
        left: Box<FromNode>,
        right: Box<FromNode>,
        /// LEFT rather than INNER.
        outer: bool,
        on: Vec<Scalar>,
        /// The columns and tables of the right side, nulled if nothing joins.
        right_columns: std::ops::Range<usize>,
        right_tables: std::ops::Range<usize>,
    },
}

#[derive(Debug)]
pub(crate) struct ScanPlan {
    pub(crate) table: Arc<Table>,
    pub(crate) offset: usize,
    /// Its place among the tables with row identities.
    pub(crate) place: usize,
    /// A unique index of which every column is known beforehand.
    pub(crate) lookup: Option<Lookup>,
    /// Columns that rows of other relations ask for, without such an index.
    pub(crate) hashed: Option<Hashed>,
    /// Only the row that WHERE CURRENT OF names.
    pub(crate) current: bool,
    pub(crate) filter: Vec<Scalar>,
    /// For the choice of a path, where it matters.
    pub(crate) wanted: Wanted,
}

/// Columns of a relation that must equal what is known before it is read.
#[derive(Debug)]
pub(crate) struct Hashed {
    /// Where a run keeps the keys.
    pub(crate) slot: usize,
    /// The columns, by position in the relation.
    pub(crate) columns: Vec<usize>,
    /// What they must equal.
    pub(crate) key: Vec<Scalar>,
}

#[derive(Debug)]
pub(crate) struct Lookup {
    /// Its place among the unique indexes of the table.
    pub(crate) index: usize,
    pub(crate) key: Vec<Scalar>,
}

#[derive(Debug)]
pub(crate) enum Derived {
    Subquery {
        plan: QueryPlan,
        lateral: bool,
        /// Where its rows are kept for the next time, if they are the same each time.
        kept: Option<usize>,
    },
    /// By its slot, and whether it is read as it is computed.
    Cte(usize, bool),
    Function {
        call: Scalar,
        ordinality: bool,
    },
    /// A relation of the embedder's, by its place.
    Embedded(Arc<dyn Embedded>, usize),
    /// A system relation, and the slot that keeps its rows while the statement runs.
    System(&'static SystemRelation, usize, Option<Hashed>),
}

#[derive(Debug)]
pub(crate) struct Grouping {
    /// GROUP BY, over the joined row. Empty: everything is one group.
    pub(crate) keys: Vec<Scalar>,
    pub(crate) aggregates: Vec<AggregatePlan>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AggregatePlan {
    pub(crate) function: Aggregate,
    pub(crate) args: Vec<Scalar>,
    pub(crate) distinct: bool,
    pub(crate) filter: Option<Scalar>,
    /// Expression, descending, nulls first.
    pub(crate) order: Vec<(Scalar, bool, bool)>,
}

/// FOR UPDATE of one table.
#[derive(Debug)]
pub(crate) struct LockPlan {
    pub(crate) table: Arc<Table>,
    pub(crate) place: usize,
    pub(crate) offset: usize,
    pub(crate) strength: LockStrength,
    pub(crate) wait: LockWait,
}

/// INSERT, UPDATE, DELETE.
#[derive(Debug)]
pub(crate) struct ModifyPlan {
    pub(crate) ctes: Vec<CtePlan>,
    pub(crate) table: Arc<Table>,
    pub(crate) action: Action,
    /// CHECK constraints in order of name, over the new row.
    pub(crate) checks: Vec<(Arc<str>, Scalar)>,
    /// Over the new row (INSERT) or the joined row (UPDATE, DELETE).
    pub(crate) returning: Option<Returning>,
}

/// RETURNING: expressions and the columns they make.
pub(crate) type Returning = (Vec<Scalar>, Vec<Column>);

#[derive(Debug)]
pub(crate) enum Action {
    Insert {
        source: InsertSource,
        conflict: Option<ConflictPlan>,
    },
    Update {
        from: FromPlan,
        /// The new row, over the joined row.
        row: Vec<Scalar>,
    },
    Delete {
        from: FromPlan,
    },
}

#[derive(Debug)]
pub(crate) enum InsertSource {
    /// Whole rows of the table.
    Values(Vec<Vec<Scalar>>),
    /// Rows of a query, and the table's row over each.
    Query(Box<QueryPlan>, Vec<Scalar>),
    /// The table's row over each row that COPY is sent.
    Copied(Vec<Scalar>, Arc<Copying>),
}

/// ON CONFLICT.
#[derive(Debug)]
pub(crate) struct ConflictPlan {
    /// Only conflicts in these of the table's unique indexes, by slot; none: in any.
    pub(crate) arbiters: Vec<usize>,
    /// How the row in the way is locked before it is updated.
    pub(crate) strength: crate::engine::LockStrength,
    /// DO UPDATE: the new row and WHERE, over the old row followed by the
    /// excluded one. `None`: DO NOTHING.
    pub(crate) update: Option<(Vec<Scalar>, Option<Scalar>)>,
}

impl Plan {
    /// The columns of its result.
    pub(crate) fn columns(&self) -> Option<&[Column]> {
        match self {
            Plan::Query(query) => Some(&query.columns),
            Plan::Modify(modify) => modify.returning.as_ref().map(|(_, columns)| &columns[..]),
            Plan::Utility => None,
        }
    }
}

impl QueryPlan {
    /// The types of its columns.
    fn types(&self) -> Vec<Type> {
        self.columns.iter().map(|column| column.ty).collect()
    }
}

/// The type of an expression and its modifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Typed {
    pub(crate) ty: Type,
    pub(crate) typmod: i32,
}

impl From<Type> for Typed {
    fn from(ty: Type) -> Self {
        Typed { ty, typmod: -1 }
    }
}
