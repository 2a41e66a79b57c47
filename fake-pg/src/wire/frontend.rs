//! What a client sends: bytes to messages.
//!
//! A message is framed first (`frame`, `startup_frame`), then its body is read (`parse`,
//! `startup`). The two fail differently, as in the real server: a bad frame ends the connection,
//! a bad body is an ordinary error of that message. What a message does is left to `session`.

use std::fmt;

use bytes::{Buf, BytesMut};

/// The longest startup packet, `MAX_STARTUP_PACKET_LENGTH` in `libpq/pqcomm.h`.
const STARTUP_LENGTH_MAX: usize = 10_000;
/// `PQ_SMALL_MESSAGE_LIMIT` in `libpq/libpq.h`: for messages that carry no data.
const SMALL_LENGTH_MAX: usize = 10_000;
/// `PQ_LARGE_MESSAGE_LIMIT` in `libpq/libpq.h`: for queries, parameters and copied data.
const LARGE_LENGTH_MAX: usize = 0x3fff_fffe;

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;

/// Why a stream can not be followed any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadFrame {
    /// No message starts with this byte. The server says so and hangs up.
    UnknownType(u8),
    /// The length can not be right. The server hangs up without a word, as it only logs it.
    Length,
}

/// One whole message at the head of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub tag: u8,
    /// How many bytes it takes, type and length included.
    pub length: usize,
}

impl Frame {
    /// Its body. `input` must be what it was found at the head of.
    pub fn body(self, input: &[u8]) -> &[u8] {
        &input[5..self.length]
    }
}

/// Finds the message at the head of `input`, once it is there in full.
#[inline]
pub fn frame(input: &[u8]) -> Result<Option<Frame>, BadFrame> {
    let Some(&tag) = input.first() else {
        return Ok(None);
    };
    let length_max = match tag {
        b'Q' | b'F' | b'B' | b'P' | b'd' => LARGE_LENGTH_MAX,
        b'X' | b'C' | b'D' | b'E' | b'H' | b'S' | b'c' | b'f' => SMALL_LENGTH_MAX,
        _ => return Err(BadFrame::UnknownType(tag)),
    };
    let Some(mut length) = input.get(1..5) else {
        return Ok(None);
    };
    let Ok(length) = usize::try_from(length.get_i32()) else {
        return Err(BadFrame::Length);
    };
    if !(4..=length_max).contains(&length) {
        return Err(BadFrame::Length);
    }
    let length = length + 1;
    Ok((input.len() >= length).then_some(Frame { tag, length }))
}

/// Whether a message belongs to the extended protocol, in which an error skips to Sync.
///
/// Source: `SocketBackend` in `tcop/postgres.c`.
pub fn is_extended(tag: u8) -> bool {
    matches!(tag, b'B' | b'P' | b'C' | b'D' | b'E' | b'H')
}

