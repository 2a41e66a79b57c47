//! What exists: tables, their columns, indexes and checks, and sequences.
//!
//! A [`Catalog`] is immutable and shared. A transaction that runs DDL records [`CatalogChange`]s and
//! sees the committed catalog with its own changes applied; the changes are published when it
//! commits and dropped when it does not. Expressions are kept as SQL text: what they mean is `sql`'s
//! business. Where the rows are is `heap`'s.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::constraint::{Check, ForeignKey, Index, IndexState};
use super::embedded::Embedded;
use super::namespace::{Database, DatabaseId, Namespace, SearchPath};
use super::roles::Role;
use super::{FileNode, TableId};
use crate::types::{Datum, Type, UserType};

/// All databases with their schemas and relations.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// Equal versions mean equal catalogs, across clones and threads: plans are cached by it.
    version: u64,
    pub(super) databases: BTreeMap<Arc<str>, Arc<Database>>,
    pub(super) roles: Arc<BTreeMap<Arc<str>, Arc<Role>>>,
    /// A schema that the embedder answers for.
    embedded: Option<Arc<dyn Embedded>>,
}

impl Default for Catalog {
    /// What `initdb` makes: `postgres` and the two templates.
    fn default() -> Self {
        let mut databases = BTreeMap::new();
        for (id, name) in [(1, "template1"), (4, "template0"), (5, "postgres")] {
            let mut database = Database::new(DatabaseId(id), name, "postgres");
            database.is_template = id != 5;
            database.allows_connections = id != 4;
            databases.insert(database.name.clone(), Arc::new(database));
        }
        let first = Arc::new(Role::initial());
        Catalog {
            version: 0,
            roles: Arc::new(BTreeMap::from([(first.name.clone(), first)])),
            databases,
            embedded: None,
        }
    }
}

/// A table as `pg_class` and `pg_attribute` know it.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its OID.
    pub id: TableId,
    /// Its database.
    pub database: DatabaseId,
    /// Its schema.
    pub schema: Arc<str>,
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
    /// What its rows refer to, in the order of the constraints' creation.
    pub foreign_keys: Vec<Arc<ForeignKey>>,
    /// The foreign keys, its own ones too, that refer to its rows, in the order of their creation.
    pub referenced_by: Vec<Arc<ForeignKey>>,
    /// UNLOGGED: fast, and empty after a crash.
    pub unlogged: bool,
    /// What making an index has found: how many pages, and how many rows (`index_update_stats`). The
    /// planner knows no more of a table.
    pub measured: Option<(u32, u32)>,
}

/// A row longer than this does not stay in its page as it is.
const TOAST_TUPLE_THRESHOLD: usize = 2032;

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
    /// ALTER TABLE … DROP COLUMN: it keeps its place and is NULL in new rows, and nobody sees it.
    pub dropped: bool,
}

/// Whether an identity column takes values from users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Only with OVERRIDING SYSTEM VALUE.
    Always,
    /// Like any default.
    ByDefault,
}

/// A view: a name for a query.
#[derive(Clone, Debug)]
pub struct View {
    /// Its OID.
    pub id: TableId,
    /// Its database.
    pub database: DatabaseId,
    /// Its schema.
    pub schema: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The columns of its result.
    pub columns: Vec<Column>,
    /// The SQL text of its query,
    pub query: Arc<str>,
    /// and where the names in it are looked up.
    pub path: SearchPath,
    /// The relations it reads, which cannot go without it.
    pub reads: Vec<TableId>,
}

/// A sequence's definition; its state is in the engine, outside of transactions.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// Its OID.
    pub id: TableId,
    /// Its database.
    pub database: DatabaseId,
    /// Its schema.
    pub schema: Arc<str>,
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
    /// UNLOGGED: as new after a crash.
    pub unlogged: bool,
    /// The column it goes away with.
    pub owner: Option<(TableId, usize)>,
}

impl Sequence {
    /// The sequence behind a serial column of this type, with PostgreSQL's limits, in `public` of
    /// `postgres`. The engine gives it its id and node when it creates it.
    pub fn serial(name: impl Into<Arc<str>>, ty: Type) -> Self {
        let max = match ty {
            Type::Int2 => i16::MAX.into(),
            Type::Int4 => i32::MAX.into(),
            _ => i64::MAX,
        };
        Sequence {
            id: TableId(0),
            database: DatabaseId::POSTGRES,
            schema: "public".into(),
            name: name.into(),
            node: FileNode(0),
            ty,
            start: 1,
            increment: 1,
            min: 1,
            max,
            cycle: false,
            unlogged: false,
            owner: None,
        }
    }
}

