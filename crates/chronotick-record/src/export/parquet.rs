//! Tables as Apache Parquet: flat, every column optional, plain encoding, no compression.
//!
//! The subset needs two hundred lines; the library that writes everything else of the format would be the largest
//! dependency of the program. Source: the format's specification (`parquet.thrift`, "Encodings", "Thrift compact protocol").

use super::table::{Column, Kind};
use super::{Cell, Sink};
use std::io::{self, Write};

/// Rows are gathered so far before they are written.
const GROUP: usize = 65_536;
const MAGIC: &[u8] = b"PAR1";

pub(super) struct Parquet<'a> {
    columns: &'a [Column],
    out: &'a mut dyn Write,
    written: u64,
    gathered: Vec<Gathered>,
    rows: usize,
    groups: Vec<Group>,
}

/// The values of a column, and which rows have one.
#[derive(Default)]
struct Gathered {
    present: Vec<bool>,
    values: Vec<u8>,
}

struct Group {
    rows: usize,
    chunks: Vec<Chunk>,
}

struct Chunk {
    offset: u64,
    bytes: u64,
}

impl<'a> Parquet<'a> {
    pub(super) fn begin(columns: &'a [Column], out: &'a mut dyn Write) -> io::Result<Parquet<'a>> {
        let gathered = columns.iter().map(|_| Gathered::default()).collect();
        let mut file = Parquet { columns, out, written: 0, gathered, rows: 0, groups: Vec::new() };
        file.put(MAGIC)?;
        Ok(file)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Writes what was gathered as one row group of one page a column.
    fn write_group(&mut self) -> io::Result<()> {
        let (rows, mut chunks) = (std::mem::take(&mut self.rows), Vec::new());
        if rows == 0 {
            return Ok(());
        }
        for i in 0..self.columns.len() {
            let gathered = std::mem::take(&mut self.gathered[i]);
            let levels = levels(&gathered.present);
            let size = levels.len() + gathered.values.len();
            let header = page_header(rows, size);
            let offset = self.written;
            self.put(&header)?;
            self.put(&levels)?;
            self.put(&gathered.values)?;
            chunks.push(Chunk { offset, bytes: self.written - offset });
        }
        self.groups.push(Group { rows, chunks });
        Ok(())
    }
}

impl Sink for Parquet<'_> {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        for (cell, gathered) in cells.iter().zip(&mut self.gathered) {
            gathered.present.push(*cell != Cell::Nothing);
            match *cell {
                Cell::Nothing => {}
                Cell::Integer(number) => gathered.values.extend(number.to_le_bytes()),
                Cell::Real(number) => gathered.values.extend(number.to_le_bytes()),
                Cell::Text(text) => {
                    gathered.values.extend((text.len() as u32).to_le_bytes());
                    gathered.values.extend(text.as_bytes());
                }
            }
        }
        self.rows += 1;
        if self.rows == GROUP { self.write_group() } else { Ok(()) }
    }

    fn end(mut self: Box<Self>) -> io::Result<()> {
        self.write_group()?;
        let footer = footer(self.columns, &self.groups);
        self.put(&footer)?;
        self.put(&(footer.len() as u32).to_le_bytes())?;
        self.put(MAGIC)?;
        self.out.flush()
    }
}

