//! What a client's messages come to: which of them commit, and which are for us.
//!
//! Reads only as much SQL as that takes: where statements begin, and names outside of literals and
//! comments. What a statement means is the server's business.

use std::collections::BTreeMap;

use bytes::{Buf, BytesMut};

/// What is known of a statement, or of several in one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kind {
    /// It names the schema `midcommit`.
    pub(crate) ours: bool,
    /// It is, or contains, a COMMIT.
    pub(crate) commits: bool,
    /// Outside a block its end commits something.
    pub(crate) writes: bool,
    /// It drops prepared statements.
    pub(crate) discards: bool,
    /// How many statements are run; a message that only prepares runs none.
    pub(crate) runs: u32,
}

impl Kind {
    /// Both.
    pub(crate) fn and(self, other: Kind) -> Kind {
        Kind {
            ours: self.ours || other.ours,
            commits: self.commits || other.commits,
            writes: self.writes || other.writes,
            discards: self.discards || other.discards,
            runs: self.runs + other.runs,
        }
    }

    fn prepared(self) -> Kind {
        Kind {
            ours: self.ours,
            ..Kind::default()
        }
    }
}

/// The prepared statements and portals of a connection.
#[derive(Debug, Default)]
pub(crate) struct Statements {
    statements: BTreeMap<Vec<u8>, Kind>,
    portals: BTreeMap<Vec<u8>, Kind>,
}

impl Statements {
    /// What one message of a client does.
    pub(crate) fn message(&mut self, tag: u8, body: &[u8]) -> Kind {
        let name = until_nul(body);
        let rest = body.get(name.len() + 1..).unwrap_or_default();
        match tag {
            b'Q' => {
                let kind = read(name);
                if kind.discards {
                    self.statements.clear();
                }
                kind
            }
            b'P' => {
                let kind = read(until_nul(rest));
                // Most statements need not be remembered.
                match kind.prepared() == Kind::default() && !kind.commits && !kind.writes {
                    true => self.statements.remove(name),
                    false => self.statements.insert(name.to_vec(), kind),
                };
                kind.prepared()
            }
            b'B' => {
                let statement = self.statements.get(until_nul(rest)).copied();
                match statement {
                    Some(kind) => self.portals.insert(name.to_vec(), kind),
                    None => self.portals.remove(name),
                };
                statement.unwrap_or_default().prepared()
            }
            b'E' => {
                let kind = self.portals.get(name).copied().unwrap_or_default();
                Kind { runs: 1, ..kind }
            }
            b'D' | b'C' if !body.is_empty() => {
                let (letter, name) = (body[0], until_nul(&body[1..]));
                let known = match letter {
                    b'S' => &mut self.statements,
                    _ => &mut self.portals,
                };
                let kind = match tag {
                    b'C' => known.remove(name),
                    _ => known.get(name).copied(),
                };
                kind.unwrap_or_default().prepared()
            }
            _ => Kind::default(),
        }
    }
}

/// Cuts a stream into messages as it passes.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    pending: BytesMut,
}

/// No message that says something is longer: `PQ_LARGE_MESSAGE_LIMIT` in `libpq/libpq.h`.
const LENGTH_MAX: usize = 0x3fff_ffff;

/// Whether a message is looked into, whose header says so much. All others, above all the data of a
/// COPY, may be passed on as they come.
pub(crate) fn is_looked_into(tag: u8, length: usize) -> bool {
    matches!(
        tag,
        b'Q' | b'P' | b'B' | b'D' | b'E' | b'C' | b'H' | b'S' | b'c' | b'f'
    ) && length <= LENGTH_MAX
}

