//! Databases, their schemas, and how a name finds what it stands for.
//!
//! A schema belongs to one database and names relations: tables, sequences, views and the indexes
//! of tables share one space. Databases have nothing in common but the server: xids, WAL and roles.
//! The schemas `pg_catalog` and `information_schema` are in every database and hold no relation of
//! the catalog's; their rows are computed by `sql`.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::catalog::{Catalog, Relation, Sequence, Table, View};
use crate::types::UserType;

/// A database's OID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DatabaseId(pub u32);

impl DatabaseId {
    /// `postgres`, which `initdb` makes.
    pub const POSTGRES: DatabaseId = DatabaseId(5);
}

/// A database as `pg_database` knows it.
#[derive(Clone, Debug)]
pub struct Database {
    /// Its OID.
    pub id: DatabaseId,
    /// Its name.
    pub name: Arc<str>,
    /// Its owner.
    pub owner: Arc<str>,
    /// Whether anybody may connect to it: nobody may to `template0`.
    pub allows_connections: bool,
    /// Whether anybody may copy it.
    pub is_template: bool,
    /// Its schemas by name.
    pub namespaces: BTreeMap<Arc<str>, Arc<Namespace>>,
}

/// A schema as `pg_namespace` knows it, and what it names.
#[derive(Clone, Debug, Default)]
pub struct Namespace {
    /// Its OID.
    pub id: u32,
    /// Its name.
    pub name: Arc<str>,
    /// Its owner.
    pub owner: Arc<str>,
    pub(super) tables: BTreeMap<Arc<str>, Arc<Table>>,
    pub(super) sequences: BTreeMap<Arc<str>, Arc<Sequence>>,
    pub(super) views: BTreeMap<Arc<str>, Arc<View>>,
    pub(super) types: BTreeMap<Arc<str>, &'static UserType>,
}

/// The OID of the schema `public` in every database.
pub const PUBLIC_NAMESPACE: u32 = 2200;

impl Database {
    /// A database with nothing but the schema `public`.
    pub fn new(id: DatabaseId, name: impl Into<Arc<str>>, owner: impl Into<Arc<str>>) -> Self {
        let public = Namespace::new(PUBLIC_NAMESPACE, "public", "pg_database_owner");
        Database {
            id,
            name: name.into(),
            owner: owner.into(),
            allows_connections: true,
            is_template: false,
            namespaces: BTreeMap::from([(public.name.clone(), Arc::new(public))]),
        }
    }
}

impl Namespace {
    /// A schema with nothing in it.
    pub fn new(id: u32, name: impl Into<Arc<str>>, owner: impl Into<Arc<str>>) -> Self {
        Namespace {
            id,
            name: name.into(),
            owner: owner.into(),
            ..Namespace::default()
        }
    }

    /// A type that somebody made here.
    pub fn user_type(&self, name: &str) -> Option<&'static UserType> {
        self.types.get(name).copied()
    }

    /// Tables by name, in order.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.values()
    }

    /// Sequences by name, in order.
    pub fn sequences(&self) -> impl Iterator<Item = &Arc<Sequence>> {
        self.sequences.values()
    }

    /// Views by name, in order.
    pub fn views(&self) -> impl Iterator<Item = &Arc<View>> {
        self.views.values()
    }

    /// Anything by name.
    pub fn relation(&self, name: &str) -> Option<Relation> {
        if let Some(table) = self.tables.get(name) {
            return Some(Relation::Table(table.clone()));
        }
        if let Some(sequence) = self.sequences.get(name) {
            return Some(Relation::Sequence(sequence.clone()));
        }
        if let Some(view) = self.views.get(name) {
            return Some(Relation::View(view.clone()));
        }
        self.tables.values().find_map(|table| {
            let index = table.indexes.iter().find(|index| &*index.name == name)?;
            Some(Relation::Index(table.clone(), index.clone()))
        })
    }

    /// The names of all relations.
    pub fn relation_names(&self) -> impl Iterator<Item = &Arc<str>> {
        let tables = self.tables.values();
        let indexes = tables.flat_map(|table| table.indexes.iter().map(|index| &index.name));
        let others = self.sequences.keys().chain(self.views.keys());
        self.tables.keys().chain(indexes).chain(others)
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.sequences.is_empty() && self.views.is_empty()
    }
}

