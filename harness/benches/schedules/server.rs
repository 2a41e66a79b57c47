//! A server that knows one transaction by heart: every answer is fixed bytes.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Authentication ok, four parameters, a key, and ready.
const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0\
    S\0\0\0\x18server_version\x0016.0\0\
    S\0\0\0\x19client_encoding\0UTF8\0\
    S\0\0\0\x11TimeZone\0UTC\0\
    S\0\0\0\x17DateStyle\0ISO, MDY\0\
    K\0\0\0\x0c\0\0\0\x01\0\0\0\x02\
    Z\0\0\0\x05I";
const BEGUN: &[u8] = b"C\0\0\0\x0aBEGIN\0Z\0\0\0\x05T";
const COMMITTED: &[u8] = b"C\0\0\0\x0bCOMMIT\0Z\0\0\0\x05I";
const ROLLED_BACK: &[u8] = b"C\0\0\0\x0dROLLBACK\0Z\0\0\0\x05I";
const PARSED: &[u8] = b"1\0\0\0\x04";
const NO_PARAMETERS_NO_ROWS: &[u8] = b"t\0\0\0\x06\0\0n\0\0\0\x04";
const BOUND: &[u8] = b"2\0\0\0\x04";
const INSERTED: &[u8] = b"C\0\0\0\x0fINSERT 0 1\0";
const CLOSED: &[u8] = b"3\0\0\0\x04";
const READY: &[u8] = b"Z\0\0\0\x05T";

/// Serves one connection to its end.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Result<()> {
    let mut requests = BytesMut::with_capacity(1024);
    let mut answers = BytesMut::with_capacity(1024);
    let mut welcomed = false;
    while stream.read_buf(&mut requests).await? > 0 {
        if !welcomed && whole(&requests, 0).is_some() {
            requests.clear();
            answers.extend_from_slice(WELCOME);
            welcomed = true;
        }
        while welcomed && let Some(length) = whole(&requests, 1) {
            answers.extend_from_slice(answer(&requests[..length]));
            requests.advance(length);
        }
        if !answers.is_empty() {
            stream.write_all(&answers).await?;
            answers.clear();
        }
    }
    Ok(())
}

/// The length of the first message, once all of it is there; its own length follows `tag` bytes.
fn whole(bytes: &[u8], tag: usize) -> Option<usize> {
    let length = bytes.get(tag..tag + 4)?;
    let length = tag + u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
    (bytes.len() >= length).then_some(length)
}

fn answer(message: &[u8]) -> &'static [u8] {
    match (message[0], &message[5..]) {
        (b'Q', [b'S', ..]) => BEGUN, // START TRANSACTION
        (b'Q', [b'C', ..]) => COMMITTED,
        (b'Q', [b'R', ..]) => ROLLED_BACK,
        (b'P', _) => PARSED,
        (b'D', _) => NO_PARAMETERS_NO_ROWS,
        (b'B', _) => BOUND,
        (b'E', _) => INSERTED,
        (b'C', _) => CLOSED,
        (b'S', _) => READY,
        (b'X', _) => &[],
        (tag, _) => panic!(
            "frontend message {:?} is not in the transaction",
            tag as char
        ),
    }
}
