//! How long a decision takes, and a whole request in the engine: `cargo run --release --package router --example decide`.
//!
//! Prints the median of several rounds in nanoseconds, for each strategy with 2 and with 16 targets. A decision is what
//! [`Engine::explain`] makes, which debits nobody; a request arrives, gets its first token and is served.

#![expect(clippy::disallowed_types, reason = "the real time is what is measured")]

use std::{
    error::Error,
    io::{Write, stdout},
    sync::Arc,
    time::{Duration, Instant},
};

use provider::{Features, ModelId, Operation, Quota, Time, UpstreamId};
use rand::{SeedableRng, rngs::SmallRng};
use router::{
    Engine, Facts, Limits, Model, ModelSpec, RequestState, StrategyName, Table, TableError, Timeouts, UpstreamSpec,
};

const ROUNDS: usize = 15;
const CALLS: u32 = 20_000;

const CHAT: Facts = Facts {
    operation: Operation::Chat,
    stream: true,
    features: Features { tools: false, images: false, json_schema: false },
    body_bytes: 2_000,
    prompt_tokens: 500,
    max_tokens: Some(256),
    choices: 1,
    in_batch: false,
    conversation: None,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = stdout();
    writeln!(out, "{:<10} {:>7} {:>12} {:>12}", "strategy", "targets", "decision ns", "request ns")?;
    for strategy in StrategyName::ALL {
        for targets in [2, 16] {
            let table = table(strategy, targets)?;
            let Some(model) = table.model("m") else { continue };
            let decision = median(|engine, now, _| {
                engine.explain(model, &CHAT, None, now);
            });
            let request = median(|engine, now, rng| serve(model, engine, now, rng));
            writeln!(out, "{:<10} {targets:>7} {decision:>12} {request:>12}", strategy.as_str())?;
        }
    }
    Ok(())
}

/// Nanoseconds that `work` takes, a millisecond of the engine's time after the last one.
fn median(mut work: impl FnMut(&mut Engine, Time, &mut SmallRng)) -> u128 {
    let (mut engine, mut rng) = (Engine::default(), SmallRng::seed_from_u64(7));
    let mut now = Time::ZERO;
    let mut round = || {
        let start = Instant::now();
        for _ in 0..CALLS {
            now += Duration::from_millis(1);
            work(&mut engine, now, &mut rng);
        }
        start.elapsed().as_nanos() / u128::from(CALLS)
    };
    let mut rounds: [u128; ROUNDS] = std::array::from_fn(|_| round());
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}

fn serve(model: &Arc<Model>, engine: &mut Engine, now: Time, rng: &mut SmallRng) {
    let mut request = RequestState::new(model.clone(), CHAT, None, now + Duration::from_mins(1));
    let _start = engine.arrived(&mut request, now, rng);
    engine.first_token(&mut request, Quota::default(), now, rng);
    engine.served(&mut request, Some(40), now);
}

fn table(strategy: StrategyName, targets: usize) -> Result<Table, TableError> {
    let ids: Vec<UpstreamId> = (0..targets).map(|nth| UpstreamId::from(format!("u{nth}").as_str())).collect();
    let upstream = |id: &UpstreamId| UpstreamSpec {
        id: id.clone(),
        account: 0,
        provider_name: "openai",
        served_model: "m".to_owned(),
        tariff: None,
        operations: Operation::ALL.to_vec(),
        features: Features { tools: true, images: true, json_schema: true },
        context_tokens: Some(32_768),
        default_max_tokens: Some(4_096),
        max_in_flight: 1_000,
        worker_slots: Some(30),
        limits: Limits { requests_per_minute: Some(1_000_000), tokens_per_minute: Some(1_000_000_000) },
        timeouts: Timeouts { first_token: Duration::from_secs(10), gap: Duration::from_secs(30) },
        capacity_poll: Duration::from_secs(5),
        warm_up_usd_per_hour: provider::NanoUsd(0),
    };
    let model = ModelSpec {
        name: ModelId::from("m"),
        strategy,
        slo_first_token: Some(Duration::from_secs(2)),
        baseline: None,
        deadline: Duration::from_mins(1),
        early_headers: false,
        hedge: None,
        targets: ids.iter().map(|id| (id.clone(), 1.0)).collect(),
    };
    Table::new("bench", ids.iter().map(upstream).collect(), vec![model], None)
}