/// Where a session looks for names without a schema: `search_path`, as far as it is about the
/// session. Which of the schemas exist is asked at each look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchPath {
    /// The session's database.
    pub database: DatabaseId,
    /// The schemas in the order of the setting, `"$user"` replaced by the user's name.
    pub schemas: Vec<Arc<str>>,
    /// The session's own schema of temporary tables, which is searched first.
    pub temporary: Option<Arc<str>>,
}

impl SearchPath {
    /// `public` of the database `postgres`: what a transaction that no session began looks through.
    pub fn standard() -> &'static SearchPath {
        static STANDARD: LazyLock<SearchPath> = LazyLock::new(|| SearchPath {
            database: DatabaseId::POSTGRES,
            schemas: vec!["public".into()],
            temporary: None,
        });
        &STANDARD
    }

    /// The schemas that are searched, in order, whether they exist or not, but for `pg_catalog`.
    pub fn searched(&self) -> impl Iterator<Item = &Arc<str>> {
        let temporary = self.temporary.as_ref();
        let listed = self.schemas.iter();
        temporary
            .into_iter()
            .chain(listed.filter(|schema| &***schema != "pg_catalog"))
    }

    /// The name of a schema that may be written as `pg_temp`.
    pub fn schema<'a>(&'a self, name: &'a str) -> &'a str {
        match (name, &self.temporary) {
            ("pg_temp", Some(own)) => own,
            _ => name,
        }
    }
}

impl Catalog {
    /// The databases by name.
    pub fn databases(&self) -> impl Iterator<Item = &Arc<Database>> {
        self.databases.values()
    }

    /// A database by name.
    pub fn database(&self, name: &str) -> Option<&Arc<Database>> {
        self.databases.get(name)
    }

    /// A database by OID.
    pub fn database_by_id(&self, id: DatabaseId) -> Option<&Arc<Database>> {
        self.databases.values().find(|database| database.id == id)
    }

    /// The schemas of a database by name, without `pg_catalog` and `information_schema`.
    pub fn namespaces(&self, database: DatabaseId) -> impl Iterator<Item = &Arc<Namespace>> {
        let database = self.database_by_id(database);
        database
            .into_iter()
            .flat_map(|database| database.namespaces.values())
    }

    /// A schema of a database.
    pub fn namespace(&self, database: DatabaseId, name: &str) -> Option<&Arc<Namespace>> {
        self.database_by_id(database)?.namespaces.get(name)
    }

    /// What a name stands for, looked up in one schema or along the path.
    pub fn relation(
        &self,
        path: &SearchPath,
        schema: Option<&str>,
        name: &str,
    ) -> Option<Relation> {
        let database = self.database_by_id(path.database)?;
        match schema {
            Some(schema) => database.namespaces.get(path.schema(schema))?.relation(name),
            None => path
                .searched()
                .find_map(|schema| database.namespaces.get(schema)?.relation(name)),
        }
    }

    /// A table by its name without a schema.
    pub fn table(&self, path: &SearchPath, name: &str) -> Option<Arc<Table>> {
        match self.relation(path, None, name)? {
            Relation::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Where what is created without a schema goes: the first schema of the path that exists.
    pub fn creation_namespace(&self, path: &SearchPath) -> Option<&Arc<Namespace>> {
        let database = self.database_by_id(path.database)?;
        let mut schemas = path.schemas.iter();
        schemas.find_map(|schema| database.namespaces.get(path.schema(schema)))
    }

    /// Whether a relation is what its bare name stands for (`RelationIsVisible`).
    pub fn is_visible(&self, path: &SearchPath, schema: &str, name: &str) -> bool {
        let Some(database) = self.database_by_id(path.database) else {
            return false;
        };
        let mut searched = path.searched();
        let first = searched.find(|schema| {
            let namespace = database.namespaces.get(&***schema);
            namespace.is_some_and(|namespace| namespace.relation(name).is_some())
        });
        first.is_some_and(|first| &**first == schema)
    }
}
