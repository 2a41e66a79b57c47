//! Removing what nobody can see any more, and beginning recovery later than at the installation.
//!
//! A version is dead if its writer was rolled back, or if its remover committed before every
//! snapshot that there is. Snapshots are values of sessions: those that outlive an execution are
//! made known here, the xids of transactions that run stand for the rest (`ComputeXidHorizons`).
//! Tables are pruned when a transaction ends after which a look is worth it, as PostgreSQL prunes
//! pages and its autovacuum tables; VACUUM does it at once. Pruning is a record of the WAL, since the
//! places of what was removed are used again.
//!
//! A checkpoint forgets the WAL before it. Whoever wants to fail over to an earlier commit needs
//! that, so the embedder decides: [`Engine::checkpoint`], or [`Engine::checkpoint_every`].

use std::sync::Arc;

use super::catalog::Table;
use super::exec::{Exec, Halt};
use super::lock::LockMode;
use super::mvcc::{XactStatus, status};
use super::recover::Image;
use super::wal::Record;
use super::{Engine, FileNode, Pid, Xid};

/// So many entries of the commit log outlive a checkpoint that the server makes by itself.
const COMMITS_KEPT: usize = 1000;

/// The fates of so many transactions are remembered at least.
const FATES_KEPT: u64 = 1 << 20;

/// What vacuum must know and do.
#[derive(Clone, Debug, Default)]
pub(super) struct Vacuum {
    /// The oldest xids that the snapshots of waiting statements see as running, by session.
    statements: Vec<(Pid, Xid)>,
    /// The same of transactions that keep snapshots.
    transactions: Vec<(Pid, Xid)>,
    /// What has changed so much that it is worth a look.
    due: Vec<FileNode>,
    /// How many commits are in the WAL, but not yet where a checkpoint looks (`delayChkptFlags`).
    in_commit: u32,
    /// After so many records the WAL is recycled.
    checkpoint_every: Option<usize>,
}

impl Vacuum {
    /// A transaction keeps its snapshot, or a cursor of it its own: the oldest counts.
    pub(super) fn hold_transaction(&mut self, pid: Pid, xmin: Xid) {
        let held = |(holder, _): &&mut (Pid, Xid)| *holder == pid;
        match self.transactions.iter_mut().find(held) {
            Some((_, oldest)) => *oldest = xmin.min(*oldest),
            None => self.transactions.push((pid, xmin)),
        }
    }

    /// Its transaction is over.
    pub(super) fn release_transaction(&mut self, pid: Pid) {
        if !self.transactions.is_empty() {
            self.transactions.retain(|(holder, _)| *holder != pid);
        }
    }

    /// A statement keeps its snapshot while it waits.
    pub(super) fn hold_statement(&mut self, pid: Pid, xmin: Xid) {
        self.release_statement(pid);
        self.statements.push((pid, xmin));
    }

    /// It waits no more.
    pub(super) fn release_statement(&mut self, pid: Pid) {
        if !self.statements.is_empty() {
            self.statements.retain(|(holder, _)| *holder != pid);
        }
    }

    /// From now on, and until it has left, a commit keeps checkpoints away.
    pub(super) fn enter_commit(&mut self) {
        self.in_commit += 1;
    }

    pub(super) fn leave_commit(&mut self) {
        self.in_commit = self.in_commit.saturating_sub(1);
    }

    pub(super) fn note(&mut self, node: FileNode) {
        self.due.push(node);
    }

    fn holders(&self) -> impl Iterator<Item = Xid> {
        let all = self.statements.iter().chain(&self.transactions);
        all.map(|(_, xmin)| *xmin)
    }

    /// Whose sessions keep snapshots.
    pub(super) fn keepers(&self) -> impl Iterator<Item = Pid> {
        let all = self.statements.iter().chain(&self.transactions);
        all.map(|(pid, _)| *pid)
    }

    /// All sessions are gone.
    pub(super) fn forget_sessions(&mut self) {
        self.statements.clear();
        self.transactions.clear();
        self.due.clear();
        self.in_commit = 0;
    }
}

impl Exec<'_> {
    /// VACUUM of one table. It can be read and changed meanwhile.
    pub fn vacuum(&mut self, table: &Table, full: bool) -> Result<(), Halt> {
        let mode = match full {
            true => LockMode::AccessExclusive,
            false => LockMode::ShareUpdateExclusive,
        };
        self.lock_table(table, mode, false)?;
        let node = table.node;
        self.once(|exec| {
            exec.engine.prune(node);
            if full {
                exec.note();
                exec.tx.flushes = true;
            }
            Ok(())
        })
    }

    /// CHECKPOINT.
    pub fn checkpoint(&mut self) -> Result<(), Halt> {
        self.once(|exec| {
            exec.engine.checkpoint_on_demand();
            Ok(())
        })
    }
}

impl Engine {
    /// A transaction has ended: looks after what it has left, if there is much of it.
    pub(super) fn tidy_up(&mut self) {
        if !self.vacuum.due.is_empty() {
            for node in std::mem::take(&mut self.vacuum.due) {
                self.prune(node);
            }
        }
        let most = self.vacuum.checkpoint_every;
        if most.is_some_and(|most| self.wal.records().len() >= most) && self.checkpoint() {
            self.forget_commits(COMMITS_KEPT);
        }
    }

    /// Every snapshot sees the transactions before this one as ended.
    fn horizon(&self) -> Xid {
        let running = self.running.keys().next().copied();
        let holders = self.vacuum.holders();
        holders.chain(running).min().unwrap_or(self.next_xid)
    }

