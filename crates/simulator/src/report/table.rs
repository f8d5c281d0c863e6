//! A plain table for each scenario.

use std::fmt::Write;

use crate::{
    bound::Bound,
    experiment::{PolicyResult, Results, ScenarioResult},
    statistics::Estimate,
};

/// A column: its heading, and what stands in it.
struct Column {
    heading: String,
    cell: Box<Cell>,
}

/// What stands in a policy's cell, where this is the limit.
type Cell = dyn Fn(&PolicyResult, Option<&Bound>) -> String;

/// The results as plain text, one table for each scenario. `±` is half a confidence interval of 95 %.
pub fn table(results: &Results) -> String {
    let tables = results.scenarios.iter().map(|scenario| scenario_table(results, scenario));
    tables.collect::<Vec<_>>().join("\n")
}

fn column(heading: impl Into<String>, cell: impl Fn(&PolicyResult, Option<&Bound>) -> String + 'static) -> Column {
    Column { heading: heading.into(), cell: Box::new(cell) }
}

fn columns(results: &Results) -> Vec<Column> {
    let mut columns = vec![
        column("ok %", |policy, _| measured(policy.summary.ok_percent, 2)),
        column("SLO %", |policy, _| measured(policy.summary.slo_percent, 2)),
        column("of limit", |policy, bound| {
            let reached = |bound: &Bound| 100.0 * policy.summary.slo_percent.mean / bound.slo_percent;
            bound.map_or_else(String::new, |bound| format!("{:.1} %", reached(bound)))
        }),
        column("$/1M", |policy, _| measured(policy.summary.usd_per_million, 4)),
        column("ttft p50", |policy, _| plain(policy.summary.ttft_p50.mean, 2)),
        column("p95", |policy, _| measured(policy.summary.ttft_p95, 2)),
        column("p99", |policy, _| plain(policy.summary.ttft_p99.mean, 2)),
        column("p95 of all", |policy, _| measured(policy.summary.ttft_p95_of_all, 2)),
        column("end p95", |policy, _| plain(policy.summary.end_p95.mean, 2)),
    ];
    for (number, id) in results.upstreams.iter().enumerate() {
        columns.push(column(format!("{id} %"), move |policy, _| measured(policy.summary.share_percent[number], 1)));
    }
    columns.extend([
        column("waste %", |policy, _| plain(policy.summary.waste_percent.mean, 2)),
        column("GPU $", |policy, _| plain(policy.summary.gpu_usd.mean, 2)),
        column("429s", |policy, _| plain(policy.summary.rate_limited.mean, 0)),
        column("attempts", |policy, _| plain(policy.summary.attempts_per_request.mean, 2)),
    ]);
    columns
}

fn plain(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { "never".to_owned() }
}

fn measured(estimate: Estimate, digits: usize) -> String {
    let mean = plain(estimate.mean, digits);
    if estimate.half_width > 0.0 { format!("{mean} ±{:.digits$}", estimate.half_width) } else { mean }
}

/// What stands in a scenario's table: the headings, then a row for each policy.
pub(super) fn cells(results: &Results, scenario: &ScenarioResult) -> Vec<Vec<String>> {
    let columns = columns(results);
    let headings = columns.iter().map(|column| column.heading.clone());
    let mut rows = vec![["policy".to_owned()].into_iter().chain(headings).collect()];
    for policy in &scenario.policies {
        let cells = columns.iter().map(|column| (column.cell)(policy, scenario.bound.as_ref()));
        rows.push([policy.policy.clone()].into_iter().chain(cells).collect());
    }
    rows
}

fn scenario_table(results: &Results, scenario: &ScenarioResult) -> String {
    let requests = scenario.policies.first().map_or(0.0, |policy| policy.summary.requests.mean);
    let mut text = format!("{} / {}: {requests:.0} requests\n", results.trace, scenario.scenario);
    if let Some(bound) = &scenario.bound {
        let _ = writeln!(text, "{}", limit(bound));
    }
    if let Some(reason) = &scenario.no_bound {
        let _ = writeln!(text, "{reason}");
    }
    let rows = cells(results, scenario);
    let width = |number: usize| rows.iter().map(|row| row[number].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    for row in &rows {
        for (number, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if number == 0 { write!(text, "{cell:width$}") } else { write!(text, "  {cell:>width$}") };
        }
        text.push('\n');
    }
    text
}

/// What no router can pass, in a line.
fn limit(bound: &Bound) -> String {
    let mut text = format!("limit: SLO {:.2} %, $/1M {:.4}", bound.slo_percent, bound.cheapest.usd_per_million);
    if let Some(within) = &bound.within_share {
        let _ = write!(text, ", within the share {:.4}", within.usd_per_million);
    }
    text
}

#[cfg(test)]
mod tests;
