//! Making foreign keys, SET CONSTRAINTS, LOCK TABLE.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ddl::{Names, find};
use super::foreign_key;
use crate::engine::{
    Deferral, Exec, ForeignKey, Halt, Index, LockMode, Reaction, Relation, Table, TableId,
};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{self, ConstraintKind, ConstraintTiming, Name, TableConstraint};
use crate::sql::face::{self, Context};

impl From<ConstraintTiming> for Deferral {
    fn from(timing: ConstraintTiming) -> Self {
        match (timing.deferrable, timing.deferred) {
            (false, _) => Deferral::Never,
            (true, false) => Deferral::Immediate,
            (true, true) => Deferral::Deferred,
        }
    }
}

/// Locks what the foreign keys of a table that is to be made refer to.
pub(super) fn lock_referenced(
    constraints: &[TableConstraint],
    own: &Name,
    exec: &mut Exec<'_>,
) -> Result<(), Halt> {
    for constraint in constraints {
        if let ConstraintKind::ForeignKey(key) = &constraint.kind
            && key.table.name.last() != Some(own)
            && let Some(Relation::Table(table)) = find(exec, &key.table)?
        {
            exec.lock_table(&table, LockMode::ShareRowExclusive, false)?;
        }
    }
    Ok(())
}

/// Adds a foreign key to a table, and checks the rows that are there unless it is NOT VALID.
/// The table is locked ShareRowExclusive or more strongly (`ATAddForeignKeyConstraint`).
pub(super) fn add_foreign_key(
    constraint: &TableConstraint,
    definition: &ast::ForeignKey,
    table: TableId,
    context: &mut Context<'_>,
) -> Result<(), Halt> {
    let exec = &mut context.exec;
    let found = exec.catalog().table_by_id(table).cloned();
    let child = found.ok_or_else(|| PgError::undefined_table(""))?;
    let parent = match find(exec, &definition.table)? {
        Some(Relation::Table(parent)) => parent,
        Some(_) => {
            let name = definition.table.name.join(".");
            let message = format!("referenced relation \"{name}\" is not a table");
            return Err(PgError::new(SqlState::WRONG_OBJECT_TYPE, message).into());
        }
        None => return Err(PgError::undefined_table(&definition.table.name.join(".")).into()),
    };
    exec.lock_table(&parent, LockMode::ShareRowExclusive, false)?;
    if parent.unlogged && !child.unlogged {
        let message = "constraints on permanent tables may reference only permanent tables";
        return Err(PgError::new(SqlState::INVALID_TABLE_DEFINITION, message).into());
    }
    let columns = places(&child, &definition.columns)?;
    let (keys, index) = referenced(&parent, definition)?;
    if keys.len() != columns.len() {
        return Err(invalid(
            "number of referencing and referenced columns for foreign key disagree",
        )
        .into());
    }
    let name = match &constraint.name {
        Some(name) => name.clone(),
        None => {
            let namespace = exec.catalog().namespace(child.database, &child.schema);
            let mut names = Names {
                namespace: namespace.cloned(),
                chosen: constraint_names(exec, &child),
            };
            names.choose(&child.name, &definition.columns.join("_"), "fkey")
        }
    };
    if is_constraint(&child, &name) {
        let message = format!(
            "constraint \"{name}\" for relation \"{}\" already exists",
            child.name
        );
        return Err(PgError::new(SqlState::DUPLICATE_OBJECT, message).into());
    }
    let key = ForeignKey {
        id: TableId(0),
        name,
        table: child.id,
        referenced: parent.id,
        index: index.name.clone(),
        full: definition.full,
        on_delete: reaction(&definition.on_delete, &child, &columns)?,
        on_update: reaction(&definition.on_update, &child, &columns)?,
        deferral: constraint.timing.into(),
        validated: !constraint.timing.not_valid,
        columns,
        keys,
    };
    check_types(&key, &child, &parent, context)?;
    let key = context.exec.add_foreign_key(key)?;
    if key.validated {
        foreign_key::check_all(&key, &child, &parent, context)?;
    }
    Ok(())
}

