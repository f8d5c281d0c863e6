//! The state of a model: its targets' deficits, the length and cost of its answers, and its rate of requests.

use std::time::Duration;

use provider::Time;

use super::held::Held;
use crate::{
    candidate::{Candidate, Expected},
    facts::Facts,
    hedge::HedgeBudget,
    knowledge::{conversations::Conversations, length::Lengths, mean::Mean, rate::Rate, real, score::Z},
    peers::{Learned, PeerModel},
    share::Deficits,
    strategy::Scale,
    table::Model,
};

/// If a request that can still meet the SLO finds no target worth a call, requests that have already missed it wait for
/// this time.
const LATE_REQUESTS_YIELD: Duration = Duration::from_secs(3);
/// The part of the first tokens that may be late.
const MAY_MISS: f64 = 0.01;

/// What is known of a model.
#[derive(Debug)]
pub(crate) struct ModelState {
    pub(super) deficits: Deficits,
    pub(crate) lengths: Lengths,
    arrivals: Rate,
    /// Requests of this replica since the start.
    arrived: f64,
    mean_cost: Mean,
    /// Tokens of a request, its answer included.
    mean_tokens: Mean,
    /// What a request costs on average at each target.
    usual_costs: Vec<Mean>,
    z: Z,
    /// When a request that could still meet the SLO last found no target worth a call, and its number; then the same of the
    /// last other one.
    denied: [Option<(Time, u64)>; 2],
    conversations: Conversations,
    pub(super) held: Held,
    pub(crate) hedges: HedgeBudget,
}

impl ModelState {
    pub(super) fn new(model: &Model) -> Self {
        Self::with(Deficits::new(model.shares().len()))
    }

    /// A state with these deficits and nothing else.
    pub(super) fn with(deficits: Deficits) -> Self {
        Self {
            deficits,
            lengths: Lengths::default(),
            arrivals: Rate::default(),
            arrived: 0.0,
            mean_cost: Mean::default(),
            mean_tokens: Mean::default(),
            usual_costs: Vec::new(),
            z: Z::new(MAY_MISS),
            denied: [None; 2],
            conversations: Conversations::default(),
            held: Held::default(),
            hedges: HedgeBudget::default(),
        }
    }

    /// What requests cost is another amount from now on.
    pub(super) fn forget_costs(&mut self) {
        (self.mean_cost, self.hedges) = (Mean::default(), HedgeBudget::default());
        self.usual_costs.clear();
    }

    /// A request has come.
    pub(super) fn arrived(&mut self, now: Time) {
        self.arrivals.record(1.0, now);
        self.arrived += 1.0;
    }

    /// What this replica's requests came to, for the others.
    pub(super) fn report(&self, model: &Model) -> PeerModel {
        let targets = model.targets().iter().zip(model.shares());
        PeerModel {
            name: model.spec.name.as_str().to_owned(),
            strategy: model.spec.strategy.as_str().to_owned(),
            targets: targets.map(|(target, share)| (target.spec.id.as_str().to_owned(), *share)).collect(),
            arrivals: self.arrived,
            behind: self.deficits.behind().to_vec(),
        }
    }

    /// Takes in what came to other replicas.
    pub(super) fn learn(&mut self, learned: &Learned<'_>, model: &Model, now: Time) {
        let (arrivals, behind) = learned.of_model(model);
        if arrivals > 0.0 {
            self.arrivals.record(arrivals, now);
        }
        self.deficits.learn(&behind, learned.replicas(), model.shares());
    }

    /// Whether any request has come in the last ten seconds.
    pub(super) fn has_arrivals(&self, now: Time) -> bool {
        self.arrivals.count(now) > 0.0
    }

    /// What is expected of such a request.
    pub(super) fn expected(&self, facts: &Facts, now: Time) -> Expected {
        let length = self.lengths.predict(facts.prompt_tokens).limited(facts.answer_limit());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an answer's length")]
        let completion_tokens = length.mean.round() as u64;
        Expected {
            length,
            completion_tokens,
            per_second: self.arrivals.per_second(now),
            holder: facts.conversation.and_then(|conversation| self.conversations.holder(conversation, now)),
            tokens: if self.mean_tokens.is_known() { self.mean_tokens.get() } else { 0.0 },
        }
    }

    pub(crate) fn deficits(&self) -> &Deficits {
        &self.deficits
    }

    /// What a request costs on average at a target, in nano-dollars; `None` if that is unknown.
    pub(crate) fn usual_cost(&self, target: usize) -> Option<f64> {
        self.usual_costs.get(target).filter(|usual| usual.is_known()).map(Mean::get)
    }

    /// The units of the terms of a score, for a decision between these candidates.
    pub(crate) fn scale(&self, candidates: &[Candidate]) -> Scale {
        let mut mean_cost = self.mean_cost.clone();
        if !mean_cost.is_known() {
            record_costs(&mut mean_cost, candidates);
        }
        Scale { mean_cost: mean_cost.get(), z: self.z.clone(), certainty: self.lengths.certainty() }
    }

    /// A decision was made between these, about a request of so many tokens, its answer included.
    pub(super) fn decided(&mut self, candidates: &[Candidate], tokens: f64) {
        self.mean_tokens.record([Some(tokens)]);
        record_costs(&mut self.mean_cost, candidates);
        for candidate in candidates {
            if self.usual_costs.len() <= candidate.target {
                self.usual_costs.resize_with(candidate.target + 1, Mean::default);
            }
            self.usual_costs[candidate.target].record([cost(candidate)]);
        }
    }

    /// The request of this number, which can still be in time, found no target worth a call.
    pub(super) fn denied(&mut self, number: u64, now: Time) {
        let [latest, other] = self.denied;
        let is_another = latest.is_some_and(|(_, denied)| denied != number);
        self.denied = [Some((now, number)), if is_another { latest } else { other }];
    }

    /// Whether, a moment ago, a request other than the one of this number could still be in time and found no target worth a call.
    pub(crate) fn another_was_denied(&self, number: u64, now: Time) -> bool {
        let mut denied = self.denied.iter().flatten();
        denied.any(|(at, denied)| *denied != number && now - *at < LATE_REQUESTS_YIELD)
    }

    /// A target answers a turn of a conversation.
    pub(super) fn answered_turn(&mut self, conversation: u64, target: usize, now: Time) {
        self.conversations.answered(conversation, target, now);
    }

    /// A first token came, late or not.
    pub(super) fn answered(&mut self, is_late: bool) {
        self.z.record(is_late);
    }
}

/// Records what a request would cost at these: at list prices, or, where none has one, on the bill.
fn record_costs(mean: &mut Mean, candidates: &[Candidate]) {
    if candidates.iter().any(|candidate| candidate.expected_cost.is_some()) {
        mean.record(candidates.iter().map(cost));
    } else {
        mean.record(candidates.iter().map(|candidate| candidate.marginal_cost.map(|cost| real(cost.0))));
    }
}

fn cost(candidate: &Candidate) -> Option<f64> {
    candidate.expected_cost.map(|cost| real(cost.0))
}
