//! CREATE TABLE, CREATE INDEX, TRUNCATE.
//!
//! Names that nobody gave are chosen as PostgreSQL chooses them
//! (`ChooseIndexName`, `ChooseConstraintName`).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::constraint;
use super::index_key::index_key;
use crate::engine::{
    Catalog, Check, Column, Exec, Halt, Identity, Index, LockMode, Namespace, ObjectClass,
    Relation, SearchPath, Sequence, SequenceState, Table, TableId,
};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{self, ConstraintKind, CreateIndex, CreateTable, Expr, Name};
use crate::sql::face::Context;
use crate::sql::plan::{Binder, Typed, split_name};
use crate::sql::quote::quote_name;
use crate::types::Type;

/// The schema that is to be created in, and the name (`RangeVarGetCreationNamespace`). Only errors of
/// CREATE TABLE point at it: `transformCreateStmt` has looked it up before.
pub(super) fn creation<'n>(
    catalog: &Catalog,
    path: &SearchPath,
    relation: &'n ast::Relation,
) -> Result<(Name, &'n Name), PgError> {
    let at = |error: PgError| error.at(relation.at as usize);
    let (schema, name) = split_name(catalog, path, &relation.name).map_err(at)?;
    let Some(schema) = schema else {
        let namespace = catalog.creation_namespace(path);
        let namespace = namespace.ok_or_else(|| {
            let message = "no schema has been selected to create in";
            at(PgError::new(SqlState::INVALID_SCHEMA_NAME, message))
        })?;
        return Ok((namespace.name.clone(), name));
    };
    if matches!(&**schema, "pg_catalog" | "information_schema") {
        return Err(PgError::new(
            SqlState::INSUFFICIENT_PRIVILEGE,
            format!("permission denied to create \"{schema}.{name}\""),
        )
        .with_detail("System catalog modifications are currently disallowed."));
    }
    match catalog.namespace(path.database, path.schema(schema)) {
        Some(namespace) => Ok((namespace.name.clone(), name)),
        None => Err(at(PgError::undefined_schema(schema))),
    }
}

/// Keeps a schema from being dropped while something is created in it
/// (`RangeVarGetAndCheckCreationNamespace`).
pub(super) fn lock_schema(schema: &str, exec: &mut Exec<'_>) -> Result<(), Halt> {
    let database = exec.path().database;
    let Some(space) = exec.catalog().namespace(database, schema) else {
        return Ok(());
    };
    let (class, id) = (ObjectClass::Schema, space.id);
    exec.lock_object(database, class, id, LockMode::AccessShare)
}

/// What a name stands for, if anything.
pub(super) fn find(exec: &Exec<'_>, relation: &ast::Relation) -> Result<Option<Relation>, PgError> {
    let (catalog, path) = (exec.catalog(), exec.path());
    let (schema, name) = split_name(catalog, path, &relation.name)?;
    Ok(catalog.relation(path, schema.map(|schema| &**schema), name))
}

/// Names taken in the catalog, and those chosen but not yet there.
pub(super) struct Names {
    pub(super) namespace: Option<Arc<Namespace>>,
    pub(super) chosen: BTreeSet<Name>,
}

