//! Reading arrays: `{1,2,NULL,"a b"}`, `{{1,2},{3,4}}`, `[0:1]={5,6}`.
//!
//! Source: `array_in`, `ArrayCount` and `ReadArrayStr` in arrayfuncs.c.

use super::text::{is_space, read as read_element};
use super::{Datum, Env, Type};
use crate::error::{PgError, SqlState};

/// `MAXDIM`.
pub(super) const DIMENSIONS_MAX: usize = 6;

/// Reads an array of that element type.
pub(super) fn read(element: Type, text: &str, env: Env) -> Result<Datum, PgError> {
    let (bounds, body) = bounds(text)?;
    let malformed = |detail: &str| malformed(text, detail);
    let mut reader = Reader {
        text,
        rest: body,
        element,
        env,
        items: Vec::new(),
        lengths: Vec::new(),
    };
    if !body.starts_with('{') {
        return Err(malformed(match bounds.is_empty() {
            true => "Array value must start with \"{\" or dimension information.",
            false => "Array contents must start with \"{\".",
        }));
    }
    reader.level(0)?;
    if reader.rest.chars().any(|c| !is_space(c)) {
        return Err(malformed("Junk after closing right brace."));
    }
    let mut lengths = reader.lengths;
    if reader.items.is_empty() {
        lengths.clear();
    }
    if bounds.is_empty() {
        let dimensions = lengths.into_iter().map(|length| (length, 1)).collect();
        return Ok(Datum::array(dimensions, reader.items));
    }
    let declared: Vec<i32> = bounds.iter().map(|(length, _)| *length).collect();
    if declared != lengths {
        return Err(malformed(
            "Specified array dimensions do not match array contents.",
        ));
    }
    check_bounds(&bounds)?;
    Ok(Datum::array(bounds, reader.items))
}

fn malformed(text: &str, detail: &str) -> PgError {
    PgError::new(
        SqlState::INVALID_TEXT_REPRESENTATION,
        format!("malformed array literal: \"{text}\""),
    )
    .with_detail(detail)
}

/// Lengths and first subscripts.
type Bounds = Vec<(i32, i32)>;

/// `[1:2][0:1]=` before the braces: lengths and first subscripts.
fn bounds(text: &str) -> Result<(Bounds, &str), PgError> {
    let whole = text;
    let mut rest = text.trim_matches(is_space);
    let mut bounds = Vec::new();
    while let Some(inner) = rest.strip_prefix('[') {
        let number = |text: &str| -> Result<i32, PgError> {
            text.parse().map_err(|_| {
                malformed(
                    whole,
                    "\"[\" must introduce explicitly-specified array dimensions.",
                )
            })
        };
        let Some((bound, after)) = inner.split_once(']') else {
            return Err(malformed(text, "Missing \"]\" after array dimensions."));
        };
        let (first, last) = match bound.split_once(':') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (1, number(bound)?),
        };
        if last < first {
            return Err(PgError::new(
                SqlState::ARRAY_SUBSCRIPT_ERROR,
                "upper bound cannot be less than lower bound",
            ));
        }
        let length = last
            .checked_sub(first)
            .and_then(|length| length.checked_add(1));
        let length = length.ok_or_else(too_large)?;
        bounds.push((length, first));
        if bounds.len() > DIMENSIONS_MAX {
            return Err(too_deep());
        }
        rest = after.trim_start_matches(is_space);
    }
    if bounds.is_empty() {
        return Ok((bounds, rest));
    }
    match rest.strip_prefix('=') {
        Some(body) => Ok((bounds, body.trim_start_matches(is_space))),
        None => Err(malformed(text, "Missing \"=\" after array dimensions.")),
    }
}

/// 54000 if the subscript after the last one of a dimension would not be an integer.
///
/// Source: `ArrayCheckBounds`.
pub(crate) fn check_bounds(bounds: &[(i32, i32)]) -> Result<(), PgError> {
    for (length, first) in bounds {
        if first.checked_add(*length).is_none() {
            return Err(PgError::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!("array lower bound is too large: {first}"),
            ));
        }
    }
    Ok(())
}