/// The names that foreign keys of the same schema have already.
fn constraint_names(exec: &Exec<'_>, table: &Table) -> BTreeSet<Name> {
    let tables = exec.catalog().tables();
    let same =
        tables.filter(|other| (other.database, &other.schema) == (table.database, &table.schema));
    let names = same.flat_map(|other| {
        let keys = other.foreign_keys.iter().map(|key| key.name.clone());
        keys.chain(other.checks.iter().map(|check| check.name.clone()))
    });
    names.collect()
}

fn is_constraint(table: &Table, name: &str) -> bool {
    table.foreign_keys.iter().any(|key| &*key.name == name)
        || table.checks.iter().any(|check| &*check.name == name)
        || table
            .indexes
            .iter()
            .any(|index| index.constraint && &*index.name == name)
}

/// Which columns are meant.
fn places(table: &Table, names: &[Name]) -> Result<Vec<usize>, PgError> {
    let place = |name: &Name| {
        table.column(name).ok_or_else(|| {
            let message =
                format!("column \"{name}\" referenced in foreign key constraint does not exist");
            PgError::new(SqlState::UNDEFINED_COLUMN, message)
        })
    };
    names.iter().map(place).collect()
}

/// The key that is referred to, and its index (`transformFkeyGetPrimaryKey`,
/// `transformFkeyCheckAttrs`).
fn referenced<'t>(
    parent: &'t Table,
    definition: &ast::ForeignKey,
) -> Result<(Vec<usize>, &'t Arc<Index>), PgError> {
    let deferrable = |index: &Index, which: &str| match index.deferral {
        Deferral::Never => Ok(()),
        _ => Err(PgError::new(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!(
                "cannot use a deferrable {which} for referenced table \"{}\"",
                parent.name
            ),
        )),
    };
    if definition.keys.is_empty() {
        let primary = parent.indexes.iter().find(|index| index.primary);
        let Some(index) = primary else {
            let message = format!(
                "there is no primary key for referenced table \"{}\"",
                parent.name
            );
            return Err(PgError::new(SqlState::UNDEFINED_OBJECT, message));
        };
        deferrable(index, "primary key")?;
        return Ok((index.columns.clone(), index));
    }
    let keys = places(parent, &definition.keys)?;
    let mut wanted = keys.clone();
    wanted.sort_unstable();
    wanted.dedup();
    if wanted.len() < keys.len() {
        let message = "foreign key referenced-columns list must not contain duplicates";
        return Err(invalid(message));
    }
    let mut only_deferrable = None;
    for (_, index) in parent.valid_unique_indexes() {
        let mut columns = index.columns.clone();
        columns.sort_unstable();
        if columns == wanted && index.computed.is_none() {
            match index.deferral {
                Deferral::Never => return Ok((keys, index)),
                _ => only_deferrable = Some(index),
            }
        }
    }
    if let Some(index) = only_deferrable {
        deferrable(index, "unique constraint")?;
    }
    Err(invalid(&format!(
        "there is no unique constraint matching given keys for referenced table \"{}\"",
        parent.name
    )))
}

fn invalid(message: &str) -> PgError {
    PgError::new(SqlState::INVALID_FOREIGN_KEY, message)
}

fn reaction(
    reaction: &ast::Reaction,
    table: &Table,
    columns: &[usize],
) -> Result<Reaction, PgError> {
    let listed = |names: &[Name]| -> Result<Vec<usize>, PgError> {
        if names.is_empty() {
            return Ok(columns.to_vec());
        }
        let listed = places(table, names)?;
        if let Some(place) = listed.iter().position(|column| !columns.contains(column)) {
            let name = &names[place];
            let message = format!(
                "column \"{name}\" referenced in ON DELETE SET action must be part of foreign key"
            );
            return Err(PgError::new(SqlState::INVALID_COLUMN_REFERENCE, message));
        }
        Ok(listed)
    };
    Ok(match reaction {
        ast::Reaction::NoAction => Reaction::NoAction,
        ast::Reaction::Restrict => Reaction::Restrict,
        ast::Reaction::Cascade => Reaction::Cascade,
        ast::Reaction::SetNull(names) => Reaction::SetNull(listed(names)?),
        ast::Reaction::SetDefault(names) => Reaction::SetDefault(listed(names)?),
    })
}

