//! The whole picture of one look: what is shown, in which order, and what gives way where the terminal is small.

use super::charts::{self, Window};
use super::look::{Look, Past};
use super::sources::{self, Column};
use super::words::{clean, short};
use crate::snapshot::{EventView, ModelView, Snapshot, SourceView};
use crate::utc::{rfc3339, since};
use chronotick_clock::{Span, State};
use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span as Text};
use ratatui::widgets::{Block, Borders, Cell, Clear, Paragraph, Row, Table, Widget, Wrap};

/// Colours, or none where the person wants none: then weight and inversion alone tell things apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ink {
    pub(super) coloured: bool,
}

impl Ink {
    fn colour(self, colour: Color) -> Style {
        if self.coloured { Style::new().fg(colour) } else { Style::new() }
    }
    pub(super) fn good(self) -> Style {
        self.colour(Color::Green)
    }
    pub(super) fn warning(self) -> Style {
        self.colour(Color::Yellow)
    }
    pub(super) fn bad(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }
    pub(super) fn accent(self) -> Style {
        self.colour(Color::Cyan)
    }
    fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }
    fn loud(self) -> Style {
        self.colour(Color::Yellow).add_modifier(Modifier::BOLD | Modifier::REVERSED)
    }
    fn state(self, state: State) -> Style {
        let style = match state {
            State::Synced => self.good(),
            State::Warmup | State::Holdover => self.warning(),
            State::Unsynced | State::Error => self.bad(),
        };
        style.add_modifier(Modifier::BOLD)
    }
}

/// What the person at the keys has chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    pub(super) sort: Column,
    pub(super) reversed: bool,
    /// Sources that are scrolled past.
    pub(super) scroll: usize,
    /// How much of the past the charts show.
    pub(super) window: Window,
    pub(super) help: bool,
    pub(super) ink: Ink,
}

impl View {
    pub(super) fn sorted_by(sort: Column) -> View {
        View { sort, ..View::default() }
    }
}

const HELP: &str = "\
q, Esc   quit                          ?       this page
1 … 9    sort by that column           s       sort by the next column
r        turn the order round          ↑ ↓     scroll the sources
w        minutes in the history        Space   look now      Ctrl-Z  suspend

Offsets are true - local: + means that the local clock is behind.
A source's offset is its time minus corrected time.

bound     true time is inside, unless half of the sources or more lie
95 %      true time is inside in 95 of 100 readings (calibrated)
narrow    the bound if the fastest round trips are symmetric to that share
harm      measurements to which the system clock was nearer
interval  where true time can be according to that source alone
          (as of the daemon's last status; time and bound above are of now)
reach     the last eight polls that ended, octal: 377 is all answered
marks     ^ server  # reference clock  = peer;  * confines the bound most
          + trusted  x falseticker, or no majority  ? unmeasured
skill     share of the filter bank's mean square error that a model's
          forecasts lacked; negative if they were worse
The history begins when this view is opened.";

/// One look, and what there was before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picture<'a> {
    look: &'a Look,
    past: &'a Past,
    view: &'a View,
}

