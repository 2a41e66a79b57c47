//! CREATE VIEW and CREATE TABLE AS.

use std::sync::Arc;

use super::Run;
use super::ddl::{creation, is_taken, lock_schema, skip_existing};
use crate::engine::{CatalogChange, Column, Halt, LockMode, Relation, Table, TableId, View};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{CreateTableAs, CreateView, Name};
use crate::sql::face::{Column as Shown, Context};
use crate::sql::plan::Binder;

/// The columns of a query's result as those of a relation.
fn columns(shown: &[Shown], names: &[Name], what: &str) -> Result<Vec<Column>, PgError> {
    if names.len() > shown.len() {
        let message = match what {
            "view" => "CREATE VIEW specifies more column names than columns",
            _ => "too many column names were specified",
        };
        return Err(PgError::new(SqlState::SYNTAX_ERROR, message));
    }
    let mut columns: Vec<Column> = Vec::with_capacity(shown.len());
    for (place, column) in shown.iter().enumerate() {
        let name = names.get(place).unwrap_or(&column.name);
        if columns.iter().any(|other| other.name == *name) {
            return Err(PgError::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{name}\" specified more than once"),
            ));
        }
        columns.push(Column {
            name: name.clone(),
            ty: column.ty,
            typmod: column.typmod,
            not_null: false,
            default: None,
            identity: None,
            dropped: false,
        });
    }
    Ok(columns)
}

pub(super) fn create_view(create: &CreateView, context: &mut Context<'_>) -> Result<(), Halt> {
    let exec = &mut context.exec;
    let (catalog, path) = (exec.catalog().clone(), exec.path().clone());
    // The query is analysed first.
    let mut binder = Binder::new(&catalog, &path, Vec::new());
    let plan = binder.query(&create.query)?;
    let reads = binder.relations_read();
    for (relation, mode, _) in binder.named_locks() {
        exec.lock_relation(relation.id(), mode)?;
    }
    let columns = columns(&plan.columns, &create.columns, "view")?;
    let (schema, name) = creation(&catalog, &path, &create.view).map_err(PgError::nowhere)?;
    lock_schema(&schema, exec)?;
    let mut view = View {
        id: TableId(0),
        database: path.database,
        schema: schema.clone(),
        name: name.clone(),
        columns,
        query: create.text.clone(),
        path: path.clone(),
        reads,
    };
    let existing = catalog.relation(&path, Some(&*schema), name);
    match existing {
        Some(Relation::View(old)) if create.or_replace => {
            exec.lock_relation(old.id, LockMode::AccessExclusive)?;
            for (place, column) in old.columns.iter().enumerate() {
                let same = |new: &Column| (&new.name, new.ty) == (&column.name, column.ty);
                if !view.columns.get(place).is_some_and(same) {
                    return Err(not_alike(column, view.columns.get(place)).into());
                }
            }
            view.id = old.id;
        }
        Some(other) if create.or_replace => {
            let message = format!("\"{}\" is not a view", other.name());
            return Err(PgError::new(SqlState::WRONG_OBJECT_TYPE, message).into());
        }
        _ => {
            exec.reserve_row_name(path.database, &schema, name)?;
            view.id = TableId(exec.new_oid()?);
        }
    }
    exec.change_catalog(CatalogChange::CreateView(Arc::new(view)))
}

/// Gives the number of rows.
pub(super) fn create_table_as(
    create: &CreateTableAs,
    context: &mut Context<'_>,
) -> Result<Option<u64>, Halt> {
    let exec = &mut context.exec;
    let (catalog, path) = (exec.catalog().clone(), exec.path().clone());
    // The query is analysed first.
    let mut binder = Binder::new(&catalog, &path, Vec::new());
    let plan = binder.query(&create.query)?;
    let (schema, name) = creation(&catalog, &path, &create.table).map_err(PgError::nowhere)?;
    lock_schema(&schema, exec)?;
    let namespace = catalog.namespace(path.database, &schema).cloned();
    if create.if_not_exists && is_taken(&namespace, name) {
        skip_existing(exec, name);
        return Ok(None);
    }
    let columns = columns(&plan.columns, &create.columns, "table")?;
    for (relation, mode, _) in binder.locks() {
        exec.lock_relation(relation.id(), mode)?;
    }
    exec.reserve_row_name(path.database, &schema, name)?;
    let rows = match create.with_data {
        true => Run::planned(context, binder.slots()).query_rows(&plan)?,
        false => Vec::new(),
    };
    let mut table = Table::new(name.clone());
    (table.database, table.schema) = (path.database, schema);
    table.columns = columns;
    table.unlogged = create.unlogged;
    let table = context.exec.create_table(table)?;
    let count = rows.len() as u64;
    for row in rows {
        context.exec.insert(&table, row.into())?;
    }
    Ok(create.with_data.then_some(count))
}

/// Why a view's column cannot become another (`checkViewTupleDesc`).
fn not_alike(old: &Column, new: Option<&Column>) -> PgError {
    let (message, hint) = match new {
        None => ("cannot drop columns from view".to_string(), None),
        Some(new) if new.name != old.name => (
            format!(
                "cannot change name of view column \"{}\" to \"{}\"",
                old.name, new.name
            ),
            Some("Use ALTER VIEW ... RENAME COLUMN ... to change name of view column instead."),
        ),
        Some(new) => (
            format!(
                "cannot change data type of view column \"{}\" from {} to {}",
                old.name, old.ty, new.ty
            ),
            None,
        ),
    };
    let error = PgError::new(SqlState::INVALID_TABLE_DEFINITION, message);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}