impl Names {
    /// `table_column_suffix`, with a number if that is taken.
    pub(super) fn choose(&mut self, table: &str, columns: &str, suffix: &str) -> Name {
        for number in 0.. {
            let number = if number == 0 {
                String::new()
            } else {
                number.to_string()
            };
            let name = object_name(table, columns, &format!("{suffix}{number}"));
            let namespace = self.namespace.as_ref();
            let taken = namespace.is_some_and(|space| space.relation(&name).is_some());
            if !taken && !self.chosen.contains(&name) {
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
    let (catalog, path) = (exec.catalog().clone(), exec.path().clone());
    let (schema, name) = creation(&catalog, &path, &create.table)?;
    lock_schema(&schema, exec)?;
    let namespace = catalog.namespace(path.database, &schema).cloned();
    if create.if_not_exists && is_taken(&namespace, name) {
        skip_existing(exec, name);
        return Ok(());
    }
    let mut names = Names {
        namespace,
        chosen: BTreeSet::from([name.clone()]),
    };
    names
        .chosen
        .extend(exec.names_under_way(path.database, &schema));
    let mut table = Table::new(name.clone());
    (table.database, table.schema) = (path.database, schema.clone());
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
        let (column, sequence) = column(definition, name, &schema, (&catalog, &path), &mut names)?;
        table.columns.push(column);
        sequences.extend(sequence.map(|sequence| (place, sequence)));
    }
    constraints(create, &mut table, &mut names, (&catalog, &path))?;
    let definition = Arc::new(table.clone());
    let mut binder = Binder::new(&catalog, &path, Vec::new());
    for (column, definition) in create.columns.iter().zip(&definition.columns) {
        if let Some((default, _)) = &column.default {
            check_default(&mut binder, default, definition)?;
        }
    }
    constraint::lock_referenced(&create.constraints, name, exec)?;
    for (_, sequence) in &sequences {
        exec.reserve_name(path.database, &schema, &sequence.name)?;
    }
    let table = exec.create_table(table)?;
    for (place, mut sequence) in sequences {
        sequence.owner = Some((table.id, place));
        (sequence.database, sequence.schema) = (path.database, schema.clone());
        sequence.unlogged = create.unlogged;
        exec.create_sequence(sequence)?;
    }
    for constraint in &create.constraints {
        if let ConstraintKind::ForeignKey(key) = &constraint.kind {
            constraint::add_foreign_key(constraint, key, table.id, context)?;
        }
    }
    Ok(())
}

pub(super) fn is_taken(namespace: &Option<Arc<Namespace>>, name: &str) -> bool {
    let namespace = namespace.as_ref();
    namespace.is_some_and(|namespace| namespace.relation(name).is_some())
}

pub(super) fn skip_existing(exec: &mut Exec<'_>, name: &str) {
    exec.notice(PgError::notice(
        SqlState::DUPLICATE_TABLE,
        format!("relation \"{name}\" already exists, skipping"),
    ));
}

/// 42701 for a name that every table has a column of (`CheckAttributeNamesTypes`).
pub(super) fn refuse_system_column(name: &str) -> Result<(), PgError> {
    match name {
        "tableoid" | "ctid" | "xmin" | "cmin" | "xmax" | "cmax" => {
            let message = format!("column name \"{name}\" conflicts with a system column name");
            Err(PgError::new(SqlState::DUPLICATE_COLUMN, message))
        }
        _ => Ok(()),
    }
}

/// A column, and the sequence it draws from.
pub(super) fn column(
    definition: &ast::ColumnDef,
    table: &str,
    schema: &str,
    (catalog, path): (&Catalog, &SearchPath),
    names: &mut Names,
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
        None => Binder::new(catalog, path, Vec::new()).type_name(&definition.ty)?,
    };
    if let Some((what, at)) = definition.contradiction {
        let message = format!(
            "{what} for column \"{}\" of table \"{table}\"",
            definition.name
        );
        return Err(PgError::new(SqlState::SYNTAX_ERROR, message).near(at));
    }
    refuse_system_column(&definition.name)?;
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
        dropped: false,
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
    column.default = Some(match schema {
        "public" => format!("nextval('{}'::regclass)", quote_name(&name)).into(),
        _ => format!(
            "nextval('{}.{}'::regclass)",
            quote_name(schema),
            quote_name(&name)
        )
        .into(),
    });
    let mut sequence = Sequence::serial(name, ty);
    if let Some(identity) = &definition.identity {
        super::sequence::apply(&identity.options, &mut sequence)?;
    }
    Ok((column, Some(sequence)))
}

fn check_default(binder: &mut Binder<'_>, default: &Expr, column: &Column) -> Result<(), PgError> {
    let to = Typed {
        ty: column.ty,
        typmod: column.typmod,
    };
    binder.check_default(default, to, &column.name)
}

pub(super) fn constraints(
    create: &CreateTable,
    table: &mut Table,
    names: &mut Names,
    (catalog, path): (&Catalog, &SearchPath),
) -> Result<(), PgError> {
    let columns_only = Arc::new(table.clone());
    let mut indexes = Vec::new();
    for constraint in &create.constraints {
        let (key, primary) = match &constraint.kind {
            ConstraintKind::PrimaryKey(key) => (key, true),
            ConstraintKind::Unique(key) => (key, false),
            // They are added once the table is there.
            ConstraintKind::ForeignKey(_) => continue,
            ConstraintKind::Check(expr, text) => {
                // It is named after its column, if it is about one only.
                let about = Binder::new(catalog, path, Vec::new()).check(&columns_only, expr)?;
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
                    validated: true,
                });
                continue;
            }
        };
        let place = |name: &Name| {
            table.column(name).ok_or_else(|| {
                PgError::new(
                    SqlState::UNDEFINED_COLUMN,
                    format!("column \"{name}\" named in key does not exist"),
                )
                .near(constraint.at)
            })
        };
        let places: Vec<usize> = key.columns.iter().map(place).collect::<Result<_, _>>()?;
        let included = key.included.iter().map(place).collect::<Result<_, _>>()?;
        if primary {
            if indexes.iter().any(|index: &Index| index.primary) {
                return Err(PgError::new(
                    "42P16".parse().unwrap_or(SqlState::SYNTAX_ERROR),
                    format!(
                        "multiple primary keys for table \"{}\" are not allowed",
                        table.name
                    ),
                )
                .near(constraint.at));
            }
            for &place in &places {
                table.columns[place].not_null = true;
            }
        }
        let name = match (&constraint.name, primary) {
            (Some(name), _) => name.clone(),
            (None, true) => names.choose(&table.name, "", "pkey"),
            (None, false) => {
                let columns = [&key.columns[..], &key.included].concat();
                names.choose(&table.name, &columns.join("_"), "key")
            }
        };
        let index = Index {
            id: TableId(0),
            name,
            columns: places,
            included,
            unique: true,
            nulls_not_distinct: key.nulls_not_distinct,
            primary,
            constraint: true,
            deferral: constraint.timing.into(),
            ..Index::default()
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
    let (catalog, path) = (exec.catalog().clone(), exec.path().clone());
    let found = find(exec, &create.table)?;
    let kinds = match &found {
        Some(Relation::Table(_)) | None => "",
        Some(Relation::Sequence(_)) => "sequences",
        Some(Relation::View(_)) => "views",
        Some(Relation::Index(..)) => "indexes",
    };
    if let (Some(other), false) = (&found, kinds.is_empty()) {
        // It is locked before it is looked at.
        exec.lock_relation(other.id(), LockMode::Share)?;
        let message = format!("cannot create index on relation \"{}\"", other.name());
        let error = PgError::new(SqlState::WRONG_OBJECT_TYPE, message);
        let detail = format!("This operation is not supported for {kinds}.");
        return Err(error.with_detail(detail).into());
    }
    let Some(Relation::Table(table)) = found else {
        return Err(PgError::undefined_table(&create.table.name.join(".")).into());
    };
    let table = &table;
    exec.refuse_pending(table, "CREATE INDEX")?;
    let namespace = catalog.namespace(table.database, &table.schema).cloned();
    if let Some(name) = &create.name
        && create.if_not_exists
        && !exec.has_begun()
        && is_taken(&namespace, name)
    {
        skip_existing(exec, name);
        return Ok(());
    }
    let key = index_key(create, table, (&catalog, &path))?;
    let included: Vec<usize> = create
        .included
        .iter()
        .map(|name| {
            table
                .column(name)
                .ok_or_else(|| PgError::undefined_column(name))
        })
        .collect::<Result<_, _>>()?;
    let shown = [&key.shown[..], &create.included].concat();
    let name = match &create.name {
        Some(name) => name.clone(),
        None => Names {
            namespace,
            chosen: exec
                .names_under_way(table.database, &table.schema)
                .into_iter()
                .collect(),
        }
        .choose(&table.name, &shown.join("_"), "idx"),
    };
    let index = Index {
        id: TableId(0),
        name,
        columns: key.columns,
        included,
        computed: key.computed,
        unique: create.unique,
        nulls_not_distinct: create.nulls_not_distinct,
        ..Index::default()
    };
    match create.concurrently {
        true => exec.create_index_concurrently(table, index),
        false => exec.create_index(table, index),
    }
}

pub(super) fn truncate(
    tables: &[ast::Relation],
    restart_identity: bool,
    cascade: bool,
    context: &mut Context<'_>,
) -> Result<(), Halt> {
    let exec = &mut context.exec;
    let mut found = Vec::with_capacity(tables.len());
    for relation in tables {
        let table = match find(exec, relation)? {
            Some(Relation::Table(table)) => table,
            Some(other) => {
                let message = format!("\"{}\" is not a table", other.name());
                return Err(PgError::new(SqlState::WRONG_OBJECT_TYPE, message).into());
            }
            None => return Err(PgError::undefined_table(&relation.name.join(".")).into()),
        };
        exec.lock_table(&table, LockMode::AccessExclusive, false)?;
        exec.refuse_pending(&table, "TRUNCATE")?;
        if !found.iter().any(|other: &Arc<Table>| other.id == table.id) {
            found.push(table);
        }
    }
    // Those that refer to them must be emptied too (heap_truncate_find_FKs).
    let mut place = 0;
    while let Some(table) = found.get(place).cloned() {
        for key in &table.referenced_by {
            if found.iter().any(|other| other.id == key.table) {
                continue;
            }
            let Some(child) = exec.catalog().table_by_id(key.table).cloned() else {
                continue;
            };
            if !cascade {
                let message = "cannot truncate a table referenced in a foreign key constraint";
                return Err(PgError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
                    .with_detail(format!(
                        "Table \"{}\" references \"{}\".",
                        child.name, table.name
                    ))
                    .with_hint(format!(
                        "Truncate table \"{}\" at the same time, or use TRUNCATE ... CASCADE.",
                        child.name
                    ))
                    .into());
            }
            exec.lock_table(&child, LockMode::AccessExclusive, false)?;
            exec.notice(PgError::notice(
                SqlState::SUCCESSFUL_COMPLETION,
                format!("truncate cascades to table \"{}\"", child.name),
            ));
            exec.refuse_pending(&child, "TRUNCATE")?;
            found.push(child);
        }
        place += 1;
    }
    let restarted = |sequence: &&Arc<Sequence>| {
        let mut owners = found.iter();
        let owner = sequence.owner.map(|owner| owner.0);
        restart_identity && owners.any(|table| Some(table.id) == owner)
    };
    let catalog = exec.catalog().clone();
    let sequences: Vec<_> = catalog.sequences().filter(restarted).collect();
    for sequence in &sequences {
        exec.lock_relation(sequence.id, LockMode::AccessExclusive)?;
    }
    for table in &found {
        exec.truncate(table)?;
    }
    for sequence in sequences {
        exec.restart_sequence(Sequence::clone(sequence), SequenceState::new(sequence))?;
    }
    Ok(())
}
