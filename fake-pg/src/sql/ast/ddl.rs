//! CREATE TABLE, CREATE INDEX, CREATE SEQUENCE.
//!
//! Column constraints stand among the table's, in the order they are written.
//! An expression that the catalog keeps comes with its text. Names not given
//! are left open; `execute` makes them up.

use std::sync::Arc;

use super::{Expr, Name, Relation, TypeName};

/// CREATE TABLE.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateTable {
    /// The table's name.
    pub table: Relation,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// UNLOGGED.
    pub unlogged: bool,
    /// The columns in order.
    pub columns: Vec<ColumnDef>,
    /// Table and column constraints, in the order they are written.
    pub constraints: Vec<TableConstraint>,
}

/// A column of CREATE TABLE.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnDef {
    /// Its name.
    pub name: Name,
    /// Its type.
    pub ty: TypeName,
    /// NOT NULL.
    pub not_null: bool,
    /// DEFAULT, with its text, which is what the catalog keeps.
    pub default: Option<(Expr, Arc<str>)>,
    /// GENERATED … AS IDENTITY.
    pub identity: Option<Identity>,
}

/// GENERATED … AS IDENTITY (options).
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// ALWAYS rather than BY DEFAULT.
    pub always: bool,
    /// Options of the sequence.
    pub options: SequenceOptions,
}

/// START, INCREMENT and their kin; `None` leaves the default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SequenceOptions {
    /// START WITH.
    pub start: Option<i64>,
    /// INCREMENT BY.
    pub increment: Option<i64>,
    /// MINVALUE.
    pub min: Option<i64>,
    /// MAXVALUE.
    pub max: Option<i64>,
}

/// CREATE SEQUENCE.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateSequence {
    /// The sequence's name.
    pub name: Relation,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// Its options.
    pub options: SequenceOptions,
}

/// A constraint of CREATE TABLE.
#[derive(Debug, Clone, PartialEq)]
pub struct TableConstraint {
    /// CONSTRAINT name.
    pub name: Option<Name>,
    /// What it demands.
    pub kind: ConstraintKind,
}

/// What a constraint demands.
#[derive(Debug, Clone, PartialEq)]
pub enum ConstraintKind {
    /// PRIMARY KEY.
    PrimaryKey(Vec<Name>),
    /// UNIQUE.
    Unique(Vec<Name>),
    /// CHECK, with its text.
    Check(Expr, Arc<str>),
}

/// CREATE INDEX.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateIndex {
    /// Its name, if given.
    pub name: Option<Name>,
    /// UNIQUE.
    pub unique: bool,
    /// CONCURRENTLY.
    pub concurrently: bool,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// On which table.
    pub table: Relation,
    /// The keys.
    pub keys: Vec<Expr>,
    /// WHERE of a partial index.
    pub filter: Option<Expr>,
}
