//! The commented file that `config init` writes: every setting with its default, from the table of settings.

use super::read::in_words;
use super::{Config, settings};
use serde_json::Value;

const HEAD: &str = "\
# ChronoTick's configuration. Every setting is here with its default: what is left out keeps it.
# Lengths of time are in seconds. A flag wins over an environment variable (CHRONOTICK_…), that over this file.
# `chronotick config check` tries this file, `chronotick config show` shows what is in effect and why.
";

/// What a section is for, where its name does not say it.
const SECTIONS: &[(&str, &str)] = &[
    (
        "clock_measurement.timing.warm_up",
        "The poll interval adapts between the one of warm_up and that of normal_operation.",
    ),
    ("short_term", "The model that forecasts the next seconds."),
    (
        "long_term",
        "The model that forecasts the next minutes, which carries the clock when the sources are silent.",
    ),
    ("fusion", "How forecasts are put together."),
    ("audit", "The audit log (docs/history.md)."),
    ("correction", "Within which limits the system clock is corrected, if it is (docs/discipline.md)."),
    ("history", "What is kept of the past (docs/history.md)."),
    ("monitor", "How the system clock is judged and who is told (docs/monitor.md)."),
    ("http", "The HTTP server: API, metrics, health and web page (docs/http.md)."),
    ("mcp", "The door for agents (docs/mcp.md)."),
    ("otlp", "Metrics for an OpenTelemetry collector (docs/http.md)."),
    ("bus", "Readings for other nodes over a NATS server (docs/fleet.md)."),
    ("inference", "What the models may take of the machine."),
    ("serve.ntp", "NTP for other machines, with the bound as root distance."),
    ("serve.nts", "Network Time Security: for other machines that want proof."),
];

/// The text of a configuration file with every setting at its default; loads without a warning.
pub fn default_file() -> String {
    let defaults = Config::default();
    let mut text = String::from(HEAD);
    let mut open: Vec<&str> = Vec::new();
    for setting in settings::all() {
        let mut path: Vec<&str> = setting.key.split('.').collect();
        let name = path.pop().unwrap_or_default();
        let shared = open.iter().zip(&path).take_while(|(a, b)| a == b).count();
        if shared == 0 {
            text += "\n";
        }
        for (depth, section) in path.iter().enumerate().skip(shared) {
            let indent = "  ".repeat(depth);
            let here = path[..=depth].join(".");
            if let Some((_, doc)) = SECTIONS.iter().find(|(key, _)| *key == here) {
                text += &format!("{indent}# {doc}\n");
            }
            text += &format!("{indent}{section}:\n");
        }
        let indent = "  ".repeat(path.len());
        text += &format!("{indent}# {}\n", setting.doc);
        // What a directory is by default depends on who runs the program, and what is not there has no value.
        let unset = if name.ends_with("_dir") || name.ends_with("_file") { "# " } else { "" };
        text += &match (setting.get)(&defaults) {
            Value::Array(items) => {
                // Brackets begin a list in YAML, unless they are in quotes.
                let quoted =
                    |text: String| if text.starts_with(['[', ':']) { format!("\"{text}\"") } else { text };
                let item = |value: &Value| format!("{indent}  - {}\n", quoted(in_words(value)));
                format!("{indent}{name}:\n{}", items.iter().map(item).collect::<String>())
            }
            value => format!("{indent}{unset}{name}: {}\n", in_words(&value)),
        };
        open = path;
    }
    text
}
