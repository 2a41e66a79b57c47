//! CREATE SCHEMA and CREATE DATABASE, and what changes or ends them; DROP SCHEMA is `drop`'s.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::{
    CatalogChange, Database, DatabaseId, Halt, NameIndex, Namespace, Sequence, Table, View,
};
use crate::error::{PgError, SqlState};
use crate::sql::face::Context;

pub(super) fn create_schema(
    name: &str,
    if_not_exists: bool,
    context: &mut Context<'_>,
) -> Result<(), Halt> {
    let exec = &mut context.exec;
    let database = exec.path().database;
    refuse_reserved(name)?;
    let exists = matches!(name, "information_schema");
    if exists || exec.catalog().namespace(database, name).is_some() {
        let message = format!("schema \"{name}\" already exists");
        if if_not_exists {
            exec.notice(PgError::notice(
                SqlState::DUPLICATE_SCHEMA,
                format!("{message}, skipping"),
            ));
            return Ok(());
        }
        return Err(PgError::new(SqlState::DUPLICATE_SCHEMA, message).into());
    }
    exec.reserve(NameIndex::Schema, database, "", name)?;
    let space = Namespace::new(exec.new_oid()?, name, context.user);
    exec.change_catalog(CatalogChange::CreateSchema(database, Arc::new(space)))
}

fn refuse_reserved(name: &str) -> Result<(), PgError> {
    if !name.starts_with("pg_") {
        return Ok(());
    }
    Err(PgError::new(
        SqlState::RESERVED_NAME,
        format!("unacceptable schema name \"{name}\""),
    )
    .with_detail("The prefix \"pg_\" is reserved for system schemas."))
}

pub(super) fn rename_schema(from: &str, to: &str, context: &mut Context<'_>) -> Result<(), Halt> {
    let exec = &mut context.exec;
    let database = exec.path().database;
    let Some(space) = exec.catalog().namespace(database, from).cloned() else {
        return Err(PgError::undefined_schema(from).into());
    };
    if exec.catalog().namespace(database, to).is_some() {
        let message = format!("schema \"{to}\" already exists");
        return Err(PgError::new(SqlState::DUPLICATE_SCHEMA, message).into());
    }
    refuse_reserved(to)?;
    exec.reserve(NameIndex::Schema, database, "", to)?;
    let name: Arc<str> = to.into();
    let empty = Namespace::new(space.id, name.clone(), space.owner.clone());
    for table in space.tables() {
        exec.lock_table(table, crate::engine::LockMode::AccessExclusive, false)?;
    }
    exec.change_catalog(CatalogChange::CreateSchema(database, Arc::new(empty)))?;
    for table in space.tables() {
        let schema = name.clone();
        let table = Table {
            schema,
            ..Table::clone(table)
        };
        exec.replace_table(table)?;
    }
    for sequence in space.sequences() {
        let schema = name.clone();
        let sequence = Sequence {
            schema,
            ..Sequence::clone(sequence)
        };
        exec.change_catalog(CatalogChange::CreateSequence(Arc::new(sequence)))?;
    }
    for view in space.views() {
        let schema = name.clone();
        let view = View {
            schema,
            ..View::clone(view)
        };
        exec.change_catalog(CatalogChange::CreateView(Arc::new(view)))?;
    }
    Ok(())
}

pub(super) fn create_database(name: &str, context: &mut Context<'_>) -> Result<(), Halt> {
    let exec = &mut context.exec;
    if exec.catalog().database(name).is_some() {
        let message = format!("database \"{name}\" already exists");
        return Err(PgError::new(SqlState::DUPLICATE_DATABASE, message).into());
    }
    let template = exec.catalog().database("template1");
    let is_empty = |spaces: &BTreeMap<Arc<str>, Arc<Namespace>>| {
        spaces.len() == 1 && spaces.values().all(|space| space.is_empty())
    };
    if !template.is_some_and(|template| is_empty(&template.namespaces)) {
        return Err(PgError::feature_not_supported(
            "CREATE DATABASE from a template that is not empty",
        )
        .into());
    }
    let id = DatabaseId(exec.new_oid()?);
    let database = Database::new(id, name, context.user);
    exec.change_catalog(CatalogChange::CreateDatabase(Arc::new(database)))
}

pub(super) fn drop_database(
    name: &str,
    if_exists: bool,
    context: &mut Context<'_>,
) -> Result<(), Halt> {
    let exec = &mut context.exec;
    let Some(database) = exec.catalog().database(name).cloned() else {
        let message = format!("database \"{name}\" does not exist");
        if if_exists {
            exec.notice(PgError::notice(
                SqlState::SUCCESSFUL_COMPLETION,
                format!("{message}, skipping"),
            ));
            return Ok(());
        }
        return Err(PgError::new(SqlState::INVALID_CATALOG_NAME, message).into());
    };
    if database.id == exec.path().database {
        let message = "cannot drop the currently open database";
        return Err(PgError::new(SqlState::OBJECT_IN_USE, message).into());
    }
    if database.is_template {
        let message = "cannot drop a template database";
        return Err(PgError::new(SqlState::WRONG_OBJECT_TYPE, message).into());
    }
    let sessions = exec.engine.activity().values();
    let others = sessions.filter(|session| session.database == database.name);
    let others = others.count();
    if others > 0 {
        let message = format!("database \"{name}\" is being accessed by other users");
        let detail = match others {
            1 => "There is 1 other session using the database.".to_string(),
            more => format!("There are {more} other sessions using the database."),
        };
        return Err(PgError::new(SqlState::OBJECT_IN_USE, message)
            .with_detail(detail)
            .into());
    }
    exec.change_catalog(CatalogChange::DropDatabase(database.id))
}
