//! CREATE INDEX, DROP INDEX and REINDEX CONCURRENTLY.
//!
//! Writers pass. What the statement does, it does in transactions of its own, and between them it
//! waits for those whose statements may not know of it yet, or may need what was before: for who
//! holds the table, then for who keeps an older snapshot. What fails on the way leaves an index
//! that is not valid. To wait for a transaction is to look whether it has ended: whose ends are
//! awaited is in the lock table (`lock::lockers`), and the journal knows only that they were listed.
//!
//! REINDEX builds the index at its end, under its own name: there is no second one meanwhile.
//!
//! Source: `DefineIndex`, `ReindexRelationConcurrently` in indexcmds.c, `index_drop` in index.c.

use std::sync::Arc;

use super::catalog::{CatalogChange, Table};
use super::constraint::{Index, IndexState};
use super::ddl::duplicate_key;
use super::exec::{Exec, Halt, Journal};
use super::lock::{LockMode, LockTag};
use super::prepared::TwoPhase;
use super::wal::Record;
use super::xact::TxOptions;
use super::{Engine, Pid, TableId};
use crate::error::{PgError, SqlState};

/// What is entered in an index.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The rows of those who have ended.
    First,
    /// Those of the others too.
    Rest,
}

impl Exec<'_> {
    /// CREATE INDEX CONCURRENTLY.
    pub fn create_index_concurrently(
        &mut self,
        table: &Arc<Table>,
        mut index: Index,
    ) -> Result<(), Halt> {
        self.lock_table(table, LockMode::ShareUpdateExclusive, false)?;
        self.refuse_relation(table.database, &table.schema, &index.name)?;
        let id = self.value(|exec| {
            index.id = exec.engine.new_relation();
            (index.state, index.slot) = (IndexState::Building, Index::NO_SLOT);
            let (id, index) = (index.id, Arc::new(index));
            exec.aside(|exec| exec.put_index(table, index))?;
            Ok(id.0.into())
        })?;
        let id = TableId(id as u32);
        self.wait_for_lockers(table.id, LockMode::Share)?;
        self.once(|exec| exec.aside(|exec| exec.build(table.id, id, Part::First)))?;
        self.wait_for_lockers(table.id, LockMode::Share)?;
        // Who did not know of it has entered nothing.
        self.once(|exec| exec.aside(|exec| exec.build(table.id, id, Part::Rest)))?;
        self.wait_for_snapshots()?;
        self.once(|exec| exec.set_index_state(table.id, id, IndexState::Valid))
    }

    /// DROP INDEX CONCURRENTLY.
    pub fn drop_index_concurrently(&mut self, table: &Table, index: TableId) -> Result<(), Halt> {
        let exclusive = LockMode::AccessExclusive;
        self.lock_table(table, LockMode::ShareUpdateExclusive, false)?;
        self.lock_relation(index, LockMode::ShareUpdateExclusive)?;
        for state in [IndexState::Ready, IndexState::Building] {
            self.once(|exec| exec.aside(|exec| exec.set_index_state(table.id, index, state)))?;
            self.wait_for_lockers(table.id, exclusive)?;
        }
        self.lock_relation(index, exclusive)?;
        self.once(|exec| {
            exec.note();
            exec.tx.flushes = true;
            exec.engine.ssi.coarsen(table.id, Some(index));
            let change = CatalogChange::DropIndex(table.id, index);
            exec.tx.change_catalog(change);
            Ok(())
        })
    }

    /// REINDEX CONCURRENTLY of a table, or of one of its indexes. False if there are none.
    pub fn reindex_concurrently(
        &mut self,
        table: &Table,
        one: Option<TableId>,
    ) -> Result<bool, Halt> {
        self.lock_table(table, LockMode::ShareUpdateExclusive, false)?;
        let indexes = table.indexes.iter();
        let mut indexes = indexes.filter(|index| one.is_none_or(|one| one == index.id));
        let (mut has_valid, mut skipped) = (table.has_toast(), Vec::new());
        for index in &mut indexes {
            match index.state == IndexState::Valid || one.is_some() {
                true => has_valid = true,
                false => skipped.push(index.name.clone()),
            }
        }
        for name in skipped {
            let schema = &table.schema;
            let message =
                format!("cannot reindex invalid index \"{schema}.{name}\" concurrently, skipping");
            self.notice(PgError::warning(SqlState::FEATURE_NOT_SUPPORTED, message));
        }
        if !has_valid {
            return Ok(false);
        }
        self.wait_for_lockers(table.id, LockMode::Share)?;
        self.wait_for_lockers(table.id, LockMode::Share)?;
        self.wait_for_snapshots()?;
        self.wait_for_lockers(table.id, LockMode::AccessExclusive)?;
        self.wait_for_lockers(table.id, LockMode::AccessExclusive)?;
        self.once(|exec| {
            exec.note();
            exec.tx.flushes = true;
            let done = one.map_or(Ok(()), |one| exec.make_valid(table.id, one));
            // The real one leaves a second index behind.
            done.map_err(|halt| match halt {
                Halt::Error(error) if error.code == SqlState::UNIQUE_VIOLATION => {
                    let what = "REINDEX CONCURRENTLY of an index over duplicate keys";
                    Halt::Error(PgError::feature_not_supported(what))
                }
                other => other,
            })
        })?;
        Ok(true)
    }

    /// REINDEX of what has not been made to its end.
    pub(super) fn make_valid(&mut self, table: TableId, index: TableId) -> Result<(), Halt> {
        match self.index_of(table, index) {
            Some((_, found)) if found.state != IndexState::Valid => {
                self.build(table, index, Part::First)?;
                self.set_index_state(table, index, IndexState::Valid)
            }
            _ => Ok(()),
        }
    }

    /// Does something in a transaction of its own, which is committed at once. It may not wait.
    fn aside(&mut self, deed: impl FnOnce(&mut Exec<'_>) -> Result<(), Halt>) -> Result<(), Halt> {
        let mut tx = self
            .engine
            .begin(self.tx.pid, TxOptions::default(), self.now);
        let mut journal = Journal::passing();
        let done = deed(&mut Exec::new(self.engine, &mut tx, &mut journal, self.now));
        match done {
            Ok(()) => drop(self.engine.commit(tx, self.now)?),
            Err(_) => self.engine.abort(tx),
        }
        self.tx.refresh_catalog(self.engine);
        done
    }

    /// Enters the rows there are, and has writers do so from now on.
    fn build(&mut self, table: TableId, index: TableId, part: Part) -> Result<(), Halt> {
        let Some((table, index)) = self.index_of(table, index) else {
            return Ok(());
        };
        let mut index = Index::clone(&index);
        if index.state == IndexState::Building {
            index.slot = self.engine.heap(table.node).next_slot();
            index.state = IndexState::Ready;
        }
        if index.unique {
            let rows = self.scan_latest(&table);
            let key = duplicate_key(rows.iter().map(|(_, row)| row), &table, &index)?;
            if let Some(key) = key {
                // What the first part has left is inserted as any row is (`validate_index_heapscan`).
                let (table_name, name) = (&table.name, &index.name);
                let error = match part {
                    Part::First => PgError::could_not_create_unique_index(table_name, name, &key),
                    Part::Rest => PgError::unique_violation(table_name, name, &key),
                };
                return Err(error.in_schema(&table.schema).into());
            }
        }
        let index = Arc::new(index);
        let (xid, node) = (self.tx.xid(self.engine), table.node);
        self.heap_mut(&table)?.add_index(&index);
        if part == Part::First && index.unique {
            // Who is at work does not know of it: its rows come when it has ended.
            let Exec { engine, tx, .. } = self;
            let Engine { heaps, running, .. } = &mut **engine;
            if let Some(heap) = heaps.get_mut(&node) {
                Arc::make_mut(heap).forget_entries(index.slot, |tuple| {
                    running.contains_key(&tuple.xmin) && !tx.owns(tuple.xmin)
                });
            }
        }
        self.log(Record::AddIndex {
            xid,
            node,
            index: index.clone(),
        });
        self.put_index(&table, index)
    }

    fn set_index_state(
        &mut self,
        table: TableId,
        index: TableId,
        state: IndexState,
    ) -> Result<(), Halt> {
        let Some((table, index)) = self.index_of(table, index) else {
            return Ok(());
        };
        let mut index = Index::clone(&index);
        index.state = state;
        self.put_index(&table, Arc::new(index))
    }

    fn put_index(&mut self, table: &Table, index: Arc<Index>) -> Result<(), Halt> {
        self.note();
        let measured = match index.state {
            IndexState::Building => None,
            _ => self.measure(table),
        };
        let change = CatalogChange::AddIndex(table.id, index, measured);
        self.tx.change_catalog(change);
        Ok(())
    }

    fn index_of(&self, table: TableId, index: TableId) -> Option<(Arc<Table>, Arc<Index>)> {
        let table = self.catalog().table_by_id(table)?;
        let index = table.indexes.iter().find(|other| other.id == index)?;
        Some((table.clone(), index.clone()))
    }
}

