use super::*;
use crate::row::{Event, Row, Run, Weight};
use crate::{Keep, Store};
use chronotick_clock::Span;

const BEGAN: Timestamp = Timestamp::from_nanos(1_790_000_000_123_456_789);

fn exported(table: Table, format: Format) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a directory");
    let run = Run { began: BEGAN, ended: BEGAN, boot: 1, version: "1".into(), configuration: "d".into() };
    let event = |seconds, text: &str| {
        let utc = BEGAN + Span::from_secs(seconds);
        Row::Event(Event { utc, kind: "state".into(), source: None, text: text.into() })
    };
    let weight = Row::Weight(Weight {
        utc: BEGAN,
        member: "short_term".into(),
        model: "m".into(),
        weight: 0.25,
        correction: Span::from_nanos(-7),
    });
    let rows = [event(0, "plain"), event(1, "with, a comma and a \"quote\""), event(99, "too late"), weight];
    Store::new(dir.path(), run, Keep::default()).write(&rows, BEGAN).expect("written");
    let history = History::open_read_only(dir.path()).expect("opens");
    let selection = Selection { table, since: BEGAN, until: BEGAN + Span::from_secs(50) };
    let mut out = Vec::new();
    history.export(&selection, format, &mut out).expect("exported");
    out
}

#[test]
fn csv_is_quoted_where_it_must_be() {
    let text = String::from_utf8(exported(Table::Events, Format::Csv)).expect("is text");
    let expected = "time,kind,source,text,run\r\n\
        2026-09-21T14:13:20.123456789Z,state,,plain,1\r\n\
        2026-09-21T14:13:21.123456789Z,state,,\"with, a comma and a \"\"quote\"\"\",1\r\n";
    assert_eq!(text, expected);
}

#[test]
fn a_line_is_an_object() {
    let text = String::from_utf8(exported(Table::Weights, Format::Jsonl)).expect("is text");
    let object: serde_json::Value = serde_json::from_str(text.trim_end()).expect("is an object");
    assert_eq!((&object["weight"], &object["correction_ns"]), (&0.25.into(), &(-7).into()));
}

#[test]
fn every_table_can_be_exported_in_every_format() {
    for table in Table::ALL {
        assert_eq!(table.name().parse(), Ok(table));
        for format in [Format::Csv, Format::Jsonl, Format::Parquet] {
            exported(table, format);
        }
    }
    assert!("offsets".parse::<Table>().expect_err("is none").contains("samples"));
}

#[test]
fn a_parquet_file_has_its_footer_where_readers_look_for_it() {
    let file = exported(Table::Events, Format::Parquet);
    let end = file.len() - 8;
    let length = u32::from_le_bytes(file[end..end + 4].try_into().expect("four bytes")) as usize;
    assert_eq!((&file[..4], &file[end + 4..]), (&b"PAR1"[..], &b"PAR1"[..]));
    // Field 1 of the metadata is the version, a 32-bit number: 2.
    assert_eq!(&file[end - length..end - length + 2], [0x15, 4]);
}
