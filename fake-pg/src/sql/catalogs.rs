//! System relations: what a server says of itself in `pg_catalog` and `information_schema`.
//!
//! Their names, OIDs and columns are those of PostgreSQL 15 (`catalogs/columns.txt`). Their rows
//! are computed when they are read: from a table of constants, or by a function of what the reader
//! can see. Nothing is stored, so nothing can be written. One whose rows nobody computes yet is
//! refused by name; one that is always empty here is listed as such.

mod activity;
mod classes;
mod cluster;
mod constants;
mod constraints;
mod definition;
mod schema;
mod types;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

pub(crate) use definition::{constraint_definition, index_definition};

use super::settings::Settings;
use crate::engine::{Catalog, Exec, Row, SearchPath, TableId};
use crate::types::{Datum, Type};

/// The first OID that is not the server's own (`FirstNormalObjectId`).
const FIRST_NORMAL: u32 = 16384;

/// What a system relation's rows may depend on.
pub(crate) struct Facts<'a> {
    pub(crate) exec: &'a Exec<'a>,
    pub(crate) settings: &'a Settings,
    pub(crate) database: &'a str,
}

impl Facts<'_> {
    pub(crate) fn catalog(&self) -> &Arc<Catalog> {
        self.exec.catalog()
    }

    pub(crate) fn path(&self) -> &SearchPath {
        self.exec.path()
    }
}

/// Computes the rows of a relation.
pub(crate) type Compute = fn(&Facts<'_>, &mut Rows<'_>);

/// A relation of `pg_catalog` or `information_schema`.
#[derive(Debug)]
pub(crate) struct SystemRelation {
    pub(crate) id: TableId,
    pub(crate) schema: Arc<str>,
    pub(crate) name: Arc<str>,
    /// A view rather than a table.
    pub(crate) is_view: bool,
    /// Names, types and modifiers.
    pub(crate) columns: Vec<(Arc<str>, Type, i32)>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// The same rows on every server.
    Constant(&'static str),
    Computed(Compute),
    /// Nothing of the kind exists here.
    Empty,
    Lacking,
}

/// Where the rows come from, by name: every relation whose rows are computed is listed here.
const COMPUTED: &[(&str, Compute)] = &[
    ("pg_attrdef", classes::pg_attrdef),
    ("pg_attribute", classes::pg_attribute),
    ("pg_auth_members", cluster::pg_auth_members),
    ("pg_authid", cluster::pg_authid),
    ("pg_class", classes::pg_class),
    ("pg_constraint", constraints::pg_constraint),
    ("pg_database", cluster::pg_database),
    ("pg_depend", classes::pg_depend),
    ("pg_enum", types::pg_enum),
    ("pg_index", constraints::pg_index),
    ("pg_indexes", constraints::pg_indexes),
    ("pg_locks", activity::pg_locks),
    ("pg_namespace", classes::pg_namespace),
    ("pg_prepared_xacts", cluster::pg_prepared_xacts),
    ("pg_roles", cluster::pg_roles),
    ("pg_sequence", classes::pg_sequence),
    ("pg_sequences", classes::pg_sequences),
    ("pg_settings", cluster::pg_settings),
    ("pg_stat_activity", activity::pg_stat_activity),
    ("pg_tables", classes::pg_tables),
    ("pg_type", types::pg_type),
    ("pg_user", cluster::pg_user),
    ("pg_views", classes::pg_views),
    ("tables", schema::tables),
    ("columns", schema::columns),
    ("table_constraints", schema::table_constraints),
    ("key_column_usage", schema::key_column_usage),
    ("schemata", schema::schemata),
    ("sequences", schema::sequences),
    ("views", schema::views),
];

/// What cannot exist here.
const EMPTY: &[&str] = &[
    "pg_db_role_setting",
    "pg_default_acl",
    "pg_description",
    "pg_event_trigger",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_group",
    "pg_inherits",
    "pg_init_privs",
    "pg_largeobject_metadata",
    "pg_matviews",
    "pg_parameter_acl",
    "pg_partitioned_table",
    "pg_policies",
    "pg_policy",
    "pg_publication",
    "pg_publication_namespace",
    "pg_publication_rel",
    "pg_publication_tables",
    "pg_replication_origin",
    "pg_replication_slots",
    "pg_rewrite",
    "pg_rules",
    "pg_seclabel",
    "pg_seclabels",
    "pg_shdepend",
    "pg_shdescription",
    "pg_shseclabel",
    "pg_stat_database_conflicts",
    "pg_stat_replication",
    "pg_stat_ssl",
    "pg_stat_user_functions",
    "pg_statistic_ext",
    "pg_subscription",
    "pg_subscription_rel",
    "pg_transform",
    "pg_trigger",
    "pg_user_mapping",
];

/// Schema and name.
type Key = (Arc<str>, Arc<str>);

/// All of them.
static RELATIONS: LazyLock<BTreeMap<Key, SystemRelation>> = LazyLock::new(|| {
    let lines = include_str!("catalogs/columns.txt").lines();
    lines
        .filter_map(read)
        .map(|relation| ((relation.schema.clone(), relation.name.clone()), relation))
        .collect()
});

/// A line: schema, name, OID, kind, then `column:type` each.
fn read(line: &str) -> Option<SystemRelation> {
    let mut words = line.split(' ');
    let (schema, name) = (words.next()?, words.next()?);
    let (oid, kind) = (words.next()?, words.next()?);
    let columns = words.filter_map(|word| {
        let (name, ty) = word.rsplit_once(':')?;
        let (ty, typmod) = match ty.split_once('(') {
            Some((ty, length)) => (ty, length.trim_end_matches(')').parse::<i32>().ok()? + 4),
            None => (ty, -1),
        };
        Some((name.into(), type_named(ty), typmod))
    });
    let computed = COMPUTED.iter().find(|(computed, _)| *computed == name);
    let source = match (constants::of(name), computed) {
        (Some(rows), _) => Source::Constant(rows),
        (None, Some((_, compute))) => Source::Computed(*compute),
        (None, None) if EMPTY.contains(&name) => Source::Empty,
        (None, None) => Source::Lacking,
    };
    Some(SystemRelation {
        id: TableId(oid.parse().ok()?),
        schema: schema.into(),
        name: name.into(),
        is_view: kind == "v",
        columns: columns.collect(),
        source,
    })
}

/// A type by its name in `pg_type`; one that has no values here is read as text.
fn type_named(name: &str) -> Type {
    let found = |name: &str| Type::ALL.iter().copied().find(|ty| ty.name() == name);
    found(name).unwrap_or(match name {
        "int2vector" => Type::Int2Array,
        "oidvector" => Type::Int8Array,
        "xid" => Type::Xid8,
        name if name.starts_with('_') => Type::TextArray,
        _ => Type::Text,
    })
}

/// A system relation, by a name with or without a schema. Without one it is found in `pg_catalog`,
/// which is searched before anything else, and in `information_schema` if the path says so.
pub(crate) fn find(
    path: &SearchPath,
    schema: Option<&str>,
    name: &str,
) -> Option<&'static SystemRelation> {
    let get = |schema: &str| RELATIONS.get(&(schema.into(), name.into()));
    match schema {
        Some(schema @ ("pg_catalog" | "information_schema")) => get(schema),
        Some(_) => None,
        None => {
            let listed = path
                .schemas
                .iter()
                .any(|schema| &**schema == "information_schema");
            let found = name.starts_with("pg_").then(|| get("pg_catalog")).flatten();
            found.or_else(|| listed.then(|| get("information_schema")).flatten())
        }
    }
}

