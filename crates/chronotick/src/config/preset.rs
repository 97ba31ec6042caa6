//! Presets: sets of values for the settings of the models, below what a file, a variable or a flag sets.

use super::read::Word;
use std::fmt;

/// What the settings of the models are where they are not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// The statistical engine alone.
    Minimal,
    /// For minutes the model that comes with the program; Chronos-Bolt for seconds, on the processor.
    Embedded,
    /// Chronos-Bolt for seconds and for minutes, on the processor.
    CpuOnlyChronos,
    /// TimesFM for both, on an NVIDIA GPU.
    GpuOnlyTimesFm,
    /// Chronos-Bolt for seconds and TinyTimeMixer for minutes, on the processor.
    HybridChronosTtm,
    /// Chronos-Bolt for seconds on the processor; for minutes Chronos-2, which takes the machine's conditions, on an
    /// NVIDIA GPU.
    MultiDeviceFull,
}

impl Word for Preset {
    const WORDS: &'static [(&'static str, Preset)] = &[
        ("minimal", Preset::Minimal),
        ("embedded", Preset::Embedded),
        ("cpu_only_chronos", Preset::CpuOnlyChronos),
        ("gpu_only_timesfm", Preset::GpuOnlyTimesFm),
        ("hybrid_chronos_ttm", Preset::HybridChronosTtm),
        ("multi_device_full", Preset::MultiDeviceFull),
    ];
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl Preset {
    /// The settings that differ from the defaults, each as it is written in a file.
    pub(super) fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Preset::Minimal => &[
                ("short_term.enabled", "false"),
                ("long_term.enabled", "false"),
                ("covariates.enabled", "false"),
            ],
            Preset::Embedded => &[],
            Preset::CpuOnlyChronos => &[("long_term.model_name", "chronos")],
            Preset::GpuOnlyTimesFm => &[
                ("short_term.model_name", "timesfm"),
                ("short_term.device", "cuda"),
                ("long_term.model_name", "timesfm"),
                ("long_term.device", "cuda"),
            ],
            Preset::HybridChronosTtm => &[("long_term.model_name", "ttm")],
            Preset::MultiDeviceFull => {
                &[("long_term.model_name", "amazon/chronos-2"), ("long_term.device", "cuda")]
            }
        }
    }
}
