//! CREATE TYPE … AS ENUM, and what changes or ends one.
//!
//! A value of an enum carries its label: a label that rows may have cannot get another name here.
//! A label that ALTER TYPE has added is not to be used until that has committed.

use super::ddl::creation;
use crate::engine::{CatalogChange, DatabaseId, Halt, LockMode, NameIndex, ObjectClass};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{AlterEnum, Name, Place, Relation};
use crate::sql::face::Context;
use crate::sql::plan::split_name;
use crate::types::{Label, Type, UserKind, UserType};

fn undefined(name: &str) -> PgError {
    PgError::new(
        SqlState::UNDEFINED_OBJECT,
        format!("type \"{name}\" does not exist"),
    )
}

fn duplicate(name: &str) -> PgError {
    PgError::new(
        SqlState::DUPLICATE_OBJECT,
        format!("type \"{name}\" already exists"),
    )
}

fn check_label(label: &str) -> Result<(), PgError> {
    match label.len() {
        ..=63 => Ok(()),
        _ => Err(PgError::new(
            SqlState::INVALID_NAME,
            format!("invalid enum label \"{label}\""),
        )
        .with_detail("Labels must be 63 bytes or less.")),
    }
}

/// A type of that name in that schema, or a relation, whose row is a type.
fn is_taken(context: &Context<'_>, database: DatabaseId, schema: &str, name: &str) -> bool {
    let space = context.exec.catalog().namespace(database, schema);
    space.is_some_and(|space| space.user_type(name).is_some() || space.relation(name).is_some())
}

pub(super) fn create(
    name: &Relation,
    labels: &[Name],
    context: &mut Context<'_>,
) -> Result<(), Halt> {
    let database = context.exec.path().database;
    let (schema, bare) = {
        let found = creation(context.exec.catalog(), context.exec.path(), name);
        let (schema, bare) = found.map_err(PgError::nowhere)?;
        (schema, bare.clone())
    };
    if is_taken(context, database, &schema, &bare) {
        return Err(duplicate(&bare).into());
    }
    let exec = &mut context.exec;
    exec.reserve(NameIndex::Type, database, &schema, &bare)?;
    let oid = context.exec.new_oid()?;
    let array_oid = context.exec.new_oid()?;
    let mut kept: Vec<Label> = Vec::with_capacity(labels.len());
    for (place, label) in labels.iter().enumerate() {
        check_label(label)?;
        if kept.iter().any(|known| *known.text == **label) {
            return Err(PgError::new(
                SqlState::UNIQUE_VIOLATION,
                "duplicate key value violates unique constraint \"pg_enum_typid_label_index\"",
            )
            .with_detail(format!(
                "Key (enumtypid, enumlabel)=({oid}, {label}) already exists."
            ))
            .into());
        }
        kept.push(Label {
            oid: context.exec.new_oid()?,
            order: (place as f32 + 1.0).to_bits(),
            text: label.to_string(),
            uncommitted: false,
        });
    }
    let ty = UserType::intern(definition(oid, array_oid, &bare, kept));
    let change = CatalogChange::PutType(database, schema, ty);
    context.exec.change_catalog(change)
}

fn definition(oid: u32, array_oid: u32, name: &str, labels: Vec<Label>) -> UserType {
    UserType {
        oid,
        array_oid,
        name: name.to_string(),
        shown: crate::sql::quote::quote_name(name).to_string(),
        kind: UserKind::Enum(labels),
    }
}

/// The type a name stands for, and its schema.
fn find(name: &Relation, context: &Context<'_>) -> Result<Option<(Name, &'static UserType)>, Halt> {
    let (catalog, path) = (context.exec.catalog(), context.exec.path());
    let (schema, bare) = split_name(catalog, path, &name.name)?;
    let found = catalog.user_type(path, schema.map(|schema| &**schema), bare);
    let Some(Type::User(ty)) = found else {
        return Ok(None);
    };
    let mut all = catalog.user_types(path.database);
    Ok(all
        .find(|(_, known)| known.oid == ty.oid)
        .map(|(schema, known)| (schema.clone(), known)))
}

/// The columns that have a type, as messages name them.
fn users(ty: &UserType, context: &Context<'_>) -> Vec<String> {
    let database = context.exec.path().database;
    let (mut users, mut arrays) = (Vec::new(), Vec::new());
    for table in context.exec.catalog().tables() {
        if table.database != database {
            continue;
        }
        for column in &table.columns {
            if !column.dropped && [ty.oid, ty.array_oid].contains(&column.ty.oid()) {
                let (kind, list) = if column.ty.oid() == ty.oid {
                    (ty.shown.clone(), &mut users)
                } else {
                    (format!("{}[]", ty.shown), &mut arrays)
                };
                list.push(format!(
                    "column {} of table {} depends on type {kind}",
                    column.name, table.name
                ));
            }
        }
    }
    arrays.append(&mut users);
    arrays
}

