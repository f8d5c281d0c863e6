//! `hedge`: when streams of a model are called a second time elsewhere, and what that may cost.

use std::time::Duration;

use router::{Hedge, StrategyName};

use crate::{
    problem::Problem,
    reader::{Context, Table},
    types::Target,
    upstreams::Entry,
    value::Item,
};

/// The table of a model that has one.
pub(crate) struct Hedges<'a> {
    context: &'a Context<'a>,
    path: String,
    /// `None` if a problem was reported.
    pub(crate) settings: Option<Hedge>,
}

impl<'a> Hedges<'a> {
    pub(crate) fn read(model: &mut Table<'a>) -> Option<Self> {
        let mut table = model.table("hedge")?;
        let percent = table
            .required_item("max_extra_cost_percent", "a percentage of what the other calls cost")
            .and_then(Item::percent);
        let after = table.millis("after_ms");
        let (context, path) = (table.context, table.path.clone());
        table.finish();
        let settings = percent.map(|percent| Hedge { most_extra_cost: percent / 100.0, after });
        Some(Self { context, path, settings })
    }

    /// Reports what keeps a model with these targets from having second calls.
    pub(crate) fn check(
        &self,
        (strategy, deadline): (Option<StrategyName>, Duration),
        targets: &[Target],
        upstreams: &[Entry],
    ) {
        let report = |problem: Problem| self.context.report(problem);
        if let Some(strategy) = strategy.filter(|strategy| !strategy.looks_ahead()) {
            let fault = format!("does not go with strategy = {:?}", strategy.as_str());
            report(Problem::new(&self.path, fault, "balanced, cost or latency, which predict who would be in time"));
        }
        if targets.len() < 2 {
            let expected = "a second target, for the second call";
            report(Problem::new(&self.path, "is set for a model with one target", expected));
        }
        // How long the first call may wait at most for its first token.
        let mut longest = Duration::ZERO;
        for target in targets {
            let entry = upstreams.iter().find(|entry| entry.id.as_deref() == Some(target.upstream.as_str()));
            // An upstream with problems of its own is not blamed twice.
            let upstream = entry.and_then(|entry| entry.upstream.as_ref());
            longest = longest.max(upstream.map_or(Duration::MAX, |upstream| upstream.timeouts.first_token));
            if upstream.is_some_and(|upstream| upstream.tariff.is_none()) {
                let fault = format!("is set although the upstream {:?} has no price", target.upstream.as_str());
                let problem = Problem::new(&self.path, fault, "a price for each target, so that the cap can be kept");
                report(problem.hint("add cost to the upstream"));
            }
        }
        let longest = longest.min(deadline / 2);
        let after = self.settings.as_ref().and_then(|hedge| hedge.after);
        if let Some(after) = after.filter(|after| targets.len() > 1 && *after >= longest) {
            let longest = longest.as_millis();
            let fault =
                format!("is too late: a first call has failed after {longest} ms, while another target can be called");
            let expected = "less than the longest timeouts.first_token_ms of the targets and than half of deadline_ms";
            let problem = Problem::new(format!("{}.after_ms", self.path), fault, expected);
            report(problem.value(after.as_millis().to_string()));
        }
    }
}
