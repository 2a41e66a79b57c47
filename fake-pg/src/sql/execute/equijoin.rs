//! Joins on equal keys: the rows of a relation by their key, gathered when a second row asks.
//!
//! One pass over a relation for each row of another is too many when both are large. The rows a
//! statement sees do not change while it runs, so one pass is enough; the first asker has its own,
//! as most have no second.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Frame, Run, Values};
use crate::engine::{Halt, Tid};
use crate::sql::plan::{Hashed, ScanPlan};
use crate::types::Datum;

/// The places of a relation's rows, by key.
type Places = BTreeMap<Values, Vec<u32>>;

/// What is known of a relation's keys so far.
pub(super) enum Keys {
    /// Somebody has looked.
    Asked,
    Known(Arc<Places>),
}

/// What to do for one asker.
pub(super) enum Probe {
    /// Look at all rows.
    All,
    /// Look at these.
    At(Vec<u32>),
}

impl<'p> Run<'p, '_, '_> {
    /// The places of the rows that may have the key the row at hand asks for; `gather` tells each
    /// row's.
    fn probe(
        &mut self,
        hashed: &'p Hashed,
        frame: &Frame<'_>,
        gather: impl FnOnce(&Self) -> Places,
    ) -> Result<Probe, Halt> {
        let places = match self.keys.get(&hashed.slot) {
            None => {
                self.keys.insert(hashed.slot, Keys::Asked);
                return Ok(Probe::All);
            }
            Some(Keys::Asked) => {
                let places = Arc::new(gather(self));
                self.keys.insert(hashed.slot, Keys::Known(places.clone()));
                places
            }
            Some(Keys::Known(places)) => places.clone(),
        };
        let key = self.eval_all(&hashed.key, frame)?;
        if key.iter().any(Datum::is_null) {
            return Ok(Probe::At(Vec::new()));
        }
        Ok(Probe::At(places.get(&key).cloned().unwrap_or_default()))
    }

    /// The same for a table.
    pub(super) fn probe_table(
        &mut self,
        scan: &'p ScanPlan,
        hashed: &'p Hashed,
        frame: &Frame<'_>,
    ) -> Result<Probe, Halt> {
        self.probe(hashed, frame, |run| {
            let mut places = Places::new();
            let rows = run.context.exec.scan(&scan.table);
            for (Tid(tid), row) in rows {
                note(&mut places, hashed, row, tid);
            }
            places
        })
    }

    /// The same for rows that are all there.
    pub(super) fn probe_rows(
        &mut self,
        rows: &[Values],
        hashed: &'p Hashed,
        frame: &Frame<'_>,
    ) -> Result<Probe, Halt> {
        self.probe(hashed, frame, |_| {
            let mut places = Places::new();
            for (row, place) in rows.iter().zip(0..) {
                note(&mut places, hashed, row, place);
            }
            places
        })
    }
}

fn note(places: &mut Places, hashed: &Hashed, row: &[Datum], place: u32) {
    let key = hashed.columns.iter().map(|&column| row[column].clone());
    places.entry(key.collect()).or_default().push(place);
}
