//! Queries: WITH, SELECT, VALUES, set operations, FROM and row locks.
//!
//! Clauses stand as they were written: nothing is resolved, and nothing is
//! checked that needs the catalog; that is `plan`'s. What stands in the
//! clauses is [`Expr`]'s.

use super::{Command, Expr, Name, QualifiedName, Relation};

/// WITH … body ORDER BY … LIMIT … FOR ….
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// WITH, in order.
    pub with: With,
    /// SELECT, VALUES or a set operation.
    pub body: QueryBody,
    /// ORDER BY.
    pub order_by: Vec<OrderBy>,
    /// LIMIT, or FETCH FIRST.
    pub limit: Option<Expr>,
    /// OFFSET.
    pub offset: Option<Expr>,
    /// FOR UPDATE and its kin.
    pub locking: Vec<Locking>,
}

impl Query {
    /// Where a column of its result is written, if it has so many, or 0.
    pub fn column_at(&self, column: usize, width: usize) -> u32 {
        match &self.body {
            QueryBody::Select(select) => match select.target_of(column, width) {
                Some(Target::Expr(expr, _)) => expr.at(),
                Some(Target::Star(_, at)) => *at,
                None => 0,
            },
            QueryBody::Values(_) => 0,
            QueryBody::SetOperation { left, .. } => left.column_at(column, width),
            QueryBody::Nested(inner) => inner.column_at(column, width),
        }
    }
}

/// A WITH clause.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct With {
    /// RECURSIVE.
    pub recursive: bool,
    /// The common table expressions in order.
    pub tables: Vec<Cte>,
}

/// One common table expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Cte {
    /// Its name.
    pub name: Name,
    /// Column aliases.
    pub columns: Vec<Name>,
    /// A query, INSERT, UPDATE or DELETE.
    pub command: Command,
    /// Where it stands.
    pub at: u32,
}

/// The part of a query that produces rows.
#[derive(Debug, Clone, PartialEq)]
pub enum QueryBody {
    /// SELECT.
    Select(Box<Select>),
    /// VALUES.
    Values(Vec<Vec<Expr>>),
    /// UNION, INTERSECT, EXCEPT.
    SetOperation {
        /// Which.
        op: SetOp,
        /// ALL.
        all: bool,
        /// The left query.
        left: Box<Query>,
        /// The right query.
        right: Box<Query>,
    },
    /// A query in parentheses with clauses of its own outside them.
    Nested(Box<Query>),
}

/// Set operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetOp {
    /// UNION.
    Union,
    /// INTERSECT.
    Intersect,
    /// EXCEPT.
    Except,
}

/// SELECT … FROM … WHERE … GROUP BY … HAVING.
#[derive(Debug, Clone, PartialEq)]
pub struct Select {
    /// DISTINCT.
    pub distinct: Option<Distinct>,
    /// The target list.
    pub targets: Vec<Target>,
    /// FROM, comma by comma.
    pub from: Vec<FromItem>,
    /// WHERE.
    pub filter: Option<Expr>,
    /// GROUP BY.
    pub group_by: Vec<Expr>,
    /// HAVING.
    pub having: Option<Expr>,
}

impl Select {
    /// A target list over no rows.
    pub fn of(targets: Vec<Expr>) -> Select {
        let targets = targets.into_iter();
        Select {
            distinct: None,
            targets: targets.map(|expr| Target::Expr(expr, None)).collect(),
            from: Vec::new(),
            filter: None,
            group_by: Vec::new(),
            having: None,
        }
    }

    /// The target that a column of its result comes from, of so many.
    pub fn target_of(&self, column: usize, width: usize) -> Option<&Target> {
        let is_star = |target: &&Target| matches!(target, Target::Star(..));
        let stars = self.targets.iter().filter(is_star).count();
        // What one star stands for is what the others leave.
        let spread = (width + stars).saturating_sub(self.targets.len());
        let mut next = 0;
        for target in &self.targets {
            next += match target {
                Target::Expr(..) => 1,
                Target::Star(..) if stars == 1 => spread,
                Target::Star(..) => return None,
            };
            if column < next {
                return Some(target);
            }
        }
        None
    }
}

/// DISTINCT and DISTINCT ON.
#[derive(Debug, Clone, PartialEq)]
pub enum Distinct {
    /// DISTINCT.
    Rows,
    /// DISTINCT ON.
    On(Vec<Expr>),
}

/// One entry of a target or RETURNING list.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// `*` (empty) or `t.*`.
    Star(QualifiedName, u32),
    /// An expression with its alias.
    Expr(Expr, Option<Name>),
}

/// One entry of FROM.
#[derive(Debug, Clone, PartialEq)]
pub enum FromItem {
    /// A table, or a common table expression.
    Relation {
        /// Which.
        relation: Relation,
        /// Its alias.
        alias: Option<Alias>,
    },
    /// A subquery.
    Subquery {
        /// Which.
        query: Box<Query>,
        /// LATERAL.
        lateral: bool,
        /// Its alias.
        alias: Option<Alias>,
        /// Where it stands.
        at: u32,
    },
    /// A function.
    Function {
        /// The call.
        call: Expr,
        /// WITH ORDINALITY.
        ordinality: bool,
        /// Its alias.
        alias: Option<Alias>,
    },
    /// A join.
    Join {
        /// How.
        kind: JoinKind,
        /// What is joined,
        left: Box<FromItem>,
        /// and with what.
        right: Box<FromItem>,
        /// The condition.
        condition: JoinCondition,
    },
}

/// Joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    /// `[INNER] JOIN` and CROSS JOIN.
    Inner,
    /// LEFT.
    Left,
    /// RIGHT.
    Right,
    /// FULL.
    Full,
}

/// What a join joins on.
#[derive(Debug, Clone, PartialEq)]
pub enum JoinCondition {
    /// CROSS JOIN.
    None,
    /// ON.
    On(Expr),
    /// USING.
    Using(Vec<Name>),
    /// NATURAL.
    Natural,
}

/// `AS name (columns)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Alias {
    /// The name.
    pub name: Name,
    /// Names of columns.
    pub columns: Vec<Name>,
}

/// One entry of ORDER BY.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderBy {
    /// By what.
    pub expr: Expr,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST; by default nulls are larger than everything.
    pub nulls_first: bool,
}

/// FOR UPDATE OF … NOWAIT.
#[derive(Debug, Clone, PartialEq)]
pub struct Locking {
    /// How strong.
    pub strength: LockStrength,
    /// OF; empty means every table.
    pub of: Vec<Relation>,
    /// NOWAIT, SKIP LOCKED.
    pub wait: LockWait,
}

/// The four row locks, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockStrength {
    /// FOR KEY SHARE.
    KeyShare,
    /// FOR SHARE.
    Share,
    /// FOR NO KEY UPDATE.
    NoKeyUpdate,
    /// FOR UPDATE.
    Update,
}

impl LockStrength {
    /// What a query with it is called (`CreateCommandTag` in `tcop/utility.c`).
    pub fn tag(self) -> &'static str {
        match self {
            LockStrength::KeyShare => "SELECT FOR KEY SHARE",
            LockStrength::Share => "SELECT FOR SHARE",
            LockStrength::NoKeyUpdate => "SELECT FOR NO KEY UPDATE",
            LockStrength::Update => "SELECT FOR UPDATE",
        }
    }
}

/// What a row lock does when another holds the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockWait {
    /// Wait.
    Block,
    /// SKIP LOCKED.
    SkipLocked,
    /// NOWAIT.
    NoWait,
}
