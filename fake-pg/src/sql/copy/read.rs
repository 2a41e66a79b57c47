//! What COPY FROM is sent, as it arrives: rows, as soon as all of one is there.
//!
//! Kept is only what no row has been made of yet. An encoding is looked into where it arrives; a
//! broken character is an error once it can not be one that is still to be completed.
//!
//! Source: `copyfromparse.c`.

use super::{Copying, SIGNATURE};
use crate::error::{PgError, SqlState};
use crate::sql::ast::{CopyFormat, CopyOptions};
use crate::types::{Datum, Env, binary, text};

/// The longest character of UTF-8.
const CHARACTER_MAX: usize = 4;

/// `MAX_COPY_DATA_DISPLAY`.
const SHOWN_MAX: usize = 100;

/// The data of a COPY FROM between two pieces.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    data: Vec<u8>,
    /// Rows have been made of what is before this,
    at: usize,
    /// what is before this has no end of the next line in it,
    searched: usize,
    /// what is before this are characters,
    valid: usize,
    /// and less than this is not the next row.
    needed: usize,
    /// Where `searched` is: within quotes, or right behind an escape.
    quoted: bool,
    escaped: bool,
    /// How many lines were read.
    lines: usize,
    /// The head was read.
    begun: bool,
    /// The rows say that they are over,
    over: bool,
    /// and so does the client.
    complete: bool,
}

/// A row that was read, and where.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its values.
    pub(crate) values: Vec<Datum>,
    /// How many bytes it took.
    pub(crate) length: usize,
    /// The name of the table and the number of the line, as errors show it.
    pub(crate) place: String,
    /// Its text, unless it is binary.
    pub(crate) text: Option<String>,
}

impl Line {
    /// An error of the row, where it stands (`CopyFromErrorCallback`).
    pub(crate) fn locate(&self, error: PgError) -> PgError {
        match &self.text {
            None => error.within(&self.place),
            Some(text) => error.within(format_args!("{}: \"{}\"", self.place, shown(text))),
        }
    }
}

impl Reader {
    /// Takes in a piece.
    pub(crate) fn push(&mut self, piece: &[u8], copying: &Copying) {
        // Behind the end of the rows, bytes are an error in one format, and nothing in the other.
        if self.over && !copying.is_binary() {
            return;
        }
        if self.at > 0 {
            self.data.drain(..self.at);
            self.searched = self.searched.saturating_sub(self.at);
            self.valid = self.valid.saturating_sub(self.at);
            self.needed = self.needed.saturating_sub(self.at);
            self.at = 0;
        }
        self.data.extend_from_slice(piece);
    }

    /// There will be no more.
    pub(crate) fn complete(&mut self) {
        self.complete = true;
    }

    /// Where it has got to: at the line after those it has read.
    pub(crate) fn place(&self, copying: &Copying) -> String {
        format!("COPY {}, line {}", copying.table, self.lines + 1)
    }

    /// Whether it is among the rows.
    pub(crate) fn is_in_rows(&self, copying: &Copying) -> bool {
        self.begun || !copying.is_binary()
    }

    /// How many bytes wait for the rest of their row.
    pub(crate) fn pending(&self) -> usize {
        self.data.len() - self.at
    }

    /// The next row, if all of it is there.
    pub(crate) fn next(&mut self, copying: &Copying, env: Env) -> Result<Option<Line>, PgError> {
        match copying.is_binary() {
            true => self.next_binary(copying),
            false => self.next_text(copying, env),
        }
    }

    fn next_text(&mut self, copying: &Copying, env: Env) -> Result<Option<Line>, PgError> {
        while !self.over {
            let Some(end) = self.end_of_line(&copying.options)? else {
                return Ok(None);
            };
            let bytes = &self.data[self.at..end];
            // `end_of_line` has looked into it.
            let line = std::str::from_utf8(bytes).map_err(|_| encoding(bytes))?;
            let line = line.strip_suffix('\n').unwrap_or(line);
            let line = line.strip_suffix('\r').unwrap_or(line).to_string();
            let length = bytes.len();
            (self.at, self.searched) = (end, end);
            (self.quoted, self.escaped) = (false, false);
            self.lines += 1;
            let number = self.lines;
            self.lines += line.matches('\n').count();
            if line == "\\." {
                self.over = true;
                self.data = Vec::new();
                (self.at, self.searched, self.valid) = (0, 0, 0);
                break;
            }
            let header = copying.options.header && !self.begun;
            self.begun = true;
            if header {
                continue;
            }
            let mut row = Line {
                values: Vec::with_capacity(copying.columns.len()),
                length,
                place: format!("COPY {}, line {number}", copying.table),
                text: Some(line),
            };
            let line = row.text.as_deref().unwrap_or_default();
            let fields = copying.fields(line).map_err(|error| row.locate(error))?;
            for (column, field) in copying.columns.iter().zip(&fields) {
                let value = match field {
                    None => Datum::Null,
                    Some(field) => text::read(column.ty, field, env).map_err(|error| {
                        let (place, field) = (&row.place, shown(field));
                        error.within(format_args!("{place}, column {}: \"{field}\"", column.name))
                    })?,
                };
                row.values.push(value);
            }
            if let Some(column) = copying.columns.get(fields.len()) {
                let message = format!("missing data for column \"{}\"", column.name);
                return Err(row.locate(bad(&message)));
            }
            return Ok(Some(row));
        }
        Ok(None)
    }

