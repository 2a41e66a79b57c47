//! SQL: text to rows. `parse` → [`ast`] → `plan` → `execute`.

pub mod ast;
pub mod parse;
mod quote;
pub mod settings;
mod catalogs;
mod functions;
mod plan;
mod context;
mod execute;
mod copy;
mod face;
mod cache;
mod committed;

#[cfg(test)]
mod tests;

pub use copy::Copying;
pub use execute::Incoming;
pub use face::*;