    /// Removes the dead versions of one table.
    fn prune(&mut self, node: FileNode) {
        let horizon = self.horizon();
        let Engine {
            heaps,
            clog,
            running,
            wal,
            ..
        } = self;
        let Some(heap) = heaps.get_mut(&node) else {
            return;
        };
        let heap = Arc::make_mut(heap);
        let fate = |xid| status(running, clog, xid);
        let dead = heap.prune(
            |tuple| {
                fate(tuple.xmin) == XactStatus::Aborted
                    || (tuple.xmax != Xid::NONE
                        && tuple.xmax < horizon
                        && fate(tuple.xmax) == XactStatus::Committed)
            },
            |xid| fate(xid) == XactStatus::Aborted,
            |xid| running.contains_key(&xid),
        );
        if !dead.is_empty() && !heap.unlogged {
            let dead = dead.into();
            wal.insert(Record::Prune { node, dead });
        }
    }

    /// Makes the present state the one that recovery begins from, dead versions removed, and
    /// forgets the WAL before it. What runs goes on. Nothing of what is committed can be lost any
    /// more, and no fail-over leads back behind this. Nothing happens, and false is the answer,
    /// while a COMMIT is between its record and its visibility.
    pub fn checkpoint(&mut self) -> bool {
        if self.vacuum.in_commit > 0 {
            return false;
        }
        let nodes: Vec<FileNode> = self.heaps.keys().copied().collect();
        for node in nodes {
            self.prune(node);
        }
        let oldest = Xid(self.next_xid.0.saturating_sub(FATES_KEPT));
        self.clog.truncate(oldest.min(self.horizon()));
        self.checkpoint_sequences();
        self.wal.recycle();
        self.base = Arc::new(Image {
            catalog: self.catalog.clone(),
            heaps: self.heaps.clone(),
            sequences: self.sequences.clone(),
            prepared: self.prepared.clone(),
            clog: Some(self.clog.clone()),
            next_xid: self.next_xid,
            next_oid: self.next_oid,
        });
        true
    }

    /// Has the server checkpoint itself whenever the WAL holds so many records, or never again.
    /// Each takes time in proportion to what is stored.
    pub fn checkpoint_every(&mut self, records: Option<usize>) {
        self.vacuum.checkpoint_every = records;
    }

    /// CHECKPOINT: all that was done is durable. The WAL is recycled only by a server that does so
    /// at all.
    pub fn checkpoint_on_demand(&mut self) {
        if self.vacuum.checkpoint_every.is_some() && self.checkpoint() {
            return;
        }
        self.checkpoint_sequences();
        for (&node, &state) in &self.sequences {
            self.wal.insert(Record::Sequence { node, state });
        }
        self.wal.flush(self.wal.inserted());
    }

    /// The first nextval after a checkpoint writes WAL anew.
    fn checkpoint_sequences(&mut self) {
        for state in self.sequences.values_mut() {
            *state = state.checkpointed();
        }
    }

    /// Forgets all but the newest entries of the commit log. Those after the last checkpoint stay.
    fn forget_commits(&mut self, kept: usize) {
        let start = self.wal.start();
        let old = self.commits.len().saturating_sub(kept);
        let old = self.commits[..old].partition_point(|commit| commit.lsn <= start);
        self.commits.drain(..old);
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::script::{World, check, engine};

    #[test]
    fn a_row_updated_again_and_again_takes_bounded_room() {
        let mut engine = engine();
        engine.checkpoint_every(Some(1000));
        let mut world = World::new(engine);
        world.run("a insert 1 x");
        for _ in 0..5_000 {
            world.run("a update 1 1 y");
        }
        let engine = &world.engine;
        assert!(engine.heaps.values().all(|heap| heap.len() < 600));
        assert!(engine.wal.records().len() < 1_100);
        assert_eq!(world.run("crash"), "");
        assert_eq!(world.run("a select"), "1=y");
        assert_eq!(world.run("a find 1"), "1=y");
    }

    #[test]
    fn what_a_snapshot_sees_stays() {
        check(
            "a insert 1 x
             a insert 2 y
             b begin rr
             b select     -> 1=x 2=y
             a append 1 z
             a delete 2
             a vacuum     -> vacuumed
             b select     -> 1=x 2=y
             b commit
             a vacuum     -> vacuumed
             a insert 3 w
             a select     -> 3=w 1=xz
             crash
             a select     -> 3=w 1=xz",
        );
    }

    #[test]
    fn a_statement_that_waits_finds_its_row_again() {
        check(
            "a insert 1 x
             a begin
             a append 1 y
             b append 1 z -> waits
             a commit to unlocked -> received deferred interrupts-held inserted flushed clog replicated visible unlocked; b: updated 1
             c begin
             c append 1 w
             d append 1 v -> waits
             e vacuum     -> vacuumed
             c abort      -> rolled back; d: updated 1
             e vacuum     -> vacuumed
             e select     -> 1=xyzv",
        );
    }

    #[test]
    fn a_checkpoint_keeps_what_is_under_way_apart() {
        check(
            "a begin
             a insert 1 x
             b insert 2 y
             checkpoint
             a insert 3 z
             a commit
             crash
             a select -> 1=x 2=y 3=z
             a begin
             a insert 4 w
             checkpoint
             crash
             a select -> 1=x 2=y 3=z",
        );
    }
}
