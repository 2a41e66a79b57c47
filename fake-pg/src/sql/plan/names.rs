//! Names of relations: their parts, and the search path.
//!
//! A name is looked up in its schema, or along the path if it has none. Whether
//! what is found is of the right kind is for whoever asked.

use super::Binder;
use crate::engine::{Catalog, Relation, SearchPath, TableId};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{self, Name};
use crate::sql::catalogs;
use crate::sql::quote::quote_name;
use crate::types::Datum;

/// The schema, if there is one, and the name (`DeconstructQualifiedName`).
pub(crate) fn split_name<'n>(
    catalog: &Catalog,
    path: &SearchPath,
    names: &'n [Name],
) -> Result<(Option<&'n Name>, &'n Name), PgError> {
    match names {
        [name] => Ok((None, name)),
        [schema, name] => Ok((Some(schema), name)),
        [database, schema, name] => {
            let own = catalog.database_by_id(path.database);
            match own.is_some_and(|own| own.name == *database) {
                true => Ok((Some(schema), name)),
                false => Err(PgError::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    format!(
                        "cross-database references are not implemented: \"{}\"",
                        names.join(".")
                    ),
                )),
            }
        }
        _ => Err(PgError::new(
            SqlState::SYNTAX_ERROR,
            format!(
                "improper qualified name (too many dotted names): {}",
                names.join(".")
            ),
        )),
    }
}

/// The parts of a name written in a string, as `regclass` reads it
/// (`stringToQualifiedNameList`).
pub(crate) fn parse_name(text: &str) -> Result<Vec<Name>, PgError> {
    let invalid = || PgError::new(SqlState::INVALID_NAME, "invalid name syntax");
    let mut names = Vec::new();
    let mut rest = text.trim();
    loop {
        let (name, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let mut name = String::new();
                let mut quoted = quoted;
                loop {
                    let end = quoted.find('"').ok_or_else(invalid)?;
                    name.push_str(&quoted[..end]);
                    quoted = &quoted[end + 1..];
                    match quoted.strip_prefix('"') {
                        Some(more) => {
                            name.push('"');
                            quoted = more;
                        }
                        None => break,
                    }
                }
                (name, quoted)
            }
            None => {
                let end = rest.find(|c: char| c == '.' || c.is_ascii_whitespace());
                let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
                (name.to_lowercase(), after)
            }
        };
        if name.is_empty() {
            return Err(invalid());
        }
        names.push(Name::from(name));
        let after = after.trim_start();
        match after.strip_prefix('.') {
            Some(more) => rest = more.trim_start(),
            None if after.is_empty() => return Ok(names),
            None => return Err(invalid()),
        }
    }
}

/// The OID of what a name in a string stands for: `regclass`.
pub(crate) fn find_class(
    catalog: &Catalog,
    path: &SearchPath,
    text: &str,
) -> Result<Option<u32>, PgError> {
    let names = parse_name(text)?;
    let (schema, name) = split_name(catalog, path, &names)?;
    let schema = schema.map(|schema| &**schema);
    if let Some(system) = catalogs::find(path, schema, name) {
        return Ok(Some(system.id.0));
    }
    let found = catalog.relation(path, schema, name);
    Ok(found.map(|relation| relation.id().0))
}

/// A relation's OID as regclass shows it (`regclassout`).
pub(crate) fn named_class(catalog: &Catalog, path: &SearchPath, oid: u32) -> Datum {
    let shown = |visible: bool, schema: &str, name: &str| match visible {
        true => quote_name(name).into_owned(),
        false => format!("{}.{}", quote_name(schema), quote_name(name)),
    };
    if let Some(system) = catalogs::by_id(oid) {
        let visible = catalogs::find(path, None, &system.name).is_some();
        let name = shown(visible, &system.schema, &system.name);
        return Datum::Named(oid, name.into());
    }
    let Some(found) = catalog.relation_by_id(TableId(oid)) else {
        return Datum::Int8(oid.into());
    };
    let visible = catalog.is_visible(path, found.schema(), found.name());
    Datum::Named(oid, shown(visible, found.schema(), found.name()).into())
}

impl Binder<'_> {
    /// What a name stands for, if anything.
    pub(super) fn find_relation(
        &self,
        relation: &ast::Relation,
    ) -> Result<Option<Relation>, PgError> {
        let split = split_name(self.catalog, self.path, &relation.name);
        let (schema, name) = split.map_err(|error| error.at(relation.at as usize))?;
        let schema = schema.map(|schema| &**schema);
        Ok(self.catalog.relation(self.path, schema, name))
    }
}
