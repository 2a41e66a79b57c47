//! Crash and recovery: the base image, and the WAL on top of it.
//!
//! Memory is gone: sessions, locks, whatever was not flushed. A transaction has committed if its
//! record is within the WAL that is left, wherever its COMMIT stood. Xids that are not in it are
//! given out again, as PostgreSQL does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::activity::Sessions;
use super::catalog::{Catalog, Table};
use super::heap::Heap;
use super::lock::LockTable;
use super::mvcc::{Clog, Running, XactStatus, status};
use super::new_name::NewNames;
use super::notify::Notifications;
use super::prepared::PreparedTable;
use super::sequence::{Currvals, SequenceState};
use super::ssi::Ssi;
use super::wal::Record;
use super::{CommitNumber, Engine, FileNode, Lsn, Xid};

/// What a checkpoint wrote: where recovery begins.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    pub(super) catalog: Arc<Catalog>,
    pub(super) heaps: BTreeMap<FileNode, Arc<Heap>>,
    pub(super) sequences: BTreeMap<FileNode, SequenceState>,
    pub(super) prepared: PreparedTable,
    /// The fates of transactions; none if all that are older have committed.
    pub(super) clog: Option<Clog>,
    pub(super) next_xid: Xid,
    pub(super) next_oid: u32,
}

/// What a recovery found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Commits that had been visible and are no more.
    pub lost: Vec<CommitNumber>,
    /// Commits that had not been visible and now are: the crash came between flush and visibility.
    /// The commit log has them now.
    pub completed: Vec<CommitNumber>,
    /// How many records were replayed.
    pub replayed: usize,
    /// Where the WAL now ends.
    pub end: Lsn,
}

impl Engine {
    /// Power is lost and comes back. Every transaction value and commit machine of before is void:
    /// drop them.
    pub fn crash(&mut self) -> Recovery {
        self.recover(self.wal.flushed())
    }

    /// The server is shut down in order and started again. Its sessions are over, so whatever they
    /// had not committed is rolled back; nothing else is lost. Every transaction value and commit
    /// machine of before is void.
    pub fn restart(&mut self) {
        let prepared: BTreeSet<Xid> = self
            .prepared
            .states()
            .flat_map(|state| state.xids.clone())
            .collect();
        let running = std::mem::take(&mut self.running).into_keys();
        let xids: Vec<Xid> = running.filter(|xid| !prepared.contains(xid)).collect();
        for &xid in &xids {
            self.clog.set(xid, XactStatus::Aborted);
        }
        if !xids.is_empty() {
            self.wal.insert(Record::Abort { xids });
        }
        self.wal.flush(self.wal.inserted());
        self.locks = LockTable::default();
        self.names = NewNames::default();
        self.ssi = Ssi::default();
        self.currvals = Currvals::default();
        self.wakeups.clear();
        self.replication_waiters.clear();
        self.vacuum.forget_sessions();
        self.prepared.let_all_go();
        for state in self.sequences.values_mut() {
            *state = state.checkpointed();
        }
        self.read_config();
        self.resume_prepared();
    }

    /// Fails over to a replica whose WAL ends right before that commit's record, or where the flushed
    /// WAL ends if that commit has no record in it.
    pub fn promote_without(&mut self, number: CommitNumber) -> Recovery {
        let flushed = self.wal.flushed();
        let end = self
            .wal
            .before_commit(number)
            .map_or(flushed, |end| end.min(flushed));
        self.recover(end)
    }

    /// Makes the present state the one that recovery begins from, as if it had been there when the
    /// server was installed: nothing of it can be lost, no dead version of it is left, and commits are
    /// numbered from 1 again. For after the schema has been loaded.
    pub fn checkpoint_as_installed(&mut self) {
        assert!(
            self.running.is_empty(),
            "transactions are running: {:?}",
            self.running
        );
        let Engine {
            heaps,
            clog,
            running,
            ..
        } = self;
        for heap in heaps.values_mut() {
            let committed = |xid| status(running, clog, xid) == XactStatus::Committed;
            *heap = Arc::new(heap.vacuumed(|tuple| {
                committed(tuple.xmin) && (tuple.xmax == Xid::NONE || !committed(tuple.xmax))
            }));
        }
        self.read_config();
        self.clog = Clog::starting_at(self.next_xid);
        self.names = NewNames::default();
        self.wal.recycle();
        self.commits.clear();
        self.last_number = CommitNumber(0);
        self.base = Arc::new(Image {
            catalog: self.catalog.clone(),
            heaps: self.heaps.clone(),
            // The first nextval after a checkpoint writes WAL anew.
            sequences: self
                .sequences
                .iter()
                .map(|(node, state)| (*node, state.checkpointed()))
                .collect(),
            prepared: self.prepared.clone(),
            clog: None,
            next_xid: self.next_xid,
            next_oid: self.next_oid,
        });
        self.sequences = self.base.sequences.clone();
    }

