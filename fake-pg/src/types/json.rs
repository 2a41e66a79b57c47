//! json and jsonb: reading text, and jsonb's own form and order.
//!
//! json stays text. jsonb is a tree that keeps the last of equal keys, sorted by length and then by
//! bytes; it prints one space after `:` and `,` (`JsonbToCString`). Errors are worded as in jsonapi.c.

mod order;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::numeric::Numeric;
use crate::error::{PgError, SqlState};

/// A key, as jsonb orders keys.
pub type Key = (usize, String);

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// null.
    Null,
    /// A string, unescaped.
    String(String),
    /// A number.
    Number(Numeric),
    /// true, false.
    Bool(bool),
    /// An array.
    Array(Vec<Json>),
    /// An object.
    Object(BTreeMap<Key, Json>),
}

impl Json {
    /// How many values it consists of, long strings and numbers counted as several; `None` if they
    /// nest too deeply for the stack, which values made step by step may do.
    pub fn size(&self) -> Option<usize> {
        self.size_within(DEPTH_MAX)
    }

    fn size_within(&self, levels: usize) -> Option<usize> {
        let mut size = 1;
        match self {
            Json::Null | Json::Bool(_) => {}
            Json::String(text) => size += text.len() / 32,
            Json::Number(number) => size += number.weight(),
            Json::Array(items) => {
                for item in items {
                    size += item.size_within(levels.checked_sub(1)?)?;
                }
            }
            Json::Object(members) => {
                for (key, value) in members {
                    size += key.0 / 32 + value.size_within(levels.checked_sub(1)?)?;
                }
            }
        }
        Some(size)
    }
}

/// The key of that name.
pub fn key(name: &str) -> Key {
    (name.len(), name.to_string())
}

/// Refuses text that is not JSON.
pub fn validate(text: &str) -> Result<(), PgError> {
    Parser::new(text, false).whole().map(|_| ())
}

/// Reads a value of jsonb.
pub fn parse(text: &str) -> Result<Json, PgError> {
    Parser::new(text, true).whole()
}

/// How deep values may nest: enough for people, too little for the stack.
const DEPTH_MAX: usize = 256;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    String,
    Number,
    True,
    False,
    Null,
    Punctuation(u8),
    End,
}

