//! The statements fake-pg understands, as plain data: what `parse` produces
//! and `plan` binds.
//!
//! Nothing here knows the parser's tree or the catalog. Names are folded as
//! PostgreSQL folds them (lower case unless quoted). Constructs the grammar
//! knows but fake-pg lacks are [`Command::Unsupported`], so that they fail
//! with `0A000` when they are run and never silently.
//!
//! This file owns the statement as a whole; each file of the folder owns one
//! family of them, and `expr` what all have in common.

mod transaction;
mod query;
mod expr;
mod dml;
mod ddl;
mod alter;
mod copy;
mod cursor;
mod role;

use std::sync::Arc;

use crate::engine::LockMode;
use crate::error::PgError;

pub use alter::{Alter, AlterAction, AlterSequence};
pub use copy::{Copy, CopyFormat, CopyOptions, CopySource};
pub use cursor::{Declare, Direction, Execute, Fetch, Prepare};
pub use ddl::{
    ColumnDef, ConstraintKind, ConstraintTiming, CreateIndex, CreateSequence, CreateTable,
    CreateTableAs, CreateView, ForeignKey, Identity, Reaction, SequenceOptions, TableConstraint,
    UniqueKey,
};
pub use dml::{Assignment, ConflictTarget, Delete, Insert, OnConflict, Update};
pub use expr::{Call, Expr, TypeName};
pub use query::{
    Alias, Cte, Distinct, FromItem, JoinCondition, JoinKind, LockStrength, LockWait, Locking,
    OrderBy, Query, QueryBody, Select, SetOp, Target, With,
};
pub use role::{RoleCommand, RoleOption};
pub use transaction::{IsolationLevel, TransactionCommand, TransactionModes};

/// A name after case folding.
pub type Name = Arc<str>;

/// A possibly qualified name: `schema.table`, or `table.column`.
pub type QualifiedName = Vec<Name>;

/// One statement of a script.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// The statement's own text, without the separator.
    pub text: Arc<str>,
    /// The script it stands in, as the client sent it.
    pub source: Arc<str>,
    /// Where it begins there, in characters from 1: all its places count from there.
    pub start: u32,
    /// What it does.
    pub command: Command,
    /// The highest `$n` that occurs in it.
    pub params: usize,
    /// What its scanner has to say.
    pub notices: Vec<PgError>,
}

impl Statement {
    /// What the session must know before running it.
    pub fn kind(&self) -> StatementKind {
        match &self.command {
            Command::Empty => StatementKind::Empty,
            Command::Transaction(_) => StatementKind::Transaction,
            Command::Query(_) | Command::Insert(_) | Command::Update(_) | Command::Delete(_) => {
                StatementKind::Query
            }
            _ => StatementKind::Utility,
        }
    }
}

/// What the session must know of a statement before it runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementKind {
    /// No statement at all: answered with EmptyQueryResponse.
    Empty,
    /// BEGIN, COMMIT, ROLLBACK, savepoints: the session's own business.
    Transaction,
    /// A statement that runs in a transaction but is not optimised: DDL, SET.
    Utility,
    /// SELECT, INSERT, UPDATE, DELETE, VALUES.
    Query,
}