/// A message of a running session, borrowed from its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// A script of statements, answered with text rows.
    Query(&'a str),
    /// Makes a prepared statement.
    Parse {
        /// Empty for the unnamed statement.
        name: &'a str,
        /// One statement, or nothing.
        query: &'a str,
        /// Types the client wants; 0 leaves one to the server.
        types: Vec<u32>,
    },
    /// Makes a portal out of a statement and values.
    Bind(Bind<'a>),
    /// Asks for the types of a statement or portal.
    Describe(Target, &'a str),
    /// Runs a portal.
    Execute {
        /// Empty for the unnamed portal.
        portal: &'a str,
        /// At most so many rows; 0 for all.
        rows_max: u32,
    },
    /// Forgets a statement or portal.
    Close(Target, &'a str),
    /// Ends a pipeline: commits its implicit transaction, asks for ReadyForQuery.
    Sync,
    /// Asks for the replies so far.
    Flush,
    /// Says goodbye.
    Terminate,
    /// A call by fast path, which nobody uses any more.
    FunctionCall,
    /// A piece of COPY data, or the end of it: ignored outside COPY, as the real server does.
    Copy,
}

/// The body of Bind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind<'a> {
    /// Empty for the unnamed portal.
    pub portal: &'a str,
    /// Empty for the unnamed statement.
    pub statement: &'a str,
    /// None: all text. One: for all parameters. Else one per parameter.
    pub formats: Vec<i16>,
    /// The values; `None` is NULL.
    pub parameters: Vec<Option<&'a [u8]>>,
    /// Like `formats`, for the columns of the result.
    pub result_formats: Vec<i16>,
}

/// What Describe and Close point at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A prepared statement.
    Statement,
    /// A portal.
    Portal,
}

/// A body that does not say what its type promises. The message becomes an error of its own,
/// with the real server's SQLSTATE and text (`libpq/pqformat.c`, `tcop/postgres.c`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Malformed {
    /// The body ends too early.
    InsufficientData,
    /// A string without its zero.
    UnterminatedString,
    /// The body goes on after its end.
    TrailingData,
    /// A string that is not UTF-8; shows the offending bytes.
    NotUtf8(Vec<u8>),
    /// Describe or Close of something else than `S` or `P`; names the message and the byte.
    Subtype(&'static str, u8),
}

impl Malformed {
    /// The SQLSTATE of this error.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Malformed::NotUtf8(_) => "22021",
            _ => "08P01",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::InsufficientData => f.write_str("insufficient data left in message"),
            Malformed::UnterminatedString => f.write_str("invalid string in message"),
            Malformed::TrailingData => f.write_str("invalid message format"),
            Malformed::NotUtf8(bytes) => {
                f.write_str("invalid byte sequence for encoding \"UTF8\":")?;
                bytes.iter().try_for_each(|byte| write!(f, " 0x{byte:02x}"))
            }
            Malformed::Subtype(message, byte) => {
                write!(f, "invalid {message} message subtype {byte}")
            }
        }
    }
}

/// Reads the body of a framed message.
pub fn parse(tag: u8, body: &[u8]) -> Result<Message<'_>, Malformed> {
    let mut body = Body(body);
    let message = match tag {
        b'Q' => Message::Query(body.string()?),
        b'P' => Message::Parse {
            name: body.string()?,
            query: body.string()?,
            types: body.list(Body::u32)?,
        },
        b'B' => Message::Bind(Bind {
            portal: body.string()?,
            statement: body.string()?,
            formats: body.list(Body::i16)?,
            parameters: body.list(Body::value)?,
            result_formats: body.list(Body::i16)?,
        }),
        b'D' => Message::Describe(body.target("DESCRIBE")?, body.string()?),
        b'C' => Message::Close(body.target("CLOSE")?, body.string()?),
        b'E' => Message::Execute {
            portal: body.string()?,
            // As the real server: zero and less mean all rows.
            rows_max: u32::try_from(body.u32()? as i32).unwrap_or(0),
        },
        b'S' => Message::Sync,
        b'H' => Message::Flush,
        // The real server leaves these bodies unread.
        b'X' => return Ok(Message::Terminate),
        b'F' => return Ok(Message::FunctionCall),
        _ => return Ok(Message::Copy),
    };
    match body.0 {
        [] => Ok(message),
        _ => Err(Malformed::TrailingData),
    }
}

/// What a client opens a connection with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// A session is asked for.
    Startup(Startup),
    /// Cancel what the session with this pid and key runs.
    Cancel {
        /// The pid of BackendKeyData.
        pid: i32,
        /// Its secret.
        key: i32,
    },
    /// Asks for TLS.
    Ssl,
    /// Asks for GSSAPI encryption.
    GssEnc,
}

/// A startup packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup {
    /// The major version of the protocol.
    pub major: u16,
    /// Its minor version.
    pub minor: u16,
    /// Names and values, in order, as sent.
    pub parameters: Vec<(String, String)>,
    /// Whether the list ended where the packet did.
    pub terminated: bool,
}

