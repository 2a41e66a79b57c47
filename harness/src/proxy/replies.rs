//! A server's bytes: passed on as they come, and read where they tell something.

use bytes::{Buf, BytesMut};
use fake_pg::wire::backend;

/// What a server's message tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// CommandComplete with this tag; without one, what else ends an Execute: EmptyQueryResponse and
    /// PortalSuspended.
    Tag(String),
    /// CopyInResponse.
    CopyIn,
    /// ErrorResponse.
    Error,
    /// ReadyForQuery, and the state of the transaction.
    Ready(u8),
    /// BackendKeyData.
    Key(i32, i32),
    /// ParameterStatus.
    Parameter(String, String),
    /// DataRow: its first column as text.
    Row(Option<String>),
}

/// Cuts a server's bytes into messages.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// How much of a message that tells nothing is still to come.
    passing: usize,
}

/// So many bytes, and what they tell.
pub(super) type Part = (BytesMut, Option<Told>);

impl Replies {
    /// Takes the next part off what has come: a whole message if it tells something, else as much of
    /// it as there is. `None`: nothing can be told yet.
    pub(super) fn next(&mut self, input: &mut BytesMut) -> Option<Part> {
        if self.passing > 0 {
            let length = self.passing.min(input.len());
            self.passing -= length;
            return (length > 0).then(|| (input.split_to(length), None));
        }
        let header = input.get(..5)?;
        let tag = header[0];
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        let length = length.max(4) + 1;
        if !matches!(tag, b'C' | b'E' | b'Z' | b'K' | b'S' | b'G' | b'I' | b's') {
            self.passing = length;
            return self.next(input);
        }
        if input.len() < length {
            return None;
        }
        let message = input.split_to(length);
        let told = told(tag, &message[5..]);
        Some((message, told))
    }
}

/// Reads a whole message.
pub(super) fn told(tag: u8, body: &[u8]) -> Option<Told> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut strings = body.split(|byte| *byte == 0);
    let mut string = || text(strings.next().unwrap_or_default());
    Some(match tag {
        b'C' => Told::Tag(string()),
        b'I' | b's' => Told::Tag(String::new()),
        b'G' => Told::CopyIn,
        b'E' => Told::Error,
        b'Z' => Told::Ready(*body.first()?),
        b'S' => Told::Parameter(string(), string()),
        b'K' if body.len() == 8 => {
            let mut body = body;
            Told::Key(body.get_i32(), body.get_i32())
        }
        b'D' if body.len() >= 6 => {
            let length = i32::from_be_bytes([body[2], body[3], body[4], body[5]]);
            let value = usize::try_from(length).ok();
            Told::Row(value.and_then(|length| body.get(6..6 + length)).map(text))
        }
        _ => return None,
    })
}

/// An error that ends the connection.
pub(super) fn fatal(code: &str, message: &str) -> BytesMut {
    report("FATAL", code, message, None)
}

/// An error.
pub(super) fn error(code: &str, message: &str) -> BytesMut {
    report("ERROR", code, message, None)
}

/// What the server says to whoever does not wait for its answer to such a request.
pub(super) fn unencrypted(request: &str) -> BytesMut {
    let said = format!("received unencrypted data after {request}");
    let detail = "This could be either a client-software bug or evidence of an attempted \
                  man-in-the-middle attack.";
    report("FATAL", "08P01", &said, Some(detail))
}

fn report(severity: &str, code: &str, message: &str, detail: Option<&str>) -> BytesMut {
    let mut out = BytesMut::new();
    let fields = [
        (b'S', severity),
        (b'V', severity),
        (b'C', code),
        (b'M', message),
    ];
    let detail = detail.map(|detail| (b'D', detail));
    backend::report(&mut out, true, fields.into_iter().chain(detail));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_nothing_is_passed_on_as_it_comes() {
        let stream = b"T\0\0\0\x08abcdC\0\0\0\x0bCOMMIT\0Z\0\0\0\x05I";
        for chunk in [1, 2, 7, stream.len()] {
            let (mut replies, mut input) = (Replies::default(), BytesMut::new());
            let (mut passed, mut all) = (Vec::new(), Vec::new());
            for bytes in stream.chunks(chunk) {
                input.extend_from_slice(bytes);
                while let Some((part, told)) = replies.next(&mut input) {
                    passed.extend_from_slice(&part);
                    all.extend(told);
                }
            }
            assert_eq!(passed, stream);
            assert_eq!(all, [Told::Tag("COMMIT".to_owned()), Told::Ready(b'I')]);
        }
    }
}
