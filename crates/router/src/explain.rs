//! A decision without the call: what would be chosen for a request at this moment, and why not the others.

use std::sync::Arc;

use provider::{ModelId, Request, UpstreamId};
use rand::{SeedableRng, rngs::SmallRng};
use tokio::time::Instant;

use crate::{
    candidate::{self, Candidate, Excluded},
    event::Reason,
    fallback,
    history::{History, Named},
    strategy::StrategyName,
    table::Choice,
    upstream::Upstream,
};

/// What would happen to a request.
pub struct Explanation {
    /// The model's public name.
    pub model: ModelId,
    /// How its targets are ordered.
    pub strategy: StrategyName,
    /// Why the first of the order is the first; `None` if there is none.
    pub reason: Option<Reason>,
    /// Those that could serve it, in the order in which they would be asked.
    pub order: Vec<Explained>,
    /// Those that could not, and why.
    pub excluded: Vec<(Arc<Upstream>, Excluded)>,
}

/// A target as the strategy saw it.
pub struct Explained {
    /// The target.
    pub upstream: Arc<Upstream>,
    /// Its configured share, 0 to 1.
    pub share: f64,
    /// The snapshot.
    pub candidate: Candidate,
}

impl Explanation {
    /// The upstream that would be asked first.
    pub fn first(&self) -> Option<&UpstreamId> {
        self.order.first().map(|explained| &explained.upstream.spec.id)
    }
}

/// Decides for `request` and debits nobody.
pub(crate) fn explain(choice: &Choice, request: &Request, falls_back: bool, seed: u64) -> Explanation {
    let now = Instant::now();
    let model = &choice.model;
    let named = choice.target.map(|target| Named { target, falls_back });
    let history = History::new(model.targets.len(), named);
    let state = model.state.lock();
    let (mut found, mut excluded) = (Vec::new(), Vec::new());
    for target in (0..model.targets.len()).filter(|target| history.allows(*target)) {
        match candidate::examine(model, target, request, &history, false, now) {
            Ok(candidate) => found.push(candidate),
            Err(why) => excluded.push((model.targets[target].clone(), why)),
        }
    }
    candidate::owe(model, &state, &history, &mut found);
    fallback::order(model, &history, &mut found, &mut SmallRng::seed_from_u64(seed));
    let first = found.first().map(|candidate| candidate.target);
    let reason = first.map(|target| fallback::reason(model, &state, &history, 0, target));
    let explained = |candidate: Candidate| Explained {
        upstream: model.targets[candidate.target].clone(),
        share: model.shares[candidate.target],
        candidate,
    };
    let order = found.into_iter().map(explained).collect();
    Explanation { model: model.spec.name.clone(), strategy: model.spec.strategy, reason, order, excluded }
}
