//! Specifications and requests for tests.

use std::time::Duration;

use provider::{Call, Capacity, Error, ErrorKind, Features, Operation, Provider, Reply, Request, Time, UpstreamId};
use rand::{SeedableRng, rngs::SmallRng};
use router::{Action, Facts, ModelSpec, RequestState, StrategyName, Timeouts, UpstreamSpec, Wishes};

use crate::table::Table;

const S: Duration = Duration::from_secs(1);

/// A provider that no call reaches.
pub(crate) struct Unreachable;

#[async_trait::async_trait]
impl Provider for Unreachable {
    async fn call(&self, _request: &Request, _call: &Call) -> Result<Reply, Error> {
        Err(Error::new(ErrorKind::Connect, "nobody is there"))
    }

    async fn capacity(&self) -> Result<Capacity, Error> {
        Ok(Capacity::default())
    }
}

pub(crate) fn upstream(id: &str) -> UpstreamSpec {
    UpstreamSpec {
        id: id.into(),
        account: 0,
        identity: 0,
        provider_name: "nobody",
        served_model: "m".to_owned(),
        tariff: None,
        operations: Operation::ALL.to_vec(),
        features: Features::default(),
        context_tokens: None,
        max_in_flight: 10,
        default_max_tokens: None,
        worker_slots: None,
        limits: router::Limits::default(),
        timeouts: Timeouts { first_token: S, gap: S },
        capacity_poll: S,
        warm_up_usd_per_hour: provider::NanoUsd(0),
        price_version: None,
    }
}

/// A model whose targets have the same share each.
pub(crate) fn model(name: &str, targets: &[&str]) -> ModelSpec {
    ModelSpec {
        name: name.into(),
        strategy: StrategyName::Weighted,
        slo_first_token: None,
        baseline: None,
        deadline: 60 * S,
        early_headers: false,
        reasoning_field: provider::ReasoningField::default(),
        hedge: None,
        targets: targets.iter().map(|id| (UpstreamId::from(*id), 1.0)).collect(),
    }
}

/// A request whose first call is under way.
pub(crate) fn begun(table: &Table, model: &str) -> RequestState {
    let facts = Facts {
        operation: Operation::Chat,
        stream: true,
        features: Features::default(),
        body_bytes: 100,
        prompt_tokens: 25,
        audio_ms: 0,
        max_tokens: None,
        choices: 1,
        in_batch: false,
        team: None,
        conversation: None,
        wishes: Wishes::NONE,
    };
    let model = table.model(model).expect("a model").clone();
    let mut request = RequestState::new(model.clone(), facts, None, Time::ZERO + 60 * S);
    let mut rng = SmallRng::seed_from_u64(1);
    let action = table.with(model.group, |engine| engine.arrived(&mut request, Time::ZERO, &mut rng));
    assert!(matches!(action, Action::Start(_)), "{action:?}");
    request
}
