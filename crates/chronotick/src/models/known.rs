//! The checkpoints that are known to work, as their publishers describe them.

use chronotick_tsfm::Family;

/// A published checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// What the configuration calls it; only one of each family has such a name.
    pub name: Option<&'static str>,
    /// Where it is on the hub: `OWNER/NAME`.
    pub repository: &'static str,
    /// What it is.
    pub family: Family,
    /// How many numbers it has learned, in thousands.
    pub kilo_parameters: u32,
    /// What has to be fetched, in millions of bytes.
    pub megabytes: u32,
    /// Its licence (SPDX), where its publisher has always given the same one.
    pub licence: Option<&'static str>,
}

/// The first is the default. Sizes and licences are those of the publishers' model cards.
pub const KNOWN: &[Known] = &[
    known("amazon/chronos-bolt-tiny", Family::ChronosBolt, 8_650, 35).named("chronos"),
    known("amazon/chronos-bolt-mini", Family::ChronosBolt, 21_200, 85),
    known("amazon/chronos-bolt-small", Family::ChronosBolt, 47_700, 191),
    known("amazon/chronos-bolt-base", Family::ChronosBolt, 205_000, 821),
    known("amazon/chronos-2", Family::Chronos2, 119_500, 478),
    known("autogluon/chronos-2-small", Family::Chronos2, 28_000, 112).see_card(),
    known("google/timesfm-2.5-200m-pytorch", Family::TimesFm25, 231_000, 925).named("timesfm"),
    known("google/timesfm-2.0-500m-pytorch", Family::TimesFm20, 500_000, 2_000),
    known("ibm-granite/granite-timeseries-ttm-r2", Family::Ttm, 805, 3).named("ttm"),
    known("ibm-granite/granite-timeseries-ttm-r1", Family::Ttm, 805, 3).see_card(),
    known("Datadog/Toto-Open-Base-1.0", Family::Toto, 151_306, 605).named("toto"),
    known("Maple728/TimeMoE-50M", Family::TimeMoe, 113_352, 227).named("time_moe"),
    known("Maple728/TimeMoE-200M", Family::TimeMoe, 453_197, 906),
];

const fn known(repository: &'static str, family: Family, kilo_parameters: u32, megabytes: u32) -> Known {
    Known { name: None, repository, family, kilo_parameters, megabytes, licence: Some("Apache-2.0") }
}

impl Known {
    const fn named(self, name: &'static str) -> Known {
        Known { name: Some(name), ..self }
    }

    const fn see_card(self) -> Known {
        Known { licence: None, ..self }
    }
}
