//! The statements fake-pg understands, as plain data: what `parse` produces
//! and `plan` binds.
//!
//! Nothing here knows the parser's tree or the catalog. Names are folded as
//! PostgreSQL folds them (lower case unless quoted). Constructs the grammar
//! knows but fake-pg lacks are [`Command::Unsupported`], so that they fail
//! with `0A000` when they are run and never silently.

use std::sync::Arc;

/// A name after case folding.
pub type Name = Arc<str>;

/// A possibly qualified name: `schema.table`, or `table.column`.
pub type QualifiedName = Vec<Name>;

/// One statement of a script.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// The statement's own text, without the separator.
    pub text: Arc<str>,
    /// What it does.
    pub command: Command,
    /// The highest `$n` that occurs in it.
    pub params: usize,
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
    /// DROP TABLE, DROP INDEX, DROP SEQUENCE.
    Drop {
        /// What kind of object goes.
        object: DropObject,
        /// IF EXISTS.
        if_exists: bool,
        /// The objects named.
        names: Vec<Relation>,
    },
    /// TRUNCATE.
    Truncate {
        /// The tables.
        tables: Vec<Relation>,
        /// RESTART IDENTITY.
        restart_identity: bool,
    },
    /// SET, SET LOCAL, SET TIME ZONE; `None` is DEFAULT.
    Set {
        /// The setting's name.
        name: Name,
        /// Its new value, lists joined as PostgreSQL joins them.
        value: Option<String>,
        /// SET LOCAL.
        local: bool,
    },
    /// SHOW; `all` for SHOW ALL.
    Show(Name),
    /// RESET; `all` for RESET ALL.
    Reset(Name),
    /// DISCARD ALL and its parts.
    Discard(Discard),
    /// DEALLOCATE; `None` is ALL.
    Deallocate(Option<Name>),
    /// The construct, as it is named in the error.
    Unsupported(Arc<str>),
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

/// Transaction control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionCommand {
    /// BEGIN, or START TRANSACTION, which has its own command tag.
    Begin {
        /// The modes given.
        modes: TransactionModes,
        /// START TRANSACTION.
        start: bool,
    },
    /// COMMIT or END.
    Commit {
        /// AND CHAIN.
        chain: bool,
    },
    /// ROLLBACK or ABORT.
    Rollback {
        /// AND CHAIN.
        chain: bool,
    },
    /// SAVEPOINT.
    Savepoint(Name),
    /// RELEASE.
    Release(Name),
    /// ROLLBACK TO.
    RollbackTo(Name),
    /// SET TRANSACTION.
    SetTransaction(TransactionModes),
    /// SET SESSION CHARACTERISTICS AS TRANSACTION.
    SetCharacteristics(TransactionModes),
    /// PREPARE TRANSACTION.
    Prepare(Name),
    /// COMMIT PREPARED.
    CommitPrepared(Name),
    /// ROLLBACK PREPARED.
    RollbackPrepared(Name),
}

/// The modes of BEGIN and SET TRANSACTION; `None` leaves the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransactionModes {
    /// ISOLATION LEVEL.
    pub isolation: Option<IsolationLevel>,
    /// READ ONLY or READ WRITE.
    pub read_only: Option<bool>,
    /// `[NOT] DEFERRABLE`.
    pub deferrable: Option<bool>,
}

/// The levels as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsolationLevel {
    /// Behaves as read committed.
    ReadUncommitted,
    /// The default.
    ReadCommitted,
    /// Snapshot isolation.
    RepeatableRead,
    /// Serializable snapshot isolation.
    Serializable,
}

/// A relation's name where it is used, with its place for error messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Relation {
    /// The name, perhaps with a schema.
    pub name: QualifiedName,
    /// Where it starts in the statement, in characters from 1.
    pub at: u32,
}

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
}

/// Which unique index an ON CONFLICT is about.
#[derive(Debug, Clone, PartialEq)]
pub enum ConflictTarget {
    /// Any.
    Any,
    /// The one over these columns, with the predicate of a partial index.
    Columns(Vec<Expr>, Option<Expr>),
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
    /// RETURNING.
    pub returning: Vec<Target>,
}

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
