//! The log: lines on stderr, and on a terminal the warm-up's progress bar below them.

use crate::config::LogLevel;
use crate::snapshot::Snapshot;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use log::{LevelFilter, Log, Metadata, Record};
use std::io::IsTerminal;

/// Starts the log; the result shows the warm-up.
pub(super) fn start(level: LogLevel) -> WarmUp {
    let filter = match level {
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warning => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
        LogLevel::Trace => LevelFilter::Trace,
    };
    let bars = MultiProgress::new();
    let lines = env_logger::Builder::new().filter_level(filter).format_target(false).build();
    // A second start in one process, as tests do, keeps the first.
    if log::set_boxed_logger(Box::new(AboveBars { lines, bars: bars.clone() })).is_ok() {
        log::set_max_level(filter);
    }
    WarmUp { bars, bar: None, next_line: 0.0, done: false }
}

struct AboveBars {
    lines: env_logger::Logger,
    bars: MultiProgress,
}

impl Log for AboveBars {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.lines.enabled(metadata)
    }
    fn log(&self, record: &Record<'_>) {
        self.bars.suspend(|| self.lines.log(record));
    }
    fn flush(&self) {
        self.lines.flush();
    }
}

/// Shows the warm-up: a bar on a terminal, a line each 10 s elsewhere.
pub(super) struct WarmUp {
    bars: MultiProgress,
    bar: Option<ProgressBar>,
    next_line: f64,
    done: bool,
}

impl WarmUp {
    const LINE_EVERY: f64 = 10.0;

    pub(super) fn show(&mut self, snapshot: &Snapshot) {
        if self.done {
            return;
        }
        let remaining = (snapshot.warmup_seconds - snapshot.uptime_seconds).max(0.0);
        let now = summary(snapshot);
        if snapshot.warmup_progress >= 1.0 {
            if let Some(bar) = self.bar.take() {
                bar.finish_and_clear();
            }
            log::info!("warm-up complete; {now}");
            self.done = true;
        } else if std::io::stderr().is_terminal() {
            let bar = self.bar.get_or_insert_with(|| {
                let style = ProgressStyle::with_template("warm-up [{bar:30}] {percent:>3} %  {msg}");
                let style = style.expect("the template is a constant").progress_chars("=> ");
                self.bars.add(ProgressBar::new(1_000).with_style(style))
            });
            bar.set_position((snapshot.warmup_progress * 1e3) as u64);
            bar.set_message(format!("{remaining:.0} s left; {now}"));
        } else if snapshot.uptime_seconds >= self.next_line {
            let percent = snapshot.warmup_progress * 100.0;
            log::info!("warm-up {percent:.0} % complete, {remaining:.0} s remaining; {now}");
            self.next_line = snapshot.uptime_seconds + WarmUp::LINE_EVERY;
        }
    }
}

/// The clock in one line.
pub(super) fn summary(snapshot: &Snapshot) -> String {
    let trusted = snapshot.sources.iter().filter(|s| s.is_trusted()).count();
    let sources = format!("{trusted} of {} sources trusted", snapshot.sources.len());
    match &snapshot.clock {
        Some(clock) => {
            let bound = chronotick_clock::Span::from_nanos(clock.early_ns.max(clock.late_ns));
            let half = chronotick_clock::Span::from_nanos((clock.sigma_ns as f64 * 1.96) as i64);
            format!("{}, bound ±{bound}, 95 % ±{half}, {sources}", snapshot.state)
        }
        None => format!("{}, {sources}", snapshot.state),
    }
}
