//! What a watcher has heard of every node, and the picture of it at one instant: pure, so that no network is needed to
//! try it.

use super::judge::{Claim, Claims};
use super::message::Told;
use crate::watch::short;
use chronotick_clock::{RawInstant, Span};
use chronotick_os::random_u64;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

/// So many nodes are followed; what others say is counted and left.
pub(super) const MOST_NODES: usize = 4096;
/// So many pairs are named.
const MOST_PAIRS: usize = 100;
/// So many nodes have a line in the table; those without a quarrel are left out first.
const MOST_LINES: usize = 50;
/// Whoever was not heard for so long says nothing of now.
const SILENT: Span = Span::from_secs(10);
/// Whoever was not heard for so long is forgotten.
const FORGOTTEN: Span = Span::from_secs(300);
/// So many questions of ours can still be answered.
const OPEN_QUESTIONS: usize = 8;

/// What was heard of all nodes.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    nodes: BTreeMap<String, Node>,
    asked: VecDeque<(u64, RawInstant)>,
    refused: u64,
    crowded: u64,
}

#[derive(Debug)]
struct Node {
    told: Told,
    came: RawInstant,
    claim: Claim,
    round_trip: Option<Span>,
    /// The life of the daemon before this one.
    earlier: Option<u64>,
    /// When a life was heard of again after another had begun: two daemons use one name.
    shared: Option<RawInstant>,
}

/// All nodes at one instant.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Picture {
    /// Whether a strict majority of the clocks can be right together.
    pub(super) majority: bool,
    /// Those that contradict others first.
    pub(super) nodes: Vec<Row>,
    /// Who contradicts whom; not all, where there are many.
    pub(super) pairs: Vec<[String; 2]>,
    /// Messages that no node of ours would send.
    pub(super) refused: u64,
    /// Messages of nodes beyond those that are followed.
    pub(super) crowded: u64,
}

/// How a node stands to the others. The order is that of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Standing {
    /// What a strict majority agrees on excludes it.
    Outvoted,
    /// It contradicts another, and there is no majority to say which is wrong.
    Disputed,
    /// It was not heard for ten seconds.
    Silent,
    /// It has not measured anything.
    Unmeasured,
    /// It contradicts nobody of the majority, which proves no more than that.
    Agrees,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) node: String,
    pub(super) standing: Standing,
    /// How many others it contradicts.
    pub(super) contradicts: usize,
    /// By how much it misses the majority, if it is outvoted, else the furthest of them.
    pub(super) by_ns: i64,
    pub(super) state: String,
    /// How far truth can be from its estimate, by its own word.
    pub(super) bound_ns: Option<i64>,
    pub(super) system_offset_ns: Option<i64>,
    pub(super) heard_seconds: f64,
    /// From our question to its answer; without one only that it is ahead could be seen, never that it is behind.
    pub(super) round_trip_ns: Option<i64>,
    /// Two daemons use this name.
    pub(super) shared: bool,
}

impl Heard {
    /// A number to ask with, of an instant before it is sent.
    pub(crate) fn question(&mut self, now: RawInstant) -> u64 {
        // What every reader of JSON takes for a whole number.
        let number = random_u64() >> 11;
        self.asked.push_front((number, now));
        self.asked.truncate(OPEN_QUESTIONS);
        number
    }

    /// Takes a message that has come by `now`.
    pub(crate) fn hear(&mut self, subject: &str, payload: &[u8], now: RawInstant) {
        let Some(told) = Told::read(subject, payload) else {
            self.refused += 1;
            return;
        };
        if self.nodes.len() >= MOST_NODES && !self.nodes.contains_key(&told.node) {
            self.crowded += 1;
            return;
        }
        let sent = told.asked.and_then(|number| self.asked.iter().find(|(asked, _)| *asked == number));
        let answered = sent.map(|(_, raw)| *raw);
        let claim = Claim {
            low: told.earliest_ns.map(|earliest| (now, earliest)),
            high: answered.zip(told.latest_ns),
        };
        let round_trip = answered.map(|raw| now - raw);
        match self.nodes.get_mut(&told.node) {
            Some(node) => node.hear(told, now, claim, round_trip),
            None => {
                let node = Node { told, came: now, claim, round_trip, earlier: None, shared: None };
                self.nodes.insert(node.told.node.clone(), node);
            }
        }
    }

