//! The page as HTML, with a plot of the days.

use std::fmt::Write as _;

use super::{Grid, NOTES, Page, summary};
use crate::cli::spend::{Figure, figures::NONE};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c1e21}\
    h1{font-size:1.5rem;margin-bottom:0}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}\
    th,td{padding:.25rem .5rem;text-align:right;border-bottom:1px solid #ddd;font-variant-numeric:tabular-nums}\
    th.name,td.name{text-align:left}.wide{overflow-x:auto}dl{display:flex;flex-wrap:wrap;gap:1rem 2rem}dt{color:#666}\
    dd{margin:0;font-size:1.15rem;font-variant-numeric:tabular-nums}rect{fill:#3b6fb6}text{font-size:11px;fill:#666}\
    p.notes{color:#666;font-size:.85rem}";

/// Width and height of the plot, and what its labels take below.
const PLOT: (f64, f64, f64) = (900.0, 180.0, 20.0);

pub(super) fn page(page: &Page) -> String {
    let team = escaped(&page.team);
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Spend of {team}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>Spend of {team}</h1>\n<p>{}</p>\n<dl>\n",
        page.days
    );
    for (caption, figure) in summary(&page.total) {
        let _ = writeln!(text, "<div><dt>{caption}</dt><dd>{figure}</dd></div>");
    }
    let _ = write!(text, "</dl>\n<h2>Cost by day</h2>\n{}\n", plot(&page.daily));
    for (caption, grid) in page.tables() {
        let _ = write!(text, "<h2>{caption}</h2>\n{}\n", table(grid));
    }
    let _ = write!(text, "<p class=\"notes\">{}</p>\n</body>\n</html>\n", escaped(NOTES));
    text
}

/// A bar for each day, as high as its cost; the figures show when it is pointed at, and the highest one stands above.
#[expect(clippy::cast_precision_loss, reason = "pixels")]
fn plot(daily: &[(String, u64)]) -> String {
    let (width, height, below) = PLOT;
    let most = daily.iter().map(|(_, cost)| *cost).max().unwrap_or_default();
    let step = width / daily.len().max(1) as f64;
    let mut text = format!(
        "<svg viewBox=\"0 0 {width} {}\" role=\"img\" aria-label=\"cost by day, at most ${}\">",
        height + below,
        Figure::usd(most).text()
    );
    for (nth, (day, cost)) in daily.iter().enumerate() {
        let bar = if most == 0 { 0.0 } else { *cost as f64 / most as f64 * (height - below) };
        let (left, top) = (step * nth as f64, height - bar);
        let cost = Figure::usd(*cost).text();
        let _ = write!(
            text,
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{bar:.1}\"><title>{day}: ${cost}</title></rect>",
            step * 0.8
        );
    }
    let ends = [daily.first().map(|(day, _)| ("start", 0.0, day)), daily.last().map(|(day, _)| ("end", width, day))];
    for (anchor, at, day) in ends.into_iter().flatten() {
        let _ = write!(text, "<text x=\"{at}\" y=\"{}\" text-anchor=\"{anchor}\">{day}</text>", height + below - 5.0);
    }
    let _ = write!(text, "<text x=\"0\" y=\"12\">at most ${} a day</text></svg>", Figure::usd(most).text());
    text
}

fn table(grid: &Grid) -> String {
    let names = grid.labels.len();
    let row = |cells: Vec<String>, tag: &str| {
        let cells = cells.iter().enumerate().map(|(nth, cell)| {
            let class = if nth < names { " class=\"name\"" } else { "" };
            format!("<{tag}{class}>{}</{tag}>", escaped(cell))
        });
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let head = grid.header().iter().map(|name| name.replace('_', " ")).collect();
    let rows: String = grid.lines(NONE).into_iter().map(|line| row(line, "td")).collect();
    format!("<div class=\"wide\"><table>\n{}{rows}</table></div>", row(head, "th"))
}

/// Text that is no markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
