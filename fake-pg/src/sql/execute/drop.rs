//! DROP: what is named, what depends on it, and whether that may go too.
//!
//! Dependents are found depth first, the youngest first, and told in the opposite order, as
//! `findDependentObjects` and `reportDependentObjects` in dependency.c do.

use std::sync::Arc;

use crate::engine::{
    Catalog, CatalogChange, Exec, ForeignKey, Halt, Index, LockMode, Namespace, ObjectClass,
    Relation, SearchPath, Sequence, Table, TableId, View,
};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{self, DropObject};
use crate::sql::face::Context;
use crate::sql::plan::split_name;
use crate::sql::quote::quote_name;

/// Something that can be dropped.
#[derive(Debug, Clone)]
enum Object {
    Table(Arc<Table>),
    Sequence(Arc<Sequence>),
    View(Arc<View>),
    Schema(Arc<Namespace>),
    Index(Arc<Table>, Arc<Index>),
    /// A foreign key, and the table it is of.
    ForeignKey(Arc<Table>, Arc<ForeignKey>),
    /// The default of a column, which goes with the column's table, or alone.
    Default(Arc<Table>, usize),
}

impl Object {
    fn key(&self) -> (u32, usize) {
        match self {
            Object::Table(table) => (table.id.0, 0),
            Object::Sequence(sequence) => (sequence.id.0, 0),
            Object::View(view) => (view.id.0, 0),
            Object::Schema(space) => (space.id, 0),
            Object::Index(_, index) => (index.id.0, 0),
            Object::ForeignKey(_, key) => (key.id.0, 0),
            Object::Default(table, column) => (table.id.0, column + 1),
        }
    }

    /// As messages call it: `table a.t`.
    fn describe(&self, catalog: &Catalog, path: &SearchPath) -> String {
        let relation = |schema: &str, name: &str| shown(catalog, path, schema, name);
        match self {
            Object::Table(table) => format!("table {}", relation(&table.schema, &table.name)),
            Object::Sequence(sequence) => {
                format!("sequence {}", relation(&sequence.schema, &sequence.name))
            }
            Object::View(view) => format!("view {}", relation(&view.schema, &view.name)),
            Object::Schema(space) => format!("schema {}", space.name),
            Object::Index(table, index) => {
                format!("index {}", relation(&table.schema, &index.name))
            }
            Object::ForeignKey(table, key) => format!(
                "constraint {} on table {}",
                quote_name(&key.name),
                relation(&table.schema, &table.name)
            ),
            Object::Default(table, column) => format!(
                "default value for column {} of table {}",
                table.columns[*column].name,
                relation(&table.schema, &table.name)
            ),
        }
    }
}

/// A relation's name as messages show it: with its schema if it is not visible.
pub(super) fn shown(catalog: &Catalog, path: &SearchPath, schema: &str, name: &str) -> String {
    match catalog.is_visible(path, schema, name) {
        true => quote_name(name).into_owned(),
        false => format!("{}.{}", quote_name(schema), quote_name(name)),
    }
}

/// What depends on an object, youngest first.
fn dependents(catalog: &Catalog, path: &SearchPath, object: &Object) -> Vec<Object> {
    let mut found = Vec::new();
    let views = |id: TableId, found: &mut Vec<Object>| {
        let spaces = catalog.namespaces(path.database);
        let views = spaces.flat_map(|space| space.views());
        let readers = views.filter(|view| view.reads.contains(&id));
        found.extend(readers.cloned().map(Object::View));
    };
    match object {
        Object::Schema(space) => {
            found.extend(space.tables().cloned().map(Object::Table));
            let free = space
                .sequences()
                .filter(|sequence| sequence.owner.is_none());
            found.extend(free.cloned().map(Object::Sequence));
            found.extend(space.views().cloned().map(Object::View));
        }
        Object::Table(table) => {
            views(table.id, &mut found);
            found.extend(referring(catalog, &table.referenced_by, table.id));
        }
        Object::View(view) => views(view.id, &mut found),
        Object::Sequence(sequence) => {
            for table in catalog.tables() {
                for (place, column) in table.columns.iter().enumerate() {
                    let default = column.default.as_deref();
                    if default.is_some_and(|default| draws_on(catalog, table, default, sequence)) {
                        found.push(Object::Default(table.clone(), place));
                    }
                }
            }
        }
        Object::Index(table, index) => {
            let keys = table.referenced_by.iter();
            let keys: Vec<_> = keys
                .filter(|key| key.index == index.name)
                .cloned()
                .collect();
            found.extend(referring(catalog, &keys, TableId(0)));
        }
        Object::ForeignKey(..) | Object::Default(..) => {}
    }
    found.sort_by_key(|object| std::cmp::Reverse(object.key()));
    found
}

