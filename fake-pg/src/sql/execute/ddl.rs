//! CREATE TABLE, CREATE INDEX, CREATE SEQUENCE, DROP, TRUNCATE.
//!
//! Names that nobody gave are chosen as PostgreSQL chooses them
//! (`ChooseIndexName`, `ChooseConstraintName`).

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::engine::{
    Catalog, Check, Column, Exec, Halt, Identity, Index, Relation, Sequence, Table,
};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{
    self, ConstraintKind, CreateIndex, CreateSequence, CreateTable, DropObject, Expr, Name,
    SequenceOptions,
};
use crate::sql::face::Context;
use crate::sql::plan::{Binder, Typed};
use crate::types::Type;

/// The bare name of a relation, which can only be in `public`.
fn local_name(relation: &ast::Relation) -> Result<&Name, PgError> {
    match &relation.name[..] {
        [name] => Ok(name),
        [schema, name] if &**schema == "public" => Ok(name),
        [schema, ..] => Err(PgError::new(
            SqlState::INVALID_SCHEMA_NAME,
            format!("schema \"{schema}\" does not exist"),
        )
        .at(relation.at as usize)),
        [] => Err(PgError::undefined_table("")),
    }
}

/// Names taken in the catalog, and those chosen but not yet there.
struct Names<'a> {
    catalog: &'a Catalog,
    chosen: BTreeSet<Name>,
}

impl Names<'_> {
    /// `table_column_suffix`, with a number if that is taken.
    fn choose(&mut self, table: &str, columns: &str, suffix: &str) -> Name {
        for number in 0.. {
            let number = if number == 0 {
                String::new()
            } else {
                number.to_string()
            };
            let name = object_name(table, columns, &format!("{suffix}{number}"));
            if self.catalog.relation(&name).is_none() && !self.chosen.contains(&name) {
                self.chosen.insert(name.clone());
                return name;
            }
        }
        unreachable!("there are more numbers than names")
    }
}

/// At most 63 bytes; the longer of both parts gives way (`makeObjectName`).
fn object_name(first: &str, second: &str, label: &str) -> Name {
    let overhead = label.len() + 1 + usize::from(!second.is_empty());
    let room = 63_usize.saturating_sub(overhead);
    let (mut a, mut b) = (first.len(), second.len());
    while a + b > room {
        if a > b { a -= 1 } else { b -= 1 }
    }
    let clip = |text: &str, mut end: usize| {
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text[..end].to_string()
    };
    let mut name = clip(first, a);
    if !second.is_empty() {
        name = format!("{name}_{}", clip(second, b));
    }
    format!("{name}_{label}").into()
}

pub(super) fn create_table(create: &CreateTable, context: &mut Context<'_>) -> Result<(), Halt> {
    let exec = &mut context.exec;
    let name = local_name(&create.table)?;
    let catalog = exec.catalog().clone();
    if create.if_not_exists && catalog.relation(name).is_some() {
        skip_existing(exec, name);
        return Ok(());
    }
    let mut names = Names {
        catalog: &catalog,
        chosen: BTreeSet::from([name.clone()]),
    };
    let mut table = Table::new(name.clone());
    table.unlogged = create.unlogged;
    let mut sequences = Vec::new();
    for definition in &create.columns {
        let place = table.columns.len();
        if table.column(&definition.name).is_some() {
            return Err(PgError::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{}\" specified more than once", definition.name),
            )
            .into());
        }
        let (column, sequence) = column(definition, name, &catalog, &mut names)?;
        table.columns.push(column);
        sequences.extend(sequence.map(|sequence| (place, sequence)));
    }
    constraints(create, &mut table, &mut names, &catalog)?;
    let definition = Arc::new(table.clone());
    let mut binder = Binder::new(&catalog, Vec::new());
    for (column, definition) in create.columns.iter().zip(&definition.columns) {
        if let Some((default, _)) = &column.default {
            check_default(&mut binder, default, definition)?;
        }
    }
    let table = exec.create_table(table)?;
    for (place, mut sequence) in sequences {
        sequence.owner = Some((table.id, place));
        exec.create_sequence(sequence)?;
    }
    Ok(())
}