impl Table {
    /// Whether rows may be too long for a page, so that long values are kept elsewhere, under an
    /// index (`heapam_relation_needs_toast_table`).
    pub(super) fn has_toast(&self) -> bool {
        let varying = self.columns.iter().filter(|column| column.ty.len() < 0);
        let bytes_max = varying.map(|column| match column.typmod {
            -1 => None,
            length => usize::try_from(length).ok()?.checked_mul(4),
        });
        bytes_max
            .sum::<Option<usize>>()
            .is_none_or(|sum| sum > TOAST_TUPLE_THRESHOLD)
    }

    /// A table of that name without columns, in `public` of `postgres`. The engine gives it its id
    /// and node when it creates it.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Table {
            id: TableId(0),
            database: DatabaseId::POSTGRES,
            schema: "public".into(),
            name: name.into(),
            node: FileNode(0),
            columns: Vec::new(),
            indexes: Vec::new(),
            checks: Vec::new(),
            foreign_keys: Vec::new(),
            referenced_by: Vec::new(),
            unlogged: false,
            measured: None,
        }
    }

    /// The position of a column.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| &*column.name == name)
    }

    /// Whether changing its rows may concern other tables' rows.
    pub(super) fn has_triggers(&self) -> bool {
        !self.foreign_keys.is_empty() || !self.referenced_by.is_empty()
    }

    /// The unique indexes that writers enter their rows in, with their slots in the heap.
    pub fn unique_indexes(&self) -> impl Iterator<Item = (usize, &Arc<Index>)> {
        let unique = self.indexes.iter().filter(|index| index.unique);
        let ready = unique.filter(|index| index.state != IndexState::Building);
        ready.map(|index| (index.slot, index))
    }

    /// Those that can be relied on.
    pub fn valid_unique_indexes(&self) -> impl Iterator<Item = (usize, &Arc<Index>)> {
        let unique = self.unique_indexes();
        unique.filter(|(_, index)| index.state == IndexState::Valid)
    }

    /// Whether an update from one row to the other needs new entries in the indexes, which it then
    /// makes in all of them (no HOT update).
    pub fn indexes_differ(&self, old: &[Datum], new: &[Datum]) -> bool {
        self.indexes.iter().any(|index| {
            index
                .columns
                .iter()
                .any(|&column| old[column] != new[column])
        })
    }

    /// Whether an update from one row to the other changes a key that others may refer to: then it
    /// locks the row FOR UPDATE, else FOR NO KEY UPDATE (`HeapDetermineColumnsInfo`).
    pub fn changes_key(&self, old: &[Datum], new: &[Datum]) -> bool {
        self.unique_indexes().any(|(_, index)| {
            let mut columns = index.columns.iter();
            index.computed.is_none() && columns.any(|&column| old[column] != new[column])
        })
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
    /// CREATE INDEX: two of them may be under way at once on one table. Also over one of the same id.
    AddIndex(TableId, Arc<Index>, Option<(u32, u32)>),
    /// DROP INDEX CONCURRENTLY.
    DropIndex(TableId, TableId),
    /// ALTER INDEX … RENAME, which locks the index alone: whatever else is under way with its table,
    /// the name stays this one.
    RenameIndex(TableId, TableId, Arc<str>),
    /// A foreign key, noted in both tables.
    AddForeignKey(Arc<ForeignKey>),
    /// VALIDATE CONSTRAINT, or a change of its deferral: the one of the same table and name, changed.
    ReplaceForeignKey(Arc<ForeignKey>),
    /// A foreign key that goes, from both tables.
    DropForeignKey(Arc<ForeignKey>),
    /// CREATE SEQUENCE.
    CreateSequence(Arc<Sequence>),
    /// ALTER SEQUENCE: the sequence of the same id, changed.
    ReplaceSequence(Arc<Sequence>),
    /// DROP SEQUENCE, or with the column that owned it.
    DropSequence(Arc<Sequence>),
    /// CREATE VIEW, also over one of the same id.
    CreateView(Arc<View>),
    /// DROP VIEW.
    DropView(Arc<View>),
    /// CREATE TYPE, also over one of the same OID, whose columns then have this one.
    PutType(DatabaseId, Arc<str>, &'static UserType),
    /// DROP TYPE, by OID.
    DropType(DatabaseId, u32),
    /// CREATE SCHEMA, also over one of the same OID.
    CreateSchema(DatabaseId, Arc<Namespace>),
    /// DROP SCHEMA, by OID.
    DropSchema(DatabaseId, u32),
    /// CREATE DATABASE, also over one of the same OID.
    CreateDatabase(Arc<Database>),
    /// DROP DATABASE.
    DropDatabase(DatabaseId),
    /// CREATE ROLE, also over one of the same OID.
    PutRole(Arc<Role>),
    /// DROP ROLE, by OID.
    DropRole(u32),
}

/// A relation found by name.
#[derive(Clone, Debug)]
pub enum Relation {
    /// A table.
    Table(Arc<Table>),
    /// A sequence.
    Sequence(Arc<Sequence>),
    /// A view.
    View(Arc<View>),
    /// An index, and the table it is on.
    Index(Arc<Table>, Arc<Index>),
}

impl Relation {
    /// Its OID.
    pub fn id(&self) -> TableId {
        match self {
            Relation::Table(table) => table.id,
            Relation::Sequence(sequence) => sequence.id,
            Relation::View(view) => view.id,
            Relation::Index(_, index) => index.id,
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Relation::Table(table) => &table.name,
            Relation::Sequence(sequence) => &sequence.name,
            Relation::View(view) => &view.name,
            Relation::Index(_, index) => &index.name,
        }
    }

    /// Its schema.
    pub fn schema(&self) -> &Arc<str> {
        match self {
            Relation::Table(table) | Relation::Index(table, _) => &table.schema,
            Relation::Sequence(sequence) => &sequence.schema,
            Relation::View(view) => &view.schema,
        }
    }
}

impl Catalog {
    /// See the field.
    pub fn version(&self) -> u64 {
        self.version
    }

    fn all_namespaces(&self) -> impl Iterator<Item = &Arc<Namespace>> {
        self.databases
            .values()
            .flat_map(|database| database.namespaces.values())
    }

    /// A table by OID.
    pub fn table_by_id(&self, id: TableId) -> Option<&Arc<Table>> {
        self.tables().find(|table| table.id == id)
    }

    /// A sequence by OID.
    pub fn sequence_by_id(&self, id: TableId) -> Option<&Arc<Sequence>> {
        self.sequences().find(|sequence| sequence.id == id)
    }

    /// Any relation by OID.
    pub fn relation_by_id(&self, id: TableId) -> Option<Relation> {
        if let Some(table) = self.table_by_id(id) {
            return Some(Relation::Table(table.clone()));
        }
        if let Some(sequence) = self.sequence_by_id(id) {
            return Some(Relation::Sequence(sequence.clone()));
        }
        let mut views = self.all_namespaces().flat_map(|space| space.views.values());
        if let Some(view) = views.find(|view| view.id == id) {
            return Some(Relation::View(view.clone()));
        }
        self.tables().find_map(|table| {
            let index = table.indexes.iter().find(|index| index.id == id)?;
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

    /// The tables of all databases.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.all_namespaces()
            .flat_map(|space| space.tables.values())
    }

    /// The sequences of all databases.
    pub fn sequences(&self) -> impl Iterator<Item = &Arc<Sequence>> {
        self.all_namespaces()
            .flat_map(|space| space.sequences.values())
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

    fn database_mut(&mut self, id: DatabaseId) -> Option<&mut Database> {
        let mut databases = self.databases.values_mut();
        let found = databases.find(|database| database.id == id)?;
        Some(Arc::make_mut(found))
    }

    /// The schema that a change is about; it is missing only if it went in the same transaction.
    pub(super) fn namespace_mut(&mut self, id: DatabaseId, schema: &str) -> Option<&mut Namespace> {
        let found = self.database_mut(id)?.namespaces.get_mut(schema)?;
        Some(Arc::make_mut(found))
    }

    fn apply(&mut self, change: &CatalogChange) {
        match change {
            CatalogChange::CreateTable(table) => self.put_table(table),
            CatalogChange::ReplaceTable(table) => {
                let table = self.with_names_of_indexes(table);
                self.remove_table(&table);
                self.put_table(&table);
            }
            CatalogChange::DropTable(table) => self.remove_table(table),
            CatalogChange::AddIndex(id, index, measured) => {
                self.change_table(*id, |table| {
                    match table.indexes.iter_mut().find(|old| old.id == index.id) {
                        Some(old) => *old = index.clone(),
                        None => table.indexes.push(index.clone()),
                    }
                    table.measured = measured.or(table.measured);
                });
            }
            CatalogChange::DropIndex(table, index) => {
                self.change_table(*table, |table| {
                    table.indexes.retain(|other| other.id != *index);
                });
            }
            CatalogChange::RenameIndex(table, index, name) => {
                self.rename_index(*table, *index, name);
            }
            CatalogChange::AddForeignKey(key) => self.add_foreign_key(key),
            CatalogChange::ReplaceForeignKey(key) => self.replace_foreign_key(key),
            CatalogChange::DropForeignKey(key) => self.drop_foreign_key(key),
            CatalogChange::CreateSequence(sequence) => self.put_sequence(sequence),
            CatalogChange::ReplaceSequence(sequence) => {
                self.remove_sequence(sequence);
                self.put_sequence(sequence);
            }
            CatalogChange::DropSequence(sequence) => self.remove_sequence(sequence),
            CatalogChange::CreateView(view) => {
                self.remove_view(view);
                if let Some(space) = self.namespace_mut(view.database, &view.schema) {
                    space.views.insert(view.name.clone(), view.clone());
                }
            }
            CatalogChange::DropView(view) => self.remove_view(view),
            CatalogChange::PutType(id, schema, ty) => self.put_type(*id, schema, ty),
            CatalogChange::DropType(id, oid) => self.remove_type(*id, *oid),
            CatalogChange::CreateSchema(id, space) => {
                if let Some(database) = self.database_mut(*id) {
                    database.namespaces.retain(|_, other| other.id != space.id);
                    database
                        .namespaces
                        .insert(space.name.clone(), space.clone());
                }
            }
            CatalogChange::DropSchema(id, oid) => {
                if let Some(database) = self.database_mut(*id) {
                    database.namespaces.retain(|_, space| space.id != *oid);
                }
            }
            CatalogChange::PutRole(role) => self.put_role(role),
            CatalogChange::DropRole(id) => self.remove_role(*id),
            CatalogChange::CreateDatabase(database) => {
                self.databases.retain(|_, other| other.id != database.id);
                self.databases
                    .insert(database.name.clone(), database.clone());
            }
            CatalogChange::DropDatabase(id) => {
                self.databases.retain(|_, database| database.id != *id);
            }
        }
    }

    pub(super) fn put_table(&mut self, table: &Arc<Table>) {
        if let Some(space) = self.namespace_mut(table.database, &table.schema) {
            space.tables.insert(table.name.clone(), table.clone());
        }
    }

    fn put_sequence(&mut self, sequence: &Arc<Sequence>) {
        if let Some(space) = self.namespace_mut(sequence.database, &sequence.schema) {
            let name = sequence.name.clone();
            space.sequences.insert(name, sequence.clone());
        }
    }

    /// Removes what has this id, under whatever name and schema.
    fn remove_table(&mut self, table: &Table) {
        let old = self.table_by_id(table.id).cloned();
        if let Some(old) = old
            && let Some(space) = self.namespace_mut(old.database, &old.schema)
        {
            space.tables.remove(&old.name);
        }
    }

    fn remove_sequence(&mut self, sequence: &Sequence) {
        let old = self.sequence_by_id(sequence.id).cloned();
        if let Some(old) = old
            && let Some(space) = self.namespace_mut(old.database, &old.schema)
        {
            space.sequences.remove(&old.name);
        }
    }

    fn remove_view(&mut self, view: &View) {
        if let Some(Relation::View(old)) = self.relation_by_id(view.id)
            && let Some(space) = self.namespace_mut(old.database, &old.schema)
        {
            space.views.remove(&old.name);
        }
    }
}

/// Unique in the process, so that plans can be shared between engines. Which numbers come out
/// depends on the order of threads, and nothing may depend on them but equality.
fn next_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
