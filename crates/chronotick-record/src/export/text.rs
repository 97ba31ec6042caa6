//! Tables as text: CSV (RFC 4180) and JSON lines.

use super::table::{Column, Kind};
use super::{Cell, Sink};
use crate::rfc3339;
use chronotick_clock::Timestamp;
use serde_json::{Map, Value};
use std::io::{self, Write};

pub(super) struct Csv<'a> {
    columns: &'a [Column],
    out: &'a mut dyn Write,
}

impl<'a> Csv<'a> {
    pub(super) fn begin(columns: &'a [Column], out: &'a mut dyn Write) -> io::Result<Csv<'a>> {
        let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
        write!(out, "{}\r\n", names.join(","))?;
        Ok(Csv { columns, out })
    }
}

impl Sink for Csv<'_> {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        for (i, (cell, column)) in cells.iter().zip(self.columns).enumerate() {
            if i > 0 {
                self.out.write_all(b",")?;
            }
            match *cell {
                Cell::Nothing => {}
                Cell::Integer(ns) if column.kind == Kind::Time => {
                    write!(self.out, "{}", rfc3339(Timestamp::from_nanos(ns)))?;
                }
                Cell::Integer(number) => write!(self.out, "{number}")?,
                Cell::Real(number) => write!(self.out, "{number}")?,
                Cell::Text(text) if text.contains([',', '"', '\r', '\n']) => {
                    write!(self.out, "\"{}\"", text.replace('"', "\"\""))?;
                }
                Cell::Text(text) => self.out.write_all(text.as_bytes())?,
            }
        }
        self.out.write_all(b"\r\n")
    }

    fn end(self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}

pub(super) struct Jsonl<'a> {
    pub(super) columns: &'a [Column],
    pub(super) out: &'a mut dyn Write,
}

impl Sink for Jsonl<'_> {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        let value = |cell: &Cell<'_>, kind| match *cell {
            Cell::Nothing => Value::Null,
            Cell::Integer(ns) if kind == Kind::Time => rfc3339(Timestamp::from_nanos(ns)).into(),
            Cell::Integer(number) => number.into(),
            Cell::Real(number) => number.into(),
            Cell::Text(text) => text.into(),
        };
        let pairs = cells.iter().zip(self.columns);
        let object: Map<String, Value> =
            pairs.map(|(c, column)| (column.name.into(), value(c, column.kind))).collect();
        writeln!(self.out, "{}", Value::Object(object))
    }

    fn end(self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}
