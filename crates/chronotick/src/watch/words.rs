//! Numbers and foreign text as the terminal may show them.

/// Text from elsewhere, with everything that could command a terminal or reorder what is read written out as an escape.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || reorders(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

/// Characters without a picture of their own that change how others are shown (Unicode TR 36): marks of direction, line
/// and paragraph separators, zero-width joiners, the byte order mark, tags.
fn reorders(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// In three or four digits, for an axis or a narrow column: `980 ns`, `1.5 ms`, `12 s`.
pub(crate) fn short(ns: f64) -> String {
    let (scale, unit) = unit(ns);
    let digits = match ns.abs() / scale {
        v if unit == "ns" || v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    format!("{:.digits$} {unit}", ns / scale)
}

/// With its sign and as many digits as tell values apart that differ by a tenth of `range`.
pub(super) fn precise(ns: f64, range: f64) -> String {
    let (scale, unit) = unit(ns);
    let digits = (scale / range.max(1e-3) * 10.0).log10().ceil().clamp(0.0, 6.0) as usize;
    format!("{:+.digits$} {unit}", ns / scale)
}

fn unit(ns: f64) -> (f64, &'static str) {
    match ns.abs() {
        s if s < 1e3 => (1.0, "ns"),
        s if s < 1e6 => (1e3, "µs"),
        s if s < 1e9 => (1e6, "ms"),
        _ => (1e9, "s"),
    }
}

/// As [`short`], with its sign.
pub(super) fn short_signed(ns: f64) -> String {
    format!("{}{}", if ns < 0.0 { "" } else { "+" }, short(ns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_that_commands_a_terminal_gets_through(text in any::<String>()) {
            let shown = clean(&text);
            prop_assert!(!shown.chars().any(|c| c.is_control() || reorders(c)));
        }
    }

    #[test]
    fn foreign_text_stays_readable() {
        assert_eq!(clean("\u{1b}[2Jkiß\u{202e}RATE\n"), "\\u{1b}[2Jkiß\\u{202e}RATE\\u{a}");
    }

    #[test]
    fn labels_of_an_axis_differ() {
        assert_eq!([37e6, 37_000_400.0].map(|ns| precise(ns, 400.0)), ["+37.00000 ms", "+37.00040 ms"]);
        assert_eq!(precise(-3e9, 6e9), "-3.0 s");
    }

    #[test]
    fn short_spans_keep_three_digits() {
        let shown = [0.0, 980.4, -1_500.0, 23_208.0, 99_960_000.0, 1e9, 86_400e9].map(short);
        assert_eq!(shown, ["0 ns", "980 ns", "-1.50 µs", "23.2 µs", "100.0 ms", "1.00 s", "86400 s"]);
    }
}
