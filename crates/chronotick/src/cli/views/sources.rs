//! `sources`, `sourcestats` and `selectdata`: the sources in chrony's columns, marks, units and fields, and why each has its
//! mark, which chrony hides.
//!
//! A positive sample means that the clock is ahead of the source, as in chrony's `sources`. In `sourcestats` and `selectdata` a
//! positive offset means that the source is ahead.

use super::units::{age, csv, fitted, name, secs, short, signed};
use crate::snapshot::{Snapshot, SourceView};
use std::fmt::Write;

/// How a view is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// With a legend, and why.
    pub(crate) verbose: bool,
    /// Addresses instead of names.
    pub(crate) numeric: bool,
    /// With the names that have no address yet.
    pub(crate) all: bool,
    /// Fields separated by commas.
    pub(crate) csv: bool,
}

/// What selection makes of a source: chrony's mark, its letter in `selectdata`, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) mark: char,
    pub(super) letter: char,
    pub(super) why: &'static str,
}

const fn standing(mark: char, letter: char, why: &'static str) -> Standing {
    Standing { mark, letter, why }
}

pub(super) fn standing_of(source: &SourceView, all: &[SourceView]) -> Standing {
    let has = |source: &SourceView, option: &str| source.options.iter().any(|o| o == option);
    let preferred = |s: &SourceView| s.is_trusted() && has(s, "prefer");
    match source.verdict.as_str() {
        "unselected" => standing('?', 'N', "it was configured to have no say (noselect)"),
        "trusted" if source.reach == 0 => standing(
            '?',
            'S',
            "it has been silent for eight polls; what it said still counts, widened by its age",
        ),
        "trusted" if source.best => {
            standing('*', '*', "it agrees with the majority, and confines the bound most")
        }
        "trusted" if all.iter().any(preferred) && !preferred(source) => {
            standing('-', 'P', "it agrees with the majority, but another source is preferred")
        }
        "trusted" => standing('+', '+', "it agrees with the majority"),
        "falseticker" => standing('x', 'x', "a majority agrees on a time that it excludes"),
        "no majority" => standing('x', 'x', "no majority of the sources agrees, so any of them may be wrong"),
        _ if has(source, "last_resort") => {
            standing('?', 'N', "it is the last resort: it counts only while no other source answers")
        }
        _ => standing('?', 'M', "it has not been measured yet"),
    }
}

/// The mark of a source by itself, where it does not matter whether another one is preferred.
pub(crate) fn mark(source: &SourceView) -> char {
    standing_of(source, &[]).mark
}

/// What kind of source it is.
pub(crate) fn mode(source: &SourceView) -> char {
    match source.mode.as_str() {
        "refclock" => '#',
        "peer" => '=',
        _ => '^',
    }
}

const LEGEND: &str = "
  .-- Source mode  '^' = server, '=' = peer, '#' = local clock.
 / .- Source state '*' = current best, '+' = combined, '-' = not combined,
| /             'x' = may be in error, '~' = too variable, '?' = unusable.
||                                                 .- xxxx [ yyyy ] +/- zzzz
||      Reachability register (octal) -.           |  xxxx = corrected time ahead of the source,
||      Log2(Polling interval) --.      |          |  yyyy = system clock ahead, as measured,
||                                \\     |          |  zzzz = how wrong this sample may be.
||                                 |    |           \\
";

/// How wrong the newest sample may be: its root distance.
fn distance(source: &SourceView) -> i64 {
    let half = |ns: Option<i64>| ns.unwrap_or(0).max(0) / 2;
    half(source.delay_ns) + half(source.root_delay_ns) + source.root_dispersion_ns.unwrap_or(0)
}

fn log2(seconds: f64) -> i64 {
    seconds.max(1e-3).log2().round() as i64
}

/// The sources, as `chronyc sources` shows them.
pub(crate) fn sources(snapshot: &Snapshot, manner: Manner) -> String {
    let all = &snapshot.sources;
    if manner.csv {
        let unresolved = snapshot.unresolved.iter().filter(|_| manner.all).map(|name| {
            let source = SourceView { mode: "server".into(), ..SourceView::default() };
            let server = name.split(": ").next().unwrap_or_default().to_owned();
            source_fields(&SourceView { server, poll_seconds: 64.0, ..source }, &[], Manner::default())
        });
        return all.iter().map(|source| source_fields(source, all, manner)).chain(unresolved).collect();
    }
    let mut out = String::from(if manner.verbose { LEGEND } else { "" });
    out.push_str("MS Name/IP address         Stratum Poll Reach LastRx Last sample               \n");
    out.push_str(&"=".repeat(79));
    out.push('\n');
    for source in all {
        let name = fitted(name(source, all, manner.numeric), 27);
        let stratum = source.stratum.map_or("-".into(), |s| s.to_string());
        let sample = source.offset_ns.map_or(String::new(), |offset| {
            let measured = source.system_offset_ns.unwrap_or(offset);
            format!("{:>7}[{:>7}] +/- {:>6}", signed(-offset), signed(-measured), short(distance(source)))
        });
        let _ = writeln!(
            out,
            "{}{} {name:<27}{stratum:>4}{:>4}{:>6o}{:>6}  {sample}",
            mode(source),
            standing_of(source, all).mark,
            log2(source.poll_seconds),
            source.reach,
            age(source.last_answer_seconds),
        );
        if manner.verbose {
            why(source, all).iter().for_each(|text| {
                let _ = writeln!(out, "     {text}");
            });
        }
    }
    for name in &snapshot.unresolved {
        let _ = writeln!(out, "^? {name}");
    }
    out
}

