//! What parsing and planning have found, to be found again.
//!
//! Each thread has its own, so that nothing is locked; engines on a thread
//! share it, since a schema version means the same everywhere. A cache that has
//! grown too large is emptied: results never depend on it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::ast::Statement;
use super::face::Prepared;
use crate::engine::SearchPath;
use crate::types::Type;

type Script = Arc<[Arc<Statement>]>;

/// Plans of one text: one for each choice of parameter types and search path.
type Plans = BTreeMap<Arc<str>, Vec<Arc<Prepared>>>;

const SCRIPTS_MAX: usize = 10_000;
const PLANS_MAX: usize = 10_000;

#[derive(Default)]
struct Cache {
    scripts: BTreeMap<Arc<str>, Script>,
    plans: BTreeMap<u64, Plans>,
    plans_kept: usize,
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::default();
}

/// The statements of a text that was parsed before.
pub(super) fn script(text: &str) -> Option<Script> {
    CACHE.with_borrow(|cache| cache.scripts.get(text).cloned())
}

/// Remembers the statements of a text.
pub(super) fn keep_script(text: &str, script: &Script) {
    CACHE.with_borrow_mut(|cache| {
        if cache.scripts.len() >= SCRIPTS_MAX {
            cache.scripts.clear();
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
    CACHE.with_borrow(|cache| {
        let plans = cache.plans.get(&version)?.get(text)?;
        let fits = |plan: &&Arc<Prepared>| plan.hints == hints && plan.path == *path;
        let plan = plans.iter().find(fits);
        plan.cloned()
    })
}

/// Remembers a plan.
pub(super) fn keep_plan(prepared: &Arc<Prepared>) {
    CACHE.with_borrow_mut(|cache| {
        if cache.plans_kept >= PLANS_MAX {
            cache.plans.clear();
            cache.plans_kept = 0;
        }
        cache.plans_kept += 1;
        let plans = cache.plans.entry(prepared.version).or_default();
        let text = prepared.statement.text.clone();
        plans.entry(text).or_default().push(prepared.clone());
    });
}
