//! The README shows the code that stands here, and what this code prints.
//!
//! `README=write cargo test` fills the output in.

use std::path::PathBuf;

use super::*;

const OUTPUT: &str = "<!-- output: receipts -->\n```text\n";
const END: &str = "```\n";

#[test]
fn the_readme_shows_this_code() {
    let code = concat!(include_str!("main.rs"), include_str!("../../src/lib.rs"));
    let readme = read();
    let blocks = readme
        .split("```rust\n")
        .skip(1)
        .map(|rest| rest.split(END).next().unwrap_or(rest));
    for block in blocks {
        assert!(
            code.contains(block),
            "the README shows code that is not the example's:\n{block}"
        );
    }
}

#[test]
fn the_readme_shows_what_is_printed() {
    let readme = read();
    let (before, rest) = readme.split_once(OUTPUT).expect("the block is marked");
    let (shown, after) = rest.split_once(END).expect("the block ends");
    let printed = printed();
    if std::env::var("README").is_ok_and(|what| what == "write") {
        std::fs::write(path(), format!("{before}{OUTPUT}{printed}{END}{after}"))
            .expect("the README can be written");
    } else {
        assert_eq!(
            shown, printed,
            "`README=write cargo test` in ci/example brings the README up to date"
        );
    }
}

/// What the failing test panics with, but for the path of the file it was also written to.
fn printed() -> String {
    let failing = std::thread::Builder::new().name("receipts_follow_commits".to_owned());
    let panicked = failing
        .spawn(|| check(receipts().owes("receipt", PAID, Times::Once)))
        .expect("threads can be started");
    let payload = panicked.join().expect_err("the check fails");
    let text = payload
        .downcast_ref::<String>()
        .expect("it panics with a text");
    let (text, _path) = text
        .rsplit_once("\n(")
        .expect("a last line says where the text also is");
    text.to_owned()
}

fn path() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "..", "README.md"]
        .iter()
        .collect()
}

fn read() -> String {
    std::fs::read_to_string(path()).expect("the README can be read")
}
