//! What the session writes: errors, notices, rows, ReadyForQuery.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use super::block::Block;
use super::{Session, Work};
use crate::engine::{ActivityState, Engine};
use crate::error::{PgError, Severity, SqlState};
use crate::sql::{Column, CommandTag};
use crate::types::{Datum, binary, text};
use crate::wire::backend::{self, Field, Presence};

/// How a value travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Binary,
}

impl Format {
    pub(super) fn from_code(code: i16) -> Result<Format, PgError> {
        match code {
            0 => Ok(Format::Text),
            1 => Ok(Format::Binary),
            other => Err(PgError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("unsupported format code: {other}"),
            )),
        }
    }

    /// The format of a column: none given means text for all.
    fn of(formats: &[Format], column: usize) -> Format {
        formats.get(column).copied().unwrap_or(Format::Text)
    }
}

impl Session {
    /// Writes an error or a notice, by its severity.
    ///
    /// Source of the order: `send_message_to_frontend` in `utils/error/elog.c`. The fields F, L
    /// and R, which name the real server's source, are left out.
    pub(super) fn report(&mut self, error: &PgError) {
        let severity = error.severity.as_str();
        let position = error.position.map(|position| position.to_string());
        let fields = [
            (b'S', Some(severity)),
            (b'V', Some(severity)),
            (b'C', Some(error.code.as_str())),
            (b'M', Some(error.message.as_str())),
            (b'D', error.detail.as_deref()),
            (b'H', error.hint.as_deref()),
            (b'P', position.as_deref()),
            (b'W', error.context.as_deref()),
            (b's', error.schema.as_deref()),
            (b't', error.table.as_deref()),
            (b'c', error.column.as_deref()),
            (b'd', error.data_type.as_deref()),
            (b'n', error.constraint.as_deref()),
        ];
        let given = fields
            .into_iter()
            .filter_map(|(kind, text)| Some((kind, text?)));
        backend::report(&mut self.output, error.severity >= Severity::Error, given);
    }

    /// Writes ReadyForQuery. If COMMITs wait for it, the bytes are handed over before anything
    /// else happens, as only then are they `ready`.
    pub(super) fn ready(&mut self, engine: &mut Engine) {
        if engine.is_notified(self.pid) && matches!(self.block, Block::None) {
            self.tell_notifications(engine);
        }
        self.report_settings();
        backend::ready_for_query(&mut self.output, self.block.status());
        self.flush();
        self.idle_since = Some(self.now);
        self.known();
        self.now_idle(engine);
        self.work = match self.unready.is_empty() {
            true => Work::Idle,
            false => Work::Acknowledge,
        };
    }

    /// Writes what the session was notified of.
    ///
    /// Source: `ProcessNotifyInterrupt`, which waits for the end of a transaction.
    pub(super) fn tell_notifications(&mut self, engine: &mut Engine) {
        for said in engine.take_notifications(self.pid) {
            let (channel, payload) = (&said.channel, &said.payload);
            backend::notification_response(&mut self.output, said.pid.0, channel, payload);
        }
    }

    /// Notes in `pg_stat_activity` that a statement begins.
    pub(super) fn now_active(&mut self, query: &Arc<str>, engine: &mut Engine) {
        if let Some(activity) = engine.activity_mut(self.pid) {
            activity.state = ActivityState::Active;
            activity.query = Arc::clone(query);
            activity.query_start = Some(self.now);
            activity.state_change = self.now;
        }
    }

    /// Notes there that the client is waited for.
    fn now_idle(&mut self, engine: &mut Engine) {
        let Some(activity) = engine.activity_mut(self.pid) else {
            return;
        };
        (activity.state, activity.xact_start) = match &self.block {
            Block::None | Block::Implicit(_) => (ActivityState::Idle, None),
            Block::Explicit(tx) => (ActivityState::IdleInTransaction, Some(tx.started)),
            Block::Failed(_) => (ActivityState::IdleInTransactionAborted, None),
        };
        activity.state_change = self.now;
        if !Arc::ptr_eq(&activity.application_name, &self.known.application_name) {
            activity.application_name = Arc::clone(&self.known.application_name);
        }
    }

    /// Reports the settings that have changed since they were last reported.
    ///
    /// Source: `ReportChangedGUCOptions`, which waits until ReadyForQuery as well.
    pub(super) fn report_settings(&mut self) {
        if self.settings.is_same(&self.reported) {
            return;
        }
        let before = self.reported.reported();
        for ((name, now), (_, before)) in self.settings.reported().zip(before) {
            let (now, before) = match name {
                "session_authorization" => (
                    Cow::Borrowed(self.settings.session_user()),
                    Cow::Borrowed(self.reported.session_user()),
                ),
                _ => (now, before),
            };
            // Whoever is being let in has been told nothing yet.
            if !self.let_in || now != before {
                backend::parameter_status(&mut self.output, name, &now);
            }
        }
        self.reported = self.settings.clone();
    }
}

pub(super) fn write_tag(output: &mut BytesMut, tag: CommandTag) {
    match tag {
        CommandTag::Plain(tag) => backend::command_complete(output, tag),
        counted => backend::command_complete(output, &counted.to_string()),
    }
}

pub(super) fn write_row_description(output: &mut BytesMut, columns: &[Column], formats: &[Format]) {
    let fields = columns.iter().enumerate().map(|(place, column)| Field {
        name: &column.name,
        table_oid: column.table,
        column: column.attnum,
        type_oid: column.ty.oid(),
        type_size: column.ty.len(),
        type_modifier: column.typmod,
        format: match Format::of(formats, place) {
            Format::Text => 0,
            Format::Binary => 1,
        },
    });
    backend::row_description(output, fields);
}

/// Writes one row, or nothing if a value has no such format.
pub(super) fn write_row(
    output: &mut BytesMut,
    scratch: &mut String,
    columns: &[Column],
    row: &[Datum],
    formats: &[Format],
) -> Result<(), PgError> {
    let (start, mut failure) = (output.len(), None);
    let values = row.iter().zip(columns).enumerate();
    backend::data_row(output, values, |(place, (datum, column)), output| {
        if datum.is_null() {
            return Presence::Null;
        }
        match Format::of(formats, place) {
            Format::Text => {
                scratch.clear();
                text::write(datum, scratch);
                output.put_slice(scratch.as_bytes());
            }
            Format::Binary => {
                if let Err(error) = binary::write(column.ty, datum, output) {
                    failure = Some(error);
                }
            }
        }
        Presence::Given
    });
    match failure {
        None => Ok(()),
        Some(error) => {
            output.truncate(start);
            Err(error)
        }
    }
}
