//! Whole tables for other programs: CSV, JSON lines, Parquet. Rows are streamed; what is exported is one consistent state of
//! the file, whatever is written meanwhile.

mod parquet;
mod table;
mod text;

pub use table::Table;

use crate::history::{History, HistoryError};
use chronotick_clock::Timestamp;
use rusqlite::types::ValueRef;
use std::io::{self, Write};

/// How tables are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180, with a line of names.
    Csv,
    /// One JSON object on a line.
    Jsonl,
    /// Apache Parquet, not compressed.
    Parquet,
}

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Which table.
    pub table: Table,
    /// From when on.
    pub since: Timestamp,
    /// Until before when.
    pub until: Timestamp,
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The history cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The output cannot be written.
    #[error("the export cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cell<'a> {
    Nothing,
    Integer(i64),
    Real(f64),
    Text(&'a str),
}

/// Where rows go.
trait Sink {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()>;
    fn end(self: Box<Self>) -> io::Result<()>;
}

impl History {
    /// Writes a table; how many rows.
    ///
    /// # Errors
    /// Those of reading the history and of writing to `out`.
    pub fn export(
        &self,
        selection: &Selection,
        format: Format,
        out: &mut dyn Write,
    ) -> Result<u64, ExportError> {
        let columns = selection.table.columns();
        let mut sink: Box<dyn Sink + '_> = match format {
            Format::Csv => Box::new(text::Csv::begin(columns, out)?),
            Format::Jsonl => Box::new(text::Jsonl { columns, out }),
            Format::Parquet => Box::new(parquet::Parquet::begin(columns, out)?),
        };
        let count = self.rows(selection, &mut |cells| sink.row(cells))?;
        sink.end()?;
        Ok(count)
    }

    fn rows(
        &self,
        selection: &Selection,
        take: &mut dyn FnMut(&[Cell<'_>]) -> io::Result<()>,
    ) -> Result<u64, ExportError> {
        let failed = |e| self.failed(e);
        let mut query = self.connection().prepare(&selection.table.query()).map_err(failed)?;
        let range = [selection.since.as_nanos(), selection.until.as_nanos()];
        let mut rows = query.query(range).map_err(failed)?;
        let (width, mut count) = (selection.table.columns().len(), 0);
        while let Some(row) = rows.next().map_err(failed)? {
            let cells: Vec<Cell<'_>> =
                (0..width).map(|i| row.get_ref(i).map(cell)).collect::<Result<_, _>>().map_err(failed)?;
            take(&cells)?;
            count += 1;
        }
        Ok(count)
    }
}

fn cell(value: ValueRef<'_>) -> Cell<'_> {
    match value {
        ValueRef::Null => Cell::Nothing,
        ValueRef::Integer(number) => Cell::Integer(number),
        ValueRef::Real(number) => Cell::Real(number),
        // The tables hold nothing but text that Rust wrote.
        ValueRef::Text(text) | ValueRef::Blob(text) => Cell::Text(std::str::from_utf8(text).unwrap_or("")),
    }
}

#[cfg(test)]
mod tests;
