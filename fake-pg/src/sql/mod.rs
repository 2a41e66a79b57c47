//! SQL: text to rows. `parse` → [`ast`] → `plan` → `execute`.

pub mod ast;
pub mod parse;
pub mod settings;