struct Parser<'a> {
    text: &'a str,
    /// Where the token at hand starts and ends.
    start: usize,
    end: usize,
    token: Token,
    depth: usize,
    /// Whether strings are unescaped: json only checks them.
    unescape: bool,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, unescape: bool) -> Self {
        Parser {
            text,
            start: 0,
            end: 0,
            token: Token::End,
            depth: 0,
            unescape,
        }
    }

    fn whole(mut self) -> Result<Json, PgError> {
        self.next()?;
        let value = self.value()?;
        match self.token {
            Token::End => Ok(value),
            _ => Err(self.expected("end of input")),
        }
    }

    fn token_text(&self) -> &'a str {
        &self.text[self.start..self.end]
    }

    fn error(&self, detail: String) -> PgError {
        PgError::new(
            SqlState::INVALID_TEXT_REPRESENTATION,
            "invalid input syntax for type json",
        )
        .with_detail(detail)
        .with_context(self.context())
    }

    /// The line of the token at hand, up to its end (`report_json_context`).
    fn context(&self) -> String {
        let line_start = self.text[..self.start].rfind('\n').map_or(0, |at| at + 1);
        let line = self.text[..self.start].matches('\n').count() + 1;
        let mut from = line_start;
        while self.end - from >= 50 {
            from += self.text[from..].chars().next().map_or(1, char::len_utf8);
        }
        let from = if from - line_start <= 3 {
            line_start
        } else {
            from
        };
        let before = if from > line_start { "..." } else { "" };
        let rest = &self.text[self.end..];
        let more = self.token != Token::End && !rest.is_empty() && !rest.starts_with(['\n', '\r']);
        let after = if more { "..." } else { "" };
        format!(
            "JSON data, line {line}: {before}{}{after}",
            &self.text[from..self.end]
        )
    }

    fn expected(&self, what: &str) -> PgError {
        match self.token {
            Token::End => self.error("The input string ended unexpectedly.".into()),
            _ => self.error(format!(
                "Expected {what}, but found \"{}\".",
                self.token_text()
            )),
        }
    }

    fn invalid_token(&mut self, end: usize) -> PgError {
        self.end = end;
        // Anything but the end.
        self.token = Token::Null;
        self.error(format!("Token \"{}\" is invalid.", self.token_text()))
    }

    /// Cuts the next token (`json_lex`).
    fn next(&mut self) -> Result<(), PgError> {
        let bytes = self.text.as_bytes();
        let mut at = self.end;
        while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            at += 1;
        }
        (self.start, self.end) = (at, at);
        let Some(&first) = bytes.get(at) else {
            self.token = Token::End;
            return Ok(());
        };
        self.token = match first {
            b'{' | b'}' | b'[' | b']' | b',' | b':' => {
                self.end = at + 1;
                Token::Punctuation(first)
            }
            b'"' => {
                self.string(None)?;
                Token::String
            }
            b'-' | b'0'..=b'9' => {
                self.number()?;
                Token::Number
            }
            _ => {
                let end = at + word(&bytes[at..]);
                if end == at {
                    let width = self.text[at..].chars().next().map_or(1, char::len_utf8);
                    return Err(self.invalid_token(at + width));
                }
                self.end = end;
                match self.token_text() {
                    "true" => Token::True,
                    "false" => Token::False,
                    "null" => Token::Null,
                    _ => return Err(self.invalid_token(end)),
                }
            }
        };
        Ok(())
    }

    fn number(&mut self) -> Result<(), PgError> {
        let bytes = &self.text.as_bytes()[self.start..];
        let digits = |from: usize| {
            let rest = bytes.get(from..).unwrap_or(&[]);
            rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
        };
        let mut at = usize::from(bytes[0] == b'-');
        let mut good = true;
        match bytes.get(at) {
            Some(b'0') => at += 1,
            Some(b'1'..=b'9') => at += digits(at),
            _ => good = false,
        }
        if good && bytes.get(at) == Some(&b'.') {
            at += 1;
            let count = digits(at);
            good = count > 0;
            at += count;
        }
        if good && matches!(bytes.get(at), Some(b'e' | b'E')) {
            at += 1;
            at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
            let count = digits(at);
            good = count > 0;
            at += count;
        }
        let rest = word(bytes.get(at..).unwrap_or(&[]));
        let end = self.start + at + rest;
        if !good || rest > 0 {
            return Err(self.invalid_token(end));
        }
        self.end = end;
        Ok(())
    }

    /// Reads the string at hand, into `out` if it is wanted.
    fn string(&mut self, mut out: Option<&mut String>) -> Result<(), PgError> {
        let mut at = self.start + 1;
        let mut push = |c: char| {
            if let Some(out) = &mut out {
                out.push(c);
            }
        };
        loop {
            let Some(c) = self.text[at..].chars().next() else {
                return Err(self.invalid_token(self.text.len()));
            };
            at += c.len_utf8();
            match c {
                '"' => {
                    self.end = at;
                    return Ok(());
                }
                '\\' => {
                    let (c, end) = self.escape(at)?;
                    push(c);
                    at = end;
                }
                c if (c as u32) < 0x20 => {
                    self.end = at - 1;
                    self.token = Token::Null;
                    return Err(self.error(format!(
                        "Character with value 0x{:02x} must be escaped.",
                        c as u32
                    )));
                }
                c => push(c),
            }
        }
    }

    fn escape(&mut self, at: usize) -> Result<(char, usize), PgError> {
        let Some(c) = self.text[at..].chars().next() else {
            return Err(self.invalid_token(self.text.len()));
        };
        let end = at + c.len_utf8();
        self.token = Token::Null;
        Ok((
            match c {
                '"' | '\\' | '/' => c,
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => return self.unicode(end),
                _ => {
                    self.end = end;
                    return Err(self.error(format!("Escape sequence \"\\{c}\" is invalid.")));
                }
            },
            end,
        ))
    }

    fn unicode(&mut self, at: usize) -> Result<(char, usize), PgError> {
        let high = self.hex4(at)?;
        let mut end = at + 4;
        let wrong = |parser: &mut Self, end: usize, message: &str| {
            parser.end = end;
            parser.error(message.into())
        };
        const LOW: &str = "Unicode low surrogate must follow a high surrogate.";
        let code = match high {
            0xD800..0xDC00 if self.text[end..].starts_with("\\u") => {
                let low = self.hex4(end + 2)?;
                end += 6;
                match low {
                    0xDC00..0xE000 => 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00),
                    0xD800..0xDC00 => {
                        let message = "Unicode high surrogate must not follow a high surrogate.";
                        return Err(wrong(self, end, message));
                    }
                    _ => return Err(wrong(self, end, LOW)),
                }
            }
            high => high,
        };
        match char::from_u32(code) {
            Some('\0') if self.unescape => {
                self.end = end;
                Err(PgError::new(
                    SqlState::UNTRANSLATABLE_CHARACTER,
                    "unsupported Unicode escape sequence",
                )
                .with_detail("\\u0000 cannot be converted to text.")
                .with_context(self.context()))
            }
            Some(c) => Ok((c, end)),
            None => Err(wrong(self, end, LOW)),
        }
    }

    fn hex4(&mut self, at: usize) -> Result<u32, PgError> {
        let mut code = 0;
        for place in 0..4 {
            let c = self.text[at + place..].chars().next();
            match c.and_then(|c| c.to_digit(16)) {
                Some(digit) => code = code * 16 + digit,
                None if c.is_none() => return Err(self.invalid_token(self.text.len())),
                None => {
                    self.end = at + place + c.map_or(0, char::len_utf8);
                    let message = "\"\\u\" must be followed by four hexadecimal digits.";
                    return Err(self.error(message.into()));
                }
            }
        }
        Ok(code)
    }

    fn text_value(&mut self) -> Result<String, PgError> {
        let mut out = String::new();
        let token = self.token;
        self.string(Some(&mut out))?;
        self.token = token;
        Ok(out)
    }

    fn value(&mut self) -> Result<Json, PgError> {
        let value = match self.token {
            Token::Punctuation(b'{') => return self.nested(Self::object),
            Token::Punctuation(b'[') => return self.nested(Self::array),
            Token::String => Json::String(self.text_value()?),
            Token::Number => match Numeric::parse(self.token_text()) {
                // json keeps its digits; only jsonb has to make a number of them.
                Some(Ok(number)) => Json::Number(number),
                Some(Err(error)) if self.unescape => return Err(error),
                _ => Json::Null,
            },
            Token::True => Json::Bool(true),
            Token::False => Json::Bool(false),
            Token::Null => Json::Null,
            _ => return Err(self.expected("JSON value")),
        };
        self.next()?;
        Ok(value)
    }

    fn nested(&mut self, inner: fn(&mut Self) -> Result<Json, PgError>) -> Result<Json, PgError> {
        if self.depth == DEPTH_MAX {
            return Err(PgError::feature_not_supported(format_args!(
                "JSON nested deeper than {DEPTH_MAX}"
            )));
        }
        self.depth += 1;
        self.next()?;
        let value = inner(self)?;
        self.depth -= 1;
        self.next()?;
        Ok(value)
    }

    fn object(&mut self) -> Result<Json, PgError> {
        let mut members = BTreeMap::new();
        match self.token {
            Token::Punctuation(b'}') => return Ok(Json::Object(members)),
            Token::String => {}
            _ => return Err(self.expected("string or \"}\"")),
        }
        loop {
            if self.token != Token::String {
                return Err(self.expected("string"));
            }
            let name = self.text_value()?;
            self.next()?;
            if self.token != Token::Punctuation(b':') {
                return Err(self.expected("\":\""));
            }
            self.next()?;
            let value = self.value()?;
            members.insert((name.len(), name), value);
            match self.token {
                Token::Punctuation(b',') => self.next()?,
                Token::Punctuation(b'}') => return Ok(Json::Object(members)),
                _ => return Err(self.expected("\",\" or \"}\"")),
            }
        }
    }

    fn array(&mut self) -> Result<Json, PgError> {
        let mut items = Vec::new();
        if self.token == Token::Punctuation(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value()?);
            match self.token {
                Token::Punctuation(b',') => self.next()?,
                Token::Punctuation(b']') => return Ok(Json::Array(items)),
                _ => return Err(self.expected("\",\" or \"]\"")),
            }
        }
    }
}