/// The foreign keys of other tables.
fn referring(catalog: &Catalog, keys: &[Arc<ForeignKey>], own: TableId) -> Vec<Object> {
    let others = keys.iter().filter(|key| key.table != own);
    let found = others.filter_map(|key| {
        let table = catalog.table_by_id(key.table)?;
        Some(Object::ForeignKey(table.clone(), key.clone()))
    });
    found.collect()
}

/// Whether a default calls for values of a sequence.
pub(super) fn draws_on(
    catalog: &Catalog,
    table: &Table,
    default: &str,
    sequence: &Sequence,
) -> bool {
    if table.database != sequence.database {
        return false;
    }
    let Some(start) = default.find("nextval('") else {
        return false;
    };
    let name = &default[start + 9..];
    let Some(name) = name.split('\'').next() else {
        return false;
    };
    let path = SearchPath {
        database: table.database,
        schemas: vec![table.schema.clone(), "public".into()],
        temporary: None,
    };
    let Ok(names) = crate::sql::plan::parse_name(name) else {
        return false;
    };
    let Ok((schema, name)) = split_name(catalog, &path, &names) else {
        return false;
    };
    let found = catalog.relation(&path, schema.map(|schema| &**schema), name);
    found.is_some_and(|found| found.id() == sequence.id)
}

/// What goes, each with what it depends on; the objects named depend on nothing.
struct Dropping<'a> {
    catalog: &'a Catalog,
    path: &'a SearchPath,
    found: Vec<(Object, Option<String>)>,
    under_way: Vec<(u32, usize)>,
}

impl Dropping<'_> {
    fn add(&mut self, object: Object, on: Option<String>) {
        let key = object.key();
        if self.under_way.contains(&key) {
            return;
        }
        if let Some((_, known)) = self.found.iter_mut().find(|(other, _)| other.key() == key) {
            if on.is_none() {
                *known = None;
            }
            return;
        }
        self.under_way.push(key);
        for dependent in dependents(self.catalog, self.path, &object) {
            let on = object.describe(self.catalog, self.path);
            self.add(dependent, Some(on));
        }
        self.under_way.pop();
        self.found.push((object, on));
    }
}

/// Who reads a view or an index has locked it.
fn lock_itself(object: &Object, exec: &mut Exec<'_>) -> Result<(), Halt> {
    match object {
        Object::View(view) => exec.lock_relation(view.id, LockMode::AccessExclusive),
        Object::Index(_, index) => exec.lock_relation(index.id, LockMode::AccessExclusive),
        _ => Ok(()),
    }
}

