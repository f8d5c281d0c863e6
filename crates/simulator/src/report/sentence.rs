//! What a change of policy changes, in one sentence.

use std::fmt::Write;

use crate::experiment::{PolicyResult, Results};

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
    let cost = 100.0 * (after.summary.usd_per_million.mean / before.summary.usd_per_million.mean - 1.0);
    let slo = |(_, before, after): &(&str, &PolicyResult, &PolicyResult)| {
        after.summary.slo_percent.mean - before.summary.slo_percent.mean
    };
    let money = match cost {
        cost if cost.abs() < 0.05 => "the same as".to_owned(),
        cost if cost > 0.0 => format!("{cost:.1} % more than"),
        cost => format!("{:.1} % less than", -cost),
    };
    let mut sentence = format!("In {scenario}, {b} costs {money} {a} and brings {}", within(slo(&pairs[0])));
    if let Some(extreme) = pairs[1..].iter().max_by(|x, y| slo(x).abs().total_cmp(&slo(y).abs())) {
        let _ = write!(sentence, "; the largest difference is in {}: {}", extreme.0, within(slo(extreme)));
    }
    Some(sentence + ".")
}

fn within(points: f64) -> String {
    match points {
        points if points.abs() < 0.005 => "as many requests within the SLO".to_owned(),
        points if points > 0.0 => format!("{points:.2} points more requests within the SLO"),
        points => format!("{:.2} points fewer requests within the SLO", -points),
    }
}
