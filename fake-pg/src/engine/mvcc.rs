//! Who sees which version: the fate of transactions, snapshots, visibility.
//!
//! A version is visible if its writer is in the snapshot and its remover is not. For others, *in*
//! means committed and neither too young nor still running when the snapshot was taken; for oneself
//! it means written by an earlier command. As commands see only earlier ones, a command that is
//! executed again from its start sees the same versions again.

use std::collections::BTreeMap;

use super::heap::Tuple;
use super::{CommandId, Pid, Xid};

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XactStatus {
    /// It has not ended.
    InProgress,
    /// Its effects count.
    Committed,
    /// They never did.
    Aborted,
}

/// The commit log, `pg_xact`: two bits a transaction, a byte here. Whoever is older than the first
/// entry has committed, as a checkpoint leaves nothing else behind.
#[derive(Clone, Debug)]
pub(super) struct Clog {
    first: Xid,
    fates: Vec<XactStatus>,
}

impl Clog {
    pub(super) fn starting_at(first: Xid) -> Self {
        Clog {
            first,
            fates: Vec::new(),
        }
    }

    /// The first xid whose fate is written here.
    pub(super) fn first(&self) -> Xid {
        self.first
    }

    /// Forgets the fates before that xid: nothing is left of those that were rolled back.
    pub(super) fn truncate(&mut self, before: Xid) {
        let old = before.0.saturating_sub(self.first.0) as usize;
        self.fates.drain(..old.min(self.fates.len()));
        self.first = self.first.max(before);
    }

    pub(super) fn set(&mut self, xid: Xid, fate: XactStatus) {
        let place = (xid.0 - self.first.0) as usize;
        if self.fates.len() <= place {
            self.fates.resize(place + 1, XactStatus::InProgress);
        }
        self.fates[place] = fate;
    }

    /// What is written there. A transaction that a crash ended was never written: whether one is
    /// still running is known only to [`Running`].
    fn get(&self, xid: Xid) -> XactStatus {
        match xid.0.checked_sub(self.first.0) {
            None => XactStatus::Committed,
            Some(place) => self
                .fates
                .get(place as usize)
                .copied()
                .unwrap_or(XactStatus::InProgress),
        }
    }
}

/// The transactions and subtransactions that have not ended (`ProcArray`), and their backends.
pub(super) type Running = BTreeMap<Xid, Pid>;

/// What became of a transaction: in progress until it leaves [`Running`], whatever the clog says,
/// because COMMIT writes the clog before it becomes visible.
pub(super) fn status(running: &Running, clog: &Clog, xid: Xid) -> XactStatus {
    if running.contains_key(&xid) {
        return XactStatus::InProgress;
    }
    match clog.get(xid) {
        XactStatus::Committed => XactStatus::Committed,
        XactStatus::InProgress | XactStatus::Aborted => XactStatus::Aborted,
    }
}

/// Which transactions count as committed, from where one command stands.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The first xid that had not been assigned.
    xmax: Xid,
    /// Those below it that had not ended, in order.
    in_progress: Vec<Xid>,
}

impl Snapshot {
    pub(super) fn take(running: &Running, next: Xid) -> Self {
        Snapshot {
            xmax: next,
            in_progress: running.keys().copied().collect(),
        }
    }

    /// The oldest xid that had not ended (`xmin`).
    pub(super) fn xmin(&self) -> Xid {
        self.in_progress.first().copied().unwrap_or(self.xmax)
    }

    /// Whether a transaction had not ended (`XidIsConcurrent`).
    pub(super) fn is_concurrent(&self, xid: Xid) -> bool {
        xid >= self.xmax || self.in_progress.binary_search(&xid).is_ok()
    }

    /// What SQL sees of it (`GetSnapshotData`): `xmax` is behind the last that has ended, and only
    /// others' transactions are listed.
    pub(super) fn shown(&self, own: &[Xid], running: &Running) -> (Xid, Xid, Vec<Xid>) {
        let runs = |xid: Xid| self.in_progress.binary_search(&xid).is_ok();
        let mut xmax = self.xmax;
        while xmax > Xid(3) && runs(Xid(xmax.0 - 1)) {
            xmax.0 -= 1;
        }
        let is_sub = |xid: Xid| {
            let session = running.get(&xid);
            let mut before = running.range(..xid);
            session.is_some_and(|pid| before.any(|(_, other)| other == pid))
        };
        let before = self.in_progress.iter().copied();
        let mut before: Vec<Xid> = before.take_while(|&xid| xid < xmax).collect();
        let xmin = before.first().copied().unwrap_or(xmax);
        before.retain(|xid| own.binary_search(xid).is_err() && !is_sub(*xid));
        (xmin, xmax, before)
    }

    fn includes(&self, xid: Xid, clog: &Clog) -> bool {
        xid < self.xmax
            && self.in_progress.binary_search(&xid).is_err()
            && clog.get(xid) == XactStatus::Committed
    }
}

/// Everything visibility depends on.
pub(super) struct View<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) clog: &'a Clog,
    /// The viewer's own xids that have not been rolled back, in order.
    pub(super) own: &'a [Xid],
    /// The viewer's current command.
    pub(super) command: CommandId,
}

impl View<'_> {
    /// `HeapTupleSatisfiesMVCC`.
    pub(super) fn sees(&self, tuple: &Tuple) -> bool {
        self.includes(tuple.xmin, tuple.cmin)
            && (tuple.xmax == Xid::NONE || !self.includes(tuple.xmax, tuple.cmax))
    }

    fn includes(&self, xid: Xid, command: CommandId) -> bool {
        match self.own.binary_search(&xid) {
            Ok(_) => command < self.command,
            Err(_) => self.snapshot.includes(xid, self.clog),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::script::check;

    #[test]
    fn a_row_is_seen_when_its_writer_has_committed() {
        check(
            "a begin
             a insert 1 x
             a select     -> 1=x
             b select     -> 
             a commit
             b select     -> 1=x",
        );
    }

    #[test]
    fn read_committed_sees_what_others_commit_and_repeatable_read_does_not() {
        check(
            "a insert 1 x
             b begin
             c begin rr
             b select     -> 1=x
             c select     -> 1=x
             a append 1 y -> updated 1
             b select     -> 1=xy
             c select     -> 1=x
             c commit
             c select     -> 1=xy",
        );
    }

    #[test]
    fn a_key_is_found_in_the_version_that_is_seen() {
        check(
            "a insert 1 x
             b begin rr
             b find 1     -> 1=x
             a append 1 y
             a append 1 z
             a find 1     -> 1=xyz
             b find 1     -> 1=x
             a delete 1   -> deleted 1
             a find 1     -> none
             b find 1     -> 1=x",
        );
    }

    #[test]
    fn a_deletion_that_was_rolled_back_never_was() {
        check(
            "a insert 1 x
             a begin
             a delete 1
             a select     -> 
             b select     -> 1=x
             a abort
             a select     -> 1=x",
        );
    }
}
