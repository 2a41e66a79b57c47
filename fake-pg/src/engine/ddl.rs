//! DDL: the catalog and the storage behind it, changed within transactions.
//!
//! The storage of what is created exists at once and goes if the transaction does not commit; that
//! of what is dropped goes when it has committed. TRUNCATE is both: a new heap for an old table.

use std::sync::Arc;

use super::catalog::{CatalogChange, Sequence, Table};
use super::constraint::{ForeignKey, Index};
use super::exec::{Effect, Exec, Halt};
use super::heap::{Heap, Key, Row};
use super::lock::LockMode;
use super::sequence::SequenceState;
use super::wal::Record;
use super::xact::Transaction;
use super::{Engine, FileNode, TableId};
use crate::error::PgError;

impl Exec<'_> {
    /// CREATE TABLE; the definition gets its id and node here.
    pub fn create_table(&mut self, mut table: Table) -> Result<Arc<Table>, Halt> {
        self.reserve_row_name(table.database, &table.schema, &table.name)?;
        for index in &table.indexes {
            self.reserve_name(table.database, &table.schema, &index.name)?;
        }
        let id = self.once_with_id(|exec| {
            table.id = exec.engine.new_relation();
            exec.number_indexes(&mut table);
            table.node = exec.create_heap(&table);
            exec.tx
                .change_catalog(CatalogChange::CreateTable(Arc::new(table.clone())));
            Ok(table.id)
        })?;
        let table = self.catalog().table_by_id(id);
        Ok(table.expect("just created").clone())
    }

    /// DROP TABLE, with the sequences its columns own.
    pub fn drop_table(&mut self, table: &Arc<Table>) -> Result<(), Halt> {
        self.lock_table(table, LockMode::AccessExclusive, false)?;
        self.once(|exec| {
            exec.empties(table)?;
            exec.note();
            exec.tx.flushes = true;
            let owned =
                |sequence: &&Arc<Sequence>| sequence.owner.is_some_and(|owner| owner.0 == table.id);
            let sequences: Vec<_> = exec.catalog().sequences().filter(owned).cloned().collect();
            for sequence in sequences {
                exec.tx
                    .change_catalog(CatalogChange::DropSequence(sequence));
            }
            for key in &table.foreign_keys {
                exec.tx
                    .change_catalog(CatalogChange::DropForeignKey(key.clone()));
            }
            exec.tx
                .change_catalog(CatalogChange::DropTable(table.clone()));
            Ok(())
        })
    }

    /// TRUNCATE.
    pub fn truncate(&mut self, table: &Arc<Table>) -> Result<(), Halt> {
        self.lock_table(table, LockMode::AccessExclusive, false)?;
        self.once(|exec| {
            exec.empties(table)?;
            // What the transaction has created is emptied where it is (`ExecuteTruncateGuts`).
            if !exec.tx.has_created(table) {
                exec.tx.flushes = true;
                // Its indexes are made anew (`reindex_index`).
                for index in &table.indexes {
                    exec.engine.ssi.coarsen(table.id, Some(index.id));
                }
            }
            let mut table = Table::clone(table);
            table.node = exec.create_heap(&table);
            table.measured = None;
            exec.tx
                .change_catalog(CatalogChange::ReplaceTable(Arc::new(table)));
            Ok(())
        })
    }

    /// CREATE INDEX. A unique one is checked against the rows there are.
    pub fn create_index(&mut self, table: &Arc<Table>, mut index: Index) -> Result<(), Halt> {
        self.lock_table(table, LockMode::Share, false)?;
        self.reserve_name(table.database, &table.schema, &index.name)?;
        self.once(|exec| {
            index.id = exec.engine.new_relation();
            index.slot = exec.engine.heap(table.node).next_slot();
            let index = Arc::new(index);
            if index.unique {
                let rows = exec.scan_latest(table);
                refuse_duplicate_keys(rows.iter().map(|(_, row)| row), table, &index)?;
            }
            let measured = exec.measure(table);
            let (xid, node) = (exec.tx.xid(exec.engine), table.node);
            exec.heap_mut(table)?.add_index(&index);
            exec.log(Record::AddIndex {
                xid,
                node,
                index: index.clone(),
            });
            exec.tx
                .change_catalog(CatalogChange::AddIndex(table.id, index, measured));
            Ok(())
        })
    }

    /// Adds a foreign key; it gets its OID here. The rows there are have been checked, or it says that
    /// they have not.
    pub fn add_foreign_key(&mut self, mut key: ForeignKey) -> Result<Arc<ForeignKey>, Halt> {
        let (table, id) = (key.table, self.new_oid()?);
        key.id = TableId(id);
        self.change_catalog(CatalogChange::AddForeignKey(Arc::new(key)))?;
        let table = self.catalog().table_by_id(table);
        let mut keys = table.into_iter().flat_map(|table| &table.foreign_keys);
        Ok(keys.find(|key| key.id.0 == id).expect("just added").clone())
    }

    /// ALTER TABLE that changes the definition only: defaults, checks, names.
    pub fn replace_table(&mut self, table: Table) -> Result<(), Halt> {
        self.lock_table(&table, LockMode::AccessExclusive, false)?;
        self.once(|exec| {
            exec.note();
            exec.tx
                .change_catalog(CatalogChange::ReplaceTable(Arc::new(table)));
            Ok(())
        })
    }

    /// CREATE SEQUENCE; the definition gets its id and node here.
    pub fn create_sequence(&mut self, mut sequence: Sequence) -> Result<Arc<Sequence>, Halt> {
        self.reserve_name(sequence.database, &sequence.schema, &sequence.name)?;
        let id = self.once_with_id(|exec| {
            exec.tx.xid(exec.engine);
            sequence.id = exec.engine.new_relation();
            sequence.node = FileNode(sequence.id.0);
            let state = SequenceState::new(&sequence);
            exec.engine.sequences.insert(sequence.node, state);
            exec.log(Record::Sequence {
                node: sequence.node,
                state,
            });
            let id = sequence.id;
            exec.tx
                .change_catalog(CatalogChange::CreateSequence(Arc::new(sequence)));
            Ok(id)
        })?;
        let sequence = self.catalog().sequence_by_id(id);
        Ok(sequence.expect("just created").clone())
    }

    /// ALTER SEQUENCE that changes where it stands: the old state stays until the commit.
    pub fn restart_sequence(
        &mut self,
        mut sequence: Sequence,
        state: SequenceState,
    ) -> Result<(), Halt> {
        self.once(|exec| {
            exec.tx.xid(exec.engine);
            exec.tx.flushes = true;
            sequence.node = FileNode(exec.engine.new_relation().0);
            let node = sequence.node;
            exec.engine.sequences.insert(node, state);
            exec.log(Record::Sequence { node, state });
            exec.tx
                .change_catalog(CatalogChange::ReplaceSequence(Arc::new(sequence)));
            Ok(())
        })
    }

    /// Changes of the catalog that move no storage: schemas, databases, views, definitions of
    /// sequences.
    pub fn change_catalog(&mut self, change: CatalogChange) -> Result<(), Halt> {
        self.once(|exec| {
            exec.note();
            // Databases are directories, made and removed at once (`ForceSyncCommit`).
            exec.tx.flushes |= matches!(
                change,
                CatalogChange::CreateDatabase(_) | CatalogChange::DropDatabase(_)
            );
            exec.tx.change_catalog(change);
            Ok(())
        })
    }

    /// A change of catalogs that nobody reads here, comments and statistics: that it was made counts.
    pub fn change_unread(&mut self) -> Result<(), Halt> {
        self.once(|exec| {
            exec.note();
            Ok(())
        })
    }

    /// An OID that nothing has yet.
    pub fn new_oid(&mut self) -> Result<u32, Halt> {
        let oid = self.value(|exec| Ok(exec.engine.new_relation().0.into()))?;
        Ok(oid as u32)
    }

    /// DROP SEQUENCE.
    pub fn drop_sequence(&mut self, sequence: &Arc<Sequence>) -> Result<(), Halt> {
        self.once(|exec| {
            exec.note();
            exec.tx.flushes = true;
            exec.tx
                .change_catalog(CatalogChange::DropSequence(sequence.clone()));
            Ok(())
        })
    }

    /// REINDEX: the indexes, or one of them, are built anew, and the old ones removed. They come out as
    /// they were. False if there are none, not even that of long values.
    pub fn reindex(&mut self, table: &Table, one: Option<TableId>) -> Result<bool, Halt> {
        self.lock_table(table, LockMode::Share, false)?;
        for index in &table.indexes {
            if one.is_none_or(|one| one == index.id) {
                self.lock_relation(index.id, LockMode::AccessExclusive)?;
            }
        }
        if table.indexes.is_empty() && !table.has_toast() {
            return Ok(false);
        }
        self.once(|exec| {
            exec.note();
            exec.tx.flushes = true;
            let mut ids = table.indexes.iter().map(|index| index.id);
            ids.try_for_each(|id| match one.is_none_or(|one| one == id) {
                true => exec.make_valid(table.id, id),
                false => Ok(()),
            })
        })?;
        Ok(true)
    }

    fn once_with_id(
        &mut self,
        happen: impl FnOnce(&mut Self) -> Result<TableId, Halt>,
    ) -> Result<TableId, Halt> {
        let id = self.value(|exec| happen(exec).map(|id| id.0.into()))?;
        Ok(TableId(id as u32))
    }

    pub(super) fn once(
        &mut self,
        happen: impl FnOnce(&mut Self) -> Result<(), Halt>,
    ) -> Result<(), Halt> {
        self.effect(|exec| happen(exec).map(|()| Effect::Done))
            .map(drop)
    }

    pub(super) fn create_heap(&mut self, table: &Table) -> FileNode {
        let xid = self.tx.xid(self.engine);
        let node = FileNode(self.engine.new_relation().0);
        let (indexes, unlogged) = (table.indexes.clone(), table.unlogged);
        self.engine
            .heaps
            .insert(node, Arc::new(Heap::new(&indexes, unlogged)));
        self.log(Record::CreateHeap {
            xid,
            node,
            indexes,
            unlogged,
        });
        node
    }
}

