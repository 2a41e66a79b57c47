//! What parsing and planning have found, to be found again.
//!
//! Each thread has its own, so that nothing is locked; engines on a thread
//! share it, since a schema version means the same everywhere. What has not been
//! asked for in a while is forgotten: results never depend on it.
//!
//! Clients that write values into their statements never send one twice. So only
//! what comes a second time is kept, and a cache has two generations: when the
//! younger is full it becomes the older, and what is then not asked for goes with
//! it. Neither grows, and no clearing takes long.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ast::Statement;
use super::face::Prepared;
use crate::engine::SearchPath;
use crate::types::Type;

type Script = Arc<[Arc<Statement>]>;

/// Plans of one text: one for each choice of parameter types and search path.
type Plans = BTreeMap<u64, BTreeMap<Arc<str>, Vec<Arc<Prepared>>>>;

/// How many entries a generation has.
const GENERATION: usize = 1_000;

/// Of how many texts it is remembered that they came once.
const SEEN_MAX: usize = 10_000;

struct Cache {
    scripts: BTreeMap<Arc<str>, Script>,
    older_scripts: BTreeMap<Arc<str>, Script>,
    /// By schema version and text.
    plans: Plans,
    older_plans: Plans,
    plans_kept: usize,
    /// Hashes of what came once.
    seen: BTreeSet<u64>,
}

thread_local! {
    static CACHE: RefCell<Cache> = const { RefCell::new(Cache::EMPTY) };
}

impl Cache {
    const EMPTY: Cache = Cache {
        scripts: BTreeMap::new(),
        older_scripts: BTreeMap::new(),
        plans: BTreeMap::new(),
        older_plans: BTreeMap::new(),
        plans_kept: 0,
        seen: BTreeSet::new(),
    };

    /// Whether this comes again; if not, the next time it will.
    fn comes_again(&mut self, text: &str, version: u64) -> bool {
        // FNV-1a: what collides is kept at once, which changes no result.
        let hash = text
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325 ^ version, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
            });
        if self.seen.len() >= SEEN_MAX {
            self.seen.clear();
        }
        !self.seen.insert(hash)
    }

    fn add_script(&mut self, text: &str, script: &Script) {
        if self.scripts.len() >= GENERATION {
            self.older_scripts = std::mem::take(&mut self.scripts);
        }
        self.scripts.insert(text.into(), script.clone());
    }

    fn add_plan(&mut self, prepared: &Arc<Prepared>) {
        if self.plans_kept >= GENERATION {
            self.older_plans = std::mem::take(&mut self.plans);
            self.plans_kept = 0;
        }
        self.plans_kept += 1;
        let plans = self.plans.entry(prepared.version).or_default();
        let text = prepared.statement.text.clone();
        plans.entry(text).or_default().push(prepared.clone());
    }
}

/// The statements of a text that was parsed before.
pub(super) fn script(text: &str) -> Option<Script> {
    let (script, is_old) = CACHE.with_borrow(|cache| {
        let young = cache
            .scripts
            .get(text)
            .map(|script| (script.clone(), false));
        young.or_else(|| Some((cache.older_scripts.get(text)?.clone(), true)))
    })?;
    if is_old {
        CACHE.with_borrow_mut(|cache| cache.add_script(text, &script));
    }
    Some(script)
}

/// Remembers the statements of a text.
pub(super) fn keep_script(text: &str, script: &Script) {
    CACHE.with_borrow_mut(|cache| {
        if cache.comes_again(text, 0) {
            cache.add_script(text, script);
        }
    });
}

/// The plan of a text for a schema.
pub(super) fn plan(
    version: u64,
    path: &SearchPath,
    statement: &Statement,
    hints: &[Option<Type>],
) -> Option<Arc<Prepared>> {
    let find = |plans: &Plans| {
        let plans = plans.get(&version)?.get(&statement.text)?;
        // Errors tell places, which differ with what stands before it.
        let fits = |plan: &&Arc<Prepared>| {
            let start = plan.statement.start;
            plan.hints == hints && start == statement.start && plan.path == *path
        };
        plans.iter().find(fits).cloned()
    };
    let (plan, is_old) = CACHE.with_borrow(|cache| {
        let young = find(&cache.plans).map(|plan| (plan, false));
        young.or_else(|| Some((find(&cache.older_plans)?, true)))
    })?;
    if is_old {
        CACHE.with_borrow_mut(|cache| cache.add_plan(&plan));
    }
    Some(plan)
}

/// Remembers a plan.
pub(super) fn keep_plan(prepared: &Arc<Prepared>) {
    CACHE.with_borrow_mut(|cache| {
        // A text and its plan have hashes of their own.
        if cache.comes_again(&prepared.statement.text, prepared.version | 1 << 63) {
            cache.add_plan(prepared);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let script: Script = Arc::new([]);
        keep_script("often", &script);
        assert!(super::script("often").is_none(), "it may never come again");
        keep_script("often", &script);
        for number in 0..10 * GENERATION {
            keep_script(&format!("once {number}"), &script);
            for _ in 0..2 {
                keep_script(&format!("twice {number}"), &script);
            }
            assert!(super::script("often").is_some());
            assert!(super::script(&format!("once {number}")).is_none());
            assert!(super::script(&format!("twice {number}")).is_some());
        }
        let kept = CACHE.with_borrow(|cache| cache.scripts.len() + cache.older_scripts.len());
        assert!(kept <= 2 * GENERATION, "{kept}");
    }
}
