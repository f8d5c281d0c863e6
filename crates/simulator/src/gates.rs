//! Limits that a team sets for a change before it is released; in a CI job a broken gate becomes an exit code.

use std::fmt;

use crate::experiment::{PolicyResult, Results};

/// What is demanded of a policy, in every scenario that was run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gates {
    /// Most percent by which a million tokens may cost more than with the policy it is compared with.
    pub max_cost_increase: Option<f64>,
    /// Least percent of the requests that must be within the SLO.
    pub min_slo: Option<f64>,
    /// The part of the answered requests that an upstream must serve.
    pub share: Option<ShareGate>,
}

/// The part of the answered requests that an upstream must serve.
#[derive(Debug, Clone, PartialEq)]
pub struct ShareGate {
    /// The upstream's id.
    pub upstream: String,
    /// Percent.
    pub percent: f64,
    /// Percentage points by which it may be off.
    pub tolerance: f64,
}

/// A demand that was not met.
#[derive(Debug, Clone, PartialEq)]
pub struct Broken {
    /// In which scenario; `None` where it is not about one.
    pub scenario: Option<String>,
    /// What was found and what was demanded.
    pub message: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scenario {
            Some(scenario) => write!(f, "{scenario}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl Gates {
    /// The demands that `policy` does not meet; `before` is the policy that its cost is compared with. What cannot be looked at
    /// is not met.
    pub fn check(&self, results: &Results, policy: &str, before: Option<&str>) -> Vec<Broken> {
        let mut broken = Vec::new();
        let mut note = |scenario: Option<&str>, message: String| {
            broken.push(Broken { scenario: scenario.map(str::to_owned), message });
        };
        let share = self.share.as_ref();
        let place = share.map(|share| results.upstreams.iter().position(|id| *id == share.upstream));
        if let (Some(share), Some(None)) = (share, place) {
            note(None, format!("there is no simulated upstream {:?} to have a share", share.upstream));
        }
        for result in &results.scenarios {
            let scenario = Some(result.scenario.as_str());
            let find = |name: &str| result.policies.iter().find(|policy| policy.policy == name);
            let Some(found) = find(policy) else {
                note(scenario, format!("{policy} was not run"));
                continue;
            };
            if let Some(most) = self.max_cost_increase {
                match before.and_then(find) {
                    Some(before) => cost(found, before, most).into_iter().for_each(|message| note(scenario, message)),
                    None => note(scenario, "there is nothing to compare the cost with".to_owned()),
                }
            }
            let slo = found.summary.slo_percent.mean;
            if let Some(least) = self.min_slo.filter(|&least| slo.is_nan() || slo < least) {
                note(scenario, format!("{slo:.2} % of the requests are within the SLO, and {least} % must be"));
            }
            if let (Some(share), Some(Some(place))) = (share, place) {
                let found = found.summary.share_percent[place].mean;
                if found.is_nan() || (found - share.percent).abs() > share.tolerance {
                    let ShareGate { upstream, percent, tolerance } = share;
                    let demand = format!("{percent} ± {tolerance} % are demanded");
                    note(scenario, format!("{upstream} serves {found:.2} % of the requests, and {demand}"));
                }
            }
        }
        broken
    }
}

/// What is wrong with the cost of `found`, if anything.
fn cost(found: &PolicyResult, before: &PolicyResult, most: f64) -> Option<String> {
    let (now, then) = (found.summary.usd_per_million.mean, before.summary.usd_per_million.mean);
    let increase = 100.0 * (now / then - 1.0);
    let is_met = increase <= most;
    (!is_met).then(|| {
        format!("a million tokens costs ${now:.4} after ${then:.4}: {increase:+.1} %, and {most:+} % are allowed")
    })
}

#[cfg(test)]
mod tests;