/// Waiting for transactions to end.
impl Exec<'_> {
    /// Waits for those who hold a relation against a mode now (`WaitForLockers`).
    fn wait_for_lockers(&mut self, relation: TableId, mode: LockMode) -> Result<(), Halt> {
        self.await_ends(|exec| {
            let locks = &exec.engine.locks;
            locks.holders_against(LockTag::Relation(relation), exec.tx.pid, mode)
        })
    }

    /// Waits for those who keep a snapshot now (`WaitForOlderSnapshots`): none is younger.
    fn wait_for_snapshots(&mut self) -> Result<(), Halt> {
        self.await_ends(|exec| {
            let keepers = exec.engine.vacuum.keepers();
            let locks = &exec.engine.locks;
            // Others who wait here keep none (`PROC_IN_SAFE_IC`).
            let counts = |pid: &Pid| *pid != exec.tx.pid && locks.awaited_by(*pid).is_none();
            keepers.filter(counts).collect()
        })
    }

    fn await_ends(&mut self, list: impl FnOnce(&Self) -> Vec<Pid>) -> Result<(), Halt> {
        self.once(|exec| {
            let others = list(exec);
            exec.engine.locks.await_ends(exec.tx.pid, others);
            Ok(())
        })?;
        let Some(other) = self.engine.locks.awaited_by(self.tx.pid) else {
            return Ok(());
        };
        let prepared = TwoPhase::xid_of(other).map(LockTag::Transaction);
        let tag = prepared.unwrap_or(LockTag::VirtualTransaction(other));
        Err(self.wait_for(tag, LockMode::Share))
    }
}