impl<'a> Picture<'a> {
    pub(super) fn new(look: &'a Look, past: &'a Past, view: &'a View) -> Picture<'a> {
        Picture { look, past, view }
    }

    /// All of it but the charts, as lines of text.
    pub(super) fn as_text(self, width: u16) -> String {
        let parts = [
            self.notices().len(),
            self.facts_rows(width),
            self.sources_rows(),
            self.models_rows(),
            self.events_rows(),
        ];
        let height = 2 + parts.iter().sum::<usize>();
        let area = Rect::new(0, 0, width, u16::try_from(height).unwrap_or(u16::MAX));
        let mut buffer = Buffer::empty(area);
        self.draw_body(area, &mut buffer);
        let line = |y| {
            let cells = (0..area.width).map(|x| buffer[(x, y)].symbol());
            format!("{}\n", cells.collect::<String>().trim_end())
        };
        let text: String = (0..area.height).map(line).collect();
        format!("{}\n", text.trim_end())
    }

    /// Fills the area.
    pub(super) fn draw(self, area: Rect, buffer: &mut Buffer) {
        let [body, foot] = Layout::vertical([Constraint::Fill(1), Constraint::Length(1)]).areas(area);
        self.draw_body(body, buffer);
        let keys = " q quit  ? help  1-9 or s sort  r reverse  ↑↓ scroll  w history";
        Line::styled(keys, self.view.ink.faint()).render(foot, buffer);
        if self.view.help {
            self.draw_help(area, buffer);
        }
    }

    fn draw_body(self, area: Rect, buffer: &mut Buffer) {
        let notices = self.notices();
        let head =
            [1, 1, notices.len(), self.facts_rows(area.width)].map(|rows| Constraint::Length(rows as u16));
        let [title, state, warned, facts, rest] =
            Layout::vertical([head[0], head[1], head[2], head[3], Constraint::Fill(1)]).areas(area);
        self.title().render(title, buffer);
        self.state().render(state, buffer);
        Paragraph::new(notices).render(warned, buffer);
        self.draw_facts(facts, buffer);
        self.draw_rest(rest, buffer);
    }

    /// Charts, sources, models, events: the sources come first where room is short, then the models, then history.
    fn draw_rest(self, area: Rect, buffer: &mut Buffer) {
        let mut left = usize::from(area.height);
        let mut take = |wanted: usize, spared: usize| {
            let taken = wanted.min(left.saturating_sub(spared));
            left -= taken;
            taken
        };
        let (models, events) = (self.models_rows(), self.events_rows());
        let sources = take(self.sources_rows(), 3.min(events) + models.min(4));
        let models = take(models, 3.min(events));
        let history = match take(12, events.min(6)) {
            _ if self.past.length(self.look.raw) == Span::ZERO => 0,
            rows @ 8.. => rows,
            rows => rows.min(2),
        };
        let [history, sources, models, events] = Layout::vertical(
            [history, sources, models]
                .map(|rows| Constraint::Length(rows as u16))
                .into_iter()
                .chain([Constraint::Fill(1)]),
        )
        .areas(area);
        if history.height > 2 {
            charts::draw(self.look, self.past, self.view, history, buffer);
        } else {
            charts::sparklines(self.past, self.view.ink, history, buffer);
        }
        self.draw_sources(sources, buffer);
        self.draw_models(models, buffer);
        self.draw_events(events, buffer);
    }

    fn title(self) -> Line<'static> {
        let mut parts = Vec::new();
        if self.look.is_simulated() {
            parts.push(Text::styled(" SIMULATION: not the real time ", self.view.ink.loud()));
            parts.push(" ".into());
        }
        parts.push(Text::styled("ChronoTick", Modifier::BOLD));
        if let Some(Snapshot { version, pid, uptime_seconds, .. }) = self.look.snapshot() {
            let up = since(*uptime_seconds);
            parts.push(Text::styled(
                format!(" {} · process {pid} · up {up}", clean(version)),
                self.view.ink.faint(),
            ));
        }
        parts.into()
    }

