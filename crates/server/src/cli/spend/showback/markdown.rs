//! The page as Markdown.

use std::fmt::Write as _;

use super::{Grid, NOTES, Page, summary};
use crate::cli::spend::{Figure, figures::NONE};

/// Signs of the longest bar.
const LONGEST: u64 = 40;

pub(super) fn page(page: &Page) -> String {
    let mut text = format!("# Spend of {}\n\n{}\n\n| | |\n|---|---:|\n", page.team, page.days);
    for (caption, figure) in summary(&page.total) {
        let _ = writeln!(text, "| {caption} | {figure} |");
    }
    for (caption, grid) in page.tables() {
        let _ = write!(text, "\n## {caption}\n\n{}", table(grid));
    }
    text.push_str("\n## Cost by day\n\n| Day | | USD |\n|---|---|---:|\n");
    let most = page.daily.iter().map(|(_, cost)| *cost).max().unwrap_or_default();
    for (day, cost) in &page.daily {
        let signs = (cost * LONGEST).checked_div(most).unwrap_or_default();
        let bar = "█".repeat(usize::try_from(signs).unwrap_or_default());
        let _ = writeln!(text, "| {day} | {bar} | {} |", Figure::usd(*cost).text());
    }
    let _ = write!(text, "\n{NOTES}\n");
    text
}

fn table(grid: &Grid) -> String {
    let line = |cells: Vec<String>| {
        let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let names = grid.labels.len();
    let rule = (0..names + grid.columns.len()).map(|nth| if nth < names { "---" } else { "---:" }).collect::<Vec<_>>();
    let head = line(grid.header().iter().map(|name| name.replace('_', " ")).collect());
    let rows: String = grid.lines(NONE).into_iter().map(line).collect();
    format!("{head}|{}|\n{rows}", rule.join("|"))
}
