//! Relations under another name or in another schema.

use std::sync::Arc;

use super::column::next_value;
use crate::engine::{
    CatalogChange, Exec, Halt, LockMode, NameIndex, Relation, Sequence, Table, View,
};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{DropObject, Name};
use crate::sql::execute::ddl::lock_schema;
use crate::sql::execute::drop::draws_on;
use crate::sql::face::Context;

pub(super) fn rename(
    object: DropObject,
    found: &Relation,
    to: &Name,
    context: &mut Context<'_>,
) -> Result<(), Halt> {
    let exec = &mut context.exec;
    let wrong = |article: &str| {
        let message = format!("\"{}\" is not {article}", found.name());
        Err(PgError::new(SqlState::WRONG_OBJECT_TYPE, message).into())
    };
    match (object, found) {
        (DropObject::Index, Relation::Index(..) | Relation::Table(_)) => {}
        (DropObject::Index, _) => return wrong("an index"),
        (DropObject::View, other) if !matches!(other, Relation::View(_)) => return wrong("a view"),
        (DropObject::Sequence, other) if !matches!(other, Relation::Sequence(_)) => {
            return wrong("a sequence");
        }
        _ => {}
    }
    match found {
        Relation::Table(table) => {
            exec.lock_table(table, LockMode::AccessExclusive, false)?;
            exec.reserve_name(table.database, &table.schema, to)?;
            exec.reserve(NameIndex::Type, table.database, &table.schema, to)?;
            let table = Table {
                name: to.clone(),
                ..Table::clone(table)
            };
            exec.replace_table(table)
        }
        Relation::Index(table, index) => {
            // Only ALTER INDEX is content with less (`RenameRelation`).
            let mode = match object {
                DropObject::Index => LockMode::ShareUpdateExclusive,
                _ => LockMode::AccessExclusive,
            };
            exec.lock_relation(index.id, mode)?;
            exec.reserve_name(table.database, &table.schema, to)?;
            exec.change_catalog(CatalogChange::RenameIndex(table.id, index.id, to.clone()))
        }
        Relation::Sequence(sequence) => {
            exec.lock_relation(sequence.id, LockMode::AccessExclusive)?;
            exec.reserve_name(sequence.database, &sequence.schema, to)?;
            let renamed = Sequence {
                name: to.clone(),
                ..Sequence::clone(sequence)
            };
            change_sequence(sequence, renamed, exec)
        }
        Relation::View(view) => {
            exec.lock_relation(view.id, LockMode::AccessExclusive)?;
            exec.reserve_name(view.database, &view.schema, to)?;
            exec.reserve(NameIndex::Type, view.database, &view.schema, to)?;
            let view = View {
                name: to.clone(),
                ..View::clone(view)
            };
            exec.change_catalog(CatalogChange::CreateView(Arc::new(view)))
        }
    }
}

/// Gives a sequence another name or schema, and defaults that draw on it that name.
pub(super) fn change_sequence(
    old: &Sequence,
    new: Sequence,
    exec: &mut Exec<'_>,
) -> Result<(), Halt> {
    exec.lock_relation(old.id, LockMode::AccessExclusive)?;
    let catalog = exec.catalog().clone();
    let text = next_value(&new.schema, &new.name);
    let mut tables = Vec::new();
    for table in catalog
        .tables()
        .filter(|table| table.database == old.database)
    {
        let mut changed = Table::clone(table);
        let mut found = false;
        for column in &mut changed.columns {
            let draws = column.default.as_deref();
            if draws.is_some_and(|text| draws_on(&catalog, table, text, old)) {
                column.default = Some(text.clone());
                found = true;
            }
        }
        if found {
            tables.push(changed);
        }
    }
    for table in &tables {
        exec.lock_table(table, LockMode::AccessExclusive, false)?;
    }
    exec.change_catalog(CatalogChange::ReplaceSequence(Arc::new(new)))?;
    for table in tables {
        exec.replace_table(table)?;
    }
    Ok(())
}

pub(super) fn set_schema(
    found: &Relation,
    to: &Name,
    context: &mut Context<'_>,
) -> Result<(), Halt> {
    let exec = &mut context.exec;
    let database = exec.path().database;
    let Some(space) = exec.catalog().namespace(database, to).cloned() else {
        return Err(PgError::undefined_schema(to).into());
    };
    lock_schema(to, exec)?;
    if found.schema() == to {
        return Ok(());
    }
    if space.relation(found.name()).is_some() {
        let message = format!(
            "relation \"{}\" already exists in schema \"{to}\"",
            found.name()
        );
        return Err(PgError::new(SqlState::DUPLICATE_TABLE, message).into());
    }
    match found {
        Relation::Table(table) => {
            exec.lock_table(table, LockMode::AccessExclusive, false)?;
            exec.reserve_name(database, to, &table.name)?;
            exec.reserve(NameIndex::Type, database, to, &table.name)?;
            let moved = Table {
                schema: to.clone(),
                ..Table::clone(table)
            };
            exec.replace_table(moved)?;
            let owned = |sequence: &&Arc<Sequence>| {
                sequence.owner.is_some_and(|(owner, _)| owner == table.id)
            };
            let sequences: Vec<_> = exec.catalog().sequences().filter(owned).cloned().collect();
            for sequence in sequences {
                let moved = Sequence {
                    schema: to.clone(),
                    ..Sequence::clone(&sequence)
                };
                change_sequence(&sequence, moved, exec)?;
            }
            Ok(())
        }
        Relation::Sequence(sequence) => {
            if sequence.owner.is_some() {
                return Err(PgError::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    "cannot move an owned sequence into another schema",
                )
                .into());
            }
            let moved = Sequence {
                schema: to.clone(),
                ..Sequence::clone(sequence)
            };
            change_sequence(sequence, moved, exec)
        }
        Relation::View(view) => {
            exec.lock_relation(view.id, LockMode::AccessExclusive)?;
            let view = View {
                schema: to.clone(),
                ..View::clone(view)
            };
            exec.change_catalog(CatalogChange::CreateView(Arc::new(view)))
        }
        Relation::Index(..) => {
            Err(PgError::feature_not_supported("moving an index to another schema").into())
        }
    }
}
