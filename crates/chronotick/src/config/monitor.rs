//! The settings of the monitor (`monitor`): how the clock is judged, when an alert is raised, and who is told.

use super::finding::Problem;
use super::read::{Shown, count, excerpt, file, seconds, switch, text, word};
use super::settings::{Setting, setting};
use super::yaml::Node;
use chronotick_clock::Span;
use chronotick_monitor::{Hysteresis, Metric, Profile};
use serde_json::Value;
use std::path::PathBuf;

/// The monitor (`monitor`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitoring {
    /// Whether the daemon judges its clock at all.
    pub enabled: bool,
    /// What is expected of the clock.
    pub profile: ProfileName,
    /// What its levels are judged by.
    pub metric: MetricName,
    /// Where alerts begin, instead of the profile's.
    pub alert_above: Option<Span>,
    /// The limit of reports and attestations, instead of the profile's.
    pub limit: Option<Span>,
    /// Fewer agreeing sources are a warning, and no quorum for a correction.
    pub min_agreeing_sources: u32,
    /// From one look at the clock to the next.
    pub interval: Span,
    /// So many looks in a row raise an alert.
    pub raise_after: u32,
    /// So many clear it.
    pub clear_after: u32,
    /// At or below so many percent of the alert limit.
    pub clear_percent: u32,
    /// Where events are posted.
    pub webhook: Option<String>,
    /// The file with the key that they are signed with.
    pub webhook_secret_file: Option<PathBuf>,
    /// The program that is run for each event.
    pub command: Option<PathBuf>,
}

super::words! {
    /// A profile, by name.
    ProfileName {
        /// Edges wherever two older systems had limits.
        Default = "default",
        /// Those of a shooting range's timers.
        LeadVille = "leadville",
        /// Those of a market data service.
        IbStream = "ib-stream",
        /// For a limit of 1 ms.
        Millisecond = "1ms",
        /// For a limit of 100 µs.
        Microseconds = "us",
    }
}
super::words! {
    /// What levels are judged by.
    MetricName {
        /// The furthest that the clock can be from true time.
        Bound = "bound",
        /// The distance to the estimate.
        Offset = "offset",
    }
}

impl Default for Monitoring {
    fn default() -> Monitoring {
        let Hysteresis { raise_after, clear_after, clear_percent } = Hysteresis::default();
        Monitoring {
            enabled: true,
            profile: ProfileName::Default,
            metric: MetricName::Bound,
            alert_above: None,
            limit: None,
            min_agreeing_sources: 2,
            interval: Span::from_secs(10),
            raise_after,
            clear_after,
            clear_percent,
            webhook: None,
            webhook_secret_file: None,
            command: None,
        }
    }
}

impl Monitoring {
    /// What is expected of the clock, all settings taken together.
    pub fn profile(&self) -> Profile {
        self.applied(Profile::named(&self.profile.to_string()).expect("every word names a profile"))
    }

    /// The same for another profile: what is set beside its name holds for it, too.
    pub fn applied(&self, profile: Profile) -> Profile {
        Profile {
            metric: match self.metric {
                MetricName::Bound => Metric::Bound,
                MetricName::Offset => Metric::Offset,
            },
            alert: self.alert_above.unwrap_or(profile.alert),
            limit: self.limit.unwrap_or(profile.limit),
            min_agreeing: self.min_agreeing_sources,
            ..profile
        }
    }

    /// When alerts are raised and cleared.
    pub fn hysteresis(&self) -> Hysteresis {
        let Monitoring { raise_after, clear_after, clear_percent, .. } = *self;
        Hysteresis { raise_after, clear_after, clear_percent }
    }
}

const SECOND: Span = Span::from_secs(1);

