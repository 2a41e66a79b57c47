//! SQL text through parser, planner and executor: as one script, and as prepared statements.
#![no_main]

use bytes::BytesMut;
use fuzz::Client;
use libfuzzer_sys::{Corpus, fuzz_target};
use postgres_protocol::message::frontend;

/// Each may take all the steps there are, several times.
const STATEMENTS_MAX: usize = 8;

fuzz_target!(|text: &str| -> Corpus {
    if text.contains('\0') || text.split(';').count() > STATEMENTS_MAX {
        return Corpus::Reject;
    }
    let mut client = Client::log_in();
    let mut bytes = BytesMut::new();
    frontend::query(text, &mut bytes).expect("no zero byte");
    for statement in text.split(';') {
        frontend::parse("", statement, [], &mut bytes).expect("no zero byte");
        frontend::describe(b'S', "", &mut bytes).expect("no zero byte");
        let none = |(): (), _: &mut BytesMut| Ok(postgres_protocol::IsNull::Yes);
        let bound = frontend::bind("", "", [], [(); 0], none, [], &mut bytes);
        assert!(bound.is_ok());
        frontend::execute("", 0, &mut bytes).expect("no zero byte");
        frontend::sync(&mut bytes);
    }
    client.send(&bytes);
    client.read();
    client.hang_up();
    Corpus::Keep
});
