//! COPY's formats: rows from bytes, and bytes from rows.
//!
//! Source: `copyfromparse.c` and `copyto.c`. A line that is read becomes a row of values with its
//! own text behind them, which errors show.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use super::ast::{CopyFormat, CopyOptions};
use super::face::Column;
use crate::error::{PgError, SqlState};
use crate::types::{Datum, Env, binary, text};

/// What the session must know of a COPY.
#[derive(Debug)]
pub struct Copying {
    /// FROM STDIN.
    pub incoming: bool,
    /// The columns that are copied.
    pub columns: Vec<Column>,
    /// How.
    pub options: CopyOptions,
    /// The table's name, for errors.
    pub table: Arc<str>,
}

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

impl Copying {
    /// Whether fields are binary on the wire.
    pub fn is_binary(&self) -> bool {
        self.options.format == CopyFormat::Binary
    }

    /// What precedes the rows.
    pub fn head(&self) -> Option<Vec<u8>> {
        if self.is_binary() {
            return Some([SIGNATURE, &[0; 8]].concat());
        }
        if !self.options.header {
            return None;
        }
        let mut line = String::new();
        for (place, column) in self.columns.iter().enumerate() {
            if place > 0 {
                line.push(self.options.delimiter);
            }
            self.field(&column.name, &mut line);
        }
        line.push('\n');
        Some(line.into_bytes())
    }

    /// What follows them.
    pub fn tail(&self) -> Option<Vec<u8>> {
        self.is_binary().then(|| vec![0xff, 0xff])
    }

    /// A row.
    pub fn row(&self, row: &[Datum]) -> Result<Vec<u8>, PgError> {
        if self.is_binary() {
            let mut bytes = BytesMut::new();
            bytes.put_u16(row.len() as u16);
            for (value, column) in row.iter().zip(&self.columns) {
                if value.is_null() {
                    bytes.put_i32(-1);
                    continue;
                }
                let start = bytes.len();
                bytes.put_i32(0);
                binary::write(column.ty, value, &mut bytes)?;
                let length = (bytes.len() - start - 4) as i32;
                bytes[start..start + 4].copy_from_slice(&length.to_be_bytes());
            }
            return Ok(bytes.to_vec());
        }
        let mut line = String::new();
        let mut value = String::new();
        for (place, datum) in row.iter().enumerate() {
            if place > 0 {
                line.push(self.options.delimiter);
            }
            if datum.is_null() {
                line.push_str(&self.options.null);
                continue;
            }
            value.clear();
            text::write(datum, &mut value);
            self.field(&value, &mut line);
        }
        line.push('\n');
        Ok(line.into_bytes())
    }

    fn field(&self, value: &str, line: &mut String) {
        let CopyOptions {
            delimiter,
            quote,
            escape,
            null,
            ..
        } = &self.options;
        if self.options.format == CopyFormat::Csv {
            let special = |c: char| c == *delimiter || c == *quote || c == '\n' || c == '\r';
            let alone = self.columns.len() == 1 && value == "\\.";
            if !value.contains(special) && value != null && !alone {
                return line.push_str(value);
            }
            line.push(*quote);
            for c in value.chars() {
                if c == *quote || c == *escape {
                    line.push(*escape);
                }
                line.push(c);
            }
            return line.push(*quote);
        }
        for c in value.chars() {
            let escaped = match c {
                '\u{8}' => 'b',
                '\u{c}' => 'f',
                '\n' => 'n',
                '\r' => 'r',
                '\t' => 't',
                '\u{b}' => 'v',
                '\\' => '\\',
                c if c == *delimiter => c,
                c => {
                    line.push(c);
                    continue;
                }
            };
            line.push('\\');
            line.push(escaped);
        }
    }

    /// All rows of what was sent: each an array of its values and its text.
    pub fn read(&self, data: &[u8], env: Env) -> Result<Vec<Datum>, PgError> {
        if self.is_binary() {
            return self.read_binary(data);
        }
        let data = std::str::from_utf8(data).map_err(|_| {
            PgError::new(
                SqlState::CHARACTER_NOT_IN_REPERTOIRE,
                "invalid byte sequence for encoding \"UTF8\"",
            )
        })?;
        let mut rows = Vec::new();
        let mut rest = data;
        let mut number = 0;
        while !rest.is_empty() {
            let line = self.line(rest);
            rest = &rest[line.len()..];
            let line = line.strip_suffix('\n').unwrap_or(line);
            let line = line.strip_suffix('\r').unwrap_or(line);
            number += 1;
            if line == "\\." {
                break;
            }
            if number == 1 && self.options.header {
                continue;
            }
            let place = |error: PgError| {
                let context = format!("COPY {}, line {number}: \"{line}\"", self.table);
                match error.context {
                    Some(_) => error,
                    None => error.with_context(context),
                }
            };
            let fields = self.fields(line).map_err(place)?;
            let mut values = Vec::with_capacity(fields.len() + 2);
            for (place, column) in self.columns.iter().enumerate() {
                values.push(match &fields[place] {
                    None => Datum::Null,
                    Some(field) => text::read(column.ty, field, env).map_err(|error| {
                        error.with_context(format!(
                            "COPY {}, line {number}, column {}: \"{field}\"",
                            self.table, column.name
                        ))
                    })?,
                });
            }
            values.push(Datum::text(format!(
                "COPY {}, line {number}: \"{line}\"",
                self.table
            )));
            rows.push(Datum::Array(values.into()));
        }
        Ok(rows)
    }

