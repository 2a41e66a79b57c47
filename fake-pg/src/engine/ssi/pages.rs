//! On which page of its heap a version is.
//!
//! Versions fill pages in the order in which they are written, as they do in PostgreSQL while there is
//! nothing to reuse. Pages are counted when somebody first asks, and then on from there.

use std::collections::BTreeMap;

use crate::engine::heap::{Heap, Row};
use crate::engine::{FileNode, Tid};
use crate::types::Datum;

/// What a page holds besides its header.
const ROOM: usize = 8192 - 24;

/// The pages of each heap that has been read.
#[derive(Clone, Debug, Default)]
pub(super) struct Pages(BTreeMap<FileNode, Counted>);

#[derive(Clone, Debug, Default)]
struct Counted {
    /// The first version on each page.
    first: Vec<u32>,
    /// How many versions have been counted.
    counted: u32,
    /// How full the last page is.
    used: usize,
}

impl Pages {
    /// The page and the place on it, from 1.
    pub(super) fn place(&mut self, node: FileNode, heap: &Heap, tid: Tid) -> (u32, u32) {
        let pages = self.0.entry(node).or_default();
        if heap.len() < pages.counted {
            *pages = Counted::default();
        }
        while pages.counted < heap.len() {
            let size = size(&heap.tuple(Tid(pages.counted)).row);
            if pages.first.is_empty() || pages.used + size > ROOM {
                pages.first.push(pages.counted);
                pages.used = 0;
            }
            pages.used += size;
            pages.counted += 1;
        }
        let page = pages.first.partition_point(|&first| first <= tid.0);
        let first = pages.first.get(page.wrapping_sub(1)).copied();
        (
            page.saturating_sub(1) as u32,
            tid.0 - first.unwrap_or(0) + 1,
        )
    }
}

/// How much of a page a version takes, its line pointer included (`heap_compute_data_size`).
fn size(row: &Row) -> usize {
    let nulls = row.iter().any(Datum::is_null);
    let bitmap = if nulls { row.len().div_ceil(8) } else { 0 };
    let header = (23 + bitmap).next_multiple_of(8);
    let data = row.iter().fold(0, |used: usize, value| {
        let (align, length) = extent(value);
        used.next_multiple_of(align) + length
    });
    (header + data).next_multiple_of(8) + 4
}

/// The alignment and length of a value.
fn extent(value: &Datum) -> (usize, usize) {
    let varying = |length: usize| match length {
        // A short one has a header of one byte, and is not aligned.
        0..=126 => (1, 1 + length),
        _ => (4, 4 + length),
    };
    match value {
        Datum::Null => (1, 0),
        Datum::Bool(_) => (1, 1),
        Datum::Int2(_) => (2, 2),
        Datum::Int4(_) => (4, 4),
        Datum::Int8(_) | Datum::Float8(_) | Datum::Timestamptz(_) => (8, 8),
        Datum::Interval(_) => (8, 16),
        Datum::Uuid(_) => (1, 16),
        Datum::Text(text) => varying(text.len()),
        Datum::Bytea(bytes) => varying(bytes.len()),
        // Near enough: of what is longer the exact form is not kept.
        other => varying(other.to_string().len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{CommandId, Xid};

    #[test]
    fn rows_fill_pages_as_the_real_server_fills_them() {
        // Measured on PostgreSQL 15.18 with `select ctid` of the row that begins the second page.
        for (row, second) in [
            (vec![Datum::Int4(1), Datum::Int4(1)], 226),
            (vec![Datum::Int4(1), Datum::text("x".repeat(100))], 58),
            (vec![Datum::Int4(1), Datum::Null], 226),
            (
                vec![Datum::Bool(true), Datum::Int8(1), Datum::Bool(true)],
                157,
            ),
        ] {
            let row: Row = row.into();
            let mut heap = Heap::new(&[], false);
            for _ in 0..=second {
                heap.insert(Xid(1), CommandId(0), row.clone());
            }
            let mut pages = Pages::default();
            let place = |pages: &mut Pages, n| pages.place(FileNode(1), &heap, Tid(n));
            assert_eq!(place(&mut pages, second - 1), (0, second), "{row:?}");
            assert_eq!(place(&mut pages, second), (1, 1), "{row:?}");
        }
    }
}
