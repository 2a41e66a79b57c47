//! The commit paths that people run, and the remedies they reach for.
//!
//! Real drivers where there are Rust ones, models of the others that speak the
//! wire to the same server. No model says what comes out: each declares what is
//! known of the real system, with its source, and the harness compares.

mod catalogue;
mod stock;
mod python;
mod driver;
mod django;
mod celery;
mod dj_atomic;
mod blog;
mod remedy;
pub mod page;

pub use catalogue::{catalogue, remedies};
