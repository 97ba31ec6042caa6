//! The numbers of those who ask this node for the time.

use super::family::Family;
use crate::snapshot::ServerView;

pub(super) fn of(server: &ServerView) -> Vec<Family> {
    let mut datagrams = Family::counter(
        "chronotick_server_datagrams_total",
        "Datagrams that came to the NTP server, by what became of them.",
    );
    for (outcome, count) in &server.datagrams {
        datagrams.add(&[("outcome", outcome)], *count as f64);
    }
    let interleaved = "Answers of the NTP server in interleaved mode.";
    let mut keys = Family::counter(
        "chronotick_server_key_establishments_total",
        "Connections that asked for NTS keys, by whether they were listened to.",
    );
    keys.add(&[("outcome", "accepted")], server.keys_asked as f64);
    keys.add(&[("outcome", "refused")], server.keys_refused as f64);
    vec![
        datagrams,
        Family::counter("chronotick_server_interleaved_total", interleaved).is(server.interleaved as f64),
        keys,
    ]
}
