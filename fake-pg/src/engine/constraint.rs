//! What tables demand of their rows: checks, unique indexes, foreign keys.
//!
//! A foreign key is noted in both of its tables, so that whoever changes a row finds in the table's
//! own definition what that concerns. Expressions are text, but for those of an index: whoever makes
//! one brings along the program that computes its keys, since recovery needs it too.

use std::sync::Arc;

use super::TableId;
use super::catalog::{Catalog, Table};
use crate::error::PgError;
use crate::types::Datum;

/// A CHECK constraint.
#[derive(Clone, Debug)]
pub struct Check {
    /// Its name.
    pub name: Arc<str>,
    /// The SQL text between its parentheses.
    pub expression: Arc<str>,
    /// The rows that there were have been looked at: it was not added as NOT VALID.
    pub validated: bool,
}

/// When a constraint is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deferral {
    /// NOT DEFERRABLE: a unique key with each row, a foreign key at the end of the statement.
    #[default]
    Never,
    /// DEFERRABLE INITIALLY IMMEDIATE: at the end of the statement, unless SET CONSTRAINTS says else.
    Immediate,
    /// INITIALLY DEFERRED: at COMMIT, unless SET CONSTRAINTS says else.
    Deferred,
}

/// An index. Only unique ones have entries; the others are promises of speed that this server keeps
/// by being small.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// Its OID. The engine gives it when it creates it.
    pub id: TableId,
    /// Its name, which is its constraint's too.
    pub name: Arc<str>,
    /// Which of the heap's entries are its own, if it is unique. The engine gives it that when it is
    /// created; it never changes.
    pub slot: usize,
    /// The columns of its key, by position in the table; all that it is computed from if `computed`.
    pub columns: Vec<usize>,
    /// Columns that it only carries along (INCLUDE).
    pub included: Vec<usize>,
    /// Its expressions and predicate, if it has any.
    pub computed: Option<Arc<Computed>>,
    /// Whether a key may stand there once only.
    pub unique: bool,
    /// Whether NULL equals NULL.
    pub nulls_not_distinct: bool,
    /// Whether it is the primary key.
    pub primary: bool,
    /// Whether a constraint made it, rather than CREATE INDEX.
    pub constraint: bool,
    /// When that constraint is checked.
    pub deferral: Deferral,
    /// How far it has been made, or unmade, CONCURRENTLY.
    pub state: IndexState,
}

/// Who looks at an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IndexState {
    /// Everybody.
    #[default]
    Valid,
    /// Who writes (`indisready`).
    Ready,
    /// Nobody.
    Building,
}

/// What an index over expressions, or over some rows only, keeps.
#[derive(Clone, Debug)]
pub struct Computed {
    /// Its keys as `pg_get_indexdef` writes them: columns, or expressions.
    pub keys: Vec<Arc<str>>,
    /// The condition for a row to be in it (WHERE).
    pub predicate: Option<Arc<str>>,
    /// How to compute a row's key.
    pub program: Arc<dyn KeyProgram>,
}

/// Computes the key of a row. It is immutable: the same row has the same key for ever.
pub trait KeyProgram: std::fmt::Debug + Send + Sync {
    /// The key; none if the predicate leaves the row out.
    fn key(&self, row: &[Datum]) -> Result<Option<Vec<Datum>>, PgError>;
}

/// What happens to a row when the one that it refers to goes or changes its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// It is an error, unless it has been mended by the time of the check.
    NoAction,
    /// It is an error.
    Restrict,
    /// It goes or changes too.
    Cascade,
    /// These of its columns become NULL.
    SetNull(Vec<usize>),
    /// These of its columns get their defaults.
    SetDefault(Vec<usize>),
}

/// A foreign key: `pg_constraint` with `contype` f.
#[derive(Clone, Debug)]
pub struct ForeignKey {
    /// Its OID. The engine gives it when it creates it.
    pub id: TableId,
    /// Its name.
    pub name: Arc<str>,
    /// Whose rows refer,
    pub table: TableId,
    /// by which columns,
    pub columns: Vec<usize>,
    /// to rows of this table,
    pub referenced: TableId,
    /// by which columns,
    pub keys: Vec<usize>,
    /// of which unique index.
    pub index: Arc<str>,
    /// MATCH FULL rather than SIMPLE.
    pub full: bool,
    /// ON DELETE.
    pub on_delete: Reaction,
    /// ON UPDATE.
    pub on_update: Reaction,
    /// When it is checked.
    pub deferral: Deferral,
    /// Whether the rows that were there have been checked.
    pub validated: bool,
}

