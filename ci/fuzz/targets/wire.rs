//! Arbitrary bytes through the frontend decoder and the session.
#![no_main]

use fuzz::Client;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&how, bytes)) = bytes.split_first() else {
        return;
    };
    // Before or after the startup packet, in pieces of some size.
    let mut client = match how & 1 {
        0 => Client::log_in(),
        _ => Client::connect(),
    };
    let piece = match how >> 1 {
        0 => bytes.len().max(1),
        size => usize::from(size),
    };
    for part in bytes.chunks(piece) {
        client.send(part);
        if client.closed {
            break;
        }
    }
    client.hang_up();
});
