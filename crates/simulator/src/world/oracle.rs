//! Facts that no router can know, for the clairvoyant baseline.

use super::{UpstreamChange, World};
use crate::{
    policy::RequestId,
    time::{NEVER, Nanos},
    trace::as_f64,
    upstream::Kind,
};

/// Reads the true state of the world, and what will happen to it.
#[derive(Debug)]
pub(crate) struct Oracle<'a> {
    world: &'a mut World,
}

impl<'a> Oracle<'a> {
    pub(crate) const fn new(world: &'a mut World) -> Self {
        Self { world }
    }

    /// All tokens of a request, its answer included.
    pub(crate) fn tokens(&self, request: RequestId) -> u64 {
        self.world.records[request.index()].tokens()
    }

    /// When a request came.
    pub(crate) fn arrived(&self, request: RequestId) -> Nanos {
        self.world.records[request.index()].at
    }

    /// The time to the first token of this request at a RunPod endpoint; never, if that is down or goes down before the answer is whole.
    pub(crate) fn first_token_in(&self, upstream: usize, request: RequestId) -> Nanos {
        let Kind::RunPod(runpod) = &self.world.upstreams[upstream].kind else { return NEVER };
        let record = &self.world.records[request.index()];
        let now = self.world.now;
        let whole_at = now + runpod.longest(record.prompt_tokens, record.completion_tokens);
        let goes_down =
            self.world.changes[self.world.changed..].iter().take_while(|change| change.at < whole_at).any(|change| {
                change.upstream == upstream
                    && matches!(change.what, UpstreamChange::Outage(true) | UpstreamChange::Throttle(true))
            });
        if goes_down { NEVER } else { runpod.first_token_in(record.prompt_tokens, now) }
    }

    /// Whether an upstream with limits has room for this request.
    pub(crate) fn has_room(&mut self, upstream: usize, request: RequestId) -> bool {
        let tokens = as_f64(self.tokens(request));
        let now = self.world.now;
        match &mut self.world.upstreams[upstream].kind {
            Kind::Cerebras(cerebras) => cerebras.has_room(tokens, now),
            Kind::RunPod(_) => false,
        }
    }

    /// How full its buckets are: the emptier one, as a part of what the limits are now.
    pub(crate) fn fullness(&mut self, upstream: usize) -> f64 {
        let now = self.world.now;
        match &mut self.world.upstreams[upstream].kind {
            Kind::Cerebras(cerebras) => cerebras.fullness(now),
            Kind::RunPod(_) => 0.0,
        }
    }
}