/// 23505 if a key stands in two of these rows.
pub(super) fn refuse_duplicate_keys<'r>(
    rows: impl Iterator<Item = &'r Row>,
    table: &Table,
    index: &Index,
) -> Result<(), PgError> {
    match duplicate_key(rows, table, index)? {
        Some(key) => {
            let error = PgError::could_not_create_unique_index(&table.name, &index.name, &key);
            Err(error.in_schema(&table.schema))
        }
        None => Ok(()),
    }
}

/// A key that stands in two of these rows, as errors tell it.
pub(super) fn duplicate_key<'r>(
    rows: impl Iterator<Item = &'r Row>,
    table: &Table,
    index: &Index,
) -> Result<Option<String>, PgError> {
    let mut keyed = Vec::new();
    for row in rows {
        if let Some(key) = Key::computed(index, row)? {
            keyed.push((key, row));
        }
    }
    let mut rows = keyed;
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    let mut pairs = rows.windows(2);
    let pair = pairs.find(|pair| pair[0].0 == pair[1].0);
    Ok(pair.map(|pair| index.describe(table, pair[0].1)))
}

impl Engine {
    pub(super) fn new_relation(&mut self) -> TableId {
        let id = TableId(self.next_oid);
        self.next_oid += 1;
        id
    }

    /// Takes back the storage of a change that was rolled back.
    pub(super) fn undo_storage(&mut self, change: &CatalogChange, tx: &Transaction) {
        match change {
            CatalogChange::CreateTable(table) => drop(self.heaps.remove(&table.node)),
            CatalogChange::CreateSequence(sequence) => drop(self.sequences.remove(&sequence.node)),
            CatalogChange::ReplaceTable(table) => self.undo_replacement(table, tx),
            CatalogChange::AddIndex(id, index, _) => self.undo_index(*id, index, tx),
            CatalogChange::DropTable(_)
            | CatalogChange::DropSequence(_)
            | CatalogChange::DropIndex(..)
            | CatalogChange::RenameIndex(..) => {}
            CatalogChange::AddForeignKey(_)
            | CatalogChange::ReplaceForeignKey(_)
            | CatalogChange::DropForeignKey(_)
            | CatalogChange::CreateView(_)
            | CatalogChange::DropView(_)
            | CatalogChange::PutType(..)
            | CatalogChange::DropType(..)
            | CatalogChange::CreateSchema(..)
            | CatalogChange::DropSchema(..)
            | CatalogChange::CreateDatabase(_)
            | CatalogChange::PutRole(_)
            | CatalogChange::DropRole(_)
            | CatalogChange::DropDatabase(_) => {}
            CatalogChange::ReplaceSequence(sequence) => {
                let before = self.catalog.with(&tx.ddl);
                let before = before.sequence_by_id(sequence.id).map(|old| old.node);
                if before != Some(sequence.node) {
                    self.sequences.remove(&sequence.node);
                }
            }
        }
    }

