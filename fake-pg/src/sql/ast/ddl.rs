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
    /// What is said twice of it, and where the second time.
    pub contradiction: Option<(&'static str, u32)>,
}

impl ColumnDef {
    /// Notes the first contradiction.
    pub fn contradict(&mut self, what: &'static str, at: u32) {
        self.contradiction.get_or_insert((what, at));
    }
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
    /// CYCLE, NO CYCLE.
    pub cycle: Option<bool>,
    /// AS.
    pub ty: Option<TypeName>,
    /// OWNED BY a column, or NONE.
    pub owned_by: Option<Option<super::QualifiedName>>,
    /// Where an option stands that was given before.
    pub redundant: Option<u32>,
}

/// CREATE SEQUENCE.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateSequence {
    /// The sequence's name.
    pub name: Relation,
    /// UNLOGGED.
    pub unlogged: bool,
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
    /// When it is checked.
    pub timing: ConstraintTiming,
    /// Where it stands.
    pub at: u32,
}

/// DEFERRABLE and INITIALLY DEFERRED.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConstraintTiming {
    /// DEFERRABLE.
    pub deferrable: bool,
    /// INITIALLY DEFERRED.
    pub deferred: bool,
    /// NOT VALID.
    pub not_valid: bool,
}

/// What a constraint demands.
#[derive(Debug, Clone, PartialEq)]
pub enum ConstraintKind {
    /// PRIMARY KEY.
    PrimaryKey(UniqueKey),
    /// UNIQUE.
    Unique(UniqueKey),
    /// CHECK, with its text.
    Check(Expr, Arc<str>),
    /// FOREIGN KEY, or REFERENCES of a column.
    ForeignKey(Box<ForeignKey>),
}

/// The columns of UNIQUE or PRIMARY KEY.
#[derive(Debug, Clone, PartialEq)]
pub struct UniqueKey {
    /// Those that are unique together.
    pub columns: Vec<Name>,
    /// INCLUDE.
    pub included: Vec<Name>,
    /// NULLS NOT DISTINCT.
    pub nulls_not_distinct: bool,
}

/// FOREIGN KEY (columns) REFERENCES table (keys).
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignKey {
    /// The columns that refer.
    pub columns: Vec<Name>,
    /// To which table.
    pub table: Relation,
    /// To which of its columns; none: to its primary key.
    pub keys: Vec<Name>,
    /// MATCH FULL.
    pub full: bool,
    /// ON DELETE.
    pub on_delete: Reaction,
    /// ON UPDATE.
    pub on_update: Reaction,
}

/// What ON DELETE and ON UPDATE do.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Reaction {
    /// NO ACTION.
    #[default]
    NoAction,
    /// RESTRICT.
    Restrict,
    /// CASCADE.
    Cascade,
    /// SET NULL; no columns means all.
    SetNull(Vec<Name>),
    /// SET DEFAULT; no columns means all.
    SetDefault(Vec<Name>),
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
    /// The keys, with their text.
    pub keys: Vec<(Expr, Arc<str>)>,
    /// INCLUDE.
    pub included: Vec<Name>,
    /// NULLS NOT DISTINCT.
    pub nulls_not_distinct: bool,
    /// WHERE of a partial index, with its text.
    pub filter: Option<(Expr, Arc<str>)>,
}

/// CREATE VIEW.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateView {
    /// The view's name.
    pub view: Relation,
    /// OR REPLACE.
    pub or_replace: bool,
    /// Names of columns.
    pub columns: Vec<Name>,
    /// Its query,
    pub query: super::Query,
    /// and its text, which is what the catalog keeps.
    pub text: Arc<str>,
}

/// CREATE TABLE AS.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateTableAs {
    /// The table's name.
    pub table: Relation,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// UNLOGGED.
    pub unlogged: bool,
    /// Names of columns.
    pub columns: Vec<Name>,
    /// Its rows.
    pub query: super::Query,
    /// Rather than WITH NO DATA.
    pub with_data: bool,
}