    /// How everybody stands at `now`; `own` is what this machine's clock says, by the name that it has on the bus.
    pub(crate) fn picture(&mut self, now: RawInstant, own: Option<(&str, Claim)>) -> Picture {
        self.nodes.retain(|_, node| now - node.came <= FORGOTTEN);
        let own = own.filter(|(name, _)| !self.nodes.contains_key(*name)).map(|(_, claim)| claim);
        let judged: Vec<&Node> = self.nodes.values().filter(|node| node.counts(now)).collect();
        let claims = Claims::at(now, judged.iter().map(|node| node.recent(now)).chain(own));
        let mut quarrels = Vec::new();
        let mut nodes = Vec::with_capacity(self.nodes.len() + 1);
        let mut index = 0;
        for node in self.nodes.values() {
            let standing = if node.counts(now) { None } else { Some(node.absence(now)) };
            let verdict = standing.is_none().then(|| claims.verdict(index));
            if let Some(verdict) = verdict {
                if verdict.contradicts > 0 {
                    quarrels.push((index, node.told.node.as_str()));
                }
                index += 1;
            }
            let word = |v: super::Verdict| match (v.outvoted, v.contradicts) {
                (true, _) => Standing::Outvoted,
                (false, 1..) if !claims.has_majority() => Standing::Disputed,
                _ => Standing::Agrees,
            };
            nodes.push(Row {
                node: node.told.node.clone(),
                standing: standing.or(verdict.map(word)).unwrap_or(Standing::Silent),
                contradicts: verdict.map_or(0, |v| v.contradicts),
                by_ns: verdict.map_or(0, |v| v.by_ns),
                state: node.told.state.clone(),
                bound_ns: node.told.max_error().map(Span::as_nanos),
                system_offset_ns: node.told.system_offset_ns,
                heard_seconds: (now - node.came).as_secs_f64(),
                round_trip_ns: node.recent(now).high.and(node.round_trip).map(Span::as_nanos),
                shared: node.shared.is_some_and(|at| now - at <= SILENT),
            });
        }
        if own.is_some() && claims.verdict(index).contradicts > 0 {
            quarrels.push((index, HERE));
        }
        nodes.sort_by(|a, b| (a.standing, b.contradicts, &a.node).cmp(&(b.standing, a.contradicts, &b.node)));
        let each = quarrels
            .iter()
            .enumerate()
            .flat_map(|(i, one)| quarrels[i + 1..].iter().map(move |other| (one, other)));
        let apart = each.filter(|(one, other)| claims.contradict(one.0, other.0));
        let pairs =
            apart.take(MOST_PAIRS).map(|(one, other)| [one.1.to_owned(), other.1.to_owned()]).collect();
        Picture {
            majority: claims.has_majority(),
            nodes,
            pairs,
            refused: self.refused,
            crowded: self.crowded,
        }
    }
}

/// What this machine's own clock is called among the pairs: no node can have this name.
const HERE: &str = "(this machine)";

impl Node {
    fn hear(&mut self, told: Told, now: RawInstant, claim: Claim, round_trip: Option<Span>) {
        if told.run != self.told.run {
            if self.earlier == Some(told.run) {
                self.shared = Some(now);
            }
            self.earlier = Some(self.told.run);
            self.claim = claim;
            self.round_trip = round_trip;
        } else if told.sequence <= self.told.sequence {
            // Overtaken on its way, or repeated by somebody.
            return;
        }
        self.claim.low = claim.low;
        if claim.high.is_some() {
            (self.claim.high, self.round_trip) = (claim.high, round_trip);
        }
        (self.told, self.came) = (told, now);
    }

    fn counts(&self, now: RawInstant) -> bool {
        now - self.came <= SILENT && self.told.estimate_ns.is_some()
    }