/// Drops objects, and with CASCADE what depends on them.
///
/// Everything is locked before anything happens: who has to wait begins again, with the catalog of
/// that time.
fn drop_objects(
    objects: Vec<Object>,
    notices: Vec<PgError>,
    cascade: bool,
    exec: &mut Exec<'_>,
) -> Result<(), Halt> {
    // A name is locked as it is looked up, before anything else is known of it.
    for object in &objects {
        if let Object::Table(table) | Object::Index(table, _) = object {
            exec.lock_table(table, LockMode::AccessExclusive, false)?;
        }
        lock_itself(object, exec)?;
    }
    let (catalog, path) = (exec.catalog().clone(), exec.path().clone());
    for object in &objects {
        if let Object::Schema(space) = object {
            let (class, mode) = (ObjectClass::Schema, LockMode::AccessExclusive);
            exec.lock_object(path.database, class, space.id, mode)?;
        }
    }
    let mut dropping = Dropping {
        catalog: &catalog,
        path: &path,
        found: Vec::new(),
        under_way: Vec::new(),
    };
    let named = objects.clone();
    for object in objects {
        dropping.add(object, None);
    }
    let found = std::mem::take(&mut dropping.found);
    let gone = |key: (u32, usize)| found.iter().any(|(object, _)| object.key() == key);
    let told: Vec<(String, &String)> = found
        .iter()
        .rev()
        // The default of a column that goes anyhow is no loss.
        .filter(|(object, _)| match object {
            Object::Default(table, _) | Object::ForeignKey(table, _) => !gone((table.id.0, 0)),
            _ => true,
        })
        .filter_map(|(object, on)| Some((object.describe(&catalog, &path), on.as_ref()?)))
        .collect();
    if !told.is_empty() && !cascade {
        let lines: Vec<String> = told
            .iter()
            .map(|(object, on)| format!("{object} depends on {on}"))
            .collect();
        let message = match &named[..] {
            [one] => format!(
                "cannot drop {} because other objects depend on it",
                one.describe(&catalog, &path)
            ),
            _ => "cannot drop desired object(s) because other objects depend on them".into(),
        };
        return Err(
            PgError::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message)
                .with_detail(lines.join("\n"))
                .with_hint("Use DROP ... CASCADE to drop the dependent objects too.")
                .into(),
        );
    }
    for (object, _) in &found {
        if let Object::Table(table)
        | Object::Default(table, _)
        | Object::Index(table, _)
        | Object::ForeignKey(table, _) = object
        {
            exec.lock_table(table, LockMode::AccessExclusive, false)?;
        }
        lock_itself(object, exec)?;
        let sequences = catalog.sequences().filter(|sequence| match object {
            Object::Sequence(gone) => gone.id == sequence.id,
            Object::Table(table) => sequence.owner.is_some_and(|owner| owner.0 == table.id),
            _ => false,
        });
        for sequence in sequences {
            exec.lock_relation(sequence.id, LockMode::AccessExclusive)?;
        }
        let keys = match object {
            Object::Table(table) => &table.foreign_keys[..],
            Object::ForeignKey(_, key) => std::slice::from_ref(key),
            _ => &[],
        };
        for key in keys {
            if let Some(table) = catalog.table_by_id(key.referenced) {
                exec.lock_table(table, LockMode::AccessExclusive, false)?;
            }
        }
    }
    for notice in notices {
        exec.notice(notice);
    }
    let lines: Vec<String> = told
        .iter()
        .map(|(object, _)| format!("drop cascades to {object}"))
        .collect();
    match &lines[..] {
        [] => {}
        [one] => exec.notice(PgError::notice(SqlState::SUCCESSFUL_COMPLETION, one)),
        all => {
            let message = format!("drop cascades to {} other objects", all.len());
            let notice = PgError::notice(SqlState::SUCCESSFUL_COMPLETION, message);
            exec.notice(notice.with_detail(all.join("\n")));
        }
    }
    for (object, _) in found {
        match object {
            Object::Table(table) => {
                exec.refuse_pending(&table, "DROP TABLE")?;
                exec.drop_table(&table)?;
            }
            Object::ForeignKey(_, key) => {
                exec.change_catalog(CatalogChange::DropForeignKey(key))?;
            }
            Object::Sequence(sequence) => exec.drop_sequence(&sequence)?,
            Object::View(view) => exec.change_catalog(CatalogChange::DropView(view))?,
            Object::Schema(space) => {
                exec.change_catalog(CatalogChange::DropSchema(path.database, space.id))?;
            }
            Object::Index(table, index) => {
                let Some(table) = exec.catalog().table_by_id(table.id).cloned() else {
                    continue;
                };
                let mut changed = Table::clone(&table);
                changed.indexes.retain(|other| other.id != index.id);
                exec.remap_table(&table, changed, None)?;
            }
            Object::Default(table, column) => {
                let Some(table) = exec.catalog().table_by_id(table.id) else {
                    continue;
                };
                let mut table = Table::clone(table);
                table.columns[column].default = None;
                exec.replace_table(table)?;
            }
        }
    }
    Ok(())
}

/// DROP TABLE, DROP INDEX, DROP SEQUENCE, DROP VIEW, DROP SCHEMA.
pub(super) fn drop(
    object: DropObject,
    if_exists: bool,
    cascade: bool,
    names: &[ast::Relation],
    context: &mut Context<'_>,
) -> Result<(), Halt> {
    let exec = &mut context.exec;
    let mut objects = Vec::with_capacity(names.len());
    let mut notices = Vec::new();
    for relation in names {
        let shown = relation.name.join(".");
        let missing = match object {
            DropObject::Schema => {
                let database = exec.path().database;
                let space = exec.catalog().namespace(database, &shown).cloned();
                if matches!(&*shown, "pg_catalog" | "information_schema") {
                    return Err(PgError::feature_not_supported("dropping a system schema").into());
                }
                match space {
                    Some(space) => {
                        objects.push(Object::Schema(space));
                        continue;
                    }
                    None => PgError::undefined_schema(&shown),
                }
            }
            _ => match find(exec, relation)? {
                Ok(found) => {
                    objects.push(named(object, found, exec)?);
                    continue;
                }
                Err(Some(no_schema)) => no_schema,
                Err(None) => {
                    let code = match object {
                        DropObject::Index => SqlState::UNDEFINED_OBJECT,
                        _ => SqlState::UNDEFINED_TABLE,
                    };
                    // The real server names it without its schema.
                    let name = relation.name.last().map_or("", |name| name);
                    PgError::new(code, format!("{} \"{name}\" does not exist", kind(object)))
                }
            },
        };
        if !if_exists {
            return Err(missing.into());
        }
        notices.push(PgError::notice(
            SqlState::SUCCESSFUL_COMPLETION,
            format!("{}, skipping", missing.message),
        ));
    }
    drop_objects(objects, notices, cascade, exec)
}