    fn state(self) -> Line<'static> {
        let reading = &self.look.reading;
        vec![
            Text::styled(reading.state.name().to_uppercase(), self.view.ink.state(reading.state)),
            format!("  {}", reading.reason).into(),
        ]
        .into()
    }

    /// What forbids to take the rest of the picture for the present.
    fn notices(self) -> Vec<Line<'static>> {
        let silent = self.look.silent.map(|age| {
            let age = since(age.as_secs_f64());
            format!(
                "OLD DATA: the daemon has published nothing for {age}; what stands below is as it left it"
            )
        });
        let missing = self.look.status.as_ref().err().map(|e| format!("NO STATUS: {}", clean(e)));
        silent.into_iter().chain(missing).map(|text| Line::styled(text, self.view.ink.bad())).collect()
    }

    fn facts(self) -> Vec<(&'static str, String)> {
        let reading = &self.look.reading;
        if !reading.is_known() {
            let told = self.look.snapshot().map(told).unwrap_or_default();
            return [("time (UTC)", "not known yet".into())].into_iter().chain(told).collect();
        }
        let (early, late) = (reading.estimate - reading.earliest, reading.latest - reading.estimate);
        let mut time = rfc3339(reading.estimate);
        // Nanoseconds are of no use to the eye.
        time.replace_range(time.len().saturating_sub(4).., "Z");
        let mut facts = vec![
            ("time (UTC)", time),
            ("bound", format!("-{early} +{late}")),
            ("95 %", format!("±{}", reading.interval(0.95))),
        ];
        if let Some(offset) = self.look.system_offset() {
            let side = if offset < Span::ZERO { "ahead" } else { "behind" };
            facts.push(("system clock", format!("{} {side}", offset.abs())));
        }
        if let Some(narrow) = reading.narrow {
            let (early, late) = (reading.estimate - narrow.earliest, narrow.latest - reading.estimate);
            let percent = f64::from(narrow.assumes.asymmetry()) / 10.0;
            let [early, late] = [early, late].map(|side| short(side.as_nanos() as f64));
            facts.push(("narrow", format!("-{early} +{late} ({percent} %)")));
        }
        facts.extend(self.look.snapshot().map(told).unwrap_or_default());
        facts
    }

    fn facts_columns(width: u16) -> usize {
        usize::from(width / 39).clamp(1, 3)
    }

    fn facts_rows(self, width: u16) -> usize {
        self.facts().len().div_ceil(Picture::facts_columns(width))
    }

    fn draw_facts(self, area: Rect, buffer: &mut Buffer) {
        let facts = self.facts();
        let columns = Picture::facts_columns(area.width);
        let areas = Layout::horizontal(vec![Constraint::Fill(1); columns]).spacing(1).split(area);
        for (column, facts) in areas.iter().zip(facts.chunks(facts.len().div_ceil(columns).max(1))) {
            let line = |(name, text): &(&'static str, String)| {
                Line::from(vec![
                    Text::styled(format!("{name:<13}"), self.view.ink.faint()),
                    text.clone().into(),
                ])
            };
            Paragraph::new(facts.iter().map(line).collect::<Vec<_>>()).render(*column, buffer);
        }
    }

    fn sources_rows(self) -> usize {
        2 + self.look.snapshot().map_or(0, |s| s.sources.len() + s.unresolved.len())
    }

    fn draw_sources(self, area: Rect, buffer: &mut Buffer) {
        let Some(snapshot) = self.look.snapshot() else { return };
        let ink = self.view.ink;
        let sorted = sources::sorted(&snapshot.sources, self.view.sort, self.view.reversed);
        let visible = usize::from(area.height).saturating_sub(2);
        let skipped = self.view.scroll.min(sorted.len().saturating_sub(visible));
        let reach = widest(snapshot);
        let texts =
            sorted.iter().map(|s| Column::Name.text(s)).chain(snapshot.unresolved.iter().map(|n| clean(n)));
        let names = texts.map(|text| text.chars().count().min(44) as u16 + 3).max().unwrap_or(0);
        let columns = Column::fitting(area.width, names);
        let spare = area.width.saturating_sub(columns.iter().map(|c| c.width() + 1).sum());
        // The names take what they need, the plots what is left.
        let cells = match usize::from((spare + Column::Name.width()).saturating_sub(names)) {
            cells @ 15.. => (cells - 1) | 1,
            _ => 0,
        };
        let row = |source: &&SourceView| {
            let mut cells_of = columns.iter().map(|c| cell(*c, source, ink)).collect::<Vec<_>>();
            let plot = source.bound.as_ref().filter(|_| cells > 0).map(|b| sources::plot(b, reach, cells));
            cells_of.extend(plot.map(|plot| Cell::from(plot).style(verdict(source, ink))));
            Row::new(cells_of)
        };
        let unresolved = snapshot.unresolved.iter().map(|name| {
            Row::new([Cell::from(format!("^? {}", clean(name))), Cell::from("unresolved")]).style(ink.bad())
        });
        let rows: Vec<Row> = sorted.iter().skip(skipped).map(row).chain(unresolved).collect();
        let width = |c: &Column| {
            if *c == Column::Name { Constraint::Min(c.width()) } else { Constraint::Length(c.width()) }
        };
        let plot = (cells > 0).then_some(Constraint::Length(cells as u16));
        let headings = columns
            .iter()
            .map(|c| self.heading(*c))
            .chain((cells > 0).then(|| Cell::from(format!("{:^cells$}", format!("±{}", short(reach))))));
        let title = match sorted.len() - visible.min(sorted.len()) {
            0 => format!("─ sources: {} ", trusted(snapshot)),
            _ => format!(
                "─ sources: {} ─ {}–{} of {} ",
                trusted(snapshot),
                skipped + 1,
                skipped + visible,
                sorted.len()
            ),
        };
        Table::new(rows, columns.iter().map(width).chain(plot))
            .header(Row::new(headings).style(ink.faint()))
            .block(Block::new().borders(Borders::TOP).title(title))
            .render(area, buffer);
    }

    fn heading(self, column: Column) -> Cell<'static> {
        let arrow = match (self.view.sort == column, self.view.reversed) {
            (false, _) => "",
            (true, false) => "▼",
            (true, true) => "▲",
        };
        let line = Line::from(format!("{arrow}{}", column.heading()));
        Cell::from(if column.is_number() { line.alignment(Alignment::Right) } else { line })
    }

    fn models_rows(self) -> usize {
        match self.models().len() {
            0 => 0,
            models => models + 1,
        }
    }

    /// One line for each model, and one for all that are off.
    fn models(self) -> Vec<Line<'static>> {
        let models = self.look.snapshot().map(|s| s.models.as_slice()).unwrap_or_default();
        let (off, on): (Vec<_>, Vec<_>) = models.iter().partition(|m| m.state == "off");
        let mut lines: Vec<Line> = on.into_iter().map(|model| self.model(model)).collect();
        if !off.is_empty() {
            let names: Vec<String> = off.iter().map(|model| clean(&model.member)).collect();
            lines.push(Line::styled(format!("off: {}", names.join(", ")), self.view.ink.faint()));
        }
        lines
    }

    fn draw_models(self, area: Rect, buffer: &mut Buffer) {
        let source = self.look.snapshot().map_or(String::new(), |snapshot| clean(&snapshot.source));
        let title = format!("─ forecasts beside the filter bank; corrected time is made of: {source} ");
        Paragraph::new(self.models())
            .block(Block::new().borders(Borders::TOP).title(title))
            .render(area, buffer);
    }

    fn model(self, model: &ModelView) -> Line<'static> {
        let name = match model.model.as_str() {
            "" => model.member.clone(),
            checkpoint => format!("{} {checkpoint}", model.member),
        };
        let skill = model.telling().map_or("skill      -         ".into(), |h| {
            format!("skill {:>+6.3} at {:>4.0} s", h.skill, h.horizon_seconds)
        });
        let why = match (&model.reason, model.state.as_str()) {
            (Some(reason), state) => format!("{state}: {reason}"),
            (None, "ready") => model.standing.clone(),
            (None, state) => state.into(),
        };
        let weight = (model.weight * 10.0).round().clamp(0.0, 10.0) as usize;
        let style = if model.weight > 0.0 { self.view.ink.good() } else { self.view.ink.faint() };
        vec![
            format!("{:<30.30} weight {:>4.2} ", clean(&name), model.weight).into(),
            Text::styled(format!("{:<10}", "█".repeat(weight)), style),
            format!(" {skill}  {}", clean(&why)).into(),
        ]
        .into()
    }

    fn events_rows(self) -> usize {
        1 + self.look.snapshot().map_or(0, |s| s.events.len())
    }

    fn draw_events(self, area: Rect, buffer: &mut Buffer) {
        let Some(snapshot) = self.look.snapshot() else { return };
        let line = |event: &EventView| {
            let time: String = clean(&event.time).chars().take(19).collect();
            Line::from(vec![
                Text::styled(time, self.view.ink.faint()),
                format!("  {}", clean(&event.text)).into(),
            ])
        };
        let newest: Vec<Line> = snapshot.events.iter().rev().map(line).collect();
        Paragraph::new(newest)
            .block(Block::new().borders(Borders::TOP).title("─ events, newest first "))
            .render(area, buffer);
    }

    fn draw_help(self, area: Rect, buffer: &mut Buffer) {
        let height = HELP.lines().count() as u16 + 2;
        let [row] =
            Layout::vertical([Constraint::Max(height)]).flex(ratatui::layout::Flex::Center).areas(area);
        let [page] =
            Layout::horizontal([Constraint::Max(120)]).flex(ratatui::layout::Flex::Center).areas(row);
        Clear.render(page, buffer);
        Paragraph::new(HELP)
            .wrap(Wrap { trim: false })
            .block(Block::bordered().title(" help: any key closes it "))
            .render(page, buffer);
    }
}