/// How many bytes belong to a word, as json_lex cuts it for messages.
fn word(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_' || **byte >= 0x80)
        .count()
}

/// The members of an object of valid JSON in their order, and the text of their values; `None` if
/// it is no object.
pub fn members(text: &str) -> Option<Vec<(String, &str)>> {
    let rest = text.trim_start_matches(is_blank).strip_prefix('{')?;
    let mut rest = rest.trim_start_matches(is_blank);
    let mut all = Vec::new();
    while rest.starts_with('"') {
        let (name, after) = split_value(rest);
        let after = after.trim_start_matches(is_blank).strip_prefix(':')?;
        let (value, after) = split_value(after.trim_start_matches(is_blank));
        all.push((unquote(name), value));
        let after = after.trim_start_matches(is_blank);
        rest = after
            .strip_prefix(',')
            .unwrap_or("")
            .trim_start_matches(is_blank);
    }
    Some(all)
}

/// The texts of an array's elements; `None` if it is no array.
pub fn elements(text: &str) -> Option<Vec<&str>> {
    let rest = text.trim_start_matches(is_blank).strip_prefix('[')?;
    let mut rest = rest.trim_start_matches(is_blank);
    let mut all = Vec::new();
    while !rest.is_empty() && !rest.starts_with(']') {
        let (value, after) = split_value(rest);
        all.push(value);
        let after = after.trim_start_matches(is_blank);
        rest = after
            .strip_prefix(',')
            .unwrap_or("")
            .trim_start_matches(is_blank);
    }
    Some(all)
}