    /// Where the next line ends, once that is known.
    ///
    /// Source: `CopyReadLineText`. In csv a quoted field may go over several lines; in text an
    /// escaped end of a line is data.
    fn end_of_line(&mut self, options: &CopyOptions) -> Result<Option<usize>, PgError> {
        if self.valid < self.data.len() {
            let unknown = &self.data[self.valid..];
            let valid = match std::str::from_utf8(unknown) {
                Ok(_) => unknown.len(),
                Err(error) => error.valid_up_to(),
            };
            let zero = unknown[..valid].iter().position(|&byte| byte == 0);
            self.valid += zero.unwrap_or(valid);
        }
        let csv = options.format == CopyFormat::Csv;
        let (quote, escape) = (options.quote, options.escape);
        for (place, &byte) in self.data[..self.valid]
            .iter()
            .enumerate()
            .skip(self.searched)
        {
            let c = char::from(byte);
            if csv {
                let escapes = c == escape && escape != quote;
                if self.quoted && escapes {
                    self.escaped = !self.escaped;
                }
                if c == quote && !self.escaped {
                    self.quoted = !self.quoted;
                }
                if !escapes {
                    self.escaped = false;
                }
            }
            if byte == b'\n' && !self.quoted && (csv || !self.escaped) {
                return Ok(Some(place + 1));
            }
            if !csv {
                self.escaped = byte == b'\\' && !self.escaped;
            }
        }
        self.searched = self.searched.max(self.valid);
        let unknown = &self.data[self.valid..];
        if !unknown.is_empty() && (self.complete || unknown.len() >= CHARACTER_MAX) {
            return Err(encoding(unknown));
        }
        // The last line need not end.
        Ok((self.complete && self.at < self.valid).then_some(self.valid))
    }

    fn next_binary(&mut self, copying: &Copying) -> Result<Option<Line>, PgError> {
        if !self.begun {
            let head = self.take(0, SIGNATURE.len());
            let Some(head) = head else {
                return self.starve("COPY file signature not recognized");
            };
            if head != SIGNATURE {
                return Err(bad("COPY file signature not recognized"));
            }
            let Some(length) = self.take(SIGNATURE.len() + 4, 4) else {
                return self.starve("invalid COPY file header (missing flags)");
            };
            let length = u32::from_be_bytes(length.try_into().unwrap_or([0; 4])) as usize;
            let head = SIGNATURE.len() + 8 + length;
            if self.take(0, head).is_none() {
                return self.starve("invalid COPY file header (wrong length)");
            }
            (self.at, self.begun) = (self.at + head, true);
        }
        if self.over {
            return match self.pending() {
                0 => Ok(None),
                _ => Err(bad("received copy data after EOF marker")),
            };
        }
        if self.data.len() < self.needed && !self.complete {
            return Ok(None);
        }
        let mut row = Line {
            values: Vec::with_capacity(copying.columns.len()),
            length: 2,
            place: self.place(copying),
            text: None,
        };
        let Some(count) = self.take(0, 2) else {
            // The trailer may be missing, as the end of the data says the same.
            return Ok(None);
        };
        let count = i16::from_be_bytes([count[0], count[1]]);
        if count == -1 {
            (self.at, self.over) = (self.at + 2, true);
            return self.next_binary(copying);
        }
        let expected = copying.columns.len();
        if count as usize != expected {
            let message = format!("row field count is {count}, expected {expected}");
            return Err(row.locate(bad(&message)));
        }
        for (place, column) in copying.columns.iter().enumerate() {
            let within = |error: PgError| {
                error.within(format_args!("{}, column {}", row.place, column.name))
            };
            let Some(length) = self.take(row.length, 4) else {
                return self.starve("unexpected EOF in COPY data").map_err(within);
            };
            let length = i32::from_be_bytes(length.try_into().unwrap_or([0; 4]));
            row.length += 4;
            let Ok(length) = usize::try_from(length) else {
                row.values.push(Datum::Null);
                continue;
            };
            let Some(field) = self.take(row.length, length) else {
                let starved = self.starve("unexpected EOF in COPY data").map_err(within);
                self.needed = self.at + row.length + length;
                return starved;
            };
            let value = binary::read(column.ty, field, place + 1);
            row.values.push(value.map_err(within)?);
            row.length += length;
        }
        self.at += row.length;
        self.lines += 1;
        Ok(Some(row))
    }

    /// So many bytes, so far behind the last row.
    fn take(&self, from: usize, count: usize) -> Option<&[u8]> {
        let from = self.at + from;
        self.data.get(from..from.checked_add(count)?)
    }

    /// There is not enough for a row: an error if there will not be.
    fn starve<T>(&self, message: &str) -> Result<Option<T>, PgError> {
        match self.complete {
            true => Err(bad(message)),
            false => Ok(None),
        }
    }
}

impl Copying {
    fn fields(&self, line: &str) -> Result<Vec<Option<String>>, PgError> {
        let fields = match self.options.format {
            CopyFormat::Csv => self.csv_fields(line)?,
            _ => self.text_fields(line),
        };
        if fields.len() > self.columns.len() {
            return Err(bad("extra data after last expected column"));
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
}

fn bad(message: &str) -> PgError {
    PgError::new(SqlState::BAD_COPY_FILE_FORMAT, message)
}

/// What begins with no character (`report_invalid_encoding`).
fn encoding(bytes: &[u8]) -> PgError {
    let meant = match bytes.first() {
        Some(0xc0..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf7) => 4,
        _ => 1,
    };
    let mut message = String::from("invalid byte sequence for encoding \"UTF8\":");
    for byte in bytes.iter().take(meant) {
        message.push_str(&format!(" 0x{byte:02x}"));
    }
    PgError::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, message)
}

/// As much of a line as errors show (`limit_printout_length`).
fn shown(text: &str) -> std::borrow::Cow<'_, str> {
    if text.len() <= SHOWN_MAX {
        return text.into();
    }
    let mut end = SHOWN_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &text[..end]).into()
}
