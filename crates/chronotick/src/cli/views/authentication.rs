//! `authdata` and `serverstats`: how answers are proven, and what was counted of those who ask, in chrony's columns and fields.

use super::sources::Manner;
use super::units::{age, csv, fitted, name};
use crate::snapshot::{ServerView, Snapshot};
use std::fmt::Write;

const LEGEND: &str = "
                             .- Auth. mechanism (NTS, SK - symmetric key)
                            |   Key length -.  Cookie length (bytes) -.
                            |       (bits)  |  Num. of cookies --.    |
                            |               |  Key est. attempts  |   |
                            |               |           |         |   |
";

/// How the answers of each server are proven, as `chronyc authdata` shows it.
pub(crate) fn sources(snapshot: &Snapshot, manner: Manner) -> String {
    let all = &snapshot.sources;
    let mut out = String::new();
    if !manner.csv {
        out.push_str(if manner.verbose { LEGEND } else { "" });
        out.push_str("Name/IP address             Mode KeyID Type KLen Last Atmp  NAK Cook CLen\n");
        out.push_str(&"=".repeat(73));
        out.push('\n');
    }
    for source in all.iter().filter(|source| source.mode != "refclock") {
        let proof = source.proof.clone().unwrap_or_default();
        let name = name(source, all, manner.numeric);
        let mode = if proof.mode.is_empty() { "-" } else { &proof.mode };
        let numbers = (proof.attempts, proof.naks, proof.cookies, proof.cookie_bytes);
        let (attempts, naks, cookies, bytes) = numbers;
        if manner.csv {
            let last = proof.age_seconds.map_or(u32::MAX.to_string(), |s| format!("{s:.0}"));
            let (key, algorithm, bits) =
                (proof.key.to_string(), proof.algorithm.to_string(), proof.bits.to_string());
            let rest = [attempts.to_string(), naks.to_string(), cookies.to_string(), bytes.to_string()];
            let first = [name.to_owned(), mode.to_owned(), key, algorithm, bits, last];
            out.push_str(&csv(&[&first[..], &rest].concat()));
            continue;
        }
        let _ = writeln!(
            out,
            "{:<27} {mode:>4} {:>5} {:>4} {:>4} {:>4} {attempts:>4} {naks:>4} {cookies:>4} {bytes:>4}",
            fitted(name, 27),
            proof.key,
            proof.algorithm,
            proof.bits,
            age(proof.age_seconds),
        );
    }
    if manner.all && !manner.csv {
        for name in &snapshot.unresolved {
            let _ = writeln!(out, "{name}");
        }
    }
    out
}

/// What was counted of those who ask this node, as `chronyc serverstats` shows it; what chrony counts and this program has not
/// is zero.
pub(crate) fn server(snapshot: &Snapshot, manner: Manner) -> String {
    let server = snapshot.server.clone().unwrap_or_default();
    let ServerView { datagrams, interleaved, keys_asked, keys_refused } = &server;
    let count = |labels: &[&str]| labels.iter().filter_map(|label| datagrams.get(*label)).sum::<u64>();
    let received: u64 = datagrams.values().sum();
    let dropped = count(&["not_a_request", "not_authentic", "too_often", "refused", "no_time"]);
    let fields = [
        ("NTP packets received", received),
        ("NTP packets dropped", dropped),
        ("Command packets received", 0),
        ("Command packets dropped", 0),
        ("Client log records dropped", 0),
        ("NTS-KE connections accepted", *keys_asked),
        ("NTS-KE connections dropped", *keys_refused),
        ("Authenticated NTP packets", count(&["answered_key", "answered_nts"])),
        ("Interleaved NTP packets", *interleaved),
        ("NTP timestamps held", 0),
        ("NTP timestamp span", 0),
    ];
    if manner.csv {
        return csv(&fields.map(|(_, number)| number.to_string()));
    }
    let mut out = String::new();
    if snapshot.server.is_none() {
        out.push_str("nobody is served (serve.ntp.enabled)\n");
    }
    for (name, number) in fields {
        let _ = writeln!(out, "{name:<27}: {number}");
    }
    if manner.verbose {
        for (what, number) in datagrams {
            let _ = writeln!(out, "  {what:<25}: {number}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{ProofView, SourceView};

    /// The rows are those of chronyc 4.3 for the same sources.
    #[test]
    fn rows_are_chronys() {
        let source = |server: &str, proof| SourceView {
            mode: "server".into(),
            server: server.into(),
            proof,
            ..SourceView::default()
        };
        let key = ProofView { mode: "SK".into(), key: 1, algorithm: 3, bits: 64, ..ProofView::default() };
        let nts = ProofView {
            mode: "NTS".into(),
            key: 1,
            algorithm: 15,
            bits: 256,
            age_seconds: Some(8100.0),
            cookies: 8,
            cookie_bytes: 100,
            ..ProofView::default()
        };
        let sources_ = vec![
            source("localhost", Some(key)),
            source("foo.example.net", Some(nts)),
            source("baz.example.net", None),
        ];
        let snapshot = Snapshot { sources: sources_, ..Snapshot::default() };
        let shown = sources(&snapshot, Manner::default());
        let rows: Vec<&str> = shown.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "localhost                     SK     1    3   64    -    0    0    0    0",
                "foo.example.net              NTS     1   15  256 135m    0    0    8  100",
                "baz.example.net                -     0    0    0    -    0    0    0    0",
            ]
        );
        let fields = sources(&snapshot, Manner { csv: true, ..Manner::default() });
        assert_eq!(fields.lines().next(), Some("localhost,SK,1,3,64,4294967295,0,0,0,0"));
    }

    #[test]
    fn the_server_counts_what_chronys_counts() {
        let datagrams = [("answered", 3), ("answered_key", 2), ("answered_nts", 1), ("too_often", 4)];
        let datagrams = datagrams.map(|(what, n)| (what.to_owned(), n)).into();
        let view = ServerView { datagrams, interleaved: 2, keys_asked: 1, keys_refused: 0 };
        let snapshot = Snapshot { server: Some(view), ..Snapshot::default() };
        let fields = server(&snapshot, Manner { csv: true, ..Manner::default() });
        assert_eq!(fields, "10,4,0,0,0,1,0,3,2,0,0\n");
        assert!(server(&snapshot, Manner::default()).starts_with("NTP packets received       : 10\n"));
    }
}
