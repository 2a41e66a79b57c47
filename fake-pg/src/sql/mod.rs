//! SQL: text to rows. `parse` → [`ast`] → `plan` → `execute`.

pub mod ast;
mod cache;
mod catalogs;
mod committed;
mod context;
mod copy;
mod execute;
mod face;
mod functions;
pub mod parse;
mod plan;
mod quote;
pub mod settings;

#[cfg(test)]
mod tests;

pub use copy::Copying;
pub use execute::Incoming;
pub use face::*;
