//! ALTER TABLE and its kin.
//!
//! The actions stand as they were written; in which order they are done is
//! `execute`'s.

use std::sync::Arc;

use super::{ColumnDef, Expr, Identity, Name, QualifiedName, Relation, SequenceOptions};
use super::{ConstraintTiming, TableConstraint, TypeName};

/// ALTER TABLE, ALTER INDEX, ALTER VIEW, and ALTER SEQUENCE that renames or moves.
#[derive(Debug, Clone, PartialEq)]
pub struct Alter {
    /// What kind of relation it says.
    pub object: super::DropObject,
    /// Which relation.
    pub relation: Relation,
    /// IF EXISTS.
    pub if_exists: bool,
    /// What is done to it.
    pub actions: Vec<AlterAction>,
}

/// One action of ALTER TABLE.
#[derive(Debug, Clone, PartialEq)]
pub enum AlterAction {
    /// ADD COLUMN.
    AddColumn {
        /// The column,
        column: Box<ColumnDef>,
        /// and the constraints written with it.
        constraints: Vec<TableConstraint>,
        /// IF NOT EXISTS.
        if_not_exists: bool,
    },
    /// DROP COLUMN.
    DropColumn {
        /// Which.
        name: Name,
        /// IF EXISTS.
        if_exists: bool,
        /// CASCADE.
        cascade: bool,
    },
    /// ALTER COLUMN … TYPE.
    SetType {
        /// Which column.
        column: Name,
        /// Its new type.
        ty: TypeName,
        /// USING.
        using: Option<Expr>,
    },
    /// ALTER COLUMN … SET DEFAULT, DROP DEFAULT.
    SetDefault(Name, Option<(Expr, Arc<str>)>),
    /// ALTER COLUMN … SET NOT NULL, DROP NOT NULL.
    SetNotNull(Name, bool),
    /// ALTER COLUMN … ADD GENERATED … AS IDENTITY.
    AddIdentity(Name, Identity),
    /// ALTER COLUMN … SET GENERATED.
    SetIdentity(Name, bool),
    /// ALTER COLUMN … DROP IDENTITY, with IF EXISTS.
    DropIdentity(Name, bool),
    /// ADD CONSTRAINT, perhaps NOT VALID.
    AddConstraint(TableConstraint, bool),
    /// ADD CONSTRAINT … UNIQUE or PRIMARY KEY (true) USING INDEX.
    AddKeyUsing {
        /// CONSTRAINT name.
        name: Option<Name>,
        /// The index.
        index: Name,
        /// PRIMARY KEY.
        primary: bool,
    },
    /// DROP CONSTRAINT.
    DropConstraint {
        /// Which.
        name: Name,
        /// IF EXISTS.
        if_exists: bool,
        /// CASCADE.
        cascade: bool,
    },
    /// VALIDATE CONSTRAINT.
    Validate(Name),
    /// SET UNLOGGED, or SET LOGGED.
    SetUnlogged(bool),
    /// ALTER CONSTRAINT.
    AlterConstraint(Name, ConstraintTiming),
    /// RENAME TO.
    Rename(Name),
    /// RENAME COLUMN.
    RenameColumn(Name, Name),
    /// RENAME CONSTRAINT.
    RenameConstraint(Name, Name),
    /// SET SCHEMA.
    SetSchema(Name),
    /// OWNER TO.
    Owner(Name),
    /// What changes nothing that a client could see: storage and statistics.
    Tuning,
}

/// ALTER SEQUENCE.
#[derive(Debug, Clone, PartialEq)]
pub struct AlterSequence {
    /// Which.
    pub sequence: Relation,
    /// IF EXISTS.
    pub if_exists: bool,
    /// What changes.
    pub options: SequenceOptions,
    /// RESTART, perhaps WITH.
    pub restart: Option<Option<i64>>,
    /// OWNED BY a column, or NONE.
    pub owned_by: Option<Option<QualifiedName>>,
}