fn skip_existing(exec: &mut Exec<'_>, name: &str) {
    exec.notice(PgError::notice(
        SqlState::DUPLICATE_TABLE,
        format!("relation \"{name}\" already exists, skipping"),
    ));
}

/// A column, and the sequence it draws from.
fn column(
    definition: &ast::ColumnDef,
    table: &str,
    catalog: &Catalog,
    names: &mut Names<'_>,
) -> Result<(Column, Option<Sequence>), PgError> {
    let serial = match &definition.ty.name[..] {
        [name] if definition.ty.modifiers.is_empty() && !definition.ty.array => match &**name {
            "serial" | "serial4" => Some(Type::Int4),
            "bigserial" | "serial8" => Some(Type::Int8),
            "smallserial" | "serial2" => Some(Type::Int2),
            _ => None,
        },
        _ => None,
    };
    let Typed { ty, typmod } = match serial {
        Some(ty) => ty.into(),
        None => Binder::new(catalog, Vec::new()).type_name(&definition.ty)?,
    };
    let mut column = Column {
        name: definition.name.clone(),
        ty,
        typmod,
        not_null: definition.not_null || serial.is_some(),
        default: definition.default.as_ref().map(|(_, text)| text.clone()),
        identity: definition
            .identity
            .as_ref()
            .map(|identity| match identity.always {
                true => Identity::Always,
                false => Identity::ByDefault,
            }),
    };
    if serial.is_none() && definition.identity.is_none() {
        return Ok((column, None));
    }
    if column.default.is_some() {
        return Err(PgError::new(
            SqlState::SYNTAX_ERROR,
            format!(
                "multiple default values specified for column \"{}\" of table \"{table}\"",
                definition.name
            ),
        ));
    }
    if !matches!(ty, Type::Int2 | Type::Int4 | Type::Int8) {
        return Err(PgError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            "identity column type must be smallint, integer, or bigint",
        ));
    }
    let name = names.choose(table, &definition.name, "seq");
    column.default = Some(format!("nextval('{}'::regclass)", quoted(&name)).into());
    let mut sequence = Sequence::serial(name, ty);
    if let Some(identity) = &definition.identity {
        apply(&identity.options, &mut sequence)?;
    }
    Ok((column, Some(sequence)))
}

/// A name within a string constant: quoted if folding would change it.
fn quoted(name: &str) -> String {
    let plain = name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    match plain {
        true => name.to_string(),
        false => format!("\"{}\"", name.replace('"', "\"\"").replace('\'', "''")),
    }
}

fn apply(options: &SequenceOptions, sequence: &mut Sequence) -> Result<(), PgError> {
    let invalid = |message: String| PgError::new(SqlState::INVALID_PARAMETER_VALUE, message);
    if let Some(increment) = options.increment {
        if increment == 0 {
            return Err(invalid("INCREMENT must not be zero".into()));
        }
        sequence.increment = increment;
        if increment < 0 {
            (sequence.min, sequence.max) = (-sequence.max - 1, -1);
        }
    }
    sequence.min = options.min.unwrap_or(sequence.min);
    sequence.max = options.max.unwrap_or(sequence.max);
    if sequence.min >= sequence.max {
        return Err(invalid(format!(
            "MINVALUE ({}) must be less than MAXVALUE ({})",
            sequence.min, sequence.max
        )));
    }
    let first = if sequence.increment > 0 {
        sequence.min
    } else {
        sequence.max
    };
    sequence.start = options.start.unwrap_or(first);
    if sequence.start < sequence.min {
        return Err(invalid(format!(
            "START value ({}) cannot be less than MINVALUE ({})",
            sequence.start, sequence.min
        )));
    }
    if sequence.start > sequence.max {
        return Err(invalid(format!(
            "START value ({}) cannot be greater than MAXVALUE ({})",
            sequence.start, sequence.max
        )));
    }
    Ok(())
}

