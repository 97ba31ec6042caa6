//! A metric and its samples.

/// What kind of number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only goes up, from zero at the daemon's start. Its family's name ends in `_total`.
    Counter,
}

/// One value and its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Name and value of each label.
    pub labels: Vec<(&'static str, String)>,
    /// In the family's unit.
    pub value: f64,
}

/// One metric: all its samples mean the same in the same unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// With the unit at its end, before a counter's `_total`.
    pub name: &'static str,
    /// In one sentence.
    pub help: &'static str,
    /// Gauge or counter.
    pub kind: Kind,
    /// None where nothing is known: nothing is never shown as zero.
    pub samples: Vec<Sample>,
}

impl Family {
    /// A gauge without samples.
    pub fn gauge(name: &'static str, help: &'static str) -> Family {
        Family { name, help, kind: Kind::Gauge, samples: Vec::new() }
    }

    /// A counter without samples.
    pub fn counter(name: &'static str, help: &'static str) -> Family {
        Family { name, help, kind: Kind::Counter, samples: Vec::new() }
    }

    /// With a value that has no labels, if it is known.
    #[must_use]
    pub fn is(self, value: impl Into<Option<f64>>) -> Family {
        self.at(&[], value)
    }

    /// With a value that has these labels, if it is known.
    #[must_use]
    pub fn at(mut self, labels: &[(&'static str, &str)], value: impl Into<Option<f64>>) -> Family {
        self.add(labels, value);
        self
    }

    /// Adds a value with these labels, if it is known.
    pub fn add(&mut self, labels: &[(&'static str, &str)], value: impl Into<Option<f64>>) {
        if let Some(value) = value.into() {
            let labels = labels.iter().map(|&(name, text)| (name, text.to_owned())).collect();
            self.samples.push(Sample { labels, value });
        }
    }

    /// The unit that the name ends in, by OpenMetrics; empty where there is none.
    pub fn unit(&self) -> &'static str {
        let base = self.name.strip_suffix("_total").unwrap_or(self.name);
        ["seconds", "bytes", "ratio", "celsius"]
            .into_iter()
            .find(|unit| base.ends_with(&format!("_{unit}")))
            .unwrap_or("")
    }
}
