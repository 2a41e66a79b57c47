//! ALTER TABLE that changes rows: the same versions at another place, or new rows altogether.
//!
//! A heap that is remapped has the same versions at the same tids, written by the same
//! transactions, so that older snapshots see of it what they saw before: PostgreSQL leaves the rows
//! as they are and only reads them differently. A heap that is rewritten has new versions of the
//! rows that are there now, and older snapshots see none of them (`ATRewriteTable`).

use std::sync::Arc;

use super::catalog::{CatalogChange, Table};
use super::constraint::Index;
use super::ddl::refuse_duplicate_keys;
use super::exec::{Exec, Halt};
use super::heap::{Heap, Row};
use super::lock::LockMode;
use super::wal::Record;
use super::{Engine, FileNode};
use crate::types::Datum;

/// Where a column of a remapped row comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A column of the old row.
    Column(usize),
    /// The same value for all rows.
    Value(Datum),
}

/// The columns of the new rows, in order.
pub type Mapping = Arc<[Source]>;

impl Exec<'_> {
    /// Gives a table another definition, with other columns or fewer indexes. Without a mapping the
    /// rows stay as they are.
    pub fn remap_table(
        &mut self,
        old: &Arc<Table>,
        mut new: Table,
        mapping: Option<Mapping>,
    ) -> Result<(), Halt> {
        self.lock_table(old, LockMode::AccessExclusive, false)?;
        self.once(|exec| {
            let xid = exec.tx.xid(exec.engine);
            exec.number_indexes(&mut new);
            for index in &old.indexes {
                if !new.indexes.iter().any(|kept| kept.id == index.id) {
                    exec.engine.ssi.coarsen(old.id, Some(index.id));
                    exec.tx.flushes = true;
                }
            }
            new.node = FileNode(exec.engine.new_relation().0);
            let (from, to) = (old.node, new.node);
            let indexes = new.indexes.clone();
            let heap = exec.engine.heap(from).remapped(&indexes, mapping.as_ref());
            exec.engine.heaps.insert(to, Arc::new(heap));
            exec.log(Record::RemapHeap {
                xid,
                from,
                to,
                indexes,
                mapping,
            });
            if new.indexes.len() > old.indexes.len() {
                new.measured = exec.measure(&new).or(old.measured);
            }
            let known = |index: &Index| old.indexes.iter().any(|other| other.id == index.id);
            for index in new.indexes.iter().filter(|index| index.unique) {
                if !known(index) {
                    let rows = exec.scan_latest(&new);
                    refuse_duplicate_keys(rows.iter().map(|(_, row)| row), &new, index)?;
                }
            }
            exec.tx
                .change_catalog(CatalogChange::ReplaceTable(Arc::new(new)));
            Ok(())
        })
    }

    /// Gives a table another definition and other rows.
    pub fn rewrite_table(
        &mut self,
        old: &Arc<Table>,
        mut new: Table,
        rows: Vec<Row>,
    ) -> Result<(), Halt> {
        self.lock_table(old, LockMode::AccessExclusive, false)?;
        self.once(|exec| {
            exec.number_indexes(&mut new);
            exec.engine.ssi.coarsen(old.id, None);
            let xid = exec.tx.xid(exec.engine);
            let command = exec.command;
            exec.tx.flushes = true;
            new.node = exec.create_heap(&new);
            let node = new.node;
            for row in rows {
                let heap = exec.heap_mut(&new)?;
                let tid = heap.insert(xid, command, row.clone());
                heap.index_all(tid);
                if !heap.unlogged {
                    exec.log(Record::Insert { xid, node, row });
                }
            }
            for (_, index) in new.unique_indexes() {
                let tuples = exec.engine.heap(node).tuples();
                refuse_duplicate_keys(tuples.map(|(_, tuple)| &tuple.row), &new, index)?;
            }
            exec.tx
                .change_catalog(CatalogChange::ReplaceTable(Arc::new(new)));
            Ok(())
        })
    }

    /// Gives OIDs, and slots in the heap, to the indexes that have none yet.
    pub(super) fn number_indexes(&mut self, new: &mut Table) {
        let known = new.unique_indexes().filter(|(_, index)| index.id.0 != 0);
        let mut slot = known.map(|(slot, _)| slot + 1).max().unwrap_or(0);
        let fresh = new.indexes.iter_mut().filter(|index| index.id.0 == 0);
        for index in fresh {
            let index = Arc::make_mut(index);
            index.id = self.engine.new_relation();
            if index.unique {
                index.slot = slot;
                slot += 1;
            }
        }
    }
}

impl Heap {
    /// The same versions with other columns and other indexes.
    pub(super) fn remapped(&self, indexes: &[Arc<Index>], mapping: Option<&Mapping>) -> Heap {
        let mut heap = self.clone();
        if let Some(mapping) = mapping {
            for tuple in heap.tuples_mut() {
                tuple.row = mapping
                    .iter()
                    .map(|source| match source {
                        Source::Column(column) => tuple.row[*column].clone(),
                        Source::Value(value) => value.clone(),
                    })
                    .collect();
            }
        }
        heap.replace_indexes(indexes);
        heap
    }
}

impl Engine {
    /// Replays [`Record::RemapHeap`]. The old heap is missing only if a later record drops both.
    pub(super) fn replay_remap(
        &mut self,
        from: FileNode,
        to: FileNode,
        indexes: &[Arc<Index>],
        mapping: Option<&Mapping>,
    ) {
        if let Some(heap) = self.heaps.get(&from) {
            let heap = heap.remapped(indexes, mapping);
            self.heaps.insert(to, Arc::new(heap));
        }
        self.next_oid = self.next_oid.max(to.0 + 1);
    }
}
