//! Rows of figures as a table, CSV or JSON.

use clap::ValueEnum;
use provider::NanoUsd;
use serde_json::{Map, Value};

use super::period::Days;
use crate::cli::note;

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Table,
    /// For spreadsheets.
    Csv,
    /// For programs.
    Json,
}

/// A figure. Amounts are in nano-dollars and may be negative.
#[derive(Clone)]
pub(super) enum Figure {
    Count(u64),
    Usd(i128),
    Percent(Option<f64>),
    Text(String),
    /// Nobody knows it.
    Unknown,
}

impl Figure {
    pub(super) fn usd(nano: u64) -> Self {
        Self::Usd(nano.into())
    }

    /// An amount, if it is known.
    pub(super) fn usd_if(nano: Option<u64>) -> Self {
        nano.map_or(Self::Unknown, Self::usd)
    }

    /// A number, if it is known.
    pub(super) fn count_if(count: Option<u64>) -> Self {
        count.map_or(Self::Unknown, Self::Count)
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Count(count) => count.to_string(),
            Self::Usd(nano) => {
                let nano = *nano;
                let amount = NanoUsd(u64::try_from(nano.unsigned_abs()).unwrap_or(u64::MAX));
                format!("{}{amount}", if nano < 0 { "-" } else { "" })
            }
            Self::Percent(Some(percent)) => format!("{percent:.1}"),
            Self::Text(text) => text.clone(),
            Self::Percent(None) | Self::Unknown => String::new(),
        }
    }

    /// Amounts as text: a JSON number would lose nano-dollars in programs that read it as a double.
    fn value(&self) -> Value {
        match self {
            Self::Count(count) => (*count).into(),
            Self::Usd(_) | Self::Text(_) => self.text().into(),
            Self::Unknown => Value::Null,
            Self::Percent(percent) => percent.map_or(Value::Null, |percent| ((percent * 10.0).round() / 10.0).into()),
        }
    }
}

/// What stands for a label that there is none of, where people read it.
pub(super) const NONE: &str = "(none)";

/// Rows of figures.
pub(super) struct Grid {
    /// The names of the first columns, which tell the rows apart.
    pub(super) labels: Vec<String>,
    /// The names of the others.
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<(Vec<Option<String>>, Vec<Figure>)>,
    /// A last line.
    pub(super) total: Option<Vec<Figure>>,
    /// What to know about the figures: people read it on standard error, programs in JSON.
    pub(super) notes: Vec<String>,
}

impl Format {
    /// The rows, which are of these days.
    pub(super) fn text(self, days: Days, grid: &Grid) -> String {
        match self {
            Self::Table => format!("{days}\n{}", grid.table()),
            Self::Csv => grid.csv(),
            Self::Json => format!("{:#}", grid.document(days)),
        }
    }

    /// The one of this name.
    ///
    /// # Errors
    /// With the names that there are.
    pub(super) fn of(name: &str) -> Result<Self, String> {
        Self::from_str(name, false).map_err(|_| "json, csv or table".to_owned())
    }
}

impl Grid {
    pub(super) fn header(&self) -> Vec<String> {
        self.labels.iter().cloned().chain(self.columns.iter().map(|name| (*name).to_owned())).collect()
    }

    pub(super) fn lines(&self, none: &str) -> Vec<Vec<String>> {
        let row = |(labels, figures): &(Vec<Option<String>>, Vec<Figure>)| {
            let labels = labels.iter().map(|label| label.clone().unwrap_or_else(|| none.to_owned()));
            labels.chain(figures.iter().map(Figure::text)).collect()
        };
        self.rows.iter().map(row).collect()
    }

    /// Straight columns, names to the left and figures to the right.
    pub(super) fn table(&self) -> String {
        if self.rows.is_empty() {
            return "no rows".to_owned();
        }
        let mut lines = vec![self.header()];
        lines.extend(self.lines(NONE));
        if let Some(total) = &self.total {
            let names = (0..self.labels.len()).map(|nth| if nth == 0 { "total".to_owned() } else { String::new() });
            lines.push(names.chain(total.iter().map(Figure::text)).collect());
        }
        let width = |nth: usize| lines.iter().map(|line| line[nth].chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
        let straight = |line: &Vec<String>| {
            let cells = line.iter().zip(&widths).enumerate().map(|(nth, (cell, &width))| {
                if nth < self.labels.len() || self.is_text(nth) {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        lines.iter().map(straight).collect::<Vec<_>>().join("\n")
    }

    /// Whether a column has texts.
    fn is_text(&self, column: usize) -> bool {
        let figure = |(labels, figures): &(Vec<_>, Vec<Figure>)| figures.get(column - labels.len()).cloned();
        matches!(self.rows.first().and_then(figure), Some(Figure::Text(_)))
    }

    /// Prints the notes.
    pub(super) fn say_notes(&self) {
        for text in &self.notes {
            note(text);
        }
    }

    /// A header and the rows, without a sum: whoever reads it would add that up as well.
    fn csv(&self) -> String {
        let texts: Vec<_> = (0..self.header().len()).map(|nth| nth < self.labels.len() || self.is_text(nth)).collect();
        let line = |line: Vec<String>| {
            line.into_iter().zip(&texts).map(|(cell, is_text)| if *is_text { plain(cell) } else { cell }).collect()
        };
        csv(std::iter::once(self.header()).chain(self.lines("").into_iter().map(line)))
    }

    fn document(&self, days: Days) -> Value {
        let row = |(labels, figures): &(Vec<Option<String>>, Vec<Figure>)| {
            let labels = self.labels.iter().zip(labels).map(|(name, label)| (name.clone(), label.clone().into()));
            let figures = self.columns.iter().zip(figures).map(|(name, figure)| ((*name).to_owned(), figure.value()));
            Value::Object(labels.chain(figures).collect::<Map<_, _>>())
        };
        serde_json::json!({
            "since": days.first.to_string(),
            "until": days.last.to_string(),
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}

/// Lines of CSV.
pub(super) fn csv(lines: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: Vec<String>| cells.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(",");
    lines.map(line).collect::<Vec<_>>().join("\n")
}

/// A text that no spreadsheet takes for a formula: an apostrophe says that it is none.
pub(super) fn plain(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text }
}

/// A field of CSV, as RFC 4180 has it.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_label_is_a_formula_in_a_spreadsheet_and_amounts_stay_numbers() {
        let labels = ["=1+1", "-x", "@a", "+b", "\tc", "search"];
        let row = |label: &str| (vec![Some(label.to_owned())], vec![Figure::Usd(-5), Figure::Text("-".to_owned())]);
        let grid = Grid {
            labels: vec!["tag:feature".to_owned()],
            columns: vec!["saved_usd", "state"],
            rows: labels.map(row).to_vec(),
            total: None,
            notes: Vec::new(),
        };
        let csv = grid.csv();
        let cells: Vec<_> = csv.lines().skip(1).map(|line| line.split_once(',').expect("cells")).collect();
        assert_eq!(
            cells.iter().map(|(label, _)| *label).collect::<Vec<_>>(),
            ["'=1+1", "'-x", "'@a", "'+b", "'\tc", "search"]
        );
        assert!(cells.iter().all(|(_, figures)| *figures == "-0.000000005,'-"), "{csv}");
    }
}
