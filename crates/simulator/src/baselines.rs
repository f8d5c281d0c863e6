//! Routers as others build them, to compare with: each is a rule for where a request goes first, run by one plain
//! engine.
//!
//! The engine is the same for all of them, so that two differ only in their rules: 20 s for the first token, three
//! attempts, the next provider after a failure, a minute for everything. It has no breaker, no quota of its own and no
//! queue. These are written from the products' documentation; they are not the products.

use crate::{
    policy::{Policy, Setup},
    providers::{Model, Providers},
};

mod clairvoyant;
mod engine;
mod fixed;
mod least_request;
mod litellm;
mod peak_ewma;
mod prequal;

use clairvoyant::Clairvoyant;
use engine::RulePolicy;
use fixed::{Only, StaticShares};
use least_request::LeastRequest;
use litellm::{LiteLlm, Rule};
use peak_ewma::PeakEwma;
use prequal::Prequal;

/// A policy by name, made anew for each run.
pub struct PolicyFactory {
    name: String,
    make: Make,
}

type Make = Box<dyn Fn(&Setup<'_>) -> Box<dyn Policy> + Send + Sync>;

impl std::fmt::Debug for PolicyFactory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicyFactory").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PolicyFactory {
    /// A policy called `name` in reports.
    pub fn new<P: Policy + 'static>(
        name: impl Into<String>,
        make: impl Fn(&Setup<'_>) -> P + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), make: Box::new(move |setup| Box::new(make(setup))) }
    }

    /// What it is called in reports.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A fresh one.
    pub(crate) fn make(&self, setup: &Setup<'_>) -> Box<dyn Policy> {
        (self.make)(setup)
    }
}

/// What the baseline of fixed shares is called.
pub const STATIC_SHARES: &str = "static shares + fallback";

/// What the baseline of peak-sensitive latencies is called.
pub const PEAK_EWMA: &str = "Peak-EWMA";

/// All built-in baselines for these upstreams. The clairvoyant needs an upstream with workers and one with limits.
pub fn baselines(providers: &Providers) -> Vec<PolicyFactory> {
    let mut policies = vec![
        PolicyFactory::new(STATIC_SHARES, |setup| RulePolicy::new(setup, StaticShares::new(setup))),
        PolicyFactory::new("LiteLLM simple-shuffle + cooldown", |setup| {
            RulePolicy::new(setup, LiteLlm::new(setup, Rule::Shuffle))
        }),
        PolicyFactory::new("LiteLLM latency-based", |setup| RulePolicy::new(setup, LiteLlm::new(setup, Rule::Latency))),
        PolicyFactory::new("LiteLLM cost-based", |setup| RulePolicy::new(setup, LiteLlm::new(setup, Rule::Cost))),
        PolicyFactory::new("OpenRouter-like 1/price²", |setup| {
            RulePolicy::new(setup, LiteLlm::new(setup, Rule::Price))
        }),
        PolicyFactory::new("P2C weighted least-request", |setup| RulePolicy::new(setup, LeastRequest::new(setup))),
        PolicyFactory::new(PEAK_EWMA, |setup| RulePolicy::new(setup, PeakEwma::new(setup))),
        PolicyFactory::new("Prequal-like hot-cold", |setup| RulePolicy::new(setup, Prequal::new(setup))),
    ];
    for (number, upstream) in providers.upstreams.iter().enumerate() {
        let name = format!("all on {}", upstream.id);
        policies.push(PolicyFactory::new(name, move |setup| RulePolicy::new(setup, Only(number))));
    }
    let has = |is: fn(&Model) -> bool| providers.upstreams.iter().any(|upstream| is(&upstream.model));
    if has(|model| matches!(model, Model::RunPod(_))) && has(|model| matches!(model, Model::Cerebras(_))) {
        policies
            .push(PolicyFactory::new("clairvoyant greedy", |setup| RulePolicy::new(setup, Clairvoyant::new(setup))));
    }
    policies
}

#[cfg(test)]
mod tests;
