//! What tools ask of the catalogs: definitions, visibility, privileges, descriptions.

use super::{Arg, Function, Returns, lenient, strict};
use crate::engine::{Halt, Relation, TableId};
use crate::error::PgError;
use crate::sql::catalogs::{self, Facts, constraint_definition, index_definition};
use crate::sql::face::Context;
use crate::sql::plan::{find_class, named_class, parse_name};
use crate::sql::quote::quote_name;
use crate::types::{Datum, Type};

use Arg::Is;
use Type::{Bool, Int4, Int8, Name, Oid, Regclass, Text};

type Answer = Result<Datum, Halt>;

macro_rules! privileges {
    ($($name:literal)*) => {
        &[$(
            strict($name, &[Is(Text), Is(Text)], Returns::Is(Bool), allowed),
            strict($name, &[Is(Oid), Is(Text)], Returns::Is(Bool), allowed),
            strict($name, &[Is(Name), Is(Text), Is(Text)], Returns::Is(Bool), allowed),
            strict($name, &[Is(Name), Is(Oid), Is(Text)], Returns::Is(Bool), allowed),
            strict($name, &[Is(Oid), Is(Text), Is(Text)], Returns::Is(Bool), allowed),
            strict($name, &[Is(Oid), Is(Oid), Is(Text)], Returns::Is(Bool), allowed),
        )*]
    };
}

/// Everybody may do everything.
pub(super) const PRIVILEGES: &[Function] = privileges! {
    "has_table_privilege"
    "has_schema_privilege"
    "has_database_privilege"
    "has_sequence_privilege"
    "has_function_privilege"
    "has_type_privilege"
    "has_language_privilege"
    "has_any_column_privilege"
};

fn allowed(_: &mut Context<'_>, _: &[Datum]) -> Answer {
    Ok(Datum::Bool(true))
}

pub(super) const FUNCTIONS: &[Function] = &[
    strict("pg_get_indexdef", &[Is(Oid)], Returns::Is(Text), indexdef),
    strict(
        "pg_get_indexdef",
        &[Is(Oid), Is(Int4), Is(Bool)],
        Returns::Is(Text),
        indexdef,
    ),
    strict(
        "pg_get_constraintdef",
        &[Is(Oid)],
        Returns::Is(Text),
        constraintdef,
    ),
    strict(
        "pg_get_constraintdef",
        &[Is(Oid), Is(Bool)],
        Returns::Is(Text),
        constraintdef,
    ),
    strict(
        "pg_get_expr",
        &[Is(Type::PgNodeTree), Is(Oid)],
        Returns::Is(Text),
        first,
    ),
    strict(
        "pg_get_expr",
        &[Is(Type::PgNodeTree), Is(Oid), Is(Bool)],
        Returns::Is(Text),
        first,
    ),
    strict("pg_get_viewdef", &[Is(Oid)], Returns::Is(Text), viewdef),
    strict(
        "pg_get_viewdef",
        &[Is(Oid), Is(Bool)],
        Returns::Is(Text),
        viewdef,
    ),
    lenient(
        "format_type",
        &[Is(Oid), Is(Int4)],
        Returns::Is(Text),
        format_type,
    ),
    strict(
        "pg_table_is_visible",
        &[Is(Oid)],
        Returns::Is(Bool),
        is_visible,
    ),
    strict("pg_type_is_visible", &[Is(Oid)], Returns::Is(Bool), allowed),
    strict(
        "pg_function_is_visible",
        &[Is(Oid)],
        Returns::Is(Bool),
        allowed,
    ),
    strict(
        "pg_opclass_is_visible",
        &[Is(Oid)],
        Returns::Is(Bool),
        allowed,
    ),
    strict(
        "pg_collation_is_visible",
        &[Is(Oid)],
        Returns::Is(Bool),
        allowed,
    ),
    strict("obj_description", &[Is(Oid)], Returns::Is(Text), nothing),
    strict(
        "obj_description",
        &[Is(Oid), Is(Name)],
        Returns::Is(Text),
        nothing,
    ),
    strict(
        "shobj_description",
        &[Is(Oid), Is(Name)],
        Returns::Is(Text),
        nothing,
    ),
    strict(
        "col_description",
        &[Is(Oid), Is(Int4)],
        Returns::Is(Text),
        nothing,
    ),
    strict("pg_get_partkeydef", &[Is(Oid)], Returns::Is(Text), nothing),
    strict("pg_relation_size", &[Is(Regclass)], Returns::Is(Int8), size),
    strict(
        "pg_relation_size",
        &[Is(Regclass), Is(Text)],
        Returns::Is(Int8),
        size,
    ),
    strict("pg_table_size", &[Is(Regclass)], Returns::Is(Int8), size),
    strict(
        "pg_total_relation_size",
        &[Is(Regclass)],
        Returns::Is(Int8),
        size,
    ),
    strict(
        "pg_indexes_size",
        &[Is(Regclass)],
        Returns::Is(Int8),
        |_, _| Ok(Datum::Int8(0)),
    ),
    strict(
        "pg_database_size",
        &[Is(Name)],
        Returns::Is(Int8),
        |_, _| Ok(Datum::Int8(0)),
    ),
    strict(
        "pg_encoding_to_char",
        &[Is(Int4)],
        Returns::Is(Name),
        |_, args| {
            Ok(Datum::text(match args[0].as_i64() {
                Some(0) => "SQL_ASCII",
                Some(6) => "UTF8",
                Some(8) => "LATIN1",
                _ => "",
            }))
        },
    ),
    strict(
        "pg_get_userbyid",
        &[Is(Oid)],
        Returns::Is(Name),
        |_, args| {
            Ok(match args[0].as_i64() {
                Some(10) => Datum::text("postgres"),
                Some(6171) => Datum::text("pg_database_owner"),
                other => Datum::text(format!("unknown (OID={})", other.unwrap_or(0))),
            })
        },
    ),
    strict("pg_my_temp_schema", &[], Returns::Is(Oid), |_, _| {
        Ok(Datum::Int8(0))
    }),
    strict(
        "pg_is_other_temp_schema",
        &[Is(Oid)],
        Returns::Is(Bool),
        |_, _| Ok(Datum::Bool(false)),
    ),
    strict(
        "to_regclass",
        &[Is(Text)],
        Returns::Is(Regclass),
        to_regclass,
    ),
    strict(
        "current_schemas",
        &[Is(Bool)],
        Returns::Is(Type::NameArray),
        current_schemas,
    ),
];