fn source_fields(source: &SourceView, all: &[SourceView], manner: Manner) -> String {
    let offset = source.offset_ns.unwrap_or(0);
    csv(&[
        mode(source).into(),
        standing_of(source, all).mark.into(),
        name(source, all, manner.numeric).into(),
        source.stratum.unwrap_or(0).to_string(),
        log2(source.poll_seconds).to_string(),
        format!("{:o}", source.reach),
        source.last_answer_seconds.map_or(u32::MAX.to_string(), |s| format!("{s:.0}")),
        secs(-offset),
        secs(-source.system_offset_ns.unwrap_or(offset)),
        secs(distance(source)),
    ])
}

/// What chrony hides: why a source has its mark, where it allows truth to be, and what its path is like.
fn why(source: &SourceView, all: &[SourceView]) -> Vec<String> {
    let standing = standing_of(source, all);
    let mut lines = vec![format!("{} ({}): {}", source.server, standing.letter, standing.why)];
    let stamps = source.stamps.as_deref().unwrap_or("no");
    let heard = source.reach.count_ones();
    lines.push(format!(
        "{} of {} polls answered, {heard} of the last 8; {stamps} stamps",
        source.answers, source.sent
    ));
    if let Some(bound) = &source.bound {
        let (low, high) = (signed(bound.earliest_ns), signed(bound.latest_ns));
        let wide = bound.low.half_delay_ns + bound.low.half_root_delay_ns + bound.low.root_dispersion_ns;
        lines.push(format!(
            "true time between {low} and {high} of corrected time; distance {} when measured",
            short(wide)
        ));
    }
    if let Some(path) = &source.path {
        let (offset, floor) = (signed(path.offset_ns), short(path.floor_ns));
        lines.push(format!("path: offset {offset}, least round trip {floor}, weight {:.2}", path.weight));
    }
    if source.contradictions > 0 {
        lines.push(format!("contradicted itself {} times", source.contradictions));
    }
    lines.extend(source.proof.iter().map(|proof| match proof.mode.as_str() {
        "NTS" => format!("its answers are proven by NTS; {} cookies are left", proof.cookies),
        _ => format!("its answers are proven by key {}", proof.key),
    }));
    if !source.options.is_empty() {
        lines.push(format!("configured with {}", source.options.join(", ")));
    }
    lines.extend(source.trouble.iter().map(|trouble| format!("last trouble: {trouble}")));
    lines
}

const STATISTICS: &str = "
                             .- Number of sample points in measurement set.
                            /    .- Number of residual runs with same sign.
                           |    /    .- Length of measurement set (time).
                           |   |    /      .- Est. clock freq error (ppm).
                           |   |   |      /           .- Est. error in freq.
                           |   |   |     |           /         .- Est. offset.
                           |   |   |     |          |          |   On the -.
                           |   |   |     |          |          |   samples. \\
                           |   |   |     |          |          |             |
";

/// Drift and scatter of each source against corrected time, as `chronyc sourcestats` shows them.
pub(crate) fn statistics(snapshot: &Snapshot, manner: Manner) -> String {
    let all = &snapshot.sources;
    let mut out = String::new();
    if !manner.csv {
        out.push_str(if manner.verbose { STATISTICS } else { "" });
        out.push_str("Name/IP Address            NP  NR  Span  Frequency  Freq Skew  Offset  Std Dev\n");
        out.push_str(&"=".repeat(78));
        out.push('\n');
    }
    for source in all {
        let s = source.statistics.clone().unwrap_or_default();
        let name = name(source, all, manner.numeric);
        if manner.csv {
            out.push_str(&csv(&[
                name.into(),
                s.samples.to_string(),
                s.runs.to_string(),
                format!("{:.0}", s.span_seconds),
                format!("{:.3}", s.frequency_ppm),
                format!("{:.3}", s.skew_ppm),
                secs(s.offset_ns),
                secs(s.deviation_ns),
            ]));
        } else {
            let _ = writeln!(
                out,
                "{:<25} {:>3} {:>3}  {:>4}  {:>+9.3} {:>10.3}  {:>6}  {:>7}",
                fitted(name, 25),
                s.samples,
                s.runs,
                age(Some(s.span_seconds)),
                s.frequency_ppm,
                s.skew_ppm,
                signed(s.offset_ns),
                short(s.deviation_ns)
            );
        }
    }
    out
}

