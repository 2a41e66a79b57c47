//! What exists: tables, their columns, indexes and checks, and sequences.
//!
//! A [`Catalog`] is immutable and shared. A transaction that runs DDL records [`CatalogChange`]s and
//! sees the committed catalog with its own changes applied; the changes are published when it
//! commits and dropped when it does not. Expressions are kept as SQL text: what they mean is `sql`'s
//! business. Where the rows are is `heap`'s.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::embedded::Embedded;
use super::{FileNode, TableId};
use crate::types::{Datum, Type};

/// All relations by name. There is one schema, `public`.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Equal versions mean equal catalogs, across clones and threads: plans are cached by it.
    version: u64,
    tables: BTreeMap<Arc<str>, Arc<Table>>,
    sequences: BTreeMap<Arc<str>, Arc<Sequence>>,
    /// A schema that the embedder answers for.
    embedded: Option<Arc<dyn Embedded>>,
}

/// A table as `pg_class` and `pg_attribute` know it.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its OID.
    pub id: TableId,
    /// Its name.
    pub name: Arc<str>,
    /// Where its rows are.
    pub node: FileNode,
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// Its indexes, in the order of their creation, in which they are also checked.
    pub indexes: Vec<Arc<Index>>,
    /// Its CHECK constraints, in the order of their names, in which they are checked.
    pub checks: Vec<Check>,
    /// UNLOGGED: fast, and empty after a crash.
    pub unlogged: bool,
}

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: Arc<str>,
    /// Its type.
    pub ty: Type,
    /// `atttypmod`: n + 4 for varchar(n), -1 for none.
    pub typmod: i32,
    /// NOT NULL.
    pub not_null: bool,
    /// The SQL text of DEFAULT; `nextval('t_id_seq'::regclass)` for serial and identity.
    pub default: Option<Arc<str>>,
    /// GENERATED … AS IDENTITY.
    pub identity: Option<Identity>,
}

/// Whether an identity column takes values from users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Only with OVERRIDING SYSTEM VALUE.
    Always,
    /// Like any default.
    ByDefault,
}

/// A CHECK constraint.
#[derive(Clone, Debug)]
pub struct Check {
    /// Its name.
    pub name: Arc<str>,
    /// The SQL text between its parentheses.
    pub expression: Arc<str>,
}

/// An index. Only unique ones have entries; the others are promises of speed that this server keeps
/// by being small.
#[derive(Clone, Debug)]
pub struct Index {
    /// Its name, which is its constraint's too.
    pub name: Arc<str>,
    /// The columns of its key, by position in the table.
    pub columns: Vec<usize>,
    /// Whether a key may stand there once only.
    pub unique: bool,
    /// Whether it is the primary key.
    pub primary: bool,
    /// Whether a constraint made it, rather than CREATE INDEX.
    pub constraint: bool,
}

/// A sequence's definition; its state is in the engine, outside of transactions.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// Its OID.
    pub id: TableId,
    /// Its name.
    pub name: Arc<str>,
    /// Where its state is.
    pub node: FileNode,
    /// The type of its values.
    pub ty: Type,
    /// What RESTART goes back to.
    pub start: i64,
    /// The step.
    pub increment: i64,
    /// The least value.
    pub min: i64,
    /// The greatest value.
    pub max: i64,
    /// Whether it starts again at its end.
    pub cycle: bool,
    /// The column it goes away with.
    pub owner: Option<(TableId, usize)>,
}

impl Sequence {
    /// The sequence behind a serial column of this type, with PostgreSQL's limits. The engine gives
    /// it its id and node when it creates it.
    pub fn serial(name: impl Into<Arc<str>>, ty: Type) -> Self {
        let max = match ty {
            Type::Int2 => i16::MAX.into(),
            Type::Int4 => i32::MAX.into(),
            _ => i64::MAX,
        };
        Sequence {
            id: TableId(0),
            name: name.into(),
            node: FileNode(0),
            ty,
            start: 1,
            increment: 1,
            min: 1,
            max,
            cycle: false,
            owner: None,
        }
    }
}

impl Table {
    /// A table of that name without columns. The engine gives it its id and node when it creates it.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Table {
            id: TableId(0),
            name: name.into(),
            node: FileNode(0),
            columns: Vec::new(),
            indexes: Vec::new(),
            checks: Vec::new(),
            unlogged: false,
        }
    }

    /// The position of a column.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| &*column.name == name)
    }

    /// The unique indexes with their position among the unique ones, which is how the heap counts.
    pub fn unique_indexes(&self) -> impl Iterator<Item = (usize, &Arc<Index>)> {
        self.indexes.iter().filter(|index| index.unique).enumerate()
    }

    /// Whether an update from one row to the other changes a key that others may refer to: then it
    /// locks the row FOR UPDATE, else FOR NO KEY UPDATE (`HeapDetermineColumnsInfo`).
    pub fn changes_key(&self, old: &[Datum], new: &[Datum]) -> bool {
        self.unique_indexes().any(|(_, index)| {
            index
                .columns
                .iter()
                .any(|&column| old[column] != new[column])
        })
    }
}