    /// The first line; in csv a quoted field may go over several.
    fn line<'d>(&self, data: &'d str) -> &'d str {
        let mut quoted = false;
        for (place, c) in data.char_indices() {
            if self.options.format == CopyFormat::Csv && c == self.options.quote {
                quoted = !quoted;
            }
            if c == '\n' && !quoted {
                return &data[..=place];
            }
        }
        data
    }

    fn fields(&self, line: &str) -> Result<Vec<Option<String>>, PgError> {
        let fields = match self.options.format {
            CopyFormat::Csv => self.csv_fields(line)?,
            _ => self.text_fields(line),
        };
        let bad = |message: String| PgError::new(SqlState::BAD_COPY_FILE_FORMAT, message);
        if let Some(column) = self.columns.get(fields.len()) {
            return Err(bad(format!("missing data for column \"{}\"", column.name)));
        }
        if fields.len() > self.columns.len() {
            return Err(bad("extra data after last expected column".into()));
        }
        Ok(fields)
    }

    fn text_fields(&self, line: &str) -> Vec<Option<String>> {
        let mut fields = Vec::with_capacity(self.columns.len());
        let (mut raw, mut field) = (String::new(), String::new());
        let mut characters = line.chars();
        loop {
            let next = characters.next();
            if next.is_none() || next == Some(self.options.delimiter) {
                let is_null = raw == self.options.null;
                raw.clear();
                fields.push((!is_null).then(|| std::mem::take(&mut field)));
                field.clear();
                if next.is_none() {
                    return fields;
                }
                continue;
            }
            let Some(c) = next else { continue };
            raw.push(c);
            if c != '\\' {
                field.push(c);
                continue;
            }
            let Some(escaped) = characters.next() else {
                continue;
            };
            raw.push(escaped);
            field.push(match escaped {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                other => other,
            });
        }
    }

    fn csv_fields(&self, line: &str) -> Result<Vec<Option<String>>, PgError> {
        let CopyOptions {
            delimiter,
            quote,
            escape,
            null,
            ..
        } = &self.options;
        let mut fields = Vec::with_capacity(self.columns.len());
        let (mut field, mut was_quoted, mut quoted) = (String::new(), false, false);
        let mut characters = line.chars().peekable();
        loop {
            let next = characters.next();
            match next {
                Some(c) if quoted => {
                    if c == *escape && characters.peek().is_some_and(|n| n == quote || n == escape)
                    {
                        field.extend(characters.next());
                    } else if c == *quote {
                        quoted = false;
                    } else {
                        field.push(c);
                    }
                }
                Some(c) if c == *quote => (quoted, was_quoted) = (true, true),
                Some(c) if c != *delimiter => field.push(c),
                end => {
                    if quoted {
                        return Err(PgError::new(
                            SqlState::BAD_COPY_FILE_FORMAT,
                            "unterminated CSV quoted field",
                        ));
                    }
                    let is_null = !was_quoted && field == *null;
                    fields.push((!is_null).then(|| std::mem::take(&mut field)));
                    field.clear();
                    was_quoted = false;
                    if end.is_none() {
                        return Ok(fields);
                    }
                }
            }
        }
    }

    fn read_binary(&self, data: &[u8]) -> Result<Vec<Datum>, PgError> {
        let bad = |message: &str| PgError::new(SqlState::BAD_COPY_FILE_FORMAT, message);
        let Some(rest) = data.strip_prefix(SIGNATURE) else {
            return Err(bad("COPY file signature not recognized"));
        };
        let Some(length) = rest.get(4..8) else {
            return Err(bad("invalid COPY file header (missing flags)"));
        };
        let length = u32::from_be_bytes(length.try_into().unwrap_or([0; 4])) as usize;
        let mut rest = rest
            .get(8 + length..)
            .ok_or_else(|| bad("invalid COPY file header (wrong length)"))?;
        let mut take = |count: usize| -> Option<&[u8]> {
            let taken = rest.get(..count)?;
            rest = &rest[count..];
            Some(taken)
        };
        let mut rows = Vec::new();
        // The trailer may be missing, as the end of the data says the same.
        while let Some(count) = take(2) {
            let count = i16::from_be_bytes([count[0], count[1]]);
            if count == -1 {
                break;
            }
            if count as usize != self.columns.len() {
                return Err(bad(&format!(
                    "row field count is {count}, expected {}",
                    self.columns.len()
                )));
            }
            let mut values = Vec::with_capacity(self.columns.len() + 1);
            for (place, column) in self.columns.iter().enumerate() {
                let length = take(4).ok_or_else(|| bad("unexpected EOF in COPY data"))?;
                let length = i32::from_be_bytes(length.try_into().unwrap_or([0; 4]));
                values.push(match usize::try_from(length) {
                    Err(_) => Datum::Null,
                    Ok(length) => {
                        let field = take(length);
                        let field = field.ok_or_else(|| bad("unexpected EOF in COPY data"))?;
                        binary::read(column.ty, field, place + 1)?
                    }
                });
            }
            let number = rows.len() + 1;
            values.push(Datum::text(format!("COPY {}, line {number}", self.table)));
            rows.push(Datum::Array(values.into()));
        }
        Ok(rows)
    }
}