/// What a string of valid JSON says; an impossible character is left out.
pub fn unquote(text: &str) -> String {
    match parse(text) {
        Ok(Json::String(text)) => text,
        _ => String::new(),
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// The first value of valid JSON, and what follows.
fn split_value(text: &str) -> (&str, &str) {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => break,
            b'}' | b']' => depth -= 1,
            b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => break,
            _ => {}
        }
        at += 1;
        if depth == 0 && matches!(bytes[at - 1], b'"' | b'}' | b']') {
            break;
        }
    }
    text.split_at(at.min(text.len()))
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Number(number) => number.fmt(f),
            Json::String(text) => write_string(f, text),
            Json::Array(items) => {
                f.write_char('[')?;
                for (i, item) in items.iter().enumerate() {
                    let comma = if i > 0 { ", " } else { "" };
                    write!(f, "{comma}{item}")?;
                }
                f.write_char(']')
            }
            Json::Object(members) => {
                f.write_char('{')?;
                for (i, ((_, key), value)) in members.iter().enumerate() {
                    f.write_str(if i > 0 { ", " } else { "" })?;
                    write_string(f, key)?;
                    write!(f, ": {value}")?;
                }
                f.write_char('}')
            }
        }
    }
}

/// Writes a string with its quotes (`escape_json`).
pub fn write_string(f: &mut impl fmt::Write, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\u{8}' => f.write_str("\\b")?,
            '\u{c}' => f.write_str("\\f")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if (c as u32) < 0x20 => write!(f, "\\u{:04x}", c as u32)?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}
