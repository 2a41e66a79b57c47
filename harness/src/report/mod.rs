//! What people and programs read of a run, an exploration, or a catalogue of them.
//!
//! Nothing in here decides anything: it is all said in a history, a judgement or an exploration.

mod describe;
mod timeline;
pub(crate) mod paint;
mod matrix;
mod certificate;
mod failure;
pub mod json;
pub(crate) mod html;
#[cfg(test)]
pub(crate) mod sample;

pub(crate) use certificate::counted;
pub(crate) use describe::event_line;
pub use failure::Failure;
pub use matrix::{Matrix, catalogue_matrix};
pub use timeline::Timeline;