/// Takes an opening off `input`, once it is there in full.
pub fn opening(input: &mut BytesMut) -> Result<Option<Opening>, BadFrame> {
    let Some(mut length) = input.get(..4) else {
        return Ok(None);
    };
    let length = length.get_u32() as usize;
    if !(8..=STARTUP_LENGTH_MAX).contains(&length) {
        return Err(BadFrame::Length);
    }
    if input.len() < length {
        return Ok(None);
    }
    let mut packet = input.split_to(length);
    packet.advance(4);
    Ok(Some(match packet.get_u32() {
        CANCEL_REQUEST if packet.len() == 8 => Opening::Cancel {
            pid: packet.get_i32(),
            key: packet.get_i32(),
        },
        CANCEL_REQUEST => return Err(BadFrame::Length),
        SSL_REQUEST => Opening::Ssl,
        GSSENC_REQUEST => Opening::GssEnc,
        version => Opening::Startup(startup(version, &packet)),
    }))
}

/// The mechanism and the first message of SASLInitialResponse.
pub fn sasl_initial(body: &[u8]) -> Option<(&str, &str)> {
    let mut body = Body(body);
    let mechanism = body.string().ok()?;
    let message = body.value().ok()??;
    Some((mechanism, std::str::from_utf8(message).ok()?))
}

fn startup(version: u32, packet: &[u8]) -> Startup {
    let mut startup = Startup {
        major: (version >> 16) as u16,
        minor: version as u16,
        parameters: Vec::new(),
        terminated: false,
    };
    let mut strings = packet.split(|&byte| byte == 0);
    while let Some(name) = strings.next() {
        if name.is_empty() {
            // The terminator is the last byte, so nothing but the rest after it is left.
            startup.terminated = strings.next() == Some(b"") && strings.next().is_none();
            break;
        }
        let Some(value) = strings.next() else { break };
        startup.parameters.push((
            String::from_utf8_lossy(name).into_owned(),
            String::from_utf8_lossy(value).into_owned(),
        ));
    }
    startup
}