    /// The index goes from the heap that its table had, and has again.
    fn undo_index(&mut self, id: TableId, index: &Index, tx: &Transaction) {
        let before = self.before(id, tx);
        let was_there = |table: &Arc<Table>| {
            let mut indexes = table.indexes.iter();
            indexes.any(|old| (old.id, old.slot) == (index.id, index.slot))
        };
        if before.as_ref().is_some_and(was_there) {
            return;
        }
        let node = before.map(|table| table.node);
        if let Some(heap) = node.and_then(|node| self.heaps.get_mut(&node)) {
            Arc::make_mut(heap).remove_index(index.slot);
        }
    }

    /// A table as it was before the changes being undone, which have already left the
    /// transaction's list.
    fn before(&self, id: TableId, tx: &Transaction) -> Option<Arc<Table>> {
        self.catalog.with(&tx.ddl).table_by_id(id).cloned()
    }

    /// The table as it was before tells what of the replacement is new: its heap, or an index.
    fn undo_replacement(&mut self, table: &Table, tx: &Transaction) {
        let before = self.before(table.id, tx);
        // Created since the savepoint: its own undoing takes the heap.
        let Some(before) = before else {
            return drop(self.heaps.remove(&table.node));
        };
        if before.node != table.node {
            self.heaps.remove(&table.node);
        } else if let Some(heap) = self.heaps.get_mut(&table.node) {
            Arc::make_mut(heap).keep_indexes(&before.indexes);
        }
    }