    fn recover(&mut self, end: Lsn) -> Recovery {
        let visible: BTreeSet<CommitNumber> =
            self.commits.iter().map(|commit| commit.number).collect();
        let mut lost: Vec<CommitNumber> = self
            .wal
            .truncate(end)
            .iter()
            .filter_map(|record| match record {
                Record::Commit(commit) => Some(commit.committed.number),
                _ => None,
            })
            .filter(|number| visible.contains(number))
            .collect();
        lost.sort();
        self.forget_memory();
        let wal = std::mem::take(&mut self.wal);
        let mut completed = Vec::new();
        for record in wal.records() {
            self.replay(record);
            if let Record::Commit(commit) = record
                && !visible.contains(&commit.committed.number)
            {
                completed.push(commit.committed.number);
                self.log_commit(commit.committed.clone());
            }
        }
        self.wal = wal;
        self.resume_prepared();
        self.sweep_storage();
        self.reset_unlogged_sequences();
        Recovery {
            lost,
            completed,
            replayed: self.wal.records().len(),
            end,
        }
    }

    /// Back to the last checkpoint. The commit log and its numbers are the observer's, not the
    /// server's: they stay.
    fn forget_memory(&mut self) {
        let base = self.base.clone();
        self.catalog = base.catalog.clone();
        self.heaps = base.heaps.clone();
        self.sequences = base.sequences.clone();
        self.next_xid = base.next_xid;
        self.next_oid = base.next_oid;
        let fresh = || Clog::starting_at(base.next_xid);
        self.clog = base.clog.clone().unwrap_or_else(fresh);
        self.running = Running::new();
        self.locks = LockTable::default();
        self.names = NewNames::default();
        self.ssi = Ssi::default();
        self.currvals = Currvals::default();
        self.wakeups.clear();
        self.sessions = Sessions::default();
        self.notifications = Notifications::default();
        self.prepared = base.prepared.clone();
        self.replication_waiters.clear();
        self.vacuum.forget_sessions();
        self.read_config();
        for heap in self.heaps.values_mut().filter(|heap| heap.unlogged) {
            *heap = Arc::new(heap.vacuumed(|_| false));
        }
    }

    fn replay(&mut self, record: &Record) {
        let command = super::CommandId(0);
        self.next_xid = self.next_xid.max(Xid(record.xid().0 + 1));
        match record {
            Record::Insert { xid, node, row } => {
                if let Some(heap) = self.replayed_heap(*node) {
                    let tid = heap.insert(*xid, command, row.clone());
                    heap.index_all(tid);
                }
            }
            Record::Update {
                xid,
                node,
                old,
                taken,
                row,
            } => {
                if let Some(heap) = self.replayed_heap(*node) {
                    let tid = heap.update(*old, *xid, command, *taken, row.clone());
                    heap.index_all(tid);
                }
            }
            Record::Delete { xid, node, tid } => {
                if let Some(heap) = self.replayed_heap(*node) {
                    heap.delete(*tid, *xid, command);
                }
            }
            Record::CreateHeap {
                node,
                indexes,
                unlogged,
                ..
            } => {
                self.heaps
                    .insert(*node, Arc::new(Heap::new(indexes, *unlogged)));
                self.next_oid = self.next_oid.max(node.0 + 1);
            }
            Record::AddIndex { node, index, .. } => {
                if let Some(heap) = self.replayed_heap(*node) {
                    heap.add_index(index);
                }
            }
            Record::RemapHeap {
                from,
                to,
                indexes,
                mapping,
                ..
            } => self.replay_remap(*from, *to, indexes, mapping.as_ref()),
            Record::Prune { node, dead } => {
                if let Some(heap) = self.replayed_heap(*node) {
                    heap.remove(dead);
                }
            }
            Record::Sequence { node, state } => {
                self.sequences.insert(*node, *state);
                self.next_oid = self.next_oid.max(node.0 + 1);
            }
            Record::Commit(commit) => {
                self.mark_committed(&commit.xids);
                self.publish_ddl(commit);
            }
            Record::Abort { xids } => {
                for &xid in xids {
                    self.clog.set(xid, XactStatus::Aborted);
                }
            }
            Record::Lock {
                xid,
                node,
                tid,
                strength,
            } => {
                // Of an unlogged table no version is left.
                if let Some(heap) = self.replayed_heap(*node)
                    && tid.0 < heap.len()
                {
                    heap.lockers_mut(*tid).push((*xid, *strength));
                }
            }
            Record::Prepare(state) => self.prepared.restore(state.clone()),
            Record::Message | Record::Note { .. } => {}
        }
        if !self.prepared.is_empty() {
            self.prepared.remove(record.finishes());
        }
    }