fn too_large() -> PgError {
    PgError::new(
        SqlState::PROGRAM_LIMIT_EXCEEDED,
        "array size exceeds the maximum allowed (134217727)",
    )
}

fn too_deep() -> PgError {
    PgError::new(
        SqlState::PROGRAM_LIMIT_EXCEEDED,
        "number of array dimensions exceeds the maximum allowed (6)",
    )
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
    element: Type,
    env: Env,
    items: Vec<Datum>,
    /// The length of each dimension, as the first part of it had it.
    lengths: Vec<i32>,
}

impl Reader<'_> {
    fn malformed(&self, detail: &str) -> PgError {
        malformed(self.text, detail)
    }

    fn skip(&mut self) {
        self.rest = self.rest.trim_start_matches(is_space);
    }

    fn take(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    /// Reads from one opening brace to its closing one.
    fn level(&mut self, depth: usize) -> Result<(), PgError> {
        if depth == DIMENSIONS_MAX {
            return Err(too_deep());
        }
        self.take();
        let mut count = 0;
        loop {
            self.skip();
            match self.rest.chars().next() {
                None => return Err(self.malformed("Unexpected end of input.")),
                Some('}') if count == 0 => {
                    if depth > 0 {
                        return Err(self.malformed("Unexpected \"}\" character."));
                    }
                    self.take();
                    break;
                }
                Some('{') => {
                    if self.lengths.len() == depth + 1 && !self.items.is_empty() {
                        return Err(self.malformed("Unexpected \"{\" character."));
                    }
                    if self.lengths.len() <= depth {
                        self.lengths.resize(depth + 1, -1);
                    }
                    self.level(depth + 1)?;
                }
                Some(_) => {
                    if self.lengths.len() > depth + 1 {
                        return Err(self.malformed(
                            "Multidimensional arrays must have sub-arrays with matching dimensions.",
                        ));
                    }
                    self.item()?;
                }
            }
            count += 1;
            self.skip();
            match self.take() {
                Some(',') => {}
                Some('}') => break,
                Some(_) => return Err(self.malformed("Unexpected array element.")),
                None => return Err(self.malformed("Unexpected end of input.")),
            }
        }
        if self.lengths.len() <= depth {
            self.lengths.resize(depth + 1, -1);
        }
        match self.lengths[depth] {
            -1 => self.lengths[depth] = count,
            known if known == count => {}
            _ => {
                return Err(self.malformed(
                    "Multidimensional arrays must have sub-arrays with matching dimensions.",
                ));
            }
        }
        Ok(())
    }

    fn item(&mut self) -> Result<(), PgError> {
        let mut item = String::new();
        let mut quoted = false;
        if self.rest.starts_with('"') {
            quoted = true;
            self.take();
            loop {
                match self.take() {
                    Some('"') => break,
                    Some('\\') => item.extend(self.take()),
                    Some(c) => item.push(c),
                    None => return Err(self.malformed("Unexpected end of input.")),
                }
            }
        } else {
            // Blanks at the end do not count, unless they are escaped.
            let mut end = 0;
            while let Some(c) = self.rest.chars().next() {
                match c {
                    ',' | '}' => break,
                    '"' => return Err(self.malformed("Unexpected array element.")),
                    '{' => return Err(self.malformed("Unexpected \"{\" character.")),
                    '\\' => {
                        self.take();
                        item.extend(self.take());
                        end = item.len();
                    }
                    c => {
                        self.take();
                        item.push(c);
                        if !is_space(c) {
                            end = item.len();
                        }
                    }
                }
            }
            item.truncate(end);
            if item.is_empty() {
                return Err(match self.rest.chars().next() {
                    Some(c) => self.malformed(&format!("Unexpected \"{c}\" character.")),
                    None => self.malformed("Unexpected end of input."),
                });
            }
        }
        self.items
            .push(match !quoted && item.eq_ignore_ascii_case("null") {
                true => Datum::Null,
                false => read_element(self.element, &item, self.env)?,
            });
        Ok(())
    }
}
