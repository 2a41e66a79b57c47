//! Cursors and prepared statements by SQL, as they are written.

use std::sync::Arc;

use super::{Expr, Name, Statement, TypeName};

/// DECLARE.
#[derive(Debug, Clone, PartialEq)]
pub struct Declare {
    /// The cursor's name.
    pub name: Name,
    /// BINARY.
    pub binary: bool,
    /// INSENSITIVE.
    pub insensitive: bool,
    /// SCROLL or NO SCROLL, if either is given.
    pub scroll: Option<bool>,
    /// WITH HOLD.
    pub hold: bool,
    /// The query.
    pub query: Arc<Statement>,
}

/// FETCH and MOVE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The cursor's name.
    pub name: Name,
    /// Which rows.
    pub direction: Direction,
    /// MOVE, which sends none of them.
    pub moves: bool,
}

/// Which rows FETCH wants; `None` is ALL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// NEXT, FORWARD n, n.
    Forward(Option<i64>),
    /// PRIOR, BACKWARD n.
    Backward(Option<i64>),
    /// FIRST, LAST, ABSOLUTE n.
    Absolute(i64),
    /// RELATIVE n.
    Relative(i64),
}

/// PREPARE.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepare {
    /// The statement's name.
    pub name: Name,
    /// The types of its first parameters.
    pub types: Vec<TypeName>,
    /// The statement.
    pub statement: Arc<Statement>,
}
/// EXECUTE.
#[derive(Debug, Clone, PartialEq)]
pub struct Execute {
    /// The prepared statement's name.
    pub name: Name,
    /// What its parameters are.
    pub args: Vec<Expr>,
}