    /// Takes away the storage that DDL in flight had made: nothing in the catalog leads to it.
    fn sweep_storage(&mut self) {
        // What was prepared may yet need what it has made.
        if self.prepared.states().any(|state| !state.ddl.is_empty()) {
            return;
        }
        let tables: BTreeMap<FileNode, Arc<Table>> = self
            .catalog
            .tables()
            .map(|table| (table.node, table.clone()))
            .collect();
        self.heaps.retain(|node, _| tables.contains_key(node));
        for (node, heap) in &mut self.heaps {
            if heap.has_more_indexes_than(&tables[node]) {
                Arc::make_mut(heap).keep_indexes(&tables[node].indexes);
            }
        }
        let sequences: BTreeSet<FileNode> = self
            .catalog
            .sequences()
            .map(|sequence| sequence.node)
            .collect();
        self.sequences.retain(|node, _| sequences.contains(node));
    }

    /// An unlogged sequence is as it was made.
    fn reset_unlogged_sequences(&mut self) {
        let unlogged = self.catalog.sequences().filter(|s| s.unlogged);
        for sequence in unlogged {
            let fresh = SequenceState::new(sequence);
            self.sequences.insert(sequence.node, fresh);
        }
    }

    /// A heap is missing only if a later record drops it for good.
    fn replayed_heap(&mut self, node: FileNode) -> Option<&mut Heap> {
        self.heaps.get_mut(&node).map(Arc::make_mut)
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::script::{World, check, check_on, engine};
    use crate::engine::{CommitPoint, Engine, Pid, Timestamp};

    #[test]
    fn a_crash_at_each_point_leaves_the_row_if_its_record_was_flushed() {
        for point in CommitPoint::ALL {
            let flushed = point >= CommitPoint::Flushed;
            let crash = match point {
                CommitPoint::Flushed | CommitPoint::Clog | CommitPoint::Replicated => {
                    "crash -> completed 1"
                }
                _ => "crash",
            };
            let row = if flushed { "1=x" } else { "" };
            check(&format!(
                "a begin
                 a insert 1 x
                 a commit to {point}
                 {crash}
                 b select -> {row}
                 b find 1 -> {}",
                if flushed { "1=x" } else { "none" }
            ));
        }
    }

    #[test]
    fn an_asynchronous_commit_is_lost_unless_a_later_one_is_flushed() {
        // Measured on PostgreSQL 15.18.
        check(
            "a begin
             a insert 1 x
             a commit async unflushed
             a select -> 1=x
             crash    -> lost 1
             a select -> 
             a begin
             a insert 2 y
             a commit async unflushed
             b insert 3 z
             crash
             a select -> 2=y 3=z
             crash
             a select -> 2=y 3=z",
        );
    }

    #[test]
    fn what_was_under_way_is_gone_and_its_locks_with_it() {
        check(
            "a insert 1 x
             a begin
             a append 1 y
             b insert 2 z
             crash
             b append 1 w -> updated 1
             b select     -> 2=z 1=xw",
        );
    }

    #[test]
    fn rolled_back_savepoints_stay_rolled_back() {
        check(
            "a begin
             a insert 1 x
             a savepoint s
             a insert 2 y
             a rollback-to s
             a savepoint r
             a insert 3 z
             a release r
             a commit
             crash
             a select -> 1=x 3=z",
        );
    }

    #[test]
    fn a_replica_may_lack_a_commit_and_all_that_followed() {
        check(
            "a insert 1 x
             a insert 2 y
             a insert 3 z
             promote-without 2 -> lost 2,3
             a select          -> 1=x
             a insert 4 w
             promote-without 9
             a select          -> 1=x 4=w",
        );
    }

    #[test]
    fn an_xid_that_was_lost_is_given_out_again() {
        // Measured on PostgreSQL 15.18; the message is PostgreSQL's.
        let mut engine = engine();
        let lost = begin_and_write(&mut engine);
        engine.crash();
        let error = engine.xact_status(lost).unwrap_err().to_string();
        assert_eq!(error, "ERROR 22023: transaction ID 741 is in the future");
        assert_eq!(begin_and_write(&mut engine), lost);
    }

    fn begin_and_write(engine: &mut Engine) -> crate::engine::Xid {
        let mut tx = engine.begin(Pid(1), Default::default(), Timestamp(0));
        tx.xid(engine)
    }

    /// One of the choices, by a linear congruential generator: the same on every machine.
    fn choose<'a>(state: &mut u64, choices: &[&'a str]) -> &'a str {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        choices[(*state >> 33) as usize % choices.len()]
    }

    #[test]
    fn recovery_finds_what_was_committed_and_nothing_else() {
        let deeds = [
            "insert",
            "insert",
            "insert",
            "insert-or-skip",
            "insert-or-skip",
            "append",
            "append",
            "update",
            "update",
            "delete",
            "unique",
            "vacuum",
            "vacuum",
            "checkpoint",
            "truncate",
            "savepoint s",
            "rollback-to s",
            "release s",
            "commit",
            "commit",
            "abort",
            "nextval",
        ];
        for seed in 0..300 {
            let mut state = seed;
            let mut world = World::new(engine());
            for _ in 0..40 {
                let who = choose(&mut state, &["a", "b", "c"]);
                let deed = choose(&mut state, &deeds);
                let (key, other) = (
                    choose(&mut state, &["1", "2", "3"]),
                    choose(&mut state, &["1", "2", "3"]),
                );
                let value = choose(&mut state, &["x", "y", "z"]);
                let only_in_block = [
                    "savepoint s",
                    "rollback-to s",
                    "release s",
                    "commit",
                    "abort",
                ];
                let command = match deed {
                    _ if world.is_waiting(who) => continue,
                    _ if !world.is_in_block(who) && only_in_block.contains(&deed) => {
                        format!("{who} begin")
                    }
                    "insert" | "insert-or-skip" | "append" => format!("{who} {deed} {key} {value}"),
                    "update" => format!("{who} update {key} {other} {value}"),
                    "delete" => format!("{who} delete {key}"),
                    "checkpoint" => deed.into(),
                    deed => format!("{who} {deed}"),
                };
                if world.run(&command) == "waits" {
                    world.run("sleep 1000");
                }
            }
            let committed = |world: &mut World| {
                ["1", "2", "3"]
                    .map(|key| world.run(&format!("d find {key}")))
                    .join(" ")
                    + &world.run("d select")
            };
            // Whoever has locked the table would make the reader wait.
            for who in ["a", "b", "c"] {
                if world.is_waiting(who) {
                    world.run(&format!("{who} cancel"));
                }
            }
            for who in ["a", "b", "c"] {
                if world.is_in_block(who) {
                    world.run(&format!("{who} abort"));
                }
            }
            let before = committed(&mut world);
            assert_eq!(world.run("crash"), "", "seed {seed}");
            assert_eq!(committed(&mut world), before, "seed {seed}");
        }
    }

    #[test]
    fn what_was_installed_cannot_be_lost() {
        let mut world = World::new(engine());
        world.statement(Pid(1), |exec| {
            let table = exec.catalog().table(exec.path(), "t").expect("installed");
            exec.insert(&table, std::sync::Arc::new([1.into(), "x".into()]))
                .map(|_| String::new())
        });
        world.engine.checkpoint_as_installed();
        check_on(
            world.engine,
            "a select -> 1=x
             crash
             a select -> 1=x
             a insert 1 y -> ERROR 23505: duplicate key value violates unique constraint \"t_pkey\" (Key (id)=(1) already exists.)
             promote-without 1
             a select -> 1=x",
        );
    }
}