const SELECTION: &str = "
  . State: N - noselect, M - missing samples, x - falseticker or no majority, S - stale,
 /         P - another source is preferred, + - combined, * - current best.
|                         .- Configured options: N noselect, P prefer, T trust, R require.
|                         |     .- Effective options.
|                         |     |         .- Share in the consensus of all paths.
|                         |     |         |     .- Where this source allows truth to be, from corrected time.
";

/// What selection knows of each source, as `chronyc selectdata` shows it.
pub(crate) fn selection(snapshot: &Snapshot, manner: Manner) -> String {
    let all = &snapshot.sources;
    let mut out = String::new();
    if !manner.csv {
        out.push_str(if manner.verbose { SELECTION } else { "" });
        out.push_str("S Name/IP Address        Auth COpts EOpts Last Score     Interval  Leap\n");
        out.push_str(&"=".repeat(71));
        out.push('\n');
    }
    for source in all {
        let standing = standing_of(source, all);
        let letters = [("noselect", 'N'), ("prefer", 'P'), ("trust", 'T'), ("require", 'R')];
        let said = |(option, letter)| if source.options.iter().any(|o| o == option) { letter } else { '-' };
        let options: String = letters.into_iter().map(said).chain(['-']).collect();
        let proven = if source.proof.is_some() { 'Y' } else { 'N' };
        let score = source.path.as_ref().map_or(0.0, |path| path.weight);
        let (leap, leap_word) = match source.leap.as_deref() {
            Some("none") => ('N', "Normal"),
            Some("insert") => ('+', "Insert second"),
            Some("delete") => ('-', "Delete second"),
            _ => ('?', "Not synchronised"),
        };
        let (low, high) = source.bound.as_ref().map_or((0, 0), |b| (b.earliest_ns, b.latest_ns));
        let name = name(source, all, manner.numeric);
        let last = age(source.last_answer_seconds);
        if manner.csv {
            let last = source.last_answer_seconds.map_or(u32::MAX.to_string(), |s| format!("{s:.0}"));
            let first = [standing.letter.into(), name.to_owned(), proven.into()];
            let options = options.chars().chain(options.chars()).map(String::from);
            let rest = [last, format!("{score:.1}"), secs(low), secs(high), leap_word.into()];
            let fields: Vec<String> = first.into_iter().chain(options).chain(rest).collect();
            out.push_str(&csv(&fields));
            continue;
        }
        let _ = writeln!(
            out,
            "{} {:<25} {proven} {options} {options} {last:>4} {score:>5.1} {:>7} {:>7}  {leap}",
            standing.letter,
            fitted(name, 25),
            signed(low),
            signed(high)
        );
        if manner.verbose {
            let _ = writeln!(out, "    {}", standing.why);
        }
    }
    out
}

/// How many sources there are of each kind, as `chronyc activity` counts them.
pub(crate) fn activity(snapshot: &Snapshot, manner: Manner) -> String {
    let online = snapshot.sources.iter().filter(|s| s.mode != "refclock").count();
    let (clocks, unresolved) = (snapshot.sources.len() - online, snapshot.unresolved.len());
    if manner.csv {
        return csv(&[online, 0, 0, 0, unresolved].map(|n| n.to_string()));
    }
    let heard = snapshot.sources.iter().filter(|s| s.reach != 0).count();
    format!(
        "200 OK\n{online} sources online\n0 sources offline\n0 sources doing burst (return to online)\n\
         0 sources doing burst (return to offline)\n{unresolved} sources with unknown address\n\
         {clocks} reference clocks; {heard} of all answered within their last eight polls\n"
    )
}