    /// Takes away the storage that a committed change has made useless.
    pub(super) fn finish_storage(&mut self, change: &CatalogChange) {
        match change {
            CatalogChange::DropTable(table) => drop(self.heaps.remove(&table.node)),
            CatalogChange::DropSequence(sequence) => drop(self.sequences.remove(&sequence.node)),
            CatalogChange::ReplaceTable(table) => {
                let old = self.catalog.table_by_id(table.id).map(|old| old.node);
                if let Some(old) = old.filter(|&old| old != table.node) {
                    self.heaps.remove(&old);
                }
            }
            CatalogChange::DropIndex(id, index) => {
                let table = self.catalog.table_by_id(*id);
                let found = table.and_then(|table| {
                    let mut indexes = table.indexes.iter();
                    let found = indexes.find(|other| other.unique && other.id == *index)?;
                    Some((table.node, found.slot))
                });
                if let Some((node, slot)) = found
                    && let Some(heap) = self.heaps.get_mut(&node)
                {
                    Arc::make_mut(heap).remove_index(slot);
                }
            }
            CatalogChange::DropDatabase(id) => {
                let gone = |database: &&Arc<Table>| database.database == *id;
                let nodes: Vec<_> = self.catalog.tables().filter(gone).map(|t| t.node).collect();
                for node in nodes {
                    self.heaps.remove(&node);
                }
            }
            CatalogChange::CreateTable(_)
            | CatalogChange::AddIndex(..)
            | CatalogChange::RenameIndex(..)
            | CatalogChange::AddForeignKey(_)
            | CatalogChange::ReplaceForeignKey(_)
            | CatalogChange::DropForeignKey(_)
            | CatalogChange::CreateSequence(_)
            | CatalogChange::CreateView(_)
            | CatalogChange::DropView(_)
            | CatalogChange::PutType(..)
            | CatalogChange::DropType(..)
            | CatalogChange::CreateSchema(..)
            | CatalogChange::DropSchema(..)
            | CatalogChange::PutRole(_)
            | CatalogChange::DropRole(_)
            | CatalogChange::CreateDatabase(_) => {}
            CatalogChange::ReplaceSequence(sequence) => {
                let old = self.catalog.sequence_by_id(sequence.id).map(|old| old.node);
                if let Some(old) = old.filter(|&old| old != sequence.node) {
                    self.sequences.remove(&old);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::script::check;

    #[test]
    fn truncate_and_drop_roll_back() {
        check(
            "a insert 1 x
             a begin
             a truncate   -> truncated
             a insert 2 y
             a savepoint s
             a drop       -> dropped
             a rollback-to s
             a select     -> 2=y
             b select     -> waits
             a abort      -> rolled back; b: 1=x
             a truncate
             a select     -> 
             crash
             a select     -> 
             a drop
             crash
             a select     -> ERROR 42P01: relation \"t\" does not exist",
        );
    }

    #[test]
    fn two_who_create_the_same_take_turns() {
        check(
            "a begin
             a unique     -> indexed
             b unique     -> waits
             c begin
             c select     -> 
             a abort      -> rolled back; b: indexed
             c unique     -> ERROR 42P07: relation \"t_v\" already exists",
        );
    }

    #[test]
    fn a_unique_index_checks_the_rows_there_are_and_goes_with_its_transaction() {
        check(
            "a insert 1 x
             a insert 2 x
             a unique     -> ERROR 23505: could not create unique index \"t_v\" (Key (v)=(x) is duplicated.)
             a delete 2
             a begin
             a unique     -> indexed
             a insert 3 x -> ERROR 23505: duplicate key value violates unique constraint \"t_v\" (Key (v)=(x) already exists.)
             a abort
             a insert 3 x -> inserted
             a delete 3
             a begin
             a unique
             b insert 4 y
             crash
             a insert 5 x -> inserted
             a delete 5
             a unique     -> indexed
             a insert 6 x -> ERROR 23505: duplicate key value violates unique constraint \"t_v\" (Key (v)=(x) already exists.)",
        );
    }
}