impl Index {
    /// The key and its value as a unique violation tells them: `(a, b)=(1, x)`.
    pub fn describe(&self, table: &Table, row: &[Datum]) -> String {
        let list = |items: Vec<String>| items.join(", ");
        let names = self
            .columns
            .iter()
            .map(|&column| table.columns[column].name.to_string());
        let values = self.columns.iter().map(|&column| row[column].to_string());
        format!("({})=({})", list(names.collect()), list(values.collect()))
    }
}

/// What one DDL statement did. Applied to a transaction's own view at once, to everybody's at commit.
#[derive(Clone, Debug)]
pub enum CatalogChange {
    /// CREATE TABLE.
    CreateTable(Arc<Table>),
    /// ALTER TABLE, CREATE INDEX, TRUNCATE: the table of the same id, changed.
    ReplaceTable(Arc<Table>),
    /// DROP TABLE.
    DropTable(Arc<Table>),
    /// CREATE SEQUENCE.
    CreateSequence(Arc<Sequence>),
    /// DROP SEQUENCE, or with the column that owned it.
    DropSequence(Arc<Sequence>),
}

/// A relation found by name.
#[derive(Clone, Debug)]
pub enum Relation {
    /// A table.
    Table(Arc<Table>),
    /// A sequence.
    Sequence(Arc<Sequence>),
    /// An index, and the table it is on.
    Index(Arc<Table>, Arc<Index>),
}

impl Catalog {
    /// See the field.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// A table by name.
    pub fn table(&self, name: &str) -> Option<&Arc<Table>> {
        self.tables.get(name)
    }

    /// A table by OID.
    pub fn table_by_id(&self, id: TableId) -> Option<&Arc<Table>> {
        self.tables.values().find(|table| table.id == id)
    }

    /// A sequence by name.
    pub fn sequence(&self, name: &str) -> Option<&Arc<Sequence>> {
        self.sequences.get(name)
    }

    /// Tables by name, in order.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.values()
    }

    /// Sequences by name, in order.
    pub fn sequences(&self) -> impl Iterator<Item = &Arc<Sequence>> {
        self.sequences.values()
    }

    /// Anything by name: tables, sequences and indexes share one space of names.
    pub fn relation(&self, name: &str) -> Option<Relation> {
        if let Some(table) = self.tables.get(name) {
            return Some(Relation::Table(table.clone()));
        }
        if let Some(sequence) = self.sequences.get(name) {
            return Some(Relation::Sequence(sequence.clone()));
        }
        self.tables.values().find_map(|table| {
            let index = table.indexes.iter().find(|index| &*index.name == name)?;
            Some(Relation::Index(table.clone(), index.clone()))
        })
    }

    /// The embedder's schema, if it has this name.
    pub fn embedded(&self, schema: &str) -> Option<&Arc<dyn Embedded>> {
        let embedded = self.embedded.as_ref();
        embedded.filter(|embedded| embedded.schema() == schema)
    }

    /// This catalog and the embedder's schema, under a new version.
    pub(super) fn embedding(&self, embedded: Arc<dyn Embedded>) -> Catalog {
        Catalog {
            embedded: Some(embedded),
            ..self.with([])
        }
    }

    /// This catalog with changes, under a new version.
    pub(super) fn with<'a>(&self, changes: impl IntoIterator<Item = &'a CatalogChange>) -> Catalog {
        let mut catalog = self.clone();
        catalog.version = next_version();
        for change in changes {
            catalog.apply(change);
        }
        catalog
    }

    fn apply(&mut self, change: &CatalogChange) {
        match change {
            CatalogChange::CreateTable(table) => {
                self.tables.insert(table.name.clone(), table.clone());
            }
            CatalogChange::ReplaceTable(table) => {
                self.tables.retain(|_, old| old.id != table.id);
                self.tables.insert(table.name.clone(), table.clone());
            }
            CatalogChange::DropTable(table) => self.tables.retain(|_, old| old.id != table.id),
            CatalogChange::CreateSequence(sequence) => {
                self.sequences
                    .insert(sequence.name.clone(), sequence.clone());
            }
            CatalogChange::DropSequence(sequence) => {
                self.sequences.retain(|_, old| old.id != sequence.id);
            }
        }
    }
}

/// Unique in the process, so that plans can be shared between engines. Which numbers come out
/// depends on the order of threads, and nothing may depend on them but equality.
fn next_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
