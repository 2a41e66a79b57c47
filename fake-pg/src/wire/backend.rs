//! What the server answers: messages to bytes.
//!
//! Each function appends one whole message to the buffer; none of them decides whether it is
//! due. Values arrive encoded: formats are the business of `types`.

use bytes::{BufMut, BytesMut};

/// The state that ReadyForQuery reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// Not in a transaction block.
    Idle,
    /// In a transaction block.
    InBlock,
    /// In a transaction block that can only be rolled back.
    Failed,
}

impl TransactionStatus {
    fn byte(self) -> u8 {
        match self {
            TransactionStatus::Idle => b'I',
            TransactionStatus::InBlock => b'T',
            TransactionStatus::Failed => b'E',
        }
    }
}

/// One column of a RowDescription.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    /// The name of the column.
    pub name: &'a str,
    /// The table it comes from, or 0.
    pub table_oid: u32,
    /// Its number in that table, or 0.
    pub column: i16,
    /// The OID of its type.
    pub type_oid: u32,
    /// The size of the type; negative if it varies.
    pub type_size: i16,
    /// The type's modifier, or -1.
    pub type_modifier: i32,
    /// 0 for text, 1 for binary.
    pub format: i16,
}

/// Appends one message: its type, its length, the body that `body` writes.
#[inline]
fn message(out: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    let start = out.len();
    out.put_i32(0);
    body(out);
    // A body of 2 GB would need rows that no test holds.
    let length = (out.len() - start) as i32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

#[inline]
fn string(out: &mut BytesMut, value: &str) {
    // A zero would end the string early and desynchronise the stream. Text never holds one, as
    // the server refuses it; names come from the client's zero-terminated strings.
    out.put_slice(value.as_bytes());
    out.put_u8(0);
}

/// Says that the client is let in.
pub fn authentication_ok(out: &mut BytesMut) {
    out.put_slice(b"R\0\0\0\x08\0\0\0\0");
}

/// Asks for the MD5 of a password's MD5 and a salt.
pub fn authentication_md5(out: &mut BytesMut, salt: [u8; 4]) {
    message(out, b'R', |out| {
        out.put_i32(5);
        out.put_slice(&salt);
    });
}

/// Offers a SASL mechanism.
pub fn authentication_sasl(out: &mut BytesMut, mechanism: &str) {
    message(out, b'R', |out| {
        out.put_i32(10);
        string(out, mechanism);
        out.put_u8(0);
    });
}

/// The server's part of a SASL exchange that goes on.
pub fn authentication_sasl_continue(out: &mut BytesMut, data: &str) {
    message(out, b'R', |out| {
        out.put_i32(11);
        out.put_slice(data.as_bytes());
    });
}

/// Its last part.
pub fn authentication_sasl_final(out: &mut BytesMut, data: &str) {
    message(out, b'R', |out| {
        out.put_i32(12);
        out.put_slice(data.as_bytes());
    });
}

/// Reports a setting that drivers want to know.
pub fn parameter_status(out: &mut BytesMut, name: &str, value: &str) {
    message(out, b'S', |out| {
        string(out, name);
        string(out, value);
    });
}

/// Gives the client what it needs to cancel.
pub fn backend_key_data(out: &mut BytesMut, pid: i32, key: i32) {
    message(out, b'K', |out| {
        out.put_i32(pid);
        out.put_i32(key);
    });
}

/// Refuses a newer minor version and the options that come with it.
pub fn negotiate_protocol_version(out: &mut BytesMut, options: &[&str]) {
    message(out, b'v', |out| {
        // Source: `SendNegotiateProtocolVersion`, which sends the whole version and not the
        // minor one alone, as the documentation has it.
        out.put_u32(3 << 16);
        out.put_u32(options.len() as u32);
        options.iter().for_each(|option| string(out, option));
    });
}

/// Says that the server waits for the next request.
#[inline]
pub fn ready_for_query(out: &mut BytesMut, status: TransactionStatus) {
    out.put_slice(&[b'Z', 0, 0, 0, 5, status.byte()]);
}

/// Answers Parse.
#[inline]
pub fn parse_complete(out: &mut BytesMut) {
    out.put_slice(b"1\0\0\0\x04");
}

/// Answers Bind.
#[inline]
pub fn bind_complete(out: &mut BytesMut) {
    out.put_slice(b"2\0\0\0\x04");
}

/// Answers Close.
#[inline]
pub fn close_complete(out: &mut BytesMut) {
    out.put_slice(b"3\0\0\0\x04");
}

/// Answers Describe of what returns no rows.
#[inline]
pub fn no_data(out: &mut BytesMut) {
    out.put_slice(b"n\0\0\0\x04");
}

/// Answers an Execute that stopped at its row limit.
#[inline]
pub fn portal_suspended(out: &mut BytesMut) {
    out.put_slice(b"s\0\0\0\x04");
}

/// Answers a query string that holds no statement.
#[inline]
pub fn empty_query_response(out: &mut BytesMut) {
    out.put_slice(b"I\0\0\0\x04");
}

/// Lists the types of a statement's parameters.
pub fn parameter_description(out: &mut BytesMut, types: impl ExactSizeIterator<Item = u32>) {
    message(out, b't', |out| {
        out.put_u16(types.len() as u16);
        types.for_each(|oid| out.put_u32(oid));
    });
}

/// Describes the columns of the rows that follow.
pub fn row_description<'a>(out: &mut BytesMut, fields: impl ExactSizeIterator<Item = Field<'a>>) {
    message(out, b'T', |out| {
        out.put_u16(fields.len() as u16);
        for field in fields {
            string(out, field.name);
            out.put_u32(field.table_oid);
            out.put_i16(field.column);
            out.put_u32(field.type_oid);
            out.put_i16(field.type_size);
            out.put_i32(field.type_modifier);
            out.put_i16(field.format);
        }
    });
}