    fn absence(&self, now: RawInstant) -> Standing {
        if now - self.came > SILENT { Standing::Silent } else { Standing::Unmeasured }
    }

    /// What it claims of late.
    fn recent(&self, now: RawInstant) -> Claim {
        Claim { high: self.claim.high.filter(|(raw, _)| now - *raw <= SILENT), ..self.claim }
    }
}

impl Picture {
    /// How many nodes are outvoted or in dispute.
    pub(super) fn quarrelling(&self) -> usize {
        self.nodes.iter().filter(|row| row.standing <= Standing::Disputed).count()
    }

    /// The table for people.
    pub(crate) fn as_text(&self) -> String {
        let mut out = format!(
            "{} nodes; {}\n",
            self.nodes.len(),
            if self.majority {
                "most of them can be right together"
            } else {
                "no majority of them can be right together"
            }
        );
        let heads = ["NODE", "STANDING", "STATE", "BOUND", "SYSTEM CLOCK", "HEARD", "ROUND TRIP", "WHY"];
        let known = |ns: Option<i64>| ns.map_or_else(|| "-".into(), |ns| short(ns as f64));
        let mut lines = vec![heads.map(str::to_owned)];
        lines.extend(self.nodes.iter().take(MOST_LINES).map(|row| {
            [
                row.node.clone(),
                format!("{:?}", row.standing).to_lowercase(),
                row.state.clone(),
                known(row.bound_ns),
                known(row.system_offset_ns),
                format!("{:.0} s ago", row.heard_seconds),
                known(row.round_trip_ns),
                row.why(),
            ]
        }));
        let width = |i: usize| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or(0);
        let widths: [usize; 8] = std::array::from_fn(width);
        for line in &lines {
            let cells: Vec<String> =
                line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            let _ = writeln!(out, "{}", cells.join("  ").trim_end());
        }
        if let Some(more) = self.nodes.len().checked_sub(MOST_LINES + 1) {
            let _ = writeln!(out, "and {} more", more + 1);
        }
        for [one, other] in self.pairs.iter().take(10) {
            let _ = writeln!(out, "{one} and {other} cannot both be right");
        }
        if let Some(more) = self.pairs.len().checked_sub(11) {
            let _ = writeln!(out, "and {} more pairs", more + 1);
        }
        for (count, what) in
            [(self.refused, "that no node would send"), (self.crowded, "of nodes beyond those followed")]
        {
            if count > 0 {
                let _ = writeln!(out, "{count} messages {what} were left");
            }
        }
        out
    }
}

