//! What commits have made owed, and what consumers have applied: asked of the
//! server itself after each commit that becomes visible.
//!
//! Queues delete rows, so the final state would prove nothing. A crash that loses
//! commits also voids what they made owed: the same key may be owed again.

use std::collections::BTreeMap;
use std::sync::Arc;

use fake_pg::engine::Engine;

use super::system::{Inbox, PRIMARY, Promise, System};
use super::world::World;
use crate::history::{CommitId, What};

/// One server's account of effects.
#[derive(Clone, Default)]
pub(crate) struct Ledger {
    server: Arc<str>,
    /// For each of the scenario's promises: the keys that are owed, and since which commit.
    owed: Vec<BTreeMap<Arc<str>, u64>>,
    /// For each inbox: how often each key stands in it.
    applied: Vec<BTreeMap<Arc<str>, u64>>,
}

impl Ledger {
    /// What the schema's own rows say: owed by nobody, applied before the run.
    ///
    /// # Errors
    ///
    /// A query of the scenario's fails, with the query and the server's words.
    pub(crate) fn open(
        system: &System,
        server: &Arc<str>,
        engine: &mut Engine,
    ) -> Result<Ledger, String> {
        let mut ledger = Ledger {
            server: server.clone(),
            owed: vec![BTreeMap::new(); system.promises.len()],
            applied: vec![BTreeMap::new(); system.inboxes.len()],
        };
        if &**server == PRIMARY {
            for (Promise { sql, .. }, known) in system.promises.iter().zip(&mut ledger.owed) {
                if let Some(sql) = sql {
                    known.extend(keys(engine, sql)?.into_iter().map(|key| (key, 0)));
                }
            }
        }
        for (inbox, known) in system.inboxes.iter().zip(&mut ledger.applied) {
            if inbox.server == *server {
                *known = counted(engine, &inbox.sql)?;
            }
        }
        Ok(ledger)
    }

    /// Logs what a commit has made owed, and what it has applied.
    pub(crate) fn note(&mut self, world: &World, number: u64, engine: &mut Engine) {
        let noted = self.note_owed(world, number, engine);
        if let Err(error) = noted.and_then(|()| self.note_applied(world, number, engine)) {
            world.fail(error);
        }
    }

    fn note_owed(&mut self, world: &World, number: u64, engine: &mut Engine) -> Result<(), String> {
        if &*self.server != PRIMARY {
            return Ok(());
        }
        for (Promise { effect, sql, .. }, known) in
            world.setup.system.promises.iter().zip(&mut self.owed)
        {
            let Some(sql) = sql else { continue };
            for key in keys(engine, sql)? {
                if known.contains_key(&key) {
                    continue;
                }
                known.insert(key.clone(), number);
                world.log(What::Owed {
                    name: effect.clone(),
                    key,
                    commit: CommitId {
                        server: self.server.clone(),
                        number,
                    },
                });
            }
        }
        Ok(())
    }

    fn note_applied(
        &mut self,
        world: &World,
        number: u64,
        engine: &mut Engine,
    ) -> Result<(), String> {
        for (
            Inbox {
                effect,
                server,
                sql,
            },
            known,
        ) in world.setup.system.inboxes.iter().zip(&mut self.applied)
        {
            if *server != self.server {
                continue;
            }
            let rows = counted(engine, sql)?;
            for (key, count) in &rows {
                for _ in known.get(key).copied().unwrap_or(0)..*count {
                    let commit = CommitId {
                        server: self.server.clone(),
                        number,
                    };
                    world.apply(effect, key, Some(commit));
                }
            }
            *known = rows;
        }
        Ok(())
    }

    /// After a recovery: what the lost commits made owed is owed no more, and what inboxes have lost
    /// is not applied any more. What they have gained is noted with the commit that brought it.
    pub(crate) fn recover(&mut self, world: &World, lost: &[u64], engine: &mut Engine) {
        for known in &mut self.owed {
            known.retain(|_, since| !lost.contains(since));
        }
        for (inbox, known) in world.setup.system.inboxes.iter().zip(&mut self.applied) {
            if inbox.server != self.server {
                continue;
            }
            match counted(engine, &inbox.sql) {
                Ok(rows) => known.retain(|key, count| {
                    *count = rows.get(key).copied().unwrap_or(0).min(*count);
                    *count > 0
                }),
                Err(error) => world.fail(error),
            }
        }
    }
}

fn counted(engine: &mut Engine, sql: &str) -> Result<BTreeMap<Arc<str>, u64>, String> {
    let mut rows = BTreeMap::new();
    for key in keys(engine, sql)? {
        *rows.entry(key).or_default() += 1;
    }
    Ok(rows)
}

/// The first column of a query's rows.
fn keys(engine: &mut Engine, sql: &str) -> Result<Vec<Arc<str>>, String> {
    let rows = engine
        .query_committed(sql)
        .map_err(|error| format!("the query `{sql}` failed: {error}"))?;
    let first = rows
        .into_iter()
        .filter_map(|row| row.into_iter().next().flatten());
    Ok(first.map(Arc::from).collect())
}