/// One row. `value` appends the bytes of a value, or says that it is NULL.
#[inline]
pub fn data_row<T>(
    out: &mut BytesMut,
    values: impl ExactSizeIterator<Item = T>,
    mut value: impl FnMut(T, &mut BytesMut) -> Presence,
) {
    message(out, b'D', |out| {
        out.put_u16(values.len() as u16);
        for item in values {
            let start = out.len();
            out.put_i32(-1);
            if let Presence::Given = value(item, out) {
                let length = (out.len() - start - 4) as i32;
                out[start..start + 4].copy_from_slice(&length.to_be_bytes());
            }
        }
    });
}

/// Whether a value was written or is NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Its bytes were appended.
    Given,
    /// Nothing was.
    Null,
}

/// Says that a statement is done.
#[inline]
pub fn command_complete(out: &mut BytesMut, tag: &str) {
    message(out, b'C', |out| string(out, tag));
}

/// CopyInResponse, or CopyOutResponse: how many columns, and whether they are binary.
pub fn copy_response(out: &mut BytesMut, incoming: bool, is_binary: bool, columns: usize) {
    message(out, if incoming { b'G' } else { b'H' }, |out| {
        out.put_u8(is_binary.into());
        out.put_u16(columns as u16);
        for _ in 0..columns {
            out.put_i16(is_binary.into());
        }
    });
}

/// CopyData.
pub fn copy_data(out: &mut BytesMut, data: &[u8]) {
    message(out, b'd', |out| out.put_slice(data));
}

/// CopyDone.
pub fn copy_done(out: &mut BytesMut) {
    message(out, b'c', |_| ());
}

/// The fields of an error or a notice: each a type and its text, in order.
///
/// `error` is false for a notice.
pub fn report<'a>(
    out: &mut BytesMut,
    error: bool,
    fields: impl IntoIterator<Item = (u8, &'a str)>,
) {
    message(out, if error { b'E' } else { b'N' }, |out| {
        for (kind, text) in fields {
            out.put_u8(kind);
            string(out, text);
        }
        out.put_u8(0);
    });
}

/// Delivers a notification.
pub fn notification_response(out: &mut BytesMut, pid: i32, channel: &str, payload: &str) {
    message(out, b'A', |out| {
        out.put_i32(pid);
        string(out, channel);
        string(out, payload);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use postgres_protocol::message::backend::Message as Reply;

    fn replies(mut bytes: BytesMut) -> Vec<Reply> {
        let replies = std::iter::from_fn(|| Reply::parse(&mut bytes).unwrap()).collect();
        assert!(bytes.is_empty(), "nothing is left over");
        replies
    }

    #[test]
    fn the_client_half_reads_what_is_written() {
        let mut out = BytesMut::new();
        authentication_ok(&mut out);
        parameter_status(&mut out, "TimeZone", "UTC");
        backend_key_data(&mut out, 1, -2);
        parse_complete(&mut out);
        bind_complete(&mut out);
        close_complete(&mut out);
        no_data(&mut out);
        portal_suspended(&mut out);
        empty_query_response(&mut out);
        command_complete(&mut out, "INSERT 0 1");
        notification_response(&mut out, 7, "jobs", "x");
        ready_for_query(&mut out, TransactionStatus::Failed);
        let replies = replies(out);
        assert!(matches!(replies[0], Reply::AuthenticationOk));
        assert!(matches!(&replies[1], Reply::ParameterStatus(s)
            if s.name().unwrap() == "TimeZone" && s.value().unwrap() == "UTC"));
        assert!(matches!(&replies[2], Reply::BackendKeyData(k)
            if k.process_id() == 1 && k.secret_key() == -2));
        assert!(matches!(replies[3], Reply::ParseComplete));
        assert!(matches!(replies[4], Reply::BindComplete));
        assert!(matches!(replies[5], Reply::CloseComplete));
        assert!(matches!(replies[6], Reply::NoData));
        assert!(matches!(replies[7], Reply::PortalSuspended));
        assert!(matches!(replies[8], Reply::EmptyQueryResponse));
        assert!(matches!(&replies[9], Reply::CommandComplete(c)
            if c.tag().unwrap() == "INSERT 0 1"));
        assert!(matches!(&replies[10], Reply::NotificationResponse(n)
            if n.process_id() == 7 && n.channel().unwrap() == "jobs"));
        assert!(matches!(&replies[11], Reply::ReadyForQuery(z) if z.status() == b'E'));
    }

    #[test]
    fn a_row_tells_null_from_empty() {
        let mut out = BytesMut::new();
        let values = [Some("a"), Some(""), None];
        data_row(&mut out, values.into_iter(), |value, out| match value {
            Some(text) => {
                out.put_slice(text.as_bytes());
                Presence::Given
            }
            None => Presence::Null,
        });
        assert_eq!(
            &out[..],
            b"D\0\0\0\x13\0\x03\0\0\0\x01a\0\0\0\0\xff\xff\xff\xff"
        );
    }
}
