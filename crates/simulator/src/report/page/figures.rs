//! The three figures of a scenario.

use std::fmt::Write;

use super::{
    Appearance, PolicyResult,
    chart::{Axis, Chart},
    escaped,
};
use crate::bound::Bound;

/// A policy and how it looks.
type Shown<'a> = (&'a PolicyResult, &'a Appearance);

/// Dollars against requests within the SLO: up and to the left is better, and no policy is beyond the limit.
pub(super) fn cost_against_slo(shown: &[Shown<'_>], bound: Option<&Bound>) -> String {
    let costs = shown.iter().map(|(policy, _)| policy.summary.usd_per_million.mean);
    let slos = shown.iter().map(|(policy, _)| policy.summary.slo_percent.mean);
    let limit = bound.map(|bound| (bound.cheapest.usd_per_million, bound.slo_percent));
    let x = Axis::around(costs.chain(limit.map(|limit| limit.0)), f64::INFINITY, "$ per million tokens");
    let y = Axis::around(slos.chain(limit.map(|limit| limit.1)), 100.5, "requests within the SLO, %");
    let mut chart = Chart::new(x, y);
    if let Some((cost, slo)) = limit {
        let ((_, y), (right, _), (left, top)) = (chart.at(cost, slo), chart.at(f64::MAX, slo), chart.at(0.0, f64::MAX));
        chart.add(&format!(
            "<rect class=\"beyond\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\
             <path class=\"limit\" d=\"M{left:.1} {y:.1}L{right:.1} {y:.1}\"/>",
            right - left,
            y - top,
        ));
        chart.add(&diamond(&chart, (cost, slo), "none", "the limit"));
    }
    if let Some((bound, within)) = bound.and_then(|bound| Some((bound, bound.within_share.as_ref()?))) {
        let at = (within.usd_per_million, bound.slo_percent);
        chart.add(&diamond(&chart, at, "currentColor", "the limit within the share"));
    }
    for (policy, look) in shown {
        let dot = dot(&chart, policy, look);
        chart.add(&dot);
    }
    chart.figure(
        "What it costs, and how many requests it serves in time. ◇ is what no router can pass, ◆ the same within the \
         share.",
    )
}

fn diamond(chart: &Chart, (cost, slo): (f64, f64), fill: &str, name: &str) -> String {
    let (x, y) = chart.at(cost, slo);
    format!(
        "<path stroke=\"currentColor\" fill=\"{fill}\" d=\"M{x:.1} {:.1}l7 7l-7 7l-7 -7z\"><title>{name}: {slo:.2} %, \
         ${cost:.4}</title></path>",
        y - 7.0
    )
}

fn dot(chart: &Chart, policy: &PolicyResult, look: &Appearance) -> String {
    let (cost, slo) = (policy.summary.usd_per_million, policy.summary.slo_percent);
    let (x, y) = chart.at(cost.mean, slo.mean);
    let (left, _) = chart.at(cost.mean - cost.half_width, slo.mean);
    let (right, _) = chart.at(cost.mean + cost.half_width, slo.mean);
    let (_, low) = chart.at(cost.mean, slo.mean - slo.half_width);
    let (_, high) = chart.at(cost.mean, slo.mean + slo.half_width);
    let (color, opacity) = (look.color, if look.is_prominent { "1" } else { "0.6" });
    let name = escaped(&policy.policy);
    let mut svg = format!(
        "<g opacity=\"{opacity}\"><path stroke=\"{color}\" d=\"M{left:.1} {y:.1}L{right:.1} {y:.1}M{x:.1} {low:.1}L{x:.1} {high:.1}\"/>\
         <circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{}\" fill=\"{color}\"><title>{name}: {:.2} %, ${:.4}</title></circle>",
        if look.is_compared { 7 } else { 5 },
        slo.mean,
        cost.mean,
    );
    if look.is_prominent {
        // A name that would leave the plot on the right stands on the left of its dot.
        let (at, anchor) = if x > 380.0 { (x - 9.0, "end") } else { (x + 9.0, "start") };
        let _ = write!(svg, "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{name}</text>", y + 4.0);
    }
    svg + "</g>"
}

fn stroke(look: &Appearance) -> String {
    let (width, opacity) = if look.is_prominent { (2.0, 1.0) } else { (1.2, 0.45) };
    format!("stroke=\"{}\" stroke-width=\"{width}\" opacity=\"{opacity}\"", look.color)
}

/// Which part of all requests had its first token by when.
pub(super) fn distribution(shown: &[Shown<'_>], slo: f64) -> String {
    let x = Axis::logarithmic(0.2, 60.0, "seconds to the first token");
    let mut chart = Chart::new(x, Axis::linear(0.0, 100.0, "requests served by then, %"));
    let ((x, top), (_, bottom)) = (chart.at(slo, 100.0), chart.at(slo, 0.0));
    chart.add(&format!(
        "<path class=\"limit\" d=\"M{x:.1} {top:.1}L{x:.1} {bottom:.1}\"/>\
         <text class=\"limit\" x=\"{:.1}\" y=\"{:.1}\">SLO</text>",
        x + 4.0,
        bottom - 5.0
    ));
    for (policy, look) in shown {
        let ok = policy.summary.ok_percent.mean;
        let points = policy.shape.ttft.iter().zip(1_u32..);
        let points: Vec<_> = points.map(|(&ttft, part)| (ttft, f64::from(part) / 100.0 * ok)).collect();
        chart.line(points, &stroke(look), &escaped(&policy.policy));
    }
    chart.figure("How long users wait. A line that ends below 100 % has left requests unserved.")
}

/// The first upstream's part of what was served, over time.
pub(super) fn share_over_time(shown: &[Shown<'_>], upstream: &str) -> String {
    let x = Axis::linear(0.0, 100.0, "the trace, %");
    let mut chart = Chart::new(x, Axis::linear(0.0, 100.0, "share of served requests, %"));
    for (policy, look) in shown {
        let pieces = policy.shape.served.len().max(1);
        let points = policy.shape.served.iter().zip(0_u32..).filter_map(|(served, piece)| {
            let total: f64 = served.iter().sum();
            let first = served.first().filter(|_| total > 0.0)?;
            Some((100.0 * (f64::from(piece) + 0.5) / crate::trace::as_f64(pieces as u64), 100.0 * first / total))
        });
        let points: Vec<_> = points.collect();
        chart.line(points, &stroke(look), &escaped(&policy.policy));
    }
    chart.figure(&format!("Which part {} serves, over the trace (first seed).", escaped(upstream)))
}
