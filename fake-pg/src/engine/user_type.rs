//! Types that people made: where they are, by name and by OID.
//!
//! A definition never changes; ALTER TYPE puts another with the same OID in its place, in the schema
//! and in the columns that have it.

use std::sync::Arc;

use super::catalog::{Catalog, CatalogChange, Table};
use super::namespace::{DatabaseId, SearchPath};
use super::xact::Transaction;
use crate::types::{Type, UserType};

impl Transaction {
    /// Its changes as others are to see them: labels that it has added may be used.
    pub(super) fn final_ddl(&self) -> Vec<CatalogChange> {
        let mut changes = self.ddl.clone();
        let mut settled = Vec::new();
        for change in &self.ddl {
            let CatalogChange::PutType(database, ..) = change else {
                continue;
            };
            for (schema, ty) in self.catalog().user_types(*database) {
                if let Some(committed) = ty.committed()
                    && !settled.contains(&ty.oid)
                {
                    settled.push(ty.oid);
                    let schema = schema.clone();
                    changes.push(CatalogChange::PutType(*database, schema, committed));
                }
            }
        }
        changes
    }
}

impl Catalog {
    /// A type by name, looked up in one schema or along the path; also `_name`, the array over it.
    pub fn user_type(&self, path: &SearchPath, schema: Option<&str>, name: &str) -> Option<Type> {
        let find = |schema: &str| {
            let types = &self.namespace(path.database, schema)?.types;
            if let Some(found) = types.get(name) {
                return Some(Type::User(found));
            }
            let element = types.get(name.strip_prefix('_')?)?;
            Type::User(element).array()
        };
        match schema {
            Some(schema) => find(path.schema(schema)),
            None => path.searched().find_map(|schema| find(schema)),
        }
    }

    /// A type of that OID, or the array over one.
    pub fn user_type_by_oid(&self, database: DatabaseId, oid: u32) -> Option<Type> {
        self.user_types(database).find_map(|(_, ty)| match ty {
            _ if ty.oid == oid => Some(Type::User(ty)),
            _ if ty.array_oid == oid => Type::User(ty).array(),
            _ => None,
        })
    }

    /// All types that people made in a database, with their schemas.
    pub fn user_types(
        &self,
        database: DatabaseId,
    ) -> impl Iterator<Item = (&Arc<str>, &'static UserType)> {
        let spaces = self
            .database_by_id(database)
            .into_iter()
            .flat_map(|database| database.namespaces.values());
        spaces.flat_map(|space| space.types.values().map(|ty| (&space.name, *ty)))
    }

    /// Puts a definition in the place of the one with its OID, if there is one.
    pub(super) fn put_type(&mut self, database: DatabaseId, schema: &str, ty: &'static UserType) {
        self.remove_type(database, ty.oid);
        if let Some(space) = self.namespace_mut(database, schema) {
            space.types.insert(ty.name.as_str().into(), ty);
        }
        let new = Type::User(ty);
        let uses = |table: &Table| {
            table.database == database
                && table
                    .columns
                    .iter()
                    .any(|column| [ty.oid, ty.array_oid].contains(&column.ty.oid()))
        };
        let tables: Vec<Arc<Table>> = self.tables().filter(|table| uses(table)).cloned().collect();
        for table in tables {
            let mut changed = Table::clone(&table);
            for column in &mut changed.columns {
                if column.ty.oid() == ty.oid {
                    column.ty = new;
                } else if column.ty.oid() == ty.array_oid {
                    column.ty = new.array().unwrap_or(column.ty);
                }
            }
            self.put_table(&Arc::new(changed));
        }
    }

    pub(super) fn remove_type(&mut self, database: DatabaseId, oid: u32) {
        let schema = self
            .user_types(database)
            .find(|(_, ty)| ty.oid == oid)
            .map(|(schema, _)| schema.clone());
        if let Some(schema) = schema
            && let Some(space) = self.namespace_mut(database, &schema)
        {
            space.types.retain(|_, ty| ty.oid != oid);
        }
    }
}