/// DROP INDEX CONCURRENTLY.
pub(super) fn drop_concurrently(
    if_exists: bool,
    cascade: bool,
    names: &[ast::Relation],
    context: &mut Context<'_>,
) -> Result<(), Halt> {
    let refuse = |what: &str| {
        let message = format!("DROP INDEX CONCURRENTLY does not support {what}");
        Err(PgError::new(SqlState::FEATURE_NOT_SUPPORTED, message).into())
    };
    let [relation] = names else {
        return refuse("dropping multiple objects");
    };
    if cascade {
        return refuse("CASCADE");
    }
    let exec = &mut context.exec;
    if let Ok(Relation::Index(table, index)) = find(exec, relation)?
        && !index.constraint
    {
        let object = Object::Index(table.clone(), index.clone());
        if dependents(exec.catalog(), exec.path(), &object).is_empty() {
            return exec.drop_index_concurrently(&table, index.id);
        }
    }
    // What cannot be dropped is refused as ever.
    drop(DropObject::Index, if_exists, cascade, names, context)
}

/// What a name stands for. If nothing, whether that is because its schema is missing.
fn find(
    exec: &Exec<'_>,
    relation: &ast::Relation,
) -> Result<Result<Relation, Option<PgError>>, PgError> {
    let (catalog, path) = (exec.catalog(), exec.path());
    let (schema, name) = split_name(catalog, path, &relation.name)?;
    let schema = schema.map(|schema| &**schema);
    if let Some(found) = catalog.relation(path, schema, name) {
        return Ok(Ok(found));
    }
    let is_there = |schema: &str| {
        let system = matches!(schema, "pg_catalog" | "information_schema");
        system
            || catalog
                .namespace(path.database, path.schema(schema))
                .is_some()
    };
    Ok(Err(match schema {
        Some(schema) if !is_there(schema) => Some(PgError::undefined_schema(schema)),
        _ => None,
    }))
}

fn kind(object: DropObject) -> &'static str {
    match object {
        DropObject::Table => "table",
        DropObject::Index => "index",
        DropObject::Sequence => "sequence",
        DropObject::View => "view",
        DropObject::Schema => "schema",
    }
}

/// What was found, if it is of the kind that was named (`DropErrorMsgWrongType`).
fn named(object: DropObject, found: Relation, exec: &Exec<'_>) -> Result<Object, Halt> {
    let name = found.name().clone();
    let article = match object {
        DropObject::Index => "an index".to_string(),
        object => format!("a {}", kind(object)),
    };
    let right = match &found {
        Relation::Table(_) => "TABLE",
        Relation::Sequence(_) => "SEQUENCE",
        Relation::View(_) => "VIEW",
        Relation::Index(..) => "INDEX",
    };
    match (object, found) {
        (DropObject::Table, Relation::Table(table)) => Ok(Object::Table(table)),
        (DropObject::View, Relation::View(view)) => Ok(Object::View(view)),
        (DropObject::Sequence, Relation::Sequence(sequence)) => {
            let owner = sequence.owner.and_then(|(table, column)| {
                let table = exec.catalog().table_by_id(table)?;
                table.columns.get(column)?.identity?;
                Some((table.clone(), column))
            });
            let Some((table, column)) = owner else {
                return Ok(Object::Sequence(sequence));
            };
            let column = &table.columns[column].name;
            let on = shown(exec.catalog(), exec.path(), &table.schema, &table.name);
            Err(PgError::new(
                SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                format!(
                    "cannot drop sequence {} because column {column} of table {on} requires it",
                    shown(exec.catalog(), exec.path(), &sequence.schema, &name)
                ),
            )
            .with_hint(format!(
                "You can drop column {column} of table {on} instead."
            ))
            .into())
        }
        (DropObject::Index, Relation::Index(table, index)) => {
            if !index.constraint {
                return Ok(Object::Index(table, index));
            }
            let on = shown(exec.catalog(), exec.path(), &table.schema, &table.name);
            let name = shown(exec.catalog(), exec.path(), &table.schema, &name);
            Err(PgError::new(
                SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                format!(
                    "cannot drop index {name} because constraint {} on table {on} requires it",
                    index.name
                ),
            )
            .with_hint(format!(
                "You can drop constraint {} on table {on} instead.",
                index.name
            ))
            .into())
        }
        _ => Err(PgError::new(
            SqlState::WRONG_OBJECT_TYPE,
            format!("\"{name}\" is not {article}"),
        )
        .with_hint(format!(
            "Use DROP {right} to remove {}.",
            match right {
                "INDEX" => "an index".to_string(),
                right => format!("a {}", right.to_lowercase()),
            }
        ))
        .into()),
    }
}