fn number(datum: &Datum) -> u32 {
    datum.as_i64().unwrap_or(0) as u32
}

fn relation(context: &Context<'_>, datum: &Datum) -> Option<Relation> {
    let id = TableId(number(datum));
    context.exec.catalog().relation_by_id(id)
}

fn nothing(_: &mut Context<'_>, _: &[Datum]) -> Answer {
    Ok(Datum::Null)
}

/// `pg_get_expr`: expressions are kept as text.
fn first(_: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(args[0].clone())
}

fn indexdef(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let Some(Relation::Index(table, index)) = relation(context, &args[0]) else {
        return Ok(Datum::Null);
    };
    let column = args.get(1).and_then(Datum::as_i64).unwrap_or(0);
    if column > 0 {
        let column = index.columns.get(column as usize - 1);
        let name = column.map(|&column| quote_name(&table.columns[column].name).into_owned());
        return Ok(Datum::text(name.unwrap_or_default()));
    }
    let pretty = args.get(2) == Some(&Datum::Bool(true));
    let (catalog, path) = (context.exec.catalog(), context.exec.path());
    let qualified = !pretty || !catalog.is_visible(path, &table.schema, &table.name);
    Ok(Datum::text(index_definition(&table, &index, qualified)))
}

fn constraintdef(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let id = args[0].as_i64().unwrap_or(0);
    let facts = facts(context);
    Ok(constraint_definition(&facts, id).map_or(Datum::Null, Datum::text))
}

fn facts<'a>(context: &'a Context<'_>) -> Facts<'a> {
    Facts {
        exec: &context.exec,
        settings: context.settings,
        database: context.database,
    }
}

fn viewdef(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    Ok(match relation(context, &args[0]) {
        Some(Relation::View(view)) => Datum::text(format!(" {};", view.query)),
        _ => Datum::Null,
    })
}