/// Other nodes: their corrected time against ours. Positive means that the peer is ahead.
pub(crate) fn peers(snapshot: &Snapshot, manner: Manner) -> String {
    let mut out = String::new();
    if !manner.csv {
        out.push_str("Name/IP address            Stratum Reach LastRx  Offset   Bound   Delay  Growth\n");
        out.push_str(&"=".repeat(79));
        out.push('\n');
    }
    let alone = |name: &str| snapshot.peers.iter().filter(|p| p.name == name).count() == 1;
    for peer in &snapshot.peers {
        let name = if alone(&peer.name) && !manner.numeric { &peer.name } else { &peer.address };
        let stratum = peer.stratum.map_or("-".into(), |s| s.to_string());
        if manner.csv {
            let number = |ns: Option<i64>| ns.map_or(String::new(), secs);
            out.push_str(&csv(&[
                name.clone(),
                stratum,
                format!("{:o}", peer.reach),
                peer.age_seconds.map_or(String::new(), |s| format!("{s:.0}")),
                number(peer.offset_ns),
                number(peer.bound_ns),
                number(peer.delay_ns),
                format!("{:.3}", peer.growth_ppm),
            ]));
            continue;
        }
        let told = |ns: Option<i64>, show: &dyn Fn(i64) -> String| ns.map_or("-".into(), show);
        let _ = writeln!(
            out,
            "{:<27}{stratum:>7}{:>6o}{:>7} {:>7} {:>7} {:>7} {:>5.1}ppm",
            fitted(name, 27),
            peer.reach,
            age(peer.age_seconds),
            told(peer.offset_ns, &signed),
            told(peer.bound_ns, &short),
            told(peer.delay_ns, &short),
            peer.growth_ppm,
        );
        if manner.verbose {
            let trouble = peer.trouble.as_deref().unwrap_or("none");
            let _ = writeln!(
                out,
                "     {} of {} polls answered; last trouble: {trouble}",
                peer.answers, peer.sent
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn source(name: &str, verdict: &str) -> SourceView {
        SourceView {
            mode: "server".into(),
            server: name.into(),
            address: format!("{name}:123"),
            verdict: verdict.into(),
            reach: 0o377,
            stratum: Some(1),
            poll_seconds: 128.0,
            last_answer_seconds: Some(31.0),
            offset_ns: Some(13_000),
            system_offset_ns: Some(13_000),
            delay_ns: Some(200_000),
            root_delay_ns: Some(0),
            root_dispersion_ns: Some(100_000),
            ..SourceView::default()
        }
    }

    fn snapshot(sources: Vec<SourceView>) -> Snapshot {
        Snapshot { sources, ..Snapshot::default() }
    }

    /// The first row of the client that the seed of this view shows.
    #[test]
    fn a_row_is_chronys_to_the_column() {
        let best = SourceView { best: true, ..source("clockpi", "trusted") };
        let out = sources(&snapshot(vec![best.clone()]), Manner::default());
        let row = "^* clockpi                       1   7   377    31    -13us[  -13us] +/-  200us";
        assert_eq!(out.lines().nth(2), Some(row));
        let fields = sources(&snapshot(vec![best]), Manner { csv: true, ..Manner::default() });
        assert_eq!(fields, "^,*,clockpi,1,7,377,31,-0.000013000,-0.000013000,0.000200000\n");
    }

    /// GPS numbers seconds, PPS is preferred, kPPS and the servers agree: the picture of a receiver's machine.
    #[test]
    fn marks_say_what_selection_made_of_them() {
        let clock = |name: &str, verdict: &str, options: &[&str]| SourceView {
            mode: "refclock".into(),
            address: name.into(),
            options: options.iter().map(ToString::to_string).collect(),
            ..source(name, verdict)
        };
        let all = vec![
            clock("GPS", "unselected", &["noselect"]),
            SourceView { best: true, ..clock("PPS", "trusted", &["prefer"]) },
            clock("kPPS", "trusted", &[]),
            source("ntp1", "trusted"),
            source("liar", "falseticker"),
            SourceView { reach: 0, ..source("dead", "trusted") },
            source("new", "unmeasured"),
        ];
        let marks: String = all.iter().map(|s| standing_of(s, &all).mark).collect();
        let letters: String = all.iter().map(|s| standing_of(s, &all).letter).collect();
        assert_eq!((marks.as_str(), letters.as_str()), ("?*--x??", "N*PPxSM"));
        let out = sources(&snapshot(all), Manner { verbose: true, ..Manner::default() });
        for row in [
            "#? GPS ",
            "#* PPS ",
            "#- kPPS ",
            "^- ntp1 ",
            "^x liar ",
            "^? dead ",
            "another source is preferred",
        ] {
            assert!(out.contains(row), "{row}: {out}");
        }
    }

    #[test]
    fn without_a_majority_none_is_believed() {
        let all = vec![source("a", "no majority"), source("b", "no majority")];
        assert_eq!(standing_of(&all[0], &all).mark, 'x');
    }

    #[test]
    fn every_view_has_as_many_fields_as_chronys() {
        let all = snapshot(vec![source("a", "trusted")]);
        let csv = Manner { csv: true, ..Manner::default() };
        let fields = |text: String| text.trim_end().split(',').count();
        assert_eq!(fields(sources(&all, csv)), 10);
        assert_eq!(fields(statistics(&all, csv)), 8);
        assert_eq!(fields(selection(&all, csv)), 18);
        assert_eq!(fields(activity(&all, csv)), 5);
    }
}
