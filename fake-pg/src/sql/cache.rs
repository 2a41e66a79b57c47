//! What parsing and planning have found, to be found again.
//!
//! Each thread has its own, so that nothing is locked; engines on a thread
//! share it, since a schema version means the same everywhere. What has not been
//! asked for in a while is forgotten: results never depend on it.
//!
//! Clients that write values into their statements never send one twice. So a
//! cache has two generations: when the younger is full it becomes the older, and
//! what is then not asked for goes with it. Neither grows, and no clearing takes long.

use std::cell::RefCell;
use std::collections::BTreeMap;
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

#[derive(Default)]
struct Cache {
    scripts: BTreeMap<Arc<str>, Script>,
    older_scripts: BTreeMap<Arc<str>, Script>,
    /// By schema version and text.
    plans: Plans,
    older_plans: Plans,
    plans_kept: usize,
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::default();
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
        keep_script(text, &script);
    }
    Some(script)
}

/// Remembers the statements of a text.
pub(super) fn keep_script(text: &str, script: &Script) {
    CACHE.with_borrow_mut(|cache| {
        if cache.scripts.len() >= GENERATION {
            cache.older_scripts = std::mem::take(&mut cache.scripts);
        }
        cache.scripts.insert(text.into(), script.clone());
    });
}

/// The plan of a text for a schema.
pub(super) fn plan(
    version: u64,
    path: &SearchPath,
    text: &str,
    hints: &[Option<Type>],
) -> Option<Arc<Prepared>> {
    let find = |plans: &Plans| {
        let plans = plans.get(&version)?.get(text)?;
        let fits = |plan: &&Arc<Prepared>| plan.hints == hints && plan.path == *path;
        plans.iter().find(fits).cloned()
    };
    let (plan, is_old) = CACHE.with_borrow(|cache| {
        let young = find(&cache.plans).map(|plan| (plan, false));
        young.or_else(|| Some((find(&cache.older_plans)?, true)))
    })?;
    if is_old {
        keep_plan(&plan);
    }
    Some(plan)
}

/// Remembers a plan.
pub(super) fn keep_plan(prepared: &Arc<Prepared>) {
    CACHE.with_borrow_mut(|cache| {
        if cache.plans_kept >= GENERATION {
            cache.older_plans = std::mem::take(&mut cache.plans);
            cache.plans_kept = 0;
        }
        cache.plans_kept += 1;
        let plans = cache.plans.entry(prepared.version).or_default();
        let text = prepared.statement.text.clone();
        plans.entry(text).or_default().push(prepared.clone());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let script: Script = Arc::new([]);
        keep_script("often", &script);
        for number in 0..10 * GENERATION {
            keep_script(&format!("once {number}"), &script);
            assert!(super::script("often").is_some());
        }
        let kept = CACHE.with_borrow(|cache| cache.scripts.len() + cache.older_scripts.len());
        assert!(kept <= 2 * GENERATION, "{kept}");
    }
}