pub(super) fn alter(
    name: &Relation,
    change: &AlterEnum,
    context: &mut Context<'_>,
) -> Result<(), Halt> {
    let database = context.exec.path().database;
    let Some((schema, ty)) = find(name, context)? else {
        return Err(undefined(&name.name.join(".")).into());
    };
    let UserKind::Enum(labels) = &ty.kind else {
        return Err(PgError::new(
            SqlState::WRONG_OBJECT_TYPE,
            format!("\"{}\" is not an enum", ty.name),
        )
        .into());
    };
    if !matches!(change, AlterEnum::RenameType(_)) {
        let exec = &mut context.exec;
        exec.lock_object(database, ObjectClass::Type, ty.oid, LockMode::Exclusive)?;
    }
    let mut labels = labels.clone();
    let mut new_name = ty.name.clone();
    let at = |label: &str| labels.iter().position(|known| known.text == label);
    let missing = |label: &str| {
        PgError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("\"{label}\" is not an existing enum label"),
        )
    };
    match change {
        AlterEnum::Add {
            label,
            if_not_exists,
            place,
        } => {
            check_label(label)?;
            if at(label).is_some() {
                let message = format!("enum label \"{label}\" already exists");
                if *if_not_exists {
                    context.exec.notice(PgError::notice(
                        SqlState::DUPLICATE_OBJECT,
                        format!("{message}, skipping"),
                    ));
                    return Ok(());
                }
                return Err(PgError::new(SqlState::DUPLICATE_OBJECT, message).into());
            }
            let order = |place: usize| f32::from_bits(labels[place].order);
            let place = match place {
                Place::Last => labels.len(),
                Place::Before(label) => at(label).ok_or_else(|| missing(label))?,
                Place::After(label) => at(label).ok_or_else(|| missing(label))? + 1,
            };
            // Between its neighbours, as `AddEnumLabel` places it.
            let order = match (place.checked_sub(1), place < labels.len()) {
                (None, false) => 1.0,
                (None, true) => order(0) - 1.0,
                (Some(before), false) => order(before) + 1.0,
                (Some(before), true) => (order(before) + order(place)) / 2.0,
            };
            if labels.iter().any(|known| known.order == order.to_bits()) {
                return Err(PgError::feature_not_supported("more labels in one place").into());
            }
            let oid = context.exec.new_oid()?;
            let text = label.to_string();
            labels.insert(
                place,
                Label {
                    oid,
                    order: order.to_bits(),
                    text,
                    uncommitted: true,
                },
            );
        }
        AlterEnum::Rename(from, to) => {
            check_label(to)?;
            let place = at(from).ok_or_else(|| missing(from))?;
            if at(to).is_some() {
                let message = format!("enum label \"{to}\" already exists");
                return Err(PgError::new(SqlState::DUPLICATE_OBJECT, message).into());
            }
            if !users(ty, context).is_empty() {
                return Err(PgError::feature_not_supported(
                    "another name for a label of a type that columns have",
                )
                .into());
            }
            labels[place].text = to.to_string();
        }
        AlterEnum::RenameType(to) => {
            if is_taken(context, database, &schema, to) {
                return Err(duplicate(to).into());
            }
            let exec = &mut context.exec;
            exec.reserve(NameIndex::Type, database, &schema, to)?;
            new_name = to.to_string();
        }
    }
    let ty = UserType::intern(definition(ty.oid, ty.array_oid, &new_name, labels));
    let change = CatalogChange::PutType(database, schema, ty);
    context.exec.change_catalog(change)
}

pub(super) fn drop(
    names: &[Relation],
    if_exists: bool,
    cascade: bool,
    context: &mut Context<'_>,
) -> Result<(), Halt> {
    let database = context.exec.path().database;
    // Everything is locked before anything happens.
    for name in names {
        if let Some((_, ty)) = find(name, context)? {
            let exec = &mut context.exec;
            exec.lock_object(
                database,
                ObjectClass::Type,
                ty.oid,
                LockMode::AccessExclusive,
            )?;
        }
    }
    for name in names {
        let Some((_, ty)) = find(name, context)? else {
            let shown = name.name.join(".");
            if if_exists {
                let message = format!("type \"{shown}\" does not exist, skipping");
                let notice = PgError::notice(SqlState::SUCCESSFUL_COMPLETION, message);
                context.exec.notice(notice);
                continue;
            }
            return Err(undefined(&shown).into());
        };
        let users = users(ty, context);
        if cascade && !users.is_empty() {
            return Err(PgError::feature_not_supported("DROP TYPE … CASCADE with columns").into());
        }
        if !users.is_empty() {
            return Err(PgError::new(
                SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                format!(
                    "cannot drop type {} because other objects depend on it",
                    ty.shown
                ),
            )
            .with_detail(users.join("\n"))
            .with_hint("Use DROP ... CASCADE to drop the dependent objects too.")
            .into());
        }
        let change = CatalogChange::DropType(database, ty.oid);
        context.exec.change_catalog(change)?;
    }
    Ok(())
}
