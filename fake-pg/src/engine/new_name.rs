//! Names that a transaction gives to something new: entries of the catalogs' unique indexes.
//!
//! A statement looks for a name in the catalog as it was when it began. If it is free there, the index
//! has the last word: while another transaction gives the same name, its end is waited for; if that
//! one commits, or has committed meanwhile, the name is a duplicate key, whatever IF NOT EXISTS says.
//! So who waited here does not look at the catalog afresh.
//!
//! Source: `_bt_check_unique`, `_bt_doinsert` on the indexes of `pg_class`, `pg_type`, `pg_namespace`
//! and `pg_authid`.

use std::sync::Arc;

use super::catalog::{Catalog, CatalogChange};
use super::exec::{Exec, Halt};
use super::mvcc::Running;
use super::{DatabaseId, Engine, Xid};
use crate::error::{PgError, SqlState};

/// The index that a name must be unique in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameIndex {
    /// Relations of a schema: `pg_class`.
    Relation,
    /// Types of a schema, and rows of its tables and views: `pg_type`.
    Type,
    /// Schemas of a database: `pg_namespace`.
    Schema,
    /// Roles: `pg_authid`.
    Role,
}

impl NameIndex {
    fn table(self) -> &'static str {
        match self {
            NameIndex::Relation => "pg_class",
            NameIndex::Type => "pg_type",
            NameIndex::Schema => "pg_namespace",
            NameIndex::Role => "pg_authid",
        }
    }

    fn index(self) -> &'static str {
        match self {
            NameIndex::Relation => "pg_class_relname_nsp_index",
            NameIndex::Type => "pg_type_typname_nsp_index",
            NameIndex::Schema => "pg_namespace_nspname_index",
            NameIndex::Role => "pg_authid_rolname_index",
        }
    }
}

/// A name, and where it must be unique.
#[derive(Clone, Copy, Debug)]
struct Place<'n> {
    index: NameIndex,
    database: DatabaseId,
    schema: &'n str,
    name: &'n str,
}

impl Place<'_> {
    fn is_taken(self, catalog: &Catalog) -> bool {
        let Place { database, name, .. } = self;
        let space = || catalog.namespace(database, self.schema);
        match self.index {
            NameIndex::Relation => space().is_some_and(|space| space.relation(name).is_some()),
            NameIndex::Type => space().is_some_and(|space| {
                let mut tables = space.tables().map(|table| &table.name);
                let mut views = space.views().map(|view| &view.name);
                space.user_type(name).is_some()
                    || tables.any(|other| **other == *name)
                    || views.any(|other| **other == *name)
            }),
            NameIndex::Schema => catalog.namespace(database, name).is_some(),
            NameIndex::Role => catalog.role(name).is_some(),
        }
    }

    fn violated(self, catalog: &Catalog) -> PgError {
        let Place { index, name, .. } = self;
        let space = catalog.namespace(self.database, self.schema);
        let space = space.map_or(0, |space| space.id);
        let key = match index {
            NameIndex::Relation => format!("(relname, relnamespace)=({name}, {space})"),
            NameIndex::Type => format!("(typname, typnamespace)=({name}, {space})"),
            NameIndex::Schema => format!("(nspname)=({name})"),
            NameIndex::Role => format!("(rolname)=({name})"),
        };
        PgError::unique_violation(index.table(), index.index(), &key).in_schema("pg_catalog")
    }
}

#[derive(Clone, Debug)]
struct NewName {
    index: NameIndex,
    database: DatabaseId,
    schema: Arc<str>,
    name: Arc<str>,
    xid: Xid,
}

impl NewName {
    fn is_at(&self, place: Place<'_>) -> bool {
        self.index == place.index
            && *self.name == *place.name
            && self.database == place.database
            && *self.schema == *place.schema
    }
}

/// The names that running transactions give. Those of others who have ended do not count.
#[derive(Clone, Debug, Default)]
pub(super) struct NewNames(Vec<NewName>);

impl NewNames {
    /// Enters a name, and forgets those of who has ended.
    fn enter(&mut self, place: Place<'_>, xid: Xid, running: &Running) {
        self.0.retain(|entry| running.contains_key(&entry.xid));
        self.0.push(NewName {
            index: place.index,
            database: place.database,
            schema: place.schema.into(),
            name: place.name.into(),
            xid,
        });
    }

