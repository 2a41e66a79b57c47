//! COPY's formats: bytes from rows here, rows from bytes in `read`.
//!
//! Source: `copyto.c`.

mod read;

pub(super) use read::{Line, Reader};

use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use super::ast::{CopyFormat, CopyOptions};
use super::face::Column;
use crate::error::PgError;
use crate::types::{Datum, binary, text};

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
}
