//! An error built field by field: where it points, what is around it, whom it is about.
//!
//! Which field it is that a message has is for who words it, in `error`.

use std::fmt;

use super::{PgError, Report, Severity, SqlState};

impl PgError {
    /// An error with a code and a message, and nothing else yet.
    pub fn new(code: SqlState, message: impl Into<String>) -> Self {
        PgError(Box::new(Report {
            severity: Severity::Error,
            code,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            context: None,
            schema: None,
            table: None,
            column: None,
            data_type: None,
            constraint: None,
        }))
    }

    /// A warning: the session sends it as a notice.
    pub fn warning(code: SqlState, message: impl Into<String>) -> Self {
        Self::new(code, message).with_severity(Severity::Warning)
    }

    /// A notice.
    pub fn notice(code: SqlState, message: impl Into<String>) -> Self {
        Self::new(code, message).with_severity(Severity::Notice)
    }

    /// The same with another severity.
    pub fn with_severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// The same, ending the session.
    pub fn fatal(self) -> Self {
        self.with_severity(Severity::Fatal)
    }

    /// The same with a detail line.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same with a hint.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, pointing at a character of the query, from 1.
    pub fn at(mut self, position: usize) -> Self {
        self.position = Some(position);
        self
    }

    /// The same, pointing where the parser saw what it is about: 0 is nowhere.
    pub fn near(self, at: u32) -> Self {
        match at {
            0 => self,
            at => self.at(at as usize),
        }
    }

    /// The same, pointing nowhere: who found it had not the text of the statement.
    pub fn nowhere(mut self) -> Self {
        self.position = None;
        self
    }

    /// The same with a context line.
    pub fn with_context(mut self, context: impl Into<String>) -> Self {
        self.context = Some(context.into());
        self
    }

    /// The same with a line for what is around: CONTEXT is told from the inside out.
    pub fn within(mut self, around: impl fmt::Display) -> Self {
        self.context = Some(match self.context.take() {
            Some(inner) => format!("{inner}\n{around}"),
            None => around.to_string(),
        });
        self
    }

    /// The schema of the table that the error is about, if it is not `public`.
    pub fn in_schema(mut self, schema: &str) -> Self {
        self.schema = Some(schema.into());
        self
    }

    pub(super) fn on_table(mut self, table: &str) -> Self {
        self.schema = Some("public".into());
        self.table = Some(table.into());
        self
    }
}
