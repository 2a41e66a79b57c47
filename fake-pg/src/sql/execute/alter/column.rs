//! Columns that come, go, and change.

use std::sync::Arc;

use super::{Cell, Work, cascades};
use crate::engine::{Catalog, Column, Identity, Index, SearchPath, Sequence, View};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{self, Expr, Name};
use crate::sql::execute::ddl;
use crate::sql::execute::drop::shown;
use crate::sql::parse;
use crate::sql::plan::{Binder, Scalar, Typed};
use crate::sql::quote::quote_name;
use crate::types::Datum;

impl Work {
    /// False if it is there already, and that is no error.
    pub(super) fn add_column(
        &mut self,
        definition: &ast::ColumnDef,
        if_not_exists: bool,
        names: (&Catalog, &SearchPath),
    ) -> Result<bool, PgError> {
        let table = self.new.name.clone();
        if self.new.column(&definition.name).is_some() {
            let message = format!(
                "column \"{}\" of relation \"{table}\" already exists",
                definition.name
            );
            if !if_not_exists {
                return Err(PgError::new(SqlState::DUPLICATE_COLUMN, message));
            }
            let message = format!("{message}, skipping");
            self.notices
                .push(PgError::notice(SqlState::DUPLICATE_COLUMN, message));
            return Ok(false);
        }
        let mut chosen = self.names(names.0);
        let schema = self.new.schema.clone();
        let (column, sequence) = ddl::column(definition, &table, &schema, names, &mut chosen)?;
        let place = self.new.columns.len();
        let cell = if let Some(sequence) = sequence {
            self.sequences.push((place, sequence));
            Cell::Value(Datum::Null)
        } else if let Some((default, _)) = &definition.default {
            let mut binder = Binder::new(names.0, names.1, Vec::new());
            let to = Typed {
                ty: column.ty,
                typmod: column.typmod,
            };
            let checked = binder.check_default(default, to, &definition.name);
            checked.map_err(PgError::nowhere)?;
            Cell::Computed(binder.default_expr(default, to)?)
        } else {
            Cell::Value(Datum::Null)
        };
        if column.not_null {
            self.not_null.push(place);
        }
        self.new.columns.push(column);
        self.cells.push(cell);
        Ok(true)
    }

    pub(super) fn drop_sequences(&mut self, place: usize, catalog: &Catalog) {
        let owned = |sequence: &&Arc<Sequence>| sequence.owner == Some((self.new.id, place));
        let owned: Vec<_> = catalog.sequences().filter(owned).cloned().collect();
        self.dropped.extend(owned);
    }

    pub(super) fn drop_column(
        &mut self,
        name: &str,
        if_exists: bool,
        cascade: bool,
        (catalog, path): (&Catalog, &SearchPath),
    ) -> Result<(), PgError> {
        let place = match self.column(name) {
            Ok(place) => place,
            Err(missing) if if_exists => {
                let message = format!("{}, skipping", missing.message);
                self.notices
                    .push(PgError::notice(SqlState::SUCCESSFUL_COMPLETION, message));
                return Ok(());
            }
            Err(missing) => return Err(missing),
        };
        let on = shown(catalog, path, &self.new.schema, &self.new.name);
        self.drop_readers(name, &on, cascade, (catalog, path))?;
        let referring = self.new.referenced_by.iter();
        let referring: Vec<_> = referring
            .filter(|key| key.keys.contains(&place))
            .cloned()
            .collect();
        let column = format!("column {name} of table {on}");
        self.drop_referring(referring, &column, &column, cascade, (catalog, path))?;
        let table = Arc::new(self.new.clone());
        let mut kept = Vec::with_capacity(table.checks.len());
        for check in &table.checks {
            let expr = parse::expression(&check.expression)?;
            let about = Binder::new(catalog, path, Vec::new()).check(&table, &expr)?;
            if !about.contains(&place) {
                kept.push(check.clone());
            }
        }
        self.new.checks = kept;
        let before = self.new.indexes.len();
        self.new
            .indexes
            .retain(|index| !index.columns.contains(&place) && !index.included.contains(&place));
        self.reindex |= self.new.indexes.len() < before;
        let own = self.new.foreign_keys.iter();
        let own = own.filter(|key| key.columns.contains(&place)).cloned();
        self.dropped_keys.extend(own);
        self.drop_sequences(place, catalog);
        let column = &mut self.new.columns[place];
        *column = Column {
            name: format!("........pg.dropped.{}........", place + 1).into(),
            dropped: true,
            not_null: false,
            default: None,
            identity: None,
            ..column.clone()
        };
        self.cells[place] = Cell::Value(Datum::Null);
        self.not_null.retain(|column| *column != place);
        Ok(())
    }