/// What the snapshot tells beside the page.
fn told(snapshot: &Snapshot) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(clock) = &snapshot.clock {
        let speed = if clock.rate_ppm < 0.0 { "fast" } else { "slow" };
        let (rate, sigma) = (clock.rate_ppm.abs(), clock.rate_sigma_ppm);
        facts.push(("raw clock", format!("{rate:.3} ppm {speed} ± {sigma:.3}")));
        facts.push(("bound grows", format!("{:.1} ppm if unmeasured", clock.bound_growth_ppm)));
        if clock.leap != "none" {
            facts.push(("leap second", format!("{} announced", clean(&clock.leap))));
        }
    }
    let (traffic, progress) = (&snapshot.traffic, snapshot.warmup_progress);
    if progress < 1.0 {
        facts.push(("warm-up", format!("{:.0} %", progress * 100.0)));
    }
    facts.push((
        "answers",
        format!("{} of {}, {} stamps", traffic.answers, traffic.polls, clean(&traffic.stamps)),
    ));
    facts.extend(snapshot.temperature_celsius.map(|celsius| ("temperature", format!("{celsius:.1} °C"))));
    facts.push(("harm", format!("{} of {}", traffic.worse, traffic.compared)));
    let foretold = &snapshot.predictions;
    if foretold.counted > 0 {
        let share = foretold.covered_95 as f64 / foretold.counted as f64 * 100.0;
        facts.push(("coverage", format!("{share:.1} % of {} at 95 %", foretold.counted)));
    }
    facts
}

