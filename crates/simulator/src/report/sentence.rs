//! What a change of policy changes, in one sentence. A difference is told where it exceeds the half widths of both
//! confidence intervals together; a smaller one may be chance, and is said to be no larger.

use std::fmt::Write;

use crate::{
    experiment::{PolicyResult, Results},
    statistics::Estimate,
};

/// What policy `b` changes against `a` over all scenarios, in one sentence; `None` where one of them was not run.
pub fn change_in_a_sentence(results: &Results, a: &str, b: &str) -> Option<String> {
    let pairs: Option<Vec<(&str, &PolicyResult, &PolicyResult)>> = results
        .scenarios
        .iter()
        .map(|result| {
            let find = |name: &str| result.policies.iter().find(|policy| policy.policy == name);
            Some((result.scenario.as_str(), find(a)?, find(b)?))
        })
        .collect();
    let pairs = pairs?;
    let (scenario, before, after) = pairs.first()?;
    let cost = cost(before, after);
    let slo = |(_, before, after): &(&str, &PolicyResult, &PolicyResult)| {
        difference(before.summary.slo_percent, after.summary.slo_percent).filter(|points| points.abs() >= 0.005)
    };
    let first = slo(&pairs[0]);
    let mut sentence = match (&cost, first.map(within)) {
        (Some(cost), Some(within)) => format!("In {scenario}, {b} costs {cost} than {a} and brings {within}"),
        (Some(cost), None) => format!("In {scenario}, {b} costs {cost} than {a}, and {NO_MORE}"),
        (None, Some(within)) => {
            format!("In {scenario}, {b} brings {within} than {a}, and no difference in cost is larger than chance")
        }
        (None, None) => {
            let what = "is larger than chance, in cost or in requests within the SLO";
            format!("In {scenario}, no difference between {b} and {a} {what}")
        }
    };
    let others = &pairs[1..];
    let told = others.iter().filter_map(|pair| Some((pair.0, slo(pair)?)));
    let largest = told.max_by(|x, y| x.1.abs().total_cmp(&y.1.abs()));
    if let Some((scenario, points)) = largest {
        let _ = write!(sentence, "; the largest difference is in {scenario}: {}", within(points));
    } else if !others.is_empty() {
        let is_clear = cost.is_some() && first.is_none();
        sentence += if is_clear { "; nor in any other scenario" } else { NONE_ELSEWHERE };
    }
    let is_all_told = cost.is_some() && first.is_some() && (others.is_empty() || largest.is_some());
    if results.seeds == 1 {
        sentence += " (one run each: it may be chance)";
    } else if !is_all_told {
        let _ = write!(sentence, " (with {} seeds)", results.seeds);
    }
    Some(sentence + ".")
}

const NO_MORE: &str = "no difference in requests within the SLO is larger than chance";
const NONE_ELSEWHERE: &str = "; in no other scenario is the difference in requests within the SLO larger than chance";

/// From one to the other, unless chance could explain it.
fn difference(before: Estimate, after: Estimate) -> Option<f64> {
    let difference = after.mean - before.mean;
    (difference.abs() > before.half_width + after.half_width).then_some(difference)
}

/// How much more or less is paid, in words.
fn cost(before: &PolicyResult, after: &PolicyResult) -> Option<String> {
    let (before, after) = (before.summary.usd_per_million, after.summary.usd_per_million);
    let percent = 100.0 * difference(before, after)? / before.mean;
    let direction = if percent > 0.0 { "more" } else { "less" };
    (percent.abs() >= 0.05).then(|| format!("{:.1} % {direction}", percent.abs()))
}

fn within(points: f64) -> String {
    let direction = if points > 0.0 { "more" } else { "fewer" };
    format!("{:.2} points {direction} requests within the SLO", points.abs())
}