/// Each column must be comparable with the one it refers to.
fn check_types(
    key: &ForeignKey,
    child: &Table,
    parent: &Table,
    context: &Context<'_>,
) -> Result<(), PgError> {
    for (&column, &referenced) in key.columns.iter().zip(&key.keys) {
        let (column, referenced) = (&child.columns[column], &parent.columns[referenced]);
        if column.ty != referenced.ty
            && face::is_comparable(column.ty, referenced.ty, &context.exec).is_err()
        {
            let message = format!(
                "foreign key constraint \"{}\" cannot be implemented",
                key.name
            );
            let detail = format!(
                "Key columns \"{}\" and \"{}\" are of incompatible types: {} and {}.",
                column.name, referenced.name, column.ty, referenced.ty
            );
            return Err(PgError::new(SqlState::DATATYPE_MISMATCH, message).with_detail(detail));
        }
    }
    Ok(())
}

/// SET CONSTRAINTS (`AfterTriggerSetState`).
pub(super) fn set_constraints(
    names: Option<&[ast::QualifiedName]>,
    deferred: bool,
    context: &mut Context<'_>,
) -> Result<(), Halt> {
    let mut known = Vec::new();
    for name in names.unwrap_or_default() {
        known.push(constraint_to_set(name, &context.exec)?);
    }
    context
        .exec
        .set_constraints(names.map(|_| &known[..]), deferred);
    if !deferred {
        context.exec.queue_pending(false);
        foreign_key::fire_immediate(context)?;
    }
    Ok(())
}

fn constraint_to_set(name: &[Name], exec: &Exec<'_>) -> Result<Name, PgError> {
    let (schema, last) = match name {
        [name] => (None, name),
        [.., schema, name] => (Some(schema), name),
        [] => return Err(PgError::syntax_error_at_end()),
    };
    let path = exec.path();
    let tables = exec.catalog().tables().filter(|table| {
        table.database == path.database
            && match schema {
                Some(schema) => table.schema == *schema,
                None => path.searched().any(|schema| *schema == table.schema),
            }
    });
    let mut found = None;
    for table in tables {
        let keys = table
            .foreign_keys
            .iter()
            .map(|key| (&key.name, key.deferral));
        let indexes = table.indexes.iter().filter(|index| index.constraint);
        let indexes = indexes.map(|index| (&index.name, index.deferral));
        let checks = table
            .checks
            .iter()
            .map(|check| (&check.name, Deferral::Never));
        let mut all = keys.chain(indexes).chain(checks);
        if let Some((_, deferral)) = all.find(|(name, _)| *name == last) {
            found = Some(deferral);
            if deferral == Deferral::Never {
                let message = format!("constraint \"{last}\" is not deferrable");
                return Err(PgError::new(SqlState::WRONG_OBJECT_TYPE, message));
            }
        }
    }
    match found {
        Some(_) => Ok(last.clone()),
        None => {
            let message = format!("constraint \"{last}\" does not exist");
            Err(PgError::new(SqlState::UNDEFINED_OBJECT, message))
        }
    }
}

/// LOCK TABLE.
pub(super) fn lock(
    tables: &[ast::Relation],
    mode: LockMode,
    nowait: bool,
    context: &mut Context<'_>,
) -> Result<(), Halt> {
    let exec = &mut context.exec;
    for relation in tables {
        match find(exec, relation)? {
            Some(Relation::Table(table)) => exec.lock_table(&table, mode, nowait)?,
            Some(Relation::View(_)) => {
                return Err(PgError::feature_not_supported("LOCK TABLE of a view").into());
            }
            Some(_) => {
                let name = relation.name.last().map_or("", |name| name);
                let message = format!("\"{name}\" is not a table or view");
                return Err(PgError::new(SqlState::WRONG_OBJECT_TYPE, message).into());
            }
            None => return Err(PgError::undefined_table(&relation.name.join(".")).into()),
        }
    }
    Ok(())
}