impl Frames {
    /// Takes in bytes, and hands on each message that is complete by then: its tag, its body, and
    /// where among these bytes it begins; before them, where it began earlier.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut message: impl FnMut(u8, &[u8], isize)) {
        let mut at = -(self.pending.len() as isize);
        self.pending.extend_from_slice(bytes);
        while let Some(header) = self.pending.get(..5) {
            let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
            let length = length.max(4) + 1;
            if self.pending.len() < length {
                if !is_looked_into(self.pending[0], length) {
                    // Only its length matters: what is missing is passed over by and by.
                    let left = length - self.pending.len();
                    self.pending.clear();
                    self.skip(left);
                }
                return;
            }
            message(self.pending[0], &self.pending[5..length], at);
            self.pending.advance(length);
            at += length as isize;
        }
    }

    /// Stands in for the rest of a long message: a message of a kind nobody knows.
    fn skip(&mut self, left: usize) {
        // A header of five bytes is taken as read.
        let length = (left + 4) as u32;
        self.pending.extend_from_slice(&[0]);
        self.pending.extend_from_slice(&length.to_be_bytes());
    }
}

/// The bytes up to the first NUL, or all of them.
fn until_nul(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|&byte| byte == 0);
    &bytes[..end.unwrap_or(bytes.len())]
}

/// What a script does.
pub(crate) fn read(sql: &[u8]) -> Kind {
    let mut kind = Kind::default();
    let mut words = Words { rest: sql };
    // The words of the statement at hand: its first two.
    let (mut first, mut second): (&[u8], &[u8]) = (b"", b"");
    let mut last: &[u8] = b"";
    let (mut modifies, mut makes) = (false, false);
    let mut in_block = false;
    // How many parentheses are open, and which way a COPY goes.
    let mut depth = 0usize;
    let mut direction: Option<&[u8]> = None;
    loop {
        let token = words.next();
        match token {
            Some(Token::Word(word)) => {
                if first.is_empty() {
                    first = word;
                } else if second.is_empty() {
                    second = word;
                }
                modifies |= is_any(word, &["insert", "update", "delete", "merge"]);
                if depth == 0 && is_any(first, &["copy"]) && is_any(word, &["from", "to"]) {
                    // The first of them tells where the rows go; later ones are names.
                    direction.get_or_insert(word);
                }
                // SELECT INTO makes a table.
                makes |=
                    depth == 0 && is_any(first, &["select", "with"]) && is_any(word, &["into"]);
                last = word;
            }
            Some(Token::Quoted(name)) => {
                // No command's word is quoted, nor is what follows it any more.
                if first.is_empty() {
                    first = b"\"";
                } else if second.is_empty() {
                    second = b"\"";
                }
                last = name;
            }
            Some(Token::Open) => (depth, last) = (depth + 1, b""),
            Some(Token::Close) => (depth, last) = (depth.saturating_sub(1), b""),
            Some(Token::Dot) => kind.ours |= last.eq_ignore_ascii_case(b"midcommit"),
            Some(Token::Other) => last = b"",
            Some(Token::End) | None => {
                if !first.is_empty() {
                    modifies |= direction.is_some_and(|word| is_any(word, &["from"]));
                    let mut own = of_statement(first, second, modifies);
                    own.writes |= makes;
                    own.writes &= !in_block;
                    kind = kind.and(own);
                    if is_any(first, &["begin", "start"]) {
                        // It takes what came before it into its block.
                        kind.writes = false;
                        in_block = true;
                    } else if is_any(first, &["commit", "end", "abort"])
                        || is_any(first, &["rollback"]) && !is_any(second, &["to"])
                    {
                        in_block = false;
                    }
                }
                (first, second, last) = (b"", b"", b"");
                (modifies, makes) = (false, false);
                (depth, direction) = (0, None);
                if token.is_none() {
                    return kind;
                }
            }
        }
    }
}

fn of_statement(first: &[u8], second: &[u8], modifies: bool) -> Kind {
    // COMMIT PREPARED stands outside of blocks.
    let prepared = is_any(second, &["prepared"]);
    let commits = is_any(first, &["commit", "end"]);
    Kind {
        ours: false,
        commits: commits && !prepared,
        writes: match modifies {
            _ if prepared => commits,
            true => is_any(
                first,
                &[
                    "insert", "update", "delete", "merge", "with", "explain", "copy",
                ],
            ),
            false => is_any(
                first,
                &[
                    "create", "drop", "alter", "truncate", "call", "do", "execute", "grant",
                    "revoke", "comment", "refresh", "notify",
                ],
            ),
        },
        discards: is_any(first, &["discard", "deallocate"]),
        runs: 1,
    }
}

