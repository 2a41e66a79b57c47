//! Judges: each reads a history, and nothing else.

mod judgement;
mod verdict;

pub use judgement::{Finding, Judgement};
pub use verdict::Verdict;