    /// Enters again, after a crash, what a prepared transaction has made.
    pub(super) fn recover(
        &mut self,
        changes: &[CatalogChange],
        xid: Xid,
        (catalog, running): (&Catalog, &Running),
    ) {
        let mut enter = |index, database, schema: &str, name: &str| {
            let place = Place {
                index,
                database,
                schema,
                name,
            };
            self.enter(place, xid, running);
        };
        for change in changes {
            match change {
                CatalogChange::CreateTable(table) | CatalogChange::ReplaceTable(table) => {
                    let (database, schema) = (table.database, &*table.schema);
                    enter(NameIndex::Type, database, schema, &table.name);
                    enter(NameIndex::Relation, database, schema, &table.name);
                    for index in &table.indexes {
                        enter(NameIndex::Relation, database, schema, &index.name);
                    }
                }
                CatalogChange::CreateSequence(sequence)
                | CatalogChange::ReplaceSequence(sequence) => {
                    let (database, schema) = (sequence.database, &*sequence.schema);
                    enter(NameIndex::Relation, database, schema, &sequence.name);
                }
                CatalogChange::CreateView(view) => {
                    enter(NameIndex::Type, view.database, &view.schema, &view.name);
                    enter(NameIndex::Relation, view.database, &view.schema, &view.name);
                }
                CatalogChange::PutType(database, schema, ty) => {
                    enter(NameIndex::Type, *database, schema, &ty.name);
                }
                CatalogChange::CreateSchema(database, space) => {
                    enter(NameIndex::Schema, *database, "", &space.name);
                }
                CatalogChange::PutRole(role) => {
                    enter(NameIndex::Role, DatabaseId(0), "", &role.name);
                }
                CatalogChange::AddIndex(id, ..) | CatalogChange::RenameIndex(id, ..) => {
                    let name = match change {
                        CatalogChange::AddIndex(_, index, _) => &index.name,
                        CatalogChange::RenameIndex(.., name) => name,
                        _ => continue,
                    };
                    if let Some(table) = catalog.table_by_id(*id) {
                        let (database, schema) = (table.database, &*table.schema);
                        enter(NameIndex::Relation, database, schema, name);
                    }
                }
                _ => {}
            }
        }
    }
}

impl Exec<'_> {
    /// Takes the name of a relation without a row type: an index or a sequence.
    pub fn reserve_name(
        &mut self,
        database: DatabaseId,
        schema: &str,
        name: &str,
    ) -> Result<(), Halt> {
        self.refuse_relation(database, schema, name)?;
        self.reserve(NameIndex::Relation, database, schema, name)
    }

    /// Takes the name of a table or view, and of the type of its rows.
    pub fn reserve_row_name(
        &mut self,
        database: DatabaseId,
        schema: &str,
        name: &str,
    ) -> Result<(), Halt> {
        self.refuse_relation(database, schema, name)?;
        let space = self.catalog().namespace(database, schema);
        if !self.is_repeating() && space.is_some_and(|space| space.user_type(name).is_some()) {
            let message = format!("type \"{name}\" already exists");
            let error = PgError::new(SqlState::DUPLICATE_OBJECT, message);
            return Err(error
                .with_hint(
                    "A relation has an associated type of the same name, so you must use a name \
                     that doesn't conflict with any existing type.",
                )
                .into());
        }
        self.reserve(NameIndex::Type, database, schema, name)?;
        self.reserve(NameIndex::Relation, database, schema, name)
    }

    pub(super) fn refuse_relation(
        &self,
        database: DatabaseId,
        schema: &str,
        name: &str,
    ) -> Result<(), Halt> {
        let space = self.catalog().namespace(database, schema);
        // Executed again after a wait, the statement would meet what it has created.
        match space.is_some_and(|space| space.relation(name).is_some()) && !self.is_repeating() {
            true => Err(PgError::duplicate_relation(name).into()),
            false => Ok(()),
        }
    }

    /// Takes a name that the statement has found free, until the transaction ends.
    pub fn reserve(
        &mut self,
        index: NameIndex,
        database: DatabaseId,
        schema: &str,
        name: &str,
    ) -> Result<(), Halt> {
        if self.is_repeating() {
            return Ok(());
        }
        let place = Place {
            index,
            database,
            schema,
            name,
        };
        let xid = self.tx.xid(self.engine);
        let Engine { names, running, .. } = &*self.engine;
        let mut entries = names.0.iter().filter(|entry| entry.is_at(place));
        let mut own = false;
        let other = entries.find(|entry| {
            own |= self.tx.owns(entry.xid);
            running.contains_key(&entry.xid) && !self.tx.owns(entry.xid)
        });
        if let Some(other) = other.map(|entry| entry.xid) {
            let what = index.index();
            let reason = format!("inserting index tuple (0,1) in relation \"{what}\"");
            return Err(self.wait_for_end(other, &reason));
        }
        let fresh = self.tx.fresh_catalog(self.engine);
        if place.is_taken(&fresh) {
            return Err(place.violated(&fresh).into());
        }
        if !own {
            let Engine { names, running, .. } = &mut *self.engine;
            names.enter(place, xid, running);
        }
        Ok(())
    }

    /// The names in a schema that other transactions give to relations, or have given since the
    /// statement began: who chooses one itself avoids them (`ChooseRelationName`).
    pub fn names_under_way(&self, database: DatabaseId, schema: &str) -> Vec<Arc<str>> {
        let Engine { names, running, .. } = &*self.engine;
        let others = names.0.iter().filter(|entry| {
            entry.index == NameIndex::Relation
                && entry.database == database
                && *entry.schema == *schema
                && running.contains_key(&entry.xid)
                && !self.tx.owns(entry.xid)
        });
        let mut names: Vec<Arc<str>> = others.map(|entry| entry.name.clone()).collect();
        let fresh = self.tx.fresh_catalog(self.engine);
        if fresh.version() != self.catalog().version()
            && let Some(space) = fresh.namespace(database, schema)
        {
            names.extend(space.relation_names().cloned());
        }
        names
    }
}
