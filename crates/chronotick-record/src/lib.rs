//! What was measured and what was done: the history in one SQLite file, and the audit log.
//!
//! * [`Store`] is the daemon's side of the history: it writes batches, keeps to its [`Keep`] terms, and goes on when the
//!   disk is full or the file is damaged. [`Row`] is what it takes.
//! * [`History`] is everybody else's: it opens the file read-only, in any process, and answers
//!   [`system_offset_at`](History::system_offset_at): what was the offset then, with the interval as it is known now.
//!
//! * [`audit`] is the log of what was known and done, as lines that vouch for each other.
//! * [`History::export`] writes whole tables for other programs.
//!
//! Offset = true − local: positive means that the system clock was behind.

#![forbid(unsafe_code)]

pub mod audit;
mod digest;
mod export;
mod history;
mod lookup;
mod retention;
mod rfc3339;
mod row;
mod schema;
mod settle;
mod store;

pub use digest::digest;
pub use export::{ExportError, Format, Selection, Table};
pub use history::{History, HistoryError, HistoryReader, NotKnown};
pub use lookup::{How, PastOffset};
pub use retention::Keep;
pub use rfc3339::rfc3339;
pub use row::{Correction, Event, Gap, Measurement, Row, Run, Sample, Weight};
pub use settle::Smoothed;
pub use store::{Store, StoreError};
