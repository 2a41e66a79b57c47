//! SQL: text to rows. `parse` → [`ast`] → `plan` → `execute`.

pub mod ast;
mod face;
pub mod parse;
pub mod settings;

pub use face::*;