/// Source: `format_type_extended` in `utils/adt/format_type.c`.
fn format_type(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let Some(id) = args[0].as_i64() else {
        return Ok(Datum::Null);
    };
    let user = || {
        let database = context.exec.path().database;
        context.exec.catalog().user_type_by_oid(database, id as u32)
    };
    let Some(ty) = Type::from_oid(id as u32).or_else(user) else {
        return Ok(Datum::text(if id == 0 { "-" } else { "???" }));
    };
    let typmod = args[1].as_i64().unwrap_or(-1);
    let element = ty.element().unwrap_or(ty);
    let name = element.sql_name();
    let shown = match (element.name(), typmod) {
        (_, ..0) => name.to_string(),
        ("varchar" | "bpchar", 4..) => format!("{name}({})", typmod - 4),
        ("numeric", 4..) => {
            let typmod = typmod - 4;
            format!("{name}({},{})", typmod >> 16 & 0xffff, typmod & 0x7ff)
        }
        ("timestamp" | "timestamptz" | "time" | "timetz", _) => {
            let (first, rest) = name.split_once(' ').unwrap_or((name, ""));
            format!("{first}({typmod}) {rest}")
        }
        _ => name.to_string(),
    };
    Ok(Datum::text(match ty.element() {
        Some(_) => format!("{shown}[]"),
        None => shown,
    }))
}

fn is_visible(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    if let Some(system) = catalogs::by_id(number(&args[0])) {
        let found = catalogs::find(context.exec.path(), None, &system.name);
        return Ok(Datum::Bool(
            found.is_some_and(|found| found.id == system.id),
        ));
    }
    let (catalog, path) = (context.exec.catalog(), context.exec.path());
    Ok(match relation(context, &args[0]) {
        Some(found) => Datum::Bool(catalog.is_visible(path, found.schema(), found.name())),
        None => Datum::Null,
    })
}

/// Rows are counted rather than pages: what is there takes one page in so many rows.
fn size(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    const ROWS_PER_PAGE: i64 = 100;
    Ok(match relation(context, &args[0]) {
        Some(Relation::Table(table)) => {
            let rows = context.exec.engine.versions(&table) as i64;
            Datum::Int8((rows + ROWS_PER_PAGE - 1) / ROWS_PER_PAGE * 8192)
        }
        Some(_) => Datum::Int8(8192),
        None => Datum::Null,
    })
}

/// What a cast of an OID calls: regclass shows the name that is the relation's now.
pub(crate) static NAMED_CLASS: Function =
    strict("regclass", &[Is(Oid)], Returns::Is(Regclass), regclass);

fn regclass(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let oid = args[0].as_i64().unwrap_or(0) as u32;
    let (catalog, path) = (context.exec.catalog(), context.exec.path());
    Ok(match oid {
        0 => Datum::Named(0, "-".into()),
        oid => named_class(catalog, path, oid),
    })
}

/// A cast of text looks the name up when it runs, be it a number (`text_regclass`).
pub(crate) static CLASS_NAMED: Function =
    strict("regclass", &[Is(Text)], Returns::Is(Regclass), class_named);

fn class_named(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let (catalog, path) = (context.exec.catalog(), context.exec.path());
    let text = args[0].as_str().unwrap_or("");
    match find_class(catalog, path, text)? {
        Some(oid) => Ok(named_class(catalog, path, oid)),
        None => Err(PgError::undefined_table(&parse_name(text)?.join(".")).into()),
    }
}

fn to_regclass(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let (catalog, path) = (context.exec.catalog(), context.exec.path());
    let text = args[0].as_str().unwrap_or("");
    if text.parse::<u32>().is_ok() {
        return Ok(Datum::Null);
    }
    let found: Result<_, PgError> = find_class(catalog, path, text);
    Ok(found?.map_or(Datum::Null, |oid| named_class(catalog, path, oid)))
}

fn current_schemas(context: &mut Context<'_>, args: &[Datum]) -> Answer {
    let (catalog, path) = (context.exec.catalog(), context.exec.path());
    let implicit = args[0] == Datum::Bool(true);
    let listed = path.schemas.iter().any(|schema| &**schema == "pg_catalog");
    let mut schemas = Vec::new();
    if implicit && !listed {
        schemas.push(Datum::text("pg_catalog"));
    }
    for schema in &path.schemas {
        let system = matches!(&**schema, "pg_catalog" | "information_schema");
        if system || catalog.namespace(path.database, schema).is_some() {
            schemas.push(Datum::Text(schema.clone()));
        }
    }
    Ok(Datum::Array(schemas.into()))
}
