//! All scenarios, in the order of the table.

use midcommit::Scenario;

use crate::{blog, dj_atomic, remedy, stock};

/// Every scenario there is: what breaks first, what helps last.
pub fn catalogue() -> Vec<Scenario> {
    let mut all = stock::scenarios();
    all.extend(dj_atomic::scenarios());
    all.extend(blog::scenarios());
    all.extend(remedy::scenarios());
    all.into_iter().map(Scenario::strict).collect()
}

/// The remedies alone, each before its broken twins, in the order of the page.
pub fn remedies() -> Vec<Scenario> {
    let all = remedy::scenarios().into_iter();
    all.map(Scenario::strict).collect()
}