impl Index {
    /// The slot of an index that has not been built.
    pub(super) const NO_SLOT: usize = usize::MAX;

    /// The key and its value as a unique violation tells them: `(a, b)=(1, x)`.
    pub fn describe(&self, table: &Table, row: &[Datum]) -> String {
        let list = |items: Vec<String>| items.join(", ");
        if let Some(computed) = &self.computed {
            let key = computed.program.key(row).ok().flatten().unwrap_or_default();
            let values = key.iter().map(Datum::to_string).collect();
            return format!("({})=({})", computed.keys.join(", "), list(values));
        }
        let names = self
            .columns
            .iter()
            .map(|&column| table.columns[column].name.to_string());
        let values = self.columns.iter().map(|&column| row[column].to_string());
        format!("({})=({})", list(names.collect()), list(values.collect()))
    }
}

impl Index {
    /// Whether both rows have the same key.
    pub(super) fn keeps_key(&self, old: &[Datum], new: &[Datum]) -> bool {
        match &self.computed {
            None => self
                .columns
                .iter()
                .all(|&column| old[column] == new[column]),
            Some(computed) => match (computed.program.key(old), computed.program.key(new)) {
                (Ok(old), Ok(new)) => old == new,
                _ => false,
            },
        }
    }
}

impl ForeignKey {
    /// Whether it is the same constraint, perhaps changed.
    pub fn is_same(&self, other: &ForeignKey) -> bool {
        self.id == other.id
    }
}

impl Catalog {
    /// Changes the definition of a table, if it is there.
    pub(super) fn change_table(&mut self, id: TableId, change: impl FnOnce(&mut Table)) {
        if let Some(old) = self.table_by_id(id) {
            let mut table = Table::clone(old);
            change(&mut table);
            self.put_table(&Arc::new(table));
        }
    }

    /// Gives an index another name. Foreign keys know theirs by name.
    pub(super) fn rename_index(&mut self, id: TableId, index: TableId, name: &Arc<str>) {
        let Some(table) = self.table_by_id(id).cloned() else {
            return;
        };
        let Some(old) = table.indexes.iter().find(|old| old.id == index) else {
            return;
        };
        self.change_table(id, |table| {
            for other in table.indexes.iter_mut().filter(|other| other.id == index) {
                Arc::make_mut(other).name = name.clone();
            }
        });
        for key in table
            .referenced_by
            .iter()
            .filter(|key| key.index == old.name)
        {
            let mut key = ForeignKey::clone(key);
            key.index = name.clone();
            self.replace_foreign_key(&Arc::new(key));
        }
    }

    /// A table's new definition, with its indexes named as they are: only their own changes rename them.
    pub(super) fn with_names_of_indexes(&self, new: &Arc<Table>) -> Arc<Table> {
        let Some(old) = self.table_by_id(new.id) else {
            return new.clone();
        };
        let name = |index: &Index| {
            let mut named = old.indexes.iter();
            let named = named.find(|old| old.id == index.id && old.name != index.name);
            named.map(|old| old.name.clone())
        };
        if new.indexes.iter().all(|index| name(index).is_none()) {
            return new.clone();
        }
        let mut table = Table::clone(new);
        for index in &mut table.indexes {
            if let Some(name) = name(index) {
                Arc::make_mut(index).name = name;
            }
        }
        Arc::new(table)
    }

    pub(super) fn add_foreign_key(&mut self, key: &Arc<ForeignKey>) {
        self.change_table(key.table, |table| table.foreign_keys.push(key.clone()));
        self.change_table(key.referenced, |table| {
            table.referenced_by.push(key.clone())
        });
    }

    pub(super) fn replace_foreign_key(&mut self, key: &Arc<ForeignKey>) {
        let replace = |keys: &mut Vec<Arc<ForeignKey>>| {
            let mut same = keys.iter_mut().filter(|other| other.is_same(key));
            if let Some(other) = same.next() {
                *other = key.clone();
            }
        };
        self.change_table(key.table, |table| replace(&mut table.foreign_keys));
        self.change_table(key.referenced, |table| replace(&mut table.referenced_by));
    }

    pub(super) fn drop_foreign_key(&mut self, key: &ForeignKey) {
        let other = |other: &Arc<ForeignKey>| !other.is_same(key);
        self.change_table(key.table, |table| table.foreign_keys.retain(other));
        self.change_table(key.referenced, |table| table.referenced_by.retain(other));
    }
}
