//! Types: `pg_type` and `pg_enum`.
//!
//! The row type of a table or a view has no number in the catalog: its OID is made of the relation's.

use super::classes::{tables_of, views_of};
use super::constants::{push, read};
use super::{Facts, Rows};
use crate::types::{Datum, Type, UserKind, UserType};

/// The OID of the row type of a relation, and that of the array over it.
pub(super) fn row_type(relation: u32) -> (u32, u32) {
    (0x4000_0000 | relation, 0xc000_0000 | relation)
}

pub(super) fn pg_type(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    read(include_str!("pg_type.txt"), rows);
    let (catalog, database) = (facts.catalog(), facts.path().database);
    for (schema, ty) in catalog.user_types(database) {
        let space = catalog.namespace(database, schema);
        let space = space.map_or(0, |space| space.id);
        // There are no others.
        if let UserKind::Enum(_) = ty.kind {
            enumeration(ty, space, rows);
            array(ty.array_oid, &ty.name, space, ty.oid, "i", rows);
        }
    }
    let tables = tables_of(facts).map(|(space, table)| (space.id, table.id.0, &table.name));
    let views = views_of(facts).map(|(space, view)| (space.id, view.id.0, &view.name));
    for (space, relation, name) in tables.chain(views) {
        let (row, over) = row_type(relation);
        composite(row, name, space, relation, over, rows);
        array(over, name, space, row, "d", rows);
    }
}

/// The labels of the types that people made.
pub(super) fn pg_enum(facts: &Facts<'_>, rows: &mut Rows<'_>) {
    rows.fill(&["oid", "enumtypid", "enumsortorder", "enumlabel"]);
    for (_, ty) in facts.catalog().user_types(facts.path().database) {
        for label in Type::User(ty).labels().unwrap_or(&[]) {
            rows.push([
                Datum::Int8(label.oid.into()),
                Datum::Int8(ty.oid.into()),
                Datum::Float4(f32::from_bits(label.order)),
                Datum::text(&*label.text),
            ]);
        }
    }
}

fn flag(set: bool) -> &'static str {
    if set { "t" } else { "f" }
}

/// The fields up to `typacl`, by what a type differs in.
struct Described<'a> {
    oid: u32,
    name: &'a str,
    space: u32,
    len: i16,
    by_value: bool,
    kind: &'a str,
    category: char,
    relation: u32,
    subscripts: &'a str,
    element: u32,
    array: u32,
    /// In, out, receive, send.
    handlers: [&'a str; 4],
    analyses: &'a str,
    align: &'a str,
    storage: &'a str,
}

impl Described<'_> {
    fn push(self, rows: &mut Rows<'_>) {
        let (oid, space, len) = (
            self.oid.to_string(),
            self.space.to_string(),
            self.len.to_string(),
        );
        let (category, relation) = (self.category.to_string(), self.relation.to_string());
        let (element, array) = (self.element.to_string(), self.array.to_string());
        let [input, output, receive, send] = self.handlers;
        let fields = [
            &*oid,
            self.name,
            &space,
            "10",
            &len,
            flag(self.by_value),
            self.kind,
            &category,
            "f",
            "t",
            ",",
            &relation,
            self.subscripts,
            &element,
            &array,
            input,
            output,
            receive,
            send,
            "-",
            "-",
            self.analyses,
            self.align,
            self.storage,
            "f",
            "0",
            "-1",
            "0",
            "0",
            "\\N",
            "\\N",
            "\\N",
        ];
        push(fields.into_iter(), rows);
    }
}

fn enumeration(ty: &UserType, space: u32, rows: &mut Rows<'_>) {
    Described {
        oid: ty.oid,
        name: &ty.name,
        space,
        len: 4,
        by_value: true,
        kind: "e",
        category: 'E',
        relation: 0,
        subscripts: "-",
        element: 0,
        array: ty.array_oid,
        handlers: ["enum_in", "enum_out", "enum_recv", "enum_send"],
        analyses: "-",
        align: "i",
        storage: "p",
    }
    .push(rows);
}

fn composite(oid: u32, name: &str, space: u32, relation: u32, array: u32, rows: &mut Rows<'_>) {
    Described {
        oid,
        name,
        space,
        len: -1,
        by_value: false,
        kind: "c",
        category: 'C',
        relation,
        subscripts: "-",
        element: 0,
        array,
        handlers: ["record_in", "record_out", "record_recv", "record_send"],
        analyses: "-",
        align: "d",
        storage: "x",
    }
    .push(rows);
}

/// The array over a type of that name and alignment.
fn array(oid: u32, over: &str, space: u32, element: u32, align: &str, rows: &mut Rows<'_>) {
    Described {
        oid,
        name: &format!("_{over}"),
        space,
        len: -1,
        by_value: false,
        kind: "b",
        category: 'A',
        relation: 0,
        subscripts: "array_subscript_handler",
        element,
        array: 0,
        handlers: ["array_in", "array_out", "array_recv", "array_send"],
        analyses: "array_typanalyze",
        align: if align == "d" { "d" } else { "i" },
        storage: "x",
    }
    .push(rows);
}