/// What is left of a body.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(Malformed::InsufficientData)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.bytes(4).map(|mut bytes| bytes.get_u32())
    }

    fn i16(&mut self) -> Result<i16, Malformed> {
        self.bytes(2).map(|mut bytes| bytes.get_i16())
    }

    fn string(&mut self) -> Result<&'a str, Malformed> {
        let end = self
            .0
            .iter()
            .position(|&byte| byte == 0)
            .ok_or(Malformed::UnterminatedString)?;
        let bytes = self.bytes(end)?;
        self.bytes(1)?;
        std::str::from_utf8(bytes).map_err(|error| {
            // As `report_invalid_encoding` does: the character that was meant, if it is all there.
            let rest = &bytes[error.valid_up_to()..];
            let meant = match rest[0] {
                0xc0..=0xdf => 2,
                0xe0..=0xef => 3,
                0xf0..=0xf7 => 4,
                _ => 1,
            };
            Malformed::NotUtf8(rest[..meant.min(rest.len())].to_vec())
        })
    }

    fn value(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.u32()? as i32 {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Malformed::InsufficientData)?;
                self.bytes(length).map(Some)
            }
        }
    }

    fn target(&mut self, message: &'static str) -> Result<Target, Malformed> {
        match self.bytes(1)? {
            b"S" => Ok(Target::Statement),
            b"P" => Ok(Target::Portal),
            other => Err(Malformed::Subtype(message, other[0])),
        }
    }

    fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.i16()? as u16;
        // A count is only a promise: what is allocated follows what is there.
        (0..count).map(|_| item(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postgres_protocol::message::frontend as client;

    fn check(write: impl FnOnce(&mut BytesMut), expected: Message<'_>) {
        let mut bytes = BytesMut::new();
        write(&mut bytes);
        let whole = bytes.freeze();
        for end in 0..whole.len() {
            assert_eq!(frame(&whole[..end]), Ok(None), "cut at {end}");
        }
        let Frame { tag, length } = frame(&whole).unwrap().unwrap();
        assert_eq!(length, whole.len());
        let body = &whole[5..];
        assert_eq!(parse(tag, body), Ok(expected));
        for end in 0..body.len() {
            assert!(parse(tag, &body[..end]).is_err(), "body cut at {end}");
        }
    }

    #[test]
    fn what_the_client_half_writes_is_read_back() {
        check(
            |to| client::query("select 1", to).unwrap(),
            Message::Query("select 1"),
        );
        check(
            |to| client::parse("s0", "select $1", [23, 0], to).unwrap(),
            Message::Parse {
                name: "s0",
                query: "select $1",
                types: vec![23, 0],
            },
        );
        check(
            |to| client::describe(b'S', "s0", to).unwrap(),
            Message::Describe(Target::Statement, "s0"),
        );
        check(
            |to| client::close(b'P', "", to).unwrap(),
            Message::Close(Target::Portal, ""),
        );
        check(
            |to| client::execute("p", 7, to).unwrap(),
            Message::Execute {
                portal: "p",
                rows_max: 7,
            },
        );
        check(client::sync, Message::Sync);
        check(client::flush, Message::Flush);
    }

    #[test]
    fn bind_carries_formats_and_nulls() {
        let mut bytes = BytesMut::new();
        let values = [Some(b"x".as_slice()), None];
        client::bind(
            "p",
            "s",
            [1],
            values,
            |value, to| match value {
                Some(value) => {
                    to.extend_from_slice(value);
                    Ok(postgres_protocol::IsNull::No)
                }
                None => Ok(postgres_protocol::IsNull::Yes),
            },
            [0, 1],
            &mut bytes,
        )
        .unwrap_or_else(|_| panic!("bind is encoded"));
        assert_eq!(
            parse(b'B', &bytes[5..]),
            Ok(Message::Bind(Bind {
                portal: "p",
                statement: "s",
                formats: vec![1],
                parameters: values.to_vec(),
                result_formats: vec![0, 1],
            }))
        );
    }

    #[test]
    fn a_startup_packet_is_read_in_order() {
        let mut bytes = BytesMut::new();
        let parameters = [("user", "u"), ("application_name", "")];
        client::startup_message(parameters, &mut bytes).unwrap();
        let expected = Startup {
            major: 3,
            minor: 0,
            parameters: parameters.map(|(n, v)| (n.into(), v.into())).to_vec(),
            terminated: true,
        };
        assert_eq!(opening(&mut bytes), Ok(Some(Opening::Startup(expected))));
    }

    #[test]
    fn special_openings_are_told_apart() {
        let mut bytes = BytesMut::new();
        client::ssl_request(&mut bytes);
        bytes.extend_from_slice(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30]);
        client::cancel_request(7, -8, &mut bytes);
        assert_eq!(opening(&mut bytes), Ok(Some(Opening::Ssl)));
        assert_eq!(opening(&mut bytes), Ok(Some(Opening::GssEnc)));
        let cancel = Opening::Cancel { pid: 7, key: -8 };
        assert_eq!(opening(&mut bytes), Ok(Some(cancel)));
    }

    #[test]
    fn a_bad_frame_is_not_waited_for() {
        let bad = |bytes: &[u8]| frame(bytes).unwrap_err();
        assert_eq!(bad(b"?"), BadFrame::UnknownType(b'?'));
        assert_eq!(bad(b"Q\0\0\0\x03"), BadFrame::Length);
        assert_eq!(bad(b"Q\xff\xff\xff\xff"), BadFrame::Length);
        assert_eq!(bad(b"S\0\x01\0\0"), BadFrame::Length);
        let open = |bytes: &[u8]| opening(&mut BytesMut::from(bytes));
        assert_eq!(open(b"\0\0\0\x04"), Err(BadFrame::Length));
        assert_eq!(open(b"GET / HTTP/1.1"), Err(BadFrame::Length));
    }

    #[test]
    fn malformed_bodies_say_what_the_server_says() {
        let says = |tag, body| parse(tag, body).unwrap_err().to_string();
        assert_eq!(says(b'Q', b"select 1"), "invalid string in message");
        assert_eq!(says(b'Q', b"a\0b"), "invalid message format");
        assert_eq!(
            says(b'Q', b"\xc3\x28\0"),
            "invalid byte sequence for encoding \"UTF8\": 0xc3 0x28"
        );
        assert_eq!(says(b'E', b"\0\0"), "insufficient data left in message");
        assert_eq!(says(b'D', b"x\0"), "invalid DESCRIBE message subtype 120");
    }
}