    /// Views that read a column, and views of those, go only with CASCADE.
    pub(super) fn drop_readers(
        &mut self,
        name: &str,
        on: &str,
        cascade: bool,
        (catalog, path): (&Catalog, &SearchPath),
    ) -> Result<(), PgError> {
        let describe = |view: &View| {
            let name = shown(catalog, path, &view.schema, &view.name);
            format!("view {name}")
        };
        let mut found: Vec<(Arc<View>, String)> = Vec::new();
        for view in self.readers(catalog) {
            if reads_column(&view, name) {
                found.push((view, format!("column {name} of table {on}")));
            }
        }
        let mut next = 0;
        while let Some((view, _)) = found.get(next).cloned() {
            let spaces = catalog.namespaces(self.new.database);
            for reader in spaces.flat_map(|space| space.views()) {
                let known = found.iter().any(|(other, _)| other.id == reader.id);
                if reader.reads.contains(&view.id) && !known {
                    found.push((reader.clone(), describe(&view)));
                }
            }
            next += 1;
        }
        if found.is_empty() {
            return Ok(());
        }
        if !cascade {
            let lines = found.iter();
            let lines = lines.map(|(view, on)| format!("{} depends on {on}", describe(view)));
            let message = format!(
                "cannot drop column {name} of table {on} because other objects depend on it"
            );
            return Err(
                PgError::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message)
                    .with_detail(lines.collect::<Vec<_>>().join("\n"))
                    .with_hint("Use DROP ... CASCADE to drop the dependent objects too."),
            );
        }
        let lines = found.iter();
        let lines: Vec<String> = lines
            .map(|(view, _)| format!("drop cascades to {}", describe(view)))
            .collect();
        self.notices.push(cascades(&lines));
        self.views.extend(found.into_iter().map(|(view, _)| view));
        Ok(())
    }

    pub(super) fn readers(&self, catalog: &Catalog) -> Vec<Arc<View>> {
        let spaces = catalog.namespaces(self.new.database);
        let views = spaces.flat_map(|space| space.views());
        let reads = |view: &&Arc<View>| view.reads.contains(&self.new.id);
        views.filter(reads).cloned().collect()
    }

    pub(super) fn is_referenced(&self, place: usize) -> bool {
        let mut keys = self.new.referenced_by.iter();
        keys.any(|key| key.keys.contains(&place))
    }

    pub(super) fn set_type(
        &mut self,
        name: &str,
        ty: &ast::TypeName,
        using: Option<&Expr>,
        (catalog, path): (&Catalog, &SearchPath),
    ) -> Result<(), PgError> {
        let place = self.column(name)?;
        let readers = self.readers(catalog);
        if let Some(view) = readers.iter().find(|view| reads_column(view, name)) {
            return Err(PgError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "cannot alter type of a column used by a view or rule",
            )
            .with_detail(format!(
                "rule _RETURN on view {} depends on column \"{name}\"",
                shown(catalog, path, &view.schema, &view.name)
            )));
        }
        let of_key = |key: &Arc<crate::engine::ForeignKey>| key.columns.contains(&place);
        if self.is_referenced(place) || self.new.foreign_keys.iter().any(of_key) {
            return Err(PgError::feature_not_supported(
                "changing the type of a column of a foreign key",
            ));
        }
        if self
            .new
            .indexes
            .iter()
            .any(|index| index.computed.is_some())
        {
            return Err(PgError::feature_not_supported(
                "changing types of a table with an index on expressions",
            ));
        }
        let mut binder = Binder::new(catalog, path, Vec::new());
        let to = binder.type_name(ty)?;
        let column = Expr::Column(vec![name.into()], 0);
        let expr = using.unwrap_or(&column);
        let (scalar, from) = binder.over_table(Some(&self.old), expr)?;
        let cast = binder.assignable(scalar, from, to)?;
        let Some(cast) = cast else {
            let message = match using {
                None => format!(
                    "column \"{name}\" cannot be cast automatically to type {}",
                    to.ty
                ),
                Some(_) => format!(
                    "result of USING clause for column \"{name}\" cannot be cast automatically to type {}",
                    to.ty
                ),
            };
            let hint = match using {
                None => format!(
                    "You might need to specify \"USING {}::{}\".",
                    quote_name(name),
                    to.ty
                ),
                Some(_) => "You might need to add an explicit cast.".into(),
            };
            return Err(PgError::new(SqlState::DATATYPE_MISMATCH, message).with_hint(hint));
        };
        let column = &mut self.new.columns[place];
        if let Some(default) = &column.default
            && column.identity.is_none()
        {
            let expr = parse::expression(default)?;
            let default = binder.over_table(None, &expr)?;
            if binder.assignable(default.0, default.1, to)?.is_none() {
                return Err(PgError::new(
                    SqlState::DATATYPE_MISMATCH,
                    format!(
                        "default for column \"{name}\" cannot be cast automatically to type {}",
                        to.ty
                    ),
                ));
            }
        }
        (column.ty, column.typmod) = (to.ty, to.typmod);
        self.reindex = true;
        self.cells[place] = match cast {
            Scalar::Column(same) => Cell::Old(same),
            cast => Cell::Computed(cast),
        };
        Ok(())
    }

    pub(super) fn refuse_nullable(&self, place: usize) -> Result<(), PgError> {
        let name = &self.new.columns[place].name;
        let keyed = |index: &Arc<Index>| index.primary && index.columns.contains(&place);
        if self.new.indexes.iter().any(keyed) {
            return Err(PgError::new(
                SqlState::INVALID_TABLE_DEFINITION,
                format!("column \"{name}\" is in a primary key"),
            ));
        }
        if self.new.columns[place].identity.is_some() {
            return Err(PgError::new(
                SqlState::SYNTAX_ERROR,
                format!(
                    "column \"{name}\" of relation \"{}\" is an identity column",
                    self.new.name
                ),
            ));
        }
        Ok(())
    }

    pub(super) fn add_identity(
        &mut self,
        name: &str,
        identity: &ast::Identity,
        names: (&Catalog, &SearchPath),
    ) -> Result<(), PgError> {
        let place = self.column(name)?;
        let (column, table) = (&self.new.columns[place], &self.new.name);
        let refuse = |code: SqlState, what: &str| {
            let message = format!("column \"{name}\" of relation \"{table}\" {what}");
            Err(PgError::new(code, message))
        };
        let state = SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE;
        if !column.not_null {
            return refuse(
                state,
                "must be declared NOT NULL before identity can be added",
            );
        }
        if column.identity.is_some() {
            return refuse(state, "is already an identity column");
        }
        if column.default.is_some() {
            return refuse(state, "already has a default value");
        }
        let definition = ast::ColumnDef {
            name: column.name.clone(),
            ty: ast::TypeName {
                name: vec![column.ty.name().into()],
                modifiers: Vec::new(),
                array: false,
                at: 0,
                cast_at: 0,
            },
            not_null: true,
            default: None,
            contradiction: None,
            identity: Some(identity.clone()),
        };
        let (table, schema) = (table.clone(), self.new.schema.clone());
        let mut chosen = self.names(names.0);
        let (column, sequence) = ddl::column(&definition, &table, &schema, names, &mut chosen)?;
        self.new.columns[place] = column;
        self.sequences
            .extend(sequence.map(|sequence| (place, sequence)));
        Ok(())
    }

    pub(super) fn rename_column(
        &mut self,
        from: &Name,
        to: &Name,
        (catalog, _): (&Catalog, &SearchPath),
    ) -> Result<(), PgError> {
        let Some(place) = self.new.column(from) else {
            return Err(PgError::undefined_column(from));
        };
        ddl::refuse_system_column(to)?;
        if self.new.column(to).is_some() {
            return Err(PgError::new(
                SqlState::DUPLICATE_COLUMN,
                format!(
                    "column \"{to}\" of relation \"{}\" already exists",
                    self.new.name
                ),
            ));
        }
        if self
            .readers(catalog)
            .iter()
            .any(|view| reads_column(view, from))
        {
            return Err(PgError::feature_not_supported(
                "renaming a column that a view reads",
            ));
        }
        if self
            .new
            .indexes
            .iter()
            .any(|index| index.computed.is_some())
        {
            return Err(PgError::feature_not_supported(
                "renaming a column of a table with an index on expressions",
            ));
        }
        for check in &mut self.new.checks {
            check.expression = parse::rename_column(&check.expression, from, to).into();
        }
        self.new.columns[place].name = to.clone();
        Ok(())
    }

    pub(super) fn no_identity(&self, name: &str) -> PgError {
        PgError::new(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!(
                "column \"{name}\" of relation \"{}\" is not an identity column",
                self.new.name
            ),
        )
    }
}

/// Whether a view may depend on a column of that name: whether its text has it, or a star.
pub(super) fn reads_column(view: &View, name: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut words = view.query.split(|c: char| !is_name(c));
    view.query.contains('*') || words.any(|word| word.eq_ignore_ascii_case(name))
}

/// The default that draws on a sequence.
pub(super) fn next_value(schema: &str, name: &str) -> Name {
    let name = quote_name(name);
    match schema {
        "public" => format!("nextval('{name}'::regclass)").into(),
        _ => format!("nextval('{}.{name}'::regclass)", quote_name(schema)).into(),
    }
}

pub(super) fn kind(always: bool) -> Identity {
    match always {
        true => Identity::Always,
        false => Identity::ByDefault,
    }
}
