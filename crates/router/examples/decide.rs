//! How long a decision takes, and a whole request in the engine: `cargo run --release --package router --example decide`.
//!
//! Prints the median of several rounds in nanoseconds, for each strategy with 2 and with 16 targets. A decision is what
//! [`Engine::explain`] makes, which debits nobody; a request arrives, gets its first token and is served. Every second
//! target reports its workers and is paid for by the second, the others by the token; each has answered, and has calls
//! in flight.

#![expect(clippy::disallowed_types, reason = "the real time is what is measured")]

use std::{
    error::Error,
    io::{Write, stdout},
    sync::Arc,
    time::{Duration, Instant},
};

use provider::{Capacity, Features, ModelId, Operation, PicoUsd, Price, Quota, Tariff, Time, UpstreamId};
use rand::{SeedableRng, rngs::SmallRng};
use router::{
    Action, Engine, Facts, Limits, Model, ModelSpec, RequestState, StrategyName, Table, TableError, Timeouts,
    UpstreamSpec, Wishes,
};

/// Many short ones, so that most of them are not interrupted by what else runs on the machine.
const ROUNDS: usize = 101;
const CALLS: u32 = 500;
/// Requests before the first round, and those that stay in flight.
const SERVED: u64 = 5_000;
const IN_FLIGHT: usize = 40;

const CHAT: Facts = Facts {
    operation: Operation::Chat,
    stream: true,
    features: Features { tools: false, images: false, json_schema: false },
    body_bytes: 2_000,
    prompt_tokens: 500,
    audio_ms: 0,
    max_tokens: Some(256),
    choices: 1,
    in_batch: false,
    team: None,
    conversation: None,
    wishes: Wishes::NONE,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = stdout();
    writeln!(out, "{:<10} {:>7} {:>12} {:>12}", "strategy", "targets", "decision ns", "request ns")?;
    for strategy in StrategyName::ALL {
        for targets in [2, 16] {
            let table = table(strategy, targets)?;
            let Some(model) = table.model("m") else { continue };
            let decision = median(model, |engine, now, _| {
                engine.explain(model, &CHAT, None, now);
            });
            let request = median(model, |engine, now, rng| serve(model, engine, now, rng));
            writeln!(out, "{:<10} {targets:>7} {decision:>12} {request:>12}", strategy.as_str())?;
        }
    }
    Ok(())
}

/// Nanoseconds that `work` takes, a millisecond of the engine's time after the last one.
fn median(model: &Arc<Model>, mut work: impl FnMut(&mut Engine, Time, &mut SmallRng)) -> u128 {
    let (mut engine, mut rng) = (Engine::default(), SmallRng::seed_from_u64(7));
    let mut now = Time::ZERO;
    report_workers(model, &mut engine, now);
    for tokens in 0..SERVED {
        let begun = begin(model, &mut engine, now, &mut rng);
        now += Duration::from_millis(1);
        let Some(mut request) = begun else { continue };
        engine.first_token(&mut request, Quota::default(), now, &mut rng);
        engine.served(&mut request, Some(tokens % 300), now);
    }
    let in_flight: Vec<_> = (0..IN_FLIGHT).map(|_| begin(model, &mut engine, now, &mut rng)).collect();
    for mut request in in_flight.into_iter().flatten() {
        engine.first_token(&mut request, Quota::default(), now, &mut rng);
    }
    let mut round = || {
        report_workers(model, &mut engine, now);
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

fn report_workers(model: &Model, engine: &mut Engine, now: Time) {
    for target in model.targets().iter().step_by(2) {
        engine.record_capacity(target, Capacity { running: Some(5), queued: Some(0), ..Capacity::default() }, now);
    }
}

fn begin(model: &Arc<Model>, engine: &mut Engine, now: Time, rng: &mut SmallRng) -> Option<RequestState> {
    let mut request = RequestState::new(model.clone(), CHAT, None, now + Duration::from_mins(1));
    matches!(engine.arrived(&mut request, now, rng), Action::Start(_)).then_some(request)
}

fn serve(model: &Arc<Model>, engine: &mut Engine, now: Time, rng: &mut SmallRng) {
    let Some(mut request) = begin(model, engine, now, rng) else { return };
    engine.first_token(&mut request, Quota::default(), now, rng);
    engine.served(&mut request, Some(40), now);
}

fn table(strategy: StrategyName, targets: usize) -> Result<Table, TableError> {
    let ids: Vec<UpstreamId> = (0..targets).map(|nth| UpstreamId::from(format!("u{nth}").as_str())).collect();
    let price = Price::new(PicoUsd(100_000), PicoUsd(100_000));
    let by_second = Tariff::GpuSeconds {
        per_second: PicoUsd(190_000_000),
        idle_timeout: Duration::from_secs(5),
        kept_workers: 0,
        list: Some(Price::new(PicoUsd(20_000), PicoUsd(20_000))),
    };
    let upstream = |(nth, id): (usize, &UpstreamId)| UpstreamSpec {
        id: id.clone(),
        account: 0,
        identity: 0,
        provider_name: "openai",
        served_model: "m".to_owned(),
        tariff: Some(if nth % 2 == 0 { by_second.clone() } else { Tariff::Tokens(price) }),
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
        price_version: None,
    };
    let model = ModelSpec {
        name: ModelId::from("m"),
        strategy,
        slo_first_token: Some(Duration::from_secs(2)),
        baseline: None,
        deadline: Duration::from_mins(1),
        early_headers: false,
        reasoning_field: provider::ReasoningField::default(),
        hedge: None,
        targets: ids.iter().map(|id| (id.clone(), 1.0)).collect(),
    };
    Table::new("bench", ids.iter().enumerate().map(upstream).collect(), vec![model], None)
}