fn check_default(binder: &mut Binder<'_>, default: &Expr, column: &Column) -> Result<(), PgError> {
    let to = Typed {
        ty: column.ty,
        typmod: column.typmod,
    };
    binder.check_default(default, to, &column.name)
}

fn constraints(
    create: &CreateTable,
    table: &mut Table,
    names: &mut Names<'_>,
    catalog: &Catalog,
) -> Result<(), PgError> {
    let columns_only = Arc::new(table.clone());
    let mut indexes = Vec::new();
    for constraint in &create.constraints {
        let (columns, primary) = match &constraint.kind {
            ConstraintKind::PrimaryKey(columns) => (columns, true),
            ConstraintKind::Unique(columns) => (columns, false),
            ConstraintKind::Check(expr, text) => {
                // It is named after its column, if it is about one only.
                let about = Binder::new(catalog, Vec::new()).check(&columns_only, expr)?;
                let column = match about[..] {
                    [column] => &*columns_only.columns[column].name,
                    _ => "",
                };
                let name = match &constraint.name {
                    Some(name) => name.clone(),
                    None => names.choose(&table.name, column, "check"),
                };
                table.checks.push(Check {
                    name,
                    expression: text.clone(),
                });
                continue;
            }
        };
        let mut places = Vec::with_capacity(columns.len());
        for name in columns {
            let place = table.column(name).ok_or_else(|| {
                PgError::new(
                    SqlState::UNDEFINED_COLUMN,
                    format!("column \"{name}\" named in key does not exist"),
                )
            })?;
            places.push(place);
        }
        if primary {
            if indexes.iter().any(|index: &Index| index.primary) {
                return Err(PgError::new(
                    "42P16".parse().unwrap_or(SqlState::SYNTAX_ERROR),
                    format!(
                        "multiple primary keys for table \"{}\" are not allowed",
                        table.name
                    ),
                ));
            }
            for &place in &places {
                table.columns[place].not_null = true;
            }
        }
        let name = match (&constraint.name, primary) {
            (Some(name), _) => name.clone(),
            (None, true) => names.choose(&table.name, "", "pkey"),
            (None, false) => names.choose(&table.name, &columns.join("_"), "key"),
        };
        let index = Index {
            name,
            columns: places,
            unique: true,
            primary,
            constraint: true,
        };
        indexes.push(index);
    }
    // The primary key's index is made first (transformIndexConstraints).
    indexes.sort_by_key(|index| !index.primary);
    table.indexes = indexes.into_iter().map(Arc::new).collect();
    table.checks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(())
}

pub(super) fn create_index(create: &CreateIndex, context: &mut Context<'_>) -> Result<(), Halt> {
    let exec = &mut context.exec;
    let catalog = exec.catalog().clone();
    let table_name = local_name(&create.table)?;
    let Some(table) = catalog.table(table_name) else {
        return Err(PgError::undefined_table(table_name)
            .at(create.table.at as usize)
            .into());
    };
    if let Some(name) = &create.name
        && create.if_not_exists
        && catalog.relation(name).is_some()
    {
        skip_existing(exec, name);
        return Ok(());
    }
    let mut columns = Vec::with_capacity(create.keys.len());
    let mut shown = Vec::with_capacity(create.keys.len());
    for key in &create.keys {
        match key {
            Expr::Column(names, _) => {
                let name = names.last().map_or("", |name| name);
                let place = table.column(name);
                columns.push(place.ok_or_else(|| PgError::undefined_column(name))?);
                shown.push(name.to_string());
            }
            other => {
                Binder::new(&catalog, Vec::new()).over_table(Some(table), other)?;
                if create.unique {
                    return Err(
                        PgError::feature_not_supported("unique indexes on expressions").into(),
                    );
                }
                shown.push("expr".to_string());
            }
        }
    }
    if let Some(filter) = &create.filter {
        Binder::new(&catalog, Vec::new()).over_table(Some(table), filter)?;
        if create.unique {
            return Err(PgError::feature_not_supported("partial unique indexes").into());
        }
    }
    let name = match &create.name {
        Some(name) => name.clone(),
        None => Names {
            catalog: &catalog,
            chosen: BTreeSet::new(),
        }
        .choose(table_name, &shown.join("_"), "idx"),
    };
    let index = Index {
        name,
        columns,
        unique: create.unique,
        primary: false,
        constraint: false,
    };
    exec.create_index(table, index)
}