pub(super) static SETTINGS: [Setting; 13] = [
    setting!(
        "monitor.enabled",
        None,
        monitor.enabled,
        switch,
        "Whether the daemon judges the system clock and tells whoever is named here."
    ),
    setting!(
        "monitor.profile",
        None,
        monitor.profile,
        word,
        "What is expected of the system clock: default, leadville, ib-stream, 1ms or us."
    ),
    setting!(
        "monitor.metric",
        None,
        monitor.metric,
        word,
        "What levels are judged by: bound, which includes what path and reference may be wrong, or offset."
    ),
    setting!(
        "monitor.alert_above",
        None,
        monitor.alert_above,
        limit,
        "An alert is raised beyond this many seconds; `profile` for the profile's."
    ),
    setting!(
        "monitor.limit",
        None,
        monitor.limit,
        limit,
        "The limit, in seconds, that reports and attestations are about; `profile` for the profile's."
    ),
    setting!(
        "monitor.min_agreeing_sources",
        None,
        monitor.min_agreeing_sources,
        |node| count(node, 1..=64),
        "Fewer agreeing sources are a warning, and no quorum for a correction."
    ),
    setting!(
        "monitor.interval",
        None,
        monitor.interval,
        |node| seconds(node, SECOND..=Span::from_secs(300)),
        "Seconds from one look at the clock to the next."
    ),
    setting!(
        "monitor.raise_after",
        None,
        monitor.raise_after,
        |node| count(node, 1..=1_000),
        "So many looks in a row beyond the limit raise an alert."
    ),
    setting!(
        "monitor.clear_after",
        None,
        monitor.clear_after,
        |node| count(node, 1..=1_000),
        "So many looks in a row well within it clear the alert."
    ),
    setting!(
        "monitor.clear_percent",
        None,
        monitor.clear_percent,
        |node| count(node, 1..=100),
        "Well within is at most so many percent of the alert limit."
    ),
    setting!(
        "monitor.webhook",
        None,
        monitor.webhook,
        url,
        "Where alerts and other events are posted as JSON: an http:// or https:// address, or off."
    ),
    setting!(
        "monitor.webhook_secret_file",
        None,
        monitor.webhook_secret_file,
        file,
        "The file with the key for the HMAC-SHA256 signature of what is posted."
    ),
    setting!(
        "monitor.command_file",
        None,
        monitor.command,
        file,
        "The program that is run for each event, which it finds as JSON on its standard input."
    ),
];

fn limit(node: &Node) -> Result<Option<Span>, Problem> {
    match text(node, "a number of seconds, or profile")? {
        "profile" => Ok(None),
        _ => seconds(node, Span::from_nanos(1_000)..=Span::from_secs(86_400)).map(Some),
    }
}

fn url(node: &Node) -> Result<Option<String>, Problem> {
    const WANTED: &str = "off, or an address that begins with http:// or https://";
    match text(node, WANTED)? {
        "off" | "false" | "no" => Ok(None),
        url if url.starts_with("http://") || url.starts_with("https://") => Ok(Some(url.to_owned())),
        other => Err(Problem::WrongKind { found: format!("{:?}", excerpt(other)), wanted: WANTED }),
    }
}

impl Shown for Option<Span> {
    fn shown(&self) -> Value {
        self.map_or_else(|| "profile".into(), |span| span.shown())
    }
}

impl Shown for Option<String> {
    fn shown(&self) -> Value {
        self.as_deref().unwrap_or("off").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chronotick_monitor::Level;

    #[test]
    fn every_word_is_a_profile_and_settings_change_it() {
        let monitoring = Monitoring {
            profile: ProfileName::Millisecond,
            alert_above: Some(Span::from_micros(7)),
            metric: MetricName::Offset,
            ..Monitoring::default()
        };
        let profile = monitoring.profile();
        assert_eq!((profile.name.as_str(), profile.alert), ("1ms", Span::from_micros(7)));
        assert_eq!((profile.metric, profile.limit), (Metric::Offset, Span::from_millis(1)));
        assert_eq!(profile.level(Span::from_micros(999)), Level::Poor);
        for name in Profile::NAMES {
            let named: ProfileName = word(&Node::text(name)).unwrap();
            assert_eq!(Monitoring { profile: named, ..Monitoring::default() }.profile().name, name);
        }
    }

    #[test]
    fn what_is_off_is_off_and_nonsense_is_refused() {
        let node = Node::text;
        assert_eq!(
            (limit(&node("profile")), limit(&node("0.02"))),
            (Ok(None), Ok(Some(Span::from_millis(20))))
        );
        assert_eq!((url(&node("off")), url(&node("ftp://x")).is_err()), (Ok(None), true));
    }
}