fn trusted(snapshot: &Snapshot) -> String {
    let trusted = snapshot.sources.iter().filter(|s| s.is_trusted()).count();
    format!("{trusted} of {} trusted", snapshot.sources.len())
}

/// The widest edge of a trusted source's interval, a little widened: the scale of the plots.
fn widest(snapshot: &Snapshot) -> f64 {
    let trusted = snapshot.sources.iter().filter(|s| s.is_trusted()).filter_map(|s| s.bound.as_ref());
    let edges = trusted.flat_map(|b| [b.earliest_ns, b.latest_ns]);
    edges.map(|edge| edge as f64).fold(1.0, |widest, edge| edge.abs().max(widest)) * 1.1
}

fn verdict(source: &SourceView, ink: Ink) -> Style {
    match source.verdict.as_str() {
        "trusted" => ink.good(),
        "falseticker" => ink.bad(),
        _ => ink.warning(),
    }
}

fn cell(column: Column, source: &SourceView, ink: Ink) -> Cell<'static> {
    let text = Line::from(column.text(source));
    let style = match column {
        Column::Name | Column::Verdict => verdict(source, ink),
        _ => Style::new(),
    };
    Cell::from(if column.is_number() { text.alignment(Alignment::Right) } else { text }).style(style)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::snapshot::{BoundView, ClockView, EdgeView, HorizonView};
    use chronotick_clock::{Assumption, Levels, NarrowBound, RawInstant, Reading, Reason, Timestamp};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use std::sync::Arc;

    pub(in crate::watch) fn bound(earliest_ns: i64, latest_ns: i64) -> BoundView {
        let edge = EdgeView {
            age_seconds: 1.0,
            half_delay_ns: 1,
            half_root_delay_ns: 2,
            root_dispersion_ns: 3,
            ageing_ns: 4,
        };
        BoundView { earliest_ns, latest_ns, low: edge.clone(), high: edge }
    }

    pub(in crate::watch) fn source(server: &str, verdict: &str, offset_ns: Option<i64>) -> SourceView {
        SourceView {
            server: server.into(),
            address: format!("{server}:123"),
            verdict: verdict.into(),
            best: false,
            stratum: Some(1),
            reference: "GPS".into(),
            poll_seconds: 1.0,
            reach: 0o377,
            last_answer_seconds: Some(0.4),
            offset_ns,
            delay_ns: Some(1_500_000),
            root_delay_ns: Some(0),
            root_dispersion_ns: Some(1_000),
            stamps: Some("kernel".into()),
            sent: 100,
            answers: 99,
            bound: offset_ns.map(|offset| bound(offset - 750_000, offset + 750_000)),
            ..SourceView::default()
        }
    }

    fn model(member: &str, state: &str, weight: f64) -> ModelView {
        let horizon =
            HorizonView { horizon_seconds: 60.0, weight, skill: 0.123, error_ns: 1_000, stretches: 9 };
        ModelView {
            member: member.into(),
            model: "foresight".into(),
            family: None,
            state: state.into(),
            reason: None,
            standing: "better than the bank".into(),
            weight,
            correction_ns: 0,
            last_inference_seconds: None,
            inference_ms: None,
            busy_seconds: None,
            asked: 0,
            answered: 0,
            late: 0,
            cached: 0,
            put_off: 0,
            horizons: vec![horizon],
        }
    }

    fn snapshot() -> Snapshot {
        let event = |text: &str| EventView {
            time: "2026-11-21T09:00:00.123456789Z".into(),
            utc_ns: 0,
            kind: "state".into(),
            source: None,
            text: text.into(),
        };
        Snapshot {
            peers: Vec::new(),
            server: None,
            version: "1.2.3".into(),
            pid: 42,
            simulation: false,
            raw_ns: 0,
            written: String::new(),
            uptime_seconds: 61.0,
            warmup_progress: 1.0,
            warmup_seconds: 60.0,
            state: "synced".into(),
            reason: "a majority of the sources agrees".into(),
            source: "fusion".into(),
            clock: Some(ClockView {
                system_ns: 0,
                system_offset_ns: 37_000_000,
                rate_ppm: 20.125,
                rate_sigma_ppm: 0.05,
                sigma_ns: 10_000,
                early_ns: 1,
                late_ns: 2,
                bound_growth_ppm: 15.0,
                rms_offset_ns: 1_000,
                leap: "none".into(),
                last_measurement_seconds: Some(0.4),
            }),
            traffic: crate::snapshot::Traffic {
                polls: 100,
                answers: 99,
                compared: 50,
                worse: 1,
                stamps: "kernel".into(),
                ..Default::default()
            },
            predictions: crate::snapshot::PredictionsView {
                counted: 200,
                covered_95: 191,
                ..Default::default()
            },
            sources: vec![
                source("a.example", "trusted", Some(-20_000)),
                source("b.example", "falseticker", None),
            ],
            models: vec![model("long_term", "ready", 0.5), model("short_term", "off", 0.0)],
            unresolved: vec!["lost.example: no such name".into()],
            events: vec![event("warmup -> synced: a majority of the sources agrees")],
            memory_bytes: 0,
            temperature_celsius: Some(46.5),
        }
    }

    /// A look at a machine that is 37 ms behind, so long after it was started.
    pub(in crate::watch) fn look(since: Span) -> Look {
        let estimate = Timestamp::from_nanos(1_795_252_800_000_000_000) + since;
        let narrow = NarrowBound {
            earliest: estimate - Span::from_micros(50),
            latest: estimate + Span::from_micros(60),
            assumes: Assumption::symmetry_within(10).unwrap(),
        };
        Look {
            raw: RawInstant::from_nanos(0) + since,
            reading: Reading {
                earliest: estimate - Span::from_micros(700),
                latest: estimate + Span::from_micros(800),
                narrow: Some(narrow),
                estimate,
                sigma: Span::from_micros(10),
                levels: Levels::NORMAL,
                state: State::Synced,
                reason: Reason::Agreement,
            },
            system: estimate - Span::from_millis(37),
            simulated: false,
            status: Ok(Arc::new(snapshot())),
            silent: None,
        }
    }

    /// The screen of a terminal of that size, as lines.
    fn screen(look: &Look, view: &View, width: u16, height: u16) -> String {
        let mut past = Past::default();
        for second in 0..30 {
            past.remember(&Look { raw: look.raw - Span::from_secs(30 - second), ..look.clone() });
        }
        past.remember(look);
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal
            .draw(|frame| Picture::new(look, &past, view).draw(frame.area(), frame.buffer_mut()))
            .unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn the_state_and_its_numbers_are_seen_at_a_glance() {
        let screen = screen(&look(Span::from_secs(3)), &View::default(), 130, 40);
        for expected in [
            "ChronoTick 1.2.3 · process 42 · up 1 min 1 s",
            "SYNCED  a majority of the sources agrees",
            "2026-11-21T",
            "-700.000 µs +800.000 µs",
            "±19.600 µs",
            "37.000 ms behind",
            "-50.0 µs +60.0 µs (1 %)",
            "20.125 ppm slow ± 0.050",
            "46.5 °C",
            "1 of 50",
            "sources: 1 of 2 trusted",
            "^+ a.example:123",
            "^x b.example:123",
            "^? lost.example: no such name",
            "long_term foresight",
            "weight 0.50 █████",
            "skill +0.123 at   60 s",
            "off: short_term",
            "made of: fusion",
            "2026-11-21T09:00:00  warmup -> synced",
            "how wrong it may be",
            "q quit",
        ] {
            assert!(screen.contains(expected), "{expected} is missing:\n{screen}");
        }
    }

    #[test]
    fn every_size_has_a_picture_and_the_state_is_never_cut_first() {
        let look = look(Span::from_secs(3));
        for (width, height) in [(1, 1), (2, 3), (20, 5), (40, 12), (79, 24), (80, 24), (200, 60), (400, 10)] {
            for help in [false, true] {
                screen(&look, &View { help, ..View::default() }, width, height);
            }
        }
        let small = screen(&look, &View::default(), 80, 24);
        for expected in [
            "SYNCED",
            "-700.000 µs +800.000 µs",
            "a.example",
            "b.example",
            "long_term",
            "warmup ->",
            "offset",
        ] {
            assert!(small.contains(expected), "{expected} is missing:\n{small}");
        }
        assert!(screen(&look, &View::default(), 20, 5).contains("SYNCED"));
    }

    #[test]
    fn a_simulation_is_labelled_at_every_size() {
        let mut look = look(Span::from_secs(3));
        look.simulated = true;
        for (width, height) in [(24, 3), (80, 24), (200, 60)] {
            assert!(
                screen(&look, &View::default(), width, height).contains("SIMULATION"),
                "{width}x{height}"
            );
        }
        assert!(Picture::new(&look, &Past::default(), &View::default()).as_text(80).contains("SIMULATION"));
    }

    #[test]
    fn old_data_says_so() {
        let mut look = look(Span::from_secs(3));
        look.silent = Some(Span::from_secs(75));
        look.reading.state = State::Holdover;
        look.reading.reason = Reason::PublisherSilent;
        let screen = screen(&look, &View::default(), 120, 30);
        assert!(screen.contains("OLD DATA: the daemon has published nothing for 1 min 15 s"), "{screen}");
        assert!(screen.contains("HOLDOVER  the daemon has stopped publishing"), "{screen}");
    }

    #[test]
    fn nothing_known_is_said_and_a_missing_status_as_well() {
        let mut look = look(Span::from_secs(3));
        (look.reading.earliest, look.reading.latest) =
            (Timestamp::from_nanos(i64::MIN), Timestamp::from_nanos(i64::MAX));
        (look.reading.state, look.status) = (State::Warmup, Err("no status: \u{1b}[31mred".into()));
        let screen = screen(&look, &View::default(), 100, 24);
        assert!(screen.contains("not known yet") && screen.contains("NO STATUS"), "{screen}");
        assert!(screen.contains("\\u{1b}[31mred"), "{screen}");
    }

    #[test]
    fn foreign_text_is_shown_as_text() {
        let mut look = look(Span::from_secs(3));
        let mut hostile = snapshot();
        let attack = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}";
        hostile.sources[0].server = attack.into();
        hostile.events[0].text = attack.into();
        hostile.models[0].standing = attack.into();
        hostile.unresolved = vec![attack.into()];
        look.status = Ok(Arc::new(hostile));
        let view = View::default();
        for shown in
            [screen(&look, &view, 200, 50), Picture::new(&look, &Past::default(), &view).as_text(200)]
        {
            assert!(!shown.replace('\n', "").chars().any(|c| c.is_control() || c == '\u{202e}'), "{shown:?}");
            assert_eq!(shown.matches("\\u{1b}]0;owned").count(), 4, "{shown}");
        }
    }

    #[test]
    fn the_help_names_every_key_in_an_ordinary_terminal() {
        let help = screen(&look(Span::ZERO), &View { help: true, ..View::default() }, 80, 24);
        for expected in ["q, Esc", "1 … 9", "Ctrl-Z", "skill", "The history begins"] {
            assert!(help.contains(expected), "{expected} is missing:\n{help}");
        }
    }

    #[test]
    fn without_colours_nothing_is_coloured() {
        let look = look(Span::from_secs(3));
        let coloured = |ink: Ink| {
            let view = View { ink, ..View::default() };
            let mut buffer = Buffer::empty(Rect::new(0, 0, 120, 40));
            Picture::new(&look, &Past::default(), &view).draw(buffer.area, &mut buffer);
            buffer.content.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
        };
        assert!(coloured(Ink { coloured: true }) && !coloured(Ink { coloured: false }));
    }
}