impl Row {
    fn why(&self) -> String {
        let mut words = Vec::new();
        if self.contradicts > 0 {
            let whom = if self.standing == Standing::Outvoted { ", the majority" } else { "" };
            words.push(format!("contradicts {}{whom} by {}", self.contradicts, short(self.by_ns as f64)));
        }
        if self.shared {
            words.push("two daemons use this name".to_owned());
        }
        if self.round_trip_ns.is_none() && self.standing == Standing::Agrees {
            words.push("does not answer: only that it is ahead could be seen".to_owned());
        }
        words.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn raw(ns: i64) -> RawInstant {
        RawInstant::from_nanos(ns)
    }

    fn told(node: &str, sequence: u64, utc: i64, asked: Option<u64>) -> Vec<u8> {
        let told = Told {
            node: node.into(),
            run: 1,
            sequence,
            state: "synced".into(),
            estimate_ns: Some(utc),
            earliest_ns: Some(utc - 1_000),
            latest_ns: Some(utc + 1_000),
            system_offset_ns: Some(5),
            asked,
        };
        serde_json::to_vec(&told).unwrap()
    }

    fn tell(heard: &mut Heard, node: &str, sequence: u64, utc: i64, asked: Option<u64>, now: i64) {
        heard.hear(&format!("chronotick.reading.{node}"), &told(node, sequence, utc, asked), raw(now));
    }

    fn standings(picture: &Picture) -> Vec<(&str, Standing)> {
        picture.nodes.iter().map(|row| (row.node.as_str(), row.standing)).collect()
    }

    #[test]
    fn who_is_ahead_is_seen_at_once_and_who_is_behind_once_it_answers() {
        let mut heard = Heard::default();
        for (node, utc) in [("a", 0), ("b", 10), ("ahead", SECOND), ("behind", -SECOND)] {
            tell(&mut heard, node, 1, utc, None, 2_000);
        }
        use Standing::{Agrees, Outvoted};
        let first = heard.picture(raw(3_000), None);
        // Without an answer nothing keeps truth from being anywhere after: those who are not ahead may be old messages.
        assert!(!first.nodes.iter().any(|row| row.standing == Outvoted), "{first:?}");
        let question = heard.question(raw(10_000));
        for (node, utc) in [("a", 8_000), ("b", 8_010), ("ahead", SECOND), ("behind", -SECOND)] {
            tell(&mut heard, node, 2, utc, Some(question), 12_000);
        }
        let then = heard.picture(raw(13_000), None);
        assert!(!then.majority, "two of four are no majority");
        let own = Claim { low: Some((raw(13_000), 11_000)), high: Some((raw(13_000), 13_000)) };
        let judged = heard.picture(raw(13_000), Some(("here", own)));
        assert_eq!(
            standings(&judged),
            [("ahead", Outvoted), ("behind", Outvoted), ("a", Agrees), ("b", Agrees)]
        );
        assert_eq!(judged.nodes[0].round_trip_ns, Some(2_000));
        assert!(judged.pairs.contains(&["ahead".into(), "behind".into()]), "{:?}", judged.pairs);
        assert!(judged.pairs.contains(&["behind".into(), HERE.into()]), "{:?}", judged.pairs);
        assert_eq!(judged.quarrelling(), 2);
        let text = judged.as_text();
        assert!(text.contains("ahead") && text.contains("contradicts 4, the majority by 1.00 s"), "{text}");
    }

    #[test]
    fn a_number_that_was_never_drawn_proves_nothing() {
        let mut heard = Heard::default();
        tell(&mut heard, "a", 1, -SECOND, Some(42), 0);
        assert_eq!(heard.picture(raw(0), None).nodes[0].round_trip_ns, None);
    }

    #[test]
    fn repeated_and_overtaken_messages_change_nothing() {
        let mut heard = Heard::default();
        tell(&mut heard, "a", 2, 100, None, 0);
        tell(&mut heard, "a", 2, SECOND, None, 10);
        tell(&mut heard, "a", 1, SECOND, None, 20);
        assert_eq!(heard.nodes["a"].told.estimate_ns, Some(100));
        heard.hear("chronotick.reading.a", b"{}", raw(30));
        assert_eq!(heard.picture(raw(30), None).refused, 1);
    }

    #[test]
    fn two_daemons_of_one_name_are_told_from_a_restart() {
        let mut heard = Heard::default();
        let say = |heard: &mut Heard, run: u64, sequence: u64, now: i64| {
            let mut told: Told = serde_json::from_slice(&told("a", sequence, 0, None)).unwrap();
            told.run = run;
            heard.hear("chronotick.reading.a", &serde_json::to_vec(&told).unwrap(), raw(now));
            heard.picture(raw(now), None).nodes[0].shared
        };
        assert!(!say(&mut heard, 1, 5, 0) && !say(&mut heard, 2, 1, 1), "a restart");
        assert!(say(&mut heard, 1, 6, 2), "the first is still alive");
    }

    #[test]
    fn silence_and_crowds_are_bounded() {
        let mut heard = Heard::default();
        for i in 0..MOST_NODES + 3 {
            tell(&mut heard, &format!("n{i}"), 1, 0, None, 0);
        }
        let picture = heard.picture(raw(SILENT.as_nanos() + 1), None);
        assert_eq!((picture.crowded, picture.nodes.len()), (3, MOST_NODES));
        assert!(picture.nodes.iter().all(|row| row.standing == Standing::Silent));
        assert!(picture.as_text().lines().count() < 60);
        assert!(heard.picture(raw(FORGOTTEN.as_nanos() + 1), None).nodes.is_empty());
    }
}