fn is_any(word: &[u8], known: &[&str]) -> bool {
    known
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}

/// As much of a lexer as it takes to tell names from what only looks like them.
struct Words<'s> {
    rest: &'s [u8],
}

enum Token<'s> {
    /// A name, or a word of a command.
    Word(&'s [u8]),
    /// The text of a quoted name.
    Quoted(&'s [u8]),
    Open,
    Close,
    Dot,
    End,
    Other,
}

impl<'s> Words<'s> {
    fn take(&mut self, length: usize) -> &'s [u8] {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn next(&mut self) -> Option<Token<'s>> {
        loop {
            let first = *self.rest.first()?;
            match first {
                _ if first.is_ascii_whitespace() => {
                    self.take(1);
                }
                b'-' if self.rest.starts_with(b"--") => {
                    let end = self.rest.iter().position(|&byte| byte == b'\n');
                    self.take(end.unwrap_or(self.rest.len()));
                }
                b'/' if self.rest.starts_with(b"/*") => self.comment(),
                b'\'' => {
                    self.quoted(b'\'', false);
                    return Some(Token::Other);
                }
                b'"' => return Some(Token::Quoted(self.quoted(b'"', false))),
                b'$' => {
                    self.dollar();
                    return Some(Token::Other);
                }
                b';' => {
                    self.take(1);
                    return Some(Token::End);
                }
                b'.' | b'(' | b')' => {
                    self.take(1);
                    return Some(match first {
                        b'.' => Token::Dot,
                        b'(' => Token::Open,
                        _ => Token::Close,
                    });
                }
                _ if is_name(first) => {
                    let end = self.rest.iter().position(|&byte| !is_name(byte));
                    let word = self.take(end.unwrap_or(self.rest.len()));
                    if word.eq_ignore_ascii_case(b"e") && self.rest.first() == Some(&b'\'') {
                        self.quoted(b'\'', true);
                        return Some(Token::Other);
                    }
                    return Some(Token::Word(word));
                }
                _ => {
                    self.take(1);
                    return Some(Token::Other);
                }
            }
        }
    }

    /// Comments nest.
    fn comment(&mut self) {
        let mut depth = 0;
        loop {
            if self.rest.starts_with(b"/*") {
                depth += 1;
                self.take(2);
            } else if self.rest.starts_with(b"*/") {
                depth -= 1;
                self.take(2);
            } else if self.take(1).is_empty() {
                return;
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// What is between quotes; a doubled quote is part of it.
    fn quoted(&mut self, quote: u8, escapes: bool) -> &'s [u8] {
        self.take(1);
        let text = self.rest;
        let mut length = 0;
        while let Some(&byte) = self.rest.first() {
            if byte == quote && self.rest.get(1) == Some(&quote) || escapes && byte == b'\\' {
                length += self.take(2).len();
                continue;
            }
            self.take(1);
            if byte == quote {
                break;
            }
            length += 1;
        }
        &text[..length]
    }

    /// `$1`, or a dollar-quoted text.
    fn dollar(&mut self) {
        let tag = self.rest[1..]
            .iter()
            .position(|&byte| byte == b'$' || !is_name(byte));
        let tag = match tag {
            Some(end) if self.rest[end + 1] == b'$' && !self.rest[1].is_ascii_digit() => {
                self.take(end + 2)
            }
            _ => {
                self.take(1);
                return;
            }
        };
        let end = self.rest.windows(tag.len()).position(|part| part == tag);
        self.take(end.map_or(self.rest.len(), |end| end + tag.len()));
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: Kind) -> String {
        let words = [
            (kind.ours, "ours"),
            (kind.commits, "commits"),
            (kind.writes, "writes"),
            (kind.discards, "discards"),
        ];
        let words: Vec<&str> = words
            .iter()
            .filter(|(is, _)| *is)
            .map(|(_, w)| *w)
            .collect();
        words.join(" ")
    }

    #[test]
    fn a_script_is_known_by_the_words_its_statements_begin_with() {
        for (sql, expected) in [
            ("COMMIT", "commits"),
            (" /* a /* b */ */ end -- commit", "commits"),
            ("commit prepared 'g'", "writes"),
            ("rollback prepared 'g'", ""),
            ("begin; insert into t values (1); commit", "commits"),
            (
                "select 'commit; midcommit.arm', $$commit; midcommit.x$$, $1",
                "",
            ),
            ("select midcommit.arm('commit flushed: rst')", "ours"),
            ("select * from \"midcommit\" . commits", "ours"),
            ("select 1 as midcommit", ""),
            (
                "with x as (delete from t returning *) select * from x",
                "writes",
            ),
            ("with x as (select 1) select * from x", ""),
            (
                "select $q$;commit;$q$; update t set a = 'x''; commit'",
                "writes",
            ),
            ("select E'\\'; commit'", ""),
            ("discard all", "discards"),
            ("rollback", ""),
            ("begin; insert into t values (1)", ""),
            ("begin; insert into t values (1); rollback", ""),
            ("insert into t values (1); rollback to s", "writes"),
            ("copy t (id, note) from stdin", "writes"),
            ("select 1 as x into t", "writes"),
            ("select 1 from t for update", ""),
            ("copy t to stdout; copy only \"from\" to stdout", ""),
            ("copy (select id from t) to stdout", ""),
            ("copy (delete from t returning id) to stdout", "writes"),
            ("select \"commit\"; \"commit\"", ""),
            ("select '", ""),
            ("", ""),
        ] {
            assert_eq!(shown(read(sql.as_bytes())), expected, "{sql}");
        }
    }

    #[test]
    fn a_portal_does_what_its_statement_says() {
        let mut statements = Statements::default();
        assert_eq!(shown(statements.message(b'P', b"s1\0commit\0\0\0")), "");
        assert_eq!(shown(statements.message(b'B', b"p\0s1\0\0\0\0\0\0\0")), "");
        assert_eq!(shown(statements.message(b'E', b"p\0\0\0\0\0")), "commits");
        statements.message(b'P', b"s1\0select 1\0\0\0");
        statements.message(b'B', b"p\0s1\0\0\0\0\0\0\0");
        assert_eq!(shown(statements.message(b'E', b"p\0\0\0\0\0")), "");
    }

    /// The messages of a stream that comes in chunks: tag, length of the body, and where it begins.
    fn framed(stream: &[u8], chunk: usize) -> Vec<(u8, usize, isize)> {
        let mut frames = Frames::default();
        let mut seen = Vec::new();
        for (index, bytes) in stream.chunks(chunk).enumerate() {
            let begin = (index * chunk) as isize;
            frames.feed(bytes, |tag, body, at| {
                seen.push((tag, body.len(), begin + at));
            });
        }
        seen
    }

    #[test]
    fn messages_are_found_wherever_the_stream_is_cut() {
        for (tag, is_whole) in [(b'd', false), (b'Q', true), (b'B', true)] {
            let mut long = vec![tag];
            long.extend_from_slice(&200_004u32.to_be_bytes());
            long.resize(200_005, 7);
            let stream = [b"Q\0\0\0\x0bCOMMIT\0", &long[..], b"S\0\0\0\x04"].concat();
            for chunk in [1, 3, 1000, stream.len()] {
                let seen = framed(&stream, chunk);
                assert_eq!(
                    (seen[0], seen.last()),
                    ((b'Q', 7, 0), Some(&(b'S', 0, 200_017)))
                );
                if is_whole {
                    assert_eq!(seen[1], (tag, 200_000, 12), "in chunks of {chunk}");
                }
            }
        }
    }
}