/// A system relation by OID.
pub(crate) fn by_id(id: u32) -> Option<&'static SystemRelation> {
    all().find(|relation| relation.id.0 == id)
}

/// All that can be read.
pub(crate) fn all() -> impl Iterator<Item = &'static SystemRelation> {
    let relations = RELATIONS.values();
    relations.filter(|relation| !relation.is_lacking())
}

impl SystemRelation {
    /// Whether its rows are not known here.
    pub(crate) fn is_lacking(&self) -> bool {
        matches!(self.source, Source::Lacking)
    }

    /// Its rows.
    pub(crate) fn rows(&self, facts: &Facts<'_>) -> Vec<Row> {
        let mut rows = Rows {
            relation: self,
            template: self
                .columns
                .iter()
                .map(|(_, ty, _)| match self.is_view {
                    true => Datum::Null,
                    false => constants::default(*ty),
                })
                .collect(),
            places: Vec::new(),
            rows: Vec::new(),
        };
        match self.source {
            Source::Constant(text) => constants::read(text, &mut rows),
            Source::Computed(compute) => compute(facts, &mut rows),
            Source::Empty | Source::Lacking => {}
        }
        rows.rows
    }
}

/// Rows as they are gathered: columns that nobody fills are zero, false or empty if they cannot be
/// NULL, else NULL.
pub(crate) struct Rows<'a> {
    relation: &'a SystemRelation,
    template: Vec<Datum>,
    places: Vec<usize>,
    rows: Vec<Row>,
}

impl Rows<'_> {
    /// Says which columns the rows to come fill.
    pub(crate) fn fill(&mut self, columns: &[&str]) {
        let place = |name: &&str| {
            let mut columns = self.relation.columns.iter();
            let place = columns.position(|(column, ..)| &**column == *name);
            place.unwrap_or_else(|| panic!("{} has no column {name}", self.relation.name))
        };
        self.places = columns.iter().map(place).collect();
    }

    /// A row, of the columns that were named.
    pub(crate) fn push(&mut self, values: impl IntoIterator<Item = Datum>) {
        let mut row = self.template.clone();
        for (place, value) in self.places.iter().zip(values) {
            row[*place] = value;
        }
        self.rows.push(row.into());
    }

    /// A whole row.
    fn push_all(&mut self, values: Vec<Datum>) {
        self.rows.push(values.into());
    }

    fn types(&self) -> impl Iterator<Item = Type> {
        self.relation.columns.iter().map(|(_, ty, _)| *ty)
    }
}

/// An OID as a value.
pub(crate) fn oid(id: impl Into<i64>) -> Datum {
    Datum::Int8(id.into())
}

/// A name as a value.
pub(crate) fn name(name: &Arc<str>) -> Datum {
    Datum::Text(name.clone())
}