pub(super) fn create_sequence(
    create: &CreateSequence,
    context: &mut Context<'_>,
) -> Result<(), Halt> {
    let exec = &mut context.exec;
    let name = local_name(&create.name)?;
    if create.if_not_exists && exec.catalog().relation(name).is_some() {
        skip_existing(exec, name);
        return Ok(());
    }
    let mut sequence = Sequence::serial(name.clone(), Type::Int8);
    apply(&create.options, &mut sequence)?;
    exec.create_sequence(sequence)?;
    Ok(())
}

pub(super) fn drop(
    object: DropObject,
    if_exists: bool,
    names: &[ast::Relation],
    context: &mut Context<'_>,
) -> Result<(), Halt> {
    let exec = &mut context.exec;
    let (kind, article) = match object {
        DropObject::Table => ("table", "a table"),
        DropObject::Index => ("index", "an index"),
        DropObject::Sequence => ("sequence", "a sequence"),
    };
    for relation in names {
        let name = local_name(relation)?;
        let found = exec.catalog().relation(name);
        match (object, found) {
            (_, None) if if_exists => exec.notice(PgError::notice(
                SqlState::SUCCESSFUL_COMPLETION,
                format!("{kind} \"{name}\" does not exist, skipping"),
            )),
            (_, None) => {
                return Err(PgError::new(
                    match object {
                        DropObject::Index => SqlState::UNDEFINED_OBJECT,
                        _ => SqlState::UNDEFINED_TABLE,
                    },
                    format!("{kind} \"{name}\" does not exist"),
                )
                .into());
            }
            (DropObject::Table, Some(Relation::Table(table))) => exec.drop_table(&table)?,
            (DropObject::Sequence, Some(Relation::Sequence(sequence))) => {
                if sequence.owner.is_some() {
                    return Err(
                        PgError::feature_not_supported("dropping a column's sequence").into(),
                    );
                }
                exec.drop_sequence(&sequence)?;
            }
            (DropObject::Index, Some(Relation::Index(table, index))) => {
                if index.constraint {
                    let message = format!(
                        "cannot drop index {name} because constraint {name} on table {} requires it",
                        table.name
                    );
                    return Err(
                        PgError::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message)
                            .with_hint(format!(
                                "You can drop constraint {name} on table {} instead.",
                                table.name
                            ))
                            .into(),
                    );
                }
                if index.unique {
                    return Err(
                        PgError::feature_not_supported("DROP INDEX of a unique index").into(),
                    );
                }
                let mut table = Table::clone(&table);
                table.indexes.retain(|other| other.name != index.name);
                exec.replace_table(table)?;
            }
            (_, Some(_)) => {
                return Err(PgError::new(
                    SqlState::WRONG_OBJECT_TYPE,
                    format!("\"{name}\" is not {article}"),
                )
                .into());
            }
        }
    }
    Ok(())
}

pub(super) fn truncate(
    tables: &[ast::Relation],
    restart_identity: bool,
    context: &mut Context<'_>,
) -> Result<(), Halt> {
    let exec = &mut context.exec;
    for relation in tables {
        let name = local_name(relation)?;
        let Some(table) = exec.catalog().table(name).cloned() else {
            return Err(PgError::undefined_table(name).into());
        };
        exec.truncate(&table)?;
        if restart_identity {
            let owned =
                |sequence: &&Arc<Sequence>| sequence.owner.is_some_and(|owner| owner.0 == table.id);
            let sequences: Vec<_> = exec.catalog().sequences().filter(owned).cloned().collect();
            for sequence in sequences {
                exec.setval(&sequence, sequence.start, false)?;
            }
        }
    }
    Ok(())
}
