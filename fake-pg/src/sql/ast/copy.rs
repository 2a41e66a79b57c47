//! COPY.

use super::{Name, Query, Relation};

/// COPY … FROM STDIN, COPY … TO STDOUT.
#[derive(Debug, Clone, PartialEq)]
pub struct Copy {
    /// What is copied.
    pub source: CopySource,
    /// FROM STDIN rather than TO STDOUT.
    pub incoming: bool,
    /// How it is written.
    pub options: CopyOptions,
}

/// A table or the rows of a query.
#[derive(Debug, Clone, PartialEq)]
pub enum CopySource {
    /// A table, and its columns if they are named.
    Table(Relation, Vec<(Name, u32)>),
    /// A query.
    Query(Box<Query>),
}

/// How rows are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOptions {
    /// FORMAT.
    pub format: CopyFormat,
    /// DELIMITER.
    pub delimiter: char,
    /// NULL.
    pub null: String,
    /// HEADER.
    pub header: bool,
    /// QUOTE, of csv.
    pub quote: char,
    /// ESCAPE, of csv.
    pub escape: char,
}

/// The formats of COPY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyFormat {
    /// Lines with tabs.
    Text,
    /// Lines with commas.
    Csv,
    /// As on the wire.
    Binary,
}
