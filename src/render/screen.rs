//! Lines for people on standard output: what matters less is dim on a terminal, and the same text elsewhere.

use super::log::clean;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScreenLine {
    pub text: String,
    pub is_dim: bool,
}

impl ScreenLine {
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_dim: false }
    }

    pub fn dim(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_dim: true }
    }
}

/// As one text, each line without what controls a terminal or a runner.
pub fn printed(lines: &[ScreenLine], is_terminal: bool) -> String {
    let line = |line: &ScreenLine| match clean(&line.text).trim_end() {
        text if line.is_dim && is_terminal => format!("\u{1b}[2m{text}\u{1b}[0m\n"),
        text => format!("{text}\n"),
    };
    lines.iter().map(line).collect()
}

/// Columns as wide as their widest cell, two spaces apart.
pub(super) fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|at| width(at).unwrap_or_default()).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// `41s`, `12m`, `3h`, `5d`.
pub fn age(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_and_a_unit() {
        let ages = [0.4, 119.0, 120.0, 7_199.0, 7_200.0, 172_799.0, 172_800.0, -3.0].map(age);
        assert_eq!(ages, ["0s", "119s", "2m", "119m", "2h", "47h", "2d", "0s"]);
    }

    #[test]
    fn a_line_is_dim_on_a_terminal_only_and_never_controls_it() {
        let lines = [ScreenLine::plain("a\u{1b}[31mb"), ScreenLine::dim("::error::x")];
        assert_eq!(printed(&lines, false), "ab\n: :error::x\n");
        assert_eq!(printed(&lines, true), "ab\n\u{1b}[2m: :error::x\u{1b}[0m\n");
    }
}
