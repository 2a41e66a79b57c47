//! json and jsonb: checking text, and the canonical form of jsonb.
//!
//! jsonb keeps the last of equal keys, sorts keys by length and then by bytes,
//! and prints one space after `:` and `,` (`JsonbToCString`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::error::{PgError, SqlState};

/// A JSON value; numbers stay text, as they may exceed any machine type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// null.
    Null,
    /// true, false.
    Bool(bool),
    /// A number, as written or in canonical form.
    Number(String),
    /// A string, unescaped.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object, keyed as jsonb orders keys.
    Object(BTreeMap<(usize, String), Json>),
}

/// Refuses text that is not JSON.
pub fn validate(text: &str) -> Result<(), PgError> {
    parse(text).map(|_| ())
}

/// The canonical text of jsonb.
pub fn normalize(text: &str) -> Result<String, PgError> {
    Ok(parse(text)?.to_string())
}

/// How deep values may nest: enough for people, too little for the stack.
const DEPTH_MAX: usize = 256;

/// Reads a JSON value.
pub fn parse(text: &str) -> Result<Json, PgError> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
    };
    let value = parser.value()?;
    parser.blank();
    match parser.peek() {
        None => Ok(value),
        Some(_) => Err(parser.unexpected()),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn error(&self, detail: String) -> PgError {
        PgError::new(
            SqlState::INVALID_TEXT_REPRESENTATION,
            "invalid input syntax for type json",
        )
        .with_detail(detail)
        .with_context(self.context())
    }

    fn context(&self) -> String {
        let end = self.text.len().min(self.at + self.token().len());
        let line_start = self.text[..self.at].rfind('\n').map_or(0, |at| at + 1);
        let line = self.text[..self.at].matches('\n').count() + 1;
        let more = if end < self.text.len() { "..." } else { "" };
        format!(
            "JSON data, line {line}: {}{more}",
            &self.text[line_start..end]
        )
    }

    /// The token at hand, as `json_lex` delimits it for messages.
    fn token(&self) -> &str {
        let rest = &self.text[self.at..];
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '+' | '-')))
            .unwrap_or(rest.len());
        match (end, rest.chars().next()) {
            (0, Some(c)) => &rest[..c.len_utf8()],
            _ => &rest[..end],
        }
    }

    fn unexpected(&self) -> PgError {
        match self.peek() {
            None => self.error("The input string ended unexpectedly.".into()),
            Some(_) => self.error(format!("Token \"{}\" is invalid.", self.token())),
        }
    }

    fn value(&mut self) -> Result<Json, PgError> {
        self.blank();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => Ok(Json::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                let (value, len) = match self.token() {
                    "null" => (Json::Null, 4),
                    "true" => (Json::Bool(true), 4),
                    "false" => (Json::Bool(false), 5),
                    _ => return Err(self.unexpected()),
                };
                self.at += len;
                Ok(value)
            }
        }
    }

    fn nested(&mut self, inner: fn(&mut Self) -> Result<Json, PgError>) -> Result<Json, PgError> {
        if self.depth == DEPTH_MAX {
            return Err(PgError::feature_not_supported(format_args!(
                "JSON nested deeper than {DEPTH_MAX}"
            )));
        }
        self.depth += 1;
        self.at += 1;
        let value = inner(self);
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Result<Json, PgError> {
        let mut members = BTreeMap::new();
        self.blank();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(members));
        }
        loop {
            self.blank();
            if self.peek() != Some(b'"') {
                return Err(self.expected("string"));
            }
            let key = self.string()?;
            self.blank();
            if self.peek() != Some(b':') {
                return Err(self.expected("\":\""));
            }
            self.at += 1;
            let value = self.value()?;
            members.insert((key.len(), key), value);
            self.blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Json::Object(members));
                }
                _ => return Err(self.expected("\",\" or \"}\"")),
            }
        }
    }

    fn array(&mut self) -> Result<Json, PgError> {
        let mut items = Vec::new();
        self.blank();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value()?);
            self.blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Json::Array(items));
                }
                _ => return Err(self.expected("\",\" or \"]\"")),
            }
        }
    }

    fn expected(&self, what: &str) -> PgError {
        match self.peek() {
            None => self.unexpected(),
            Some(_) => self.error(format!("Expected {what}, but found \"{}\".", self.token())),
        }
    }

    fn number(&mut self) -> Result<Json, PgError> {
        let token = self.token();
        let digits = token.strip_prefix('-').unwrap_or(token);
        let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (digits, None),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let exponent_digits = exponent.map(|e| e.strip_prefix(['+', '-']).unwrap_or(e));
        if !all_digits(whole)
            || whole.len() > 1 && whole.starts_with('0')
            || fraction.is_some_and(|fraction| !all_digits(fraction))
            || exponent_digits.is_some_and(|digits| !all_digits(digits))
        {
            return Err(self.unexpected());
        }
        let canonical = match exponent {
            None => token.to_string(),
            Some(exponent) => {
                let exponent: i32 = exponent.parse().unwrap_or(i32::MAX);
                if exponent.abs() > 1000 {
                    return Err(PgError::feature_not_supported("JSON numbers of that size"));
                }
                let sign = if token.starts_with('-') { "-" } else { "" };
                format!("{sign}{}", shift(whole, fraction.unwrap_or(""), exponent))
            }
        };
        self.at += token.len();
        Ok(Json::Number(match canonical.as_str() {
            "-0" => "0".into(),
            _ => canonical,
        }))
    }

    fn string(&mut self) -> Result<String, PgError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(c) = rest.chars().next() else {
                return Err(self.unexpected());
            };
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(out),
                '\\' => out.push(self.escape()?),
                c if (c as u32) < 0x20 => {
                    return Err(self.error(format!(
                        "Character with value 0x{:02x} must be escaped.",
                        c as u32
                    )));
                }
                c => out.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<char, PgError> {
        let escape = self.peek();
        self.at += 1;
        Ok(match escape {
            Some(c @ (b'"' | b'\\' | b'/')) => c as char,
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let high = self.hex4()?;
                let code = if (0xD800..0xDC00).contains(&high)
                    && self.text[self.at..].starts_with("\\u")
                {
                    self.at += 2;
                    let low = self.hex4()?;
                    if !(0xDC00..0xE000).contains(&low) {
                        return Err(self.error(
                            "Unicode high surrogate must not follow a high surrogate.".into(),
                        ));
                    }
                    0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)
                } else {
                    high
                };
                match char::from_u32(code) {
                    Some('\0') => {
                        return Err(PgError::new(
                            SqlState::INVALID_TEXT_REPRESENTATION,
                            "unsupported Unicode escape sequence",
                        )
                        .with_detail("\\u0000 cannot be converted to text."));
                    }
                    Some(c) => c,
                    None => {
                        return Err(self
                            .error("Unicode low surrogate must follow a high surrogate.".into()));
                    }
                }
            }
            _ => {
                self.at -= 1;
                return Err(self.error("Escape sequence is invalid.".into()));
            }
        })
    }

    fn hex4(&mut self) -> Result<u32, PgError> {
        let code = self
            .text
            .get(self.at..self.at + 4)
            .and_then(|hex| u32::from_str_radix(hex, 16).ok());
        match code {
            Some(code) => {
                self.at += 4;
                Ok(code)
            }
            None => Err(self.error("\"\\u\" must be followed by four hexadecimal digits.".into())),
        }
    }
}

/// Moves the decimal point, so that no exponent is left.
fn shift(whole: &str, fraction: &str, exponent: i32) -> String {
    let digits = format!("{whole}{fraction}");
    let point = whole.len() as i32 + exponent;
    let (left, right) = if point <= 0 {
        (
            "0".into(),
            "0".repeat(point.unsigned_abs() as usize) + &digits,
        )
    } else if point as usize >= digits.len() {
        let zeros = "0".repeat(point as usize - digits.len());
        (digits + &zeros, String::new())
    } else {
        let (left, right) = digits.split_at(point as usize);
        (left.to_string(), right.to_string())
    };
    let left = match left.trim_start_matches('0') {
        "" => "0",
        trimmed => trimmed,
    };
    match right.as_str() {
        "" => left.to_string(),
        right => format!("{left}.{right}"),
    }
}

impl std::fmt::Display for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Number(text) => f.write_str(text),
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

fn write_string(f: &mut std::fmt::Formatter<'_>, text: &str) -> std::fmt::Result {
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
