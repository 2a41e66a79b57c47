//! Strings with backslashes, `E'…'`: what they spell, and what is wrong with them.
//!
//! Source: the states `xe` and `xeu` in `parser/scan.l`.

use squawk_syntax::{SyntaxKind as K, SyntaxNode};

use super::tree::Tree;
use crate::error::{PgError, SqlState};
use crate::types::binary::invalid_encoding;

/// The value of a literal that begins with `E'`; the parts that continue it on other lines have the
/// same escapes. What is wrong is noted in the tree.
pub(super) fn string(tree: &Tree<'_>, node: &SyntaxNode) -> String {
    let mut bytes = Vec::new();
    let tokens = node
        .children_with_tokens()
        .filter_map(|part| part.into_token());
    for token in tokens.filter(|token| matches!(token.kind(), K::ESC_STRING | K::STRING)) {
        let text = token.text();
        let begins = text.find('\'').map_or(0, |quote| quote + 1);
        let inner = text[begins..].strip_suffix('\'').unwrap_or("");
        let start = usize::from(token.text_range().start()) + begins;
        if let Err(wrong) = decode(inner, &mut bytes) {
            tree.refuse_with(wrong.error(tree, start));
            return String::new();
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => return text,
        Ok(_) => tree.refuse_with(invalid_encoding(&[0])),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let bytes = error.into_bytes();
            let at = bytes.iter().position(|byte| *byte == 0).unwrap_or(valid);
            tree.refuse_with(invalid_encoding(&bytes[at.min(valid)..]));
        }
    }
    String::new()
}

/// The error for the first wrong escape before a place.
pub(super) fn wrong_before(tree: &Tree<'_>, root: &SyntaxNode, end: usize) -> Option<PgError> {
    let tokens = root.descendants_with_tokens();
    let tokens = tokens.filter_map(|part| part.into_token());
    let mut strings = tokens.filter(|token| token.kind() == K::ESC_STRING);
    strings.find_map(|token| {
        let start = usize::from(token.text_range().start()) + 2;
        let inner = token.text().get(2..)?.strip_suffix('\'')?;
        let wrong = decode(inner, &mut Vec::new()).err();
        let wrong = wrong.filter(|wrong| start + wrong.at <= end)?;
        Some(wrong.error(tree, start))
    })
}

/// An escape that says nothing, and where it stands in the string.
struct Wrong {
    what: &'static str,
    at: usize,
    /// The text of it, which an error names; the malformed ones are explained instead.
    near: Option<String>,
}

impl Wrong {
    fn error(self, tree: &Tree<'_>, start: usize) -> PgError {
        let error = match self.near {
            Some(near) => PgError::new(
                SqlState::SYNTAX_ERROR,
                format!("{} at or near \"{near}\"", self.what),
            ),
            // The hint is `scan.l`'s, whose X stand for digits.
            None => PgError::new(SqlState::INVALID_ESCAPE_SEQUENCE, self.what)
                .with_hint("Unicode escapes must be \\uXXXX or \\UXXXXXXXX."),
        };
        error.near(tree.place(start + self.at))
    }
}

fn decode(text: &str, out: &mut Vec<u8>) -> Result<(), Wrong> {
    let bytes = text.as_bytes();
    // The first half of a character that is written as two, and what must follow it.
    let mut half: Option<u32> = None;
    let unpaired = |at: usize, near: &str| Wrong {
        what: "invalid Unicode surrogate pair",
        at,
        near: Some(near.into()),
    };
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'\\').then(|| bytes.get(at + 1)).flatten();
        let digits = match escaped {
            Some(b'u') => 4,
            Some(b'U') => 8,
            _ => 0,
        };
        if digits > 0 {
            let hex = text.get(at + 2..at + 2 + digits);
            let hex = hex.filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let Some(code) = hex.and_then(|hex| u32::from_str_radix(hex, 16).ok()) else {
                let what = "invalid Unicode escape";
                return Err(Wrong {
                    what,
                    at,
                    near: None,
                });
            };
            let whole = &text[at..at + 2 + digits];
            let code = match (half.take(), code) {
                (None, 0xd800..=0xdbff) => {
                    half = Some(code);
                    at += whole.len();
                    continue;
                }
                (Some(first), 0xdc00..=0xdfff) => {
                    0x10000 + ((first & 0x3ff) << 10) + (code & 0x3ff)
                }
                (None, 0xdc00..=0xdfff) | (Some(_), _) => return Err(unpaired(at, whole)),
                (None, code) => code,
            };
            let Some(found) = char::from_u32(code).filter(|found| *found != '\0') else {
                return Err(Wrong {
                    what: "invalid Unicode escape value",
                    at,
                    near: Some(whole.into()),
                });
            };
            let mut buffer = [0; 4];
            out.extend_from_slice(found.encode_utf8(&mut buffer).as_bytes());
            at += whole.len();
            continue;
        }
        if half.is_some() {
            let near = text[at..].chars().next().map(String::from);
            return Err(unpaired(at, &near.unwrap_or_default()));
        }
        match escaped {
            Some(b'0'..=b'7') => {
                let rest = &bytes[at + 1..];
                let octal = rest
                    .iter()
                    .take(3)
                    .take_while(|b| (b'0'..=b'7').contains(b));
                let count = octal.clone().count();
                let value = octal.fold(0u32, |value, digit| value * 8 + u32::from(digit - b'0'));
                out.push(value as u8);
                at += 1 + count;
            }
            Some(b'x') if bytes.get(at + 2).is_some_and(u8::is_ascii_hexdigit) => {
                let rest = &bytes[at + 2..];
                let count = rest.iter().take(2).take_while(|b| b.is_ascii_hexdigit());
                let count = count.count();
                let value = u8::from_str_radix(&text[at + 2..at + 2 + count], 16);
                out.push(value.unwrap_or(0));
                at += 2 + count;
            }
            Some(letter) => {
                out.push(match letter {
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'v' => 11,
                    other => *other,
                });
                at += 2;
            }
            None => {
                out.push(bytes[at]);
                // Two quotes are one.
                at += if bytes[at..].starts_with(b"''") { 2 } else { 1 };
            }
        }
    }
    match half {
        Some(_) => Err(unpaired(at, "'")),
        None => Ok(()),
    }
}