/// The body of a statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Nothing between two semicolons.
    Empty,
    /// Transaction control.
    Transaction(TransactionCommand),
    /// SELECT, VALUES, TABLE.
    Query(Box<Query>),
    /// INSERT.
    Insert(Box<Insert>),
    /// UPDATE.
    Update(Box<Update>),
    /// DELETE.
    Delete(Box<Delete>),
    /// CREATE TABLE.
    CreateTable(Box<CreateTable>),
    /// CREATE INDEX.
    CreateIndex(Box<CreateIndex>),
    /// CREATE SEQUENCE.
    CreateSequence(Box<CreateSequence>),
    /// DROP TABLE and its kin.
    Drop {
        /// What kind of object goes.
        object: DropObject,
        /// IF EXISTS.
        if_exists: bool,
        /// CASCADE.
        cascade: bool,
        /// The objects named.
        names: Vec<Relation>,
    },
    /// CREATE TYPE … AS ENUM.
    CreateEnum {
        /// Its name.
        name: Relation,
        /// Its labels in order.
        labels: Vec<Name>,
    },
    /// ALTER TYPE.
    AlterEnum {
        /// The type.
        name: Relation,
        /// What happens to it.
        change: AlterEnum,
    },
    /// DROP TYPE.
    DropType {
        /// IF EXISTS.
        if_exists: bool,
        /// CASCADE.
        cascade: bool,
        /// The types.
        names: Vec<Relation>,
    },
    /// CREATE SCHEMA.
    CreateSchema {
        /// Its name.
        name: Name,
        /// IF NOT EXISTS.
        if_not_exists: bool,
    },
    /// ALTER SCHEMA … RENAME TO.
    RenameSchema {
        /// The schema.
        from: Name,
        /// Its new name.
        to: Name,
    },
    /// CREATE DATABASE.
    CreateDatabase(Name),
    /// DROP DATABASE.
    DropDatabase {
        /// Which.
        name: Name,
        /// IF EXISTS.
        if_exists: bool,
    },
    /// COPY.
    Copy(Box<Copy>),
    /// ALTER TABLE and its kin.
    Alter(Box<Alter>),
    /// ALTER SEQUENCE.
    AlterSequence(Box<AlterSequence>),
    /// CREATE VIEW.
    CreateView(Box<CreateView>),
    /// CREATE TABLE AS.
    CreateTableAs(Box<CreateTableAs>),
    /// COMMENT ON, and the relation it is about, if it is about one.
    Comment(Option<Relation>),
    /// REINDEX.
    Reindex(Relation),
    /// CREATE EXTENSION of one that is there.
    CreateExtension {
        /// Which.
        name: Name,
        /// IF NOT EXISTS.
        if_not_exists: bool,
    },
    /// TRUNCATE.
    Truncate {
        /// The tables.
        tables: Vec<Relation>,
        /// RESTART IDENTITY.
        restart_identity: bool,
        /// CASCADE.
        cascade: bool,
    },
    /// LOCK TABLE.
    Lock {
        /// The tables.
        tables: Vec<Relation>,
        /// IN … MODE.
        mode: LockMode,
        /// NOWAIT.
        nowait: bool,
    },
    /// SET CONSTRAINTS; `None` is ALL.
    SetConstraints {
        /// The constraints, perhaps with a schema.
        names: Option<Vec<QualifiedName>>,
        /// DEFERRED rather than IMMEDIATE.
        deferred: bool,
    },
    /// SET, SET LOCAL, SET TIME ZONE; `None` is DEFAULT.
    Set {
        /// The setting's name.
        name: Name,
        /// Its new value, lists joined as PostgreSQL joins them.
        value: Option<String>,
        /// SET LOCAL.
        local: bool,
        /// Several values were given.
        listed: bool,
    },
    /// SHOW; `all` for SHOW ALL.
    Show(Name),
    /// RESET; `all` for RESET ALL.
    Reset(Name),
    /// LISTEN.
    Listen(Name),
    /// UNLISTEN; `None` is all channels.
    Unlisten(Option<Name>),
    /// NOTIFY.
    Notify {
        /// The channel.
        channel: Name,
        /// What is said.
        payload: Option<Name>,
    },
    /// ALTER SYSTEM SET, or RESET where there is no value, or RESET ALL without a name.
    AlterSystem {
        /// The setting's name.
        name: Option<Name>,
        /// Its new value.
        value: Option<String>,
    },
    /// VACUUM, or ANALYZE without it.
    Vacuum {
        /// VACUUM.
        vacuums: bool,
        /// VACUUM FULL.
        full: bool,
        /// The tables; none is all.
        tables: Vec<Relation>,
    },
    /// DROP INDEX CONCURRENTLY.
    DropIndexConcurrently {
        /// IF EXISTS.
        if_exists: bool,
        /// CASCADE.
        cascade: bool,
        /// What to drop.
        names: Vec<Relation>,
    },
    /// REINDEX CONCURRENTLY.
    ReindexConcurrently(Relation),
    /// CHECKPOINT.
    Checkpoint,
    /// DISCARD ALL and its parts.
    Discard(Discard),
    /// Roles.
    Role(Box<RoleCommand>),
    /// DECLARE.
    Declare(Box<Declare>),
    /// FETCH and MOVE.
    Fetch(Fetch),
    /// CLOSE; `None` is ALL.
    CloseCursor(Option<Name>),
    /// PREPARE.
    Prepare(Box<Prepare>),
    /// EXECUTE.
    Execute(Box<Execute>),
    /// DEALLOCATE; `None` is ALL.
    Deallocate(Option<Name>),
    /// The construct, as it is named in the error.
    Unsupported(Arc<str>),
}