/// Definition levels: runs of equal ones, with the length of it all before them.
fn levels(present: &[bool]) -> Vec<u8> {
    let mut runs = Vec::new();
    for run in present.chunk_by(|a, b| a == b) {
        varint(&mut runs, (run.len() as u64) << 1);
        runs.push(u8::from(run[0]));
    }
    let mut levels = (runs.len() as u32).to_le_bytes().to_vec();
    levels.extend(runs);
    levels
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A struct of Thrift's compact protocol in the making.
#[derive(Default)]
struct Struct {
    bytes: Vec<u8>,
    last: i16,
}

impl Struct {
    fn field(&mut self, id: i16, kind: u8) {
        // The ids of this format's structs are never further apart than a short header can say.
        self.bytes.push(((id - self.last) as u8) << 4 | kind);
        self.last = id;
    }

    fn number(mut self, id: i16, kind: u8, number: i64) -> Struct {
        self.field(id, kind);
        varint(&mut self.bytes, zigzag(number));
        self
    }

    fn i32(self, id: i16, number: i32) -> Struct {
        self.number(id, 5, number.into())
    }

    fn i64(self, id: i16, number: u64) -> Struct {
        self.number(id, 6, number.cast_signed())
    }

    fn truth(mut self, id: i16) -> Struct {
        self.field(id, 1);
        self
    }

    fn text(mut self, id: i16, text: &str) -> Struct {
        self.field(id, 8);
        self.bytes.extend(string(text));
        self
    }

    fn inner(mut self, id: i16, inner: Struct) -> Struct {
        self.field(id, 12);
        self.bytes.extend(inner.end());
        self
    }

    fn list(mut self, id: i16, kind: u8, items: impl ExactSizeIterator<Item = Vec<u8>>) -> Struct {
        self.field(id, 9);
        match items.len() {
            n @ 0..15 => self.bytes.push((n as u8) << 4 | kind),
            n => {
                self.bytes.push(0xF0 | kind);
                varint(&mut self.bytes, n as u64);
            }
        }
        self.bytes.extend(items.flatten());
        self
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}

fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint(&mut bytes, text.len() as u64);
    bytes.extend(text.as_bytes());
    bytes
}

const STRUCT: u8 = 12;
const I32: u8 = 5;
const BINARY: u8 = 8;
const PLAIN: i32 = 0;
const RLE: i32 = 3;

fn page_header(rows: usize, size: usize) -> Vec<u8> {
    let page = Struct::default().i32(1, rows as i32).i32(2, PLAIN).i32(3, RLE).i32(4, RLE);
    Struct::default().i32(1, 0).i32(2, size as i32).i32(3, size as i32).inner(5, page).end()
}

fn physical(kind: Kind) -> i32 {
    match kind {
        Kind::Time | Kind::Integer => 2,
        Kind::Real => 5,
        Kind::Text => 6,
    }
}

fn schema_element(column: &Column) -> Vec<u8> {
    const OPTIONAL: i32 = 1;
    let element = Struct::default().i32(1, physical(column.kind)).i32(3, OPTIONAL).text(4, column.name);
    match column.kind {
        Kind::Text => element.i32(6, 0).inner(10, Struct::default().inner(1, Struct::default())),
        Kind::Time => {
            let nanoseconds = Struct::default().inner(3, Struct::default());
            element.inner(10, Struct::default().inner(8, Struct::default().truth(1).inner(2, nanoseconds)))
        }
        Kind::Integer | Kind::Real => element,
    }
    .end()
}

fn column_chunk(column: &Column, chunk: &Chunk, rows: usize) -> Vec<u8> {
    let encodings = [PLAIN, RLE].map(|encoding| vec![zigzag(encoding.into()) as u8]);
    let meta = Struct::default()
        .i32(1, physical(column.kind))
        .list(2, I32, encodings.into_iter())
        .list(3, BINARY, std::iter::once(string(column.name)))
        .i32(4, 0)
        .i64(5, rows as u64)
        .i64(6, chunk.bytes)
        .i64(7, chunk.bytes)
        .i64(9, chunk.offset);
    Struct::default().i64(2, chunk.offset).inner(3, meta).end()
}

fn footer(columns: &[Column], groups: &[Group]) -> Vec<u8> {
    let root = Struct::default().text(4, "schema").i32(5, columns.len() as i32).end();
    let mut schema = vec![root];
    schema.extend(columns.iter().map(schema_element));
    let rows: usize = groups.iter().map(|group| group.rows).sum();
    let group = |group: &Group| {
        let chunks: Vec<Vec<u8>> = columns
            .iter()
            .zip(&group.chunks)
            .map(|(column, chunk)| column_chunk(column, chunk, group.rows))
            .collect();
        let bytes = group.chunks.iter().map(|chunk| chunk.bytes).sum();
        Struct::default().list(1, STRUCT, chunks.into_iter()).i64(2, bytes).i64(3, group.rows as u64).end()
    };
    Struct::default()
        .i32(1, 2)
        .list(2, STRUCT, schema.into_iter())
        .i64(3, rows as u64)
        .list(4, STRUCT, groups.iter().map(group))
        .text(6, concat!("chronotick ", env!("CARGO_PKG_VERSION")))
        .end()
}
