//! What the engine can be told.

use crate::{Rate, Span};

/// The engine's settings; [`Default`] is what the daemon uses without a configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How long sources are polled at the shortest interval after the start. Default 180 s.
    pub warmup: Span,
    /// Shortest time between two polls of a source. Default 1 s.
    pub min_poll: Span,
    /// Longest time between two polls of a source. Default 10 s.
    pub max_poll: Span,
    /// How long the caller waits for an answer. Default 2 s.
    pub timeout: Span,
    /// Half-width of the bound beyond which the state is `unsynced`. Default 100 ms.
    pub max_bound: Span,
    /// How often the caller publishes: a solution left alone for four times as long is in holdover, for thirty times
    /// as long unsynced. Default 1 s.
    pub publish_interval: Span,
    /// Largest frequency error that the raw clock can have before it has been measured. Default 500 ppm, the
    /// largest that NTP provides for (RFC 5905 §11.3).
    pub frequency_tolerance: Rate,
    /// What the narrow bound takes for granted of the paths, unless the sources differ by more: how much of the fastest
    /// round trip one way may take longer than the other, in thousandths. Default 10; 0 for no narrow bound.
    pub asymmetry: u8,
    /// A [`Member`](crate::Member) whose forecasts turned out less certain than this, one standard deviation at the
    /// horizon in question, has no share in the answer. Zero leaves all of them out. Default 50 ms.
    pub forecast_threshold: Span,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            warmup: Span::from_secs(180),
            min_poll: Span::from_secs(1),
            max_poll: Span::from_secs(10),
            timeout: Span::from_secs(2),
            max_bound: Span::from_millis(100),
            publish_interval: Span::from_secs(1),
            frequency_tolerance: Rate::from_ppm(500.0),
            asymmetry: 10,
            forecast_threshold: Span::from_millis(50),
        }
    }
}