impl Command {
    /// What it is called, if it cannot run in a transaction block.
    pub fn must_be_alone(&self) -> Option<&'static str> {
        match self {
            Command::CreateDatabase(_) => Some("CREATE DATABASE"),
            Command::DropDatabase { .. } => Some("DROP DATABASE"),
            Command::Vacuum { vacuums: true, .. } => Some("VACUUM"),
            Command::CreateIndex(create) if create.concurrently => {
                Some("CREATE INDEX CONCURRENTLY")
            }
            Command::DropIndexConcurrently { .. } => Some("DROP INDEX CONCURRENTLY"),
            Command::ReindexConcurrently(_) => Some("REINDEX CONCURRENTLY"),
            _ => None,
        }
    }

    /// Whether its transaction ends with it, whatever follows in a pipeline
    /// (`XACT_FLAGS_NEEDIMMEDIATECOMMIT`). VACUUM is not among these: it begins transactions itself,
    /// and the last of them goes on.
    pub fn commits_at_once(&self) -> bool {
        matches!(
            self,
            Command::CreateDatabase(_)
                | Command::DropDatabase { .. }
                | Command::Discard(Discard::All)
                | Command::AlterSystem { .. }
        )
    }

    /// Whether its analysis, at Parse and again at Bind, does so already
    /// (`analyze_requires_snapshot`).
    pub fn is_analyzed(&self) -> bool {
        matches!(
            self,
            Command::Query(_) | Command::Insert(_) | Command::Update(_) | Command::Delete(_)
        )
    }

    /// Whether it fixes the snapshot of a transaction that keeps one
    /// (`PlannedStmtRequiresSnapshot`).
    pub fn needs_snapshot(&self) -> bool {
        !matches!(
            self,
            Command::Empty
                | Command::Transaction(_)
                | Command::Set { .. }
                | Command::Show(_)
                | Command::Reset(_)
                | Command::Listen(_)
                | Command::Notify { .. }
                | Command::Unlisten(_)
                | Command::Lock { .. }
                | Command::SetConstraints { .. }
                | Command::Fetch(_)
        )
    }
}

/// What ALTER TYPE does to an enum.
#[derive(Debug, Clone, PartialEq)]
pub enum AlterEnum {
    /// ADD VALUE.
    Add {
        /// The new label.
        label: Name,
        /// IF NOT EXISTS.
        if_not_exists: bool,
        /// Where it goes.
        place: Place,
    },
    /// RENAME VALUE … TO.
    Rename(Name, Name),
    /// RENAME TO.
    RenameType(Name),
}

/// Where a new label of an enum goes.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// Behind all others.
    Last,
    /// BEFORE.
    Before(Name),
    /// AFTER.
    After(Name),
}

/// The kind of object a DROP names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropObject {
    /// DROP TABLE.
    Table,
    /// DROP INDEX.
    Index,
    /// DROP SEQUENCE.
    Sequence,
    /// DROP VIEW.
    View,
    /// DROP SCHEMA.
    Schema,
}

impl DropObject {
    /// The tag of its ALTER.
    pub fn alter_tag(self) -> &'static str {
        match self {
            DropObject::Table => "ALTER TABLE",
            DropObject::Index => "ALTER INDEX",
            DropObject::Sequence => "ALTER SEQUENCE",
            DropObject::View => "ALTER VIEW",
            DropObject::Schema => "ALTER SCHEMA",
        }
    }

    /// The tag of its DROP.
    pub fn tag(self) -> &'static str {
        match self {
            DropObject::Table => "DROP TABLE",
            DropObject::Index => "DROP INDEX",
            DropObject::Sequence => "DROP SEQUENCE",
            DropObject::View => "DROP VIEW",
            DropObject::Schema => "DROP SCHEMA",
        }
    }
}

/// What DISCARD discards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    /// Everything.
    All,
    /// Plans only.
    Plans,
    /// Sequence state only.
    Sequences,
    /// Temporary tables only.
    Temp,
}

/// A relation's name where it is used, with its place for error messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Relation {
    /// The name, perhaps with a schema.
    pub name: QualifiedName,
    /// Where it starts in the statement, in characters from 1.
    pub at: u32,
}
